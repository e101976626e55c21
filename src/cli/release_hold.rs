//! `release-hold`: versions that failed may be released again. The one that is refused now, if any, is
//! tried from its first step; those that are not declared now are forgotten, so that a person can
//! declare one again on purpose.

use serde_json::{Value, json};

use super::error::CliError;
use super::retry;
use super::verb::{Decision, Edit, Subject};
use crate::api::status::{RevisionOutcome, RolloutStatus};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "release-hold";

/// Whether the current version is refused.
pub(super) fn is_held(status: &RolloutStatus) -> bool {
    let is_refused = |outcome| outcome == RevisionOutcome::Quarantined;
    status.abort
        && status
            .revisions
            .iter()
            .any(|record| record.revision == status.current_pod_hash && is_refused(record.outcome))
}

/// What releasing means here.
pub(super) fn decide(subject: &Subject) -> Result<Decision, CliError> {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    let status = subject.rollout.status.clone().unwrap_or_default();
    let is_held = is_held(&status);
    if status.abort && !is_held {
        return Err(CliError::refused(
            format!("no version of rollout {name:?} is held: the update itself was aborted"),
            format!("try it again: kubectl sluice retry {name}"),
        ));
    }
    if status.failed_revisions.is_empty() {
        return Ok(Decision::Nothing("holds no version".to_owned()));
    }
    let mut edit = match retry::decide(subject) {
        Decision::Change(edit) => edit,
        Decision::Nothing(_) => Edit {
            status: Some(Value::Object(subject.part("status"))),
            said: "lets versions be released again that had failed".to_owned(),
            ..Edit::default()
        },
    };
    if let Some(wanted) = edit.status.as_mut().and_then(Value::as_object_mut) {
        wanted.insert("failedRevisions".to_owned(), json!([]));
    }
    Ok(Decision::Change(edit))
}
