//! `analysis run`: a template over two versions that are running now, without a Rollout, with a plot that
//! follows it. It decides nothing and touches nothing.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::args::RunArgs;
use super::picture::svg;
use super::replay::Replay;
use super::report::{Seen, Sight};
use super::server::Server;
use super::target::{ArmNames, Target, check_measurable};
use super::{arguments, plot, written};
use crate::api::values::IntOrString;
use crate::cli::args::ClusterFlags;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Console;
use crate::cli::text::{Line, Span, Tone, span_of_time};

/// The stable shape of `analysis run -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunReport {
    template: String,
    /// What was said at the end.
    verdict: Seen,
    /// The sentence about it.
    message: String,
    started_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    /// Where it stood after each measurement.
    sights: Vec<Sight>,
}

/// Runs the command.
pub(super) async fn run(
    console: &mut Console<'_>,
    args: &RunArgs,
    flags: &ClusterFlags,
) -> Result<Exit, CliError> {
    let target = Target::read(console, &args.template, flags, "run")?;
    let length = IntOrString::Text(args.length.clone()).as_duration().ok();
    let length = length.filter(|it| *it > TimeDelta::zero()).ok_or_else(|| {
        CliError::usage(
            format!("--for {:?} is no time", args.length),
            "write for example 10m or 1h",
        )
    })?;
    let arms = ArmNames { canary: args.canary.clone(), stable: args.stable.clone() };
    let run = target.run(&arms, &arguments(&args.template.args)?, length)?;
    check_measurable(&run)?;
    let server = Server::prometheus(&args.prometheus)?;
    let mut replay = Replay::new(&run, &server);
    let start = (console.now)();
    follow(console, &mut replay, start, length).await?;
    let verdict = replay.seen();
    let (message, _) = replay.told(verdict);
    let plots = replay.plots();
    if let Some(path) = &args.svg {
        written(path, &svg(&target.key.name, &[(target.key.name.clone(), plots.clone())]))?;
    }
    let report = RunReport {
        template: target.key.name.clone(),
        verdict,
        message,
        started_at: start,
        finished_at: replay.sights.last().map_or(start, |sight| sight.at),
        sights: replay.sights,
    };
    let mut lines: Vec<Line> = Vec::new();
    if !console.terminal.is_interactive {
        // In a terminal they stand there already.
        lines.extend(plots.iter().flat_map(plot::of).map(Line::text));
    }
    let tone = match verdict {
        Seen::Pass => Tone::Good,
        Seen::Fail | Seen::Error => Tone::Bad,
        Seen::Undecided | Seen::NoData | Seen::Inconclusive => Tone::Waiting,
    };
    lines.push(Line(vec![Span::state(tone, verdict.as_str())]));
    if !report.message.is_empty() {
        lines.push(Line::text(report.message.clone()));
    }
    console.data(&report, &lines)?;
    Ok(match verdict {
        Seen::Pass => Exit::Done,
        Seen::Fail | Seen::Error => Exit::Failed,
        Seen::Undecided | Seen::NoData | Seen::Inconclusive => Exit::NeedsPerson,
    })
}

/// Looks until the run has failed, or its time is over.
async fn follow(
    console: &mut Console<'_>,
    replay: &mut Replay<'_>,
    start: DateTime<Utc>,
    length: TimeDelta,
) -> Result<(), CliError> {
    let begun = Instant::now();
    let mut drawn = 0;
    loop {
        let gone = TimeDelta::from_std(begun.elapsed()).unwrap_or(length);
        let looks = replay.sights.len();
        let next = replay.pass(start + gone).await;
        if replay.sights.len() > looks {
            drawn = tell(console, replay, gone, drawn)?;
        }
        let Some(next) = next.filter(|_| !replay.is_over()) else { return Ok(()) };
        if gone >= length || replay.broken.is_some() {
            return Ok(());
        }
        let wake = (next - start).min(length).max(gone + TimeDelta::milliseconds(100));
        tokio::time::sleep_until(begun + wake.to_std().unwrap_or_default()).await;
    }
}

