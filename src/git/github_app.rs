//! A GitHub App as credentials: the keys of a Secret, the signed assertion by which the App speaks for
//! itself, and the two calls that turn it into a token for one repository. Pure; who carries the calls
//! and keeps the token is `git::http`.
//!
//! The private key must never leave this process: only what it signs does, and nothing of it is in a
//! text, an error or `Debug`.
//!
//! Sources: GitHub documentation "Generating a JSON Web Token (JWT) for a GitHub App" and REST API
//! "Apps", version 2022-11-28; RFC 7515 and RFC 7518 (RS256); for the keys, Argo CD "Private
//! Repositories" and Flux `GitRepository` (`provider: github`).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use rustls::sign::Signer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::credentials::{CredentialRefusal, Data, Hidden, first};
use super::forge::{Answer, Call, Forge, ForgeError, GITHUB_HEADERS, Method, detail};
use super::source::GitUrl;
use crate::api::git_revert::PullRequestProvider;
use crate::revision::hex;

/// Name that stands beside an installation's token in basic authentication.
pub(super) const TOKEN_USER: &str = "x-access-token";
/// How far an assertion's beginning lies in the past, for clocks that differ a little.
const BACKDATED: TimeDelta = TimeDelta::seconds(60);
/// How long an assertion is valid from now; with what it is backdated by, GitHub takes 10 minutes.
const VALID: TimeDelta = TimeDelta::minutes(9);
/// Longest token that is believed to be one.
const MAX_TOKEN: usize = 4096;

const ID: &str = "githubAppID";
const INSTALLATION: &str = "githubAppInstallationID";
const OWNER: &str = "githubAppInstallationOwner";
const PRIVATE_KEY: &str = "githubAppPrivateKey";
/// Flux' name of the key, then Argo CD's.
const BASE: [&str; 2] = ["githubAppBaseURL", "githubAppEnterpriseBaseUrl"];
/// Every key that is understood.
pub(super) const KEYS: [&str; 6] = [ID, INSTALLATION, OWNER, PRIVATE_KEY, BASE[0], BASE[1]];

/// Which installation of the App is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Installation {
    /// By its number.
    Id(u64),
    /// By the account that has it.
    Of(String),
}

impl Installation {
    /// The key of the Secret that says it.
    const fn key(&self) -> &'static str {
        match self {
            Self::Id(_) => INSTALLATION,
            Self::Of(_) => OWNER,
        }
    }
}

/// An App that may act in one repository.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct App {
    id: String,
    key: Hidden,
    pub(super) installation: Installation,
    /// The address of the API, where the Secret says it.
    pub(super) base: Option<String>,
    /// The repository, as `owner/name`.
    repository: (String, String),
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("id", &self.id)
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

/// A token that was given to an installation.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) token: Hidden,
    pub(super) expires_at: DateTime<Utc>,
}

