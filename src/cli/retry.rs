//! `retry`: try an aborted update again from its first step. Clears `status.abort` and keeps
//! `status.abortedAt`, which is how the controller tells a retry from an update that was never
//! aborted.

use serde_json::Value;

use super::verb::{Decision, Edit, Subject};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "retry";

/// What retrying means here.
pub(super) fn decide(subject: &Subject) -> Decision {
    let status = subject.rollout.status.clone().unwrap_or_default();
    if !status.abort {
        return Decision::Nothing(if status.aborted_at.is_some() {
            "is being tried again already".to_owned()
        } else {
            "is not aborted: nothing to retry".to_owned()
        });
    }
    let mut wanted = subject.part("status");
    wanted.remove("abort");
    let said = if status.aborted_at.is_some() {
        "is tried again from its first step".to_owned()
    } else {
        "goes on: the abort is taken back before it was carried out".to_owned()
    };
    Decision::Change(Edit {
        status: Some(Value::Object(wanted)),
        said,
        about: Some(status.current_pod_hash),
        ..Edit::default()
    })
}
