//! A run, carried out over a server at times that the caller gives: the steps, the measurements and the
//! judge of the controller, without a cluster.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::plot::Plot;
use super::report::{MetricSight, Seen, Sight};
use super::server::Server;
use crate::analysis::comparing::{ComparedMetric, Settings, Subject, latencies};
use crate::analysis::resolved::Judge;
use crate::analysis::{ResolvedRun, Verdict, advance};
use crate::api::analysis::{
    AnalysisPhase, AnalysisRunStatus, ComparisonVerdict, MetricComparison, MetricResult,
};
use crate::metrics::sample::Look;
use crate::metrics::{MeasureError, MeasurementOutcome, MeasurementResult};

/// A run under way.
pub(super) struct Replay<'a> {
    run: &'a ResolvedRun,
    server: &'a Server,
    /// Its status, as it would stand in the cluster.
    pub(super) status: AnalysisRunStatus,
    /// Where it stood after each pass in which something was measured.
    pub(super) sights: Vec<Sight>,
    /// Why a query could not be carried out at all; the first of them.
    pub(super) broken: Option<String>,
    /// Requests up to each bound, of canary and of stable, by metric.
    latencies: BTreeMap<String, [Distribution; 2]>,
}

/// Requests up to each bound.
type Distribution = Vec<(f64, f64)>;

impl<'a> Replay<'a> {
    /// A run that has not begun.
    pub(super) fn new(run: &'a ResolvedRun, server: &'a Server) -> Self {
        let status = AnalysisRunStatus::default();
        let latencies = BTreeMap::new();
        Self { run, server, status, sights: Vec::new(), broken: None, latencies }
    }

    /// Does what is due at `now`; when to come back.
    pub(super) async fn pass(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.server.set_now(now);
        let mut step = advance(self.run, &self.status, &[], now);
        let mut outcomes = Vec::new();
        for due in &step.due {
            let result = self.server.measure(self.run, due, now).await;
            if let MeasurementResult::Error(error) = &result
                && is_broken(error)
            {
                self.broken.get_or_insert_with(|| format!("{}: {error}", due.metric));
            }
            if let MeasurementResult::Look(look) = &result {
                self.add_latencies(&due.metric, look);
            }
            outcomes.push(MeasurementOutcome {
                metric: due.metric.clone(),
                ordinal: due.ordinal,
                started_at: now,
                finished_at: now,
                result,
            });
        }
        if !outcomes.is_empty() {
            step = advance(self.run, &step.status, &outcomes, now);
        }
        self.status = step.status;
        if !outcomes.is_empty() {
            let sight = Sight::new(now, self.seen(), self.compared());
            self.sights.push(sight);
        }
        step.wake_at
    }

    /// Passes from `start` until the run has decided or `end` has come.
    pub(super) async fn until(&mut self, start: DateTime<Utc>, end: DateTime<Utc>) {
        let mut now = start;
        while now <= end && self.broken.is_none() {
            let next = self.pass(now).await;
            let Some(next) = next.filter(|_| !self.is_over()) else { return };
            now = next.max(now + TimeDelta::milliseconds(1));
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.status.phase.is_completed()
    }

    /// The sentence about a verdict, and the metric that says it.
    pub(super) fn told(&self, verdict: Seen) -> (String, Option<String>) {
        if let Some(broken) = &self.broken {
            return (broken.clone(), broken.split(':').next().map(str::to_owned));
        }
        let status = &self.status;
        let results = || status.metric_results.iter().filter(|result| !result.dry_run);
        let of_phase = results().find(|result| match verdict {
            Seen::Fail => result.phase == AnalysisPhase::Failed,
            Seen::NoData => result.consecutive_error > 0,
            Seen::Pass | Seen::Undecided | Seen::Inconclusive | Seen::Error => false,
        });
        if let Some(result) = of_phase {
            let name = result.name.clone();
            let own = match (verdict, status.message.as_str()) {
                (Seen::Fail, message) if !message.is_empty() => message.to_owned(),
                _ if result.message.starts_with(&name) => result.message.clone(),
                _ => format!("{name}: {}", result.message),
            };
            return (own, Some(name));
        }
        let compared = status.comparison.as_ref().map(|comparison| comparison.message.clone());
        let mut all: Vec<String> = compared.into_iter().filter(|text| !text.is_empty()).collect();
        if !status.message.is_empty() && !all.contains(&status.message) {
            all.push(status.message.clone());
        }
        (all.join(" "), None)
    }

    /// The metric that failed the run.
    pub(super) fn failed(&self) -> Option<&MetricResult> {
        let mut results = self.status.metric_results.iter().filter(|result| !result.dry_run);
        results.find(|result| result.phase == AnalysisPhase::Failed)
    }

    /// Why the newest value of a metric is missing.
    pub(super) fn missing(&self) -> Option<String> {
        match Verdict::of(&self.status) {
            Verdict::Running { waiting_on } => waiting_on,
            _ => None,
        }
    }

    fn add_latencies(&mut self, name: &str, look: &Look) {
        let metric = self.run.metric(name).map(|metric| &metric.judge);
        let (Some(Judge::Comparison(compared)), Some(settings)) = (metric, &self.run.comparison)
        else {
            return;
        };
        let Some(more) = latencies(compared, settings, look) else { return };
        let kept = self.latencies.entry(name.to_owned()).or_default();
        for (own, more) in kept.iter_mut().zip(more) {
            for (bound, count) in more {
                match own.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                    Some((_, sum)) => *sum += count,
                    None => own.push((bound, count)),
                }
            }
        }
    }

