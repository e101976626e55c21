//! A blue-green update from the preview to the switch and its verification.

use chrono::TimeDelta;

use super::{Change, complete, paused};
use crate::analysis::Verdict;
use crate::api::Time;
use crate::api::status::{BlueGreenStage, PauseReason};
use crate::mutants::{Mutant, mutant};
use crate::plan::facts::RunSlot;
use crate::plan::memory::{BlueGreen, Memory, Pause, Phase};
use crate::plan::validate::{Promotion, ValidBlueGreen};
use crate::plan::view::View;
use crate::plan::{runs, targets, timers};

pub(super) fn progress(
    view: &View<'_>,
    blue_green: &ValidBlueGreen,
    at: &BlueGreen,
) -> Option<(Memory, Change)> {
    let has_passed = |wanted: RunSlot| {
        runs::of_attempt(view).any(|(slot, run)| {
            slot == wanted
                && (run.verdict == Verdict::Successful
                    || view.memory.acknowledged.contains(&run.name))
        })
    };
    if matches!(at.pause, Pause::Since { reason: PauseReason::InconclusiveAnalysisRun, .. }) {
        return None;
    }
    match at.stage {
        BlueGreenStage::Preview => {
            if !targets::is_preview_ready(view) {
                return None;
            }
            let needs_analysis = blue_green.pre_promotion.is_some() && !at.skips_gates;
            let has_passed =
                mutant(Mutant::SwitchBeforeAnalysis) || has_passed(RunSlot::PrePromotion);
            if needs_analysis && !has_passed {
                return None;
            }
            gate(view, blue_green, at)
        }
        BlueGreenStage::Promoting => {
            if !targets::is_active_switched(view) {
                return None;
            }
            if blue_green.post_promotion.is_some() && !at.skips_gates {
                return Some(with_stage(view, BlueGreenStage::Verifying, Change::Verifying));
            }
            Some(complete(view, at.skips_gates))
        }
        BlueGreenStage::Verifying => {
            let is_done = at.skips_gates || has_passed(RunSlot::PostPromotion);
            is_done.then(|| complete(view, at.skips_gates))
        }
    }
}

fn gate(view: &View<'_>, blue_green: &ValidBlueGreen, at: &BlueGreen) -> Option<(Memory, Change)> {
    let is_open = at.skips_gates || at.full_size || at.pause == Pause::Resumed;
    let wait = match blue_green.promotion {
        Promotion::Automatic => None,
        Promotion::AutomaticAfter(time) => Some(Some(time)),
        Promotion::Manual => Some(None),
    };
    match (wait, &at.pause) {
        (Some(_), Pause::None) if !is_open => Some(paused(view, PauseReason::BlueGreenPause)),
        (Some(Some(time)), Pause::Since { at: since, .. })
            if !is_open && timers::pause_left(view, *since, time) > TimeDelta::zero() =>
        {
            None
        }
        (Some(None), Pause::Since { .. }) if !is_open => None,
        _ if !at.full_size => {
            let mut memory = view.memory.clone();
            memory.phase =
                Phase::BlueGreen(BlueGreen { full_size: true, pause: Pause::None, ..at.clone() });
            memory.last_progress_at = Some(Time(view.now()));
            Some((memory, Change::Resumed))
        }
        _ => Some(with_stage(view, BlueGreenStage::Promoting, Change::Promoting)),
    }
}

fn with_stage(view: &View<'_>, stage: BlueGreenStage, change: Change) -> (Memory, Change) {
    let mut memory = view.memory.clone();
    if let Phase::BlueGreen(state) = &mut memory.phase {
        state.stage = stage;
        state.pause = Pause::None;
    }
    memory.last_progress_at = Some(Time(view.now()));
    memory.progress_mark = 0;
    memory.deadline_exceeded = false;
    (memory, change)
}
