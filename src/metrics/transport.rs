//! Requests to metrics servers: one client for each set of certificate authorities, with checked
//! addresses, no redirects, no proxies from the environment, bounded answers and one time limit over
//! everything.
//!
//! Never writes a credential or an answer's body into an error.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use reqwest::{Certificate, Client, Response, redirect};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::address::{AddressPolicy, AddressRefusal, CheckedResolver, port_of, shown_address};
use super::endpoint::{Auth, ResolvedEndpoint};
use super::exchange::{Answer, Exchange};
use super::sample::{DETAIL_LIMIT, MeasureError, shortened};
use super::secret::Secret;
use crate::telemetry;

/// Most bytes of an answer that are read.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Most bytes of a token endpoint's answer.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// Longest time for a connection to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: longer than most intervals, shorter than most servers keep it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Clients and tokens that are kept; beyond it all are made anew.
const MAX_CACHED: usize = 64;
/// A token is renewed this long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// Life of a token whose server does not say.
const DEFAULT_TOKEN_LIFE: Duration = Duration::from_mins(5);

type CacheKey = [u8; 32];

struct Token {
    value: Secret<String>,
    valid_until: Instant,
}

/// How a request goes out.
pub(super) enum Way {
    /// By HTTP.
    Network(Client),
    /// By whoever stands in for the network.
    Exchange(Arc<dyn Exchange>),
}

/// The HTTP side of all measurements.
#[derive(Clone)]
pub struct Transport {
    policy: Arc<AddressPolicy>,
    clients: Arc<Mutex<HashMap<CacheKey, Client>>>,
    tokens: Arc<Mutex<HashMap<CacheKey, Token>>>,
    /// Who carries requests; none: the network.
    exchange: Option<Arc<dyn Exchange>>,
}

