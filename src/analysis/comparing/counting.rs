//! From raw samples to what happened between two looks.
//!
//! The increase of a counter over `(from, until]` is taken sample by sample, from the last one at or
//! before `from` to the last one at or before `until`, both out of one answer:
//! - a value below the one before is a restart of its process, and counts whole;
//! - a series without any sample before is new, and counts whole: the first error of a pod, a new pod;
//! - of a pod that is gone, what it counted until its last scrape counts;
//! - a late scrape moves its events into the next interval, where they count once.
//!
//! Where nothing at all was known before `from`, the server lost its memory (or is another one): then
//! the first sample of each series is where counting begins, and nothing counts that it held before.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::arms::{Arm, ResolvedArms};
use crate::metrics::sample::{NativeBucket, NativeBuckets, Series};

/// Most strata; what is beyond is one.
const MAX_STRATA: usize = 10;

/// Labels by which counts are compared part by part; empty without `by`.
pub(super) type Stratum = Vec<String>;

/// The span of a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
    /// Whether nothing is known of the time before.
    pub(super) is_new_server: bool,
}

impl Span {
    /// The span of all parts of a look.
    pub(super) fn of(from: DateTime<Utc>, until: DateTime<Utc>, parts: &[Vec<Series>]) -> Self {
        let is_known = parts.iter().flatten().any(|series| series.is_known_at(from));
        Self { from, until, is_new_server: !is_known }
    }

    /// The increase of a counter.
    pub(super) fn increase(&self, points: &[(i64, f64)]) -> f64 {
        let (from, until) = (self.from.timestamp_millis(), self.until.timestamp_millis());
        let usable = points.iter().filter(|(at, value)| *at <= until && value.is_finite());
        let mut last: Option<f64> = None;
        let mut sum = 0.0;
        for (at, value) in usable {
            if *at > from {
                sum += match last {
                    Some(last) if *value >= last => value - last,
                    None if self.is_new_server => 0.0,
                    Some(_) | None => *value,
                };
            }
            last = Some(*value);
        }
        sum.max(0.0)
    }

