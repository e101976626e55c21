//! A canary from step to step.

use chrono::TimeDelta;

use super::{Change, abort, paused, resumed, step_at};
use crate::analysis::Verdict;
use crate::api::Time;
use crate::api::conditions::AbortCause;
use crate::api::status::PauseReason;
use crate::mutants::{Mutant, mutant};
use crate::plan::facts::RunSlot;
use crate::plan::gate::{Gate, gate};
use crate::plan::memory::{CanaryStep, Memory, Pause, Phase};
use crate::plan::validate::{Step, ValidCanary};
use crate::plan::view::View;
use crate::plan::{runs, targets, timers};

pub(super) fn progress(
    view: &View<'_>,
    canary: &ValidCanary,
    at: &CanaryStep,
) -> Option<(Memory, Change)> {
    let is_last = step_at(canary, at.index.saturating_add(1)).is_none();
    if !is_last {
        return within(view, canary, at);
    }
    let is_held =
        matches!(at.pause, Pause::Since { reason: PauseReason::InconclusiveAnalysisRun, .. });
    let left = || Some(step_done(view, at.index));
    match gate(view) {
        // What was held for its comparison goes on by itself once that has passed.
        Gate::Open if is_held && runs::first_inconclusive(view).is_none() && is_compared(view) => {
            left()
        }
        Gate::Open => within(view, canary, at),
        Gate::Closed { .. } | Gate::GiveUp { .. } if at.pause == Pause::Resumed => left(),
        Gate::Closed { .. } if is_held => None,
        closed @ (Gate::Closed { .. } | Gate::GiveUp { .. }) => {
            let (memory, change) = within(view, canary, at)?;
            if !matches!(memory.phase, Phase::Promoting { .. }) {
                return Some((memory, change));
            }
            Some(match closed {
                Gate::GiveUp { why } => abort(
                    view,
                    AbortCause::AnalysisInconclusive,
                    format!("undecided at the end of its steps: {why}"),
                    false,
                ),
                Gate::Closed { .. } | Gate::Open => {
                    paused(view, PauseReason::InconclusiveAnalysisRun)
                }
            })
        }
    }
}

fn is_compared(view: &View<'_>) -> bool {
    runs::newest(view, RunSlot::Background).is_some_and(|run| run.compares)
}

/// Progress within the steps, and out of the last.
fn within(view: &View<'_>, canary: &ValidCanary, at: &CanaryStep) -> Option<(Memory, Change)> {
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
