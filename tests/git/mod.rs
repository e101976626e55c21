//! A real Git server for tests: `git http-backend` behind TLS with its own CA, basic
//! authentication and scripted faults, on 127.0.0.1 only. Without the `git` program every test
//! fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "support code of tests: what cannot be set up fails the test"
)]

pub(crate) mod clients;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::DateTime;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sluice::{
    git::{
        backend::Remote,
        binary::{BinaryConfig, BinaryGit},
        credentials::Credentials,
        executor::{Executor, Requests, RevertMode, RevertRequest},
        message::{Author, MessageFacts},
        plan::{Declaration, Identity},
        revert_id::RevertId,
        source::{AddressRule, AllowedHosts, BranchName, GitUrl, RepoPath, Source},
    },
    revision::{Commit, TemplateDigest},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// What the server does to one request that fits.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Answers with this status.
    Status(u16),
    /// Sends the client to this address.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Lets somebody else commit these files before the request is handled.
    Race(Vec<(String, String)>),
    /// Handles the request, but answers as a broken proxy would.
    LostReply,
}

/// A bare repository and the server in front of it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca: String,
    pub(crate) root: tempfile::TempDir,
    pub(crate) requests: Arc<AtomicUsize>,
    faults: Arc<Mutex<VecDeque<(&'static str, Fault)>>>,
    /// The only user and password that are accepted.
    pub(crate) login: Arc<Mutex<(String, String)>>,
}

pub(crate) const USER: &str = "bot";
pub(crate) const PASSWORD: &str = "correct-horse";

impl Server {
    /// Starts a server with an empty repository `env.git`.
    pub(crate) async fn start() -> Self {
        Self::start_for(None).await
    }

    /// The same for clients with a certificate of this authority only.
    pub(crate) async fn start_for(clients: Option<&str>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let repository = root.path().join("env.git");
        git(root.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "env.git"], "");
        for (key, value) in [
            ("http.receivepack", "true"),
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("gc.auto", "0"),
        ] {
            git(&repository, &["config", key, value], "");
        }
        let (acceptor, ca) = tls(clients);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let login = Arc::new(Mutex::new((USER.to_owned(), PASSWORD.to_owned())));
        let (requests, faults) = (Arc::default(), Arc::default());
        let server = Self { address, ca, root, requests, faults, login };
        let shared = Arc::new(Shared {
            root: server.root.path().to_owned(),
            requests: Arc::clone(&server.requests),
            faults: Arc::clone(&server.faults),
            login: Arc::clone(&server.login),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let stream = match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => stream,
                        // Who is refused is told so: the connection is not cut before it was read.
                        Err((_, mut refused)) => {
                            let _ = refused.shutdown().await;
                            let _ = refused.read_to_end(&mut Vec::new()).await;
                            return;
                        }
                    };
                    let service = service_fn(move |request| handle(Arc::clone(&shared), request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        server
    }

    /// The next request whose method, path and query contain `part` meets `fault`.
    pub(crate) fn fault(&self, part: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((part, fault));
    }

    /// Whether a fault has not struck yet.
    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.lock().unwrap().is_empty()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.root.path().join("env.git")
    }

    /// Installs a hook.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.repository().join("hooks").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Adds a commit to `main`.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> Commit {
        commit(&self.repository(), files, message)
    }

    /// Runs git in the repository and gives its output.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.repository(), args, "")
    }

    pub(crate) fn tip(&self) -> Commit {
        Commit::parse(self.git(&["rev-parse", "refs/heads/main"]).trim()).unwrap()
    }

    pub(crate) fn file(&self, path: &str) -> String {
        self.git(&["show", &format!("main:{path}")])
    }

    /// How many revert commits `main` has.
    pub(crate) fn reverts(&self) -> usize {
        self.git(&["log", "--format=%s", "main"])
            .lines()
            .filter(|subject| subject.starts_with("revert("))
            .count()
    }

    pub(crate) fn url(&self) -> GitUrl {
        GitUrl::parse(&format!("https://localhost:{}/env.git", self.address.port())).unwrap()
    }

    /// The remote with the right credentials and CA.
    pub(crate) fn remote(&self) -> Remote {
        self.remote_with(&[("username", USER), ("password", PASSWORD), ("ca.crt", &self.ca)])
    }

    pub(crate) fn remote_with(&self, secret: &[(&str, &str)]) -> Remote {
        remote(self.url(), secret)
    }
}

