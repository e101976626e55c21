//! What a backtest tells.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::LIMITS;
use crate::cli::analysis::spread::Spread;
use crate::cli::text::{Line, Span, Tone};

/// False verdicts that are told one by one.
const MOST_TOLD: usize = 10;

/// The stable shape of `analysis backtest -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct BacktestReport {
    pub(super) template: String,
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
    /// Pods that played the canary.
    pub(super) pods: Vec<String>,
    /// Releases that were played.
    pub(super) releases: usize,
    /// Releases that failed, all of them wrongly.
    pub(super) false_verdicts: usize,
    pub(super) passed: usize,
    pub(super) undecided: usize,
    pub(super) no_data: usize,
    /// The budget for false verdicts, as a share of the releases.
    pub(super) budget: f64,
    pub(super) metrics: Vec<MetricBacktest>,
    /// The false verdicts, oldest first.
    pub(super) failures: Vec<Failure>,
    /// Metrics that had no part, and why.
    pub(super) left_out: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricBacktest {
    pub(super) name: String,
    /// Releases that it failed.
    pub(super) false_verdicts: usize,
    /// `maxRatio` or `maxOdds`; none where there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<f64>,
    /// The smallest limit that was tried with which none would have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proposed_limit: Option<f64>,
    /// How far the pods were apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spread: Option<Spread>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    pub(super) start: DateTime<Utc>,
    pub(super) pod: String,
    pub(super) metric: String,
    pub(super) message: String,
}

/// Whether more failed than the budget lets expect.
pub(super) fn exceeds(report: &BacktestReport) -> bool {
    as_float(report.false_verdicts) > (as_float(report.releases) * report.budget).ceil()
}

fn as_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// For people.
pub(super) fn lines(report: &BacktestReport) -> Vec<Line> {
    let tone = if exceeds(report) { Tone::Bad } else { Tone::Good };
    let mut lines = vec![
        Line::text(format!(
            "{}: {} releases that were none, with {} pods, from {} to {}",
            report.template,
            report.releases,
            report.pods.len(),
            report.from.format("%F %R"),
            report.until.format("%F %R"),
        )),
        Line(vec![Span::state(
            tone,
            &format!(
                "{} failed wrongly (budget {} of 100); {} passed, {} undecided, {} without data",
                report.false_verdicts,
                report.budget * 100.0,
                report.passed,
                report.undecided,
                report.no_data,
            ),
        )]),
    ];
    for metric in &report.metrics {
        lines.push(Line::default());
        let spread = metric.spread.as_ref().map_or_else(
            || "how far the pods are apart cannot be said".to_owned(),
            |spread| {
                format!(
                    "a pod had {:.2} to {:.2} times {} of the others",
                    spread.least, spread.most, spread.what
                )
            },
        );
        lines.push(Line::text(format!("{}: {spread}", metric.name)));
        let verdict = match (metric.limit_name, metric.limit, metric.proposed_limit) {
            (Some(name), Some(limit), _) if metric.false_verdicts == 0 => {
                format!("  {name} {limit} fits: nothing failed by it")
            }
            (Some(name), Some(limit), Some(proposed)) => format!(
                "  {name} {limit} failed {}; {name} {proposed} would have failed none of them",
                metric.false_verdicts
            ),
            (Some(name), Some(limit), None) => format!(
                "  {name} {limit} failed {}, and so would {}: compare by route, or look at the pods",
                metric.false_verdicts,
                LIMITS.last().copied().unwrap_or_default()
            ),
            _ => format!("  failed {}", metric.false_verdicts),
        };
        lines.push(Line::text(verdict));
    }
    if !report.failures.is_empty() {
        lines.push(Line::default());
    }
    for failure in report.failures.iter().take(MOST_TOLD) {
        let (start, pod) = (failure.start.format("%F %R"), &failure.pod);
        lines.push(Line::text(format!("{start} {pod}: {}", failure.message)));
    }
    let more = report.failures.len().saturating_sub(MOST_TOLD);
    if more > 0 {
        lines.push(Line::text(format!("and {more} more; -o json has all")));
    }
    lines
}
