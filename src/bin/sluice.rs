//! The controller and its tools. Only parses the command line and calls the library.

#[cfg(feature = "mutants")]
compile_error!("nothing ships with bugs that can be planted");

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use sluice::api::ApiNames;

/// The controller makes and drops JSON all day.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Progressive delivery for Kubernetes.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the controller.
    Controller(Box<sluice::controller::settings::Settings>),
    /// Shows a good and a bad release on a cluster in memory; nothing but git is needed. Exit code 0
    /// says that all of it was seen, 1 that something was not.
    Demo(sluice::demo::Options),
    /// Writes the files that are made from the types: CRDs and roles.
    Generate {
        /// Root of the repository.
        #[arg(long, default_value = ".")]
        root: PathBuf,
    },
    /// Works on Git repositories without a cluster.
    #[command(subcommand)]
    Git(sluice::restore::Command),
    /// Proves the statistics of the judge.
    #[command(subcommand)]
    Judge(sluice::evaluation::Command),
    /// Prints the CRDs of an API group.
    Crds {
        /// `sluice.dev`, or `argoproj.io` for a controller that serves Argo Rollouts' objects.
        #[arg(long, default_value = "sluice.dev")]
        api_group: String,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    // One TLS provider for the whole process; it is installed once, here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Arguments::parse().command {
        Command::Controller(settings) => {
            let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
            runtime.block_on(sluice::controller::run::run(*settings))?;
        }
        Command::Demo(options) => return demo(&options),
        Command::Generate { root } => {
            for file in sluice::generate::files()? {
                let path = root.join(&file.path);
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)
                        .with_context(|| format!("failed to make {}", folder.display()))?;
                }
                std::fs::write(&path, &file.content)
                    .with_context(|| format!("failed to write {}", path.display()))?;
            }
        }
        Command::Judge(command) => {
            let is_proven = command.run(&mut io::stdout().lock())?;
            return Ok(if is_proven { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Git(command) => {
            let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
            let mut out = io::stdout().lock();
            let run = command.run(&mut out, chrono::Utc::now());
            return Ok(ExitCode::from(runtime.block_on(run)?));
        }
        Command::Crds { api_group } => {
            let crds = sluice::generate::crds(ApiNames::for_group(&api_group)?)?;
            io::stdout().write_all(crds.as_bytes()).context("failed to write the CRDs")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn demo(options: &sluice::demo::Options) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let forbids_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_live = out.is_terminal() && !is_dumb;
    let mut screen = sluice::demo::Screen::new(&mut out, is_live, is_live && !forbids_color);
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let is_all_seen = runtime.block_on(sluice::demo::run(options, &mut screen))?;
    Ok(if is_all_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
