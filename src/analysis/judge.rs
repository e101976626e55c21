//! The judge: what one value means, and what the values so far mean for a metric.
//!
//! Counting follows Argo Rollouts, with these departures:
//! - A missing value, NaN, an incomplete answer or an error is neither good nor bad (issues 4479,
//!   1466). A condition may still decide such a value when it names the case (`len`, `isNil`,
//!   `default`, `??`, `isNaN`, `isInf`) and is true; `default` and `??` put a value in its place, so
//!   then both answers count.
//! - Errors end a metric only when the author wrote a `consecutiveErrorLimit`.
//! - Nothing succeeds without `minSamples` good values (default 1), not even when it is terminated
//!   (issue 1329).

use std::collections::BTreeMap;

use super::admission::Handles;
use super::condition::Condition;
use super::resolved::{Judge, ResolvedMetric, Threshold};
use crate::api::analysis::{AnalysisPhase, MetricResult};
use crate::metrics::sample::{
    DETAIL_LIMIT, MeasureError, MeasurementResult, SampleValue, shortened,
};
use crate::mutants::{Mutant, mutant};

/// Message of a measurement that was cut off because its run ended.
pub const METRIC_TERMINATED: &str = "Metric Terminated";

/// What one measurement means.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// `Running` while a Job runs.
    pub phase: AnalysisPhase,
    /// The value as text; empty when there is none.
    pub value: String,
    /// Why there is no value or no answer.
    pub message: String,
    /// Notes to keep.
    pub metadata: BTreeMap<String, String>,
}

impl Assessment {
    fn new(phase: AnalysisPhase, message: impl Into<String>) -> Self {
        Self { phase, value: String::new(), message: message.into(), metadata: BTreeMap::new() }
    }

    fn with_metadata(mut self, metadata: &BTreeMap<String, String>) -> Self {
        self.metadata.clone_from(metadata);
        self
    }
}

/// Judges one measurement.
pub fn assess(metric: &ResolvedMetric, result: &MeasurementResult) -> Assessment {
    match result {
        MeasurementResult::Sample(sample) => {
            let mut assessment = match &metric.judge {
                Judge::Threshold(threshold) => assess_value(threshold, &sample.value),
                Judge::JobOutcome => {
                    Assessment::new(AnalysisPhase::Error, "a Job gives no value to judge")
                }
                Judge::Comparison(_) => {
                    Assessment::new(AnalysisPhase::Error, "a value is no look at both arms")
                }
            };
            assessment.value = sample.value.to_status_text();
            assessment.with_metadata(&sample.metadata)
        }
        // What it says depends on the looks before; see `comparing`.
        MeasurementResult::Look(_) => Assessment::new(AnalysisPhase::Successful, ""),
        MeasurementResult::JobSucceeded { metadata } => {
            Assessment::new(AnalysisPhase::Successful, "").with_metadata(metadata)
        }
        MeasurementResult::JobFailed { metadata, message } => {
            Assessment::new(AnalysisPhase::Failed, shortened(message, DETAIL_LIMIT))
                .with_metadata(metadata)
        }
        MeasurementResult::JobStuck { metadata, message } => {
            Assessment::new(AnalysisPhase::Inconclusive, shortened(message, DETAIL_LIMIT))
                .with_metadata(metadata)
        }
        MeasurementResult::InProgress { metadata, .. } => {
            Assessment::new(AnalysisPhase::Running, "").with_metadata(metadata)
        }
        MeasurementResult::Cancelled => {
            Assessment::new(AnalysisPhase::Inconclusive, METRIC_TERMINATED)
        }
        MeasurementResult::Error(error) if mutant(Mutant::ErrorIsFailure) => {
            Assessment::new(AnalysisPhase::Failed, error.to_string())
        }
        MeasurementResult::Error(error) if mutant(Mutant::ErrorIsSuccess) => {
            Assessment::new(AnalysisPhase::Successful, error.to_string())
        }
        MeasurementResult::Error(error) => Assessment::new(AnalysisPhase::Error, error.to_string()),
    }
}

/// Whether a value can be judged as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quality {
    Usable,
    Empty,
    NotANumber,
    Infinite,
}

