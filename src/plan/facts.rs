//! What one pass knows about the world: every fact is Known or Unknown, and stays so until
//! `decide` has looked at it. Nothing here is computed; `observe` fills it in.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::action::ActionKey;
use super::validate::Checked;
use crate::analysis::Verdict;
use crate::analysis::templates::TemplateLibrary;
use crate::api::analysis::ComparisonStatus;
use crate::api::status::{PullRequestState, RevisionSource, RolloutStatus};
use crate::api::{ApiNames, Time};
use crate::revision::{Commit, Revision, TemplateDigest};
use crate::traffic::Acceptance;
use crate::weight::Split;

/// A fact from outside: known, or not and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known<T> {
    /// The fact.
    Known(T),
    /// Why it is not known, in words that can be shown to a person.
    Unknown(String),
}

impl<T> Known<T> {
    /// The fact, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(fact) => Some(fact),
            Self::Unknown(_) => None,
        }
    }

    /// Why the fact is not known.
    pub fn unknown_because(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(reason) => Some(reason),
        }
    }
}

/// Everything that one pass looked at.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The time of the pass; the only clock that deciding has.
    pub now: DateTime<Utc>,
    /// The API group's names.
    pub names: ApiNames,
    /// The Rollout itself.
    pub rollout: RolloutFact,
    /// The ReplicaSets that the Rollout owns.
    pub replica_sets: Known<Vec<ReplicaSetFact>>,
    /// The Services that the strategy names, by name.
    pub services: BTreeMap<String, Known<ServiceState>>,
    /// Ready endpoints by revision, for each Service that the strategy names.
    pub endpoints: BTreeMap<String, Known<BTreeMap<Revision, u32>>>,
    /// The route objects of the traffic router; empty without one.
    pub routes: Vec<RouteFact>,
    /// The AnalysisRuns that the Rollout owns.
    pub runs: Known<Vec<RunFact>>,
    /// The analysis templates that could be needed, by scope and name.
    pub templates: Known<TemplateLibrary>,
    /// What is known of Git.
    pub git: GitFact,
    /// Pods older than `spec.restartAt`; read only while a restart is due.
    pub pods_to_restart: Known<Vec<PodFact>>,
    /// Actions that failed lately and must wait before they are tried again.
    pub failing: Vec<FailingAction>,
    /// The pause that this process has been watching, if there is one.
    pub pause_watch: Option<PauseWatch>,
}

impl Observed {
    /// Whether this action failed lately and must wait.
    pub fn is_failing(&self, key: &ActionKey) -> bool {
        self.failing.iter().any(|one| one.key == *key)
    }
}

/// The Rollout.
#[derive(Clone, Debug)]
pub struct RolloutFact {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Unique identity: a Rollout made again under the same name has another.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Whether it carries our finalizer.
    pub has_finalizer: bool,
    /// When its deletion was requested.
    pub deleted_at: Option<DateTime<Utc>>,
    /// The spec, checked.
    pub spec: Arc<Checked>,
    /// The status as last written, or unknown when it cannot be understood.
    pub status: Known<RolloutStatus>,
    /// The object as read, for `fieldRef` arguments of analyses.
    pub raw: Arc<Value>,
}

/// A ReplicaSet that the Rollout owns.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSetFact {
    /// Name.
    pub name: String,
    /// The revision label.
    pub revision: Revision,
    /// The digest annotation; absent on ReplicaSets made by others.
    pub digest: Option<TemplateDigest>,
    /// The pod template without the revision label.
    pub template: Arc<Value>,
    /// The ordinal number of the revision; 0 when absent.
    pub number: u64,
    /// `spec.replicas`.
    pub desired: u32,
    /// `status.replicas`.
    pub replicas: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// `status.availableReplicas`, at the generation that the spec has; 0 while the status is older.
    pub available: u32,
    /// Whether the status is older than the spec: no count of pods is known then, and each stands at
    /// the least that it can be.
    pub is_behind: bool,
    /// `metadata.creationTimestamp`.
    pub created_at: DateTime<Utc>,
}

