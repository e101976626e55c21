//! The arithmetic of a weighted list that holds stable, the canary and perhaps other backends:
//! exact integers, the others keep their proportion to the two of ours.
//!
//! Stable and the canary together are the *pool*. A [`Split`] divides the pool and never changes
//! its size relative to the others. Where the pool cannot be divided exactly, every weight of the
//! list is multiplied by the same smallest factor. This file knows nothing of any route object.

use crate::weight::{MAX_TOTAL, Split};

/// The weights of one list, in parts of their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weights {
    /// The weight of the stable Service.
    pub(super) stable: u32,
    /// The weight of the canary Service.
    pub(super) canary: u32,
    /// The weights of all other backends, in their order.
    pub(super) others: Vec<u32>,
}

/// Why a split cannot be written into a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Indivisible {
    /// Stable and the canary have weight 0 while others have some: there is no pool to divide.
    EmptyPool,
    /// Exact weights would exceed [`MAX_TOTAL`].
    TooFine,
}

/// The canary's share of the pool, in parts of `total` where that is exact, else in the list's own
/// parts. `None` when the pool is empty.
///
/// A pool beyond [`MAX_TOTAL`] that has no smaller exact form is rounded towards the canary, since
/// capacity and safety rules ask for the highest weight that the canary may have.
pub(super) fn share(weights: &Weights, total: u32) -> Option<Split> {
    let pool = pool(weights);
    if pool == 0 {
        return None;
    }
    let canary = u64::from(weights.canary);
    let parts = canary * u64::from(total);
    let (canary, total) = if parts.is_multiple_of(pool) {
        (parts / pool, u64::from(total))
    } else {
        let divisor = if pool > u64::from(MAX_TOTAL) { gcd(canary, pool) } else { 1 };
        (canary / divisor, pool / divisor)
    };
    match (u32::try_from(canary), u32::try_from(total)) {
        (Ok(canary), Ok(total)) if total <= MAX_TOTAL => Split::new(canary, total).ok(),
        _ => Some(rounded_towards_canary(canary, total)),
    }
}

fn rounded_towards_canary(canary: u64, pool: u64) -> Split {
    let parts = (canary * u64::from(MAX_TOTAL)).div_ceil(pool);
    // Never "all", as long as stable has a part.
    let most = if canary == pool { MAX_TOTAL } else { MAX_TOTAL - 1 };
    Split::saturating(u32::try_from(parts).unwrap_or(most).min(most), MAX_TOTAL)
}

/// The weights that give the canary exactly `split` of the pool. A list that already does so comes
/// back unchanged, whatever its parts.
///
/// Taking all traffic from the canary is a safety action and is never refused for want of
/// precision: as the last resort the pool is cut to [`MAX_TOTAL`].
pub(super) fn divide(now: &Weights, split: Split) -> Result<Weights, Indivisible> {
    let pool = pool(now);
    let total = u64::from(split.total());
    let has_others = now.others.iter().any(|weight| *weight > 0);
    if pool == 0 {
        return if has_others {
            Err(Indivisible::EmptyPool)
        } else {
            Ok(Weights { stable: split.stable(), canary: split.canary(), ..now.clone() })
        };
    }
    if u64::from(now.canary) * total == u64::from(split.canary()) * pool {
        return Ok(now.clone());
    }
    let others: Vec<u64> = now.others.iter().copied().map(u64::from).collect();
    let is_dividable = pool.is_multiple_of(total) && pool <= u64::from(MAX_TOTAL);
    let exact = match (is_dividable, has_others) {
        (true, _) => Scaled::new(pool, split, others, 1),
        (false, false) => Scaled::new(total, split, others, 1),
        (false, true) => Scaled::new(pool, split, others, total / gcd(pool, total)),
    };
    let is_end = split.is_all_stable() || split.is_all_canary();
    let fitting = (exact.fit())
        .or_else(|| exact.coarsest(exact.part).fit())
        .or_else(|| exact.coarsest(exact.stable.max(exact.canary)).fit().filter(|_| is_end));
    if let Some(weights) = fitting {
        return Ok(weights);
    }
    if split.is_all_stable() {
        let stable = u32::try_from(pool).unwrap_or(MAX_TOTAL).min(MAX_TOTAL);
        return Ok(Weights { stable, canary: 0, ..now.clone() });
    }
    Err(Indivisible::TooFine)
}

/// Weights before it is known that they fit.
struct Scaled {
    /// One part of the split's total.
    part: u64,
    stable: u64,
    canary: u64,
    others: Vec<u64>,
}

impl Scaled {
    /// `pool * factor` must be a multiple of the split's total.
    fn new(pool: u64, split: Split, others: Vec<u64>, factor: u64) -> Self {
        let part = pool * factor / u64::from(split.total());
        Self {
            part,
            stable: part * u64::from(split.stable()),
            canary: part * u64::from(split.canary()),
            others: others.into_iter().map(|weight| weight * factor).collect(),
        }
    }

    /// The same proportions in the smallest integers of which `unit` remains a whole number. With
    /// one part as the unit, whether a list can carry a total does not depend on the step.
    fn coarsest(&self, unit: u64) -> Self {
        let divisor = self.others.iter().fold(unit, |a, b| gcd(a, *b)).max(1);
        Self {
            part: self.part / divisor,
            stable: self.stable / divisor,
            canary: self.canary / divisor,
            others: self.others.iter().map(|weight| weight / divisor).collect(),
        }
    }

