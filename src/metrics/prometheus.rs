//! Measures with PromQL over the HTTP API of Prometheus
//! (<https://prometheus.io/docs/prometheus/latest/querying/api/>).
//!
//! An empty answer is a value (an empty list), because conditions may ask for it. An answer with
//! warnings is incomplete and no value.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use prometheus_http_query::response::{Data, PromqlResult, Sample as PointSample};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::address::shown_address;
use super::endpoint::ResolvedEndpoint;
use super::exchange::{Answer, Asked, Question};
use super::sample::{DETAIL_LIMIT, MeasureError, Sample, SampleValue, shortened};
use super::spec::prometheus::{ResolvedRange, Spec};
use super::transport::{MAX_ANSWER_BYTES, Transport, Way, read, request_error, root_cause, within};
use crate::api::metrics_source::MetricsSourceType;

/// Time limit of a query that names none.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Most warnings that are repeated.
const MAX_WARNINGS: usize = 5;

/// Time limit of one query.
pub fn time_limit(endpoint: &ResolvedEndpoint, spec: &Spec) -> Duration {
    let asked =
        spec.timeout.filter(|seconds| *seconds > 0).and_then(|seconds| u64::try_from(seconds).ok());
    asked.map_or(DEFAULT_TIMEOUT, Duration::from_secs).min(endpoint.timeout_limit)
}

/// Runs the query of `spec`, whose arguments are filled in.
///
/// # Errors
/// [`MeasureError`], each cause apart.
pub async fn measure(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    spec: &Spec,
    now: DateTime<Utc>,
) -> Result<Sample, MeasureError> {
    check(endpoint, &spec.query)?;
    let range = spec.range_query.as_ref().map(|range| range.resolve(now)).transpose();
    let range = range.map_err(|(field, problem)| {
        MeasureError::Unusable(format!("rangeQuery.{field} {problem}"))
    })?;
    let limit = time_limit(endpoint, spec);
    query(transport, endpoint, &spec.query, range, limit).await.and_then(value_of).map(Sample::from)
}

