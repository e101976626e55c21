//! What stands around the API server, so that the real controller can do its whole job in memory:
//! workloads and nodes, endpoints, gateways with a data plane, users, Prometheus, Git and a GitOps
//! agent.
//!
//! Each companion is a seeded state machine that follows the cluster's log and writes to the cluster
//! under its own name. All of them are moved by one task, in a fixed order, at the times that they
//! ask for. Delays and standing faults are a [`Behaviour`]; what happens at a time is an [`Order`].

mod agenda;
mod agent;
mod autoscaler;
mod behaviour;
mod clock;
mod companion;
mod deployments;
mod endpoints;
mod exports;
mod gateway;
mod gateway_api;
mod git;
mod handle;
mod inner;
mod jobs;
mod network;
mod nodes;
mod order;
mod pipeline;
mod plane;
mod pods;
mod process;
mod prometheus;
mod random;
mod rbac;
mod replica_sets;
mod room;
mod span;
mod traffic;
mod versions;
mod writes;

pub use agent::{AGENT, Application};
pub use behaviour::{
    AgentBehaviour, AutoscalerBehaviour, Behaviour, BehaviourPatch, EndpointBehaviour, Flapping,
    GatewayBehaviour, GitAnswer, GitBehaviour, InvalidPatch, NodeBehaviour, PrometheusBehaviour,
    PushAnswer, QueryAnswer, RouteAnswer, VersionBehaviour, WorkloadBehaviour,
};
pub use exports::{exported_series, series_labels};
pub use handle::{World, WorldPlan};
pub use network::{ANY_HOST, WebAnswer};
pub use order::{
    Named, Order, Patch, PodFault, ProcessOrder, Push, PushChange, Timed, Unfit, Write,
};
pub use plane::{InForce, Share, Target, TargetKind, Weighted};
pub use process::ProcessState;
pub use span::{InvalidSpan, Span};
pub use traffic::{Tally, Users};
