//! The HTTP server of the test application. After `drain` begins it says that it is not ready, keeps answering, and closes
//! each connection after its current answer; it never drops a request that it has read.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::metrics::Metrics;

/// How often the store is tried, and for how long.
const STORE_INTERVAL: Duration = Duration::from_millis(200);

/// A bound listener and what its connections share.
pub(crate) struct Server {
    listener: TcpListener,
    shared: Rc<Shared>,
    connections: LocalSet,
    closing: watch::Sender<bool>,
}

struct Shared {
    config: Config,
    metrics: Metrics,
    started: Instant,
    draining: Cell<bool>,
    /// Nobody listens at the store that every page needs.
    is_store_away: Cell<bool>,
    open_connections: Cell<usize>,
}

impl Server {
    /// Listens on all addresses of the pod.
    pub(crate) async fn bind(config: Config) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", config.port)).await?;
        let shared = Shared {
            config,
            metrics: Metrics::default(),
            started: Instant::now(),
            draining: Cell::new(false),
            is_store_away: Cell::new(false),
            open_connections: Cell::new(0),
        };
        let (closing, _) = watch::channel(false);
        let (shared, connections) = (Rc::new(shared), LocalSet::new());
        if shared.config.store.is_some() {
            let _runs_as_long_as_the_set = connections.spawn_local(watch_store(Rc::clone(&shared)));
        }
        Ok(Self { listener, shared, connections, closing })
    }

    /// Accepts and serves for ever.
    pub(crate) async fn run(&self) {
        self.connections
            .run_until(async {
                loop {
                    // An error of accept concerns one connection or a passing shortage; neither ends the server.
                    match self.listener.accept().await {
                        Ok((stream, _)) => self.spawn(stream),
                        Err(_passing) => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
            })
            .await;
    }

    /// Not ready from now on; serves for `patience` more, then lets open connections finish, two seconds at most.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.shared.draining.set(true);
        let _elapsed = tokio::time::timeout(patience, self.run()).await;
        let _no_connection_listens = self.closing.send(true);
        let finished = self.connections.run_until(async {
            while self.shared.open_connections.get() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let _elapsed = tokio::time::timeout(Duration::from_secs(2), finished).await;
    }

    fn spawn(&self, stream: TcpStream) {
        let shared = Rc::clone(&self.shared);
        let mut closing = self.closing.subscribe();
        let _best_effort = stream.set_nodelay(true);
        shared.open_connections.set(shared.open_connections.get() + 1);
        tokio::task::spawn_local(async move {
            let for_requests = Rc::clone(&shared);
            let service = service_fn(move |request| answer(Rc::clone(&for_requests), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new());
            let mut connection =
                std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            let close = async {
                if closing.wait_for(|closing| *closing).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _broken_or_done = connection.as_mut() => {}
                () = close => {
                    connection.as_mut().graceful_shutdown();
                    let _broken_or_done = connection.await;
                }
            }
            shared.open_connections.set(shared.open_connections.get().saturating_sub(1));
        });
    }
}

/// Tries the store again and again, so that all pods miss it at the same moment.
async fn watch_store(shared: Rc<Shared>) {
    let Some(store) = shared.config.store.clone() else { return };
    loop {
        let tried = tokio::time::timeout(STORE_INTERVAL, TcpStream::connect(&store)).await;
        shared.is_store_away.set(!matches!(tried, Ok(Ok(_))));
        tokio::time::sleep(STORE_INTERVAL).await;
    }
}

async fn answer(
    shared: Rc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, shared.metrics.render()),
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => shared.ready(),
        _any_page => shared.page().await,
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    Ok(response)
}

impl Shared {
    fn ready(&self) -> (StatusCode, String) {
        if self.draining.get() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        } else if self.started.elapsed() < self.config.startup_delay {
            (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned())
        } else {
            (StatusCode::OK, "ready\n".to_owned())
        }
    }

    /// A page of the application: as slow and as broken as the configuration says.
    async fn page(&self) -> (StatusCode, String) {
        let from = Instant::now();
        let mut latency = self.config.latency;
        if self.config.latency_sigma > 0.0 {
            latency = latency.mul_f64((self.config.latency_sigma * standard_normal()).exp());
        }
        if self.config.slow_rate > 0.0 && fastrand::f64() < self.config.slow_rate {
            latency += self.config.slow;
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let fails = self.is_store_away.get()
            || (self.config.error_rate > 0.0 && fastrand::f64() < self.config.error_rate);
        let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        self.metrics.record(status.as_u16(), from.elapsed());
        // Both values come from a manifest and hold no characters that JSON would have to escape.
        let body = format!(
            "{{\"version\":\"{}\",\"pod\":\"{}\"}}\n",
            self.config.version, self.config.pod
        );
        (status, body)
    }
}

/// A draw from the standard normal distribution, by the method of Box and Muller.
fn standard_normal() -> f64 {
    // 1 - u is never 0, so the logarithm is finite.
    let radius = (-2.0 * (1.0 - fastrand::f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * fastrand::f64()).cos()
}
