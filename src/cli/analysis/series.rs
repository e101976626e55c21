//! The file of `analysis test`: cases with series, and what each is expected to come to. Series are
//! written as in the unit tests of `promtool`
//! (<https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/>), or are answers
//! of Prometheus' HTTP API in files of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, parse};
use serde::Deserialize;
use serde_json::Value;

use super::report::Seen;
use crate::api::values::IntOrString;
use crate::cli::error::CliError;
use crate::metrics::look;
use crate::sim::recorded::RecordedSeries;

/// Time of the first value of written series: any moment will do.
const BEGINNING_MS: i64 = 1_767_225_600_000;
/// Distance of written values.
const DEFAULT_INTERVAL: TimeDelta = TimeDelta::seconds(15);
/// Most values of one series.
const MAX_VALUES: usize = 200_000;
/// Largest file, in bytes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tests: Vec<Written>,
}

/// One case, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    interval: Option<IntOrString>,
    #[serde(default)]
    input_series: Vec<WrittenSeries>,
    #[serde(default)]
    recorded: Vec<PathBuf>,
    canary: Option<String>,
    stable: Option<String>,
    #[serde(default)]
    args: BTreeMap<String, String>,
    start: Option<IntOrString>,
    length: Option<IntOrString>,
    expect: Option<Expected>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSeries {
    series: String,
    values: String,
}

/// What a case is expected to come to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    /// What is said at the end.
    pub(super) verdict: Seen,
    /// The metric that says it.
    pub(super) metric: Option<String>,
    /// How soon after the start at the latest.
    pub(super) within: Option<IntOrString>,
    /// What the sentence about it contains.
    pub(super) message: Option<String>,
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) series: Vec<RecordedSeries>,
    pub(super) canary: Option<String>,
    pub(super) stable: Option<String>,
    pub(super) args: BTreeMap<String, String>,
    /// When the run begins.
    pub(super) start: DateTime<Utc>,
    /// When it is looked at for the last time.
    pub(super) end: DateTime<Utc>,
    pub(super) expected: Option<Expected>,
}

