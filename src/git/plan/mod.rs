//! Deciding what a revert writes: pure, from what was read of three commits.
//!
//! GOOD and BAD are the commits that were applied when the stable and the failed template were
//! first seen; HEAD is the branch tip that the new commit will follow. Nothing is decided from BAD
//! alone: the tip must *still* declare the failed template, else somebody was faster or fixes
//! forward, and nothing is written. What is written is proved by reading it back: the Rollout's
//! template is exactly the stable one, and no other object differs from the tip.
//!
//! This room must never touch a clock, a client, a log or a process.

mod consumers;
mod declared;
mod gathered;
mod kustomize;
mod ladder;
mod ledger;
mod patch;
mod render;
mod tree;
mod values;
mod yaml_span;
mod yaml_tree;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use serde_json::Value;

pub use declared::Identity;
pub use kustomize::split_image;
pub use ledger::{LedgerRefusal, declared_template, verify_declaration};
pub use tree::{Blob, BlobId, Blobs, Entry, EntryKind, MAX_FILE_BYTES, Need, Tree, View};
pub use values::{FieldPath, ScalarChange, Step, images, plain_scalar, same_json};
pub use yaml_span::{Edit, EditRefused, edit};
pub use yaml_tree::{Unreadable, YamlText};

use super::source::{RepoPath, Source};
use crate::revision::Commit;

/// Most files that one revert may change.
pub const MAX_CHANGED_FILES: usize = 20;

/// A template and the commit that declared it when it was first seen (an entry of the ledger).
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// The branch tip at first sight.
    pub commit: Commit,
    /// The pod template as the user's raw JSON.
    pub template: Value,
}

/// What is to be reverted.
#[derive(Clone, Debug, PartialEq)]
pub struct Question<'a> {
    /// Where the Rollout is declared.
    pub source: &'a Source,
    /// The Rollout.
    pub identity: &'a Identity,
    /// The stable template.
    pub good: &'a Declaration,
    /// The failed template.
    pub bad: &'a Declaration,
}

/// The three trees and the contents fetched so far.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The tree of the stable template's commit.
    pub good: &'a Tree,
    /// The tree of the failed template's commit.
    pub bad: &'a Tree,
    /// The tree of the branch tip.
    pub head: &'a Tree,
    /// Contents, for all three.
    pub blobs: &'a Blobs,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Proved: write these changes on top of HEAD.
    Restore(Restoration),
    /// Correct as text, but a person must look at it, for this reason.
    Suggest(Restoration, SuggestReason),
    /// HEAD declares the stable template already.
    AlreadyReverted,
    /// HEAD declares something else; fixing forward wins.
    Superseded(Superseded),
    /// Nothing can be written; the reason says whose turn it is.
    Blocked(Blocked),
    /// The files changed in ways that cannot be put together.
    Conflict(Vec<RepoPath>),
}

/// Changes that put the stable template back.
#[derive(Clone, Debug, PartialEq)]
pub struct Restoration {
    /// New contents by path; `None` removes the file.
    pub changes: BTreeMap<RepoPath, Option<Vec<u8>>>,
    /// What is restored, for people.
    pub restored: Vec<Restored>,
    /// Files that differ between GOOD and BAD and are left as they are.
    pub not_touched: BTreeSet<RepoPath>,
    /// The changes as a unified diff that `git apply` accepts.
    pub patch: String,
}

/// One thing that is restored.
#[derive(Clone, Debug, PartialEq)]
pub enum Restored {
    /// A value in a file.
    Field {
        /// The file.
        file: RepoPath,
        /// The value, such as `spec.template.spec.containers[0].image`.
        field: String,
        /// The failed value.
        from: Value,
        /// The stable value.
        to: Value,
    },
    /// A whole file.
    File {
        /// The file.
        file: RepoPath,
        /// How.
        how: FileRestore,
    },
}

/// How a whole file is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRestore {
    /// Taken from GOOD; HEAD had the failed content.
    Replaced,
    /// Merged: later changes are kept.
    Merged,
    /// It did not exist in GOOD.
    Removed,
    /// It was missing since BAD.
    BroughtBack,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { file, field, .. } => write!(f, "{file} ({field})"),
            Self::File { file, how } => {
                let how = match how {
                    FileRestore::Replaced => "whole file",
                    FileRestore::Merged => "merged",
                    FileRestore::Removed => "removed",
                    FileRestore::BroughtBack => "brought back",
                };
                write!(f, "{file} ({how})")
            }
        }
    }
}

