//! `restart`: replace all pods, a few at a time. Writes `spec.restartAt`.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::error::CliError;
use super::text::span_of_time;
use super::verb::{Decision, Edit, Subject};
use crate::api::{IntOrString, Time};

/// The verb in `lastRequest`.
pub(super) const VERB: &str = "restart";

/// The delay of the command line.
///
/// # Errors
/// [`CliError::Usage`] when it is no duration.
pub(super) fn parse_delay(text: Option<&str>) -> Result<TimeDelta, CliError> {
    let Some(text) = text else { return Ok(TimeDelta::zero()) };
    IntOrString::Text(text.to_owned())
        .as_duration()
        .map_err(|error| CliError::usage(format!("--in {error}"), "write for example --in 10m"))
}

/// What restarting means here.
pub(super) fn decide(subject: &Subject, delay: TimeDelta) -> Decision {
    let at = subject.now.checked_add_signed(delay).unwrap_or(subject.now);
    let mut spec = subject.part("spec");
    // Whole seconds: the form that kubectl and Argo Rollouts write.
    let text = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    spec.insert("restartAt".to_owned(), json!(text));
    let when = if delay.is_zero() {
        "now".to_owned()
    } else {
        format!("in {} (at {})", span_of_time(delay), Time(at))
    };
    Decision::Change(Edit {
        spec: Some(Value::Object(spec)),
        said: format!("restarts its pods {when}, a few at a time"),
        ..Edit::default()
    })
}