/// Tells where the run stands: as plots that take the place of the ones before in a terminal, else a line
/// a look. How many lines were drawn.
fn tell(
    console: &mut Console<'_>,
    replay: &Replay<'_>,
    gone: TimeDelta,
    drawn: usize,
) -> Result<usize, CliError> {
    let line = format!("{} {}", span_of_time(gone), replay.seen().as_str());
    if !console.terminal.is_interactive || console.format.is_some() {
        let missing = replay.missing();
        let text = missing.map_or_else(|| line.clone(), |missing| format!("{line}: {missing}"));
        console.say(&text)?;
        return Ok(0);
    }
    let mut lines: Vec<String> = replay.plots().iter().flat_map(plot::of).collect();
    lines.push(line);
    if drawn > 0 {
        // The cursor to the first line of the plots before, and all below away (ECMA-48).
        write!(console.out, "\x1b[{drawn}A\x1b[J")?;
    }
    console.lines(&lines.iter().map(Line::text).collect::<Vec<_>>())?;
    console.out.flush()?;
    Ok(lines.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Terminal;
    use crate::sim::recorded::RecordedSeries;

    /// Counters of a pod that grow by so much each five seconds.
    fn series(name: &str, pod: &str, start: DateTime<Utc>, each: f64) -> RecordedSeries {
        let first = start.timestamp_millis() - 60_000;
        let points =
            (0..200_i32).map(|step| (first + i64::from(step) * 5_000, f64::from(step) * each));
        RecordedSeries {
            name: name.to_owned(),
            labels: [("pod".to_owned(), pod.to_owned())].into(),
            points: points.map(|(at, value)| (at, Some(value))).collect(),
        }
    }

    /// Follows a canary with that many bad requests in five seconds; what was printed, and the verdict.
    async fn followed(bad: f64, is_interactive: bool) -> (String, Seen) {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let all = [
            series("all_total", "web-new-a", start, 100.0),
            series("bad_total", "web-new-a", start, bad),
            series("all_total", "web-old-b", start, 1000.0),
            series("bad_total", "web-old-b", start, 10.0),
        ];
        let spec = serde_json::json!({
            "metrics": [{"name": "errors", "type": "rate", "total": "all_total", "bad": "bad_total",
                         "dispersion": "independent"}],
            "comparison": {"interval": "5s", "lag": "5s", "warmup": 0,
                           "arms": {"canary": "web-new", "stable": "web-old"}},
        });
        let spec = serde_json::from_value(spec).unwrap();
        let run = crate::analysis::ResolvedRun::resolve(&spec).unwrap();
        let server = Server::recorded(&all).ok().unwrap();
        let mut replay = Replay::new(&run, &server);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console {
            out: &mut out,
            err: &mut err,
            stdin: &mut std::io::empty(),
            terminal: Terminal { is_interactive, has_color: false },
            now: &Utc::now,
            format: None,
        };
        follow(&mut console, &mut replay, start, TimeDelta::minutes(10)).await.unwrap();
        let verdict = replay.seen();
        out.extend(err);
        (String::from_utf8(out).unwrap(), verdict)
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_version_ends_it_and_a_good_one_is_followed_to_the_end() {
        let begun = Instant::now();
        let (told, verdict) = followed(20.0, false).await;
        assert_eq!(verdict, Seen::Fail);
        assert!(told.ends_with(" FAIL\n") && begun.elapsed().as_secs() < 60, "{told}");
        let begun = Instant::now();
        let (told, verdict) = followed(1.0, false).await;
        assert_eq!((verdict, begun.elapsed().as_secs()), (Seen::Pass, 600));
        assert!(told.contains("5s UNDECIDED\n") && told.ends_with("10m PASS\n"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_terminal_each_plot_takes_the_place_of_the_one_before() {
        let (told, _) = followed(1.0, true).await;
        let plots = told.matches("errors: evidence").count();
        assert!(plots >= 2, "{told}");
        assert_eq!(told.matches("\u{1b}[J").count(), plots - 1, "{told}");
    }
}
