//! The difference between what is and what is to be, as actions of one class: the first class, in
//! the order of [`EffectClass`], that has anything to do. What cannot be done yet becomes a wait.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::action::{Action, EffectClass};
use super::facts::{Known, ReplicaSetFact, RouteState, RunSlot};
use super::memory::Phase;
use super::validate::{ScaleDown, ValidRouting, ValidStrategy};
use super::view::View;
use super::wait::Wait;
use super::{git, runs, targets};
use crate::api::Time;
use crate::api::status::PendingScaleDown;
use crate::mutants::{Mutant, mutant};
use crate::revision::Revision;
use crate::weight::Split;

/// What a pass does, and what it waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Effects {
    /// The class of the actions; absent when there are none.
    pub(super) class: Option<EffectClass>,
    /// The actions.
    pub(super) actions: Vec<Action>,
    /// What must happen before more can be done.
    pub(super) waits: Vec<Wait>,
    /// From when the pods of revisions that nobody needs may go; absent where that was not looked
    /// at.
    pub(super) scale_downs: Option<Vec<PendingScaleDown>>,
    /// When to look again at the latest, where a time is known.
    pub(super) wake_at: Option<DateTime<Utc>>,
}

impl Effects {
    fn offer(&mut self, class: EffectClass, view: &View<'_>, actions: Vec<Action>) {
        if self.class.is_some() {
            return;
        }
        let (ready, held): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| !view.observed.is_failing(&action.key()));
        for action in held {
            let key = action.key();
            for failing in view.observed.failing.iter().filter(|failing| failing.key == key) {
                let what = format!("another try to {} {}: {}", key.verb, key.object, failing.error);
                self.wait_until(what, failing.retry_at);
            }
        }
        if !ready.is_empty() {
            self.class = Some(class);
            self.actions = ready;
        }
    }

    /// Waits for something that is not known to end by itself.
    pub(super) fn wait(&mut self, what: impl Into<String>) {
        self.waits.push(Wait::open(what));
    }

    /// Waits for something that ends at `at`, and asks for another look then.
    pub(super) fn wait_until(&mut self, what: impl Into<String>, at: DateTime<Utc>) {
        self.waits.push(Wait::until(what, at));
        self.wake(at);
    }

    /// Notes from when the pods of a revision that nobody needs may go.
    fn linger(&mut self, revision: &Revision, at: Option<DateTime<Utc>>) {
        let Some(at) = at.map(Time) else { return };
        let scale_down = PendingScaleDown { revision: revision.to_string(), at };
        self.scale_downs.get_or_insert_default().push(scale_down);
    }

    /// Asks for another look at `at`.
    pub(super) fn wake(&mut self, at: DateTime<Utc>) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// What is to be done now. With `safety_only` (an invalid spec) nothing but taking traffic away from
/// an aborted canary.
pub(super) fn plan(view: &View<'_>, safety_only: bool) -> Effects {
    let mut effects = Effects::default();
    let weights = weights(view, &mut effects);
    if mutant(Mutant::AbortTidiesFirst) && matches!(view.memory.phase, Phase::Aborted(_)) {
        let analyse = analyse(view, &mut effects);
        effects.offer(EffectClass::Analyse, view, analyse);
    }
    effects.offer(EffectClass::LowerWeight, view, weights.lower);
    if safety_only {
        return effects;
    }
    let grow = growth(view);
    let select = select(view, &mut effects);
    let shrink = shrink(view, &mut effects);
    let analyse = analyse(view, &mut effects);
    if view.routing().is_some() && !view.observed.rollout.has_finalizer {
        effects.offer(EffectClass::Finalize, view, vec![Action::AddFinalizer]);
    }
    effects.offer(EffectClass::ScaleUp, view, grow);
    effects.offer(EffectClass::Select, view, select);
    effects.offer(EffectClass::RaiseWeight, view, weights.raise);
    effects.offer(EffectClass::Analyse, view, analyse);
    effects.offer(EffectClass::ScaleDown, view, shrink);
    let restart = restart(view, &mut effects);
    effects.offer(EffectClass::Restart, view, restart);
    effects.offer(EffectClass::CleanUp, view, clean_up(view));
    let git = git::actions(view, &mut effects);
    effects.offer(EffectClass::Git, view, git);
    effects
}

