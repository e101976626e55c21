//! Effects: the only room that writes to the Kubernetes API.
//!
//! Every write passes through [`guard::Writer`], carries uid and resourceVersion of what was read,
//! and stops when the leadership does. A failed write is an outcome, never an early return.

pub mod actions;
pub mod events;
#[cfg(test)]
pub(crate) mod fake_api;
pub mod git_port;
pub mod guard;
pub mod jobs;
pub mod leadership;
mod outcome;
mod patch;
pub mod status;
pub mod wire;
mod write_log;
