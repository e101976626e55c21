//! Families whose answer is a report about one moment.

use serde::Deserialize;

use super::super::kayenta::Kayenta;
use super::super::vectors::{Comparison, Tolerance};
use super::{Compared, EXACT, Pair, Unreadable, flag, flags, list, number};
use crate::analysis::statistics::budget::{self, Stake};
use crate::analysis::statistics::counts::Counts;
use crate::analysis::statistics::gauge::{Differences, Sample, sequential_t, welch};
use crate::analysis::statistics::histogram::{Histogram, mann_whitney};
use crate::analysis::statistics::{dispersion, report};

#[derive(Deserialize)]
struct Buckets {
    canary_buckets: Vec<f64>,
    stable_buckets: Vec<f64>,
}

#[derive(Deserialize)]
struct MannWhitneyOutput {
    u: f64,
    prob_slower: f64,
    p_greater: f64,
    p_two_sided: f64,
}

pub(super) fn slower(case: &Pair<'_>) -> Compared {
    let (input, output): (Buckets, MannWhitneyOutput) = case.read()?;
    let histogram = |counts: &[f64]| {
        let bounds = (1_u32..).map(f64::from);
        Histogram::from_counts(bounds.zip(counts.iter().copied()))
    };
    let (canary, stable) = (histogram(&input.canary_buckets), histogram(&input.stable_buckets));
    let actual = mann_whitney(&canary, &stable).ok_or(Unreadable::NoAnswer)?;
    let tolerance = Tolerance::new(1e-12, 1e-8);
    Ok(vec![
        number("u", output.u, actual.u, EXACT),
        number("prob_slower", output.prob_slower, actual.probability_slower, tolerance),
        number("p_greater", output.p_greater, actual.p_greater, tolerance),
        number("p_two_sided", output.p_two_sided, actual.p_two_sided, tolerance),
    ])
}

#[derive(Deserialize)]
struct Arm {
    n: f64,
    mean: f64,
    var: f64,
}

impl Arm {
    fn sample(&self) -> Sample {
        Sample { count: self.n, mean: self.mean, variance: self.var }
    }
}

#[derive(Deserialize)]
struct Means {
    canary: Arm,
    stable: Arm,
    margin: f64,
}

#[derive(Deserialize)]
struct WelchOutput {
    t_two_sided: f64,
    df: f64,
    p_two_sided: f64,
    p_worse_than_margin: f64,
    p_non_inferior: f64,
    ci95: [f64; 2],
}

pub(super) fn two_means(case: &Pair<'_>) -> Compared {
    let (input, output): (Means, WelchOutput) = case.read()?;
    let actual = welch(&input.canary.sample(), &input.stable.sample(), input.margin)
        .ok_or(Unreadable::NoAnswer)?;
    let (close, p) = (Tolerance::new(0.0, 1e-9), Tolerance::new(0.0, 1e-7));
    let interval = [actual.interval.0, actual.interval.1];
    let mut found = vec![
        number("t_two_sided", output.t_two_sided, actual.t, close),
        number("df", output.df, actual.degrees, close),
        number("p_two_sided", output.p_two_sided, actual.p_two_sided, p),
        number("p_worse_than_margin", output.p_worse_than_margin, actual.p_worse, p),
        number("p_non_inferior", output.p_non_inferior, actual.p_not_worse, p),
    ];
    found.extend(list("ci95", &output.ci95, &interval, p));
    Ok(found)
}

#[derive(Deserialize)]
struct Gauge {
    n: f64,
    mean: f64,
    var: f64,
    tau2: f64,
    differences: Vec<f64>,
}

#[derive(Deserialize)]
struct GaugeOutput {
    t: f64,
    log_e: f64,
    log_e_quadrature: f64,
}

