//! Signed reverts against a real Git server that accepts no others. Needs `ssh-keygen` and `gpg`; without
//! them the tests fail. They are apart by command: `cargo test --test git_signing -- --ignored`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests: what cannot be set up fails the test"
)]

#[expect(dead_code, reason = "the HTTPS tests use the other part")]
mod git;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use git::*;
use sluice::git::{
    backend::GitError,
    executor::{RevertOutcome, RevertRequest},
    message::Author,
    signing::SigningKey,
};

const EMAIL: &str = "sluice@example.com";

fn run(program: &str, args: &[&str], home: &Path) -> Output {
    Command::new(program)
        .args(args)
        .env("GNUPGHOME", home)
        .output()
        .expect("ssh-keygen and gpg are needed")
}

fn text(program: &str, args: &[&str], home: &Path) -> String {
    let output = run(program, args, home);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Takes only commits that verify, and that somebody signed off.
fn accept_only_signed(server: &Server, environment: &str) {
    let script = format!(
        "{environment}\nwhile read old new ref; do\n  git verify-commit \"$new\" || exit 1\n  \
         git log -1 --format=%B \"$new\" | grep -q '^Signed-off-by: Sluice <{EMAIL}>$' || exit 1\ndone"
    );
    server.hook("pre-receive", &script);
}

fn signed(request: RevertRequest, secret: &[(&str, &str)]) -> RevertRequest {
    let pairs = secret.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    let key = SigningKey::from_secret(&pairs.collect::<BTreeMap<_, _>>()).unwrap();
    let mut request = request;
    request.message.sign_off = true;
    RevertRequest { author: Author::new("Sluice", EMAIL).signing(Some(key)), ..request }
}

fn is_nothing_left(scratch: &Path) -> bool {
    std::fs::read_dir(scratch).unwrap().next().is_none()
}

/// Makes the revert; the server's verdict about the commit, and the private folder, which must be empty
/// again.
async fn revert(server: &Server, request: &RevertRequest) -> RevertOutcome {
    let cache = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let backend = backend_with(cache.path(), |config| {
        config.scratch = Some(scratch.path().to_owned());
    })
    .await;
    let outcome = executor(&backend, 1).revert(request).await;
    assert!(is_nothing_left(scratch.path()), "the key is gone with the job");
    let keys = processes_naming(&scratch.path().to_string_lossy());
    assert!(keys.is_empty(), "nothing goes on: {keys:?}");
    assert_eq!(server.reverts(), usize::from(matches!(outcome, RevertOutcome::Pushed { .. })));
    outcome
}

#[tokio::test]
#[ignore = "needs ssh-keygen and gpg"]
async fn scenario_34_a_server_that_takes_only_signed_commits_takes_one_signed_with_an_ssh_key() {
    let (server, good, bad) = world().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("key");
    let file = file.to_str().unwrap();
    text("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", file], home.path());
    let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
    let allowed = home.path().join("allowed");
    std::fs::write(&allowed, format!("{EMAIL} {public}")).unwrap();
    server.git(&["config", "gpg.ssh.allowedSignersFile", allowed.to_str().unwrap()]);
    accept_only_signed(&server, "");
    // Unsigned, it is refused.
    let refused = revert(&server, &request(&server, &good, &bad)).await;
    assert!(matches!(refused, RevertOutcome::Suggested { .. }), "{refused:?}");
    let key = std::fs::read_to_string(file).unwrap();
    // The last line end is lost easily when a Secret is made.
    let request = signed(request(&server, &good, &bad), &[("signingKey", key.trim_end())]);
    let outcome = revert(&server, &request).await;
    let RevertOutcome::Pushed { commit } = outcome else { panic!("{outcome:?}") };
    let shown = server.git(&["log", "-1", "--format=%G? %GS", commit.as_str()]);
    assert_eq!(shown.trim(), format!("G {EMAIL}"));
    assert!(
        server.git(&["cat-file", "commit", commit.as_str()]).contains("-----BEGIN SSH SIGNATURE")
    );
    assert!(server.file(FILE).contains("app:1"));
}

fn openpgp_key(home: &Path, passphrase: &str) -> String {
    let make = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        passphrase,
        "--quick-gen-key",
        // Not the committer: the key is found by its fingerprint.
        "Release Signing <signing@example.org>",
        "ed25519",
        "sign",
        "never",
    ];
    text("gpg", &make, home);
    let export = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        passphrase,
        "--armor",
        "--export-secret-keys",
    ];
    let key = text("gpg", &export, home);
    text("gpgconf", &["--kill", "all"], home);
    key
}

#[tokio::test]
#[ignore = "needs ssh-keygen and gpg"]
async fn scenario_34_a_server_that_takes_only_signed_commits_takes_one_signed_with_an_openpgp_key()
{
    for passphrase in ["", "correct horse battery"] {
        let (server, good, bad) = world().await;
        let home = tempfile::tempdir().unwrap();
        let key = openpgp_key(home.path(), passphrase);
        accept_only_signed(&server, &format!("export GNUPGHOME='{}'", home.path().display()));
        let secret = [("signingKey", key.as_str()), ("passphrase", passphrase)];
        let request = signed(request(&server, &good, &bad), &secret);
        let outcome = revert(&server, &request).await;
        let RevertOutcome::Pushed { commit } = outcome else { panic!("{outcome:?}") };
        let raw = server.git(&["cat-file", "commit", commit.as_str()]);
        assert!(raw.contains("-----BEGIN PGP SIGNATURE"), "{raw}");
        text("gpgconf", &["--kill", "all"], home.path());
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_pushes_nothing_and_says_why_without_showing_it() {
    let (server, good, bad) = world().await;
    let home = tempfile::tempdir().unwrap();
    let key = openpgp_key(home.path(), "correct horse battery");
    let torn: String = key.lines().take(4).collect::<Vec<_>>().join("\n");
    for secret in [
        [("signingKey", key.as_str()), ("passphrase", "wrong battery")],
        [("signingKey", torn.as_str()), ("passphrase", "")],
    ] {
        let request = signed(request(&server, &good, &bad), &secret);
        let outcome = revert(&server, &request).await;
        let RevertOutcome::Failed { error: error @ GitError::Unsigned { .. }, is_retryable: false } =
            outcome
        else {
            panic!("{outcome:?}")
        };
        assert!(!error.to_string().contains("battery"), "{error}");
    }
}