/// A remote with the data of a Secret.
pub(crate) fn remote(url: GitUrl, secret: &[(&str, &str)]) -> Remote {
    let data = secret.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
    let credentials = Credentials::from_secret("test/secret", &url, &data).unwrap();
    Remote { url, credentials: Arc::new(credentials) }
}

/// Adds a commit to `main` of a bare repository; an empty content removes the file.
fn commit(repository: &Path, files: &[(&str, &str)], message: &str) -> Commit {
    let mut input = format!(
        "commit refs/heads/main\ncommitter Dev <dev@example.com> 1700000000 +0000\ndata {}\n{message}\n",
        message.len()
    );
    let has_parent = Command::new("git")
        .args(["rev-parse", "--quiet", "--verify", "refs/heads/main"])
        .current_dir(repository)
        .stdout(Stdio::null())
        .status()
        .expect("git must be installed for these tests")
        .success();
    if has_parent {
        input.push_str("from refs/heads/main^0\n");
    }
    for (path, text) in files {
        if text.is_empty() {
            let _ = writeln!(input, "D {path}");
        } else {
            let _ = writeln!(input, "M 100644 inline {path}\ndata {}\n{text}", text.len());
        }
    }
    git(repository, &["fast-import", "--quiet", "--force"], &input);
    Commit::parse(git(repository, &["rev-parse", "refs/heads/main"], "").trim()).unwrap()
}

/// Runs git; fails the test when git is missing or fails.
pub(crate) fn git(directory: &Path, args: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut child = Command::new("git")
        .args(args)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git must be installed for these tests");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A key and a certificate for `localhost`, both of a certificate authority of their own.
pub(crate) struct Identified {
    pub(crate) key: rcgen::KeyPair,
    pub(crate) leaf: rcgen::Certificate,
    /// The authority's certificate, as PEM.
    pub(crate) ca: String,
}

pub(crate) fn identified() -> Identified {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    Identified { key, leaf, ca }
}

fn tls(clients: Option<&str>) -> (tokio_rustls::TlsAcceptor, String) {
    let Identified { key, leaf, ca } = identified();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        clients::server_for(clients).with_single_cert(vec![leaf.der().clone()], key).unwrap();
    (tokio_rustls::TlsAcceptor::from(Arc::new(config)), ca)
}

struct Shared {
    root: PathBuf,
    requests: Arc<AtomicUsize>,
    faults: Arc<Mutex<VecDeque<(&'static str, Fault)>>>,
    login: Arc<Mutex<(String, String)>>,
}

type Answer = Result<Response<Full<Bytes>>, std::io::Error>;

fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).body(Full::default()).unwrap()
}

async fn handle(shared: Arc<Shared>, request: Request<hyper::body::Incoming>) -> Answer {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let line = format!("{} {}", request.method(), request.uri());
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        let at = faults.iter().position(|(part, _)| line.contains(part));
        at.and_then(|at| faults.remove(at)).map(|(_, fault)| fault)
    };
    let mut is_lost = false;
    match fault {
        None => {}
        Some(Fault::Status(code)) => return Ok(status(code)),
        Some(Fault::Redirect(to)) => {
            let response = Response::builder().status(302).header("location", to);
            return Ok(response.body(Full::default()).unwrap());
        }
        Some(Fault::Hang) => std::future::pending::<()>().await,
        Some(Fault::Race(files)) => {
            let repository = shared.root.join("env.git");
            let work = move || {
                let files: Vec<_> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
                commit(&repository, &files, "somebody else")
            };
            tokio::task::spawn_blocking(work).await.unwrap();
        }
        Some(Fault::LostReply) => is_lost = true,
    }
    let (user, password) = shared.login.lock().unwrap().clone();
    let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if given != Some(wanted.as_str()) {
        let response = Response::builder().status(401).header("www-authenticate", "Basic realm=x");
        return Ok(response.body(Full::default()).unwrap());
    }
    let answer = cgi(&shared.root, request).await;
    Ok(if is_lost { status(502) } else { answer })
}

