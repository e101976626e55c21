//! `analysis test`: a template against series of which somebody knows what it should say.

use serde::Serialize;

use super::args::TestArgs;
use super::picture::svg;
use super::plot::{self, Plot};
use super::replay::Replay;
use super::report::{Seen, Sight};
use super::series::{Case, Expected, read};
use super::server::Server;
use super::target::{ArmNames, Target, check_measurable};
use super::{arguments, written};
use crate::cli::args::ClusterFlags;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Console;
use crate::cli::text::{Line, Span, Tone, span_of_time};

/// The stable shape of `analysis test -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestReport {
    /// Name of the template.
    template: String,
    /// The cases, in order.
    cases: Vec<CaseReport>,
    /// Cases that came to another end than was expected.
    differing: usize,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct CaseReport {
    name: String,
    /// What was said at the end.
    verdict: Seen,
    /// Seconds from the start after which it was said for good.
    after_seconds: i64,
    /// The sentence about it.
    message: String,
    /// In what it differs from what was expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    /// Where the run stood after each measurement.
    sights: Vec<Sight>,
    #[serde(skip)]
    plots: Vec<Plot>,
}

/// Runs the command.
pub(super) async fn run(
    console: &mut Console<'_>,
    args: &TestArgs,
    flags: &ClusterFlags,
) -> Result<Exit, CliError> {
    let target = Target::read(console, &args.template, flags, "test")?;
    let given = arguments(&args.template.args)?;
    let mut cases = Vec::new();
    for path in &args.series {
        cases.extend(read(path)?);
    }
    if let Some(part) = &args.case {
        cases.retain(|case| case.name.contains(part.as_str()));
        if cases.is_empty() {
            return Err(CliError::usage(
                format!("no case is named like {part:?}"),
                "leave --case out to run all",
            ));
        }
    }
    let mut reports = Vec::new();
    for case in &mut cases {
        for (name, value) in &given {
            case.args.insert(name.clone(), value.clone());
        }
        reports.push(tried(&target, case).await?);
    }
    let differing = reports.iter().filter(|case| !case.differences.is_empty()).count();
    let report = TestReport { template: target.key.name.clone(), cases: reports, differing };
    if let Some(path) = &args.svg {
        let plots = report.cases.iter().map(|case| (case.name.clone(), case.plots.clone()));
        written(path, &svg(&report.template, &plots.collect::<Vec<_>>()))?;
    }
    console.data(&report, &lines(&report, args.plot))?;
    let count = report.cases.len();
    let noun = if count == 1 { "case" } else { "cases" };
    if differing == 0 {
        console.say(&format!("{count} {noun} of {}, as expected", report.template))?;
        return Ok(Exit::Done);
    }
    console.say(&format!("{differing} of {count} {noun} of {} differ", report.template))?;
    Ok(Exit::Unexpected)
}

async fn tried(target: &Target, case: &Case) -> Result<CaseReport, CliError> {
    let named = |error: CliError| match error {
        CliError::Refused { message, hint } => {
            CliError::Refused { message: format!("case {:?}: {message}", case.name), hint }
        }
        other => other,
    };
    let arms = ArmNames { canary: case.canary.clone(), stable: case.stable.clone() };
    let run = target.run(&arms, &case.args, case.end - case.start).map_err(named)?;
    check_measurable(&run)?;
    let server = Server::recorded(&case.series)
        .map_err(|error| CliError::Refused { message: error.to_string(), hint: None })?;
    let mut replay = Replay::new(&run, &server);
    replay.until(case.start, case.end).await;
    let verdict = replay.seen();
    let said_since = replay.sights.iter().rev().take_while(|sight| sight.verdict == verdict).last();
    let since = said_since.map_or(case.end, |sight| sight.at);
    let (message, metric) = replay.told(verdict);
    let after = since - case.start;
    let mut report = CaseReport {
        name: case.name.clone(),
        verdict,
        after_seconds: after.num_seconds(),
        message,
        differences: Vec::new(),
        plots: replay.plots(),
        sights: replay.sights,
    };
    if let Some(expected) = &case.expected {
        report.differences = differences(expected, &report, metric.as_deref())?;
    }
    Ok(report)
}

fn differences(
    expected: &Expected,
    report: &CaseReport,
    metric: Option<&str>,
) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    if expected.verdict != report.verdict {
        let (wanted, got) = (expected.verdict.as_str(), report.verdict.as_str());
        all.push(format!("expected {wanted}, and it is {got}"));
    }
    if let Some(wanted) = &expected.metric
        && metric != Some(wanted.as_str())
    {
        let who = metric.map_or("no metric alone".to_owned(), |name| format!("{name:?}"));
        all.push(format!("expected it of the metric {wanted:?}, and it is said by {who}"));
    }
    if let Some(within) = &expected.within {
        let limit = within.as_duration().map_err(|problem| CliError::Refused {
            message: format!("case {:?}: within: {problem}", report.name),
            hint: None,
        })?;
        if report.after_seconds > limit.num_seconds() {
            let took = span_of_time(chrono::TimeDelta::seconds(report.after_seconds));
            all.push(format!("expected it within {within}, and it took {took}"));
        }
    }
    if let Some(wanted) = &expected.message
        && !report.message.contains(wanted.as_str())
    {
        all.push(format!("expected a message with {wanted:?}"));
    }
    Ok(all)
}

fn lines(report: &TestReport, is_plotted: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    for case in &report.cases {
        let is_good = case.differences.is_empty();
        let mark = if is_good { Tone::Good } else { Tone::Bad };
        let after = span_of_time(chrono::TimeDelta::seconds(case.after_seconds));
        lines.push(Line(vec![
            Span::state(mark, &case.name),
            Span::plain(format!(": {} after {after}", case.verdict.as_str())),
        ]));
        if !case.message.is_empty() {
            lines.push(Line(vec![Span::toned(Tone::Dim, format!("  {}", case.message))]));
        }
        for difference in &case.differences {
            lines.push(Line(vec![Span::toned(Tone::Bad, format!("  {difference}"))]));
        }
        if is_plotted {
            lines.extend(case.plots.iter().flat_map(plot::of).map(Line::text));
        }
    }
    lines
}
