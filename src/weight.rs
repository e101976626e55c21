//! Traffic weights: how much of a total goes to the canary.
//!
//! A [`Split`] is exact: two integers that sum to a declared total (`maxTrafficWeight`, 100 by
//! default), so that weights finer than 1 % exist where the router can carry them. This module
//! touches no clock, client, log or randomness, and knows nothing of any router.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The largest total that any router we support can carry (Gateway API `backendRefs[].weight`).
pub const MAX_TOTAL: u32 = 1_000_000;

/// How traffic is divided: `canary` parts of `total` go to the canary, the rest to stable.
///
/// Invariant: `1 <= total <= MAX_TOTAL` and `canary <= total` (safety rule S1: weights are in range
/// and sum to the total).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Split {
    canary: u32,
    total: u32,
}

/// A [`Split`] as it is stored, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    canary: u32,
    total: u32,
}

impl TryFrom<Parts> for Split {
    type Error = InvalidSplit;
    fn try_from(parts: Parts) -> Result<Self, Self::Error> {
        Self::new(parts.canary, parts.total)
    }
}

/// Why a pair of numbers is not a [`Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSplit {
    /// The total is zero or beyond [`MAX_TOTAL`].
    #[error("total weight {0} is not in 1..={MAX_TOTAL}")]
    Total(u32),
    /// The canary's part is larger than the total.
    #[error("weight {canary} is greater than the total weight {total}")]
    Canary {
        /// The part that was asked for.
        canary: u32,
        /// The total it was to be a part of.
        total: u32,
    },
}

impl Split {
    /// `canary` parts of `total`.
    ///
    /// # Errors
    /// [`InvalidSplit`] when `total` is not in `1..=MAX_TOTAL` or `canary > total`.
    pub fn new(canary: u32, total: u32) -> Result<Self, InvalidSplit> {
        if total == 0 || total > MAX_TOTAL {
            return Err(InvalidSplit::Total(total));
        }
        if canary > total {
            return Err(InvalidSplit::Canary { canary, total });
        }
        Ok(Self { canary, total })
    }

    /// `canary` parts of `total`, each forced into range: for values that were validated before.
    pub fn saturating(canary: u32, total: u32) -> Self {
        let total = total.clamp(1, MAX_TOTAL);
        Self { canary: canary.min(total), total }
    }

    /// Everything to stable.
    pub fn all_stable(total: u32) -> Self {
        Self::saturating(0, total)
    }

    /// Everything to the canary.
    pub fn all_canary(total: u32) -> Self {
        Self::saturating(total, total)
    }

    /// The canary's parts of [`Split::total`].
    pub fn canary(self) -> u32 {
        self.canary
    }

    /// Stable's parts of [`Split::total`].
    pub fn stable(self) -> u32 {
        self.total - self.canary
    }

    /// The number of parts in all (`maxTrafficWeight`).
    pub fn total(self) -> u32 {
        self.total
    }

    /// Whether no request goes to the canary.
    pub fn is_all_stable(self) -> bool {
        self.canary == 0
    }

    /// Whether every request goes to the canary.
    pub fn is_all_canary(self) -> bool {
        self.canary == self.total
    }

    /// Whether both describe the same share, whatever their totals (5/100 equals 50/1000).
    pub fn same_share(self, other: Self) -> bool {
        u64::from(self.canary) * u64::from(other.total)
            == u64::from(other.canary) * u64::from(self.total)
    }

    /// Whether the canary's share here is greater than in `other`, whatever their totals.
    pub fn gives_canary_more_than(self, other: Self) -> bool {
        u64::from(self.canary) * u64::from(other.total)
            > u64::from(other.canary) * u64::from(self.total)
    }

    /// The number of replicas, out of `replicas`, that the canary's share needs: rounded up, so at
    /// least 1 when any traffic flows (`need(h)` of safety rule S3).
    pub fn canary_need(self, replicas: u32) -> u32 {
        need(replicas, self.canary, self.total)
    }

    /// The number of replicas, out of `replicas`, that stable's share needs, rounded up.
    pub fn stable_need(self, replicas: u32) -> u32 {
        need(replicas, self.stable(), self.total)
    }
}

fn need(replicas: u32, part: u32, total: u32) -> u32 {
    let exact = (u64::from(replicas) * u64::from(part)).div_ceil(u64::from(total.max(1)));
    let floor = u64::from(part > 0 && replicas > 0);
    u32::try_from(exact.max(floor)).unwrap_or(u32::MAX)
}

impl fmt::Display for Split {
    /// Canary first, as users write it: `20/100`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.canary, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_total_of_zero_or_beyond_the_maximum_is_refused() {
        assert_eq!(Split::new(0, 0), Err(InvalidSplit::Total(0)));
        assert_eq!(Split::new(0, MAX_TOTAL + 1), Err(InvalidSplit::Total(MAX_TOTAL + 1)));
        assert_eq!(Split::new(101, 100), Err(InvalidSplit::Canary { canary: 101, total: 100 }));
    }

    #[test]
    fn a_stored_split_is_checked_when_it_is_read() {
        let split = Split::new(20, 100).unwrap();
        let text = serde_json::to_string(&split).unwrap();
        assert_eq!(text, r#"{"canary":20,"total":100}"#);
        assert_eq!(serde_json::from_str::<Split>(&text).unwrap(), split);
        assert!(serde_json::from_str::<Split>(r#"{"canary":101,"total":100}"#).is_err());
    }

    proptest! {
        #[test]
        fn parts_always_sum_to_the_total(canary in 0u32..=2_000_000, total in 0u32..=2_000_000) {
            let split = Split::saturating(canary, total);
            prop_assert_eq!(split.canary() + split.stable(), split.total());
        }

        #[test]
        fn need_is_enough_and_never_more_than_all(canary in 0u32..=1000, n in 0u32..=5000) {
            let split = Split::saturating(canary, 1000);
            let need = split.canary_need(n);
            prop_assert!(need <= n);
            prop_assert!(u64::from(need) * 1000 >= u64::from(n) * u64::from(split.canary()));
            prop_assert_eq!(need == 0, n == 0 || split.is_all_stable());
        }

        #[test]
        fn same_share_is_independent_of_the_total(c in 0u32..=100, k in 1u32..=1000) {
            prop_assert!(Split::saturating(c, 100).same_share(Split::saturating(c * k, 100 * k)));
        }
    }
}