/// Runs `git http-backend` for one request.
async fn cgi(root: &Path, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("REMOTE_USER", USER)
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or(""))
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", header("git-protocol"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git must be installed for these tests");
    let mut stdin = child.stdin.take().unwrap();
    tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    let end = output.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut response = Response::builder();
    let mut code = 200;
    for line in head.lines() {
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("status") {
                code = value.trim().split(' ').next().unwrap().parse().unwrap();
            } else {
                response = response.header(name.trim(), value.trim());
            }
        }
    }
    let body = output.get(end + 4..).unwrap_or_default().to_vec();
    response.status(code).body(Full::from(body)).unwrap()
}

/// A manifest of a Rollout.
pub(crate) fn manifest(name: &str, image: &str) -> String {
    format!(
        "# {name}\napiVersion: sluice.dev/v1alpha1\nkind: Rollout\nmetadata:\n  name: {name}\nspec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n        - name: web\n          image: {image} # keep me\n"
    )
}

pub(crate) fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": image}]}})
}

pub(crate) const FILE: &str = "apps/web/rollout.yaml";

pub(crate) fn source(url: GitUrl) -> Source {
    Source {
        url,
        branch: BranchName::parse("main").unwrap(),
        path: RepoPath::parse("apps/web").unwrap(),
        file: None,
    }
}

/// The request to go back from `app:2` to `app:1`.
pub(crate) fn request(server: &Server, good: &Commit, bad: &Commit) -> RevertRequest {
    request_to(server.remote(), good, bad)
}

/// The same at any remote.
pub(crate) fn request_to(remote: Remote, good: &Commit, bad: &Commit) -> RevertRequest {
    RevertRequest {
        id: RevertId::new("uid-1", &TemplateDigest::of(&template("app:2")), bad),
        source: source(remote.url.clone()),
        remote,
        identity: Identity::rollout("shop", "web"),
        good: Some(Declaration { commit: good.clone(), template: template("app:1") }),
        bad: Declaration { commit: bad.clone(), template: template("app:2") },
        mode: RevertMode::Push,
        found: None,
        requests: Requests::default(),
        message: MessageFacts {
            namespace: "shop".into(),
            name: "web".into(),
            stable_version: "1".into(),
            failed_version: "2".into(),
            stopped_at: "step 1/4 (20% traffic)".into(),
            ..MessageFacts::default()
        },
        author: Author::new("Sluice", "sluice@example.com"),
        now: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
    }
}

/// A backend that may talk to this machine.
pub(crate) async fn backend(cache: &Path) -> BinaryGit {
    backend_with(cache, |_| {}).await
}

pub(crate) async fn backend_with(
    cache: &Path,
    change: impl FnOnce(&mut BinaryConfig),
) -> BinaryGit {
    let hosts = AllowedHosts::parse(["localhost"]).unwrap();
    let mut config = BinaryConfig::new(cache, hosts);
    config.addresses = AddressRule { permit_loopback: true };
    change(&mut config);
    BinaryGit::detect(config).await.unwrap()
}

pub(crate) fn executor(backend: &BinaryGit, seed: u64) -> Executor {
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    Executor::new(Arc::new(backend.clone()), Arc::new(move || random.lock().unwrap().f64()))
}

/// A server whose branch went from `app:1` to `app:2`.
pub(crate) async fn world() -> (Server, Commit, Commit) {
    world_of(Server::start().await)
}

/// The same at a server that was just started.
pub(crate) fn world_of(server: Server) -> (Server, Commit, Commit) {
    let good = server.commit(&[(FILE, &manifest("web", "app:1")), ("README.md", "hi")], "first");
    let bad = server.commit(&[(FILE, &manifest("web", "app:2"))], "release 2");
    (server, good, bad)
}

/// Processes of this machine whose environment or arguments name `text`.
pub(crate) fn processes_naming(text: &str) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |name| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let all = [read("cmdline"), read("environ")].concat();
        let state = String::from_utf8_lossy(&read("stat")).into_owned();
        let is_zombie = state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        if pid != std::process::id()
            && (String::from_utf8_lossy(&all).contains(text) || is_zombie_child(&state, is_zombie))
        {
            found.insert(pid, String::from_utf8_lossy(&read("cmdline")).replace('\0', " "));
        }
    }
    found
}

/// A zombie that is our own child has lost its arguments.
fn is_zombie_child(stat: &str, is_zombie: bool) -> bool {
    let parent =
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse::<u32>().ok());
    is_zombie && parent == Some(std::process::id())
}
