//! Servers that only talk to whom they know by a certificate.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::server::WebPkiClientVerifier;

/// The beginning of a server that wants certificates of this authority, if any.
pub(crate) fn server_for(
    clients: Option<&str>,
) -> rustls::ConfigBuilder<rustls::ServerConfig, rustls::server::WantsServerCert> {
    let builder = rustls::ServerConfig::builder();
    let Some(authority) = clients else { return builder.with_no_client_auth() };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    builder.with_client_cert_verifier(verifier)
}
