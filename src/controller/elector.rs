//! Takes part in the election of `controller::lease` for one process.
//!
//! A Lease is written by PUT with the resourceVersion that was read, so that of two claims one
//! fails. The leadership that a claim gives ends by itself unless it is renewed in time, whatever
//! this task is doing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Method;
use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::act::leadership::{Confirmation, Epoch, Leadership, LossReason};
use crate::act::wire::{Part, Read, Reply, Target, Wire};
use crate::clock::{Clock, Entropy};
use crate::controller::lease::{
    Contender, InvalidTimings, LeaseAction, LeaseTimings, Record, Seen, Standing, decide,
};

/// New terms are at least the seconds since this one (2024-01-01), so that they are above those of a
/// Lease that somebody deleted; a Lease can count them until 2092.
const TERMS_SINCE: i64 = 1_704_067_200;

/// A name for this process that no other has had: a restarted pod keeps its host name.
pub fn unique_identity(host: &str, entropy: &dyn Entropy) -> String {
    format!("{host}_{:016x}{:016x}", entropy.next_u64(), entropy.next_u64())
}

/// What an [`Elector`] needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// See [`unique_identity`].
    pub identity: String,
    /// The times.
    pub timings: LeaseTimings,
}

/// How holding a leadership ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// As asked; the leadership is still valid until its deadline, to finish and then to release.
    Stopped,
    /// It is over, and so are all writes.
    Lost(LossReason),
}

/// Takes part in an election for one process.
pub struct Elector {
    wire: Wire,
    target: Target,
    me: Contender,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The Lease as last read or written by us; none if absent or not read yet.
    stored: Option<Value>,
    seen: Option<Seen>,
    questions: Option<mpsc::Receiver<Confirmation>>,
    term: u32,
}