/// A Service that the strategy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// It does not exist.
    Missing,
    /// It exists.
    Present(ServiceFact),
}

/// A Service that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFact {
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// The Rollout that manages it, if any.
    pub managed_by: Option<String>,
}

/// One route object of the traffic router.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteFact {
    /// Kind and name for people, for example ``HTTPRoute `web` ``; also the key in actions.
    pub id: String,
    /// What was read.
    pub state: Known<RouteState>,
}

/// What a route object says.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteState {
    /// It does not exist, nor what it would be made from: it carries nothing.
    Missing {
        /// A sentence that names the object.
        reason: String,
    },
    /// It does not carry both Services, or is malformed.
    Unusable {
        /// What is wrong, in a sentence that names the object.
        reason: String,
        /// The most that the canary can get through it, where that is certain all the same.
        canary_at_most: Option<Split>,
    },
    /// Its rules carry different splits: the highest share of the canary.
    Uneven(Split),
    /// It carries a split.
    Present {
        /// The actual split.
        split: Split,
        /// Whether the data plane's controller accepted it.
        acceptance: Acceptance,
    },
}

/// What an AnalysisRun is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunSlot {
    /// The analysis step with this index.
    Step(u32),
    /// The analysis beside the steps.
    Background,
    /// Before a blue-green promotion.
    PrePromotion,
    /// After a blue-green promotion.
    PostPromotion,
}

impl RunSlot {
    /// The value of the run-type label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Step(_) => "Step",
            Self::Background => "Background",
            Self::PrePromotion => "PrePromotion",
            Self::PostPromotion => "PostPromotion",
        }
    }

    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Step(_) => "Step-based analysis",
            Self::Background => "Background analysis",
            Self::PrePromotion => "Pre-promotion analysis",
            Self::PostPromotion => "Post-promotion analysis",
        }
    }
}

/// An AnalysisRun that the Rollout owns.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFact {
    /// Name.
    pub name: String,
    /// What it is for; absent when its labels say nothing that we know.
    pub slot: Option<RunSlot>,
    /// The attempt it belongs to.
    pub attempt: Option<u64>,
    /// The revision it judges.
    pub revision: Option<Revision>,
    /// Its verdict so far.
    pub verdict: Verdict,
    /// Whether it was asked to stop.
    pub terminate: bool,
    /// Whether it has metrics that compare canary and stable.
    pub compares: bool,
    /// What these say, once one of them had a look.
    pub comparison: Option<ComparisonStatus>,
    /// `metadata.creationTimestamp`.
    pub created_at: DateTime<Utc>,
}

/// What is known of Git: results of work that runs beside the passes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GitFact {
    /// Answers to ledger look-ups.
    pub ledger: BTreeMap<Sight, LedgerAnswer>,
    /// The revert that is being carried out, or its result.
    pub revert: Option<RevertProgress>,
    /// The pull request that is being withdrawn, or what became of that.
    pub withdrawal: Option<WithdrawProgress>,
    /// The last look at the GitOps tool that is to apply a revert.
    pub sync: Option<SyncLook>,
    /// Whether the tool is asked to look at Git when a revert is there.
    pub asks_tools: bool,
    /// How it stands with the other Rollouts; looked at only while a revert is due. Absent: not known.
    pub around: Option<Around>,
    /// When so much is wrong that people must look first.
    pub limits: RevertLimits,
}

/// How it stands with all Rollouts of this controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// How many of them had an analysis fail within the last [`FAILURES_WITHIN`].
    pub failed_lately: u32,
    /// Commits and pull requests of the last 24 hours in the repository that is concerned.
    pub written_to_repository: u32,
}

/// Failures within this time are taken for one incident.
pub const FAILURES_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// When so much is wrong that people must look before anything is written to Git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevertLimits {
    /// Most Rollouts that may fail within [`FAILURES_WITHIN`]; 0: any number.
    pub failures: u32,
    /// Most commits and pull requests in one repository in 24 hours; 0: any number.
    pub per_repository: u32,
}

impl Default for RevertLimits {
    fn default() -> Self {
        Self { failures: 3, per_repository: 10 }
    }
}

