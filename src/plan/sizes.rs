//! How many pods each revision gets.
//!
//! With a traffic router the sizes follow the weights; without one the sizes *are* the weights, and
//! move within `maxSurge` and `maxUnavailable`. Pure arithmetic; sources: the documentation of Argo
//! Rollouts on canary sizes, and Kubernetes' rules for rolling updates.

use crate::weight::Split;

/// Bounds of a move without a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Most pods that may exist at once.
    pub most_pods: u32,
    /// Fewest pods that must be available.
    pub fewest_available: u32,
}

impl Bounds {
    /// `replicas` with `surge` more and `unavailable` fewer; when both are 0 one pod may be
    /// unavailable, or nothing could ever move.
    pub(super) fn new(replicas: u32, surge: u32, unavailable: u32) -> Self {
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self {
            most_pods: replicas.saturating_add(surge),
            fewest_available: replicas.saturating_sub(unavailable),
        }
    }
}

/// Sizes that come closest to a share when no router splits the traffic: (canary, stable).
///
/// Both roundings are tried, and with room for surge also one pod more in all; the smallest error
/// wins, and between equals the larger canary. Between 0 % and 100 %, and with at least two pods,
/// neither side is empty.
pub(super) fn closest_sizes(replicas: u32, split: Split, may_surge: bool) -> (u32, u32) {
    if split.is_all_stable() || replicas == 0 {
        return (0, replicas);
    }
    if split.is_all_canary() {
        return (replicas, 0);
    }
    if replicas == 1 && !may_surge {
        // One pod cannot be split: the side with the larger share gets it.
        let is_canary = u64::from(split.canary()) * 2 >= u64::from(split.total());
        return if is_canary { (1, 0) } else { (0, 1) };
    }
    let totals =
        if may_surge { vec![replicas, replicas.saturating_add(1)] } else { vec![replicas] };
    let mut best: Option<(u128, u32, u32)> = None;
    for total in totals {
        let exact = u64::from(total) * u64::from(split.canary());
        let floor = u32::try_from(exact / u64::from(split.total())).unwrap_or(total);
        for canary in [floor.saturating_add(1), floor] {
            if total < 2 || canary == 0 || canary >= total {
                continue;
            }
            // |canary/total - share|, compared over the common denominator of all candidates.
            let left = u128::from(canary) * u128::from(split.total());
            let right = u128::from(split.canary()) * u128::from(total);
            let error = left.abs_diff(right) * u128::from(other_total(replicas, total, may_surge));
            if best.is_none_or(|(least, _, _)| error < least) {
                best = Some((error, canary, total - canary));
            }
        }
    }
    best.map_or((0, replicas), |(_, canary, stable)| (canary, stable))
}

/// The other candidate's total: multiplying by it brings both errors to one denominator.
fn other_total(replicas: u32, total: u32, may_surge: bool) -> u32 {
    match (may_surge, total == replicas) {
        (false, _) => 1,
        (true, true) => replicas.saturating_add(1),
        (true, false) => replicas,
    }
}

/// One set of pods in a move without a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodSet {
    /// Its size as ordered.
    pub desired: u32,
    /// Its available pods, as far as is known.
    pub available: u32,
    /// Its pods that are known not to be available. A pod of which nothing is known is in neither
    /// count: it is not relied upon, and not removed as if it served nobody.
    pub unavailable: u32,
    /// The size that it is to reach.
    pub target: u32,
}

