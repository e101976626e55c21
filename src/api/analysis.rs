//! `AnalysisTemplate`, `ClusterAnalysisTemplate` and `AnalysisRun`: specification and status, with
//! Argo Rollouts' field names; what we add is marked so. Data only: nothing here judges.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::values::{IntOrString, RawObject, Time};
use crate::metrics::spec::MetricProvider;

/// Specification of an `AnalysisTemplate` and of a `ClusterAnalysisTemplate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisTemplateSpec {
    /// What is measured and how it is judged. May be empty when `templates` are named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Arguments that the metrics use as `{{args.NAME}}`, with their defaults.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// Metrics that are measured and never decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dry_run: Vec<DryRun>,
    /// How many measurements are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurement_retention: Vec<MeasurementRetention>,
    /// Further templates whose metrics and arguments are added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<AnalysisTemplateRef>,
}

/// One metric of an analysis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Name, unique in the run.
    pub name: String,
    /// Time between the starts of two measurements (`30s`, `5m`); none: one measurement. The
    /// measurements stand on a grid that does not drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntOrString>,
    /// Time from the start of the run to the first measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<IntOrString>,
    /// Number of measurements that were judged (errors do not count); none or 0 with an interval:
    /// until the run is terminated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<IntOrString>,
    /// Expression over `result` that is true for a good value.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub success_condition: Option<String>,
    /// Expression over `result` that is true for a bad value.
    #[serde(default, skip_serializing_if = "is_blank")]
    pub failure_condition: Option<String>,
    /// Bad values that are tolerated; default 0, -1 tolerates all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_limit: Option<IntOrString>,
    /// Undecided values that are tolerated; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inconclusive_limit: Option<IntOrString>,
    /// Errors in a row that are tolerated. Without it errors never end the run (Argo Rollouts: 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_error_limit: Option<IntOrString>,
    /// Good values in a row that end the metric as successful; default 0: not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_success_limit: Option<IntOrString>,
    /// Good values without which the metric never succeeds; default 1. Not in Argo Rollouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<IntOrString>,
    /// Where it is measured: exactly one provider.
    pub provider: MetricProvider,
}

/// An empty text means "not set", as in Argo Rollouts.
#[expect(clippy::ref_option, reason = "serde's skip_serializing_if gives a reference")]
fn is_blank(text: &Option<String>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}

/// An argument of templates and runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Name, used as `{{args.NAME}}`.
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where its value is found; excludes `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Source of an [`Argument`] of a template: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ValueFrom {
    /// A Secret in the namespace of the run. Only Jobs may use such an argument, and only as the
    /// whole value of an environment variable; the value never passes through the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A field of the Rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in its data.
    pub key: String,
}

/// A path into the Rollout object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// Such as `metadata.labels['app']` or `spec.template.spec.containers[0].image`.
    pub field_path: String,
}

/// Selects metrics that never decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// Name of a metric, or a regular expression that matches the whole name.
    pub metric_name: String,
}

/// How many measurements of selected metrics are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasurementRetention {
    /// Name of a metric, or a regular expression that matches the whole name.
    pub metric_name: String,
    /// Newest measurements that are kept; default 10, at most 100.
    pub limit: i32,
}

/// A reference to a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisTemplateRef {
    /// Name of the template.
    pub template_name: String,
    /// Whether it is a `ClusterAnalysisTemplate`; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_scope: Option<bool>,
}

impl AnalysisTemplateRef {
    /// Whether a `ClusterAnalysisTemplate` is meant.
    pub fn is_cluster_scope(&self) -> bool {
        self.cluster_scope == Some(true)
    }
}

/// An analysis that a Rollout asks for (a step, before or after promotion).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutAnalysis {
    /// The templates whose metrics are measured together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<AnalysisTemplateRef>,
    /// Arguments for the templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<RolloutArgument>,
    /// Metrics that are measured and never decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dry_run: Vec<DryRun>,
    /// How many measurements are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurement_retention: Vec<MeasurementRetention>,
    /// Labels and annotations of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis_run_metadata: Option<AnalysisRunMetadata>,
}

/// The analysis that runs beside the steps of a canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutAnalysisBackground {
    /// The analysis.
    #[serde(flatten)]
    pub analysis: RolloutAnalysis,
    /// Index of the step with which it starts; default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starting_step: Option<i32>,
}

/// Labels and annotations for the runs of a Rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AnalysisRunMetadata {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An argument that a Rollout gives to templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutArgument {
    /// Name, used as `{{args.NAME}}`.
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where its value is found; excludes `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<RolloutArgumentSource>,
}

