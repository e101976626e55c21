//! Which split of the traffic a phase asks for, and how much of it the canary can take.

use crate::mutants::{Mutant, mutant};
use crate::plan::facts::Known;
use crate::plan::memory::Phase;
use crate::plan::targets::pods::{canary_size, enough_available};
use crate::plan::validate::{Step, ValidCanary, ValidRouting};
use crate::plan::view::View;
use crate::weight::Split;

/// The split that the phase asks for, before asking whether the canary can take it; `None` without
/// a strategy that splits.
pub(in crate::plan) fn wanted_split(view: &View<'_>) -> Option<Split> {
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
pub(super) fn weight_at(canary: &ValidCanary, index: u32, total: u32) -> Split {
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
/// endpoints; where that is not known, the split that is there stays. What it gives back, stable must
/// be able to take.
pub(in crate::plan) fn desired_split(
    view: &View<'_>,
    routing: &ValidRouting,
) -> (Split, Option<String>) {
    let (target, wait) = target_split(view, routing);
    let traffic = view.traffic();
    match traffic.highest.filter(|_| traffic.is_even) {
        Some(actual) if actual.gives_canary_more_than(target) => {
            let (kept, why) = give_back(view, routing, actual, target);
            (kept, why.or(wait))
        }
        Some(_) | None => (target, wait),
    }
}

/// What the split is to become, before asking whether stable can take what the canary gives back.
pub(super) fn target_split(view: &View<'_>, routing: &ValidRouting) -> (Split, Option<String>) {
    let none = Split::all_stable(routing.total);
    let Some(wanted) = wanted_split(view) else { return (none, None) };
    match &view.memory.phase {
        Phase::Aborted(_)
            if mutant(Mutant::AbortWaitsForAnalysis)
                && view.runs().iter().any(|run| !run.verdict.is_final()) =>
        {
            (view.traffic().highest.unwrap_or(none), None)
        }
        Phase::Initial | Phase::Settled | Phase::BlueGreen(_) | Phase::Aborted(_) => (none, None),
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
        _ if mutant(Mutant::WeightBeforeReady) => (wanted, None),
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

/// What the canary keeps while its share falls from `actual` to `target`, and why. Users go where
/// stable's Service leads, so it must lead somewhere: to any pod that answers and, where stable shrank
/// as the canary grew (`dynamicStableScale`), to enough of them. A canary that does not answer, and
/// facts that are missing, keep nothing.
fn give_back(
    view: &View<'_>,
    routing: &ValidRouting,
    actual: Split,
    target: Split,
) -> (Split, Option<String>) {
    let answering = |service: &str| {
        let revision = view.selected_by(service).known().cloned().flatten()?;
        let ready = *view.ready_behind(service, &revision).known()?;
        Some((revision, ready))
    };
    let canary = answering(&routing.canary_service).filter(|(_, ready)| *ready > 0);
    let (Some(_), Some((stable, ready))) = (canary, answering(&routing.stable_service)) else {
        return (target, None);
    };
    let replicas = view.replicas();
    let service = &routing.stable_service;
    if ready == 0 && replicas > 0 {
        return (actual, Some(format!("ready endpoints behind Service `{service}`")));
    }
    let is_dynamic = view.canary().is_some_and(|canary| canary.dynamic_stable_scale);
    let available = view.replica_set(&stable).map_or(0, |set| set.available);
    let need = target.stable_need(replicas);
    if !is_dynamic || available >= need {
        return (target, None);
    }
    let can_take = u64::from(routing.total) * u64::from(available) / u64::from(replicas.max(1));
    let kept = routing.total - u32::try_from(can_take).unwrap_or(routing.total).min(routing.total);
    let kept = Split::saturating(kept, routing.total);
    let kept = if kept.gives_canary_more_than(actual) { actual } else { kept };
    let kept = if target.gives_canary_more_than(kept) { target } else { kept };
    let wait = format!("{need} available pods of revision {stable} ({available} available)");
    (kept, Some(wait))
}
