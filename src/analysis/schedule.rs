//! When each metric of a run is measured next. The grid is `start + initialDelay + k * interval`;
//! after an error the next try comes sooner.

use chrono::{DateTime, TimeDelta, Utc};

use super::comparing;
use super::resolved::{Judge, ResolvedMetric, ResolvedRun};
use super::step::{
    DueAction, DueMeasurement, RunStep, RunWaiting, in_flight, next_ordinal, result_of,
};
use crate::api::analysis::{AnalysisPhase, Measurement, MetricResult};

/// Time from an error to the next try, when the interval is not shorter.
const RETRY_AFTER_ERROR: TimeDelta = TimeDelta::seconds(10);

/// When a metric wants attention next, and why.
enum Next {
    At(DateTime<Utc>, DueAction),
    Never,
}

/// Adds what is due, the next wake-up and what is awaited to a step whose status is complete.
pub(super) fn fill(
    run: &ResolvedRun,
    step: &mut RunStep,
    started_at: DateTime<Utc>,
    now: DateTime<Utc>,
) {
    let is_ended = step.status.phase.is_completed();
    for (metric_index, metric) in run.metrics.iter().enumerate() {
        let result = result_of(&step.status, &metric.name);
        let (at, action) = match next(metric, result, started_at, is_ended) {
            Next::At(_, DueAction::Start) if is_of_a_clock_ahead(metric, result, now) => {
                (now, DueAction::Start)
            }
            Next::At(at, action) => (at, action),
            Next::Never => continue,
        };
        let waiting = waiting_for(metric, result, at, now);
        if at <= now {
            let look = match (&metric.judge, &run.comparison) {
                (Judge::Comparison(compared), Some(settings)) => {
                    comparing::spec(compared, settings, &metric.name, &step.status, now)
                }
                (_, _) => None,
            };
            step.due.push(DueMeasurement {
                metric_index,
                metric: metric.name.clone(),
                ordinal: next_ordinal(result),
                action,
                look,
            });
        } else {
            step.wake_at = Some(step.wake_at.map_or(at, |earliest| earliest.min(at)));
        }
        if !is_ended {
            step.waiting.push(waiting);
        }
    }
}

fn next(
    metric: &ResolvedMetric,
    result: Option<&MetricResult>,
    started_at: DateTime<Utc>,
    is_ended: bool,
) -> Next {
    let running = result.and_then(in_flight);
    if is_ended {
        return match running {
            Some(running) => Next::At(resume_time(running), DueAction::Cancel),
            None => Next::Never,
        };
    }
    if let Some(running) = running {
        let at = running.resume_at.map_or(DateTime::<Utc>::MIN_UTC, |at| at.0);
        return Next::At(at, DueAction::Resume);
    }
    if result.is_some_and(|result| result.phase.is_completed()) {
        return Next::Never;
    }
    let base = started_at.checked_add_signed(metric.schedule.initial_delay).unwrap_or(started_at);
    let Some(last) = result.and_then(|result| result.measurements.last()) else {
        return Next::At(base, DueAction::Start);
    };
    let last_start = last.started_at.map_or(base, |at| at.0);
    let last_end = last.finished_at.map_or(last_start, |at| at.0);
    let at = match (last.phase, metric.schedule.interval) {
        (AnalysisPhase::Error, interval) => {
            let pause = interval.unwrap_or(RETRY_AFTER_ERROR).min(RETRY_AFTER_ERROR);
            last_end.checked_add_signed(pause)
        }
        (_, Some(interval)) => next_grid_point(base, interval, last_start),
        // Without interval a judged measurement completes the metric; this is never reached.
        (_, None) => last_end.checked_add_signed(RETRY_AFTER_ERROR),
    };
    Next::At(at.unwrap_or(last_end), DueAction::Start)
}

/// Whether the last measurement began further in the future than the next one may be away: a clock
/// that was ahead wrote it, and must not put the next one off for as long as it was ahead.
fn is_of_a_clock_ahead(
    metric: &ResolvedMetric,
    result: Option<&MetricResult>,
    now: DateTime<Utc>,
) -> bool {
    let last = result.and_then(|result| result.measurements.last());
    let began = last.and_then(|last| last.started_at);
    let pause = metric.schedule.interval.unwrap_or(RETRY_AFTER_ERROR);
    began.is_some_and(|began| began.0.signed_duration_since(now) > pause)
}

fn resume_time(running: &Measurement) -> DateTime<Utc> {
    running.resume_at.map_or(DateTime::<Utc>::MIN_UTC, |at| at.0)
}

/// First point of the grid that is more than half an interval after `last`: a retry shortly before a
/// point stands for that point.
fn next_grid_point(
    base: DateTime<Utc>,
    interval: TimeDelta,
    last: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let interval_ms = interval.num_milliseconds().max(1);
    let since_ms = last.signed_duration_since(base).num_milliseconds().max(0);
    let points = since_ms.checked_add(interval_ms / 2)?.checked_div(interval_ms)?.checked_add(1)?;
    base.checked_add_signed(TimeDelta::try_milliseconds(points.checked_mul(interval_ms)?)?)
}

fn waiting_for(
    metric: &ResolvedMetric,
    result: Option<&MetricResult>,
    at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> RunWaiting {
    let until = (at > now).then_some(at);
    let last = result.and_then(|result| result.measurements.last());
    let (what, since) = match (last, result.and_then(in_flight)) {
        (_, Some(running)) => ("its Job to end".to_owned(), running.started_at),
        (Some(last), None) if last.phase == AnalysisPhase::Error => {
            let first_error = result.and_then(first_of_consecutive_errors);
            (last.message.clone(), first_error.and_then(|first| first.started_at))
        }
        (Some(_), None) => ("the next measurement".to_owned(), None),
        (None, None) => ("the first measurement".to_owned(), None),
    };
    RunWaiting { metric: metric.name.clone(), what, since: since.map(|since| since.0), until }
}

/// The oldest kept one of the errors since the last judged measurement.
fn first_of_consecutive_errors(result: &MetricResult) -> Option<&Measurement> {
    result.measurements.iter().rev().take_while(|m| m.phase == AnalysisPhase::Error).last()
}
