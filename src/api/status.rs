//! `Rollout.status`: the wire form of everything that Sluice remembers and reports. It keeps the
//! shape of Argo Rollouts, so that its clients can read it; our additions are `attempt`,
//! `unmeasuredSince`, `waitingOn`, `lastRequest`, `revisions`, `failedRevisions`, `scaleDowns`,
//! `gitRevert`, `canary.desiredWeights` and `blueGreen.stage`.
//!
//! Only `plan::status::project` builds a [`RolloutStatus`], and only `plan::memory` reads one.

mod revisions;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::revisions::{
    FailedRevision, GitRevertState, GitRevertStatus, MAX_PATCH, PendingScaleDown, PullRequestState,
    PullRequestStatus, RefreshStatus, RevisionOutcome, RevisionRecord, RevisionSource,
};
use super::analysis::AnalysisPhase;
use super::values::{Time, is_false, is_zero};

/// The observed state of a Rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the wire form")]
pub struct RolloutStatus {
    /// Whether the update is aborted, or somebody asked for it.
    #[serde(skip_serializing_if = "is_false")]
    pub abort: bool,
    /// Whether a person asks for the Git revert of the version that is, or was, aborted by hand. The
    /// controller takes it away when it has recorded the wish.
    #[serde(skip_serializing_if = "is_false")]
    pub revert_git: bool,
    /// When the abort was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aborted_at: Option<Time>,
    /// Why the update pauses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pause_conditions: Vec<PauseCondition>,
    /// Whether Sluice itself paused; with no `pauseConditions`, somebody resumed.
    #[serde(skip_serializing_if = "is_false")]
    pub controller_pause: bool,
    /// Revision of `spec.template`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_pod_hash: String,
    /// Hash of the steps.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_step_hash: String,
    /// Index of the current step, from 0; the number of steps when nothing is being released; absent
    /// while the update is promoted, and without steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_index: Option<u32>,
    /// When the current step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_started_at: Option<Time>,
    /// The revision that was last promoted: where an abort goes back to.
    #[serde(rename = "stableRS", skip_serializing_if = "String::is_empty")]
    pub stable_rs: String,
    /// Number of the attempt; a new revision, a retry or changed steps begin a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// Pods of every revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Pods of the current revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_replicas: Option<u32>,
    /// Ready pods of every revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<u32>,
    /// Available pods of every revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_replicas: Option<u32>,
    /// The count that autoscalers read.
    #[serde(rename = "HPAReplicas", skip_serializing_if = "Option::is_none")]
    pub hpa_replicas: Option<u32>,
    /// The selector that autoscalers read.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Salt of revision names, raised when two templates collide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<u32>,
    /// The generation that this status describes; text, as in Argo Rollouts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub observed_generation: String,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Healthy, Degraded, Progressing or Paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<RolloutPhase>,
    /// Why the phase is what it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether the remaining steps and analyses are skipped.
    #[serde(skip_serializing_if = "is_false")]
    pub promote_full: bool,
    /// The last `spec.restartAt` that was carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Time>,
    /// Generation of the referenced workload, as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload_observed_generation: String,
    /// State of a canary.
    #[serde(skip_serializing_if = "CanaryStatus::is_empty")]
    pub canary: CanaryStatus,
    /// State of a blue-green update.
    #[serde(skip_serializing_if = "BlueGreenStatus::is_empty")]
    pub blue_green: BlueGreenStatus,
    /// What Sluice waits for; empty when it waits for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_on: Vec<WaitingOn>,
    /// The last request of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_request: Option<LastRequest>,
    /// Revisions that were seen, newest first, at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionRecord>,
    /// Revisions that failed and are refused until released, newest first, at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_revisions: Vec<FailedRevision>,
    /// Revisions that nobody needs any more but whose pods still run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scale_downs: Vec<PendingScaleDown>,
    /// Inconclusive AnalysisRuns that a person let pass in this attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acknowledged_runs: Vec<String>,
    /// State of the last Git revert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revert: Option<GitRevertStatus>,
    /// How long the update took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<RolloutDuration>,
    /// When progress was last seen; the progress deadline counts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_progress_at: Option<Time>,
    /// The most available pods of the current revision in this attempt and step.
    #[serde(skip_serializing_if = "is_zero")]
    pub progress_mark: u32,
    /// Since when an analysis could not be measured; the progress deadline counts from here too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmeasured_since: Option<Time>,
}

