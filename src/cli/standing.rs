//! How a Rollout stands, read from its object alone: phase, message, step, and whose turn it is.
//!
//! What a person has just asked for is in the object before the controller has seen it. Such a
//! status is out of date, and is never reported as if it were the answer. Pure.

use crate::api::rollout::{CanaryStep, RolloutSpec};
use crate::api::status::{PauseReason, RolloutPhase, RolloutStatus};
use crate::api::{IntOrString, Rollout, Time};

/// How a Rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The phase.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
    /// Whether nothing happens until a person does something.
    pub needs_person: bool,
}

/// What ends a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseEnd {
    /// A person, by `kubectl sluice <verb>`.
    Person(&'static str),
    /// The clock.
    At(Time),
}

/// How `rollout` stands.
pub fn standing(rollout: &Rollout) -> Standing {
    let busy = |message: &str| Standing {
        phase: RolloutPhase::Progressing,
        message: message.to_owned(),
        needs_person: false,
    };
    if rollout.metadata.deletion_timestamp.is_some() {
        return busy("it is being deleted");
    }
    let Some(status) = &rollout.status else {
        return busy("the controller has not looked at it yet");
    };
    if is_behind(rollout) {
        return busy("the controller has not seen the newest spec yet");
    }
    if let Some(pending) = pending_request(status, &rollout.spec) {
        return busy(pending);
    }
    let Some(phase) = status.phase else {
        return busy("the controller has not said how it stands yet");
    };
    let needs_person =
        phase == RolloutPhase::Paused && !matches!(pause_end(rollout), Some(PauseEnd::At(_)));
    Standing { phase, message: status.message.clone(), needs_person }
}

/// Whether status describes an older spec. A generation that is no number (written by others) is
/// not judged.
fn is_behind(rollout: &Rollout) -> bool {
    let observed = rollout.status.as_ref().map_or("", |status| &status.observed_generation);
    match (observed.parse::<i64>(), rollout.metadata.generation) {
        (Ok(observed), Some(generation)) => observed < generation,
        (Err(_), _) | (_, None) => false,
    }
}

/// A request in status that the controller has not taken up yet.
fn pending_request(status: &RolloutStatus, spec: &RolloutSpec) -> Option<&'static str> {
    if is_settled(status) || status.stable_rs.is_empty() {
        return None;
    }
    match (status.abort, status.aborted_at) {
        (true, None) => {
            return Some("an abort was asked for; the controller has not acted on it yet");
        }
        (false, Some(_)) => {
            return Some("a retry was asked for; the controller has not acted on it yet");
        }
        (true, Some(_)) | (false, None) => {}
    }
    let was_paused = status.phase == Some(RolloutPhase::Paused);
    if was_paused && status.promote_full {
        return Some("a full promotion was asked for; the controller has not acted on it yet");
    }
    if was_paused && !spec.paused && status.pause_conditions.is_empty() {
        return Some("it was told to go on; the controller has not acted on it yet");
    }
    None
}

/// Whether the template is the stable one, as far as status knows.
pub fn is_settled(status: &RolloutStatus) -> bool {
    !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash
}

/// What ends the pause; `None` when it does not pause.
pub fn pause_end(rollout: &Rollout) -> Option<PauseEnd> {
    if rollout.spec.paused {
        return Some(PauseEnd::Person("resume"));
    }
    let status = rollout.status.as_ref()?;
    let condition = status.pause_conditions.first()?;
    let duration = match condition.reason {
        PauseReason::CanaryPauseStep => current_step(rollout)
            .and_then(|(_, step)| step.pause.as_ref())
            .and_then(|pause| pause.duration.as_ref())
            .and_then(|duration| duration.as_duration().ok()),
        PauseReason::BlueGreenPause => rollout
            .spec
            .strategy
            .blue_green
            .as_ref()
            .and_then(|blue_green| blue_green.auto_promotion_seconds)
            .filter(|seconds| *seconds > 0)
            .map(|seconds| chrono::TimeDelta::seconds(i64::from(seconds))),
        PauseReason::InconclusiveAnalysisRun | PauseReason::InconclusiveExperiment => None,
    };
    let end = duration.and_then(|length| condition.start_time.0.checked_add_signed(length));
    Some(end.map_or(PauseEnd::Person("promote"), |end| PauseEnd::At(Time(end))))
}

/// The current canary step and its index from 0.
pub fn current_step(rollout: &Rollout) -> Option<(usize, &CanaryStep)> {
    let canary = rollout.spec.strategy.canary.as_ref()?;
    let index = rollout.status.as_ref()?.current_step_index?;
    let index = usize::try_from(index).ok()?;
    canary.steps.get(index).map(|step| (index, step))
}

