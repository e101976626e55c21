//! When Git is looked into, when a failed revision is taken back in it, and what became of that.
//!
//! Git is the last thing a pass thinks of: nothing here holds up traffic, scaling or an abort. A
//! revert starts only for a revision that an analysis with measurements found bad, only after the
//! verdict is in status and all traffic is confirmed on stable, and at most once (the state is in
//! status before the work begins, and the work itself looks for the trailer of its id).

mod ledger;
mod obstacles;
mod order;
mod place;
mod request;
mod sync;

use self::obstacles::{
    BUDGET_SPENT, budget_spent, commit_unknown, held_back, opted_out, pushed_of_late,
};
use self::place::{place_of, source_moved};
use super::action::Action;
use super::effects::Effects;
use super::facts::{RevertProgress, RevertResult};
use super::memory::{Memory, Phase};
use super::transition::blame_by_hand;
use super::validate::ValidStrategy;
use super::view::View;
use crate::api::Time;
use crate::api::conditions::RevertEnd;
use crate::api::git_revert::{GitApproval, GitRevertMode};
use crate::api::status::{
    FailedRevision, GitRevertState, GitRevertStatus, MAX_PATCH, RevisionOutcome, RevisionRecord,
};
use crate::git::revert_id::RevertId;
use crate::mutants::{Mutant, mutant};
use crate::revision::{Commit, TemplateDigest};

/// Most tries of one revert.
const MAX_TRIES: u32 = 20;
/// Reason of a revert that was given up because a person tries the version again.
const RETRIED: &str = "Retried";
/// Why a version that was stable before is not taken back.
const BACK: &str = "the failed version had been stable before, so that a person must decide which of \
                    the two is to run";

/// The next memory, if Git's side of it changes.
pub(super) fn next(view: &View<'_>) -> Option<Memory> {
    ledger::answered(view)
        .or_else(|| template_came_back(view))
        .or_else(|| asked_for(view))
        .or_else(|| tried_again(view))
        .or_else(|| revert_due(view))
        .or_else(|| held_back(view))
        .or_else(|| revert_result(view))
        .or_else(|| request::withdrawn(view))
        .or_else(|| sync::looked(view))
        .or_else(|| sync_overdue(view))
}

/// The truth of a revert is the template in the cluster, whoever put it there.
fn template_came_back(view: &View<'_>) -> Option<Memory> {
    let revert = view.memory.git_revert.as_ref()?;
    let is_open = matches!(
        revert.state,
        GitRevertState::Planned
            | GitRevertState::AwaitingApproval
            | GitRevertState::Pushing
            | GitRevertState::PullRequestOpen
            | GitRevertState::Vetoed
            | GitRevertState::AwaitingSync
            | GitRevertState::AlreadyReverted
            | GitRevertState::Suggested
            | GitRevertState::Ineffective
            | GitRevertState::Suspended
            | GitRevertState::Blocked
    );
    let is_other_template = view.memory.current.as_ref() == Some(&view.revision)
        && view.revision.as_str() != revert.failed_revision;
    if !is_open || !is_other_template {
        return None;
    }
    let (state, message) = if view.is_stable(&view.revision) {
        (GitRevertState::Reverted, "the cluster shows the stable template again")
    } else {
        (GitRevertState::Superseded, "a newer template was declared")
    };
    Some(with_state(view, state, "", message))
}

/// A person wants the version taken back in Git that was aborted by hand.
fn asked_for(view: &View<'_>) -> Option<Memory> {
    let is_aborted = matches!(view.memory.phase, Phase::Aborted(_));
    let record = view.memory.record(&view.revision)?;
    let is_by_hand = record.outcome == RevisionOutcome::Aborted;
    (view.requests.revert_git && is_aborted && is_by_hand).then(|| {
        let mut memory = view.memory.clone();
        blame_by_hand(&mut memory, Time(view.now()));
        memory
    })
}

