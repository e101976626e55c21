//! Which split of the traffic a phase asks for, and how much of it the canary can take.

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
/// endpoints; where that is not known, the split that is there stays.
pub(in crate::plan) fn desired_split(
    view: &View<'_>,
    routing: &ValidRouting,
) -> (Split, Option<String>) {
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