/// Source of a [`RolloutArgument`]: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloutArgumentSource {
    /// The hash of the new or of the stable pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template_hash_value: Option<PodTemplateHash>,
    /// A field of the Rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
}

/// Whose hash is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodTemplateHash {
    /// Of the stable revision.
    Stable,
    /// Of the new revision.
    Latest,
}

/// Specification of an `AnalysisRun`: templates already merged, arguments given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunSpec {
    /// What is measured and how it is judged.
    pub metrics: Vec<Metric>,
    /// Arguments that the metrics use as `{{args.NAME}}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Argument>,
    /// Ends the run: no further measurement is started.
    #[serde(skip_serializing_if = "is_false")]
    pub terminate: bool,
    /// Metrics that are measured and never decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dry_run: Vec<DryRun>,
    /// How many measurements are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurement_retention: Vec<MeasurementRetention>,
    /// When the finished run is deleted; default: with its Rollout's history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_strategy: Option<TtlStrategy>,
}

/// When a finished run is deleted, in seconds after its completion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TtlStrategy {
    /// For runs that ended in any way for which no own time is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_after_completion: Option<i32>,
    /// For runs that did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_after_failure: Option<i32>,
    /// For runs that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_after_success: Option<i32>,
}

/// How far a run, a metric or a measurement is. On the wire an empty text means `Pending`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, JsonSchema)]
pub enum AnalysisPhase {
    /// Not started.
    #[default]
    Pending,
    /// Under way.
    Running,
    /// Good.
    Successful,
    /// Bad.
    Failed,
    /// Could not be measured.
    Error,
    /// Neither good nor bad.
    Inconclusive,
}

impl<'de> Deserialize<'de> for AnalysisPhase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        match text.as_ref() {
            "" | "Pending" => Ok(Self::Pending),
            "Running" => Ok(Self::Running),
            "Successful" => Ok(Self::Successful),
            "Failed" => Ok(Self::Failed),
            "Error" => Ok(Self::Error),
            "Inconclusive" => Ok(Self::Inconclusive),
            other => Err(serde::de::Error::custom(format!("{other:?} is not an analysis phase"))),
        }
    }
}

impl AnalysisPhase {
    /// Whether nothing more will happen.
    pub fn is_completed(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Successful | Self::Failed | Self::Error | Self::Inconclusive => true,
        }
    }

    /// The phase as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Inconclusive => "Inconclusive",
        }
    }

    /// Rank among phases; the worst metric gives the run its phase.
    pub fn badness(self) -> u8 {
        match self {
            Self::Successful => 0,
            Self::Running => 1,
            Self::Pending => 2,
            Self::Inconclusive => 3,
            Self::Error => 4,
            Self::Failed => 5,
        }
    }
}

/// Status of an `AnalysisRun`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisRunStatus {
    /// How far the run is.
    pub phase: AnalysisPhase,
    /// Names the metric and the limit that decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// One entry for each metric that was measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metric_results: Vec<MetricResult>,
    /// When the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// The deciding metrics by outcome.
    #[serde(skip_serializing_if = "RunSummary::is_empty")]
    pub run_summary: RunSummary,
    /// The dry-run metrics by outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run_summary: Option<RunSummary>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Whether the run was ended from outside before its metrics had decided. Such a run opens no
    /// gate. Not in Argo Rollouts.
    #[serde(skip_serializing_if = "is_false")]
    pub terminated: bool,
    /// State of the sequential judge, with its `version`. Not in Argo Rollouts; not built yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<RawObject>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Metrics of a run by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunSummary {
    /// Metrics in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub count: u32,
    /// Metrics that succeeded.
    #[serde(skip_serializing_if = "is_zero")]
    pub successful: u32,
    /// Metrics that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Metrics that stayed undecided.
    #[serde(skip_serializing_if = "is_zero")]
    pub inconclusive: u32,
    /// Metrics that could not be measured.
    #[serde(skip_serializing_if = "is_zero")]
    pub error: u32,
}

