//! From settings to a running controller: caches, election, the loops of a leadership, and an end
//! that leaves nothing half done.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::{Client, Config};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::analysis_runs::{AnalysisRuns, Equipment};
use super::elector::{Elector, HoldEnd, LeaseConfig, unique_identity};
use super::git::{GitParts, GitWorker};
use super::http::{Health, HealthServer};
use super::lease::LeaseTimings;
use super::rollouts::Rollouts;
use super::settings::Settings;
use crate::act::actions::Hands;
use crate::act::guard::Writer;
use crate::act::jobs::Jobs;
use crate::act::leadership::Leadership;
use crate::act::wire::{Wire, connect};
use crate::api::ApiNames;
use crate::api::names::LEASE_NAME;
use crate::clock::{Clock, Entropy, SeededEntropy, SystemClock};
use crate::git::backend::{Carrier, GitBackend};
use crate::git::binary::{BinaryConfig, BinaryGit};
use crate::git::executor::{Executor, Jitter};
use crate::git::http::HttpForge;
use crate::git::source::{AddressRule, AllowedHosts};
use crate::metrics::address::AddressPolicy;
use crate::metrics::job::JobPort;
use crate::metrics::measure::MeasureContext;
use crate::metrics::runner::{OutcomeReady, Runner};
use crate::metrics::transport::Transport;
use crate::mutants::{Mutant, mutant};
use crate::observe::cache::{Change, Scope};
use crate::observe::caches::Caches;
use crate::plan::facts::RevertLimits;
use crate::telemetry::logs::{LogConfig, LogError, start};
use crate::telemetry::metrics::{Metrics, SeriesLimits};

