//! Writing runs: status, take-over after doubt, deletion, and what follows from each outcome.
//! Nothing is retried here: what did not work is read again and decided again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::reading::deletion_time;
use super::{AnalysisRuns, LOOK_AGAIN, LOOK_AGAIN_FINISHED, Run};
use crate::act::events::{About, News, event};
use crate::act::guard::{Dependents, WriteOutcome, merge_difference};
use crate::act::wire::Read;
use crate::api::Kind;
use crate::api::analysis::{AnalysisPhase, AnalysisRunStatus};
use crate::controller::run_news;
use crate::controller::work::Next;
use crate::observe::cache::Key;

/// Conflicts in a row after which a pause is made.
const CONFLICTS_AT_ONCE: u32 = 3;
/// Longest back-off of a status that keeps being refused, in seconds.
const LONGEST_BACKOFF: u32 = 60;

impl AnalysisRuns {
    /// Writes a status, guarded by the version that was read.
    pub(super) async fn write(
        &self,
        run: &Run<'_>,
        status: &AnalysisRunStatus,
    ) -> Result<(), WriteOutcome> {
        let json = |status| serde_json::to_value(status).unwrap_or(Value::Null);
        let Some(change) = merge_difference(&json(run.status), &json(status)) else {
            return Ok(());
        };
        let writer = &self.equipment.writer;
        let guard = writer.guard(run.object).map_err(|_| WriteOutcome::Conflict)?;
        let target = self.target(run.key);
        let outcome = if self.equipment.names.has_status_subresource(Kind::AnalysisRun) {
            writer.patch_status(&target, &guard, &change).await
        } else {
            writer.merge_patch(&target, &guard, json!({ "status": change })).await
        };
        let is_end = status.phase.is_completed() && !run.status.phase.is_completed();
        if is_end && matches!(outcome, WriteOutcome::Ambiguous(_)) {
            self.memory.of(run.key, |local| local.is_untold = true);
        }
        self.done(run.key, outcome)?;
        self.memory.of(run.key, |local| (local.conflicts, local.failures) = (0, 0));
        Ok(())
    }

    /// Puts our epoch on a run after a write with an unknown result, so that it cannot land later.
    pub(super) async fn take_over(&self, run: &Run<'_>) -> Next {
        if !self.read(run.key).await {
            return self.soon();
        }
        let Some(object) = self.equipment.caches.runs.get(run.key) else { return Next::Again };
        let Ok(guard) = self.equipment.writer.guard(&object) else { return Next::Nothing };
        let outcome = self.equipment.writer.take_over(&self.target(run.key), &guard).await;
        match self.done(run.key, outcome) {
            Ok(()) => {
                self.memory.of(run.key, |local| local.is_in_doubt = false);
                Next::Again
            }
            Err(outcome) => self.after_failure(run.key, &outcome).await,
        }
    }

    /// Takes note of what a write made of the run. The write was guarded by the version that was
    /// read, so it also proves that nothing was newer.
    fn done(&self, key: &Key, outcome: WriteOutcome) -> Result<(), WriteOutcome> {
        let WriteOutcome::Applied(object) = outcome else { return Err(outcome) };
        self.equipment.caches.runs.note(object);
        self.memory.of(key, |local| local.fresh_at = Some(Instant::now()));
        Ok(())
    }

    /// What follows from a write that was not carried out, or perhaps not.
    pub(super) async fn after_failure(&self, key: &Key, outcome: &WriteOutcome) -> Next {
        match outcome {
            WriteOutcome::Applied(_) => Next::Again,
            // What was read is out of date: read again, decide again.
            WriteOutcome::Conflict | WriteOutcome::NotFound | WriteOutcome::AlreadyExists => {
                let pause = self.pause_after_conflict(key);
                match (self.read(key).await, pause) {
                    (true, None) => Next::Again,
                    (true, Some(pause)) => Next::At(Instant::now() + pause),
                    (false, _) => self.soon(),
                }
            }
            WriteOutcome::Ambiguous(_) => {
                tracing::warn!(%outcome, "cannot tell whether the run was written");
                self.equipment.metrics.reconcile_failed(Kind::AnalysisRun);
                let is_first = self.memory.of(key, |local| {
                    local.is_in_doubt = true;
                    local.fresh_at = None;
                    local.failures == 0
                });
                let pause = self.backoff(key);
                if is_first { Next::Again } else { Next::At(Instant::now() + pause) }
            }
            WriteOutcome::Throttled { retry_after } => {
                Next::At(Instant::now() + self.equipment.entropy.jitter(*retry_after, 25))
            }
            WriteOutcome::Rejected { .. }
            | WriteOutcome::Forbidden { .. }
            | WriteOutcome::NotSent { .. } => {
                tracing::warn!(%outcome, "the run cannot be written; will try again");
                self.equipment.metrics.reconcile_failed(Kind::AnalysisRun);
                Next::At(Instant::now() + self.backoff(key))
            }
            WriteOutcome::NotLeading(_) => Next::At(Instant::now() + LOOK_AGAIN),
        }
    }

