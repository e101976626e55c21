//! What keeps a revert from beginning.

use chrono::TimeDelta;

use super::{with_state, writes};
use crate::api::Time;
use crate::api::conditions::RevertEnd;
use crate::api::status::GitRevertState;
use crate::plan::facts::{FAILURES_WITHIN, REASON_NOT_ALLOWED};
use crate::plan::memory::Memory;
use crate::plan::validate::ValidGit;
use crate::plan::view::View;
use crate::revision::Revision;

/// Reason of a revert for which there were too many before it.
pub(super) const BUDGET_SPENT: &str = "BudgetSpent";

/// The pushes of the last 24 hours. A time that is ahead of ours is of a clock that was wrong, and counts.
pub(super) fn pushed_of_late(view: &View<'_>) -> Vec<Time> {
    let before = view.memory.git_revert.iter().flat_map(|revert| &revert.pushed_at).copied();
    before.filter(|at| view.now() < at.0 + TimeDelta::hours(24)).collect()
}

/// What is to be said when there were as many reverts of late as there may be.
pub(super) fn budget_spent(view: &View<'_>, git: &ValidGit) -> Option<String> {
    let pushed = pushed_of_late(view).len();
    let is_spent = u32::try_from(pushed).unwrap_or(u32::MAX) >= git.max_per_day;
    (is_spent && writes(git.mode)).then(|| {
        format!(
            "{pushed} reverts were pushed or proposed in the last 24 hours, and no more may be \
             (maxPerDay): put the branch right by hand"
        )
    })
}

/// A planned revert is held back when so much is wrong that people must look first. Many failures at once
/// have one cause, and that is not in each Rollout's Git; what they all need is no mass of commits.
pub(super) fn held_back(view: &View<'_>) -> Option<Memory> {
    let (git, revert) = (view.spec.git.as_ref()?, view.memory.git_revert.as_ref()?);
    if revert.state != GitRevertState::Planned || !writes(git.mode) {
        return None;
    }
    let (around, limits) = (view.observed.git.around?, view.observed.git.limits);
    let (failed, written) = (around.failed_lately, around.written_to_repository);
    let (reason, message) = if limits.failures > 0 && failed > limits.failures && !revert.approved {
        let minutes = FAILURES_WITHIN.num_minutes();
        let message = format!(
            "{failed} Rollouts failed within {minutes} minutes, which looks like one cause outside \
             of them: Git is not changed before a person says so"
        );
        (RevertEnd::ManyFailures.as_str(), message)
    } else if limits.per_repository > 0 && written >= limits.per_repository {
        let message = format!(
            "{written} reverts were pushed or proposed in {} in the last 24 hours, and no more may \
             be: put the branch right by hand",
            revert.url
        );
        (BUDGET_SPENT, message)
    } else {
        return None;
    };
    Some(with_state(view, GitRevertState::Suspended, reason, &message))
}

/// Why the commit that declared a revision is not known, if it is not: in a word, and in words.
pub(super) fn commit_unknown(
    view: &View<'_>,
    revision: &Revision,
) -> Option<(&'static str, String)> {
    let record = view.memory.record(revision);
    if record.is_some_and(|record| record.commit.is_some()) {
        return None;
    }
    let why = record.map_or("it was promoted before gitRevert was set", |record| &record.reason);
    let is_denied = record.is_some_and(|record| record.not_allowed);
    let word = if is_denied { REASON_NOT_ALLOWED } else { "CommitUnknown" };
    let words = format!(
        "no commit is known to declare revision {revision} ({why}); put the branch right by hand"
    );
    Some((word, words))
}

pub(super) fn opted_out(view: &View<'_>) -> Option<String> {
    let key = view.observed.names.no_git_revert_annotation();
    let on_template = view
        .spec
        .template
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(key))
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned);
    let reason = on_template.or_else(|| view.observed.rollout.annotations.get(key).cloned())?;
    Some(format!("annotation {key} says: {reason}"))
}
