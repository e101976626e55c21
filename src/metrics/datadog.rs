//! Datadog's API: timeseries of v1 (<https://docs.datadoghq.com/api/latest/metrics/#query-timeseries-points>)
//! and scalars of v2 (<https://docs.datadoghq.com/api/latest/metrics/#query-scalar-data-across-multiple-products>).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::asked::{Refusal, Request, malformed};
use super::sample::{MeasureError, SampleValue};
use super::spec::datadog::{Aggregator, ApiVersion, Spec};
use super::spec::span;

/// The request; times of v1 are in seconds, of v2 in milliseconds.
pub(super) fn request(spec: &Spec, now: DateTime<Utc>) -> Result<Request, MeasureError> {
    let span = span(spec.interval.as_ref()).ok_or_else(|| {
        MeasureError::Unusable("the interval must be a time from 1s to 720h".to_owned())
    })?;
    let from = now - span;
    let version = spec.api_version.unwrap_or_default();
    if version == ApiVersion::V1 {
        let query = spec.query.clone().unwrap_or_default();
        let pair = |name: &str, value: String| (name.to_owned(), value);
        return Ok(Request::get(
            "/api/v1/query",
            vec![
                pair("from", from.timestamp().to_string()),
                pair("to", now.timestamp().to_string()),
                pair("query", query),
            ],
        ));
    }
    let aggregator = serde_json::to_value(spec.aggregator.unwrap_or(Aggregator::Avg));
    let aggregator = aggregator.unwrap_or(Value::Null);
    let named = spec.named();
    let query = |(name, query): &(&str, &str)| json!({"name": name, "data_source": "metrics", "query": query, "aggregator": aggregator});
    let queries: Vec<Value> = named.iter().map(query).collect();
    // Without a formula the only query is the result.
    let only = named.first().map_or("query", |(name, _)| name);
    let formula = spec.formula.as_deref().unwrap_or(only);
    Ok(Request::post(
        "/api/v2/query/scalar",
        json!({"data": {"type": "scalar_request", "attributes": {
            "from": from.timestamp_millis(),
            "to": now.timestamp_millis(),
            "queries": queries,
            "formulas": [{"formula": formula}],
        }}}),
    ))
}

/// One number; nil where there is none.
pub(super) fn value(spec: &Spec, body: &[u8]) -> Result<SampleValue, Refusal> {
    let broken = || malformed("Datadog");
    let answer: Value = serde_json::from_slice(body).map_err(|_| broken())?;
    // v1 answers an invalid query with status 200.
    if answer.get("status").and_then(Value::as_str) == Some("error") {
        let own = words(body).unwrap_or_else(|| "it reports an error".to_owned());
        return Err(Refusal::Rejected(own));
    }
    let newest = match spec.api_version.unwrap_or_default() {
        ApiVersion::V1 => {
            let series = answer.get("series").and_then(Value::as_array).ok_or_else(broken)?;
            let points = match series.as_slice() {
                [] => return Ok(SampleValue::Json(Value::Null)),
                [only] => only.get("pointlist").and_then(Value::as_array).ok_or_else(broken)?,
                several => return Err(several_of(several.len(), "series").into()),
            };
            let Some(last) = points.last() else { return Ok(SampleValue::Json(Value::Null)) };
            last.get(1).cloned().ok_or_else(broken)?
        }
        ApiVersion::V2 => {
            let columns = answer.pointer("/data/attributes/columns").and_then(Value::as_array);
            let columns = columns.ok_or_else(broken)?;
            // A column of another type names a group.
            let is_number = |column: &&Value| {
                column.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "number")
            };
            let numbers: Vec<&Value> = columns.iter().filter(is_number).collect();
            let values = match numbers.as_slice() {
                [] => return Ok(SampleValue::Json(Value::Null)),
                [only] => only.get("values").and_then(Value::as_array).ok_or_else(broken)?,
                several => return Err(several_of(several.len(), "numbers").into()),
            };
            match values.as_slice() {
                [] => Value::Null,
                [only] => only.clone(),
                several => return Err(several_of(several.len(), "groups").into()),
            }
        }
    };
    match newest {
        Value::Null => Ok(SampleValue::Json(Value::Null)),
        Value::Number(number) => Ok(SampleValue::Number(number.as_f64().ok_or_else(broken)?)),
        _ => Err(broken().into()),
    }
}

fn several_of(count: usize, what: &str) -> MeasureError {
    MeasureError::Unusable(format!("the query gives {count} {what}: make them one, without `by`"))
}

/// `{"errors": ["..."]}`, `{"error": "..."}` or `{"errors": "..."}`.
pub(super) fn words(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let list = answer.get("errors").and_then(Value::as_array).into_iter().flatten();
    let mut all: Vec<&str> = list.filter_map(Value::as_str).collect();
    let single = [answer.get("errors"), answer.get("error")].into_iter().flatten();
    all.extend(single.filter_map(Value::as_str));
    (!all.is_empty()).then(|| all.join("; "))
}
