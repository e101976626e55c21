//! Bounds of the ratio that hold at every look, from the same evidence as the verdict.
//!
//! The lower bound is the largest ratio that the evidence has refuted as a limit, the upper bound the
//! smallest that it has refuted as a margin. A test inverted into a confidence sequence: Howard,
//! Ramdas, McAuliffe and Sekhon, Annals of Statistics 2021. Both kinds of evidence are monotone in
//! the logarithm of the ratio, so bisection finds the crossing.

/// Ratios are looked for between e^-12 and e^12.
const LOG_RANGE: f64 = 12.0;
/// Halvings of the range: the ratio is exact to about 1e-12 of itself.
const HALVINGS: u32 = 46;

/// The ratio at which falling evidence comes down to `log_threshold`. None where it never was that
/// high, so the lower bound is 0; at most e^12.
///
/// `floor` and `ceiling` hold the answer on one side of a ratio for which the answer is known.
pub fn lower_bound(
    log_evidence: impl Fn(f64) -> f64,
    log_threshold: f64,
    range: (Option<f64>, Option<f64>),
) -> Option<f64> {
    let low = range.0.map_or(-LOG_RANGE, f64::ln);
    let high = range.1.map_or(LOG_RANGE, f64::ln);
    if range.0.is_none() && log_evidence(low.exp()) < log_threshold {
        return None;
    }
    if range.1.is_none() && log_evidence(high.exp()) >= log_threshold {
        return Some(high.exp());
    }
    Some(bisect(low, high, |ratio| log_evidence(ratio) >= log_threshold))
}

/// The ratio at which rising evidence reaches `log_threshold`. None where it never does: no upper
/// bound yet.
pub fn upper_bound(log_evidence: impl Fn(f64) -> f64, log_threshold: f64) -> Option<f64> {
    if log_evidence(LOG_RANGE.exp()) < log_threshold {
        return None;
    }
    Some(bisect(-LOG_RANGE, LOG_RANGE, |ratio| log_evidence(ratio) < log_threshold))
}

fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_below(middle.exp()) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}
