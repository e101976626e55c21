//! What a metric says to Prometheus: query, time range, source. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Authentication, Header, SourceRef};

/// A PromQL query (`provider.prometheus`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` that holds address and credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// Base URL of the server, when no `source` is named. Its host must be on the controller's list
    /// of allowed hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The PromQL query. An argument inside a quoted label value is escaped.
    pub query: String,
    /// Time limit of one query in seconds; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Skips the check of the server's certificate. Refused: name the CA in a `MetricsSource`.
    #[serde(skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Extra request headers without secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Inline credentials. Refused: they belong in a `MetricsSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Makes this a range query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_query: Option<RangeQuery>,
}

/// The time range of a range query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RangeQuery {
    /// Expression that gives the first instant, such as `now() - duration("5m")`.
    pub start: String,
    /// Expression that gives the last instant, such as `now()`.
    pub end: String,
    /// Distance of the points, such as `1m`.
    pub step: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