/// How often it is looked whether the caches are filled.
const SYNC_CHECK: Duration = Duration::from_millis(200);

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Logging cannot start.
    #[error("failed to start logging")]
    Logs(#[from] LogError),
    /// The API group is unknown.
    #[error("failed to read --api-group")]
    Group(#[from] crate::api::names::UnknownGroup),
    /// No cluster is configured.
    #[error("failed to find a cluster: set KUBECONFIG, or run inside of one")]
    Config(#[source] kube::config::InferConfigError),
    /// The client cannot be made.
    #[error("failed to make a client of the cluster")]
    Client(#[source] kube::Error),
    /// The metrics address cannot be listened on.
    #[error("failed to serve metrics and health")]
    Bind(#[from] super::http::BindFailed),
    /// Git cannot be used.
    #[error("failed to prepare Git")]
    Git(#[from] crate::git::backend::GitError),
    /// A pattern of Git hosts is malformed.
    #[error("failed to read --git-allowed-hosts")]
    GitHosts(#[from] crate::git::source::InvalidSource),
    /// The election cannot start.
    #[error("failed to start the election")]
    Election(#[from] super::lease::InvalidTimings),
    /// The leadership was lost, and with it the right to go on.
    #[error("the leadership was lost: {0}")]
    Lost(String),
    /// Signals cannot be listened to.
    #[error("failed to listen to signals")]
    Signals(#[source] std::io::Error),
}

/// What the controller needs of the world around it. Everything that it does goes through these.
pub struct Ports {
    /// The API server, through a client that never retries.
    pub client: Client,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter, identities and names.
    pub entropy: Arc<dyn Entropy>,
    /// Git servers; none: Git is never touched.
    pub git: Option<Arc<dyn GitBackend>>,
    /// The APIs of forges; none: no pull requests are opened.
    pub forges: Option<Arc<dyn Carrier>>,
    /// Metrics servers.
    pub transport: Transport,
    /// Own metrics.
    pub metrics: Arc<Metrics>,
}

/// A controller whose watches have begun, and that does not work yet. Dropping it, or the future of
/// [`Controller::run`], ends everything that it started.
pub struct Controller {
    process: Process,
    health: Arc<Health>,
    /// Caches outlive leaderships: a standby that takes over knows the cluster already.
    _watching: DropGuard,
}

/// What every part of the process shares.
struct Process {
    settings: Settings,
    names: ApiNames,
    wire: Wire,
    transport: Transport,
    caches: Arc<Caches>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    executor: Option<Executor>,
    relay: Arc<Relay>,
}

/// Sends what the caches see to the loops of the present leadership, and to nobody between two.
#[derive(Debug, Default)]
struct Relay(Mutex<Vec<mpsc::UnboundedSender<Change>>>);

impl Relay {
    fn connect(&self, senders: Vec<mpsc::UnboundedSender<Change>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = senders;
    }

    fn send(&self, change: &Change) {
        for sender in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A loop that has ended is disconnected soon after.
            let _ = sender.send(change.clone());
        }
    }
}

/// Runs the controller until it is told to stop.
///
/// # Errors
/// Why it cannot run (any more).
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let level = settings.log_level.clone();
    start(&LogConfig { format: settings.log_format(), level })?;
    let stop = CancellationToken::new();
    listen_to_signals(&stop)?;
    run_until(settings, stop).await
}

fn listen_to_signals(stop: &CancellationToken) -> Result<(), RunError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(())
}

async fn run_until(settings: Settings, stop: CancellationToken) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::new(SeriesLimits {
        analysis_values: settings.max_analysis_value_series,
        weights: settings.max_weight_series,
    }));
    let config = Config::infer().await.map_err(RunError::Config)?;
    let api_server = addresses_of_api_server(&config.cluster_url).await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ports = Ports {
        client: connect(config, &metrics).map_err(RunError::Client)?,
        clock: clock.clone(),
        entropy: Arc::new(SeededEntropy::from_system()),
        git: git_backend(&settings).await?,
        forges: Some(Arc::new(HttpForge::new(
            git_hosts(&settings)?,
            git_addresses(&settings),
            clock.clone(),
        ))),
        transport: Transport::new(address_policy(&settings, api_server)),
        metrics: metrics.clone(),
    };
    let address = settings.metrics_address;
    let controller = Controller::new(settings, ports)?;
    let server = HealthServer::bind(address).await?;
    tracing::info!(address = %server.address(), "serving metrics and health");
    // Metrics and health are served to the very end.
    let end_of_service = CancellationToken::new();
    let health = controller.health();
    let http_server = tokio::spawn(server.serve(health, metrics, clock, end_of_service.clone()));
    let result = controller.run(&stop).await;
    end_of_service.cancel();
    let _ = http_server.await;
    result
}

impl Controller {
    /// Begins to watch the cluster. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`RunError::Group`].
    pub fn new(settings: Settings, ports: Ports) -> Result<Self, RunError> {
        let Ports { client, clock, entropy, git, forges, transport, metrics } = ports;
        let names = ApiNames::for_group(&settings.api_group)?;
        let scope = if settings.namespaces.is_empty() {
            Scope::Cluster
        } else {
            Scope::Namespaces(settings.namespaces.clone())
        };
        let watching = CancellationToken::new();
        let (caches, mut changes) =
            Caches::start(&client, names, scope, entropy.clone(), watching.clone());
        let process = Process {
            names,
            wire: Wire::new(client),
            transport,
            caches: Arc::new(caches),
            executor: git.map(|git| {
                let executor = Executor::new(git, jitter(&entropy));
                match forges {
                    Some(forges) => executor.with_carrier(forges),
                    None => executor,
                }
            }),
            clock,
            entropy,
            metrics,
            relay: Arc::default(),
            settings,
        };
        let relay = process.relay.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                relay.send(&change);
            }
        });
        let health = Arc::new(Health::waiting_for(
            process.caches.required().iter().map(|cache| cache.resource().plural.clone()),
        ));
        Ok(Self { process, health, _watching: watching.drop_guard() })
    }

    /// What probes are told.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Takes part in the election, and works while it leads, until `stop`.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn run(self, stop: &CancellationToken) -> Result<(), RunError> {
        elect_and_lead(&self.process, &self.health, stop).await
    }
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller")
            .field("settings", &self.process.settings)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Where the API server is: measurements must not get there with the controller's place in the
