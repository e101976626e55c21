//! What passes mean for our own metrics. It only counts.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::api::conditions::{Awaited, RevertEnd, UpdateEnd};
use crate::api::git_revert::GitRevertMode;
use crate::api::status::{
    CompletionStatus, GitRevertState, GitRevertStatus, RolloutPhase, RolloutStatus,
};
use crate::observe::Snapshot;
use crate::plan::{Change, Decision};
use crate::telemetry::metrics::{Metrics, RolloutReport, Waiting};

/// What is remembered between passes.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// An abort whose traffic was not yet seen back on stable: since when.
    aborting_since: Option<DateTime<Utc>>,
    /// When the Git revert became due.
    revert_due_at: Option<DateTime<Utc>>,
}

/// A status that was just written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    /// The status before.
    pub(super) old: &'a RolloutStatus,
    /// The status now.
    pub(super) new: &'a RolloutStatus,
    /// What changed in between.
    pub(super) change: Option<&'a Change>,
    /// How far Sluice goes in Git.
    pub(super) git_mode: GitRevertMode,
    /// The time of the pass.
    pub(super) now: DateTime<Utc>,
}

impl<'a> Written<'a> {
    /// What a pass has written.
    pub(super) fn of(
        snapshot: &Snapshot,
        decision: &'a Decision,
        old: &'a RolloutStatus,
        new: &'a RolloutStatus,
    ) -> Self {
        let git = snapshot.observed.rollout.spec.usable.as_ref().and_then(|spec| spec.git.as_ref());
        Self {
            old,
            new,
            change: decision.change.as_ref(),
            git_mode: git.map_or(GitRevertMode::Disabled, |git| git.mode),
            now: snapshot.observed.now,
        }
    }
}

/// Counts what a written status says is new. A decision whose status could not be written is made
/// again, and must not count twice.
pub(super) fn count(metrics: &Metrics, memory: &mut Memory, written: &Written<'_>) {
    match written.change {
        Some(Change::Aborted(cause)) => {
            metrics.aborted(*cause);
            metrics.rollout_ended(UpdateEnd::Aborted);
            memory.aborting_since = Some(written.now);
        }
        Some(Change::Completed) => metrics.rollout_ended(UpdateEnd::Completed),
        Some(Change::Quarantined) => {
            metrics.git_reverted(RevertEnd::Quarantined, written.git_mode, None);
            if is_superseded(written.old, written.new) {
                metrics.rollout_ended(UpdateEnd::Superseded);
            }
        }
        Some(Change::Began | Change::WentBack) if is_superseded(written.old, written.new) => {
            metrics.rollout_ended(UpdateEnd::Superseded);
        }
        Some(_) | None => {}
    }
    count_revert(metrics, memory, written);
}

/// Whether `new` begins something else while the update of `old` was under way.
fn is_superseded(old: &RolloutStatus, new: &RolloutStatus) -> bool {
    let was_open = old
        .duration
        .as_ref()
        .is_some_and(|update| update.rollout_started_at.is_some() && update.finished_at.is_none());
    was_open && old.current_pod_hash != new.current_pod_hash
}

fn count_revert(metrics: &Metrics, memory: &mut Memory, written: &Written<'_>) {
    let &Written { old, new, git_mode, now, .. } = written;
    let Some(revert) = &new.git_revert else { return };
    let is_known = |known: &GitRevertStatus| (&known.id, known.state) == (&revert.id, revert.state);
    if old.git_revert.as_ref().is_some_and(is_known) {
        return;
    }
    let end = match revert.state {
        GitRevertState::Planned => {
            memory.revert_due_at.get_or_insert(now);
            return;
        }
        GitRevertState::AwaitingApproval | GitRevertState::Pushing => return,
        GitRevertState::PullRequestOpen => RevertEnd::PullRequestOpen,
        GitRevertState::Vetoed => RevertEnd::Vetoed,
        GitRevertState::AwaitingSync => RevertEnd::Pushed,
        GitRevertState::Reverted => RevertEnd::Reverted,
        GitRevertState::AlreadyReverted => RevertEnd::AlreadyReverted,
        GitRevertState::Superseded => RevertEnd::Superseded,
        GitRevertState::Suggested => RevertEnd::Suggested,
        // Somebody wanted it so: nothing failed.
        GitRevertState::Blocked if revert.reason == RevertEnd::OptedOut.as_str() => {
            RevertEnd::OptedOut
        }
        GitRevertState::Blocked => RevertEnd::Blocked,
        GitRevertState::Ineffective => RevertEnd::Ineffective,
        GitRevertState::Suspended if revert.is_held_back_by_failures() => RevertEnd::ManyFailures,
        GitRevertState::Suspended => RevertEnd::Suspended,
    };
    let took = memory.revert_due_at.take().and_then(|since| (now - since).to_std().ok());
    metrics.git_reverted(end, git_mode, took.filter(|_| end == RevertEnd::Pushed));
}

