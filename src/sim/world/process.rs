//! Processes of the real controller: started as tasks, killed by dropping them. A killed process has
//! no connection left, so whatever of it still lingers in the runtime has no effect.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use clap::Parser;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::inner::Inner;
use super::network::Network;
use super::order::{ProcessOrder, Unfit};
use super::random::entropy;
use super::rbac::{NAMESPACE, SERVICE_ACCOUNT};
use crate::controller::run::{Controller, Ports, RunError, address_policy};
use crate::controller::settings::Settings;
use crate::git::backend::{Carrier, GitBackend};
use crate::metrics::Transport;
use crate::sim::api::Identity;
use crate::telemetry::metrics::{Metrics, SeriesLimits};

/// The processes of a world, by name.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    settings: Option<Settings>,
    git: Option<OtherGit>,
    forges: Option<OtherForges>,
    running: BTreeMap<String, Process>,
    /// Starts so far, so that no two have the same randomness.
    starts: u64,
}

/// The APIs of forges; a world has none of its own.
struct OtherForges(Arc<dyn Carrier>);

impl fmt::Debug for OtherForges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherForges").finish_non_exhaustive()
    }
}

/// Git in the place of the world's own server.
struct OtherGit(Arc<dyn GitBackend>);

impl fmt::Debug for OtherGit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherGit").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Process {
    task: JoinHandle<Result<(), RunError>>,
    /// Asks for an orderly end.
    stop: CancellationToken,
    /// Ends every connection.
    ended: CancellationToken,
    metrics: Arc<Metrics>,
}

/// How a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It was never started, or was killed.
    Absent,
    /// It runs.
    Running,
    /// It came to an end by itself, or was stopped.
    Ended,
}

impl Processes {
    /// Settings of processes that start from now on.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.settings = Some(settings);
    }

    /// Git as processes reach it that start from now on.
    pub(crate) fn reach_git_through(&mut self, git: Arc<dyn GitBackend>) {
        self.git = Some(OtherGit(git));
    }

    /// Forges as processes reach them that start from now on.
    pub(crate) fn reach_forges_through(&mut self, forges: Arc<dyn Carrier>) {
        self.forges = Some(OtherForges(forges));
    }

    /// How a process is.
    pub(crate) fn state(&self, name: &str) -> ProcessState {
        match self.running.get(name) {
            None => ProcessState::Absent,
            Some(process) if process.task.is_finished() => ProcessState::Ended,
            Some(_) => ProcessState::Running,
        }
    }

    /// Own metrics of a process, in the text format of Prometheus.
    pub(crate) fn metrics(&self, name: &str, now: super::agenda::Time) -> Option<String> {
        Some(self.running.get(name)?.metrics.render(now))
    }

    /// Starts, kills or stops a process.
    pub(crate) fn order(inner: &Arc<Inner>, name: &str, act: ProcessOrder) -> Result<(), Unfit> {
        match act {
            ProcessOrder::Start => Self::start(inner, name),
            ProcessOrder::Kill => {
                inner.processes().kill(name);
                Ok(())
            }
            ProcessOrder::Stop => {
                if let Some(process) = inner.processes().running.get(name) {
                    process.stop.cancel();
                }
                Ok(())
            }
        }
    }

    /// Ends a process at once.
    fn kill(&mut self, name: &str) {
        if let Some(process) = self.running.remove(name) {
            process.ended.cancel();
            process.task.abort();
        }
    }

    /// Ends all processes at once.
    pub(crate) fn kill_all(&mut self) {
        for process in std::mem::take(&mut self.running).into_values() {
            process.ended.cancel();
            process.task.abort();
        }
    }

    fn start(inner: &Arc<Inner>, name: &str) -> Result<(), Unfit> {
        let mut processes = inner.processes();
        processes.kill(name);
        processes.starts += 1;
        let mut settings = match &processes.settings {
            Some(settings) => settings.clone(),
            None => default_settings()?,
        };
        name.clone_into(&mut settings.pod_name);
        let ended = CancellationToken::new();
        let identity = Identity::service_account(NAMESPACE, SERVICE_ACCOUNT).of_pod(name);
        let metrics = Arc::new(Metrics::new(SeriesLimits {
            analysis_values: settings.max_analysis_value_series,
            weights: settings.max_weight_series,
        }));
        let stream = format!("controller {name} {}", processes.starts);
        let network = Arc::new(Network(inner.clone()));
        let git: Arc<dyn GitBackend> = match &processes.git {
            Some(OtherGit(git)) => git.clone(),
            None => Arc::new(inner.git.until(ended.clone())),
        };
        let ports = Ports {
            client: inner.cluster.client_until(identity, ended.clone()),
            clock: inner.controller_clock.clone(),
            entropy: Arc::new(entropy(inner.seed, &stream)),
            git: Some(git),
            forges: processes.forges.as_ref().map(|OtherForges(forges)| forges.clone()),
            transport: Transport::new(address_policy(&settings, Vec::new())).through(network),
            metrics: metrics.clone(),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let controller =
            Controller::new(settings, ports).map_err(|error| Unfit(error.to_string()))?;
        let task = tokio::spawn(async move { controller.run(&stopped).await });
        processes.running.insert(name.to_owned(), Process { task, stop, ended, metrics });
        Ok(())
    }
}

/// The command line of a process.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

/// The settings that a process without arguments has.
pub(crate) fn default_settings() -> Result<Settings, Unfit> {
    let line = CommandLine::try_parse_from(Vec::<String>::new());
    line.map(|line| line.settings).map_err(|error| Unfit(error.to_string()))
}
