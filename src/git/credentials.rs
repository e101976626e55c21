//! Credentials of a Git server, from the data of a Secret that was made for Argo CD or for Flux.
//!
//! Both key sets are accepted, so that teams copy what they have. Ways around verification
//! (`insecure`, `insecureIgnoreHostKey`) are refused instead of ignored; SSH without `known_hosts`
//! is refused before anything is connected to. Values must never reach a log, an error, an argument
//! list or `Debug`; only `binary` reads them, to write them into a private directory.
//!
//! Sources: Argo CD "Private Repositories" and Flux `GitRepository.spec.secretRef`.

use std::{collections::BTreeMap, fmt};

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::sign::CertifiedKey;

use super::github_app::{App, KEYS, TOKEN_USER};
use super::grants::is_within;
use super::source::{GitUrl, RepoPath, Transport};

/// A text that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hidden(Vec<u8>);

impl Hidden {
    pub(super) fn new(text: String) -> Self {
        Self(text.into_bytes())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How to prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// Not at all; enough to read public repositories.
    Anonymous,
    /// HTTP basic authentication; a token stands in the place of the password.
    Basic { username: Hidden, password: Hidden },
    /// HTTP bearer token.
    Bearer(Hidden),
    /// An SSH key, and the server keys that are trusted.
    Ssh { identity: Hidden, known_hosts: Hidden },
}

/// Credentials for one repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    id: String,
    pub(super) login: Login,
    /// A GitHub App that a token has to be asked for first.
    app: Option<App>,
    /// A token for the API of the forge, when it is another one than that of Git.
    api_token: Option<Hidden>,
    /// PEM certificates that are trusted instead of the system's.
    pub(super) ca: Option<Hidden>,
    /// PEM certificate and key for mutual TLS.
    pub(super) client_certificate: Option<(Hidden, Hidden)>,
    /// The paths that may be changed with them, as patterns; none: every path.
    paths: Vec<String>,
}

/// Why a Secret is not used. Names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// A key would switch verification off.
    #[error(
        "key `{0}` of the Secret switches verification off, which is not supported; add `ca.crt` or `known_hosts` instead"
    )]
    Insecure(&'static str),
    /// SSH without the server's keys.
    #[error(
        "the Secret has no `known_hosts`; without it the SSH server cannot be verified (`ssh-keyscan HOST` prints a line to check)"
    )]
    NoKnownHosts,
    /// SSH without a private key.
    #[error("the url uses SSH, but the Secret has no `identity` or `sshPrivateKey`")]
    NoIdentity,
    /// A private key with a passphrase.
    #[error("the SSH key of the Secret has a passphrase (`password`), which is not supported yet")]
    Passphrase,
    /// Half of a pair.
    #[error("the Secret has `{has}` but no `{lacks}`")]
    Incomplete {
        /// The key that is there.
        has: &'static str,
        /// The key that is missing.
        lacks: &'static str,
    },
    /// A form of login that is not built yet.
    #[error("key `{0}` of the Secret asks for a login that is not supported yet")]
    Unsupported(String),
    /// A value that cannot be what its key says.
    #[error("key `{key}` of the Secret {reason}")]
    Malformed {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The Secret is for another repository.
    #[error("key `url` of the Secret names another repository than the source")]
    OtherUrl,
}

/// A Secret's data, decoded.
pub type Data = BTreeMap<String, Vec<u8>>;

impl Credentials {
    /// No credentials. `id` keeps the cached copies of different owners apart.
    pub fn anonymous(id: &str) -> Self {
        let login = Login::Anonymous;
        Self {
            id: id.to_owned(),
            login,
            app: None,
            api_token: None,
            ca: None,
            client_certificate: None,
            paths: Vec::new(),
        }
    }

    /// The same credentials, with which only these paths may be changed; without a pattern, every path.
    #[must_use]
    pub fn limited_to(self, paths: Vec<String>) -> Self {
        Self { paths, ..self }
    }

    /// Whether a path may be changed with them.
    pub fn permits(&self, path: &RepoPath) -> bool {
        self.paths.is_empty() || is_within(&self.paths, path.as_str())
    }

