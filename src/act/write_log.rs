//! A port through which every write of the process can be watched, for tests and for whoever judges
//! the program from outside. It changes nothing and decides nothing.

use std::fmt;

use serde_json::Value;

use crate::act::guard::Guard;
use crate::act::leadership::Epoch;
use crate::act::outcome::WriteOutcome;
use crate::act::wire::Target;

/// Kinds of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A new object.
    Create,
    /// Changed fields of an object.
    Patch,
    /// Changed status of an object.
    PatchStatus,
    /// Removal.
    Delete,
    /// Removal of a pod as far as disruption budgets allow.
    Evict,
    /// One annotation of an object of somebody else.
    Annotate,
    /// A Kubernetes Event.
    Event,
}

/// When a [`WriteRecord`] was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// About to be sent.
    Sending,
    /// Over, so far as this process will ever know.
    Ended(&'a WriteOutcome),
}

/// One write, for whoever judges the program from outside.
#[derive(Clone, Copy, Debug)]
pub struct WriteRecord<'a> {
    /// Number of the write in this process, from 0; both stages carry the same.
    pub sequence: u64,
    /// Before or after.
    pub stage: Stage<'a>,
    /// Kind of write.
    pub verb: Verb,
    /// The object.
    pub target: &'a Target,
    /// What it was guarded with; none for creations.
    pub guard: Option<&'a Guard>,
    /// Epoch of the writer.
    pub epoch: Epoch,
    /// The body on the wire.
    pub body: &'a Value,
}

/// Sees every write, before it is sent and after it ended.
pub trait WriteLog: fmt::Debug + Send + Sync {
    /// Takes note of `record`; must return at once.
    fn record(&self, record: &WriteRecord<'_>);
}

/// A log that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl WriteLog for NoLog {
    fn record(&self, _: &WriteRecord<'_>) {}
}
