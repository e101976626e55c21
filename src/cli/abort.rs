//! `abort`: give an update up. Sets `status.abort`; the controller sends all traffic to stable. With
//! `--revert-git` it sets `status.revertGit`, too: the controller then deals with the version as with
//! one whose analysis failed.

use serde_json::{Value, json};

use super::error::CliError;
use super::standing::is_settled;
use super::verb::{Decision, Edit, Subject};
use crate::api::git_revert::GitRevertMode;
use crate::api::status::{RevisionOutcome, RolloutStatus};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "abort";

/// The verb in `lastRequest` where Git is meant, too.
pub(super) const REVERT_VERB: &str = "abort-revert-git";

/// What aborting means here.
pub(super) fn decide(subject: &Subject) -> Decision {
    let status = subject.rollout.status.clone().unwrap_or_default();
    if let Some(nothing) = nothing_to_abort(&status) {
        return nothing;
    }
    if status.abort {
        let when = status.aborted_at.map_or_else(
            || "is being aborted already".to_owned(),
            |at| format!("was aborted already, at {at}"),
        );
        return Decision::Nothing(when);
    }
    let notes = if status.git_revert.is_some() || subject.rollout.spec.git_revert.is_some() {
        vec![
            "note: an abort by hand changes nothing in Git, unless --revert-git asks for it"
                .to_owned(),
        ]
    } else {
        Vec::new()
    };
    let said = format!("is aborted: all traffic goes back to revision {}", status.stable_rs);
    Decision::Change(Edit { notes, ..edit(subject, &["abort"], said) })
}

/// What aborting means when Git is to go back, too.
pub(super) fn decide_revert_git(subject: &Subject) -> Result<Decision, CliError> {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    let mode = subject.rollout.spec.git_revert.as_ref().map(|git| git.mode);
    if mode.is_none_or(|mode| mode == GitRevertMode::Disabled) {
        return Err(CliError::refused(
            format!("rollout {name:?} has no Git revert: spec.gitRevert.mode is Disabled"),
            "set spec.gitRevert.mode to Suggest, PullRequest or Push; or abort without --revert-git",
        ));
    }
    let status = subject.rollout.status.clone().unwrap_or_default();
    if let Some(nothing) = nothing_to_abort(&status) {
        return Ok(nothing);
    }
    if !status.abort {
        let said = format!(
            "is aborted: all traffic goes back to revision {}, and so does Git",
            status.stable_rs
        );
        return Ok(Decision::Change(edit(subject, &["abort", "revertGit"], said)));
    }
    let version = &status.current_pod_hash;
    let mut records = status.revisions.iter();
    let outcome = records.find(|record| record.revision == *version).map(|record| record.outcome);
    match outcome {
        _ if status.revert_git => {
            Ok(Decision::Nothing("was asked for its Git revert already".to_owned()))
        }
        Some(RevisionOutcome::Failed) => Ok(Decision::Nothing(format!(
            "is dealt with in Git already; see it: kubectl sluice revert {name}"
        ))),
        Some(RevisionOutcome::Quarantined) => Err(CliError::refused(
            format!(
                "revision {version} of rollout {name:?} was taken back in Git before, was declared \
                 again, and is refused"
            ),
            "put the branch right by hand, and stop whoever declares it again",
        )),
        _ => {
            let said =
                format!("was aborted already; now revision {version} is taken back in Git, too");
            Ok(Decision::Change(edit(subject, &["revertGit"], said)))
        }
    }
}

fn nothing_to_abort(status: &RolloutStatus) -> Option<Decision> {
    if status.stable_rs.is_empty() {
        let why = "has no stable version yet that traffic could go back to: nothing to abort";
        return Some(Decision::Nothing(why.to_owned()));
    }
    is_settled(status)
        .then(|| Decision::Nothing("has no update in progress: nothing to abort".to_owned()))
}

fn edit(subject: &Subject, wishes: &[&str], said: String) -> Edit {
    let mut wanted = subject.part("status");
    wanted.extend(wishes.iter().map(|wish| ((*wish).to_owned(), json!(true))));
    let status = subject.rollout.status.as_ref();
    Edit {
        status: Some(Value::Object(wanted)),
        said,
        // The wish is about this version, and never about one that came meanwhile.
        about: status.map(|status| status.current_pod_hash.clone()),
        ..Edit::default()
    }
}
