//! stub
use super::args::{ClusterFlags, LintArgs};
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
pub(super) fn run(
    _c: &mut Console<'_>,
    _a: &LintArgs,
    _f: &ClusterFlags,
) -> Result<Exit, CliError> {
    Ok(Exit::Done)
}