/// The next sizes of `sets`, in their order of precedence for growth (stable first, then canary,
/// then the rest), within `bounds`. Growth and shrinking are never in the same answer: pods are
/// added first and removed when they have become available.
pub(super) fn next_sizes(sets: &[PodSet], bounds: Bounds) -> Vec<u32> {
    let mut sizes: Vec<u32> = sets.iter().map(|set| set.desired).collect();
    let total: u32 = sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    let mut room = bounds.most_pods.saturating_sub(total);
    let mut has_grown = false;
    for (size, set) in sizes.iter_mut().zip(sets) {
        let growth = set.target.saturating_sub(*size).min(room);
        *size = size.saturating_add(growth);
        room -= growth;
        has_grown |= growth > 0;
    }
    if has_grown {
        return sizes;
    }
    let available: u32 = sets.iter().fold(0, |sum, set| sum.saturating_add(set.available));
    let mut spare = available.saturating_sub(bounds.fewest_available);
    // Old sets shrink first: the reverse of the order of growth.
    for (size, set) in sizes.iter_mut().zip(sets).rev() {
        let excess = size.saturating_sub(set.target);
        // Pods that are not available serve nobody: the ReplicaSet controller removes them first.
        let free = set.unavailable.min(excess);
        let paid = (excess - free).min(spare);
        spare -= paid;
        *size -= free + paid;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn percent(canary: u32) -> Split {
        Split::saturating(canary, 100)
    }

    #[test]
    fn the_smallest_error_wins_and_ties_favour_the_canary() {
        assert_eq!(closest_sizes(10, percent(10), false), (1, 9));
        assert_eq!(closest_sizes(10, percent(25), false), (3, 7), "2.5 ties towards the canary");
        assert_eq!(closest_sizes(5, percent(1), false), (1, 4), "neither side is empty");
        assert_eq!(closest_sizes(5, percent(99), false), (4, 1));
        assert_eq!(closest_sizes(1, percent(50), true), (1, 1), "surge makes room for both");
        assert_eq!(closest_sizes(1, percent(40), false), (0, 1));
        assert_eq!(closest_sizes(0, percent(50), true), (0, 0));
    }

    #[test]
    fn surge_and_unavailable_of_zero_still_let_one_pod_move() {
        assert_eq!(Bounds::new(4, 0, 0), Bounds { most_pods: 4, fewest_available: 3 });
    }

    #[test]
    fn unavailable_pods_of_a_broken_stable_set_do_not_hold_up_the_canary() {
        let stable = PodSet { desired: 4, available: 0, unavailable: 4, target: 0 };
        let canary = PodSet { desired: 1, available: 1, unavailable: 0, target: 4 };
        let sizes = next_sizes(&[stable, canary], Bounds { most_pods: 5, fewest_available: 3 });
        assert_eq!(sizes, vec![0, 1]);
    }

    #[test]
    fn pods_of_which_nothing_is_known_stay() {
        let stable = PodSet { desired: 3, available: 0, unavailable: 0, target: 0 };
        let canary = PodSet { desired: 4, available: 4, unavailable: 0, target: 4 };
        let bounds = Bounds { most_pods: 5, fewest_available: 4 };
        assert_eq!(next_sizes(&[stable, canary], bounds), vec![3, 4]);
    }

    proptest! {
        #[test]
        fn sizes_sum_to_the_replicas_or_one_more(
            n in 0u32..500, c in 0u32..=1000, surge in any::<bool>(),
        ) {
            let (canary, stable) = closest_sizes(n, Split::saturating(c, 1000), surge);
            let sum = canary + stable;
            prop_assert!(sum == n || (surge && sum == n + 1), "{canary}+{stable} of {n}");
        }

        #[test]
        fn a_move_keeps_its_bounds_and_ends(
            n in 1u32..40, surge in 0u32..10, unavailable in 0u32..10, start in 0u32..40,
        ) {
            let bounds = Bounds::new(n, surge, unavailable);
            let start = start.min(n);
            let mut sets =
                [PodSet { desired: start, available: start, unavailable: 0, target: n },
                 PodSet { desired: n - start, available: n - start, unavailable: 0, target: 0 }];
            for _ in 0..200 {
                let sizes = next_sizes(&sets, bounds);
                for (set, size) in sets.iter_mut().zip(&sizes) {
                    set.available = set.available.min(*size);
                    set.desired = *size;
                }
                let available: u32 = sets.iter().map(|set| set.available).sum();
                let pods: u32 = sets.iter().map(|set| set.desired).sum();
                prop_assert!(available >= bounds.fewest_available);
                prop_assert!(pods <= bounds.most_pods.max(n));
                // The pods that were ordered become available.
                for set in &mut sets {
                    set.available = set.desired;
                }
            }
            prop_assert_eq!((sets[0].desired, sets[1].desired), (n, 0));
        }
    }
}
