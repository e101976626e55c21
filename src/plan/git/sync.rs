//! While the GitOps tool is to apply a revert: now and then a look at what the tool says, so that people
//! need not search for what holds it up.

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::Time;
use crate::api::status::{GitRevertState, GitRevertStatus, RefreshStatus};
use crate::plan::action::SyncOrder;
use crate::plan::effects::Effects;
use crate::plan::facts::{Asked, SyncLook};
use crate::plan::memory::Memory;
use crate::plan::validate::ValidGit;
use crate::plan::view::View;
use crate::revision::Commit;

/// What an applied revert waits for.
const AWAITED: &str = "the GitOps tool to apply the revert commit";
/// Most characters of a refusal that are kept.
const MAX_DENIAL: usize = 300;
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

/// Whether the tool is still to be asked to look at Git.
fn is_to_be_asked(view: &View<'_>, revert: &GitRevertStatus) -> bool {
    view.observed.git.asks_tools && revert.refresh.is_none()
}

/// When the next look is due; none while one is under way.
fn due_at(view: &View<'_>, revert: &GitRevertStatus) -> Option<DateTime<Utc>> {
    match look(view, revert) {
        None if is_to_be_asked(view, revert) => Some(revert.at.0),
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
    let ask = is_to_be_asked(view, revert).then_some(revert.at);
    Some(SyncOrder { id: revert.id.clone(), commit, ask })
}

/// What a look found, in status; the time of the state stays, because the tool's own began then.
pub(super) fn looked(view: &View<'_>) -> Option<Memory> {
    let revert = awaiting(view)?;
    let commit = Commit::parse(revert.commit.as_deref()?).ok()?;
    let ended = look(view, revert).filter(|look| look.ended_at.is_some())?;
    let mut next = revert.clone();
    if let (Some(asked), None) = (&ended.asked, &revert.refresh) {
        let denied = match asked {
            Asked::Done => None,
            Asked::Denied(words) => Some(words.chars().take(MAX_DENIAL).collect()),
        };
        next.refresh = Some(RefreshStatus { at: Time(view.now()), denied });
    }
    next.message = on_the_branch(&commit);
    if let Some(obstacle) = &ended.obstacle {
        next.message = format!("{}; {obstacle}", next.message);
    }
    if let Some(denied) = next.refresh.as_ref().and_then(|refresh| refresh.denied.as_ref()) {
        next.message = format!("{}; it could not be asked to look now: {denied}", next.message);
    }
    if next == *revert {
        return None;
    }
    let mut memory = view.memory.clone();
    memory.git_revert = Some(next);
    Some(memory)
}

/// What is said of a commit that nobody has applied yet.
pub(super) fn on_the_branch(commit: &Commit) -> String {
    format!("commit {} is on the branch", commit.short())
}
