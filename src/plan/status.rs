//! One status projection: from facts, decision and outcomes to what people and programs read. It is
//! the only place that builds a `RolloutStatus`; `memory` is the only one that reads it back.

use std::collections::BTreeMap;

use super::action::{EffectClass, Outcome};
use super::facts::{Known, Observed, ReplicaSetFact, RunSlot};
use super::memory::{ABORT_TEXT, Memory, Pause, Phase, Requests};
use super::validate::{ValidRollout, ValidStrategy};
use super::view::View;
use super::{Decision, runs, targets};
use crate::api::Time;
use crate::api::conditions::{ConditionType, Reason};
use crate::api::status::{
    BlueGreenStage, BlueGreenStatus, CanaryStatus, Condition, GitRevertState, PauseCondition,
    RolloutDuration, RolloutPhase, RolloutStatus, RunStatusRef, TrafficWeights, WaitingOn,
    WeightDestination,
};
use crate::weight::Split;

/// Most waits that are listed.
const MAX_WAITS: usize = 10;
/// Longest text of a wait or message, in characters.
const MAX_TEXT: usize = 1024;

/// The status after a pass; `None` when the old one could not be understood and must not be
/// overwritten.
pub fn project(
    observed: &Observed,
    decision: &Decision,
    outcomes: &[Outcome],
) -> Option<RolloutStatus> {
    let memory = decision.memory.as_ref()?;
    let old = observed.rollout.status.known().cloned().unwrap_or_default();
    let mut status = remember(memory, &old);
    let waiting = waits(observed, decision, outcomes);
    status.waiting_on = keep_since(&old, &waiting, Time(observed.now));
    status.observed_generation = observed.rollout.generation.to_string();
    let requests = Requests::default();
    let view = observed.rollout.spec.usable.as_ref().map(|spec: &ValidRollout| {
        let replica_sets = observed.replica_sets.known().map_or(&[][..], Vec::as_slice);
        View::new(observed, spec, memory, &requests, replica_sets)
    });
    if let Some(view) = &view {
        if let Known::Known(replica_sets) = &observed.replica_sets {
            counts(&mut status, view, replica_sets);
        } else {
            keep_counts(&mut status, &old);
        }
        status.selector = selector(view);
        status.canary = canary(view);
        status.blue_green = blue_green(view, memory);
    } else {
        keep_counts(&mut status, &old);
        status.selector.clone_from(&old.selector);
        status.canary = old.canary.clone();
        status.blue_green = old.blue_green.clone();
    }
    let is_idle = is_idle(decision) && waiting.is_empty();
    let (phase, message) = phase(view.as_ref(), memory, decision, is_idle);
    status.phase = Some(phase);
    status.message = cut(&message);
    status.conditions = conditions(&old, &status, memory, decision, view.as_ref(), observed);
    Some(status)
}

/// What is remembered, on the wire.
fn remember(memory: &Memory, old: &RolloutStatus) -> RolloutStatus {
    let text = |revision: &Option<crate::revision::Revision>| {
        revision.as_ref().map_or_else(String::new, ToString::to_string)
    };
    let mut status = RolloutStatus {
        current_pod_hash: text(&memory.current),
        current_step_hash: memory.step_hash.clone(),
        stable_rs: text(&memory.stable),
        attempt: (memory.attempt > 0).then_some(memory.attempt),
        collision_count: (memory.collisions > 0).then_some(memory.collisions),
        restarted_at: memory.restarted_at,
        last_request: memory.last_request.clone(),
        revisions: memory.revisions.clone(),
        failed_revisions: memory.failed.clone(),
        acknowledged_runs: memory.acknowledged.clone(),
        git_revert: memory.git_revert.clone(),
        last_progress_at: memory.last_progress_at,
        progress_mark: memory.progress_mark,
        workload_observed_generation: old.workload_observed_generation.clone(),
        duration: (memory.timing != super::memory::Timing::default()).then_some(RolloutDuration {
            rollout_started_at: memory.timing.started_at,
            finished_at: memory.timing.finished_at,
            completion_status: memory.timing.completion,
        }),
        ..RolloutStatus::default()
    };
    match &memory.phase {
        Phase::Initial | Phase::Settled => {}
        Phase::Canary(step) => {
            status.current_step_index = Some(step.index);
            status.current_step_started_at = step.started_at;
            put_pause(&mut status, &step.pause);
        }
        Phase::Promoting { full } => status.promote_full = *full,
        Phase::BlueGreen(state) => {
            put_pause(&mut status, &state.pause);
            status.promote_full = state.skips_gates;
        }
        Phase::Aborted(aborted) => {
            status.abort = true;
            status.aborted_at = Some(aborted.at);
            status.current_step_index = Some(0);
        }
    }
    status
}

