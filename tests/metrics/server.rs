//! A scripted HTTP server on loopback. It answers every request by a function of the request, byte for
//! byte, so it can also break off, hang, or lie about a length.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sluice::api::metrics_source::MetricsSourceSpec;
use sluice::metrics::endpoint::SourceMaterial;
use sluice::metrics::{AddressPolicy, ResolvedEndpoint, Secret, Transport};

/// What the server does with a request.
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Reads on until the client gives up.
    Hang,
}

/// An answer that does not depend on the request.
pub(crate) type Script = Box<dyn Fn() -> Reply + Send + Sync>;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Request line and headers.
    pub(crate) head: String,
    /// Body.
    pub(crate) body: String,
}

impl Request {
    /// Value of a header, by lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// A field of a form body.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.body.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// A running server; its threads end with the test process.
pub(crate) struct Server {
    /// Base URL.
    pub(crate) url: String,
    /// Certificate of its authority, for TLS.
    pub(crate) ca_pem: Option<String>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server without TLS.
    pub(crate) fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, None, reply)
    }

    /// A server with a certificate for `localhost` of an authority of its own.
    pub(crate) fn start_tls(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self::listen(Some(Arc::new(config)), Some(ca.pem()), reply)
    }

    fn listen(
        tls: Option<Arc<ServerConfig>>,
        ca_pem: Option<String>,
        reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (seen, reply) = (Arc::clone(&requests), Arc::new(reply));
        let scheme = if tls.is_some() { "https" } else { "http" };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, seen, reply) = (tls.clone(), Arc::clone(&seen), Arc::clone(&reply));
                std::thread::spawn(move || match tls {
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &seen, reply.as_ref());
                    }
                    None => serve(stream, &seen, reply.as_ref()),
                });
            }
        });
        Self { url: format!("{scheme}://localhost:{port}"), ca_pem, requests }
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: impl Read + Write,
    seen: &Mutex<Vec<Request>>,
    reply: &(dyn Fn(&Request) -> Reply + Send + Sync),
) {
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut request = Request { head, body: String::new() };
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < head_end + length {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    request.body = String::from_utf8_lossy(&bytes[head_end..]).into_owned();
    seen.lock().unwrap().push(request.clone());
    match reply(&request) {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes);
            let _ = stream.flush();
        }
        Reply::Hang => while matches!(stream.read(&mut buffer), Ok(read) if read > 0) {},
    }
}

/// A whole answer.
pub(crate) fn answer(status: &str, content_type: &str, body: &str) -> Reply {
    Reply::Bytes(
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

/// A JSON answer with status 200.
pub(crate) fn json(body: &Value) -> Reply {
    answer("200 OK", "application/json", &body.to_string())
}

/// A transport that may talk to loopback, and templates to `localhost`.
pub(crate) fn transport() -> Transport {
    Transport::new(AddressPolicy {
        allow_private: true,
        allowed_hosts: vec!["localhost".to_owned()],
        denied: vec![],
    })
}

/// An endpoint from the JSON of a source; the Secret `s` holds `user`, `password`, `token`, `secret`.
pub(crate) fn endpoint(source: Value) -> ResolvedEndpoint {
    let spec: MetricsSourceSpec = serde_json::from_value(source).unwrap();
    let mut material = SourceMaterial::default();
    for (key, value) in
        [("user", "alice"), ("password", "pass:word"), ("token", "t0ken\n"), ("secret", "s3cret")]
    {
        material.secrets.insert(("s".to_owned(), key.to_owned()), Secret::new(value.to_owned()));
    }
    match ResolvedEndpoint::from_source(&spec, false, "ns", &material) {
        Ok(endpoint) => endpoint,
        Err(error) => panic!("{error}"),
    }
}