/// network.
async fn addresses_of_api_server(cluster_url: &http::Uri) -> Vec<SocketAddr> {
    let mut places = Vec::new();
    if let Some(host) = cluster_url.host() {
        let host = host.trim_matches(['[', ']']);
        places.push((host.to_owned(), cluster_url.port_u16().unwrap_or(443)));
    }
    if let Ok(host) = std::env::var("KUBERNETES_SERVICE_HOST") {
        let port = std::env::var("KUBERNETES_SERVICE_PORT").ok();
        places.push((host, port.and_then(|port| port.parse().ok()).unwrap_or(443)));
    }
    let mut found = BTreeSet::new();
    for (host, port) in places {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(addresses) => found.extend(addresses),
            Err(error) => tracing::warn!(host, %error, "cannot find the API server's address"),
        }
    }
    found.into_iter().collect()
}

async fn git_backend(settings: &Settings) -> Result<Option<Arc<dyn GitBackend>>, RunError> {
    let Some(cache) = &settings.git_cache_dir else { return Ok(None) };
    let mut config = BinaryConfig::new(cache, git_hosts(settings)?);
    config.addresses = git_addresses(settings);
    Ok(Some(Arc::new(BinaryGit::detect(config).await?)))
}

/// The Git hosts that may be reached.
fn git_hosts(settings: &Settings) -> Result<AllowedHosts, RunError> {
    Ok(if settings.git_allowed_hosts.is_empty() {
        AllowedHosts::parse(["*"])?
    } else {
        AllowedHosts::parse(settings.git_allowed_hosts.iter().map(String::as_str))?
    })
}

/// The addresses at which they may be.
fn git_addresses(settings: &Settings) -> AddressRule {
    AddressRule { permit_loopback: settings.allow_private_addresses }
}

/// Numbers from 0 up to 1, for the waits between tries of a push.
fn jitter(entropy: &Arc<dyn Entropy>) -> Jitter {
    let entropy = entropy.clone();
    Arc::new(move || {
        // 32 random bits: every value is an exact double.
        let bits = u32::try_from(entropy.next_u64() >> 32).unwrap_or(0);
        f64::from(bits) / f64::from(u32::MAX)
    })
}

/// Which addresses analyses may reach with these settings; never those of `denied`.
pub fn address_policy(settings: &Settings, denied: Vec<SocketAddr>) -> AddressPolicy {
    AddressPolicy {
        allow_private: settings.allow_private_addresses,
        allowed_hosts: settings.allowed_hosts.clone(),
        denied,
    }
}

async fn elect_and_lead(
    process: &Process,
    health: &Health,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    if !wait_for_caches(process, health, stop).await {
        return Ok(());
    }
    let config = LeaseConfig {
        namespace: process.settings.lease_namespace.clone(),
        name: LEASE_NAME.to_owned(),
        identity: unique_identity(&process.settings.pod_name, process.entropy.as_ref()),
        timings: LeaseTimings::default(),
    };
    let client = process.wire.client().clone();
    let mut elector = Elector::new(client, config, process.clock.clone(), process.entropy.clone())?;
    tracing::info!(lease = LEASE_NAME, "waiting for the leadership");
    let Some(leadership) = elector.campaign(stop).await else { return Ok(()) };
    tracing::info!(term = leadership.term(), "leading");
    process.metrics.leadership_gained(leadership.term());
    let working = CancellationToken::new();
    // What ends this future, ends the tasks of this leadership.
    let _working = working.clone().drop_guard();
    let work = lead(process, leadership.clone(), working.clone());
    let mut work = std::pin::pin!(work);
    let end = tokio::select! {
        end = elector.hold(&leadership, stop) => end,
        result = &mut work => return result,
    };
    if mutant(Mutant::LeaseNeverExpires) && matches!(end, HoldEnd::Lost(_)) {
        return work.await;
    }
    process.metrics.leadership_lost();
    working.cancel();
    match end {
        HoldEnd::Stopped => {
            // What is under way comes to its end, and only then may another lead.
            let drained = work.await;
            elector.release(&leadership).await;
            tracing::info!("stopped");
            drained
        }
        // The writer refuses everything from here on; a fresh process is the cleanest candidate.
        HoldEnd::Lost(reason) => Err(RunError::Lost(reason.to_string())),
    }
}

