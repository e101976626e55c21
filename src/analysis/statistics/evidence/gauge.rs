//! Evidence about a gauge (S5), from one difference a batch of looks.

use serde::{Deserialize, Serialize};

use super::bounds::{self, Decided};
use super::{budget, decimal};
use crate::analysis::statistics::gauge::{Differences, MIN_VALUES};

/// Limits of the ratio of two means of a gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaugeLimits {
    /// The canary's mean may be this many times that of stable: 1.2.
    pub max_ratio: f64,
    /// A pass is the proof that it is below this many times that of stable: 1.5. Above `max_ratio`.
    pub margin: f64,
}

impl Default for GaugeLimits {
    fn default() -> Self {
        Self { max_ratio: 1.2, margin: 1.5 }
    }
}

/// Evidence about a gauge. Looks are averaged in batches, because successive ones depend on each other; of the
/// means of a batch the logarithms are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GaugeEvidence {
    differences: Differences,
    /// Looks in a batch.
    batch: u32,
    /// Looks in the one that is not full yet, and the sums of the arms over them.
    looks: u32,
    #[serde(with = "decimal")]
    canary: f64,
    #[serde(with = "decimal")]
    stable: f64,
    /// Batches of which there is no ratio.
    left_out: u32,
}

impl GaugeEvidence {
    /// None yet. `batch`: looks whose mean is one value, 1 or more.
    pub fn new(batch: u32) -> Self {
        Self { batch: batch.max(1), ..Self::default() }
    }