/// The four phases of Argo Rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// Nothing is left to do.
    Healthy,
    /// Invalid, aborted, or past its deadline.
    Degraded,
    /// Something is happening.
    Progressing,
    /// It waits for a person or for a time.
    Paused,
}

impl RolloutPhase {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded => "Degraded",
            Self::Progressing => "Progressing",
            Self::Paused => "Paused",
        }
    }
}

/// One reason to pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseCondition {
    /// Why.
    pub reason: PauseReason,
    /// Since when.
    pub start_time: Time,
}

/// Why the controller pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PauseReason {
    /// A pause step of a canary.
    CanaryPauseStep,
    /// The gate before a blue-green promotion.
    BlueGreenPause,
    /// An analysis ended as Inconclusive.
    InconclusiveAnalysisRun,
    /// An experiment ended as Inconclusive.
    InconclusiveExperiment,
}

impl PauseReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CanaryPauseStep => "CanaryPauseStep",
            Self::BlueGreenPause => "BlueGreenPause",
            Self::InconclusiveAnalysisRun => "InconclusiveAnalysisRun",
            Self::InconclusiveExperiment => "InconclusiveExperiment",
        }
    }
}

/// A condition, in Kubernetes' usual form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type; see `conditions`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    #[serde(default)]
    pub reason: String,
    /// One sentence.
    #[serde(default)]
    pub message: String,
    /// When the condition last changed its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// When the condition was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
}

/// State of a canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    /// The analysis of the current step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_step_analysis_run_status: Option<RunStatusRef>,
    /// The analysis beside the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_background_analysis_run_status: Option<RunStatusRef>,
    /// The experiment of the current step.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_experiment: String,
    /// Weights read back from the router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<TrafficWeights>,
    /// Weights that were decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_weights: Option<TrafficWeights>,
    /// `ping` or `pong`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stable_ping_pong: String,
}

impl CanaryStatus {
    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Weights of both sides; they sum to `maxTrafficWeight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrafficWeights {
    /// The canary's side.
    pub canary: WeightDestination,
    /// The stable side.
    pub stable: WeightDestination,
    /// Whether the weight is known to be in effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// One side of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightDestination {
    /// Parts of `maxTrafficWeight`.
    pub weight: u32,
    /// Service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// Revision that the Service selects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_template_hash: String,
}

/// An AnalysisRun and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunStatusRef {
    /// Name of the AnalysisRun.
    pub name: String,
    /// Its phase.
    #[serde(default)]
    pub status: AnalysisPhase,
    /// Its message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// State of a blue-green update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BlueGreenStatus {
    /// Revision that the preview Service selects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preview_selector: String,
    /// Revision that the active Service selects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub active_selector: String,
    /// Whether the preview has passed its checks and is scaled to full size.
    #[serde(skip_serializing_if = "is_false")]
    pub scale_up_preview_check_point: bool,
    /// The analysis before the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_promotion_analysis_run_status: Option<RunStatusRef>,
    /// The analysis after the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_promotion_analysis_run_status: Option<RunStatusRef>,
    /// How far the update is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<BlueGreenStage>,
}

impl BlueGreenStatus {
    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How far a blue-green update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BlueGreenStage {
    /// The new set is brought up and checked.
    Preview,
    /// All gates are open: the active Service is being switched.
    Promoting,
    /// The active Service is switched; the analysis after promotion runs.
    Verifying,
}

/// What Sluice waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingOn {
    /// What, in one sentence.
    pub what: String,
    /// Since when.
    pub since: Time,
    /// Until when, where there is a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// The last request of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LastRequest {
    /// `abort`, `promote`, `promote-full`, `retry`, `pause`, `resume`, ...
    pub verb: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Who, as the kubeconfig says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
}

/// How long an update took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutDuration {
    /// When the attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout_started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_status: Option<CompletionStatus>,
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompletionStatus {
    /// Through all gates.
    Promoted,
    /// By `promote --full`.
    FastPromoted,
    /// Aborted.
    Aborted,
    /// A newer revision came.
    Superseded,
    /// The template went back to the stable one.
    RolledBack,
    /// The template went back to a revision that was still running.
    FastRolledBack,
}
