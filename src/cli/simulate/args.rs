//! The command line of `simulate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `simulate`.
///
/// Runs a Rollout in a cluster in memory, in virtual time: first the version of the manifest, then a
/// new one with the behaviour of --canary. Nothing is sent anywhere.
///
/// Behaviour (--canary, --stable) is a list such as error-rate=2%,p99=900ms. Keys: error-rate, p50,
/// p90, p95, p99 (at most two of these), crash, crash-after, never-ready, image-missing, ready-after,
/// good-for.
///
/// --at takes TIME=WHAT, the time counted from the change: a behaviour of the new version (5m=crash,
/// 3m=error-rate:5%, 4m=healthy), of the old one (2m=stable.error-rate:1%), what a person does
/// (abort, promote, promote-full, pause, resume, retry, approve, scale:10, rps:500), and what goes
/// wrong (prometheus-down, prometheus-up, git-down, git-up, gateway-down, gateway-up,
/// controller-restart).
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SimulateArgs {
    /// File, folder (searched for .yaml, .yml and .json), or `-` for stdin; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// More files
    #[arg(value_name = "PATH")]
    pub more: Vec<PathBuf>,
    /// The Rollout, when the files declare several
    #[arg(long, value_name = "NAME")]
    pub rollout: Option<String>,
    /// Image of the new version; default that of the manifest with the tag `next`
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// How the new version behaves, such as error-rate=2%,p99=900ms
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',')]
    pub canary: Vec<String>,
    /// How the old version behaves
    #[arg(long, value_name = "KEY=VALUE,...", value_delimiter = ',')]
    pub stable: Vec<String>,
    /// Requests per second, all of them together
    #[arg(long, value_name = "NUMBER", default_value_t = 100.0)]
    pub rps: f64,
    /// Something that happens at a time after the change, such as 5m=crash; may be repeated
    #[arg(long, value_name = "TIME=WHAT")]
    pub at: Vec<String>,
    /// What a metric measures, by its name, in the place of its query; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub metric: Vec<String>,
    /// Pauses that wait for a person are ended after 10 s
    #[arg(long)]
    pub promote_pauses: bool,
    /// Longest virtual time, such as 2h; default 2h and the pauses of the Rollout on top
    #[arg(long = "for", value_name = "DURATION")]
    pub limit: Option<String>,
    /// Exit code 4 unless it comes to this end
    #[arg(long, value_enum, value_name = "END")]
    pub expect: Option<Expected>,
    /// Delays, users and their luck follow from it: the same number, the same timeline
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Time between two scrapes of Prometheus
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub scrape_interval: String,
    /// Write the output to this file
    #[arg(long, value_name = "PATH")]
    pub output_file: Option<PathBuf>,
}

/// An end that can be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Expected {
    /// The new version is the stable one.
    Promoted,
    /// It was given up, and all traffic went back; Git may or may not be put right.
    Aborted,
    /// It was given up, and Git declares the old version again.
    Reverted,
    /// It waits for a person.
    Paused,
}
