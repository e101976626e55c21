//! What is about to be written, and the one commit that writes it.

use super::{
    CommitFacts, Declaration, GitError, GitSession, NewCommit, Restoration, RevertRequest,
    commit_message, lines,
};
use crate::revision::Commit;

/// A restoration that was decided on one tip.
pub(super) struct Repair<'a> {
    pub(super) request: &'a RevertRequest,
    pub(super) good: &'a Declaration,
    pub(super) tip: &'a Commit,
    pub(super) restoration: Restoration,
}

impl Repair<'_> {
    /// The message of its commit: the same at every try on the same tip.
    pub(super) fn message(&self) -> String {
        let Self { request, good, tip: _, restoration } = self;
        let facts = CommitFacts {
            id: &request.id,
            failed: &request.bad.commit,
            restored_from: &good.commit,
            restored: lines(restoration),
            not_touched: restoration.not_touched.iter().map(ToString::to_string).collect(),
        };
        commit_message(&request.message, &facts, &request.author)
    }

    /// Makes the commit, which follows the tip; nothing is pushed.
    pub(super) async fn commit(
        &self,
        session: &mut dyn GitSession,
        message: &str,
    ) -> Result<Commit, GitError> {
        let new = NewCommit {
            parent: self.tip,
            changes: &self.restoration.changes,
            message,
            author: &self.request.author,
            at: self.request.now,
        };
        session.commit_paths(new).await
    }
}
