//! `version`: which plugin this is.

use serde_json::json;

use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::text::Line;
use crate::api::ApiNames;

/// Runs the command.
pub(super) fn run(console: &mut Console<'_>) -> Result<Exit, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let api = ApiNames::SLUICE.api_version();
    let data = json!({"version": version, "apiVersion": api});
    console.data(&data, &[Line::text(format!("kubectl sluice {version} ({api})"))])?;
    Ok(Exit::Done)
}
