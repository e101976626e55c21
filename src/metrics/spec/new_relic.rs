//! What a metric says to New Relic: an NRQL query. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AskedSpec, SourceRef};

/// An NRQL query (`provider.newRelic`). Its result is what the only row holds, as an object, or the list
/// of all rows; no row is nil.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` of type NewRelic, with its account; its header `Api-Key` comes from a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// The query in NRQL.
    pub query: String,
    /// Time limit of the query in seconds; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Name of a Secret, as in Argo Rollouts. Refused: credentials belong in a `MetricsSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl AskedSpec for Spec {
    fn kind(&self) -> &'static str {
        "NewRelic"
    }

    fn source(&self) -> Option<&SourceRef> {
        self.source.as_ref()
    }

    fn queries(&self) -> Vec<&str> {
        vec![&self.query]
    }

    fn timeout_seconds(&self) -> Option<i64> {
        self.timeout
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = super::query_and_profile(&self.query, self.profile.as_ref());
        if self.timeout.is_some_and(|seconds| !(1..=120).contains(&seconds)) {
            problems.push(("timeout", "must be from 1 to 120 seconds".to_owned()));
        }
        problems
    }
}
