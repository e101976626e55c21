//! One look: what is asked, and what its answer adds to the evidence.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::calibration::Begun;
use super::counting::{self, Latencies, LatencyPair, Pair, PodMeans, Span};
use super::split::{Requests, SeenWeight, SplitWatch};
use super::{
    ComparedMetric, GaugeSource, Progress, ResolvedArms, Settings, State, Subject, calibration,
};
use crate::analysis::judge::Assessment;
use crate::analysis::statistics::counts::{Counts, SlowCounts};
use crate::analysis::statistics::evidence::{GaugeEvidence, LatencyEvidence, MetricEvidence};
use crate::api::Time;
use crate::api::analysis::{AnalysisPhase, AnalysisRunStatus};
use crate::api::values::RawObject;
use crate::metrics::sample::{Clocks, Look};
use crate::metrics::spec::look::LookSpec;

/// Difference of clocks that does no harm: well below any scrape interval.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(1);
/// How far the clock of the controller may be behind in any case: a server that is slow to answer tells its time late.
const LEAST_BEHIND: TimeDelta = TimeDelta::seconds(10);

/// What the look that is due now asks for. Its span ends on the grid of looks, less the lag, and begins
/// where the last one that was taken in ended: after looks that failed it is longer.
pub(in crate::analysis) fn spec(
    metric: &ComparedMetric,
    settings: &Settings,
    name: &str,
    status: &AnalysisRunStatus,
    now: DateTime<Utc>,
) -> Option<LookSpec> {
    let arms = settings.arms.as_ref()?;
    let started_at = status.started_at.map_or(now, |at| at.0);
    let state = State::read(status.evidence.as_ref().map(|raw| &raw.0)).ok()?;
    let start = started_at - settings.lag;
    let last = state.progress.get(name).and_then(|progress| progress.until);
    let from = last.map_or(start, |at| at.0);
    let interval = settings.interval.num_milliseconds().max(1);
    let since = now.signed_duration_since(started_at).num_milliseconds().max(0);
    let on_grid = start + TimeDelta::milliseconds(since - since.rem_euclid(interval));
    let until = if on_grid > from { on_grid } else { from + TimeDelta::milliseconds(1) };
    let both = || vec![arms.both()];
    let selectors = match &metric.subject {
        Subject::Rate { total, bad, .. } | Subject::Slo { total, bad, .. } => {
            vec![bad.with(&both()), total.with(&both())]
        }
        Subject::Count { events, total, .. } => {
            std::iter::once(events).chain(total).map(|it| it.with(&both())).collect()
        }
        Subject::Latency { histogram, .. } => {
            let classic = histogram.renamed(&format!("{}_bucket", histogram.name()));
            vec![classic.with(&both()), histogram.with(&both())]
        }
        Subject::Gauge { source, .. } => vec![source.selector().with(&both())],
    };
    let is_first = !state.evidence.metrics.contains_key(name);
    let history = if is_first { calibration::history(metric, arms, start) } else { None };
    Some(LookSpec { selectors, from, until, history })
}

/// Takes a look into the evidence of a run.
pub(in crate::analysis) fn take(
    metric: &ComparedMetric,
    settings: &Settings,
    name: &str,
    look: &Look,
    seen: &SeenWeight,
    status: &mut AnalysisRunStatus,
) -> Assessment {
    match try_take(metric, settings, name, look, seen, status) {
        Ok(value) => assessment(AnalysisPhase::Successful, value, String::new()),
        Err(message) => assessment(AnalysisPhase::Error, String::new(), message),
    }
}

fn assessment(phase: AnalysisPhase, value: String, message: String) -> Assessment {
    Assessment { phase, value, message, metadata: BTreeMap::new() }
}

