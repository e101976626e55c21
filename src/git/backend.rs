//! The port to a Git server: what a revert needs of it, and how it can fail.
//!
//! A session is one job on one repository. Reading never writes to the server; there is one write,
//! [`GitSession::push_cas`], which adds one commit to one branch or does nothing. An implementation
//! must never force or delete a branch, create one only in [`GitSession::create_branch`], and never
//! retry by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::{
    credentials::{CredentialRefusal, Credentials},
    forge::{Answer, Call, ForgeError},
    message::Author,
    plan::{Blob, BlobId, HistoryEntry, Tree},
    revert_id::RevertId,
    source::{BranchName, GitUrl, InvalidSource, RepoPath},
};
use crate::revision::Commit;

/// A repository, and the right to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where.
    pub url: GitUrl,
    /// As whom.
    pub credentials: Arc<Credentials>,
}

/// How talking Git can fail. Texts are cleaned of credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// Somebody else was faster: the branch is not where it was read.
    #[error("branch `{branch}` moved while the revert was made")]
    Stale {
        /// The branch.
        branch: String,
    },
    /// The server's rules forbid this push.
    #[error("the server refuses pushes to branch `{branch}`: {detail}")]
    Protected {
        /// The branch.
        branch: String,
        /// The server's words.
        detail: String,
    },
    /// Wrong or missing credentials, or not enough rights.
    #[error("`{host}` refused the credentials")]
    Auth {
        /// The server.
        host: String,
    },
    /// The SSH server is not the one in `known_hosts`.
    #[error("the SSH key of `{host}` is not the one in `known_hosts`")]
    HostKey {
        /// The server.
        host: String,
    },
    /// The TLS certificate is not trusted.
    #[error(
        "the TLS certificate of `{host}` is not trusted; put its CA into key `ca.crt` of the Secret"
    )]
    Tls {
        /// The server.
        host: String,
    },
    /// The server ended the TLS connection, most likely for the client certificate.
    #[error(
        "`{host}` wants a client certificate (keys `tls.crt` and `tls.key` of the Secret), or does not \
         accept this one: {detail}"
    )]
    ClientCertificate {
        /// The server.
        host: String,
        /// What Git says.
        detail: String,
    },
    /// No such repository, or not for these credentials.
    #[error("repository `{url}` was not found")]
    NotFound {
        /// The repository.
        url: String,
    },
    /// No such branch.
    #[error("branch `{branch}` does not exist")]
    BranchGone {
        /// The branch.
        branch: String,
    },
    /// The server does not have this commit.
    #[error("commit {commit} is not on the server")]
    CommitGone {
        /// The commit.
        commit: Commit,
    },
    /// The server sends us elsewhere; credentials do not follow.
    #[error(
        "`{host}` redirects to another address, which is not followed; use the final address in the source"
    )]
    Redirected {
        /// The server.
        host: String,
    },
    /// The name of the server leads to an address that must not be connected to.
    #[error("`{host}` resolves to a {kind} address, which is not allowed")]
    AddressRefused {
        /// The server.
        host: String,
        /// Which kind of address.
        kind: &'static str,
    },
    /// The name of the server does not resolve.
    #[error("the name `{host}` cannot be resolved")]
    Unresolved {
        /// The server.
        host: String,
    },
    /// The source is not allowed.
    #[error("the source is not allowed")]
    Source(#[from] InvalidSource),
    /// The credentials are not usable.
    #[error("the credentials cannot be used")]
    Credentials(#[from] CredentialRefusal),
    /// The API of the forge.
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// The cluster cannot say now whether the source is still the right one.
    #[error("it cannot be confirmed now where Git declares the Rollout: {reason}")]
    SourceUnknown {
        /// Why.
        reason: String,
    },
    /// The source is not where the Rollout is declared.
    #[error("where Git declares this Rollout could not be confirmed again: {reason}")]
    SourceDenied {
        /// Why.
        reason: String,
    },
    /// An operation took too long and was stopped.
    #[error("git {operation} was stopped after {seconds} s")]
    Timeout {
        /// Which operation.
        operation: &'static str,
        /// Its limit.
        seconds: u64,
    },
    /// Network trouble or a server error.
    #[error("the Git server cannot be reached: {detail}")]
    Transient {
        /// What Git says.
        detail: String,
    },
    /// The commit could not be signed.
    #[error("the commit could not be signed with the key of commit.signingSecretRef: {detail}")]
    Unsigned {
        /// What git, ssh-keygen or gpg says.
        detail: String,
    },
    /// The local copy was not usable and has been dropped.
    #[error("the local copy of the repository was damaged and is fetched again: {detail}")]
    LocalCopy {
        /// What is wrong.
        detail: String,
    },
    /// Something is larger than a revert ever handles.
    #[error("{what} is too large")]
    TooLarge {
        /// What.
        what: &'static str,
    },
    /// The program is missing or too old.
    #[error("{0}")]
    Program(String),
    /// An answer that is not understood; nothing was changed on its account.
    #[error("unexpected answer of git {operation}: {detail}")]
    Unexpected {
        /// Which operation.
        operation: &'static str,
        /// What Git says.
        detail: String,
    },
}

impl GitError {
    /// Whether the same request can succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Stale { .. }
            | Self::SourceUnknown { .. }
            | Self::Unresolved { .. }
            | Self::Timeout { .. }
            | Self::Transient { .. }
            | Self::LocalCopy { .. } => true,
            Self::Forge(error) => error.is_retryable(),
            Self::SourceDenied { .. }
            | Self::Protected { .. }
            | Self::Auth { .. }
            | Self::HostKey { .. }
            | Self::Tls { .. }
            | Self::ClientCertificate { .. }
            | Self::NotFound { .. }
            | Self::BranchGone { .. }
            | Self::CommitGone { .. }
            | Self::Redirected { .. }
            | Self::AddressRefused { .. }
            | Self::Source(_)
            | Self::Credentials(_)
            | Self::TooLarge { .. }
            | Self::Program(_)
            | Self::Unsigned { .. }
            | Self::Unexpected { .. } => false,
        }
    }

    /// One word for metrics and events.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "Stale",
            Self::Protected { .. } => "Protected",
            Self::Auth { .. } => "Auth",
            Self::HostKey { .. } => "HostKey",
            Self::Tls { .. } => "Tls",
            Self::ClientCertificate { .. } => "ClientCertificate",
            Self::NotFound { .. } => "NotFound",
            Self::BranchGone { .. } => "BranchGone",
            Self::CommitGone { .. } => "CommitGone",
            Self::Redirected { .. } => "Redirected",
            Self::AddressRefused { .. } => "AddressRefused",
            Self::Unresolved { .. } => "Unresolved",
            Self::Source(_) => "Source",
            Self::Forge(_) => "Forge",
            Self::SourceUnknown { .. } => "SourceUnknown",
            Self::SourceDenied { .. } => "SourceDenied",
            Self::Credentials(_) => "Credentials",
            Self::Timeout { .. } => "Timeout",
            Self::Transient { .. } => "Transient",
            Self::Unsigned { .. } => "Unsigned",
            Self::LocalCopy { .. } => "LocalCopy",
            Self::TooLarge { .. } => "TooLarge",
            Self::Program(_) => "Program",
            Self::Unexpected { .. } => "Unexpected",
        }
    }
}