pub(super) fn gauge(case: &Pair<'_>) -> Compared {
    let (input, output): (Gauge, GaugeOutput) = case.read()?;
    let actual = sequential_t(input.n, input.mean, input.var, input.tau2);
    let mut differences = Differences::default();
    input.differences.iter().for_each(|it| differences.add(*it));
    let close = Tolerance::new(1e-9, 1e-9);
    Ok(vec![
        number("mean", input.mean, differences.mean(), close),
        number("var", input.var, differences.variance(), close),
        number("t", output.t, actual.t, close),
        number("log_e", output.log_e, actual.log_e, Tolerance::new(1e-9, 0.0)),
        number(
            "log_e_quadrature",
            output.log_e_quadrature,
            actual.log_e,
            Tolerance::new(1e-5, 0.0),
        ),
    ])
}

#[derive(Deserialize)]
struct Band {
    n: f64,
    alpha: f64,
}

#[derive(Deserialize)]
struct BandOutput {
    closed_form_radius: f64,
    confseq_radius: f64,
}

pub(super) fn band(case: &Pair<'_>) -> Compared {
    let (input, output): (Band, BandOutput) = case.read()?;
    let actual = report::band_radius(input.n, input.alpha);
    let ratio = actual / output.confseq_radius;
    Ok(vec![
        number("closed_form_radius", output.closed_form_radius, actual, Tolerance::new(0.0, 1e-12)),
        // Between 1 - 1e-6 and 1.02 times the optimised radius.
        number("confseq_radius", 1.01, ratio, Tolerance::new(0.010_001, 0.0)),
    ])
}

