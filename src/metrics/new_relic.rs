//! New Relic's NerdGraph (<https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial/>).

use serde_json::{Value, json};

use super::asked::{Refusal, Request, malformed};
use super::endpoint::ResolvedEndpoint;
use super::sample::{MeasureError, SampleValue};
use super::spec::new_relic::Spec;

/// Time limit that New Relic itself has for a query, in seconds.
const DEFAULT_SECONDS: i64 = 10;
/// The query goes as a variable, so that nothing in it can be more than an NRQL query.
const GRAPHQL: &str = "query($account: Int!, $nrql: Nrql!, $timeout: Seconds!) { actor { account(id: $account) \
                       { nrql(query: $nrql, timeout: $timeout) { results } } } }";

/// `POST /graphql`.
pub(super) fn request(spec: &Spec, endpoint: &ResolvedEndpoint) -> Result<Request, MeasureError> {
    let account = endpoint.account_id.ok_or_else(|| {
        MeasureError::Unusable("the source names no accountId of New Relic".to_owned())
    })?;
    let timeout = spec.timeout.unwrap_or(DEFAULT_SECONDS);
    let variables = json!({"account": account, "nrql": spec.query, "timeout": timeout});
    Ok(Request::post("/graphql", json!({"query": GRAPHQL, "variables": variables})))
}

/// The only row, or all of them.
pub(super) fn value(body: &[u8]) -> Result<SampleValue, Refusal> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| malformed("New Relic"))?;
    let results = answer.pointer("/data/actor/account/nrql/results").and_then(Value::as_array);
    match (words(body), results) {
        (Some(own), Some(_)) => Err(MeasureError::PartialData { warnings: vec![own] }.into()),
        (Some(own), None) => Err(Refusal::Rejected(own)),
        (None, None) => Err(malformed("New Relic").into()),
        (None, Some(rows)) => Ok(SampleValue::Json(match rows.as_slice() {
            [] => Value::Null,
            [only] => only.clone(),
            several => Value::Array(several.to_vec()),
        })),
    }
}

/// `{"errors": [{"message": "..."}]}`.
pub(super) fn words(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let errors = answer.get("errors").and_then(Value::as_array)?;
    let messages: Vec<&str> = errors
        .iter()
        .filter_map(|error| error.get("message").or(error.get("title"))?.as_str())
        .collect();
    let all = messages.join("; ");
    (!errors.is_empty()).then(|| super::sample::shortened(&all, super::sample::DETAIL_LIMIT))
}
