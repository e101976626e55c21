//! `analysis backtest`: what a template would have said about releases that were none. Each pod of stable
//! in turn plays the canary of a release at some time of the past; every FAIL is a false one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

mod report;

use report::{BacktestReport, Failure, MetricBacktest, exceeds, lines};

use super::args::BacktestArgs;
use super::arguments;
use super::replay::Replay;
use super::report::Seen;
use super::server::Server;
use super::spread::spread;
use super::target::{ArmNames, Target};
use crate::analysis::ResolvedRun;
use crate::analysis::comparing::{ComparedMetric, ResolvedArms, Selector, Subject};
use crate::analysis::resolved::Judge;
use crate::api::analysis::ArmsBy;
use crate::api::values::IntOrString;
use crate::cli::args::ClusterFlags;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Console;
use crate::cli::text::span_of_time;
use crate::metrics::MeasureError;
use crate::metrics::sample::Series;
use crate::sim::recorded::RecordedSeries;

/// What stable did before a release, which its beginning looks at.
const HISTORY: TimeDelta = TimeDelta::minutes(65);
/// Label that tells the arms apart here.
const ARM: &str = "sluice_arm";
/// Limits that are tried where the own one was too narrow.
const LIMITS: [f64; 9] = [1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 8.0];
/// Most series of all metrics together, and most releases.
const MAX_SERIES: usize = 5_000;
const MAX_TRIALS: usize = 2_000;

/// Series of one selector of a metric.
pub(super) struct Part {
    pub(super) metric: String,
    pub(super) series: Vec<RecordedSeries>,
}

/// Runs the command.
pub(super) async fn run(
    console: &mut Console<'_>,
    args: &BacktestArgs,
    flags: &ClusterFlags,
) -> Result<Exit, CliError> {
    let target = Target::read(console, &args.template, flags, "backtest")?;
    let duration = |flag: &str, text: &str| {
        let given = IntOrString::Text(text.to_owned()).as_duration().ok();
        given.filter(|it| *it >= TimeDelta::minutes(1)).ok_or_else(|| {
            CliError::usage(
                format!("{flag} {text:?} is no time of a minute or more"),
                "write for example 30m, 24h or 168h",
            )
        })
    };
    let (range, length) = (duration("--range", &args.range)?, duration("--length", &args.length)?);
    let until = match &args.until {
        None => (console.now)() - TimeDelta::seconds(30),
        Some(text) => DateTime::parse_from_rfc3339(text)
            .map_err(|_| {
                CliError::usage(
                    format!("--until {text:?} is no time"),
                    "write for example 2026-11-21T18:00:00Z",
                )
            })?
            .to_utc(),
    };
    if length > range {
        return Err(CliError::usage("--length is longer than --range", "play shorter releases"));
    }
    let arms =
        ArmNames { canary: Some("backtest-canary".to_owned()), stable: Some(args.stable.clone()) };
    let whole = target.run(&arms, &arguments(&args.template.args)?, length)?;
    let (run, left_out) = comparing(whole)?;
    let server = Server::prometheus(&args.prometheus)?;
    let period = Period { from: until - range, until, length };
    let parts = fetched(console, &server, &run, &period).await?;
    let pods = pods(&parts, &run, args.pods)?;
    let trials = trials(console, &run, &parts, &pods, &period).await?;
    let mut report = BacktestReport {
        template: target.key.name.clone(),
        from: period.from,
        until,
        pods: pods.into_iter().collect(),
        releases: trials.len(),
        false_verdicts: count(&trials, Seen::Fail),
        passed: count(&trials, Seen::Pass),
        undecided: count(&trials, Seen::Undecided) + count(&trials, Seen::Inconclusive),
        no_data: count(&trials, Seen::NoData),
        budget: run.comparison.as_ref().map_or(0.0, |it| it.rule.false_rollback),
        metrics: Vec::new(),
        failures: Vec::new(),
        left_out,
    };
    judged(&mut report, &run, &parts, &trials, &period).await?;
    report.failures.sort_by_key(|failure| failure.start);
    console.data(&report, &lines(&report))?;
    for note in &report.left_out {
        console.say(note)?;
    }
    Ok(if exceeds(&report) { Exit::Failed } else { Exit::Done })
}

