//! Series that were written down or recorded, behind the API of Prometheus: what a template would have
//! seen. Time is set from outside; the series never change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use super::promql::{Labels, NAME, Queries, QueryError, STALE, Store, wire};
use crate::metrics::exchange::{Answer, Asked, Exchange, Question};
use crate::metrics::sample::{MeasureError, NativeBucket, NativeBuckets};
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

impl RecordedSeries {
    /// The same as a classic histogram: the cumulative `le` series of a native one, at every bound that no bucket of any of
    /// its samples spans. So it holds all that can be counted of it, though it changed its resolution on the way. The name is
    /// without `_bucket`.
    pub fn of_native(
        name: &str,
        labels: &BTreeMap<String, String>,
        points: &[(i64, NativeBuckets)],
    ) -> Vec<Self> {
        let filled = |it: &&NativeBucket| it.count > 0.0;
        let buckets = || points.iter().flat_map(|(_, point)| &point.buckets).filter(filled);
        let mut bounds: Vec<f64> =
            buckets().map(|it| it.upper).filter(|bound| bound.is_finite()).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds.retain(|bound| !buckets().any(|it| it.lower < *bound && *bound < it.upper));
        let series = |le: String, count: &dyn Fn(&NativeBuckets) -> f64| {
            let mut labels = labels.clone();
            labels.insert("le".to_owned(), le);
            let points = points.iter().map(|(at, point)| (*at, Some(count(point)))).collect();
            Self { name: format!("{name}_bucket"), labels, points }
        };
        let up_to = |bound: f64, point: &NativeBuckets| {
            let inside = point.buckets.iter().filter(|it| it.upper <= bound);
            inside.map(|it| it.count).sum::<f64>()
        };
        let mut all: Vec<Self> = bounds
            .into_iter()
            .map(|bound| series(bound.to_string(), &|point| up_to(bound, point)))
            .collect();
        all.push(series("+Inf".to_owned(), &|point| point.count));
        all
    }
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

    #[test]
    fn a_native_histogram_is_counted_at_the_bounds_that_all_of_its_samples_have() {
        let bucket = |(lower, upper, count): &(f64, f64, f64)| NativeBucket {
            lower: *lower,
            upper: *upper,
            count: *count,
        };
        let at = |at: i64, buckets: &[(f64, f64, f64)]| {
            let buckets: Vec<NativeBucket> = buckets.iter().map(bucket).collect();
            let count = buckets.iter().map(|it| it.count).sum();
            (at, NativeBuckets { count, buckets })
        };
        let labels = [("pod".to_owned(), "a".to_owned())].into();
        // It becomes coarser, and its first bucket at 4 appears on the way.
        let points = [
            at(0, &[(0.5, 0.7, 3.0), (0.7, 1.0, 2.0)]),
            at(1000, &[(0.5, 1.0, 6.0), (2.0, 4.0, 1.0)]),
        ];
        let classic = RecordedSeries::of_native("latency", &labels, &points);
        let told: Vec<String> = classic
            .iter()
            .map(|it| format!("{}{{le={}}} {:?}", it.name, it.labels["le"], it.points))
            .collect();
        assert_eq!(
            told,
            [
                "latency_bucket{le=1} [(0, Some(5.0)), (1000, Some(6.0))]",
                "latency_bucket{le=4} [(0, Some(5.0)), (1000, Some(7.0))]",
                "latency_bucket{le=+Inf} [(0, Some(5.0)), (1000, Some(7.0))]",
            ]
        );
        assert!(classic.iter().all(|it| it.labels["pod"] == "a"));
    }

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
