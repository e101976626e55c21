//! Blue-green: the sizes of the two sets, and what the active and the preview Service select.

use std::collections::BTreeMap;

use super::services::Selection;
use crate::api::status::BlueGreenStage;
use crate::mutants::{Mutant, mutant};
use crate::plan::memory::{BlueGreen, Phase};
use crate::plan::validate::{ValidBlueGreen, ValidStrategy};
use crate::plan::view::View;
use crate::revision::Revision;

pub(super) fn preview_size(view: &View<'_>, blue_green: &ValidBlueGreen, state: &BlueGreen) -> u32 {
    match state.stage {
        BlueGreenStage::Preview if !state.full_size => {
            blue_green.preview_replicas.unwrap_or(view.replicas())
        }
        BlueGreenStage::Preview | BlueGreenStage::Promoting | BlueGreenStage::Verifying => {
            view.replicas()
        }
    }
}

pub(super) fn sizes(view: &View<'_>, blue_green: &ValidBlueGreen) -> BTreeMap<String, u32> {
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

pub(super) fn selections(view: &View<'_>, blue_green: &ValidBlueGreen) -> Vec<Selection> {
    let mut selections = Vec::new();
    let replicas = view.replicas();
    let available = view.current().map_or(0, |set| set.available);
    let until_full = || {
        (available < replicas && !mutant(Mutant::SwitchBeforeFull)).then(|| {
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
        (Phase::Aborted(_), _) if mutant(Mutant::AbortLeavesActive) => {}
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

/// Whether the preview has its pods and its Service selects them.
pub(in crate::plan) fn is_preview_ready(view: &View<'_>) -> bool {
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
    if mutant(Mutant::SwitchBeforeFull) {
        return is_previewed;
    }
    current.desired == size && current.available >= size && is_previewed
}

/// Whether the active Service selects the current revision.
pub(in crate::plan) fn is_active_switched(view: &View<'_>) -> bool {
    match &view.spec.strategy {
        ValidStrategy::BlueGreen(blue_green) => {
            view.selects(&blue_green.active_service, &view.revision)
        }
        ValidStrategy::Canary(_) => false,
    }
}
