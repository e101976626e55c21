//! One budget of false rollbacks for several metrics.
//!
//! A weighted average of e-values is an e-value however the metrics depend on each other, and it is
//! never weaker than giving each metric its part of the budget (Vovk and Wang, Annals of Statistics
//! 2021).

use super::log_space::log_weighted_mean_exp;

/// Evidence of one metric and its share of the budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stake {
    /// `ln` evidence against the metric's null.
    pub log_e: f64,
    /// Share of the budget, above 0; the shares of all metrics sum to 1.
    pub weight: f64,
}

/// `ln` of the average evidence. Minus infinity without metrics.
pub fn combined_log_e(stakes: &[Stake]) -> f64 {
    let values: Vec<f64> = stakes.iter().map(|stake| stake.log_e).collect();
    let weights: Vec<f64> = stakes.iter().map(|stake| stake.weight).collect();
    log_weighted_mean_exp(&values, &weights)
}

/// Whether evidence of size e^`log_e` refutes a null at level `alpha` (Ville's inequality).
pub fn is_refuted(log_e: f64, alpha: f64) -> bool {
    log_e >= -alpha.ln()
}

/// Whether one metric alone exhausts its share of the budget.
pub fn is_refuted_alone(stake: &Stake, alpha: f64) -> bool {
    is_refuted(stake.log_e + stake.weight.ln(), alpha)
}

/// The p-value that evidence is worth at any moment: its inverse, at most 1.
pub fn p_value(log_e: f64) -> f64 {
    (-log_e).exp().min(1.0)
}

/// Shares of the budget from weights as somebody wrote them: scaled to sum 1. None where there is no
/// weight, or one is not above 0.
pub fn shares(weights: &[f64]) -> Option<Vec<f64>> {
    let sum: f64 = weights.iter().sum();
    let is_usable = !weights.is_empty() && weights.iter().all(|w| *w > 0.0) && sum.is_finite();
    is_usable.then(|| weights.iter().map(|weight| weight / sum).collect())
}

/// Which of several segments (routes, regions) are worse, with at most `alpha` of those listed being
/// listed wrongly on average: the e-BH procedure (Wang and Ramdas, JRSS-B 2022). Positions in the
/// list given, in its order.
pub fn worse_segments(log_e: &[f64], alpha: f64) -> Vec<usize> {
    let mut sorted = log_e.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let size = |n: usize| super::log_space::as_float(u64::try_from(n).unwrap_or(u64::MAX));
    let threshold = |rank: usize| (size(log_e.len()) / (alpha * size(rank))).ln();
    let listed = sorted
        .iter()
        .enumerate()
        .filter(|(idx, value)| **value >= threshold(idx + 1))
        .map(|(idx, _)| idx + 1)
        .max();
    let Some(listed) = listed else { return Vec::new() };
    let limit = threshold(listed);
    log_e.iter().enumerate().filter(|(_, v)| **v >= limit).map(|(idx, _)| idx).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_never_weaker_than_shares_of_the_budget() {
        let stakes = [Stake { log_e: 5.4, weight: 0.5 }, Stake { log_e: -3.0, weight: 0.5 }];
        assert!(is_refuted_alone(&stakes[0], 0.01));
        assert!(is_refuted(combined_log_e(&stakes), 0.01));
        let together = [Stake { log_e: 4.7, weight: 0.5 }, Stake { log_e: 4.7, weight: 0.5 }];
        assert!(!is_refuted_alone(&together[0], 0.01));
        assert!(is_refuted(combined_log_e(&together), 0.01));
    }

    #[test]
    fn weights_become_shares() {
        assert_eq!(shares(&[2.0, 1.0, 1.0]), Some(vec![0.5, 0.25, 0.25]));
        assert_eq!(shares(&[]), None);
        assert_eq!(shares(&[1.0, 0.0]), None);
        assert_eq!(shares(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn segments_are_listed_together_that_could_not_be_alone() {
        // 3 of 4 at ln 150: the third largest passes 4/(3*0.01) = 133.
        let log_e = [150f64.ln(), 0.0, 150f64.ln(), 150f64.ln()];
        assert_eq!(worse_segments(&log_e, 0.01), [0, 2, 3]);
        assert!(worse_segments(&[150f64.ln(), 0.0, 0.0, 0.0], 0.01).is_empty());
        assert!(worse_segments(&[], 0.01).is_empty());
    }
}
