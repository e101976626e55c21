//! Gauges (memory, CPU, length of a queue): a report of two means, and a sequential test (S5).
//!
//! Successive values of a gauge depend on each other, which the tests do not allow for beyond the
//! batches that [`batch_length`] proposes: so a gauge informs, unless somebody lets it decide.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::decimal;
use super::log_space::as_float;

/// Variance of the effect size that the sequential test expects, in units of the standard deviation.
pub const EFFECT_VARIANCE: f64 = 1.0;
/// Values before the sequential test says anything.
pub const MIN_VALUES: u32 = 3;

/// Values of one arm, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Number of values, 2 or more.
    pub count: f64,
    /// Their mean, in the gauge's unit.
    pub mean: f64,
    /// Their unbiased variance.
    pub variance: f64,
}

/// Welch's comparison of two means (Biometrika 1947): a report for one moment that was fixed before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// The t statistic of the difference, without a margin.
    pub t: f64,
    /// Degrees of freedom (Welch and Satterthwaite).
    pub degrees: f64,
    /// Two-sided p-value for "the means are equal".
    pub p_two_sided: f64,
    /// p-value against "the canary is at most `margin` above stable".
    pub p_worse: f64,
    /// p-value against "the canary is at least `margin` above stable".
    pub p_not_worse: f64,
    /// 95 % confidence interval of canary minus stable, in the gauge's unit.
    pub interval: (f64, f64),
}

/// Welch's t; `margin` in the gauge's unit. None with fewer than two values in an arm, or where
/// nothing varies.
pub fn welch(canary: &Sample, stable: &Sample, margin: f64) -> Option<Welch> {
    let of_canary = canary.variance / canary.count;
    let of_stable = stable.variance / stable.count;
    let variance = of_canary + of_stable;
    let degrees = variance * variance
        / (of_canary * of_canary / (canary.count - 1.0)
            + of_stable * of_stable / (stable.count - 1.0));
    if !(canary.count >= 2.0 && stable.count >= 2.0 && variance > 0.0) {
        return None;
    }
    let distribution = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let error = variance.sqrt();
    let difference = canary.mean - stable.mean;
    let t = difference / error;
    let beyond = (difference - margin) / error;
    let reach = distribution.inverse_cdf(0.975) * error;
    Some(Welch {
        t,
        degrees,
        p_two_sided: (2.0 * distribution.sf(t.abs())).min(1.0),
        p_worse: distribution.sf(beyond),
        p_not_worse: distribution.cdf(beyond),
        interval: (difference - reach, difference + reach),
    })
}

/// Paired differences so far: of logarithms, canary minus stable, one for each batch of looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Differences {
    count: u32,
    #[serde(with = "decimal")]
    mean: f64,
    /// Sum of squared deviations from the mean (Welford's recurrence).
    #[serde(with = "decimal")]
    squares: f64,
}

impl Differences {
    /// Takes in a difference; what is not finite is no value.
    pub fn add(&mut self, difference: f64) {
        if !difference.is_finite() {
            return;
        }
        self.count = self.count.saturating_add(1);
        let before = difference - self.mean;
        self.mean += before / f64::from(self.count);
        self.squares += before * (difference - self.mean);
    }

    /// Values so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Their mean; 0 without values.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their unbiased variance; 0 with fewer than two.
    pub fn variance(&self) -> f64 {
        if self.count < 2 { 0.0 } else { self.squares / f64::from(self.count - 1) }
    }

    /// `ln` evidence that the mean difference is above `limit` (for example `ln(maxRatio)`); 0 while
    /// the mean is below it, or with fewer than [`MIN_VALUES`].
    pub fn log_e_above(&self, limit: f64) -> f64 {
        self.log_e(self.mean - limit)
    }

    /// `ln` evidence that the mean difference is below `limit`, alike.
    pub fn log_e_below(&self, limit: f64) -> f64 {
        self.log_e(limit - self.mean)
    }

    fn log_e(&self, mean: f64) -> f64 {
        let variance = self.variance();
        if self.count < MIN_VALUES || mean <= 0.0 || variance <= 0.0 {
            return 0.0;
        }
        let count = f64::from(self.count);
        sequential_t(count, mean, variance, EFFECT_VARIANCE).log_e
    }
}

/// The sequential t test's statistic and evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequentialT {
    /// Student's t of the mean against 0.
    pub t: f64,
    /// `ln` evidence against "the mean is 0".
    pub log_e: f64,
}

/// Evidence from the t statistic with a normal prior on the effect size (Wang and Ramdas, arXiv
/// 2310.03722; Lindon et al., arXiv 2210.08589). `count` of 2 or more values with `mean` and unbiased
/// `variance` above 0; `effect_variance` is the prior's.
pub fn sequential_t(count: f64, mean: f64, variance: f64, effect_variance: f64) -> SequentialT {
    let t = count.sqrt() * mean / variance.sqrt();
    let degrees = count - 1.0;
    let spread = 1.0 + count * effect_variance;
    let ratio = t * t / degrees;
    let gain = ratio.ln_1p() - (ratio / spread).ln_1p();
    SequentialT { t, log_e: -0.5 * spread.ln() + 0.5 * (degrees + 1.0) * gain }
}

/// Looks to average into one value, so that successive values of stable's own history hardly depend
/// on each other: the shortest for which the correlation of a mean with the next is below 0.1. None
/// when the history is too short to say (fewer than 8 batches).
pub fn batch_length(history: &[f64]) -> Option<usize> {
    (1..=history.len() / 8).find(|length| {
        let chunks = history.chunks_exact(*length);
        let means: Vec<f64> =
            chunks.map(|values| values.iter().sum::<f64>() / size(values)).collect();
        lag_one_correlation(&means) < 0.1
    })
}

fn lag_one_correlation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / size(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let products: f64 =
        values.iter().zip(values.iter().skip(1)).map(|(a, b)| (a - mean) * (b - mean)).sum();
    if squares > 0.0 { products / squares } else { 0.0 }
}

fn size(values: &[f64]) -> f64 {
    as_float(u64::try_from(values.len()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn differences_are_summed_up_as_they_come() {
        let mut differences = Differences::default();
        for value in [1.0, f64::NAN, 2.0, 4.0] {
            differences.add(value);
        }
        assert_eq!(differences.count(), 3);
        assert!((differences.mean() - 7.0 / 3.0).abs() < 1e-12);
        assert!((differences.variance() - 7.0 / 3.0).abs() < 1e-12);
        assert!(differences.log_e_above(0.0) > 0.0);
        assert_eq!(differences.log_e_below(0.0), 0.0);
        assert_eq!(differences.log_e_above(3.0), 0.0);
    }

    #[test]
    fn slow_waves_need_longer_batches() {
        let wave: Vec<f64> = (0..400).map(|idx| (f64::from(idx) / 8.0).sin()).collect();
        assert!(batch_length(&wave).is_some_and(|length| length > 8));
        let alternating: Vec<f64> = (0..40).map(|idx| f64::from(idx % 2)).collect();
        assert_eq!(batch_length(&alternating), Some(1));
        assert_eq!(batch_length(&[1.0, 2.0]), None);
    }
}
