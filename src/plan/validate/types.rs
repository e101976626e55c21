//! A spec that was checked: every default filled in, every choice an enum.

use chrono::TimeDelta;
use serde_json::Value;

use crate::api::analysis::{InlineAnalysis, RolloutAnalysis};
use crate::api::git_revert::{
    GitApproval, GitCommitOptions, GitRevertCause, GitRevertMode, PullRequestOptions,
    PullRequestProvider,
};
use crate::api::{CountOrPercent, LabelSelector, Time};
use crate::revision::TemplateDigest;
use crate::traffic::Providers;
use crate::weight::Split;

/// A Rollout's spec, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRollout {
    /// Number of pods.
    pub replicas: u32,
    /// Which pods belong to the Rollout.
    pub selector: LabelSelector,
    /// The pod template, as written.
    pub template: Value,
    /// Its digest.
    pub digest: TemplateDigest,
    /// Seconds until a ready pod is available.
    pub min_ready_seconds: u32,
    /// Old ReplicaSets kept.
    pub history_limit: u32,
    /// Whether a person holds it.
    pub paused: bool,
    /// Time without progress after which it is Degraded.
    pub progress_deadline: TimeDelta,
    /// Whether the deadline aborts.
    pub deadline_aborts: bool,
    /// Pods created before are restarted.
    pub restart_at: Option<Time>,
    /// Successful AnalysisRuns kept.
    pub keep_successful_runs: u32,
    /// Other finished AnalysisRuns kept.
    pub keep_unsuccessful_runs: u32,
    /// How changes are released.
    pub strategy: ValidStrategy,
    /// What happens in Git; absent when disabled.
    pub git: Option<ValidGit>,
}

impl ValidRollout {
    /// The router, if the strategy has one.
    pub fn routing(&self) -> Option<&ValidRouting> {
        match &self.strategy {
            ValidStrategy::Canary(canary) => canary.routing.as_ref(),
            ValidStrategy::BlueGreen(_) => None,
        }
    }
}

/// How changes are released.
#[derive(Clone, Debug, PartialEq)]
pub enum ValidStrategy {
    /// Step by step.
    Canary(ValidCanary),
    /// At once.
    BlueGreen(ValidBlueGreen),
}

/// A canary.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidCanary {
    /// Service of the stable revision.
    pub stable_service: Option<String>,
    /// Service of the new revision.
    pub canary_service: Option<String>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Identity of the steps: when it changes, the update starts again.
    pub step_hash: String,
    /// Pods beyond `replicas`.
    pub max_surge: CountOrPercent,
    /// Pods that may be unavailable.
    pub max_unavailable: CountOrPercent,
    /// Analysis beside the steps, and the step from which it runs.
    pub background: Option<(RolloutAnalysis, u32)>,
    /// Metrics of that analysis which stand in the Rollout itself.
    pub inline: Box<InlineAnalysis>,
    /// When old pods go after promotion.
    pub scale_down: ScaleDown,
    /// How many old ReplicaSets may linger.
    pub scale_down_limit: Option<u32>,
    /// When the canary's pods go after an abort.
    pub abort_scale_down: ScaleDown,
    /// Whether stable shrinks as the canary grows.
    pub dynamic_stable_scale: bool,
    /// Smallest size of a ReplicaSet that is not at 0.
    pub min_pods: u32,
    /// When enough of the canary is available.
    pub threshold: Threshold,
    /// The router.
    pub routing: Option<ValidRouting>,
}

/// The router of a canary.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRouting {
    /// The configured routers.
    pub providers: Providers,
    /// The largest weight.
    pub total: u32,
    /// Service of the stable revision.
    pub stable_service: String,
    /// Service of the new revision.
    pub canary_service: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The canary's share.
    SetWeight(Split),
    /// Waits; without a duration, for a person.
    Pause(Option<TimeDelta>),
    /// Sizes the canary.
    SetCanaryScale(CanaryScale),
    /// Analyses.
    Analysis(RolloutAnalysis),
}

/// The canary's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryScale {
    /// Percent of `replicas`, rounded up.
    Percent(u32),
    /// A number of pods.
    Replicas(u32),
    /// As the traffic weight says.
    MatchTrafficWeight,
}

/// When pods that are no longer needed go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleDown {
    /// After this time.
    After(TimeDelta),
    /// Never.
    Never,
}

/// When enough of the canary's pods are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// All of them.
    All,
    /// This percentage of them, rounded up.
    Percent(u32),
    /// This number of them.
    Pods(u32),
}

impl Threshold {
    /// The number of available pods that is enough, of `size`.
    pub fn enough_of(self, size: u32) -> u32 {
        match self {
            Self::All => size,
            Self::Percent(percent) => {
                CountOrPercent::Percent(percent).of_rounded_up(size).min(size)
            }
            Self::Pods(pods) => pods.min(size),
        }
    }
}

/// A blue-green update.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidBlueGreen {
    /// Service that users reach.
    pub active_service: String,
    /// Service of the new revision.
    pub preview_service: Option<String>,
    /// Size of the new ReplicaSet before promotion.
    pub preview_replicas: Option<u32>,
    /// Whether promotion waits for a person.
    pub promotion: Promotion,
    /// Analysis before the switch.
    pub pre_promotion: Option<RolloutAnalysis>,
    /// Analysis after the switch.
    pub post_promotion: Option<RolloutAnalysis>,
    /// When old pods go after the switch.
    pub scale_down: ScaleDown,
    /// How many old ReplicaSets may linger.
    pub scale_down_limit: Option<u32>,
    /// When the new pods go after an abort.
    pub abort_scale_down: ScaleDown,
    /// Pods that may be unavailable during a restart.
    pub max_unavailable: CountOrPercent,
}

/// When a blue-green update is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// As soon as all is ready.
    Automatic,
    /// This time after all is ready.
    AutomaticAfter(TimeDelta),
    /// When a person promotes.
    Manual,
}

/// A place in Git that the user names.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSource {
    /// Repository.
    pub url: String,
    /// Branch.
    pub branch: String,
    /// Folder.
    pub path: String,
    /// File, relative to the folder.
    pub file: Option<String>,
}

/// What happens in Git.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidGit {
    /// How far Sluice goes by itself.
    pub mode: GitRevertMode,
    /// Whether a person must approve.
    pub approval: GitApproval,
    /// Which failures are reverted.
    pub causes: Vec<GitRevertCause>,
    /// Where Git declares the Rollout; absent when that is found through the GitOps tool.
    pub named: Option<NamedSource>,
    /// Secret with the credentials.
    pub secret: Option<String>,
    /// `ClusterGitCredential` in its place.
    pub credential: Option<String>,
    /// Which forge the repository is at, when the user says it.
    pub provider: Option<PullRequestProvider>,
    /// Whether requests are drafts, and their labels.
    pub requests: PullRequestOptions,
    /// How long to wait for the cluster to show the reverted template.
    pub verify_timeout: TimeDelta,
    /// How long Git is left alone after a failure.
    pub settle: TimeDelta,
    /// How long a template that failed is refused when it is declared again; zero: not at all.
    pub cooldown: TimeDelta,
    /// Most commits in 24 hours.
    pub max_per_day: u32,
    /// Author and form of the commit.
    pub commit: GitCommitOptions,
}
