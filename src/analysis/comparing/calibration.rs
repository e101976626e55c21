//! Before the first look: what stable did in the hour before says how far evidence is discounted (S7),
//! and at which latencies is looked. The canary has no part in either.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::counting::upper_bound;
use super::{
    ComparedMetric, DispersionRule, GaugeSource, ResolvedArms, Selector, Settings, Subject,
};
use crate::analysis::statistics::dispersion::{self, Interval};
use crate::analysis::statistics::evidence::{
    AbsoluteEvidence, Design, GaugeEvidence, LatencyEvidence, MetricEvidence, RateEvidence,
};
use crate::analysis::statistics::gauge;
use crate::analysis::statistics::histogram::Histogram;
use crate::metrics::sample::{NativeBuckets, Series};
use crate::metrics::spec::look::HistorySpec;
use crate::metrics::spec::prometheus::ResolvedRange;

/// How far back stable is looked at, and in which steps.
const HISTORY: TimeDelta = TimeDelta::hours(1);
const STEP_SECONDS: i64 = 60;
/// Time whose mean is one value of a gauge where that hour does not say how long values depend on each other.
const UNKNOWN_BATCH: TimeDelta = TimeDelta::minutes(5);

/// What is to be asked before the first look; none where nothing depends on it.
pub(super) fn history(
    metric: &ComparedMetric,
    arms: &ResolvedArms,
    start: DateTime<Utc>,
) -> Option<HistorySpec> {
    let is_auto = metric.dispersion == DispersionRule::Auto;
    let of_pods = |selector: &Selector, by: &str| {
        format!("sum by ({}{by}) ({})", arms.pod_label, selector.with(&[arms.stable_only()]))
    };
    let queries = match &metric.subject {
        Subject::Rate { total, bad, .. } | Subject::Slo { total, bad, .. } if is_auto => {
            vec![of_pods(bad, ""), of_pods(total, "")]
        }
        Subject::Count { events, total, .. } if is_auto => {
            let total = total.iter().map(|total| of_pods(total, ""));
            std::iter::once(of_pods(events, "")).chain(total).collect()
        }
        Subject::Latency { histogram, bounds, .. } if is_auto || bounds.is_empty() => {
            let classic = histogram.renamed(&format!("{}_bucket", histogram.name()));
            vec![of_pods(&classic, ", le"), of_pods(histogram, "")]
        }
        Subject::Gauge { source, batch: None, .. } => vec![of_pods(source.selector(), "")],
        Subject::Rate { .. }
        | Subject::Slo { .. }
        | Subject::Count { .. }
        | Subject::Latency { .. }
        | Subject::Gauge { .. } => return None,
    };
    let end = start.timestamp();
    let range = ResolvedRange {
        start: end - HISTORY.num_seconds(),
        end,
        step: f64::from(i32::try_from(STEP_SECONDS).unwrap_or(60)),
    };
    Some(HistorySpec { queries, range })
}

/// Evidence before the first look.
pub(super) struct Begun {
    /// None yet.
    pub(super) evidence: MetricEvidence,
    /// What is unusual about it, for people.
    pub(super) note: String,
    /// Whether the first look went into the choice of the bounds, and must not be judged at them.
    pub(super) is_first_look_spent: bool,
}

/// Evidence before the first look. Where the history does not say at which latencies to look, `first` does:
/// what stable did in the first look.
///
/// # Errors
/// Why none can be made, for people.
pub(super) fn begin(
    metric: &ComparedMetric,
    settings: &Settings,
    arms: &ResolvedArms,
    history: &[Vec<Series>],
    first: impl FnOnce() -> Vec<(f64, f64)>,
) -> Result<Begun, String> {
    let horizon = settings.planned_looks;
    let part = |idx: usize| history.get(idx).map_or(&[][..], Vec::as_slice);
    match &metric.subject {
        Subject::Rate { .. } | Subject::Slo { .. } | Subject::Count { .. } => {
            let has_total = !matches!(metric.subject, Subject::Count { total: None, .. });
            let seen = || by_pod(part(0), has_total.then(|| part(1)), arms);
            let (factor, note) = factor(metric.dispersion, seen);
            let design = Design::new(horizon, factor);
            let factor = factor.unwrap_or(1.0);
            let evidence = if matches!(metric.subject, Subject::Slo { .. }) {
                // There are no shares without stable.
                MetricEvidence::Absolute(AbsoluteEvidence::new(
                    Design::new(horizon, Some(factor)),
                    factor,
                ))
            } else {
                MetricEvidence::Rate(RateEvidence::new(design, factor))
            };
            Ok(Begun { evidence, note, is_first_look_spent: false })
        }
        Subject::Latency { bounds, .. } => {
            let pods = latencies_by_pod(part(0), part(1), arms);
            let mut is_first_look_spent = false;
            let mut bounds = bounds.clone();
            if bounds.is_empty() {
                bounds = pods.bounds_to_judge();
            }
            if bounds.is_empty() {
                is_first_look_spent = true;
                bounds = Histogram::from_cumulative(&first()).bounds_to_judge();
            }
            if bounds.is_empty() {
                return Err(
                    "stable has no latencies yet, so the bounds cannot be chosen: they are \
                            looked for again; or write bounds"
                        .to_owned(),
                );
            }
            let (factor, note) = factor(metric.dispersion, || pods.slower_than(&bounds));
            let factor = factor.unwrap_or(1.0);
            let onset = Design::onset(horizon);
            let evidence = MetricEvidence::Latency(LatencyEvidence::new(&bounds, onset, factor));
            Ok(Begun { evidence, note, is_first_look_spent })
        }
        Subject::Gauge { source, batch, .. } => {
            let (batch, note) = match batch {
                Some(batch) => (*batch, String::new()),
                None => batch_of(&means_of_stable(part(0), source), settings.interval),
            };
            let evidence = MetricEvidence::Gauge(GaugeEvidence::new(batch));
            Ok(Begun { evidence, note, is_first_look_spent: false })
        }
    }
}

