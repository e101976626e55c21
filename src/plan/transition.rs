//! The state machine: from what is remembered to what is remembered next. Rules are tried in order
//! and the first that applies wins; safety comes first. A transition is written to status before
//! anything is done about it.

mod attempt;
mod blue_green;
mod canary;

use chrono::{DateTime, Utc};

use crate::analysis::Verdict;
use crate::api::Time;
use crate::api::analysis::{ComparisonStatus, ComparisonVerdict};
use crate::api::conditions::AbortCause;
use crate::api::status::{CompletionStatus, FailedRevision, PauseReason, RevisionOutcome};
use crate::mutants::{Mutant, mutant};
use crate::plan::facts::RunSlot;
use crate::plan::memory::{Aborted, Memory, Pause, Phase};
use crate::plan::validate::{Step, ValidCanary, ValidStrategy};
use crate::plan::view::View;
use crate::plan::{runs, targets};

/// Most records of revisions that are kept.
const MAX_RECORDS: usize = 10;

/// Why the memory changed; what is reported to people follows from it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new attempt began.
    Began,
    /// The template went back to the stable revision.
    WentBack,
    /// A template that had failed was declared again, and is refused.
    Quarantined,
    /// A person asked to try again.
    Retried,
    /// The update was given up.
    Aborted(AbortCause),
    /// The progress deadline passed.
    DeadlineExceeded,
    /// The update pauses.
    Paused(PauseReason),
    /// The update goes on.
    Resumed,
    /// A step is done.
    StepDone {
        /// Its index.
        index: u32,
        /// Whether it was a pause.
        was_pause: bool,
    },
    /// All gates are open.
    Promoting,
    /// The active Service is switched and is being verified.
    Verifying,
    /// The current revision is the stable one.
    Completed,
    /// Steps were edited where nothing is under way.
    StepsNoted,
}

/// The next memory and why, or `None` when nothing changes. `is_valid` says whether the spec is: an
/// invalid one permits only what makes users safer.
pub(super) fn next(view: &View<'_>, is_valid: bool) -> Option<(Memory, Change)> {
    abort_requested(view)
        .or_else(|| {
            // Who tries again knows of the verdict: it is about the attempt before.
            let is_retried = is_valid && view.requests.retry;
            if is_retried { None } else { verdict_failed(view) }
        })
        .or_else(|| deadline_passed(view))
        .or_else(|| if is_valid { forward(view) } else { None })
}

fn forward(view: &View<'_>) -> Option<(Memory, Change)> {
    attempt::new_revision(view)
        .or_else(|| attempt::retry_requested(view))
        .or_else(|| inconclusive(view))
        .or_else(|| {
            let is_held = view.spec.paused && !mutant(Mutant::PausedGoesOn);
            if is_held { None } else { progress(view) }
        })
}

/// Whether the template is still the one of the attempt that is remembered. When it is not, old
/// requests and verdicts concern a revision that nobody declares any more.
fn is_same_attempt(view: &View<'_>) -> bool {
    view.memory.current.as_ref() == Some(&view.revision)
}

fn abort_requested(view: &View<'_>) -> Option<(Memory, Change)> {
    (view.requests.abort && is_same_attempt(view)).then(|| {
        let (mut memory, change) = abort(view, AbortCause::User, String::new(), false);
        if view.requests.revert_git {
            blame_by_hand(&mut memory, Time(view.now()));
        }
        (memory, change)
    })
}

/// Who sent the last request wants the current revision taken back in Git.
pub(super) fn blame_by_hand(memory: &mut Memory, at: Time) {
    let by = memory.last_request.as_ref().map_or("", |request| request.by.as_str());
    let by = if by.is_empty() { "a person" } else { by }.to_owned();
    blame(memory, at, format!("{by} aborted it, and asked for its Git revert"), by);
}

/// The current revision is bad, and may be taken back in Git: bad values were measured, or a person
/// says so.
fn blame(memory: &mut Memory, at: Time, message: String, by: String) {
    let Some(current) = memory.current.clone() else { return };
    let mut digest = String::new();
    if let Some(record) = memory.record_mut(&current) {
        record.outcome = RevisionOutcome::Failed;
        digest.clone_from(&record.digest);
    }
    memory.failed.retain(|failed| failed.revision != current.as_str());
    let failed = FailedRevision { revision: current.to_string(), digest, at, message, by };
    memory.failed.insert(0, failed);
    memory.failed.truncate(MAX_RECORDS);
}

