//! The results of a run: a table for people on stdout, and the same as JSON for programs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::log::print;

/// What became of one scenario.
#[derive(Debug, Serialize)]
pub(crate) struct ScenarioResult {
    /// Name as in the registry; `NAME-2` for its second copy.
    pub(crate) scenario: String,
    /// Whether everything held.
    pub(crate) passed: bool,
    /// How long it took, cleaning up included.
    pub(crate) seconds: f64,
    /// What was measured, in the order in which it was.
    pub(crate) figures: Vec<(String, String)>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl ScenarioResult {
    /// A result of a scenario that took `took`.
    pub(crate) fn new(
        scenario: String,
        took: Duration,
        figures: Vec<(String, String)>,
        outcome: &Result<()>,
    ) -> Self {
        Self {
            scenario,
            passed: outcome.is_ok(),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            figures,
            error: outcome.as_ref().err().map(|error| format!("{error:#}")),
        }
    }
}

/// Prints the table and writes `results.json`; gives whether all passed.
pub(crate) fn report(results: &[ScenarioResult], directory: &Path) -> Result<bool> {
    print("");
    let width = results
        .iter()
        .flat_map(|result| result.figures.iter().map(|(name, _)| name.chars().count()))
        .max()
        .unwrap_or(0);
    for result in results {
        let verdict = if result.passed { "passed" } else { "FAILED" };
        print(format!("{verdict}  {}  ({:.1} s)", result.scenario, result.seconds));
        for (name, value) in &result.figures {
            print(format!("        {name:width$}  {value}"));
        }
        if let Some(error) = &result.error {
            print(format!("        error: {error}"));
        }
    }
    let passed = results.iter().filter(|result| result.passed).count();
    print(format!("\n{passed} passed, {} failed", results.len() - passed));
    let file = directory.join("results.json");
    std::fs::write(&file, serde_json::to_string_pretty(results)?)
        .with_context(|| format!("failed to write {}", file.display()))?;
    Ok(passed == results.len())
}
