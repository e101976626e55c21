//! Series that were written down or recorded, behind the API of Prometheus: what a template would have
//! seen. Time is set from outside; the series never change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::promql::{Labels, NAME, Queries, QueryError, STALE, Store, wire};
use crate::metrics::exchange::{Answer, Asked, Exchange, Question};
use crate::metrics::sample::MeasureError;
use crate::metrics::spec::prometheus::ResolvedRange;

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedSeries {
    /// Name of the metric.
    pub name: String,
    /// Its labels, without the name.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970, ascending, each with a value; none: the series ends there.
    pub points: Vec<(i64, Option<f64>)>,
}

/// A server with such series.
pub struct Recorded {
    state: Mutex<State>,
}

struct State {
    store: Store,
    queries: Queries,
    /// The present, in milliseconds.
    now: i64,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

impl Recorded {
    /// A server that holds all of it.
    pub fn new<'a>(series: impl IntoIterator<Item = &'a RecordedSeries>) -> Self {
        let mut store = Store::default();
        for one in series {
            let mut labels: Labels = one.labels.clone();
            labels.insert(NAME.to_owned(), one.name.clone());
            let id = store.series(labels);
            for (at, value) in &one.points {
                store.append(id, *at, value.unwrap_or(STALE));
            }
        }
        Self { state: Mutex::new(State { store, queries: Queries::default(), now: 0 }) }
    }

    /// Moves the present; queries without a time of their own are about it.
    pub fn set_now(&self, now: DateTime<Utc>) {
        self.state().now = now.timestamp_millis();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer(&mut self, text: &str, range: Option<ResolvedRange>) -> Result<Answer, QueryError> {
        let outcome = self.queries.value(&self.store, text, range, self.now)?;
        Ok(wire::answer(200, &wire::success(&outcome, self.now)))
    }
}

impl Exchange for Recorded {
    fn ask(&self, asked: Asked) -> BoxFuture<'_, Result<Answer, MeasureError>> {
        let answer = match &asked.question {
            Question::Promql { query, range } => {
                let answered = self.state().answer(query, *range);
                Ok(answered.unwrap_or_else(|error| wire::refusal(&error)))
            }
            Question::Web { .. } => Err(MeasureError::Unusable(
                "recorded series answer queries of Prometheus, and no web requests".to_owned(),
            )),
        };
        Box::pin(async move { answer })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::{AddressPolicy, ResolvedEndpoint, SampleValue, Transport, prometheus};

    #[tokio::test]
    async fn queries_are_about_the_time_that_was_set_and_series_end_where_they_were_ended() {
        let series = RecordedSeries {
            name: "up".to_owned(),
            labels: [("pod".to_owned(), "a".to_owned())].into(),
            points: vec![(0, Some(1.0)), (60_000, Some(2.0)), (120_000, None)],
        };
        let recorded = Arc::new(Recorded::new([&series]));
        let policy = AddressPolicy {
            allowed_hosts: vec!["recorded.example".to_owned()],
            ..AddressPolicy::default()
        };
        let transport = Transport::new(policy).through(recorded.clone());
        let endpoint = ResolvedEndpoint::inline("http://recorded.example").ok().unwrap();
        let mut seen = Vec::new();
        for seconds in [30, 90, 150] {
            let now = DateTime::from_timestamp(seconds, 0).unwrap();
            recorded.set_now(now);
            let spec = serde_json::from_value(serde_json::json!({"query": "up{pod=\"a\"}"}));
            let sample = prometheus::measure(&transport, &endpoint, &spec.unwrap(), now).await;
            seen.push(sample.unwrap().value);
        }
        let expected = [vec![1.0], vec![2.0], vec![]].map(SampleValue::Numbers);
        assert_eq!(seen, expected);
    }
}