impl RunSummary {
    /// Whether all counts are zero.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What became of one metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricResult {
    /// Name of the metric.
    pub name: String,
    /// How far it is.
    pub phase: AnalysisPhase,
    /// The newest measurements, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// What decided, or what the newest measurement said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Measurements that were judged: good, bad and undecided ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub count: u32,
    /// Good ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub successful: u32,
    /// Bad ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// Undecided ones.
    #[serde(skip_serializing_if = "is_zero")]
    pub inconclusive: u32,
    /// Measurements that gave no value.
    #[serde(skip_serializing_if = "is_zero")]
    pub error: u32,
    /// Of these, in a row until now.
    #[serde(skip_serializing_if = "is_zero")]
    pub consecutive_error: u32,
    /// Whether this metric never decides.
    #[serde(skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Such as the query with its arguments filled in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Good ones in a row until now.
    #[serde(skip_serializing_if = "is_zero")]
    pub consecutive_success: u32,
}

/// One value at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Measurement {
    /// How it was judged.
    pub phase: AnalysisPhase,
    /// Why there is no value, or why it could not be judged.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it came back; none while a Job runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The value as text, shortened.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Such as the name of the Job.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When a running Job is looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn argos_wire_names_survive_a_round_trip() {
        let wire = json!({
            "phase": "Failed",
            "message": "Metric \"web\" assessed Failed due to failed (1) > failureLimit (0)",
            "startedAt": "2026-08-17T11:21:11.000Z",
            "completedAt": "2026-08-17T11:22:11.000Z",
            "runSummary": {"count": 1, "failed": 1},
            "dryRunSummary": {},
            "metricResults": [{
                "name": "web", "phase": "Failed", "count": 1, "failed": 1, "error": 2,
                "consecutiveError": 0, "consecutiveSuccess": 0, "inconclusive": 0,
                "metadata": {"ResolvedPrometheusQuery": "up"},
                "measurements": [{
                    "phase": "Failed", "value": "[0.4]", "startedAt": "2026-08-17T11:22:11.000Z",
                    "finishedAt": "2026-08-17T11:22:11.000Z", "metadata": {"job-name": "x"},
                    "resumeAt": "2026-08-17T11:22:11.000Z"
                }]
            }]
        });
        let status: AnalysisRunStatus = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(status.metric_results[0].error, 2);
        let again = serde_json::to_value(&status).unwrap();
        assert_eq!(
            again["metricResults"][0]["measurements"],
            wire["metricResults"][0]["measurements"]
        );
        assert_eq!(again["runSummary"], wire["runSummary"]);
    }

    #[test]
    fn an_empty_phase_means_that_nothing_has_started() {
        let status: AnalysisRunStatus = serde_json::from_value(json!({"phase": ""})).unwrap();
        assert_eq!(status.phase, AnalysisPhase::Pending);
        assert!(serde_json::from_value::<AnalysisPhase>(json!("Good")).is_err());
    }

    #[test]
    fn an_analysis_of_argos_documentation_is_read() {
        let background: RolloutAnalysisBackground = serde_json::from_value(json!({
            "templates": [{"templateName": "success-rate", "clusterScope": true}],
            "startingStep": 2,
            "args": [
                {"name": "service-name", "value": "guestbook-svc.default.svc.cluster.local"},
                {"name": "stable-hash", "valueFrom": {"podTemplateHashValue": "Stable"}},
                {"name": "region", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['region']"}}}
            ],
            "analysisRunMetadata": {"labels": {"a": "b"}}
        })).unwrap();
        assert_eq!(background.starting_step, Some(2));
        assert!(background.analysis.templates[0].is_cluster_scope());
        assert_eq!(background.analysis.args.len(), 3);
    }
}
