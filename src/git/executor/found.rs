//! A source that was found, and not named by the user.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::git::backend::GitError;

/// Asks whether the source still is where the Rollout is declared, and why nothing may be pushed there, if
/// so.
pub type Confirm =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Option<String>, Unconfirmed>> + Send + Sync>;

/// Why a source is not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// It cannot be asked now.
    Unknown(String),
    /// It is not where the Rollout is declared.
    Denied(String),
}

/// What a source that was found, and not named by the user, has to stand up to.
#[derive(Clone)]
pub struct FoundSource {
    /// Why nothing may be pushed, if so.
    pub limit: Option<String>,
    /// Asked right before each push.
    pub confirm: Confirm,
}

impl std::fmt::Debug for FoundSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundSource").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What a source that is not confirmed means to the work.
pub(super) fn unconfirmed(why: Unconfirmed) -> GitError {
    match why {
        Unconfirmed::Unknown(reason) => GitError::SourceUnknown { reason },
        Unconfirmed::Denied(reason) => GitError::SourceDenied { reason },
    }
}
