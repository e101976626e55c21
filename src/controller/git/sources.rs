//! Reads where Git declares a Rollout, and with which credentials: what the user names, or what the
//! GitOps tool says. The objects of a tool are read one by one, by name, and only when a mark on the
//! Rollout leads to them; what they say is judged in `git::discovery`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::GitWorker;
use crate::act::guard::WriteOutcome;
use crate::act::wire::{Read, Target};
use crate::api::Kind;
use crate::api::Time;
use crate::api::git_credential::GitCredentialSpec;
use crate::api::status::RevisionSource;
use crate::git::backend::Remote;
use crate::git::credentials::{Credentials, Data};
use crate::git::discovery::{
    Answer, Found, ObjectRef, Objects, OwnerKind, Refusal, Seen, Subject, Wanted, asking, discover,
    held_up,
};
use crate::git::executor::{Executor, Unconfirmed};
use crate::git::grants::{NotGranted, Use, may_read, may_revert, problems};
use crate::git::plan::Identity;
use crate::git::signing::SigningKey;
use crate::git::source::{BranchName, GitUrl, RepoPath, Source};
use crate::observe::cache::Key;
use crate::observe::caches::builtin;
use crate::observe::objects::secret_bytes;
use crate::plan::facts::Asked;
use crate::plan::validate::{NamedSource, ValidGit};
use crate::revision::Commit;
use crate::telemetry::chain;

/// Most objects that one search reads: an Application, a release, a Kustomization, a repository, and
/// as many hints.
const MAX_READS: usize = 12;
/// Most times that a tool's objects are read again because somebody else wrote them.
const MAX_ASKS: usize = 3;

/// What work in Git needs to know of a Rollout.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) git: ValidGit,
    pub(super) group: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Job {
    pub(super) fn identity(&self) -> Identity {
        Identity::rollout(&self.namespace, &self.name)
    }
}

/// A place in Git, and the right to use it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) source: Source,
    pub(super) remote: Remote,
    /// The commits that a tool applied; none where the branch itself is looked at.
    pub(super) commits: Option<Vec<Commit>>,
}

impl Place {
    /// As status remembers it.
    pub(super) fn record(&self, owner: &str) -> RevisionSource {
        RevisionSource {
            owner: owner.to_owned(),
            url: self.source.url.to_string(),
            branch: self.source.branch.to_string(),
            path: self.source.path.as_str().to_owned(),
            file: self.source.file.as_ref().map(|file| file.as_str().to_owned()),
        }
    }
}

/// Every place that may declare a Rollout.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) places: Vec<Place>,
    /// The object that applies them, in words; none when the user named the place.
    pub(super) owner: Option<String>,
    /// Whether nothing is being applied now.
    pub(super) is_settled: bool,
    /// Why nothing may be pushed, if so.
    pub(super) limit: Option<String>,
}

/// Why no place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsourced {
    /// It may be known later.
    Unknown(String),
    /// Somebody has to change something first.
    Refused(String),
    /// The credentials are not lent for this.
    NotAllowed(String),
}

impl fmt::Display for Unsourced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(reason) | Self::Refused(reason) | Self::NotAllowed(reason) => {
                f.write_str(reason)
            }
        }
    }
}

/// A repository, and the right to it.
pub(super) struct Access {
    pub(super) remote: Remote,
    /// The credential that is lent, by its name; none where the team has one of its own.
    grant: Option<(String, GitCredentialSpec)>,
}

impl Access {
    /// The right to one place in the repository.
    fn for_place(self, job: &Job, source: &Source) -> Result<Remote, Unsourced> {
        let Some((name, spec)) = self.grant else { return Ok(self.remote) };
        let asked = Use { namespace: &job.namespace, mode: job.git.mode };
        let paths = may_revert(&spec, source, asked).map_err(|why| not_granted(&name, &why))?;
        let credentials = Credentials::clone(&self.remote.credentials).limited_to(paths);
        Ok(Remote { credentials: Arc::new(credentials), ..self.remote })
    }
}

/// An object of a tool, as the API server knows it.
fn target(reference: &ObjectRef) -> Target {
    let ObjectRef { kind, namespace, name } = reference;
    let resource = builtin(kind.group(), kind.version(), OwnerKind::as_str(*kind), kind.plural());
    Target::namespaced(&resource, namespace, name)
}

fn not_granted(name: &str, why: &NotGranted) -> Unsourced {
    Unsourced::NotAllowed(format!("{} `{name}` {why}", Kind::ClusterGitCredential.as_str()))
}

impl GitWorker {
    /// Where the Rollout is declared, now.
    pub(super) async fn sources(
        &self,
        executor: &Executor,
        job: &Job,
    ) -> Result<Sources, Unsourced> {
        match &job.git.named {
            Some(named) => {
                let place = self.named(job, named).await?;
                Ok(Sources { places: vec![place], owner: None, is_settled: true, limit: None })
            }
            None => self.found(executor, job).await,
        }
    }

