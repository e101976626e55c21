//! Which place in Git declares a Rollout, from what a GitOps tool says of it.
//!
//! Labels and annotations of a Rollout can be written by whoever may write the Rollout, so that they
//! are only where the search begins. What counts is the other direction: the Application or the
//! Kustomization itself must list this very Rollout among what it applies. What cannot be read is
//! unknown, and unknown is never a place to push to. Pure: the caller reads the objects that are
//! asked for.
//!
//! Sources of the formats: Argo CD "Resource Tracking", "Multiple Sources for an Application" and
//! "Source Hydrator"; Flux "Kustomization", "HelmRelease" and "GitRepository" API documentation.

mod argo;
mod asking;
mod flux;
mod held_up;
mod read;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::Value;

pub use self::asking::{Asking, asking};
pub use self::held_up::held_up;
use super::source::{BranchName, GitUrl, InvalidSource, RepoPath};
pub use crate::api::gitops::OwnerKind;
use crate::revision::Commit;

/// The Rollout whose declaration is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its API group.
    pub group: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// `metadata.labels`.
    pub labels: &'a BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: &'a BTreeMap<String, String>,
}

/// One object of a GitOps tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    fn new(kind: OwnerKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// What a read of an object found.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The object.
    Found(Box<Value>),
    /// There is none, or its kind is not installed.
    Absent,
    /// Not known, and why.
    Unknown(String),
}

/// The objects that were read so far.
pub type Objects = BTreeMap<ObjectRef, Seen>;

/// This object has to be read first; ask again with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(pub ObjectRef);

/// A place in Git that a tool applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository.
    pub url: GitUrl,
    /// The branch that is followed; none for the repository's default branch.
    pub branch: Option<BranchName>,
    /// The folder.
    pub path: RepoPath,
    /// The one file of the folder that matters, if the tool names it.
    pub file: Option<RepoPath>,
    /// The commits that the tool says it applies or applied, the likeliest first.
    pub commits: Vec<Commit>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The object that applies the Rollout, and lists it.
    pub owner: ObjectRef,
    /// The places that it is made of; at least one.
    pub places: Vec<Place>,
    /// Whether no sync is under way, so that its commits are final.
    pub is_settled: bool,
    /// Why nothing may be pushed without a person.
    pub limits: Vec<Limit>,
}

/// Why a change is proposed and not pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// The Application is itself made or changed by something else.
    #[error(
        "{owner} is managed by {by}, and others may apply the same path; set \
         spec.gitRevert.source.url, branch and path to let Sluice push"
    )]
    Managed {
        /// The object.
        owner: ObjectRef,
        /// What manages it.
        by: String,
    },
    /// Part of what is applied stands in the owner and not in Git.
    #[error("{owner} sets {field} itself, which may hide what Git says")]
    Overridden {
        /// The object.
        owner: ObjectRef,
        /// The field.
        field: String,
    },
    /// A program that is not run here makes the objects.
    #[error("{owner} makes its objects with a plugin, whose inputs are not known")]
    Plugin {
        /// The object.
        owner: ObjectRef,
    },
    /// The owner does not list what it applies; only marks of Helm on the Rollout name it.
    #[error("{owner} keeps no inventory that could confirm that it applies this Rollout")]
    NoInventory {
        /// The object.
        owner: ObjectRef,
    },
    /// Files of other repositories are mixed in.
    #[error("{owner} includes files of other repositories")]
    Includes {
        /// The object.
        owner: ObjectRef,
    },
    /// Another tool applies the Rollout, too, or cannot be asked.
    #[error("{other} may apply this Rollout, too")]
    SecondOwner {
        /// The other object.
        other: ObjectRef,
    },
}

