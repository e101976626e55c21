//! Sluice: progressive delivery for Kubernetes. The rooms, in dependency order; a room may use only
//! those before it (`tests/architecture.rs` checks).

pub mod mutants;

pub mod revision;
pub mod weight;

pub mod metrics;
pub mod traffic;

pub mod api;

pub mod analysis;
pub mod git;
pub mod plan;

pub mod breakdown;
pub mod clock;
pub mod telemetry;

pub mod generate;

pub mod evaluation;

pub mod restore;

pub mod act;
pub mod observe;

pub mod controller;

pub mod sim;

pub mod cli;

pub mod demo;
