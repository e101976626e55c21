//! Measures a value in a JSON answer over HTTP.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use url::Url;

use super::address::{AddressOrigin, shown_address};
use super::endpoint::ResolvedEndpoint;
use super::exchange::{Answer, Asked, Question};
use super::sample::{MeasureError, Sample, SampleValue};
use super::spec::web::{Method, Spec, parsed_json_path};
use super::transport::{MAX_ANSWER_BYTES, Transport, Way, read, request_error, within};
use crate::api::metrics_source::MetricsSourceType;

/// Time limit of a request that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit of one request.
pub fn time_limit(endpoint: &ResolvedEndpoint, spec: &Spec) -> Duration {
    let asked = spec
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .and_then(|seconds| u64::try_from(seconds).ok());
    asked.map_or(DEFAULT_TIMEOUT, Duration::from_secs).min(endpoint.timeout_limit)
}

/// Makes the request of `spec`, whose arguments are filled in.
///
/// # Errors
/// [`MeasureError`], each cause apart.
pub async fn measure(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    spec: &Spec,
) -> Result<Sample, MeasureError> {
    if let Some(kind) = endpoint.kind.filter(|kind| *kind != MetricsSourceType::Web) {
        let text = format!("the source is of type {}, not Web", kind.as_str());
        return Err(MeasureError::Unusable(text));
    }
    let url = request_url(endpoint, spec)?;
    let answer = within(time_limit(endpoint, spec), &url, async {
        let answer = ask(transport, endpoint, spec, &url).await?;
        if answer.status == 401 {
            transport.forget_token(endpoint);
        }
        Ok(answer)
    })
    .await?;
    sample_of(&answer, spec, &url)
}

/// The URL of the request. With a source it stays below the source's address.
fn request_url(endpoint: &ResolvedEndpoint, spec: &Spec) -> Result<Url, MeasureError> {
    if endpoint.origin == AddressOrigin::Template {
        return Ok(endpoint.base.clone());
    }
    let unusable =
        |problem: &str| MeasureError::Unusable(format!("the url {:?} {problem}", spec.url));
    if !spec.url.starts_with('/') {
        return Err(unusable("must be a path that begins with /"));
    }
    let base_path = endpoint.base.path().trim_end_matches('/').to_owned();
    // `//host` would be another host, and `..` another path; both are worked out before the check.
    let joined = format!("{base_path}/{}", spec.url.trim_start_matches(['/', '\\']));
    let url = endpoint.base.join(&joined).map_err(|_| unusable("is not a path"))?;
    let is_below = url.origin() == endpoint.base.origin()
        && url.path().strip_prefix(base_path.as_str()).is_some_and(|rest| rest.starts_with('/'));
    if !is_below {
        return Err(unusable("leads out of the source's address"));
    }
    if let Some(prefix) = &endpoint.allowed_query_prefix {
        let rest = url.path().strip_prefix(base_path.as_str()).unwrap_or("");
        let is_allowed = rest
            .strip_prefix(prefix.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !is_allowed {
            return Err(unusable(&format!("must be below {prefix:?} (allowedQueryPrefix)")));
        }
    }
    Ok(url)
}

async fn ask(
    transport: &Transport,
    endpoint: &ResolvedEndpoint,
    spec: &Spec,
    url: &Url,
) -> Result<Answer, MeasureError> {
    let way = transport.way(endpoint)?;
    let mut headers = transport.headers(endpoint).await?;
    let method = match spec.method.unwrap_or_default() {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
    };
    let body = if let Some(body) = &spec.json_body {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
        Some(body.0.to_string())
    } else {
        spec.body.clone()
    };
    let client = match way {
        Way::Network(client) => client,
        Way::Exchange(exchange) => {
            let question = Question::Web { method, body: body.unwrap_or_default() };
            return exchange.ask(Asked { url: url.clone(), headers, question }).await;
        }
    };
    let mut request = client.request(method, url.clone()).headers(headers);
    if let Some(body) = body {
        request = request.body(body);
    }
    let response = request.send().await.map_err(|error| request_error(&error, url))?;
    read(response, MAX_ANSWER_BYTES, url).await
}

fn sample_of(answer: &Answer, spec: &Spec, url: &Url) -> Result<Sample, MeasureError> {
    if !(200..300).contains(&answer.status) {
        let detail = if (300..400).contains(&answer.status) {
            "redirects are not followed"
        } else {
            "it must answer with 2xx"
        };
        return Err(MeasureError::Rejected {
            address: shown_address(url),
            status: answer.status,
            detail: detail.to_owned(),
        });
    }
    let json = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json) => json,
        // As in Argo Rollouts a plain text is a value. Something that claims to be JSON, or into which a
        // path should lead, is broken instead.
        Err(_) if spec.json_path.is_none() && answer.content_type.starts_with("text/plain") => {
            let text = std::str::from_utf8(&answer.body)
                .map_err(|_| MeasureError::Malformed("it is not a text".to_owned()))?;
            Value::String(text.to_owned())
        }
        Err(_) => {
            return Err(MeasureError::Malformed("it is not JSON, or it was cut off".to_owned()));
        }
    };
    let Some(path) = &spec.json_path else {
        return Ok(SampleValue::Json(json).into());
    };
    let path = parsed_json_path(path)
        .map_err(|problem| MeasureError::Unusable(format!("jsonPath {problem}")))?;
    // A path that leads nowhere gives nothing (nil), which a condition may ask for.
    let found = path.query(&json).first().cloned().unwrap_or(Value::Null);
    Ok(SampleValue::Json(found).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::metrics_source::MetricsSourceSpec;
    use crate::metrics::endpoint::SourceMaterial;
    use proptest::prelude::*;

    fn url_of(path: &str, prefix: Option<&str>) -> Result<String, String> {
        let source = MetricsSourceSpec {
            kind: Some(MetricsSourceType::Web),
            address: "http://api.svc:8080/base/".to_owned(),
            allowed_query_prefix: prefix.map(str::to_owned),
            ..MetricsSourceSpec::default()
        };
        let endpoint =
            ResolvedEndpoint::from_source(&source, false, "ns", &SourceMaterial::default())
                .ok()
                .unwrap();
        let spec = Spec { url: path.to_owned(), ..Spec::default() };
        request_url(&endpoint, &spec).map(Into::into).map_err(|error| error.to_string())
    }

    #[test]
    fn a_path_stays_below_its_source() {
        assert_eq!(url_of("/v1/x?a=b", None).unwrap(), "http://api.svc:8080/base/v1/x?a=b");
        assert_eq!(url_of("/api/x", Some("/api")).unwrap(), "http://api.svc:8080/base/api/x");
        assert_eq!(url_of("//evil.com/x", None).unwrap(), "http://api.svc:8080/base/evil.com/x");
        for outside in
            ["/../secret", "/a/../../secret", "/%2e%2e/secret", "http://evil.com", "/..\\..\\x"]
        {
            assert!(url_of(outside, None).is_err(), "{outside}");
        }
        for outside in ["/apix", "/api/../other", "/other"] {
            assert!(url_of(outside, Some("/api")).is_err(), "{outside}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_to_another_host(path in "[/\\\\.a-z@:%0-9?#]{0,30}") {
            if let Ok(url) = url_of(&path, None) {
                prop_assert!(url.starts_with("http://api.svc:8080/base/"), "{} -> {}", path, url);
            }
        }
    }
}
