//! Random counts that are the same in any language: each number belongs to a run, a look and a
//! stream, and counts are quantiles of it. The generator is SplitMix64's finaliser (Steele, Lea and
//! Flood, OOPSLA 2014) on a counter.

use std::collections::HashMap;

use crate::analysis::statistics::log_space::as_float;

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Where a number belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) seed: u64,
    pub(super) run: u64,
    /// From 0, below 64.
    pub(super) look: u64,
}

impl Place {
    /// The number of a stream (below 64), between 0 and 1 exclusive.
    pub(super) fn uniform(self, stream: u64) -> f64 {
        let index = (self.run * 64 + self.look) * 64 + stream;
        let mut bits = self.seed.wrapping_add((index + 1).wrapping_mul(GOLDEN));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (as_float(bits >> 11) + 0.5) / 2f64.powi(53)
    }
}

/// A distribution of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Law {
    /// Bits of the mean.
    Poisson(u64),
    /// Trials, bits of the chance.
    Binomial(u32, u64),
    /// Failures before so many successes of a chance given in bits.
    NegativeBinomial(u32, u64),
}

/// Quantiles of counts, by tables that are made once.
#[derive(Debug, Default)]
pub(super) struct Quantiles {
    tables: HashMap<Law, Vec<f64>>,
}

impl Quantiles {
    pub(super) fn poisson(&mut self, mean: f64, uniform: f64) -> u32 {
        let table = || cumulate((-mean).exp(), |k| mean / f64::from(k), None);
        self.quantile(Law::Poisson(mean.to_bits()), uniform, table)
    }

    pub(super) fn binomial(&mut self, trials: u32, chance: f64, uniform: f64) -> u32 {
        let odds = chance / (1.0 - chance);
        let all = f64::from(trials);
        let step = |k: u32| odds * (all - f64::from(k) + 1.0) / f64::from(k);
        let table = || cumulate((1.0 - chance).powf(all), step, Some(trials));
        self.quantile(Law::Binomial(trials, chance.to_bits()), uniform, table)
    }

    pub(super) fn negative_binomial(&mut self, successes: u32, chance: f64, uniform: f64) -> u32 {
        if successes == 0 {
            return 0;
        }
        let all = f64::from(successes);
        let step = |k: u32| (1.0 - chance) * (all + f64::from(k) - 1.0) / f64::from(k);
        let table = || cumulate(chance.powf(all), step, None);
        self.quantile(Law::NegativeBinomial(successes, chance.to_bits()), uniform, table)
    }

    /// The smallest count whose cumulative chance reaches the number.
    fn quantile(&mut self, law: Law, uniform: f64, table: impl FnOnce() -> Vec<f64>) -> u32 {
        let table = self.tables.entry(law).or_insert_with(table);
        let count = table.partition_point(|cumulative| *cumulative < uniform);
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Cumulative chances, from the first term and the ratio of each to the one before.
fn cumulate(first: f64, step: impl Fn(u32) -> f64, last: Option<u32>) -> Vec<f64> {
    let (mut term, mut sum) = (first, first);
    let mut table = vec![sum];
    let mut count = 0;
    while last.is_none_or(|last| count < last) {
        count += 1;
        let ratio = step(count);
        term *= ratio;
        sum += term;
        table.push(sum);
        if ratio < 1.0 && term < 1e-20 {
            break;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const VECTORS: &str = include_str!("../../../tests/fixtures/statistics/vectors.json");

    #[test]
    fn the_numbers_are_those_of_every_language() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let rule = &vectors["benchmark_rng"];
        let seed = rule["seed"].as_u64().unwrap();
        let mut quantiles = Quantiles::default();
        for run in 0..3_usize {
            for look in 0..3_usize {
                let place = Place { seed, run: run as u64, look: look as u64 };
                let uniform = place.uniform(0);
                let at = |name: &str| rule[name][run][look].clone();
                let expected = at("u_rep_look_stream0").as_f64().unwrap();
                assert!((uniform - expected).abs() < 1e-15);
                assert_eq!(at("poisson_lambda_0_3"), quantiles.poisson(0.3, uniform));
                assert_eq!(at("poisson_lambda_57"), quantiles.poisson(57.0, uniform));
                assert_eq!(at("binom_12_0_05"), quantiles.binomial(12, 0.05, uniform));
            }
        }
    }

    #[test]
    fn quantiles_have_the_mean_of_their_law() {
        let mut quantiles = Quantiles::default();
        let grid = || (0_u32..20_000).map(|idx| (f64::from(idx) + 0.5) / 20_000.0);
        let mean = |all: f64| all / 20_000.0;
        let poisson = mean(grid().map(|u| f64::from(quantiles.poisson(228.0, u))).sum());
        assert!((poisson - 228.0).abs() < 0.01, "{poisson}");
        let binomial = mean(grid().map(|u| f64::from(quantiles.binomial(120, 0.5, u))).sum());
        assert!((binomial - 60.0).abs() < 0.01, "{binomial}");
        let bursts = grid().map(|u| f64::from(quantiles.negative_binomial(11, 0.2, u))).sum();
        assert!((mean(bursts) - 44.0).abs() < 0.05, "{bursts}");
        assert_eq!(quantiles.negative_binomial(0, 0.2, 0.999), 0);
    }
}
