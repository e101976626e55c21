//! Own metrics in the OpenMetrics text format; their names and meanings stand in
//! [`crate::telemetry::catalog`].
//!
//! Label values are words of our own (`&'static str`), except where a limit on the number of series
//! bounds what users can choose.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::api::Kind;
use crate::api::analysis::{AnalysisPhase, MetricComparison};
use crate::api::conditions::{AbortCause, Awaited, RevertEnd, UpdateEnd};
use crate::api::git_revert::GitRevertMode;
use crate::api::status::RolloutPhase;
use crate::telemetry::catalog::{self, MetricDoc};
use crate::telemetry::comparisons::Comparisons;
use crate::telemetry::process::{self, ProcessFigures};
use crate::telemetry::series::{Labels, LimitedGauges};

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Words<const N: usize> = [(&'static str, &'static str); N];
type Histograms = Family<Words<1>, Histogram, fn() -> Histogram>;

/// How many series the metrics with names of users may have; 0 switches them off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Of `sluice_analysis_value`, and of each of the four about comparisons.
    pub analysis_values: usize,
    /// Of each of the two weights.
    pub weights: usize,
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self { analysis_values: 2000, weights: 1000 }
    }
}

/// What one Rollout is doing, as far as metrics are concerned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RolloutReport {
    /// Its phase.
    pub phase: RolloutPhase,
    /// What it waits for, if it waits.
    pub waiting: Option<Waiting>,
    /// Share of traffic decided for the canary, 0 to 1.
    pub desired_weight: Option<f64>,
    /// Share of traffic that the canary was seen to get, 0 to 1; none while unknown.
    pub actual_weight: Option<f64>,
}

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// For what.
    pub what: Awaited,
    /// Since when.
    pub since: DateTime<Utc>,
    /// From when on it takes too long; none for waits without a bound, such as for a person.
    pub overdue_at: Option<DateTime<Utc>>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    rollouts: Family<Words<1>, Counter>,
    aborts: Family<Words<1>, Counter>,
    rollbacks: Counter,
    git_reverts: Family<Words<2>, Counter>,
    git_revert_seconds: Histograms,
    abort_latency: Histogram,
    measurements: Family<Words<2>, Counter>,
    reconcile: Histograms,
    reconcile_errors: Family<Words<1>, Counter>,
    api_requests: Family<Labels, Counter>,
    series_dropped: Family<Words<1>, Counter>,
    phases: Family<Words<1>, Gauge>,
    waiting: Family<Words<1>, Gauge>,
    stuck: Gauge,
    leader: Gauge,
    leader_epoch: Gauge,
    analysis_values: LimitedGauges,
    comparisons: Comparisons,
    desired_weights: LimitedGauges,
    actual_weights: LimitedGauges,
    board: Mutex<HashMap<(String, String), RolloutReport>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(SeriesLimits::default())
    }
}