fn verdict_failed(view: &View<'_>) -> Option<(Memory, Change)> {
    if !is_same_attempt(view) {
        return None;
    }
    runs::judging(view).find_map(|(slot, run)| {
        let (word, by, message, is_measured) = match &run.verdict {
            Verdict::Failed { message, has_measurements } => {
                ("failed", AbortCause::AnalysisFailed, message, *has_measurements)
            }
            Verdict::Error { message } => ("error", AbortCause::AnalysisError, message, false),
            Verdict::Running { .. }
            | Verdict::Successful
            | Verdict::Inconclusive { .. }
            | Verdict::Terminated => return None,
        };
        let what = slot.describe();
        let has_failed = |it: &ComparisonStatus| it.verdict == ComparisonVerdict::Fail;
        let cause = if run.comparison.as_ref().is_some_and(has_failed) {
            // A whole sentence that names the metric.
            message.clone()
        } else if message.is_empty() {
            format!("{what} phase error/failed: {} {word}", run.name)
        } else {
            format!("{what} phase error/failed: {message}")
        };
        Some(abort(view, by, cause, is_measured))
    })
}

/// Gives the update up. `has_failed` says whether bad values were measured: only then is the revision
/// bad, and may be taken back in Git.
fn abort(view: &View<'_>, by: AbortCause, cause: String, has_failed: bool) -> (Memory, Change) {
    let now = Time(view.now());
    let mut memory = view.memory.clone();
    memory.phase = Phase::Aborted(Aborted { at: now, cause: cause.clone() });
    memory.unmeasured_since = None;
    memory.timing.finished_at = Some(now);
    memory.timing.completion = Some(CompletionStatus::Aborted);
    if has_failed {
        blame(&mut memory, now, cause, String::new());
    } else if let Some(current) = memory.current.clone()
        && let Some(record) = memory.record_mut(&current)
    {
        record.outcome = RevisionOutcome::Aborted;
    }
    (memory, Change::Aborted(by))
}

fn deadline_passed(view: &View<'_>) -> Option<(Memory, Change)> {
    if !is_same_attempt(view) || view.memory.stood_still() || mutant(Mutant::DeadlineIgnored) {
        return None;
    }
    if view.now() < deadline(view, view.memory)? {
        return None;
    }
    let has_stable = view.memory.stable.is_some();
    if view.spec.deadline_aborts && has_stable {
        let seconds = view.spec.progress_deadline.num_seconds();
        let what = if is_deadline_of_analysis(view) {
            "an analysis could not be measured for"
        } else {
            "no progress within"
        };
        let cause = format!("{what} {seconds} seconds (progressDeadlineSeconds)");
        return Some(abort(view, AbortCause::Deadline, cause, false));
    }
    if view.memory.deadline_exceeded {
        return None;
    }
    let mut memory = view.memory.clone();
    memory.deadline_exceeded = true;
    Some((memory, Change::DeadlineExceeded))
}

/// When the progress deadline passes, while time counts towards it.
pub(super) fn deadline(view: &View<'_>, memory: &Memory) -> Option<DateTime<Utc>> {
    if view.spec.paused {
        return None;
    }
    let progress = memory.last_progress_at.filter(|_| deadline_counts(view));
    let since = progress.or(memory.unmeasured_since)?;
    Some(since.0 + view.spec.progress_deadline)
}

/// Whether the progress deadline counts for an analysis that cannot be measured.
pub(super) fn is_deadline_of_analysis(view: &View<'_>) -> bool {
    view.memory.unmeasured_since.is_some() && !deadline_counts(view)
}

/// Whether an analysis that counts now cannot be measured. While the canary has no traffic there is
/// nothing to measure, and only a step that waits for its analysis is held.
pub(super) fn is_unmeasured(view: &View<'_>) -> bool {
    let has_traffic = targets::wanted_split(view).is_none_or(|split| !split.is_all_stable());
    runs::judging(view).any(|(slot, run)| {
        matches!(run.verdict, Verdict::Running { waiting_on: Some(_) })
            && (has_traffic || slot != RunSlot::Background)
    })
}

/// Whether the time that passes now counts towards the progress deadline. Pauses and analyses take
/// as long as they take.
fn deadline_counts(view: &View<'_>) -> bool {
    match &view.memory.phase {
        Phase::Initial | Phase::Promoting { .. } => true,
        Phase::Settled | Phase::Aborted(_) => false,
        Phase::Canary(step) => {
            let is_waiting_step = view.canary().is_some_and(|canary| {
                matches!(step_at(canary, step.index), Some(Step::Pause(_) | Step::Analysis(_)))
            });
            step.pause == Pause::None && !is_waiting_step
        }
        Phase::BlueGreen(state) => {
            let waits_for_analysis = runs::wanted(view)
                .iter()
                .any(|slot| matches!(slot, RunSlot::PrePromotion | RunSlot::PostPromotion));
            state.pause == Pause::None && !waits_for_analysis
        }
    }
}