fn put_pause(status: &mut RolloutStatus, pause: &Pause) {
    match pause {
        Pause::None => {}
        Pause::Since { reason, at } => {
            status.pause_conditions = vec![PauseCondition { reason: *reason, start_time: *at }];
            status.controller_pause = true;
        }
        Pause::Resumed => status.controller_pause = true,
    }
}

/// What is waited for: what the decision says, and what did not work.
fn waits(observed: &Observed, decision: &Decision, outcomes: &[Outcome]) -> Vec<String> {
    let mut waits: Vec<String> = decision
        .problems
        .first()
        .map(|_| "the spec to be corrected".to_owned())
        .into_iter()
        .chain(decision.waiting.iter().cloned())
        .collect();
    if observed.rollout.spec.usable.as_ref().is_some_and(|spec| spec.paused) {
        waits.push("spec.paused to be taken back".to_owned());
    }
    for outcome in outcomes {
        if let Err(failure) = &outcome.result {
            let key = &outcome.key;
            waits.push(format!("another try to {} {}: {failure}", key.verb, key.object));
        }
    }
    let mut seen = Vec::new();
    for wait in waits {
        let wait = cut(&wait);
        if !seen.contains(&wait) && seen.len() < MAX_WAITS {
            seen.push(wait);
        }
    }
    seen
}

