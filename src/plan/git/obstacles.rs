//! What keeps a revert from beginning.

use chrono::TimeDelta;

use crate::api::Time;
use crate::api::git_revert::GitRevertMode;
use crate::plan::validate::ValidGit;
use crate::plan::view::View;
use crate::revision::Revision;

/// The pushes of the last 24 hours. A time that is ahead of ours is of a clock that was wrong, and counts.
pub(super) fn pushed_of_late(view: &View<'_>) -> Vec<Time> {
    let before = view.memory.git_revert.iter().flat_map(|revert| &revert.pushed_at).copied();
    before.filter(|at| view.now() < at.0 + TimeDelta::hours(24)).collect()
}

/// What is to be said when there were as many reverts of late as there may be.
pub(super) fn budget_spent(view: &View<'_>, git: &ValidGit) -> Option<String> {
    let pushed = pushed_of_late(view).len();
    let is_spent = u32::try_from(pushed).unwrap_or(u32::MAX) >= git.max_per_day;
    let is_written = match git.mode {
        GitRevertMode::Disabled | GitRevertMode::Suggest => false,
        GitRevertMode::PullRequest | GitRevertMode::Push => true,
    };
    (is_spent && is_written).then(|| {
        format!(
            "{pushed} reverts were pushed or proposed in the last 24 hours, and no more may be \
             (maxPerDay): put the branch right by hand"
        )
    })
}

/// Why the commit that declared a revision is not known, if it is not.
pub(super) fn commit_unknown(view: &View<'_>, revision: &Revision) -> Option<String> {
    let record = view.memory.record(revision);
    if record.is_some_and(|record| record.commit.is_some()) {
        return None;
    }
    let why = record.map_or("it was promoted before gitRevert was set", |record| &record.reason);
    Some(format!(
        "no commit is known to declare revision {revision} ({why}); put the branch right by hand"
    ))
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
