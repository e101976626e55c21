//! What is told of AnalysisRuns: one Event when a run ends, and metrics of what was measured. Never
//! decides anything, and never repeats more than status says.

use serde_json::Value;

use crate::act::events::News;
use crate::analysis::ResolvedMetric;
use crate::analysis::judge;
use crate::api::analysis::{AnalysisPhase, AnalysisRunStatus, ComparisonStatus, ComparisonVerdict};
use crate::api::conditions::Reason;
use crate::metrics::{MeasurementOutcome, MeasurementResult, SampleValue};
use crate::observe::cache::controller_of;
use crate::telemetry::metrics::Metrics;

/// What is told of a run that ended with `status`, with Argo Rollouts' reasons.
pub(super) fn news(name: &str, status: &AnalysisRunStatus) -> News {
    let (reason, is_warning) = match status.phase {
        AnalysisPhase::Pending | AnalysisPhase::Running => (Reason::AnalysisRunRunning, false),
        AnalysisPhase::Successful => (Reason::AnalysisRunSuccessful, false),
        AnalysisPhase::Inconclusive => (Reason::AnalysisRunInconclusive, false),
        AnalysisPhase::Failed => (Reason::AnalysisRunFailed, true),
        AnalysisPhase::Error => (Reason::AnalysisRunError, true),
    };
    let detail =
        if status.message.is_empty() { String::new() } else { format!(": {}", status.message) };
    let message = format!("AnalysisRun {name} is {}{detail}", status.phase.as_str());
    News { is_warning, reason, message }
}

/// What is told where the verdict of a comparison is another one than before, and the run goes on.
pub(super) fn comparison_news(
    name: &str,
    was: Option<ComparisonVerdict>,
    now: &ComparisonStatus,
) -> Option<News> {
    let is_warning = match now.verdict {
        ComparisonVerdict::NoData => true,
        ComparisonVerdict::Pass => false,
        ComparisonVerdict::Fail | ComparisonVerdict::Continue | ComparisonVerdict::Inconclusive => {
            return None;
        }
    };
    let reason = if is_warning { Reason::NoTraffic } else { Reason::AnalysisRunRunning };
    let message = format!("AnalysisRun {name}: {}", now.message);
    (was != Some(now.verdict)).then_some(News { is_warning, reason, message })
}

/// What is told where requests are found not to follow the weight, and were not before.
pub(super) fn split_news(
    name: &str,
    was: Option<&ComparisonStatus>,
    now: &ComparisonStatus,
) -> Option<News> {
    let found = |comparison: &ComparisonStatus| {
        comparison.metrics.iter().find_map(|metric| metric.split.clone())
    };
    let split = found(now).filter(|_| was.and_then(found).is_none())?;
    let message = format!("AnalysisRun {name}: {}", split.message);
    Some(News { is_warning: true, reason: Reason::UnexpectedTrafficSplit, message })
}

/// Reports a measurement that was counted. Values are shown for Rollouts only, whose series end
/// with them.
pub(super) fn report(
    metrics: &Metrics,
    run: &Value,
    metric: &ResolvedMetric,
    outcome: &MeasurementOutcome,
) {
    let provider = metric.provider.named().first().copied().unwrap_or("unknown");
    let phase = judge::assess(metric, &outcome.result).phase;
    metrics.measured(provider, phase);
    match &outcome.result {
        MeasurementResult::Error(error) => {
            let kind = error.kind();
            tracing::info!(metric = metric.name, kind, %error, "not measured; will try again");
        }
        MeasurementResult::Sample(sample) => {
            let (phase, ordinal) = (phase.as_str(), outcome.ordinal);
            tracing::debug!(metric = metric.name, phase, ordinal, "measured");
            let text = |object: &Value, field: &str| {
                object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let owner = controller_of(run).filter(|owner| text(owner, "kind") == "Rollout");
            if let (Some(owner), Some(value)) = (owner, number(&sample.value)) {
                let namespace = run.get("metadata").map(|metadata| text(metadata, "namespace"));
                let namespace = namespace.unwrap_or_default();
                metrics.analysis_value(&namespace, &text(owner, "name"), &metric.name, value);
            }
        }
        MeasurementResult::Look(look) => {
            let seconds = look.until.signed_duration_since(look.from).num_seconds();
            tracing::debug!(metric = metric.name, seconds, "looked at both arms");
        }
        MeasurementResult::JobSucceeded { .. }
        | MeasurementResult::JobFailed { .. }
        | MeasurementResult::JobStuck { .. }
        | MeasurementResult::InProgress { .. }
        | MeasurementResult::Cancelled => {
            tracing::debug!(metric = metric.name, phase = phase.as_str(), "measured by a Job");
        }
    }
}

/// The one number of a value, if it is one.
fn number(value: &SampleValue) -> Option<f64> {
    let number = match value {
        SampleValue::Number(number) => Some(*number),
        SampleValue::Numbers(numbers) => match numbers.as_slice() {
            [only] => Some(*only),
            _ => None,
        },
        SampleValue::Json(json) => json.as_f64(),
    };
    number.filter(|number| number.is_finite())
}