    /// Whether a recorded place still is where the owner takes the Rollout from; why nothing may be pushed
    /// there, if so.
    pub(super) async fn confirm(
        &self,
        executor: &Executor,
        job: &Job,
        recorded: &RevisionSource,
    ) -> Result<Option<String>, Unconfirmed> {
        let sources = self.found(executor, job).await.map_err(|unsourced| match unsourced {
            Unsourced::Unknown(reason) => Unconfirmed::Unknown(reason),
            Unsourced::Refused(reason) | Unsourced::NotAllowed(reason) => {
                Unconfirmed::Denied(reason)
            }
        })?;
        let owner = sources.owner.unwrap_or_default();
        let is_same = sources.places.iter().any(|place| place.record(&owner) == *recorded);
        if is_same {
            Ok(sources.limit)
        } else {
            Err(Unconfirmed::Denied(format!("{owner} takes it from another place now")))
        }
    }

    async fn named(&self, job: &Job, named: &NamedSource) -> Result<Place, Unsourced> {
        let parse = |field: &str, error: &dyn fmt::Display| {
            Unsourced::Unknown(format!("spec.gitRevert.source.{field}: {error}"))
        };
        let url = GitUrl::parse(&named.url).map_err(|error| parse("url", &error))?;
        let branch = BranchName::parse(&named.branch).map_err(|error| parse("branch", &error))?;
        let path = RepoPath::parse(&named.path).map_err(|error| parse("path", &error))?;
        let file = named.file.as_deref().map(RepoPath::parse).transpose();
        let file = file.map_err(|error| parse("file", &error))?;
        let access = self.remote(job, &url).await?;
        let source = Source { url, branch, path, file };
        let remote = access.for_place(job, &source)?;
        Ok(Place { source, remote, commits: None })
    }

    async fn found(&self, executor: &Executor, job: &Job) -> Result<Sources, Unsourced> {
        let Found { owner, places, is_settled, limits } = match self.search(job).await.0 {
            Ok(found) => found,
            Err(refusal @ Refusal::Unknown { .. }) => {
                return Err(Unsourced::Unknown(chain(&refusal)));
            }
            Err(refusal) => return Err(Unsourced::Refused(chain(&refusal))),
        };
        let mut usable = Vec::new();
        for place in places {
            let access = self.remote(job, &place.url).await?;
            let branch = match place.branch {
                Some(branch) => branch,
                None => executor
                    .default_branch(&access.remote)
                    .await
                    .map_err(|error| Unsourced::Unknown(chain(&error)))?,
            };
            let source = Source { url: place.url, branch, path: place.path, file: place.file };
            let remote = access.for_place(job, &source)?;
            usable.push(Place { source, remote, commits: Some(place.commits) });
        }
        let limit = limits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        Ok(Sources {
            places: usable,
            owner: Some(owner.to_string()),
            is_settled,
            limit: Some(limit).filter(|limit| !limit.is_empty()),
        })
    }

    /// What holds up a commit at the tool that applies the Rollout.
    pub(super) async fn held_up(
        &self,
        job: &Job,
        commit: &Commit,
    ) -> Result<Option<String>, String> {
        match self.search(job).await {
            (Ok(found), objects) => Ok(held_up(&found, &objects, commit)),
            (Err(refusal), _) => Err(chain(&refusal)),
        }
    }

    /// Asks the tool that applies the Rollout to look at Git now; none when it is not done, and may be
    /// tried again.
    pub(super) async fn ask_tool(&self, key: &Key, job: &Job, since: Time) -> Option<Asked> {
        let writer = self.parts.asks_tools.as_ref()?;
        let token = since.0.to_rfc3339();
        let mut denied = None;
        // What somebody else wrote meanwhile is read again.
        for _ in 0..MAX_ASKS {
            let (Ok(found), objects) = self.search(job).await else { return None };
            let mut is_read_again = false;
            for asking in asking(&found, &objects, &token)? {
                let object = &asking.object;
                let Some(Seen::Found(value)) = objects.get(object) else { return None };
                let guard = writer.guard(value).ok()?;
                let annotation = (asking.key, asking.value.as_str());
                match writer.annotate(&target(object), &guard, annotation).await {
                    WriteOutcome::Applied(_) => {
                        tracing::info!(rollout = %key, %object, "asked to look at Git");
                    }
                    WriteOutcome::Conflict => is_read_again = true,
                    WriteOutcome::Forbidden { message, .. } => {
                        denied.get_or_insert(format!("{object}: {message}"));
                    }
                    other => {
                        tracing::debug!(rollout = %key, %object, %other, "not asked to look at Git");
                        return None;
                    }
                }
            }
            if !is_read_again {
                return Some(denied.map_or(Asked::Done, Asked::Denied));
            }
        }
        None
    }

