//! What a Rollout waits for, and until when at the latest. A wait without an end is for somebody or
//! something that nobody can hurry: its text says whom.

use chrono::{DateTime, Utc};

/// Longest text of a cause that others reported, in characters.
const MAX_CAUSE: usize = 200;

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What, in words that read on from "waiting for".
    pub what: String,
    /// When the wait ends or is given up at the latest; absent where nothing bounds it.
    pub until: Option<DateTime<Utc>>,
}

impl Wait {
    /// A wait that nothing is known to end by itself.
    pub(super) fn open(what: impl Into<String>) -> Self {
        Self { what: what.into(), until: None }
    }

    /// A wait that ends at `at`, whatever happens.
    pub(super) fn until(what: impl Into<String>, at: DateTime<Utc>) -> Self {
        Self { what: what.into(), until: Some(at) }
    }
}

/// A cause that somebody else put into words, short enough to stand beside what is waited for.
pub(super) fn brief(cause: &str) -> String {
    let line = cause.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_CAUSE {
        return line;
    }
    let head: String = line.chars().take(MAX_CAUSE - 3).collect();
    format!("{head}...")
}
