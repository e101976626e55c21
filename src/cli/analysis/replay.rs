//! A run, carried out over a server at times that the caller gives: the steps, the measurements and the
//! judge of the controller, without a cluster.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::report::{Seen, Sight};
use crate::analysis::resolved::Judge;
use crate::analysis::{DueMeasurement, ResolvedRun, Verdict, advance};
use crate::api::analysis::{
    AnalysisPhase, AnalysisRunStatus, ComparisonVerdict, MetricComparison, MetricResult,
};
use crate::metrics::spec::Provider;
use crate::metrics::{
    AddressPolicy, MeasureError, MeasurementOutcome, MeasurementResult, ResolvedEndpoint,
    Transport, look, prometheus,
};
use crate::sim::recorded::{Recorded, RecordedSeries};

/// Host under which recorded series are found.
const RECORDED: &str = "recorded.invalid";

/// Who answers queries.
pub(super) struct Server {
    transport: Transport,
    endpoint: ResolvedEndpoint,
    recorded: Option<Arc<Recorded>>,
}

impl Server {
    /// Series in memory.
    pub(super) fn recorded<'a>(
        series: impl IntoIterator<Item = &'a RecordedSeries>,
    ) -> Result<Self, MeasureError> {
        let recorded = Arc::new(Recorded::new(series));
        let policy =
            AddressPolicy { allowed_hosts: vec![RECORDED.to_owned()], ..AddressPolicy::default() };
        Ok(Self {
            transport: Transport::new(policy).through(recorded.clone()),
            endpoint: ResolvedEndpoint::inline(&format!("http://{RECORDED}"))?,
            recorded: Some(recorded),
        })
    }

    async fn measure(
        &self,
        run: &ResolvedRun,
        due: &DueMeasurement,
        now: DateTime<Utc>,
    ) -> MeasurementResult {
        let measured = match (&due.look, run.metrics.get(due.metric_index)) {
            (Some(spec), _) => look::look(&self.transport, &self.endpoint, spec)
                .await
                .map(|look| MeasurementResult::Look(Box::new(look))),
            (None, Some(metric)) => match metric.provider.chosen() {
                Ok(Provider::Prometheus(spec)) => {
                    prometheus::measure(&self.transport, &self.endpoint, spec, now)
                        .await
                        .map(MeasurementResult::Sample)
                }
                Ok(_) | Err(_) => Err(MeasureError::Unusable(
                    "only metrics over series of Prometheus can be tried".to_owned(),
                )),
            },
            (None, None) => Err(MeasureError::Unusable("the metric is gone".to_owned())),
        };
        measured.unwrap_or_else(MeasurementResult::Error)
    }
}

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
}

impl<'a> Replay<'a> {
    /// A run that has not begun.
    pub(super) fn new(run: &'a ResolvedRun, server: &'a Server) -> Self {
        let status = AnalysisRunStatus::default();
        Self { run, server, status, sights: Vec::new(), broken: None }
    }

    /// Does what is due at `now`; when to come back.
    pub(super) async fn pass(&mut self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if let Some(recorded) = &self.server.recorded {
            recorded.set_now(now);
        }
        let mut step = advance(self.run, &self.status, &[], now);
        let mut outcomes = Vec::new();
        for due in &step.due {
            let result = self.server.measure(self.run, due, now).await;
            if let MeasurementResult::Error(error) = &result
                && is_broken(error)
            {
                self.broken.get_or_insert_with(|| format!("{}: {error}", due.metric));
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
