//! `pause` and `resume`: hold a Rollout where it is, and let it go again. They write `spec.paused`.

use serde_json::{Value, json};

use super::verb::{Decision, Edit, Subject};

/// The verb of `pause` in `lastRequest`.
pub(super) const PAUSE: &str = "pause";
/// The verb of `resume` in `lastRequest`.
pub(super) const RESUME: &str = "resume";

/// What pausing means here.
pub(super) fn decide_pause(subject: &Subject) -> Decision {
    if subject.rollout.spec.paused {
        return Decision::Nothing("is paused already".to_owned());
    }
    let mut spec = subject.part("spec");
    spec.insert("paused".to_owned(), json!(true));
    Decision::Change(Edit {
        spec: Some(Value::Object(spec)),
        said: "is paused until `resume`".to_owned(),
        notes: super::gitops::note(subject, "spec.paused"),
        ..Edit::default()
    })
}

/// What resuming means here.
pub(super) fn decide_resume(subject: &Subject) -> Decision {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    if !subject.rollout.spec.paused {
        let status = subject.rollout.status.as_ref();
        let at_step = status.is_some_and(|status| !status.pause_conditions.is_empty());
        let more = if at_step {
            format!("; it pauses at a step, which `kubectl sluice promote {name}` ends")
        } else {
            String::new()
        };
        return Decision::Nothing(format!("is not paused by spec.paused{more}"));
    }
    let mut spec = subject.part("spec");
    spec.remove("paused");
    Decision::Change(Edit {
        spec: Some(Value::Object(spec)),
        said: "goes on: spec.paused is cleared".to_owned(),
        notes: super::gitops::note(subject, "spec.paused"),
        ..Edit::default()
    })
}
