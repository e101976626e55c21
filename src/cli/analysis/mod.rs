//! `analysis`: what a template would say, before it judges a release. The judge is that of the
//! controller; here it gets series that were written down or recorded, in virtual time.

pub mod args;
mod backtest;
mod picture;
mod plan;
mod plot;
mod replay;
pub mod report;
mod run;
mod series;
mod server;
mod spread;
mod target;
mod test;

use std::collections::BTreeMap;
use std::path::Path;

use args::AnalysisCommand;

use super::args::GlobalFlags;
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;

/// Runs the command.
pub(super) async fn carry_out(
    console: &mut Console<'_>,
    command: &AnalysisCommand,
    flags: &GlobalFlags,
) -> Result<Exit, CliError> {
    match command {
        AnalysisCommand::Test(args) => test::run(console, args, &flags.cluster).await,
        AnalysisCommand::Plan(args) => plan::run(console, args, &flags.cluster),
        AnalysisCommand::Backtest(args) => {
            Box::pin(backtest::run(console, args, &flags.cluster)).await
        }
        AnalysisCommand::Run(args) => Box::pin(run::run(console, args, &flags.cluster)).await,
    }
}

/// Writes a file that was asked for.
fn written(path: &Path, text: &str) -> Result<(), CliError> {
    let what = format!("write {}", path.display());
    std::fs::write(path, text).map_err(|source| CliError::Io { what, source })
}

/// `NAME=VALUE` of each `--arg`.
fn arguments(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let one = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(CliError::usage(
            format!("--arg {text:?} is no argument of a template"),
            "write --arg NAME=VALUE",
        )),
    };
    given.iter().map(one).collect()
}
