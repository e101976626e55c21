//! The loop over Rollouts: one pass is observe, decide, act, project, write. It holds what a process
//! may know beside status (back-offs, freshness, who is interested in what) and decides nothing
//! about rollouts.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::concerns::Concerns;
use super::details::{self, Details};
use super::report;
use super::work::{self, Ask, Next, Work};
use crate::act::actions::Hands;
use crate::act::events::{self, Herald};
use crate::act::status::differs_only_in_detail;
use crate::act::wire::Target;
use crate::api::Kind;
use crate::api::status::{RolloutPhase, RolloutStatus};
use crate::clock::{Clock, Entropy};
use crate::mutants::{Mutant, mutant};
use crate::observe::cache::{Change, Key};
use crate::observe::{Interest, Memo, Recall, Snapshot, observe};
use crate::plan::action::{ActionFailure, Outcome};
use crate::plan::facts::{FailingAction, PauseWatch};
use crate::plan::{Decision, decide, status};
use crate::telemetry::metrics::Metrics;

/// How old the last certain read of a Rollout may be when something is moved forward.
const FRESH: Duration = Duration::from_secs(1);
/// How old it may be when a Rollout is looked at for whatever reason.
const RESYNC: Duration = Duration::from_secs(50);
/// How long news of other objects wait for more: pods, their ReplicaSet and their endpoints change
/// together, and one pass sees it all.
const SETTLE: Duration = Duration::from_millis(20);
/// How long after a conflict, or an answer that says nothing, it is tried again when that was not the
/// first: what changed was read then, if it could be.
const CONFLICT_PAUSE: Duration = Duration::from_secs(1);
/// Longest back-off of an action that keeps failing.
const LONGEST_BACKOFF: u32 = 60;

/// What the process knows of one Rollout beside its status.
#[derive(Debug, Default)]
struct Local {
    uid: String,
    /// Failing actions, with how often each failed.
    failing: Vec<(FailingAction, u32)>,
    /// Take-overs and writes of the status in a row that met a conflict or had no answer.
    doubts: u32,
    fresh_at: Option<Instant>,
    details: details::Turn,
    interests: BTreeSet<Interest>,
    report: report::Memory,
    recall: Recall,
    /// The pause that is under way: when it began, and when it was first seen.
    pause: Option<(DateTime<Utc>, DateTime<Utc>, Instant)>,
}

/// The loop.
#[derive(Debug)]
pub struct Rollouts {
    hands: Hands,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    locals: Mutex<HashMap<Key, Local>>,
    concerns: Concerns,
    details: Details,
    herald: Herald,
}

impl Work for Rollouts {
    const KIND: Kind = Kind::Rollout;

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn span(key: &Key) -> tracing::Span {
        tracing::info_span!("rollout", namespace = key.namespace, name = key.name)
    }

    async fn pass(&self, key: &Key) -> Next {
        let is_resync = !self.is_fresher_than(key, RESYNC);
        if is_resync && !self.read(key).await {
            return self.soon();
        }
        let Some(rollout) = self.hands.caches.rollouts.get(key) else {
            self.forget(key);
            return Next::Nothing;
        };
        let now = self.clock.now();
        let memo = self.memo(key, &rollout);
        let snapshot = observe(&self.hands.caches, self.hands.names, &rollout, &memo, now);
        self.note_snapshot(key, &snapshot);
        let decision = decide(&snapshot.observed);
        self.note_pause(key, &decision, now);
        // What is waited for may have come, and its event got lost.
        let is_waiting =
            !decision.waiting.is_empty() && snapshot.observed.rollout.deleted_at.is_none();
        if is_resync && is_waiting && self.hands.read_objects(&snapshot).await {
            return Next::Again;
        }
        if decision.is_forward() && !self.is_fresher_than(key, FRESH) {
            return self.read_again(key).await;
        }
        if decision.class.is_some() || decision.changes_memory() {
            // Each time: what was not read yet when this process began is taken over when it is.
            match self.hands.take_over(&snapshot).await {
                Ok(false) => {}
                Ok(true) => return Next::Again,
                Err(failure) => {
                    tracing::warn!(error = %failure, "cannot take over");
                    return self.after_failure(key, &failure).await;
                }
            }
        }
        let outcomes = if decision.changes_memory() {
            vec![]
        } else {
            self.hands.act(&snapshot, &decision.actions).await
        };
        self.note_outcomes(key, &outcomes, now);
        Self::log(&decision, &outcomes);
        self.finish(key, &snapshot, &decision, &outcomes).await
    }
}