fn keep_since(old: &RolloutStatus, waits: &[String], now: Time) -> Vec<WaitingOn> {
    waits
        .iter()
        .map(|what| {
            let since = old.waiting_on.iter().find(|wait| wait.what == *what);
            WaitingOn {
                what: what.clone(),
                since: since.map_or(now, |wait| wait.since),
                until: None,
            }
        })
        .collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

fn counts(status: &mut RolloutStatus, view: &View<'_>, replica_sets: &[ReplicaSetFact]) {
    let sum = |of: fn(&ReplicaSetFact) -> u32| {
        replica_sets.iter().fold(0u32, |sum, set| sum.saturating_add(of(set)))
    };
    status.replicas = Some(sum(|set| set.replicas));
    status.ready_replicas = Some(sum(|set| set.ready));
    status.available_replicas = Some(sum(|set| set.available));
    status.updated_replicas = Some(view.current().map_or(0, |set| set.replicas));
    status.hpa_replicas = match &view.spec.strategy {
        ValidStrategy::Canary(_) => status.replicas,
        ValidStrategy::BlueGreen(blue_green) => {
            let active = view.selected_by(&blue_green.active_service);
            let active = active.known().and_then(Option::as_ref);
            Some(active.and_then(|active| view.replica_set(active)).map_or(0, |set| set.replicas))
        }
    };
}

fn keep_counts(status: &mut RolloutStatus, old: &RolloutStatus) {
    status.replicas = old.replicas;
    status.ready_replicas = old.ready_replicas;
    status.available_replicas = old.available_replicas;
    status.updated_replicas = old.updated_replicas;
    status.hpa_replicas = old.hpa_replicas;
}

/// What an autoscaler selects: every pod of a canary, the active ones of a blue-green update.
fn selector(view: &View<'_>) -> String {
    let base = view.spec.selector.to_query();
    match &view.spec.strategy {
        ValidStrategy::Canary(_) => base,
        ValidStrategy::BlueGreen(blue_green) => {
            let active = view.selected_by(&blue_green.active_service);
            match active.known().and_then(Option::as_ref) {
                Some(active) => {
                    format!("{base},{}={active}", view.observed.names.revision_label())
                }
                None => base,
            }
        }
    }
}

fn canary(view: &View<'_>) -> CanaryStatus {
    let mut status = CanaryStatus::default();
    let run = |slot: RunSlot| runs::newest(view, slot).map(run_ref);
    if let Phase::Canary(step) = &view.memory.phase {
        status.current_step_analysis_run_status = run(RunSlot::Step(step.index));
    }
    if matches!(view.memory.phase, Phase::Canary(_) | Phase::Promoting { .. } | Phase::Aborted(_)) {
        status.current_background_analysis_run_status = run(RunSlot::Background);
    }
    let Some(routing) = view.routing() else { return status };
    let side = |weight: u32, service: &str| WeightDestination {
        weight,
        service_name: service.to_owned(),
        pod_template_hash: view
            .selected_by(service)
            .known()
            .and_then(Option::as_ref)
            .map_or_else(String::new, ToString::to_string),
    };
    let weights = |split: Split, verified: Option<bool>| TrafficWeights {
        canary: side(split.canary(), &routing.canary_service),
        stable: side(split.stable(), &routing.stable_service),
        verified,
    };
    let desired = targets::desired_split(view, routing).0;
    let traffic = view.traffic();
    status.desired_weights = Some(weights(desired, None));
    // The actual weight is what was read back; while it is not known, none is reported.
    status.weights = traffic
        .highest
        .filter(|_| traffic.blocked.is_none())
        .map(|actual| rescale(actual, routing.total))
        .map(|actual| weights(actual, Some(traffic.is_confirmed_at(desired))));
    status
}

/// The same share in parts of `total`, rounded to the nearest part.
fn rescale(split: Split, total: u32) -> Split {
    if split.total() == total {
        return split;
    }
    let exact = (u64::from(split.canary()) * u64::from(total) + u64::from(split.total()) / 2)
        / u64::from(split.total());
    Split::saturating(u32::try_from(exact).unwrap_or(total), total)
}

fn run_ref(run: &super::facts::RunFact) -> RunStatusRef {
    let (phase, message) = runs::describe(&run.verdict);
    RunStatusRef { name: run.name.clone(), status: phase, message: cut(message) }
}

fn blue_green(view: &View<'_>, memory: &Memory) -> BlueGreenStatus {
    let ValidStrategy::BlueGreen(strategy) = &view.spec.strategy else {
        return BlueGreenStatus::default();
    };
    let selected = |service: &str| {
        let selected = view.selected_by(service);
        selected.known().and_then(Option::as_ref).map_or_else(String::new, ToString::to_string)
    };
    let mut status = BlueGreenStatus {
        active_selector: selected(&strategy.active_service),
        preview_selector: strategy.preview_service.as_deref().map_or_else(String::new, selected),
        pre_promotion_analysis_run_status: runs::newest(view, RunSlot::PrePromotion).map(run_ref),
        post_promotion_analysis_run_status: runs::newest(view, RunSlot::PostPromotion).map(run_ref),
        ..BlueGreenStatus::default()
    };
    if let Phase::BlueGreen(state) = &memory.phase {
        status.stage = Some(state.stage);
        status.scale_up_preview_check_point = state.full_size;
    }
    status
}

fn abort_message(view: Option<&View<'_>>, cause: &str) -> String {
    let number = view.and_then(View::current).map_or(0, |set| set.number);
    let text = format!("{ABORT_TEXT}{number}");
    if cause.is_empty() { text } else { format!("{text}: {cause}") }
}

fn problem_message(decision: &Decision) -> String {
    let problems: Vec<String> = decision.problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// Argo Rollouts' phase, and why.
fn phase(
    view: Option<&View<'_>>,
    memory: &Memory,
    decision: &Decision,
    is_idle: bool,
) -> (RolloutPhase, String) {
    if !decision.problems.is_empty() && !matches!(memory.phase, Phase::Aborted(_)) {
        let message = format!("InvalidSpec: {}", problem_message(decision));
        return (RolloutPhase::Degraded, message);
    }
    if let Phase::Aborted(aborted) = &memory.phase {
        let message = format!("RolloutAborted: {}", abort_message(view, &aborted.cause));
        return (RolloutPhase::Degraded, message);
    }
    if memory.deadline_exceeded {
        let message = format!("ProgressDeadlineExceeded: {}", deadline_message(view));
        return (RolloutPhase::Degraded, message);
    }
    let Some(view) = view else {
        return (RolloutPhase::Progressing, "waiting for facts".to_owned());
    };
    if view.spec.paused {
        return (RolloutPhase::Paused, "manually paused".to_owned());
    }
    let pause = match &memory.phase {
        Phase::Canary(step) => &step.pause,
        Phase::BlueGreen(state) => &state.pause,
        Phase::Initial | Phase::Settled | Phase::Promoting { .. } | Phase::Aborted(_) => {
            &Pause::None
        }
    };
    if let Pause::Since { reason, .. } = pause {
        return (RolloutPhase::Paused, reason.as_str().to_owned());
    }
    if memory.phase == Phase::Settled && is_idle && is_whole(view) {
        return (RolloutPhase::Healthy, String::new());
    }
    (RolloutPhase::Progressing, progress_message(view, memory))
}

/// Whether nothing is left to do but tidying up.
fn is_idle(decision: &Decision) -> bool {
    decision.class.or(decision.next_class).is_none_or(|class| match class {
        EffectClass::ScaleDown | EffectClass::CleanUp | EffectClass::Git => true,
        EffectClass::LowerWeight
        | EffectClass::Finalize
        | EffectClass::ScaleUp
        | EffectClass::Select
        | EffectClass::RaiseWeight
        | EffectClass::Analyse
        | EffectClass::Restart => false,
    })
}

/// Whether the current revision has all its pods and is what every Service selects; without a
/// router, pods of other revisions would still serve.
fn is_whole(view: &View<'_>) -> bool {
    let replicas = view.replicas();
    let is_full =
        view.current().is_some_and(|set| set.desired == replicas && set.available >= replicas);
    let is_home = view.routing().is_none() || view.traffic().is_confirmed_all_stable();
    let is_alone = match &view.spec.strategy {
        ValidStrategy::Canary(canary) if canary.routing.is_none() => {
            view.others().all(|other| other.desired == 0 && other.replicas == 0)
        }
        ValidStrategy::Canary(_) | ValidStrategy::BlueGreen(_) => true,
    };
    is_full && is_home && is_alone && targets::selections(view).is_empty()
}

fn deadline_message(view: Option<&View<'_>>) -> String {
    match view {
        None => "no progress".to_owned(),
        Some(view) => format!(
            "ReplicaSet \"{}-{}\" has made no progress for {} seconds",
            view.observed.rollout.name,
            view.revision,
            view.spec.progress_deadline.num_seconds()
        ),
    }
}

fn progress_message(view: &View<'_>, memory: &Memory) -> String {
    let replicas = view.replicas();
    let is_restarting = view
        .spec
        .restart_at
        .is_some_and(|at| memory.restarted_at != Some(at) && view.now() >= at.0);
    let text = match (&memory.phase, view.current()) {
        _ if is_restarting => "rollout is restarting",
        (_, None) => "more replicas need to be updated",
        (Phase::Canary(_) | Phase::Promoting { .. }, Some(_))
            if !runs::wanted(view).is_empty()
                && runs::judging(view).any(|(slot, _)| matches!(slot, RunSlot::Step(_))) =>
        {
            "waiting for analysis to complete"
        }
        (Phase::Canary(_), Some(_)) => "waiting for all steps to complete",
        (Phase::BlueGreen(state), Some(set)) => match state.stage {
            BlueGreenStage::Verifying => "waiting for post-promotion verification",
            BlueGreenStage::Promoting => "active service cutover pending",
            BlueGreenStage::Preview if set.available < set.desired => {
                "updated replicas are still becoming available"
            }
            BlueGreenStage::Preview => "waiting for analysis to complete",
        },
        (_, Some(set)) if set.desired < replicas => "more replicas need to be updated",
        (_, Some(set)) if set.available < replicas => {
            "updated replicas are still becoming available"
        }
        (Phase::Promoting { .. }, Some(_)) => "waiting for the new revision to take over",
        (Phase::Settled | Phase::Initial | Phase::Aborted(_), Some(_)) => {
            "old replicas are pending termination"
        }
    };
    text.to_owned()
}

fn conditions(
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
    if let Some(revert) = &memory.git_revert {
        let is_reverted =
            matches!(revert.state, GitRevertState::Reverted | GitRevertState::AlreadyReverted);
        let reason = match revert.state {
            GitRevertState::Reverted => Reason::GitReverted,
            GitRevertState::AlreadyReverted | GitRevertState::Superseded => {
                Reason::GitRevertNotNeeded
            }
            GitRevertState::Suggested => Reason::GitRevertSuggested,
            GitRevertState::Blocked | GitRevertState::Ineffective => Reason::GitRevertBlocked,
            GitRevertState::Planned
            | GitRevertState::AwaitingApproval
            | GitRevertState::Pushing
            | GitRevertState::AwaitingSync => Reason::GitRevertPushed,
        };
        let message = revert.message.clone();
        wanted.push((ConditionType::GitReverted, is_reverted, reason, message));
    }
    let before: BTreeMap<&str, &Condition> =
        old.conditions.iter().map(|condition| (condition.kind.as_str(), condition)).collect();
    wanted
        .into_iter()
        .map(|(kind, is_true, reason, message)| {
            condition(before.get(kind.as_str()).copied(), kind, is_true, reason, &message, observed)
        })
        .collect()
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
