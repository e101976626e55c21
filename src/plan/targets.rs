//! What the world is to look like now, given the phase: the split, the sizes, what each Service
//! selects; and whether it looks like that. Nothing here acts; `effects` does the difference.

mod blue_green;
mod pods;
mod services;
mod weights;

pub(super) use blue_green::{is_active_switched, is_preview_ready};
pub(super) use pods::{canary_size, first_size, sizes};
use pods::{enough_available, unrouted_targets};
pub(super) use services::{may_receive_traffic, selections};
pub(super) use weights::{desired_split, wanted_split};

use super::validate::{ScaleDown, ValidStrategy};
use super::view::View;
use crate::mutants::{Mutant, mutant};
use crate::weight::Split;

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
    if mutant(Mutant::StepBeforeWeight) {
        return is_canary_sized(view);
    }
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
    let is_full = mutant(Mutant::HealthyBeforeReady)
        || (current.desired == view.replicas()
            && current.available >= enough_available(view, view.replicas()));
    if mutant(Mutant::HealthyBeforeHome) {
        return is_full;
    }
    let is_home = view.routing().is_none_or(|routing| {
        view.selects(&routing.stable_service, &view.revision)
            && view.traffic().is_confirmed_all_stable()
    });
    is_full && is_home && selections(view).is_empty()
}
