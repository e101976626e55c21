//! CloudWatch's GetMetricData over its JSON protocol
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::asked::{Refusal, Request, malformed};
use super::sample::{MeasureError, SampleValue};
use super::spec::cloud_watch::{DataQuery, Spec, seconds};
use super::spec::span;

/// Name of the operation in the JSON protocol.
const TARGET: &str = "GraniteServiceVersion20100801.GetMetricData";

/// `POST /`, signed by the transport.
pub(super) fn request(spec: &Spec, now: DateTime<Utc>) -> Result<Request, MeasureError> {
    let span = span(spec.interval.as_ref()).ok_or_else(|| {
        MeasureError::Unusable("the interval must be a time from 1s to 720h".to_owned())
    })?;
    let queries: Vec<Value> = spec.metric_data_queries.iter().map(wire).collect();
    let body = json!({
        "StartTime": (now - span).timestamp(),
        "EndTime": now.timestamp(),
        "MetricDataQueries": queries,
    });
    Ok(Request {
        content_type: "application/x-amz-json-1.0",
        target: Some(TARGET),
        ..Request::post("/", body)
    })
}

/// A query with the names of CloudWatch.
fn wire(query: &DataQuery) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(name.to_owned(), value);
        }
    };
    put("Id", Some(json!(query.id)));
    put("Expression", query.expression.as_ref().map(|it| json!(it)));
    put("Label", query.label.as_ref().map(|it| json!(it)));
    put("Period", query.period.as_ref().and_then(seconds).map(|it| json!(it)));
    put("ReturnData", query.return_data.map(Value::Bool));
    let stat = query.metric_stat.as_ref().map(|stat| {
        let dimensions = stat.metric.dimensions.iter();
        let mut metric = json!({
            "MetricName": stat.metric.metric_name,
            "Dimensions": dimensions
                .map(|it| json!({"Name": it.name, "Value": it.value}))
                .collect::<Vec<_>>(),
        });
        let mut whole =
            json!({"Stat": stat.stat, "Period": stat.period.as_ref().and_then(seconds)});
        let set = |object: &mut Value, name: &str, value: Value| {
            if let Some(object) = object.as_object_mut() {
                object.insert(name.to_owned(), value);
            }
        };
        if let Some(namespace) = &stat.metric.namespace {
            set(&mut metric, "Namespace", json!(namespace));
        }
        if let Some(unit) = &stat.unit {
            set(&mut whole, "Unit", json!(unit));
        }
        set(&mut whole, "Metric", metric);
        whole
    });
    put("MetricStat", stat);
    Value::Object(out)
}

/// The list of results; nil where none of them has a value.
pub(super) fn value(body: &[u8]) -> Result<SampleValue, Refusal> {
    let broken = || malformed("CloudWatch");
    let answer: Value = serde_json::from_slice(body).map_err(|_| broken())?;
    let results = answer.get("MetricDataResults").and_then(Value::as_array).ok_or_else(broken)?;
    if answer.get("NextToken").is_some_and(|token| !token.is_null()) {
        return Err(
            partial("it has further pages; ask for fewer metrics or a shorter interval").into()
        );
    }
    let mut has_values = false;
    for result in results {
        match result.get("StatusCode").and_then(Value::as_str) {
            Some("Complete") | None => {}
            Some("PartialData") => return Err(partial("a result is only a part").into()),
            Some(code) => return Err(Refusal::Rejected(code.to_owned())),
        }
        let values = result.get("Values").and_then(Value::as_array).ok_or_else(broken)?;
        has_values |= !values.is_empty();
    }
    Ok(SampleValue::Json(if has_values { Value::Array(results.clone()) } else { Value::Null }))
}

fn partial(why: &str) -> MeasureError {
    MeasureError::PartialData { warnings: vec![why.to_owned()] }
}

/// `{"__type": "...", "message": "..."}`, in either spelling.
pub(super) fn words(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let message = answer.get("message").or(answer.get("Message"));
    message.and_then(Value::as_str).map(str::to_owned)
}
