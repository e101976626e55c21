//! The procedure of a revert; that of an entry in the ledger is in `ledger`.
//!
//! Each try reads everything anew: the tip, a commit of ours that may be there already, the gate,
//! the ladder. A push that lost its race, and a push whose answer was lost, are therefore the same
//! to it: read again and decide again. It must never rebase a commit that was decided on another
//! tip, and never push twice for one identity.

mod found;
mod ledger;
mod propose;
mod repair;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use self::found::unconfirmed;
pub use self::found::{Confirm, FoundSource, Unconfirmed};
pub use self::ledger::{Candidates, LedgerEntry, LedgerFailure};
pub use self::propose::{Requests, Withdrawal};
use self::repair::Repair;
use super::{
    backend::{Carrier, GitBackend, GitError, GitSession, NewCommit, Remote},
    forge::ForgeError,
    message::{Author, CommitFacts, MessageFacts, commit_message},
    plan::{
        Blobs, Blocked, Declaration, Facts, Identity, Need, Question, Restoration, SuggestReason,
        Superseded, Tree, Verdict, Veto, decide, history_veto,
    },
    revert_id::RevertId,
    source::{BranchName, RepoPath, Source},
};
use crate::revision::Commit;
use chrono::{DateTime, Utc};

/// Most tries when the branch keeps moving.
const MAX_TRIES: u32 = 6;
/// Most rounds of fetching contents for one decision.
const MAX_ROUNDS: usize = 64;
/// Longest wait before the second try; doubled for each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// Longest wait between two tries.
const LAST_BACKOFF: Duration = Duration::from_secs(15);

/// How far a revert may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevertMode {
    /// Do not even read.
    Off,
    /// Read, decide, and show the patch.
    Suggest,
    /// Propose what is right as text.
    PullRequest,
    /// Push what is proved; propose the rest, where that can be done.
    Push,
}

/// One revert.
#[derive(Clone, Debug)]
pub struct RevertRequest {
    /// Its identity, which the caller has stored before.
    pub id: RevertId,
    /// Where the Rollout is declared.
    pub source: Source,
    /// The repository of `source`, with credentials.
    pub remote: Remote,
    /// The Rollout.
    pub identity: Identity,
    /// The stable template and its commit; `None` if nothing was ever stable or its commit was
    /// never learnt.
    pub good: Option<Declaration>,
    /// The failed template and its commit.
    pub bad: Declaration,
    /// How far to go.
    pub mode: RevertMode,
    /// How the source was found; `None` when the user named it.
    pub found: Option<FoundSource>,
    /// What is known of pull requests.
    pub requests: Requests,
    /// What the commit message tells.
    pub message: MessageFacts,
    /// Who commits.
    pub author: Author,
    /// The time of the commit.
    pub now: DateTime<Utc>,
}

/// How a revert ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RevertOutcome {
    /// The branch has our commit, from this try or from an earlier one.
    Pushed {
        /// The commit.
        commit: Commit,
    },
    /// The branch declared the stable template already.
    AlreadyReverted {
        /// The tip that does.
        tip: Commit,
    },
    /// The branch declares something else; nothing was written.
    Superseded(Superseded),
    /// A pull request is open.
    Proposed {
        /// Its number.
        number: u64,
        /// Its page.
        url: String,
        /// Why it was not pushed; empty when that was not asked for.
        reason: String,
    },
    /// People closed the pull request.
    Vetoed {
        /// Its number.
        number: u64,
        /// Its page.
        url: String,
    },
    /// Nothing was written; a person may apply this patch.
    Suggested {
        /// The restored files and values, one line each.
        restored: Vec<String>,
        /// The files that change.
        files: Vec<RepoPath>,
        /// A unified diff for `git apply`.
        patch: String,
        /// Why it was not pushed.
        reason: SuggestReason,
    },
    /// Nothing can be written.
    Blocked(Blocked),
    /// Later changes are in the way in these files; a person must put them together.
    Conflict(Vec<RepoPath>),
    /// Git could not be reached or refused.
    Failed {
        /// Why.
        error: GitError,
        /// Whether the same request may succeed later.
        is_retryable: bool,
    },
}

/// A source of numbers from 0 up to 1, for jitter.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Carries out reverts.
#[derive(Clone)]
pub struct Executor {
    backend: Arc<dyn GitBackend>,
    carrier: Option<Arc<dyn Carrier>>,
    jitter: Jitter,
}

/// One try's end.
enum Try {
    Done(RevertOutcome),
    /// The branch moved; this is what was about to be pushed.
    Moved(Restoration),
}

impl Executor {
    /// An executor on `backend`; `jitter` spreads retries.
    pub fn new(backend: Arc<dyn GitBackend>, jitter: Jitter) -> Self {
        Self { backend, carrier: None, jitter }
    }