    /// The answer, and what was read for it.
    async fn search(&self, job: &Job) -> (Answer, Objects) {
        let subject = Subject {
            group: &job.group,
            namespace: &job.namespace,
            name: &job.name,
            labels: &job.labels,
            annotations: &job.annotations,
        };
        let mut objects = Objects::new();
        let mut last = None;
        for _ in 0..=MAX_READS {
            match discover(&subject, &self.parts.argocd_namespace, &objects) {
                Ok(answer) => return (answer, objects),
                Err(Wanted(reference)) => {
                    let seen = self.see(&reference).await;
                    last = Some(reference.clone());
                    objects.insert(reference, seen);
                }
            }
        }
        let reason = "too many objects would have to be read".to_owned();
        let refusal = last.map_or(Refusal::NoPointer, |object| Refusal::Unknown { object, reason });
        (Err(refusal), objects)
    }

    async fn see(&self, reference: &ObjectRef) -> Seen {
        match self.parts.wire.get(&target(reference)).await {
            Read::Found(object) => Seen::Found(Box::new(object)),
            Read::Absent => Seen::Absent,
            Read::Failed(error) => Seen::Unknown(error.to_string()),
        }
    }

    /// The repository with its credentials: a Secret of the Rollout's namespace, or one that is lent.
    pub(super) async fn remote(&self, job: &Job, url: &GitUrl) -> Result<Access, Unsourced> {
        let (namespace, secret, grant) = match (&job.git.secret, &job.git.credential) {
            (Some(secret), _) => (job.namespace.as_str(), secret.clone(), None),
            (None, Some(name)) => {
                let spec = self.credential(name).await?;
                may_read(&spec, url, &job.namespace).map_err(|why| not_granted(name, &why))?;
                let secret = spec.secret_ref.name.clone();
                (self.parts.own_namespace.as_str(), secret, Some((name.clone(), spec)))
            }
            (None, None) => {
                let credentials = Arc::new(Credentials::anonymous("anonymous"));
                let remote = Remote { url: url.clone(), credentials };
                return Ok(Access { remote, grant: None });
            }
        };
        let data = self.secret(namespace, &secret).await.map_err(Unsourced::Unknown)?;
        // Copies of repositories are never shared between the teams that a credential is lent to.
        let id = match &grant {
            None => format!("{namespace}/{secret}"),
            Some((name, _)) => format!("{}:{name}/{namespace}/{secret}", job.namespace),
        };
        let credentials = Credentials::from_secret(&id, url, &data)
            .map_err(|error| Unsourced::Unknown(format!("Secret `{secret}`: {error}")))?;
        Ok(Access {
            remote: Remote { url: url.clone(), credentials: Arc::new(credentials) },
            grant,
        })
    }

    async fn credential(&self, name: &str) -> Result<GitCredentialSpec, Unsourced> {
        let kind = Kind::ClusterGitCredential;
        let title = format!("{} `{name}`", kind.as_str());
        let target = Target::of_cluster(&self.parts.names.resource(kind), name);
        let object = match self.parts.wire.get(&target).await {
            Read::Found(object) => object,
            Read::Absent => return Err(Unsourced::NotAllowed(format!("{title} does not exist"))),
            Read::Failed(error) => {
                return Err(Unsourced::Unknown(format!("{title} cannot be read: {error}")));
            }
        };
        let spec = object.get("spec").cloned().unwrap_or_default();
        let spec: GitCredentialSpec = serde_json::from_value(spec)
            .map_err(|error| Unsourced::NotAllowed(format!("{title} is malformed: {error}")))?;
        match problems(&spec).first() {
            None => Ok(spec),
            Some((field, problem)) => {
                Err(Unsourced::NotAllowed(format!("{title}: {field}: {problem}")))
            }
        }
    }

    /// The key that commits are signed with, if they are.
    pub(super) async fn signing_key(&self, job: &Job) -> Result<Option<SigningKey>, String> {
        let Some(secret) = &job.git.commit.signing_secret_ref else { return Ok(None) };
        let name = &secret.name;
        let data = self.secret(&job.namespace, name).await?;
        let key = SigningKey::from_secret(&data);
        key.map(Some).map_err(|error| format!("signing Secret `{name}`: {error}"))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Data, String> {
        let target = Target::namespaced(&builtin("", "v1", "Secret", "secrets"), namespace, name);
        let object = match self.parts.wire.get(&target).await {
            Read::Found(object) => object,
            Read::Absent => {
                return Err(format!("Secret `{name}` does not exist in namespace `{namespace}`"));
            }
            Read::Failed(error) => return Err(format!("Secret `{name}` cannot be read: {error}")),
        };
        let entries = object.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|(key, value)| {
                let bytes = value
                    .as_str()
                    .and_then(secret_bytes)
                    .ok_or_else(|| format!("Secret `{name}`: data.{key} is not base64"))?;
                Ok((key, bytes))
            })
            .collect()
    }
}
