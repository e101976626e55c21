//! `kubectl sluice`: everything that the plugin does, one file a command. It shows what the
//! controller has written and passes wishes of people on; it decides nothing about a Rollout.
//!
//! Data goes to stdout, all else to stderr. Nothing here reads a clock, an environment variable or a
//! terminal by itself: they come in with the [`Console`].

mod abort;
pub mod analysis;
pub mod args;
pub mod cluster;
mod error;
mod exit;
pub mod explain;
mod get;
mod gitops;
pub mod history;
pub mod lint;
pub mod list;
mod live;
mod names;
pub mod output;
mod pause;
mod pods;
mod promote;
mod release_hold;
mod restart;
mod retry;
mod revert;
pub mod run_view;
mod set_image;
pub mod simulate;
pub mod standing;
pub mod status;
mod terminate;
pub mod text;
pub mod tree;
mod undo;
mod verb;
mod version;
pub mod view;
mod watch;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};

pub use cluster::Connector;
pub use error::CliError;
pub use exit::Exit;
pub use output::{Console, Terminal};
pub use pods::PodView;
pub use verb::VerbReport;

use args::{Cli, Command, PromoteArgs, RetryArgs, RevertArgs, Set, Terminate, UndoArgs};
use cluster::Cluster;

/// Runs the plugin with the arguments of a command line, the program's name first.
pub async fn run(
    arguments: impl IntoIterator<Item = OsString>,
    console: &mut Console<'_>,
    connector: &Connector,
) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, console),
    };
    console.format = cli.global.output.and_then(args::Output::data);
    console.terminal.has_color &= !cli.global.no_color;
    match dispatch(&cli, console, connector).await {
        Ok(exit) => exit,
        Err(error) if error.is_broken_pipe() => Exit::Done,
        Err(error) => {
            console.report(&error);
            error.exit()
        }
    }
}

/// Help and version are data; every other refusal of the command line is an error.
fn usage(error: &clap::Error, console: &mut Console<'_>) -> Exit {
    let text = if console.terminal.has_color {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    let is_help = !error.use_stderr();
    let told = if is_help { write!(console.out, "{text}") } else { write!(console.err, "{text}") };
    if let (Some(hint), Ok(())) = (args::instead_of(error), &told) {
        // A closed stderr cannot be told about.
        let _unheard = console.hint(hint);
    }
    if is_help && told.is_ok() { Exit::Done } else { Exit::Usage }
}

async fn dispatch(
    cli: &Cli,
    console: &mut Console<'_>,
    connector: &Connector,
) -> Result<Exit, CliError> {
    let is_picture = cli.global.output.is_some_and(|output| output.data().is_none());
    if is_picture && !matches!(cli.command, Command::Simulate(_)) {
        return Err(CliError::usage("only simulate draws pictures", "write -o json or -o yaml"));
    }
    // Commands that need no cluster never touch a kubeconfig.
    match &cli.command {
        Command::Lint(args) => return lint::run(console, args, &cli.global.cluster),
        Command::Analysis(command) => {
            return Box::pin(analysis::carry_out(console, command, &cli.global)).await;
        }
        Command::Simulate(args) => return simulate::run(console, args, &cli.global),
        Command::Version => return version::run(console),
        Command::Completion { shell } => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "kubectl-sluice", &mut script);
            console.out.write_all(&script)?;
            return Ok(Exit::Done);
        }
        Command::Get(_)
        | Command::List(_)
        | Command::Status(_)
        | Command::Explain(_)
        | Command::Promote(_)
        | Command::Abort(_)
        | Command::Retry(_)
        | Command::ReleaseHold(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Undo(_)
        | Command::Restart(_)
        | Command::Set(_)
        | Command::Revert(_)
        | Command::History(_)
        | Command::Terminate(_) => {}
    }
    let cluster = Cluster::connect(&cli.global.cluster, connector).await?;
    on_cluster(&cli.command, &cluster, console).await
}