impl App {
    /// The App of a Secret's data, if it holds one.
    ///
    /// # Errors
    /// [`CredentialRefusal`], naming the key.
    pub(super) fn from_secret(
        url: &GitUrl,
        data: &Data,
    ) -> Result<Option<Self>, CredentialRefusal> {
        let given = KEYS.iter().find(|key| data.get(**key).is_some_and(|value| !value.is_empty()));
        let Some(has) = given.copied() else { return Ok(None) };
        let need = |key: &'static str| {
            first(data, &[key]).ok_or(CredentialRefusal::Incomplete { has, lacks: key })
        };
        let malformed = |key, reason| CredentialRefusal::Malformed { key, reason };
        let (_, id) = need(ID)?;
        let id = id.text().trim().to_owned();
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
            return Err(malformed(ID, "is not the number (or the client id) of an App"));
        }
        let (_, key) = need(PRIVATE_KEY)?;
        if signer(&key).is_none() {
            let reason = "holds no RSA private key of 2048 to 4096 bits as PEM, as GitHub makes it";
            return Err(malformed(PRIVATE_KEY, reason));
        }
        let repository = owner_and_name(url).ok_or_else(|| {
            malformed(ID, "is for GitHub, where the path of a repository is `owner/name`")
        })?;
        let installation = match (first(data, &[INSTALLATION]), first(data, &[OWNER])) {
            (Some(_), Some(_)) => {
                let reason = "stands beside `githubAppInstallationOwner`; leave one of the two";
                return Err(malformed(INSTALLATION, reason));
            }
            (Some((_, number)), None) => {
                let number = number.text().trim().parse();
                let reason = "is not the number of an installation";
                Installation::Id(number.map_err(|_| malformed(INSTALLATION, reason))?)
            }
            (None, Some((_, owner))) => {
                let owner = owner.text().trim().to_owned();
                if owner.is_empty() || !owner.bytes().all(is_of_account) {
                    return Err(malformed(OWNER, "is not the name of an account"));
                }
                Installation::Of(owner)
            }
            // As Argo CD does: the one that the repository's owner has.
            (None, None) => Installation::Of(repository.0.clone()),
        };
        let base = first(data, &BASE).map(|(key, base)| {
            let reason = "is not an https address such as https://github.example.com/api/v3";
            base_address(base.text().trim()).ok_or_else(|| malformed(key, reason))
        });
        Ok(Some(Self { id, key, installation, base: base.transpose()?, repository }))
    }

    /// What the App is told apart from others by; says nothing of its key.
    pub(super) fn digest(&self, api: &str) -> String {
        let mut hasher = Sha256::new();
        let installation = format!("{:?}", self.installation);
        let (owner, name) = &self.repository;
        for part in [&self.id, &installation, api, owner, name] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        hasher.update(self.key.bytes());
        hex(&hasher.finalize())
    }

    /// The API at which the App is known.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub(super) fn api(&self, url: &GitUrl) -> Result<String, ForgeError> {
        match &self.base {
            Some(base) => Ok(base.clone()),
            None => Ok(Forge::of(url, Some(PullRequestProvider::GitHub))?.base().to_owned()),
        }
    }

    /// Says that it is the App that speaks, for some minutes from `now` on; a JSON Web Token.
    pub(super) fn assertion(&self, now: DateTime<Utc>) -> Option<Hidden> {
        let claims = json!({
            "iat": (now - BACKDATED).timestamp(), "exp": (now + VALID).timestamp(), "iss": self.id,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let said = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT"})), part(&claims));
        let signature = signer(&self.key)?.sign(said.as_bytes()).ok()?;
        Some(Hidden::new(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }

    /// Asks which installation an account has: the first call is for an organization, the second for
    /// a person.
    pub(super) fn look_ups(&self, api: &str) -> Option<[Call; 2]> {
        let Installation::Of(owner) = &self.installation else { return None };
        let call = |kind: &str| Call {
            method: Method::Get,
            url: format!("{api}/{kind}/{owner}/installation"),
            query: Vec::new(),
            body: None,
            scheme: "Bearer",
            headers: GITHUB_HEADERS,
        };
        Some([call("orgs"), call("users")])
    }

    /// Asks for a token that reaches this repository only, and only what a revert needs.
    pub(super) fn exchange(&self, api: &str, installation: u64) -> Call {
        Call {
            method: Method::Post,
            url: format!("{api}/app/installations/{installation}/access_tokens"),
            query: Vec::new(),
            body: Some(json!({
                "repositories": [self.repository.1],
                "permissions": {"contents": "write", "pull_requests": "write"},
            })),
            scheme: "Bearer",
            headers: GITHUB_HEADERS,
        }
    }

    /// The number of the installation in an answer.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub(super) fn read_installation(
        &self,
        at: &At<'_>,
        answer: &Answer,
    ) -> Result<u64, ForgeError> {
        let value = self.json(at, answer, OWNER)?;
        let id = value.get("id").and_then(Value::as_u64);
        id.ok_or_else(|| at.malformed("it names no installation"))
    }

    /// The token in an answer.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub(super) fn read_token(&self, at: &At<'_>, answer: &Answer) -> Result<Given, ForgeError> {
        let value = self.json(at, answer, self.installation.key())?;
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let token = text("token").filter(|token| {
            !token.is_empty()
                && token.len() <= MAX_TOKEN
                && token.bytes().all(|b| b.is_ascii_graphic())
        });
        let expires_at = text("expires_at").and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        match (token, expires_at) {
            (Some(token), Some(at)) => {
                Ok(Given { token: Hidden::new(token.to_owned()), expires_at: at.to_utc() })
            }
            _ => Err(at.malformed("it holds no token with an end")),
        }
    }

    fn json(&self, at: &At<'_>, answer: &Answer, key: &'static str) -> Result<Value, ForgeError> {
        self.check(at, answer, key)?;
        serde_json::from_slice(&answer.body).map_err(|_| at.malformed("it is not JSON"))
    }

    fn check(&self, at: &At<'_>, answer: &Answer, key: &'static str) -> Result<(), ForgeError> {
        let (host, status) = (at.host.to_owned(), answer.status);
        let words = detail(&answer.body);
        let words = if words.is_empty() { "no further words".to_owned() } else { words };
        let Self { id, repository: (owner, name), .. } = self;
        let refused = |key, why| ForgeError::App { secret: at.secret.to_owned(), key, why };
        Err(match status {
            200..=299 => return Ok(()),
            _ if answer.is_exhausted => ForgeError::Exhausted { host, status },
            300..=399 => ForgeError::Redirected { host },
            401 => refused(
                PRIVATE_KEY,
                format!(
                    "`{host}` does not accept what it signs for App {id}: is it a key of this App, \
                     and not deleted? (401: {words}){}",
                    at.skew
                ),
            ),
            404 => {
                let what = match &self.installation {
                    Installation::Id(number) => format!("installation {number} of App {id}"),
                    Installation::Of(account) => {
                        format!("installation of App {id} at the account {account}")
                    }
                };
                refused(key, format!("`{host}` knows no {what} (404: {words})"))
            }
            429 => ForgeError::Exhausted { host, status },
            500..=599 => ForgeError::Server { host, status },
            _ => refused(
                key,
                format!(
                    "App {id} gets no token for {owner}/{name} with contents: write and \
                     pull_requests: write ({status}: {words})"
                ),
            ),
        })
    }
}

/// Where something was asked, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    /// The host that answered.
    pub(super) host: &'a str,
    /// The name of the Secret.
    pub(super) secret: &'a str,
    /// What is to be said of clocks that differ; empty where they do not.
    pub(super) skew: &'a str,
}