/// Why no place is known. Whichever it is, nothing is pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No tool's mark.
    #[error(
        "nothing on the Rollout says that Argo CD or Flux applies it; set spec.gitRevert.source.url, \
         branch and path"
    )]
    NoPointer,
    /// The object that the Rollout names does not exist.
    #[error(
        "{object} does not exist in this cluster, though the Rollout names it{}", hint(.object.kind)
    )]
    Absent {
        /// The object.
        object: ObjectRef,
    },
    /// The object cannot be read.
    #[error("{object} cannot be read: {reason}")]
    Unknown {
        /// The object.
        object: ObjectRef,
        /// Why.
        reason: String,
    },
    /// The owner says nothing of this Rollout.
    #[error(
        "the Rollout names {owner}, which does not list it in {field}: a mark that anybody can write \
         is not believed"
    )]
    NotListed {
        /// The object.
        owner: ObjectRef,
        /// Where it would stand.
        field: &'static str,
    },
    /// The Application is for another cluster.
    #[error("{owner} applies to the cluster {cluster}, not to the one that it is in")]
    OtherCluster {
        /// The object.
        owner: ObjectRef,
        /// Its destination.
        cluster: String,
    },
    /// It follows no branch.
    #[error(
        "{owner} follows `{revision}`, which is not a branch: no commit on a branch changes what it \
         applies{}", declarer(.by.as_deref())
    )]
    FixedRevision {
        /// The object.
        owner: ObjectRef,
        /// What it follows.
        revision: String,
        /// What manages the object, and so declares the revision.
        by: Option<String>,
    },
    /// Its source is no Git repository.
    #[error("{owner} takes its objects from {kind}, not from Git{}", maker(.origin.as_deref()))]
    NotGit {
        /// The object.
        owner: ObjectRef,
        /// What kind of source.
        kind: String,
        /// The commit from which the artifact was built, as it says itself.
        origin: Option<String>,
    },
    /// The value stands in the owner.
    #[error("{owner} sets {field} itself, so that no commit at its source changes it")]
    InOwner {
        /// The object.
        owner: ObjectRef,
        /// The field.
        field: String,
    },
    /// A field cannot be used.
    #[error("{owner}: {field}")]
    Malformed {
        /// The object.
        owner: ObjectRef,
        /// The field.
        field: String,
        /// What is wrong.
        #[source]
        why: Box<InvalidSource>,
    },
    /// A field that is needed is not there (yet).
    #[error("{owner} has no {field}")]
    Missing {
        /// The object.
        owner: ObjectRef,
        /// The field.
        field: &'static str,
    },
}

fn hint(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::Application => {
            " (Argo CD in another cluster, or in another namespace than --argocd-namespace?)"
        }
        OwnerKind::Kustomization | OwnerKind::HelmRelease | OwnerKind::GitRepository => "",
    }
}

fn declarer(by: Option<&str>) -> String {
    by.map(|by| format!("; it is declared by {by}")).unwrap_or_default()
}

fn maker(origin: Option<&str>) -> String {
    origin.map(|origin| format!("; it was built from {origin}")).unwrap_or_default()
}

/// What a search answers, once everything that it needs was read.
pub type Answer = Result<Found, Refusal>;

/// Looks for the place that declares `subject`. Argo CD in `argocd_namespace` names its own
/// Applications without a namespace.
///
/// # Errors
/// [`Wanted`] when an object has to be read first.
pub fn discover(
    subject: &Subject<'_>,
    argocd_namespace: &str,
    objects: &Objects,
) -> Result<Answer, Wanted> {
    let by_argo = argo::search(subject, argocd_namespace, objects)?;
    match by_argo {
        argo::Search::None(unread) => match (flux::search(subject, objects)?, unread) {
            (Err(Refusal::NoPointer), Some(refusal)) => Ok(Err(refusal)),
            (answer, _) => Ok(answer),
        },
        argo::Search::Flux(owner) => match flux::search(subject, objects)? {
            // Argo CD only shows what Flux applies; without Flux' own word nothing is known.
            Err(Refusal::NoPointer) => Ok(Err(Refusal::NotGit {
                owner,
                kind: "Flux (sync option FluxSubsystem)".to_owned(),
                origin: None,
            })),
            answer => Ok(answer),
        },
        argo::Search::Answer(Err(refusal)) => Ok(Err(refusal)),
        argo::Search::Answer(Ok(mut found)) => {
            match flux::search(subject, objects)? {
                Ok(Found { owner: other, .. }) | Err(Refusal::Unknown { object: other, .. }) => {
                    found.limits.push(Limit::SecondOwner { other });
                }
                Err(_) => {}
            }
            Ok(Ok(found))
        }
    }
}

/// The object, once it was read and is there.
fn object<'o>(
    reference: &ObjectRef,
    objects: &'o Objects,
) -> Result<Result<&'o Value, Refusal>, Wanted> {
    Ok(match objects.get(reference) {
        None => return Err(Wanted(reference.clone())),
        Some(Seen::Found(object)) => Ok(object),
        Some(Seen::Absent) => Err(Refusal::Absent { object: reference.clone() }),
        Some(Seen::Unknown(reason)) => {
            Err(Refusal::Unknown { object: reference.clone(), reason: reason.clone() })
        }
    })
}

/// Each commit once, in order.
fn distinct(commits: impl IntoIterator<Item = Option<Commit>>) -> Vec<Commit> {
    let mut seen = BTreeSet::new();
    commits.into_iter().flatten().filter(|commit| seen.insert(commit.to_string())).collect()
}
