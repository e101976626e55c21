//! The port to work in Git, which runs beside the passes.

use crate::observe::Snapshot;
use crate::plan::action::{RevertOrder, SyncOrder, WithdrawOrder};
use crate::plan::facts::{GitFact, Sight};

/// Starts work in Git, which runs beside the passes.
pub trait GitPort: Send + Sync + std::fmt::Debug {
    /// Looks for the commit that declares a revision.
    fn look_up(&self, snapshot: &Snapshot, sight: &Sight);
    /// Takes a failed revision back.
    fn revert(&self, snapshot: &Snapshot, order: &RevertOrder);
    /// Closes a pull request that is not needed any more.
    fn withdraw(&self, snapshot: &Snapshot, order: &WithdrawOrder);
    /// Asks the GitOps tool what holds up a revert.
    fn watch_sync(&self, snapshot: &Snapshot, order: &SyncOrder);
    /// What is known of Git for the Rollout with this uid.
    fn facts(&self, uid: &str) -> GitFact;
    /// Forgets a Rollout.
    fn forget(&self, uid: &str);
}
