//! When Git is looked into, when a failed revision is taken back in it, and what became of that.
//!
//! Git is the last thing a pass thinks of: nothing here holds up traffic, scaling or an abort. A
//! revert starts only for a revision that an analysis with measurements found bad, only after the
//! verdict is in status and all traffic is confirmed on stable, and at most once (the state is in
//! status before the work begins, and the work itself looks for the trailer of its id).

mod obstacles;
mod place;
mod request;
mod sync;

use chrono::TimeDelta;
use serde_json::Value;

use self::obstacles::{budget_spent, commit_unknown, opted_out, pushed_of_late};
use self::place::{place_of, source_moved};
use super::action::{Action, RevertOrder};
use super::defaults::as_written;
use super::effects::Effects;
use super::facts::{LedgerAnswer, RevertProgress, RevertResult, RunSlot, Sight};
use super::memory::{Memory, Phase};
use super::validate::{ValidGit, ValidStrategy};
use super::view::View;
use super::wait::brief;
use crate::api::Time;
use crate::api::conditions::RevertEnd;
use crate::api::git_revert::GitApproval;
use crate::api::status::{
    FailedRevision, GitRevertState, GitRevertStatus, RevisionOutcome, RevisionRecord,
};
use crate::git::revert_id::RevertId;
use crate::mutants::{Mutant, mutant};
use crate::revision::{Commit, Revision, TemplateDigest};

/// Longest patch that is kept in status, in characters.
const MAX_PATCH: usize = 8 * 1024;
/// How long the tip of the branch may still be the commit that declared a template.
const LOOK_FOR_COMMIT: TimeDelta = TimeDelta::minutes(10);
/// Most tries of one revert.
const MAX_TRIES: u32 = 20;

/// The next memory, if Git's side of it changes.
pub(super) fn next(view: &View<'_>) -> Option<Memory> {
    ledger_answer(view)
        .or_else(|| template_came_back(view))
        .or_else(|| revert_due(view))
        .or_else(|| revert_result(view))
        .or_else(|| request::withdrawn(view))
        .or_else(|| sync::looked(view))
        .or_else(|| sync_overdue(view))
}

fn ledger_answer(view: &View<'_>) -> Option<Memory> {
    let mut memory = view.memory.clone();
    let mut changed = false;
    for (sight, answer) in &view.observed.git.ledger {
        let Some(record) = memory.record_mut(&sight.revision) else { continue };
        if record.observed_at != sight.at {
            continue;
        }
        match answer {
            LedgerAnswer::Running { .. } => {}
            LedgerAnswer::Declared(found) => {
                if record.commit.is_none() || record.provisional {
                    let before = record.clone();
                    record.commit = Some(found.commit.to_string());
                    record.source.clone_from(&found.source);
                    record.provisional = !found.is_final;
                    record.reason.clear();
                    changed |= *record != before;
                }
            }
            LedgerAnswer::NotFound(reason) => {
                // The first reason stays: later ones differ in details that nobody waits for. What a
                // tool says comes a while after the Rollout itself.
                let is_news = record.reason.is_empty()
                    || (view.spec.git.as_ref().is_some_and(|git| git.named.is_none())
                        && record.reason != *reason);
                if record.commit.is_none() && is_news {
                    record.reason.clone_from(reason);
                    changed = true;
                }
            }
        }
    }
    changed.then_some(memory)
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

fn commit_of(record: &RevisionRecord) -> Option<Commit> {
    record.commit.as_deref().and_then(|commit| Commit::parse(commit).ok())
}

/// The record of a failed revision whose commit is still looked for.
fn commit_to_await<'a>(view: &View<'a>) -> Option<&'a RevisionRecord> {
    let (_, record) = unhandled(view)?;
    (commit_of(record).is_none() && is_worth_looking(view, record.observed_at)).then_some(record)
}

