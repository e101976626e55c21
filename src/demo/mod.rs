//! `sluice demo`: a good release and a bad one on a cluster in memory, to watch.
//!
//! Everything that decides is the real thing: the controller with its caches, its election and its
//! roles, the git program, a bare repository in a temporary folder. Everything around it is
//! [`sim`](crate::sim): API server, nodes, gateway, users, Prometheus and a GitOps agent. Time runs
//! faster than on the wall, and the demonstration says by how much.

mod checks;
mod mirror;
mod news;
mod panel;
mod screen;
mod serve;
mod shop;
mod story;

use std::io;
use std::path::PathBuf;

pub use checks::Check;
pub use screen::Screen;
pub use story::run;

use crate::git::backend::GitError;
use crate::git::source::InvalidSource;
use crate::sim::api::CannotListen;
use crate::sim::world::Unfit;

/// Options of `sluice demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Keeps the cluster up after the story, and prints how to reach it with kubectl and git.
    #[arg(long)]
    pub serve: bool,
    /// Port of the API server on 127.0.0.1, with --serve; 0 for any free one.
    #[arg(long, default_value_t = 0, value_name = "PORT", requires = "serve")]
    pub port: u16,
    /// How many times as fast as on the wall time runs.
    #[arg(
        long, default_value_t = 5, value_name = "TIMES",
        value_parser = clap::value_parser!(u32).range(1..=30)
    )]
    pub speed: u32,
    /// Delays, users and their luck follow from it.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
}

/// Why the demonstration cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The terminal or file that it is shown on.
    #[error("failed to write to the output")]
    Output(#[from] io::Error),
    /// A folder or file of its own.
    #[error("failed to write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The git program.
    #[error("failed to use git")]
    Git(#[from] GitError),
    /// An address, branch or path of the manifests.
    #[error("failed to read the demonstration's own Git source")]
    Source(#[from] InvalidSource),
    /// The cluster in memory refuses something.
    #[error("failed to set up the cluster in memory: {0}")]
    World(#[from] Unfit),
    /// The API server cannot be reached from outside.
    #[error("failed to serve the cluster in memory")]
    Serve(#[from] CannotListen),
    /// The system has no random numbers for tokens.
    #[error("failed to get random numbers from the system")]
    Randomness,
    /// Signals cannot be listened to.
    #[error("failed to listen to signals")]
    Signals(#[source] io::Error),
}
