//! Sums of numbers that are kept as natural logarithms, so that evidence of any size stays finite.

/// ln(e^a + e^b). Minus infinity stands for an absent summand.
pub fn log_add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// ln of the sum of e^v; minus infinity for no values.
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !high.is_finite() {
        return high;
    }
    high + values.iter().map(|value| (value - high).exp()).sum::<f64>().ln()
}

/// ln of the weighted mean of e^v, with weights that sum to 1. Zip's shorter side counts.
pub fn log_weighted_mean_exp(values: &[f64], weights: &[f64]) -> f64 {
    let terms: Vec<f64> = values.iter().zip(weights).map(|(v, w)| v + w.ln()).collect();
    log_sum_exp(&terms)
}

/// A count of things as a floating-point number; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 lose only their last digits")]
pub fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are exact")]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_what_exp_does_not() {
        assert!((log_add_exp(1e6, 1e6) - (1e6 + 2f64.ln())).abs() < 1e-9);
        assert!((log_sum_exp(&[-1e6, -1e6]) - (-1e6 + 2f64.ln())).abs() < 1e-9);
        assert_eq!(log_add_exp(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(log_add_exp(f64::NEG_INFINITY, 3.0), 3.0);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        assert!((log_weighted_mean_exp(&[2.0, 2.0], &[0.25, 0.75]) - 2.0).abs() < 1e-12);
    }
}
