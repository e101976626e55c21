//! `analysis plan`: what a template can find at each step of an update with the traffic that is there, and
//! how long it takes.

use chrono::TimeDelta;
use serde::Serialize;

use super::args::PlanArgs;
use super::arguments;
use super::target::{ArmNames, Target};
use crate::analysis::comparing::Subject;
use crate::analysis::comparing::foresight::{Foresight, Stage, Traffic};
use crate::analysis::resolved::{Judge, ResolvedRun};
use crate::api::values::IntOrString;
use crate::cli::args::ClusterFlags;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Console;
use crate::cli::text::{Line, Span, Tone, span_of_time, table};
use crate::plan::validate::Step;

/// Releases for which it is told when they would be decided on.
const RATIOS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];
/// Steps where nobody names any.
const USUAL_STEPS: &str = "5:10m,25:10m,50:10m";
/// Names for arms that nobody has to know yet.
const ANY: [&str; 2] = ["canary-0", "stable-0"];

/// The stable shape of `analysis plan -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanReport {
    template: String,
    /// Requests per second of both versions.
    requests_per_second: f64,
    /// Share of bad requests of stable.
    bad_share: f64,
    /// How far evidence is discounted for bursts.
    dispersion: f64,
    metrics: Vec<MetricPlan>,
    /// Metrics about which nothing is foreseen, and why.
    left_out: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricPlan {
    name: String,
    /// `badRequests` or `oddsOfASlowRequest`: what the ratios are about.
    ratio_of: &'static str,
    steps: Vec<StepPlan>,
    /// Releases that are so many times as bad from their start on.
    releases: Vec<ReleasePlan>,
    /// Seconds after which a release like stable has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    passes_after_seconds: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepPlan {
    weight_percent: f64,
    seconds: i64,
    canary_requests: f64,
    /// What begins with this step and is at least so many times as bad is found by its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    finds_ratio: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleasePlan {
    ratio: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fails_after_seconds: Option<i64>,
}

/// Runs the command.
pub(super) fn run(
    console: &mut Console<'_>,
    args: &PlanArgs,
    flags: &ClusterFlags,
) -> Result<Exit, CliError> {
    let target = Target::read(console, &args.template, flags, "plan")?;
    let stages = match (&args.steps, target.stepwise.as_slice()) {
        (Some(steps), _) => stages(steps)?,
        (None, []) => stages(USUAL_STEPS)?,
        (None, [(rollout, steps)]) => {
            let waits = pause(&args.pause)?;
            if steps.contains(&Step::Pause(None)) {
                let span = span_of_time(waits);
                let told =
                    format!("{rollout}: a pause that waits for a person is taken to last {span}");
                console.say(&told)?;
            }
            of_rollout(rollout, steps, waits)?
        }
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
            return Err(CliError::usage(
                format!("the files declare {} Rollouts: {}", several.len(), names.join(", ")),
                "name the file of one of them, or give --steps",
            ));
        }
    };
    let traffic = traffic(args)?;
    let length = stages.iter().fold(TimeDelta::zero(), |sum, stage| sum + stage.length);
    let [canary, stable] = ANY.map(|name| Some(name.to_owned()));
    let arms = ArmNames { canary, stable };
    let run = target.run(&arms, &arguments(&args.template.args)?, length)?;
    let report = foreseen(&target.key.name, &run, &stages, traffic)?;
    console.data(&report, &lines(&report))?;
    for left_out in &report.left_out {
        console.say(left_out)?;
    }
    Ok(Exit::Done)
}

fn traffic(args: &PlanArgs) -> Result<Traffic, CliError> {
    let wrong = |flag: &str, value: f64, right: &str| {
        CliError::usage(format!("{flag} {value} is not possible"), right)
    };
    if !(args.rps.is_finite() && args.rps > 0.0 && args.rps <= 1e7) {
        return Err(wrong("--rps", args.rps, "give the requests per second of both versions"));
    }
    if !(args.bad > 0.0 && args.bad < 1.0) {
        return Err(wrong("--bad", args.bad, "give the share of bad requests of stable, as 0.001"));
    }
    if !(args.dispersion >= 1.0 && args.dispersion <= 1000.0) {
        return Err(wrong(
            "--dispersion",
            args.dispersion,
            "give 1 for independent errors, or more",
        ));
    }
    Ok(Traffic { rate: args.rps, bad_share: args.bad, dispersion: args.dispersion })
}

