//! What the world is to look like now, given the phase: the split, the sizes, what each Service
//! selects; and whether it looks like that. Nothing here acts; `effects` does the difference.

use std::collections::BTreeMap;

use super::facts::{Known, ReplicaSetFact, ServiceState};
use super::memory::{BlueGreen, Phase};
use super::sizes::{Bounds, PodSet, closest_sizes, next_sizes};
use super::validate::{
    CanaryScale, ScaleDown, Step, ValidBlueGreen, ValidCanary, ValidRouting, ValidStrategy,
};
use super::view::View;
use crate::api::status::BlueGreenStage;
use crate::revision::Revision;
use crate::weight::Split;

/// The split that the phase asks for, before asking whether the canary can take it; `None` without
/// a strategy that splits.
pub(super) fn wanted_split(view: &View<'_>) -> Option<Split> {
    let canary = view.canary()?;
    let total = canary.routing.as_ref().map_or(100, |routing| routing.total);
    Some(match &view.memory.phase {
        Phase::Initial | Phase::Settled | Phase::Aborted(_) | Phase::BlueGreen(_) => {
            Split::all_stable(total)
        }
        Phase::Canary(step) => weight_at(canary, step.index, total),
        Phase::Promoting { .. } => Split::all_canary(total),
    })
}

/// The weight of the last `setWeight` up to and including the step with this index.
fn weight_at(canary: &ValidCanary, index: u32, total: u32) -> Split {
    let steps = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(1);
    canary
        .steps
        .iter()
        .take(steps)
        .rev()
        .find_map(|step| match step {
            Step::SetWeight(split) => Some(*split),
            Step::Pause(_) | Step::SetCanaryScale(_) | Step::Analysis(_) => None,
        })
        .unwrap_or(Split::all_stable(total))
}

/// The split that the router is to carry now, or why the canary cannot have what the phase asks for.
///
/// The canary gets traffic only while its Service selects the current revision with enough ready
/// endpoints; where that is not known, the split that is there stays.
pub(super) fn desired_split(view: &View<'_>, routing: &ValidRouting) -> (Split, Option<String>) {
    let none = Split::all_stable(routing.total);
    let Some(wanted) = wanted_split(view) else { return (none, None) };
    match &view.memory.phase {
        Phase::Initial | Phase::Settled | Phase::BlueGreen(_) => (none, None),
        Phase::Aborted(_) => (abort_split(view, routing), None),
        // Once stable's Service selects the new revision too, the weight goes home.
        Phase::Promoting { .. } if view.selects(&routing.stable_service, &view.revision) => {
            go_home(view, routing)
        }
        Phase::Canary(_) | Phase::Promoting { .. } => admit(view, routing, wanted),
    }
}

/// The weight goes back to stable's Service when its endpoints are those of the new revision:
/// endpoints follow a selector with a delay.
fn go_home(view: &View<'_>, routing: &ValidRouting) -> (Split, Option<String>) {
    let none = Split::all_stable(routing.total);
    let service = &routing.stable_service;
    let enough = enough_available(view, view.replicas());
    let ready = view.ready_behind(service, &view.revision);
    let held = view.traffic().highest.unwrap_or(none);
    match ready {
        Known::Known(ready) if ready >= enough => (none, None),
        Known::Known(ready) => {
            let revision = &view.revision;
            let wait = format!(
                "{enough} ready pods of revision {revision} behind Service `{service}` ({ready} ready)"
            );
            (held, Some(wait))
        }
        Known::Unknown(reason) => (held, Some(reason)),
    }
}