    /// The mean of the values of a gauge; none without a number in the span.
    fn mean(&self, series: &Series) -> Option<f64> {
        let (from, until) = (self.from.timestamp_millis(), self.until.timestamp_millis());
        let within = series
            .numbers
            .iter()
            .filter(|(at, value)| (from + 1..=until).contains(at) && value.is_finite());
        let (sum, count) = within.fold((0.0, 0.0), |(sum, count), (_, it)| (sum + it, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    /// The increase of a counter per second between its first and its last sample, the last one before the span
    /// among them; none with fewer than two.
    fn per_second(&self, series: &Series) -> Option<f64> {
        let (from, until) = (self.from.timestamp_millis(), self.until.timestamp_millis());
        let usable = || {
            let numbers = series.numbers.iter().copied();
            numbers.filter(|(at, value)| *at <= until && value.is_finite())
        };
        let first = usable().rfind(|(at, _)| *at <= from).or_else(|| usable().next())?;
        let last = usable().next_back().filter(|(at, _)| *at > from && *at > first.0)?;
        let seconds = DateTime::from_timestamp_millis(last.0)?
            .signed_duration_since(DateTime::from_timestamp_millis(first.0)?)
            .as_seconds_f64();
        let points: Vec<(i64, f64)> = usable().filter(|(at, _)| *at >= first.0).collect();
        let steps = points.iter().zip(points.iter().skip(1));
        let grown = steps.map(|((_, a), (_, b))| if b >= a { b - a } else { *b }).sum::<f64>();
        Some(grown / seconds)
    }

    /// The increase of a native histogram, bucket by bucket.
    fn native_increase(&self, points: &[(i64, NativeBuckets)]) -> Vec<NativeBucket> {
        let (from, until) = (self.from.timestamp_millis(), self.until.timestamp_millis());
        let mut last: Option<&NativeBuckets> = None;
        let mut sum = Vec::new();
        for (at, value) in points.iter().filter(|(at, _)| *at <= until) {
            if *at > from {
                match last {
                    Some(last) => sum.extend(difference(last, value)),
                    None if self.is_new_server => {}
                    None => sum.extend(value.buckets.iter().copied()),
                }
            }
            last = Some(value);
        }
        sum
    }
}

/// What is in `later` and not in `earlier`. A histogram that became coarser holds its old buckets inside
/// of the new ones; one that fell, or became finer, began anew.
fn difference(earlier: &NativeBuckets, later: &NativeBuckets) -> Vec<NativeBucket> {
    let mut left = later.buckets.clone();
    let is_continued = earlier.count <= later.count
        && earlier.buckets.iter().all(|old| {
            let holds = |new: &&mut NativeBucket| new.lower <= old.lower && old.upper <= new.upper;
            let Some(new) = left.iter_mut().find(holds) else { return old.count <= 0.0 };
            new.count -= old.count;
            new.count >= 0.0
        });
    if is_continued { left } else { later.buckets.clone() }
}

/// Counts of one arm and the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pair {
    pub(super) canary: f64,
    pub(super) stable: f64,
}

impl Pair {
    fn of(&mut self, arm: Arm) -> &mut f64 {
        match arm {
            Arm::Canary => &mut self.canary,
            Arm::Stable => &mut self.stable,
        }
    }
}

/// Where a series belongs.
fn place(series: &Series, arms: &ResolvedArms, by: &[String]) -> Option<(Arm, Stratum)> {
    let label = |name: &String| series.labels.get(name).cloned().unwrap_or_default();
    Some((arms.of(&series.labels)?, by.iter().map(label).collect()))
}

/// Increases of counters by stratum.
pub(super) fn counters(
    part: &[Series],
    span: &Span,
    arms: &ResolvedArms,
    by: &[String],
) -> BTreeMap<Stratum, Pair> {
    let mut counts: BTreeMap<Stratum, Pair> = BTreeMap::new();
    for series in part {
        let Some((arm, stratum)) = place(series, arms, by) else { continue };
        *counts.entry(stratum).or_default().of(arm) += span.increase(&series.numbers);
    }
    counts
}

/// Seconds that the pods of each arm were there: those with a sample in the span, for all of it.
pub(super) fn pod_seconds(part: &[Series], span: &Span, arms: &ResolvedArms) -> Pair {
    let (from, until) = (span.from.timestamp_millis(), span.until.timestamp_millis());
    let mut pods: [BTreeSet<&str>; 2] = Default::default();
    let [canary, stable] = &mut pods;
    for series in part {
        let is_there = series.numbers.iter().any(|(at, _)| (from + 1..=until).contains(at));
        let pod = series.labels.get(&arms.pod_label).map_or("", String::as_str);
        match arms.of(&series.labels).filter(|_| is_there) {
            Some(Arm::Canary) => canary.insert(pod),
            Some(Arm::Stable) => stable.insert(pod),
            None => false,
        };
    }
    let seconds = span.until.signed_duration_since(span.from).as_seconds_f64();
    let size = |pods: &BTreeSet<&str>| pods.iter().map(|_| seconds).sum();
    Pair { canary: size(canary), stable: size(stable) }
}

/// The mean over the pods of each arm, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PodMeans {
    pub(super) means: Pair,
    pub(super) pods: [u32; 2],
}

/// Means of a gauge over the pods of each arm: of each series its values in the span are averaged, or its
/// increase per second is taken; series of one pod are added up. None where an arm has no values.
pub(super) fn pod_means(
    part: &[Series],
    span: &Span,
    arms: &ResolvedArms,
    is_increase: bool,
) -> Option<PodMeans> {
    let mut pods: [BTreeMap<&str, f64>; 2] = Default::default();
    let [canary, stable] = &mut pods;
    for series in part {
        let value = if is_increase { span.per_second(series) } else { span.mean(series) };
        let Some(value) = value else { continue };
        let pod = series.labels.get(&arms.pod_label).map_or("", String::as_str);
        match arms.of(&series.labels) {
            Some(Arm::Canary) => *canary.entry(pod).or_default() += value,
            Some(Arm::Stable) => *stable.entry(pod).or_default() += value,
            None => {}
        }
    }
    let size = |arm: &BTreeMap<&str, f64>| u32::try_from(arm.len()).unwrap_or(u32::MAX);
    let mean = |arm: &BTreeMap<&str, f64>| arm.values().sum::<f64>() / f64::from(size(arm));
    let means = Pair { canary: mean(canary), stable: mean(stable) };
    let is_whole = means.canary.is_finite() && means.stable.is_finite();
    is_whole.then(|| PodMeans { means, pods: [size(canary), size(stable)] })
}

/// The strata of a look: the largest by exposure, and the rest as one.
pub(super) fn largest<T>(
    strata: BTreeMap<Stratum, T>,
    size: impl Fn(&T) -> f64,
    join: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut all: Vec<T> = strata.into_values().collect();
    all.sort_by(|a, b| size(b).total_cmp(&size(a)));
    let rest = all.split_off(all.len().min(MAX_STRATA));
    all.extend(rest.into_iter().reduce(join));
    all
}

/// Latencies of one look and arm: bucket by bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latencies {
    /// Increases of the cumulative series by upper bound, in the histogram's unit.
    pub(super) classic: Vec<(f64, f64)>,
    /// Increases of the buckets of native histograms.
    pub(super) native: Vec<NativeBucket>,
}

