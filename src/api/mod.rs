//! The types of our API and nothing else: what users write, what we write back, and how either is
//! named. No clock, client or log.

pub mod analysis;
pub mod conditions;
pub mod crd;
pub mod git_credential;
pub mod git_revert;
pub mod gitops;
pub mod metrics_source;
pub mod names;
pub mod objects;
pub mod rbac;
pub mod rollout;
pub mod status;
pub mod traffic_routing;
pub mod values;

pub use names::{ApiNames, Kind};
pub use objects::{
    AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, ClusterGitCredential,
    ClusterMetricsSource, Malformed, MetricsSource, Rollout,
};
pub use values::{
    CountOrPercent, Delay, IntOrString, InvalidValue, LabelSelector, RawObject, Time,
};
