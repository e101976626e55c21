//! Runs the end-to-end scenarios against a real cluster. `e2e/run` starts it; by hand it needs the variables that
//! `settings` reads. Exit code: 0 all passed, 1 something failed, 2 wrong usage.

mod agent;
mod bench;
mod binomial;
mod cluster;
mod diagnose;
mod faults;
mod gitops;
mod log;
mod manifests;
mod prober;
mod prometheus;
mod recorder;
mod release;
mod report;
mod repository;
mod scenarios;
mod scene;
mod settings;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::gitops::Tool;
use crate::log::{print, say};
use crate::report::{ScenarioResult, report};
use crate::scenarios::{SCENARIOS, Scenario};
use crate::scene::Scene;
use crate::settings::Settings;

#[derive(Parser)]
#[command(about = "End-to-end scenarios of Sluice")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios, all without a name.
    Run {
        /// Names as `list` shows them.
        names: Vec<String>,
        /// Leaves the namespaces of failed scenarios for a look.
        #[arg(long)]
        keep: bool,
        /// So many of each at once, each with a namespace and users of its own: what happens by chance, seen several times.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
        copies: u32,
        /// All that are named at once, instead of one after the other.
        #[arg(long)]
        together: bool,
    },
    /// Lists the scenarios, and what each needs beside the cluster; with names, only these.
    List {
        /// Names to ask about.
        names: Vec<String>,
    },
    /// Measures what the controller costs; `e2e/bench` starts it.
    Bench(bench::BenchArguments),
    /// Keeps a `file_sd` file of the pods that want to be scraped.
    Targets {
        /// The file.
        file: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { names, keep, copies, together } => run(&names, keep, copies, together).await,
        Command::List { names } => Ok(list(&names)),
        Command::Bench(arguments) => bench::run(&arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Targets { file } => targets::run(&file).await.map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        say("error", format!("{error:#}"));
        ExitCode::FAILURE
    })
}

/// The scenarios of these names, all without any; the error lists what there is.
fn select(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            SCENARIOS.iter().find(|scenario| scenario.name == name).with_context(|| {
                let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
                format!("there is no scenario `{name}`; there are: {}", known.join(", "))
            })
        })
        .collect()
}

fn list(names: &[String]) -> ExitCode {
    let selected = match select(names) {
        Ok(selected) => selected,
        Err(error) => {
            say("error", format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    for scenario in selected {
        let controller = scenario.needs_controller.then_some("controller");
        let needs: Vec<&str> =
            controller.into_iter().chain(scenario.tool.map(Tool::name)).collect();
        let needs = if needs.is_empty() { "-".to_owned() } else { needs.join(",") };
        print(format!("{:20} {:18} {}", scenario.name, needs, scenario.about));
    }
    ExitCode::SUCCESS
}

async fn run(names: &[String], keep: bool, copies: u32, together: bool) -> Result<ExitCode> {
    let selected = match select(names).and_then(|them| side_by_side(them, copies, together)) {
        Ok(selected) => selected,
        Err(error) => {
            say("error", format!("{error:#}"));
            return Ok(ExitCode::from(2));
        }
    };
    let settings = Settings::from_environment()?;
    let cluster = Cluster::connect().await?;
    let mut results = Vec::new();
    for at_once in selected {
        let runs = at_once
            .into_iter()
            .map(|(name, scenario)| one(name, scenario, &settings, &cluster, keep));
        results.extend(futures::future::join_all(runs).await);
    }
    let all_passed = report(&results, &settings.state)?;
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Named = (String, &'static Scenario);

/// What runs at once, in this order. The error names a scenario that cannot stand beside another.
fn side_by_side(
    selected: Vec<&'static Scenario>,
    copies: u32,
    together: bool,
) -> Result<Vec<Vec<Named>>> {
    let wants_company = copies > 1 || (together && selected.len() > 1);
    if let Some(alone) =
        selected.iter().find(|scenario| wants_company && !scenario.may_have_company)
    {
        anyhow::bail!("`{}` stands alone: run it without --copies and --together", alone.name);
    }
    let of_each = |scenario: &'static Scenario| -> Vec<Named> {
        (1..=copies)
            .map(|copy| match copy {
                1 => (scenario.name.to_owned(), scenario),
                _ => (format!("{}-{copy}", scenario.name), scenario),
            })
            .collect()
    };
    let groups: Vec<Vec<Named>> = selected.into_iter().map(of_each).collect();
    Ok(if together { vec![groups.concat()] } else { groups })
}

async fn one(
    name: String,
    scenario: &Scenario,
    settings: &Settings,
    cluster: &Cluster,
    keep: bool,
) -> ScenarioResult {
    let from = Instant::now();
    say(&name, scenario.about);
    let scene = Scene::begin(&name, settings, cluster, scenario.needs_controller).await;
    let (mut outcome, figures) = match scene {
        Ok(scene) => {
            let outcome = (scenario.run)(&scene).await;
            if let Err(error) = &outcome {
                say(&name, format!("FAILED: {error:#}"));
                diagnose::keep(&scene).await;
            }
            let outcome = if outcome.is_err() && keep {
                say(&name, format!("namespace {} is left for a look", scene.namespace));
                outcome
            } else {
                let finished = scene.finish().await;
                outcome.and(finished)
            };
            (outcome, scene.figures())
        }
        Err(error) => (Err(error), Vec::new()),
    };
    outcome = outcome.with_context(|| name.clone());
    ScenarioResult::new(name, from.elapsed(), figures, &outcome)
}