    /// The same, and it opens pull requests through `carrier`.
    #[must_use]
    pub fn with_carrier(self, carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier: Some(carrier), ..self }
    }

    /// Puts the stable template back, if the branch still declares the failed one.
    pub async fn revert(&self, request: &RevertRequest) -> RevertOutcome {
        if request.mode == RevertMode::Off {
            return RevertOutcome::Blocked(Blocked::Off);
        }
        let Some(good) = &request.good else {
            return RevertOutcome::Blocked(Blocked::NoStable);
        };
        let mut tries = 1;
        let mut is_renewed = false;
        loop {
            let restoration = match self.one_try(request, good).await {
                Ok(Try::Done(outcome)) => return outcome,
                Ok(Try::Moved(restoration)) => restoration,
                // A token can end before its time; another one is tried once.
                Err(GitError::Auth { .. })
                    if request.remote.credentials.app().is_some() && !is_renewed =>
                {
                    is_renewed = true;
                    self.renew(&request.remote).await;
                    continue;
                }
                Err(error) => return failed(error),
            };
            if tries >= MAX_TRIES {
                return suggested(restoration, SuggestReason::BranchBusy(tries));
            }
            tokio::time::sleep(self.backoff(tries)).await;
            tries += 1;
        }
    }

    /// Full jitter: anything from nothing to the whole of a doubling span.
    fn backoff(&self, tries: u32) -> Duration {
        let span = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(tries - 1)).min(LAST_BACKOFF);
        span.mul_f64((self.jitter)().clamp(0.0, 1.0))
    }

    /// Begins one job, with a token in the place of a GitHub App.
    async fn begin(&self, remote: &Remote) -> Result<Box<dyn GitSession>, GitError> {
        if remote.credentials.app().is_none() {
            return self.backend.open(remote).await;
        }
        let carrier = self.carrier.as_ref().ok_or(ForgeError::NoCarrier)?;
        self.backend.open(&carrier.authorize(remote).await?).await
    }

    async fn renew(&self, remote: &Remote) {
        if let Some(carrier) = &self.carrier {
            carrier.renew(remote).await;
        }
    }

    /// The next look-up gets another token, if it was that.
    async fn renew_after(&self, remote: &Remote, error: &GitError) {
        if matches!(error, GitError::Auth { .. }) && remote.credentials.app().is_some() {
            self.renew(remote).await;
        }
    }

    async fn one_try(&self, request: &RevertRequest, good: &Declaration) -> Result<Try, GitError> {
        let mut session = self.begin(&request.remote).await?;
        let session = session.as_mut();
        let tip = session.fetch_tip(&request.source.branch).await?;
        session.require_commit(&good.commit).await?;
        session.require_commit(&request.bad.commit).await?;
        if let Some(commit) = session.find_revert(&good.commit, &tip, &request.id).await? {
            return Ok(Try::Done(RevertOutcome::Pushed { commit }));
        }
        let verdict = judge(session, request, good, &tip).await?;
        let (restoration, reason) = match verdict {
            Verdict::Restore(restoration) => (restoration, None),
            Verdict::Suggest(restoration, reason) => (restoration, Some(reason)),
            Verdict::AlreadyReverted => {
                return Ok(Try::Done(RevertOutcome::AlreadyReverted { tip }));
            }
            Verdict::Superseded(what) => return Ok(Try::Done(RevertOutcome::Superseded(what))),
            Verdict::Blocked(why) => return Ok(Try::Done(RevertOutcome::Blocked(why))),
            Verdict::Conflict(files) => return Ok(Try::Done(RevertOutcome::Conflict(files))),
        };
        let paths: Vec<RepoPath> = restoration.changes.keys().cloned().collect();
        if let Some(path) = paths.iter().find(|path| !request.remote.credentials.permits(path)) {
            return Ok(Try::Done(RevertOutcome::Blocked(Blocked::NotAllowed(path.clone()))));
        }
        let history = session.history(&good.commit, &request.bad.commit, &paths).await?;
        match history_veto(&history) {
            Some(Veto::OptedOut(blocked)) => {
                return Ok(Try::Done(RevertOutcome::Blocked(blocked)));
            }
            Some(Veto::Suggest(reason)) => return Ok(Try::Done(suggested(restoration, reason))),
            None => {}
        }
        let limit = request.found.as_ref().and_then(|found| found.limit.clone());
        let repair = Repair { request, good, tip: &tip, restoration };
        match request.mode {
            RevertMode::Off | RevertMode::Suggest => {
                let reason = reason.unwrap_or(SuggestReason::ModeSuggest);
                Ok(Try::Done(suggested(repair.restoration, reason)))
            }
            RevertMode::PullRequest => self.propose(session, repair, reason).await,
            RevertMode::Push => match reason.or(limit.map(SuggestReason::SourceLimited)) {
                None => self.push(session, repair).await,
                Some(reason) => self.fall_back(session, repair, reason).await,
            },
        }
    }

    /// What may not be pushed is proposed, where that can be done.
    async fn fall_back(
        &self,
        session: &mut dyn GitSession,
        repair: Repair<'_>,
        reason: SuggestReason,
    ) -> Result<Try, GitError> {
        if self.can_propose(repair.request) {
            self.propose(session, repair, Some(reason)).await
        } else {
            Ok(Try::Done(suggested(repair.restoration, reason)))
        }
    }

    async fn push(
        &self,
        session: &mut dyn GitSession,
        repair: Repair<'_>,
    ) -> Result<Try, GitError> {
        let commit = repair.commit(session, &repair.message()).await?;
        if let Some(found) = &repair.request.found {
            match (found.confirm)().await.map_err(unconfirmed) {
                Ok(None) => {}
                Ok(Some(limit)) => {
                    let reason = SuggestReason::SourceLimited(limit);
                    return self.fall_back(session, repair, reason).await;
                }
                Err(GitError::SourceDenied { reason }) => {
                    let why = SuggestReason::SourceNotConfirmed(reason);
                    return Ok(Try::Done(suggested(repair.restoration, why)));
                }
                Err(error) => return Err(error),
            }
        }
        match session.push_cas(&repair.request.source.branch, &commit, repair.tip).await {
            Ok(()) => Ok(Try::Done(RevertOutcome::Pushed { commit })),
            Err(GitError::Stale { .. }) => Ok(Try::Moved(repair.restoration)),
            Err(GitError::Protected { detail, .. }) => {
                let reason = SuggestReason::BranchProtected(detail);
                self.fall_back(session, repair, reason).await
            }
            Err(error) => Err(error),
        }
    }

    /// The branch that the server offers first.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn default_branch(&self, remote: &Remote) -> Result<BranchName, GitError> {
        let branch = match self.begin(remote).await {
            Ok(mut session) => session.default_branch().await,
            Err(error) => Err(error),
        };
        if let Err(error) = &branch {
            self.renew_after(remote, error).await;
        }
        branch
    }
}

