//! Evidence about latency: requests slower than each of a few bounds (S3).

use serde::{Deserialize, Serialize};

use super::{Mixture, OnsetPrior, RareEvidence, SlowCounts, as_float, decimal, odds};
use crate::analysis::statistics::log_space::log_sum_exp;

/// Alternatives of the test against the canary, as multiples of the largest odds ratio allowed.
const FAIL_GRID: [f64; 8] = [1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0];

/// Limits of the ratio of the odds of being slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OddsLimits {
    /// The canary's odds may be this many times those of stable: 1.25.
    pub max_odds: f64,
    /// A pass is the proof that they are below this many times those of stable: 2.
    pub margin: f64,
    /// In place of `max_odds` while the canary warms up, where that is less: 5.
    pub warm_up_odds: f64,
    /// A canary that is proved to have a smaller share of slow requests than this passes whatever stable has; 0: none does.
    pub tolerated_share: f64,
}

impl Default for OddsLimits {
    fn default() -> Self {
        Self { max_odds: 1.25, margin: 2.0, warm_up_odds: 5.0, tolerated_share: 0.0 }
    }
}

/// Evidence at each of the bounds that were chosen before the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyEvidence {
    #[serde(with = "decimal")]
    dispersion: f64,
    bounds: Vec<AtBound>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AtBound {
    /// In the histogram's unit.
    #[serde(with = "decimal")]
    bound: f64,
    against: Mixture,
    in_favour: Mixture,
    #[serde(default, skip_serializing_if = "RareEvidence::is_new")]
    rare: RareEvidence,
    canary_slow: u64,
    canary_total: u64,
}

impl LatencyEvidence {
    /// None yet, at bounds in the histogram's unit. `dispersion` of 1 or more.
    pub fn new(bounds: &[f64], onset: OnsetPrior, dispersion: f64) -> Self {
        let at = |bound: &f64| AtBound {
            bound: *bound,
            against: Mixture::new(onset),
            in_favour: Mixture::new(OnsetPrior::AT_ONCE),
            rare: RareEvidence::default(),
            canary_slow: 0,
            canary_total: 0,
        };
        Self { dispersion: dispersion.max(1.0), bounds: bounds.iter().map(at).collect() }
    }

    /// The bounds, in the histogram's unit.
    pub fn bounds(&self) -> impl Iterator<Item = f64> {
        self.bounds.iter().map(|at| at.bound)
    }

    /// Takes in a look: for each bound in order the counts of each stratum. A bound for which there
    /// are none (a scrape without that bucket) learns nothing.
    pub fn look(&mut self, counts: &[Vec<SlowCounts>], limits: &OddsLimits, is_warm_up: bool) {
        let warm_up = if is_warm_up { limits.warm_up_odds } else { 0.0 };
        let max_odds = limits.max_odds.max(warm_up);
        let none = Vec::new();
        for (idx, at) in self.bounds.iter_mut().enumerate() {
            let strata = counts.get(idx).unwrap_or(&none);
            let against = |it: &SlowCounts| odds::fail_increments(it, max_odds, &FAIL_GRID);
            let in_favour =
                |it: &SlowCounts| odds::pass_increments(it, limits.margin, &super::PASS_GRID);
            at.against.add(sums(strata, FAIL_GRID.len(), self.dispersion, against));
            at.in_favour.add(sums(strata, super::PASS_GRID.len(), self.dispersion, in_favour));
            let sum = |of: fn(&SlowCounts) -> u64| {
                as_float(strata.iter().map(of).fold(0, u64::saturating_add))
            };
            let (slow, all) = (sum(SlowCounts::canary_slow), sum(SlowCounts::canary_total));
            at.rare.look(slow, all, limits.tolerated_share, self.dispersion);
            for it in strata {
                at.canary_slow = at.canary_slow.saturating_add(it.canary_slow());
                at.canary_total = at.canary_total.saturating_add(it.canary_total());
            }
        }
    }

    /// `ln` evidence against "at every bound the canary's odds are within their limit": the average
    /// over the bounds. 0 without bounds.
    pub fn log_e_against(&self) -> f64 {
        if self.bounds.is_empty() {
            return 0.0;
        }
        let all: Vec<f64> = self.bounds.iter().map(|at| at.against.log_e()).collect();
        log_sum_exp(&all) - self.bounds().map(|_| 1.0).sum::<f64>().ln()
    }

    /// `ln` evidence against "at some bound the canary's odds are at or beyond the margin", and, where some slow requests are
    /// tolerated, "it has at least that share of them": the least of the bounds. 0 without bounds.
    pub fn log_e_in_favour(&self) -> f64 {
        let all = self.bounds.iter().map(|at| at.rare.beside(at.in_favour.log_e()));
        all.reduce(f64::min).unwrap_or(0.0)
    }

    /// Where the evidence against the canary is largest: the bound, its slow requests, all requests.
    pub fn worst(&self) -> Option<(f64, f64, f64)> {
        let at =
            self.bounds.iter().max_by(|a, b| a.against.log_e().total_cmp(&b.against.log_e()))?;
        Some((at.bound, as_float(at.canary_slow), as_float(at.canary_total)))
    }
}

fn sums(
    strata: &[SlowCounts],
    size: usize,
    dispersion: f64,
    increments: impl Fn(&SlowCounts) -> Vec<f64>,
) -> Vec<f64> {
    let mut sums = vec![0.0; size];
    for counts in strata {
        sums.iter_mut().zip(increments(counts)).for_each(|(sum, it)| *sum += it / dispersion);
    }
    sums
}
