//! Signatures of requests to AWS, version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>). Of the crates for it none
//! shares our versions of the digests. Pure.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::sample::MeasureError;
use super::secret::Secret;
use crate::revision::hex;

/// Who signs, and for whom.
#[derive(Clone)]
pub struct AwsKey {
    /// Identifier of the key.
    pub access_key_id: Secret<String>,
    /// The key.
    pub secret_access_key: Secret<String>,
    /// Token of temporary credentials.
    pub session_token: Option<Secret<String>>,
    /// Region of the service.
    pub region: String,
    /// Name of the service in signatures.
    pub service: String,
}

/// A request whose headers are to be signed.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    pub(super) body: &'a [u8],
    pub(super) now: DateTime<Utc>,
}

impl AwsKey {
    /// Adds date, token and signature to the headers; all of them are signed, and the host.
    ///
    /// # Errors
    /// [`MeasureError::Unusable`] for credentials that no header can carry.
    pub(super) fn sign(
        &self,
        unsigned: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), MeasureError> {
        let bad = || {
            MeasureError::Unusable(
                "the credentials hold characters that no header can carry".to_owned(),
            )
        };
        let moment = unsigned.now.format("%Y%m%dT%H%M%SZ").to_string();
        let date = unsigned.now.format("%Y%m%d").to_string();
        let mut put = |name: &'static str, value: &str| -> Result<(), MeasureError> {
            let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
            value.set_sensitive(name != "x-amz-date");
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        put("x-amz-date", &moment)?;
        if let Some(token) = &self.session_token {
            put("x-amz-security-token", token.expose())?;
        }
        let (names, lines) = canonical(unsigned.url, headers)?;
        let path = if unsigned.url.path().is_empty() { "/" } else { unsigned.url.path() };
        let request = format!(
            "{}\n{path}\n{}\n{lines}\n{names}\n{}",
            unsigned.method,
            unsigned.url.query().unwrap_or_default(),
            hex(&Sha256::digest(unsigned.body)),
        );
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = hex(&Sha256::digest(request.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}");
        let signature = hex(&keyed(&self.signing_key(&date), to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id.expose()
        );
        let mut value = HeaderValue::try_from(authorization).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        Ok(())
    }

    fn signing_key(&self, date: &str) -> Vec<u8> {
        let secret = format!("AWS4{}", self.secret_access_key.expose());
        [date, &self.region, &self.service, "aws4_request"]
            .into_iter()
            .fold(secret.into_bytes(), |key, part| keyed(&key, part.as_bytes()))
    }
}

/// Names of the signed headers, and their lines, by name.
fn canonical(url: &Url, headers: &HeaderMap) -> Result<(String, String), MeasureError> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut all = vec![("host".to_owned(), host)];
    for (name, value) in headers {
        let text = value
            .to_str()
            .map_err(|_| MeasureError::Unusable(format!("the header {name:?} cannot be signed")))?;
        all.push((name.as_str().to_owned(), text.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    all.sort();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let lines = all.iter().fold(String::new(), |mut lines, (name, value)| {
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "{name}:{value}");
        lines
    });
    Ok((names.join(";"), lines))
}

fn keyed(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(service: &str) -> AwsKey {
        AwsKey {
            access_key_id: Secret::new("AKIDEXAMPLE".to_owned()),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
            region: "us-east-1".to_owned(),
            service: service.to_owned(),
        }
    }

    #[test]
    fn the_signing_key_is_that_of_the_documentation() {
        assert_eq!(
            hex(&key("iam").signing_key("20150830")),
            "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        );
    }

    #[test]
    fn signatures_are_those_of_the_published_test_suite() {
        let now = DateTime::from_timestamp(1_440_938_160, 0).unwrap();
        let url = Url::parse("https://example.amazonaws.com/").unwrap();
        for (method, expected) in [
            // get-vanilla and post-vanilla.
            (Method::GET, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (Method::POST, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            let mut headers = HeaderMap::new();
            let unsigned = Unsigned { method: &method, url: &url, body: b"", now };
            key("service").sign(&unsigned, &mut headers).unwrap();
            assert_eq!(
                headers[header::AUTHORIZATION],
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={expected}"
                )
                .as_str()
            );
        }
    }
}
