//! The side of a forge that knows GitHub Apps: it believes what App 12345 signed, by its public key and
//! by its own clock, and gives tokens out.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chrono::{TimeDelta, Utc};
use rustls::SignatureScheme;
use serde_json::{Value, json};

pub(crate) const APP: &str = "12345";
pub(crate) const KEY: &str = include_str!("../fixtures/github-app/app.pem");
const PUBLIC_KEY: &str = include_str!("../fixtures/github-app/app-public.pem");
/// The installation at the organization `shop`; the person `ada` has number 8.
pub(crate) const INSTALLATION: u64 = 7;

/// What the forge knows of the App.
pub(crate) struct Installations {
    /// The tokens that are valid.
    pub(crate) tokens: Vec<String>,
    /// What each token was asked for.
    pub(crate) asked: Vec<Value>,
    /// How long the next token is valid.
    pub(crate) lifetime: TimeDelta,
    /// How many were given out.
    given: u32,
}

impl Default for Installations {
    fn default() -> Self {
        Self { tokens: vec![], asked: vec![], lifetime: TimeDelta::hours(1), given: 0 }
    }
}

impl Installations {
    /// The answer to a call of the App, or to one that only an App makes.
    pub(crate) fn answer(
        &mut self,
        (method, path): (&str, &str),
        authorization: Option<&str>,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let rest = path.strip_prefix("/api/v3/")?;
        let parts: Vec<&str> = rest.split('/').collect();
        if !matches!(parts.first(), Some(&"app" | &"orgs" | &"users")) {
            return None;
        }
        let assertion = authorization.and_then(|given| given.strip_prefix("Bearer "));
        if let Err(why) = assertion.ok_or("no assertion").and_then(check) {
            return Some((401, json!({"message": why})));
        }
        Some(match (method, parts.as_slice()) {
            ("GET", ["orgs", "shop", "installation"]) => (200, json!({"id": INSTALLATION})),
            ("GET", ["users", "ada", "installation"]) => (200, json!({"id": 8})),
            ("POST", ["app", "installations", "7" | "8", "access_tokens"]) => {
                self.asked.push(body.clone());
                self.given += 1;
                let token = format!("ghs_given-out-{}", self.given);
                self.tokens.push(token.clone());
                let expires_at = (Utc::now() + self.lifetime).to_rfc3339();
                (201, json!({"token": token, "expires_at": expires_at, "permissions": {}}))
            }
            _ => (404, json!({"message": "Not Found"})),
        })
    }
}

/// What GitHub checks of an assertion, in its words.
fn check(assertion: &str) -> Result<(), &'static str> {
    const UNREADABLE: &str = "A JSON web token could not be decoded";
    let (said, signature) = assertion.rsplit_once('.').ok_or(UNREADABLE)?;
    let (head, claims) = said.split_once('.').ok_or(UNREADABLE)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| UNREADABLE);
    let value = |part: &str| {
        decode(part).and_then(|text| serde_json::from_slice::<Value>(&text).map_err(|_| UNREADABLE))
    };
    if value(head)?["alg"] != "RS256" || !is_signed(said.as_bytes(), &decode(signature)?) {
        return Err(UNREADABLE);
    }
    let claims = value(claims)?;
    let at = |key: &str| claims[key].as_i64().ok_or("a claim is missing");
    let (issued, ends, now) = (at("iat")?, at("exp")?, Utc::now().timestamp());
    if claims["iss"] != APP {
        Err("Integration not found")
    } else if issued > now {
        Err("'Issued at' claim ('iat') is in the future")
    } else if ends <= now {
        Err("'Expiration time' claim ('exp') must be a numeric value representing the future time")
    } else if ends > now + 600 {
        Err("'Expiration time' claim ('exp') is too far in the future")
    } else {
        Ok(())
    }
}

fn is_signed(said: &[u8], signature: &[u8]) -> bool {
    let text: String =
        PUBLIC_KEY.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
    let key = STANDARD.decode(text).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let mapping = provider.signature_verification_algorithms.mapping;
    let found = mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::RSA_PKCS1_SHA256);
    let (_, algorithms) = found.unwrap();
    algorithms.iter().any(|one| one.verify_signature(&key, said, signature).is_ok())
}
