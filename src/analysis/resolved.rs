//! A run that can be carried out, parsed once: what the judge, the steps and the runner work on.

use chrono::TimeDelta;

use super::comparing::{ComparedMetric, ConfirmedWeight, Settings};
use super::condition::Condition;
use crate::metrics::spec::MetricProvider;

/// A run that can be carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRun {
    /// The metrics, in the order of the specification.
    pub metrics: Vec<ResolvedMetric>,
    /// Whether the run was asked to end.
    pub is_terminate_requested: bool,
    /// What the metrics that compare have in common; none without such metrics.
    pub comparison: Option<Settings>,
    /// The weight that is known to be in effect; none where it is not known, or there is none. Observed,
    /// and no part of the specification.
    pub weight: Option<ConfirmedWeight>,
}

/// One metric, ready to be measured and judged.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedMetric {
    /// Its name.
    pub name: String,
    /// Where it is measured, arguments filled in.
    pub provider: MetricProvider,
    /// When it is measured.
    pub schedule: Schedule,
    /// How one value is judged.
    pub judge: Judge,
    /// How many values of which kind end the metric.
    pub limits: Limits,
    /// Whether it never decides.
    pub is_dry_run: bool,
    /// How many measurements are kept in status.
    pub kept_measurements: usize,
}

/// When a metric is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the start of the run to the first measurement.
    pub initial_delay: TimeDelta,
    /// Distance of the measurements; none: one measurement.
    pub interval: Option<TimeDelta>,
    /// Judged measurements after which the metric is complete; none: it runs until terminated.
    pub count: Option<u32>,
}

/// How a metric is judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Judge {
    /// By conditions on each value.
    Threshold(Box<Threshold>),
    /// By the outcome of a Job.
    JobOutcome,
    /// By the evidence of all its looks, beside stable.
    Comparison(Box<ComparedMetric>),
}

/// Conditions on one value; at least one is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// True for a good value.
    pub success: Option<Condition>,
    /// True for a bad value.
    pub failure: Option<Condition>,
}

/// How many values of which kind end a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bad values that are tolerated; none: all.
    pub failure: Option<u32>,
    /// Undecided values that are tolerated.
    pub inconclusive: u32,
    /// Errors in a row that are tolerated; none (the default): all.
    pub consecutive_error: Option<u32>,
    /// Good values in a row that complete the metric; none: not used.
    pub consecutive_success: Option<u32>,
    /// Good values without which the metric never succeeds, at least 1.
    pub min_samples: u32,
}

impl ResolvedRun {
    /// The metric with this name.
    pub fn metric(&self, name: &str) -> Option<&ResolvedMetric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}
