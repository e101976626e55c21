//! Looking: caches of the cluster and the facts of one pass. It never writes and never decides; what
//! cannot be read becomes an unknown fact, not an error.

pub mod analysis;
mod around;
pub mod cache;
pub mod caches;
mod limit;
pub mod objects;
mod recall;
mod relist;
mod rollout;
mod watched;

pub use recall::Recall;
pub use rollout::{Interest, Memo, Snapshot, backends, observe};
pub use watched::read_object;