/// A commit to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit<'a> {
    /// Its only parent.
    pub parent: &'a Commit,
    /// New contents by path; `None` removes the file.
    pub changes: &'a BTreeMap<RepoPath, Option<Vec<u8>>>,
    /// The whole message.
    pub message: &'a str,
    /// Author and committer.
    pub author: &'a Author,
    /// Author's and committer's time.
    pub at: DateTime<Utc>,
}

/// Result of talking Git.
pub type GitResult<'a, T> = BoxFuture<'a, Result<T, GitError>>;

/// Opens sessions.
pub trait GitBackend: Send + Sync {
    /// Begins one job on a repository. Waits for its turn: one job a repository at a time.
    fn open<'a>(&'a self, remote: &'a Remote) -> GitResult<'a, Box<dyn GitSession>>;
}

/// Carries calls to the API of a forge.
pub trait Carrier: Send + Sync {
    /// The same repository with a token in the place of a GitHub App; as it is without one.
    fn authorize<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, Result<Remote, ForgeError>>;

    /// Drops the token of a GitHub App that a server refused before its time, so that another one is
    /// asked for. One that was given in the last minute is kept: a newer one would be refused, too.
    fn renew<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, ()>;

    /// Sends one call with the token of `remote`, and returns whatever was answered.
    fn carry<'a>(
        &'a self,
        remote: &'a Remote,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Answer, ForgeError>>;
}

/// One job on one repository. Dropping it stops whatever runs for it.
pub trait GitSession: Send {
    /// The commit at the tip of a branch, with its history.
    fn fetch_tip<'a>(&'a mut self, branch: &'a BranchName) -> GitResult<'a, Commit>;

    /// The branch that the server offers first (its `HEAD`).
    fn default_branch(&mut self) -> GitResult<'_, BranchName>;

    /// Makes sure that `commit` can be read; [`GitError::CommitGone`] if the server lacks it.
    fn require_commit<'a>(&'a mut self, commit: &'a Commit) -> GitResult<'a, ()>;

    /// The files of a commit that can matter to what is declared below `path`.
    fn tree<'a>(&'a mut self, commit: &'a Commit, path: &'a RepoPath) -> GitResult<'a, Tree>;

    /// Contents.
    fn blobs<'a>(&'a mut self, ids: &'a BTreeSet<BlobId>) -> GitResult<'a, Vec<(BlobId, Blob)>>;

    /// The newest commit reachable from `until` but not from `after` that carries `id` as trailer.
    fn find_revert<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        id: &'a RevertId,
    ) -> GitResult<'a, Option<Commit>>;

    /// Commits reachable from `until` but not from `after` that changed one of `paths`, newest
    /// first.
    fn history<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        paths: &'a [RepoPath],
    ) -> GitResult<'a, Vec<HistoryEntry>>;

    /// Makes a commit locally. Files that exist keep their mode.
    fn commit_paths<'a>(&'a mut self, commit: NewCommit<'a>) -> GitResult<'a, Commit>;

    /// Makes a branch at `commit`, if there is none; [`GitError::Stale`] if there is one that the
    /// commit does not follow.
    fn create_branch<'a>(
        &'a mut self,
        branch: &'a BranchName,
        commit: &'a Commit,
    ) -> GitResult<'a, ()>;

    /// Adds `new`, whose parent is `expected`, to the branch, if the branch is still at `expected`;
    /// else [`GitError::Stale`] and nothing happens.
    fn push_cas<'a>(
        &'a mut self,
        branch: &'a BranchName,
        new: &'a Commit,
        expected: &'a Commit,
    ) -> GitResult<'a, ()>;
}
