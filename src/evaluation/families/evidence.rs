//! Families whose answer is evidence after each look, or the bounds that follow from it.

use serde::Deserialize;

use super::super::vectors::{Comparison, Tolerance};
use super::{Compared, Pair, Unreadable, flags, list, number};
use crate::analysis::statistics::counts::{Counts, InvalidCounts, SlowCounts};
use crate::analysis::statistics::mixture::{Mixture, OnsetPrior};
use crate::analysis::statistics::{bounds, budget, odds, rate, share};

const EVIDENCE: Tolerance = Tolerance::new(1e-9, 1e-10);

fn counts(intervals: &[[f64; 4]]) -> Result<Vec<Counts>, InvalidCounts> {
    intervals
        .iter()
        .map(|[canary, stable, of_canary, of_stable]| {
            Counts::new(*canary, *stable, *of_canary, *of_stable)
        })
        .collect()
}

/// The dispersion: one number, or one for each look.
#[derive(Deserialize)]
#[serde(untagged)]
enum Phi {
    Same(f64),
    ByLook(Vec<f64>),
}

/// Looks with the dispersion that each is divided by.
fn dispersed(intervals: &[[f64; 4]], phi: &Phi) -> Result<Vec<(Counts, f64)>, Unreadable> {
    let looks = counts(intervals)?;
    let factors = match phi {
        Phi::Same(factor) => vec![*factor; looks.len()],
        Phi::ByLook(factors) if factors.len() == looks.len() => factors.clone(),
        Phi::ByLook(_) => return Err(Unreadable::NoAnswer),
    };
    Ok(looks.into_iter().zip(factors).collect())
}

/// Evidence after each look, for what a look adds to each alternative.
fn evidence<T>(looks: &[T], prior: OnsetPrior, increments: impl Fn(&T) -> Vec<f64>) -> Vec<f64> {
    let mut mixture = Mixture::new(prior);
    looks
        .iter()
        .map(|look| {
            mixture.add(increments(look));
            mixture.log_e()
        })
        .collect()
}

fn verdicts(field: &str, expected: &[bool], log_e: &[f64], level: f64) -> Vec<Comparison> {
    let actual: Vec<bool> = log_e.iter().map(|it| budget::is_refuted(*it, level)).collect();
    flags(field, expected, &actual)
}

#[derive(Deserialize)]
struct RateFail {
    intervals: Vec<[f64; 4]>,
    max_ratio: f64,
    grid: Vec<f64>,
    phi: Phi,
    #[serde(default)]
    min_delta: f64,
}

#[derive(Deserialize)]
struct FailOutput {
    log_e: Vec<f64>,
    fail_at_alpha_0_01: Vec<bool>,
}

pub(super) fn rate_fail(case: &Pair<'_>, prior: OnsetPrior) -> Compared {
    let (input, output): (RateFail, FailOutput) = case.read()?;
    let log_e = evidence(&dispersed(&input.intervals, &input.phi)?, prior, |(look, phi)| {
        let grid = input.grid.iter();
        grid.map(|growth| {
            rate::fail_increment(look, input.max_ratio, input.min_delta, *growth) / phi
        })
        .collect()
    });
    let mut found = list("log_e", &output.log_e, &log_e, EVIDENCE);
    found.extend(verdicts("fail_at_alpha_0_01", &output.fail_at_alpha_0_01, &log_e, 0.01));
    Ok(found)
}

#[derive(Deserialize)]
struct Onset {
    horizon_looks: u32,
    first_weight: f64,
}

pub(super) fn rate_fail_onset(case: &Pair<'_>) -> Compared {
    let onset = Onset::deserialize(case.input)?;
    let prior = OnsetPrior { horizon: onset.horizon_looks, first_weight: onset.first_weight };
    rate_fail(case, prior)
}

#[derive(Deserialize)]
struct RatePass {
    intervals: Vec<[f64; 4]>,
    margin: f64,
    grid: Vec<f64>,
    phi: Phi,
}

#[derive(Deserialize)]
struct PassOutput {
    log_e: Vec<f64>,
    pass_at_beta_0_05: Vec<bool>,
}

pub(super) fn rate_pass(case: &Pair<'_>) -> Compared {
    let (input, output): (RatePass, PassOutput) = case.read()?;
    let looks = dispersed(&input.intervals, &input.phi)?;
    let log_e = evidence(&looks, OnsetPrior::AT_ONCE, |(look, phi)| {
        let grid = input.grid.iter();
        grid.map(|it| rate::pass_increment(look, input.margin, *it) / phi).collect()
    });
    let mut found = list("log_e", &output.log_e, &log_e, EVIDENCE);
    found.extend(verdicts("pass_at_beta_0_05", &output.pass_at_beta_0_05, &log_e, 0.05));
    Ok(found)
}