/// An inconclusive analysis holds the update until a person decides.
fn inconclusive(view: &View<'_>) -> Option<(Memory, Change)> {
    let run = runs::first_inconclusive(view)?;
    let mut memory = view.memory.clone();
    let pause = pause_mut(&mut memory)?;
    match pause {
        Pause::Since { reason: PauseReason::InconclusiveAnalysisRun, .. } => None,
        Pause::None | Pause::Since { .. } => {
            let reason = PauseReason::InconclusiveAnalysisRun;
            *pause = Pause::Since { reason, at: Time(view.now()) };
            Some((memory, Change::Paused(reason)))
        }
        Pause::Resumed => {
            *pause = Pause::None;
            memory.acknowledged.push(run.name.clone());
            let excess = memory.acknowledged.len().saturating_sub(MAX_RECORDS);
            memory.acknowledged.drain(..excess);
            memory.last_progress_at = Some(Time(view.now()));
            skip_acknowledged_step(view, &mut memory);
            Some((memory, Change::Resumed))
        }
    }
}

/// A person who lets an inconclusive analysis step pass means: go on to the next step.
fn skip_acknowledged_step(view: &View<'_>, memory: &mut Memory) {
    let Phase::Canary(step) = &mut memory.phase else { return };
    let is_analysis = view
        .canary()
        .is_some_and(|canary| matches!(step_at(canary, step.index), Some(Step::Analysis(_))));
    if is_analysis {
        step.index = step.index.saturating_add(1);
        step.started_at = Some(Time(view.now()));
    }
}

fn pause_mut(memory: &mut Memory) -> Option<&mut Pause> {
    match &mut memory.phase {
        Phase::Canary(step) => Some(&mut step.pause),
        Phase::BlueGreen(state) => Some(&mut state.pause),
        Phase::Initial | Phase::Settled | Phase::Promoting { .. } | Phase::Aborted(_) => None,
    }
}

/// The step with this index; `None` past the last.
pub(super) fn step_at(canary: &ValidCanary, index: u32) -> Option<&Step> {
    usize::try_from(index).ok().and_then(|index| canary.steps.get(index))
}

fn progress(view: &View<'_>) -> Option<(Memory, Change)> {
    match (&view.memory.phase, &view.spec.strategy) {
        // A strategy that does not fit the phase starts the attempt again before this is reached.
        (Phase::Settled | Phase::Aborted(_), _)
        | (Phase::Canary(_) | Phase::Promoting { .. }, ValidStrategy::BlueGreen(_))
        | (Phase::BlueGreen(_), ValidStrategy::Canary(_)) => None,
        (Phase::Initial, _) => targets::is_initial_done(view).then(|| complete(view, false)),
        // What cannot be measured holds the update, unless a person has let it go on.
        (phase, ValidStrategy::Canary(_))
            if *phase.pause() != Pause::Resumed && is_unmeasured(view) =>
        {
            None
        }
        (Phase::Canary(step), ValidStrategy::Canary(strategy)) => {
            canary::progress(view, strategy, step)
        }
        (Phase::Promoting { full }, ValidStrategy::Canary(_)) => {
            targets::is_promotion_done(view).then(|| complete(view, *full))
        }
        (Phase::BlueGreen(state), ValidStrategy::BlueGreen(strategy)) => {
            blue_green::progress(view, strategy, state)
        }
    }
}

fn complete(view: &View<'_>, full: bool) -> (Memory, Change) {
    let now = Time(view.now());
    let mut memory = view.memory.clone();
    memory.stable = Some(view.revision.clone());
    memory.phase = Phase::Settled;
    memory.unmeasured_since = None;
    memory.deadline_exceeded = false;
    memory.last_progress_at = Some(now);
    memory.failed.retain(|failed| failed.revision != view.revision.as_str());
    if let Some(record) = memory.record_mut(&view.revision) {
        record.outcome = RevisionOutcome::Stable;
    }
    memory.timing.finished_at = Some(now);
    memory.timing.completion =
        Some(if full { CompletionStatus::FastPromoted } else { CompletionStatus::Promoted });
    (memory, Change::Completed)
}

fn paused(view: &View<'_>, reason: PauseReason) -> (Memory, Change) {
    let mut memory = view.memory.clone();
    if let Some(pause) = pause_mut(&mut memory) {
        *pause = Pause::Since { reason, at: Time(view.now()) };
    }
    (memory, Change::Paused(reason))
}

fn resumed(view: &View<'_>) -> (Memory, Change) {
    let mut memory = view.memory.clone();
    if let Some(pause) = pause_mut(&mut memory) {
        *pause = Pause::None;
    }
    memory.last_progress_at = Some(Time(view.now()));
    (memory, Change::Resumed)
}