/// Looks whose mean is one value, from means of stable minute by minute; and what is unusual about it.
fn batch_of(means: &[f64], interval: TimeDelta) -> (u32, String) {
    let known = gauge::batch_length(means).and_then(|steps| i64::try_from(steps).ok());
    let length = known.map_or(UNKNOWN_BATCH, |steps| TimeDelta::seconds(steps * STEP_SECONDS));
    let interval = interval.num_milliseconds().max(1);
    let looks = (length.num_milliseconds() + interval - 1) / interval;
    let note = if known.is_some() {
        String::new()
    } else {
        format!(
            "how long values of stable depend on each other is not known from the hour before: means of {} minutes \
             are compared",
            UNKNOWN_BATCH.num_minutes()
        )
    };
    (u32::try_from(looks.max(1)).unwrap_or(1), note)
}

/// The mean of a gauge over the pods of stable at each step that has one, oldest first.
fn means_of_stable(pods: &[Series], source: &GaugeSource) -> Vec<f64> {
    let mut sums: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for series in pods {
        let values = match source {
            GaugeSource::Values(_) => steps(series),
            GaugeSource::Increase(_) => increases(&steps(series)),
        };
        for (at, value) in values.into_iter().filter(|(_, value)| value.is_finite()) {
            let (sum, count) = sums.entry(at).or_default();
            *sum += value;
            *count += 1.0;
        }
    }
    sums.into_values().map(|(sum, count)| sum / count).collect()
}

/// What evidence is divided by; none where only shares can be judged.
fn factor(
    rule: DispersionRule,
    seen: impl FnOnce() -> Vec<Vec<Interval>>,
) -> (Option<f64>, String) {
    match rule {
        DispersionRule::Independent => (Some(1.0), String::new()),
        DispersionRule::Given(factor) => (Some(factor), String::new()),
        DispersionRule::Robust => (None, String::new()),
        DispersionRule::Auto => {
            let found = seen();
            let factors = found.iter().filter_map(|it| dispersion::estimate(it));
            match factors.map(|it| it.factor).reduce(f64::max) {
                Some(factor) if factor > 1.0 => {
                    (Some(factor), format!("bursts: evidence is divided by {factor:.1}"))
                }
                Some(factor) => (Some(factor), String::new()),
                None => (
                    None,
                    "how far the pods of stable differ is not known (two of them, with bad events in \
                     the hour before, would say it)"
                        .to_owned(),
                ),
            }
        }
    }
}

/// A counter of each pod at each step.
type Steps = BTreeMap<i64, f64>;

fn steps(series: &Series) -> Steps {
    series.numbers.iter().copied().collect()
}

/// Increases from step to step; none where a step is missing or the counter fell.
fn increases(steps: &Steps) -> BTreeMap<i64, f64> {
    steps
        .iter()
        .zip(steps.iter().skip(1))
        .filter(|((earlier, _), (later, _))| *later - *earlier == STEP_SECONDS * 1000)
        .filter(|((_, before), (_, after))| after >= before)
        .map(|((_, before), (at, after))| (*at, after - before))
        .collect()
}

fn pod_of(series: &Series, arms: &ResolvedArms) -> Option<String> {
    series.labels.get(&arms.pod_label).filter(|pod| !pod.is_empty()).cloned()
}

