//! The judge: from templates, arguments and measurements to a verdict. Pure: time and measured
//! values come in as arguments, nothing here waits, asks or logs.

pub mod admission;
pub mod arguments;
pub mod comparing;
pub mod condition;
pub mod judge;
mod provider_rules;
pub mod resolve;
pub mod resolved;
mod schedule;
mod selectors;
pub mod statistics;
pub mod step;
pub mod substitution;
pub mod templates;
pub mod verdict;

pub use condition::Condition;
pub use resolved::{ResolvedMetric, ResolvedRun};
pub use step::{DueAction, DueMeasurement, RunStep, RunWaiting, advance};
pub use verdict::Verdict;

use std::fmt;

/// Something that is wrong with a specification, at a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field below the specification, such as `metrics[0].provider.datadog`.
    pub field: String,
    /// What is wrong with it and what would be right; reads on from the field.
    pub message: String,
}

impl Problem {
    /// A problem at a field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}
