//! What a revert waits for, and what is ordered when its turn has come.

use chrono::TimeDelta;

use super::{commit_of, current_try, is_all_stable, request, writes};
use crate::api::git_revert::GitRevertMode;
use crate::api::status::{GitRevertState, GitRevertStatus};
use crate::plan::action::RevertOrder;
use crate::plan::defaults::as_written;
use crate::plan::effects::Effects;
use crate::plan::facts::RunSlot;
use crate::plan::memory::Phase;
use crate::plan::validate::ValidGit;
use crate::plan::view::View;
use crate::plan::wait::brief;
use crate::revision::{Revision, TemplateDigest};
use serde_json::Value;

/// The work on a revert that is to be started now; else what it waits for is said.
pub(super) fn revert_order(
    view: &View<'_>,
    git: &ValidGit,
    effects: &mut Effects,
) -> Option<RevertOrder> {
    let revert = view.memory.git_revert.as_ref()?;
    if revert.failed_revision != view.revision.as_str() {
        return None;
    }
    let is_its_turn = match revert.state {
        GitRevertState::Planned | GitRevertState::Pushing => {
            is_due(view, git, revert, effects) && current_try(view, revert).is_none()
        }
        GitRevertState::AwaitingApproval => {
            effects.wait("a person to approve the Git revert");
            request::is_time_to_look(view, revert)
        }
        GitRevertState::PullRequestOpen => request::is_to_be_looked_at(view, revert, effects),
        GitRevertState::Suspended if revert.is_held_back_by_failures() => {
            effects.wait("a person to approve the Git revert, after the failure of many Rollouts");
            false
        }
        GitRevertState::Suspended
        | GitRevertState::Vetoed
        | GitRevertState::AwaitingSync
        | GitRevertState::Reverted
        | GitRevertState::AlreadyReverted
        | GitRevertState::Superseded
        | GitRevertState::Suggested
        | GitRevertState::Blocked
        | GitRevertState::Ineffective => false,
    };
    (is_its_turn && is_all_stable(view)).then(|| order(view, git, revert)).flatten()
}

/// Whether a planned revert may begin.
fn is_due(
    view: &View<'_>,
    git: &ValidGit,
    revert: &GitRevertStatus,
    effects: &mut Effects,
) -> bool {
    if !matches!(view.memory.phase, Phase::Aborted(_)) {
        return false;
    }
    let (what, pause) = match revert.tries {
        0 if revert.approved => ("the Git revert".to_owned(), TimeDelta::zero()),
        0 => ("the Git revert".to_owned(), git.settle),
        tries => {
            let why = brief(&revert.message);
            (format!("the Git revert (try {tries} did not work: {why})"), backoff(tries))
        }
    };
    let not_before = revert.at.0 + pause;
    if view.now() < not_before {
        let people = if revert.tries == 0 { ", which leaves people time to be faster" } else { "" };
        effects.wait_until(format!("{what}{people}"), not_before);
        return false;
    }
    if writes(git.mode) && view.observed.git.around.is_none() {
        effects.wait("to know how many other Rollouts failed, before the Git revert");
        return false;
    }
    effects.wait(what);
    true
}

/// How long to wait before the next try: 5 s, doubled by each failure, at most 5 minutes.
fn backoff(tries: u32) -> TimeDelta {
    let doubled = 5i64.saturating_mul(1i64 << tries.saturating_sub(1).min(10));
    TimeDelta::seconds(doubled.min(300))
}

/// How far a revert of the current revision may go. A version that was stable before is what people
/// went back to: which of two bad versions is to run, they decide.
fn mode(view: &View<'_>, git: &ValidGit) -> GitRevertMode {
    let record = view.memory.record(&view.revision);
    if record.is_some_and(|record| record.was_stable) { GitRevertMode::Suggest } else { git.mode }
}

fn order(view: &View<'_>, git: &ValidGit, revert: &GitRevertStatus) -> Option<RevertOrder> {
    let stable = view.memory.stable.clone()?;
    let stable_set = view.stable()?;
    let declaring = |revision: &Revision| view.memory.record(revision).and_then(commit_of);
    let failed = view.memory.failed.first().filter(|one| one.revision == view.revision.as_str());
    let asked_by = failed.map(|failed| failed.by.clone()).filter(|by| !by.is_empty());
    // Who asked is told in the place of what was measured.
    let cause = failed.filter(|failed| failed.by.is_empty());
    let cause = cause.map_or_else(String::new, |failed| failed.message.clone());
    let run = view
        .runs()
        .iter()
        .filter(|run| run.attempt == Some(view.memory.attempt))
        .filter(|_| asked_by.is_none())
        .find(|run| matches!(run.verdict, crate::analysis::Verdict::Failed { .. }));
    let stopped_at = match &asked_by {
        Some(by) => format!("the request of {by}"),
        None => stopped_at(view, run.and_then(|run| run.slot)),
    };
    let run = run.map_or_else(String::new, |run| run.name.clone());
    let stable_digest =
        stable_set.digest.clone().unwrap_or_else(|| TemplateDigest::of(&stable_set.template));
    // The API server adds defaults to what it stores; Git holds what the author wrote.
    let stable_template = as_written(&stable_set.template, &view.spec.template, &stable_digest)
        .unwrap_or_else(|| Value::clone(&stable_set.template));
    Some(RevertOrder {
        id: revert.id.clone(),
        tries: revert.tries,
        is_preview: revert.state == GitRevertState::AwaitingApproval,
        mode: mode(view, git),
        known_request: revert.pull_request.as_ref().map(|request| request.number),
        source: view.memory.record(&view.revision).and_then(|record| record.source.clone()),
        stable: (stable.clone(), declaring(&stable)),
        failed: (view.revision.clone(), declaring(&view.revision)),
        stable_template,
        failed_template: view.spec.template.clone(),
        cause,
        stopped_at,
        asked_by,
        run,
        digests: (stable_digest, view.digest.clone()),
    })
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
