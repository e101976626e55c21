//! What each Service is to select, and whom a Service may lead users to.

use super::blue_green;
use super::pods::{canary_size, enough_available};
use crate::mutants::{Mutant, mutant};
use crate::plan::facts::{Known, ServiceState};
use crate::plan::memory::Phase;
use crate::plan::validate::{ValidCanary, ValidStrategy, string_map};
use crate::plan::view::View;
use crate::revision::Revision;
use crate::weight::Split;

/// A Service and the revision that it is to select, or what must happen first.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::plan) struct Selection {
    /// The Service.
    pub(in crate::plan) service: String,
    /// The revision.
    pub(in crate::plan) revision: Revision,
    /// What must happen first, if anything.
    pub(in crate::plan) wait: Option<String>,
}

/// What each Service is to select, for those that do not select it yet.
pub(in crate::plan) fn selections(view: &View<'_>) -> Vec<Selection> {
    let wanted = match &view.spec.strategy {
        ValidStrategy::Canary(canary) => canary_selections(view, canary),
        ValidStrategy::BlueGreen(strategy) => blue_green::selections(view, strategy),
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
            let labels = string_map(view.spec.template.pointer("/metadata/labels"));
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
            if mutant(Mutant::ServiceBeforePods) {
                return None;
            }
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
        (available < wanted && !mutant(Mutant::ServiceBeforePods)).then(|| {
            format!("{wanted} available pods of revision {} ({available} available)", view.revision)
        })
    };
    let until_empty = |is_empty: bool, side: &str| {
        let is_mutant = match side {
            "canary" => mutant(Mutant::ServiceMovesWithTraffic),
            _ => mutant(Mutant::StableMovesWithTraffic),
        };
        (!is_empty && !is_mutant)
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

/// Whether a Service sends to pods of `revision`, as far as is known.
pub(super) fn may_select(view: &View<'_>, service: &str, revision: &Revision) -> bool {
    match view.selected_by(service) {
        // A Service that does not exist carries nothing.
        Known::Unknown(_) => !matches!(view.service(service), Known::Known(ServiceState::Missing)),
        Known::Known(selected) => selected.is_none() || selected.as_ref() == Some(revision),
    }
}

/// Whether users can still reach `revision`, as far as is known; unknown counts as reachable.
pub(in crate::plan) fn may_receive_traffic(view: &View<'_>, revision: &Revision) -> bool {
    if mutant(Mutant::PodsGoBeforeTraffic) {
        return false;
    }
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
