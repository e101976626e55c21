//! What a Rollout remembers between passes, as one enum with data, and how it is read back from the
//! wire. [`Memory::parse`] is the only reader of a `RolloutStatus`; `status::project` is its only
//! writer. What a person asked for by editing status comes out apart, as [`Requests`].

use chrono::{DateTime, Utc};

use crate::api::Time;
use crate::api::conditions::{ConditionType, Reason};
use crate::api::status::{
    BlueGreenStage, CompletionStatus, FailedRevision, GitRevertStatus, LastRequest, PauseReason,
    PendingScaleDown, RevisionOutcome, RevisionRecord, RolloutPhase, RolloutStatus,
};
use crate::mutants::{Mutant, mutant};
use crate::revision::Revision;

/// What a Rollout remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// The revision that was last promoted.
    pub stable: Option<Revision>,
    /// The revision of the template, as of the last pass.
    pub current: Option<Revision>,
    /// Hash of the steps, as of the last pass.
    pub step_hash: String,
    /// Number of the attempt.
    pub attempt: u64,
    /// How far the attempt is.
    pub phase: Phase,
    /// When progress was last seen.
    pub last_progress_at: Option<Time>,
    /// The most available pods of the current revision in this attempt and step: only a rise above
    /// it is progress, so that pods that flap never keep the deadline away.
    pub progress_mark: u32,
    /// Since when an analysis that counts now could not be measured.
    pub unmeasured_since: Option<Time>,
    /// Whether the deadline passed in this attempt.
    pub deadline_exceeded: bool,
    /// Whether the spec was invalid at the last pass.
    pub was_invalid: bool,
    /// Whether a person held the update at the last pass.
    pub was_paused: bool,
    /// Salt of revision names.
    pub collisions: u32,
    /// The last restart that was carried out.
    pub restarted_at: Option<Time>,
    /// Revisions that were seen, newest first.
    pub revisions: Vec<RevisionRecord>,
    /// Revisions that failed, newest first.
    pub failed: Vec<FailedRevision>,
    /// Revisions that nobody needs any more, and from when their pods may go.
    pub scale_downs: Vec<PendingScaleDown>,
    /// Inconclusive AnalysisRuns that a person let pass in this attempt.
    pub acknowledged: Vec<String>,
    /// The last Git revert.
    pub git_revert: Option<GitRevertStatus>,
    /// The last request of a person.
    pub last_request: Option<LastRequest>,
    /// When the attempt began, when and how it ended.
    pub timing: Timing,
}

/// When an attempt began, when and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When it began.
    pub started_at: Option<Time>,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// How it ended.
    pub completion: Option<CompletionStatus>,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Nothing was ever promoted: the first revision is brought up without steps.
    Initial,
    /// The template is the stable one; what is left over from before is tidied up.
    Settled,
    /// A canary is at a step.
    Canary(CanaryStep),
    /// A canary is past its last step: the new revision takes over.
    Promoting {
        /// Whether a person skipped steps and analyses.
        full: bool,
    },
    /// A blue-green update.
    BlueGreen(BlueGreen),
    /// The update was given up; the stable revision serves.
    Aborted(Aborted),
}

impl Phase {
    /// Whether the controller pauses.
    pub fn pause(&self) -> &Pause {
        match self {
            Self::Canary(step) => &step.pause,
            Self::BlueGreen(state) => &state.pause,
            Self::Initial | Self::Settled | Self::Promoting { .. } | Self::Aborted(_) => {
                &Pause::None
            }
        }
    }
}

/// A canary at a step.
#[derive(Clone, Debug, PartialEq)]
pub struct CanaryStep {
    /// Index of the step.
    pub index: u32,
    /// When it began.
    pub started_at: Option<Time>,
    /// Whether it pauses.
    pub pause: Pause,
}

/// A blue-green update.
#[derive(Clone, Debug, PartialEq)]
pub struct BlueGreen {
    /// How far it is.
    pub stage: BlueGreenStage,
    /// Whether it pauses.
    pub pause: Pause,
    /// Whether the preview is to be at full size.
    pub full_size: bool,
    /// Whether a person, or a return to a revision that still runs, skips the gates.
    pub skips_gates: bool,
}

/// Whether the controller pauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It does not.
    None,
    /// It does.
    Since {
        /// Why.
        reason: PauseReason,
        /// Since when.
        at: Time,
    },
    /// It did, and a person let it go on.
    Resumed,
}

/// An update that was given up.
#[derive(Clone, Debug, PartialEq)]
pub struct Aborted {
    /// When.
    pub at: Time,
    /// Why; empty when a person asked.
    pub cause: String,
}

/// What a person asked for by editing status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "several may be asked for at once")]
pub struct Requests {
    /// Give the update up.
    pub abort: bool,
    /// Start again after an abort.
    pub retry: bool,
    /// Skip the remaining steps and analyses.
    pub promote_full: bool,
    /// Take the version that is, or was, aborted back in Git.
    pub revert_git: bool,
}

/// Text of an abort, up to the cause: the form that Argo Rollouts' users know.
pub(super) const ABORT_TEXT: &str = "Rollout aborted update to revision ";

impl Memory {
    /// The memory of a Rollout that was never seen.
    pub fn fresh() -> Self {
        Self {
            stable: None,
            current: None,
            step_hash: String::new(),
            attempt: 0,
            phase: Phase::Initial,
            last_progress_at: None,
            progress_mark: 0,
            unmeasured_since: None,
            deadline_exceeded: false,
            was_invalid: false,
            was_paused: false,
            collisions: 0,
            restarted_at: None,
            revisions: Vec::new(),
            failed: Vec::new(),
            scale_downs: Vec::new(),
            acknowledged: Vec::new(),
            git_revert: None,
            last_request: None,
            timing: Timing::default(),
        }
    }

