//! Which measurement sources exist and what a metric says to each: data only, with Argo Rollouts'
//! field names (`metrics[].provider`). Nothing here reads a clock, a Secret or the network.
//!
//! A provider is one file here, one effect file in the room above and one line in `providers!`.

pub mod cloud_watch;
pub mod datadog;
pub mod graphite;
pub mod influxdb;
pub mod job;
pub mod look;
pub mod new_relic;
pub mod prometheus;
pub mod web;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::values::{IntOrString, RawObject};

/// Why no provider can be taken from a metric. The caller puts the field path before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderProblem {
    /// No key at all.
    #[error("names no provider: write one of {}", MetricProvider::BUILT.join(", "))]
    Missing,
    /// More than one key.
    #[error("names several providers ({}): write exactly one", .0.join(", "))]
    Several(Vec<&'static str>),
    /// In the schema for the sake of migration, not built.
    #[error("is not built yet; use one of {}", MetricProvider::BUILT.join(", "))]
    NotBuilt(&'static str),
}

macro_rules! providers {
    (
        built { $($field:ident $variant:ident $wire:literal $spec:ty, $doc:literal;)+ }
        asked { $($asked:ident $asked_variant:ident $asked_wire:literal $asked_spec:ty, $asked_doc:literal;)+ }
        planned { $($planned:ident $planned_wire:literal, $planned_doc:literal;)+ }
    ) => {
        /// Where a metric is measured: exactly one key.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        pub struct MetricProvider {
            $(
                #[doc = $doc]
                #[serde(rename = $wire, skip_serializing_if = "Option::is_none")]
                pub $field: Option<$spec>,
            )+
            $(
                #[doc = $asked_doc]
                #[serde(rename = $asked_wire, skip_serializing_if = "Option::is_none")]
                pub $asked: Option<$asked_spec>,
            )+
            $(
                #[doc = $planned_doc]
                #[serde(rename = $planned_wire, skip_serializing_if = "Option::is_none")]
                pub $planned: Option<RawObject>,
            )+
        }

        /// The one provider of a metric.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Provider<'a> {
            $(
                #[doc = $doc]
                $variant(&'a $spec),
            )+
            /// A server that is asked by one HTTP request.
            Asked(Asked<'a>),
        }

        /// A server that is asked by one HTTP request.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Asked<'a> {
            $(
                #[doc = $asked_doc]
                $asked_variant(&'a $asked_spec),
            )+
        }

        impl<'a> Asked<'a> {
            /// What all of them say alike.
            pub fn spec(self) -> &'a dyn AskedSpec {
                match self {
                    $(Self::$asked_variant(spec) => spec,)+
                }
            }
        }

        impl MetricProvider {
            /// Wire names of the providers that can be measured.
            pub const BUILT: &'static [&'static str] = &[$($wire,)+ $($asked_wire,)+];
            /// Wire names that the schema knows and validation refuses.
            pub const PLANNED: &'static [&'static str] = &[$($planned_wire),+];

            /// Wire names of all keys that are set.
            pub fn named(&self) -> Vec<&'static str> {
                let mut named = Vec::new();
                $(if self.$field.is_some() { named.push($wire); })+
                $(if self.$asked.is_some() { named.push($asked_wire); })+
                $(if self.$planned.is_some() { named.push($planned_wire); })+
                named
            }

            /// Whether no key is set.
            pub fn is_absent(&self) -> bool {
                self.named().is_empty()
            }

            /// The one provider.
            ///
            /// # Errors
            /// [`ProviderProblem`] when there is none, more than one, or one that is not built.
            pub fn chosen(&self) -> Result<Provider<'_>, ProviderProblem> {
                let named = self.named();
                if named.len() > 1 {
                    return Err(ProviderProblem::Several(named));
                }
                $(if let Some(spec) = &self.$field { return Ok(Provider::$variant(spec)); })+
                $(if let Some(spec) = &self.$asked {
                    return Ok(Provider::Asked(Asked::$asked_variant(spec)));
                })+
                match named.first() {
                    Some(planned) => Err(ProviderProblem::NotBuilt(planned)),
                    None => Err(ProviderProblem::Missing),
                }
            }
        }

        $(
            impl From<$spec> for MetricProvider {
                fn from(spec: $spec) -> Self {
                    Self { $field: Some(spec), ..Self::default() }
                }
            }
        )+
    };
}

providers! {
    built {
        prometheus Prometheus "prometheus" prometheus::Spec, "A PromQL query.";
        web Web "web" web::Spec, "JSON over HTTP.";
        job Job "job" job::Spec, "A Kubernetes Job: complete is success, failed is failure.";
    }
    asked {
        cloud_watch CloudWatch "cloudWatch" cloud_watch::Spec, "Queries of CloudWatch.";
        datadog Datadog "datadog" datadog::Spec, "A query of Datadog.";
        graphite Graphite "graphite" graphite::Spec, "A target of Graphite.";
        influxdb InfluxDb "influxdb" influxdb::Spec, "A Flux query of InfluxDB 2.";
        new_relic NewRelic "newRelic" new_relic::Spec, "An NRQL query of New Relic.";
    }
    planned {
        wavefront "wavefront", "Wavefront. Not built yet: refused by validation.";
        kayenta "kayenta", "Kayenta. Not built yet: refused by validation.";
        sky_walking "skywalking", "SkyWalking. Not built yet: refused by validation.";
        plugin "plugin", "External plug-ins. Not built yet: refused by validation.";
    }
}