/// How much of `wanted` the canary can take.
fn admit(view: &View<'_>, routing: &ValidRouting, wanted: Split) -> (Split, Option<String>) {
    let none = Split::all_stable(routing.total);
    if wanted.is_all_stable() {
        return (none, None);
    }
    let actual = view.traffic().highest;
    // Never more than both what is there and what is wanted.
    let held = match actual {
        Some(actual) if wanted.gives_canary_more_than(actual) => actual,
        Some(_) | None => wanted,
    };
    let service = &routing.canary_service;
    match view.selected_by(service) {
        Known::Unknown(reason) => return (held, Some(reason)),
        Known::Known(selected) if selected.as_ref() != Some(&view.revision) => {
            let wait = format!("Service `{service}` to select revision {}", view.revision);
            return (none, Some(wait));
        }
        Known::Known(_) => {}
    }
    let Some(replica_set) = view.current() else {
        return (none, Some(format!("the ReplicaSet of revision {}", view.revision)));
    };
    let size = canary_size(view).unwrap_or(replica_set.desired);
    let enough = enough_available(view, size).max(1);
    match view.ready_behind(service, &view.revision) {
        Known::Unknown(reason) => (held, Some(reason)),
        Known::Known(0) => {
            let wait =
                format!("ready endpoints of revision {} behind Service `{service}`", view.revision);
            (none, Some(wait))
        }
        Known::Known(ready) if ready < enough || replica_set.available < enough => {
            let wait = format!(
                "{enough} ready pods of revision {} behind Service `{service}` ({ready} ready, {} available)",
                view.revision, replica_set.available
            );
            (held, Some(wait))
        }
        Known::Known(_) => (wanted, None),
    }
}

/// After an abort everything goes to stable at once. With `dynamicStableScale` stable may be too
/// small for that, so the weight follows its growth for as long as the canary can still serve.
fn abort_split(view: &View<'_>, routing: &ValidRouting) -> Split {
    let none = Split::all_stable(routing.total);
    let is_dynamic = view.canary().is_some_and(|canary| canary.dynamic_stable_scale);
    let Some(actual) = view.traffic().highest.filter(|_| is_dynamic) else { return none };
    let canary_serves = view
        .ready_behind(&routing.canary_service, &view.revision)
        .known()
        .is_some_and(|ready| *ready > 0);
    let Some(stable) = view.stable().filter(|_| canary_serves) else { return none };
    let replicas = view.replicas();
    if stable.available >= replicas {
        return none;
    }
    let can_take = u64::from(routing.total) * u64::from(stable.available) / u64::from(replicas);
    let kept = routing.total - u32::try_from(can_take).unwrap_or(routing.total).min(routing.total);
    let kept = Split::saturating(kept, routing.total);
    if kept.gives_canary_more_than(actual) { actual } else { kept }
}

/// The number of pods that the canary is to have at its step; `None` outside a canary.
pub(super) fn canary_size(view: &View<'_>) -> Option<u32> {
    let canary = view.canary()?;
    let routing = canary.routing.as_ref()?;
    let replicas = view.replicas();
    Some(match &view.memory.phase {
        Phase::Canary(step) => {
            let split = weight_at(canary, step.index, routing.total);
            let by_weight = split.canary_need(replicas);
            let steps = usize::try_from(step.index).unwrap_or(usize::MAX).saturating_add(1);
            let scale = canary.steps.iter().take(steps).rev().find_map(|step| match step {
                Step::SetCanaryScale(scale) => Some(*scale),
                Step::SetWeight(_) | Step::Pause(_) | Step::Analysis(_) => None,
            });
            match scale {
                None | Some(CanaryScale::MatchTrafficWeight) => floor(canary, by_weight, replicas),
                // A size of its own never undercuts what the weight needs (S3).
                Some(CanaryScale::Percent(percent)) => {
                    let share = Split::saturating(percent, 100).canary_need(replicas);
                    floor(canary, share.max(by_weight), replicas)
                }
                Some(CanaryScale::Replicas(pods)) => pods.max(by_weight),
            }
        }
        Phase::Promoting { .. } => replicas,
        Phase::Initial | Phase::Settled | Phase::Aborted(_) | Phase::BlueGreen(_) => return None,
    })
}

