//! Deciding: from the spec and the observed facts to what is remembered next, what is done, and what
//! is waited for. Pure and total: no clock, client, log or randomness, and no input on which it
//! fails. It never acts, and it never reads anything that is not in [`Observed`].
//!
//! Rules are tried in order and the first that applies wins: deleted, aborted, failed verdict,
//! deadline, invalid, promote-full, paused, unknown facts, step, complete.

pub mod action;
pub mod defaults;
mod effects;
pub mod facts;
mod gate;
mod git;
pub mod memory;
mod replica_set;
mod runs;
mod sizes;
pub mod status;
mod targets;
mod timers;
mod transition;
pub mod validate;
mod view;
mod wait;

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::conditions::AbortCause;
use crate::mutants::{Mutant, mutant};
use action::{Action, EffectClass};
use effects::Effects;
use facts::{Known, Observed, RouteFact, RouteState, ServiceState};
use memory::{Memory, Pause, Phase, Requests};
pub use transition::Change;
use validate::Problem;
use view::View;
pub use wait::Wait;

/// Longest time between two looks at a Rollout: a lost event is made up for within it.
const LONGEST_WAIT: TimeDelta = TimeDelta::seconds(60);
/// Time until a pass that found a wait over, and nothing to do, looks again.
const SHORTEST_WAIT: TimeDelta = TimeDelta::seconds(1);
/// How long a deleted Rollout waits for its traffic to be safe.
const DELETION_BOUND: TimeDelta = TimeDelta::seconds(60);
/// How long it waits after that for its pods to be let go of.
const LETTING_GO_BOUND: TimeDelta = TimeDelta::seconds(30);

/// What one pass decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is remembered from now on; absent when the status cannot be understood, and must then
    /// not be written.
    pub memory: Option<Memory>,
    /// Why the memory changed. A pass that changes it does nothing else: the change is in status
    /// before anything follows from it.
    pub change: Option<Change>,
    /// Whether only Git's side of the memory changed.
    pub git_changed: bool,
    /// The class of the actions.
    pub class: Option<EffectClass>,
    /// The class of what follows from a change of the memory, in the next pass.
    pub next_class: Option<EffectClass>,
    /// What is done, all of one class.
    pub actions: Vec<Action>,
    /// What is waited for.
    pub waiting: Vec<Wait>,
    /// When to look again at the latest.
    pub wake_at: DateTime<Utc>,
    /// What is wrong with the spec.
    pub problems: Vec<Problem>,
}

impl Decision {
    /// Whether the pass may move something forward, so that the Rollout must have been read afresh.
    pub fn is_forward(&self) -> bool {
        self.class.is_some_and(EffectClass::is_forward)
    }

    /// Whether the memory changed in a way that must be written before anything else happens.
    pub fn changes_memory(&self) -> bool {
        self.change.is_some() || self.git_changed
    }

    /// When the pause began that is under way after this pass.
    pub fn pause_began(&self) -> Option<DateTime<Utc>> {
        match self.memory.as_ref()?.phase.pause() {
            Pause::Since { at, .. } => Some(at.0),
            Pause::None | Pause::Resumed => None,
        }
    }

    fn waiting_for(observed: &Observed, memory: Option<Memory>, what: Wait) -> Self {
        Self {
            memory,
            change: None,
            git_changed: false,
            class: None,
            next_class: None,
            actions: vec![],
            waiting: vec![what],
            wake_at: observed.now + LONGEST_WAIT,
            problems: observed.rollout.spec.problems.clone(),
        }
    }
}

/// Decides one pass.
pub fn decide(observed: &Observed) -> Decision {
    let status = match &observed.rollout.status {
        Known::Known(status) => status,
        Known::Unknown(reason) => return Decision::waiting_for(observed, None, Wait::open(reason)),
    };
    let (memory, requests) = Memory::parse(status);
    if let Some(deleted_at) = observed.rollout.deleted_at {
        return decide_deletion(observed, &memory, &requests, deleted_at);
    }
    let checked = &observed.rollout.spec;
    let Some(spec) = &checked.usable else {
        return decide_unusable(observed, memory, &requests);
    };
    match &observed.replica_sets {
        Known::Known(replica_sets) => {
            let view = View::new(observed, spec, &memory, &requests, replica_sets);
            decide_known(&view, checked.problems.is_empty())
        }
        Known::Unknown(reason) => {
            let view = View::new(observed, spec, &memory, &requests, &[]);
            decide_without_replica_sets(&view, reason)
        }
    }
}

