//! Ports for the two things that make runs differ: the wall clock and randomness.
//!
//! Deciding rooms get `now` and seeds as values; effect rooms hold these ports and never ask the
//! system themselves. A port never sleeps: waiting is `tokio::time`, so that tests can pause it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The wall clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present time, as it is written to statuses and compared with them.
    fn now(&self) -> DateTime<Utc>;

    /// How much time of the product has gone by since `instant`, whatever the wall clock did.
    fn since(&self, instant: Instant) -> Duration {
        instant.elapsed()
    }

    /// How long to really wait for a `duration` of the product (a pause, an interval, a delay).
    /// Time limits of I/O are never converted.
    fn real_wait(&self, duration: Duration) -> Duration {
        duration
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that starts at a given time and follows tokio's, `speed` times as fast.
///
/// With speed 1 and paused tokio time it is the clock of tests; with a higher speed it is the clock
/// of demonstrations.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: DateTime<Utc>,
    started: Instant,
    speed: u32,
}

impl TokioClock {
    /// A clock that shows `origin` now and advances as tokio's does.
    pub fn starting_at(origin: DateTime<Utc>) -> Self {
        Self { origin, started: Instant::now(), speed: 1 }
    }

    /// The same clock, `speed` times as fast; 0 counts as 1.
    #[must_use]
    pub fn with_speed(self, speed: u32) -> Self {
        Self { speed: speed.max(1), ..self }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        let elapsed = self.started.elapsed().saturating_mul(self.speed);
        TimeDelta::from_std(elapsed)
            .ok()
            .and_then(|elapsed| self.origin.checked_add_signed(elapsed))
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn since(&self, instant: Instant) -> Duration {
        instant.elapsed().saturating_mul(self.speed)
    }

    fn real_wait(&self, duration: Duration) -> Duration {
        duration / self.speed
    }
}

/// A source of randomness: jitter, names, identities. Never of secrets.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// 64 uniformly distributed bits.
    fn next_u64(&self) -> u64;

    /// `base` lengthened by a random part of up to `percent` of it.
    fn jitter(&self, base: Duration, percent: u32) -> Duration {
        let span = base.saturating_mul(percent) / 100;
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match micros.checked_add(1) {
            Some(bound) => base.saturating_add(Duration::from_micros(self.next_u64() % bound)),
            None => base,
        }
    }
}

/// A generator that gives the same sequence for the same seed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<fastrand::Rng>);

impl SeededEntropy {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// A generator seeded by the operating system.
    pub fn from_system() -> Self {
        Self(Mutex::new(fastrand::Rng::new()))
    }
}

impl Entropy for SeededEntropy {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).u64(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_shortens_waits_by_as_much_as_it_hurries() {
        let origin = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let clock = TokioClock::starting_at(origin).with_speed(60);
        let started = Instant::now();
        tokio::time::advance(clock.real_wait(Duration::from_mins(5))).await;
        assert_eq!(clock.now(), origin + TimeDelta::minutes(5));
        assert_eq!(clock.since(started), Duration::from_mins(5));
    }

    #[test]
    fn jitter_lengthens_by_at_most_its_percentage_and_follows_the_seed() {
        let (one, other) = (SeededEntropy::new(7), SeededEntropy::new(7));
        let base = Duration::from_secs(2);
        for _ in 0..200 {
            let wait = one.jitter(base, 20);
            assert!(wait >= base && wait <= Duration::from_millis(2400), "{wait:?}");
            assert_eq!(wait, other.jitter(base, 20));
        }
        assert_eq!(one.jitter(base, 0), base);
    }
}
