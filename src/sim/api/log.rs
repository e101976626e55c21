//! The event log: every change of every object, with what it was before and who did it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::kinds::Resource;
use super::object;
use super::request::Verb;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Added,
    /// It was there and is another now.
    Modified,
    /// It is gone.
    Removed,
}

/// Who made a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// User name of the identity.
    pub user: String,
    /// The pod that its token is bound to; empty without one.
    pub pod: String,
    /// `User-Agent` of the request; for companions their name.
    pub user_agent: String,
    /// The field manager that the change is booked under.
    pub field_manager: String,
}

/// One change of one object. Its `version` is the resourceVersion that the change made.
#[derive(Clone, Debug)]
pub struct Entry {
    /// resourceVersion; the log has each number once, in order, without gaps.
    pub version: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// What became of the object.
    pub change: Change,
    /// Its kind, in the version that it is stored as.
    pub resource: Arc<Resource>,
    /// The object after the change; for one that is gone its last state, with the version of the
    /// removal.
    pub object: Arc<Value>,
    /// The object before; none if it was not there.
    pub old: Option<Arc<Value>>,
    /// Who did it.
    pub writer: Writer,
    /// By which kind of request.
    pub verb: Verb,
    /// Through which subresource; empty for the object itself.
    pub subresource: String,
}

impl Entry {
    /// Namespace of the object; empty for objects of the cluster.
    pub fn namespace(&self) -> &str {
        object::namespace(&self.object)
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        object::name(&self.object)
    }

    /// The object as it is now; none if it is gone.
    pub fn current(&self) -> Option<&Arc<Value>> {
        (self.change != Change::Removed).then_some(&self.object)
    }
}
