//! The conditions: the same facts as in the phase, in Kubernetes' usual form.

use std::collections::BTreeMap;

use super::cut;
use super::phase::{abort_message, deadline_message, problem_message};
use crate::api::Time;
use crate::api::analysis::ComparisonVerdict;
use crate::api::conditions::{ConditionType, Reason};
use crate::api::status::{Condition, GitRevertState, RolloutPhase, RolloutStatus};
use crate::plan::facts::Observed;
use crate::plan::memory::{Memory, Pause, Phase};
use crate::plan::view::View;
use crate::plan::{Decision, gate, targets};

/// The conditions of a status.
pub(super) fn conditions(
    old: &RolloutStatus,
    new: &RolloutStatus,
    memory: &Memory,
    decision: &Decision,
    view: Option<&View<'_>>,
    observed: &Observed,
) -> Vec<Condition> {
    let mut wanted: Vec<(ConditionType, bool, Reason, String)> = Vec::new();
    if !decision.problems.is_empty() {
        let message = format!(
            "The Rollout \"{}\" is invalid: {}",
            observed.rollout.name,
            problem_message(decision)
        );
        wanted.push((ConditionType::InvalidSpec, true, Reason::InvalidSpec, message));
    }
    let is_healthy = new.phase == Some(RolloutPhase::Healthy);
    let healthy = if is_healthy { Reason::RolloutHealthy } else { Reason::RolloutNotHealthy };
    wanted.push((ConditionType::Healthy, is_healthy, healthy, String::new()));
    let is_complete = memory.phase == Phase::Settled;
    let completed =
        if is_complete { Reason::RolloutCompleted } else { Reason::RolloutNotCompleted };
    wanted.push((ConditionType::Completed, is_complete, completed, String::new()));
    let is_paused = new.phase == Some(RolloutPhase::Paused);
    let paused = if is_paused { Reason::RolloutPaused } else { Reason::RolloutResumed };
    wanted.push((ConditionType::Paused, is_paused, paused, new.message.clone()));
    if let Some(view) = view {
        let is_available = new.available_replicas.unwrap_or(0) >= view.replicas();
        let message = if is_available {
            "Rollout has minimum availability"
        } else {
            "Rollout does not have minimum availability"
        };
        wanted.push((
            ConditionType::Available,
            is_available,
            Reason::AvailableReason,
            message.to_owned(),
        ));
    }
    let (is_progressing, reason, message) = progressing(memory, view);
    wanted.push((ConditionType::Progressing, is_progressing, reason, message));
    wanted.extend(view.and_then(no_traffic));
    if let Some(revert) = &memory.git_revert {
        let is_reverted =
            matches!(revert.state, GitRevertState::Reverted | GitRevertState::AlreadyReverted);
        let reason = match revert.state {
            GitRevertState::Reverted => Reason::GitReverted,
            GitRevertState::AlreadyReverted | GitRevertState::Superseded => {
                Reason::GitRevertNotNeeded
            }
            GitRevertState::PullRequestOpen => Reason::GitRevertPullRequest,
            GitRevertState::Vetoed => Reason::GitRevertVetoed,
            GitRevertState::Suggested => Reason::GitRevertSuggested,
            GitRevertState::Blocked | GitRevertState::Ineffective | GitRevertState::Suspended => {
                Reason::GitRevertBlocked
            }
            GitRevertState::Planned
            | GitRevertState::AwaitingApproval
            | GitRevertState::Pushing
            | GitRevertState::AwaitingSync => Reason::GitRevertPushed,
        };
        let message = revert.message.clone();
        wanted.push((ConditionType::GitReverted, is_reverted, reason, message));
    }
    wanted.extend(quarantined(old, memory));
    let before: BTreeMap<&str, &Condition> =
        old.conditions.iter().map(|condition| (condition.kind.as_str(), condition)).collect();
    wanted
        .into_iter()
        .map(|(kind, is_true, reason, message)| {
            condition(before.get(kind.as_str()).copied(), kind, is_true, reason, &message, observed)
        })
        .collect()
}

/// Only where there was something to refuse.
fn quarantined(
    old: &RolloutStatus,
    memory: &Memory,
) -> Option<(ConditionType, bool, Reason, String)> {
    let kind = ConditionType::Quarantined;
    let is_held = memory.current.as_ref().is_some_and(|current| memory.is_quarantined(current));
    match &memory.phase {
        Phase::Aborted(aborted) if is_held => {
            Some((kind, true, Reason::RolloutQuarantined, aborted.cause.clone()))
        }
        _ => old
            .conditions
            .iter()
            .any(|condition| condition.kind == kind.as_str())
            .then(|| (kind, false, Reason::RolloutUpdated, "no version is refused".to_owned())),
    }
}

/// Whether a canary that is compared and should have traffic has none.
fn no_traffic(view: &View<'_>) -> Option<(ConditionType, bool, Reason, String)> {
    let comparison = gate::comparing(view)?.comparison.as_ref()?;
    let has_weight = targets::wanted_split(view).is_none_or(|split| !split.is_all_stable());
    let is_silent = comparison.verdict == ComparisonVerdict::NoData && has_weight;
    let (reason, message) = if is_silent {
        (Reason::NoTraffic, comparison.message.clone())
    } else {
        (Reason::TrafficSeen, String::new())
    };
    Some((ConditionType::NoTraffic, is_silent, reason, message))
}

fn progressing(memory: &Memory, view: Option<&View<'_>>) -> (bool, Reason, String) {
    let number = view.and_then(View::current).map_or(0, |set| set.number);
    let revision = memory.current.as_ref().map_or_else(String::new, ToString::to_string);
    match &memory.phase {
        Phase::Aborted(aborted) => {
            (false, Reason::RolloutAborted, abort_message(view, &aborted.cause))
        }
        _ if memory.deadline_exceeded => {
            (false, Reason::ProgressDeadlineExceeded, deadline_message(view))
        }
        Phase::Settled => (
            true,
            Reason::NewReplicaSetAvailable,
            format!("Revision {revision} has successfully progressed."),
        ),
        Phase::Canary(step) if step.pause != Pause::None => {
            (true, Reason::RolloutPaused, "Rollout is paused".to_owned())
        }
        Phase::BlueGreen(state) if state.pause != Pause::None => {
            (true, Reason::RolloutPaused, "Rollout is paused".to_owned())
        }
        Phase::Initial | Phase::Canary(_) | Phase::Promoting { .. } | Phase::BlueGreen(_) => (
            true,
            Reason::ReplicaSetUpdated,
            format!("Revision {revision} (number {number}) is progressing."),
        ),
    }
}

/// A condition keeps its times while it says the same.
fn condition(
    before: Option<&Condition>,
    kind: ConditionType,
    is_true: bool,
    reason: Reason,
    message: &str,
    observed: &Observed,
) -> Condition {
    let now = Time(observed.now);
    let status = if is_true { "True" } else { "False" };
    let message = cut(message);
    if let Some(before) = before
        && before.status == status
        && before.reason == reason.as_str()
        && before.message == message
    {
        return before.clone();
    }
    let transition = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time)
        .unwrap_or(now);
    Condition {
        kind: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message,
        last_transition_time: Some(transition),
        last_update_time: Some(now),
    }
}
