//! `abort`: give an update up. Sets `status.abort`; the controller sends all traffic to stable.

use serde_json::{Value, json};

use super::standing::is_settled;
use super::verb::{Decision, Edit, Subject};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "abort";

/// What aborting means here.
pub(super) fn decide(subject: &Subject) -> Decision {
    let status = subject.rollout.status.clone().unwrap_or_default();
    if status.stable_rs.is_empty() {
        return Decision::Nothing(
            "has no stable version yet that traffic could go back to: nothing to abort".to_owned(),
        );
    }
    if is_settled(&status) {
        return Decision::Nothing("has no update in progress: nothing to abort".to_owned());
    }
    if status.abort {
        let when = status.aborted_at.map_or_else(
            || "is being aborted already".to_owned(),
            |at| format!("was aborted already, at {at}"),
        );
        return Decision::Nothing(when);
    }
    let mut wanted = subject.part("status");
    wanted.insert("abort".to_owned(), json!(true));
    let notes = if status.git_revert.is_some() || subject.rollout.spec.git_revert.is_some() {
        vec!["note: an abort by hand changes nothing in Git".to_owned()]
    } else {
        Vec::new()
    };
    Decision::Change(Edit {
        status: Some(Value::Object(wanted)),
        said: format!("is aborted: all traffic goes back to revision {}", status.stable_rs),
        notes,
        ..Edit::default()
    })
}
