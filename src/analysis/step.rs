//! One step of a run: outcomes in, next status, due measurements and next wake-up out.
//!
//! An outcome carries the ordinal number of its measurement and counts only when that number is next
//! in the status, so a repeated delivery, or a status write whose answer was lost, never counts twice; a
//! crash before the status write means measuring again. Measurements stand on the grid `start +
//! initialDelay + k * interval`, so they do not drift (Argo Rollouts counts from the end of the
//! measurement before).

use std::fmt::Write as _;

use chrono::{DateTime, SubsecRound, Utc};

use super::Problem;
use super::comparing::{self, SeenWeight};
use super::judge::{self, cut_short, metric_phase};
use super::resolved::{Judge, ResolvedMetric, ResolvedRun};
use super::schedule;
use crate::api::analysis::{
    AnalysisPhase, AnalysisRunStatus, Measurement, MetricResult, RunSummary,
};
use crate::api::values::Time;
use crate::metrics::sample::{MeasurementOutcome, MeasurementResult, shortened};
use crate::metrics::spec::Provider;
use crate::metrics::spec::look::LookSpec;
use crate::mutants::{Mutant, mutant};

/// Message of a run that was ended from outside.
pub const RUN_TERMINATED: &str = "Run Terminated";
/// Key of the filled-in query in a metric's metadata, as in Argo Rollouts.
const RESOLVED_QUERY_KEY: &str = "ResolvedPrometheusQuery";
/// Longest query in status, in characters.
const MAX_QUERY_CHARACTERS: usize = 2000;
/// Longest message of a run, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 2000;

/// What comes next for a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStep {
    /// The status to write, when it differs from the one given.
    pub status: AnalysisRunStatus,
    /// Measurements to start now, unless they are under way already.
    pub due: Vec<DueMeasurement>,
    /// When to look again although nothing happened.
    pub wake_at: Option<DateTime<Utc>>,
    /// What the run waits for.
    pub waiting: Vec<RunWaiting>,
}

/// A measurement to start now.
#[derive(Clone, Debug, PartialEq)]
pub struct DueMeasurement {
    /// Index of the metric in [`ResolvedRun::metrics`].
    pub metric_index: usize,
    /// Its name.
    pub metric: String,
    /// Ordinal number of the measurement, from 1.
    pub ordinal: u32,
    /// What to do.
    pub action: DueAction,
    /// What a metric that compares asks for.
    pub look: Option<LookSpec>,
}

/// What to do for a [`DueMeasurement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueAction {
    /// Measure.
    Start,
    /// Look at the Job again.
    Resume,
    /// Delete the Job: the run has ended.
    Cancel,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct RunWaiting {
    /// Name of the metric.
    pub metric: String,
    /// What is awaited, in words.
    pub what: String,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// When it is tried or looked at again.
    pub until: Option<DateTime<Utc>>,
}

/// The next step of a run.
pub fn advance(
    run: &ResolvedRun,
    status: &AnalysisRunStatus,
    finished: &[MeasurementOutcome],
    now: DateTime<Utc>,
) -> RunStep {
    // Status keeps milliseconds; deciding on finer times would make a re-read status behave otherwise.
    let now = now.trunc_subsecs(3);
    let mut status = status.clone();
    let was_completed = status.phase.is_completed();
    // A clock that was ahead must not put the first measurement off for as long as it was ahead.
    let started_at = status.started_at.map_or(now, |at| at.0.min(now));
    status.started_at = Some(Time(started_at));
    for outcome in finished {
        let seen = SeenWeight { weight: run.weight, at: now };
        take(run, &mut status, outcome, was_completed, &seen);
    }
    if !was_completed {
        status.phase = AnalysisPhase::Running;
        assess_metrics(run, &mut status);
        comparing::conclude(run, &mut status);
        if let Some(end) = run_end(run, &status) {
            finish(run, &mut status, end, now);
        }
        summarise(run, &mut status);
    }
    let mut step = RunStep { status, due: Vec::new(), wake_at: None, waiting: Vec::new() };
    schedule::fill(run, &mut step, started_at, now);
    step
}

/// The status of a run whose specification cannot be carried out.
pub fn invalid(
    status: &AnalysisRunStatus,
    problems: &[Problem],
    now: DateTime<Utc>,
) -> AnalysisRunStatus {
    let mut status = status.clone();
    let now = Time(now.trunc_subsecs(3));
    let list = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    status.phase = AnalysisPhase::Error;
    status.message = shortened(&format!("Analysis spec invalid: {list}"), MAX_MESSAGE_CHARACTERS);
    status.started_at.get_or_insert(now);
    status.completed_at.get_or_insert(now);
    status
}

