//! The real controller in the cluster in memory, under seeded faults, judged by an oracle.
//!
//! One seed is one history, bit for bit: in any process, alone or among others. ARCHITECTURE.md says
//! what each module is for and never does.

mod batch;
mod case;
mod explain;
mod faults;
mod generate;
mod isolate;
mod manifests;
#[cfg(feature = "mutants")]
mod mutants;
mod oracle;
mod repository;
mod run;
mod shim;
mod shrink;
mod states;
mod sweep;
mod themes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use batch::Sum;
use case::Case;
use clap::{Parser, Subcommand};
use run::Report;

#[derive(Debug, Parser)]
#[command(name = "sluice-sim", about = "Simulates the controller under seeded faults")]
struct CommandLine {
    /// Runs at once; the default is one for each core.
    #[arg(long, global = true)]
    jobs: Option<usize>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the case of one seed. The last line is `trace` with the hash of all that happened.
    One {
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
    /// Runs seed after seed. The last line says how much that was, and how many violations; exits
    /// with 1 if there is any.
    Soak {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from_seed: u64,
        /// For so long, in seconds of real time.
        #[arg(long)]
        seconds: Option<u64>,
        /// At most so many seeds.
        #[arg(long)]
        count: Option<u64>,
        /// Fails when one of the named states was not reached.
        #[arg(long)]
        require_states: bool,
    },
    /// Runs each seed twice, among others and in a program of its own, and compares the traces.
    Same {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from_seed: u64,
        /// How many.
        #[arg(long, default_value_t = 50)]
        count: u64,
    },
    /// Runs five plain releases with every single fault at every single write.
    Sweep {
        /// Takes every so-many-th case only.
        #[arg(long, default_value_t = 1)]
        every: usize,
        /// Takes only cases whose name contains these words, such as `blueGreen diesAfter`.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Makes the case of a seed or file as small as it can be while it breaks the same rule, and
    /// prints it.
    Shrink {
        /// The seed.
        #[arg(long)]
        seed: Option<u64>,
        /// The file.
        file: Option<PathBuf>,
    },
    /// Runs the cases of files; exits with 1 if one breaks a rule.
    Replay {
        /// The files; of a folder, all in it.
        files: Vec<PathBuf>,
    },
    /// Plants one bug after the other and looks for it: in the plain releases, the sweep, and seeds.
    /// Exits with 1 if one is not found. Only there with `--features mutants`.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Takes every so-many-th case of the sweep only.
        #[arg(long, default_value_t = 5)]
        every: usize,
        /// Takes only cases of the sweep whose name contains these words, such as `diesAfter`.
        #[arg(long, default_value = "")]
        only: String,
        /// At most so many seeds.
        #[arg(long, default_value_t = 500)]
        seeds: u64,
        /// Only these.
        names: Vec<String>,
    },
    /// Prints a case with everything that happened.
    Explain {
        /// The seed.
        #[arg(long)]
        seed: Option<u64>,
        /// The file.
        file: Option<PathBuf>,
        /// Prints the controller's log as well, such as `sluice=debug`.
        #[arg(long)]
        log: Option<String>,
    },
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = line.jobs.unwrap_or_else(cores);
    let done = match line.verb {
        Verb::One { seed } => one(&generate::case(seed)),
        Verb::Soak { from_seed, seconds, count, require_states } => {
            soak(jobs, from_seed, seconds, count, require_states)
        }
        Verb::Same { from_seed, count } => same(jobs, from_seed, count),
        Verb::Sweep { every, only } => sweep_all(jobs, every, &only),
        #[cfg(feature = "mutants")]
        Verb::Mutants { every, only, seeds, names } => {
            mutants::hunt(jobs, (every, &only), seeds, &names)
        }
        Verb::Shrink { seed, file } => case_of(seed, file).and_then(|case| shrink_one(&case)),
        Verb::Replay { files } => replay(jobs, &files),
        Verb::Explain { seed, file, log } => {
            if let Some(filter) = log {
                tracing_subscriber::fmt().with_env_filter(filter).without_time().init();
            }
            case_of(seed, file).and_then(|case| explain(&case))
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sluice-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn case_of(seed: Option<u64>, file: Option<PathBuf>) -> anyhow::Result<Case> {
    match (seed, file) {
        (Some(seed), None) => Ok(generate::case(seed)),
        (None, Some(path)) => read_case(&path),
        _ => bail!("name either --seed or a file"),
    }
}

fn read_case(path: &PathBuf) -> anyhow::Result<Case> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("failed to read {}", path.display()))?;
    Case::read(&text).with_context(|| format!("failed to read the case in {}", path.display()))
}

fn print_violations(case: &Case, report: &Report) {
    for one in &report.violations {
        let about =
            if case.about.is_empty() { String::new() } else { format!(" ({})", case.about) };
        println!(
            "seed {}{about}: {} at {} ms, v{}: {}",
            case.seed, one.rule, one.at_ms, one.version, one.what
        );
    }
}

fn print_report(case: &Case, report: &Report) {
    for line in &report.timeline {
        println!("{line}");
    }
    print_violations(case, report);
    println!(
        "rollouts {}, faults {}, deaths {}, requests {}, writes {}, events {}, {} s, {:?}",
        report.rollouts,
        report.faults,
        report.deaths,
        report.requests,
        report.writes,
        report.events,
        report.virtual_ms / 1000,
        report.end
    );
    println!("trace {}", report.trace);
}

fn one(case: &Case) -> anyhow::Result<bool> {
    let report = batch::alone(case, false)?;
    print_report(case, &report);
    Ok(report.violations.is_empty())
}

fn explain(case: &Case) -> anyhow::Result<bool> {
    print!("{}", case.text());
    let report = batch::alone(case, true)?;
    print_report(case, &report);
    Ok(report.violations.is_empty())
}

fn soak(
    jobs: usize,
    from_seed: u64,
    seconds: Option<u64>,
    count: Option<u64>,
    require_states: bool,
) -> anyhow::Result<bool> {
    if seconds.is_none() && count.is_none() {
        bail!("say how long: --seconds or --count");
    }
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut sum = Sum::default();
    let mut seed = from_seed;
    let next = || {
        let is_over = until.is_some_and(|until| Instant::now() >= until)
            || count.is_some_and(|count| seed - from_seed >= count);
        (!is_over).then(|| {
            seed += 1;
            generate::case(seed - 1)
        })
    };
    batch::all(jobs, next, |case, report| {
        sum.add(report);
        print_violations(case, report);
        if !report.violations.is_empty() {
            println!("  cargo run --release -p sluice-sim -- shrink --seed {}", case.seed);
        }
    })?;
    let missing = states::missing(&sum.reached);
    for (state, runs) in &sum.reached {
        println!("{runs:>6} {state}");
    }
    for state in &missing {
        println!("     0 {state}");
    }
    println!("{} of {} states reached", states::ALL.len() - missing.len(), states::ALL.len());
    println!(
        "at most {} requests in a second, and {} writes to one object in a minute",
        sum.busiest.0, sum.busiest.1
    );
    println!("{}", sum.line());
    Ok(sum.violations == 0 && (missing.is_empty() || !require_states))
}

fn same(jobs: usize, from_seed: u64, count: u64) -> anyhow::Result<bool> {
    let mut seeds = from_seed..from_seed.saturating_add(count);
    let program = std::env::current_exe().context("failed to find this program")?;
    let mut traces = Vec::new();
    batch::all(
        jobs,
        || seeds.next().map(generate::case),
        |case, report| {
            traces.push((case.seed, report.trace.clone()));
        },
    )?;
    let mut differing = 0;
    for (seed, trace) in &traces {
        let mut command = std::process::Command::new(&program);
        let output = command.args(["one", "--seed", &seed.to_string()]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let other = text.lines().last().and_then(|line| line.strip_prefix("trace "));
        if other != Some(trace) || trace.is_empty() {
            println!("seed {seed}: {trace} among others, {other:?} alone");
            differing += 1;
        }
    }
    println!("seeds {}, differing {differing}", traces.len());
    Ok(differing == 0 && !traces.is_empty())
}

fn run_all(
    jobs: usize,
    mut cases: impl Iterator<Item = Case>,
    sum: &mut Sum,
) -> anyhow::Result<()> {
    batch::all(
        jobs,
        || cases.next(),
        |case, report| {
            sum.add(report);
            print_violations(case, report);
        },
    )
}

fn sweep_all(jobs: usize, every: usize, only: &str) -> anyhow::Result<bool> {
    let mut sum = Sum::default();
    for plain in sweep::canonical() {
        let cases = sweep::around(&plain, every, only)?;
        println!("{}: {} cases", plain.about, cases.len());
        run_all(jobs, cases.into_iter(), &mut sum)?;
    }
    println!("{}", sum.line());
    Ok(sum.violations == 0)
}

fn shrink_one(case: &Case) -> anyhow::Result<bool> {
    let report = batch::alone(case, false)?;
    let Some(first) = report.violations.first() else {
        bail!("the case breaks no rule");
    };
    let (small, runs) = shrink::shrink(case, &first.rule)?;
    eprintln!(
        "{}: {} of {} faults and {} of {} steps are left, after {runs} runs",
        first.rule,
        small.faults.len(),
        case.faults.len(),
        small.steps.len(),
        case.steps.len()
    );
    print!("{}", Case { about: format!("{}: {}", first.rule, first.what), ..small }.text());
    Ok(true)
}

fn replay(jobs: usize, files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut cases = Vec::new();
    for path in files {
        if path.is_dir() {
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(path)? {
                inside.push(entry?.path());
            }
            inside.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
            inside.sort();
            for path in &inside {
                cases.push(read_case(path)?);
            }
        } else {
            cases.push(read_case(path)?);
        }
    }
    if cases.is_empty() {
        bail!("there is no case to replay");
    }
    let mut sum = Sum::default();
    run_all(jobs, cases.into_iter(), &mut sum)?;
    println!("{}", sum.line());
    Ok(sum.violations == 0)
}