fn floor(canary: &ValidCanary, size: u32, replicas: u32) -> u32 {
    if size == 0 { 0 } else { size.max(canary.min_pods.min(replicas)) }
}

fn enough_available(view: &View<'_>, size: u32) -> u32 {
    view.canary().map_or(size, |canary| canary.threshold.enough_of(size))
}

/// The size of every ReplicaSet, by name. A ReplicaSet that is left out stays as it is.
pub(super) fn sizes(view: &View<'_>) -> BTreeMap<String, u32> {
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) if canary.routing.is_some() => routed_sizes(view, canary),
        ValidStrategy::Canary(canary) => unrouted_sizes(view, canary),
        ValidStrategy::BlueGreen(blue_green) => blue_green_sizes(view, blue_green),
    }
}

/// The size with which the ReplicaSet of the current revision is created.
pub(super) fn first_size(view: &View<'_>) -> u32 {
    match (&view.memory.phase, &view.spec.strategy) {
        (Phase::Initial | Phase::Settled, _) => view.replicas(),
        (Phase::Aborted(_), _) => 0,
        (Phase::BlueGreen(state), ValidStrategy::BlueGreen(blue_green)) => {
            preview_size(view, blue_green, state)
        }
        (_, ValidStrategy::Canary(canary)) if canary.routing.is_some() => {
            canary_size(view).unwrap_or(0)
        }
        // Without a router growth is bounded by the surge: it starts at 0 and is scaled up.
        (_, _) => 0,
    }
}

fn preview_size(view: &View<'_>, blue_green: &ValidBlueGreen, state: &BlueGreen) -> u32 {
    match state.stage {
        BlueGreenStage::Preview if !state.full_size => {
            blue_green.preview_replicas.unwrap_or(view.replicas())
        }
        BlueGreenStage::Preview | BlueGreenStage::Promoting | BlueGreenStage::Verifying => {
            view.replicas()
        }
    }
}

fn routed_sizes(view: &View<'_>, canary: &ValidCanary) -> BTreeMap<String, u32> {
    let mut sizes = BTreeMap::new();
    let replicas = view.replicas();
    let highest = view.traffic().highest;
    if let Some(stable) = view.stable() {
        let size = match (&view.memory.phase, highest) {
            (Phase::Canary(_) | Phase::Promoting { .. }, Some(actual))
                if canary.dynamic_stable_scale =>
            {
                // The larger of what the router does and what it is asked to do.
                let wanted = wanted_split(view).unwrap_or(actual);
                let needed = actual.stable_need(replicas).max(wanted.stable_need(replicas));
                floor(canary, needed.max(1), replicas)
            }
            _ => replicas,
        };
        sizes.insert(stable.name.clone(), size);
    }
    if let Some(current) = view.current().filter(|current| !view.is_stable(&current.revision)) {
        match &view.memory.phase {
            Phase::Initial => {
                sizes.insert(current.name.clone(), replicas);
            }
            Phase::Canary(_) | Phase::Promoting { .. } => {
                let target = canary_size(view).unwrap_or(current.desired);
                // What the router sends there now must still be carried.
                let needed = highest.map(|actual| actual.canary_need(replicas));
                let size = needed.map_or(current.desired.max(target), |needed| target.max(needed));
                sizes.insert(current.name.clone(), size);
            }
            Phase::Aborted(_) | Phase::Settled | Phase::BlueGreen(_) => {}
        }
    }
    for set in view.replica_sets {
        if let Some(size) = sizes.get_mut(&set.name) {
            *size = (*size).max(needed_now(view, canary, set).min(set.desired));
        }
    }
    sizes
}