pub(super) fn result_of<'a>(
    status: &'a AnalysisRunStatus,
    metric: &str,
) -> Option<&'a MetricResult> {
    status.metric_results.iter().find(|result| result.name == metric)
}

/// Ordinal number of the measurement that is next or under way.
pub(super) fn next_ordinal(result: Option<&MetricResult>) -> u32 {
    result.map_or(1, |result| result.count.saturating_add(result.error).saturating_add(1))
}

pub(super) fn in_flight(result: &MetricResult) -> Option<&Measurement> {
    result.measurements.last().filter(|measurement| measurement.finished_at.is_none())
}

/// Takes an outcome into the status, when it is the one that is awaited.
fn take(
    run: &ResolvedRun,
    status: &mut AnalysisRunStatus,
    outcome: &MeasurementOutcome,
    was_completed: bool,
    seen: &SeenWeight,
) {
    let Some(metric) = run.metric(&outcome.metric) else {
        return;
    };
    let known = result_of(status, &metric.name);
    if next_ordinal(known) != outcome.ordinal && !mutant(Mutant::CountedTwice) {
        return;
    }
    let is_under_way = known.is_some_and(|result| in_flight(result).is_some());
    let is_metric_completed = known.is_some_and(|result| result.phase.is_completed());
    if (was_completed || is_metric_completed) && !is_under_way {
        return;
    }
    let position = status.metric_results.iter().position(|result| result.name == metric.name);
    let position = position.unwrap_or_else(|| {
        status.metric_results.push(new_result(metric));
        status.metric_results.len() - 1
    });
    let assessment = match (&metric.judge, &outcome.result, &run.comparison) {
        (Judge::Comparison(compared), MeasurementResult::Look(look), Some(settings)) => {
            comparing::take(compared, settings, &metric.name, look, seen, status)
        }
        (_, result, _) => judge::assess(metric, result),
    };
    let Some(result) = status.metric_results.get_mut(position) else {
        return;
    };
    let is_finished = assessment.phase.is_completed();
    let earlier = if is_under_way { result.measurements.pop() } else { None };
    let mut metadata = earlier.as_ref().map(|earlier| earlier.metadata.clone()).unwrap_or_default();
    metadata.extend(assessment.metadata);
    result.measurements.push(Measurement {
        phase: assessment.phase,
        message: assessment.message,
        started_at: earlier
            .and_then(|earlier| earlier.started_at)
            .or(Some(Time(outcome.started_at.trunc_subsecs(3)))),
        finished_at: is_finished.then_some(Time(outcome.finished_at.trunc_subsecs(3))),
        value: assessment.value,
        metadata,
        resume_at: match &outcome.result {
            MeasurementResult::InProgress { resume_at, .. } => {
                Some(Time(resume_at.trunc_subsecs(3)))
            }
            MeasurementResult::Sample(_)
            | MeasurementResult::Look(_)
            | MeasurementResult::JobSucceeded { .. }
            | MeasurementResult::JobFailed { .. }
            | MeasurementResult::JobStuck { .. }
            | MeasurementResult::Cancelled
            | MeasurementResult::Error(_) => None,
        },
    });
    // A cut-off measurement says nothing, so it is shown and not counted; neither is anything that
    // comes back after the metric was decided.
    let is_counted = !is_metric_completed && !was_completed;
    if is_counted && outcome.result != MeasurementResult::Cancelled {
        judge::count(result, assessment.phase);
    }
    let surplus = result.measurements.len().saturating_sub(metric.kept_measurements);
    result.measurements.drain(..surplus);
}

fn new_result(metric: &ResolvedMetric) -> MetricResult {
    let mut result = MetricResult {
        name: metric.name.clone(),
        phase: AnalysisPhase::Running,
        dry_run: metric.is_dry_run,
        ..MetricResult::default()
    };
    if let Ok(Provider::Prometheus(spec)) = metric.provider.chosen() {
        let query = shortened(&spec.query, MAX_QUERY_CHARACTERS);
        result.metadata.insert(RESOLVED_QUERY_KEY.to_owned(), query);
    }
    result
}

fn assess_metrics(run: &ResolvedRun, status: &mut AnalysisRunStatus) {
    for result in &mut status.metric_results {
        let Some(metric) = run.metric(&result.name) else {
            continue;
        };
        if result.phase.is_completed() {
            continue;
        }
        let last_message =
            result.measurements.last().map(|last| last.message.clone()).unwrap_or_default();
        let (phase, reason) = if in_flight(result).is_some() {
            (AnalysisPhase::Running, String::new())
        } else {
            metric_phase(metric, result)
        };
        result.phase = phase;
        result.message = match (reason.is_empty(), metric.is_dry_run) {
            (false, true) => format!("Metric assessed {} due to {reason}", phase.as_str()),
            (_, _) => last_message,
        };
    }
}

