//! The loop over AnalysisRuns: one pass reads a run, takes in what its measurements gave, writes the
//! status that counts them, and starts what is due. It holds what a process may know beside status
//! and decides nothing about runs.
//!
//! An outcome is acknowledged only after a status that counts it was written, and counts only under
//! its ordinal number, so a crash or a lost answer costs at worst another measurement. Measurements
//! are started only from a status that was certainly the newest: a write guarded by the version that
//! was read proves that as well as a read does.

mod memory;
mod reading;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join_all, ready};
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::core::ApiResource;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::memory::Memory;
use self::reading::{confirmed_weight, differs, leftover, owning_rollout, read_status, resolve};
use super::run_news;
use super::work::{self, Ask, Next, Work};
use crate::act::guard::Writer;
use crate::act::wire::{Read, Target, Wire};
use crate::analysis::comparing::ConfirmedWeight;
use crate::analysis::{DueAction, DueMeasurement, Problem, ResolvedRun, RunStep, advance, step};
use crate::api::analysis::AnalysisRunStatus;
use crate::api::{ApiNames, Kind};
use crate::clock::{Clock, Entropy};
use crate::metrics::runner::OutcomeReady;
use crate::metrics::{MeasureError, MeasurementKey, MeasurementOutcome, MeasurementResult, Runner};
use crate::mutants::{Mutant, mutant};
use crate::observe::analysis::{ObjectReader, RunId, Sources};
use crate::observe::cache::{Change, Key};
use crate::observe::caches::Caches;
use crate::telemetry::metrics::Metrics;

/// Longest time until a run under way is looked at again.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// Longest time until a finished run that will be deleted is looked at again.
const LOOK_AGAIN_FINISHED: Duration = Duration::from_hours(1);
/// How long the outcomes of a round wait for a metric that was started with them, so that one round
/// is one write. A metric that takes longer delays nobody.
const ROUND: Duration = Duration::from_millis(500);

/// What the loop works with.
pub struct Equipment {
    /// The door to the cluster.
    pub writer: Writer,
    /// Single reads.
    pub wire: Wire,
    /// The caches; that of the runs is told of every write.
    pub caches: Arc<Caches>,
    /// The API group's names.
    pub names: ApiNames,
    /// The controller's namespace: Secrets of ClusterMetricsSources are there.
    pub own_namespace: String,
    /// Makes the measurements.
    pub runner: Runner,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter and names.
    pub entropy: Arc<dyn Entropy>,
    /// Own metrics.
    pub metrics: Arc<Metrics>,
}

/// The loop.
pub struct AnalysisRuns {
    equipment: Equipment,
    sources: Sources,
    memory: Memory,
}

impl std::fmt::Debug for AnalysisRuns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnalysisRuns").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// One run as it was read.
struct Run<'a> {
    key: &'a Key,
    object: &'a Arc<Value>,
    uid: &'a str,
    status: &'a AnalysisRunStatus,
}

impl ObjectReader for Wire {
    fn read<'a>(
        &'a self,
        resource: &'a ApiResource,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, String>> {
        async move {
            let target = match namespace {
                Some(namespace) => Target::namespaced(resource, namespace, name),
                None => Target::of_cluster(resource, name),
            };
            match self.get(&target).await {
                Read::Found(object) => Ok(Some(object)),
                Read::Absent => Ok(None),
                Read::Failed(failure) => Err(failure.to_string()),
            }
        }
        .boxed()
    }
}

impl Work for AnalysisRuns {
    const KIND: Kind = Kind::AnalysisRun;

    fn metrics(&self) -> &Metrics {
        &self.equipment.metrics
    }

    fn span(key: &Key) -> tracing::Span {
        tracing::info_span!("run", namespace = key.namespace, name = key.name)
    }

    async fn pass(&self, key: &Key) -> Next {
        let Some(object) = self.equipment.caches.runs.get(key) else {
            if let Some(uid) = self.memory.forget(key) {
                self.equipment.runner.forget(&uid);
            }
            self.equipment.metrics.forget_run(&key.namespace, &key.name);
            return Next::Nothing;
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let uid = text("/metadata/uid").unwrap_or_default();
        if let Some(predecessor) = self.memory.meet(key, uid) {
            self.equipment.runner.forget(&predecessor);
        }
        if text("/metadata/deletionTimestamp").is_some() {
            self.equipment.runner.forget(uid);
            return Next::Nothing;
        }
        let status = match read_status(&object) {
            Ok(status) => status,
            Err(problem) => {
                // Whoever wrote it has to put it right; counting from nothing would be a lie.
                tracing::warn!(problem, "the status cannot be understood; the run stands still");
                self.equipment.runner.forget(uid);
                return Next::Nothing;
            }
        };
        let run = Run { key, object: &object, uid, status: &status };
        if self.is_at_rest(&run) {
            self.equipment.runner.forget(uid);
            self.equipment.metrics.forget_run(&key.namespace, &key.name);
            self.tell(&run, status.phase, &status).await;
            return self.retire(&run).await;
        }
        if self.memory.of(key, |local| local.is_in_doubt) {
            return self.take_over(&run).await;
        }
        match resolve(&object) {
            Ok(mut resolved) => {
                resolved.weight = self.confirmed_weight(&run);
                self.go_on(&run, &resolved).await
            }
            Err(problems) => self.refuse(&run, &problems).await,
        }
    }
}

impl AnalysisRuns {
    /// A loop that has seen nothing yet.
    pub fn new(equipment: Equipment) -> Self {
        let sources = Sources::new(
            Arc::new(equipment.wire.clone()),
            equipment.names,
            equipment.own_namespace.clone(),
            equipment.caches.cluster_templates.is_some(),
        );
        Self { equipment, sources, memory: Memory::default() }
    }