/// The steps of a Rollout as far as they have a time and split the traffic: what is between them, such as analyses and changes of
/// size, is taken to need no time.
fn of_rollout(rollout: &str, steps: &[Step], waits: TimeDelta) -> Result<Vec<Stage>, CliError> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut weight = 0.0;
    for step in steps {
        match step {
            Step::SetWeight(split) => {
                weight = f64::from(split.canary()) / f64::from(split.total().max(1));
            }
            Step::Pause(length) if weight > 0.0 && weight < 1.0 => {
                let length = length.unwrap_or(waits);
                match stages.last_mut().filter(|last| last.weight.total_cmp(&weight).is_eq()) {
                    Some(last) => last.length += length,
                    None => stages.push(Stage { weight, length }),
                }
            }
            Step::Pause(_) | Step::SetCanaryScale(_) | Step::Analysis(_) => {}
        }
    }
    if stages.is_empty() {
        return Err(CliError::refused(
            format!("the steps of {rollout} have no pause at a weight between 0 and 100 percent"),
            "give --steps, as 5:10m,25:10m,50:10m",
        ));
    }
    Ok(stages)
}

fn pause(text: &str) -> Result<TimeDelta, CliError> {
    let length = IntOrString::Text(text.to_owned()).as_duration().ok();
    length.filter(|it| *it > TimeDelta::zero() && *it <= TimeDelta::days(7)).ok_or_else(|| {
        CliError::usage(format!("--pause {text:?} is no length of a pause"), "write it as 10m")
    })
}

/// `WEIGHT:DURATION` of each step.
fn stages(text: &str) -> Result<Vec<Stage>, CliError> {
    let one = |step: &str| {
        let wrong = || {
            CliError::usage(
                format!("--steps {step:?} is no step"),
                "write WEIGHT:DURATION of each, as 5:10m,25:10m,50:10m; weights are above 0 and below \
                 100",
            )
        };
        let (weight, length) = step.trim().split_once(':').ok_or_else(wrong)?;
        let weight: f64 = weight.trim_end_matches('%').parse().map_err(|_| wrong())?;
        let length = IntOrString::Text(length.to_owned()).as_duration().map_err(|_| wrong())?;
        let is_possible = weight > 0.0 && weight < 100.0 && length > TimeDelta::zero();
        let stage = Stage { weight: weight / 100.0, length };
        if is_possible && length <= TimeDelta::days(7) { Ok(stage) } else { Err(wrong()) }
    };
    text.split(',').map(one).collect()
}

fn foreseen(
    template: &str,
    run: &ResolvedRun,
    stages: &[Stage],
    traffic: Traffic,
) -> Result<PlanReport, CliError> {
    let mut report = PlanReport {
        template: template.to_owned(),
        requests_per_second: traffic.rate,
        bad_share: traffic.bad_share,
        dispersion: traffic.dispersion,
        metrics: Vec::new(),
        left_out: Vec::new(),
    };
    let weights = run.metrics.iter().filter_map(|metric| match &metric.judge {
        Judge::Comparison(compared) if !metric.is_dry_run => compared.weight,
        _ => None,
    });
    let sum: f64 = weights.sum();
    for metric in &run.metrics {
        let (Judge::Comparison(compared), Some(settings)) = (&metric.judge, &run.comparison) else {
            report.left_out.push(format!(
                "{}: has limits for single values, which traffic does not change",
                metric.name
            ));
            continue;
        };
        let Some(weight) = compared.weight.filter(|_| !metric.is_dry_run) else {
            report.left_out.push(format!("{}: only informs", metric.name));
            continue;
        };
        let share = weight / sum;
        let foresight = Foresight { metric: compared, settings, share, stages, traffic };
        if !foresight.is_about_requests() {
            let why = match compared.subject {
                Subject::Gauge { .. } => "is a gauge",
                _ => "counts events by the time of pods",
            };
            report.left_out.push(format!("{}: {why}, which traffic does not change", metric.name));
            continue;
        }
        report.metrics.push(of_metric(&metric.name, &foresight));
    }
    if report.metrics.is_empty() {
        return Err(CliError::refused(
            format!("nothing can be foreseen about {template}: {}", report.left_out.join("; ")),
            "plan is about metrics that compare requests: docs/comparison.md",
        ));
    }
    Ok(report)
}

