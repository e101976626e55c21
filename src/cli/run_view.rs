//! What is shown of an AnalysisRun, as data. Pure. Its serialization is the stable shape of
//! `get analysisrun -o json`.

use serde::Serialize;

use super::text::{Line, Span, Tone, age, table};
use super::view::created_at;
use crate::api::analysis::{AnalysisPhase, Measurement, MetricResult};
use crate::api::{AnalysisRun, Time};

/// An AnalysisRun.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Pending, Running, Successful, Failed, Error or Inconclusive.
    pub phase: AnalysisPhase,
    /// What decided.
    pub message: String,
    /// Whether somebody ended it before it had decided.
    pub was_terminated: bool,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// Measurements of all deciding metrics by outcome.
    pub measurements: Counts,
    /// Its metrics.
    pub metrics: Vec<MetricView>,
}

/// Measurements by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Good ones.
    pub successful: u32,
    /// Bad ones.
    pub failed: u32,
    /// Undecided ones.
    pub inconclusive: u32,
    /// Those that gave no value.
    pub error: u32,
}

/// A metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricView {
    /// Name.
    pub name: String,
    /// How far it is.
    pub phase: AnalysisPhase,
    /// Whether it never decides.
    pub is_dry_run: bool,
    /// What decided, or what the newest measurement said.
    pub message: String,
    /// Its measurements by outcome.
    pub counts: Counts,
    /// The newest measurements, oldest first.
    pub measurements: Vec<Measurement>,
}

/// Makes the view.
pub fn run_view(run: &AnalysisRun) -> RunView {
    let status = run.status.clone().unwrap_or_default();
    let metrics: Vec<MetricView> = status.metric_results.iter().map(metric_view).collect();
    let deciding = metrics.iter().filter(|metric| !metric.is_dry_run);
    let measurements = deciding.fold(Counts::default(), |sum, metric| sum.plus(metric.counts));
    RunView {
        name: run.metadata.name.clone().unwrap_or_default(),
        namespace: run.metadata.namespace.clone().unwrap_or_default(),
        phase: status.phase,
        message: status.message,
        was_terminated: status.terminated,
        created_at: created_at(&run.metadata),
        completed_at: status.completed_at,
        measurements,
        metrics,
    }
}

fn metric_view(result: &MetricResult) -> MetricView {
    MetricView {
        name: result.name.clone(),
        phase: result.phase,
        is_dry_run: result.dry_run,
        message: result.message.clone(),
        counts: Counts {
            successful: result.successful,
            failed: result.failed,
            inconclusive: result.inconclusive,
            error: result.error,
        },
        measurements: result.measurements.clone(),
    }
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            successful: self.successful.saturating_add(other.successful),
            failed: self.failed.saturating_add(other.failed),
            inconclusive: self.inconclusive.saturating_add(other.inconclusive),
            error: self.error.saturating_add(other.error),
        }
    }

    /// The counts in words, those of zero left out.
    pub fn describe(self) -> String {
        let counts = [
            (self.successful, "successful"),
            (self.failed, "failed"),
            (self.inconclusive, "inconclusive"),
            (self.error, "error"),
        ];
        let told: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if told.is_empty() { "no measurement yet".to_owned() } else { told.join(", ") }
    }
}

/// How a phase of an analysis stands.
pub fn phase_tone(phase: AnalysisPhase) -> Tone {
    match phase {
        AnalysisPhase::Pending | AnalysisPhase::Running => Tone::Busy,
        AnalysisPhase::Successful => Tone::Good,
        AnalysisPhase::Failed | AnalysisPhase::Error => Tone::Bad,
        AnalysisPhase::Inconclusive => Tone::Waiting,
    }
}

/// The view of one run for people.
pub fn run_lines(view: &RunView, now: chrono::DateTime<chrono::Utc>) -> Vec<Line> {
    let state = |phase: AnalysisPhase| Span::state(phase_tone(phase), phase.as_str());
    let mut lines = vec![
        Line::entry("Name", Span::plain(&view.name)),
        Line::entry("Namespace", Span::plain(&view.namespace)),
        Line::entry("Status", state(view.phase)),
    ];
    if !view.message.is_empty() {
        lines.push(Line::entry("Message", Span::plain(&view.message)));
    }
    if view.was_terminated {
        lines.push(Line::entry("Terminated", Span::plain("before its metrics had decided")));
    }
    lines.push(Line::entry("Age", Span::plain(age(view.created_at.map(|time| time.0), now))));
    if view.metrics.is_empty() {
        return lines;
    }
    lines.push(Line::default());
    let header = ["METRIC", "STATUS", "MEASUREMENTS", "LATEST VALUE", "INFO"];
    let mut rows = vec![header.map(Span::plain).to_vec()];
    for metric in &view.metrics {
        let latest = metric.measurements.last();
        let dry = if metric.is_dry_run { "dry run: never decides. " } else { "" };
        rows.push(vec![
            Span::plain(&metric.name),
            state(metric.phase),
            Span::plain(metric.counts.describe()),
            Span::plain(latest.map_or("", |measurement| measurement.value.as_str())),
            Span::plain(format!("{dry}{}", metric.message).trim_end().to_owned()),
        ]);
    }
    lines.extend(table(&rows));
    lines
}
