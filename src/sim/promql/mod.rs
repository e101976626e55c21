//! Series in memory, and PromQL over them. The language is parsed by a library; what it means is here,
//! after <https://prometheus.io/docs/prometheus/latest/querying/>, as of Prometheus 3 (ranges are
//! open on their left). Floats only: native histograms do not exist here. What is not evaluated is
//! refused by its name, never guessed.

mod aggregate;
mod binary;
mod evaluate;
mod functions;
mod over_time;
mod quantile;
mod queries;
pub(crate) mod review;
mod store;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use evaluate::Query;
pub(crate) use queries::Queries;
pub(crate) use store::{STALE, SeriesId, Store};

/// Label of a metric's name.
pub(crate) const NAME: &str = "__name__";

/// Labels of a series.
pub(crate) type Labels = BTreeMap<String, String>;

/// A sample: milliseconds since 1970, and its value.
pub(crate) type Point = (i64, f64);

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    pub(crate) labels: Arc<Labels>,
    pub(crate) value: f64,
}

/// One series of a range vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) labels: Arc<Labels>,
    pub(crate) points: Vec<Point>,
}

/// A value of PromQL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Scalar(f64),
    Vector(Vec<Element>),
    Matrix(Vec<Range>),
    Text(String),
}

/// Why a query has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// It is no PromQL.
    #[error("invalid parameter \"query\": {0}")]
    Malformed(String),
    /// It cannot be carried out on these data.
    #[error("{0}")]
    Impossible(String),
    /// This Prometheus does not do that.
    #[error("the Prometheus in memory does not evaluate {0}")]
    NotEvaluated(String),
}

impl QueryError {
    /// A function, operator or form that is not evaluated.
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::NotEvaluated(what.into())
    }
}

/// The labels without the metric's name.
pub(crate) fn without_name(labels: &Arc<Labels>) -> Arc<Labels> {
    if !labels.contains_key(NAME) {
        return labels.clone();
    }
    let mut labels = Labels::clone(labels);
    labels.remove(NAME);
    Arc::new(labels)
}

#[cfg(test)]
mod tests;
