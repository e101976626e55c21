//! Ratio of two rates of events, one look at a time: what a look adds to the evidence that the
//! canary is too bad (S1, S1a), and to the evidence that it is not (S1p).
//!
//! Given `m` bad events in both arms, the number of them in the canary is binomial with
//! `theta = r n_c / (r n_c + n_s)` where `r` is the ratio of the rates. The evidence is the
//! likelihood ratio of a worse ratio against the largest that is allowed. Its expectation is at most
//! 1 for independent events with any base rate and any exposures, because 1 + u <= e^u: so looks of
//! different weights multiply, and drift that both arms share cancels. The setting of two Poisson
//! streams with one split: Lindon and Malek, "Anytime-valid inference for multinomial count data",
//! NeurIPS 2022; margins, absolute slack and changing exposures are worked out here.

use super::counts::Counts;

/// Adds `ln` evidence of one look against "the canary's rate is at most `max_ratio` times that of
/// stable, plus `min_delta`", for the alternative `max_ratio * growth`.
///
/// `growth` above 1, `max_ratio` above 0, `min_delta` 0 or more (events per exposure).
pub fn fail_increment(counts: &Counts, max_ratio: f64, min_delta: f64, growth: f64) -> f64 {
    if !counts.is_informative() {
        return 0.0;
    }
    let canary = max_ratio * counts.canary_total();
    let log_shift = (canary * (growth - 1.0) / (canary + counts.stable_total())).ln_1p();
    let log_growth = growth.ln();
    let slack = if min_delta > 0.0 {
        min_delta * counts.canary_total() * (log_growth - log_shift).exp_m1()
    } else {
        0.0
    };
    counts.canary_bad() * log_growth - counts.bad() * log_shift - slack
}

/// Adds `ln` evidence of one look against "the canary's rate is at least `margin` times that of
/// stable", for the alternative `margin / shrink`. `shrink` above 1, `margin` above 0.
pub fn pass_increment(counts: &Counts, margin: f64, shrink: f64) -> f64 {
    if !counts.is_informative() {
        return 0.0;
    }
    let null = margin * counts.canary_total();
    let alternative = null / shrink + counts.stable_total();
    // ln((null + n_s) / alternative) without losing what is small beside 1.
    let log_shift = ((null - null / shrink) / alternative).ln_1p();
    counts.bad() * log_shift - counts.canary_bad() * shrink.ln()
}

/// Adds `ln` evidence of one look against "the rate of events is at most `max_rate`", without a
/// stable arm, for the alternative `max_rate * growth`. `max_rate` is events per exposure.
pub fn absolute_fail_increment(events: f64, exposure: f64, max_rate: f64, growth: f64) -> f64 {
    events * growth.ln() - exposure * max_rate * (growth - 1.0)
}

/// Adds `ln` evidence of one look against "the rate of events is at least `max_rate`", for the
/// alternative `max_rate / shrink`: the mirror of [`absolute_fail_increment`].
pub fn absolute_pass_increment(events: f64, exposure: f64, max_rate: f64, shrink: f64) -> f64 {
    exposure * max_rate * (1.0 - 1.0 / shrink) - events * shrink.ln()
}