impl fmt::Debug for Elector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Elector").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Elector {
    /// A candidate.
    ///
    /// # Errors
    /// [`InvalidTimings`].
    pub fn new(
        client: Client,
        config: LeaseConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, InvalidTimings> {
        let timings = config.timings.checked()?;
        let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "leases");
        let standing = Standing::Candidate { unsure_of: None };
        Ok(Self {
            wire: Wire::new(client).with_timeout(timings.renew_deadline / 3),
            target: Target::namespaced(&resource, &config.namespace, &config.name),
            me: Contender { identity: config.identity, timings, standing, lowest_term: 1 },
            clock,
            entropy,
            stored: None,
            seen: None,
            questions: None,
            term: 0,
        })
    }

    /// Waits until this process leads; none if `stop` came first.
    pub async fn campaign(&mut self, stop: &CancellationToken) -> Option<Leadership> {
        loop {
            let attempt = async {
                self.look().await;
                self.claim_if_free().await
            };
            let leadership = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                leadership = attempt => leadership,
            };
            if leadership.is_some() {
                return leadership;
            }
            let pause = self.pause();
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Renews `leadership` until it is lost or `stop` is cancelled, and answers its questions.
    pub async fn hold(&mut self, leadership: &Leadership, stop: &CancellationToken) -> HoldEnd {
        let ended = leadership.ended();
        let mut questions = self.questions.take();
        let mut next_renewal = Instant::now() + self.pause();
        loop {
            if let Err(reason) = leadership.check() {
                return self.lost(leadership, reason);
            }
            let deadline = leadership.valid_until().unwrap_or_else(Instant::now);
            let attention = async {
                tokio::select! {
                    biased;
                    question = next_question(questions.as_mut()) => self.answer(leadership, question).await,
                    () = tokio::time::sleep_until(next_renewal) => {
                        self.renew(leadership).await;
                        next_renewal = Instant::now() + self.pause();
                    }
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.questions = questions;
                    return HoldEnd::Stopped;
                }
                () = ended.cancelled() => {}
                () = tokio::time::sleep_until(deadline) => {}
                () = attention => {}
            }
        }
    }

    /// Ends `leadership` and lets others lead at once. To be called when all writing has stopped.
    pub async fn release(&mut self, leadership: &Leadership) {
        leadership.lose(LossReason::Shutdown);
        for _ in 0..2 {
            let Some(stored) = &self.stored else { return };
            if Record::read(stored).holder != self.me.identity {
                return;
            }
            let mut free = stored.clone();
            let now = micro_time(self.clock.now());
            let change = json!({"spec": {
                "holderIdentity": null, "leaseDurationSeconds": 1,
                "acquireTime": now, "renewTime": now, "leaseTransitions": self.term,
            }});
            json_patch::merge(&mut free, &change);
            if self.write(&free).await {
                info!(term = self.term, "lease released");
                return;
            }
            self.look().await;
        }
        warn!(term = self.term, "lease not released; it will expire");
    }

    fn lost(&mut self, leadership: &Leadership, reason: LossReason) -> HoldEnd {
        leadership.lose(reason.clone());
        if let LossReason::NewerEpoch { epoch } = &reason {
            self.me.lowest_term = self.me.lowest_term.max(epoch.term.saturating_add(1));
        }
        self.me.standing = Standing::Candidate { unsure_of: None };
        warn!(term = leadership.term(), %reason, "leadership lost");
        HoldEnd::Lost(reason)
    }

    /// A retry period, shortened at random so that candidates do not march in step.
    fn pause(&self) -> Duration {
        let longest = self.me.timings.retry;
        let shortest = longest.mul_f32(0.8);
        self.entropy.jitter(shortest, 25).min(longest)
    }

    /// Reads the Lease; what cannot be read changes nothing that is known.
    async fn look(&mut self) -> bool {
        let stored = match self.wire.get(&self.target).await {
            Read::Found(object) => Some(object),
            Read::Absent => None,
            Read::Failed(error) => {
                debug!(%error, "lease not read");
                return false;
            }
        };
        self.note(stored);
        true
    }

    fn note(&mut self, stored: Option<Value>) {
        let record = stored.as_ref().map(Record::read);
        if let Some(record) = &record {
            self.me.lowest_term = self.me.lowest_term.max(record.term.saturating_add(1));
        }
        self.seen = Some(Seen::update(self.seen.as_ref(), record, Instant::now()));
        self.stored = stored;
    }

    async fn claim_if_free(&mut self) -> Option<Leadership> {
        let fresh_term = fresh_term(self.clock.now());
        let now = Instant::now();
        let term = match decide(&self.me, self.seen.as_ref()?, now, fresh_term) {
            LeaseAction::Claim { term } => term,
            LeaseAction::Prepare { term } => {
                let mut empty = self.lease(term, None);
                json_patch::merge(&mut empty, &json!({"spec": { "holderIdentity": null }}));
                self.write(&empty).await;
                return None;
            }
            LeaseAction::Wait { .. } | LeaseAction::Renew | LeaseAction::StepDown(_) => {
                return None;
            }
        };
        self.me.standing = Standing::Candidate { unsure_of: Some(term) };
        self.term = term;
        let acquired = micro_time(self.clock.now());
        let claim = self.lease(term, Some(&acquired));
        if !self.write(&claim).await {
            return None;
        }
        self.me.standing = Standing::Leader { renewed_at: now };
        let (sender, receiver) = mpsc::channel(16);
        self.questions = Some(receiver);
        info!(term, identity = %self.me.identity, "leadership gained");
        Some(Leadership::elected(term, now + self.me.timings.renew_deadline, sender))
    }

    /// One renewal; a second attempt after a fresh look if the first met a conflict.
    async fn renew(&mut self, leadership: &Leadership) {
        for _ in 0..2 {
            let Some(seen) = &self.seen else { return };
            let now = Instant::now();
            match decide(&self.me, seen, now, fresh_term(self.clock.now())) {
                LeaseAction::Renew => {}
                LeaseAction::StepDown(reason) => return leadership.lose(reason),
                LeaseAction::Prepare { .. }
                | LeaseAction::Claim { .. }
                | LeaseAction::Wait { .. } => return,
            }
            let renewal = self.lease(self.term, None);
            if self.write(&renewal).await {
                self.me.standing = Standing::Leader { renewed_at: now };
                return leadership.renew(now + self.me.timings.renew_deadline);
            }
            if !self.look().await {
                return;
            }
        }
    }

    async fn answer(&mut self, leadership: &Leadership, question: Confirmation) {
        if !self.look().await {
            return;
        }
        let record = self.seen.as_ref().and_then(|seen| seen.record.clone()).unwrap_or_default();
        let ours = record.holder == self.me.identity;
        if !ours {
            leadership.lose(LossReason::Replaced { holder: record.holder, term: record.term });
        }
        // Nobody listens any more if the question timed out; then nothing is written either.
        let _ = question.send(ours);
    }

    /// The Lease with our name and `term`, on the base of what is stored; `acquired` if it is new.
    fn lease(&self, term: u32, acquired: Option<&str>) -> Value {
        let mut lease = self.stored.clone().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": self.target.name, "namespace": self.target.namespace },
            })
        });
        let now = micro_time(self.clock.now());
        let seconds = self.me.timings.lease.as_secs();
        let mut spec = json!({
            "holderIdentity": self.me.identity, "leaseDurationSeconds": seconds,
            "renewTime": now, "leaseTransitions": term,
        });
        if let Some(acquired) = acquired {
            json_patch::merge(&mut spec, &json!({ "acquireTime": acquired }));
        }
        json_patch::merge(&mut lease, &json!({ "spec": spec }));
        lease
    }

    /// Writes the Lease, guarded by the resourceVersion in it; without one, creates it.
    async fn write(&mut self, lease: &Value) -> bool {
        let (method, part) = match &self.stored {
            Some(_) => (Method::PUT, Part::Object),
            None => (Method::POST, Part::Collection),
        };
        let Ok(path) = self.target.path(part) else {
            return false;
        };
        match self.wire.exchange(method, path, "application/json", Some(lease)).await {
            Reply::Done(object) => {
                self.note(Some(object));
                return true;
            }
            Reply::Refused(refusal) => debug!(code = refusal.code, "lease not written"),
            Reply::NotSent(error) => debug!(%error, "lease not written"),
            Reply::Unknown(doubt) => debug!(%doubt, "lease perhaps written"),
        }
        false
    }
}

async fn next_question(questions: Option<&mut mpsc::Receiver<Confirmation>>) -> Confirmation {
    if let Some(questions) = questions
        && let Some(question) = questions.recv().await
    {
        return question;
    }
    std::future::pending().await
}

/// The lowest term that may be claimed at `now`.
fn fresh_term(now: DateTime<Utc>) -> u32 {
    let seconds = now.timestamp().saturating_sub(TERMS_SINCE).max(1);
    u32::try_from(seconds).unwrap_or(u32::MAX).min(Epoch::MAX_TERM)
}

/// The wire form of a Lease's times (`MicroTime`).
fn micro_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests;
