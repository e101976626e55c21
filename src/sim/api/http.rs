//! The server on a loopback port, for kubectl and whoever else speaks HTTP.
//!
//! Every client names itself by a bearer token; whoever has none is refused. It listens on loopback
//! addresses only, and it is for people who look at a demonstration: deterministic runs use
//! [`Cluster::client`](super::Cluster::client) and no socket.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{Request as HttpRequest, Response as HttpResponse, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::access::Attributes;
use super::cluster::Cluster;
use super::failure::Failure;
use super::request::Identity;
use super::transport;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on 127.0.0.1:{port}")]
pub struct CannotListen {
    /// The port that was asked for; 0 for any.
    pub port: u16,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// A cluster that listens.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    cluster: Cluster,
    identities: Arc<BTreeMap<String, Identity>>,
}

impl HttpServer {
    /// Listens on a port of 127.0.0.1 (0 for any free one). `identities` are who bears which token.
    ///
    /// # Errors
    /// [`CannotListen`].
    pub async fn bind(
        cluster: Cluster,
        port: u16,
        identities: BTreeMap<String, Identity>,
    ) -> Result<Self, CannotListen> {
        let failed = |source| CannotListen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, cluster, identities: Arc::new(identities) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The text of a kubeconfig with one context that uses `token`.
    pub fn kubeconfig(&self, context: &str, token: &str) -> String {
        let server = format!("http://{}", self.address);
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": context,
            "clusters": [{"name": context, "cluster": {"server": server}}],
            "users": [{"name": context, "user": {"token": token}}],
            "contexts": [{
                "name": context,
                "context": {"cluster": context, "user": context, "namespace": "default"},
            }],
        });
        // JSON is YAML too.
        config.to_string()
    }

    /// Serves until `stop`. Open watches end with it.
    ///
    /// # Errors
    /// What the listener says.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), std::io::Error> {
        let (cluster, identities) = (self.cluster, self.identities);
        let ended = stop.clone();
        let router = Router::new().fallback(move |request: HttpRequest<Body>| {
            let (cluster, identities) = (cluster.clone(), identities.clone());
            async move { answer(cluster, &identities, request).await }
        });
        let serving = axum::serve(self.listener, router).into_future();
        futures::future::select(Box::pin(serving), Box::pin(ended.cancelled())).await;
        Ok(())
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
    let service_account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let mut other = match service_account {
        Some((namespace, name)) => Identity::service_account(namespace, name),
        None => Identity { user: user.to_owned(), groups: vec!["system:authenticated".to_owned()] },
    };
    let groups = request.headers().get_all("impersonate-group").iter();
    other.groups.extend(groups.filter_map(|group| group.to_str().ok()).map(str::to_owned));
    let wanted = |resource: &str, name: &str| Attributes {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    cluster.change(|state| {
        state.server.authorize(identity, &wanted("users", user))?;
        for group in &other.groups {
            if group != "system:authenticated" {
                state.server.authorize(identity, &wanted("groups", group))?;
            }
        }
        Ok::<_, Failure>(())
    })?;
    Ok(other)
}