/// A person tries the failed version again: nothing is written to Git meanwhile. An open request stays
/// until the version is promoted.
fn tried_again(view: &View<'_>) -> Option<Memory> {
    let revert = view.memory.git_revert.as_ref()?;
    let is_overtaken = match revert.state {
        GitRevertState::Planned
        | GitRevertState::AwaitingApproval
        | GitRevertState::Suggested
        | GitRevertState::Blocked
        | GitRevertState::Suspended => !matches!(view.memory.phase, Phase::Aborted(_)),
        GitRevertState::PullRequestOpen => view.memory.phase == Phase::Settled,
        GitRevertState::Pushing
        | GitRevertState::Vetoed
        | GitRevertState::AwaitingSync
        | GitRevertState::Reverted
        | GitRevertState::AlreadyReverted
        | GitRevertState::Superseded
        | GitRevertState::Ineffective => false,
    };
    let is_same = revert.failed_revision == view.revision.as_str();
    (is_overtaken && is_same).then(|| {
        with_state(view, GitRevertState::Superseded, RETRIED, "a person tries the version again")
    })
}

fn with_state(view: &View<'_>, state: GitRevertState, reason: &str, message: &str) -> Memory {
    let mut memory = view.memory.clone();
    if let Some(revert) = &mut memory.git_revert {
        revert.state = state;
        reason.clone_into(&mut revert.reason);
        message.clone_into(&mut revert.message);
        revert.at = Time(view.now());
    }
    memory
}

/// A failed revision that no revert has dealt with, and its record.
fn unhandled<'a>(view: &View<'a>) -> Option<(&'a FailedRevision, &'a RevisionRecord)> {
    let Phase::Aborted(_) = &view.memory.phase else { return None };
    let failed = view.memory.failed.first()?;
    if failed.revision != view.revision.as_str() || !is_all_stable(view) {
        return None;
    }
    let record = view.memory.record(&view.revision)?;
    let is_handled =
        view.memory.git_revert.as_ref().is_some_and(|revert| {
            revert.failed_revision == failed.revision && revert.at >= failed.at
        });
    (record.outcome == RevisionOutcome::Failed && !is_handled).then_some((failed, record))
}

/// Whether a mode writes to Git.
fn writes(mode: GitRevertMode) -> bool {
    match mode {
        GitRevertMode::Disabled | GitRevertMode::Suggest => false,
        GitRevertMode::PullRequest | GitRevertMode::Push => true,
    }
}

fn commit_of(record: &RevisionRecord) -> Option<Commit> {
    record.commit.as_deref().and_then(|commit| Commit::parse(commit).ok())
}

/// A revert becomes due: recorded as planned, in a write of its own.
fn revert_due(view: &View<'_>) -> Option<Memory> {
    let git = view.spec.git.as_ref()?;
    let stable = view.memory.stable.as_ref()?;
    let (failed, record) = unhandled(view)?;
    if ledger::commit_to_await(view).is_some() {
        return None;
    }
    let commit = commit_of(record);
    let digest = TemplateDigest::from_annotation(failed.digest.clone());
    let id = commit.as_ref().map_or_else(
        || format!("no-commit-{}", digest.as_str().chars().take(16).collect::<String>()),
        |commit| RevertId::new(&view.observed.rollout.uid, &digest, commit).as_str().to_owned(),
    );
    // The same template declared by the same commit was dealt with before: once is enough, unless a
    // person tried it again before anything was written.
    let is_done = |revert: &GitRevertStatus| revert.id == id && revert.reason != RETRIED;
    if view.memory.git_revert.as_ref().is_some_and(is_done) {
        return None;
    }
    let mut memory = view.memory.clone();
    let state = match git.approval {
        GitApproval::Auto => GitRevertState::Planned,
        GitApproval::Manual => GitRevertState::AwaitingApproval,
    };
    memory.git_revert = Some(GitRevertStatus {
        state,
        reason: String::new(),
        message: format!("going back from revision {} to {stable}", view.revision),
        commit: None,
        url: place_of(git, record).map_or_else(String::new, |place| place.url.clone()),
        id,
        failed_revision: view.revision.to_string(),
        at: Time(view.now()),
        patch: String::new(),
        tries: 0,
        refresh: None,
        pull_request: None,
        pushed_at: pushed_of_late(view),
        approved: false,
    });
    let obstacle = opted_out(view)
        .map(|message| (GitRevertState::Blocked, RevertEnd::OptedOut.as_str(), message))
        .or_else(|| {
            let unknown =
                commit_unknown(view, &view.revision).or_else(|| commit_unknown(view, stable));
            unknown.map(|(reason, message)| (GitRevertState::Blocked, reason, message))
        })
        .or_else(|| {
            source_moved(view, git, stable, record)
                .map(|message| (GitRevertState::Blocked, "SourceMoved", message))
        })
        .or_else(|| {
            budget_spent(view, git)
                .map(|message| (GitRevertState::Suspended, BUDGET_SPENT, message))
        });
    if let Some((state, reason, message)) = obstacle
        && let Some(revert) = &mut memory.git_revert
    {
        revert.state = state;
        reason.clone_into(&mut revert.reason);
        revert.message = message;
    }
    Some(memory)
}