    /// Works until `stop`: on every run at the start, and then on those that changed, whose
    /// measurements came back or whose time has come. Passes that run at `stop` come to their end;
    /// measurements are given up.
    pub async fn run(
        self: Arc<Self>,
        changes: &mut mpsc::UnboundedReceiver<Change>,
        outcomes: &mut mpsc::UnboundedReceiver<OutcomeReady>,
        stop: &CancellationToken,
    ) {
        let changes = stream::poll_fn(|context| changes.poll_recv(context))
            .filter(|change| ready(change.plural == Kind::AnalysisRun.plural()))
            .map(|change| Ask::now(change.key));
        let outcomes = stream::poll_fn(|context| outcomes.poll_recv(context))
            .filter_map(|news| ready(self.memory.key_of(&news.run_uid)))
            .map(Ask::now);
        let keys = if mutant(Mutant::RestartForgetsRuns) {
            Vec::new()
        } else {
            self.equipment.caches.runs.keys()
        };
        work::run(&self, keys, stream::select(changes, outcomes), stop).await;
        self.equipment.runner.forget_all();
    }

    /// Takes outcomes in, writes what comes of them, starts what is due.
    async fn go_on(&self, run: &Run<'_>, resolved: &ResolvedRun) -> Next {
        let now = self.equipment.clock.now();
        let finished = self.equipment.runner.finished(run.uid);
        let step = advance(resolved, run.status, &finished, now);
        let has_changed = differs(run.status, &step.status);
        if has_changed {
            if let Some(at) = self.end_of_round(run, resolved, &step, &finished) {
                return Next::At(at);
            }
            if let Err(outcome) = self.write(run, &step.status).await {
                return self.after_failure(run.key, &outcome).await;
            }
        } else if !self.memory.of(run.key, |local| local.is_fresh()) {
            return if self.read(run.key).await { Next::Again } else { self.soon() };
        }
        let (due, wake_at) = self.settle(run, resolved, step.clone(), &finished, now);
        if has_changed {
            self.tell(run, run.status.phase, &step.status).await;
            self.tell_comparison(run, &step.status).await;
        }
        let is_ended = step.status.phase.is_completed();
        if is_ended && !self.has_busy_job(run.uid, resolved) {
            self.equipment.runner.forget(run.uid);
        }
        self.start(run, resolved, &step.status, due).await;
        if self.is_at_rest(&Run { status: &step.status, ..*run }) {
            return Next::Again;
        }
        let latest = Instant::now() + LOOK_AGAIN;
        Next::At(wake_at.map_or(latest, |at| self.instant_of(at).min(latest)))
    }

    /// Acknowledges the outcomes, which the status now counts; what is to be started now, and when
    /// to look again.
    fn settle(
        &self,
        run: &Run<'_>,
        resolved: &ResolvedRun,
        step: RunStep,
        finished: &[MeasurementOutcome],
        now: DateTime<Utc>,
    ) -> (Vec<DueMeasurement>, Option<DateTime<Utc>>) {
        let RunStep { status, mut due, mut wake_at, .. } = step;
        for outcome in finished {
            match leftover(resolved, &status, outcome) {
                Some((at, _)) if at > now => {
                    wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
                    continue;
                }
                Some((_, cancel)) => due.push(cancel),
                None => self.count(run, resolved, &status, outcome),
            }
            self.memory.of(run.key, |local| local.note_resume(outcome));
            self.equipment.runner.acknowledge(run.uid, std::slice::from_ref(outcome));
        }
        due.retain(|due| {
            let later = match due.action {
                DueAction::Start => None,
                DueAction::Resume | DueAction::Cancel => {
                    self.memory.of(run.key, |local| local.resume_after(&due.metric, now))
                }
            };
            wake_at = [wake_at, later].into_iter().flatten().min();
            later.is_none()
        });
        (due, wake_at)
    }

    /// The end of a run whose specification cannot be carried out.
    async fn refuse(&self, run: &Run<'_>, problems: &[Problem]) -> Next {
        self.equipment.runner.forget(run.uid);
        if run.status.phase.is_completed() {
            // Edited after its end: a Job that is still there goes with the run.
            return self.retire(run).await;
        }
        let status = step::invalid(run.status, problems, self.equipment.clock.now());
        if let Err(outcome) = self.write(run, &status).await {
            return self.after_failure(run.key, &outcome).await;
        }
        self.tell(run, run.status.phase, &status).await;
        Next::Again
    }

