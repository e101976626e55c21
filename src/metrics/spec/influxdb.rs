//! What a metric says to InfluxDB: a Flux query. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AskedSpec, SourceRef};

/// A Flux query of InfluxDB 2 (`provider.influxdb`). Its result is the list of all values in `_value`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` of type InfluxDB, with its organization; its header `Authorization: Token ...`
    /// comes from a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// The query in Flux.
    pub query: String,
    /// Name of a Secret, as in Argo Rollouts. Refused: credentials belong in a `MetricsSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl AskedSpec for Spec {
    fn kind(&self) -> &'static str {
        "InfluxDB"
    }

    fn source(&self) -> Option<&SourceRef> {
        self.source.as_ref()
    }

    fn queries(&self) -> Vec<&str> {
        vec![&self.query]
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        super::query_and_profile(&self.query, self.profile.as_ref())
    }
}
