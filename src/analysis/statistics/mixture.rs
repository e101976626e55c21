//! Evidence of many looks from that of single ones: mixtures over the size of a regression, and over
//! the look at which it begins.
//!
//! Each of these is an e-process: it starts at 1, and while the null holds its expectation at any
//! stopping time is at most 1. By Ville's inequality it then ever reaches 1/alpha with probability
//! at most alpha, so looking often costs nothing (Ramdas, Grunwald, Vovk and Shafer, arXiv
//! 2210.01948). A mixture of e-processes is one. Mixing over the onset is the idea of e-detectors
//! (Shin, Ramdas and Rinaldo), here with a fixed budget over the planned looks.

use serde::{Deserialize, Serialize};

use super::decimal;
use super::log_space::{as_float, log_add_exp, log_sum_exp};

/// How the first stake is laid over the looks at which a regression may begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnsetPrior {
    /// Looks that are planned, 1 or more. A longer rollout goes on with what was staked until then.
    pub horizon: u32,
    /// Share of the stake that is laid at the first look, 0 to 1; the rest is spread evenly over the
    /// other planned looks.
    #[serde(with = "decimal")]
    pub first_weight: f64,
}

impl OnsetPrior {
    /// The whole stake at the first look: the plain mixture S1, without late onsets.
    pub const AT_ONCE: Self = Self { horizon: 1, first_weight: 1.0 };

    /// Stake of a look, counted from 1; and what is left for later ones.
    fn stake(&self, look: u32) -> (f64, f64) {
        let horizon = self.horizon.max(1);
        if look == 1 && horizon == 1 {
            return (1.0, 0.0);
        }
        let rest = 1.0 - self.first_weight;
        let left = horizon.saturating_sub(look);
        let of_later = f64::from(horizon.max(2) - 1);
        let stake = match look {
            1 => self.first_weight,
            look if look <= horizon => rest / of_later,
            _ => 0.0,
        };
        (stake, rest * f64::from(left) / of_later)
    }
}

/// A mixture over a grid of alternatives and over the look of the onset (S1o). Holds one number for
/// each alternative, whatever the number of looks.
///
/// With [`OnsetPrior::AT_ONCE`] it is the mixture over alternatives alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mixture {
    prior: OnsetPrior,
    /// Looks so far.
    looks: u32,
    /// For each alternative the `ln` of what its stakes have grown to. Empty before the first look.
    #[serde(with = "decimal::list")]
    log_wealth: Vec<f64>,
}

impl Mixture {
    /// Evidence before the first look: 1.
    pub fn new(prior: OnsetPrior) -> Self {
        Self { prior, looks: 0, log_wealth: Vec::new() }
    }

    /// Looks so far.
    pub fn looks(&self) -> u32 {
        self.looks
    }

    /// Whether it has had no look.
    pub fn is_new(&self) -> bool {
        self.looks == 0
    }

    /// Takes in a look: for each alternative what [`super::rate`] or [`super::odds`] says that it
    /// adds, already divided by the dispersion. The number of alternatives must not change.
    pub fn add(&mut self, increments: impl IntoIterator<Item = f64>) {
        self.add_block(1, increments);
    }

    /// Takes in several looks as if they were one, with the stakes of all of them at its beginning.
    pub fn add_block(&mut self, looks: u32, increments: impl IntoIterator<Item = f64>) {
        let before = self.looks;
        self.looks = before.saturating_add(looks);
        let stake: f64 = (before..self.looks).map(|look| self.prior.stake(look + 1).0).sum();
        let log_stake = stake.ln();
        if self.log_wealth.is_empty() {
            self.log_wealth =
                increments.into_iter().map(|increment| log_stake + increment).collect();
            return;
        }
        for (wealth, increment) in self.log_wealth.iter_mut().zip(increments) {
            *wealth = log_add_exp(*wealth, log_stake) + increment;
        }
    }

    /// `ln` of the evidence, all alternatives weighing the same.
    pub fn log_e(&self) -> f64 {
        self.with_reserve(log_sum_exp(&self.log_wealth) - self.grid_size().ln())
    }

    /// `ln` of the evidence with a weight for each alternative; the weights sum to 1.
    pub fn log_e_weighted(&self, weights: &[f64]) -> f64 {
        self.with_reserve(super::log_space::log_weighted_mean_exp(&self.log_wealth, weights))
    }

    fn with_reserve(&self, log_mean: f64) -> f64 {
        if self.looks == 0 {
            return 0.0;
        }
        log_add_exp(log_mean, self.prior.stake(self.looks).1.ln())
    }

    fn grid_size(&self) -> f64 {
        as_float(u64::try_from(self.log_wealth.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_whole_stake_is_laid_by_the_last_planned_look() {
        for prior in [
            OnsetPrior::AT_ONCE,
            OnsetPrior { horizon: 1, first_weight: 0.5 },
            OnsetPrior { horizon: 2, first_weight: 0.5 },
            OnsetPrior { horizon: 60, first_weight: 0.8 },
        ] {
            let mut laid = 0.0;
            for look in 1..=prior.horizon + 5 {
                let (stake, left) = prior.stake(look);
                laid += stake;
                assert!((laid + left - 1.0).abs() < 1e-12, "{prior:?} at {look}");
            }
            assert!((laid - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn looks_that_say_nothing_leave_the_evidence_at_one() {
        let mut mixture = Mixture::new(OnsetPrior { horizon: 4, first_weight: 0.5 });
        assert_eq!(mixture.log_e(), 0.0);
        for _ in 0..9 {
            mixture.add([0.0; 8]);
            assert!(mixture.log_e().abs() < 1e-12, "{}", mixture.log_e());
        }
    }
}
