//! How the application in a pod behaves: the table of versions, and the variables of its
//! environment, which are those of the end-to-end application.

use serde_json::Value;

use super::agenda::Time;
use super::behaviour::{Behaviour, VersionBehaviour};
use super::companion::{list_at, text_at};
use super::span::Span;
use crate::sim::api::object;

/// Upper bounds of the latency buckets in seconds, as the end-to-end application has them; above the
/// last there is `+Inf`.
pub(crate) const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0];
/// Finer bounds, with those that queries name in practice.
pub(crate) const FINE_BOUNDS: [f64; 28] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9,
    1.0, 1.2, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0,
];

/// The bounds in a world.
pub(crate) fn bounds(is_versatile: bool) -> &'static [f64] {
    if is_versatile { &FINE_BOUNDS } else { &BOUNDS }
}

/// What the table says about a pod's first image, with what its environment says instead.
pub(crate) fn version_of(pod: &Value, behaviour: &Behaviour) -> VersionBehaviour {
    let containers = list_at(pod, &["spec", "containers"]);
    let image = containers.first().map(|first| object::text(first, "image")).unwrap_or_default();
    let mut version = behaviour.of_image(image);
    let variables = containers.iter().flat_map(|container| list_at(container, &["env"]));
    for variable in variables {
        let value = object::text(variable, "value");
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
        let span = value.parse::<u64>().ok().map(Span::ms);
        match (object::text(variable, "name"), number, span) {
            ("ERROR_RATE", Some(rate), _) => version.error_rate = rate,
            ("LATENCY_MS", Some(ms), _) => version.latency_ms = ms,
            ("SLOW_RATE", Some(rate), _) => version.slow_rate = rate,
            ("SLOW_MS", Some(ms), _) => version.slow_ms = ms,
            ("STARTUP_DELAY_MS", _, Some(delay)) => version.ready_after = Some(delay),
            ("CRASH_AFTER_MS", _, Some(delay)) => version.crashes_after = Some(delay),
            ("DRAIN_MS", _, Some(delay)) => version.drains_for = delay,
            _ => {}
        }
    }
    version
}

/// What users call the version that a pod runs: the tag of its first image, or the whole image.
pub(crate) fn version_name(pod: &Value) -> String {
    let first = list_at(pod, &["spec", "containers"]).first();
    let image = first.map(|first| text_at(first, &["image"])).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or(last, |(_, tag)| tag).to_owned()
}

/// How requests end at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manners {
    /// Share of 500.
    pub(crate) error_rate: f64,
    /// Share of requests in each latency bucket, not cumulative.
    pub(crate) buckets: Vec<f64>,
    /// Mean time of an answer in seconds.
    pub(crate) mean_seconds: f64,
}

impl Manners {
    /// Whether a version whose container started at `since` is good and fast for now.
    pub(crate) fn is_good(version: &VersionBehaviour, since: Time, now: Time) -> bool {
        now - since < chrono::TimeDelta::from_std(version.good_for.most()).unwrap_or_default()
    }

    /// Those of a version.
    pub(crate) fn of(version: &VersionBehaviour, bounds: &[f64], is_good: bool) -> Self {
        let share = |rate: f64| if is_good { 0.0 } else { rate.clamp(0.0, 1.0) };
        let slow = share(version.slow_rate);
        let (fast_ms, slow_ms) = (version.latency_ms, version.latency_ms + version.slow_ms);
        let mut buckets = vec![0.0; bounds.len() + 1];
        let mut below = 0.0;
        for (idx, bucket) in buckets.iter_mut().enumerate() {
            let up_to = bounds.get(idx).map_or(1.0, |bound| {
                let within =
                    |median_ms: f64| share_within(*bound, median_ms, version.latency_spread);
                (1.0 - slow) * within(fast_ms) + slow * within(slow_ms)
            });
            *bucket = (up_to - below).max(0.0);
            below = up_to;
        }
        // The mean of a log-normal distribution.
        let mean = |median_ms: f64| {
            median_ms / 1000.0 * (version.latency_spread * version.latency_spread / 2.0).exp()
        };
        Self {
            error_rate: share(version.error_rate),
            buckets,
            mean_seconds: (1.0 - slow) * mean(fast_ms) + slow * mean(slow_ms),
        }
    }
}

/// Share of a log-normal distribution within `bound` seconds.
fn share_within(bound: f64, median_ms: f64, spread: f64) -> f64 {
    let ratio = bound * 1000.0 / median_ms.max(1e-3);
    if spread <= 0.0 {
        return if ratio >= 1.0 { 1.0 } else { 0.0 };
    }
    0.5 * statrs::function::erf::erfc(-ratio.ln() / (spread * std::f64::consts::SQRT_2))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_environment_wins_over_the_table() {
        let mut behaviour = Behaviour::default();
        let bad = VersionBehaviour { error_rate: 0.5, latency_ms: 80.0, ..Default::default() };
        behaviour.versions.insert(":v2".to_owned(), bad);
        let pod = json!({"spec": {"containers": [{
            "image": "registry.test:5000/web:v2",
            "env": [{"name": "ERROR_RATE", "value": "0.1"}, {"name": "DRAIN_MS", "value": "700"}],
        }]}});
        let version = version_of(&pod, &behaviour);
        assert_eq!((version.error_rate, version.latency_ms), (0.1, 80.0));
        assert_eq!(version.drains_for, Span::ms(700));
        assert_eq!(version_name(&pod), "v2");
    }

    #[test]
    fn latencies_fill_the_buckets_by_their_distribution() {
        let start = DateTime::from_timestamp(0, 0).unwrap();
        let version = VersionBehaviour {
            latency_ms: 50.0,
            latency_spread: 0.5,
            slow_rate: 0.25,
            slow_ms: 3000.0,
            good_for: Span::secs(10),
            ..Default::default()
        };
        let early = Manners::of(&version, &BOUNDS, true);
        assert!(Manners::is_good(&version, start, start + TimeDelta::seconds(9)));
        assert!(!Manners::is_good(&version, start, start + TimeDelta::seconds(10)));
        let cumulated = |manners: &Manners, bound: f64| -> f64 {
            let upto = BOUNDS.iter().position(|one| (*one - bound).abs() < 1e-9).unwrap();
            manners.buckets[..=upto].iter().sum()
        };
        assert!((early.buckets.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((cumulated(&early, 0.05) - 0.5).abs() < 1e-9, "the median");
        let late = Manners::of(&version, &BOUNDS, false);
        assert!((cumulated(&late, 1.0) - 0.75).abs() < 0.01, "a quarter is slow");
        assert!(late.mean_seconds > 0.75);
    }
}
