//! Wiring: leader election, the health and metrics server, watches and shutdown. Decides nothing
//! about rollouts.

pub mod analysis_runs;
mod concerns;
mod details;
pub mod elector;
pub mod git;
pub mod http;
pub mod lease;
pub mod queue;
mod report;
pub mod rollouts;
pub mod run;
mod run_news;
pub mod settings;
mod work;