/// Whether no user reaches the failed revision, confirmed.
fn is_all_stable(view: &View<'_>) -> bool {
    let Some(stable) = &view.memory.stable else { return false };
    if mutant(Mutant::RevertBeforeTraffic) {
        return true;
    }
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) if canary.routing.is_some() => {
            view.traffic().is_confirmed_all_stable()
        }
        // Without a router the failed revision is gone when its pods are.
        ValidStrategy::Canary(_) => {
            view.current().is_none_or(|current| current.desired == 0 && current.replicas == 0)
        }
        ValidStrategy::BlueGreen(blue_green) => view.selects(&blue_green.active_service, stable),
    }
}

fn revert_result(view: &View<'_>) -> Option<Memory> {
    let revert = view.memory.git_revert.as_ref()?;
    if revert.waits_for_approval() && revert.approved {
        return Some(with_state(view, GitRevertState::Planned, "", "approved"));
    }
    let progress = current_try(view, revert)?;
    match revert.state {
        GitRevertState::PullRequestOpen => {
            return request::looked_at(view, revert, progress.result.as_ref()?);
        }
        GitRevertState::AwaitingApproval => {
            return previewed(view, revert, progress.result.as_ref()?);
        }
        _ => {}
    }
    if !matches!(revert.state, GitRevertState::Planned | GitRevertState::Pushing) {
        return None;
    }
    let memory = match progress.result.as_ref()? {
        RevertResult::Proposed { number, url, reason } => {
            request::opened(view, *number, url, reason)
        }
        RevertResult::Vetoed { number, url } => request::vetoed(view, *number, url),
        RevertResult::Pushed(commit) => {
            let mut memory = on_the_branch(view, commit);
            let mut pushed_at = pushed_of_late(view);
            pushed_at.insert(0, Time(view.now()));
            if let Some(revert) = &mut memory.git_revert {
                revert.pushed_at = pushed_at;
            }
            memory
        }
        RevertResult::AlreadyReverted => already_reverted(view),
        RevertResult::Superseded => superseded(view),
        RevertResult::Suggested { patch, reason } => {
            let record = view.memory.record(&view.revision);
            let reason = if record.is_some_and(|record| record.was_stable) { BACK } else { reason };
            let memory = with_state(view, GitRevertState::Suggested, "", reason);
            with_patch(memory, patch)
        }
        RevertResult::Blocked { reason, message } => {
            with_state(view, GitRevertState::Blocked, reason, message)
        }
        RevertResult::Failed { message, retryable } => {
            let (state, reason) = if *retryable && revert.tries < MAX_TRIES {
                (GitRevertState::Planned, "Retrying")
            } else {
                (GitRevertState::Blocked, "GitFailed")
            };
            let mut memory = with_state(view, state, reason, message);
            if let Some(revert) = &mut memory.git_revert {
                revert.tries = revert.tries.saturating_add(1);
            }
            memory
        }
    };
    Some(memory)
}

