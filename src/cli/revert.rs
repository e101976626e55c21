//! `revert`: show the Git revert of a failed update, or approve the one that waits for a person.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::text::Line;
use super::tree::git_revert;
use super::verb::{Decision, Edit, Subject};
use crate::api::status::GitRevertState;

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "revert-approve";

/// Shows the revert.
pub(super) async fn show(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
) -> Result<Exit, CliError> {
    let rollout = cluster.rollout(name).await?;
    let Some(revert) = rollout.status.and_then(|status| status.git_revert) else {
        if console.format.is_some() {
            console.data(&Value::Null, &[])?;
        }
        console.say(&format!("rollout {name:?} has no Git revert"))?;
        return Ok(Exit::Done);
    };
    let mut lines = vec![Line(vec![git_revert(&revert)])];
    lines.extend(revert.patch.lines().map(Line::text));
    console.data(&revert, &lines)?;
    if revert.state == GitRevertState::AwaitingApproval && !revert.approved {
        console.hint(&format!("let it be written: kubectl sluice revert {name} --approve"))?;
        return Ok(Exit::NeedsPerson);
    }
    Ok(Exit::Done)
}

/// What approving means here.
pub(super) fn decide(subject: &Subject) -> Result<Decision, CliError> {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    let status = subject.rollout.status.clone().unwrap_or_default();
    let Some(revert) = status.git_revert else {
        return Ok(Decision::Nothing("has no Git revert: nothing to approve".to_owned()));
    };
    if revert.approved {
        return Ok(Decision::Nothing("has its Git revert approved already".to_owned()));
    }
    if revert.state != GitRevertState::AwaitingApproval {
        return Err(CliError::refused(
            format!(
                "the Git revert of rollout {name:?} waits for nobody's approval: it is {:?}",
                revert.state
            ),
            format!("see it: kubectl sluice revert {name}"),
        ));
    }
    let mut wanted = Value::Object(subject.part("status"));
    if let Some(fields) = wanted.pointer_mut("/gitRevert").and_then(Value::as_object_mut) {
        fields.insert("approved".to_owned(), json!(true));
    }
    Ok(Decision::Change(Edit {
        status: Some(wanted),
        said: format!("has its Git revert of revision {} approved", revert.failed_revision),
        about: Some(revert.id),
        ..Edit::default()
    }))
}
