//! A client for lists and watches whose requests come to an end. A connection that died without a
//! word would otherwise hold a cache where it stands for as long as the kernel believes in it, a
//! quarter of an hour, and everything that waits for the cache's news. The watch itself is looked
//! after by kube, which ends one that has been silent for longer than the server may be.

use std::future::Future;
use std::io;
use std::time::Duration;

use http::{Request, Response, Uri};
use kube::Client;
use kube::client::Body;

/// Longest time until a list is there or a watch has begun: what the API server itself allows a
/// request by default (`--request-timeout`).
const LIMIT: Duration = Duration::from_mins(1);

/// The same client; its lists, and the beginnings of its watches, end after a minute at the latest.
pub(super) fn limited(client: &Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let client = client.clone();
        within_limit(async move {
            let is_watch = is_watch(request.uri());
            let response = client.send(request).await?;
            if is_watch {
                return Ok(response);
            }
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, Body::from(body.collect_bytes().await?)))
        })
    });
    Client::new(service, namespace)
}

async fn within_limit<T>(answer: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let too_late = || {
        let text = format!("no answer within {} s", LIMIT.as_secs());
        kube::Error::Service(Box::new(io::Error::new(io::ErrorKind::TimedOut, text)))
    };
    tokio::time::timeout(LIMIT, answer).await.unwrap_or_else(|_| Err(too_late()))
}

fn is_watch(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::api::{Api, ListParams, WatchParams};
    use kube::core::DynamicObject;

    use crate::observe::caches::services;

    /// A server that takes every request and answers none.
    fn silent() -> Api<DynamicObject> {
        let service = tower::service_fn(|_: Request<Body>| async {
            std::future::pending::<Result<Response<Body>, io::Error>>().await
        });
        let client = limited(&Client::new(service, "default"));
        Api::default_namespaced_with(client, &services())
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_and_a_watch_that_are_never_answered_come_to_an_end() {
        let began = tokio::time::Instant::now();
        let error = silent().list(&ListParams::default()).await.unwrap_err();
        assert!(crate::telemetry::chain(&error).contains("no answer within 60 s"), "{error}");
        assert_eq!(began.elapsed(), LIMIT);
        assert!(silent().watch(&WatchParams::default(), "1").await.is_err());
    }

    #[test]
    fn a_watch_is_known_by_its_query() {
        let is = |text: &str| is_watch(&text.parse().unwrap());
        assert!(is("/api/v1/pods?labelSelector=x&watch=true&timeoutSeconds=290"));
        assert!(!is("/api/v1/pods?labelSelector=watch%3Dtrue"));
        assert!(!is("/api/v1/pods"));
    }
}
