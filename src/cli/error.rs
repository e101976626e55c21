//! What can go wrong in a command: what it was, how the command ends, and which command helps next.
//! Secrets never reach an error: of a kubeconfig only names are shown.

use std::error::Error;
use std::io;

use super::exit::Exit;
use super::names::is_word_for;
use crate::api::{Kind, Malformed};

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The kubeconfig cannot be used.
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[source] Box<dyn Error + Send + Sync>),
    /// The API server could not be reached or did not speak HTTP.
    #[error("failed to reach the API server while trying to {what}")]
    Unreachable {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No answer in time.
    #[error(
        "got no answer from the API server within {seconds} s (--request-timeout) while trying to \
         {what}"
    )]
    TimedOut {
        /// What was tried.
        what: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The API server does not know who we are.
    #[error("the API server refuses the credentials of the kubeconfig: {message}")]
    Unauthorized {
        /// What it said.
        message: String,
    },
    /// The API server does not let this user do it.
    #[error("not allowed to {what}: {message}")]
    Forbidden {
        /// What was tried.
        what: String,
        /// What the API server said.
        message: String,
        /// The arguments of `kubectl auth can-i` that ask the same.
        question: String,
    },
    /// The object does not exist.
    #[error("{kind} {name:?} not found in namespace {namespace:?}")]
    NotFound {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The API server does not serve the kind.
    #[error("the API server does not know {resource}.{group}")]
    UnknownKind {
        /// Plural name.
        resource: String,
        /// API group.
        group: String,
    },
    /// Others kept changing the object.
    #[error("{name:?} changed while it was being written, {tries} times in a row")]
    Conflict {
        /// Name of the object.
        name: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The API server refused a request for another reason.
    #[error("failed to {what}: {message} ({code})")]
    Api {
        /// What was tried.
        what: String,
        /// What it said.
        message: String,
        /// The HTTP status.
        code: u16,
    },
    /// The answer is no object of its kind.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The command line makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// What is asked for cannot be done now.
    #[error("{message}")]
    Refused {
        /// Why not.
        message: String,
        /// What helps.
        hint: Option<String>,
    },
    /// A file could not be read, or the output not be written.
    #[error("failed to {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A value could not be printed.
    #[error("failed to print the result as {format}")]
    Format {
        /// `JSON` or `YAML`.
        format: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<io::Error> for CliError {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "write the output".to_owned(), source }
    }
}

impl CliError {
    /// A refusal with a hint.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), hint: Some(hint.into()) }
    }

    /// A wrong command line with a hint.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Kubeconfig(_)
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unauthorized { .. }
            | Self::UnknownKind { .. }
            | Self::Usage { .. } => Exit::Usage,
            Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Api { .. }
            | Self::Malformed(_)
            | Self::Refused { .. }
            | Self::Io { .. }
            | Self::Format { .. } => Exit::Failed,
        }
    }

    /// Whether whoever read our output has gone away, which is no failure of ours.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What helps, where we know it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kubeconfig(_) => Some(
                "check --kubeconfig, $KUBECONFIG and --context; `kubectl config view` shows what is \
                 read"
                    .to_owned(),
            ),
            Self::Unreachable { .. } => Some(
                "check the server's address in the kubeconfig (`kubectl config view --minify`) and \
                 that it runs (`kubectl cluster-info`)"
                    .to_owned(),
            ),
            Self::TimedOut { .. } => {
                Some("try again, or give it longer with --request-timeout=60s".to_owned())
            }
            Self::Unauthorized { .. } => {
                Some("log in again; `kubectl auth whoami` shows who you are".to_owned())
            }
            Self::Forbidden { question, .. } => {
                Some(format!("ask what you may do: kubectl auth can-i {question}"))
            }
            Self::NotFound { name, .. } if is_word_for(Kind::Rollout, name) => Some(format!(
                "{name:?} was taken as a name; write for example: kubectl sluice status rollout web"
            )),
            Self::NotFound { kind, namespace, .. } => Some(match *kind {
                "Rollout" => format!("see which there are: kubectl sluice list rollouts -n {namespace} (-A for all namespaces)"),
                other => format!(
                    "see which there are: kubectl get {}s -n {namespace}",
                    other.to_lowercase()
                ),
            }),
            Self::UnknownKind { group, .. } => Some(format!(
                "install Sluice's CRDs, or use --api-group when they are in another group than {group}"
            )),
            Self::Conflict { .. } => Some("try again".to_owned()),
            Self::Malformed(malformed) => Some(format!(
                "correct the field: kubectl edit {}/{}",
                malformed.kind.to_lowercase(),
                malformed.name
            )),
            Self::Usage { hint, .. } | Self::Refused { hint, .. } => hint.clone(),
            Self::Api { .. } | Self::Io { .. } | Self::Format { .. } => None,
        }
    }

    /// The error and everything behind it, once each, as one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            let more = error.to_string();
            // Many libraries repeat their source in their own text.
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            next = error.source();
        }
        text
    }
}
