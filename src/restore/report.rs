//! What is printed.

use std::fmt;

use serde::Serialize;

use super::Error;
use crate::git::backend::GitError;
use crate::git::executor::RevertOutcome;
use crate::git::plan::{LedgerRefusal, SuggestReason};
use crate::revision::Commit;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    /// The patch restores the template; nothing was pushed.
    Restored,
    /// The commit is on the branch.
    Pushed,
    /// The branch declares the good template.
    AlreadyReverted,
    /// The branch declares something else by now.
    Superseded,
    /// There is a patch, and a person must look at it.
    Suggested,
    /// Later changes are in the way.
    Conflict,
    /// Nothing can be written.
    Blocked,
}

impl Outcome {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Restored | Self::Pushed | Self::AlreadyReverted | Self::Superseded => 0,
            Self::Suggested | Self::Conflict | Self::Blocked => 3,
        }
    }
}

/// How far the ladder allows to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Mode {
    /// It is proved, and may be pushed.
    Push,
    /// It is right as text, and concerns others, or cannot be proved: it is to be reviewed.
    PullRequest,
    /// A person must do it.
    Suggest,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub(super) result: Outcome,
    /// Why, in words.
    reason: String,
    /// How far it may go; none where nothing is to be done.
    mode: Option<Mode>,
    /// The files that are changed.
    files: Vec<String>,
    /// A unified diff for `git apply`; empty without one.
    patch: String,
    /// Our commit, or the one that declares the good template already.
    commit: Option<String>,
}

impl Report {
    fn without_patch(result: Outcome, reason: String, mode: Option<Mode>) -> Self {
        Self { result, reason, mode, files: Vec::new(), patch: String::new(), commit: None }
    }

    /// A commit does not say which template it declares.
    pub(super) fn refused(flag: &str, commit: &Commit, refusal: &LedgerRefusal) -> Self {
        let reason = format!("--{flag} {}: {refusal}", commit.short());
        Self::without_patch(Outcome::Blocked, reason, Some(Mode::Suggest))
    }

    /// The report of an outcome.
    ///
    /// # Errors
    /// What is no outcome but a failure of Git, in the words of `told`.
    pub(super) fn of(
        outcome: RevertOutcome,
        told: &impl Fn(GitError) -> Error,
    ) -> Result<Self, Error> {
        Ok(match outcome {
            RevertOutcome::Pushed { commit } => Self {
                commit: Some(commit.to_string()),
                ..Self::without_patch(Outcome::Pushed, "the commit is on the branch".into(), None)
            },
            RevertOutcome::AlreadyReverted { tip } => {
                let reason = "the branch declares the good template already".to_owned();
                Self {
                    commit: Some(tip.to_string()),
                    ..Self::without_patch(Outcome::AlreadyReverted, reason, None)
                }
            }
            RevertOutcome::Superseded(what) => {
                Self::without_patch(Outcome::Superseded, what.to_string(), None)
            }
            RevertOutcome::Suggested { restored, files, patch, reason } => {
                let (result, mode, words) = match &reason {
                    SuggestReason::ModeSuggest => {
                        (Outcome::Restored, Mode::Push, restored.join("; "))
                    }
                    SuggestReason::RevertOfRevert(_) => {
                        (Outcome::Suggested, Mode::Suggest, reason.to_string())
                    }
                    SuggestReason::SharedFile { .. }
                    | SuggestReason::TemplateNotProved(_)
                    | SuggestReason::OtherObjects(_)
                    | SuggestReason::TooManyFiles(_)
                    | SuggestReason::BranchProtected(_)
                    | SuggestReason::SourceLimited(_)
                    | SuggestReason::SourceNotConfirmed(_)
                    | SuggestReason::NotProposed { .. }
                    | SuggestReason::BranchBusy(_) => {
                        (Outcome::Suggested, Mode::PullRequest, reason.to_string())
                    }
                };
                let files = files.iter().map(ToString::to_string).collect();
                Self { result, reason: words, mode: Some(mode), files, patch, commit: None }
            }
            // Reverts by hand open no pull requests.
            RevertOutcome::Proposed { url, .. } | RevertOutcome::Vetoed { url, .. } => {
                let reason = format!("there is a pull request: {url}");
                Self::without_patch(Outcome::Suggested, reason, Some(Mode::PullRequest))
            }
            RevertOutcome::Blocked(why) => {
                Self::without_patch(Outcome::Blocked, why.to_string(), Some(Mode::Suggest))
            }
            RevertOutcome::Conflict(files) => {
                let files: Vec<String> = files.iter().map(ToString::to_string).collect();
                let reason = format!("later changes are in the way in {}", files.join(", "));
                let report = Self::without_patch(Outcome::Conflict, reason, Some(Mode::Suggest));
                Self { files, ..report }
            }
            RevertOutcome::Failed { error, .. } => return Err(told(error)),
        })
    }

    /// The same, pushed.
    pub(super) fn pushed(self, commit: &Commit) -> Self {
        Self { result: Outcome::Pushed, commit: Some(commit.to_string()), ..self }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}: {}", self.result, self.reason)?;
        if let Some(mode) = self.mode.filter(|mode| *mode != Mode::Push) {
            writeln!(f, "mode: {mode:?}")?;
        }
        if let Some(commit) = &self.commit {
            writeln!(f, "commit: {commit}")?;
        }
        if !self.patch.is_empty() {
            write!(f, "\n{}", self.patch)?;
        }
        Ok(())
    }
}