impl At<'_> {
    fn malformed(&self, detail: &str) -> ForgeError {
        ForgeError::Malformed { host: self.host.to_owned(), detail: detail.to_owned() }
    }
}

/// What signs with an RSA key in PEM form (PKCS#1 or PKCS#8), by PKCS#1 v1.5 and SHA-256.
fn signer(key: &Hidden) -> Option<Box<dyn Signer>> {
    let der = PrivateKeyDer::from_pem_slice(key.bytes()).ok()?;
    any_supported_type(&der).ok()?.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
}

fn owner_and_name(url: &GitUrl) -> Option<(String, String)> {
    let path = url.path().trim_matches('/');
    let (owner, name) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
    let is_name = |b: u8| is_of_account(b) || matches!(b, b'.' | b'_');
    let is_usable = !owner.is_empty()
        && owner.bytes().all(is_of_account)
        && !name.is_empty()
        && name.bytes().all(is_name);
    is_usable.then(|| (owner.to_owned(), name.to_owned()))
}

/// What the name of an account is made of; accounts of an enterprise hold `_`, too.
fn is_of_account(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}

/// An address without anything that could lead elsewhere, and without the last `/`.
fn base_address(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok()?;
    let is_plain = url.scheme() == "https"
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::credentials::Credentials;

    const KEY: &str = include_str!("../../tests/fixtures/github-app/app.pem");
    const KEY_AS_PKCS8: &str = include_str!("../../tests/fixtures/github-app/app-pkcs8.pem");
    /// Signed by OpenSSL, for App 12345 at the second 1,790,000,000.
    const ASSERTION: &str = include_str!("../../tests/fixtures/github-app/assertion.jwt");
    const URL: &str = "https://github.com/shop/env.git";

    fn read(url: &str, pairs: &[(&str, &str)]) -> Result<Option<App>, CredentialRefusal> {
        let data = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        App::from_secret(&GitUrl::parse(url).unwrap(), &data)
    }

    fn app(pairs: &[(&str, &str)]) -> App {
        let all: Vec<_> =
            [(ID, "12345"), (PRIVATE_KEY, KEY)].iter().chain(pairs).copied().collect();
        read(URL, &all).unwrap().unwrap()
    }

    #[test]
    fn the_assertion_is_what_another_program_signs_from_either_form_of_the_key() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        for key in [KEY, KEY_AS_PKCS8] {
            let pairs = [(ID, "12345\n"), (PRIVATE_KEY, key), (INSTALLATION, "7")];
            let app = read(URL, &pairs).unwrap().unwrap();
            assert_eq!(app.assertion(now).unwrap().text(), ASSERTION);
        }
    }

    #[test]
    fn the_key_sets_of_argo_cd_and_flux_name_an_installation_or_an_account() {
        assert_eq!(app(&[(INSTALLATION, "7")]).installation, Installation::Id(7));
        assert_eq!(app(&[(OWNER, "acme")]).installation, Installation::Of("acme".into()));
        assert_eq!(app(&[]).installation, Installation::Of("shop".into()));
        for key in BASE {
            let base = app(&[(key, "https://ghe.example:8443/api/v3/")]).base;
            assert_eq!(base.as_deref(), Some("https://ghe.example:8443/api/v3"));
        }
        assert_eq!(read(URL, &[("password", "x")]), Ok(None));
    }

    #[test]
    fn what_is_missing_or_cannot_be_is_named_by_its_key_and_never_shown() {
        type Secret<'a> = &'a [(&'a str, &'a str)];
        let ec = "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\n";
        let table: [(&str, Secret<'_>, &str); 9] = [
            (URL, &[(ID, "1")], "no `githubAppPrivateKey`"),
            (URL, &[(PRIVATE_KEY, KEY)], "no `githubAppID`"),
            (URL, &[(ID, "hunter2 x"), (PRIVATE_KEY, KEY)], "`githubAppID`"),
            (URL, &[(ID, "1"), (PRIVATE_KEY, ec)], "`githubAppPrivateKey`"),
            (URL, &[(ID, "1"), (PRIVATE_KEY, "hunter2")], "`githubAppPrivateKey`"),
            (
                URL,
                &[(ID, "1"), (PRIVATE_KEY, KEY), (INSTALLATION, "7"), (OWNER, "shop")],
                "`githubAppInstallationOwner`; leave one",
            ),
            (
                URL,
                &[(ID, "1"), (PRIVATE_KEY, KEY), (INSTALLATION, "hunter2")],
                "`githubAppInstallationID`",
            ),
            (
                URL,
                &[(ID, "1"), (PRIVATE_KEY, KEY), (BASE[1], "http://hunter2.example")],
                "`githubAppEnterpriseBaseUrl`",
            ),
            ("https://github.com/env", &[(ID, "1"), (PRIVATE_KEY, KEY)], "`owner/name`"),
        ];
        for (url, pairs, words) in table {
            let refusal = read(url, pairs).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn an_app_shows_nothing_of_its_key() {
        let data = [(ID, "12345"), (PRIVATE_KEY, KEY), ("apiToken", "hunter2")];
        let data = data.map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec())).into();
        let url = GitUrl::parse(URL).unwrap();
        let credentials = Credentials::from_secret("shop/git", &url, &data).unwrap();
        let shown = format!("{credentials:?} {:?}", app(&[]).assertion(DateTime::UNIX_EPOCH));
        assert!(shown.contains("12345") && !shown.contains("hunter2"), "{shown}");
        let is_of_key = |line: &&str| line.len() > 20 && shown.contains(*line);
        assert_eq!(KEY.lines().find(is_of_key), None);
    }

    #[test]
    fn a_token_is_asked_for_one_repository_and_two_rights() {
        let call = app(&[(INSTALLATION, "7")]).exchange("https://api.github.com", 7);
        assert_eq!(call.url, "https://api.github.com/app/installations/7/access_tokens");
        let body = json!({
            "repositories": ["env"],
            "permissions": {"contents": "write", "pull_requests": "write"},
        });
        assert_eq!(call.body, Some(body));
    }
}
