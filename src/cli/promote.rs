//! `promote`: let a paused update go on, or skip the step it is at; with `--full`, skip everything
//! that is left.

use serde_json::{Value, json};

use super::error::CliError;
use super::standing::is_settled;
use super::verb::{Decision, Edit, Subject};
use crate::api::status::RolloutStatus;

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "promote";
/// The verb in `lastRequest`, with `--full`.
pub(super) const FULL_VERB: &str = "promote-full";

/// What promoting means here.
pub(super) fn decide(subject: &Subject) -> Result<Decision, CliError> {
    let status = subject.rollout.status.clone().unwrap_or_default();
    let is_held = subject.rollout.spec.paused;
    if let Some(nothing) = nothing_to_promote(subject, &status, is_held)? {
        return Ok(nothing);
    }
    let spec = is_held.then(|| unpaused(subject));
    let about = Some(format!(
        "{}/{:?}/{:?}/{}",
        status.current_pod_hash,
        status.current_step_index,
        status.pause_conditions,
        status.blue_green.stage.is_some()
    ));
    let mut wanted = subject.part("status");
    if !status.pause_conditions.is_empty() {
        // `controllerPause` stays: with no condition beside it, it means that a person resumed.
        wanted.remove("pauseConditions");
        return Ok(Decision::Change(Edit {
            status: Some(Value::Object(wanted)),
            spec,
            said: "goes on after its pause".to_owned(),
            about,
            ..Edit::default()
        }));
    }
    if is_held {
        return Ok(Decision::Change(Edit {
            spec,
            said: "goes on: spec.paused is cleared".to_owned(),
            about,
            ..Edit::default()
        }));
    }
    if status.controller_pause {
        return Ok(Decision::Nothing(
            "was told to go on already; the controller has not acted on it yet".to_owned(),
        ));
    }
    skip_step(subject, &status, wanted, about)
}

/// Skips the step that a canary is at, for example a running analysis.
fn skip_step(
    subject: &Subject,
    status: &RolloutStatus,
    mut wanted: serde_json::Map<String, Value>,
    about: Option<String>,
) -> Result<Decision, CliError> {
    let steps =
        subject.rollout.spec.strategy.canary.as_ref().map_or(0, |canary| canary.steps.len());
    let steps = u32::try_from(steps).unwrap_or(u32::MAX);
    let Some(index) = status.current_step_index.filter(|index| *index < steps) else {
        let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
        return Err(CliError::refused(
            format!("rollout {name:?} is at no step that could be skipped: it is being promoted"),
            format!(
                "see what it waits for: kubectl sluice explain {name}; skip analyses with --full"
            ),
        ));
    };
    let next = index.saturating_add(1);
    wanted.insert("currentStepIndex".to_owned(), json!(next));
    Ok(Decision::Change(Edit {
        status: Some(Value::Object(wanted)),
        said: format!("skips step {next} of {steps}"),
        about,
        ..Edit::default()
    }))
}

/// What promoting in full means here.
pub(super) fn decide_full(subject: &Subject) -> Result<Decision, CliError> {
    let status = subject.rollout.status.clone().unwrap_or_default();
    let is_held = subject.rollout.spec.paused;
    if let Some(nothing) = nothing_to_promote(subject, &status, is_held)? {
        return Ok(nothing);
    }
    if status.promote_full && !is_held {
        return Ok(Decision::Nothing("is being promoted in full already".to_owned()));
    }
    let mut wanted = subject.part("status");
    wanted.insert("promoteFull".to_owned(), json!(true));
    Ok(Decision::Change(Edit {
        status: Some(Value::Object(wanted)),
        spec: is_held.then(|| unpaused(subject)),
        said: format!(
            "is promoted in full: steps, pauses and analyses that are left for revision {} are \
             skipped",
            status.current_pod_hash
        ),
        about: Some(status.current_pod_hash),
        ..Edit::default()
    }))
}

/// The cases in which there is nothing to promote, or promoting would be a mistake.
fn nothing_to_promote(
    subject: &Subject,
    status: &RolloutStatus,
    is_held: bool,
) -> Result<Option<Decision>, CliError> {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    if status.abort {
        return Err(CliError::refused(
            format!("rollout {name:?} is aborted and cannot be promoted"),
            format!("try the update again: kubectl sluice retry {name}"),
        ));
    }
    if is_held {
        // Clearing spec.paused is of use whatever else is going on.
        return Ok(None);
    }
    if status.stable_rs.is_empty() {
        return Ok(Some(Decision::Nothing(
            "is at its first revision, which has no steps: nothing to promote".to_owned(),
        )));
    }
    if is_settled(status) {
        return Ok(Some(Decision::Nothing(
            "has no update in progress: nothing to promote".to_owned(),
        )));
    }
    Ok(None)
}

fn unpaused(subject: &Subject) -> Value {
    let mut spec = subject.part("spec");
    spec.remove("paused");
    Value::Object(spec)
}
