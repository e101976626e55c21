//! Servers that are asked by one HTTP request a measurement: which request, and what its answer means, is
//! pure and stands in a file of each provider; sending it, within limits and with the credentials of
//! its source, stands here.
//!
//! A body of an answer is repeated only where the provider's documented field for error messages holds it,
//! and shortened.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};
use url::Url;

use super::address::{AddressOrigin, shown_address};
use super::endpoint::{Auth, ResolvedEndpoint};
use super::exchange::{Answer, Asked as Sent, Question};
use super::sample::{DETAIL_LIMIT, MeasureError, Sample, SampleValue, shortened};
use super::sigv4::Unsigned;
use super::spec::{Asked, AskedSpec};
use super::transport::{MAX_ANSWER_BYTES, Transport, Way, read, request_error, within};
use super::{cloud_watch, datadog, graphite, influxdb, new_relic};

/// Time limit of a request that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A request, below the address of its source.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Begins with `/`.
    pub(super) path: &'static str,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) accept: &'static str,
    /// Of the body, where there is one.
    pub(super) content_type: &'static str,
    /// `X-Amz-Target`: the operation of an API of AWS.
    pub(super) target: Option<&'static str>,
    pub(super) body: Option<serde_json::Value>,
}

impl Request {
    /// A GET that asks for JSON.
    pub(super) fn get(path: &'static str, parameters: Vec<(String, String)>) -> Self {
        Self {
            method: Method::GET,
            path,
            parameters,
            accept: "application/json",
            content_type: "application/json",
            target: None,
            body: None,
        }
    }

    /// A POST of JSON that asks for JSON.
    pub(super) fn post(path: &'static str, body: serde_json::Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(path, Vec::new()) }
    }
}

/// What a provider asks.
fn request(
    asked: Asked<'_>,
    endpoint: &ResolvedEndpoint,
    now: DateTime<Utc>,
) -> Result<Request, MeasureError> {
    match asked {
        Asked::CloudWatch(spec) => cloud_watch::request(spec, now),
        Asked::Datadog(spec) => datadog::request(spec, now),
        Asked::Graphite(spec) => graphite::request(spec),
        Asked::InfluxDb(spec) => influxdb::request(spec, endpoint),
        Asked::NewRelic(spec) => new_relic::request(spec, endpoint),
    }
}

/// What an answer with a status of success means.
fn value(asked: Asked<'_>, body: &[u8]) -> Result<SampleValue, Refusal> {
    match asked {
        Asked::CloudWatch(_) => cloud_watch::value(body),
        Asked::Datadog(spec) => datadog::value(spec, body),
        Asked::Graphite(_) => graphite::value(body),
        Asked::InfluxDb(_) => influxdb::value(body),
        Asked::NewRelic(_) => new_relic::value(body),
    }
}

/// The server's own words about an error.
fn words(asked: Asked<'_>, body: &[u8]) -> Option<String> {
    match asked {
        Asked::CloudWatch(_) => cloud_watch::words(body),
        Asked::Datadog(_) => datadog::words(body),
        Asked::Graphite(_) => None,
        Asked::InfluxDb(_) => influxdb::words(body),
        Asked::NewRelic(_) => new_relic::words(body),
    }
}

/// Why an answer with a status of success holds no value.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// The server says in the answer that it did not do it.
    Rejected(String),
    /// Anything else.
    Other(MeasureError),
}

impl From<MeasureError> for Refusal {
    fn from(error: MeasureError) -> Self {
        Self::Other(error)
    }
}

/// An answer of another form, or one that was cut off.
pub(super) fn malformed(of: &str) -> MeasureError {
    MeasureError::Malformed(format!("it is not an answer of {of}, or it was cut off"))
}

/// Time limit of one request.
pub fn time_limit(endpoint: &ResolvedEndpoint, spec: &dyn AskedSpec) -> Duration {
    let asked = spec.timeout_seconds().filter(|seconds| *seconds > 0);
    let asked = asked.and_then(|seconds| u64::try_from(seconds).ok());
    asked.map_or(DEFAULT_TIMEOUT, Duration::from_secs).min(endpoint.timeout_limit)
}