/// Reads a file of cases.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, CliError> {
    let text = text_of(path)?;
    let shown = path.display();
    let document = serde_norway::Deserializer::from_str(&text);
    let file: File = serde_path_to_error::deserialize(document).map_err(|error| {
        let at = error.path().to_string();
        let place = if at == "." { String::new() } else { format!(" at {at}") };
        CliError::refused(
            format!("{shown} is no file of cases{place}: {}", error.inner()),
            "docs/analysis-tools.md shows one",
        )
    })?;
    if file.tests.is_empty() {
        return Err(CliError::refused(format!("{shown} holds no case"), "write some below tests:"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let one = |case: Written| {
        let name = case.name.clone();
        understood(case, folder).map_err(|problem| CliError::Refused {
            message: format!("{shown}: case {name:?}: {problem}"),
            hint: None,
        })
    };
    file.tests.into_iter().map(one).collect()
}

fn text_of(path: &Path) -> Result<String, CliError> {
    use std::io::Read as _;
    let failed = |source| CliError::Io { what: format!("read {}", path.display()), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn understood(case: Written, folder: &Path) -> Result<Case, String> {
    let duration = |field: &str, given: Option<&IntOrString>, default: TimeDelta| {
        given.map_or(Ok(default), |given| {
            given.as_duration().map_err(|problem| format!("{field}: {problem}"))
        })
    };
    let interval = duration("interval", case.interval.as_ref(), DEFAULT_INTERVAL)?;
    if interval < TimeDelta::milliseconds(1) {
        return Err("interval must be above 0".to_owned());
    }
    let mut series = Vec::new();
    for written in &case.input_series {
        let (name, labels) = series_name(&written.series)
            .map_err(|problem| format!("the series {:?} {problem}", written.series))?;
        let values = values(&written.values)
            .map_err(|problem| format!("the values of {:?}: {problem}", written.series))?;
        let mut at = BEGINNING_MS;
        let mut points = Vec::new();
        for value in values {
            match value {
                Slot::Value(value) => points.push((at, Some(value))),
                Slot::Stale => points.push((at, None)),
                Slot::Missing => {}
            }
            at += interval.num_milliseconds();
        }
        series.push(RecordedSeries { name, labels, points });
    }
    for path in &case.recorded {
        let shown = path.display();
        let text = text_of(&folder.join(path)).map_err(|error| error.chain())?;
        let more = recorded(&text).map_err(|problem| format!("{shown} {problem}"))?;
        series.extend(more);
    }
    let times = || series.iter().flat_map(|one| one.points.iter().map(|(at, _)| *at));
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Err("it has no values: write input_series, or name files in recorded".to_owned());
    };
    let start = duration("start", case.start.as_ref(), TimeDelta::zero())?;
    let rest = TimeDelta::milliseconds(last - first) - start;
    let length = duration("length", case.length.as_ref(), rest)?;
    if length <= TimeDelta::zero() {
        return Err(
            "its series end before the run begins: write a start below their end".to_owned()
        );
    }
    let start = DateTime::from_timestamp_millis(first).ok_or("its times are too far away")? + start;
    Ok(Case {
        name: case.name,
        series,
        canary: case.canary,
        stable: case.stable,
        args: case.args,
        start,
        end: start + length,
        expected: case.expect,
    })
}

/// A name with labels.
fn series_name(text: &str) -> Result<(String, BTreeMap<String, String>), String> {
    let wrong = || "is no series: write for example up{pod=\"a\"}".to_owned();
    let Ok(Expr::VectorSelector(found)) = parse(text) else { return Err(wrong()) };
    let mut labels = BTreeMap::new();
    for matcher in &found.matchers.matchers {
        if matcher.op != MatchOp::Equal {
            return Err(format!("must give each label one value with =, and not {matcher}"));
        }
        labels.insert(matcher.name.clone(), matcher.value.clone());
    }
    let own = labels.remove("__name__");
    let name = found.name.clone().or(own).ok_or_else(wrong)?;
    let is_plain = found.offset.is_none() && found.at.is_none();
    if is_plain && found.matchers.or_matchers.is_empty() {
        Ok((name, labels))
    } else {
        Err(wrong())
    }
}

/// What a series has at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Value(f64),
    Missing,
    Stale,
}

/// `1 2 _ stale`, and in short `START+STEPxTIMES`, `START-STEPxTIMES`, `VALUExTIMES`, `_xTIMES`.
fn values(text: &str) -> Result<Vec<Slot>, String> {
    let mut all = Vec::new();
    for word in text.split_whitespace() {
        let wrong = || format!("{word:?} is none: write for example 1, 0+10x60, _ or stale");
        let (what, times) = match word.rsplit_once('x') {
            Some((what, times)) => (what, Some(times.parse::<usize>().map_err(|_| wrong())?)),
            None => (word, None),
        };
        if all.len().saturating_add(times.unwrap_or(0)) >= MAX_VALUES {
            return Err(format!("they are more than {MAX_VALUES}"));
        }
        match (what, times) {
            ("stale", None) => all.push(Slot::Stale),
            ("_", times) => all.extend(std::iter::repeat_n(Slot::Missing, times.unwrap_or(1))),
            (_, None) => all.push(Slot::Value(what.parse().map_err(|_| wrong())?)),
            (_, Some(times)) => {
                let (start, step) = progression(what).ok_or_else(wrong)?;
                let mut value = start;
                for _ in 0..=times {
                    all.push(Slot::Value(value));
                    value += step;
                }
            }
        }
    }
    Ok(all)
}

/// `START+STEP`, `START-STEP` or one value.
fn progression(text: &str) -> Option<(f64, f64)> {
    // A sign at the beginning belongs to the number, one behind an `e` to its exponent.
    let is_sign = |(at, c): &(usize, char)| {
        let before = at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
        *at > 0 && matches!(c, '+' | '-') && !matches!(before, Some(b'e' | b'E'))
    };
    match text.char_indices().find(is_sign) {
        None => Some((text.parse().ok()?, 0.0)),
        Some((at, sign)) => {
            let (start, step) = text.split_at_checked(at)?;
            let step: f64 = step.get(1..)?.parse().ok()?;
            Some((start.parse().ok()?, if sign == '-' { -step } else { step }))
        }
    }
}

/// The series of an answer of Prometheus' HTTP API to a range query, or to a query of a range.
pub(super) fn recorded(text: &str) -> Result<Vec<RecordedSeries>, String> {
    let wrong = |what: &str| {
        format!("is no answer of Prometheus with series ({what}): save that of /api/v1/query_range")
    };
    let answer: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let kind = answer.pointer("/data/resultType").and_then(Value::as_str).unwrap_or("none");
    if kind != "matrix" {
        return Err(wrong(&format!("its resultType is {kind}, not matrix")));
    }
    let result = answer.pointer("/data/result").and_then(Value::as_array);
    let result = result.ok_or_else(|| wrong("it has no result"))?;
    let mut all = Vec::new();
    for one in result {
        let labels = one.get("metric").and_then(Value::as_object).into_iter().flatten();
        let mut labels: BTreeMap<String, String> = labels
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let name = labels.remove("__name__").ok_or_else(|| {
            wrong("a series has no name; ask for the series themselves, without functions")
        })?;
        if let Some(histograms) = one.get("histograms").and_then(Value::as_array) {
            let points: Option<Vec<_>> = histograms.iter().map(look::histogram).collect();
            let points = points.ok_or_else(|| wrong("a histogram has another form"))?;
            all.extend(RecordedSeries::of_native(&name, &labels, &points));
            continue;
        }
        let values = one.get("values").and_then(Value::as_array).into_iter().flatten();
        let points: Option<Vec<(i64, Option<f64>)>> = values.map(point).collect();
        let points = points.ok_or_else(|| wrong("a value has another form"))?;
        all.push(RecordedSeries { name, labels, points });
    }
    Ok(all)
}

fn point(point: &Value) -> Option<(i64, Option<f64>)> {
    let seconds = point.get(0)?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let at = (seconds * 1000.0).round() as i64;
    let value: f64 = point.get(1)?.as_str()?.parse().ok()?;
    Some((at, Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_in_unit_tests_of_rules() {
        let numbers = |text: &str| -> Vec<String> {
            let word = |slot: Slot| match slot {
                Slot::Value(value) => value.to_string(),
                Slot::Missing => "_".to_owned(),
                Slot::Stale => "stale".to_owned(),
            };
            values(text).unwrap().into_iter().map(word).collect()
        };
        assert_eq!(numbers("-2+4x3"), ["-2", "2", "6", "10"]);
        assert_eq!(numbers("1-2x4"), ["1", "-1", "-3", "-5", "-7"]);
        assert_eq!(numbers("1x2 _x3 stale 7"), ["1", "1", "1", "_", "_", "_", "stale", "7"]);
        assert_eq!(numbers("1e3+1e-1x1 +Inf"), ["1000", "1000.1", "inf"]);
        for bad in ["x", "1+x3", "1x", "1x-2", "staleness", "1x999999999"] {
            assert!(values(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_series_is_a_name_with_exact_labels() {
        let (name, labels) = series_name("http_requests_total{code=\"200\", pod=\"a-b\"}").unwrap();
        assert_eq!(
            (name.as_str(), labels.len(), labels["pod"].as_str()),
            ("http_requests_total", 2, "a-b")
        );
        for bad in ["sum(up)", "up{a=~\"b\"}", "up[5m]", "up offset 5m", "{a=\"b\"}", "", "up{"] {
            assert!(series_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_of_prometheus_are_read_and_others_are_told_apart() {
        let answer = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"up","pod":"a"},"values":[[1.5,"1"],[16.5,"NaN"]]}]}}"#;
        let series = recorded(answer).unwrap();
        assert_eq!(series[0].points[0], (1500, Some(1.0)));
        assert!(series[0].points[1].1.unwrap().is_nan());
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        let unnamed = answer.replace("__name__", "name");
        for (bad, word) in [(vector, "matrix"), ("<html>", "expected value"), (&unnamed, "name")] {
            let problem = recorded(bad).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