/// Where nothing else says what is waited for, it is pods: those to come, and without a router those
/// to go.
pub(super) fn wait_for_pods(view: &View<'_>, effects: &mut Effects) {
    if effects.class.is_some() || !effects.waits.is_empty() {
        return;
    }
    for set in view.replica_sets {
        let (revision, desired, available) = (&set.revision, set.desired, set.available);
        if available < desired {
            effects.wait(format!(
                "{desired} available pods of revision {revision} ({available} available)"
            ));
        }
        if set.replicas > desired {
            effects.wait(format!("the pods of revision {revision} beyond {desired} to end"));
        }
    }
}

#[derive(Default)]
struct Weights {
    lower: Vec<Action>,
    raise: Vec<Action>,
}

fn weights(view: &View<'_>, effects: &mut Effects) -> Weights {
    let Some(routing) = view.routing() else { return Weights::default() };
    let (desired, wait) = targets::desired_split(view, routing);
    if let Some(wait) = wait {
        effects.wait(wait);
    }
    let mut lower = Vec::new();
    let mut raise = Vec::new();
    for route in &view.observed.routes {
        let (lowers, raises) = match &route.state {
            Known::Known(RouteState::Uneven(highest)) => {
                (!desired.gives_canary_more_than(*highest), true)
            }
            Known::Known(RouteState::Present { split, .. }) => {
                (split.gives_canary_more_than(desired), desired.gives_canary_more_than(*split))
            }
            Known::Known(RouteState::Missing { .. } | RouteState::Unusable { .. })
            | Known::Unknown(_) => (false, false),
        };
        if lowers {
            lower.push(route.id.clone());
        } else if raises {
            raise.push(route.id.clone());
        }
    }
    wait_for_routes(view, routing, desired, effects);
    // A weight rises only while every route is known: half a step is no step.
    let may_raise = view.traffic().blocked.is_none();
    let action = |routes: Vec<String>| {
        if routes.is_empty() { vec![] } else { vec![Action::SetWeight { split: desired, routes }] }
    };
    Weights { lower: action(lower), raise: if may_raise { action(raise) } else { vec![] } }
}

fn wait_for_routes(view: &View<'_>, routing: &ValidRouting, desired: Split, effects: &mut Effects) {
    let traffic = view.traffic();
    if let Some(reason) = traffic.blocked {
        effects.wait(reason);
    } else if let Some(reason) = traffic.unconfirmed {
        effects
            .wait(format!("{reason} (weight {desired} of Service `{}`)", routing.canary_service));
    }
}

/// ReplicaSets to create and to grow.
fn growth(view: &View<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let is_wanted = !matches!(view.memory.phase, Phase::Aborted(_));
    if view.current().is_none() && is_wanted {
        actions.push(super::replica_set::create(view, targets::first_size(view)));
        return actions;
    }
    if let Some(current) = view.current().filter(|_| is_wanted) {
        let newest = view.replica_sets.iter().map(|set| set.number).max().unwrap_or(0);
        let is_newest = view.replica_sets.iter().filter(|set| set.number == newest).count() == 1
            && current.number == newest;
        if !is_newest {
            let number = newest.saturating_add(1);
            actions.push(Action::SetRevisionNumber { name: current.name.clone(), number });
        }
    }
    let sizes = targets::sizes(view);
    for set in view.replica_sets {
        if let Some(size) = sizes.get(&set.name).filter(|size| **size > set.desired) {
            actions.push(Action::ScaleReplicaSet {
                name: set.name.clone(),
                from: set.desired,
                to: *size,
            });
        }
    }
    actions
}

fn select(view: &View<'_>, effects: &mut Effects) -> Vec<Action> {
    let mut actions = Vec::new();
    for selection in targets::selections(view) {
        match selection.wait {
            Some(wait) => effects.wait(wait),
            None => actions.push(Action::PointService {
                name: selection.service,
                revision: selection.revision,
            }),
        }
    }
    actions
}

