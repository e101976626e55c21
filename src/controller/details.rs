//! When a status write that only changes counts and texts may be made. People watch those, nothing
//! depends on them, and each costs the API server as much as one that matters: while many Rollouts
//! move at once they wait for one another, so that what matters is not kept waiting. It never holds
//! back any other write.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two such writes of one Rollout.
const PAUSE: Duration = Duration::from_secs(5);
/// Shortest time between two such writes of the process.
const GAP: Duration = Duration::from_millis(100);
/// Longest time that one waits for those of other Rollouts.
const LONGEST: Duration = Duration::from_secs(30);

/// The queue of all Rollouts of a process.
#[derive(Debug, Default)]
pub(super) struct Details {
    next: Mutex<Option<Instant>>,
}

/// What is known of the writes of one Rollout.
#[derive(Debug, Default)]
pub(super) struct Turn {
    written_at: Option<Instant>,
    at: Option<Instant>,
}

impl Turn {
    /// The status was written.
    pub(super) fn note_written(&mut self) {
        *self = Self { written_at: Some(Instant::now()), at: None };
    }

    /// Until when a write has to wait; `None` when it may be made now. A process that has just come
    /// waits as well: it has not seen everything yet, and would take back what it wrote.
    pub(super) fn not_before(&mut self, details: &Details) -> Option<Instant> {
        let now = Instant::now();
        let rested = *self.written_at.get_or_insert(now) + PAUSE;
        if rested > now {
            return Some(rested);
        }
        let at = *self.at.get_or_insert_with(|| details.take(now));
        (at > now).then_some(at)
    }
}

impl Details {
    fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.clamp(now, now + LONGEST));
        *next = Some(at + GAP);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_rollout_writes_every_five_seconds() {
        let (details, mut turn) = (Details::default(), Turn::default());
        assert_eq!(turn.not_before(&details), Some(Instant::now() + PAUSE));
        tokio::time::advance(PAUSE).await;
        assert_eq!(turn.not_before(&details), None);
        turn.note_written();
        assert_eq!(turn.not_before(&details), Some(Instant::now() + PAUSE));
        tokio::time::advance(PAUSE).await;
        assert_eq!(turn.not_before(&details), None);
    }

    #[tokio::test(start_paused = true)]
    async fn many_rollouts_wait_for_one_another_but_not_for_ever() {
        let details = Details::default();
        let mut turns: Vec<Turn> = (0..1000).map(|_| Turn::default()).collect();
        turns.iter_mut().for_each(Turn::note_written);
        tokio::time::advance(PAUSE).await;
        let began = Instant::now();
        let mut waits: Vec<_> = turns.iter_mut().map(|turn| turn.not_before(&details)).collect();
        assert_eq!(waits.remove(0), None);
        assert_eq!(waits[0], Some(began + GAP));
        assert_eq!(waits[98], Some(began + GAP * 99));
        assert_eq!(waits.last().unwrap(), &Some(began + LONGEST));
        // Who asks again keeps its turn.
        tokio::time::advance(GAP).await;
        assert_eq!(turns[1].not_before(&details), None);
        assert_eq!(turns[2].not_before(&details), Some(began + GAP * 2));
    }
}