/// What came of each metric.
async fn judged(
    report: &mut BacktestReport,
    run: &ResolvedRun,
    parts: &[Part],
    trials: &[Trial],
    period: &Period,
) -> Result<(), CliError> {
    for (idx, metric) in run.metrics.iter().enumerate() {
        let Judge::Comparison(compared) = &metric.judge else { continue };
        let failed: Vec<&Trial> = trials
            .iter()
            .filter(|trial| trial.failed_by.as_deref() == Some(&*metric.name))
            .collect();
        let limit = limit_of(compared).filter(|_| compared.weight.is_some());
        let (limit_name, limit) = match limit {
            Some((name, limit)) => (Some(name), Some(limit)),
            None => (None, None),
        };
        let proposed_limit = if failed.is_empty() {
            limit
        } else {
            proposed(run, idx, parts, &failed, period).await?
        };
        report.metrics.push(MetricBacktest {
            name: metric.name.clone(),
            false_verdicts: failed.len(),
            limit_name,
            limit,
            proposed_limit,
            spread: spread(compared, &metric.name, parts, &pod_label(run)),
        });
        report.failures.extend(failed.into_iter().map(|trial| Failure {
            start: trial.start,
            pod: trial.pod.clone(),
            metric: metric.name.clone(),
            message: trial.message.clone(),
        }));
    }
    Ok(())
}

fn count(trials: &[Trial], seen: Seen) -> usize {
    trials.iter().filter(|trial| trial.verdict == seen).count()
}

/// When releases are played.
struct Period {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    length: TimeDelta,
}

impl Period {
    fn starts(&self) -> Vec<DateTime<Utc>> {
        let mut starts = Vec::new();
        let mut at = self.from;
        while at + self.length <= self.until {
            starts.push(at);
            at += self.length;
        }
        starts
    }
}

/// The metrics that compare; and about the others, why they have no part.
fn comparing(mut run: ResolvedRun) -> Result<(ResolvedRun, Vec<String>), CliError> {
    let mut left_out = Vec::new();
    run.metrics.retain(|metric| {
        let is_comparing = matches!(metric.judge, Judge::Comparison(_));
        if !is_comparing {
            left_out.push(format!("{}: does not compare, and is left out", metric.name));
        }
        if let Judge::Comparison(compared) = &metric.judge
            && compared.weight.is_none()
        {
            let note = "only informs: it is played, and fails nothing (gate: true would let it)";
            left_out.push(format!("{}: {note}", metric.name));
        }
        is_comparing
    });
    if run.metrics.is_empty() {
        return Err(CliError::refused(
            "the template has no metric that compares canary and stable",
            "backtest is about those: docs/comparison.md",
        ));
    }
    Ok((run, left_out))
}

fn arms_of(run: &ResolvedRun) -> Option<&ResolvedArms> {
    run.comparison.as_ref()?.arms.as_ref()
}

fn pod_label(run: &ResolvedRun) -> String {
    arms_of(run).map_or_else(|| "pod".to_owned(), |arms| arms.pod_label.clone())
}

/// The selectors of a metric.
fn selectors(metric: &ComparedMetric) -> Vec<Selector> {
    match &metric.subject {
        Subject::Rate { total, bad, .. } | Subject::Slo { total, bad, .. } => {
            vec![bad.clone(), total.clone()]
        }
        Subject::Count { events, total, .. } => {
            std::iter::once(events).chain(total).cloned().collect()
        }
        Subject::Latency { histogram, .. } => {
            // Classic, and native.
            vec![histogram.renamed(&format!("{}_bucket", histogram.name())), histogram.clone()]
        }
        Subject::Gauge { source, .. } => vec![source.selector().clone()],
    }
}

