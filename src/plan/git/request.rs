//! The pull request of a revert: opened, looked at now and then, closed when nobody needs it any more.

use chrono::TimeDelta;

use super::obstacles::pushed_of_late;
use super::{already_reverted, current_try, on_the_branch, superseded, with_state};
use crate::api::Time;
use crate::api::status::{GitRevertState, GitRevertStatus, PullRequestState, PullRequestStatus};
use crate::plan::action::WithdrawOrder;
use crate::plan::effects::Effects;
use crate::plan::facts::RevertResult;
use crate::plan::memory::Memory;
use crate::plan::view::View;

/// What an open request waits for.
const AWAITED: &str = "a person to merge or close the pull request";
/// How long nobody looks at an open request after a look.
const BETWEEN_LOOKS: TimeDelta = TimeDelta::minutes(2);
/// How long a withdrawal that failed is not tried again.
const BETWEEN_WITHDRAWALS: TimeDelta = TimeDelta::minutes(5);
/// How long a withdrawal is tried.
const LONGEST_WITHDRAWAL: TimeDelta = TimeDelta::hours(24);

/// A request was opened, or found open.
pub(super) fn opened(view: &View<'_>, number: u64, url: &str, reason: &str) -> Memory {
    let why = if reason.is_empty() { String::new() } else { format!("; not pushed: {reason}") };
    let message = format!("pull request {number} is open: {url}{why}");
    let mut memory = with_state(view, GitRevertState::PullRequestOpen, "", &message);
    let mut pushed_at = pushed_of_late(view);
    pushed_at.insert(0, Time(view.now()));
    if let Some(revert) = &mut memory.git_revert {
        revert.pushed_at = pushed_at;
    }
    with_request(memory, number, url, PullRequestState::Open)
}

/// People closed the request.
pub(super) fn vetoed(view: &View<'_>, number: u64, url: &str) -> Memory {
    let message = format!(
        "pull request {number} was closed without being merged, and is not opened again: {url}"
    );
    let memory = with_state(view, GitRevertState::Vetoed, "Closed", &message);
    with_request(memory, number, url, PullRequestState::Closed)
}

fn with_request(mut memory: Memory, number: u64, url: &str, state: PullRequestState) -> Memory {
    if let Some(revert) = &mut memory.git_revert {
        revert.pull_request = Some(PullRequestStatus { number, url: url.to_owned(), state });
    }
    memory
}

fn with_request_state(mut memory: Memory, state: PullRequestState) -> Memory {
    let request = memory.git_revert.as_mut().and_then(|revert| revert.pull_request.as_mut());
    if let Some(request) = request {
        request.state = state;
    }
    memory
}

/// What a look at an open request changes. Trouble changes nothing: the request is still there.
pub(super) fn looked_at(
    view: &View<'_>,
    revert: &GitRevertStatus,
    result: &RevertResult,
) -> Option<Memory> {
    let known = revert.pull_request.as_ref()?;
    match result {
        RevertResult::Pushed(commit) => {
            Some(with_request_state(on_the_branch(view, commit), PullRequestState::Merged))
        }
        RevertResult::Vetoed { .. } => Some(vetoed(view, known.number, &known.url)),
        RevertResult::AlreadyReverted => Some(already_reverted(view)),
        RevertResult::Superseded => Some(superseded(view)),
        RevertResult::Proposed { .. }
        | RevertResult::Suggested { .. }
        | RevertResult::Blocked { .. }
        | RevertResult::Failed { .. } => None,
    }
}

/// Whether it is time to look at an open request again; says what is waited for.
pub(super) fn is_to_be_looked_at(
    view: &View<'_>,
    revert: &GitRevertStatus,
    effects: &mut Effects,
) -> bool {
    let url = revert.pull_request.as_ref().map_or("", |request| request.url.as_str());
    effects.wait(format!("{AWAITED} {url}"));
    is_time_to_look(view, revert)
}

/// Whether nobody has looked for a while.
pub(super) fn is_time_to_look(view: &View<'_>, revert: &GitRevertStatus) -> bool {
    match current_try(view, revert) {
        None => true,
        Some(look) => look.ended_at.is_some_and(|at| view.now() >= at + BETWEEN_LOOKS),
    }
}

/// A request that is open and not needed any more.
pub(super) fn withdrawal(view: &View<'_>) -> Option<WithdrawOrder> {
    let revert = unneeded(view)?;
    let request = revert.pull_request.as_ref()?;
    let work = view.observed.git.withdrawal.as_ref().filter(|work| work.id == revert.id);
    let is_due = work
        .is_none_or(|work| work.ended_at.is_some_and(|at| view.now() >= at + BETWEEN_WITHDRAWALS));
    if !is_due || view.now() >= revert.at.0 + LONGEST_WITHDRAWAL {
        return None;
    }
    let mut records = view.memory.revisions.iter();
    let record = records.find(|record| record.revision == revert.failed_revision);
    Some(WithdrawOrder {
        id: revert.id.clone(),
        number: request.number,
        source: record.and_then(|record| record.source.clone()),
        comment: format!("Closed by Sluice: {}.", revert.message),
    })
}

fn unneeded<'a>(view: &View<'a>) -> Option<&'a GitRevertStatus> {
    let revert = view.memory.git_revert.as_ref()?;
    let is_open =
        revert.pull_request.as_ref().is_some_and(|one| one.state == PullRequestState::Open);
    (is_open && revert.state != GitRevertState::PullRequestOpen).then_some(revert)
}

/// What became of a withdrawal.
pub(super) fn withdrawn(view: &View<'_>) -> Option<Memory> {
    let revert = unneeded(view)?;
    let work = view.observed.git.withdrawal.as_ref().filter(|work| work.id == revert.id)?;
    Some(with_request_state(view.memory.clone(), work.state?))
}