fn already_reverted(view: &View<'_>) -> Memory {
    let message = "the branch declares the stable template already";
    with_state(view, GitRevertState::AlreadyReverted, "", message)
}

fn superseded(view: &View<'_>) -> Memory {
    with_state(view, GitRevertState::Superseded, "", "the branch declares something newer")
}

fn with_patch(mut memory: Memory, patch: &str) -> Memory {
    if let Some(revert) = &mut memory.git_revert {
        revert.patch = patch.chars().take(MAX_PATCH).collect();
    }
    memory
}

/// What a look at the branch says to those who are to approve. Trouble says nothing: the next look may.
fn previewed(view: &View<'_>, revert: &GitRevertStatus, result: &RevertResult) -> Option<Memory> {
    match result {
        RevertResult::Suggested { patch, .. } => {
            let memory = with_patch(view.memory.clone(), patch);
            (memory.git_revert.as_ref() != Some(revert)).then_some(memory)
        }
        RevertResult::AlreadyReverted => Some(already_reverted(view)),
        RevertResult::Superseded => Some(superseded(view)),
        RevertResult::Pushed(commit) => Some(on_the_branch(view, commit)),
        RevertResult::Blocked { reason, message } => {
            Some(with_state(view, GitRevertState::Blocked, reason, message))
        }
        RevertResult::Proposed { .. }
        | RevertResult::Vetoed { .. }
        | RevertResult::Failed { .. } => None,
    }
}

/// The commit is on the branch, by us or by people.
fn on_the_branch(view: &View<'_>, commit: &Commit) -> Memory {
    let message = sync::on_the_branch(commit);
    let mut memory = with_state(view, GitRevertState::AwaitingSync, "", &message);
    if let Some(revert) = &mut memory.git_revert {
        revert.commit = Some(commit.to_string());
    }
    if let Some(record) = memory.record_mut(&view.revision) {
        record.reverted_by = Some(commit.to_string());
    }
    memory
}

/// The work on the try that status is at; a result of an earlier try counts once only.
fn current_try<'a>(view: &View<'a>, revert: &GitRevertStatus) -> Option<&'a RevertProgress> {
    let work = view.observed.git.revert.as_ref()?;
    let is_preview = revert.state == GitRevertState::AwaitingApproval;
    let is_this = work.tries == revert.tries && work.is_preview == is_preview;
    (work.id == revert.id && is_this).then_some(work)
}

fn sync_overdue(view: &View<'_>) -> Option<Memory> {
    let git = view.spec.git.as_ref()?;
    let revert = view.memory.git_revert.as_ref()?;
    let is_overdue = revert.state == GitRevertState::AwaitingSync
        && view.now() >= revert.at.0 + git.verify_timeout;
    is_overdue.then(|| {
        let seconds = git.verify_timeout.num_seconds();
        let why = sync::obstacle(view, revert)
            .unwrap_or("is the GitOps tool running, and does it follow this branch?");
        let message = format!(
            "the commit is on the branch, but the cluster did not show the stable template within \
             {seconds} s: {why}"
        );
        with_state(view, GitRevertState::Ineffective, "NotApplied", &message)
    })
}

/// Work in Git that is to be started.
pub(super) fn actions(view: &View<'_>, effects: &mut Effects) -> Vec<Action> {
    let Some(git) = &view.spec.git else { return vec![] };
    ledger::wait_for_commit(view, effects);
    wait_for_release(view, effects);
    if let Some(order) = order::revert_order(view, git, effects) {
        return vec![Action::RevertInGit(Box::new(order))];
    }
    if let Some(order) = request::withdrawal(view) {
        return vec![Action::WithdrawRequest(Box::new(order))];
    }
    if let Some(order) = sync::order(view, git, effects) {
        return vec![Action::WatchSync(order)];
    }
    ledger::look_ups(view)
}

/// A version that is refused waits for a person, or for another version.
fn wait_for_release(view: &View<'_>, effects: &mut Effects) {
    if view.memory.is_quarantined(&view.revision) {
        effects.wait("a person to release the quarantined version, or another version");
    }
}
