//! The clock of the controller's processes: the world's, or off by as much as a fault wants. Waits
//! are the world's: a wrong clock makes nobody faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;

/// A clock that differs from another by a settable time.
#[derive(Debug)]
pub(crate) struct ShiftedClock {
    base: Arc<dyn Clock>,
    ahead_ms: AtomicI64,
}

impl ShiftedClock {
    pub(crate) fn new(base: Arc<dyn Clock>) -> Self {
        Self { base, ahead_ms: AtomicI64::new(0) }
    }

    /// Sets how far it is ahead, in milliseconds.
    pub(crate) fn shift(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.base.now() + TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn real_wait(&self, duration: Duration) -> Duration {
        self.base.real_wait(duration)
    }
}