#[derive(Deserialize)]
struct RatioBounds {
    intervals: Vec<[f64; 4]>,
    phi: Phi,
    alpha: f64,
    beta: f64,
    fail_grid: Vec<f64>,
    pass_grid: Vec<f64>,
}

#[derive(Deserialize)]
struct RatioBoundsOutput {
    ratio_lower: Option<f64>,
    ratio_upper: Option<f64>,
}

pub(super) fn ratio_bounds(case: &Pair<'_>) -> Compared {
    let (input, output): (RatioBounds, RatioBoundsOutput) = case.read()?;
    let looks = dispersed(&input.intervals, &input.phi)?;
    let last = |increments: &dyn Fn(&(Counts, f64)) -> Vec<f64>| {
        evidence(&looks, OnsetPrior::AT_ONCE, increments).last().copied().unwrap_or(0.0)
    };
    let fail = |ratio: f64| {
        last(&|(look, phi)| {
            let grid = input.fail_grid.iter();
            grid.map(|it| rate::fail_increment(look, ratio, 0.0, *it) / phi).collect()
        })
    };
    let pass = |margin: f64| {
        last(&|(look, phi)| {
            let grid = input.pass_grid.iter();
            grid.map(|it| rate::pass_increment(look, margin, *it) / phi).collect()
        })
    };
    let tolerance = Tolerance::new(0.0, 1e-6);
    let bound = |field: &str, expected, actual| Comparison {
        field: field.to_owned(),
        expected,
        actual,
        tolerance,
    };
    let lower = bounds::lower_bound(fail, -input.alpha.ln(), None);
    let upper = bounds::upper_bound(pass, -input.beta.ln(), None);
    Ok(vec![
        bound("ratio_lower", output.ratio_lower, lower),
        bound("ratio_upper", output.ratio_upper, upper),
    ])
}

#[derive(Deserialize)]
struct Absolute {
    intervals_events_requests: Vec<[f64; 2]>,
    max_rate: f64,
    grid: Vec<f64>,
}

pub(super) fn absolute(case: &Pair<'_>) -> Compared {
    let (input, output): (Absolute, FailOutput) = case.read()?;
    let looks = &input.intervals_events_requests;
    let log_e = evidence(looks, OnsetPrior::AT_ONCE, |[events, requests]| {
        let grid = input.grid.iter();
        grid.map(|it| rate::absolute_fail_increment(*events, *requests, input.max_rate, *it))
            .collect()
    });
    let mut found = list("log_e", &output.log_e, &log_e, EVIDENCE);
    found.extend(verdicts("fail_at_alpha_0_01", &output.fail_at_alpha_0_01, &log_e, 0.01));
    Ok(found)
}

#[derive(Deserialize)]
struct ShareBetting {
    intervals: Vec<[f64; 4]>,
    max_ratio: f64,
    deltas: Vec<f64>,
    phis: Vec<f64>,
    cap: f64,
}

#[derive(Deserialize)]
struct LogE {
    log_e: Vec<f64>,
}

pub(super) fn share_betting(case: &Pair<'_>) -> Compared {
    let (input, output): (ShareBetting, LogE) = case.read()?;
    let log_e = evidence(&counts(&input.intervals)?, OnsetPrior::AT_ONCE, |look| {
        share::increments(look, input.max_ratio, &input.deltas, &input.phis, input.cap)
    });
    Ok(list("log_e", &output.log_e, &log_e, EVIDENCE))
}

#[derive(Deserialize)]
struct LatencyInput {
    intervals_slow_c_slow_s_total_c_total_s: Vec<[u64; 4]>,
    max_odds: f64,
    grid: Vec<f64>,
}

#[derive(Deserialize)]
struct OddsOutput {
    log_e_last: f64,
    log_e_scipy: Vec<f64>,
}

pub(super) fn odds_fail(case: &Pair<'_>) -> Compared {
    let (input, output): (LatencyInput, OddsOutput) = case.read()?;
    let looks = input
        .intervals_slow_c_slow_s_total_c_total_s
        .iter()
        .map(|[slow_c, slow_s, total_c, total_s]| {
            SlowCounts::new(*slow_c, *slow_s, *total_c, *total_s)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let log_e = evidence(&looks, OnsetPrior::AT_ONCE, |look| {
        odds::fail_increments(look, input.max_odds, &input.grid)
    });
    let mut found = list("log_e_scipy", &output.log_e_scipy, &log_e, Tolerance::new(1e-7, 0.0));
    let last = log_e.last().copied().unwrap_or(0.0);
    found.push(number("log_e_last", output.log_e_last, last, Tolerance::new(1e-8, 0.0)));
    Ok(found)
}
