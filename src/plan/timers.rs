//! What ends by itself, and when: pauses and the progress deadline. And what is said while it lasts:
//! whoever waits is told for what, until when, or for whom.

use chrono::TimeDelta;

use super::effects::Effects;
use super::gate::{Gate, gate};
use super::memory::{Memory, Pause, Phase};
use super::transition::step_at;
use super::validate::{Promotion, Step, ValidStrategy};
use super::view::View;
use super::wait::Wait;
use super::{effects, runs, transition};
use crate::analysis::Verdict;
use crate::api::Time;
use crate::api::status::PauseReason;
use crate::mutants::{Mutant, mutant};

/// Adds the waits of pauses, bounds the others by the progress deadline, and wakes when either is
/// over.
pub(super) fn note(view: &View<'_>, memory: &Memory, effects: &mut Effects) {
    let timed = timed_pause(view, memory);
    let left = timed.map(|(since, length)| pause_left(view, since, length));
    // A pause that is over and held by something else is no reason to look again at once.
    if let Some(left) = left.filter(|left| *left > TimeDelta::zero()) {
        effects.wake(view.now() + left);
    }
    let pause = if view.spec.paused {
        Some(Wait::open("a person to resume the update (spec.paused is true)"))
    } else if left.is_none_or(|left| left > TimeDelta::zero()) {
        pause(view, memory, timed)
    } else {
        None
    };
    if pause.is_none() {
        effects::wait_for_pods(view, effects);
    }
    let deadline = transition::deadline(view, memory).filter(|_| !memory.deadline_exceeded);
    for wait in effects.waits.iter_mut().filter(|wait| wait.until.is_none()) {
        wait.until = deadline;
    }
    if let Some(at) = deadline {
        effects.wake(at);
    }
    if let Some(pause) = pause {
        effects.waits.insert(0, pause);
    }
}

/// How much is left of a pause that began at `since` and lasts for `length`; nothing when it is over.
///
/// How much was left when this process saw the pause first is taken from the wall clock; there is no
/// other that two processes share. From then on only a clock counts that never jumps. Neither makes
/// it longer than `length`.
pub(super) fn pause_left(view: &View<'_>, since: Time, length: TimeDelta) -> TimeDelta {
    if mutant(Mutant::PauseCountsFromBeginning) {
        let began = view.memory.timing.started_at.unwrap_or(since);
        return began.0 + length - view.now();
    }
    let watch = view.observed.pause_watch.filter(|watch| watch.since == since.0);
    let (first_seen, watched) =
        watch.map_or((view.now(), TimeDelta::zero()), |watch| (watch.first_seen, watch.watched));
    let left = (since.0 + length - first_seen).clamp(TimeDelta::zero(), length);
    (left - watched).max(TimeDelta::zero())
}

/// When the pause that is under way began and how long it lasts, if it ends by itself.
fn timed_pause(view: &View<'_>, memory: &Memory) -> Option<(Time, TimeDelta)> {
    let length = match (&memory.phase, &view.spec.strategy) {
        (Phase::Canary(step), ValidStrategy::Canary(canary)) => match step_at(canary, step.index) {
            Some(Step::Pause(length)) => *length,
            Some(Step::SetWeight(_) | Step::SetCanaryScale(_) | Step::Analysis(_)) | None => None,
        },
        (Phase::BlueGreen(_), ValidStrategy::BlueGreen(blue_green)) => match blue_green.promotion {
            Promotion::AutomaticAfter(length) => Some(length),
            Promotion::Automatic | Promotion::Manual => None,
        },
        (
            Phase::Initial
            | Phase::Settled
            | Phase::Promoting { .. }
            | Phase::Aborted(_)
            | Phase::Canary(_)
            | Phase::BlueGreen(_),
            _,
        ) => None,
    };
    match memory.phase.pause() {
        Pause::Since { reason: PauseReason::InconclusiveAnalysisRun, .. }
        | Pause::None
        | Pause::Resumed => None,
        Pause::Since { at, .. } => length.map(|length| (*at, length)),
    }
}

/// What a pause waits for: its end, or the person who ends it.
fn pause(view: &View<'_>, memory: &Memory, timed: Option<(Time, TimeDelta)>) -> Option<Wait> {
    let Pause::Since { reason, .. } = memory.phase.pause() else { return None };
    let what = match &memory.phase {
        Phase::Canary(step) => format!("pause step {}", step.index.saturating_add(1)),
        Phase::BlueGreen(_) if timed.is_some() => "the pause of autoPromotionSeconds".to_owned(),
        Phase::BlueGreen(_) => "autoPromotionEnabled is false".to_owned(),
        Phase::Initial | Phase::Settled | Phase::Promoting { .. } | Phase::Aborted(_) => {
            return None;
        }
    };
    Some(match (reason, timed) {
        (PauseReason::InconclusiveAnalysisRun | PauseReason::InconclusiveExperiment, _) => {
            if let (None, Gate::Closed { why }) = (runs::first_inconclusive(view), gate(view)) {
                let what = "the comparison with stable to pass, or a person to promote or abort";
                return Some(Wait::open(format!("{what} the update ({why})")));
            }
            let why = match runs::first_inconclusive(view) {
                Some(run) if run.verdict == Verdict::Terminated => {
                    format!("AnalysisRun `{}` was stopped before it had decided", run.name)
                }
                Some(run) => format!("AnalysisRun `{}` is inconclusive", run.name),
                None => "an AnalysisRun is inconclusive".to_owned(),
            };
            Wait::open(format!("a person to promote or abort the update ({why})"))
        }
        (PauseReason::CanaryPauseStep | PauseReason::BlueGreenPause, Some((since, length))) => {
            // A wall clock that jumped ahead of the pause cannot say when it ends.
            let end = Some(since.0 + length).filter(|end| *end > view.now());
            Wait { what: format!("{what} to end"), until: end }
        }
        (PauseReason::CanaryPauseStep | PauseReason::BlueGreenPause, None) => {
            Wait::open(format!("a person to promote the update ({what})"))
        }
    })
}