    /// Reads a status: what it remembers, and what people asked for since it was written.
    pub fn parse(status: &RolloutStatus) -> (Self, Requests) {
        let revision = |text: &String| (!text.is_empty()).then(|| Revision::from_label(text));
        let (phase, requests) = parse_phase(status);
        let memory = Self {
            stable: revision(&status.stable_rs),
            current: revision(&status.current_pod_hash),
            step_hash: status.current_step_hash.clone(),
            attempt: status.attempt.unwrap_or(0),
            phase,
            last_progress_at: status.last_progress_at,
            progress_mark: status.progress_mark,
            unmeasured_since: status.unmeasured_since,
            deadline_exceeded: has_reason(
                status,
                ConditionType::Progressing,
                Reason::ProgressDeadlineExceeded,
            ),
            was_invalid: has_reason(status, ConditionType::InvalidSpec, Reason::InvalidSpec),
            was_paused: status.phase == Some(RolloutPhase::Paused)
                && status.pause_conditions.is_empty(),
            collisions: status.collision_count.unwrap_or(0),
            restarted_at: status.restarted_at,
            revisions: status.revisions.clone(),
            failed: status.failed_revisions.clone(),
            scale_downs: status.scale_downs.clone(),
            acknowledged: status.acknowledged_runs.clone(),
            git_revert: status.git_revert.clone(),
            last_request: status.last_request.clone(),
            timing: status.duration.as_ref().map_or_else(Timing::default, |duration| Timing {
                started_at: duration.rollout_started_at,
                finished_at: duration.finished_at,
                completion: duration.completion_status,
            }),
        };
        (memory, requests)
    }

    /// Whether the time up to this pass does not count towards the progress deadline.
    pub fn stood_still(&self) -> bool {
        self.was_invalid || self.was_paused
    }

    /// From when the pods of `revision` may go.
    pub fn scale_down_at(&self, revision: &Revision) -> Option<DateTime<Utc>> {
        let pending = self.scale_downs.iter().find(|pending| pending.revision == revision.as_str());
        pending.map(|pending| pending.at.0)
    }

    /// Whether `revision` had failed, was declared again, and is refused.
    pub(super) fn is_quarantined(&self, revision: &Revision) -> bool {
        matches!(self.phase, Phase::Aborted(_))
            && self
                .record(revision)
                .is_some_and(|record| record.outcome == RevisionOutcome::Quarantined)
    }

    /// The record of `revision` in the ledger.
    pub fn record(&self, revision: &Revision) -> Option<&RevisionRecord> {
        self.revisions.iter().find(|record| record.revision == revision.as_str())
    }

    /// The record of `revision` in the ledger, to change.
    pub(super) fn record_mut(&mut self, revision: &Revision) -> Option<&mut RevisionRecord> {
        self.revisions.iter_mut().find(|record| record.revision == revision.as_str())
    }
}

fn has_reason(status: &RolloutStatus, kind: ConditionType, reason: Reason) -> bool {
    status.conditions.iter().any(|condition| {
        condition.kind == kind.as_str()
            && condition.reason == reason.as_str()
            && (kind != ConditionType::InvalidSpec || condition.status == "True")
    })
}

fn parse_phase(status: &RolloutStatus) -> (Phase, Requests) {
    let mut requests = Requests::default();
    let is_settled = !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash;
    if status.stable_rs.is_empty() {
        // Nothing to go back to: requests that need a stable revision are dropped.
        return (Phase::Initial, requests);
    }
    if is_settled {
        return (Phase::Settled, requests);
    }
    match (status.abort, status.aborted_at) {
        (true, Some(_)) if mutant(Mutant::AbortIsForgotten) => {}
        (true, Some(at)) => {
            requests.revert_git = status.revert_git;
            return (Phase::Aborted(Aborted { at, cause: abort_cause(status) }), requests);
        }
        (true, None) if mutant(Mutant::PromoteBeatsAbort) && status.promote_full => {}
        (true, None) => {
            requests.abort = true;
            requests.revert_git = status.revert_git;
        }
        (false, Some(_)) => requests.retry = true,
        (false, None) => {}
    }
    let pause = parse_pause(status);
    let phase = match status.blue_green.stage {
        Some(stage) => {
            requests.promote_full = status.promote_full;
            Phase::BlueGreen(BlueGreen {
                stage,
                pause,
                full_size: status.blue_green.scale_up_preview_check_point,
                skips_gates: status.promote_full,
            })
        }
        None => match status.current_step_index {
            Some(_) if status.promote_full => {
                requests.promote_full = true;
                Phase::Promoting { full: true }
            }
            Some(index) => Phase::Canary(CanaryStep {
                index,
                started_at: status.current_step_started_at,
                pause,
            }),
            None => Phase::Promoting { full: status.promote_full },
        },
    };
    (phase, requests)
}

fn parse_pause(status: &RolloutStatus) -> Pause {
    match (status.pause_conditions.first(), status.controller_pause) {
        (Some(condition), _) => Pause::Since { reason: condition.reason, at: condition.start_time },
        (None, true) => Pause::Resumed,
        (None, false) => Pause::None,
    }
}

/// The cause stands behind the fixed text of the Progressing condition.
fn abort_cause(status: &RolloutStatus) -> String {
    status
        .conditions
        .iter()
        .find(|condition| condition.reason == Reason::RolloutAborted.as_str())
        .and_then(|condition| condition.message.strip_prefix(ABORT_TEXT))
        .and_then(|text| text.split_once(": "))
        .map_or_else(String::new, |(_, cause)| cause.to_owned())
}