    /// Takes in the means of the arms at a look, which are finite. A batch in which the mean of an arm is 0 or
    /// less is left out: there is no ratio to it.
    pub fn look(&mut self, canary: f64, stable: f64) {
        self.looks = self.looks.saturating_add(1);
        self.canary += canary;
        self.stable += stable;
        if self.looks < self.batch {
            return;
        }
        if self.canary > 0.0 && self.stable > 0.0 {
            self.differences.add(self.canary.ln() - self.stable.ln());
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        (self.looks, self.canary, self.stable) = (0, 0.0, 0.0);
    }

    /// `ln` evidence that the canary is above `max_ratio` times stable. The test looks to both sides: while the mean
    /// is not above the limit, or with too few values, nothing is staked here (minus infinity).
    pub fn log_e_against(&self, max_ratio: f64) -> f64 {
        let limit = max_ratio.ln();
        let is_above = self.differences.mean() > limit;
        self.told(is_above, self.differences.log_e_above(limit))
    }

    /// `ln` evidence that the canary is below `margin` times stable, alike.
    pub fn log_e_in_favour(&self, margin: f64) -> f64 {
        let limit = margin.ln();
        let is_below = self.differences.mean() < limit;
        self.told(is_below, self.differences.log_e_below(limit))
    }

    fn told(&self, is_on_that_side: bool, log_e: f64) -> f64 {
        let says = self.differences.count() >= MIN_VALUES && self.differences.variance() > 0.0;
        if says && is_on_that_side { log_e } else { f64::NEG_INFINITY }
    }

    /// The ratio is at least this, at every look, with probability `1 - alpha`; None for no bound. Above `max_ratio`
    /// exactly where the evidence against the canary passes 1/alpha.
    pub fn lower_ratio(&self, limits: &GaugeLimits, alpha: f64) -> Option<f64> {
        let evidence = |ratio: f64| self.log_e_against(ratio);
        let is_refuted = budget::is_refuted(evidence(limits.max_ratio), alpha);
        let decided = Decided { ratio: limits.max_ratio, is_refuted };
        bounds::lower_bound(evidence, -alpha.ln(), Some(decided))
    }

    /// The ratio is at most this, alike; below `margin` exactly where the evidence for a pass passes 1/beta.
    pub fn upper_ratio(&self, limits: &GaugeLimits, beta: f64) -> Option<f64> {
        let evidence = |ratio: f64| self.log_e_in_favour(ratio);
        let is_refuted = budget::is_refuted(evidence(limits.margin), beta);
        let decided = Decided { ratio: limits.margin, is_refuted };
        bounds::upper_bound(evidence, -beta.ln(), Some(decided))
    }

    /// Values so far: batches that were full.
    pub fn batches(&self) -> u32 {
        self.differences.count()
    }

    /// The ratio of the canary to stable, as the mean of the differences has it; None without values.
    pub fn ratio(&self) -> Option<f64> {
        (self.differences.count() > 0).then(|| self.differences.mean().exp())
    }

    /// Looks in a batch.
    pub fn batch(&self) -> u32 {
        self.batch.max(1)
    }

    /// Batches that were left out because there is no ratio to 0 or less.
    pub fn left_out(&self) -> u32 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALPHA: f64 = 0.01;

    fn fed(values: &[(f64, f64)], batch: u32) -> GaugeEvidence {
        let mut evidence = GaugeEvidence::new(batch);
        for (canary, stable) in values {
            evidence.look(*canary, *stable);
        }
        evidence
    }

    #[test]
    fn what_has_no_ratio_is_left_out_and_said() {
        let evidence = fed(&[(0.0, 1.0), (2.0, 0.0), (-1.0, 1.0), (2.0, 1.0)], 1);
        assert_eq!((evidence.batches(), evidence.left_out()), (1, 3));
        // An empty queue at one look does no harm to the mean of several.
        let evidence = fed(&[(0.0, 1.0), (2.0, 0.0), (2.0, 1.0), (0.0, 3.0), (5.0, 5.0)], 2);
        assert_eq!((evidence.batches(), evidence.left_out()), (2, 0));
        assert!(evidence.ratio().is_some_and(|ratio| (ratio - 1.0).abs() < 1e-9));
    }

    #[test]
    fn a_gauge_that_is_far_above_fails_and_one_like_stable_passes() {
        let limits = GaugeLimits::default();
        let noisy = |ratio: f64| -> GaugeEvidence {
            let values: Vec<(f64, f64)> =
                (0..20).map(|idx| (ratio * (1.0 + 0.02 * f64::from(idx % 3)), 1.0)).collect();
            fed(&values, 1)
        };
        let bad = noisy(1.5);
        assert!(budget::is_refuted(bad.log_e_against(limits.max_ratio), ALPHA));
        assert!(bad.lower_ratio(&limits, ALPHA).is_some_and(|it| it > 1.2 && it < 1.53));
        assert!(bad.log_e_in_favour(limits.margin).is_infinite());
        let good = noisy(1.0);
        assert!(good.log_e_against(limits.max_ratio).is_infinite());
        assert!(good.upper_ratio(&limits, 0.05).is_some_and(|it| it < 1.1));
        // Two values, or values that never change, say nothing.
        for silent in [fed(&[(9.0, 1.0), (8.0, 1.0)], 1), fed(&[(9.0, 1.0); 30], 1)] {
            assert!(silent.log_e_against(limits.max_ratio).is_infinite());
            assert_eq!(silent.lower_ratio(&limits, ALPHA), None);
        }
    }

    /// 4,000 releases at the very limit, each looked at a hundred times: the count is fixed by the seed.
    #[test]
    fn at_the_limit_no_more_fail_than_the_budget_allows() {
        let mut random = fastrand::Rng::with_seed(7);
        // Twelve uniform numbers make one that is near enough to normal here.
        let mut normal = || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let mut failed = 0;
        for _ in 0..4_000 {
            let mut evidence = GaugeEvidence::new(1);
            let has_failed = (0..100).any(|_| {
                evidence.look(1.2 * (0.1 * normal()).exp(), 1.0);
                budget::is_refuted(evidence.log_e_against(1.2), ALPHA)
            });
            failed += u32::from(has_failed);
        }
        assert!(failed <= 40, "{failed} of 4,000");
    }

    proptest! {
        #[test]
        fn bounds_and_verdicts_are_of_one_opinion(
            values in proptest::collection::vec((0.01_f64..100.0, 0.01_f64..100.0), 0..40),
            batch in 1_u32..4,
        ) {
            let evidence = fed(&values, batch);
            let limits = GaugeLimits::default();
            let is_refuted = budget::is_refuted(evidence.log_e_against(limits.max_ratio), ALPHA);
            let lower = evidence.lower_ratio(&limits, ALPHA);
            prop_assert_eq!(is_refuted, lower.is_some_and(|it| it > limits.max_ratio), "{:?}", lower);
            let is_passed = budget::is_refuted(evidence.log_e_in_favour(limits.margin), 0.05);
            let upper = evidence.upper_ratio(&limits, 0.05);
            prop_assert_eq!(is_passed, upper.is_some_and(|it| it < limits.margin), "{:?}", upper);
            let text = serde_json::to_string(&evidence).unwrap();
            prop_assert_eq!(serde_json::from_str::<GaugeEvidence>(&text).unwrap(), evidence);
        }
    }
}