    /// What can be plotted of the metrics that compare.
    pub(super) fn plots(&self) -> Vec<Plot> {
        let Some(settings) = &self.run.comparison else { return Vec::new() };
        let compared = self.run.metrics.iter().filter_map(|metric| match &metric.judge {
            Judge::Comparison(compared) => Some((metric.name.as_str(), compared.as_ref())),
            Judge::Threshold(_) | Judge::JobOutcome => None,
        });
        let weights: f64 = compared.clone().filter_map(|(_, compared)| compared.weight).sum();
        compared.map(|(name, compared)| self.plot(name, compared, settings, weights)).collect()
    }

    fn plot(&self, name: &str, metric: &ComparedMetric, settings: &Settings, weights: f64) -> Plot {
        let first = self.sights.first().map_or_else(DateTime::default, |sight| sight.at);
        let length = self.sights.last().map_or_else(TimeDelta::zero, |sight| sight.at - first);
        let whole = length.as_seconds_f64().max(1.0);
        let series = |of: fn(&MetricSight) -> Option<f64>| -> Vec<(f64, f64)> {
            let place = |sight: &Sight| (sight.at - first).as_seconds_f64() / whole;
            let value = |sight: &Sight| sight.metrics.get(name).and_then(of);
            self.sights.iter().filter_map(|sight| Some((place(sight), value(sight)?))).collect()
        };
        // Alone, and with its share of the budget.
        let share = metric.weight.map_or(1.0, |weight| weight / weights);
        Plot {
            metric: name.to_owned(),
            against: series(|it| it.log10_e_fail),
            in_favour: series(|it| it.log10_e_pass),
            fail_at: -(settings.rule.false_rollback * share).log10(),
            pass_at: -metric.guards.false_pass.log10(),
            lower: series(|it| it.ratio_lower),
            upper: series(|it| it.ratio_upper),
            ratio: match &metric.subject {
                Subject::Rate { limits, .. } | Subject::Count { limits, .. } => {
                    Some((limits.max_ratio, limits.margin))
                }
                Subject::Gauge { limits, .. } => Some((limits.max_ratio, limits.margin)),
                Subject::Latency { .. } | Subject::Slo { .. } => None,
            },
            latency: self.latencies.get(name).cloned(),
            length,
        }
    }

    fn compared(&self) -> &[MetricComparison] {
        self.status.comparison.as_ref().map_or(&[][..], |it| it.metrics.as_slice())
    }

    /// What the run says now.
    pub(super) fn seen(&self) -> Seen {
        if self.broken.is_some() {
            return Seen::Error;
        }
        match Verdict::of(&self.status) {
            Verdict::Failed { .. } => Seen::Fail,
            Verdict::Error { .. } => Seen::Error,
            Verdict::Inconclusive { .. } | Verdict::Terminated => Seen::Inconclusive,
            Verdict::Successful => Seen::Pass,
            Verdict::Running { .. } => self.so_far(),
        }
    }

    /// What the deciding metrics of a run under way say together.
    fn so_far(&self) -> Seen {
        let mut all: Vec<Seen> = Vec::new();
        if let Some(comparison) = &self.status.comparison {
            all.push(match comparison.verdict {
                ComparisonVerdict::Fail => Seen::Fail,
                ComparisonVerdict::Pass => Seen::Pass,
                ComparisonVerdict::NoData => Seen::NoData,
                ComparisonVerdict::Continue | ComparisonVerdict::Inconclusive => Seen::Undecided,
            });
        } else if self.run.comparison.is_some() {
            all.push(Seen::Undecided);
        }
        for metric in &self.run.metrics {
            if metric.is_dry_run || matches!(metric.judge, Judge::Comparison(_)) {
                continue;
            }
            let result = self.status.metric_results.iter().find(|it| it.name == metric.name);
            all.push(result.map_or(Seen::Undecided, |result| {
                threshold(result, metric.schedule.count.is_some(), metric.limits.min_samples)
            }));
        }
        let has = |wanted| all.contains(&wanted);
        match () {
            () if has(Seen::Fail) => Seen::Fail,
            () if has(Seen::NoData) => Seen::NoData,
            () if all.iter().all(|one| *one == Seen::Pass) => Seen::Pass,
            () => Seen::Undecided,
        }
    }
}

/// What a metric with conditions says so far. One that is measured without end has passed as long as
/// it is good.
fn threshold(result: &MetricResult, has_end: bool, min_samples: u32) -> Seen {
    match result.phase {
        AnalysisPhase::Successful => Seen::Pass,
        AnalysisPhase::Failed => Seen::Fail,
        AnalysisPhase::Error | AnalysisPhase::Inconclusive => Seen::Undecided,
        AnalysisPhase::Pending | AnalysisPhase::Running if result.consecutive_error > 0 => {
            Seen::NoData
        }
        AnalysisPhase::Pending | AnalysisPhase::Running => {
            if !has_end && result.successful >= min_samples && result.failed == 0 {
                Seen::Pass
            } else {
                Seen::Undecided
            }
        }
    }
}

/// Whether a query went wrong, other than by a lack of values.
fn is_broken(error: &MeasureError) -> bool {
    match error {
        MeasureError::NoData(_)
        | MeasureError::NotANumber(_)
        | MeasureError::Unreachable { .. }
        | MeasureError::TimedOut { .. }
        | MeasureError::PartialData { .. } => false,
        MeasureError::Rejected { .. }
        | MeasureError::TooLarge { .. }
        | MeasureError::Malformed(_)
        | MeasureError::NotPermitted { .. }
        | MeasureError::Unusable(_) => true,
    }
}
