//! A canary from step to step.

use chrono::TimeDelta;

use super::{Change, paused, resumed, step_at};
use crate::analysis::Verdict;
use crate::api::Time;
use crate::api::status::PauseReason;
use crate::mutants::{Mutant, mutant};
use crate::plan::facts::RunSlot;
use crate::plan::memory::{CanaryStep, Memory, Pause, Phase};
use crate::plan::validate::{Step, ValidCanary};
use crate::plan::view::View;
use crate::plan::{runs, targets, timers};

pub(super) fn progress(
    view: &View<'_>,
    canary: &ValidCanary,
    at: &CanaryStep,
) -> Option<(Memory, Change)> {
    let now = view.now();
    let Some(step) = step_at(canary, at.index) else {
        let mut memory = view.memory.clone();
        memory.phase = Phase::Promoting { full: false };
        memory.last_progress_at = Some(Time(now));
        return Some((memory, Change::Promoting));
    };
    if at.pause == Pause::Resumed {
        return match step {
            Step::Pause(_) | Step::Analysis(_) => Some(step_done(view, at.index)),
            Step::SetWeight(_) | Step::SetCanaryScale(_) => Some(resumed(view)),
        };
    }
    match (step, &at.pause) {
        (_, Pause::Since { reason: PauseReason::InconclusiveAnalysisRun, .. })
        | (Step::Pause(None), Pause::Since { .. })
        | (Step::Pause(_), Pause::Resumed) => None,
        (Step::Pause(_), Pause::None) => Some(paused(view, PauseReason::CanaryPauseStep)),
        (Step::Pause(Some(duration)), Pause::Since { at: since, .. }) => {
            let is_over = timers::pause_left(view, *since, *duration) <= TimeDelta::zero();
            is_over.then(|| step_done(view, at.index))
        }
        (Step::SetWeight(split), _) => {
            targets::is_weight_done(view, *split).then(|| step_done(view, at.index))
        }
        (Step::SetCanaryScale(_), _) => {
            targets::is_canary_sized(view).then(|| step_done(view, at.index))
        }
        (Step::Analysis(_), _) => runs::judging(view)
            .any(|(slot, run)| {
                let is_good = run.verdict == Verdict::Successful
                    || (mutant(Mutant::RunningIsSuccess) && !run.verdict.is_final());
                slot == RunSlot::Step(at.index) && is_good
            })
            .then(|| step_done(view, at.index)),
    }
}

fn step_done(view: &View<'_>, index: u32) -> (Memory, Change) {
    let now = Time(view.now());
    let mut memory = view.memory.clone();
    let next = index.saturating_add(if mutant(Mutant::StepSkipped) { 2 } else { 1 });
    let next_step = view.canary().and_then(|canary| step_at(canary, next));
    memory.phase = match next_step {
        None => Phase::Promoting { full: false },
        Some(step) => Phase::Canary(CanaryStep {
            index: next,
            started_at: Some(now),
            // The pause begins with its step: one write for both.
            pause: match step {
                Step::Pause(_) => Pause::Since { reason: PauseReason::CanaryPauseStep, at: now },
                Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Analysis(_) => Pause::None,
            },
        }),
    };
    memory.last_progress_at = Some(now);
    memory.progress_mark = 0;
    memory.deadline_exceeded = false;
    let done = view.canary().and_then(|canary| step_at(canary, index));
    let was_pause = matches!(done, Some(Step::Pause(_)));
    (memory, Change::StepDone { index, was_pause })
}