async fn on_cluster(
    command: &Command,
    cluster: &Cluster,
    console: &mut Console<'_>,
) -> Result<Exit, CliError> {
    match command {
        Command::Get(args) => Box::pin(get::run(cluster, console, args)).await,
        Command::List(args) => Box::pin(list::run(cluster, console, args)).await,
        Command::Status(args) => status::run(cluster, console, args).await,
        Command::Explain(rollout) => explain::run(cluster, console, &rollout.name()?).await,
        Command::Promote(args) => promote(cluster, console, args).await,
        Command::Abort(args) if args.revert_git => {
            let (names, decide) = (args.rollouts.names()?, abort::decide_revert_git);
            verb::on_each(cluster, console, &names, abort::REVERT_VERB, &decide).await
        }
        Command::Abort(args) => {
            let decide = |subject: &verb::Subject| Ok(abort::decide(subject));
            verb::on_each(cluster, console, &args.rollouts.names()?, abort::VERB, &decide).await
        }
        Command::Retry(args) => retry(cluster, console, args).await,
        Command::ReleaseHold(args) => {
            let decide = release_hold::decide;
            verb::on_each(cluster, console, &args.names()?, release_hold::VERB, &decide).await
        }
        Command::Pause(args) => {
            let decide = |subject: &verb::Subject| Ok(pause::decide_pause(subject));
            verb::on_each(cluster, console, &args.names()?, pause::PAUSE, &decide).await
        }
        Command::Resume(args) => {
            let decide = |subject: &verb::Subject| Ok(pause::decide_resume(subject));
            verb::on_each(cluster, console, &args.names()?, pause::RESUME, &decide).await
        }
        Command::Undo(args) => undo(cluster, console, args).await,
        Command::Restart(args) => {
            let delay = restart::parse_delay(args.delay.as_deref())?;
            let decide = move |subject: &verb::Subject| Ok(restart::decide(subject, delay));
            let names = args.rollouts.names()?;
            verb::on_each(cluster, console, &names, restart::VERB, &decide).await
        }
        Command::Set(Set::Image { words }) => {
            let (name, wishes) = set_image::parse(words)?;
            let decide = move |subject: &verb::Subject| set_image::decide(subject, &wishes);
            verb::carry_out(cluster, console, &name, set_image::VERB, &decide).await
        }
        Command::Revert(args) => revert(cluster, console, args).await,
        Command::History(rollout) => {
            Box::pin(history::run(cluster, console, &rollout.name()?)).await
        }
        Command::Terminate(Terminate::Analysisrun(runs)) => {
            terminate::run(cluster, console, &runs.names()?).await
        }
        // `dispatch` has answered these.
        Command::Lint(_)
        | Command::Analysis(_)
        | Command::Simulate(_)
        | Command::Version
        | Command::Completion { .. } => Ok(Exit::Done),
    }
}

async fn revert(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &RevertArgs,
) -> Result<Exit, CliError> {
    let name = args.rollout.name()?;
    if args.approve {
        verb::carry_out(cluster, console, &name, revert::VERB, &revert::decide).await
    } else if args.now {
        verb::carry_out(cluster, console, &name, revert::NOW_VERB, &revert::decide_now).await
    } else if args.print_patch {
        revert::print_patch(cluster, console, &name).await
    } else {
        revert::show(cluster, console, &name).await
    }
}

async fn promote(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &PromoteArgs,
) -> Result<Exit, CliError> {
    let names = args.rollouts.names()?;
    let exit = if args.full {
        let decide = promote::decide_full;
        verb::on_each(cluster, console, &names, promote::FULL_VERB, &decide).await?
    } else {
        verb::on_each(cluster, console, &names, promote::VERB, &promote::decide).await?
    };
    wait_for(cluster, console, &names, args.wait, args.timeout.as_deref(), exit).await
}

async fn retry(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &RetryArgs,
) -> Result<Exit, CliError> {
    let decide = |subject: &verb::Subject| Ok(retry::decide(subject));
    let names = args.rollouts.names()?;
    let exit = verb::on_each(cluster, console, &names, retry::VERB, &decide).await?;
    wait_for(cluster, console, &names, args.wait, args.timeout.as_deref(), exit).await
}

/// Waits as `status` does, when asked to and when there is something to wait for.
async fn wait_for(
    cluster: &Cluster,
    console: &mut Console<'_>,
    names: &[String],
    is_wanted: bool,
    timeout: Option<&str>,
    mut exit: Exit,
) -> Result<Exit, CliError> {
    if !is_wanted || exit != Exit::Done {
        return Ok(exit);
    }
    let limit = timeout.map(status::parse_limit).transpose()?;
    for name in names {
        exit = exit.and(status::wait(cluster, console, name, limit).await?);
    }
    Ok(exit)
}

async fn undo(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &UndoArgs,
) -> Result<Exit, CliError> {
    let name = args.rollout.name()?;
    let rollout = cluster.rollout(&name).await?;
    let sets = cluster.replica_set_objects(&rollout).await?;
    let to_revision = args.to_revision.filter(|number| *number > 0);
    let decide = move |subject: &verb::Subject| undo::decide(subject, &sets, to_revision);
    verb::carry_out(cluster, console, &name, undo::VERB, &decide).await
}