    /// Reads the data of a Secret for `url`. `id` names the owner (such as the Secret's namespace,
    /// then after a `/` its name): copies of repositories are never shared between two ids.
    ///
    /// # Errors
    /// [`CredentialRefusal`], naming the key.
    pub fn from_secret(id: &str, url: &GitUrl, data: &Data) -> Result<Self, CredentialRefusal> {
        refuse_unsafe(data)?;
        refuse_unsupported(data)?;
        check_url(url, data)?;
        let login = match url.transport() {
            Transport::Https => http_login(data)?,
            Transport::Ssh => ssh_login(data)?,
        };
        let app = App::from_secret(url, data)?;
        if app.is_some() && matches!(login, Login::Basic { .. } | Login::Bearer(_)) {
            let reason = "stands beside `password` or `bearerToken`; leave one of the two";
            return Err(CredentialRefusal::Malformed { key: "githubAppID", reason });
        }
        let client_certificate = client_certificate(data)?;
        let ca = first(data, &["ca.crt", "caFile"]).map(|(_, value)| value);
        if ca.as_ref().is_some_and(|ca| !ca.text().contains("-----BEGIN CERTIFICATE-----")) {
            let reason = "holds no PEM certificate";
            return Err(CredentialRefusal::Malformed { key: "ca.crt", reason });
        }
        let api_token = first(data, &["apiToken"]).map(|(_, token)| token);
        let is_token = |token: &Hidden| {
            !token.text().is_empty() && token.text().bytes().all(|b| b.is_ascii_graphic())
        };
        if !api_token.iter().all(is_token) {
            let reason = "is not a token";
            return Err(CredentialRefusal::Malformed { key: "apiToken", reason });
        }
        let (id, paths) = (id.to_owned(), Vec::new());
        Ok(Self { id, login, app, api_token, ca, client_certificate, paths })
    }

    /// The owner's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of the Secret, as far as the owner's name says it.
    pub(super) fn secret(&self) -> &str {
        self.id.rsplit('/').next().unwrap_or(&self.id)
    }

    /// The GitHub App that a token has to be asked for first.
    pub(super) fn app(&self) -> Option<&App> {
        self.app.as_ref()
    }

    /// The same with a token that the App was given.
    pub(super) fn with_token(&self, token: &Hidden) -> Self {
        let login = match &self.login {
            Login::Ssh { .. } => self.login.clone(),
            Login::Anonymous | Login::Basic { .. } | Login::Bearer(_) => Login::Basic {
                username: Hidden::new(TOKEN_USER.to_owned()),
                password: token.clone(),
            },
        };
        let api_token = self.api_token.clone().or_else(|| Some(token.clone()));
        Self { login, app: None, api_token, ..self.clone() }
    }

    /// Whether there is a token for the API of the forge, or will be.
    pub(super) fn has_api_token(&self) -> bool {
        self.app.is_some() || self.api_token().is_some()
    }

    /// The token for the API of the forge: one of its own, else that of Git over HTTPS.
    pub(super) fn api_token(&self) -> Option<&Hidden> {
        self.api_token.as_ref().or(match &self.login {
            Login::Basic { password, .. } => Some(password),
            Login::Bearer(token) => Some(token),
            Login::Anonymous | Login::Ssh { .. } => None,
        })
    }

    /// Every value that must be blotted out of texts.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let values: Vec<&Hidden> = match &self.login {
            Login::Anonymous | Login::Ssh { .. } => Vec::new(),
            Login::Basic { password, .. } => vec![password],
            Login::Bearer(token) => vec![token],
        };
        let values = values.into_iter().chain(&self.api_token);
        values.map(Hidden::text).filter(|text| text.len() >= 4).collect()
    }
}

