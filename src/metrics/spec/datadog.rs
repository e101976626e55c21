//! What a metric says to Datadog: one query, or several with a formula. Data only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AskedSpec, SourceRef, span};
use crate::api::values::{IntOrString, RawObject};

/// A query of Datadog's API (`provider.datadog`). Its result is a number: with v1 the newest one of the
/// series. Nothing at all is nil, so `default(result, 0)` decides about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` of type Datadog: its headers `DD-API-KEY` and `DD-APPLICATION-KEY` come from
    /// a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// How far back is asked; default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntOrString>,
    /// The query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Several queries by name, for `formula` (v2).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, String>,
    /// What is worked out of `queries` (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub formula: Option<String>,
    /// Version of the API: v1 (default) or v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<ApiVersion>,
    /// How the values of a query become one (v2); default avg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<Aggregator>,
    /// Credentials inside a template, as in Argo Rollouts. Refused: they belong in a `MetricsSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<RawObject>,
}

/// Version of Datadog's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiVersion {
    /// `/api/v1/query`.
    #[default]
    V1,
    /// `/api/v2/query/scalar`.
    V2,
}

/// How the values of a query become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Aggregator {
    /// Average.
    #[default]
    Avg,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Sum.
    Sum,
    /// Newest.
    Last,
    /// Percentile.
    Percentile,
    /// Mean.
    Mean,
    /// Euclidean norm.
    L2norm,
    /// Area below the curve.
    Area,
}

impl Spec {
    /// The queries with their names; a single one is `query`.
    pub fn named(&self) -> Vec<(&str, &str)> {
        match &self.query {
            Some(query) => vec![("query", query)],
            None => self.queries.iter().map(|(name, query)| (&**name, &**query)).collect(),
        }
    }
}

impl AskedSpec for Spec {
    fn kind(&self) -> &'static str {
        "Datadog"
    }

    fn source(&self) -> Option<&SourceRef> {
        self.source.as_ref()
    }

    fn queries(&self) -> Vec<&str> {
        self.named().into_iter().map(|(_, query)| query).collect()
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut say = |field: &'static str, text: &str| problems.push((field, text.to_owned()));
        let is_v1 = self.api_version.unwrap_or_default() == ApiVersion::V1;
        match (&self.query, self.queries.is_empty()) {
            (None, true) => say("query", "is empty"),
            (Some(_), false) => say("queries", "must not stand beside query"),
            (Some(_), true) | (None, false) => {}
        }
        if self.queries().iter().any(|query| query.trim().is_empty()) {
            say(if self.query.is_some() { "query" } else { "queries" }, "is empty");
        }
        if is_v1 && !self.queries.is_empty() {
            say("queries", "needs apiVersion: v2");
        }
        if is_v1 && self.formula.is_some() {
            say("formula", "needs apiVersion: v2");
        }
        if is_v1 && self.aggregator.is_some() {
            say("aggregator", "needs apiVersion: v2");
        }
        if self.queries.len() > 1 && self.formula.is_none() {
            say("formula", "is required with several queries: one number must come of them");
        }
        if self.query.is_some() && self.formula.is_some() {
            say("formula", "needs queries, whose names it uses, in place of query");
        }
        if span(self.interval.as_ref()).is_none() {
            say("interval", "must be a time from 1s to 720h");
        }
        if self.secret_ref.is_some() {
            say(
                "secretRef",
                "is not taken from a template: put the keys into the headers of a MetricsSource and name it \
                 in source",
            );
        }
        problems
    }
}
