//! Ratio of the odds of being slow, one look at a time (S3): exact for shares of any size, so it
//! serves for latency, and for errors above about 5 % of the requests.
//!
//! Given how many requests of both arms were slow, the number of them in the canary has Fisher's
//! noncentral hypergeometric distribution with the odds ratio. The evidence is the likelihood ratio
//! of larger odds ratios against the largest that is allowed; that likelihood ratio is monotone in
//! the number observed, so it holds for all smaller odds ratios too. Two-by-two tables with
//! e-values: Turner and Grunwald, arXiv 2302.11401.

use statrs::function::factorial::ln_binomial;

use super::counts::SlowCounts;
use super::log_space::as_float;

/// Terms below this part of the sum are left out; they would not change it.
const NEGLIGIBLE: f64 = 1e-17;

/// What one look adds to the `ln` evidence of each alternative.
///
/// The null: the odds ratio is at most `max_odds` (above 0); the alternatives `max_odds * growth` for
/// each of the grid.
pub fn fail_increments(counts: &SlowCounts, max_odds: f64, grid: &[f64]) -> Vec<f64> {
    increments(counts, max_odds, grid.iter().copied())
}

/// The mirror: the null is that the odds ratio is at least `margin`, the alternatives `margin / shrink`.
pub fn pass_increments(counts: &SlowCounts, margin: f64, grid: &[f64]) -> Vec<f64> {
    increments(counts, margin, grid.iter().map(|shrink| 1.0 / shrink))
}

fn increments(counts: &SlowCounts, null_odds: f64, factors: impl Iterator<Item = f64>) -> Vec<f64> {
    let table = Table::new(counts);
    if table.lowest == table.highest {
        return factors.map(|_| 0.0).collect();
    }
    let null = table.log_normalizer(null_odds);
    let slow = as_float(counts.canary_slow());
    factors
        .map(|factor| slow * factor.ln() + null - table.log_normalizer(null_odds * factor))
        .collect()
}

/// A two-by-two table with its margins fixed.
struct Table {
    canary: u64,
    stable: u64,
    slow: u64,
    lowest: u64,
    highest: u64,
}

impl Table {
    fn new(counts: &SlowCounts) -> Self {
        let slow = counts.canary_slow().saturating_add(counts.stable_slow());
        Self {
            canary: counts.canary_total(),
            stable: counts.stable_total(),
            slow,
            lowest: slow.saturating_sub(counts.stable_total()),
            highest: counts.canary_total().min(slow),
        }
    }

    /// `ln` of the sum over all tables of C(canary, u) C(stable, slow - u) odds^u.
    ///
    /// Terms are taken relative to that of the mode, whose neighbours on both sides only fall.
    fn log_normalizer(&self, odds: f64) -> f64 {
        let mode = self.mode(odds);
        let log_term = ln_binomial(self.canary, mode)
            + ln_binomial(self.stable, self.slow - mode)
            + as_float(mode) * odds.ln();
        let mut sum = 1.0;
        let mut term = 1.0;
        for value in mode..self.highest {
            term *= self.step(odds, value);
            sum += term;
            if term < NEGLIGIBLE * sum {
                break;
            }
        }
        term = 1.0;
        for value in (self.lowest..mode).rev() {
            term /= self.step(odds, value);
            sum += term;
            if term < NEGLIGIBLE * sum {
                break;
            }
        }
        log_term + f64::ln(sum)
    }

    /// Term of `value + 1` over that of `value`.
    fn step(&self, odds: f64, value: u64) -> f64 {
        odds * as_float(self.canary - value) * as_float(self.slow - value)
            / (as_float(value + 1) * as_float(self.stable + value + 1 - self.slow))
    }

    /// Where the step falls below 1: the root of a quadratic that lies in the table (Liao and Rosen, The
    /// American Statistician 2001). Away from the mode the terms of a large table overflow.
    fn mode(&self, odds: f64) -> u64 {
        let (canary, stable, slow) =
            (as_float(self.canary), as_float(self.stable), as_float(self.slow));
        let square = odds - 1.0;
        let linear = slow - stable - (canary + slow + 2.0) * odds;
        let constant = (canary + 1.0) * (slow + 1.0) * odds;
        let root = (linear * linear - 4.0 * square * constant).max(0.0).sqrt();
        // Without taking the difference of what is nearly equal.
        let sum = -0.5 * (linear + root.copysign(linear));
        let (one, other) = (sum / square, constant / sum);
        let range = as_float(self.lowest)..=as_float(self.highest) + 1.0;
        let mode = if range.contains(&one) { one } else { other };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and the clamp puts it into the table"
        )]
        let mode = mode.floor() as u64;
        mode.clamp(self.lowest, self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(table: &Table, odds: f64) -> f64 {
        (table.lowest..=table.highest)
            .map(|value| {
                (ln_binomial(table.canary, value)
                    + ln_binomial(table.stable, table.slow - value)
                    + as_float(value) * odds.ln())
                .exp()
            })
            .sum::<f64>()
            .ln()
    }

    #[test]
    fn the_sum_from_the_mode_is_the_sum_of_all_terms() {
        for (slow_canary, slow_stable, canary, stable) in
            [(0, 5, 8, 90), (7, 60, 9, 80), (3, 0, 40, 7), (20, 1, 20, 30), (1, 1, 2, 2)]
        {
            let counts = SlowCounts::new(slow_canary, slow_stable, canary, stable).unwrap();
            let table = Table::new(&counts);
            for odds in [0.05, 0.8, 1.0, 1.25, 3.0, 40.0] {
                let expected = direct(&table, odds);
                assert!((table.log_normalizer(odds) - expected).abs() < 1e-10, "{counts:?} {odds}");
            }
        }
    }

    #[test]
    fn looks_with_many_requests_stay_finite() {
        for (canary_slow, stable_slow, canary, stable) in [
            (3_000, 30_000, 10_000, 100_000),
            (30_000, 3_000, 100_000, 10_000),
            (9_000, 90_000, 10_000, 100_000),
            (100_000, 0, 100_000, 1),
        ] {
            let counts = SlowCounts::new(canary_slow, stable_slow, canary, stable).unwrap();
            for growth in [0.05, 0.5, 1.0, 2.0, 20.0] {
                let added = fail_increments(&counts, 1.0, &[growth]);
                assert!(added[0].is_finite(), "{counts:?} {growth}: {added:?}");
            }
        }
    }

    #[test]
    fn with_odds_of_one_the_sum_is_a_binomial_coefficient() {
        let counts = SlowCounts::new(30, 400, 900, 9_000).unwrap();
        let expected = ln_binomial(9_900, 430);
        assert!((Table::new(&counts).log_normalizer(1.0) - expected).abs() < 1e-9);
    }
}