impl Transport {
    /// A transport that talks to what `policy` permits.
    pub fn new(policy: AddressPolicy) -> Self {
        // Of several components of a process that install the provider only the first one does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            policy: Arc::new(policy),
            clients: Arc::default(),
            tokens: Arc::default(),
            exchange: None,
        }
    }

    /// The same, but requests go through `exchange` and never to the network. Tokens (OAuth2) cannot
    /// be fetched then.
    #[must_use]
    pub fn through(self, exchange: Arc<dyn Exchange>) -> Self {
        Self { exchange: Some(exchange), ..self }
    }

    /// Who carries requests to `endpoint`, after its address was checked.
    pub(super) fn way(&self, endpoint: &ResolvedEndpoint) -> Result<Way, MeasureError> {
        match &self.exchange {
            None => self.client(endpoint).map(Way::Network),
            Some(exchange) => {
                self.policy.check_url(&endpoint.base, endpoint.origin)?;
                Ok(Way::Exchange(exchange.clone()))
            }
        }
    }

    /// A client for an endpoint, after its address was checked.
    fn client(&self, endpoint: &ResolvedEndpoint) -> Result<Client, MeasureError> {
        self.client_for(&endpoint.base, endpoint)
    }

    /// A client for a URL, with the authority of an endpoint.
    fn client_for(&self, url: &Url, endpoint: &ResolvedEndpoint) -> Result<Client, MeasureError> {
        self.policy.check_url(url, endpoint.origin)?;
        // A name is checked when it is resolved, and then its port is not known any more.
        let port = port_of(url);
        let mut digest = Sha256::new_with_prefix(endpoint.ca_pem.as_deref().unwrap_or(""));
        digest.update(port.to_be_bytes());
        let key: CacheKey = digest.finalize().into();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(endpoint.ca_pem.as_deref(), port)?;
        if clients.len() >= MAX_CACHED {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn build(&self, ca_pem: Option<&str>, port: u16) -> Result<Client, MeasureError> {
        let policy = Arc::clone(&self.policy);
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(CheckedResolver { policy, port }))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = ca_pem {
            let bad =
                || MeasureError::Unusable("the CA is not a list of PEM certificates".to_owned());
            let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| bad())?;
            if certificates.is_empty() {
                return Err(bad());
            }
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map_err(|error| {
            MeasureError::Unusable(format!("no HTTP client can be made: {}", root_cause(&error)))
        })
    }

    /// The headers of a request: those of the endpoint and its credentials, for which a token may
    /// have to be fetched first.
    pub(super) async fn headers(
        &self,
        endpoint: &ResolvedEndpoint,
    ) -> Result<HeaderMap, MeasureError> {
        let mut headers: HeaderMap = endpoint.headers.iter().cloned().collect();
        let authorization = match &endpoint.auth {
            // A signature is made for the whole request, where it is known.
            Auth::None | Auth::Aws(_) => return Ok(headers),
            Auth::Basic { username, password } => basic(username, password),
            Auth::Bearer(token) => format!("Bearer {}", token.expose()),
            Auth::OAuth2 { token_url, client_id, client_secret, scopes } => {
                let request = TokenRequest { token_url, client_id, client_secret, scopes };
                let token = self.token(endpoint, &request).await?;
                format!("Bearer {}", token.expose())
            }
        };
        let mut value = HeaderValue::try_from(authorization).map_err(|_| {
            MeasureError::Unusable(
                "the credentials hold characters that no header can carry".to_owned(),
            )
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
        Ok(headers)
    }

    /// Forgets the token of an endpoint, because a server refused it.
    pub(super) fn forget_token(&self, endpoint: &ResolvedEndpoint) {
        if let Auth::OAuth2 { token_url, client_id, client_secret, scopes } = &endpoint.auth {
            let key = TokenRequest { token_url, client_id, client_secret, scopes }.key();
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
    }

    async fn token(
        &self,
        endpoint: &ResolvedEndpoint,
        request: &TokenRequest<'_>,
    ) -> Result<Secret<String>, MeasureError> {
        let key = request.key();
        {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(token) = tokens.get(&key).filter(|token| token.valid_until > Instant::now())
            {
                return Ok(token.value.clone());
            }
        }
        if self.exchange.is_some() {
            let why = "OAuth2 needs a network, and this process has none";
            return Err(MeasureError::Unusable(why.to_owned()));
        }
        let client = self.client_for(request.token_url, endpoint)?;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        if !request.scopes.is_empty() {
            form.push(("scope", request.scopes.join(" ")));
        }
        let response = client
            .post(request.token_url.clone())
            .basic_auth(
                form_encoded(request.client_id),
                Some(form_encoded(request.client_secret.expose())),
            )
            .form(&form)
            .send()
            .await
            .map_err(|error| request_error(&error, request.token_url))?;
        let answer = read(response, MAX_TOKEN_BYTES, request.token_url).await?;
        let (value, life) = token_of(&answer, request.token_url)?;
        let valid_until = Instant::now() + life.saturating_sub(TOKEN_MARGIN);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MAX_CACHED {
            tokens.clear();
        }
        tokens.insert(key, Token { value: value.clone(), valid_until });
        Ok(value)
    }
}

struct TokenRequest<'a> {
    token_url: &'a Url,
    client_id: &'a str,
    client_secret: &'a Secret<String>,
    scopes: &'a [String],
}

impl TokenRequest<'_> {
    fn key(&self) -> CacheKey {
        let mut digest = Sha256::new();
        let scopes = self.scopes.join(" ");
        for part in [self.token_url.as_str(), self.client_id, self.client_secret.expose(), &scopes]
        {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// Token and life from the answer of a token endpoint (RFC 6749, section 5.1).
fn token_of(answer: &Answer, url: &Url) -> Result<(Secret<String>, Duration), MeasureError> {
    #[derive(serde::Deserialize)]
    struct TokenAnswer {
        access_token: String,
        expires_in: Option<f64>,
    }
    if answer.status != 200 {
        let detail = "no token was given".to_owned();
        return Err(MeasureError::Rejected {
            address: shown_address(url),
            status: answer.status,
            detail,
        });
    }
    let token: TokenAnswer = serde_json::from_slice(&answer.body).map_err(|_| {
        MeasureError::Malformed("the token endpoint's answer holds no token".to_owned())
    })?;
    let life = token
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(DEFAULT_TOKEN_LIFE);
    Ok((Secret::new(token.access_token), life))
}

/// Client credentials are form-encoded before they become basic authentication (RFC 6749, 2.3.1).
fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn basic(username: &Secret<String>, password: &Secret<String>) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", username.expose(), password.expose());
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Reads an answer of at most `limit` bytes.
pub(super) async fn read(
    mut response: Response,
    limit: usize,
    url: &Url,
) -> Result<Answer, MeasureError> {
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let content_type = header(header::CONTENT_TYPE).unwrap_or("").to_ascii_lowercase();
    // We ask for no compression, so a compressed answer is a mistake or a bomb.
    if header(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(MeasureError::Malformed(
            "it is compressed, which was not asked for".to_owned(),
        ));
    }
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(MeasureError::TooLarge { limit });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| request_error(&error, url))? {
        if body.len() + chunk.len() > limit {
            return Err(MeasureError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, body })
}

/// Runs `work` under one time limit.
pub(super) async fn within<T>(
    limit: Duration,
    url: &Url,
    work: impl Future<Output = Result<T, MeasureError>>,
) -> Result<T, MeasureError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(MeasureError::TimedOut { address: shown_address(url), limit }))
}

/// What a failed request means.
pub(super) fn request_error(error: &reqwest::Error, url: &Url) -> MeasureError {
    let address = shown_address(url);
    if let Some(refusal) = find_refusal(error) {
        return MeasureError::NotPermitted { address, reason: refusal.to_string() };
    }
    if error.is_timeout() {
        return MeasureError::TimedOut { address, limit: CONNECT_TIMEOUT };
    }
    if error.is_body() || error.is_decode() {
        return MeasureError::Unreachable {
            address,
            detail: "the connection broke during the answer".to_owned(),
        };
    }
    MeasureError::Unreachable { address, detail: root_cause(error) }
}

fn find_refusal(error: &reqwest::Error) -> Option<AddressRefusal> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(refusal) = error.downcast_ref::<AddressRefusal>() {
            return Some(*refusal);
        }
        source = error.source();
    }
    None
}

/// The innermost cause, shortened.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    shortened(&telemetry::root_cause(error), DETAIL_LIMIT)
}
