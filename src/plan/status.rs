//! One status projection: from facts, decision and outcomes to what people and programs read. It is
//! the only place that builds a `RolloutStatus`; `memory` is the only one that reads it back.

mod conditions;
mod phase;

use super::action::Outcome;
use super::facts::{Known, Observed, ReplicaSetFact, RunSlot};
use super::memory::{Memory, Pause, Phase, Requests};
use super::validate::{ValidRollout, ValidStrategy};
use super::view::View;
use super::{Decision, Wait, runs, targets};
use crate::api::Time;
use crate::api::status::{
    BlueGreenStatus, CanaryStatus, PauseCondition, RolloutDuration, RolloutStatus, RunStatusRef,
    TrafficWeights, WaitingOn, WeightDestination,
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
    status.waiting_on = waits(&old, decision, outcomes, Time(observed.now));
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
        if matches!(memory.phase, Phase::Initial | Phase::Settled) {
            status.current_step_index = step_count(view);
        }
        status.canary = canary(view);
        status.blue_green = blue_green(view, memory);
    } else {
        keep_counts(&mut status, &old);
        status.selector.clone_from(&old.selector);
        status.canary = old.canary.clone();
        status.blue_green = old.blue_green.clone();
    }
    let (phase, message) = phase::phase(view.as_ref(), memory, decision, &old);
    status.phase = Some(phase);
    status.message = cut(&message);
    status.conditions =
        conditions::conditions(&old, &status, memory, decision, view.as_ref(), observed);
    Some(status)
}

/// The number of steps, which is the index when none is left; nothing without steps.
fn step_count(view: &View<'_>) -> Option<u32> {
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) => u32::try_from(canary.steps.len()).ok(),
        ValidStrategy::BlueGreen(_) => None,
    }
    .filter(|count| *count > 0)
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
        scale_downs: memory.scale_downs.clone(),
        acknowledged_runs: memory.acknowledged.clone(),
        git_revert: memory.git_revert.clone(),
        last_progress_at: memory.last_progress_at,
        progress_mark: memory.progress_mark,
        unmeasured_since: memory.unmeasured_since,
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
fn waits(
    old: &RolloutStatus,
    decision: &Decision,
    outcomes: &[Outcome],
    now: Time,
) -> Vec<WaitingOn> {
    let correction = decision.problems.first().map(|_| Wait::open("the spec to be corrected"));
    let failures = outcomes.iter().filter_map(|outcome| {
        let failure = outcome.result.as_ref().err()?;
        let key = &outcome.key;
        Some(Wait::open(format!("another try to {} {}: {failure}", key.verb, key.object)))
    });
    let mut waits: Vec<WaitingOn> = Vec::new();
    for wait in correction.into_iter().chain(decision.waiting.iter().cloned()).chain(failures) {
        let what = cut(&wait.what);
        if waits.len() < MAX_WAITS && !waits.iter().any(|other| other.what == what) {
            let before = old.waiting_on.iter().find(|before| before.what == what);
            let since = before.map_or(now, |before| before.since);
            waits.push(WaitingOn { what, since, until: wait.until.map(Time) });
        }
    }
    waits
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
    let (phase, mut message) = runs::describe(&run.verdict);
    if let (true, Some(comparison)) = (message.is_empty(), &run.comparison) {
        message = &comparison.message;
    }
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
