//! The server on a loopback port, for kubectl and whoever else speaks HTTP.
//!
//! Callers name themselves by bearer tokens, as kubectl does over TLS only; the certificate is made
//! at the start, and its key is nowhere but in this process. It listens on 127.0.0.1 only. It is for
//! people who look at a demonstration: deterministic runs use
//! [`Cluster::client`](super::Cluster::client) and no socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::select;
use http::{Request as HttpRequest, Response as HttpResponse, StatusCode, header};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::access::Attributes;
use super::cluster::Cluster;
use super::failure::Failure;
use super::request::Identity;
use super::transport;

/// Connections whose handshake is done and that nobody has taken yet.
const MOST_WAITING: usize = 16;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// The port cannot be had.
    #[error("failed to listen on 127.0.0.1:{port}")]
    Port {
        /// The port that was asked for; 0 for any.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be made.
    #[error("failed to make a certificate for 127.0.0.1")]
    Certificate(#[from] rcgen::Error),
    /// The certificate cannot be used.
    #[error("failed to use the certificate for 127.0.0.1")]
    Tls(#[from] rustls::Error),
}

/// Somebody who may use the server.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the context in the kubeconfig.
    pub context: String,
    /// Bearer token: text that others do not guess.
    pub token: String,
    /// Namespace of the context.
    pub namespace: String,
    /// As whom requests are carried out.
    pub identity: Identity,
}

/// A cluster that listens.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    cluster: Cluster,
    callers: Vec<Caller>,
    /// Certificate in PEM.
    certificate: String,
    tls: Arc<ServerConfig>,
}

impl HttpServer {
    /// Listens on a port of 127.0.0.1 (0 for any free one). The first caller is the one of the
    /// kubeconfig's current context.
    ///
    /// # Errors
    /// [`CannotListen`].
    pub async fn bind(
        cluster: Cluster,
        port: u16,
        callers: Vec<Caller>,
    ) -> Result<Self, CannotListen> {
        let failed = |source| CannotListen::Port { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let certificate = params.self_signed(&key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )?;
        let certificate = certificate.pem();
        Ok(Self { listener, address, cluster, callers, certificate, tls: Arc::new(tls) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The text of a kubeconfig with one context for each caller. It holds their tokens.
    pub fn kubeconfig(&self) -> String {
        const CLUSTER: &str = "memory";
        let users: Vec<_> = self
            .callers
            .iter()
            .map(|caller| json!({"name": caller.context, "user": {"token": caller.token}}))
            .collect();
        let contexts: Vec<_> = self
            .callers
            .iter()
            .map(|caller| {
                let (name, namespace) = (&caller.context, &caller.namespace);
                let context = json!({"cluster": CLUSTER, "user": name, "namespace": namespace});
                json!({"name": name, "context": context})
            })
            .collect();
        let current = self.callers.first().map(|caller| &caller.context);
        let cluster = json!({
            "server": format!("https://{}", self.address),
            "certificate-authority-data": STANDARD.encode(&self.certificate),
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "clusters": [{"name": CLUSTER, "cluster": cluster}],
            "contexts": contexts, "users": users,
        });
        // JSON is YAML too.
        format!("{config:#}\n")
    }

    /// Serves until `stop`. Open watches end with it.
    pub async fn serve(self, stop: CancellationToken) {
        let cluster = self.cluster;
        let identities =
            self.callers.into_iter().map(|caller| (caller.token, caller.identity)).collect();
        let identities: Arc<BTreeMap<String, Identity>> = Arc::new(identities);
        let router = Router::new().fallback(move |request: HttpRequest<Body>| {
            let (cluster, identities) = (cluster.clone(), identities.clone());
            async move { answer(cluster, &identities, request).await }
        });
        let (sender, ready) = mpsc::channel(MOST_WAITING);
        let accepting = tokio::spawn(accept(self.listener, TlsAcceptor::from(self.tls), sender));
        let listener = Handshaken { ready, address: self.address };
        select(pin!(stop.cancelled()), pin!(axum::serve(listener, router).into_future())).await;
        accepting.abort();
    }
}

/// Connections after their handshake. A slow one holds up no other.
struct Handshaken {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl axum::serve::Listener for Handshaken {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // Nobody listens any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

async fn accept(
    mut listener: TcpListener,
    tls: TlsAcceptor,
    sender: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    loop {
        // axum's own way of accepting waits and tries again where there are no free sockets.
        let (stream, peer) = axum::serve::Listener::accept(&mut listener).await;
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            // Whoever does not speak TLS hangs up and tells its user.
            if let Ok(stream) = tls.accept(stream).await {
                let _ = sender.send((stream, peer)).await;
            }
        });
    }
}

async fn answer(
    cluster: Cluster,
    identities: &BTreeMap<String, Identity>,
    request: HttpRequest<Body>,
) -> HttpResponse<Body> {
    let token = header_text(&request, header::AUTHORIZATION.as_str());
    let token = token.strip_prefix("Bearer ").unwrap_or_default();
    let Some(identity) = identities.get(token) else {
        return transport::refused(&Failure::unauthorized());
    };
    let identity = match impersonated(&cluster, identity, &request) {
        Ok(identity) => identity,
        Err(failure) => return transport::refused(&failure),
    };
    match transport::serve(cluster, identity, request).await {
        Ok(response) => response,
        Err(error) => {
            let mut response = HttpResponse::new(Body::from(error.to_string()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

fn header_text<'a>(request: &'a HttpRequest<Body>, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Who a request is made as: `kubectl --as`.
fn impersonated(
    cluster: &Cluster,
    identity: &Identity,
    request: &HttpRequest<Body>,
) -> Result<Identity, Failure> {
    let user = header_text(request, "impersonate-user");
    if user.is_empty() {
        return Ok(identity.clone());
    }
    let service_account =
        user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let mut other = match service_account {
        Some((namespace, name)) => Identity::service_account(namespace, name),
        None => Identity {
            user: user.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            pod: String::new(),
        },
    };
    let groups = request.headers().get_all("impersonate-group").iter();
    let groups = groups.filter_map(|group| group.to_str().ok()).map(str::to_owned);
    let groups: Vec<String> = groups.collect();
    let wanted = |resource: &str, name: &str| Attributes {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    cluster.change(|state| {
        state.server.authorize(identity, &wanted("users", user))?;
        groups.iter().try_for_each(|group| {
            state.server.authorize(identity, &wanted("groups", group)).map(drop)
        })
    })?;
    other.groups.extend(groups);
    Ok(other)
}