#[derive(Deserialize)]
struct Dispersion {
    events_by_interval_and_pod: Vec<Vec<f64>>,
    exposure_by_interval_and_pod: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct DispersionOutput {
    chi2: f64,
    df: f64,
    phi_hat: f64,
    phi_used: f64,
}

pub(super) fn phi(case: &Pair<'_>) -> Compared {
    let (input, output): (Dispersion, DispersionOutput) = case.read()?;
    let history: Vec<dispersion::Interval> = input
        .events_by_interval_and_pod
        .into_iter()
        .zip(input.exposure_by_interval_and_pod)
        .map(|(events, exposures)| events.into_iter().zip(exposures).collect())
        .collect();
    let actual = dispersion::estimate(&history).ok_or(Unreadable::NoAnswer)?;
    let tolerance = Tolerance::new(0.0, 1e-10);
    Ok(vec![
        number("chi2", output.chi2, actual.chi_squared, tolerance),
        number("df", output.df, actual.degrees, tolerance),
        number("phi_hat", output.phi_hat, actual.estimate, tolerance),
        number("phi_used", output.phi_used, actual.factor, tolerance),
    ])
}

#[derive(Deserialize)]
struct Split {
    expected_shares: Vec<f64>,
    concentration: f64,
    cumulative_counts: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct SplitOutput {
    log_e: Vec<f64>,
    savvi_log_odds: Vec<f64>,
}

pub(super) fn split(case: &Pair<'_>) -> Compared {
    let (input, output): (Split, SplitOutput) = case.read()?;
    let actual: Vec<f64> = input
        .cumulative_counts
        .iter()
        .map(|it| report::split_log_e(it, &input.expected_shares, input.concentration))
        .collect();
    let tolerance = Tolerance::new(1e-8, 0.0);
    let mut found = list("log_e", &output.log_e, &actual, tolerance);
    found.extend(list("savvi_log_odds", &output.savvi_log_odds, &actual, tolerance));
    Ok(found)
}

#[derive(Deserialize)]
struct Exact {
    canary_events: f64,
    canary_exposure: f64,
    stable_events: f64,
    stable_exposure: f64,
    ratio_null: f64,
}

#[derive(Deserialize)]
struct ExactOutput {
    p_greater: f64,
    ratio_hat: Option<f64>,
    ci95_lower: Option<f64>,
    ci95_upper: Option<f64>,
}

pub(super) fn exact(case: &Pair<'_>) -> Compared {
    let (input, output): (Exact, ExactOutput) = case.read()?;
    let all = Counts::new(
        input.canary_events,
        input.stable_events,
        input.canary_exposure,
        input.stable_exposure,
    )?;
    let actual = report::exact_rate_test(&all, input.ratio_null).ok_or(Unreadable::NoAnswer)?;
    let close = Tolerance::new(0.0, 1e-7);
    // JSON has no infinity: `null` stands for it.
    let finite = |field: &str, expected, actual: f64| Comparison {
        field: field.to_owned(),
        expected,
        actual: Some(actual).filter(|it| it.is_finite()),
        tolerance: close,
    };
    Ok(vec![
        number("p_greater", output.p_greater, actual.p_greater, Tolerance::new(0.0, 1e-8)),
        finite("ratio_hat", output.ratio_hat, actual.ratio.unwrap_or(f64::NAN)),
        finite("ci95_lower", output.ci95_lower, actual.interval.0),
        finite("ci95_upper", output.ci95_upper, actual.interval.1),
    ])
}

#[derive(Deserialize)]
struct Quantile {
    q: f64,
    le: Vec<f64>,
    bucket_increase: Vec<f64>,
}

#[derive(Deserialize)]
struct QuantileOutput {
    value: f64,
}

pub(super) fn quantile(case: &Pair<'_>) -> Compared {
    let (input, output): (Quantile, QuantileOutput) = case.read()?;
    let bounds = input.le.iter().copied().chain([f64::INFINITY]);
    let histogram = Histogram::from_counts(bounds.zip(input.bucket_increase));
    let actual = histogram.quantile(input.q).ok_or(Unreadable::NoAnswer)?;
    Ok(vec![number("value", output.value, actual, Tolerance::new(0.0, 1e-12))])
}

#[derive(Deserialize)]
struct Combine {
    log_e: Vec<f64>,
    weights: Vec<f64>,
    alpha: f64,
}

#[derive(Deserialize)]
struct CombineOutput {
    weighted_mean_log_e: f64,
    global_fail: bool,
    per_metric_fail: Vec<bool>,
    p_value: f64,
}

pub(super) fn combine(case: &Pair<'_>) -> Compared {
    let (input, output): (Combine, CombineOutput) = case.read()?;
    let pairs = input.log_e.iter().zip(&input.weights);
    let stakes: Vec<Stake> =
        pairs.map(|(log_e, weight)| Stake { log_e: *log_e, weight: *weight }).collect();
    let log_e = budget::combined_log_e(&stakes);
    let alone: Vec<bool> =
        stakes.iter().map(|stake| budget::is_refuted_alone(stake, input.alpha)).collect();
    let tolerance = Tolerance::new(1e-10, 0.0);
    let mut found = vec![
        number("weighted_mean_log_e", output.weighted_mean_log_e, log_e, tolerance),
        flag("global_fail", output.global_fail, budget::is_refuted(log_e, input.alpha)),
        number("p_value", output.p_value, budget::p_value(log_e), tolerance),
    ];
    found.extend(flags("per_metric_fail", &output.per_metric_fail, &alone));
    Ok(found)
}

#[derive(Deserialize)]
struct KayentaInput {
    canary: Vec<f64>,
    baseline: Vec<f64>,
    conf_level: f64,
    tolerance: f64,
    #[serde(rename = "allowed_increase")]
    increase: f64,
}

#[derive(Deserialize)]
struct KayentaOutput {
    high: bool,
}

pub(super) fn kayenta(case: &Pair<'_>) -> Compared {
    let (input, output): (KayentaInput, KayentaOutput) = case.read()?;
    let judge = Kayenta {
        confidence: input.conf_level,
        tolerance: input.tolerance,
        allowed_increase: input.increase,
    };
    Ok(vec![flag("high", output.high, judge.is_high(&input.canary, &input.baseline))])
}