/// A revert becomes due: recorded as planned, in a write of its own.
fn revert_due(view: &View<'_>) -> Option<Memory> {
    let git = view.spec.git.as_ref()?;
    let stable = view.memory.stable.as_ref()?;
    let (failed, record) = unhandled(view)?;
    if commit_to_await(view).is_some() {
        return None;
    }
    let commit = commit_of(record);
    let digest = TemplateDigest::from_annotation(failed.digest.clone());
    let id = commit.as_ref().map_or_else(
        || format!("no-commit-{}", digest.as_str().chars().take(16).collect::<String>()),
        |commit| RevertId::new(&view.observed.rollout.uid, &digest, commit).as_str().to_owned(),
    );
    // The same template declared by the same commit was dealt with before: once is enough.
    if view.memory.git_revert.as_ref().is_some_and(|revert| revert.id == id) {
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
        pull_request: None,
        pushed_at: pushed_of_late(view),
        approved: false,
    });
    let obstacle = opted_out(view)
        .map(|message| (GitRevertState::Blocked, RevertEnd::OptedOut.as_str(), message))
        .or_else(|| {
            let unknown =
                commit_unknown(view, &view.revision).or_else(|| commit_unknown(view, stable));
            unknown.map(|message| (GitRevertState::Blocked, "CommitUnknown", message))
        })
        .or_else(|| {
            source_moved(view, git, stable, record)
                .map(|message| (GitRevertState::Blocked, "SourceMoved", message))
        })
        .or_else(|| {
            budget_spent(view, git)
                .map(|message| (GitRevertState::Suspended, "BudgetSpent", message))
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
    if revert.state == GitRevertState::AwaitingApproval && revert.approved {
        return Some(with_state(view, GitRevertState::Planned, "", "approved"));
    }
    let progress = current_try(view, revert)?;
    if revert.state == GitRevertState::PullRequestOpen {
        return request::looked_at(view, revert, progress.result.as_ref()?);
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
        RevertResult::AlreadyReverted => with_state(
            view,
            GitRevertState::AlreadyReverted,
            "",
            "the branch declares the stable template already",
        ),
        RevertResult::Superseded => {
            with_state(view, GitRevertState::Superseded, "", "the branch declares something newer")
        }
        RevertResult::Suggested { patch, reason } => {
            let mut memory = with_state(view, GitRevertState::Suggested, "", reason);
            if let Some(revert) = &mut memory.git_revert {
                revert.patch = patch.chars().take(MAX_PATCH).collect();
            }
            memory
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

/// The commit is on the branch, by us or by people.
fn on_the_branch(view: &View<'_>, commit: &Commit) -> Memory {
    let message = sync::on_the_branch(commit);
    let mut memory = with_state(view, GitRevertState::AwaitingSync, "", &message);
    if let Some(revert) = &mut memory.git_revert {
        revert.commit = Some(commit.to_string());
    }
    memory
}

/// The work on the try that status is at; a result of an earlier try counts once only.
fn current_try<'a>(view: &View<'a>, revert: &GitRevertStatus) -> Option<&'a RevertProgress> {
    let work = view.observed.git.revert.as_ref()?;
    (work.id == revert.id && work.tries == revert.tries).then_some(work)
}

/// How long to wait before the next try: 5 s, doubled by each failure, at most 5 minutes.
fn backoff(tries: u32) -> TimeDelta {
    let doubled = 5i64.saturating_mul(1i64 << tries.saturating_sub(1).min(10));
    TimeDelta::seconds(if tries == 0 { 0 } else { doubled.min(300) })
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
    wait_for_commit(view, effects);
    wait_for_release(view, effects);
    if let Some(order) = revert_order(view, git, effects) {
        return vec![Action::RevertInGit(Box::new(order))];
    }
    if let Some(order) = request::withdrawal(view) {
        return vec![Action::WithdrawRequest(Box::new(order))];
    }
    if let Some(order) = sync::order(view, git, effects) {
        return vec![Action::WatchSync(order)];
    }
    look_ups(view)
}

/// A version that is refused waits for a person, or for another version.
fn wait_for_release(view: &View<'_>, effects: &mut Effects) {
    if view.memory.is_quarantined(&view.revision) {
        effects.wait("a person to release the quarantined version, or another version");
    }
}

/// A revert that is held up by a commit that nobody has found yet says so, with what Git answered
/// and when it is asked again.
fn wait_for_commit(view: &View<'_>, effects: &mut Effects) {
    let Some(record) = commit_to_await(view) else { return };
    let revision = &view.revision;
    let what = |reason: &str| {
        let because =
            if reason.is_empty() { String::new() } else { format!(" ({})", brief(reason)) };
        format!("the commit that declares revision {revision}, to revert it in Git{because}")
    };
    let given_up_at = record.observed_at.0 + LOOK_FOR_COMMIT;
    match view.observed.git.ledger.get(&sight(view, record)) {
        Some(LedgerAnswer::Running { last: Some(miss) }) => {
            // The next try is made until it has an answer, and that is news.
            let is_ahead = miss.next_try > view.now();
            let until = Some(miss.next_try).filter(|_| is_ahead).unwrap_or(given_up_at);
            effects.wait_until(what(&miss.reason), until.min(given_up_at));
        }
        Some(
            LedgerAnswer::Running { last: None }
            | LedgerAnswer::Declared(_)
            | LedgerAnswer::NotFound(_),
        )
        | None => effects.wait_until(what(&record.reason), given_up_at),
    }
}

/// Revisions whose commit is not known yet: the current one, and the stable one it may go back to.
fn look_ups(view: &View<'_>) -> Vec<Action> {
    let Some(record) = view.memory.record(&view.revision) else { return vec![] };
    let is_open = record.commit.is_none() || record.provisional;
    let is_wanted = is_open && record.outcome != RevisionOutcome::Quarantined;
    if !is_wanted || !is_worth_looking(view, record.observed_at) {
        return vec![];
    }
    let sight = sight(view, record);
    match view.observed.git.ledger.get(&sight) {
        Some(LedgerAnswer::Running { .. }) => vec![],
        Some(LedgerAnswer::Declared(found)) if found.is_final => vec![],
        // The worker leaves more and more time between its tries.
        Some(LedgerAnswer::Declared(_) | LedgerAnswer::NotFound(_)) | None => {
            vec![Action::LookUpCommit(sight)]
        }
    }
}

fn sight(view: &View<'_>, record: &RevisionRecord) -> Sight {
    Sight { revision: view.revision.clone(), at: record.observed_at }
}

/// The branch's tip is the declaring commit soon after a template was first seen, and for as long as
/// the template is the stable one: a tip that still declares it can be gone back to.
fn is_worth_looking(view: &View<'_>, seen_at: Time) -> bool {
    view.memory.phase == Phase::Settled || view.now() < seen_at.0 + LOOK_FOR_COMMIT
}

fn stopped_at(view: &View<'_>, slot: Option<RunSlot>) -> String {
    let steps = view.canary().map_or(0, |canary| canary.steps.len());
    match slot {
        Some(RunSlot::Step(index)) => format!("step {}/{steps}", index.saturating_add(1)),
        Some(RunSlot::Background) => "its background analysis".to_owned(),
        Some(RunSlot::PrePromotion) => "its pre-promotion analysis".to_owned(),
        Some(RunSlot::PostPromotion) => "its post-promotion analysis".to_owned(),
        None => "its analysis".to_owned(),
    }
}

fn revert_order(view: &View<'_>, git: &ValidGit, effects: &mut Effects) -> Option<RevertOrder> {
    let revert = view.memory.git_revert.as_ref()?;
    let is_open = revert.state == GitRevertState::PullRequestOpen;
    let is_due =
        is_open || matches!(revert.state, GitRevertState::Planned | GitRevertState::Pushing);
    if !is_due || revert.failed_revision != view.revision.as_str() {
        if revert.state == GitRevertState::AwaitingApproval {
            effects.wait("a person to approve the Git revert");
        }
        return None;
    }
    if is_open && !request::is_to_be_looked_at(view, revert, effects) {
        return None;
    }
    let what = match revert.tries {
        _ if is_open => request::AWAITED.to_owned(),
        0 => "the Git revert".to_owned(),
        tries => format!("the Git revert (try {tries} did not work: {})", brief(&revert.message)),
    };
    let not_before = revert.at.0 + backoff(revert.tries);
    if view.now() < not_before {
        effects.wait_until(what, not_before);
        return None;
    }
    effects.wait(what);
    if (!is_open && current_try(view, revert).is_some()) || !is_all_stable(view) {
        return None;
    }
    let stable = view.memory.stable.clone()?;
    let stable_set = view.stable()?;
    let declaring = |revision: &Revision| view.memory.record(revision).and_then(commit_of);
    let cause =
        view.memory.failed.first().map_or_else(String::new, |failed| failed.message.clone());
    let run = view
        .runs()
        .iter()
        .filter(|run| run.attempt == Some(view.memory.attempt))
        .find(|run| matches!(run.verdict, crate::analysis::Verdict::Failed { .. }));
    let stopped_at = stopped_at(view, run.and_then(|run| run.slot));
    let run = run.map_or_else(String::new, |run| run.name.clone());
    let stable_digest =
        stable_set.digest.clone().unwrap_or_else(|| TemplateDigest::of(&stable_set.template));
    // The API server adds defaults to what it stores; Git holds what the author wrote.
    let stable_template = as_written(&stable_set.template, &view.spec.template, &stable_digest)
        .unwrap_or_else(|| Value::clone(&stable_set.template));
    Some(RevertOrder {
        id: revert.id.clone(),
        tries: revert.tries,
        mode: git.mode,
        known_request: revert.pull_request.as_ref().map(|request| request.number),
        source: view.memory.record(&view.revision).and_then(|record| record.source.clone()),
        stable: (stable.clone(), declaring(&stable)),
        failed: (view.revision.clone(), declaring(&view.revision)),
        stable_template,
        failed_template: view.spec.template.clone(),
        cause,
        stopped_at,
        run,
        digests: (stable_digest, view.digest.clone()),
    })
}