/// A step in a few words, as in its manifest.
pub fn describe_step(step: &CanaryStep) -> String {
    if let Some(weight) = step.set_weight {
        return format!("setWeight {weight}");
    }
    if let Some(pause) = &step.pause {
        return match &pause.duration {
            None => "pause until promoted".to_owned(),
            Some(IntOrString::Int(seconds)) => format!("pause {seconds}s"),
            Some(IntOrString::Text(text)) => format!("pause {text}"),
        };
    }
    if let Some(scale) = &step.set_canary_scale {
        return match (scale.weight, scale.replicas) {
            (Some(weight), _) => format!("setCanaryScale {weight}%"),
            (None, Some(replicas)) => format!("setCanaryScale {replicas} pods"),
            (None, None) => "setCanaryScale as the traffic weight".to_owned(),
        };
    }
    if let Some(analysis) = &step.analysis {
        let names: Vec<&str> =
            analysis.templates.iter().map(|template| template.template_name.as_str()).collect();
        return format!("analysis {}", names.join(", "));
    }
    [
        ("experiment", step.experiment.is_some()),
        ("setHeaderRoute", step.set_header_route.is_some()),
        ("setMirrorRoute", step.set_mirror_route.is_some()),
        ("plugin", step.plugin.is_some()),
    ]
    .into_iter()
    .find_map(|(name, is_set)| is_set.then_some(name))
    .unwrap_or("an empty step")
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rollout(spec: &serde_json::Value, status: &serde_json::Value) -> Rollout {
        serde_json::from_value(json!({
            "metadata": {"name": "shop", "generation": 4}, "spec": spec, "status": status}))
        .unwrap()
    }

    fn canary(status: &serde_json::Value) -> Rollout {
        let steps = json!([{"setWeight": 5}, {"pause": {}}, {"pause": {"duration": "90s"}}]);
        rollout(&json!({"strategy": {"canary": {"steps": steps}}}), status)
    }

    #[test]
    fn a_status_of_an_older_spec_is_not_healthy() {
        let status = json!({"observedGeneration": "3", "phase": "Healthy"});
        let standing = standing(&canary(&status));
        assert_eq!(standing.phase, RolloutPhase::Progressing);
        assert!(standing.message.contains("newest spec"), "{}", standing.message);
    }

    #[test]
    fn a_rollout_that_is_being_deleted_is_not_healthy() {
        let mut rollout = canary(&json!({"observedGeneration": "4", "phase": "Healthy"}));
        rollout.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-08-17T10:00:00Z")).unwrap();
        assert_eq!(standing(&rollout).phase, RolloutPhase::Progressing);
    }

    #[test]
    fn a_pause_without_end_needs_a_person_and_a_timed_one_does_not() {
        let paused = |step: u32| {
            canary(&json!({
                "observedGeneration": "4", "phase": "Paused", "message": "CanaryPauseStep",
                "stableRS": "a", "currentPodHash": "b", "currentStepIndex": step,
                "controllerPause": true, "pauseConditions":
                    [{"reason": "CanaryPauseStep", "startTime": "2026-08-17T10:00:00Z"}]}))
        };
        assert!(standing(&paused(1)).needs_person);
        assert_eq!(pause_end(&paused(1)), Some(PauseEnd::Person("promote")));
        assert!(!standing(&paused(2)).needs_person);
        let end = match pause_end(&paused(2)) {
            Some(PauseEnd::At(end)) => end.to_rfc3339(),
            other => panic!("{other:?}"),
        };
        assert_eq!(end, "2026-08-17T10:01:30.000Z");
    }

    #[test]
    fn a_request_that_was_not_taken_up_is_progress_whatever_the_phase_says() {
        let with = |extra: serde_json::Value| {
            let mut status = json!({"observedGeneration": "4", "phase": "Paused", "stableRS": "a",
                "currentPodHash": "b", "currentStepIndex": 1});
            status.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            standing(&canary(&status))
        };
        for extra in [
            json!({"controllerPause": true}),
            json!({"abort": true}),
            json!({"phase": "Degraded", "abortedAt": "2026-08-17T10:00:00Z"}),
            json!({"promoteFull": true, "controllerPause": true, "pauseConditions":
                [{"reason": "CanaryPauseStep", "startTime": "2026-08-17T10:00:00Z"}]}),
        ] {
            let standing = with(extra.clone());
            assert_eq!(standing.phase, RolloutPhase::Progressing, "{extra}");
            assert!(standing.message.contains("not acted"), "{extra}");
        }
    }

    #[test]
    fn a_step_is_told_as_in_its_manifest() {
        let text = |step| describe_step(&serde_json::from_value(step).unwrap());
        assert_eq!(text(json!({"setWeight": 5})), "setWeight 5");
        assert_eq!(text(json!({"pause": {"duration": 30}})), "pause 30s");
        assert_eq!(text(json!({"setCanaryScale": {"weight": 5}})), "setCanaryScale 5%");
        let templates = json!([{"templateName": "a"}, {"templateName": "b"}]);
        assert_eq!(text(json!({"analysis": {"templates": templates}})), "analysis a, b");
        assert_eq!(text(json!({"plugin": {}})), "plugin");
        assert_eq!(text(json!({})), "an empty step");
    }
}
