//! What became of a write, and how an answer of the API server is read.
//!
//! The line that matters runs between writes that certainly had no effect and those that may have
//! had one or may still have it.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::act::guard::JSON_PATCH;
use crate::act::leadership::LossReason;
use crate::act::wire::{Doubt, Refusal, Reply};
use crate::act::write_log::Verb;

/// Pause after a 429 that names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);

/// What became of a write. Only `Applied` moves anything forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Carried out; the object as the server has it now (a Status for some deletions).
    Applied(Value),
    /// Somebody wrote the object since it was read, or it is another object of the same name.
    Conflict,
    /// The object to be created exists.
    AlreadyExists,
    /// The object, its namespace or its kind is gone.
    NotFound,
    /// The server will not have it so (validation, admission, quota of a disruption budget).
    Rejected {
        /// HTTP status; 0 if it was refused before it was sent.
        code: u16,
        /// Machine-readable reason; may be empty.
        reason: String,
        /// For people.
        message: String,
    },
    /// Rights, quota or an ending namespace forbid it (401, 403).
    Forbidden {
        /// HTTP status.
        code: u16,
        /// For people.
        message: String,
    },
    /// Too many requests; nothing was done.
    Throttled {
        /// When to come back; 1 s if the server did not say.
        retry_after: Duration,
    },
    /// The server could not be reached; nothing was done.
    NotSent {
        /// For people.
        message: String,
    },
    /// It may have been carried out, or may still be. The object is in doubt until it has been
    /// written successfully again.
    Ambiguous(Doubt),
    /// Not sent, because this process must not write (any more).
    NotLeading(LossReason),
}

impl WriteOutcome {
    /// The object after a successful write.
    pub fn applied(&self) -> Option<&Value> {
        match self {
            Self::Applied(object) => Some(object),
            Self::Conflict
            | Self::AlreadyExists
            | Self::NotFound
            | Self::Rejected { .. }
            | Self::Forbidden { .. }
            | Self::Throttled { .. }
            | Self::NotSent { .. }
            | Self::Ambiguous(_)
            | Self::NotLeading(_) => None,
        }
    }

    /// A bounded name for logs and metric labels.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Applied(_) => "Applied",
            Self::Conflict => "Conflict",
            Self::AlreadyExists => "AlreadyExists",
            Self::NotFound => "NotFound",
            Self::Rejected { .. } => "Rejected",
            Self::Forbidden { .. } => "Forbidden",
            Self::Throttled { .. } => "Throttled",
            Self::NotSent { .. } => "NotSent",
            Self::Ambiguous(_) => "Ambiguous",
            Self::NotLeading(_) => "NotLeading",
        }
    }
}

impl fmt::Display for WriteOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied(_) => f.write_str("applied"),
            Self::Conflict => f.write_str("it was changed by somebody else in the meantime"),
            Self::AlreadyExists => f.write_str("it exists already"),
            Self::NotFound => f.write_str("it does not exist"),
            Self::Rejected { message, .. } => write!(f, "rejected: {message}"),
            Self::Forbidden { message, .. } => write!(f, "forbidden: {message}"),
            Self::Throttled { retry_after } => write!(f, "throttled for {retry_after:?}"),
            Self::NotSent { message } => write!(f, "the API server is unreachable: {message}"),
            Self::Ambiguous(doubt) => write!(f, "unknown result: {doubt}"),
            Self::NotLeading(reason) => write!(f, "not written: {reason}"),
        }
    }
}

/// A write that is wrong in itself and was not sent.
pub(super) fn refused_here(reason: &str, message: &str) -> WriteOutcome {
    WriteOutcome::Rejected { code: 0, reason: reason.to_owned(), message: message.to_owned() }
}

/// What the answer to a write of kind `verb`, sent as `content_type`, means.
pub(super) fn outcome_of(verb: Verb, content_type: &str, reply: Reply) -> WriteOutcome {
    match reply {
        Reply::Done(object) => WriteOutcome::Applied(object),
        Reply::NotSent(message) => WriteOutcome::NotSent { message },
        Reply::Unknown(doubt) => WriteOutcome::Ambiguous(doubt),
        Reply::Refused(refusal) => refused(verb, content_type, refusal),
    }
}

fn refused(verb: Verb, content_type: &str, refusal: Refusal) -> WriteOutcome {
    let Refusal { code, reason, message, causes, retry_after } = refusal;
    let budget = causes.iter().any(|cause| cause.reason == "DisruptionBudget");
    match code {
        404 | 410 => WriteOutcome::NotFound,
        409 if verb == Verb::Create && reason != "Conflict" => WriteOutcome::AlreadyExists,
        409 => WriteOutcome::Conflict,
        // A failed `test` (or a path that another writer removed) is a 422 without causes; a
        // validation failure names its fields. A wrong uid is one whose field is the uid.
        422 if content_type == JSON_PATCH && causes.is_empty() => WriteOutcome::Conflict,
        422 if !causes.is_empty() && causes.iter().all(|cause| cause.field == "metadata.uid") => {
            WriteOutcome::Conflict
        }
        429 if verb == Verb::Evict && budget => {
            WriteOutcome::Rejected { code, reason: "DisruptionBudget".to_owned(), message }
        }
        429 => WriteOutcome::Throttled { retry_after: retry_after.unwrap_or(DEFAULT_PAUSE) },
        401 | 403 => WriteOutcome::Forbidden { code, message },
        _ => WriteOutcome::Rejected { code, reason, message },
    }
}
