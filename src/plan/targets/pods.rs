//! How many pods each ReplicaSet is to have.

use std::collections::BTreeMap;

use super::blue_green;
use super::services::may_select;
use super::weights::{target_split, wanted_split, weight_at};
use crate::mutants::{Mutant, mutant};
use crate::plan::facts::ReplicaSetFact;
use crate::plan::memory::Phase;
use crate::plan::sizes::{Bounds, PodSet, closest_sizes, next_sizes};
use crate::plan::validate::{CanaryScale, Step, ValidCanary, ValidStrategy};
use crate::plan::view::View;
use crate::weight::Split;

/// The number of pods that the canary is to have at its step; `None` outside a canary.
pub(in crate::plan) fn canary_size(view: &View<'_>) -> Option<u32> {
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

pub(super) fn enough_available(view: &View<'_>, size: u32) -> u32 {
    view.canary().map_or(size, |canary| canary.threshold.enough_of(size))
}

/// The size of every ReplicaSet, by name. A ReplicaSet that is left out stays as it is.
pub(in crate::plan) fn sizes(view: &View<'_>) -> BTreeMap<String, u32> {
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) if canary.routing.is_some() => routed_sizes(view, canary),
        ValidStrategy::Canary(canary) => unrouted_sizes(view, canary),
        ValidStrategy::BlueGreen(strategy) => blue_green::sizes(view, strategy),
    }
}

/// The size with which the ReplicaSet of the current revision is created.
pub(in crate::plan) fn first_size(view: &View<'_>) -> u32 {
    match (&view.memory.phase, &view.spec.strategy) {
        (Phase::Initial | Phase::Settled, _) => view.replicas(),
        (Phase::Aborted(_), _) => 0,
        (Phase::BlueGreen(state), ValidStrategy::BlueGreen(strategy)) => {
            blue_green::preview_size(view, strategy, state)
        }
        (_, ValidStrategy::Canary(canary)) if canary.routing.is_some() => {
            canary_size(view).unwrap_or(0)
        }
        // Without a router growth is bounded by the surge: it starts at 0 and is scaled up.
        (_, _) => 0,
    }
}

fn routed_sizes(view: &View<'_>, canary: &ValidCanary) -> BTreeMap<String, u32> {
    let mut sizes = BTreeMap::new();
    let replicas = view.replicas();
    let highest = view.traffic().highest;
    if let Some(stable) = view.stable() {
        let size = match (&view.memory.phase, highest) {
            (Phase::Canary(_) | Phase::Promoting { .. }, Some(actual))
                if canary.dynamic_stable_scale || mutant(Mutant::StableShrinks) =>
            {
                // The larger of what the router does and what it is to do.
                let wanted = canary.routing.as_ref().map_or(actual, |r| target_split(view, r).0);
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
/// Service may select it for longer than its phase says. While that is not known, or what the routes
/// say is not what the data plane does yet, those that it has.
fn needed_now(view: &View<'_>, canary: &ValidCanary, set: &ReplicaSetFact) -> u32 {
    let Some(routing) = &canary.routing else { return 0 };
    if mutant(Mutant::PodsGoBeforeTraffic) || mutant(Mutant::StableShrinks) {
        return 0;
    }
    let traffic = view.traffic();
    let replicas = view.replicas();
    let side = |service: &str, split: Option<Split>, need: fn(Split, u32) -> u32| {
        if !may_select(view, service, &set.revision) {
            return 0;
        }
        let known = split.filter(|_| traffic.unconfirmed.is_none());
        known.map_or(set.desired, |split| need(split, replicas))
    };
    side(&routing.stable_service, traffic.lowest, Split::stable_need).max(side(
        &routing.canary_service,
        traffic.highest,
        Split::canary_need,
    ))
}

/// How a canary without a router is divided now: (canary, stable) targets.
pub(super) fn unrouted_targets(view: &View<'_>, canary: &ValidCanary) -> (u32, u32) {
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