/// Asks for one value.
///
/// # Errors
/// [`MeasureError`], each cause apart.
pub async fn measure(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    asked: Asked<'_>,
    now: DateTime<Utc>,
) -> Result<Sample, MeasureError> {
    let spec = asked.spec();
    check(endpoint, spec)?;
    let request = request(asked, endpoint, now)?;
    let url = url_of(&endpoint.base, &request)?;
    let answer = within(time_limit(endpoint, spec), &url, async {
        let answer = send(transport, endpoint, &request, &url, now).await?;
        if answer.status == 401 {
            // A token may have been revoked before its time; a second refusal stands.
            transport.forget_token(endpoint);
        }
        Ok(answer)
    })
    .await?;
    let rejected = |detail: String| MeasureError::Rejected {
        address: shown_address(&url),
        status: answer.status,
        detail: shortened(&detail, DETAIL_LIMIT),
    };
    if (200..300).contains(&answer.status) {
        return match value(asked, &answer.body) {
            Ok(value) => Ok(value.into()),
            Err(Refusal::Rejected(detail)) => Err(rejected(detail)),
            Err(Refusal::Other(error)) => Err(error),
        };
    }
    let own = words(asked, &answer.body).filter(|words| !words.trim().is_empty());
    Err(rejected(match (answer.status, own) {
        (300..=399, _) => "redirects are not followed".to_owned(),
        // Some servers repeat a key in it.
        (401 | 403, _) => {
            "it refuses the credentials of the source, or they may not do this".to_owned()
        }
        (429, own) => {
            let more = own.map(|own| format!(": {own}")).unwrap_or_default();
            format!("its rate limit is reached; a longer interval asks less often{more}")
        }
        (_, Some(own)) => own,
        (_, None) => "it must answer with 2xx".to_owned(),
    }))
}

/// Whether a source may be asked this.
fn check(endpoint: &ResolvedEndpoint, spec: &dyn AskedSpec) -> Result<(), MeasureError> {
    let unusable = |text: String| Err(MeasureError::Unusable(text));
    match endpoint.kind {
        Some(kind) if kind.as_str() != spec.kind() => {
            return unusable(format!(
                "the source is of type {}, not {}",
                kind.as_str(),
                spec.kind()
            ));
        }
        None if endpoint.origin == AddressOrigin::Template && !spec.may_name_address() => {
            return unusable(format!("a MetricsSource of type {} must be named", spec.kind()));
        }
        Some(_) | None => {}
    }
    match &endpoint.allowed_query_prefix {
        Some(prefix)
            if !spec.queries().iter().all(|query| query.trim_start().starts_with(&**prefix)) =>
        {
            unusable(format!("the query must begin with {prefix:?} (allowedQueryPrefix)"))
        }
        Some(_) | None => Ok(()),
    }
}

fn url_of(base: &Url, request: &Request) -> Result<Url, MeasureError> {
    let mut url = base.clone();
    url.set_path(&format!("{}{}", base.path().trim_end_matches('/'), request.path));
    url.set_query(None);
    if !request.parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(&request.parameters);
    }
    if url.origin() == base.origin() {
        Ok(url)
    } else {
        Err(MeasureError::Unusable("the request would leave the source's address".to_owned()))
    }
}

async fn send(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    request: &Request,
    url: &Url,
    now: DateTime<Utc>,
) -> Result<Answer, MeasureError> {
    let way = transport.way(endpoint)?;
    let mut headers: HeaderMap = transport.headers(endpoint).await?;
    headers.insert(http::header::ACCEPT, http::HeaderValue::from_static(request.accept));
    if request.body.is_some() {
        let kind = http::HeaderValue::from_static(request.content_type);
        headers.insert(http::header::CONTENT_TYPE, kind);
    }
    if let Some(target) = request.target {
        let name = http::HeaderName::from_static("x-amz-target");
        headers.insert(name, http::HeaderValue::from_static(target));
    }
    let body = request.body.as_ref().map(ToString::to_string);
    if let Auth::Aws(key) = &endpoint.auth {
        let method = &request.method;
        let body = body.as_deref().unwrap_or_default().as_bytes();
        key.sign(&Unsigned { method, url, body, now }, &mut headers)?;
    }
    let client = match way {
        Way::Network(client) => client,
        Way::Exchange(exchange) => {
            let question =
                Question::Web { method: request.method.clone(), body: body.unwrap_or_default() };
            return exchange.ask(Sent { url: url.clone(), headers, question }).await;
        }
    };
    let mut sent = client.request(request.method.clone(), url.clone()).headers(headers);
    if let Some(body) = body {
        sent = sent.body(body);
    }
    let response = sent.send().await.map_err(|error| request_error(&error, url))?;
    read(response, MAX_ANSWER_BYTES, url).await
}
