//! Credentials against a real Git server over HTTPS, with the real `git` program: client certificates,
//! and the token of a GitHub App.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: an unexpected outcome fails the test"
)]

#[path = "forge/app.rs"]
mod app;
#[path = "forge/fake.rs"]
#[expect(dead_code, reason = "only what concerns Apps")]
mod fake;
#[expect(dead_code, reason = "only what concerns credentials")]
mod git;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use app::{APP, KEY};
use fake::Fake;
use git::{
    FILE, PASSWORD, Server, USER, backend, clients, executor, identified, manifest, remote,
    request, request_to, world_of,
};
use sluice::api::git_revert::PullRequestProvider;
use sluice::clock::SystemClock;
use sluice::git::backend::GitError;
use sluice::git::executor::{RevertMode, RevertOutcome, Withdrawal};
use sluice::git::http::HttpForge;
use sluice::git::source::{AddressRule, AllowedHosts, GitUrl};

fn carrier() -> Arc<HttpForge> {
    let hosts = AllowedHosts::parse(["localhost"]).unwrap();
    let rule = AddressRule { permit_loopback: true };
    Arc::new(HttpForge::new(hosts, rule, Arc::new(SystemClock)))
}

/// Only this token is accepted from now on.
fn accept(server: &Server, token: &str) {
    *server.login.lock().unwrap() = ("x-access-token".to_owned(), token.to_owned());
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_that_of_either_key_set() {
    let ours = identified();
    let theirs = identified();
    let (server, good, bad) = world_of(Server::start_for(Some(&ours.ca)).await);
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let login =
        [("username", USER), ("password", PASSWORD), ("ca.crt", server.ca.as_str())].to_vec();
    let (certificate, key) = (ours.leaf.pem(), ours.key.serialize_pem());
    let (foreign, foreign_key) = (theirs.leaf.pem(), theirs.key.serialize_pem());
    for (more, words) in [
        (vec![], "wants a client certificate (keys `tls.crt` and `tls.key` of the Secret)"),
        (vec![("tls.crt", &*foreign), ("tls.key", &*foreign_key)], "does not accept this one"),
    ] {
        let mut request = request(&server, &good, &bad);
        request.remote = server.remote_with(&[login.clone(), more].concat());
        let outcome = executor(&git, 1).revert(&request).await;
        let RevertOutcome::Failed { error, is_retryable: false } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(error.class(), "ClientCertificate", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    for [left, right] in [["tlsClientCertData", "tlsClientCertKey"], ["tls.crt", "tls.key"]] {
        let mut request = request(&server, &good, &bad);
        let more = vec![(left, &*certificate), (right, &*key)];
        request.remote = server.remote_with(&[login.clone(), more].concat());
        let outcome = executor(&git, 1).revert(&request).await;
        assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
    }
    assert_eq!((server.reverts(), server.file(FILE)), (1, manifest("web", "app:1")));
}

#[tokio::test]
async fn the_api_of_a_forge_that_wants_a_client_certificate_gets_it_too() {
    let ours = identified();
    let fake = Fake::start_for(PullRequestProvider::Gitea, Some(&ours.ca)).await;
    let (certificate, key) = (ours.leaf.pem(), ours.key.serialize_pem());
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let executor = executor(&git, 1).with_carrier(carrier());
    // The pull request is withdrawn at the forge alone, so that no server of Git is needed there.
    let url = GitUrl::parse(&format!("https://localhost:{}/shop/env.git", fake.port)).unwrap();
    fake.add_others(1);
    for (more, is_heard) in
        [(vec![], false), (vec![("tls.crt", &*certificate), ("tls.key", &*key)], true)]
    {
        let login = vec![("password", fake::TOKEN), ("ca.crt", fake.ca.as_str())];
        let withdrawal = Withdrawal {
            remote: remote(url.clone(), &[login, more].concat()),
            provider: Some(PullRequestProvider::Gitea),
            number: 1,
            comment: "not needed".to_owned(),
        };
        let outcome = executor.withdraw(&withdrawal).await;
        assert_eq!(outcome.is_ok(), is_heard, "{outcome:?}");
        assert_eq!(fake.calls("") > 0, is_heard);
    }
    assert_eq!(fake.requests()[0].state, "closed");
}

#[tokio::test]
async fn an_app_pushes_with_the_token_that_it_was_given() {
    let fake = Fake::start(PullRequestProvider::GitHub).await;
    let server = Server::start().await;
    // An App is for repositories with an owner.
    std::os::unix::fs::symlink(server.root.path(), server.root.path().join("shop")).unwrap();
    let (server, good, bad) = world_of(server);
    let url = GitUrl::parse(&server.url().as_str().replace("/env.git", "/shop/env.git")).unwrap();
    let base = format!("https://localhost:{}/api/v3", fake.port);
    let ca = format!("{}{}", server.ca, fake.ca);
    let secret = [
        ("githubAppID", APP),
        ("githubAppPrivateKey", KEY),
        ("githubAppInstallationOwner", "shop"),
        ("githubAppBaseURL", &base),
        ("ca.crt", &ca),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let executor = executor(&git, 1).with_carrier(carrier());
    let mut request = request_to(remote(url, &secret), &good, &bad);
    accept(&server, "ghs_given-out-1");

    // A protected branch: the same token proposes.
    server.hook("pre-receive", "grep -q refs/heads/main && exit 1; exit 0");
    let outcome = executor.revert(&request).await;
    assert!(matches!(outcome, RevertOutcome::Proposed { number: 1, .. }), "{outcome:?}");
    server.hook("pre-receive", "exit 0");
    fake.forget_requests();
    let outcome = executor.revert(&request).await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
    assert_eq!((server.reverts(), server.file(FILE)), (1, manifest("web", "app:1")));
    assert_eq!(fake.calls("/access_tokens"), 1, "one token for all of it");

    // The server takes it no more. It is new, so that nothing helps; nothing shows it.
    accept(&server, "ghs_given-out-2");
    request.mode = RevertMode::Suggest;
    let outcome = executor.revert(&request).await;
    let RevertOutcome::Failed { error: error @ GitError::Auth { .. }, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(!format!("{error:?} {error}").contains("ghs_"));
    // After a minute another one is asked for.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    let outcome = executor.revert(&request).await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
    assert_eq!(fake.calls("/access_tokens"), 2);
}
