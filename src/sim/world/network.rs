//! The network between the controller and metrics servers: the port under measurements, answered by
//! the Prometheus and the web servers of the world.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::behaviour::QueryAnswer;
use super::inner::Inner;
use super::span::Span;
use crate::metrics::address::shown_address;
use crate::metrics::exchange::{Answer, Asked, Exchange, Question};
use crate::metrics::sample::MeasureError;
use crate::metrics::transport::MAX_ANSWER_BYTES;

/// A host name of Prometheus that stands for every one.
pub const ANY_HOST: &str = "*";

/// The answer to web measurements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebAnswer {
    /// HTTP status; 0 for a server that cannot be reached.
    pub status: u16,
    /// Time that it takes.
    pub after: Span,
    /// The body.
    pub body: Value,
}

impl Default for WebAnswer {
    fn default() -> Self {
        Self { status: 200, after: Span::ms(20), body: Value::Null }
    }
}

/// The network of one world.
#[derive(Clone, Debug)]
pub(crate) struct Network(pub(crate) Arc<Inner>);

impl Exchange for Network {
    fn ask(&self, asked: Asked) -> BoxFuture<'_, Result<Answer, MeasureError>> {
        Box::pin(async move {
            match asked.question {
                Question::Promql { query, range } => {
                    let is_known = self.0.prometheus_host == ANY_HOST
                        || asked.url.host_str() == Some(self.0.prometheus_host.as_str());
                    if !is_known {
                        return Err(unreachable(&asked.url, "the name cannot be resolved"));
                    }
                    self.query(&asked.url, &query, range).await
                }
                Question::Web { .. } => self.web(&asked.url).await,
            }
        })
    }
}

impl Network {
    async fn query(
        &self,
        url: &Url,
        query: &str,
        range: Option<crate::metrics::spec::prometheus::ResolvedRange>,
    ) -> Result<Answer, MeasureError> {
        let (delay, answer) = {
            let mut room = self.0.room();
            let behaviour = room.behaviour.prometheus.clone();
            (room.delay(behaviour.answers_after), behaviour.answer)
        };
        match answer {
            QueryAnswer::Down => return Err(unreachable(url, "the connection was refused")),
            // The time limit of the measurement ends it.
            QueryAnswer::Hangs => std::future::pending::<()>().await,
            _ => {}
        }
        self.0.wait(delay).await;
        match answer {
            QueryAnswer::Status(status) => {
                let content_type = "text/html".to_owned();
                let body = b"<html>the server is not well</html>".to_vec();
                Ok(Answer { status, content_type, body })
            }
            QueryAnswer::TooLarge(bytes) if bytes > MAX_ANSWER_BYTES => {
                Err(MeasureError::TooLarge { limit: MAX_ANSWER_BYTES })
            }
            _ => {
                let now = self.0.clock.now();
                let mut room = self.0.room();
                let behaviour = room.behaviour.prometheus.clone();
                Ok(room.prometheus.answer(query, range, &behaviour, now))
            }
        }
    }

    async fn web(&self, url: &Url) -> Result<Answer, MeasureError> {
        let (delay, found) = {
            let mut room = self.0.room();
            let found = room.behaviour.of_url(url.as_str()).cloned();
            (room.delay(found.as_ref().map(|found| found.after).unwrap_or_default()), found)
        };
        let Some(found) = found.filter(|found| found.status != 0) else {
            return Err(unreachable(url, "the connection was refused"));
        };
        self.0.wait(delay).await;
        let content_type = "application/json".to_owned();
        let body = found.body.to_string().into_bytes();
        Ok(Answer { status: found.status, content_type, body })
    }
}

fn unreachable(url: &Url, detail: &str) -> MeasureError {
    MeasureError::Unreachable { address: shown_address(url), detail: detail.to_owned() }
}