    fn pause_after_conflict(&self, key: &Key) -> Option<Duration> {
        let conflicts = self.memory.of(key, |local| {
            local.conflicts = local.conflicts.saturating_add(1);
            local.conflicts
        });
        let excess = conflicts.checked_sub(CONFLICTS_AT_ONCE)?.min(20);
        Some(self.equipment.entropy.jitter(Duration::from_millis(50) * excess, 100))
    }

    fn backoff(&self, key: &Key) -> Duration {
        let failures = self.memory.of(key, |local| {
            local.failures = local.failures.saturating_add(1);
            local.failures
        });
        let doublings = failures.saturating_sub(1);
        let seconds = 1u32.checked_shl(doublings).unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF);
        self.equipment.entropy.jitter(Duration::from_secs(u64::from(seconds)), 25)
    }

    /// Another look in a moment.
    pub(super) fn soon(&self) -> Next {
        Next::At(Instant::now() + self.equipment.entropy.jitter(Duration::from_secs(2), 25))
    }

    /// A quorum read of the run into the cache; whether the answer is certain.
    pub(super) async fn read(&self, key: &Key) -> bool {
        let cache = &self.equipment.caches.runs;
        match self.equipment.wire.get(&self.target(key)).await {
            Read::Found(object) => cache.note(object),
            Read::Absent => cache.forget(key),
            Read::Failed(error) => {
                self.equipment.metrics.reconcile_failed(Kind::AnalysisRun);
                tracing::warn!(%error, "cannot read the run");
                return false;
            }
        }
        self.memory.of(key, |local| local.fresh_at = Some(Instant::now()));
        true
    }

    /// What is left for a run that has ended: its deletion, if it asks for one.
    pub(super) async fn retire(&self, run: &Run<'_>) -> Next {
        let Some(at) = deletion_time(run.object, run.status) else { return Next::Nothing };
        if at > self.equipment.clock.now() {
            let latest = Instant::now() + LOOK_AGAIN_FINISHED;
            return Next::At(self.instant_of(at).min(latest));
        }
        let Ok(guard) = self.equipment.writer.guard(run.object) else { return Next::Nothing };
        let target = self.target(run.key);
        match self.equipment.writer.delete(&target, &guard, Dependents::Background).await {
            WriteOutcome::Applied(_) | WriteOutcome::NotFound => {
                tracing::info!("deleted at the end of its time to live");
                self.equipment.caches.runs.forget(run.key);
                Next::Again
            }
            outcome => self.after_failure(run.key, &outcome).await,
        }
    }

    /// Tells of the end of a run, if nobody was told yet: `was` is the phase that was read.
    pub(super) async fn tell(&self, run: &Run<'_>, was: AnalysisPhase, status: &AnalysisRunStatus) {
        let is_untold = self.memory.of(run.key, |local| std::mem::take(&mut local.is_untold));
        if !status.phase.is_completed() || (was.is_completed() && !is_untold) {
            return;
        }
        tracing::info!(phase = status.phase.as_str(), message = status.message, "the run ended");
        self.send(run, &run_news::news(&run.key.name, status)).await;
    }

    /// What a comparison says goes to the metrics at every look, and to people where its verdict is
    /// another one than before. The end of the run is told apart.
    pub(super) async fn tell_comparison(&self, run: &Run<'_>, status: &AnalysisRunStatus) {
        let Some(comparison) = status.comparison.as_ref().filter(|_| !status.phase.is_completed())
        else {
            return;
        };
        let (namespace, name) = (&run.key.namespace, &run.key.name);
        self.equipment.metrics.compared(namespace, name, &comparison.metrics);
        let was = run.status.comparison.as_ref();
        let verdict = was.map(|comparison| comparison.verdict);
        let news = [
            run_news::comparison_news(name, verdict, comparison),
            run_news::split_news(name, was, comparison),
        ];
        for news in news.iter().flatten() {
            self.send(run, news).await;
        }
    }

    async fn send(&self, run: &Run<'_>, news: &News) {
        let now = self.equipment.clock.now();
        let salt = self.equipment.entropy.next_u64();
        let about = About {
            names: self.equipment.names,
            kind: Kind::AnalysisRun,
            namespace: &run.key.namespace,
            name: &run.key.name,
            object: run.object,
        };
        let (target, event) = event(&about, news, now, salt);
        let outcome = self.equipment.writer.create_event(&target, event).await;
        if outcome.applied().is_none() {
            tracing::debug!(outcome = outcome.label(), "event lost");
        }
    }
}
