//! The query API of InfluxDB 2 (<https://docs.influxdata.com/influxdb/v2/api/v2/#operation/PostQuery>) and
//! its annotated CSV (<https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/>).

use serde_json::{Value, json};

use super::asked::{Refusal, Request, malformed};
use super::endpoint::ResolvedEndpoint;
use super::sample::{MeasureError, SampleValue};
use super::spec::influxdb::Spec;

/// The column with what was measured.
const VALUE: &str = "_value";

/// `POST /api/v2/query?org=...`.
pub(super) fn request(spec: &Spec, endpoint: &ResolvedEndpoint) -> Result<Request, MeasureError> {
    let organization = endpoint.organization.clone().ok_or_else(|| {
        MeasureError::Unusable("the source names no organization of InfluxDB".to_owned())
    })?;
    let body = json!({
        "query": spec.query,
        "type": "flux",
        "dialect": {"header": true, "delimiter": ",", "annotations": ["datatype", "group", "default"]},
    });
    Ok(Request {
        parameters: vec![("org".to_owned(), organization)],
        accept: "application/csv",
        ..Request::post("/api/v2/query", body)
    })
}

/// All values of all tables, in order.
pub(super) fn value(body: &[u8]) -> Result<SampleValue, Refusal> {
    let broken = || malformed("InfluxDB");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let mut table = Table::default();
    let mut values: Vec<Value> = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|_| broken())?;
        let first = row.get(0).unwrap_or_default();
        if let Some(annotation) = first.strip_prefix('#') {
            if table.header.take().is_some() {
                table = Table::default();
            }
            if annotation == "datatype" {
                table.types = row.iter().map(str::to_owned).collect();
            }
            continue;
        }
        let Some(header) = &table.header else {
            if !row.iter().any(|column| column == "table" || column == "error") {
                return Err(broken().into());
            }
            table.header = Some(row.iter().map(str::to_owned).collect());
            continue;
        };
        let at = |name: &str| header.iter().position(|column| column == name);
        if let Some(error) = at("error") {
            return Err(Refusal::Rejected(row.get(error).unwrap_or_default().to_owned()));
        }
        let Some(column) = at(VALUE) else {
            return Err(MeasureError::Unusable(
                "the query gives a table without _value: end it with the values, for example |> keep(columns: \
                 [\"_value\"])"
                    .to_owned(),
            )
            .into());
        };
        let cell = row.get(column).ok_or_else(broken)?;
        let kind = table.types.get(column).map_or("string", String::as_str);
        values.push(typed(cell, kind).ok_or_else(broken)?);
    }
    let numbers: Option<Vec<f64>> = values
        .iter()
        .filter(|value| !value.is_null())
        .map(|value| match value {
            // NaN and infinity are no JSON, and came as text.
            Value::String(text) => text.parse().ok(),
            other => other.as_f64(),
        })
        .collect();
    Ok(match numbers {
        Some(numbers) => SampleValue::Numbers(numbers),
        None => SampleValue::Json(Value::Array(values)),
    })
}

/// The table that is being read.
#[derive(Default)]
struct Table {
    types: Vec<String>,
    header: Option<Vec<String>>,
}

/// A cell by the type of its column; an empty one is no value.
fn typed(cell: &str, kind: &str) -> Option<Value> {
    if cell.is_empty() {
        return Some(Value::Null);
    }
    match kind {
        "double" | "long" | "unsignedLong" => {
            let number: f64 = cell.parse().ok()?;
            Some(serde_json::Number::from_f64(number).map_or_else(|| json!(cell), Value::Number))
        }
        "boolean" => cell.parse().ok().map(Value::Bool),
        _ => Some(json!(cell)),
    }
}

/// `{"code": "...", "message": "..."}`.
pub(super) fn words(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer.get("message").and_then(Value::as_str).map(str::to_owned)
}