fn analyse(view: &View<'_>, effects: &mut Effects) -> Vec<Action> {
    let mut actions: Vec<Action> = runs::superfluous(view)
        .into_iter()
        .map(|run| Action::TerminateRun { name: run.name.clone() })
        .collect();
    if let Known::Unknown(reason) = &view.observed.runs {
        effects.wait(reason.clone());
        return actions;
    }
    if view.spec.paused {
        return actions;
    }
    for slot in runs::missing(view) {
        match runs::build(view, slot) {
            Ok((name, object)) => actions.push(Action::CreateRun { name, slot, object }),
            Err(reason) => effects.wait(format!("{}: {reason}", slot.describe())),
        }
    }
    for (slot, run) in runs::judging(view) {
        if let crate::analysis::Verdict::Running { waiting_on } = &run.verdict {
            let name = &run.name;
            match (waiting_on, slot) {
                (Some(what), _) => effects.wait(format!("{} `{name}`: {what}", slot.describe())),
                // It runs beside the steps: they do not wait for its end.
                (None, RunSlot::Background) => {}
                (None, RunSlot::Step(_) | RunSlot::PrePromotion | RunSlot::PostPromotion) => {
                    effects.wait(format!("{} `{name}` to finish", slot.describe()));
                }
            }
        }
    }
    actions
}

/// Pods to remove: those that a size says, and whole sets that nobody needs any more.
fn shrink(view: &View<'_>, effects: &mut Effects) -> Vec<Action> {
    let mut actions = Vec::new();
    effects.scale_downs = Some(Vec::new());
    let sizes = targets::sizes(view);
    for set in view.replica_sets {
        if let Some(size) = sizes.get(&set.name).filter(|size| **size < set.desired) {
            actions.push(Action::ScaleReplicaSet {
                name: set.name.clone(),
                from: set.desired,
                to: *size,
            });
        }
    }
    let is_unrouted =
        matches!(&view.spec.strategy, ValidStrategy::Canary(canary) if canary.routing.is_none());
    if is_unrouted {
        return actions;
    }
    let mut lingering: Vec<(&ReplicaSetFact, ScaleDown)> = Vec::new();
    for set in view.replica_sets.iter().filter(|set| set.desired > 0) {
        if sizes.contains_key(&set.name) {
            continue;
        }
        if targets::may_receive_traffic(view, &set.revision) {
            // What is not known for a while does not begin the time anew.
            effects.linger(&set.revision, view.memory.scale_down_at(&set.revision));
            effects.wait(format!("traffic to leave revision {} before its pods go", set.revision));
            continue;
        }
        lingering.push((set, delay_of(view, &set.revision)));
    }
    lingering.sort_by_key(|(set, _)| std::cmp::Reverse((set.number, set.created_at)));
    let limit = targets::lingering(view).1.and_then(|limit| usize::try_from(limit).ok());
    for (idx, (set, delay)) in lingering.into_iter().enumerate() {
        let is_beyond_limit = limit.is_some_and(|limit| idx >= limit);
        actions.extend(linger(view, set, delay, is_beyond_limit, effects));
    }
    actions
}

fn delay_of(view: &View<'_>, revision: &Revision) -> ScaleDown {
    match &view.memory.phase {
        Phase::Aborted(_) if *revision == view.revision => targets::abort_lingering(view),
        Phase::Aborted(_)
        | Phase::Initial
        | Phase::Settled
        | Phase::Canary(_)
        | Phase::Promoting { .. }
        | Phase::BlueGreen(_) => targets::lingering(view).0,
    }
}

