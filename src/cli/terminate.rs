//! `terminate analysisrun`: end a run early. Such a run opens no gate and closes none.

use serde_json::{Value, json};

use super::cluster::{Cluster, Part, WriteFailure, as_json};
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::text::Line;
use super::verb::VerbReport;
use crate::api::{AnalysisRun, Kind};
use crate::traffic::guarded_patch;

/// How often a write is tried while others keep changing the object.
const MAX_TRIES: u32 = 5;

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    names: &[String],
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for name in names {
        let told = one(cluster, name).await;
        match told {
            Ok((changed, message)) => {
                let line = Line::text(format!("analysisrun {name:?} {message}"));
                let report = VerbReport {
                    name: name.clone(),
                    namespace: cluster.namespace().to_owned(),
                    verb: "terminate",
                    changed,
                    message,
                };
                console.data(&report, &[line])?;
            }
            Err(error) if names.len() == 1 => return Err(error),
            Err(error) => {
                console.report(&error);
                exit = exit.and(error.exit());
            }
        }
    }
    Ok(exit)
}

async fn one(cluster: &Cluster, name: &str) -> Result<(bool, String), CliError> {
    for _ in 0..MAX_TRIES {
        let object = cluster.object(Kind::AnalysisRun, name).await?;
        let run = AnalysisRun::from_dynamic(&object)?;
        let status = run.status.unwrap_or_default();
        if status.phase.is_completed() {
            return Ok((false, format!("has ended already: {}", status.phase.as_str())));
        }
        if run.spec.terminate {
            return Ok((false, "is being ended already".to_owned()));
        }
        let live = as_json(&object)?;
        let mut wanted = live.clone();
        if let Some(spec) = wanted.pointer_mut("/spec").and_then(Value::as_object_mut) {
            spec.insert("terminate".to_owned(), json!(true));
        }
        let patch = guarded_patch(&live, &wanted)
            .map_err(|error| CliError::Refused { message: error.to_string(), hint: None })?;
        let Some(patch) = patch else { return Ok((false, "is being ended already".to_owned())) };
        match cluster.write(Kind::AnalysisRun, name, Part::Main, patch).await {
            Ok(_) => return Ok((true, "is ended; it counts as neither good nor bad".to_owned())),
            Err(WriteFailure::Conflict) => {}
            Err(WriteFailure::Other(error)) => return Err(error),
        }
    }
    Err(CliError::Conflict { name: name.to_owned(), tries: MAX_TRIES })
}
