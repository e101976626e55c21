//! One request to the Kubernetes API and what became of it.
//!
//! Never retries, never waits longer than its time limit, and never calls a request failed of which
//! it does not know whether the server carried it out. Reads and the Lease go through here directly,
//! all other writes through [`crate::act::guard`].
//!
//! Answers follow the Kubernetes API conventions, "HTTP Status codes" and "Response Status Kind".

use std::error::Error as StdError;
use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, header};
use kube::client::{Body, ClientBuilder};
use kube::core::{ApiResource, Status};
use kube::{Client, Config};
use serde_json::Value;

use crate::observe::read_object;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::requests::CountRequests;
use crate::telemetry::tidy;

/// Time limit of one API call unless another is given.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for `config` that never retries by itself and counts its requests in `metrics`.
///
/// kube retries 429, 503 and 504 of any method unless told otherwise; a 504 may have been carried
/// out, so repeating it could act twice.
///
/// # Errors
/// What is wrong with the configuration.
pub fn connect(mut config: Config, metrics: &Arc<Metrics>) -> Result<Client, kube::Error> {
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&CountRequests::new(Arc::clone(metrics))).build())
}

/// An object of the API by name; it need not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// What kind of object.
    pub resource: ApiResource,
    /// Its namespace; none for kinds of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The object `name` in `namespace`.
    pub fn namespaced(resource: &ApiResource, namespace: &str, name: &str) -> Self {
        let namespace = Some(namespace.to_owned());
        Self { resource: resource.clone(), namespace, name: name.to_owned() }
    }

    /// The object `name` of the cluster.
    pub fn of_cluster(resource: &ApiResource, name: &str) -> Self {
        Self { resource: resource.clone(), namespace: None, name: name.to_owned() }
    }

    /// Path of the collection, or of the object with an optional subresource.
    ///
    /// Names come from what users write, so a name that could lead elsewhere is refused.
    ///
    /// # Errors
    /// [`BadName`] with the offending part.
    pub fn path(&self, part: Part) -> Result<String, BadName> {
        let resource = &self.resource;
        let root = if resource.group.is_empty() { "api" } else { "apis" };
        let mut path = format!("/{root}/{}", resource.api_version);
        if let Some(namespace) = &self.namespace {
            let _ = write!(path, "/namespaces/{}", safe(namespace)?);
        }
        let _ = write!(path, "/{}", resource.plural);
        match part {
            Part::Collection => {}
            Part::Object => {
                let _ = write!(path, "/{}", safe(&self.name)?);
            }
            Part::Sub(subresource) => {
                let _ = write!(path, "/{}/{subresource}", safe(&self.name)?);
            }
        }
        Ok(path)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.resource.kind)?;
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Which path of a [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The collection it belongs to.
    Collection,
    /// The object itself.
    Object,
    /// A subresource of it, such as `status`.
    Sub(&'static str),
}

/// A name that cannot be the name of an object of the API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid object name: use letters, digits, '-', '.' and ':'")]
pub struct BadName(String);

/// The part of a path, if it is one: RFC 1123 names, and the colon of RBAC names.
fn safe(name: &str) -> Result<&str, BadName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':');
    let is_name = name.bytes().all(plain) && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if is_name && name.len() <= 253 { Ok(name) } else { Err(BadName(tidy(name))) }
}

/// What became of a request.
#[derive(Debug)]
pub enum Reply {
    /// The server carried it out and answered with an object (a Status for some deletions).
    Done(Value),
    /// The server refused it; it had no effect.
    Refused(Refusal),
    /// Nothing was sent: the server could not be reached, or the request could not be built.
    NotSent(String),
    /// It may have been carried out, may still be, or may never be.
    Unknown(Doubt),
}

/// A definite refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, 400 to 499.
    pub code: u16,
    /// Machine-readable reason, e.g. `Invalid`; may be empty.
    pub reason: String,
    /// For people; shortened and free of control characters.
    pub message: String,
    /// `details.causes`: field and reason.
    pub causes: Vec<Cause>,
    /// When to come back, if the server said so.
    pub retry_after: Option<Duration>,
}

/// One entry of `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Field path; may be empty.
    pub field: String,
    /// Machine-readable reason.
    pub reason: String,
}

/// Why the result of a request is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// No answer within the time limit.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke after the request may have left.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The server failed half-way (5xx; a 504 says nothing about the effect).
    #[error("the server answered {code}: {message}")]
    ServerError {
        /// HTTP status.
        code: u16,
        /// For people.
        message: String,
        /// When to come back, if the server said so.
        retry_after: Option<Duration>,
    },
    /// The answer says success but is not JSON.
    #[error("the answer cannot be read: {0}")]
    BadAnswer(String),
    /// The leadership ended while the request was under way.
    #[error("the leadership ended while the request was under way")]
    Abandoned,
}

