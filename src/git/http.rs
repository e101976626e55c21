//! Carries calls to the API of a forge: over TLS, to checked addresses, with one time limit over
//! everything, bounded answers, no redirects and no proxies from the environment.
//!
//! It must never write a token or an answer's body into an error. It repeats nothing but a call that
//! was refused for the token of a GitHub App that ended before its time, once.

mod apps;

use std::{error::Error, fmt, net::IpAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, header};
use reqwest::{
    Certificate, Client, Identity, Response,
    dns::{Name, Resolve, Resolving},
    redirect,
};
use url::Url;

use self::apps::Apps;
use super::{
    backend::{Carrier, Remote},
    credentials::Hidden,
    forge::{Answer, Call, ForgeError, Method},
    message::clean,
    source::{AddressRule, AllowedHosts},
};
use crate::clock::Clock;
use crate::telemetry::root_cause;

/// Most bytes of an answer that are read: fifty requests with their texts.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest time for a call, with its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// The way to every forge.
#[derive(Clone, Debug)]
pub struct HttpForge {
    hosts: AllowedHosts,
    addresses: AddressRule,
    limit: Duration,
    apps: Arc<Apps>,
}

/// An answer, with what else of it matters to whoever asks for a token.
struct Reply {
    answer: Answer,
    /// The server's time.
    date: Option<DateTime<Utc>>,
    /// When the next call may be made, as the server says.
    pause: Option<Duration>,
}

impl HttpForge {
    /// A way to the forges of repositories on `hosts`, at addresses that `addresses` allows. `clock`
    /// dates what GitHub Apps sign.
    pub fn new(hosts: AllowedHosts, addresses: AddressRule, clock: Arc<dyn Clock>) -> Self {
        // Of several components of a process that install the provider only the first one does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { hosts, addresses, limit: LIMIT, apps: Arc::new(Apps::new(clock)) }
    }

    /// The same with another time limit for a call.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Sends a call with a token, within the time limit.
    async fn send(
        &self,
        remote: &Remote,
        call: &Call,
        token: &Hidden,
    ) -> Result<Reply, ForgeError> {
        let sent = tokio::time::timeout(self.limit, self.send_unlimited(remote, call, token)).await;
        sent.unwrap_or_else(|_| {
            let detail = format!("no answer within {} s", self.limit.as_secs());
            Err(ForgeError::Unreachable { host: host_of(remote, call), detail })
        })
    }

