//! What passes mean for our own metrics. It only counts.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::api::status::{CompletionStatus, GitRevertState, RolloutPhase, RolloutStatus};
use crate::observe::Snapshot;
use crate::plan::{Change, Decision};
use crate::telemetry::metrics::{Metrics, RolloutReport, Waiting};

/// What was counted already.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// An abort whose traffic was not yet seen back on stable: since when.
    aborting_since: Option<DateTime<Utc>>,
    git: Option<GitRevertState>,
    git_started: Option<DateTime<Utc>>,
}

/// Counts what a pass brought.
pub(super) fn report(
    metrics: &Metrics,
    memory: &mut Memory,
    snapshot: &Snapshot,
    decision: &Decision,
    new: &RolloutStatus,
) {
    let now = snapshot.observed.now;
    match &decision.change {
        Some(Change::Aborted { cause, run }) => {
            metrics.aborted(cause_word(cause, run.is_some()));
            metrics.rollout_ended("Aborted");
            memory.aborting_since = Some(now);
        }
        Some(Change::Completed) => metrics.rollout_ended("Completed"),
        Some(Change::WentBack) => metrics.rollout_ended("Superseded"),
        Some(_) | None => {}
    }
    let is_home = new
        .canary
        .weights
        .as_ref()
        .is_none_or(|weights| weights.canary.weight == 0 && weights.verified == Some(true));
    if let Some(since) = memory.aborting_since
        && is_home
        && decision.change.is_none()
    {
        memory.aborting_since = None;
        let is_aborted = new
            .duration
            .as_ref()
            .is_some_and(|duration| duration.completion_status == Some(CompletionStatus::Aborted));
        if is_aborted {
            metrics.rolled_back((now - since).to_std().unwrap_or(Duration::ZERO));
        }
    }
    report_git(metrics, memory, snapshot, new);
    let rollout = &snapshot.observed.rollout;
    let share = |weight: Option<u32>| {
        let total = new.canary.desired_weights.as_ref().map_or(100, |weights| {
            weights.canary.weight.saturating_add(weights.stable.weight).max(1)
        });
        weight.map(|weight| f64::from(weight) / f64::from(total))
    };
    let deadline = rollout.spec.usable.as_ref().map(|spec| spec.progress_deadline);
    let waiting = new.waiting_on.first().map(|wait| Waiting {
        what: wait_word(&wait.what),
        since: wait.since.0,
        overdue_at: match new.phase {
            Some(RolloutPhase::Progressing) => deadline.map(|deadline| wait.since.0 + deadline),
            Some(RolloutPhase::Healthy | RolloutPhase::Degraded | RolloutPhase::Paused) | None => {
                None
            }
        },
    });
    let report = RolloutReport {
        phase: new.phase.map_or("Unknown", RolloutPhase::as_str),
        waiting,
        desired_weight: share(new.canary.desired_weights.as_ref().map(|w| w.canary.weight)),
        actual_weight: share(new.canary.weights.as_ref().map(|w| w.canary.weight)),
    };
    metrics.report_rollout(&rollout.namespace, &rollout.name, report);
}

fn report_git(metrics: &Metrics, memory: &mut Memory, snapshot: &Snapshot, new: &RolloutStatus) {
    let Some(revert) = &new.git_revert else { return };
    let now = snapshot.observed.now;
    let before = memory.git.replace(revert.state);
    if before == Some(revert.state) {
        return;
    }
    if before.is_none() && revert.state != GitRevertState::Planned {
        // Seen for the first time by this process: counted by the one that did it.
        return;
    }
    let result = match revert.state {
        GitRevertState::Planned => {
            memory.git_started.get_or_insert(now);
            return;
        }
        GitRevertState::AwaitingApproval | GitRevertState::Pushing => return,
        GitRevertState::AwaitingSync => "Pushed",
        GitRevertState::Reverted => "Reverted",
        GitRevertState::AlreadyReverted => "AlreadyReverted",
        GitRevertState::Superseded => "Superseded",
        GitRevertState::Suggested => "Suggested",
        GitRevertState::Blocked => "Blocked",
        GitRevertState::Ineffective => "Ineffective",
    };
    let took = memory.git_started.take().and_then(|since| (now - since).to_std().ok());
    let mode = snapshot.observed.rollout.spec.usable.as_ref().and_then(|spec| spec.git.as_ref());
    let mode = match mode.map(|git| git.mode) {
        Some(crate::api::git_revert::GitRevertMode::Push) => "Push",
        Some(_) | None => "Suggest",
    };
    metrics.git_reverted(result, mode, took.filter(|_| result == "Pushed"));
}

fn cause_word(cause: &str, is_analysis: bool) -> &'static str {
    if is_analysis {
        "Analysis"
    } else if cause.is_empty() {
        "Request"
    } else {
        "Deadline"
    }
}

/// One of few words for what is waited for.
fn wait_word(what: &str) -> &'static str {
    let words: [(&str, &'static str); 10] = [
        ("a person", "Person"),
        ("pause", "Pause"),
        ("another try", "Retry"),
        ("analysis", "Analysis"),
        ("Git", "Git"),
        ("Route", "Router"),
        ("Ingress", "Router"),
        ("router", "Router"),
        ("pods", "Pods"),
        ("Service", "Service"),
    ];
    words.iter().find(|(text, _)| what.contains(text)).map_or("Other", |(_, word)| word)
}
