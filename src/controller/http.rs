//! The server of `/metrics`, `/healthz` and `/readyz`.
//!
//! Read-only, without profiling or debugging endpoints. A standby replica is ready like the leader:
//! readiness says that the caches are filled, not that this process may write.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::telemetry::metrics::{CONTENT_TYPE, Metrics};

/// How long open connections may keep the server alive after a shutdown began.
const DRAIN: Duration = Duration::from_secs(3);

/// Whether the process lives and is ready, as the probes see it.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<HealthState>,
}

#[derive(Debug, Default)]
struct HealthState {
    pending: BTreeSet<String>,
    started: bool,
    failure: Option<String>,
}

impl Health {
    /// Not ready until each of `caches` has been [marked](Self::synced).
    pub fn waiting_for(caches: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        let pending = caches.into_iter().map(|cache| cache.to_string()).collect();
        Self { state: Mutex::new(HealthState { pending, started: true, failure: None }) }
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cache is filled.
    pub fn synced(&self, cache: &str) {
        self.state().pending.remove(cache);
    }

    /// A cache that came later must be filled first.
    pub fn wait_for(&self, cache: &str) {
        self.state().pending.insert(cache.to_owned());
    }

    /// The process cannot go on and wants to be restarted.
    pub fn fail(&self, reason: &str) {
        self.state().failure.get_or_insert_with(|| reason.to_owned());
    }

    /// Why the process is not ready; none if it is.
    pub fn not_ready(&self) -> Option<String> {
        let state = self.state();
        if let Some(failure) = &state.failure {
            return Some(failure.clone());
        }
        if !state.started {
            return Some("starting".to_owned());
        }
        let pending: Vec<&str> = state.pending.iter().map(String::as_str).collect();
        (!pending.is_empty()).then(|| format!("waiting for caches: {}", pending.join(", ")))
    }

    /// Why the process should be restarted; none if it should not.
    pub fn not_alive(&self) -> Option<String> {
        self.state().failure.clone()
    }
}

/// The server cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address}")]
pub struct BindFailed {
    /// Address that was asked for.
    pub address: SocketAddr,
    /// Reason.
    #[source]
    pub source: io::Error,
}

/// A bound server that does not serve yet.
#[derive(Debug)]
pub struct HealthServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HealthServer {
    /// Listens on `address`; port 0 takes any free port.
    ///
    /// # Errors
    /// [`BindFailed`].
    pub async fn bind(address: SocketAddr) -> Result<Self, BindFailed> {
        let failed = |source| BindFailed { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, and then a few seconds at most.
    ///
    /// # Errors
    /// A failure of the listening socket.
    pub async fn serve(
        self,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let router = router(health, metrics, clock);
        let serving = axum::serve(self.listener, router)
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::select! {
            biased;
            result = async { serving.await } => result,
            () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
        }
    }
}

#[derive(Clone)]
struct Shared {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

fn router(health: Arc<Health>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/metrics", get(serve_metrics))
        .route("/healthz", get(serve_healthz))
        .route("/readyz", get(serve_readyz))
        .with_state(Shared { health, metrics, clock })
}

async fn serve_metrics(State(shared): State<Shared>) -> impl IntoResponse {
    let text = shared.metrics.render(shared.clock.now());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text)
}

async fn serve_healthz(State(shared): State<Shared>) -> impl IntoResponse {
    verdict(shared.health.not_alive())
}

async fn serve_readyz(State(shared): State<Shared>) -> impl IntoResponse {
    verdict(shared.health.not_ready())
}

fn verdict(problem: Option<String>) -> (StatusCode, String) {
    match problem {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::clock::SystemClock;

    async fn started(health: &Arc<Health>) -> (SocketAddr, CancellationToken, Task) {
        let server = HealthServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        let metrics = Arc::new(Metrics::default());
        let serving =
            server.serve(Arc::clone(health), metrics, Arc::new(SystemClock), stop.clone());
        (address, stop, tokio::spawn(serving))
    }

    type Task = tokio::task::JoinHandle<io::Result<()>>;

    async fn fetch(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let code = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        (code, text)
    }

    #[tokio::test]
    async fn readiness_waits_for_caches_and_names_them() {
        let health = Arc::new(Health::waiting_for(["rollouts", "services"]));
        let (address, stop, task) = started(&health).await;
        health.synced("services");
        let (code, text) = fetch(address, "/readyz").await;
        assert!(code == 503 && text.contains("waiting for caches: rollouts"), "{text}");
        assert_eq!(fetch(address, "/healthz").await.0, 200);
        health.synced("rollouts");
        assert_eq!(fetch(address, "/readyz").await.0, 200);
        health.fail("the watch of rollouts ended");
        assert_eq!(fetch(address, "/healthz").await.0, 503);
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn metrics_are_served_as_openmetrics_and_nothing_else_is_there() {
        let (address, stop, task) = started(&Arc::new(Health::default())).await;
        let (code, text) = fetch(address, "/metrics").await;
        assert_eq!(code, 200);
        assert!(text.contains("content-type: application/openmetrics-text"), "{text}");
        assert!(text.contains("sluice_build_info{version="), "{text}");
        assert_eq!(fetch(address, "/debug/pprof").await.0, 404);
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_open_connection_does_not_keep_the_server_for_ever() {
        let (address, stop, task) = started(&Arc::new(Health::default())).await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /metrics HTT").await.unwrap();
        assert_eq!(fetch(address, "/healthz").await.0, 200);
        stop.cancel();
        let patience = DRAIN + Duration::from_secs(30);
        tokio::time::timeout(patience, task).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_taken_address_is_named() {
        let first = HealthServer::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = HealthServer::bind(first.address()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("failed to listen on {}", first.address()));
    }
}
