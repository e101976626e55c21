//! How an attempt begins: by a new revision, changed steps or a retry.

use super::{Change, MAX_RECORDS, is_same_attempt};
use crate::api::Time;
use crate::api::status::{
    BlueGreenStage, CompletionStatus, FailedRevision, RevisionOutcome, RevisionRecord,
};
use crate::mutants::{Mutant, mutant};
use crate::plan::memory::{Aborted, BlueGreen, CanaryStep, Memory, Pause, Phase, Timing};
use crate::plan::validate::ValidStrategy;
use crate::plan::view::View;

pub(super) fn new_revision(view: &View<'_>) -> Option<(Memory, Change)> {
    let step_hash = view.canary().map_or_else(String::new, |canary| canary.step_hash.clone());
    if !is_same_attempt(view) {
        return Some(match quarantine(view) {
            Some(failed) => hold(view, step_hash, failed),
            None => begin(view, step_hash),
        });
    }
    let fits = phase_fits_strategy(view);
    if view.memory.step_hash == step_hash && fits {
        return None;
    }
    match view.memory.phase {
        Phase::Canary(_) | Phase::Promoting { .. } | Phase::BlueGreen(_) => {
            Some(begin(view, step_hash))
        }
        // An aborted revision does not come back because its steps were edited.
        Phase::Initial | Phase::Settled | Phase::Aborted(_) => {
            let mut memory = view.memory.clone();
            memory.step_hash = step_hash;
            Some((memory, Change::StepsNoted))
        }
    }
}

fn phase_fits_strategy(view: &View<'_>) -> bool {
    match (&view.memory.phase, &view.spec.strategy) {
        (Phase::Canary(_) | Phase::Promoting { .. }, ValidStrategy::BlueGreen(_))
        | (Phase::BlueGreen(_), ValidStrategy::Canary(_)) => false,
        (Phase::Canary(_) | Phase::Promoting { .. }, ValidStrategy::Canary(_))
        | (Phase::BlueGreen(_), ValidStrategy::BlueGreen(_))
        | (Phase::Initial | Phase::Settled | Phase::Aborted(_), _) => true,
    }
}

fn begin(view: &View<'_>, step_hash: String) -> (Memory, Change) {
    let now = Time(view.now());
    let mut memory = view.memory.clone();
    if let Some(previous) = memory.current.clone()
        && previous != view.revision
        && let Some(record) = memory.record_mut(&previous)
        && record.outcome == RevisionOutcome::Pending
    {
        record.outcome = RevisionOutcome::Superseded;
    }
    memory.current = Some(view.revision.clone());
    memory.step_hash = step_hash;
    if !mutant(Mutant::SameAttempt) {
        memory.attempt = memory.attempt.saturating_add(1);
    }
    memory.last_progress_at = Some(now);
    memory.progress_mark = 0;
    memory.unmeasured_since = None;
    memory.deadline_exceeded = false;
    memory.acknowledged.clear();
    memory.timing = Timing { started_at: Some(now), finished_at: None, completion: None };
    let goes_back = view.is_stable(&view.revision);
    record_sight(&mut memory, view, goes_back);
    memory.phase = if goes_back {
        memory.timing.finished_at = Some(now);
        memory.timing.completion = Some(CompletionStatus::RolledBack);
        Phase::Settled
    } else if memory.stable.is_none() {
        Phase::Initial
    } else {
        first_phase(view)
    };
    (memory, if goes_back { Change::WentBack } else { Change::Began })
}

/// The failure for which the template is refused, if it is: it failed not long ago, Git took it back or
/// should have, and nobody has said since that it may be tried again.
fn quarantine<'a>(view: &View<'a>) -> Option<&'a FailedRevision> {
    let git = view.spec.git.as_ref()?;
    view.memory.stable.as_ref().filter(|stable| **stable != view.revision)?;
    let is_same = |failed: &&FailedRevision| failed.revision == view.revision.as_str();
    let failed = view.memory.failed.iter().find(is_same)?;
    (view.now() < failed.at.0 + git.cooldown).then_some(failed)
}

