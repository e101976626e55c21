//! The port under a measurement: one request to a metrics server and its answer. The network is
//! behind it in a cluster, a server in memory in simulations. What is asked, where to, with which
//! headers and limits, and what an answer means is decided above it.

use std::fmt;

use futures::future::BoxFuture;
use http::HeaderMap;
use url::Url;

use super::sample::MeasureError;
use super::spec::prometheus::ResolvedRange;

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type` in lower case; empty if there is none.
    pub content_type: String,
    /// The body as it was received.
    pub body: Vec<u8>,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Base URL of a Prometheus, or the whole URL of a web request.
    pub url: Url,
    /// Headers, with those that carry credentials.
    pub headers: HeaderMap,
    /// What is asked for.
    pub question: Question,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Question {
    /// A PromQL query, with arguments filled in.
    Promql {
        /// The query.
        query: String,
        /// The time range of a range query; none for the present.
        range: Option<ResolvedRange>,
    },
    /// A web request.
    Web {
        /// `GET`, `POST` or `PUT`.
        method: http::Method,
        /// Body; empty if there is none.
        body: String,
    },
}

/// Who carries a request to a server and brings the answer. The caller has checked the address and
/// limits the time.
pub trait Exchange: fmt::Debug + Send + Sync {
    /// One request. An answer of any status is an answer.
    fn ask(&self, asked: Asked) -> BoxFuture<'_, Result<Answer, MeasureError>>;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::metrics::endpoint::ResolvedEndpoint;
    use crate::metrics::{AddressPolicy, SampleValue, Transport, prometheus, web};

    #[derive(Debug, Default)]
    struct Scripted {
        body: String,
        asked: Mutex<Vec<Asked>>,
    }

    impl Exchange for Scripted {
        fn ask(&self, asked: Asked) -> BoxFuture<'_, Result<Answer, MeasureError>> {
            self.asked.lock().unwrap().push(asked);
            let content_type = "application/json".to_owned();
            let answer = Answer { status: 200, content_type, body: self.body.clone().into_bytes() };
            Box::pin(async move { Ok(answer) })
        }
    }

    fn transport(scripted: &Arc<Scripted>) -> Transport {
        let allowed_hosts = vec!["prometheus.monitoring".to_owned()];
        let policy = AddressPolicy { allowed_hosts, ..AddressPolicy::default() };
        Transport::new(policy).through(scripted.clone())
    }

    #[tokio::test]
    async fn query_and_address_arrive_and_the_answer_is_judged_as_any_other() {
        let body = r#"{"status":"success","data":{"resultType":"scalar","result":[0,"0.25"]}}"#;
        let scripted = Arc::new(Scripted { body: body.to_owned(), ..Scripted::default() });
        let endpoint = ResolvedEndpoint::inline("http://prometheus.monitoring:9090").ok().unwrap();
        let spec = serde_json::from_value(json!({"query": "scalar(up)"})).unwrap();
        let now = DateTime::from_timestamp(0, 0).unwrap();
        let sample = prometheus::measure(&transport(&scripted), &endpoint, &spec, now).await;
        assert_eq!(sample.unwrap().value, SampleValue::Number(0.25));
        let asked = scripted.asked.lock().unwrap().remove(0);
        assert_eq!(asked.url.as_str(), "http://prometheus.monitoring:9090/");
        let is_query = matches!(asked.question, Question::Promql { query, range: None } if query == "scalar(up)");
        assert!(is_query);
    }

    #[tokio::test]
    async fn an_address_that_is_not_permitted_is_not_asked_here_either() {
        let scripted = Arc::new(Scripted::default());
        let endpoint = ResolvedEndpoint::inline("http://evil.example").ok().unwrap();
        let spec = serde_json::from_value(json!({"url": "http://evil.example"})).unwrap();
        let refused = web::measure(&transport(&scripted), &endpoint, &spec).await;
        assert!(matches!(refused, Err(MeasureError::NotPermitted { .. })), "{refused:?}");
        assert!(scripted.asked.lock().unwrap().is_empty());
    }
}