impl<'a> Provider<'a> {
    /// The source that holds address and credentials; none for a Job, or where an address is given.
    pub fn source(self) -> Option<&'a SourceRef> {
        match self {
            Self::Prometheus(spec) => spec.source.as_ref(),
            Self::Web(spec) => spec.source.as_ref(),
            Self::Job(_) => None,
            Self::Asked(asked) => asked.spec().source(),
        }
    }
}

/// How far back a provider asks (`interval`, default 5 minutes); none where it is no usable time.
pub fn span(interval: Option<&IntOrString>) -> Option<TimeDelta> {
    let given = interval.map_or(Ok(TimeDelta::minutes(5)), IntOrString::as_duration);
    given.ok().filter(|span| *span >= TimeDelta::seconds(1) && *span <= TimeDelta::days(30))
}

/// What a metric says alike to every server that is asked by one HTTP request.
pub trait AskedSpec: std::fmt::Debug {
    /// `type` of the `MetricsSource`.
    fn kind(&self) -> &'static str;

    /// The source that holds address and credentials.
    fn source(&self) -> Option<&SourceRef>;

    /// Whether a template may name an address itself.
    fn may_name_address(&self) -> bool {
        false
    }

    /// That address.
    fn address(&self) -> Option<&str> {
        None
    }

    /// The queries, for `allowedQueryPrefix`.
    fn queries(&self) -> Vec<&str>;

    /// Time limit in seconds, when the metric names one.
    fn timeout_seconds(&self) -> Option<i64> {
        None
    }

    /// What is wrong with it beside source and address, as `(field, problem)`.
    fn problems(&self) -> Vec<(&'static str, String)>;
}

/// What is wrong with a query and the profile of Argo Rollouts beside it.
fn query_and_profile(query: &str, profile: Option<&String>) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    if query.trim().is_empty() {
        problems.push(("query", "is empty".to_owned()));
    }
    if profile.is_some() {
        let text = "is not taken from a template: put the credentials into the headers of a MetricsSource and \
                    name it in source";
        problems.push(("profile", text.to_owned()));
    }
    problems
}

/// A reference to a `MetricsSource` or `ClusterMetricsSource`, which holds address and credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceRef {
    /// Name of the object.
    pub name: String,
    /// Its kind; default `MetricsSource`, in the namespace of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<SourceKind>,
}

/// Kind of a [`SourceRef`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum SourceKind {
    /// In the namespace of the run.
    #[default]
    MetricsSource,
    /// Of the cluster.
    ClusterMetricsSource,
}

impl SourceKind {
    /// The kind as written in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MetricsSource => "MetricsSource",
            Self::ClusterMetricsSource => "ClusterMetricsSource",
        }
    }
}

impl SourceRef {
    /// The kind, with its default.
    pub fn kind(&self) -> SourceKind {
        self.kind.unwrap_or_default()
    }
}

/// One HTTP header. Its value is never a secret: those stand in a `MetricsSource`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Header {
    /// Name of the header.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// Credentials inside a template, as in Argo Rollouts. The schema knows them so that validation can
/// refuse them by name: credentials belong in a `MetricsSource`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Authentication {
    /// AWS request signing {region, profile, roleArn}. Not built yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigv4: Option<RawObject>,
    /// OAuth2 client credentials {tokenUrl, clientId, clientSecret, scopes}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<RawObject>,
    /// Basic authentication {username, password}.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<RawObject>,
}

impl Authentication {
    /// Wire names of the methods that are set.
    pub fn named(&self) -> Vec<&'static str> {
        [("sigv4", &self.sigv4), ("oauth2", &self.oauth2), ("basicAuth", &self.basic_auth)]
            .into_iter()
            .filter_map(|(name, method)| method.as_ref().map(|_| name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn provider(json: serde_json::Value) -> MetricProvider {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn argos_prometheus_and_web_manifests_are_read_field_for_field() {
        let wire = json!({"prometheus": {
            "address": "http://prometheus.example.com:9090", "query": "up", "timeout": 40,
            "insecure": true, "headers": [{"key": "X-Scope-OrgID", "value": "tenant"}],
            "authentication": {"sigv4": {"region": "r"}},
            "rangeQuery": {"start": "now() - duration(\"5m\")", "end": "now()", "step": "1m"},
        }});
        assert_eq!(serde_json::to_value(provider(wire.clone())).unwrap(), wire);
        let wire = json!({"web": {
            "method": "POST", "url": "http://my-server.com/api", "timeoutSeconds": 20,
            "headers": [{"key": "Content-Type", "value": "application/json"}],
            "jsonBody": {"key1": "value_1", "key2": {"nested": 1}}, "jsonPath": "{$.data.ok}",
        }});
        assert_eq!(serde_json::to_value(provider(wire.clone())).unwrap(), wire);
    }

    #[test]
    fn a_metric_without_provider_and_one_with_two_are_refused() {
        assert_eq!(provider(json!({})).chosen(), Err(ProviderProblem::Missing));
        let two = provider(json!({"web": {"url": "/"}, "wavefront": {}}));
        assert_eq!(
            two.chosen().unwrap_err().to_string(),
            "names several providers (web, wavefront): write exactly one"
        );
    }

    #[test]
    fn every_planned_provider_is_refused_by_its_wire_name() {
        for name in MetricProvider::PLANNED {
            let planned = provider(json!({*name: {"query": "x"}}));
            assert_eq!(planned.chosen(), Err(ProviderProblem::NotBuilt(name)));
        }
    }
}
