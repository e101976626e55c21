//! How far the pods of one version are apart, over the whole time that was read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::backtest::Part;
use crate::analysis::comparing::{ComparedMetric, GaugeSource, Subject};
use crate::analysis::statistics::histogram::Histogram;
use crate::sim::recorded::RecordedSeries;

/// Bad events, or none, without which a ratio says nothing.
const LEAST_EVENTS: f64 = 10.0;

/// A sum for each pod.
type Sums = BTreeMap<String, f64>;

/// How far pods are apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spread {
    /// What the ratios are about.
    pub(super) what: String,
    /// Each pod against all others together.
    pub(super) pods: BTreeMap<String, f64>,
    /// The smallest.
    pub(super) least: f64,
    /// The largest.
    pub(super) most: f64,
}

/// The ratio of each pod to the others; none where there is too little to say.
pub(super) fn spread(
    metric: &ComparedMetric,
    name: &str,
    parts: &[Part],
    label: &str,
) -> Option<Spread> {
    let own: Vec<&Part> = parts.iter().filter(|part| part.metric == name).collect();
    let sums = |idx: usize| -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for series in own.get(idx).into_iter().flat_map(|part| &part.series) {
            if let Some(pod) = series.labels.get(label) {
                *sums.entry(pod.clone()).or_default() += increase(series);
            }
        }
        sums
    };
    let (what, bad, total) = match &metric.subject {
        Subject::Rate { .. } | Subject::Slo { .. } | Subject::Count { total: Some(_), .. } => {
            ("the bad share".to_owned(), sums(0), sums(1))
        }
        Subject::Count { total: None, .. } => {
            let events = sums(0);
            let alike = events.keys().map(|pod| (pod.clone(), 1.0)).collect();
            ("the events".to_owned(), events, alike)
        }
        Subject::Latency { .. } => slow(own.first()?, label)?,
        Subject::Gauge { source, .. } => {
            let values = match source {
                GaugeSource::Values(_) => averages(own.first()?, label),
                GaugeSource::Increase(_) => sums(0),
            };
            let alike = values.keys().map(|pod| (pod.clone(), 1.0)).collect();
            ("the gauge".to_owned(), values, alike)
        }
    };
    let all = |of: &BTreeMap<String, f64>| of.values().sum::<f64>();
    let (all_bad, all_total) = (all(&bad), all(&total));
    if all_bad < LEAST_EVENTS && !matches!(metric.subject, Subject::Gauge { .. }) {
        return None;
    }
    let mut pods = BTreeMap::new();
    for (pod, total) in &total {
        let own = bad.get(pod).copied().unwrap_or(0.0);
        let ratio = (own / total) / ((all_bad - own) / (all_total - total));
        if ratio.is_finite() {
            pods.insert(pod.clone(), ratio);
        }
    }
    let least = pods.values().copied().reduce(f64::min)?;
    let most = pods.values().copied().reduce(f64::max)?;
    Some(Spread { what, pods, least, most })
}

/// The mean of a gauge over the whole time, by pod; series of one pod are added up.
fn averages(part: &Part, label: &str) -> Sums {
    let mut averages = BTreeMap::new();
    for series in &part.series {
        let values =
            series.points.iter().filter_map(|(_, value)| value.filter(|it| it.is_finite()));
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), it| (sum + it, count + 1.0));
        if let (Some(pod), true) = (series.labels.get(label), count > 0.0) {
            *averages.entry(pod.clone()).or_default() += sum / count;
        }
    }
    averages
}

/// Requests slower than the bound nearest to the 90th percentile of all, and all requests, by pod.
fn slow(part: &Part, label: &str) -> Option<(String, Sums, Sums)> {
    let bound_of = |series: &RecordedSeries| match series.labels.get("le").map(String::as_str) {
        Some("+Inf") => Some(f64::INFINITY),
        Some(text) => text.parse::<f64>().ok(),
        None => None,
    };
    let mut by_pod: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for series in &part.series {
        let (Some(pod), Some(bound)) = (series.labels.get(label), bound_of(series)) else {
            continue;
        };
        add(by_pod.entry(pod.clone()).or_default(), bound, increase(series));
    }
    let mut all = Vec::new();
    for (bound, count) in by_pod.values().flatten() {
        add(&mut all, *bound, *count);
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bounds = Histogram::from_cumulative(&all).bounds_to_judge();
    let bound = *bounds.get(1).or_else(|| bounds.first())?;
    let (mut slow, mut total) = (BTreeMap::new(), BTreeMap::new());
    for (pod, counts) in by_pod {
        let up_to = |bound: f64| {
            counts.iter().find(|(own, _)| own.total_cmp(&bound).is_eq()).map(|(_, count)| *count)
        };
        let (Some(all), Some(fast)) = (up_to(f64::INFINITY), up_to(bound)) else { continue };
        slow.insert(pod.clone(), (all - fast).max(0.0));
        total.insert(pod, all);
    }
    Some((format!("the share of requests slower than {bound}"), slow, total))
}

fn add(counts: &mut Vec<(f64, f64)>, bound: f64, count: f64) {
    match counts.iter_mut().find(|(own, _)| own.total_cmp(&bound).is_eq()) {
        Some((_, own)) => *own += count,
        None => counts.push((bound, count)),
    }
}

/// The increase of a counter from its first value on.
fn increase(series: &RecordedSeries) -> f64 {
    let mut last: Option<f64> = None;
    let mut sum = 0.0;
    for value in series.points.iter().filter_map(|(_, value)| *value) {
        sum += match last {
            Some(last) if value >= last => value - last,
            Some(_) => value,
            None => 0.0,
        };
        last = Some(value);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_fall_began_anew() {
        let points = [(0, Some(5.0)), (1, Some(7.0)), (2, None), (3, Some(1.0)), (4, Some(2.0))];
        let series = RecordedSeries { points: points.into(), ..RecordedSeries::default() };
        assert!((increase(&series) - 4.0).abs() < 1e-9);
    }
}