fn decide_known(view: &View<'_>, is_valid: bool) -> Decision {
    if let Some((memory, change)) = transition::next(view, is_valid) {
        return changed(view, memory, Some(change));
    }
    if is_valid && let Some(memory) = git::next(view) {
        return changed(view, memory, None);
    }
    let effects = effects::plan(view, !is_valid);
    let mut memory = view.memory.clone();
    note_scale_downs(&mut memory, &effects);
    note_time(view, &mut memory, is_valid);
    note_progress(view, &mut memory);
    note_names(view, &mut memory);
    note_restart(view, &mut memory, &effects);
    memory.was_invalid = !is_valid;
    decision(view, memory, effects)
}

/// A pass that changes the memory reports what the new memory waits for, and acts on nothing.
fn changed(view: &View<'_>, mut memory: Memory, change: Option<Change>) -> Decision {
    let is_valid = view.observed.rollout.spec.problems.is_empty();
    note_time(view, &mut memory, is_valid);
    let requests = Requests::default();
    let next = View { memory: &memory, requests: &requests, ..view.clone() };
    let effects = effects::plan(&next, !is_valid);
    let mut memory = memory.clone();
    note_scale_downs(&mut memory, &effects);
    let git_changed = change.is_none();
    Decision {
        change,
        git_changed,
        next_class: effects.class,
        class: None,
        actions: vec![],
        wake_at: view.now(),
        ..decision(&next, memory, effects)
    }
}

fn decision(view: &View<'_>, memory: Memory, mut effects: Effects) -> Decision {
    timers::note(view, &memory, &mut effects);
    let latest = view.now() + LONGEST_WAIT;
    // What is over and brought nothing is no reason to look again without a rest.
    let soonest = if effects.class.is_some() { view.now() } else { view.now() + SHORTEST_WAIT };
    let mut waiting: Vec<Wait> = Vec::new();
    for wait in effects.waits {
        if !waiting.iter().any(|other| other.what == wait.what) {
            waiting.push(wait);
        }
    }
    Decision {
        memory: Some(memory),
        change: None,
        git_changed: false,
        class: effects.class,
        next_class: None,
        actions: effects.actions,
        waiting,
        wake_at: match effects.wake_at {
            Some(at) if at <= view.now() => soonest,
            Some(at) => at.min(latest),
            None => latest,
        },
        problems: view.observed.rollout.spec.problems.clone(),
    }
}

fn decide_unusable(observed: &Observed, mut memory: Memory, requests: &Requests) -> Decision {
    memory.was_invalid = true;
    // An abort that somebody asked for is not forgotten while the spec is unusable.
    let is_updating =
        matches!(memory.phase, Phase::Canary(_) | Phase::Promoting { .. } | Phase::BlueGreen(_));
    let what = Wait::open("the spec to be corrected");
    let mut decision = Decision::waiting_for(observed, None, what);
    if requests.abort && is_updating {
        memory.phase = Phase::Aborted(memory::Aborted {
            at: crate::api::Time(observed.now),
            cause: String::new(),
        });
        decision.change = Some(Change::Aborted(AbortCause::User));
    }
    decision.memory = Some(memory);
    decision
}

/// Without the ReplicaSets only requests and traffic can be dealt with.
fn decide_without_replica_sets(view: &View<'_>, reason: &str) -> Decision {
    if view.requests.abort
        && let Some((memory, change)) = transition::next(view, false)
    {
        return changed(view, memory, Some(change));
    }
    let mut effects = effects::plan(view, true);
    effects.waits.insert(0, Wait::open(reason));
    decision(view, view.memory.clone(), effects)
}

fn decide_deletion(
    observed: &Observed,
    memory: &Memory,
    requests: &Requests,
    deleted_at: DateTime<Utc>,
) -> Decision {
    if !observed.rollout.has_finalizer {
        return Decision::waiting_for(observed, None, Wait::open("its deletion"));
    }
    let bound = deleted_at + DELETION_BOUND;
    let what = Wait::until("ready pods wherever traffic goes, before the Rollout is gone", bound);
    let mut decision = Decision::waiting_for(observed, Some(memory.clone()), what);
    decision.wake_at = observed.now + TimeDelta::seconds(2);
    let replica_sets = observed.replica_sets.known();
    let is_safe = replica_sets.zip(observed.rollout.spec.usable.as_ref()).is_some_and(
        |(replica_sets, spec)| {
            serves_ready_pods(&View::new(observed, spec, memory, requests, replica_sets))
        },
    );
    if !is_safe && observed.now < bound {
        return decision;
    }
    // The pods outlive the Rollout, so that traffic never ends on nothing: it is gone only when they
    // are let go of.
    let owned = replica_sets.into_iter().flatten().filter(|set| set.desired > 0);
    let mut actions: Vec<Action> =
        owned.map(|set| Action::OrphanReplicaSet { name: set.name.clone() }).collect();
    let bound = bound + LETTING_GO_BOUND;
    if (actions.is_empty() && replica_sets.is_some()) || observed.now >= bound {
        actions.push(Action::RemoveFinalizer);
    }
    let what = "its ReplicaSets to be let go of, before the Rollout is gone";
    decision.waiting = vec![Wait::until(what, bound)];
    actions.retain(|action| !observed.is_failing(&action.key()));
    if !actions.is_empty() {
        decision.waiting.clear();
        decision.class = Some(EffectClass::Finalize);
        decision.actions = actions;
    }
    decision
}