/// The attempt ends before it begins: users stay on the stable revision, and no pod is made.
fn hold(view: &View<'_>, step_hash: String, failed: &FailedRevision) -> (Memory, Change) {
    let now = Time(view.now());
    let (mut memory, _) = begin(view, step_hash);
    if let Some(record) = memory.record_mut(&view.revision) {
        record.outcome = RevisionOutcome::Quarantined;
    }
    memory.timing.finished_at = Some(now);
    memory.timing.completion = Some(CompletionStatus::Aborted);
    let cause = format!(
        "revision {} failed at {} and was declared again: it is refused until a person releases it \
         ({})",
        view.revision,
        failed.at.0.format("%Y-%m-%dT%H:%M:%SZ"),
        failed.message
    );
    memory.phase = Phase::Aborted(Aborted { at: now, cause });
    (memory, Change::Quarantined)
}

/// Notes that a revision was seen. A revision that comes again keeps its record, but its commit is
/// looked for again, since another commit may declare it now.
fn record_sight(memory: &mut Memory, view: &View<'_>, goes_back: bool) {
    let known = memory.record(&view.revision).cloned();
    memory.revisions.retain(|record| record.revision != view.revision.as_str());
    let was_stable = known
        .as_ref()
        .is_some_and(|record| record.was_stable || record.outcome == RevisionOutcome::Stable);
    let reverted_by = known.as_ref().and_then(|record| record.reverted_by.clone());
    let kept = known.filter(|_| goes_back);
    let (commit, source, provisional) = kept
        .map_or((None, None, false), |record| (record.commit, record.source, record.provisional));
    memory.revisions.insert(
        0,
        RevisionRecord {
            revision: view.revision.to_string(),
            digest: view.digest.to_string(),
            commit,
            source,
            provisional,
            observed_at: Time(view.now()),
            outcome: if goes_back { RevisionOutcome::Stable } else { RevisionOutcome::Pending },
            reason: String::new(),
            not_allowed: false,
            reverted_by,
            was_stable,
        },
    );
    // The stable revision's record must survive any number of failures: reverts go back to it.
    while memory.revisions.len() > MAX_RECORDS {
        let stable = memory.stable.as_ref();
        let Some(oldest) = memory
            .revisions
            .iter()
            .rposition(|record| stable.is_none_or(|stable| record.revision != stable.as_str()))
        else {
            break;
        };
        memory.revisions.remove(oldest);
    }
}

fn first_phase(view: &View<'_>) -> Phase {
    match &view.spec.strategy {
        ValidStrategy::Canary(canary) if canary.steps.is_empty() => {
            Phase::Promoting { full: false }
        }
        ValidStrategy::Canary(_) => Phase::Canary(CanaryStep {
            index: match &view.memory.phase {
                Phase::Canary(step) if mutant(Mutant::StepSurvivesSupersede) => step.index,
                _ => 0,
            },
            started_at: Some(Time(view.now())),
            pause: Pause::None,
        }),
        ValidStrategy::BlueGreen(_) => {
            let skips_gates = still_runs_and_was_good(view);
            Phase::BlueGreen(BlueGreen {
                stage: BlueGreenStage::Preview,
                pause: Pause::None,
                full_size: skips_gates,
                skips_gates,
            })
        }
    }
}

/// Whether the revision was promoted once and its pods are still there, waiting for their
/// scale-down: going back to it needs no gate. A revision that failed has no such right.
fn still_runs_and_was_good(view: &View<'_>) -> bool {
    let was_good = view
        .memory
        .record(&view.revision)
        .is_some_and(|record| record.outcome == RevisionOutcome::Stable);
    was_good
        && view.memory.scale_down_at(&view.revision).is_some_and(|at| at > view.now())
        && view.current().is_some_and(|replica_set| replica_set.available >= view.replicas())
}

pub(super) fn retry_requested(view: &View<'_>) -> Option<(Memory, Change)> {
    if !view.requests.retry {
        return None;
    }
    let (mut memory, _) = begin(view, view.memory.step_hash.clone());
    memory.failed.retain(|failed| failed.revision != view.revision.as_str());
    Some((memory, Change::Retried))
}
