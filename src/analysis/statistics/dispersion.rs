//! How much more the pods of stable differ from each other than independent events would (S7).
//!
//! Errors come in bursts: one client that retries, one request that fails in five places. Counting
//! each as an event of its own overstates the evidence. The ratio of the observed variance between
//! pods to that of independent events, the dispersion, says by how much; evidence is divided by it.
//! It is Pearson's chi-squared over its degrees of freedom, within each interval, so what hits all
//! pods at once cancels.

/// Above this dispersion counts are no longer scaled, but only shares are judged ([`super::share`]).
pub const ROBUST_ABOVE: f64 = 50.0;

/// What the history of stable says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dispersion {
    /// Pearson's statistic, summed over the intervals.
    pub chi_squared: f64,
    /// Degrees of freedom: pods less one, summed over the intervals with events.
    pub degrees: f64,
    /// The estimate: 1 for independent events; 0 where it could not be estimated.
    pub estimate: f64,
    /// What evidence is divided by, 1 or more: 1 where the estimate is within two standard errors of
    /// 1, else the estimate and two standard errors.
    pub factor: f64,
}

/// One interval of the history (a minute): events and exposure of each pod.
pub type Interval = Vec<(f64, f64)>;

/// Estimates the dispersion from the intervals of stable's pods before the start (60 minutes).
///
/// None where it cannot be known: no interval with events in which two pods were exposed. Then only
/// shares can be judged, unless events are known to be independent.
pub fn estimate(history: &[Interval]) -> Option<Dispersion> {
    let (mut chi_squared, mut degrees) = (0.0, 0.0);
    for interval in history {
        let exposed = || interval.iter().filter(|(_, exposure)| *exposure > 0.0);
        let events: f64 = exposed().map(|(events, _)| events).sum();
        let exposure: f64 = exposed().map(|(_, exposure)| exposure).sum();
        if events <= 0.0 {
            continue;
        }
        let mut pods: f64 = 0.0;
        for (own_events, own_exposure) in exposed() {
            let expected = events * own_exposure / exposure;
            chi_squared += (own_events - expected).powi(2) / expected;
            pods += 1.0;
        }
        degrees += pods - 1.0;
    }
    if degrees <= 0.0 {
        return None;
    }
    let estimate = chi_squared / degrees;
    let error = (2.0 / degrees).sqrt();
    let inflation = 1.0 + 2.0 * error;
    let factor = if estimate <= inflation { 1.0 } else { estimate * inflation };
    Some(Dispersion { chi_squared, degrees, estimate, factor })
}
