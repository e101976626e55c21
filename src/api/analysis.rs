//! `AnalysisTemplate`, `ClusterAnalysisTemplate` and `AnalysisRun`: specification and status, with
//! Argo Rollouts' field names; what we add is marked so. Data only: nothing here judges.

mod comparison;
mod status;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::comparison::{
    Arms, ArmsBy, Compared, ComparedType, Comparison, ErrorsMetric, InlineAnalysis, LatencyMetric,
    OnInconclusive, RunComparison,
};
pub use self::status::{
    AnalysisPhase, AnalysisRunStatus, ComparisonStatus, ComparisonVerdict, Measurement,
    MetricComparison, MetricResult, RunSummary, TrafficSplit,
};
use super::values::{IntOrString, is_false};
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
    /// What the comparing metrics have in common.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// One metric of an analysis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Name, unique in the run. Only `errors` and `latency` may do without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
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
    /// Where it is measured: exactly one provider. A metric that compares canary and stable has a
    /// `type` (or is `errors` or `latency`) instead, and no conditions, interval or limits of its own.
    #[serde(default, skip_serializing_if = "MetricProvider::is_absent")]
    pub provider: MetricProvider,
    /// What a metric that compares says.
    #[serde(flatten)]
    pub compared: Compared,
}

impl Metric {
    /// Whether it compares canary and stable, instead of measuring values for conditions.
    pub fn is_comparing(&self) -> bool {
        let Compared { kind, errors, latency, .. } = &self.compared;
        kind.is_some() || errors.is_some() || latency.is_some()
    }
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
    /// Metrics without a template of their own.
    #[serde(flatten)]
    pub inline: InlineAnalysis,
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
    /// What the metrics that compare canary and stable have in common. Not in Argo Rollouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<RunComparison>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
