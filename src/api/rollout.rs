//! `Rollout.spec`: what a team declares. Field names and defaults are those of Argo Rollouts
//! v1alpha1; what Sluice adds is `gitRevert`, `trafficRouting.gatewayAPI`, and the words `never` and
//! `immediately` for delays. Nothing here decides whether a value makes sense: see `validate`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::{RolloutAnalysis, RolloutAnalysisBackground};
use super::git_revert::GitRevert;
use super::traffic_routing::TrafficRouting;
use super::values::{IntOrString, LabelSelector, RawObject, Time, is_false};

/// The desired state of a Rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// Number of pods, at least 0. Default 1, written by the API server. Autoscalers write it
    /// through the scale subresource: leave it out of a manifest where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Which pods belong to this Rollout; must match the template's labels. Immutable. Required
    /// unless `workloadRef` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// The pod template (core/v1 `PodTemplateSpec`), kept exactly as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<RawObject>,
    /// A Deployment, ReplicaSet or PodTemplate whose template is used instead of `template`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
    /// How a change of the template is released: exactly one of `canary` and `blueGreen`.
    pub strategy: Strategy,
    /// Seconds for which a new pod must be ready before it counts as available. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ready_seconds: Option<u32>,
    /// Number of old, scaled-down ReplicaSets that are kept. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_history_limit: Option<u32>,
    /// Halts progress (not scaling) until it is set back. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// Seconds without progress after which the Rollout is Degraded. Default 600; must exceed
    /// `minReadySeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<u32>,
    /// Whether a passed progress deadline aborts the update. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub progress_deadline_abort: bool,
    /// Every pod created before this instant is evicted, a few at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_at: Option<Time>,
    /// Going back to a recent revision skips steps and analysis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_window: Option<RollbackWindow>,
    /// How many finished AnalysisRuns are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisRunHistory>,
    /// What happens in Git when an update fails its analysis. Absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revert: Option<GitRevert>,
}

/// The workload that carries the pod template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// API version of the referenced object, for example `apps/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `Deployment`, `ReplicaSet` or `PodTemplate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the referenced object, in the Rollout's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happens to the referenced workload: `never`, `onsuccess` or `progressively`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<String>,
}

/// How far back a fast rollback reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RollbackWindow {
    /// Number of revisions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revisions: Option<u32>,
}

/// How many finished AnalysisRuns are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRunHistory {
    /// Successful runs kept. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successful_run_history_limit: Option<u32>,
    /// Failed, Error and Inconclusive runs kept. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsuccessful_run_history_limit: Option<u32>,
}

/// How a change is released.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// Step by step, with a growing share of the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStrategy>,
    /// At once, after checks on a full second set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreenStrategy>,
}

/// `strategy.canary`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStrategy {
    /// Service whose selector follows the stable revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_service: Option<String>,
    /// Service whose selector follows the new revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_service: Option<String>,
    /// The steps. None: like a rolling update.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<CanaryStep>,
    /// How many pods beyond `replicas` may exist, as a count or a percentage rounded up. Default
    /// 25%. Without traffic routing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrString>,
    /// How many of `replicas` may be unavailable, as a count or a percentage rounded down. Default
    /// 25%; 1 when both it and `maxSurge` come out as 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// Analysis that runs beside the steps ("background").
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<RolloutAnalysisBackground>,
    /// Keeps pods of the two revisions apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<RawObject>,
    /// Labels and annotations put on the pods of the new revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_metadata: Option<PodMetadata>,
    /// Labels and annotations put on the pods of the stable revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_metadata: Option<PodMetadata>,
    /// How long the old ReplicaSet keeps its pods after promotion: seconds, a duration, `never` or
    /// `immediately`. Default 30 with `trafficRouting`; 0 means at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_delay_seconds: Option<IntOrString>,
    /// How many old ReplicaSets may wait for their scale-down. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_delay_revision_limit: Option<u32>,
    /// How long the new ReplicaSet keeps its pods after an abort: seconds, a duration, `never` or
    /// `immediately`. Default 30 with `trafficRouting`; 0 keeps them for ever, as in Argo Rollouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_scale_down_delay_seconds: Option<IntOrString>,
    /// Whether the stable ReplicaSet shrinks as the canary grows. Default false. Needs
    /// `trafficRouting`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dynamic_stable_scale: bool,
    /// Two Services that take turns as the stable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping_pong: Option<RawObject>,
    /// Smallest size of a ReplicaSet that is not at 0. Needs `trafficRouting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_pods_per_replica_set: Option<u32>,
    /// The share of the canary's pods that must be available for a step to be done. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_progress_threshold: Option<ReplicaProgressThreshold>,
    /// The router that splits traffic. Absent: the number of pods of each revision does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_routing: Option<TrafficRouting>,
}

/// Labels and annotations for live pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PodMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// When enough of the canary's pods are available.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaProgressThreshold {
    /// `Percent` or `Pods`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The percentage (1 to 100) or the number of pods (at least 1).
    pub value: u32,
}

/// One entry of `steps`: exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStep {
    /// The canary's share of the traffic, 0 to `maxTrafficWeight` (100).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_weight: Option<i64>,
    /// Waits, for a duration or until somebody promotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseStep>,
    /// Sizes the canary apart from its weight. Needs `trafficRouting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_canary_scale: Option<SetCanaryScale>,
    /// Runs an analysis and waits for its verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<RolloutAnalysis>,
    /// Runs versions side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<RawObject>,
    /// Sends requests with certain headers to the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_header_route: Option<RawObject>,
    /// Copies requests to the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_mirror_route: Option<RawObject>,
    /// A step that an external program carries out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<RawObject>,
}

/// A pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseStep {
    /// Seconds as a number, or "30s", "5m", "1h". Absent: until somebody promotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<IntOrString>,
}

/// The canary's size: exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SetCanaryScale {
    /// A share of `replicas`, 0 to 100 percent, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<i64>,
    /// A number of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// True: the size follows the traffic weight again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub match_traffic_weight: bool,
}

/// `strategy.blueGreen`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreenStrategy {
    /// Service that users reach; its selector is switched at promotion.
    pub active_service: String,
    /// Service whose selector follows the new revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_service: Option<String>,
    /// Size of the new ReplicaSet before promotion. Default: `replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_replica_count: Option<u32>,
    /// Whether promotion happens by itself. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_promotion_enabled: Option<bool>,
    /// Seconds between full availability of the new ReplicaSet and its promotion. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_promotion_seconds: Option<u32>,
    /// Analysis that must succeed before the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_promotion_analysis: Option<RolloutAnalysis>,
    /// Analysis after the switch; its failure switches back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_promotion_analysis: Option<RolloutAnalysis>,
    /// How long the old ReplicaSet keeps its pods after the switch: seconds, a duration, `never` or
    /// `immediately`. Default 30; 0 means at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_delay_seconds: Option<IntOrString>,
    /// How many old ReplicaSets may wait for their scale-down. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_delay_revision_limit: Option<u32>,
    /// How long the new ReplicaSet keeps its pods after an abort: seconds, a duration, `never` or
    /// `immediately`. Default 30; 0 keeps them for ever, as in Argo Rollouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort_scale_down_delay_seconds: Option<IntOrString>,
    /// How many pods may be unavailable during a restart. Default 25%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// Keeps pods of the two revisions apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<RawObject>,
    /// Labels and annotations put on the pods of the new revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_metadata: Option<PodMetadata>,
    /// Labels and annotations put on the pods of the active revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_metadata: Option<PodMetadata>,
}