/// Reports how things stand: the phase, the weights, what is waited for, and traffic that was seen
/// back on stable.
pub(super) fn report(
    metrics: &Metrics,
    memory: &mut Memory,
    snapshot: &Snapshot,
    new: &RolloutStatus,
) {
    report_rollback(metrics, memory, snapshot.observed.now, new);
    let rollout = &snapshot.observed.rollout;
    let share = |weight: Option<u32>| {
        let total = new.canary.desired_weights.as_ref().map_or(100, |weights| {
            weights.canary.weight.saturating_add(weights.stable.weight).max(1)
        });
        weight.map(|weight| f64::from(weight) / f64::from(total))
    };
    let Some(phase) = new.phase else { return };
    let deadline = rollout.spec.usable.as_ref().map(|spec| spec.progress_deadline);
    let waiting = new.waiting_on.first().map(|wait| Waiting {
        what: wait_word(&wait.what),
        since: wait.since.0,
        overdue_at: match phase {
            RolloutPhase::Progressing => deadline.map(|deadline| wait.since.0 + deadline),
            RolloutPhase::Healthy | RolloutPhase::Degraded | RolloutPhase::Paused => None,
        },
    });
    let report = RolloutReport {
        phase,
        waiting,
        desired_weight: share(new.canary.desired_weights.as_ref().map(|w| w.canary.weight)),
        actual_weight: share(new.canary.weights.as_ref().map(|w| w.canary.weight)),
    };
    metrics.report_rollout(&rollout.namespace, &rollout.name, report);
}

/// An abort is over for users when no traffic reaches the canary: seen in a pass after the one that
/// wrote it down.
fn report_rollback(
    metrics: &Metrics,
    memory: &mut Memory,
    now: DateTime<Utc>,
    new: &RolloutStatus,
) {
    let Some(since) = memory.aborting_since.filter(|_| is_all_stable(new)) else { return };
    memory.aborting_since = None;
    let completion = new.duration.as_ref().and_then(|duration| duration.completion_status);
    if completion == Some(CompletionStatus::Aborted) {
        metrics.rolled_back((now - since).to_std().unwrap_or(Duration::ZERO));
    }
}

/// Whether the failed revision was seen to get no traffic.
fn is_all_stable(status: &RolloutStatus) -> bool {
    if status.canary.desired_weights.is_some() {
        // A weight that could not be read back is not at home.
        return status
            .canary
            .weights
            .as_ref()
            .is_some_and(|weights| weights.canary.weight == 0 && weights.verified == Some(true));
    }
    // Blue-green: what users reach. Else the pods are the traffic.
    let active = &status.blue_green.active_selector;
    let has_no_pods = status.updated_replicas.unwrap_or(0) == 0;
    if active.is_empty() { has_no_pods } else { *active == status.stable_rs }
}

