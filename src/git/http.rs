//! Carries calls to the API of a forge: over TLS, to checked addresses, with one time limit over
//! everything, bounded answers, no redirects and no proxies from the environment.
//!
//! It must never write a token or an answer's body into an error, and never retry.

use std::{error::Error, fmt, net::IpAddr, time::Duration};

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, header};
use reqwest::{
    Certificate, Client, Response,
    dns::{Name, Resolve, Resolving},
    redirect,
};

use super::{
    backend::{Carrier, Remote},
    forge::{Answer, Call, ForgeError, Method},
    message::clean,
    source::{AddressRule, AllowedHosts},
};
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
}

impl HttpForge {
    /// A way to the forges of repositories on `hosts`, at addresses that `addresses` allows.
    pub fn new(hosts: AllowedHosts, addresses: AddressRule) -> Self {
        // Of several components of a process that install the provider only the first one does.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { hosts, addresses, limit: LIMIT }
    }

    /// The same with another time limit for a call.
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    async fn send(&self, remote: &Remote, call: &Call) -> Result<Answer, ForgeError> {
        let host = remote.url.host();
        let unreachable =
            |detail: String| ForgeError::Unreachable { host: host.to_owned(), detail };
        // The API of an allowed repository is on the repository's own host, or github.com's.
        self.hosts.check(&remote.url).map_err(|error| ForgeError::NotAllowed(Box::new(error)))?;
        if let Ok(address) = host.parse::<IpAddr>()
            && let Some(kind) = self.addresses.refusal(address)
        {
            return Err(ForgeError::AddressRefused { host: host.to_owned(), kind });
        }
        let token = remote.credentials.api_token();
        let token = token.ok_or_else(|| ForgeError::NoToken { host: host.to_owned() })?;
        let client = self.client(remote).map_err(unreachable)?;
        let method = match call.method {
            Method::Get => http::Method::GET,
            Method::Post => http::Method::POST,
            Method::Put => http::Method::PUT,
            Method::Patch => http::Method::PATCH,
        };
        let words = format!("{} {}", call.scheme, token.text());
        let mut authorization = HeaderValue::try_from(words)
            .map_err(|_| ForgeError::NoToken { host: host.to_owned() })?;
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
            Some(kind) => ForgeError::AddressRefused { host: host.to_owned(), kind },
            None => unreachable(clean(&root_cause(&error), 200)),
        })?;
        read(response, host).await
    }

    fn client(&self, remote: &Remote) -> Result<Client, String> {
        let mut builder = Client::builder()
            .no_proxy()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .dns_resolver(std::sync::Arc::new(Checked(self.addresses)))
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &remote.credentials.ca {
            let certificates = Certificate::from_pem_bundle(ca.bytes())
                .map_err(|_| "key `ca.crt` of the Secret holds no PEM certificates".to_owned())?;
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map_err(|error| root_cause(&error))
    }
}

impl Carrier for HttpForge {
    fn carry<'a>(
        &'a self,
        remote: &'a Remote,
        call: &'a Call,
    ) -> BoxFuture<'a, Result<Answer, ForgeError>> {
        Box::pin(async move {
            let answer = tokio::time::timeout(self.limit, self.send(remote, call)).await;
            answer.unwrap_or_else(|_| {
                let detail = format!("no answer within {} s", self.limit.as_secs());
                Err(ForgeError::Unreachable { host: remote.url.host().to_owned(), detail })
            })
        })
    }
}

async fn read(mut response: Response, host: &str) -> Result<Answer, ForgeError> {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let is_exhausted = status == 429
        || (status == 403
            && (header("retry-after").is_some() || header("x-ratelimit-remaining") == Some("0")));
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => body.extend(&chunk),
            Ok(Some(_)) => {
                let detail = format!("it is longer than {MAX_ANSWER} bytes");
                return Err(ForgeError::Malformed { host: host.to_owned(), detail });
            }
            Ok(None) => return Ok(Answer { status, body, is_exhausted }),
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
