//! What one look at a metric saw: events and exposures of both arms since the look before.

use serde::{Deserialize, Serialize};

/// What is wrong with the numbers of one look.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum InvalidCounts {
    /// Negative, infinite or not a number.
    #[error("counts of a look must be finite and not negative, but {name} is {value}")]
    NotACount {
        /// Which number.
        name: &'static str,
        /// What it is.
        value: f64,
    },
    /// More requests over the bound than requests.
    #[error("{arm} has {part} requests over the bound of only {whole} in all")]
    MoreThanAll {
        /// Which arm.
        arm: &'static str,
        /// Requests over the bound.
        part: u64,
        /// Requests in all.
        whole: u64,
    },
}

/// Bad events and exposures (requests, or pod-seconds) of both arms between two looks.
///
/// The formulas accept fractions, as Prometheus' `increase` gives them; differences of counters are
/// whole. All four are finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    canary_bad: f64,
    stable_bad: f64,
    canary_total: f64,
    stable_total: f64,
}

impl Counts {
    /// Checks the numbers; the order is that of the test vectors.
    pub fn new(
        canary_bad: f64,
        stable_bad: f64,
        canary_total: f64,
        stable_total: f64,
    ) -> Result<Self, InvalidCounts> {
        for (name, value) in [
            ("canary_bad", canary_bad),
            ("stable_bad", stable_bad),
            ("canary_total", canary_total),
            ("stable_total", stable_total),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(InvalidCounts::NotACount { name, value });
            }
        }
        Ok(Self { canary_bad, stable_bad, canary_total, stable_total })
    }

    /// Bad events of the canary.
    pub fn canary_bad(&self) -> f64 {
        self.canary_bad
    }

    /// Bad events of stable.
    pub fn stable_bad(&self) -> f64 {
        self.stable_bad
    }

    /// Exposure of the canary.
    pub fn canary_total(&self) -> f64 {
        self.canary_total
    }

    /// Exposure of stable.
    pub fn stable_total(&self) -> f64 {
        self.stable_total
    }

    /// Bad events of both arms.
    pub fn bad(&self) -> f64 {
        self.canary_bad + self.stable_bad
    }

    /// Whether both arms were exposed. A look where one was not says nothing, and counts as 0.
    pub fn is_informative(&self) -> bool {
        self.canary_total > 0.0 && self.stable_total > 0.0
    }

    /// The arms exchanged.
    #[must_use]
    pub fn swapped(&self) -> Self {
        Self {
            canary_bad: self.stable_bad,
            stable_bad: self.canary_bad,
            canary_total: self.stable_total,
            stable_total: self.canary_total,
        }
    }

    /// Both looks as one.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            canary_bad: self.canary_bad + other.canary_bad,
            stable_bad: self.stable_bad + other.stable_bad,
            canary_total: self.canary_total + other.canary_total,
            stable_total: self.stable_total + other.stable_total,
        }
    }

    /// The canary's share of the exposure, 0 to 1; 0 where there is none.
    pub fn canary_share(&self) -> f64 {
        let total = self.canary_total + self.stable_total;
        if total > 0.0 { self.canary_total / total } else { 0.0 }
    }
}

/// Requests over a latency bound, and all requests, of both arms between two looks. Whole numbers,
/// because the exact test conditions on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowCounts {
    canary_slow: u64,
    stable_slow: u64,
    canary_total: u64,
    stable_total: u64,
}

impl SlowCounts {
    /// Checks that no arm has more slow requests than requests.
    pub fn new(
        canary_slow: u64,
        stable_slow: u64,
        canary_total: u64,
        stable_total: u64,
    ) -> Result<Self, InvalidCounts> {
        for (arm, part, whole) in
            [("the canary", canary_slow, canary_total), ("stable", stable_slow, stable_total)]
        {
            if part > whole {
                return Err(InvalidCounts::MoreThanAll { arm, part, whole });
            }
        }
        Ok(Self { canary_slow, stable_slow, canary_total, stable_total })
    }

    /// Requests of the canary over the bound.
    pub fn canary_slow(&self) -> u64 {
        self.canary_slow
    }

    /// Requests of stable over the bound.
    pub fn stable_slow(&self) -> u64 {
        self.stable_slow
    }

    /// Requests of the canary.
    pub fn canary_total(&self) -> u64 {
        self.canary_total
    }

    /// Requests of stable.
    pub fn stable_total(&self) -> u64 {
        self.stable_total
    }
}