/// Why correct changes are only suggested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuggestReason {
    /// Other kustomizations use an edited file.
    #[error("{} also used by {}", list(.edited), list(.consumers))]
    SharedFile {
        /// The edited files that are shared.
        edited: Vec<RepoPath>,
        /// The kustomizations that use them.
        consumers: Vec<RepoPath>,
    },
    /// The result's template cannot be computed, or is not the stable one.
    #[error("it cannot be proved that the result declares the stable template: {0}")]
    TemplateNotProved(String),
    /// Other objects would change, too.
    #[error("other objects would change, too: {}", .0.join(", "))]
    OtherObjects(Vec<String>),
    /// More files than [`MAX_CHANGED_FILES`].
    #[error("{0} files would change; at most {MAX_CHANGED_FILES} are changed without a person")]
    TooManyFiles(usize),
    /// The commit that brought the failed template is itself a revert.
    #[error("commit {0} is itself a revert; reverting it again needs a person")]
    RevertOfRevert(Commit),
    /// The mode asks for no more.
    #[error("the mode is Suggest")]
    ModeSuggest,
    /// The server refuses pushes to the branch.
    #[error("the branch is protected: {0}")]
    BranchProtected(String),
    /// What is known of the source allows no more.
    #[error("it is not pushed without a person: {0}")]
    SourceLimited(String),
    /// The source could not be confirmed again just before the push.
    #[error("where Git declares this Rollout could not be confirmed again: {0}")]
    SourceNotConfirmed(String),
    /// It was to be proposed, and the forge does not let us.
    #[error("{why}; and no pull request could be opened: {error}")]
    NotProposed {
        /// Why it was not pushed.
        why: String,
        /// Why it was not proposed.
        error: String,
    },
    /// The branch moved each time before the push arrived.
    #[error("the branch moved during each of {0} tries")]
    BranchBusy(u32),
}

/// What HEAD declares instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Superseded {
    /// A template that is neither the failed nor the stable one.
    #[error("the branch already declares another template")]
    OtherTemplate,
    /// No such Rollout.
    #[error("the branch no longer declares this Rollout")]
    NotDeclared,
}

/// Why nothing can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// The first version failed; there is nothing to go back to.
    #[error("there is no stable version to restore")]
    NoStable,
    /// Git says the same before and after: a mutable tag, an external value.
    #[error(
        "Git did not change between the stable and the failed template; the cause is outside of Git"
    )]
    NoGitChange,
    /// The credentials are not for this file.
    #[error("the credentials may not be used to change `{0}`")]
    NotAllowed(RepoPath),
    /// The branch does not exist.
    #[error("branch `{0}` does not exist")]
    BranchGone(String),
    /// The path does not exist at HEAD.
    #[error("path `{0}` does not exist on the branch")]
    PathGone(RepoPath),
    /// A recorded commit does not declare the recorded template.
    #[error("commit {commit} does not declare the template that was recorded with it")]
    LedgerMismatch {
        /// The recorded commit.
        commit: Commit,
    },
    /// A recorded commit cannot be had from the server any more.
    #[error("commit {commit} is no longer on the server; was the history rewritten?")]
    CommitGone {
        /// The recorded commit.
        commit: Commit,
    },
    /// Several documents declare the Rollout.
    #[error("the Rollout is declared in several files ({}); name one with `source.file`", list(.0))]
    Ambiguous(Vec<RepoPath>),
    /// The declaration is in a form that is not restored.
    #[error("the declaration cannot be restored: {0}")]
    NotRevertible(String),
    /// HEAD differs from both recorded commits, and what it declares cannot be computed.
    #[error("what the branch declares now cannot be computed: {0}")]
    NotComputable(String),
    /// The team opted out for this release.
    #[error("commit {commit} asks not to be reverted: {reason}")]
    OptedOut {
        /// The commit with the trailer.
        commit: Commit,
        /// The trailer's text.
        reason: String,
    },
    /// The mode is Off.
    #[error("gitRevert is off")]
    Off,
}

fn list(paths: &[RepoPath]) -> String {
    let mut text = paths.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if paths.len() > 5 {
        let _ = write!(text, " and {} more", paths.len() - 5);
    }
    text
}

/// Decides.
///
/// # Errors
/// [`Need`] when contents have to be fetched first; ask again with them.
pub fn decide(question: &Question<'_>, facts: Facts<'_>) -> Result<Verdict, Need> {
    ladder::Ladder::new(question, facts).climb()
}

/// A commit between GOOD and BAD that touched a file which the revert changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The commit.
    pub commit: Commit,
    /// Its whole message.
    pub message: String,
}

/// What the history of the restored files forbids. Newest commit first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Veto {
    /// Never revert this release.
    OptedOut(Blocked),
    /// Only suggest.
    Suggest(SuggestReason),
}

/// The trailer with which a team keeps a release from being reverted.
pub const NO_REVERT_TRAILER: &str = "Sluice-No-Revert";

/// Looks for reasons not to push in the messages of the commits that are undone: an opt-out in any
/// of them, or a newest one that is a revert itself (ours or a person's).
pub fn history_veto(history: &[HistoryEntry]) -> Option<Veto> {
    for entry in history {
        if let Some(reason) = super::message::trailer(&entry.message, NO_REVERT_TRAILER) {
            let commit = entry.commit.clone();
            let reason = super::message::clean(reason, 200);
            return Some(Veto::OptedOut(Blocked::OptedOut { commit, reason }));
        }
    }
    let newest = history.first()?;
    let is_revert = newest.message.contains("This reverts commit ")
        || super::message::trailer(&newest.message, super::revert_id::REVERT_ID_TRAILER).is_some();
    is_revert.then(|| Veto::Suggest(SuggestReason::RevertOfRevert(newest.commit.clone())))
}
