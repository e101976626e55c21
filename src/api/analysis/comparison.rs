//! Metrics that compare the canary with stable, and what they have in common: fields of templates, of
//! a Rollout's background analysis and of runs. Not in Argo Rollouts. Data only.
//!
//! Defaults are in the documentation of the fields, never in the schema; each has its reason.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metric;
use crate::api::values::IntOrString;
use crate::metrics::spec::SourceRef;

/// What a metric that compares says. Its selectors are plain series selectors of counters: the
/// controller takes differences itself, so `rate()`, `increase()`, ranges, sums and divisions are
/// refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Compared {
    /// Short form of a metric of type rate, named `errors` unless `name` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorsMetric>,
    /// Short form of a metric of type latency, named `latency` unless `name` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyMetric>,
    /// Short form of a metric of type gauge, named `memory` unless `name` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryMetric>,
    /// What is compared, instead of a `provider`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ComparedType>,
    /// Selector of the counter of all requests (rate, slo; count: optional, and then what the events
    /// are counted against instead of the time of the pods).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Selector of the counter of bad requests (rate, slo).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<String>,
    /// Selector of a counter of bad events without a share of requests, such as restarts (count).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// Selector of a histogram of latencies, classic (with or without `_bucket`) or native (latency).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
    /// Selector of a gauge of the pods, such as memory in use or the length of a queue: series of one pod are added up, and the
    /// mean of the canary's pods is compared with the mean of stable's (gauge, unless it has a `counter`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gauge: Option<String>,
    /// Selector of a counter of the pods whose increase per second is the gauge, such as seconds of CPU (gauge).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counter: Option<String>,
    /// Looks whose mean is one value of the comparison, 1 to 1000 (gauge). Default: as many as it takes until successive means of
    /// stable hardly depended on each other in the hour before; 5 minutes where that hour does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Latencies at which slow requests are counted, 1 to 5: `300ms`, `1s` for a histogram in seconds,
    /// or numbers in the histogram's own unit, in quotes. Each must be a bound of its buckets. Default:
    /// the bounds nearest to the 50th, 90th and 99th percentile of stable in the hour before, so that
    /// the canary has no part in the choice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bounds: Vec<String>,
    /// Labels by which the counts are compared part by part, such as `route`: then another mix of
    /// traffic in the canary does no harm. At most 3; beyond the 10 largest parts the rest is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// The update is given up only where it is proved that the canary has more than this many times
    /// the bad share of stable. Above 0. Default 1.1: pods of one version differ by a few percent,
    /// and nobody wants a rollback for that; gauge 1.2: of a gauge by more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ratio: Option<f64>,
    /// Bad events per exposure that never matter, beyond `maxRatio`: 0 up to 1. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_delta: Option<f64>,
    /// PASS is the proof that the canary has less than this many times the bad share (latency: odds)
    /// of stable. Above `maxRatio` or `maxOdds`. Default 2: less than that is not provable with the
    /// traffic of most canaries; gauge 1.5, which needs no traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// A canary that is proved to have fewer bad events per request than this (latency: slow requests at a bound; count without
    /// `total`: events per second of a pod) has passed whatever stable has: where next to none happen, no ratio can ever be
    /// proved. 0, which switches it off, up to 1. Default 0.001; without `total` one event in ten minutes of a pod (1/600).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerated_rate: Option<f64>,
    /// As `maxRatio`, for the odds of being slow (latency). Default 1.25: latencies of pods differ more
    /// than their errors do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_odds: Option<f64>,
    /// Share of bad requests that is allowed whatever stable does (slo): above 0, below 1. Required
    /// there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<f64>,
    /// Chance that a canary at or beyond `margin` is ever passed: above 0, below 1. Default 0.05:
    /// what was passed wrongly can still fail later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_pass: Option<f64>,
    /// Requests of the canary without which this metric passes nothing. Default 50: fewer say little
    /// about what users will see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<f64>,
    /// Bad events of the canary without which this metric fails nothing. Default 3: one client with two
    /// retries is no regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_bad_events: Option<f64>,
    /// How far evidence is discounted because bad events come in bursts: `auto` (how much the pods of
    /// stable differed in the hour before; where that cannot be known, only shares are judged, which
    /// needs more looks), `independent` (no discount), `robust` (only shares), or a number of at least
    /// 1, in quotes. Default auto.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersion: Option<String>,
    /// Weight of this metric in `falseRollbackBudget`, above 0, against those of the other metrics that
    /// decide. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Whether the metric decides; false: it only informs. Default true; gauge false, because successive
    /// values of a gauge depend on each other, and a pod on a busy node is different without being worse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<bool>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ComparedType {
    /// The share of bad requests, with that of stable.
    Rate,
    /// Events per request, or per second of a pod, with those of stable.
    Count,
    /// Slow requests, with those of stable.
    Latency,
    /// The share of bad requests of the canary, with a limit.
    Slo,
    /// The mean of a gauge over the pods, with that of stable.
    Gauge,
}