/// The pods that a set needs for what its Services send it now, whatever its role is to be: a
/// Service may select it for longer than its phase says. While that is not known, those that it has.
fn needed_now(view: &View<'_>, canary: &ValidCanary, set: &ReplicaSetFact) -> u32 {
    let Some(routing) = &canary.routing else { return 0 };
    let traffic = view.traffic();
    let replicas = view.replicas();
    let side = |service: &str, need: Option<u32>| {
        if may_select(view, service, &set.revision) { need.unwrap_or(set.desired) } else { 0 }
    };
    side(&routing.stable_service, traffic.lowest.map(|split| split.stable_need(replicas))).max(
        side(&routing.canary_service, traffic.highest.map(|split| split.canary_need(replicas))),
    )
}

/// How a canary without a router is divided now: (canary, stable) targets.
fn unrouted_targets(view: &View<'_>, canary: &ValidCanary) -> (u32, u32) {
    let replicas = view.replicas();
    match &view.memory.phase {
        Phase::Canary(_) | Phase::Promoting { .. } => {
            let split = wanted_split(view).unwrap_or(Split::all_stable(100));
            let may_surge = canary.max_surge.of_rounded_up(replicas) > 0;
            closest_sizes(replicas, split, may_surge)
        }
        Phase::Initial => (replicas, 0),
        Phase::Settled | Phase::Aborted(_) | Phase::BlueGreen(_) => (0, replicas),
    }
}

fn unrouted_sizes(view: &View<'_>, canary: &ValidCanary) -> BTreeMap<String, u32> {
    let replicas = view.replicas();
    let (canary_target, stable_target) = unrouted_targets(view, canary);
    let stable = view.stable();
    let current = view.current().filter(|current| !view.is_stable(&current.revision));
    let mut sets: Vec<(&ReplicaSetFact, u32)> = Vec::new();
    sets.extend(stable.map(|stable| (stable, stable_target)));
    sets.extend(current.map(|current| (current, canary_target)));
    let mut others: Vec<&ReplicaSetFact> = view.others().collect();
    others.sort_by_key(|other| std::cmp::Reverse(other.number));
    sets.extend(others.into_iter().map(|other| (other, 0)));
    let bounds = Bounds::new(
        replicas,
        canary.max_surge.of_rounded_up(replicas),
        canary.max_unavailable.of_rounded_down(replicas),
    );
    // With nothing promoted yet there is nobody to spare: everything may come up at once.
    let bounds = if view.memory.stable.is_none() {
        Bounds { most_pods: u32::MAX, fewest_available: 0 }
    } else {
        bounds
    };
    let pods: Vec<PodSet> = sets
        .iter()
        .map(|(set, target)| PodSet {
            desired: set.desired,
            available: set.available,
            unavailable: if set.is_behind { 0 } else { set.desired.saturating_sub(set.available) },
            target: *target,
        })
        .collect();
    let next = next_sizes(&pods, bounds);
    sets.iter().zip(next).map(|((set, _), size)| (set.name.clone(), size)).collect()
}

fn blue_green_sizes(view: &View<'_>, blue_green: &ValidBlueGreen) -> BTreeMap<String, u32> {
    let mut sizes = BTreeMap::new();
    if let Some(stable) = view.stable() {
        sizes.insert(stable.name.clone(), view.replicas());
    }
    if let Some(current) = view.current().filter(|current| !view.is_stable(&current.revision)) {
        match &view.memory.phase {
            Phase::Initial => {
                sizes.insert(current.name.clone(), view.replicas());
            }
            Phase::BlueGreen(state) => {
                let size = preview_size(view, blue_green, state);
                // A set that already serves never shrinks to the preview's size.
                let serves = view.selects(&blue_green.active_service, &current.revision);
                let size = if serves { size.max(view.replicas()) } else { size };
                sizes.insert(current.name.clone(), size);
            }
            Phase::Settled | Phase::Aborted(_) | Phase::Canary(_) | Phase::Promoting { .. } => {}
        }
    }
    sizes
}

/// A Service and the revision that it is to select, or what must happen first.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selection {
    /// The Service.
    pub(super) service: String,
    /// The revision.
    pub(super) revision: Revision,
    /// What must happen first, if anything.
    pub(super) wait: Option<String>,
}

