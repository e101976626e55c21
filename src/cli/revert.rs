//! `revert`: show the Git revert of a failed update, or approve the one that waits.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::text::Line;
use super::tree::git_revert;
use super::verb::{Decision, Edit, Subject};
use crate::api::Rollout;
use crate::api::status::{GitRevertState, GitRevertStatus, MAX_PATCH};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "revert-approve";

/// The verb in `lastRequest` where nothing is to be waited for.
pub(super) const NOW_VERB: &str = "revert-now";

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
    if revert.waits_for_approval() && !revert.approved {
        console.hint(&format!("let it be written: kubectl sluice revert {name} --approve"))?;
        return Ok(Exit::NeedsPerson);
    }
    Ok(Exit::Done)
}

/// Prints the patch alone, fit for `git apply`.
pub(super) async fn print_patch(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
) -> Result<Exit, CliError> {
    let rollout = cluster.rollout(name).await?;
    let revert = rollout.status.as_ref().and_then(|status| status.git_revert.as_ref());
    let Some(revert) = revert else {
        return Err(CliError::refused(
            format!("rollout {name:?} has no Git revert, and so no patch"),
            "there is one after an analysis has failed, if spec.gitRevert is set",
        ));
    };
    if revert.patch.is_empty() {
        return Err(CliError::Refused {
            message: format!(
                "the Git revert of rollout {name:?} has no patch: it is {:?}",
                revert.state
            ),
            hint: instead_of_patch(revert),
        });
    }
    if revert.patch.chars().count() >= MAX_PATCH {
        return Err(CliError::refused(
            format!("the patch is longer than status keeps ({MAX_PATCH} characters)"),
            format!("this prints all of it: {}", restore_command(&rollout, revert)),
        ));
    }
    if console.format.is_some() {
        console.data(&json!({"patch": revert.patch}), &[])?;
    } else if console.terminal.is_interactive {
        let lines: Vec<Line> = revert.patch.lines().map(Line::text).collect();
        console.lines(&lines)?;
    } else {
        // Every byte matters to who applies it.
        console.out.write_all(revert.patch.as_bytes())?;
        if !revert.patch.ends_with('\n') {
            writeln!(console.out)?;
        }
    }
    Ok(Exit::Done)
}

/// Where the change is to be seen that has no patch.
fn instead_of_patch(revert: &GitRevertStatus) -> Option<String> {
    match (&revert.pull_request, &revert.commit) {
        (_, Some(commit)) => Some(format!("see the commit: git show {commit}")),
        (Some(request), None) => Some(format!("see the pull request: {}", request.url)),
        (None, None) if revert.state == GitRevertState::Planned => {
            Some("it is made in a moment; or see why it waits: kubectl sluice explain".to_owned())
        }
        (None, None) => Some(revert.message.clone()).filter(|message| !message.is_empty()),
    }
}

/// The offline command that shows the same change, as far as status knows its arguments.
fn restore_command(rollout: &Rollout, revert: &GitRevertStatus) -> String {
    let status = rollout.status.clone().unwrap_or_default();
    let record = |revision: &str| status.revisions.iter().find(|one| one.revision == revision);
    let failed = record(&revert.failed_revision);
    let commit = |revision: &str| record(revision).and_then(|record| record.commit.clone());
    let named = rollout.spec.git_revert.as_ref().and_then(|git| git.source.clone());
    let found = failed.and_then(|record| record.source.clone());
    let (branch, path) = match (found, named) {
        (Some(found), _) => (Some(found.branch), Some(found.path)),
        (None, named) => named.map_or((None, None), |named| (named.branch, named.path)),
    };
    let or = |given: Option<String>, word: &str| given.unwrap_or_else(|| word.to_owned());
    format!(
        "sluice git restore --repo {} --branch {} --path {} --rollout {}/{} --good {} --bad {}",
        revert.url,
        or(branch, "BRANCH"),
        or(path, "PATH"),
        rollout.metadata.namespace.as_deref().unwrap_or_default(),
        rollout.metadata.name.as_deref().unwrap_or_default(),
        or(commit(&status.stable_rs), "COMMIT"),
        or(commit(&revert.failed_revision), "COMMIT"),
    )
}

/// What approving means here.
pub(super) fn decide(subject: &Subject) -> Result<Decision, CliError> {
    approve(subject, "approve", GitRevertStatus::waits_for_approval, "waits for nobody's approval")
}

/// What not waiting any more means here. What is checked before each push is checked all the same.
pub(super) fn decide_now(subject: &Subject) -> Result<Decision, CliError> {
    let waits = |revert: &GitRevertStatus| {
        let is_settling = revert.state == GitRevertState::Planned && revert.tries == 0;
        revert.waits_for_approval() || is_settling
    };
    approve(subject, "begin", waits, "waits for nothing that could be left out")
}

fn approve(
    subject: &Subject,
    verb: &str,
    waits: impl Fn(&GitRevertStatus) -> bool,
    otherwise: &str,
) -> Result<Decision, CliError> {
    let name = subject.rollout.metadata.name.as_deref().unwrap_or_default();
    let status = subject.rollout.status.clone().unwrap_or_default();
    let Some(revert) = status.git_revert else {
        return Ok(Decision::Nothing(format!("has no Git revert: nothing to {verb}")));
    };
    if !waits(&revert) {
        return Err(CliError::refused(
            format!("the Git revert of rollout {name:?} {otherwise}: it is {:?}", revert.state),
            format!("see it: kubectl sluice revert {name}"),
        ));
    }
    if revert.approved {
        return Ok(Decision::Nothing("has its Git revert approved already".to_owned()));
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