/// Errors, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorsMetric {
    /// Selector of the counter of all requests.
    pub counter: String,
    /// Which of them are bad: further label matchers, such as `code=~"5.."`.
    pub bad: String,
}

/// Latency, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LatencyMetric {
    /// Selector of the histogram, classic or native.
    pub histogram: String,
}

/// Memory, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryMetric {
    /// Selector of the gauge, such as `container_memory_working_set_bytes{container="app"}`.
    pub gauge: String,
}

/// What the comparing metrics of an analysis have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Comparison {
    /// Where the comparing metrics are measured. Default the ClusterMetricsSource `prometheus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// Base URL of that Prometheus, instead of a `source`. Its host must be on the controller's list
    /// of allowed hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Time between two looks of the comparing metrics, 5 s to 1 h. Default 30s: about two scrapes.
    /// More looks cost nothing: the guarantee holds at all of them together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<IntOrString>,
    /// How far a look stays behind the present, 0 to 10 min. Default 15s: by then the scrapes of that
    /// time have arrived. At least the scrape interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<IntOrString>,
    /// Chance that a release within its limits is ever failed by the comparing metrics, over all of
    /// them and all looks: above 0, at most 0.2. Default 0.01. A retry of the same revision has half
    /// of it, the next a quarter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_rollback_budget: Option<f64>,
    /// Time from the start in which only a canary beyond 5 times stable fails: caches are cold.
    /// Default 60s, at most 1 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<IntOrString>,
    /// How long a canary with traffic may serve no request before that is said and held (`NoTraffic`;
    /// never a failure). Default 5m, at least 1 min.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data_after: Option<IntOrString>,
    /// What becomes of an update that has neither failed nor passed at the end of its steps. Default
    /// proceed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_inconclusive: Option<OnInconclusive>,
    /// Whether the end of the steps waits for PASS of every metric that decides, or for a person.
    /// Default true: what has too little traffic to be judged is not promoted blindly. False leaves it
    /// to `onInconclusive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_pass: Option<bool>,
    /// How the series of canary and of stable are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arms: Option<Arms>,
}

impl Comparison {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of an update that is undecided at the end of its steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnInconclusive {
    /// It is promoted, unless `requirePass` holds it. Between steps it goes on in any case.
    #[default]
    Proceed,
    /// It pauses, for PASS or for a person.
    Pause,
    /// It is given up.
    Rollback,
}

/// How the series of canary and of stable are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Arms {
    /// By what. Default pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<ArmsBy>,
    /// The label. Default `pod` with pod, `destination_workload` with workload; required with label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The label with the name of the pod, by which the history of stable is taken apart. Default `pod`,
    /// or `label` with pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_label: Option<String>,
    /// What the label says for the canary. Default what the Rollout knows: the name of its new
    /// ReplicaSet (pod, workload) or the hash of its pods (label).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<String>,
    /// What it says for stable, alike. With label an empty text stands for series without the label, as
    /// proxies report what is not routed to a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
}

/// By what series are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ArmsBy {
    /// The label holds the name of a pod, which begins with that of its ReplicaSet.
    #[default]
    Pod,
    /// The label holds the name of the ReplicaSet, as some service meshes report it.
    Workload,
    /// The label holds a value of the arm's own, such as a version or the hash of the pods.
    Label,
}

/// Metrics that stand in the Rollout itself, and what those that compare have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InlineAnalysis {
    /// Metrics beside those of `templates`. Not in Argo Rollouts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// What the comparing metrics have in common.
    #[serde(flatten)]
    pub comparison: Comparison,
}

/// What a run knows of the comparison beside its metrics: every arm named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunComparison {
    /// As the templates say it; with both arms named.
    #[serde(flatten)]
    pub settings: Comparison,
    /// How many runs have compared this revision before, plus 1: each has half the budget of the one
    /// before. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Looks that the steps of the update give time for. A regression that begins late is found sooner
    /// if this is about right; the guarantee does not depend on it. Default 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned_looks: Option<u32>,
}