/// What each Service is to select, for those that do not select it yet.
pub(super) fn selections(view: &View<'_>) -> Vec<Selection> {
    let wanted = match &view.spec.strategy {
        ValidStrategy::Canary(canary) => canary_selections(view, canary),
        ValidStrategy::BlueGreen(blue_green) => blue_green_selections(view, blue_green),
    };
    wanted
        .into_iter()
        .filter(|selection| !view.selects(&selection.service, &selection.revision))
        .map(|selection| guard_selection(view, selection))
        .collect()
}

/// No Service is pointed at a revision without available pods, nor taken from another Rollout. A
/// Service that we take over for the first time waits until the revision could serve everybody.
fn guard_selection(view: &View<'_>, selection: Selection) -> Selection {
    let Selection { service, revision, wait } = selection;
    let wait = wait.or_else(|| match view.service(&service) {
        Known::Unknown(reason) => Some(reason),
        Known::Known(ServiceState::Missing) => Some(format!("Service `{service}` to exist")),
        Known::Known(ServiceState::Present(fact)) => {
            let me = &view.observed.rollout.name;
            if let Some(other) = fact.managed_by.as_ref().filter(|other| *other != me) {
                return Some(format!("Service `{service}` is managed by Rollout `{other}`; use another Service"));
            }
            let labels = super::validate::string_map(view.spec.template.pointer("/metadata/labels"));
            let label = view.observed.names.revision_label();
            let mismatch = fact
                .selector
                .iter()
                .find(|(key, value)| key.as_str() != label && labels.get(*key) != Some(*value));
            if let Some((key, value)) = mismatch {
                return Some(format!("the selector of Service `{service}` asks for {key}={value}, which the pod template does not have"));
            }
            let is_ours = fact.selector.contains_key(label);
            let enough = if is_ours { 1 } else { view.replicas() };
            let available = view.replica_set(&revision).map_or(0, |set| set.available);
            (view.replicas() > 0 && available < enough.max(1)).then(|| {
                format!("{enough} available pods of revision {revision} before Service `{service}` selects it ({available} available)", enough = enough.max(1))
            })
        }
    });
    Selection { service, revision, wait }
}

fn canary_selections(view: &View<'_>, canary: &ValidCanary) -> Vec<Selection> {
    let mut selections = Vec::new();
    let stable = view.memory.stable.clone();
    let traffic = view.traffic();
    let is_routed = canary.routing.is_some();
    let canary_is_empty = !is_routed || traffic.is_confirmed_all_stable();
    let stable_is_empty = !is_routed
        || traffic.is_confirmed_at(Split::all_canary(traffic.highest.map_or(100, Split::total)));
    let available = view.current().map_or(0, |set| set.available);
    let until_available = |wanted: u32| {
        (available < wanted).then(|| {
            format!("{wanted} available pods of revision {} ({available} available)", view.revision)
        })
    };
    let until_empty = |is_empty: bool, side: &str| {
        (!is_empty)
            .then(|| format!("the router to confirm that no traffic goes to the {side} Service"))
    };
    let mut point = |service: &Option<String>, revision: Revision, wait: Option<String>| {
        if let Some(service) = service.clone() {
            selections.push(Selection { service, revision, wait });
        }
    };
    // A set that shrank while the canary grew must have grown again before it gets all users back.
    let until_grown = |stable: &Revision| {
        let most =
            traffic.lowest.map_or(view.replicas(), |split| split.stable_need(view.replicas()));
        let need = if canary.dynamic_stable_scale { most } else { 0 };
        let available = view.replica_set(stable).map_or(0, |set| set.available);
        (available < need)
            .then(|| format!("{need} available pods of revision {stable} ({available} available)"))
    };
    match &view.memory.phase {
        Phase::Initial => {
            let wait = until_available(view.replicas());
            point(&canary.stable_service, view.revision.clone(), wait.clone());
            point(&canary.canary_service, view.revision.clone(), wait);
        }
        Phase::Settled | Phase::Aborted(_) | Phase::BlueGreen(_) => {
            if let Some(stable) = stable {
                point(&canary.stable_service, stable.clone(), until_grown(&stable));
                point(&canary.canary_service, stable, until_empty(canary_is_empty, "canary"));
            }
        }
        Phase::Canary(_) => {
            if let Some(stable) = stable {
                let wait = until_grown(&stable);
                point(&canary.stable_service, stable, wait);
            }
            let size = canary_size(view).unwrap_or(1);
            let wait = until_empty(canary_is_empty, "canary")
                .or_else(|| until_available(enough_available(view, size).max(1)));
            point(&canary.canary_service, view.revision.clone(), wait);
        }
        Phase::Promoting { .. } => {
            let wait = until_empty(canary_is_empty, "canary")
                .or_else(|| until_available(view.replicas().min(1)));
            point(&canary.canary_service, view.revision.clone(), wait);
            let wait = until_available(enough_available(view, view.replicas()))
                .or_else(|| until_empty(stable_is_empty, "stable"));
            point(&canary.stable_service, view.revision.clone(), wait);
        }
    }
    selections
}

