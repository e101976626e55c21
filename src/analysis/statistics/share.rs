//! Betting on the canary's share of the bad events (S2): the robust mode.
//!
//! It assumes only that, while the null holds, the expected share of a look's bad events that fall
//! to the canary is at most `theta`; how events cluster inside a look does not matter. A test by
//! betting on a bounded mean: Waudby-Smith and Ramdas, "Estimating means of bounded random variables
//! by betting", JRSS-B 2024 (arXiv 2010.09686). Slower than [`super::rate`], because it uses no more
//! than the share.

use super::counts::Counts;

/// Effects that the bets are made for: how far the share lies above `theta`, as a part of it.
pub const EFFECTS: [f64; 5] = [0.5, 1.0, 2.0, 4.0, 9.0];
/// Dispersions that the bets are made for, as multiples of the Poisson variance.
pub const DISPERSIONS: [f64; 3] = [1.0, 4.0, 16.0];
/// The largest part of its wealth that a bet stakes.
pub const MAX_STAKE: f64 = 0.95;

/// What a look adds to the `ln` wealth of each bet, effects outermost.
///
/// The null: the canary's rate is at most `max_ratio` times that of stable, in expectation. With the
/// arms [swapped](Counts::swapped) and `1 / margin` it tests for the pass instead.
pub fn increments(
    counts: &Counts,
    max_ratio: f64,
    effects: &[f64],
    dispersions: &[f64],
    max_stake: f64,
) -> Vec<f64> {
    let events = counts.bad();
    let has_bet = counts.is_informative() && events > 0.0;
    let canary = max_ratio * counts.canary_total();
    let theta = canary / (canary + counts.stable_total());
    let surplus = (counts.canary_bad() / events) / theta - 1.0;
    let bet = |effect: f64, dispersion: f64| {
        if !has_bet {
            return 0.0;
        }
        let variance = dispersion * (1.0 - theta) / (theta * events);
        let stake = max_stake.min(effect / (effect * effect + (1.0 + effect) * variance));
        (stake * surplus).ln_1p()
    };
    effects
        .iter()
        .flat_map(|effect| dispersions.iter().map(move |dispersion| bet(*effect, *dispersion)))
        .collect()
}
