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

/// A ratio of which the verdict has already said whether it is refuted, so that a bound never says
/// otherwise by a rounding error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decided {
    /// The limit or the margin, above 0.
    pub ratio: f64,
    /// Whether it is refuted.
    pub is_refuted: bool,
}

/// The ratio at which falling evidence comes down to `log_threshold`. None where it never was that
/// high, so the lower bound is 0; at most e^12.
pub fn lower_bound(
    log_evidence: impl Fn(f64) -> f64,
    log_threshold: f64,
    decided: Option<Decided>,
) -> Option<f64> {
    let is_refuted = |ratio: f64| log_evidence(ratio) >= log_threshold;
    let (mut low, mut high) = (-LOG_RANGE, LOG_RANGE);
    match decided {
        Some(Decided { ratio, is_refuted: true }) => low = ratio.ln(),
        Some(Decided { ratio, is_refuted: false }) => high = ratio.ln(),
        None => {}
    }
    if low <= -LOG_RANGE && !is_refuted(low.exp()) {
        return None;
    }
    if high >= LOG_RANGE && is_refuted(high.exp()) {
        return Some(high.exp());
    }
    // The end of the range above what is decided, or below it: never on the other side.
    let (below, above) = bisect(low, high, is_refuted);
    Some(if low > -LOG_RANGE { above } else { below })
}

/// The ratio at which rising evidence reaches `log_threshold`. None where it never does: no upper
/// bound yet.
pub fn upper_bound(
    log_evidence: impl Fn(f64) -> f64,
    log_threshold: f64,
    decided: Option<Decided>,
) -> Option<f64> {
    let is_open = |ratio: f64| log_evidence(ratio) < log_threshold;
    let (mut low, mut high) = (-LOG_RANGE, LOG_RANGE);
    match decided {
        Some(Decided { ratio, is_refuted: true }) => high = ratio.ln(),
        Some(Decided { ratio, is_refuted: false }) => low = ratio.ln(),
        None => {}
    }
    if high >= LOG_RANGE && is_open(high.exp()) {
        return None;
    }
    let (below, above) = bisect(low, high, is_open);
    Some(if high < LOG_RANGE { below } else { above })
}

/// Two ratios between which the answer turns from yes to no.
fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> (f64, f64) {
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_below(middle.exp()) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low.exp(), high.exp())
}