/// Why a run ends now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunEnd {
    /// Its metrics have decided.
    Decided,
    /// It was asked to end.
    Terminated,
}

fn run_end(run: &ResolvedRun, status: &AnalysisRunStatus) -> Option<RunEnd> {
    let phase_of = |metric: &ResolvedMetric| {
        result_of(status, &metric.name).map_or(AnalysisPhase::Pending, |result| result.phase)
    };
    let mut deciding = run.metrics.iter().filter(|metric| !metric.is_dry_run).peekable();
    let has_deciding = deciding.peek().is_some();
    let phases: Vec<AnalysisPhase> = deciding.map(phase_of).collect();
    let is_bad =
        |phase: &AnalysisPhase| phase.is_completed() && *phase != AnalysisPhase::Successful;
    let is_awaited = |metric: &ResolvedMetric| {
        if !metric.is_dry_run || phase_of(metric).is_completed() {
            return false;
        }
        let gives_values =
            result_of(status, &metric.name).is_none_or(|result| result.consecutive_error == 0);
        // Beside metrics that decide, a dry run must not hold the rollout up for ever.
        !has_deciding || (metric.schedule.count.is_some() && gives_values)
    };
    let all_good = phases.iter().all(|phase| *phase == AnalysisPhase::Successful);
    if phases.iter().any(is_bad) || (all_good && !run.metrics.iter().any(is_awaited)) {
        Some(RunEnd::Decided)
    } else if run.is_terminate_requested {
        Some(RunEnd::Terminated)
    } else {
        None
    }
}

fn finish(run: &ResolvedRun, status: &mut AnalysisRunStatus, end: RunEnd, now: DateTime<Utc>) {
    let mut worst: Option<(AnalysisPhase, String)> = None;
    for metric in &run.metrics {
        let position = status.metric_results.iter().position(|result| result.name == metric.name);
        let position = position.unwrap_or_else(|| {
            status.metric_results.push(new_result(metric));
            status.metric_results.len() - 1
        });
        let Some(result) = status.metric_results.get_mut(position) else {
            continue;
        };
        if !result.phase.is_completed() {
            (result.phase, result.message) = match &metric.judge {
                Judge::Comparison(_) => comparing::cut_short(status.comparison.as_ref(), result),
                Judge::Threshold(_) | Judge::JobOutcome => cut_short(metric, result),
            };
        }
        if metric.is_dry_run {
            continue;
        }
        let (_, reason) = metric_phase(metric, result);
        let is_worse =
            worst.as_ref().is_none_or(|(phase, _)| result.phase.badness() > phase.badness());
        if is_worse {
            let message = match &metric.judge {
                Judge::Comparison(_) if result.phase == AnalysisPhase::Successful => String::new(),
                Judge::Comparison(_) => result.message.clone(),
                Judge::Threshold(_) | Judge::JobOutcome => run_message(result, &reason),
            };
            worst = Some((result.phase, message));
        }
    }
    let (phase, message) = worst.unwrap_or((AnalysisPhase::Successful, String::new()));
    status.phase = phase;
    status.terminated = end == RunEnd::Terminated;
    status.message = if status.terminated {
        RUN_TERMINATED.to_owned()
    } else {
        shortened(&message, MAX_MESSAGE_CHARACTERS)
    };
    status.completed_at = Some(Time(now));
}

fn run_message(result: &MetricResult, reason: &str) -> String {
    if result.phase == AnalysisPhase::Successful || reason.is_empty() {
        return String::new();
    }
    let mut message =
        format!("Metric \"{}\" assessed {} due to {reason}", result.name, result.phase.as_str());
    if !result.message.is_empty() {
        let _ = write!(message, ": \"Error Message: {}\"", result.message);
    }
    message
}

fn summarise(run: &ResolvedRun, status: &mut AnalysisRunStatus) {
    let mut summaries = [RunSummary::default(), RunSummary::default()];
    let [deciding, dry_run] = &mut summaries;
    for metric in &run.metrics {
        let summary = if metric.is_dry_run { &mut *dry_run } else { &mut *deciding };
        summary.count = summary.count.saturating_add(1);
        let phase =
            result_of(status, &metric.name).map_or(AnalysisPhase::Pending, |result| result.phase);
        let counter = match phase {
            AnalysisPhase::Pending | AnalysisPhase::Running => continue,
            AnalysisPhase::Successful => &mut summary.successful,
            AnalysisPhase::Failed => &mut summary.failed,
            AnalysisPhase::Error => &mut summary.error,
            AnalysisPhase::Inconclusive => &mut summary.inconclusive,
        };
        *counter = counter.saturating_add(1);
    }
    let [deciding, dry_run] = summaries;
    status.run_summary = deciding;
    status.dry_run_summary = (!dry_run.is_empty()).then_some(dry_run);
}
