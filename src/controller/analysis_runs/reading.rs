//! What a run's JSON says, and what follows from it. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::analysis::{DueAction, DueMeasurement, Problem, ResolvedRun};
use crate::api::Kind;
use crate::api::analysis::{AnalysisPhase, AnalysisRunSpec, AnalysisRunStatus, TtlStrategy};
use crate::metrics::{MeasurementOutcome, MeasurementResult};
use crate::observe::cache::controller_of;

pub(super) fn read_status(object: &Value) -> Result<AnalysisRunStatus, String> {
    match object.get("status") {
        None | Some(Value::Null) => Ok(AnalysisRunStatus::default()),
        Some(status) => serde_path_to_error::deserialize(status.clone())
            .map_err(|error| format!("status.{}: {}", error.path(), error.inner())),
    }
}

pub(super) fn resolve(object: &Value) -> Result<ResolvedRun, Vec<Problem>> {
    let spec = object.get("spec").cloned().unwrap_or(Value::Null);
    let spec: AnalysisRunSpec = serde_path_to_error::deserialize(spec).map_err(|error| {
        vec![Problem::new(error.path().to_string(), format!("is malformed: {}", error.inner()))]
    })?;
    ResolvedRun::resolve(&spec)
}

/// A Job that was started while its run ended, so that no status knows of it: when it is to be
/// deleted, and how.
pub(super) fn leftover(
    resolved: &ResolvedRun,
    status: &AnalysisRunStatus,
    outcome: &MeasurementOutcome,
) -> Option<(DateTime<Utc>, DueMeasurement)> {
    let MeasurementResult::InProgress { resume_at, .. } = &outcome.result else { return None };
    let result = status.metric_results.iter().find(|result| result.name == outcome.metric);
    let last = result.and_then(|result| result.measurements.last());
    let is_known = last.is_some_and(|last| last.finished_at.is_none());
    if !status.phase.is_completed() || is_known {
        return None;
    }
    let metric_index = resolved.metrics.iter().position(|metric| metric.name == outcome.metric)?;
    let cancel = DueMeasurement {
        metric_index,
        metric: outcome.metric.clone(),
        ordinal: outcome.ordinal,
        action: DueAction::Cancel,
        look: None,
    };
    Some((*resume_at, cancel))
}

/// When a finished run is to be deleted: as its `ttlStrategy` says, unless a Rollout keeps it in its
/// history.
pub(super) fn deletion_time(object: &Value, status: &AnalysisRunStatus) -> Option<DateTime<Utc>> {
    let owner = controller_of(object).and_then(|owner| owner.get("kind"));
    if owner.and_then(Value::as_str) == Some(Kind::Rollout.as_str()) {
        return None;
    }
    let strategy = object.pointer("/spec/ttlStrategy").cloned()?;
    let strategy: TtlStrategy = serde_json::from_value(strategy).ok()?;
    let own = match status.phase {
        AnalysisPhase::Pending | AnalysisPhase::Running => return None,
        AnalysisPhase::Successful => strategy.seconds_after_success,
        AnalysisPhase::Failed | AnalysisPhase::Error | AnalysisPhase::Inconclusive => {
            strategy.seconds_after_failure
        }
    };
    let seconds = own.or(strategy.seconds_after_completion)?;
    status.completed_at?.0.checked_add_signed(TimeDelta::seconds(i64::from(seconds.max(0))))
}

/// Whether two statuses differ in more than in when running Jobs are looked at again.
pub(super) fn differs(old: &AnalysisRunStatus, new: &AnalysisRunStatus) -> bool {
    let essence = |status: &AnalysisRunStatus| {
        let mut status = status.clone();
        for result in &mut status.metric_results {
            for measurement in &mut result.measurements {
                measurement.resume_at = None;
            }
        }
        status
    };
    old != new && essence(old) != essence(new)
}
