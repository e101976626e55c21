//! What one look brought: raw samples, as Prometheus stores them. Data only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// Answers to a [`crate::metrics::spec::look::LookSpec`].
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Increases count from here.
    pub from: DateTime<Utc>,
    /// And up to here.
    pub until: DateTime<Utc>,
    /// The series of each selector, in its order.
    pub parts: Vec<Vec<Series>>,
    /// The answers about the time before the start, where they were asked for.
    pub history: Option<Vec<Vec<Series>>>,
    /// The clocks at the time of asking; none where the server does not tell its own.
    pub clocks: Option<Clocks>,
}

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Of who asks, just before.
    pub own: DateTime<Utc>,
    /// Of the server.
    pub server: DateTime<Utc>,
}

/// A series with its samples, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its labels, without the name of the metric.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970, and a number.
    pub numbers: Vec<(i64, f64)>,
    /// The same of native histograms.
    pub histograms: Vec<(i64, NativeBuckets)>,
}

impl Series {
    /// Whether it has a sample at or before a moment.
    pub fn is_known_at(&self, at: DateTime<Utc>) -> bool {
        let limit = at.timestamp_millis();
        let first = self.numbers.first().map(|(at, _)| *at);
        let first = first.or_else(|| self.histograms.first().map(|(at, _)| *at));
        first.is_some_and(|first| first <= limit)
    }
}

/// A native histogram as the query API gives it: the buckets that are not empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NativeBuckets {
    /// All observations.
    pub count: f64,
    /// The buckets, ascending.
    pub buckets: Vec<NativeBucket>,
}

/// A bucket of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NativeBucket {
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
    /// Observations in it.
    pub count: f64,
}
