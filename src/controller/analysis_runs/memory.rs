//! What the process knows of runs beside their status. Losing it costs reads and measurements, never
//! a count.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::metrics::{MeasurementOutcome, MeasurementResult};
use crate::observe::cache::Key;

/// How old the last certain read of a run under way may be.
const RESYNC: Duration = Duration::from_secs(50);

/// What is known of one run.
#[derive(Debug, Default)]
pub(super) struct Local {
    uid: String,
    /// When it was last certain that the cache holds the newest version.
    pub(super) fresh_at: Option<Instant>,
    /// A write to it may or may not have landed, or may land yet.
    pub(super) is_in_doubt: bool,
    /// That write was its end, of which nobody was told yet.
    pub(super) is_untold: bool,
    /// When the last measurement of each metric was started.
    pub(super) started: HashMap<String, Instant>,
    /// Conflicts in a row.
    pub(super) conflicts: u32,
    /// Failed writes in a row.
    pub(super) failures: u32,
    /// When running Jobs are looked at again: not worth a write each time.
    resumes: HashMap<String, DateTime<Utc>>,
}

impl Local {
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh_at.is_some_and(|at| at.elapsed() < RESYNC)
    }

    /// Takes note of when the Job of an outcome is to be looked at again.
    pub(super) fn note_resume(&mut self, outcome: &MeasurementOutcome) {
        match &outcome.result {
            MeasurementResult::InProgress { resume_at, .. } => {
                self.resumes.insert(outcome.metric.clone(), *resume_at);
            }
            MeasurementResult::Sample(_)
            | MeasurementResult::Look(_)
            | MeasurementResult::JobSucceeded { .. }
            | MeasurementResult::JobFailed { .. }
            | MeasurementResult::JobStuck { .. }
            | MeasurementResult::Cancelled
            | MeasurementResult::Error(_) => {
                self.resumes.remove(&outcome.metric);
            }
        }
    }

    /// When the Job of this metric is to be looked at again, if that is after `now`.
    pub(super) fn resume_after(&self, metric: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.resumes.get(metric).copied().filter(|at| *at > now)
    }
}

/// What is known of all runs.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Locals>);

#[derive(Debug, Default)]
struct Locals {
    by_key: HashMap<Key, Local>,
    by_uid: HashMap<String, Key>,
}

impl Memory {
    fn with_all<T>(&self, work: impl FnOnce(&mut Locals) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The run with this uid.
    pub(super) fn key_of(&self, uid: &str) -> Option<Key> {
        self.with_all(|locals| locals.by_uid.get(uid).cloned())
    }

    /// Works on what is known of a run; of one that was forgotten nothing is.
    pub(super) fn of<T: Default>(&self, key: &Key, work: impl FnOnce(&mut Local) -> T) -> T {
        self.with_all(|locals| locals.by_key.get_mut(key).map(work).unwrap_or_default())
    }

    /// Remembers whom `key` means. Of a predecessor of the same name nothing is true any more; its
    /// uid is given back.
    pub(super) fn meet(&self, key: &Key, uid: &str) -> Option<String> {
        self.with_all(|locals| {
            if locals.by_key.get(key).is_some_and(|local| local.uid == uid) {
                return None;
            }
            let local = Local { uid: uid.to_owned(), ..Local::default() };
            let before = locals.by_key.insert(key.clone(), local).map(|before| before.uid);
            if let Some(before) = &before {
                locals.by_uid.remove(before);
            }
            locals.by_uid.insert(uid.to_owned(), key.clone());
            before
        })
    }

    /// Forgets a run; its uid is given back.
    pub(super) fn forget(&self, key: &Key) -> Option<String> {
        self.with_all(|locals| {
            let local = locals.by_key.remove(key)?;
            locals.by_uid.remove(&local.uid);
            Some(local.uid)
        })
    }
}
