//! `AnalysisRun.status`: what a run, its metrics and its measurements report.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::comparison::OnInconclusive;
use crate::api::values::{RawObject, Time, is_false, is_zero};

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
    /// State of the judge of the metrics that compare, with its `version`. Not in Argo Rollouts, and not
    /// for others to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<RawObject>,
    /// What the metrics that compare say so far. Not in Argo Rollouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonStatus>,
}

/// What the metrics that compare say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ComparisonStatus {
    /// The verdict of all of them.
    pub verdict: ComparisonVerdict,
    /// The same in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Each metric that had a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricComparison>,
    /// Whether the end of the steps waits for PASS.
    #[serde(skip_serializing_if = "is_false")]
    pub requires_pass: bool,
    /// What becomes of an update that is undecided at the end of its steps.
    pub on_inconclusive: OnInconclusive,
}

/// What one metric that compares says. Fractions are decimal strings, as Kubernetes' conventions ask.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricComparison {
    /// Its name.
    pub name: String,
    /// Its verdict.
    pub verdict: ComparisonVerdict,
    /// Natural logarithm of the evidence against "within its limits".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_e_fail: Option<String>,
    /// Natural logarithm of the evidence against "at or beyond its margin".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_e_pass: Option<String>,
    /// The canary has at least this many times the bad share of stable; absent for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_lower: Option<String>,
    /// And at most this many times; absent for no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_upper: Option<String>,
    /// Set while it is proved that requests do not follow the weight. Never a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<TrafficSplit>,
}

/// A canary that gets another share of the requests than its weight says. Shares are decimal strings from
/// 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSplit {
    /// The share that its weight says.
    pub weight: String,
    /// The share that it had of the requests since that weight took effect.
    pub requests: String,
    /// The same in words.
    pub message: String,
}

/// What evidence says about a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ComparisonVerdict {
    /// It is worse than allowed.
    Fail,
    /// It is proved to be better than its margin.
    Pass,
    /// Neither yet.
    #[default]
    Continue,
    /// Neither, and the time is over.
    Inconclusive,
    /// The canary serves no requests though it should.
    NoData,
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
}