fn blue_green_selections(view: &View<'_>, blue_green: &ValidBlueGreen) -> Vec<Selection> {
    let mut selections = Vec::new();
    let replicas = view.replicas();
    let available = view.current().map_or(0, |set| set.available);
    let until_full = || {
        (available < replicas).then(|| {
            format!(
                "{replicas} available pods of revision {} ({available} available)",
                view.revision
            )
        })
    };
    let active = &blue_green.active_service;
    let mut point = |service: &str, revision: &Revision, wait: Option<String>| {
        selections.push(Selection {
            service: service.to_owned(),
            revision: revision.clone(),
            wait,
        });
    };
    match (&view.memory.phase, &view.memory.stable) {
        (Phase::Initial, _) => point(active, &view.revision, until_full()),
        (Phase::BlueGreen(state), Some(stable)) => match state.stage {
            BlueGreenStage::Preview => point(active, stable, None),
            BlueGreenStage::Promoting => point(active, &view.revision, until_full()),
            BlueGreenStage::Verifying => point(active, &view.revision, None),
        },
        (_, Some(stable)) => point(active, stable, None),
        (_, None) => {}
    }
    if let Some(preview) = &blue_green.preview_service {
        let revision = match &view.memory.phase {
            Phase::Aborted(_) => view.memory.stable.as_ref().unwrap_or(&view.revision),
            Phase::Initial
            | Phase::Settled
            | Phase::BlueGreen(_)
            | Phase::Canary(_)
            | Phase::Promoting { .. } => &view.revision,
        };
        // The preview has no users: it follows as soon as one pod is there.
        point(preview, revision, None);
    }
    selections
}

/// How long pods of a revision that is no longer needed stay, and how many such sets may linger.
pub(super) fn lingering(view: &View<'_>) -> (ScaleDown, Option<u32>) {
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) => (canary.scale_down, canary.scale_down_limit),
        ValidStrategy::BlueGreen(blue_green) => {
            (blue_green.scale_down, blue_green.scale_down_limit)
        }
    }
}

/// How long the pods of an aborted revision stay.
pub(super) fn abort_lingering(view: &View<'_>) -> ScaleDown {
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) => canary.abort_scale_down,
        ValidStrategy::BlueGreen(blue_green) => blue_green.abort_scale_down,
    }
}

/// Whether a Service sends to pods of `revision`, as far as is known.
fn may_select(view: &View<'_>, service: &str, revision: &Revision) -> bool {
    match view.selected_by(service) {
        // A Service that does not exist carries nothing.
        Known::Unknown(_) => !matches!(view.service(service), Known::Known(ServiceState::Missing)),
        Known::Known(selected) => selected.is_none() || selected.as_ref() == Some(revision),
    }
}