async fn fetched(
    console: &mut Console<'_>,
    server: &Server,
    run: &ResolvedRun,
    period: &Period,
) -> Result<Vec<Part>, CliError> {
    let arms = arms_of(run).ok_or_else(|| CliError::Refused {
        message: "the arms are not named".to_owned(),
        hint: None,
    })?;
    let mut parts: Vec<Part> = Vec::new();
    for metric in &run.metrics {
        let Judge::Comparison(compared) = &metric.judge else { continue };
        for selector in selectors(compared) {
            let text = selector.with(&[arms.stable_only()]);
            console.say(&format!("reading {text}"))?;
            let series = server
                .samples(&text, period.from - HISTORY, period.until)
                .await
                .map_err(|error| unanswered(&metric.name, &error))?;
            let has_classic =
                parts.iter().any(|it| it.metric == metric.name && !it.series.is_empty());
            let of_one = |one: Series| {
                if one.histograms.is_empty() {
                    let points =
                        one.numbers.iter().map(|(at, value)| (*at, Some(*value))).collect();
                    let name = selector.name().to_owned();
                    return vec![RecordedSeries { name, labels: one.labels, points }];
                }
                // Where both are there the classic one is counted, as in a release.
                if has_classic {
                    return Vec::new();
                }
                RecordedSeries::of_native(selector.name(), &one.labels, &one.histograms)
            };
            let series = series.into_iter().flat_map(of_one).collect();
            parts.push(Part { metric: metric.name.clone(), series });
        }
    }
    for metric in &run.metrics {
        let mut own = parts.iter().filter(|part| part.metric == metric.name);
        if own.all(|part| part.series.is_empty()) {
            return Err(CliError::refused(
                format!("{}: its selectors find no series of stable in that time", metric.name),
                "check --stable (the name of a ReplicaSet, or the value of the label), the arguments, and \
                 that --range is in the time of that ReplicaSet",
            ));
        }
    }
    let all: usize = parts.iter().map(|part| part.series.len()).sum();
    if all > MAX_SERIES {
        return Err(CliError::refused(
            format!("these are {all} series, and at most {MAX_SERIES} are replayed"),
            "narrow the selectors, for example by app or route",
        ));
    }
    Ok(parts)
}

fn unanswered(metric: &str, error: &MeasureError) -> CliError {
    let message = format!("{metric}: {error}");
    match error {
        MeasureError::Unreachable { .. } | MeasureError::TimedOut { .. } => {
            CliError::usage(message, "check --prometheus, and that it can be reached from here")
        }
        _ => CliError::Refused { message, hint: None },
    }
}

/// The pods that can play the canary: those that served most, at most `most`.
fn pods(parts: &[Part], run: &ResolvedRun, most: usize) -> Result<BTreeSet<String>, CliError> {
    let label = pod_label(run);
    let mut samples: BTreeMap<&String, usize> = BTreeMap::new();
    for series in parts.iter().flat_map(|part| &part.series) {
        if let Some(pod) = series.labels.get(&label).filter(|pod| !pod.is_empty()) {
            *samples.entry(pod).or_default() += series.points.len();
        }
    }
    if samples.len() < 2 {
        let found = samples.len();
        return Err(CliError::refused(
            format!(
                "{found} pods of stable were found by the label {label}, and two are needed: one plays \
                 the canary"
            ),
            "check --stable, and that arms.podLabel names the label with the pods of the application",
        ));
    }
    let mut all: Vec<(&String, usize)> = samples.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    Ok(all.into_iter().take(most.max(1)).map(|(pod, _)| pod.clone()).collect())
}

/// A release that was none.
struct Trial {
    start: DateTime<Utc>,
    pod: String,
    verdict: Seen,
    failed_by: Option<String>,
    message: String,
}

async fn trials(
    console: &mut Console<'_>,
    run: &ResolvedRun,
    parts: &[Part],
    pods: &BTreeSet<String>,
    period: &Period,
) -> Result<Vec<Trial>, CliError> {
    let starts = period.starts();
    if starts.len() * pods.len() > MAX_TRIALS {
        return Err(CliError::refused(
            format!(
                "these are {} releases, and at most {MAX_TRIALS} are played",
                starts.len() * pods.len()
            ),
            "choose a shorter --range, a longer --length or fewer --pods",
        ));
    }
    console.say(&format!(
        "playing {} releases of {} with each of {} pods",
        starts.len(),
        span_of_time(period.length),
        pods.len()
    ))?;
    let mut trials = Vec::new();
    for start in starts {
        for pod in pods {
            if let Some(trial) = played(run, parts, pod, start, period.length).await? {
                trials.push(trial);
            }
        }
    }
    if trials.is_empty() {
        return Err(CliError::refused(
            "in no part of the time two pods of stable were there",
            "choose another --range or --until",
        ));
    }
    Ok(trials)
}

