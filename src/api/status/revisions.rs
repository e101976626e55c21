//! What `Rollout.status` remembers of revisions: the ledger, those that failed, those whose pods are
//! to go, and the Git revert.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::conditions::RevertEnd;
use crate::api::values::{Time, is_false};

/// A revision that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionRecord {
    /// The revision.
    pub revision: String,
    /// Digest of its template.
    pub digest: String,
    /// The commit that declared it, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Where that commit declares it, if this was found through a GitOps tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<RevisionSource>,
    /// Whether the tool was still applying, so that a later commit may be the right one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub provisional: bool,
    /// When it was first seen.
    pub observed_at: Time,
    /// What became of it.
    #[serde(default)]
    pub outcome: RevisionOutcome,
    /// Why the commit is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether it is not known because the credentials are not lent for looking.
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_allowed: bool,
    /// The commit that took it back in Git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_by: Option<String>,
    /// Whether it had been promoted before it was seen again: it is gone back to by people.
    #[serde(default, skip_serializing_if = "is_false")]
    pub was_stable: bool,
}

/// A place in Git that a GitOps tool applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSource {
    /// The object that applies it, such as `Application argocd/web`.
    pub owner: String,
    /// The repository.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// The folder.
    pub path: String,
    /// The one file of the folder that matters, if the tool names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What became of a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RevisionOutcome {
    /// It is being released.
    #[default]
    Pending,
    /// It was promoted.
    Stable,
    /// It was aborted because its analysis failed, or a person wants it taken back in Git.
    Failed,
    /// It was aborted for another reason.
    Aborted,
    /// A newer one came before it was done.
    Superseded,
    /// It had failed, was declared again too soon, and was not rolled out.
    Quarantined,
}

/// A revision that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedRevision {
    /// The revision.
    pub revision: String,
    /// Digest of its template.
    pub digest: String,
    /// When it failed.
    pub at: Time,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Who asked for its Git revert, where no analysis failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// A revision that nobody needs any more but whose pods still run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingScaleDown {
    /// The revision.
    pub revision: String,
    /// From when its pods may be removed.
    pub at: Time,
}

/// Longest patch that is kept, in characters.
pub const MAX_PATCH: usize = 8 * 1024;

/// State of a Git revert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRevertStatus {
    /// How far it is.
    pub state: GitRevertState,
    /// One word why, where it did not go through.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The commit that was pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Identity of this revert; it stands in the commit's trailer too.
    pub id: String,
    /// The revision that failed.
    pub failed_revision: String,
    /// When the state was last changed.
    pub at: Time,
    /// The suggested change, as a unified diff, at most 8 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub patch: String,
    /// How many times it was tried.
    #[serde(default)]
    pub tries: u32,
    /// The pull request that proposes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestStatus>,
    /// When commits were pushed in the last 24 hours, this one included, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pushed_at: Vec<Time>,
    /// What came of asking the GitOps tool to look at Git, which is done once for a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshStatus>,
    /// Whether a person approved it: it waits no more for people, for the settle time, or because many
    /// Rollouts failed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub approved: bool,
}

impl GitRevertStatus {
    /// Whether it waits for a person because many Rollouts failed at once.
    pub fn is_held_back_by_failures(&self) -> bool {
        self.state == GitRevertState::Suspended && self.reason == RevertEnd::ManyFailures.as_str()
    }

    /// Whether a person must say so before it is written.
    pub fn waits_for_approval(&self) -> bool {
        self.state == GitRevertState::AwaitingApproval || self.is_held_back_by_failures()
    }
}

/// What came of asking a GitOps tool to look at Git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefreshStatus {
    /// When.
    pub at: Time,
    /// Why the API server did not allow it; absent when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
}

/// A pull request of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullRequestStatus {
    /// Its number in the repository.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// How it is.
    pub state: PullRequestState,
}

/// How a pull request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullRequestState {
    /// It waits for people.
    Open,
    /// It was merged.
    Merged,
    /// People closed it.
    Closed,
    /// We closed it, because it was not needed any more.
    Withdrawn,
}

/// How far a Git revert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GitRevertState {
    /// It is due; nothing has been written.
    Planned,
    /// It waits for a person.
    AwaitingApproval,
    /// It is being written.
    Pushing,
    /// A pull request waits for people.
    PullRequestOpen,
    /// People closed the pull request; it is not opened again.
    Vetoed,
    /// The commit is on the branch; the cluster does not show it yet.
    AwaitingSync,
    /// The cluster shows the stable template again.
    Reverted,
    /// Git declared the stable template already.
    AlreadyReverted,
    /// Git declares something newer.
    Superseded,
    /// The change was suggested, not written.
    Suggested,
    /// It cannot be done; `reason` says why.
    Blocked,
    /// The commit is applied but the template did not change.
    Ineffective,
    /// There were too many reverts of late; a person must look.
    Suspended,
}