/// Whether users can still reach `revision`, as far as is known; unknown counts as reachable.
pub(super) fn may_receive_traffic(view: &View<'_>, revision: &Revision) -> bool {
    let may_select = |service: &str| may_select(view, service, revision);
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) => match &canary.routing {
            Some(routing) => {
                may_select(&routing.stable_service)
                    || (may_select(&routing.canary_service)
                        && !view.traffic().is_confirmed_all_stable())
            }
            // The Service selects by the user's labels: every pod may serve; sizes bound it.
            None => false,
        },
        ValidStrategy::BlueGreen(blue_green) => may_select(&blue_green.active_service),
    }
}

/// Whether the canary has its pods, and none too few is available.
pub(super) fn is_canary_sized(view: &View<'_>) -> bool {
    let Some(current) = view.current() else { return false };
    let Some(size) = canary_size(view) else { return false };
    current.desired == size && current.available >= enough_available(view, size)
}

/// Whether a `setWeight` step is done: the weight is confirmed, or without a router the sizes are.
pub(super) fn is_weight_done(view: &View<'_>, split: Split) -> bool {
    let Some(canary) = view.canary() else { return false };
    if canary.routing.is_some() {
        return is_weight_in_effect(view, split);
    }
    let (canary_target, stable_target) = unrouted_targets(view, canary);
    let Some(current) = view.current() else { return false };
    let stable = view.stable().map_or(0, |stable| stable.desired);
    let others = view.others().all(|other| other.desired == 0);
    current.desired == canary_target
        && current.available >= canary.threshold.enough_of(canary_target)
        && stable == stable_target
        && others
}

/// Whether the router is confirmed to carry `split` to ready pods of the right revision.
pub(super) fn is_weight_in_effect(view: &View<'_>, split: Split) -> bool {
    let Some(routing) = view.routing() else { return false };
    let serves = split.is_all_stable()
        || (view.selects(&routing.canary_service, &view.revision)
            && view
                .ready_behind(&routing.canary_service, &view.revision)
                .known()
                .is_some_and(|ready| *ready > 0)
            && is_canary_sized(view));
    serves && view.traffic().is_confirmed_at(split)
}

/// Whether the first revision serves.
pub(super) fn is_initial_done(view: &View<'_>) -> bool {
    let Some(current) = view.current() else { return false };
    current.desired == view.replicas()
        && current.available >= view.replicas()
        && selections(view).is_empty()
}

/// Whether the new revision has taken over from the stable one.
pub(super) fn is_promotion_done(view: &View<'_>) -> bool {
    let Some(current) = view.current() else { return false };
    let is_full = current.desired == view.replicas()
        && current.available >= enough_available(view, view.replicas());
    let is_home = view.routing().is_none_or(|routing| {
        view.selects(&routing.stable_service, &view.revision)
            && view.traffic().is_confirmed_all_stable()
    });
    is_full && is_home && selections(view).is_empty()
}

/// Whether the preview has its pods and its Service selects them.
pub(super) fn is_preview_ready(view: &View<'_>) -> bool {
    let (Some(current), ValidStrategy::BlueGreen(blue_green), Phase::BlueGreen(state)) =
        (view.current(), &view.spec.strategy, &view.memory.phase)
    else {
        return false;
    };
    let size = preview_size(view, blue_green, state);
    let is_previewed = blue_green
        .preview_service
        .as_ref()
        .is_none_or(|preview| size == 0 || view.selects(preview, &view.revision));
    current.desired == size && current.available >= size && is_previewed
}

/// Whether the active Service selects the current revision.
pub(super) fn is_active_switched(view: &View<'_>) -> bool {
    match &view.spec.strategy {
        ValidStrategy::BlueGreen(blue_green) => {
            view.selects(&blue_green.active_service, &view.revision)
        }
        ValidStrategy::Canary(_) => false,
    }
}
