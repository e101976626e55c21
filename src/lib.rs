//! Sluice: progressive delivery for Kubernetes. The rooms, in dependency order; a room may use only
//! those before it (`tests/architecture.rs` checks).

pub mod git;
pub mod revision;
pub mod weight;

pub mod traffic;
pub mod metrics;

pub mod api;

pub mod analysis;

pub mod clock;
pub mod telemetry;

pub mod act;

pub mod controller;
