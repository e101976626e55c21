//! The band in which an observed share must lie when requests are split at random by a weight: the exact central interval of
//! the binomial distribution. Probabilities are summed in logarithms, term by term, so nothing is approximated.

/// Counts that `weight` explains: outside of them lies at most `1 - confidence`, half of it on each side.
///
/// `n` is the number of requests, `share` the weight in 0..=1, `confidence` for example 0.999.
pub(crate) fn band(n: u64, share: f64, confidence: f64) -> (u64, u64) {
    if share <= 0.0 {
        return (0, 0);
    }
    if share >= 1.0 {
        return (n, n);
    }
    let tail = (1.0 - confidence) / 2.0;
    let (mut low, mut high) = (0, n);
    let (mut below, mut low_found) = (0.0_f64, false);
    // ln P(X = 0), then P(k+1)/P(k) = (n-k)/(k+1) * p/(1-p).
    let odds = (share / (1.0 - share)).ln();
    let mut log_probability = real(n) * (1.0 - share).ln();
    for k in 0..=n {
        let cumulative = below + log_probability.exp();
        if !low_found && cumulative > tail {
            low = k;
            low_found = true;
        }
        if cumulative >= 1.0 - tail {
            high = k;
            break;
        }
        below = cumulative;
        log_probability += (real(n - k) / real(k + 1)).ln() + odds;
    }
    (low, high)
}

/// Counts here are far below 2^53, so the conversion is exact.
pub(crate) fn real(count: u64) -> f64 {
    let (high, low) = (count >> 32, count & 0xffff_ffff);
    f64::from(u32::try_from(high).unwrap_or(u32::MAX)) * 4_294_967_296.0
        + f64::from(u32::try_from(low).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_of_zero_or_everything_leaves_no_room() {
        assert_eq!(band(5000, 0.0, 0.999), (0, 0));
        assert_eq!(band(5000, 1.0, 0.999), (5000, 5000));
    }

    /// Against values worked out apart with exact rational arithmetic (Python, `fractions`).
    #[test]
    fn the_band_is_the_exact_one() {
        assert_eq!(band(10, 0.5, 0.9), (2, 8));
        assert_eq!(band(5000, 0.05, 0.999), (201, 302));
        assert_eq!(band(5000, 0.25, 0.999), (1150, 1352));
        assert_eq!(band(6000, 0.5, 0.999), (2873, 3127));
    }

    #[test]
    fn a_share_that_is_off_by_two_points_is_outside() {
        let (low, high) = band(5000, 0.05, 0.999);
        assert!(!(low..=high).contains(&350) && !(low..=high).contains(&150));
    }

    #[test]
    fn large_counts_convert_exactly() {
        assert!((real(1 << 40) - 1_099_511_627_776.0).abs() < f64::EPSILON);
    }
}
