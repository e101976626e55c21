//! How a forge can fail us.

use crate::git::source::InvalidSource;

/// Why there is no usable answer. Texts are cleaned of credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// Which API the host speaks is not known.
    #[error(
        "it is not known which forge `{host}` is; set spec.gitRevert.pullRequest.provider to GitHub, \
         GitLab or Gitea"
    )]
    UnknownForge {
        /// The host.
        host: String,
    },
    /// The path of the repository is not one of this forge.
    #[error("`{path}` is not a repository of {forge}: {wanted} is")]
    BadPath {
        /// The path.
        path: String,
        /// The forge.
        forge: &'static str,
        /// What would be one.
        wanted: &'static str,
    },
    /// The host is not on the controller's list.
    #[error("the forge is not allowed")]
    NotAllowed(#[source] Box<InvalidSource>),
    /// No token.
    #[error(
        "the Secret has no token for the API of `{host}`: key `apiToken`, or `password` or \
         `bearerToken` beside an https url"
    )]
    NoToken {
        /// The host.
        host: String,
    },
    /// A GitHub App gets no token.
    #[error("Secret `{secret}`, key `{key}`: {why}")]
    App {
        /// The name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
        /// What the forge says.
        why: String,
    },
    /// This process reaches no forge.
    #[error("this controller cannot reach the API of a forge")]
    NoCarrier,
    /// 401.
    #[error("the API of `{host}` does not accept the token of the Secret (401)")]
    Unauthorized {
        /// The host.
        host: String,
    },
    /// 403.
    #[error("the token of the Secret may not {what} (403: {detail})")]
    Forbidden {
        /// What was tried.
        what: &'static str,
        /// What the server says.
        detail: String,
    },
    /// 404.
    #[error("`{host}` has no such repository or branch, or not for this token (404), to {what}")]
    NotFound {
        /// The host.
        host: String,
        /// What was tried.
        what: &'static str,
    },
    /// 422 and other refusals.
    #[error("the API refuses to {what} ({status}: {detail})")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// HTTP status.
        status: u16,
        /// What the server says.
        detail: String,
    },
    /// 429.
    #[error("`{host}` takes no more calls for now ({status})")]
    Exhausted {
        /// The host.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// 5xx.
    #[error("the API of `{host}` has trouble ({status})")]
    Server {
        /// The host.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// 3xx; the token does not follow.
    #[error("the API of `{host}` redirects to another address, which is not followed")]
    Redirected {
        /// The host.
        host: String,
    },
    /// No answer.
    #[error("the API of `{host}` cannot be reached: {detail}")]
    Unreachable {
        /// The host.
        host: String,
        /// Why.
        detail: String,
    },
    /// The address must not be connected to.
    #[error("`{host}` resolves to a {kind} address, which is not allowed")]
    AddressRefused {
        /// The host.
        host: String,
        /// Which kind of address.
        kind: &'static str,
    },
    /// The answer is not what the API promises.
    #[error("the answer of `{host}` cannot be read: {detail}")]
    Malformed {
        /// The host.
        host: String,
        /// What is wrong.
        detail: String,
    },
    /// The branch of the request is there, and not ours.
    #[error("branch `{branch}` exists already and does not hold this revert; delete it")]
    BranchTaken {
        /// The branch.
        branch: String,
    },
}

impl ForgeError {
    /// Whether the same call can succeed later without anybody changing anything. A forge sees a new
    /// branch a moment after the push, and answers 404 or 422 until then.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Exhausted { .. }
            | Self::Server { .. }
            | Self::Unreachable { .. }
            | Self::Malformed { .. } => true,
            Self::UnknownForge { .. }
            | Self::BadPath { .. }
            | Self::NotAllowed(_)
            | Self::NoToken { .. }
            | Self::App { .. }
            | Self::NoCarrier
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Redirected { .. }
            | Self::AddressRefused { .. }
            | Self::BranchTaken { .. } => false,
        }
    }
}
