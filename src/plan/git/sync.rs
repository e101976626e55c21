//! While the GitOps tool is to apply a revert: now and then a look at what the tool says, so that people
//! need not search for what holds it up.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::status::{GitRevertState, GitRevertStatus};
use crate::plan::action::SyncOrder;
use crate::plan::effects::Effects;
use crate::plan::facts::SyncLook;
use crate::plan::memory::Memory;
use crate::plan::validate::ValidGit;
use crate::plan::view::View;
use crate::revision::Commit;

/// What an applied revert waits for.
const AWAITED: &str = "the GitOps tool to apply the revert commit";
/// Time that a tool gets before anybody asks, and between two looks: most apply a commit sooner than that.
const BETWEEN_LOOKS: TimeDelta = TimeDelta::seconds(30);

fn awaiting<'a>(view: &View<'a>) -> Option<&'a GitRevertStatus> {
    let revert = view.memory.git_revert.as_ref()?;
    let is_awaiting = revert.state == GitRevertState::AwaitingSync
        && revert.failed_revision == view.revision.as_str();
    is_awaiting.then_some(revert)
}

fn look<'a>(view: &View<'a>, revert: &GitRevertStatus) -> Option<&'a SyncLook> {
    view.observed.git.sync.as_ref().filter(|look| look.id == revert.id)
}

/// What holds the tool up, as far as it says so.
pub(super) fn obstacle<'a>(view: &View<'a>, revert: &GitRevertStatus) -> Option<&'a str> {
    look(view, revert)?.obstacle.as_deref()
}

/// When the next look is due; none while one is under way.
fn due_at(view: &View<'_>, revert: &GitRevertStatus) -> Option<DateTime<Utc>> {
    match look(view, revert) {
        None => Some(revert.at.0 + BETWEEN_LOOKS),
        Some(look) => look.ended_at.map(|at| at + BETWEEN_LOOKS),
    }
}

/// A look, if one is due; says what is waited for.
pub(super) fn order(view: &View<'_>, git: &ValidGit, effects: &mut Effects) -> Option<SyncOrder> {
    let revert = awaiting(view)?;
    let what = match obstacle(view, revert) {
        Some(obstacle) => format!("{AWAITED}: {obstacle}"),
        None => AWAITED.to_owned(),
    };
    effects.wait_until(what, revert.at.0 + git.verify_timeout);
    let commit = Commit::parse(revert.commit.as_deref()?).ok()?;
    // Of a place that the user names it is not known who applies it.
    view.memory.record(&view.revision)?.source.as_ref()?;
    let due_at = due_at(view, revert)?;
    if view.now() < due_at {
        effects.wake(due_at);
        return None;
    }
    Some(SyncOrder { id: revert.id.clone(), commit })
}

/// What a look found, in status; the time of the state stays, because the tool's own began then.
pub(super) fn looked(view: &View<'_>) -> Option<Memory> {
    let revert = awaiting(view)?;
    let commit = Commit::parse(revert.commit.as_deref()?).ok()?;
    let ended = look(view, revert).filter(|look| look.ended_at.is_some())?;
    let message = match &ended.obstacle {
        Some(obstacle) => format!("{}; {obstacle}", on_the_branch(&commit)),
        None => on_the_branch(&commit),
    };
    if revert.message == message {
        return None;
    }
    let mut memory = view.memory.clone();
    if let Some(revert) = &mut memory.git_revert {
        revert.message = message;
    }
    Some(memory)
}

/// What is said of a commit that nobody has applied yet.
pub(super) fn on_the_branch(commit: &Commit) -> String {
    format!("commit {} is on the branch", commit.short())
}
