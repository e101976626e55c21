//! The Kubernetes API server in memory.
//!
//! - [`Server`] is the server itself: a function from a request and a time to an answer, over a
//!   store with one global resourceVersion and an event log. It has no clock, no thread and no
//!   randomness of its own.
//! - [`Cluster`] shares one server between many: kube clients ([`Cluster::client`]), companions that
//!   read and write under a name ([`Cluster::actor`]), and whoever follows the event log
//!   ([`Cluster::follow`]). Watches wait on tokio, so they work with paused time.
//! - A fault layer stands between the two: see [`Interference`].
//!
//! It behaves as kube-apiserver 1.34 does, or answers 501 with the name of what it does not do.
//! What it never does: pretend. `tests/fidelity` compares it with the real one.

mod access;
mod actor;
mod apply;
mod builtin;
mod cluster;
mod commit;
mod crd;
mod decode;
mod delete;
mod discovery;
mod duplicates;
mod events;
mod failure;
mod gc;
mod http;
mod interference;
mod kinds;
mod log;
mod meta;
pub(crate) mod object;
mod openapi;
mod patch;
mod read;
mod request;
mod scale;
mod schema;
mod select;
mod server;
mod store;
mod table;
mod transport;
mod watch;
mod write;

pub use access::{AccessLog, Attributes, Right, RuleName};
pub use actor::Actor;
pub use cluster::{Cluster, Follower, WatchId};
pub use failure::{Cause, Details, Failure};
pub use gc::Collector;
pub use http::{Caller, CannotListen, HttpServer};
pub use interference::{
    Effect, EventFate, Interference, Reply, RequestFacts, RequestFate, Untouched,
};
pub use kinds::{KindName, Resource};
pub use log::{Change, Entry, Writer};
pub use request::{Identity, Request, Response, Verb};
pub use server::Server;
pub use watch::{WatchEvent, WatchPlan};
