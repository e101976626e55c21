//! What a metric says to CloudWatch: queries of GetMetricData. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AskedSpec, SourceRef, span};
use crate::api::values::IntOrString;

/// Most queries of one request, as CloudWatch allows.
const MAX_QUERIES: usize = 500;

/// Queries of CloudWatch (`provider.cloudWatch`). The result is the list of their results, each with `Id`,
/// `Label`, `Timestamps` and `Values`, newest first. Without any value it is nil.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` of type CloudWatch, with its `credentials.aws`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// How far back is asked; default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntOrString>,
    /// The queries.
    pub metric_data_queries: Vec<DataQuery>,
}

/// One query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataQuery {
    /// Name, unique and beginning with a small letter.
    pub id: String,
    /// Expression over other queries; excludes `metricStat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// Label of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The metric; excludes `expression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_stat: Option<MetricStat>,
    /// Distance of the values of an expression, in seconds or as 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<IntOrString>,
    /// Whether it is part of the result; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_data: Option<bool>,
}

/// A metric and its statistic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricStat {
    /// The metric.
    pub metric: StatMetric,
    /// Distance of the values, in seconds or as 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<IntOrString>,
    /// Statistic, such as Sum, Average or p99.
    pub stat: String,
    /// Unit, such as Count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A metric of CloudWatch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StatMetric {
    /// Dimensions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<Dimension>,
    /// Name.
    pub metric_name: String,
    /// Namespace, such as AWS/ApplicationELB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A dimension of a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Dimension {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A period in seconds; none where it is no usable one.
pub fn seconds(period: &IntOrString) -> Option<i64> {
    let text = period.to_string();
    let seconds = text.parse().ok().or_else(|| Some(period.as_duration().ok()?.num_seconds()));
    seconds.filter(|seconds| *seconds >= 1)
}

impl AskedSpec for Spec {
    fn kind(&self) -> &'static str {
        "CloudWatch"
    }

    fn source(&self) -> Option<&SourceRef> {
        self.source.as_ref()
    }

    fn queries(&self) -> Vec<&str> {
        self.metric_data_queries.iter().map(DataQuery::text).collect()
    }

    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut say = |field: &'static str, text: String| problems.push((field, text));
        let field = "metricDataQueries";
        if self.metric_data_queries.is_empty() || self.metric_data_queries.len() > MAX_QUERIES {
            say(field, format!("must be 1 to {MAX_QUERIES} queries"));
        }
        for (idx, query) in self.metric_data_queries.iter().enumerate() {
            if !query.id.starts_with(|c: char| c.is_ascii_lowercase()) {
                say(field, format!("[{idx}].id must begin with a small letter"));
            }
            match (&query.expression, &query.metric_stat) {
                (None, None) => say(field, format!("[{idx}] needs expression or metricStat")),
                (Some(_), Some(_)) => {
                    say(field, format!("[{idx}] must not have both expression and metricStat"));
                }
                (None, Some(stat)) => {
                    if stat.stat.is_empty() || stat.metric.metric_name.is_empty() {
                        say(field, format!("[{idx}].metricStat needs stat and metric.metricName"));
                    }
                    if stat.period.as_ref().is_none_or(|period| seconds(period).is_none()) {
                        say(
                            field,
                            format!("[{idx}].metricStat.period must be seconds, or a time as 5m"),
                        );
                    }
                }
                (Some(_), None) => {}
            }
            if query.period.as_ref().is_some_and(|period| seconds(period).is_none()) {
                say(field, format!("[{idx}].period must be seconds, or a time as 5m"));
            }
        }
        if span(self.interval.as_ref()).is_none() {
            say("interval", "must be a time from 1s to 720h".to_owned());
        }
        problems
    }
}

impl DataQuery {
    /// The expression, or the name of the metric.
    fn text(&self) -> &str {
        let name = self.metric_stat.as_ref().map(|stat| stat.metric.metric_name.as_str());
        self.expression.as_deref().or(name).unwrap_or_default()
    }
}