impl Quality {
    fn of(value: &SampleValue) -> Self {
        match value {
            SampleValue::Number(number) => Self::of_numbers(&[*number]),
            SampleValue::Numbers(numbers) => Self::of_numbers(numbers),
            SampleValue::Json(serde_json::Value::Null) => Self::Empty,
            SampleValue::Json(serde_json::Value::Array(items)) if items.is_empty() => Self::Empty,
            // Prometheus' own JSON carries numbers as texts, so "NaN" comes through web metrics.
            SampleValue::Json(serde_json::Value::String(text)) => text
                .trim()
                .parse::<f64>()
                .map_or(Self::Usable, |number| Self::of_numbers(&[number])),
            SampleValue::Json(_) => Self::Usable,
        }
    }

    fn of_numbers(numbers: &[f64]) -> Self {
        if numbers.is_empty() {
            Self::Empty
        } else if numbers.iter().any(|number| number.is_nan()) {
            Self::NotANumber
        } else if numbers.iter().any(|number| number.is_infinite()) {
            Self::Infinite
        } else {
            Self::Usable
        }
    }

    fn is_named_by(self, handles: Handles) -> bool {
        match self {
            Self::Usable => true,
            Self::Empty => handles.asks_empty || handles.substitutes,
            Self::NotANumber => handles.asks_nan,
            Self::Infinite => handles.asks_infinite,
        }
    }

    fn error(self) -> MeasureError {
        match self {
            Self::Usable | Self::Empty => {
                MeasureError::NoData("the answer is empty; no condition decides that".to_owned())
            }
            Self::NotANumber => MeasureError::NotANumber("the value is NaN".to_owned()),
            Self::Infinite => MeasureError::NotANumber("the value is infinite".to_owned()),
        }
    }
}

/// Answer of one condition to one value.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    /// No such condition.
    Absent,
    Yes,
    No,
    /// The condition says nothing about such a value.
    Open,
    /// The condition does not fit the value.
    Broken(String),
}

fn answer(
    name: &str,
    condition: Option<&Condition>,
    value: &SampleValue,
    quality: Quality,
) -> Answer {
    let Some(condition) = condition else {
        return Answer::Absent;
    };
    let handles = condition.handles();
    match (condition.holds(value), quality) {
        (Ok(true), Quality::Usable) => Answer::Yes,
        (Ok(false), Quality::Usable) => Answer::No,
        (Err(failure), Quality::Usable) => Answer::Broken(format!(
            "could not evaluate {name} {:?}: {failure}",
            shortened(condition.source(), DETAIL_LIMIT)
        )),
        (Ok(true), unusable) if unusable.is_named_by(handles) => Answer::Yes,
        (Ok(false), Quality::Empty) if handles.substitutes => Answer::No,
        (Ok(_) | Err(_), Quality::Empty | Quality::NotANumber | Quality::Infinite) => Answer::Open,
    }
}

fn assess_value(threshold: &Threshold, value: &SampleValue) -> Assessment {
    let quality = Quality::of(value);
    let success = answer("successCondition", threshold.success.as_ref(), value, quality);
    let mut failure = answer("failureCondition", threshold.failure.as_ref(), value, quality);
    // Infinity is above every limit, so a failure condition needs no special mention of it.
    let is_beyond = quality == Quality::Infinite
        && threshold.failure.as_ref().is_some_and(|condition| condition.holds(value) == Ok(true));
    if is_beyond {
        failure = Answer::Yes;
    }
    match (success, failure) {
        (Answer::Broken(message), _) | (_, Answer::Broken(message)) => {
            Assessment::new(AnalysisPhase::Error, message)
        }
        (_, Answer::Yes) | (Answer::No, Answer::Absent) => {
            Assessment::new(AnalysisPhase::Failed, "")
        }
        (Answer::Yes, Answer::Absent | Answer::No | Answer::Open)
        | (Answer::Absent, Answer::No) => Assessment::new(AnalysisPhase::Successful, ""),
        (Answer::No, Answer::No) => Assessment::new(AnalysisPhase::Inconclusive, ""),
        (Answer::Open, Answer::Absent | Answer::No | Answer::Open)
        | (Answer::No | Answer::Absent, Answer::Open)
            if mutant(Mutant::NothingIsSuccess) =>
        {
            Assessment::new(AnalysisPhase::Successful, "")
        }
        (Answer::Open, Answer::Absent | Answer::No | Answer::Open)
        | (Answer::No | Answer::Absent, Answer::Open) => {
            Assessment::new(AnalysisPhase::Error, quality.error().to_string())
        }
        (Answer::Absent, Answer::Absent) => {
            Assessment::new(AnalysisPhase::Inconclusive, "no condition decides")
        }
    }
}