/// The counts in words.
fn try_take(
    metric: &ComparedMetric,
    settings: &Settings,
    name: &str,
    look: &Look,
    seen: &SeenWeight,
    status: &mut AnalysisRunStatus,
) -> Result<String, String> {
    let arms = settings.arms.as_ref().ok_or("the arms are not named")?;
    let stored = status.evidence.as_ref().map(|raw| &raw.0);
    check_clocks(look, settings.lag)?;
    let mut state = State::read(stored)?;
    let started_at = status.started_at.map_or(look.from, |at| at.0);
    let mut progress = state.progress.remove(name).unwrap_or_default();
    if let Some(until) = progress.until
        && until.0.signed_duration_since(look.from).num_milliseconds() != 0
    {
        return Err("the look begins where none has ended; it is taken again".to_owned());
    }
    let span = Span::of(look.from, look.until, &look.parts);
    let (mut evidence, is_spent) = if let Some(evidence) = state.evidence.metrics.remove(name) {
        (evidence, false)
    } else {
        let begun = begin(metric, settings, arms, look, &span)?;
        progress.note = begun.note;
        (begun.evidence, begun.is_first_look_spent)
    };
    let is_warm_up = look.until <= started_at + settings.warmup;
    let taken = Taken { look, span, arms, is_warm_up, is_spent };
    let totals = judge(metric, &mut evidence, &taken, &mut progress)?;
    note(&mut progress, &totals, look, started_at);
    let counted = counted_by_weight(metric, &taken, &totals);
    progress.split = SplitWatch::after(progress.split.take(), seen, counted, settings.lag);
    let value = describe(metric, &totals);
    state.progress.insert(name.to_owned(), progress);
    state.evidence.metrics.insert(name.to_owned(), evidence);
    status.evidence = Some(RawObject(state.write()));
    Ok(value)
}

/// Refuses a look at a time that is not there yet by the clock of the server, and one at a time that is long over: the
/// present of the controller, by which weights and pods change, is then not the present of the series.
fn check_clocks(look: &Look, lag: TimeDelta) -> Result<(), String> {
    let Some(Clocks { own, server }) = look.clocks else { return Ok(()) };
    let ahead = own.signed_duration_since(server);
    let seconds = |span: TimeDelta| span.as_seconds_f64().round();
    let remedy = "nothing is judged until the clocks agree, or lag is larger than that";
    if look.until > server + CLOCK_TOLERANCE {
        return Err(format!(
            "the clock of the controller is {} s ahead of that of Prometheus, and a look stays only {} s behind it, so it is \
             about a time that is not there yet: {remedy}",
            seconds(ahead),
            seconds(lag)
        ));
    }
    if -ahead > lag.max(LEAST_BEHIND) {
        return Err(format!(
            "the clock of the controller is {} s behind that of Prometheus, more than lag ({} s), so a look is about a time \
             that is over: {remedy}",
            seconds(-ahead),
            seconds(lag)
        ));
    }
    Ok(())
}

/// A look, and how it is taken in.
struct Taken<'a> {
    look: &'a Look,
    span: Span,
    arms: &'a ResolvedArms,
    is_warm_up: bool,
    /// Whether it went into the choice of bounds, and must not be judged at them.
    is_spent: bool,
}

/// Requests up to each bound in a look, of the canary and of stable; none for metrics that are not about
/// latency. For plots.
pub fn latencies(
    metric: &ComparedMetric,
    settings: &Settings,
    look: &Look,
) -> Option<[Vec<(f64, f64)>; 2]> {
    let (Subject::Latency { .. }, Some(arms)) = (&metric.subject, &settings.arms) else {
        return None;
    };
    let span = Span::of(look.from, look.until, &look.parts);
    let mut all = LatencyPair::default();
    for pair in counting::histograms(&look.parts, &span, arms, &[]).into_values() {
        all.canary.add(pair.canary);
        all.stable.add(pair.stable);
    }
    Some([all.canary.cumulative(), all.stable.cumulative()])
}

/// Evidence before the first look.
fn begin(
    metric: &ComparedMetric,
    settings: &Settings,
    arms: &ResolvedArms,
    look: &Look,
    span: &Span,
) -> Result<Begun, String> {
    let history = look.history.as_deref().unwrap_or_default();
    let first = || {
        let mut all = Latencies::default();
        let strata = counting::histograms(&look.parts, span, arms, &[]).into_values();
        strata.for_each(|pair| all.add(pair.stable));
        all.cumulative()
    };
    calibration::begin(metric, settings, arms, history, first)
}

