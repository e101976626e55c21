//! The revert against a real SSH server. Needs `sshd` (Debian: openssh-server), at
//! `$SLUICE_TEST_SSHD` or `/usr/sbin/sshd`; without it the tests fail. They are apart by command:
//! `cargo test --test git_ssh -- --ignored`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests: what cannot be set up fails the test"
)]

mod git;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use git::*;
use sluice::git::{
    backend::Remote,
    credentials::{CredentialRefusal, Credentials},
    executor::{RevertOutcome, RevertRequest},
    source::GitUrl,
};

/// An SSH server on 127.0.0.1 that serves the repository of a [`Server`].
struct Ssh {
    child: Child,
    port: u16,
    host_key: String,
    client_key: String,
    user: String,
    _directory: tempfile::TempDir,
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("ssh-keygen and id are needed");
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn key(path: &Path) -> String {
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path.to_str().unwrap()]);
    std::fs::read_to_string(path.with_extension("pub")).unwrap()
}

async fn start() -> Ssh {
    let program = std::env::var("SLUICE_TEST_SSHD").unwrap_or("/usr/sbin/sshd".to_owned());
    assert!(Path::new(&program).exists(), "sshd is needed: install openssh-server");
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let host_key = key(&place.join("host"));
    std::fs::write(place.join("authorized"), key(&place.join("client"))).unwrap();
    // Where sshd puts the processes that it does not trust; its package makes it at boot.
    let _ = std::fs::create_dir("/run/sshd");
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nPidFile none\nAuthorizedKeysFile {0}/authorized\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n",
        place.display()
    );
    std::fs::write(place.join("config"), config).unwrap();
    let child = Command::new(&program)
        .args(["-D", "-e", "-f", place.join("config").to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .expect("sshd must start");
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "sshd does not listen");
        tokio::task::yield_now().await;
    }
    Ssh {
        child,
        port,
        host_key,
        client_key: std::fs::read_to_string(place.join("client")).unwrap(),
        user: run("id", &["-un"]).trim().to_owned(),
        _directory: directory,
    }
}

impl Ssh {
    fn request(&self, server: &Server, host_key: &str, from: RevertRequest) -> RevertRequest {
        let path = server.repository();
        let text = format!("ssh://{}@localhost:{}{}", self.user, self.port, path.display());
        let url = GitUrl::parse(&text).unwrap();
        let known_hosts = format!("[localhost]:{} {host_key}", self.port);
        let data = [("identity", self.client_key.clone()), ("known_hosts", known_hosts)]
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .into();
        let credentials = Credentials::from_secret("test/ssh", &url, &data).unwrap();
        let remote = Remote { url: url.clone(), credentials: Arc::new(credentials) };
        RevertRequest { remote, source: source(url), ..from }
    }
}

#[tokio::test]
#[ignore = "needs sshd"]
async fn scenario_22_a_revert_over_ssh_with_known_hosts_is_pushed() {
    let (server, good, bad) = world().await;
    let ssh = start().await;
    let request = ssh.request(&server, &ssh.host_key, request(&server, &good, &bad));
    let scratch = tempfile::tempdir().unwrap();
    let backend = backend(scratch.path()).await;
    let began = Instant::now();
    let outcome = executor(&backend, 1).revert(&request).await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
    println!("measured: cold revert over SSH {:?}", began.elapsed());
    assert_eq!((server.reverts(), server.file(FILE)), (1, manifest("web", "app:1")));
}

#[tokio::test]
#[ignore = "needs sshd"]
async fn scenario_22_another_host_key_is_refused_and_not_retried() {
    let (server, good, bad) = world().await;
    let ssh = start().await;
    let other = tempfile::tempdir().unwrap();
    let wrong = key(&other.path().join("other"));
    let request = ssh.request(&server, &wrong, request(&server, &good, &bad));
    let scratch = tempfile::tempdir().unwrap();
    let outcome = executor(&backend(scratch.path()).await, 1).revert(&request).await;
    let RevertOutcome::Failed { error, is_retryable: false } = outcome else {
        unreachable!("{outcome:?}")
    };
    assert_eq!(error.class(), "HostKey");
}

#[test]
fn scenario_22_missing_known_hosts_are_refused_before_anything_is_connected_to() {
    let url = GitUrl::parse("ssh://git@localhost/env.git").unwrap();
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n";
    let data = [("identity".to_owned(), key.as_bytes().to_vec())].into();
    let refused = Credentials::from_secret("test/ssh", &url, &data);
    assert_eq!(refused, Err(CredentialRefusal::NoKnownHosts));
}