impl Latencies {
    pub(super) fn add(&mut self, other: Self) {
        for (bound, count) in other.classic {
            match self.classic.iter_mut().find(|(own, _)| own.total_cmp(&bound).is_eq()) {
                Some((_, own)) => *own += count,
                None => self.classic.push((bound, count)),
            }
        }
        self.native.extend(other.native);
    }

    /// All requests.
    pub(super) fn total(&self) -> f64 {
        if self.classic.is_empty() {
            return self.native.iter().map(|bucket| bucket.count).sum();
        }
        self.classic.iter().map(|(_, count)| *count).fold(0.0, f64::max)
    }

    /// Requests slower than a bound; none where no bucket ends there.
    pub(super) fn slower_than(&self, bound: f64) -> Option<f64> {
        if self.classic.is_empty() {
            // Empty buckets are left out, so a bound is only missing where a bucket spans it.
            let spans = |it: &&NativeBucket| it.lower < bound && bound < it.upper;
            if self.native.iter().any(|bucket| spans(&bucket) && bucket.count > 0.0) {
                return None;
            }
            return Some(
                self.native.iter().filter(|it| it.lower >= bound).map(|it| it.count).sum(),
            );
        }
        let up_to = self.classic.iter().find(|(own, _)| own.total_cmp(&bound).is_eq())?;
        Some((self.total() - up_to.1).max(0.0))
    }

    /// Requests up to each bound.
    pub(super) fn cumulative(&self) -> Vec<(f64, f64)> {
        if !self.classic.is_empty() {
            return self.classic.clone();
        }
        let up_to = |bound: f64| {
            let inside = self.native.iter().filter(|bucket| bucket.upper <= bound);
            (bound, inside.map(|bucket| bucket.count).sum())
        };
        self.bounds().into_iter().chain([f64::INFINITY]).map(up_to).collect()
    }

    /// The bounds that it has, ascending.
    pub(super) fn bounds(&self) -> Vec<f64> {
        let native = self.native.iter().map(|bucket| bucket.upper);
        let mut bounds: Vec<f64> = self.classic.iter().map(|(bound, _)| *bound).collect();
        if bounds.is_empty() {
            bounds.extend(native);
        }
        bounds.retain(|bound| bound.is_finite());
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    }
}

/// Latencies of both arms.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LatencyPair {
    pub(super) canary: Latencies,
    pub(super) stable: Latencies,
}

/// Increases of histograms by stratum: classic ones from their `le` series, else native ones.
pub(super) fn histograms(
    parts: &[Vec<Series>],
    span: &Span,
    arms: &ResolvedArms,
    by: &[String],
) -> BTreeMap<Stratum, LatencyPair> {
    let mut counts: BTreeMap<Stratum, LatencyPair> = BTreeMap::new();
    for series in parts.iter().flatten() {
        let Some((arm, stratum)) = place(series, arms, by) else { continue };
        let latencies = latencies(series, span);
        let pair = counts.entry(stratum).or_default();
        match arm {
            Arm::Canary => pair.canary.add(latencies),
            Arm::Stable => pair.stable.add(latencies),
        }
    }
    counts
}

fn latencies(series: &Series, span: &Span) -> Latencies {
    let classic = upper_bound(series).map(|bound| (bound, span.increase(&series.numbers)));
    let native = span.native_increase(&series.histograms);
    Latencies { classic: classic.into_iter().collect(), native }
}

/// The `le` of a classic bucket.
pub(super) fn upper_bound(series: &Series) -> Option<f64> {
    match series.labels.get("le")?.as_str() {
        "+Inf" => Some(f64::INFINITY),
        number => number.parse().ok().filter(|bound: &f64| !bound.is_nan()),
    }
}