    /// The weights, if the pool and each of the others stay within [`MAX_TOTAL`]. The whole pool
    /// counts, so that a list which is fine at one step cannot become too fine at a later one.
    fn fit(&self) -> Option<Weights> {
        let fits = |weight: u64| u32::try_from(weight).ok().filter(|weight| *weight <= MAX_TOTAL);
        fits(self.stable + self.canary)?;
        Some(Weights {
            stable: fits(self.stable)?,
            canary: fits(self.canary)?,
            others: self.others.iter().map(|weight| fits(*weight)).collect::<Option<_>>()?,
        })
    }
}

fn pool(weights: &Weights) -> u64 {
    u64::from(weights.stable) + u64::from(weights.canary)
}

/// The greatest common divisor; that of 0 and `n` is `n`.
fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weights(stable: u32, canary: u32, others: &[u32]) -> Weights {
        Weights { stable, canary, others: others.to_vec() }
    }

    fn split(canary: u32, total: u32) -> Split {
        Split::new(canary, total).unwrap()
    }

    #[test]
    fn a_pool_that_divides_is_kept_and_the_others_are_not_touched() {
        let now = weights(100, 0, &[50]);
        assert_eq!(divide(&now, split(20, 100)), Ok(weights(80, 20, &[50])));
        let now = weights(1000, 0, &[50]);
        assert_eq!(divide(&now, split(1, 100)), Ok(weights(990, 10, &[50])));
    }

    #[test]
    fn a_pool_that_does_not_divide_is_scaled_with_the_others() {
        // The pool is 90 of 100: it stays nine tenths.
        let now = weights(90, 0, &[10]);
        assert_eq!(divide(&now, split(5, 100)), Ok(weights(855, 45, &[100])));
        // Without others nobody is scaled: the total is taken over.
        assert_eq!(divide(&weights(1, 1, &[]), split(5, 100)), Ok(weights(95, 5, &[])));
        assert_eq!(divide(&weights(1, 1, &[0]), split(5, 100)), Ok(weights(95, 5, &[0])));
    }

    #[test]
    fn a_list_that_already_gives_the_share_is_left_as_it_is() {
        let now = weights(1, 1, &[3]);
        assert_eq!(divide(&now, split(50, 100)), Ok(now.clone()));
    }

    #[test]
    fn an_empty_pool_beside_other_traffic_is_refused_and_alone_takes_the_total() {
        assert_eq!(divide(&weights(0, 0, &[1]), split(0, 100)), Err(Indivisible::EmptyPool));
        assert_eq!(divide(&weights(0, 0, &[0]), split(5, 100)), Ok(weights(95, 5, &[0])));
        assert_eq!(share(&weights(0, 0, &[1]), 100), None);
    }

    #[test]
    fn weights_beyond_the_cap_are_refused_except_at_either_end() {
        let now = weights(999_983, 0, &[999_979]);
        assert_eq!(divide(&now, split(1, 100)), Err(Indivisible::TooFine));
        assert_eq!(divide(&now, split(100, 100)), Ok(weights(0, 999_983, &[999_979])));
        let stuck = weights(999_983, 17, &[999_979]);
        assert_eq!(divide(&stuck, split(0, 100)), Ok(weights(1_000_000, 0, &[999_979])));
        let wide = weights(1_000_000, 1_000_000, &[999_979]);
        assert_eq!(divide(&wide, split(0, 100)), Ok(weights(1_000_000, 0, &[999_979])));
    }

    #[test]
    fn a_share_of_a_pool_beyond_the_cap_is_rounded_towards_the_canary_but_never_to_all() {
        let read = share(&weights(1, 1_000_000, &[]), 100).unwrap();
        assert_eq!((read.canary(), read.total()), (999_999, 1_000_000));
        let read = share(&weights(1_000_000, 1, &[]), 100).unwrap();
        assert_eq!((read.canary(), read.total()), (1, 1_000_000));
        assert!(share(&weights(1_000_000, 1_000_000, &[]), 100).unwrap().same_share(split(1, 2)));
    }

    proptest! {
        #[test]
        fn dividing_is_exact_and_keeps_the_pools_share_of_the_whole(
            stable in 0u32..=5000, canary in 0u32..=5000,
            others in prop::collection::vec(0u32..=5000, 0..4),
            total in 1u32..=1000, part in 0u32..=1000,
        ) {
            let now = weights(stable, canary, &others);
            let wanted = Split::saturating(part, total);
            if let Ok(next) = divide(&now, wanted) {
                let read = share(&next, wanted.total()).unwrap();
                prop_assert_eq!(read, wanted);
                let (pool_was, pool_is) = (pool(&now), pool(&next));
                prop_assert!(pool_is > 0);
                if pool_was > 0 {
                    for (was, is) in now.others.iter().zip(&next.others) {
                        prop_assert_eq!(u64::from(*was) * pool_is, u64::from(*is) * pool_was);
                    }
                }
            }
        }

        #[test]
        fn the_canary_can_always_be_stopped(
            stable in 0u32..=MAX_TOTAL, canary in 0u32..=MAX_TOTAL,
            others in prop::collection::vec(0u32..=MAX_TOTAL, 0..4), total in 1u32..=MAX_TOTAL,
        ) {
            prop_assume!(stable + canary > 0);
            let next = divide(&weights(stable, canary, &others), Split::all_stable(total)).unwrap();
            prop_assert_eq!(next.canary, 0);
            prop_assert!(next.stable > 0);
        }

        #[test]
        fn the_last_split_wins_whatever_came_before(
            pool in 1u32..=50, others in prop::collection::vec(0u32..=100, 0..3),
            a in 0u32..=100, b in 0u32..=100,
        ) {
            let now = weights(pool * 100, 0, &others);
            let twice = divide(&divide(&now, split(a, 100)).unwrap(), split(b, 100));
            prop_assert_eq!(twice, divide(&now, split(b, 100)));
        }
    }
}
