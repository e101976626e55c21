//! What a run's JSON says, and what follows from it. Pure.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::analysis::comparing::ConfirmedWeight;
use crate::analysis::{DueAction, DueMeasurement, Problem, ResolvedRun};
use crate::api::Kind;
use crate::api::analysis::{AnalysisPhase, AnalysisRunSpec, AnalysisRunStatus, TtlStrategy};
use crate::api::status::CanaryStatus;
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

/// The owner reference of the Rollout that made a run.
pub(super) fn owning_rollout(run: &Value) -> Option<&Value> {
    let is_rollout =
        |owner: &&Value| owner.get("kind").and_then(Value::as_str) == Some(Kind::Rollout.as_str());
    controller_of(run).filter(is_rollout)
}

/// The weight that a Rollout knows to be in effect for a run beside its steps. None for another run, or
/// another Rollout of that name.
pub(super) fn confirmed_weight(run: &Value, rollout: &Value) -> Option<ConfirmedWeight> {
    let owner = owning_rollout(run)?.get("uid")?;
    let canary = rollout.pointer("/status/canary").cloned()?;
    let canary: CanaryStatus = serde_json::from_value(canary).ok()?;
    let current = canary.current_background_analysis_run_status?;
    let is_its_own = rollout.pointer("/metadata/uid") == Some(owner)
        && run.pointer("/metadata/name").and_then(Value::as_str) == Some(current.name.as_str());
    let weights = canary.weights.filter(|weights| is_its_own && weights.verified == Some(true))?;
    let (canary, stable) = (weights.canary.weight, weights.stable.weight);
    Some(ConfirmedWeight { canary, stable })
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
    if owning_rollout(object).is_some() {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_weight_counts_that_its_own_rollout_has_verified_for_this_very_run() {
        let run = json!({"metadata": {"name": "web-1", "ownerReferences": [
            {"kind": "Rollout", "name": "web", "uid": "u", "controller": true}]}});
        let rollout = json!({"metadata": {"uid": "u"}, "status": {"canary": {
            "currentBackgroundAnalysisRunStatus": {"name": "web-1", "status": "Running"},
            "weights": {"canary": {"weight": 5}, "stable": {"weight": 95}, "verified": true}}}});
        let found = confirmed_weight(&run, &rollout);
        assert_eq!(found, Some(ConfirmedWeight { canary: 5, stable: 95 }));
        let canary = "/status/canary";
        for (path, value) in [
            ("/metadata/uid".to_owned(), json!("another")),
            (format!("{canary}/weights/verified"), json!(false)),
            (format!("{canary}/weights"), json!(null)),
            (format!("{canary}/currentBackgroundAnalysisRunStatus/name"), json!("web-0")),
            (canary.to_owned(), json!(null)),
        ] {
            let mut other = rollout.clone();
            *other.pointer_mut(&path).unwrap() = value;
            assert_eq!(confirmed_weight(&run, &other), None, "{path}");
        }
        let mut alone = run.clone();
        alone["metadata"]["ownerReferences"] = json!([]);
        assert_eq!(confirmed_weight(&alone, &rollout), None);
    }
}