impl Rollouts {
    /// A loop that has seen nothing yet.
    pub fn new(
        hands: Hands,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            herald: Herald::new(hands.writer.clone()),
            hands,
            clock,
            entropy,
            metrics,
            locals: Mutex::default(),
            concerns: Concerns::default(),
            details: Details::default(),
        }
    }

    /// Works until `stop`: on every Rollout at the start, and then on those that something happened
    /// to (`changes`, `wishes`) or whose time has come. Passes that run at `stop` come to their end.
    pub async fn run(
        self: Arc<Self>,
        changes: &mut mpsc::UnboundedReceiver<Change>,
        wishes: &mut mpsc::UnboundedReceiver<Key>,
        stop: &CancellationToken,
    ) {
        let changes = stream::poll_fn(|context| changes.poll_recv(context)).map(|change| Ask {
            keys: self.concerns.of(&change, &self.hands.caches.replica_sets),
            after: SETTLE,
        });
        let wishes = stream::poll_fn(|context| wishes.poll_recv(context)).map(Ask::now);
        let keys = self.hands.caches.rollouts.keys();
        work::run(&self, keys, stream::select(changes, wishes), stop).await;
        self.herald.end().await;
    }

    fn locals(&self) -> MutexGuard<'_, HashMap<Key, Local>> {
        self.locals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the status and says when to look again: reached on every pass, whatever failed.
    async fn finish(
        &self,
        key: &Key,
        snapshot: &Snapshot,
        decision: &Decision,
        outcomes: &[Outcome],
    ) -> Next {
        let has_acted = outcomes.iter().any(|outcome| outcome.result.is_ok());
        let after_actions = self.after_actions(decision, outcomes);
        let Some(new) = status::project(&snapshot.observed, decision, outcomes) else {
            return after_actions;
        };
        let old = snapshot.observed.rollout.status.known().cloned().unwrap_or_default();
        self.report(key, snapshot, &new);
        if new == old {
            self.note_doubts(key, false);
            return after_actions;
        }
        let is_detail = !decision.changes_memory() && differs_only_in_detail(&old, &new);
        if is_detail {
            if has_acted {
                return Next::Again;
            }
            if let Some(not_before) = self.detail_not_before(key) {
                return after_actions.at_latest(not_before);
            }
        }
        match self.hands.write_status(snapshot, &new).await {
            Ok(()) => {
                self.note_status_written(key);
                self.note_doubts(key, false);
                self.count(key, &report::Written::of(snapshot, decision, &old, &new));
                let news = events::news(&old, decision, &new);
                let salt = self.entropy.next_u64();
                self.herald.tell(events::events(snapshot, &news, snapshot.observed.now, salt));
                // What is remembered may allow what was not allowed before.
                if is_detail { after_actions } else { Next::Again }
            }
            Err(failure) => self.after_failure(key, &failure).await,
        }
    }

    /// When to look again after actions that ended so.
    fn after_actions(&self, decision: &Decision, outcomes: &[Outcome]) -> Next {
        let at_decision = if mutant(Mutant::EventsOnly) {
            Next::Nothing
        } else {
            Next::At(self.instant_of(decision.wake_at))
        };
        let is_conflict =
            |outcome: &Outcome| outcome.result.as_ref().err() == Some(&ActionFailure::Conflict);
        if outcomes.is_empty() {
            at_decision
        } else if outcomes.iter().all(is_conflict) {
            at_decision.at_latest(Instant::now() + CONFLICT_PAUSE)
        } else {
            // The next pass sees what was done, and holds back what failed until its time.
            Next::Again
        }
    }

    async fn after_failure(&self, key: &Key, failure: &ActionFailure) -> Next {
        match failure {
            // What was read is out of date: read again, decide again. A server that answers each
            // write with 500, or a webhook whose refusal looks like a conflict, would be asked as fast
            // as it answers.
            ActionFailure::Conflict | ActionFailure::Ambiguous(_) => {
                match (self.read(key).await, self.note_doubts(key, true)) {
                    (false, _) => self.soon(),
                    (true, 1) => Next::Again,
                    (true, _) => Next::At(Instant::now() + CONFLICT_PAUSE),
                }
            }
            ActionFailure::Refused(_) | ActionFailure::NameIsTaken => self.soon(),
            ActionFailure::NotLeading => Next::At(Instant::now() + Duration::from_mins(1)),
        }
    }

    /// Reads, and looks again: at once if the answer is certain.
    async fn read_again(&self, key: &Key) -> Next {
        if self.read(key).await { Next::Again } else { self.soon() }
    }

    fn soon(&self) -> Next {
        Next::At(Instant::now() + self.entropy.jitter(Duration::from_secs(2), 25))
    }

    /// A quorum read of the Rollout into the cache; whether the answer is certain.
    async fn read(&self, key: &Key) -> bool {
        let cache = &self.hands.caches.rollouts;
        let target = Target::namespaced(cache.resource(), &key.namespace, &key.name);
        match self.hands.read(cache, &target).await {
            Ok(()) => {
                self.locals().entry(key.clone()).or_default().fresh_at = Some(Instant::now());
                true
            }
            Err(error) => {
                self.metrics.reconcile_failed(Kind::Rollout);
                tracing::warn!(%error, "cannot read the Rollout");
                false
            }
        }
    }

    fn is_fresher_than(&self, key: &Key, age: Duration) -> bool {
        let locals = self.locals();
        let fresh_at = locals.get(key).and_then(|local| local.fresh_at);
        fresh_at.is_some_and(|at| at.elapsed() < age)
    }

    fn memo(&self, key: &Key, rollout: &Value) -> Memo {
        let uid = rollout.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        if local.uid != uid {
            // Another Rollout of the same name: nothing of the old one is true of it.
            let fresh_at = local.fresh_at;
            *local = Local { uid: uid.to_owned(), fresh_at, ..Local::default() };
        }
        let failing = local.failing.iter().map(|(failing, _)| failing.clone()).collect();
        let pause_watch = local.pause.map(|(since, first_seen, seen)| PauseWatch {
            since,
            first_seen,
            watched: TimeDelta::from_std(self.clock.since(seen)).unwrap_or(TimeDelta::MAX),
        });
        let recall = std::mem::take(&mut local.recall);
        Memo { git: self.hands.git.facts(uid), failing, pause_watch, recall }
    }

    /// From the first sight of a pause on, the time that it lasts is taken from a clock that never
    /// jumps.
    fn note_pause(&self, key: &Key, decision: &Decision, now: DateTime<Utc>) {
        let began = decision.pause_began();
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        if local.pause.map(|(since, ..)| since) != began {
            local.pause = began.map(|since| (since, now, Instant::now()));
        }
    }

    fn note_snapshot(&self, key: &Key, snapshot: &Snapshot) {
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        let status = snapshot.observed.rollout.status.known();
        // An update means many passes; in between, remembering would cost more than it saves.
        if status.is_some_and(|status| status.phase == Some(RolloutPhase::Progressing)) {
            local.recall = Recall::of(snapshot);
        }
        if local.interests != snapshot.interests {
            self.concerns.note(key, &local.interests, &snapshot.interests);
            local.interests.clone_from(&snapshot.interests);
        }
    }

    fn note_outcomes(&self, key: &Key, outcomes: &[Outcome], now: DateTime<Utc>) {
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        for outcome in outcomes {
            let before = local.failing.iter().position(|(failing, _)| failing.key == outcome.key);
            let times = before.map_or(0, |idx| local.failing.swap_remove(idx).1);
            let Err(failure) = &outcome.result else { continue };
            self.metrics.reconcile_failed(Kind::Rollout);
            let (name_is_taken, backs_off) = match failure {
                // Looking again is all that is needed.
                ActionFailure::Conflict => (false, false),
                ActionFailure::Ambiguous(_) => {
                    local.fresh_at = None;
                    (false, true)
                }
                ActionFailure::Refused(_) | ActionFailure::NotLeading => (false, true),
                ActionFailure::NameIsTaken => (true, true),
            };
            local.fresh_at = local.fresh_at.filter(|_| backs_off);
            if backs_off {
                let seconds =
                    1u32.checked_shl(times).unwrap_or(LONGEST_BACKOFF).min(LONGEST_BACKOFF);
                let failing = FailingAction {
                    key: outcome.key.clone(),
                    error: failure.to_string(),
                    retry_at: now + TimeDelta::seconds(i64::from(seconds)),
                    name_is_taken,
                };
                local.failing.push((failing, times.saturating_add(1)));
            }
        }
    }

    /// Counts one more doubt in a row, or forgets them; how many there are.
    fn note_doubts(&self, key: &Key, is_doubtful: bool) -> u32 {
        let mut locals = self.locals();
        let Some(local) = locals.get_mut(key) else { return 0 };
        local.doubts = if is_doubtful { local.doubts.saturating_add(1) } else { 0 };
        local.doubts
    }

    fn detail_not_before(&self, key: &Key) -> Option<Instant> {
        self.locals().get_mut(key)?.details.not_before(&self.details)
    }

    fn note_status_written(&self, key: &Key) {
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        // The write was guarded by the version that was read: it proves that nothing was newer.
        local.fresh_at = Some(Instant::now());
        local.details.note_written();
    }

    fn instant_of(&self, at: DateTime<Utc>) -> Instant {
        let wait = (at - self.clock.now()).to_std().unwrap_or_default();
        Instant::now() + self.clock.real_wait(wait)
    }

    fn forget(&self, key: &Key) {
        let Some(local) = self.locals().remove(key) else { return };
        self.concerns.note(key, &local.interests, &BTreeSet::new());
        self.hands.git.forget(&local.uid);
        self.metrics.forget_rollout(&key.namespace, &key.name);
    }

    fn report(&self, key: &Key, snapshot: &Snapshot, new: &RolloutStatus) {
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        report::report(&self.metrics, &mut local.report, snapshot, new);
    }

    fn count(&self, key: &Key, written: &report::Written<'_>) {
        let mut locals = self.locals();
        let local = locals.entry(key.clone()).or_default();
        report::count(&self.metrics, &mut local.report, written);
    }

    fn log(decision: &Decision, outcomes: &[Outcome]) {
        if let Some(change) = &decision.change {
            tracing::info!(change = ?change, "decided");
        }
        for outcome in outcomes {
            let (verb, object) = (outcome.key.verb, &outcome.key.object);
            match &outcome.result {
                Ok(()) => tracing::info!(verb, object, "did"),
                Err(ActionFailure::Conflict) => tracing::debug!(verb, object, "conflict"),
                Err(error) => tracing::warn!(verb, object, %error, "will try again"),
            }
        }
        if outcomes.is_empty() && decision.change.is_none() {
            tracing::debug!(waiting_on = ?decision.waiting, "looked");
        }
    }
}