/// Runs the planner, fetching what it asks for.
async fn answer<T>(
    session: &mut dyn GitSession,
    blobs: &mut Blobs,
    plan: impl Fn(&Blobs) -> Result<T, Need>,
) -> Result<T, GitError> {
    for _ in 0..MAX_ROUNDS {
        match plan(blobs) {
            Ok(answer) => return Ok(answer),
            Err(Need(missing)) => blobs.extend(session.blobs(&missing).await?),
        }
    }
    Err(GitError::TooLarge { what: "the chain of files that declares the Rollout" })
}

async fn judge(
    session: &mut dyn GitSession,
    request: &RevertRequest,
    good: &Declaration,
    tip: &Commit,
) -> Result<Verdict, GitError> {
    let mut trees: Vec<Tree> = Vec::new();
    for commit in [&good.commit, &request.bad.commit, tip] {
        trees.push(session.tree(commit, &request.source.path).await?);
    }
    let [good_tree, bad_tree, head_tree] = trees.as_slice() else {
        return Err(GitError::Unexpected { operation: "tree", detail: "not three".to_owned() });
    };
    let question =
        Question { source: &request.source, identity: &request.identity, good, bad: &request.bad };
    let mut blobs = Blobs::default();
    answer(session, &mut blobs, |blobs| {
        let facts = Facts { good: good_tree, bad: bad_tree, head: head_tree, blobs };
        decide(&question, facts)
    })
    .await
}

fn lines(restoration: &Restoration) -> Vec<String> {
    let unique: BTreeSet<String> = restoration.restored.iter().map(ToString::to_string).collect();
    unique.into_iter().collect()
}

fn suggested(restoration: Restoration, reason: SuggestReason) -> RevertOutcome {
    RevertOutcome::Suggested {
        restored: lines(&restoration),
        files: restoration.changes.keys().cloned().collect(),
        patch: restoration.patch,
        reason,
    }
}

/// Some refusals of Git are facts about the declaration, not trouble with the server.
fn failed(error: GitError) -> RevertOutcome {
    match error {
        GitError::BranchGone { branch } => RevertOutcome::Blocked(Blocked::BranchGone(branch)),
        GitError::CommitGone { commit } => RevertOutcome::Blocked(Blocked::CommitGone { commit }),
        error => {
            let is_retryable = error.is_retryable();
            RevertOutcome::Failed { error, is_retryable }
        }
    }
}

#[cfg(test)]
#[path = "executor_tests.rs"]
mod tests;