fn of_metric(name: &str, foresight: &Foresight<'_>) -> MetricPlan {
    let steps = foresight.stages.iter().enumerate().map(|(idx, stage)| StepPlan {
        weight_percent: stage.weight * 100.0,
        seconds: stage.length.num_seconds(),
        canary_requests: foresight.traffic.rate * stage.weight * stage.length.as_seconds_f64(),
        finds_ratio: foresight.least_found_in(idx),
    });
    let from_start = |ratio: f64| foresight.release(ratio, TimeDelta::zero());
    let releases = RATIOS.map(|ratio| ReleasePlan {
        ratio,
        fails_after_seconds: from_start(ratio).fails_after.map(|after| after.num_seconds()),
    });
    MetricPlan {
        name: name.to_owned(),
        ratio_of: match foresight.metric.subject {
            Subject::Latency { .. } => "oddsOfASlowRequest",
            Subject::Gauge { .. } => "gauge",
            Subject::Rate { .. } | Subject::Count { .. } | Subject::Slo { .. } => "badRequests",
        },
        steps: steps.collect(),
        releases: releases.into(),
        passes_after_seconds: from_start(1.0).passes_after.map(|after| after.num_seconds()),
    }
}

fn lines(report: &PlanReport) -> Vec<Line> {
    let mut lines = vec![Line::text(format!(
        "{} with {} requests per second, {} % of them bad with stable{}",
        report.template,
        report.requests_per_second,
        rounded(report.bad_share * 100.0),
        if report.dispersion > 1.0 {
            format!("; evidence divided by {} for bursts", rounded(report.dispersion))
        } else {
            String::new()
        }
    ))];
    for metric in &report.metrics {
        let what = if metric.ratio_of == "badRequests" {
            "times as many bad requests"
        } else {
            "times the odds of a slow request"
        };
        lines.push(Line::default());
        lines.push(Line::text(format!("{}: ratios are {what}", metric.name)));
        let head = ["STEP", "WEIGHT", "LASTS", "REQUESTS", "FINDS"];
        let mut rows = vec![head.map(|text| Span::toned(Tone::Dim, text)).to_vec()];
        for (idx, step) in metric.steps.iter().enumerate() {
            let found = match step.finds_ratio {
                Some(ratio) => format!("{} times and more", rounded(ratio)),
                None => "nothing: too few requests".to_owned(),
            };
            rows.push(vec![
                Span::plain((idx + 1).to_string()),
                Span::plain(format!("{} %", rounded(step.weight_percent))),
                Span::plain(span(step.seconds)),
                Span::plain(format!("{:.0}", step.canary_requests)),
                Span::plain(found),
            ]);
        }
        lines.extend(table(&rows));
        for release in &metric.releases {
            let when = match release.fails_after_seconds {
                Some(seconds) => format!("fails after {}", span(seconds)),
                None => "is not found in these steps".to_owned(),
            };
            lines.push(Line::text(format!("{} times, from the start: {when}", release.ratio)));
        }
        lines.push(Line::text(match metric.passes_after_seconds {
            Some(seconds) => format!("like stable: passes after {}", span(seconds)),
            None => "like stable: does not pass in these steps, and waits at their end".to_owned(),
        }));
    }
    lines
}

fn span(seconds: i64) -> String {
    span_of_time(TimeDelta::seconds(seconds))
}

/// Three significant digits at most.
fn rounded(number: f64) -> String {
    let digits: usize = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{number:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
