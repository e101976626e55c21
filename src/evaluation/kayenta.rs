//! The rule of Kayenta's NetflixACAJudge for one metric, as a baseline to compare with. Never used to
//! judge a release.
//!
//! One value a time step is the sample. A shift is "high" when the lower end of the Mann-Whitney
//! interval of the shift is above a part of its estimate, and the mean ratio is large enough. The
//! interval's ends are found exactly, among the pairwise differences, where Kayenta searches for
//! roots with an absolute tolerance.

use statrs::distribution::{ContinuousCDF as _, Normal};

/// The judge's parameters; `default` has those that Kayenta fixes or defaults to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kayenta {
    /// Confidence of the interval, 0 to 1.
    pub confidence: f64,
    /// Part of the estimate that the lower end must be above.
    pub tolerance: f64,
    /// Mean ratio from which an increase counts.
    pub allowed_increase: f64,
}

impl Default for Kayenta {
    fn default() -> Self {
        Self { confidence: 0.98, tolerance: 0.25, allowed_increase: 1.0 }
    }
}

impl Kayenta {
    /// Whether the canary's values are called high.
    pub fn is_high(&self, canary: &[f64], baseline: &[f64]) -> bool {
        let (mut canary, mut baseline) = (canary.to_vec(), baseline.to_vec());
        canary.sort_by(f64::total_cmp);
        baseline.sort_by(f64::total_cmp);
        if canary.is_empty() || baseline.is_empty() || canary == baseline {
            return false;
        }
        let mut differences: Vec<f64> =
            canary.iter().flat_map(|own| baseline.iter().map(move |other| own - other)).collect();
        differences.sort_by(f64::total_cmp);
        let Ok(normal) = Normal::new(0.0, 1.0) else { return false };
        let quantile = normal.inverse_cdf(f64::midpoint(self.confidence, 1.0));
        let lower = lower_end(&canary, &baseline, &differences, quantile);
        let estimate = median(&differences);
        let ratio = mean(&canary) / mean(&baseline);
        // A mean of 0 leaves no ratio, and Kayenta then asks for none.
        let is_large = !ratio.is_finite() || ratio <= 0.0 || ratio >= self.allowed_increase;
        lower > self.tolerance * estimate.abs() && is_large
    }
}

/// The difference at which the test statistic falls to the quantile.
fn lower_end(canary: &[f64], baseline: &[f64], differences: &[f64], quantile: f64) -> f64 {
    let (n, m, pairs) = (size(canary), size(baseline), size(differences));
    let all = n + m;
    // Between two differences only values of the same arm are tied.
    let ties = tied(canary) + tied(baseline);
    let deviation = (pairs / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)))).sqrt();
    let mut below = 0.0;
    let mut end = f64::NEG_INFINITY;
    for difference in differences {
        // Just left of this difference, all pairs from here on count for the canary.
        let surplus = pairs - below - pairs / 2.0;
        let correction = if surplus > 0.0 { 0.5 } else { -0.5 };
        if (surplus - correction) / deviation <= quantile {
            break;
        }
        end = *difference;
        below += 1.0;
    }
    if end.is_finite() { end } else { differences.first().copied().unwrap_or(0.0) }
}

fn tied(sorted: &[f64]) -> f64 {
    sorted
        .chunk_by(|a, b| a.total_cmp(b).is_eq())
        .map(|group| size(group).powi(3) - size(group))
        .sum()
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    let at = |idx: usize| sorted.get(idx).copied().unwrap_or(0.0);
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    } else {
        at(middle)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / size(values)
}

fn size(values: &[f64]) -> f64 {
    crate::analysis::statistics::log_space::as_float(
        u64::try_from(values.len()).unwrap_or(u64::MAX),
    )
}