/// One of few words for what is waited for.
fn wait_word(what: &str) -> Awaited {
    let words: [(&str, Awaited); 10] = [
        ("a person", Awaited::Person),
        ("pause", Awaited::Pause),
        ("another try", Awaited::Retry),
        ("analysis", Awaited::Analysis),
        ("Git", Awaited::Git),
        ("Route", Awaited::Router),
        ("Ingress", Awaited::Router),
        ("router", Awaited::Router),
        ("pods", Awaited::Pods),
        ("Service", Awaited::Service),
    ];
    words.iter().find(|(text, _)| what.contains(text)).map_or(Awaited::Other, |(_, word)| *word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::conditions::AbortCause;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn status(json: serde_json::Value) -> RolloutStatus {
        serde_json::from_value(json).unwrap()
    }

    fn reverted(state: &str, reason: &str) -> RolloutStatus {
        status(json!({"gitRevert": {"state": state, "reason": reason, "message": "m", "url": "u",
            "id": "1", "failedRevision": "a", "at": "2026-01-01T00:00:00Z"}}))
    }

    /// What is exported after these statuses were written one after the other; the lines of one
    /// metric without its name.
    fn counted(name: &str, steps: &[(RolloutStatus, Option<Change>)]) -> Vec<String> {
        let metrics = Metrics::default();
        let mut memory = Memory::default();
        let mut old = RolloutStatus::default();
        for (new, change) in steps {
            let (change, git_mode) = (change.as_ref(), GitRevertMode::Push);
            let written = Written { old: &old, new, change, git_mode, now: now() };
            count(&metrics, &mut memory, &written);
            old = new.clone();
        }
        let text = metrics.render(now());
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn each_cause_of_an_abort_has_its_word() {
        for cause in AbortCause::ALL {
            let aborted = (RolloutStatus::default(), Some(Change::Aborted(*cause)));
            let lines = counted("sluice_aborts_total", &[aborted]);
            assert_eq!(lines, [format!("{{cause=\"{}\"}} 1", cause.as_str())]);
        }
    }

    #[test]
    fn a_revert_that_is_blocked_from_the_start_is_counted_once() {
        let blocked = || (reverted("Blocked", "CommitUnknown"), None);
        let lines = counted("sluice_git_reverts_total", &[blocked(), blocked()]);
        assert_eq!(lines, ["{result=\"Blocked\",mode=\"Push\"} 1"]);
    }

    #[test]
    fn a_revert_that_somebody_opted_out_of_is_not_a_failed_one() {
        let lines = counted("sluice_git_reverts_total", &[(reverted("Blocked", "OptedOut"), None)]);
        assert_eq!(lines, ["{result=\"OptedOut\",mode=\"Push\"} 1"]);
    }

    #[test]
    fn a_revert_is_pushed_and_then_in_effect() {
        let states = ["Planned", "Pushing", "AwaitingSync", "Reverted"];
        let steps = states.map(|state| (reverted(state, ""), None));
        let lines = counted("sluice_git_reverts_total", &steps);
        assert_eq!(
            lines,
            ["{result=\"Pushed\",mode=\"Push\"} 1", "{result=\"Reverted\",mode=\"Push\"} 1"]
        );
        let lines = counted("sluice_git_revert_seconds_count", &steps);
        assert_eq!(lines, ["{mode=\"Push\"} 1"]);
    }

    #[test]
    fn an_update_that_another_template_overtakes_is_superseded_and_one_that_ended_is_not() {
        let open = |revision: &str| {
            status(json!({"currentPodHash": revision,
                "duration": {"rolloutStartedAt": "2026-01-01T00:00:00Z"}}))
        };
        let ended = status(json!({"currentPodHash": "a", "duration": {
            "rolloutStartedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}}));
        let superseded = vec!["{outcome=\"Superseded\"} 1".to_owned()];
        for (old, change, expected) in [
            (open("a"), Change::Began, superseded.clone()),
            (open("a"), Change::WentBack, superseded),
            (open("b"), Change::Began, vec![]),
            (ended, Change::WentBack, vec![]),
        ] {
            let steps = [(old, None), (open("b"), Some(change))];
            assert_eq!(counted("sluice_rollouts_total", &steps), expected, "{steps:?}");
        }
    }

    #[test]
    fn traffic_is_back_only_when_it_was_seen_there() {
        let side = |weight: u32| json!({"weight": weight, "serviceName": "s"});
        let routed = |actual: serde_json::Value| {
            let mut canary = json!({"desiredWeights": {"canary": side(0), "stable": side(100)}});
            canary["weights"] = actual;
            status(json!({ "canary": canary }))
        };
        let weights = |weight: u32, verified: bool| json!({"canary": side(weight), "stable": side(100 - weight), "verified": verified});
        assert!(is_all_stable(&routed(weights(0, true))));
        assert!(!is_all_stable(&routed(weights(0, false))));
        assert!(!is_all_stable(&routed(weights(20, true))));
        assert!(!is_all_stable(&routed(json!(null))), "a router that cannot be read");
        assert!(!is_all_stable(&status(json!({"updatedReplicas": 1}))), "pods are the traffic");
        assert!(is_all_stable(&status(json!({"updatedReplicas": 0}))));
        let active = |active: &str| {
            status(json!({"stableRS": "a", "blueGreen": {"activeSelector": active},
                "updatedReplicas": 2}))
        };
        assert!(is_all_stable(&active("a")) && !is_all_stable(&active("b")));
    }
}