async fn wait_for_caches(process: &Process, health: &Health, stop: &CancellationToken) -> bool {
    loop {
        let mut is_ready = true;
        for cache in process.caches.required() {
            match cache.ready() {
                Ok(()) => health.synced(&cache.resource().plural),
                Err(_) => is_ready = false,
            }
        }
        if is_ready {
            return true;
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(SYNC_CHECK) => {}
        }
    }
}

/// The loops of one leadership; they end with `stop`.
async fn lead(
    process: &Process,
    leadership: Leadership,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let writer = Writer::new(process.wire.clone(), leadership, process.names.epoch_annotation());
    let (wishes, mut granted) = mpsc::unbounded_channel();
    let git = GitWorker::new(
        GitParts {
            executor: process.executor.clone(),
            wire: process.wire.clone(),
            clock: process.clock.clone(),
            entropy: process.entropy.clone(),
            cluster: process.settings.cluster_name.clone(),
            argocd_namespace: process.settings.argocd_namespace.clone(),
            names: process.names,
            own_namespace: process.settings.lease_namespace.clone(),
            asks_tools: process.settings.git_refresh.then(|| writer.clone()),
            limits: RevertLimits {
                failures: process.settings.git_max_failures,
                per_repository: process.settings.git_max_per_repository,
            },
        },
        wishes,
        stop.clone(),
    );
    let hands = Hands {
        writer,
        wire: process.wire.clone(),
        caches: process.caches.clone(),
        names: process.names,
        git: Arc::new(git.clone()),
    };
    let (to_rollouts, mut rollout_changes) = mpsc::unbounded_channel();
    let (to_runs, mut run_changes) = mpsc::unbounded_channel();
    process.relay.connect(vec![to_rollouts, to_runs]);
    let (runs, mut measured) = analysis_runs(process, &hands.writer);
    let rollouts = Arc::new(Rollouts::new(
        hands,
        process.clock.clone(),
        process.entropy.clone(),
        process.metrics.clone(),
    ));
    tokio::join!(
        rollouts.run(&mut rollout_changes, &mut granted, &stop),
        runs.run(&mut run_changes, &mut measured, &stop),
    );
    process.relay.connect(vec![]);
    git.drain().await;
    Ok(())
}

/// The loop over AnalysisRuns, and the channel on which measurements are announced.
fn analysis_runs(
    process: &Process,
    writer: &Writer,
) -> (Arc<AnalysisRuns>, mpsc::UnboundedReceiver<OutcomeReady>) {
    let settings = &process.settings;
    let transport = process.transport.clone();
    let jobs: Option<Arc<dyn JobPort>> = settings
        .enable_job_metrics
        .then(|| Arc::new(Jobs::new(writer.clone(), process.wire.clone())) as Arc<dyn JobPort>);
    let clock = process.clock.clone();
    let (runner, measured) = Runner::new(MeasureContext { transport, jobs, clock });
    let runs = AnalysisRuns::new(Equipment {
        writer: writer.clone(),
        wire: process.wire.clone(),
        caches: process.caches.clone(),
        names: process.names,
        own_namespace: settings.lease_namespace.clone(),
        runner,
        clock: process.clock.clone(),
        entropy: process.entropy.clone(),
        metrics: process.metrics.clone(),
    });
    (Arc::new(runs), measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_api_servers_address_is_that_of_the_configuration() {
        let of = async |url: &str| addresses_of_api_server(&url.parse().unwrap()).await;
        assert!(of("https://127.0.0.1:6443").await.contains(&"127.0.0.1:6443".parse().unwrap()));
        assert!(of("https://[::1]/prefix").await.contains(&"[::1]:443".parse().unwrap()));
    }
}
