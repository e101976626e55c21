//! What Prometheus' HTTP API writes for the outcome of a query
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/>).

use serde_json::{Value, json};

use super::{Element, Outcome, QueryError, Range};
use crate::metrics::exchange::Answer;

/// An answer in JSON.
pub(crate) fn answer(status: u16, body: &Value) -> Answer {
    let content_type = "application/json".to_owned();
    Answer { status, content_type, body: body.to_string().into_bytes() }
}

/// The answer to a query that has no value.
pub(crate) fn refusal(error: &QueryError) -> Answer {
    let (status, kind) = match error {
        QueryError::Malformed(_) => (400, "bad_data"),
        QueryError::Impossible(_) | QueryError::NotEvaluated(_) => (422, "execution"),
    };
    answer(status, &json!({"status": "error", "errorType": kind, "error": error.to_string()}))
}

/// The body of the answer to a query; `at` is its time in milliseconds.
pub(crate) fn success(outcome: &Outcome, at: i64) -> Value {
    let (kind, result) = match outcome {
        Outcome::Scalar(number) => ("scalar", point(at, *number)),
        Outcome::Text(text) => ("string", json!([seconds(at), text])),
        Outcome::Vector(vector) => {
            let one = |element: &Element| json!({"metric": *element.labels, "value": point(at, element.value)});
            ("vector", vector.iter().map(one).collect())
        }
        Outcome::Matrix(ranges) => {
            let one = |range: &Range| {
                let values: Vec<Value> =
                    range.points.iter().map(|(at, value)| point(*at, *value)).collect();
                json!({"metric": *range.labels, "values": values})
            };
            ("matrix", ranges.iter().map(one).collect())
        }
    };
    json!({"status": "success", "data": {"resultType": kind, "result": result}})
}

fn point(at: i64, value: f64) -> Value {
    let text = if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        (if value > 0.0 { "+Inf" } else { "-Inf" }).to_owned()
    } else {
        value.to_string()
    };
    json!([seconds(at), text])
}

/// Milliseconds as JSON's seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}
