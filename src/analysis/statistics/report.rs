//! Numbers for reports and plots, none of which decides: an exact test at one moment (S9), bands
//! around distribution functions (S6), and whether the traffic follows its weights (S8).

use statrs::distribution::{Beta, ContinuousCDF as _};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

use super::counts::Counts;

/// An exact comparison of two rates at one moment that was fixed before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactRateTest {
    /// One-sided p-value against "the ratio is at most the one given".
    pub p_greater: f64,
    /// The ratio of the rates; infinite where stable has no events. None without events.
    pub ratio: Option<f64>,
    /// 95 % confidence interval of the ratio (Clopper and Pearson's, of the share); the upper end is
    /// infinite where stable has no events.
    pub interval: (f64, f64),
}

/// The binomial test of the canary's share of the events (Przyborowski and Wilenski, Biometrika
/// 1940). None where an arm has no exposure. `ratio_null` above 0.
pub fn exact_rate_test(counts: &Counts, ratio_null: f64) -> Option<ExactRateTest> {
    if !counts.is_informative() {
        return None;
    }
    let (canary, stable) = (counts.canary_bad(), counts.stable_bad());
    let exposure_ratio = counts.stable_total() / counts.canary_total();
    let theta = ratio_null / (ratio_null + exposure_ratio);
    let as_ratio = |share: f64| share / (1.0 - share) * exposure_ratio;
    // The distribution functions exist for positive parameters only.
    let p_greater = if canary > 0.0 { beta_reg(canary, stable + 1.0, theta) } else { 1.0 };
    let low = if canary > 0.0 {
        as_ratio(Beta::new(canary, stable + 1.0).ok()?.inverse_cdf(0.025))
    } else {
        0.0
    };
    let high = if stable > 0.0 {
        as_ratio(Beta::new(canary + 1.0, stable).ok()?.inverse_cdf(0.975))
    } else {
        f64::INFINITY
    };
    let ratio = (counts.bad() > 0.0).then(|| canary / stable * exposure_ratio);
    Some(ExactRateTest { p_greater, ratio, interval: (low, high) })
}

/// Half the width of a band around an empirical distribution function of `count` values that holds
/// everywhere and at every moment with probability `1 - alpha` (Howard and Ramdas, Bernoulli 28(3)
/// 2022, theorem 2). `count` 1 or more, `alpha` between 0 and 1. Above 1 it says nothing yet.
pub fn band_radius(count: f64, alpha: f64) -> f64 {
    0.85 * ((count.ln().ln_1p() + 0.8 * (1612.0 / alpha).ln()) / count).sqrt()
}

/// `ln` evidence that requests do not follow the weights, from the requests so far by arm and the
/// expected shares (each above 0, sum 1): a Dirichlet-multinomial mixture around the shares (Lindon
/// and Malek, NeurIPS 2022). `concentration` is how near to the shares the alternatives lie.
pub fn split_log_e(requests: &[f64], shares: &[f64], concentration: f64) -> f64 {
    let mut log_e = ln_gamma(concentration);
    let mut total = 0.0;
    for (count, share) in requests.iter().zip(shares) {
        let prior = concentration * share;
        log_e += ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln();
        total += count;
    }
    log_e - ln_gamma(concentration + total)
}

/// [`split_log_e`]'s usual concentration.
pub const SPLIT_CONCENTRATION: f64 = 100.0;
/// Evidence (not its logarithm) below which a split is not doubted.
const SPLIT_EVIDENCE: f64 = 1e4;
/// How far the canary's share may be off its weight, as a part of the weight.
const SPLIT_DEVIATION: f64 = 1.0 / 3.0;

/// A canary that gets another share of the requests than its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WrongSplit {
    /// What the weight says, 0 to 1.
    pub expected: f64,
    /// What was seen, 0 to 1.
    pub observed: f64,
}

/// Whether routing does not follow the weight: strong evidence, and off by more than a third. Sessions
/// that stick to an arm deviate a little for good reasons. A diagnosis, never a verdict.
///
/// `weight` is the canary's expected share, between 0 and 1 exclusive, unchanged over the requests.
pub fn wrong_split(canary: f64, stable: f64, weight: f64) -> Option<WrongSplit> {
    far_split(canary, stable, weight).filter(|_| is_split_doubted(canary, stable, weight))
}

/// Whether the evidence against "requests follow the weight" passes its bound.
pub fn is_split_doubted(canary: f64, stable: f64, weight: f64) -> bool {
    let log_e = split_log_e(&[canary, stable], &[weight, 1.0 - weight], SPLIT_CONCENTRATION);
    log_e >= SPLIT_EVIDENCE.ln()
}

/// Whether the canary's share is off its weight by more than a third of it.
pub fn far_split(canary: f64, stable: f64, weight: f64) -> Option<WrongSplit> {
    let observed = canary / (canary + stable);
    let is_far = (observed - weight).abs() > SPLIT_DEVIATION * weight;
    is_far.then_some(WrongSplit { expected: weight, observed })
}