/// The first of `keys` that has a value.
pub(super) fn first(data: &Data, keys: &[&'static str]) -> Option<(&'static str, Hidden)> {
    keys.iter().find_map(|key| {
        let value = data.get(*key).filter(|value| !value.is_empty())?;
        Some((*key, Hidden(value.clone())))
    })
}

/// The certificate for mutual TLS and its key, by Flux' keys or by Argo CD's.
fn client_certificate(data: &Data) -> Result<Option<(Hidden, Hidden)>, CredentialRefusal> {
    let (left, right) = (["tls.crt", "tlsClientCertData"], ["tls.key", "tlsClientCertKey"]);
    match (first(data, &left), first(data, &right)) {
        (None, None) => Ok(None),
        (Some((key, certificate)), Some((key_of_key, private))) => {
            let chain = CertificateDer::pem_slice_iter(certificate.bytes()).collect();
            let chain: Vec<_> = Result::ok(chain)
                .filter(|chain: &Vec<_>| !chain.is_empty())
                .ok_or(CredentialRefusal::Malformed { key, reason: "holds no PEM certificate" })?;
            let malformed = || {
                let reason =
                    "is not the private key of that certificate, as PEM without passphrase";
                CredentialRefusal::Malformed { key: key_of_key, reason }
            };
            let der = PrivateKeyDer::from_pem_slice(private.bytes()).map_err(|_| malformed())?;
            CertifiedKey::from_der(chain, der, &ring::default_provider())
                .map_err(|_| malformed())?;
            Ok(Some((certificate, private)))
        }
        (Some((has, _)), None) => Err(CredentialRefusal::Incomplete { has, lacks: right[0] }),
        (None, Some((has, _))) => Err(CredentialRefusal::Incomplete { has, lacks: left[0] }),
    }
}

fn refuse_unsafe(data: &Data) -> Result<(), CredentialRefusal> {
    for key in ["insecure", "insecureIgnoreHostKey"] {
        let is_on = |value: &Vec<u8>| {
            !matches!(value.to_ascii_lowercase().as_slice(), b"" | b"false" | b"0" | b"no")
        };
        if data.get(key).is_some_and(is_on) {
            return Err(CredentialRefusal::Insecure(key));
        }
    }
    Ok(())
}

fn refuse_unsupported(data: &Data) -> Result<(), CredentialRefusal> {
    let is_unsupported = |key: &str| {
        (key.starts_with("githubApp") && !KEYS.contains(&key))
            || key.starts_with("azure")
            || matches!(key, "gcpServiceAccountKey" | "useAzureWorkloadIdentity" | "proxy")
    };
    let found = data.iter().find(|(key, value)| is_unsupported(key) && !value.is_empty());
    match found {
        Some((key, _)) => Err(CredentialRefusal::Unsupported(key.clone())),
        None if data.get("type").is_some_and(|kind| kind != b"git" && !kind.is_empty()) => {
            let reason = "is not `git`";
            Err(CredentialRefusal::Malformed { key: "type", reason })
        }
        None => Ok(()),
    }
}

/// Argo CD binds a Secret to an address or to a prefix of one; a copy must not reach further.
fn check_url(url: &GitUrl, data: &Data) -> Result<(), CredentialRefusal> {
    let Some((_, bound)) = first(data, &["url"]) else { return Ok(()) };
    let strip = |text: &str| text.trim_end_matches('/').trim_end_matches(".git").to_lowercase();
    let (bound, ours) = (strip(bound.text()), strip(url.as_str()));
    let is_within =
        ours == bound || ours.strip_prefix(&bound).is_some_and(|rest| rest.starts_with('/'));
    if is_within && !bound.is_empty() { Ok(()) } else { Err(CredentialRefusal::OtherUrl) }
}

fn http_login(data: &Data) -> Result<Login, CredentialRefusal> {
    let is_clean =
        |value: &Hidden| !value.text().is_empty() && !value.text().chars().any(char::is_control);
    let check = |key, value: &Hidden| {
        let reason = "holds a line break or another character that no password has";
        if is_clean(value) { Ok(()) } else { Err(CredentialRefusal::Malformed { key, reason }) }
    };
    if let Some((_, token)) = first(data, &["bearerToken"]) {
        let is_token = token.text().bytes().all(|b| b.is_ascii_graphic());
        let reason = "is not a token";
        if !is_token || token.text().is_empty() {
            return Err(CredentialRefusal::Malformed { key: "bearerToken", reason });
        }
        return Ok(Login::Bearer(token));
    }
    match (first(data, &["username"]), first(data, &["password"])) {
        (None, None) => Ok(Login::Anonymous),
        (Some(_), None) => {
            Err(CredentialRefusal::Incomplete { has: "username", lacks: "password" })
        }
        (username, Some((_, password))) => {
            // Forges ignore the user's name beside a token.
            let username = username.map_or_else(|| Hidden(b"git".to_vec()), |(_, name)| name);
            check("username", &username)?;
            check("password", &password)?;
            if username.text().contains(':') {
                let reason = "contains `:`, which basic authentication cannot carry";
                return Err(CredentialRefusal::Malformed { key: "username", reason });
            }
            Ok(Login::Basic { username, password })
        }
    }
}

fn ssh_login(data: &Data) -> Result<Login, CredentialRefusal> {
    let (_, identity) =
        first(data, &["identity", "sshPrivateKey"]).ok_or(CredentialRefusal::NoIdentity)?;
    if !identity.text().contains("PRIVATE KEY-----") {
        let reason = "holds no private key";
        return Err(CredentialRefusal::Malformed { key: "identity", reason });
    }
    if first(data, &["password"]).is_some() {
        return Err(CredentialRefusal::Passphrase);
    }
    let (_, known_hosts) =
        first(data, &["known_hosts", "ssh_known_hosts"]).ok_or(CredentialRefusal::NoKnownHosts)?;
    let has_line = |text: &str| {
        text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    if !has_line(known_hosts.text()) {
        return Err(CredentialRefusal::NoKnownHosts);
    }
    Ok(Login::Ssh { identity, known_hosts })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n";

    fn read(url: &str, pairs: &[(&str, &str)]) -> Result<Credentials, CredentialRefusal> {
        let data = pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        Credentials::from_secret("ns/uid", &GitUrl::parse(url).unwrap(), &data)
    }

    const HTTPS: &str = "https://git.example/team/env.git";
    const SSH: &str = "git@git.example:team/env.git";

    #[test]
    fn the_key_sets_of_argo_cd_and_flux_are_both_read() {
        let basic = read(HTTPS, &[("username", "u"), ("password", "hunter2")]).unwrap();
        assert!(matches!(basic.login, Login::Basic { .. }));
        let token = read(HTTPS, &[("password", "hunter2"), ("type", "git"), ("project", "x")]);
        assert!(matches!(token.unwrap().login, Login::Basic { .. }));
        assert!(matches!(
            read(HTTPS, &[("bearerToken", "hunter2")]).unwrap().login,
            Login::Bearer(_)
        ));
        let flux = read(
            SSH,
            &[("identity", KEY), ("identity.pub", "x"), ("known_hosts", "h ssh-ed25519 A")],
        );
        let argo = read(SSH, &[("sshPrivateKey", KEY), ("ssh_known_hosts", "h ssh-ed25519 A")]);
        assert_eq!(flux.unwrap().login, argo.unwrap().login);
        assert!(matches!(read(HTTPS, &[]).unwrap().login, Login::Anonymous));
    }

    #[test]
    fn ways_around_verification_are_refused_by_name() {
        for key in ["insecure", "insecureIgnoreHostKey"] {
            assert_eq!(read(HTTPS, &[(key, "true")]), Err(CredentialRefusal::Insecure(key)));
            assert!(read(HTTPS, &[(key, "false")]).is_ok());
        }
    }

    #[test]
    fn ssh_without_known_hosts_is_refused_before_anything_is_connected_to() {
        assert_eq!(read(SSH, &[("identity", KEY)]), Err(CredentialRefusal::NoKnownHosts));
        let empty = read(SSH, &[("identity", KEY), ("known_hosts", "# none\n\n")]);
        assert_eq!(empty, Err(CredentialRefusal::NoKnownHosts));
        assert_eq!(read(SSH, &[("known_hosts", "h k A")]), Err(CredentialRefusal::NoIdentity));
        let locked = [("identity", KEY), ("known_hosts", "h k A"), ("password", "x")];
        assert_eq!(read(SSH, &locked), Err(CredentialRefusal::Passphrase));
    }

    #[test]
    fn incomplete_unsupported_and_foreign_secrets_are_refused() {
        for bad in [
            vec![("username", "u")],
            vec![("githubAppID", "1")],
            vec![("proxy", "http://x")],
            vec![("type", "helm")],
            vec![("password", "a\nb")],
            vec![("username", "a:b"), ("password", "x")],
            vec![("bearerToken", "a b")],
            vec![("tls.crt", "x")],
            vec![("tls.crt", "x"), ("tls.key", "x")],
            vec![("ca.crt", "x")],
            vec![("url", "https://git.example/other")],
            vec![("url", "https://git.example/team/en")],
        ] {
            assert!(read(HTTPS, &bad).is_err(), "{bad:?}");
        }
        for good in
            ["https://git.example/team/env", "https://git.example/team/", "https://git.example"]
        {
            assert!(read(HTTPS, &[("url", good)]).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_client_certificate_comes_with_its_own_key() {
        let made = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
            (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let ((certificate, key), (_, other)) = (made("one"), made("other"));
        for [left, right] in [["tls.crt", "tls.key"], ["tlsClientCertData", "tlsClientCertKey"]] {
            let read = read(HTTPS, &[(left, &certificate), (right, &key)]).unwrap();
            assert!(read.client_certificate.is_some());
            let refusal = self::read(HTTPS, &[(left, &certificate), (right, &other)]).unwrap_err();
            assert!(refusal.to_string().starts_with(&format!("key `{right}`")), "{refusal}");
            let refusal = self::read(HTTPS, &[(left, &key), (right, &key)]).unwrap_err();
            assert!(refusal.to_string().starts_with(&format!("key `{left}`")), "{refusal}");
        }
    }

    #[test]
    fn debug_and_errors_never_show_a_value() {
        for secret in [
            read(HTTPS, &[("username", "hunter2"), ("password", "hunter2")]),
            read(HTTPS, &[("bearerToken", "hunter2")]),
            read(SSH, &[("identity", KEY), ("known_hosts", "hunter2 k A")]),
            read(HTTPS, &[("tls.crt", "hunter2"), ("tls.key", "hunter2")]),
            read(HTTPS, &[("bearerToken", "hunter2 hunter2")]),
            read(HTTPS, &[("url", "hunter2")]),
        ] {
            assert!(!format!("{secret:?}").contains("hunter2"), "{secret:?}");
            if let Err(refusal) = secret {
                assert!(!refusal.to_string().contains("hunter2"));
            }
        }
    }
}
