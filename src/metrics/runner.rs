//! Runs measurements side by side: each outcome is there as soon as it is known, a hanging server
//! delays only what asks it, and nothing is asked twice at once.
//!
//! An outcome is kept until it was acknowledged, that is until the status that counts it was written.
//! The runner decides nothing and writes nothing to the cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::measure::{MeasureCall, MeasureContext};
use super::sample::{MeasureError, MeasurementOutcome, MeasurementResult};
use crate::breakdown::caught;

/// Measurements under way in all, and for one server.
const MAX_IN_FLIGHT: usize = 512;
const MAX_PER_LANE: usize = 16;
/// Lanes that are remembered; idle ones are dropped beyond it.
const MAX_LANES: usize = 1024;

/// Which measurement it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeasurementKey {
    /// Uid of the run.
    pub run_uid: String,
    /// Name of the metric.
    pub metric: String,
}

/// A run that has a new outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeReady {
    /// Uid of the run.
    pub run_uid: String,
}

enum Slot {
    Running(AbortHandle),
    Finished(MeasurementOutcome),
}

#[derive(Default)]
struct State {
    slots: HashMap<MeasurementKey, Slot>,
    lanes: HashMap<String, Arc<Semaphore>>,
}

/// Runs measurements.
#[derive(Clone)]
pub struct Runner {
    ctx: MeasureContext,
    state: Arc<Mutex<State>>,
    all: Arc<Semaphore>,
    ready: mpsc::UnboundedSender<OutcomeReady>,
}

impl Runner {
    /// A runner, and the channel that says which run has a new outcome. The channel holds at most one
    /// message for each measurement under way.
    pub fn new(ctx: MeasureContext) -> (Self, mpsc::UnboundedReceiver<OutcomeReady>) {
        let (ready, receiver) = mpsc::unbounded_channel();
        let runner = Self {
            ctx,
            state: Arc::default(),
            all: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            ready,
        };
        (runner, receiver)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a measurement is under way, or its outcome not yet acknowledged. Ask this before
    /// credentials are read for nothing.
    pub fn is_busy(&self, key: &MeasurementKey) -> bool {
        self.state().slots.contains_key(key)
    }

    /// Starts a measurement, unless one of the same key is under way or unacknowledged; says whether
    /// it did. Must be called within a Tokio runtime.
    pub fn start(&self, key: MeasurementKey, ordinal: u32, call: MeasureCall) -> bool {
        let mut state = self.state();
        if state.slots.contains_key(&key) {
            return false;
        }
        if state.lanes.len() >= MAX_LANES {
            state.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = state
            .lanes
            .entry(call.lane())
            .or_insert_with(|| Arc::new(Semaphore::new(MAX_PER_LANE)));
        let work = self.clone().carry_out(key.clone(), ordinal, call, Arc::clone(lane));
        let task = tokio::spawn(work);
        state.slots.insert(key, Slot::Running(task.abort_handle()));
        true
    }

    async fn carry_out(
        self,
        key: MeasurementKey,
        ordinal: u32,
        call: MeasureCall,
        lane: Arc<Semaphore>,
    ) {
        // The lane first: who waits for a busy server must not hold a place that others need.
        let _lane_permit = lane.acquire_owned().await;
        let _permit = Arc::clone(&self.all).acquire_owned().await;
        let started_at = self.ctx.clock.now();
        // A panic in one provider must neither stop the others nor leave this slot busy for ever.
        let result = caught(call.measure(&self.ctx)).await.unwrap_or_else(|error| {
            MeasurementResult::Error(MeasureError::Unusable(format!("the measurement: {error}")))
        });
        let finished_at = self.ctx.clock.now();
        let outcome = MeasurementOutcome {
            metric: key.metric.clone(),
            ordinal,
            started_at,
            finished_at,
            result,
        };
        let run_uid = key.run_uid.clone();
        // A slot that was forgotten meanwhile stays forgotten.
        if let Some(slot) = self.state().slots.get_mut(&key) {
            *slot = Slot::Finished(outcome);
        }
        // Nobody listens any more when the process ends; then nothing is lost.
        let _ = self.ready.send(OutcomeReady { run_uid });
    }

    /// The outcomes of a run that are not acknowledged yet, by metric.
    pub fn finished(&self, run_uid: &str) -> Vec<MeasurementOutcome> {
        let state = self.state();
        let mut outcomes: Vec<MeasurementOutcome> = state
            .slots
            .iter()
            .filter(|(key, _)| key.run_uid == run_uid)
            .filter_map(|(_, slot)| match slot {
                Slot::Finished(outcome) => Some(outcome.clone()),
                Slot::Running(_) => None,
            })
            .collect();
        outcomes.sort_by(|a, b| a.metric.cmp(&b.metric));
        outcomes
    }

    /// Forgets outcomes, once a status that counts them was written.
    pub fn acknowledge(&self, run_uid: &str, outcomes: &[MeasurementOutcome]) {
        let mut state = self.state();
        for outcome in outcomes {
            let key =
                MeasurementKey { run_uid: run_uid.to_owned(), metric: outcome.metric.clone() };
            let is_same =
                matches!(state.slots.get(&key), Some(Slot::Finished(kept)) if kept == outcome);
            if is_same {
                state.slots.remove(&key);
            }
        }
    }

    /// Gives up everything of a run that is complete or deleted.
    pub fn forget(&self, run_uid: &str) {
        self.state().slots.retain(|key, slot| {
            let is_other = key.run_uid != run_uid;
            if let (false, Slot::Running(task)) = (is_other, &slot) {
                task.abort();
            }
            is_other
        });
    }

    /// Gives up everything, when leadership ends.
    pub fn forget_all(&self) {
        for (_, slot) in self.state().slots.drain() {
            if let Slot::Running(task) = slot {
                task.abort();
            }
        }
    }
}
