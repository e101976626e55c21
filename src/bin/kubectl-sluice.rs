//! The kubectl plugin: hands the command line, the terminal and the clock to the library.

#[cfg(feature = "mutants")]
compile_error!("nothing ships with bugs that can be planted");

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use sluice::cli::{Connector, Console, Terminal, run};

#[tokio::main]
async fn main() -> ExitCode {
    let mut out = io::stdout();
    let mut err = io::stderr();
    let mut stdin = io::stdin();
    let is_terminal = out.is_terminal();
    let forbids_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        stdin: &mut stdin,
        terminal: Terminal {
            is_interactive: is_terminal && !is_dumb && io::stdin().is_terminal(),
            has_color: is_terminal && !is_dumb && !forbids_color,
        },
        now: &chrono::Utc::now,
        format: None,
    };
    let exit = run(std::env::args_os(), &mut console, &Connector::Kubeconfig).await;
    ExitCode::from(exit.code())
}