    /// When the outcomes of this round are written, if that is later than now: other metrics were
    /// started with them, and nothing that was measured decides.
    fn end_of_round(
        &self,
        run: &Run<'_>,
        resolved: &ResolvedRun,
        step: &RunStep,
        finished: &[MeasurementOutcome],
    ) -> Option<Instant> {
        if finished.is_empty() || step.status.phase.is_completed() {
            return None;
        }
        let is_awaited = |name: &str| {
            finished.iter().all(|outcome| outcome.metric != name)
                && self.equipment.runner.is_busy(&measurement_key(run.uid, name))
        };
        let awaited = resolved.metrics.iter().filter(|metric| is_awaited(&metric.name));
        let ends = awaited.filter_map(|metric| {
            self.memory.of(run.key, |local| local.started.get(&metric.name).copied())
        });
        ends.map(|started| started + ROUND).filter(|at| *at > Instant::now()).max()
    }

    async fn start(
        &self,
        run: &Run<'_>,
        resolved: &ResolvedRun,
        status: &AnalysisRunStatus,
        mut due: Vec<DueMeasurement>,
    ) {
        let runner = &self.equipment.runner;
        due.retain(|due| !runner.is_busy(&measurement_key(run.uid, &due.metric)));
        if due.is_empty() {
            return;
        }
        let id = RunId { namespace: &run.key.namespace, name: &run.key.name, uid: run.uid };
        let now = self.equipment.clock.now();
        let starts = due.iter().map(async |due| {
            let result = status.metric_results.iter().find(|result| result.name == due.metric);
            let since = result
                .and_then(|result| result.measurements.last())
                .filter(|last| last.finished_at.is_none())
                .and_then(|last| last.started_at);
            let since = since.map_or(now, |since| since.0);
            let call = self.sources.call(id, resolved, due, since).await;
            runner.start(measurement_key(run.uid, &due.metric), due.ordinal, call);
        });
        join_all(starts).await;
        let now = Instant::now();
        let starts = due.into_iter().map(|due| (due.metric, now));
        self.memory.of(run.key, |local| local.started.extend(starts));
    }

    /// Reports an outcome that the status counts.
    fn count(
        &self,
        run: &Run<'_>,
        resolved: &ResolvedRun,
        status: &AnalysisRunStatus,
        outcome: &MeasurementOutcome,
    ) {
        if let MeasurementResult::Error(MeasureError::Rejected { status: 401 | 403, .. }) =
            outcome.result
        {
            self.sources.forget_secrets();
        }
        let counted = |status: &AnalysisRunStatus| {
            let result = status.metric_results.iter().find(|result| result.name == outcome.metric);
            result.map_or(0, |result| result.count.saturating_add(result.error))
        };
        let is_counted = counted(status) != counted(run.status);
        if let Some(metric) = resolved.metric(&outcome.metric).filter(|_| is_counted) {
            run_news::report(&self.equipment.metrics, run.object, metric, outcome);
        }
    }

    /// The weight that the Rollout of a run knows to be in effect.
    fn confirmed_weight(&self, run: &Run<'_>) -> Option<ConfirmedWeight> {
        let name = owning_rollout(run.object)?.get("name")?.as_str()?;
        let rollout = Key { namespace: run.key.namespace.clone(), name: name.to_owned() };
        confirmed_weight(run.object, &*self.equipment.caches.rollouts.get(&rollout)?)
    }

    fn target(&self, key: &Key) -> Target {
        Target::namespaced(self.equipment.caches.runs.resource(), &key.namespace, &key.name)
    }

    /// Ended, and no Job of it is left that we know of.
    fn is_at_rest(&self, run: &Run<'_>) -> bool {
        let runner = &self.equipment.runner;
        run.status.phase.is_completed()
            && run.status.metric_results.iter().all(|result| {
                result.measurements.last().is_none_or(|last| last.finished_at.is_some())
                    && !runner.is_busy(&measurement_key(run.uid, &result.name))
            })
    }

    fn has_busy_job(&self, uid: &str, resolved: &ResolvedRun) -> bool {
        resolved
            .metrics
            .iter()
            .filter(|metric| metric.provider.job.is_some())
            .any(|metric| self.equipment.runner.is_busy(&measurement_key(uid, &metric.name)))
    }

    fn instant_of(&self, at: DateTime<Utc>) -> Instant {
        let clock = &self.equipment.clock;
        let wait = (at - clock.now()).to_std().unwrap_or_default();
        Instant::now() + clock.real_wait(wait)
    }
}

fn measurement_key(uid: &str, metric: &str) -> MeasurementKey {
    MeasurementKey { run_uid: uid.to_owned(), metric: metric.to_owned() }
}

#[cfg(test)]
mod tests;
