//! Graphite's render API (<https://graphite.readthedocs.io/en/latest/render_api.html>).

use serde_json::Value;

use super::asked::{Refusal, Request, malformed};
use super::sample::{MeasureError, SampleValue};
use super::spec::graphite::Spec;

/// `GET /render?format=json&target=...`.
pub(super) fn request(spec: &Spec) -> Result<Request, MeasureError> {
    let given = spec.parameters();
    let mut parameters =
        given.map_err(|problem| MeasureError::Unusable(format!("the query {problem}")))?;
    parameters.push(("format".to_owned(), "json".to_owned()));
    Ok(Request::get("/render", parameters))
}

/// `[{"target": ..., "datapoints": [[VALUE, TIME], ...]}]`; a gap is a `null`.
pub(super) fn value(body: &[u8]) -> Result<SampleValue, Refusal> {
    let broken = || malformed("Graphite");
    let series: Vec<Value> = serde_json::from_slice(body).map_err(|_| broken())?;
    let Some(first) = series.first() else { return Ok(SampleValue::Numbers(Vec::new())) };
    if series.len() > 1 {
        return Err(MeasureError::Unusable(format!(
            "the query gives {} series: make them one, for example with sumSeries()",
            series.len()
        ))
        .into());
    }
    let points = first.get("datapoints").and_then(Value::as_array).ok_or_else(broken)?;
    let mut numbers = Vec::new();
    for point in points {
        match point.get(0) {
            Some(Value::Null) => {}
            Some(Value::Number(number)) => numbers.extend(number.as_f64()),
            Some(_) | None => return Err(broken().into()),
        }
    }
    Ok(SampleValue::Numbers(numbers))
}