/// Events and exposure of each pod, minute by minute. Without `totals` a pod is exposed for the time.
fn by_pod(events: &[Series], totals: Option<&[Series]>, arms: &ResolvedArms) -> Vec<Vec<Interval>> {
    let read = |part: &[Series]| -> BTreeMap<String, BTreeMap<i64, f64>> {
        part.iter().filter_map(|it| Some((pod_of(it, arms)?, increases(&steps(it))))).collect()
    };
    let events = read(events);
    let exposed = totals.map_or_else(
        || {
            let minutes = |it: &BTreeMap<i64, f64>| it.keys().map(|at| (*at, 60.0)).collect();
            events.iter().map(|(pod, it)| (pod.clone(), minutes(it))).collect()
        },
        read,
    );
    vec![intervals(&events, &exposed)]
}

fn intervals(
    events: &BTreeMap<String, BTreeMap<i64, f64>>,
    exposed: &BTreeMap<String, BTreeMap<i64, f64>>,
) -> Vec<Interval> {
    let mut intervals: BTreeMap<i64, Interval> = BTreeMap::new();
    for (pod, exposure) in exposed {
        for (at, exposure) in exposure {
            let of_pod = events.get(pod).and_then(|it| it.get(at)).copied().unwrap_or(0.0);
            intervals.entry(*at).or_default().push((of_pod, *exposure));
        }
    }
    intervals.into_values().collect()
}

/// Latencies of the pods of stable, as cumulative counters by bound.
#[derive(Default)]
struct PodLatencies {
    pods: BTreeMap<String, Vec<(f64, Steps)>>,
}

fn latencies_by_pod(classic: &[Series], native: &[Series], arms: &ResolvedArms) -> PodLatencies {
    let mut all = PodLatencies::default();
    for series in classic {
        if let (Some(pod), Some(bound)) = (pod_of(series, arms), upper_bound(series)) {
            all.pods.entry(pod).or_default().push((bound, steps(series)));
        }
    }
    if !all.pods.is_empty() {
        return all;
    }
    for series in native {
        if let Some(pod) = pod_of(series, arms) {
            all.pods.insert(pod, cumulated(&series.histograms));
        }
    }
    all
}

/// A native histogram as cumulative counters at the bounds that it ever had.
fn cumulated(points: &[(i64, NativeBuckets)]) -> Vec<(f64, Steps)> {
    let all = points.iter().flat_map(|(_, value)| &value.buckets).map(|bucket| bucket.upper);
    let mut bounds: Vec<f64> = all.collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds.push(f64::INFINITY);
    let up_to = |value: &NativeBuckets, bound: f64| {
        value.buckets.iter().filter(|it| it.upper <= bound).map(|it| it.count).sum()
    };
    let at_bound = |bound: f64| {
        let steps = points.iter().map(|(at, value)| (*at, up_to(value, bound))).collect();
        (bound, steps)
    };
    bounds.into_iter().map(at_bound).collect()
}

impl PodLatencies {
    fn bounds_to_judge(&self) -> Vec<f64> {
        let mut sums: Vec<(f64, f64)> = Vec::new();
        for (bound, steps) in self.pods.values().flatten() {
            let count: f64 = increases(steps).values().sum();
            match sums.iter_mut().find(|(own, _)| own.total_cmp(bound).is_eq()) {
                Some((_, sum)) => *sum += count,
                None => sums.push((*bound, count)),
            }
        }
        Histogram::from_cumulative(&sums).bounds_to_judge()
    }

    /// Slow requests and all requests of each pod, minute by minute, for each bound.
    fn slower_than(&self, bounds: &[f64]) -> Vec<Vec<Interval>> {
        let at = |of_pod: &[(f64, Steps)], bound: f64| {
            let found = of_pod.iter().find(|(own, _)| own.total_cmp(&bound).is_eq());
            found.map(|(_, steps)| increases(steps)).unwrap_or_default()
        };
        let of_bound = |bound: f64| {
            let (mut slow, mut all) = (BTreeMap::new(), BTreeMap::new());
            for (pod, of_pod) in &self.pods {
                let total = at(of_pod, f64::INFINITY);
                let fast = at(of_pod, bound);
                let known: BTreeSet<i64> =
                    total.keys().filter(|at| fast.contains_key(at)).copied().collect();
                let slower = |at: &i64| {
                    let of = |it: &BTreeMap<i64, f64>| it.get(at).copied().unwrap_or(0.0);
                    (*at, (of(&total) - of(&fast)).max(0.0))
                };
                slow.insert(pod.clone(), known.iter().map(slower).collect());
                let of_total = total.iter().filter(|(at, _)| known.contains(at));
                all.insert(pod.clone(), of_total.map(|(at, count)| (*at, *count)).collect());
            }
            intervals(&slow, &all)
        };
        bounds.iter().map(|bound| of_bound(*bound)).collect()
    }
}
