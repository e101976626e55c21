//! What a metric says to Prometheus: query, time range, source. Data only.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Authentication, Header, SourceRef};
use crate::api::values::{IntOrString, is_false};

/// A PromQL query (`provider.prometheus`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// The `MetricsSource` that holds address and credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRef>,
    /// Base URL of the server, when no `source` is named. Its host must be on the controller's list
    /// of allowed hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The PromQL query. An argument inside a quoted label value is escaped.
    pub query: String,
    /// Time limit of one query in seconds; default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Skips the check of the server's certificate. Refused: name the CA in a `MetricsSource`.
    #[serde(skip_serializing_if = "is_false")]
    pub insecure: bool,
    /// Extra request headers without secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header>,
    /// Inline credentials. Refused: they belong in a `MetricsSource`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// Makes this a range query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range_query: Option<RangeQuery>,
}

/// The time range of a range query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RangeQuery {
    /// Expression that gives the first instant, such as `now() - duration("5m")`.
    pub start: String,
    /// Expression that gives the last instant, such as `now()`.
    pub end: String,
    /// Distance of the points, such as `1m`.
    pub step: String,
}

/// A time range, worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResolvedRange {
    /// First instant, as Unix seconds.
    pub start: i64,
    /// Last instant, as Unix seconds.
    pub end: i64,
    /// Distance of the points, in seconds.
    pub step: f64,
}

/// Most points of a range query, as Prometheus itself allows.
const MAX_POINTS: f64 = 11_000.0;

impl RangeQuery {
    /// The range at an instant.
    ///
    /// # Errors
    /// The field that is wrong and what is wrong with it.
    pub fn resolve(&self, now: DateTime<Utc>) -> Result<ResolvedRange, (&'static str, String)> {
        let start = instant(&self.start, now).map_err(|problem| ("start", problem))?;
        let end = instant(&self.end, now).map_err(|problem| ("end", problem))?;
        let step = IntOrString::Text(self.step.clone())
            .as_duration()
            .map_err(|problem| ("step", problem.to_string()))?;
        let step = step.as_seconds_f64();
        if step <= 0.0 {
            return Err(("step", "must be above 0".to_owned()));
        }
        if end < start {
            return Err(("end", "is before start".to_owned()));
        }
        if (end - start).as_seconds_f64() / step > MAX_POINTS {
            return Err(("step", format!("gives more than {MAX_POINTS} points")));
        }
        Ok(ResolvedRange { start: start.timestamp(), end: end.timestamp(), step })
    }

    /// What is wrong with it at any time.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        self.resolve(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)).err()
    }
}

/// `now()` or `date("2026-01-01T00:00:00Z")`, plus or minus any number of `duration("5m")`.
fn instant(expression: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let bad = || format!("{expression:?} is not a time such as now() - duration(\"5m\")");
    let text: String = expression.split_whitespace().collect();
    let (mut at, mut rest) = if let Some(rest) = text.strip_prefix("now()") {
        (now, rest)
    } else {
        let (argument, rest) = call_argument(&text, "date(").ok_or_else(bad)?;
        let at = DateTime::parse_from_rfc3339(argument).map_err(|_| bad())?;
        (at.with_timezone(&Utc), rest)
    };
    while !rest.is_empty() {
        let (sign, tail) = rest.split_at_checked(1).ok_or_else(bad)?;
        let (argument, tail) = call_argument(tail, "duration(").ok_or_else(bad)?;
        let step = IntOrString::Text(argument.to_owned()).as_duration().map_err(|_| bad())?;
        at = match sign {
            "+" => at.checked_add_signed(step),
            "-" => at.checked_sub_signed(step),
            _ => None,
        }
        .ok_or_else(bad)?;
        rest = tail;
    }
    Ok(at)
}

/// The quoted argument of a call that `text` begins with, and what follows the call.
fn call_argument<'a>(text: &'a str, call: &str) -> Option<(&'a str, &'a str)> {
    let inner = text.strip_prefix(call)?;
    let quote = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (argument, after) = inner.get(1..)?.split_once(quote)?;
    Some((argument, after.strip_prefix(')')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: &str, end: &str, step: &str) -> RangeQuery {
        RangeQuery { start: start.into(), end: end.into(), step: step.into() }
    }

    #[test]
    fn argos_range_expressions_are_worked_out() {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let resolved = range("now() - duration(\"5m\")", "now()", "1m").resolve(now).unwrap();
        assert_eq!(resolved, ResolvedRange { start: 999_700, end: 1_000_000, step: 60.0 });
        let resolved =
            range("date('1970-01-01T00:00:00Z')+duration('90s')", "now()", "1h").resolve(now);
        assert_eq!(resolved.unwrap().start, 90);
    }

    #[test]
    fn a_range_that_makes_no_sense_names_its_field() {
        for (start, end, step, field) in [
            ("yesterday", "now()", "1m", "start"),
            ("now()", "now() - duration(\"1m\")", "1m", "end"),
            ("now() - duration(\"5m\")", "now()", "0s", "step"),
            ("now() - duration(\"720h\")", "now()", "1s", "step"),
            ("now() * duration(\"5m\")", "now()", "1s", "start"),
        ] {
            assert_eq!(range(start, end, step).problem().unwrap().0, field, "{start} {end} {step}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_range_panic(text in ".{0,30}", tail in "[-+]?duration\\(\"[0-9]{1,20}[hms]\"\\)") {
            let _ = range(&text, &format!("now(){tail}"), "1m").problem();
        }
    }
}
