//! The ledger: which commit declared a revision.

use chrono::TimeDelta;

use super::{commit_of, unhandled};
use crate::api::Time;
use crate::api::status::{RevisionOutcome, RevisionRecord};
use crate::plan::action::Action;
use crate::plan::effects::Effects;
use crate::plan::facts::{LedgerAnswer, Sight};
use crate::plan::memory::{Memory, Phase};
use crate::plan::view::View;
use crate::plan::wait::brief;

/// How long the tip of the branch may still be the commit that declared a template.
const LOOK_FOR_COMMIT: TimeDelta = TimeDelta::minutes(10);

/// What a look-up has found is remembered.
pub(super) fn answered(view: &View<'_>) -> Option<Memory> {
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
                    record.not_allowed = false;
                    changed |= *record != before;
                }
            }
            LedgerAnswer::NotFound(reason) | LedgerAnswer::NotAllowed(reason) => {
                // The first reason stays: later ones differ in details that nobody waits for. What a
                // tool says comes a while after the Rollout itself.
                let is_news = record.reason.is_empty()
                    || (view.spec.git.as_ref().is_some_and(|git| git.named.is_none())
                        && record.reason != *reason);
                if record.commit.is_none() && is_news {
                    record.reason.clone_from(reason);
                    record.not_allowed = matches!(answer, LedgerAnswer::NotAllowed(_));
                    changed = true;
                }
            }
        }
    }
    changed.then_some(memory)
}

/// The record of a failed revision whose commit is still looked for.
pub(super) fn commit_to_await<'a>(view: &View<'a>) -> Option<&'a RevisionRecord> {
    let (_, record) = unhandled(view)?;
    (commit_of(record).is_none() && is_worth_looking(view, record.observed_at)).then_some(record)
}

/// A revert that is held up by a commit that nobody has found yet says so, with what Git answered
/// and when it is asked again.
pub(super) fn wait_for_commit(view: &View<'_>, effects: &mut Effects) {
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
            | LedgerAnswer::NotFound(_)
            | LedgerAnswer::NotAllowed(_),
        )
        | None => effects.wait_until(what(&record.reason), given_up_at),
    }
}

/// Revisions whose commit is not known yet: the current one, and the stable one it may go back to.
pub(super) fn look_ups(view: &View<'_>) -> Vec<Action> {
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
        Some(
            LedgerAnswer::Declared(_) | LedgerAnswer::NotFound(_) | LedgerAnswer::NotAllowed(_),
        )
        | None => vec![Action::LookUpCommit(sight)],
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