/// Whether users still reach ready pods when nobody looks after the Rollout any more. What is gone
/// carries no traffic, as when the whole namespace is being deleted.
fn serves_ready_pods(view: &View<'_>) -> bool {
    let Some(routing) = view.routing() else { return true };
    let routes = &view.observed.routes;
    let is_gone =
        |route: &RouteFact| matches!(route.state, Known::Known(RouteState::Missing { .. }));
    if !routes.is_empty() && routes.iter().all(is_gone) {
        return true;
    }
    [&routing.stable_service, &routing.canary_service].into_iter().all(|service| {
        if view.service(service) == Known::Known(ServiceState::Missing) {
            return true;
        }
        let is_used =
            *service == routing.stable_service || !view.traffic().is_confirmed_all_stable();
        let selected = view.selected_by(service);
        let ready = selected.known().and_then(Option::as_ref).is_some_and(|revision| {
            view.ready_behind(service, revision).known().is_some_and(|ready| *ready > 0)
        });
        !is_used || ready || view.replicas() == 0
    })
}

/// The time in which the spec was invalid, or held by a person, does not count against what goes on
/// now.
fn note_time(view: &View<'_>, memory: &mut Memory, is_valid: bool) {
    let now = crate::api::Time(view.now());
    // What a clock that was ahead wrote would keep the deadline away for as long as it was ahead.
    for at in [&mut memory.last_progress_at, &mut memory.unmeasured_since] {
        *at = at.map(|at| if at.0 > now.0 { now } else { at });
    }
    if memory.stood_still() && is_valid && !view.spec.paused {
        memory.last_progress_at = Some(now);
        memory.unmeasured_since = memory.unmeasured_since.map(|_| now);
    }
}

/// The time is in status before any pod goes, and needs no write of its own where the change that
/// makes the pods superfluous is written.
fn note_scale_downs(memory: &mut Memory, effects: &Effects) {
    if let Some(scale_downs) = &effects.scale_downs {
        memory.scale_downs.clone_from(scale_downs);
    }
}

/// Only a rise of the available pods above the mark is progress.
fn note_progress(view: &View<'_>, memory: &mut Memory) {
    let now = crate::api::Time(view.now());
    let is_updating = !matches!(memory.phase, Phase::Settled | Phase::Aborted(_));
    let available = view.current().map_or(0, |current| current.available);
    if is_updating && available > memory.progress_mark {
        memory.progress_mark = available;
        if let (true, Phase::Canary(step)) = (mutant(Mutant::StepStartMoves), &mut memory.phase) {
            step.started_at = Some(now);
        }
        memory.last_progress_at = Some(now);
        memory.deadline_exceeded = false;
    }
    note_unmeasured(view, memory);
}

/// What cannot be measured decides nothing, but not without end: the progress deadline counts.
fn note_unmeasured(view: &View<'_>, memory: &mut Memory) {
    if view.observed.runs.known().is_none() {
        return;
    }
    let now = crate::api::Time(view.now());
    if transition::is_unmeasured(view) {
        memory.unmeasured_since.get_or_insert(now);
    } else if memory.unmeasured_since.take().is_some() {
        memory.last_progress_at = Some(now);
        memory.deadline_exceeded = false;
    }
}

/// Another template took the name of the ReplicaSet: the next name is salted.
fn note_names(view: &View<'_>, memory: &mut Memory) {
    let name = format!("{}-{}", view.observed.rollout.name, view.revision);
    let is_taken = view.observed.failing.iter().any(|failing| {
        failing.name_is_taken
            && failing.key.object == name
            && failing.key.verb == "create ReplicaSet"
    });
    if is_taken && view.current().is_none() {
        memory.collisions = memory.collisions.saturating_add(1);
    }
}

fn note_restart(view: &View<'_>, memory: &mut Memory, effects: &Effects) {
    let Some(restart_at) = view.spec.restart_at else { return };
    let is_over = memory.restarted_at != Some(restart_at)
        && view.now() >= restart_at.0
        && view.observed.pods_to_restart.known().is_some_and(Vec::is_empty)
        && effects.class.is_none();
    if is_over {
        memory.restarted_at = Some(restart_at);
    }
}