/// Plays one release; none where the pod, or all others, were not there.
async fn played(
    run: &ResolvedRun,
    parts: &[Part],
    pod: &str,
    start: DateTime<Utc>,
    length: TimeDelta,
) -> Result<Option<Trial>, CliError> {
    let label = pod_label(run);
    let (from, until) = ((start - HISTORY).timestamp_millis(), (start + length).timestamp_millis());
    let begin = start.timestamp_millis();
    let mut has = [false, false];
    let mut series = Vec::new();
    for one in parts.iter().flat_map(|part| &part.series) {
        let is_canary = one.labels.get(&label).is_some_and(|own| own == pod);
        let first = one.points.partition_point(|(at, _)| *at < from);
        let last = one.points.partition_point(|(at, _)| *at <= until);
        let points = one.points.get(first..last).unwrap_or_default();
        let [canary, stable] = &mut has;
        let is_there = points.iter().any(|(at, _)| *at > begin);
        *(if is_canary { canary } else { stable }) |= is_there;
        let mut labels = one.labels.clone();
        labels.insert(ARM.to_owned(), (if is_canary { "canary" } else { "stable" }).to_owned());
        series.push(RecordedSeries { name: one.name.clone(), labels, points: points.to_vec() });
    }
    if has != [true, true] {
        return Ok(None);
    }
    let mut run = run.clone();
    if let Some(settings) = &mut run.comparison {
        settings.arms = Some(ResolvedArms {
            by: ArmsBy::Label,
            label: ARM.to_owned(),
            pod_label: label,
            canary: "canary".to_owned(),
            stable: "stable".to_owned(),
        });
    }
    let refused = |message: String| CliError::Refused { message, hint: None };
    let server = Server::recorded(&series).map_err(|error| refused(error.to_string()))?;
    let mut replay = Replay::new(&run, &server);
    replay.until(start, start + length).await;
    if let Some(broken) = &replay.broken {
        return Err(refused(broken.clone()));
    }
    let failed = replay.failed();
    Ok(Some(Trial {
        start,
        pod: pod.to_owned(),
        verdict: replay.seen(),
        failed_by: failed.map(|result| result.name.clone()),
        message: failed.map_or_else(String::new, |result| result.message.clone()),
    }))
}

/// The limit of a metric, and its name.
fn limit_of(metric: &ComparedMetric) -> Option<(&'static str, f64)> {
    match &metric.subject {
        Subject::Rate { limits, .. } | Subject::Count { limits, .. } => {
            Some(("maxRatio", limits.max_ratio))
        }
        Subject::Latency { limits, .. } => Some(("maxOdds", limits.max_odds)),
        Subject::Gauge { limits, .. } => Some(("maxRatio", limits.max_ratio)),
        Subject::Slo { .. } => None,
    }
}

/// The smallest limit of those that are tried with which none of these would have failed by it.
async fn proposed(
    run: &ResolvedRun,
    metric: usize,
    parts: &[Part],
    failed: &[&Trial],
    period: &Period,
) -> Result<Option<f64>, CliError> {
    let name = run.metrics.get(metric).map(|metric| metric.name.clone());
    let mut left: Vec<&Trial> = failed.to_vec();
    for limit in LIMITS {
        let mut wider = run.clone();
        let Some(Judge::Comparison(compared)) =
            wider.metrics.get_mut(metric).map(|metric| &mut metric.judge)
        else {
            return Ok(None);
        };
        match &mut compared.subject {
            Subject::Rate { limits, .. } | Subject::Count { limits, .. } => {
                if limit <= limits.max_ratio {
                    continue;
                }
                limits.max_ratio = limit;
                limits.margin = limits.margin.max(limit * 1.5);
            }
            Subject::Latency { limits, .. } => {
                if limit <= limits.max_odds {
                    continue;
                }
                limits.max_odds = limit;
                limits.margin = limits.margin.max(limit * 1.5);
            }
            Subject::Gauge { limits, .. } => {
                if limit <= limits.max_ratio {
                    continue;
                }
                limits.max_ratio = limit;
                limits.margin = limits.margin.max(limit * 1.5);
            }
            Subject::Slo { .. } => return Ok(None),
        }
        let mut still = Vec::new();
        for trial in left {
            let again = played(&wider, parts, &trial.pod, trial.start, period.length).await?;
            if again.is_some_and(|again| again.failed_by == name) {
                still.push(trial);
            }
        }
        if still.is_empty() {
            return Ok(Some(limit));
        }
        left = still;
    }
    Ok(None)
}
