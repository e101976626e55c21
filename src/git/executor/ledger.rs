//! Which commit declares a template: asked when a template is first seen, and by the offline form of a
//! revert. It must never change anything.

use serde_json::Value;

use super::{Executor, answer};
use crate::git::backend::{GitError, GitSession, Remote};
use crate::git::plan::{
    Blobs, Identity, LedgerRefusal, Need, View, declared_template, verify_declaration,
};
use crate::git::source::Source;
use crate::revision::Commit;

/// Which commits may declare a template.
#[derive(Clone, Copy, Debug)]
pub enum Candidates<'a> {
    /// The tip of the branch.
    Tip,
    /// Those that the GitOps tool names, the likeliest first.
    Applied(&'a [Commit]),
}

/// A commit that declares a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The branch tip whose own document declares exactly the template.
    pub commit: Commit,
}

/// Why there is no entry for the ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFailure {
    /// The tool names no commit (yet).
    #[error("the GitOps tool names no commit that it applied")]
    NothingApplied,
    /// The commit does not declare the template (yet).
    #[error("commit {tip} is not recorded")]
    Refused {
        /// The commit that was read.
        tip: Commit,
        /// Why.
        #[source]
        refusal: LedgerRefusal,
    },
    /// Git could not be read.
    #[error("the branch could not be read")]
    Git(#[from] GitError),
}

impl Executor {
    /// The first candidate whose own document declares exactly `template`. Called when a template is
    /// first seen.
    ///
    /// # Errors
    /// [`LedgerFailure`]; a refusal may pass when the branch or the GitOps tool moves on.
    pub async fn ledger_entry(
        &self,
        remote: &Remote,
        source: &Source,
        identity: &Identity,
        template: &Value,
        candidates: Candidates<'_>,
    ) -> Result<LedgerEntry, LedgerFailure> {
        let entry = self.look_up(remote, source, identity, template, candidates).await;
        if let Err(LedgerFailure::Git(error)) = &entry {
            self.renew_after(remote, error).await;
        }
        entry
    }

    async fn look_up(
        &self,
        remote: &Remote,
        source: &Source,
        identity: &Identity,
        template: &Value,
        candidates: Candidates<'_>,
    ) -> Result<LedgerEntry, LedgerFailure> {
        let mut session = self.begin(remote).await?;
        let session = session.as_mut();
        let tip = session.fetch_tip(&source.branch).await?;
        let commits = match candidates {
            Candidates::Tip => std::slice::from_ref(&tip),
            Candidates::Applied(commits) => commits,
        };
        let mut first = None;
        for commit in commits {
            match declares(session, source, identity, template, commit).await {
                Ok(()) => return Ok(LedgerEntry { commit: commit.clone() }),
                Err(LedgerFailure::Git(error)) if error.is_retryable() => return Err(error.into()),
                Err(failure) => {
                    first.get_or_insert(failure);
                }
            }
        }
        Err(first.unwrap_or(LedgerFailure::NothingApplied))
    }

    /// The template that a commit declares, as far as it can be computed.
    ///
    /// # Errors
    /// [`LedgerFailure`].
    pub async fn declaration(
        &self,
        remote: &Remote,
        source: &Source,
        identity: &Identity,
        commit: &Commit,
    ) -> Result<Value, LedgerFailure> {
        let mut session = self.begin(remote).await?;
        let session = session.as_mut();
        session.fetch_tip(&source.branch).await?;
        session.require_commit(commit).await?;
        let plan = |view: View<'_>| declared_template(view, source, identity);
        ask(session, source, commit, plan)
            .await?
            .map_err(|refusal| LedgerFailure::Refused { tip: commit.clone(), refusal })
    }
}

async fn declares(
    session: &mut dyn GitSession,
    source: &Source,
    identity: &Identity,
    template: &Value,
    commit: &Commit,
) -> Result<(), LedgerFailure> {
    session.require_commit(commit).await?;
    let plan = |view: View<'_>| verify_declaration(view, source, identity, template);
    ask(session, source, commit, plan)
        .await?
        .map_err(|refusal| LedgerFailure::Refused { tip: commit.clone(), refusal })
}

/// Asks the planner about one commit.
async fn ask<T>(
    session: &mut dyn GitSession,
    source: &Source,
    commit: &Commit,
    plan: impl Fn(View<'_>) -> Result<T, Need>,
) -> Result<T, GitError> {
    let tree = session.tree(commit, &source.path).await?;
    let mut blobs = Blobs::default();
    answer(session, &mut blobs, |blobs| plan(View::new(&tree, blobs))).await
}