/// Adds a look to the evidence; the counts of all strata, bad events and exposure of the canary first.
fn judge(
    metric: &ComparedMetric,
    evidence: &mut MetricEvidence,
    taken: &Taken<'_>,
    progress: &mut Progress,
) -> Result<[f64; 4], String> {
    let Taken { look, span, arms, is_warm_up, is_spent } = taken;
    let part = |idx: usize| look.parts.get(idx).map_or(&[][..], Vec::as_slice);
    Ok(match (&metric.subject, evidence) {
        (Subject::Rate { limits, .. }, MetricEvidence::Rate(evidence)) => {
            let bad = counting::counters(part(0), span, arms, &metric.by);
            let total = counting::counters(part(1), span, arms, &metric.by);
            let strata = rates(bad, total)?;
            evidence.look(&strata, limits, *is_warm_up);
            sums(&strata)
        }
        (Subject::Count { total, limits, .. }, MetricEvidence::Rate(evidence)) => {
            let strata = if total.is_some() {
                let events = counting::counters(part(0), span, arms, &metric.by);
                rates(events, counting::counters(part(1), span, arms, &metric.by))?
            } else {
                let events = counting::counters(part(0), span, arms, &[]);
                let exposed = counting::pod_seconds(part(0), span, arms);
                rates(events, [(Vec::new(), exposed)].into())?
            };
            evidence.look(&strata, limits, *is_warm_up);
            sums(&strata)
        }
        (Subject::Slo { max_rate, .. }, MetricEvidence::Absolute(evidence)) => {
            let bad = counting::counters(part(0), span, arms, &[]);
            let strata = rates(bad, counting::counters(part(1), span, arms, &[]))?;
            for counts in &strata {
                evidence.look(counts.canary_bad(), counts.canary_total(), *max_rate);
            }
            sums(&strata)
        }
        (Subject::Latency { limits, .. }, MetricEvidence::Latency(evidence)) => {
            let mut strata = counting::histograms(&look.parts, span, arms, &metric.by);
            if *is_spent {
                strata.clear();
            }
            let size = |pair: &LatencyPair| pair.canary.total() + pair.stable.total();
            let join = |mut one: LatencyPair, other: LatencyPair| {
                one.canary.add(other.canary);
                one.stable.add(other.stable);
                one
            };
            let strata = counting::largest(strata, size, join);
            let slow = slow_counts(evidence, &strata)?;
            evidence.look(&slow, limits, *is_warm_up);
            let total = |of: fn(&LatencyPair) -> f64| strata.iter().map(of).sum::<f64>();
            let slowest = slow.last().map(Vec::as_slice).unwrap_or_default();
            let slow_of = |of: fn(&SlowCounts) -> u64| {
                as_float(slowest.iter().map(of).fold(0, u64::saturating_add))
            };
            [
                slow_of(SlowCounts::canary_slow),
                total(|pair| pair.canary.total()),
                slow_of(SlowCounts::stable_slow),
                total(|pair| pair.stable.total()),
            ]
        }
        (Subject::Gauge { source, .. }, MetricEvidence::Gauge(evidence)) => {
            let is_increase = matches!(source, GaugeSource::Increase(_));
            let found = counting::pod_means(part(0), span, arms, is_increase);
            gauge(evidence, found.filter(|_| !is_warm_up), *is_warm_up, progress)
        }
        (
            Subject::Rate { .. }
            | Subject::Count { .. }
            | Subject::Slo { .. }
            | Subject::Latency { .. }
            | Subject::Gauge { .. },
            _,
        ) => return Err("its evidence is of another type than the metric".to_owned()),
    })
}

/// Takes in the means of a gauge: their sums over the looks, and the looks. In the warm-up a cache that fills
/// is no leak, and nothing is taken in.
fn gauge(
    evidence: &mut GaugeEvidence,
    found: Option<PodMeans>,
    is_warm_up: bool,
    progress: &mut Progress,
) -> [f64; 4] {
    let Some(PodMeans { means, pods }) = found else {
        let missing = u32::from(!is_warm_up);
        progress.without_values = progress.without_values.saturating_add(missing);
        return [0.0; 4];
    };
    progress.pods = pods.to_vec();
    evidence.look(means.canary, means.stable);
    [means.canary, 1.0, means.stable, 1.0]
}

fn note(progress: &mut Progress, totals: &[f64; 4], look: &Look, started_at: DateTime<Utc>) {
    progress.until = Some(Time(look.until));
    let [_, exposure, ..] = totals;
    if *exposure > 0.0 {
        progress.exposed_at = Some(Time(look.until));
    }
    progress.exposed_at.get_or_insert(Time(started_at));
    progress.looks = progress.looks.saturating_add(1);
    progress.totals.resize(totals.len(), 0.0);
    progress.totals.iter_mut().zip(totals).for_each(|(sum, count)| *sum += count);
}

