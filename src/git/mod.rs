//! Putting Git right after a failed rollout: where a Rollout is declared, what to change, and the
//! one additive commit that changes it.
//!
//! `source`, `revert_id`, `message`, `credentials`, `github_app`, `grants`, `signing` and `plan` are pure. `backend` is the port to a Git server,
//! `binary` the only file of this program that may execute another one, `memory` the fake for
//! simulation and tests, `executor` the procedure that holds the rules together: the gate on the
//! branch tip, at most one commit, never forced, exactly once across crashes and lost replies.
//!
//! Seams for what comes later: a source resolver (discovery from Argo CD and Flux) makes a
//! [`source::Source`]; a forge makes a pull request of a [`plan::Restoration`]; Helm is another
//! model beside `plan`'s kustomize.

pub mod backend;
pub mod binary;
pub mod credentials;
pub mod discovery;
pub mod executor;
pub mod forge;
mod github_app;
pub mod grants;
pub mod http;
pub mod memory;
pub mod message;
pub mod plan;
pub mod revert_id;
pub mod signing;
pub mod source;