/// A revision and when it was seen last. When it comes again another commit may declare it: an answer of
/// an earlier time says nothing then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sight {
    /// The revision.
    pub revision: Revision,
    /// When its template was seen.
    pub at: Time,
}

/// Reason of a revert for which the credentials are not lent.
pub const REASON_NOT_ALLOWED: &str = "NotAllowed";

/// What a ledger look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerAnswer {
    /// It is still looking, or about to look again.
    Running {
        /// What came of the look-up before.
        last: Option<LedgerMiss>,
    },
    /// A commit declares exactly this template.
    Declared(Declared),
    /// It does not, or cannot be read; and why.
    NotFound(String),
    /// The credentials are not lent for it; what is missing.
    NotAllowed(String),
}

/// A commit that declares a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The commit.
    pub commit: Commit,
    /// Where, if that was found through a GitOps tool.
    pub source: Option<RevisionSource>,
    /// Whether the tool had finished applying.
    pub is_final: bool,
}

/// A look-up that found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerMiss {
    /// Why, without secrets.
    pub reason: String,
    /// When the next look-up begins.
    pub next_try: DateTime<Utc>,
}

/// How far the work on a revert is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevertProgress {
    /// The revert's identity.
    pub id: String,
    /// Which try: the number of failed ones before it.
    pub tries: u32,
    /// Whether it is only to show what would be written.
    pub is_preview: bool,
    /// Its result; absent while it runs.
    pub result: Option<RevertResult>,
    /// When it had its result.
    pub ended_at: Option<DateTime<Utc>>,
}

/// How far the withdrawal of a pull request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithdrawProgress {
    /// The revert's identity.
    pub id: String,
    /// How the request is; absent while it is asked for, and after a failure.
    pub state: Option<PullRequestState>,
    /// When it ended; absent while it runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// A look at the GitOps tool that is to apply a revert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncLook {
    /// The revert's identity.
    pub id: String,
    /// What holds the tool up, in its own words; none when nothing says that anything does.
    pub obstacle: Option<String>,
    /// What came of asking it to look at Git; none when it was not asked.
    pub asked: Option<Asked>,
    /// When it ended; absent while it runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What came of asking a GitOps tool to look at Git.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its objects say so.
    Done,
    /// The API server does not allow it, in these words.
    Denied(String),
}

/// How the work on a revert ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevertResult {
    /// The commit is on the branch.
    Pushed(Commit),
    /// The branch declared the stable template already.
    AlreadyReverted,
    /// A pull request is open.
    Proposed {
        /// Its number.
        number: u64,
        /// Its page.
        url: String,
        /// Why it was not pushed; empty when that was not asked for.
        reason: String,
    },
    /// People closed the pull request.
    Vetoed {
        /// Its number.
        number: u64,
        /// Its page.
        url: String,
    },
    /// The branch declares something newer.
    Superseded,
    /// The change is suggested.
    Suggested {
        /// Unified diff.
        patch: String,
        /// Why it was not written.
        reason: String,
    },
    /// It cannot be done.
    Blocked {
        /// One word.
        reason: String,
        /// One sentence.
        message: String,
    },
    /// It did not work this time.
    Failed {
        /// One sentence.
        message: String,
        /// Whether another try may work.
        retryable: bool,
    },
}

/// For how long one process has been watching a pause, by a clock that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseWatch {
    /// When the pause began, as status says: which pause it is.
    pub since: DateTime<Utc>,
    /// What the wall clock said when the process saw the pause first.
    pub first_seen: DateTime<Utc>,
    /// How long ago that was, whatever the wall clock did since then.
    pub watched: TimeDelta,
}

/// A pod that is older than the requested restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    /// Name.
    pub name: String,
    /// Its revision.
    pub revision: Revision,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// An action that failed lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingAction {
    /// Which action.
    pub key: ActionKey,
    /// What went wrong, without secrets.
    pub error: String,
    /// Not before then.
    pub retry_at: DateTime<Utc>,
    /// Whether the name it wanted is taken by somebody else's object.
    pub name_is_taken: bool,
}