/// What a read found.
#[derive(Debug)]
pub enum Read {
    /// The object as the server has it now.
    Found(Value),
    /// The server says that there is none.
    Absent,
    /// Unknown, and why.
    Failed(ReadFailure),
}

/// Why a read found nothing out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// Refused, e.g. for want of rights.
    #[error("the server refused with {code}: {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// For people.
        message: String,
        /// When to come back, if the server said so.
        retry_after: Option<Duration>,
    },
    /// No usable answer.
    #[error("no usable answer: {0}")]
    Unreachable(String),
}

/// Sends single requests with a time limit each.
#[derive(Clone)]
pub struct Wire {
    client: Client,
    timeout: Duration,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Wire {
    /// Requests through `client`, which must not retry; see [`connect`].
    pub fn new(client: Client) -> Self {
        Self { client, timeout: DEFAULT_TIMEOUT }
    }

    /// The same with another time limit for each request.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The client, for watches.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A quorum read of one object.
    pub async fn get(&self, target: &Target) -> Read {
        let path = match target.path(Part::Object) {
            Ok(path) => path,
            Err(error) => return Read::Failed(ReadFailure::Unreachable(error.to_string())),
        };
        match self.exchange(Method::GET, path, "", None).await {
            Reply::Done(object) => Read::Found(object),
            Reply::Refused(refusal) if refusal.code == 404 => Read::Absent,
            reply => Read::Failed(failed(reply)),
        }
    }

    /// A quorum read of the objects in a namespace whose label is `value`: at most so many.
    ///
    /// # Errors
    /// Why nothing is known.
    pub async fn labelled(
        &self,
        resource: &ApiResource,
        namespace: &str,
        (label, value): (&str, &str),
        most: u32,
    ) -> Result<Vec<Value>, ReadFailure> {
        let path = Target::namespaced(resource, namespace, "").path(Part::Collection);
        let path = path.map_err(|error| ReadFailure::Unreachable(error.to_string()))?;
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("labelSelector", &format!("{label}={value}"))
            .append_pair("limit", &most.to_string())
            .finish();
        match self.exchange(Method::GET, format!("{path}?{query}"), "", None).await {
            Reply::Done(mut list) => match list.get_mut("items").map(Value::take) {
                Some(Value::Array(items)) => Ok(items),
                Some(_) | None => Err(ReadFailure::Unreachable("the answer is no list".to_owned())),
            },
            reply => Err(failed(reply)),
        }
    }

    /// Sends `body` to `path` and waits for the answer within the time limit.
    pub async fn exchange(
        &self,
        method: Method,
        path: String,
        content_type: &'static str,
        body: Option<&Value>,
    ) -> Reply {
        let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::ACCEPT, "application/json");
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = match request.body(Body::from(bytes)) {
            Ok(request) => request,
            Err(error) => return Reply::NotSent(tidy(&error.to_string())),
        };
        match tokio::time::timeout(self.timeout, self.send(request)).await {
            Ok(reply) => reply,
            Err(_) => Reply::Unknown(Doubt::Timeout(self.timeout)),
        }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = match self.client.send(request).await {
            Ok(response) => response,
            Err(error) if never_left(&error) => return Reply::NotSent(tidy(&error.to_string())),
            Err(error) => return Reply::Unknown(Doubt::Broken(tidy(&error.to_string()))),
        };
        let code = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let bytes = match response.into_body().collect_bytes().await {
            Ok(bytes) => bytes,
            Err(error) if (200..300).contains(&code) => {
                return Reply::Unknown(Doubt::Broken(tidy(&error.to_string())));
            }
            // The refusal stands even if its text got lost.
            Err(_) => return refusal(code, retry_after, b""),
        };
        if !(200..300).contains(&code) {
            return refusal(code, retry_after, &bytes);
        }
        match read_object(&bytes) {
            Ok(object) => Reply::Done(object),
            // The text of a serde error names a position, never the content.
            Err(error) => Reply::Unknown(Doubt::BadAnswer(error.to_string())),
        }
    }
}

/// Why a read found nothing out.
fn failed(reply: Reply) -> ReadFailure {
    match reply {
        Reply::Refused(Refusal { code, message, retry_after, .. }) => {
            ReadFailure::Refused { code, message, retry_after }
        }
        Reply::NotSent(message) => ReadFailure::Unreachable(message),
        Reply::Unknown(doubt) => ReadFailure::Unreachable(doubt.to_string()),
        Reply::Done(_) => ReadFailure::Unreachable("the answer is of another kind".to_owned()),
    }
}

/// Whether the request certainly did not reach a server: the connection was refused. Anything else
/// (a reset, an unexpected end, a failed pool) may come after the request has left.
fn never_left(error: &kube::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = next {
        if let Some(io_error) = current.downcast_ref::<io::Error>()
            && io_error.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        next = current.source();
    }
    false
}

