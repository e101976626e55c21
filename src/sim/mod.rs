//! A cluster in memory: what `sluice demo`, `kubectl sluice simulate` and the tests run on.
//!
//! Everything here is a machine without a will of its own: it does what it is asked, at the times
//! and with the random numbers that it is given, so that the same inputs give the same history bit
//! for bit. It never touches a real cluster, never decides about a Rollout, and never sleeps on a
//! clock other than tokio's.

pub mod api;
mod promql;
pub mod recorded;
pub mod world;

pub use promql::review::{Selected, review as review_query};