/// Requests of a look, where it has any that were all counted.
fn counted_by_weight(
    metric: &ComparedMetric,
    taken: &Taken<'_>,
    [_, canary, _, stable]: &[f64; 4],
) -> Option<Requests> {
    // What a server without a past counts begins at other moments for each series.
    let is_whole = !taken.is_spent && !taken.span.is_new_server;
    let is_usable = metric.subject.is_about_requests() && is_whole;
    let requests = Requests { from: taken.look.from, canary: *canary, stable: *stable };
    is_usable.then_some(requests)
}

fn describe(metric: &ComparedMetric, totals: &[f64; 4]) -> String {
    let [bad, total, stable_bad, stable_total] = totals;
    if matches!(metric.subject, Subject::Gauge { .. }) {
        return if *total > 0.0 {
            format!("canary {bad}, stable {stable_bad}")
        } else {
            "no values of both".to_owned()
        };
    }
    format!("canary {bad:.0} of {total:.0}, stable {stable_bad:.0} of {stable_total:.0}")
}

/// Counts of each stratum that had exposure or events.
fn rates(
    bad: BTreeMap<Vec<String>, Pair>,
    total: BTreeMap<Vec<String>, Pair>,
) -> Result<Vec<Counts>, String> {
    let mut joined: BTreeMap<Vec<String>, (Pair, Pair)> = BTreeMap::new();
    for (stratum, pair) in total {
        joined.entry(stratum).or_default().1 = pair;
    }
    for (stratum, pair) in bad {
        joined.entry(stratum).or_default().0 = pair;
    }
    let counts: Result<BTreeMap<Vec<String>, Counts>, String> = joined
        .into_iter()
        .map(|(stratum, (bad, total))| {
            let counts = Counts::new(bad.canary, bad.stable, total.canary, total.stable);
            Ok((stratum, counts.map_err(|error| error.to_string())?))
        })
        .collect();
    let size = |counts: &Counts| counts.canary_total() + counts.stable_total();
    Ok(counting::largest(counts?, size, |one, other| one.plus(&other)))
}

fn sums(strata: &[Counts]) -> [f64; 4] {
    let sum = |of: fn(&Counts) -> f64| strata.iter().map(of).sum::<f64>();
    [
        sum(Counts::canary_bad),
        sum(Counts::canary_total),
        sum(Counts::stable_bad),
        sum(Counts::stable_total),
    ]
}

/// For each bound the slow requests of each stratum in which both arms have it.
fn slow_counts(
    evidence: &LatencyEvidence,
    strata: &[LatencyPair],
) -> Result<Vec<Vec<SlowCounts>>, String> {
    let mut all = Vec::new();
    for bound in evidence.bounds() {
        let mut at_bound = Vec::new();
        for pair in strata {
            let slow = (pair.canary.slower_than(bound), pair.stable.slower_than(bound));
            let (Some(canary), Some(stable)) = slow else { continue };
            let (canary_total, stable_total) = (pair.canary.total(), pair.stable.total());
            let counts =
                [canary, stable, canary_total, stable_total].map(|count| whole(count.round()));
            let [canary, stable, canary_total, stable_total] = counts;
            let counts = SlowCounts::new(canary, stable, canary_total, stable_total);
            at_bound.push(counts.map_err(|error| error.to_string())?);
        }
        let has_requests =
            strata.iter().any(|pair| pair.canary.total() + pair.stable.total() > 0.0);
        if at_bound.is_empty() && has_requests {
            let mut bounds: Vec<f64> =
                strata.iter().flat_map(|pair| pair.stable.bounds()).collect();
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
            let known: Vec<String> = bounds.iter().take(30).map(ToString::to_string).collect();
            return Err(format!(
                "no bucket of both arms ends at {bound}; stable has {}",
                known.join(", ")
            ));
        }
        all.push(at_bound);
    }
    Ok(all)
}

pub(super) fn whole(count: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are not negative, and the cast saturates"
    )]
    let whole = count as u64;
    whole
}

fn as_float(count: u64) -> f64 {
    crate::analysis::statistics::log_space::as_float(count)
}