impl Metrics {
    /// All metrics at zero, with at most so many series as `limits` says.
    pub fn new(limits: SeriesLimits) -> Self {
        let metrics = Self {
            registry: Registry::default(),
            rollouts: Family::default(),
            aborts: Family::default(),
            rollbacks: Counter::default(),
            git_reverts: Family::default(),
            git_revert_seconds: Family::new_with_constructor(git_revert_buckets),
            abort_latency: histogram(&catalog::ABORT_LATENCY),
            measurements: Family::default(),
            reconcile: Family::new_with_constructor(reconcile_buckets),
            reconcile_errors: Family::default(),
            api_requests: Family::default(),
            series_dropped: Family::default(),
            phases: Family::default(),
            waiting: Family::default(),
            stuck: Gauge::default(),
            leader: Gauge::default(),
            leader_epoch: Gauge::default(),
            analysis_values: LimitedGauges::new(limits.analysis_values),
            comparisons: Comparisons::new(limits.analysis_values),
            desired_weights: LimitedGauges::new(limits.weights),
            actual_weights: LimitedGauges::new(limits.weights),
            board: Mutex::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let mut registry = Registry::default();
        let all = &mut registry;
        add(all, &catalog::ROLLOUTS, self.rollouts.clone());
        add(all, &catalog::ABORTS, self.aborts.clone());
        add(all, &catalog::ROLLBACKS, self.rollbacks.clone());
        add(all, &catalog::ABORT_LATENCY, self.abort_latency.clone());
        add(all, &catalog::GIT_REVERTS, self.git_reverts.clone());
        add(all, &catalog::GIT_REVERT_SECONDS, self.git_revert_seconds.clone());
        add(all, &catalog::MEASUREMENTS, self.measurements.clone());
        add(all, &catalog::ANALYSIS_VALUE, self.analysis_values.family());
        for (doc, gauges) in self.comparisons.all() {
            add(all, doc, gauges.family());
        }
        add(all, &catalog::PHASES, self.phases.clone());
        add(all, &catalog::DESIRED_WEIGHT, self.desired_weights.family());
        add(all, &catalog::ACTUAL_WEIGHT, self.actual_weights.family());
        add(all, &catalog::WAITING, self.waiting.clone());
        add(all, &catalog::STUCK, self.stuck.clone());
        add(all, &catalog::RECONCILE, self.reconcile.clone());
        add(all, &catalog::RECONCILE_ERRORS, self.reconcile_errors.clone());
        add(all, &catalog::API_REQUESTS, self.api_requests.clone());
        add(all, &catalog::LEADER, self.leader.clone());
        add(all, &catalog::LEADER_EPOCH, self.leader_epoch.clone());
        add(all, &catalog::SERIES_DROPPED, self.series_dropped.clone());
        let build = Family::<Words<1>, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        add(all, &catalog::BUILD_INFO, build);
        registry.register_collector(Box::new(ProcessCollector));
        self.registry = registry;
        self
    }

    fn board(&self) -> MutexGuard<'_, HashMap<(String, String), RolloutReport>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update ended.
    pub fn rollout_ended(&self, outcome: UpdateEnd) {
        self.rollouts.get_or_create(&[("outcome", outcome.as_str())]).inc();
    }

    /// An update was aborted.
    pub fn aborted(&self, cause: AbortCause) {
        self.aborts.get_or_create(&[("cause", cause.as_str())]).inc();
    }

    /// All traffic was seen back on stable, `latency` after the verdict was persisted.
    pub fn rolled_back(&self, latency: Duration) {
        self.rollbacks.inc();
        self.abort_latency.observe(latency.as_secs_f64());
    }

    /// A Git revert came to an end; `duration` if a commit was made.
    pub fn git_reverted(&self, result: RevertEnd, mode: GitRevertMode, duration: Option<Duration>) {
        let (result, mode) = (result.as_str(), mode.as_str());
        self.git_reverts.get_or_create(&[("result", result), ("mode", mode)]).inc();
        if let Some(duration) = duration {
            let seconds = duration.as_secs_f64();
            self.git_revert_seconds.get_or_create(&[("mode", mode)]).observe(seconds);
        }
    }

    /// A measurement was taken.
    pub fn measured(&self, provider: &'static str, result: AnalysisPhase) {
        let words = [("provider", provider), ("result", result.as_str())];
        self.measurements.get_or_create(&words).inc();
    }

    /// The last value of a metric of a Rollout.
    pub fn analysis_value(&self, namespace: &str, rollout: &str, metric: &str, value: f64) {
        let mut labels = rollout_labels(namespace, rollout);
        labels.push(("metric", metric.to_owned()));
        let dropped = self.analysis_values.set(labels, value);
        self.count_dropped(&catalog::ANALYSIS_VALUE, dropped);
    }

    /// What the comparison of a run says now.
    pub fn compared(&self, namespace: &str, run: &str, metrics: &[MetricComparison]) {
        for (doc, dropped) in self.comparisons.set(namespace, run, metrics) {
            self.count_dropped(doc, dropped);
        }
    }

    /// A run has ended or is gone.
    pub fn forget_run(&self, namespace: &str, run: &str) {
        self.comparisons.forget(namespace, run);
    }

    /// A reconcile of an object of `kind` is over.
    pub fn reconciled(&self, kind: Kind, duration: Duration) {
        self.reconcile.get_or_create(&[("kind", kind.as_str())]).observe(duration.as_secs_f64());
    }

    /// A request failed during the reconcile of an object of `kind`.
    pub fn reconcile_failed(&self, kind: Kind) {
        self.reconcile_errors.get_or_create(&[("kind", kind.as_str())]).inc();
    }

    /// A request to the API ended; all three come from a bounded set.
    pub fn api_request(&self, verb: &'static str, resource: &str, code: &str) {
        let labels = vec![
            ("verb", verb.to_owned()),
            ("resource", resource.to_owned()),
            ("code", code.to_owned()),
        ];
        self.api_requests.get_or_create(&labels).inc();
    }

    /// This process gained a leadership.
    pub fn leadership_gained(&self, term: u32) {
        self.leader.set(1);
        self.leader_epoch.set(i64::from(term));
    }

    /// This process lost its leadership; nothing is known of Rollouts any more.
    pub fn leadership_lost(&self) {
        self.leader.set(0);
        let keys: Vec<_> = self.board().keys().cloned().collect();
        for (namespace, name) in keys {
            self.forget_rollout(&namespace, &name);
        }
        self.comparisons.forget_all();
    }

    /// The state of a Rollout after a reconcile.
    pub fn report_rollout(&self, namespace: &str, name: &str, report: RolloutReport) {
        self.board().insert((namespace.to_owned(), name.to_owned()), report);
        let weights = [
            (&self.desired_weights, &catalog::DESIRED_WEIGHT, report.desired_weight),
            (&self.actual_weights, &catalog::ACTUAL_WEIGHT, report.actual_weight),
        ];
        for (gauges, doc, weight) in weights {
            let labels = rollout_labels(namespace, name);
            match weight {
                Some(weight) => self.count_dropped(doc, gauges.set(labels, weight)),
                None => gauges.remove(&labels),
            }
        }
    }

    /// A Rollout is gone.
    pub fn forget_rollout(&self, namespace: &str, name: &str) {
        self.board().remove(&(namespace.to_owned(), name.to_owned()));
        let labels = rollout_labels(namespace, name);
        self.desired_weights.remove(&labels);
        self.actual_weights.remove(&labels);
        self.analysis_values.remove_starting_with(&labels);
    }

    /// All metrics as text at `now`, which only the waiting times depend on.
    pub fn render(&self, now: DateTime<Utc>) -> String {
        self.summarize(now);
        let mut text = String::new();
        // Writing to a String cannot fail; a metric that cannot encode itself ends the text early.
        if text::encode(&mut text, &self.registry).is_err() {
            text.push_str("# EOF\n");
        }
        text
    }

    /// Sets what is counted over all Rollouts.
    fn summarize(&self, now: DateTime<Utc>) {
        let board = self.board();
        let mut phases: HashMap<&'static str, i64> = HashMap::new();
        let mut longest: HashMap<&'static str, i64> = HashMap::new();
        let mut stuck = 0;
        for report in board.values() {
            *phases.entry(report.phase.as_str()).or_default() += 1;
            if let Some(waiting) = report.waiting {
                let seconds = (now - waiting.since).num_seconds().max(0);
                let entry = longest.entry(waiting.what.as_str()).or_default();
                *entry = seconds.max(*entry);
                stuck += i64::from(waiting.overdue_at.is_some_and(|bound| bound <= now));
            }
        }
        drop(board);
        replace_all(&self.phases, "phase", &phases);
        replace_all(&self.waiting, "what", &longest);
        self.stuck.set(stuck);
    }

    fn count_dropped(&self, doc: &MetricDoc, dropped: u64) {
        if dropped > 0 {
            self.series_dropped.get_or_create(&[("metric", doc.name)]).inc_by(dropped);
        }
    }
}

fn rollout_labels(namespace: &str, rollout: &str) -> Labels {
    vec![("namespace", namespace.to_owned()), ("rollout", rollout.to_owned())]
}

fn replace_all(
    family: &Family<Words<1>, Gauge>,
    label: &'static str,
    values: &HashMap<&'static str, i64>,
) {
    family.clear();
    for (word, value) in values {
        family.get_or_create(&[(label, word)]).set(*value);
    }
}

fn histogram(doc: &MetricDoc) -> Histogram {
    Histogram::new(doc.buckets.iter().copied())
}

fn git_revert_buckets() -> Histogram {
    histogram(&catalog::GIT_REVERT_SECONDS)
}

fn reconcile_buckets() -> Histogram {
    histogram(&catalog::RECONCILE)
}

fn add(registry: &mut Registry, doc: &MetricDoc, metric: impl Metric) {
    let (stem, unit) = stem_and_unit(doc);
    match unit {
        Some(unit) => registry.register_with_unit(stem, doc.help, unit, metric),
        None => registry.register(stem, doc.help, metric),
    }
}

/// The name without what the encoder appends, and the unit that it appends.
fn stem_and_unit(doc: &MetricDoc) -> (&'static str, Option<Unit>) {
    let stem = doc.name.strip_suffix("_total").unwrap_or(doc.name);
    if doc.unit.is_empty() {
        return (stem, None);
    }
    let stem = stem.strip_suffix(doc.unit).and_then(|rest| rest.strip_suffix('_')).unwrap_or(stem);
    (stem, Some(Unit::Other(doc.unit.to_owned())))
}

/// Reads the figures of the process at each scrape.
#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(figures) = process::read() else {
            return Ok(());
        };
        let ProcessFigures { cpu_seconds, resident_bytes, threads, started_at, open_files } =
            figures;
        let cpu = ConstCounter::new(cpu_seconds);
        let (stem, unit) = stem_and_unit(&catalog::PROCESS_CPU);
        let kind = ConstCounter::<f64>::TYPE;
        let help = with_stop(&catalog::PROCESS_CPU);
        cpu.encode(encoder.encode_descriptor(stem, &help, unit.as_ref(), kind)?)?;
        let memory = i64::try_from(resident_bytes).unwrap_or(i64::MAX);
        encode_gauge(&mut encoder, &catalog::PROCESS_MEMORY, &ConstGauge::new(memory))?;
        encode_gauge(&mut encoder, &catalog::PROCESS_START, &ConstGauge::new(started_at))?;
        let files = ConstGauge::new(i64::from(open_files));
        encode_gauge(&mut encoder, &catalog::PROCESS_FDS, &files)?;
        encode_gauge(&mut encoder, &catalog::PROCESS_THREADS, &ConstGauge::new(i64::from(threads)))
    }
}

fn encode_gauge<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    doc: &MetricDoc,
    gauge: &M,
) -> Result<(), fmt::Error> {
    let (stem, unit) = stem_and_unit(doc);
    let help = with_stop(doc);
    gauge.encode(encoder.encode_descriptor(stem, &help, unit.as_ref(), MetricType::Gauge)?)
}

/// The help text as the registry would write it.
fn with_stop(doc: &MetricDoc) -> String {
    format!("{}.", doc.help)
}

#[cfg(test)]
mod tests;