/// An answer other than success: definite below 500, unknown from there on.
fn refusal(code: u16, header: Option<Duration>, body: &[u8]) -> Reply {
    let status = serde_json::from_slice::<Status>(body)
        .unwrap_or_else(|_| Status::failure(&String::from_utf8_lossy(body), "").with_code(code));
    let details = status.details;
    let asked = details.as_ref().map(|details| details.retry_after_seconds).filter(|s| *s > 0);
    let retry_after = header.or(asked.map(|seconds| Duration::from_secs(u64::from(seconds))));
    let message = tidy(&status.message);
    if !(400..500).contains(&code) {
        return Reply::Unknown(Doubt::ServerError { code, message, retry_after });
    }
    let causes = details.map(|details| details.causes).unwrap_or_default();
    let causes = causes
        .into_iter()
        .map(|cause| Cause { field: tidy(&cause.field), reason: tidy(&cause.reason) })
        .collect();
    Reply::Refused(Refusal { code, reason: tidy(&status.reason), message, causes, retry_after })
}

#[cfg(test)]
mod tests {
    use kube::core::GroupVersionKind;

    use super::*;

    fn routes() -> ApiResource {
        let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        ApiResource::from_gvk_with_plural(&gvk, "httproutes")
    }

    #[test]
    fn paths_follow_the_conventions_of_the_api() {
        let route = Target::namespaced(&routes(), "shop", "web.v1");
        let path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes";
        assert_eq!(route.path(Part::Collection), Ok(path.to_owned()));
        assert_eq!(route.path(Part::Object), Ok(format!("{path}/web.v1")));
        assert_eq!(route.path(Part::Sub("status")), Ok(format!("{path}/web.v1/status")));
        let node =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Node"), "nodes");
        let node = Target::of_cluster(&node, "n1").path(Part::Object);
        assert_eq!(node, Ok("/api/v1/nodes/n1".to_owned()));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_name() {
        for name in ["", ".", "..", "../../secrets/x", "a/b", "a?b=c", "a%2fb", "a b", "a\n", "ä"]
        {
            let target = Target::namespaced(&routes(), "shop", name);
            assert!(target.path(Part::Object).is_err(), "{name:?}");
            let target = Target::namespaced(&routes(), name, "web");
            assert!(target.path(Part::Collection).is_err(), "{name:?}");
        }
    }

    #[test]
    fn client_errors_are_definite_and_server_errors_are_not() {
        for code in [400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429] {
            assert!(matches!(refusal(code, None, b"no"), Reply::Refused(_)), "{code}");
        }
        for code in [301, 500, 502, 503, 504] {
            assert!(matches!(refusal(code, None, b"no"), Reply::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn the_pause_a_server_asks_for_comes_from_the_header_or_the_body() {
        let body = br#"{"kind":"Status","message":"slow down","reason":"TooManyRequests",
            "code":429,"details":{"retryAfterSeconds":3}}"#;
        let pause = |header| match refusal(429, header, body) {
            Reply::Refused(refusal) => refusal.retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(pause(None), Some(Duration::from_secs(3)));
        assert_eq!(pause(Some(Duration::from_secs(9))), Some(Duration::from_secs(9)));
    }

    /// A server that answers every request on every connection with `answer`.
    async fn serve(answer: &'static str) -> (Config, tokio::task::JoinHandle<()>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                        let _ = stream.write_all(answer.as_bytes()).await;
                        if answer.is_empty() {
                            return;
                        }
                    }
                });
            }
        });
        (Config::new(uri), task)
    }

    async fn get_once(config: Config) -> (Read, String) {
        let metrics = Arc::new(Metrics::default());
        let wire = Wire::new(connect(config, &metrics).unwrap());
        let read = wire.get(&Target::namespaced(&routes(), "shop", "web")).await;
        (read, metrics.render(chrono::Utc::now()))
    }

    #[tokio::test]
    async fn a_connected_client_sends_once_whatever_the_answer_and_counts_it() {
        let answer = "HTTP/1.1 503 Unavailable\r\nretry-after: 4\r\ncontent-length: 0\r\n\r\n";
        let (config, server) = serve(answer).await;
        let (read, metrics) = get_once(config).await;
        assert!(matches!(read, Read::Failed(ReadFailure::Unreachable(_))), "{read:?}");
        let labels = r#"{verb="get",resource="httproutes",code="503"}"#;
        assert!(metrics.contains(&format!("sluice_api_requests_total{labels} 1\n")), "{metrics}");
        server.abort();
    }

    #[tokio::test]
    async fn a_refused_connection_is_no_doubt_and_a_broken_one_is() {
        let (config, server) = serve("").await;
        let wire = Wire::new(connect(config.clone(), &Arc::default()).unwrap());
        let send = || wire.exchange(Method::PATCH, "/api/v1/x".to_owned(), "", None);
        let reply = send().await;
        assert!(matches!(reply, Reply::Unknown(Doubt::Broken(_))), "{reply:?}");
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        let reply = send().await;
        assert!(matches!(reply, Reply::NotSent(_)), "{reply:?}");
    }
}
