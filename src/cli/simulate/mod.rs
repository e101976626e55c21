//! `simulate`: a team's own manifests in a cluster in memory, in virtual time, with the real
//! controller. What a manifest needs and the files do not hold is stood in for, and said; what is
//! not modelled is said before anything runs.

pub mod args;
mod branch;
mod images;
mod intake;
mod people;
mod picture;
mod queries;
pub mod report;
mod routes;
mod stage;
mod supply;
mod text;
mod watch;
mod words;

use std::time::Duration;

use args::{Expected, SimulateArgs};
use intake::Team;
use report::{Outcome, Report};
use stage::Script;
use supply::Wishes;
use words::{Pin, Planned, Traits, duration};

pub use intake::{Note, NoteKind};
pub(in crate::cli) use picture::escaped;
pub(crate) use watch::event_text;

use super::args::{ClusterFlags, GlobalFlags, Output};
use super::error::CliError;
use super::exit::Exit;
use super::output::{Console, Terminal};

/// Virtual time beyond the Rollout's own pauses and analyses.
const LIMIT: Duration = Duration::from_hours(2);
/// Stack of the thread that simulates: as large as that of a program's first.
const STACK: usize = 8 << 20;

/// Runs the command.
pub(super) fn run(
    console: &mut Console<'_>,
    args: &SimulateArgs,
    flags: &GlobalFlags,
) -> Result<Exit, CliError> {
    let script = read(console, args, &flags.cluster)?;
    let report = simulated(&script)?;
    match &args.output_file {
        None => print(console, &report, flags.output)?,
        Some(path) => {
            let what = format!("write {}", path.display());
            let failed = |source| CliError::Io { what: what.clone(), source };
            let mut file = std::fs::File::create(path).map_err(failed)?;
            let mut to_file = Console {
                out: &mut file,
                err: console.err,
                stdin: console.stdin,
                terminal: Terminal::default(),
                now: console.now,
                format: console.format,
            };
            print(&mut to_file, &report, flags.output)?;
        }
    }
    Ok(match args.expect {
        Some(expected) if !expected.is(report.end.outcome) => {
            console.say(&format!(
                "error: expected {}, but it came to {}",
                expected.as_str(),
                report.end.outcome.as_str()
            ))?;
            Exit::Unexpected
        }
        Some(_) | None => Exit::Done,
    })
}

fn print(
    console: &mut Console<'_>,
    report: &Report,
    output: Option<Output>,
) -> Result<(), CliError> {
    match output {
        Some(Output::Svg) => Ok(console.out.write_all(picture::svg(report).as_bytes())?),
        Some(Output::Html) => Ok(console.out.write_all(picture::html(report).as_bytes())?),
        Some(Output::Json | Output::Yaml) | None => console.data(report, &text::lines(report)),
    }
}

/// Everything that the command line says, checked.
fn read(
    console: &mut Console<'_>,
    args: &SimulateArgs,
    flags: &ClusterFlags,
) -> Result<Script, CliError> {
    let given = |flag: &str, text: &str| {
        duration(text).ok_or_else(|| {
            CliError::usage(
                format!("{flag} {text:?} is no time"),
                "write for example 30s, 5m or 2h",
            )
        })
    };
    let pins: Vec<Pin> =
        args.metric.iter().map(|text| Pin::parse(text)).collect::<Result<_, _>>()?;
    let planned: Vec<Planned> =
        args.at.iter().map(|text| Planned::parse(text)).collect::<Result<_, _>>()?;
    let scrape_interval = given("--scrape-interval", &args.scrape_interval)?;
    if scrape_interval < Duration::from_secs(1) {
        return Err(CliError::usage(
            "--scrape-interval is below 1s",
            "Prometheus scrapes every 5s to 60s",
        ));
    }
    if !(args.rps.is_finite() && (0.0..=1e6).contains(&args.rps)) {
        return Err(CliError::usage(
            format!("--rps {} is no number of requests per second", args.rps),
            "give a number from 0 to 1000000",
        ));
    }
    let wishes = Wishes {
        image: args.image.clone(),
        canary: Traits::parse("--canary", &args.canary)?,
        stable: Traits::parse("--stable", &args.stable)?,
        pins,
        scrape_interval: crate::sim::world::Span::ms(
            u64::try_from(scrape_interval.as_millis()).unwrap_or(u64::MAX),
        ),
    };
    let limit = args.limit.as_deref().map(|text| given("--for", text)).transpose()?;
    let team = Team::read(console, args, flags)?;
    let supplies = supply::gather(&team, &wishes)?;
    let limit = limit.unwrap_or_else(|| LIMIT + own_length(&team));
    if let Some(late) = planned.iter().find(|one| one.after >= limit) {
        return Err(CliError::usage(
            format!(
                "--at {}: comes after the end of the simulation ({} s)",
                late.text,
                limit.as_secs()
            ),
            "give it longer with --for",
        ));
    }
    Ok(Script {
        team,
        wishes,
        supplies,
        planned,
        rps: args.rps,
        seed: args.seed,
        limit,
        promotes_pauses: args.promote_pauses,
    })
}

/// How long the pauses and analyses of the Rollout last at least.
fn own_length(team: &Team) -> Duration {
    let canary = team.spec.strategy.canary.iter().flat_map(|canary| &canary.steps);
    let pauses = canary.filter_map(|step| {
        step.pause.as_ref()?.duration.as_ref()?.as_duration().ok()?.to_std().ok()
    });
    let analyses = team.analyses.iter().filter_map(|analysis| {
        let lengths = analysis.run.metrics.iter().filter_map(queries::lasts);
        lengths.max()?.to_std().ok()
    });
    let blue_green = team.spec.strategy.blue_green.as_ref();
    let promotion = blue_green.and_then(|blue_green| blue_green.auto_promotion_seconds);
    let promotion = promotion.map(|seconds| Duration::from_secs(seconds.into()));
    pauses.chain(analyses).chain(promotion).fold(Duration::ZERO, Duration::saturating_add)
}

/// Runs a script in a thread of its own, whose time is paused: it goes on as soon as everybody waits.
fn simulated(script: &Script) -> Result<Report, CliError> {
    let failed = |what: &str, source| CliError::Io { what: what.to_owned(), source };
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|source| failed("begin the simulation", source))?;
        runtime.block_on(stage::play(script))
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("simulation".to_owned()).stack_size(STACK);
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(|source| failed("begin the simulation", source))?;
        thread.join().unwrap_or_else(|_| {
            Err(CliError::Refused {
                message: "the simulation came to a bad end, which is a defect of Sluice".to_owned(),
                hint: None,
            })
        })
    })
}

impl Expected {
    fn is(self, outcome: Outcome) -> bool {
        match self {
            Self::Promoted => outcome == Outcome::Promoted,
            Self::Aborted => matches!(outcome, Outcome::Aborted | Outcome::Reverted),
            Self::Reverted => outcome == Outcome::Reverted,
            Self::Paused => outcome == Outcome::Paused,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::Reverted => "reverted",
            Self::Paused => "paused",
        }
    }
}
