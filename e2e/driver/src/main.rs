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
        Command::Run { names, keep } => run(&names, keep).await,
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

async fn run(names: &[String], keep: bool) -> Result<ExitCode> {
    let selected = match select(names) {
        Ok(selected) => selected,
        Err(error) => {
            say("error", format!("{error:#}"));
            return Ok(ExitCode::from(2));
        }
    };
    let settings = Settings::from_environment()?;
    let cluster = Cluster::connect().await?;
    let mut results = Vec::new();
    for scenario in selected {
        results.push(one(scenario, &settings, &cluster, keep).await);
    }
    let all_passed = report(&results, &settings.state)?;
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn one(
    scenario: &Scenario,
    settings: &Settings,
    cluster: &Cluster,
    keep: bool,
) -> ScenarioResult {
    let from = Instant::now();
    say(scenario.name, scenario.about);
    let scene = Scene::begin(scenario.name, settings, cluster, scenario.needs_controller).await;
    let (mut outcome, figures) = match scene {
        Ok(scene) => {
            let outcome = (scenario.run)(&scene).await;
            if let Err(error) = &outcome {
                say(scenario.name, format!("FAILED: {error:#}"));
                diagnose::keep(&scene).await;
            }
            let outcome = if outcome.is_err() && keep {
                say(scenario.name, format!("namespace {} is left for a look", scene.namespace));
                outcome
            } else {
                let finished = scene.finish().await;
                outcome.and(finished)
            };
            (outcome, scene.figures())
        }
        Err(error) => (Err(error), Vec::new()),
    };
    outcome = outcome.context(scenario.name);
    ScenarioResult::new(scenario.name, from.elapsed(), figures, &outcome)
}
