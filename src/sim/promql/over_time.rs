//! What functions make of the samples of one series in a range.

use super::Point;
use super::quantile::quantile;

/// How many; as a number of the language.
#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 samples")]
pub(super) fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// The sum, with the errors of rounding carried along (Kahan, Neumaier).
pub(super) fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    if sum.is_infinite() || lost.is_nan() { sum } else { sum + lost }
}

/// The mean.
pub(super) fn average(values: &[f64]) -> f64 {
    sum(values) / count(values)
}

/// The least value that is a number.
pub(super) fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

/// The greatest value that is a number.
pub(super) fn maximum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::max)
}

/// The population variance.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = average(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    average(&squares)
}

/// The population standard deviation.
pub(super) fn deviation(values: &[f64]) -> f64 {
    variance(values).sqrt()
}

/// `rate`, `increase` and `delta`: the change over the whole range, extrapolated from the samples in
/// it. `window` is the range in milliseconds: after the first, up to the second. None with fewer
/// than two samples.
pub(super) fn extrapolated(
    points: &[Point],
    (from, to): (i64, i64),
    is_counter: bool,
    is_rate: bool,
) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut change = last.1 - first.1;
    if is_counter {
        for pair in points.windows(2) {
            if let [(_, before), (_, after)] = pair
                && after < before
            {
                // The counter began anew.
                change += before;
            }
        }
    }
    let sampled = seconds(last.0 - first.0);
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let between = sampled / (count(&values) - 1.0);
    let threshold = between * 1.1;
    let mut to_start = seconds(first.0 - from);
    let mut to_end = seconds(to - last.0);
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && change > 0.0 && first.1 >= 0.0 {
        // A counter is never extrapolated below zero.
        to_start = to_start.min(sampled * (first.1 / change));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= seconds(to - from);
    }
    Some(change * factor)
}

/// `irate` and `idelta`: the change between the last two samples.
pub(super) fn last_change(points: &[Point], is_rate: bool) -> Option<f64> {
    let [.., before, last] = points else { return None };
    // A counter that began anew counts from zero.
    let change = if is_rate && last.1 < before.1 { last.1 } else { last.1 - before.1 };
    Some(if is_rate { change / seconds(last.0 - before.0) } else { change })
}

/// Slope (a second) and value at `at` of the straight line through the samples (least squares).
pub(super) fn line(points: &[Point], at: i64) -> Option<(f64, f64)> {
    if points.len() < 2 {
        return None;
    }
    let times: Vec<f64> = points.iter().map(|(time, _)| seconds(time - at)).collect();
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    if values.windows(2).all(|pair| matches!(pair, [one, other] if one.total_cmp(other).is_eq())) {
        return Some((0.0, *values.first()?));
    }
    let (mean_time, mean_value) = (average(&times), average(&values));
    let products: Vec<f64> =
        times.iter().zip(&values).map(|(t, v)| (t - mean_time) * (v - mean_value)).collect();
    let slope = sum(&products) / (variance(&times) * count(&times));
    Some((slope, mean_value - slope * mean_time))
}

/// How often the value changes from one sample to the next.
#[expect(clippy::float_cmp, reason = "a change is any other value, however near")]
pub(super) fn changes(points: &[Point]) -> f64 {
    let is_change =
        |pair: &&[Point]| matches!(pair, [(_, a), (_, b)] if a != b && !(a.is_nan() && b.is_nan()));
    let found: Vec<f64> = points.windows(2).filter(is_change).map(|_| 1.0).collect();
    count(&found)
}

/// How often a counter began anew.
pub(super) fn resets(points: &[Point]) -> f64 {
    let is_reset = |pair: &&[Point]| matches!(pair, [(_, a), (_, b)] if b < a);
    let found: Vec<f64> = points.windows(2).filter(is_reset).map(|_| 1.0).collect();
    count(&found)
}

/// The `..._over_time` functions; none for one that is not known.
pub(super) fn over_time(name: &str, points: &[Point], share: f64) -> Option<f64> {
    let values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    Some(match name {
        "avg_over_time" => average(&values),
        "min_over_time" => minimum(&values),
        "max_over_time" => maximum(&values),
        "sum_over_time" => sum(&values),
        "count_over_time" => count(&values),
        "last_over_time" => *values.last()?,
        "present_over_time" => 1.0,
        "stddev_over_time" => deviation(&values),
        "stdvar_over_time" => variance(&values),
        "quantile_over_time" => quantile(share, values),
        _ => return None,
    })
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a range are far below 2^53")]
pub(super) fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
