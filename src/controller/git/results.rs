//! What came of work in Git, as facts for the next pass.

use crate::api::conditions::RevertEnd;
use crate::api::status::PullRequestState;
use crate::git::executor::RevertOutcome;
use crate::git::forge::RequestState;
use crate::git::plan::Blocked;
use crate::git::source::RepoPath;
use crate::plan::facts::{LedgerAnswer, REASON_NOT_ALLOWED, RevertResult};
use crate::telemetry::chain;

/// How a request is after it was withdrawn.
pub(super) fn request_state(before: &RequestState) -> PullRequestState {
    match before {
        RequestState::Open => PullRequestState::Withdrawn,
        RequestState::Merged(_) => PullRequestState::Merged,
        RequestState::Closed => PullRequestState::Closed,
    }
}

pub(super) fn result_of(outcome: RevertOutcome) -> RevertResult {
    match outcome {
        RevertOutcome::Pushed { commit } => RevertResult::Pushed(commit),
        RevertOutcome::Proposed { number, url, reason } => {
            RevertResult::Proposed { number, url, reason }
        }
        RevertOutcome::Vetoed { number, url } => RevertResult::Vetoed { number, url },
        RevertOutcome::AlreadyReverted { .. } => RevertResult::AlreadyReverted,
        RevertOutcome::Superseded(_) => RevertResult::Superseded,
        RevertOutcome::Suggested { patch, reason, .. } => {
            RevertResult::Suggested { patch, reason: reason.to_string() }
        }
        RevertOutcome::Blocked(why) => {
            let reason = match &why {
                Blocked::OptedOut { .. } => RevertEnd::OptedOut.as_str(),
                Blocked::NotAllowed(_) => REASON_NOT_ALLOWED,
                _ => RevertEnd::Blocked.as_str(),
            };
            RevertResult::Blocked { reason: reason.to_owned(), message: why.to_string() }
        }
        RevertOutcome::Conflict(files) => {
            let files: Vec<&str> = files.iter().map(RepoPath::as_str).collect();
            RevertResult::Blocked {
                reason: "Conflict".to_owned(),
                message: format!("later changes are in the way in {}", files.join(", ")),
            }
        }
        RevertOutcome::Failed { error, is_retryable } => {
            RevertResult::Failed { message: chain(&error), retryable: is_retryable }
        }
    }
}

/// Whether the next look-up should wait longer: nothing was found, or nothing final.
pub(super) fn is_asked_again(answer: &LedgerAnswer) -> bool {
    match answer {
        LedgerAnswer::NotFound(_) | LedgerAnswer::NotAllowed(_) => true,
        LedgerAnswer::Declared(found) => !found.is_final,
        LedgerAnswer::Running { .. } => false,
    }
}

/// A result in a word, for logs.
pub(super) fn word(result: &RevertResult) -> &'static str {
    match result {
        RevertResult::Pushed(_) => "Pushed",
        RevertResult::Proposed { .. } => "Proposed",
        RevertResult::Vetoed { .. } => "Vetoed",
        RevertResult::AlreadyReverted => "AlreadyReverted",
        RevertResult::Superseded => "Superseded",
        RevertResult::Suggested { .. } => "Suggested",
        RevertResult::Blocked { .. } => "Blocked",
        RevertResult::Failed { .. } => "Failed",
    }
}