/// Whether a query may be sent to a server.
///
/// # Errors
/// [`MeasureError::Unusable`].
pub(super) fn check(endpoint: &ResolvedEndpoint, query: &str) -> Result<(), MeasureError> {
    if let Some(kind) = endpoint.kind.filter(|kind| *kind != MetricsSourceType::Prometheus) {
        let text = format!("the source is of type {}, not Prometheus", kind.as_str());
        return Err(MeasureError::Unusable(text));
    }
    match &endpoint.allowed_query_prefix {
        Some(prefix) if !query.trim_start().starts_with(prefix.as_str()) => {
            Err(MeasureError::Unusable(format!(
                "the query must begin with {prefix:?} (allowedQueryPrefix)"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

/// The `data` of the answer to one query.
///
/// # Errors
/// [`MeasureError`], each cause apart.
pub(super) async fn query(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    query: &str,
    range: Option<ResolvedRange>,
    limit: Duration,
) -> Result<Value, MeasureError> {
    let answer = within(limit, &endpoint.base, async {
        let answer = ask(transport, endpoint, query, range, limit).await?;
        if answer.status == 401 {
            // A token may have been revoked before its time; a second refusal stands.
            transport.forget_token(endpoint);
        }
        Ok(answer)
    })
    .await?;
    data_of(&answer, &endpoint.base)
}

async fn ask(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    query: &str,
    range: Option<ResolvedRange>,
    limit: Duration,
) -> Result<Answer, MeasureError> {
    let way = transport.way(endpoint)?;
    let headers = transport.headers(endpoint).await?;
    let client = match way {
        Way::Network(client) => client,
        Way::Exchange(exchange) => {
            let question = Question::Promql { query: query.to_owned(), range };
            return exchange.ask(Asked { url: endpoint.base.clone(), headers, question }).await;
        }
    };
    // The crate joins paths as texts, so a slash at the end would be doubled.
    let base = endpoint.base.as_str().trim_end_matches('/');
    let client = prometheus_http_query::Client::from(client, base).map_err(|error| {
        MeasureError::Unusable(format!("the address cannot be used: {}", root_cause(&error)))
    })?;
    let answer = send(&client, &headers, query, range, limit, Verb::Post, &endpoint.base).await?;
    if matches!(answer.status, 405 | 501) {
        // Some proxies in front of Prometheus let only GET through.
        return send(&client, &headers, query, range, limit, Verb::Get, &endpoint.base).await;
    }
    Ok(answer)
}

#[derive(Clone, Copy)]
enum Verb {
    Get,
    Post,
}

async fn send(
    client: &prometheus_http_query::Client,
    headers: &HeaderMap,
    query: &str,
    range: Option<ResolvedRange>,
    limit: Duration,
    verb: Verb,
    base: &Url,
) -> Result<Answer, MeasureError> {
    let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
    let response = if let Some(ResolvedRange { start, end, step }) = range {
        let mut request = client.query_range(query, start, end, step).timeout(limit_ms);
        for (name, value) in headers {
            request = request.header(name, value.clone());
        }
        match verb {
            Verb::Get => request.get_raw().await,
            Verb::Post => request.post_raw().await,
        }
    } else {
        let mut request = client.query(query).timeout(limit_ms);
        for (name, value) in headers {
            request = request.header(name, value.clone());
        }
        match verb {
            Verb::Get => request.get_raw().await,
            Verb::Post => request.post_raw().await,
        }
    };
    let response = response.map_err(|error| match &error {
        prometheus_http_query::Error::Client(client) => match client.inner() {
            Some(inner) => request_error(inner, base),
            None => MeasureError::Unusable(root_cause(&error)),
        },
        _ => MeasureError::Unusable(root_cause(&error)),
    })?;
    read(response, MAX_ANSWER_BYTES, base).await
}

/// The envelope of every answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

fn data_of(answer: &Answer, base: &Url) -> Result<Value, MeasureError> {
    let envelope: Option<Envelope> = serde_json::from_slice(&answer.body).ok();
    let rejected = |detail: String| MeasureError::Rejected {
        address: shown_address(base),
        status: answer.status,
        detail,
    };
    match envelope {
        Some(envelope) if envelope.status == "error" => {
            let detail = format!("{}: {}", envelope.error_type, envelope.error);
            Err(rejected(shortened(&detail, DETAIL_LIMIT)))
        }
        Some(envelope) if answer.status == 200 && envelope.status == "success" => {
            if !envelope.warnings.is_empty() {
                let warnings = envelope.warnings.iter().take(MAX_WARNINGS);
                let warnings = warnings.map(|warning| shortened(warning, DETAIL_LIMIT)).collect();
                return Err(MeasureError::PartialData { warnings });
            }
            Ok(envelope.data)
        }
        _ if (300..400).contains(&answer.status) => {
            Err(rejected("redirects are not followed".to_owned()))
        }
        _ if answer.status != 200 => {
            Err(rejected("its answer is not one of Prometheus".to_owned()))
        }
        Some(_) | None => Err(MeasureError::Malformed(
            "it is not an answer of Prometheus, or it was cut off".to_owned(),
        )),
    }
}

fn value_of(data: Value) -> Result<SampleValue, MeasureError> {
    let kind = data.get("resultType").and_then(Value::as_str).unwrap_or("").to_owned();
    if kind == "string" {
        return Err(MeasureError::NotANumber("the query gives a text".to_owned()));
    }
    let has_histograms = data.get("result").and_then(Value::as_array).is_some_and(|series| {
        series.iter().any(|one| one.get("histogram").is_some() || one.get("histograms").is_some())
    });
    if has_histograms {
        return Err(MeasureError::NotANumber(
            "the query gives histograms; use histogram_quantile() or another function over them"
                .to_owned(),
        ));
    }
    let result: PromqlResult = serde_json::from_value(data).map_err(|_| {
        MeasureError::Malformed(format!("its result of type {kind:?} has another form"))
    })?;
    Ok(match result.into_inner().0 {
        Data::Scalar(sample) => SampleValue::Number(sample.value()),
        Data::Vector(series) => {
            SampleValue::Numbers(series.iter().map(|one| one.sample().value()).collect())
        }
        Data::Matrix(series) => SampleValue::Numbers(
            series.iter().flat_map(|one| one.samples().iter().map(PointSample::value)).collect(),
        ),
    })
}