    async fn send_unlimited(
        &self,
        remote: &Remote,
        call: &Call,
        token: &Hidden,
    ) -> Result<Reply, ForgeError> {
        let host = host_of(remote, call);
        let unreachable = |detail: String| ForgeError::Unreachable { host: host.clone(), detail };
        self.check(remote, call)?;
        let client = self.client(remote).map_err(unreachable)?;
        let method = match call.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
        };
        let words = format!("{} {}", call.scheme, token.text());
        let mut authorization =
            HeaderValue::try_from(words).map_err(|_| ForgeError::NoToken { host: host.clone() })?;
        authorization.set_sensitive(true);
        let mut request = client.request(method, &call.url).query(&call.query);
        for (name, value) in call.headers {
            request =
                request.header(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let sent = request.header(header::AUTHORIZATION, authorization).send().await;
        let response = sent.map_err(|error| match refused_address(&error) {
            Some(kind) => ForgeError::AddressRefused { host: host.clone(), kind },
            None => unreachable(clean(&root_cause(&error), 200)),
        })?;
        read(response, &host).await
    }

    /// The repository must be on an allowed host, and so must the API, unless it is the one that
    /// belongs to that host.
    fn check(&self, remote: &Remote, call: &Call) -> Result<(), ForgeError> {
        let not_allowed = |error| ForgeError::NotAllowed(Box::new(error));
        self.hosts.check(&remote.url).map_err(not_allowed)?;
        let host = host_of(remote, call);
        let port = Url::parse(&call.url).ok().and_then(|url| url.port_or_known_default());
        let is_its_own = host == remote.url.host()
            || (remote.url.host(), &*host) == ("github.com", "api.github.com");
        if !is_its_own {
            self.hosts.check_host(&host, port.unwrap_or(443)).map_err(not_allowed)?;
        }
        match host.parse::<IpAddr>().ok().and_then(|address| self.addresses.refusal(address)) {
            Some(kind) => Err(ForgeError::AddressRefused { host, kind }),
            None => Ok(()),
        }
    }

    fn client(&self, remote: &Remote) -> Result<Client, String> {
        let mut builder = Client::builder()
            .no_proxy()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .dns_resolver(Arc::new(Checked(self.addresses)))
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &remote.credentials.ca {
            let certificates = Certificate::from_pem_bundle(ca.bytes())
                .map_err(|_| "key `ca.crt` of the Secret holds no PEM certificates".to_owned())?;
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((certificate, key)) = &remote.credentials.client_certificate {
            let pem = [key.bytes(), b"\n", certificate.bytes()].concat();
            let identity = Identity::from_pem(&pem)
                .map_err(|_| "the client certificate of the Secret cannot be used".to_owned())?;
            builder = builder.identity(identity);
        }
        builder.build().map_err(|error| root_cause(&error))
    }

    /// Sends a call with whatever token the credentials have.
    async fn send_as(&self, remote: &Remote, call: &Call) -> Result<Reply, ForgeError> {
        let token = remote.credentials.api_token();
        let token = token.ok_or_else(|| ForgeError::NoToken { host: host_of(remote, call) })?;
        self.send(remote, call, token).await
    }
}

impl Carrier for HttpForge {
    fn authorize<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, Result<Remote, ForgeError>> {
        Box::pin(self.authorize_app(remote))
    }

    fn renew<'a>(&'a self, remote: &'a Remote) -> BoxFuture<'a, ()> {
        Box::pin(self.renew_app(remote))
    }

    fn carry<'a>(
        &'a self,
        remote: &'a Remote,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Answer, ForgeError>> {
        Box::pin(async move {
            let reply = self.send_as(&self.authorize_app(remote).await?, call).await?;
            if reply.answer.status != 401 || remote.credentials.app().is_none() {
                return Ok(reply.answer);
            }
            // What was refused for its token was not carried out.
            self.renew_app(remote).await;
            Ok(self.send_as(&self.authorize_app(remote).await?, call).await?.answer)
        })
    }
}

/// The host that a call goes to, an IPv6 address without brackets.
fn host_of(remote: &Remote, call: &Call) -> String {
    let url = Url::parse(&call.url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or(remote.url.host());
    host.trim_matches(['[', ']']).to_owned()
}

async fn read(mut response: Response, host: &str) -> Result<Reply, ForgeError> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let is_exhausted = status == 429
        || (status == 403
            && (header("retry-after").is_some() || header("x-ratelimit-remaining") == Some("0")));
    let date = header("date").and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let date = date.map(|date| date.to_utc());
    let until_reset = || {
        let reset: i64 = header("x-ratelimit-reset")?.parse().ok()?;
        u64::try_from(reset - date?.timestamp()).ok()
    };
    let retry_after = header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    let pause = retry_after.or_else(until_reset).filter(|_| is_exhausted);
    let pause = pause.map(Duration::from_secs);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => body.extend(&chunk),
            Ok(Some(_)) => {
                let detail = format!("it is longer than {MAX_ANSWER} bytes");
                return Err(ForgeError::Malformed { host: host.to_owned(), detail });
            }
            Ok(None) => {
                let answer = Answer { status, body, is_exhausted };
                return Ok(Reply { answer, date, pause });
            }
            Err(error) => {
                let detail = clean(&root_cause(&error), 200);
                return Err(ForgeError::Unreachable { host: host.to_owned(), detail });
            }
        }
    }
}

/// Resolves names, and refuses those that lead where nothing may be connected to.
struct Checked(AddressRule);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses: Vec<_> = found.collect();
            let refused = addresses.iter().find_map(|address| rule.refusal(address.ip()));
            match refused {
                Some(kind) => Err(Box::new(Refused(kind)) as Box<dyn Error + Send + Sync>),
                None => Ok(Box::new(addresses.into_iter()) as _),
            }
        })
    }
}

/// An address that must not be connected to.
#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} address", self.0)
    }
}

impl Error for Refused {}

fn refused_address(error: &reqwest::Error) -> Option<&'static str> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(Refused(kind)) = error.downcast_ref() {
            return Some(kind);
        }
        cause = error.source();
    }
    None
}