/// Adds a finished measurement to the counters of its metric.
pub fn count(result: &mut MetricResult, phase: AnalysisPhase) {
    let raise = |counter: &mut u32| *counter = counter.saturating_add(1);
    match phase {
        AnalysisPhase::Successful => {
            raise(&mut result.successful);
            raise(&mut result.count);
            raise(&mut result.consecutive_success);
            result.consecutive_error = 0;
        }
        AnalysisPhase::Failed | AnalysisPhase::Inconclusive => {
            raise(if phase == AnalysisPhase::Failed {
                &mut result.failed
            } else {
                &mut result.inconclusive
            });
            raise(&mut result.count);
            result.consecutive_error = 0;
            result.consecutive_success = 0;
        }
        AnalysisPhase::Error => {
            raise(&mut result.error);
            raise(&mut result.consecutive_error);
            result.consecutive_success = 0;
        }
        AnalysisPhase::Pending | AnalysisPhase::Running => {}
    }
}

/// What the counters mean for a metric: `Running` while it goes on, else its end and the reason.
pub fn metric_phase(metric: &ResolvedMetric, result: &MetricResult) -> (AnalysisPhase, String) {
    if let Judge::Comparison(_) = metric.judge {
        // Its evidence decides, with that of the others.
        return (result.phase, String::new());
    }
    if let Some(end) = passed_limit(metric, result) {
        return end;
    }
    let limits = &metric.limits;
    let has_samples = result.successful >= limits.min_samples;
    let is_reached =
        limits.consecutive_success.is_some_and(|limit| result.consecutive_success >= limit);
    if is_reached && has_samples {
        return (AnalysisPhase::Successful, String::new());
    }
    if metric.schedule.count.is_none_or(|count| result.count < count) {
        return (AnalysisPhase::Running, String::new());
    }
    if let (Some(limit), false) = (limits.consecutive_success, is_reached) {
        let reason = format!(
            "consecutiveSuccess ({}) < consecutiveSuccessLimit ({limit})",
            result.consecutive_success
        );
        // With a failure limit that was kept, the values were not bad either.
        return if limits.failure.is_some() {
            (AnalysisPhase::Inconclusive, reason)
        } else {
            (AnalysisPhase::Failed, reason)
        };
    }
    if has_samples {
        (AnalysisPhase::Successful, String::new())
    } else {
        (AnalysisPhase::Inconclusive, too_few_samples(metric, result))
    }
}

fn passed_limit(metric: &ResolvedMetric, result: &MetricResult) -> Option<(AnalysisPhase, String)> {
    let limits = &metric.limits;
    if let Some(limit) = limits.failure.filter(|limit| result.failed > *limit) {
        let reason = format!("failed ({}) > failureLimit ({limit})", result.failed);
        return Some((AnalysisPhase::Failed, reason));
    }
    if let Some(limit) = limits.consecutive_error.filter(|limit| result.consecutive_error > *limit)
    {
        let reason = format!(
            "consecutiveErrors ({}) > consecutiveErrorLimit ({limit})",
            result.consecutive_error
        );
        return Some((AnalysisPhase::Error, reason));
    }
    (result.inconclusive > limits.inconclusive).then(|| {
        let reason = format!(
            "inconclusive ({}) > inconclusiveLimit ({})",
            result.inconclusive, limits.inconclusive
        );
        (AnalysisPhase::Inconclusive, reason)
    })
}

fn too_few_samples(metric: &ResolvedMetric, result: &MetricResult) -> String {
    format!("successful ({}) < minSamples ({})", result.successful, metric.limits.min_samples)
}

/// What becomes of a metric that was still running when its run ended.
pub fn cut_short(metric: &ResolvedMetric, result: &MetricResult) -> (AnalysisPhase, String) {
    if result.successful >= metric.limits.min_samples {
        (AnalysisPhase::Successful, METRIC_TERMINATED.to_owned())
    } else {
        let reason = format!("{METRIC_TERMINATED}: {}", too_few_samples(metric, result));
        (AnalysisPhase::Inconclusive, reason)
    }
}