/// One step in the life of a set that nobody needs: first a time is noted, and when it has come the
/// pods go.
fn linger(
    view: &View<'_>,
    set: &ReplicaSetFact,
    delay: ScaleDown,
    is_beyond_limit: bool,
    effects: &mut Effects,
) -> Option<Action> {
    let to_zero = Action::ScaleReplicaSet { name: set.name.clone(), from: set.desired, to: 0 };
    if is_beyond_limit {
        return Some(to_zero);
    }
    let delay = match delay {
        ScaleDown::Never => return None,
        ScaleDown::After(_) if mutant(Mutant::ScaleDownDelayIgnored) => return Some(to_zero),
        ScaleDown::After(delay) if delay <= TimeDelta::zero() => return Some(to_zero),
        ScaleDown::After(delay) => delay,
    };
    // A time that a clock wrote when it was ahead holds the pods no longer than the delay.
    let latest = view.now() + delay;
    let at = view.memory.scale_down_at(&set.revision).map_or(latest, |at| at.min(latest));
    effects.linger(&set.revision, Some(at));
    if view.now() >= at {
        return Some(to_zero);
    }
    effects.wait_until(format!("the pods of revision {} to be removed", set.revision), at);
    None
}

/// Evicts pods that are older than `spec.restartAt`, stable ones first, a few at a time.
fn restart(view: &View<'_>, effects: &mut Effects) -> Vec<Action> {
    let Some(restart_at) = view.spec.restart_at else { return vec![] };
    if view.memory.restarted_at == Some(restart_at) {
        return vec![];
    }
    if view.now() < restart_at.0 {
        effects.wake(restart_at.0);
        return vec![];
    }
    let pods = match &view.observed.pods_to_restart {
        Known::Unknown(reason) => {
            effects.wait(reason.clone());
            return vec![];
        }
        Known::Known(pods) => pods,
    };
    let unavailable = match &view.spec.strategy {
        ValidStrategy::Canary(canary) => canary.max_unavailable,
        ValidStrategy::BlueGreen(blue_green) => blue_green.max_unavailable,
    };
    let budget = unavailable.of_rounded_down(view.replicas()).max(1);
    let missing = view
        .replica_sets
        .iter()
        .fold(0u32, |sum, set| sum.saturating_add(set.desired.saturating_sub(set.available)));
    let room = usize::try_from(budget.saturating_sub(missing)).unwrap_or(0);
    let mut old: Vec<_> = pods.iter().filter(|pod| !pod.is_terminating).collect();
    old.sort_by_key(|pod| (!view.is_stable(&pod.revision), pod.created_at, pod.name.clone()));
    if !old.is_empty() {
        effects.wait(format!("{} pods to be restarted", old.len()));
    }
    old.into_iter().take(room).map(|pod| Action::EvictPod { name: pod.name.clone() }).collect()
}

/// Old ReplicaSets and AnalysisRuns beyond their limits, oldest first.
fn clean_up(view: &View<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut old: Vec<_> =
        view.others().filter(|set| set.desired == 0 && set.replicas == 0).collect();
    old.sort_by_key(|set| std::cmp::Reverse((set.number, set.created_at)));
    let keep = usize::try_from(view.spec.history_limit).unwrap_or(usize::MAX);
    actions.extend(
        old.into_iter().skip(keep).map(|set| Action::DeleteReplicaSet { name: set.name.clone() }),
    );
    let mut finished: Vec<_> = view
        .runs()
        .iter()
        .filter(|run| run.verdict.is_final() && run.attempt != Some(view.memory.attempt))
        .collect();
    finished.sort_by_key(|run| std::cmp::Reverse((run.created_at, run.name.clone())));
    let (good, bad): (Vec<_>, Vec<_>) =
        finished.into_iter().partition(|run| run.verdict == crate::analysis::Verdict::Successful);
    for (runs, keep) in
        [(good, view.spec.keep_successful_runs), (bad, view.spec.keep_unsuccessful_runs)]
    {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        actions.extend(
            runs.into_iter().skip(keep).map(|run| Action::DeleteRun { name: run.name.clone() }),
        );
    }
    actions
}

/// Serializable form of the labels that every object of ours carries.
pub(super) fn labels(view: &View<'_>) -> Value {
    let names = view.observed.names;
    json!({ names.rollout_label(): runs::label_value(&view.observed.rollout.name) })
}
