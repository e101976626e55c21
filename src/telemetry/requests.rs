//! Counts every request of the kube client, watches and lists included.
//!
//! A layer of the client, so that nothing can be sent past it. It reads method and path only, never
//! headers or bodies.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use tower::{Layer, Service};

use crate::telemetry::metrics::Metrics;

/// The layer; see [`crate::act::wire::connect`].
#[derive(Clone, Debug)]
pub struct CountRequests {
    metrics: Arc<Metrics>,
}

impl CountRequests {
    /// Counts in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;
    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, metrics: Arc::clone(&self.metrics) }
    }
}

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for Counted<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (verb, resource) = name_of(request.method(), request.uri());
        let mut count = Pending { metrics: Arc::clone(&self.metrics), verb, resource, done: false };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            match &answer {
                Ok(response) => count.finish(response.status().as_str()),
                Err(_) => count.finish("error"),
            }
            answer
        })
    }
}

/// Counts a request even if nobody waits for its answer any more.
struct Pending {
    metrics: Arc<Metrics>,
    verb: &'static str,
    resource: String,
    done: bool,
}

impl Pending {
    fn finish(&mut self, code: &str) {
        self.metrics.api_request(self.verb, &self.resource, code);
        self.done = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            self.finish("abandoned");
        }
    }
}

/// The verb as in RBAC, and `resource` or `resource/subresource`, of an API request.
fn name_of(method: &Method, uri: &http::Uri) -> (&'static str, String) {
    let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
    let groups = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        Some(_) | None => return (verb_of(method, true, false), "other".to_owned()),
    };
    let mut rest: Vec<&str> = parts.skip(groups).collect();
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    let watching = uri.query().is_some_and(|query| {
        query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1")
    });
    let verb = verb_of(method, rest.len() > 1, watching);
    let resource = match (rest.first(), rest.get(2)) {
        (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
        (Some(resource), None) => (*resource).to_owned(),
        (None, _) => "discovery".to_owned(),
    };
    (verb, resource)
}

fn verb_of(method: &Method, one_object: bool, watching: bool) -> &'static str {
    match *method {
        Method::GET if watching => "watch",
        Method::GET if one_object => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if one_object => "delete",
        Method::DELETE => "deletecollection",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_verb_and_resource_and_never_by_object() {
        let name = |method: Method, uri: &str| {
            let (verb, resource) = name_of(&method, &uri.parse().unwrap());
            format!("{verb} {resource}")
        };
        let base = "/apis/sluice.dev/v1alpha1/namespaces/shop/rollouts";
        assert_eq!(name(Method::GET, &format!("{base}/web")), "get rollouts");
        assert_eq!(name(Method::PATCH, &format!("{base}/web/status?")), "patch rollouts/status");
        assert_eq!(
            name(Method::GET, "/apis/sluice.dev/v1alpha1/rollouts?&watch=true"),
            "watch rollouts"
        );
        assert_eq!(name(Method::GET, &format!("{base}?limit=5")), "list rollouts");
        assert_eq!(
            name(Method::POST, "/api/v1/namespaces/shop/pods/p/eviction"),
            "create pods/eviction"
        );
        assert_eq!(name(Method::GET, "/api/v1/namespaces/shop"), "get namespaces");
        assert_eq!(name(Method::GET, "/apis/sluice.dev/v1alpha1"), "list discovery");
        assert_eq!(name(Method::GET, "/version"), "get other");
    }
}
