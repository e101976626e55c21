//! Reverts with a GitHub App: what it signs, the token that it is given, and how that is kept.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use sluice::api::git_revert::PullRequestProvider;
use sluice::clock::{Clock, SystemClock, TokioClock};
use sluice::git::backend::{Carrier as _, GitError};
use sluice::git::executor::{Executor, RevertMode, RevertOutcome};
use sluice::git::forge::ForgeError;
use sluice::git::http::HttpForge;
use sluice::git::memory::{Fault as GitFault, Operation};
use sluice::git::source::{AddressRule, AllowedHosts};

use crate::app::{APP, INSTALLATION, KEY};
use crate::fake::{Fault, TOKEN};
use crate::tests::{World, remote};

const EXCHANGE: &str = "/access_tokens";

/// A world whose Secret holds the App, with these keys beside it.
async fn world_with(mode: RevertMode, keys: &[(&str, &str)]) -> World {
    let mut world = World::new(PullRequestProvider::GitHub, mode).await;
    let url = world.request.remote.url.clone();
    let ca = world.fake.ca.clone();
    let mut data =
        vec![("githubAppID", APP), ("githubAppPrivateKey", KEY), ("ca.crt", ca.as_str())];
    data.extend(keys);
    world.request.remote = remote(&url, &data);
    world.request.requests.provider = None;
    world
}

async fn world(mode: RevertMode) -> World {
    world_with(mode, &[("githubAppInstallationID", &INSTALLATION.to_string())]).await
}

fn forge_at(clock: Arc<dyn Clock>) -> HttpForge {
    let hosts = AllowedHosts::parse(["localhost"]).unwrap();
    HttpForge::new(hosts, AddressRule { permit_loopback: true }, clock)
}

fn forge() -> HttpForge {
    forge_at(Arc::new(SystemClock))
}

async fn proposed(executor: &Executor, world: &World) {
    let outcome = executor.revert(&world.request).await;
    assert!(matches!(outcome, RevertOutcome::Proposed { number: 1, .. }), "{outcome:?}");
}

/// The error of a revert that did not get a token, as it is told.
async fn refused(executor: &Executor, world: &World) -> (ForgeError, String) {
    match executor.revert(&world.request).await {
        RevertOutcome::Failed { error: GitError::Forge(error), is_retryable } => {
            assert_eq!(is_retryable, error.is_retryable());
            let told = error.to_string();
            assert!(!told.contains("PRIVATE") && !told.contains("ghs_"), "{told}");
            (error, told)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_app_is_given_one_token_for_this_repository_and_uses_it_for_everything() {
    let world = world(RevertMode::PullRequest).await;
    let executor = world.executor();
    proposed(&executor, &world).await;
    proposed(&executor, &world).await;
    let asked = world.fake.apps(|apps| apps.asked.clone());
    let body = json!({
        "repositories": ["env"],
        "permissions": {"contents": "write", "pull_requests": "write"},
    });
    assert_eq!(asked, [body], "one token for all calls of both reverts");
    assert!(world.fake.calls("/pulls") >= 3);
    assert_eq!(world.fake.calls("/installation?"), 0, "its number was given");
}

#[tokio::test]
async fn an_installation_is_found_by_its_account() {
    for (more, calls) in [
        (vec![("githubAppInstallationOwner", "shop")], [1, 0]),
        (vec![("githubAppInstallationOwner", "ada")], [1, 1]),
        // The owner of the repository.
        (vec![], [1, 0]),
    ] {
        let world = world_with(RevertMode::PullRequest, &more).await;
        proposed(&world.executor(), &world).await;
        assert_eq!([world.fake.calls("/orgs/"), world.fake.calls("/users/")], calls, "{more:?}");
    }
}

#[tokio::test]
async fn an_api_elsewhere_is_asked_only_on_an_allowed_host() {
    let fake = World::new(PullRequestProvider::GitHub, RevertMode::Push).await.fake;
    for key in ["githubAppBaseURL", "githubAppEnterpriseBaseUrl"] {
        // The same host at another port is a host of the list.
        let base = format!("https://localhost:{}/api/v3/", fake.port);
        let mut elsewhere = world_with(RevertMode::PullRequest, &[(key, &base)]).await;
        let ca = format!("{}{}", elsewhere.fake.ca, fake.ca);
        let url = elsewhere.request.remote.url.clone();
        let data =
            [("githubAppID", APP), ("githubAppPrivateKey", KEY), ("ca.crt", &ca), (key, &base)];
        elsewhere.request.remote = remote(&url, &data);
        proposed(&elsewhere.executor(), &elsewhere).await;
        assert_eq!(elsewhere.fake.calls(""), 0, "the API of the Secret is asked instead");
        fake.forget_requests();
        let before = fake.calls("");
        for base in ["https://127.0.0.1:1/api/v3", "https://metadata.example/api/v3"] {
            let world = world_with(RevertMode::PullRequest, &[(key, base)]).await;
            let (error, _) = refused(&world.executor(), &world).await;
            assert!(matches!(error, ForgeError::NotAllowed(_)), "{error:?}");
        }
        assert_eq!(fake.calls(""), before);
    }
    let world = world_with(RevertMode::Push, &[]).await;
    let hosts = AllowedHosts::parse(["localhost"]).unwrap();
    let forge = HttpForge::new(hosts, AddressRule::default(), Arc::new(SystemClock));
    let (error, _) = refused(&world.executor_through(forge), &world).await;
    assert!(matches!(error, ForgeError::AddressRefused { kind: "loopback", .. }), "{error:?}");
    assert_eq!(world.fake.calls(""), 0);
}

#[tokio::test]
async fn a_refusal_names_the_secret_and_the_key_and_is_not_asked_for_again_at_once() {
    let table: [(Fault, &str, bool); 8] = [
        (
            Fault::Answer(401, r#"{"message": "A JSON web token could not be decoded"}"#),
            "Secret `secret`, key `githubAppPrivateKey`: `localhost` does not accept what it signs \
             for App 12345",
            false,
        ),
        (
            Fault::Answer(403, r#"{"message": "This installation has been suspended"}"#),
            "Secret `secret`, key `githubAppInstallationID`: App 12345 gets no token for shop/env \
             with contents: write and pull_requests: write (403: This installation has been \
             suspended)",
            false,
        ),
        (
            Fault::Answer(404, r#"{"message": "Not Found"}"#),
            "key `githubAppInstallationID`: `localhost` knows no installation 7 of App 12345 (404: \
             Not Found)",
            false,
        ),
        (
            Fault::Answer(422, r#"{"message": "The permissions requested are not granted"}"#),
            "(422: The permissions requested are not granted)",
            false,
        ),
        (Fault::With(429, "{}", ("retry-after", "60")), "takes no more calls for now (429)", true),
        (
            Fault::With(403, "{}", ("x-ratelimit-remaining", "0")),
            "takes no more calls for now (403)",
            true,
        ),
        (Fault::Answer(502, "<html>"), "has trouble (502)", true),
        (Fault::Answer(201, r#"{"token": "ghs_x y"}"#), "it holds no token with an end", true),
    ];
    for (fault, words, passes) in table {
        let world = world(RevertMode::Push).await;
        world.fake.fault(EXCHANGE, fault);
        let executor = world.executor();
        let (error, told) = refused(&executor, &world).await;
        assert!(told.contains(words), "{told}");
        assert_eq!(error.is_retryable(), passes, "{told}");
        assert_eq!(refused(&executor, &world).await.1, told);
        assert_eq!(world.fake.calls(EXCHANGE), 1, "remembered: {told}");
        let later = world.executor().revert(&world.request).await;
        assert!(matches!(later, RevertOutcome::Pushed { .. }), "{later:?}");
    }
}

#[tokio::test]
async fn an_account_without_the_app_is_named_by_its_key() {
    let world = world_with(RevertMode::Push, &[("githubAppInstallationOwner", "acme")]).await;
    let (_, told) = refused(&world.executor(), &world).await;
    let words = "Secret `secret`, key `githubAppInstallationOwner`: `localhost` knows no installation \
                 of App 12345 at the account acme";
    assert!(told.contains(words), "{told}");
}

#[tokio::test]
async fn a_pause_that_the_server_asks_for_is_kept() {
    let world = world(RevertMode::Push).await;
    world.fake.fault(EXCHANGE, Fault::With(429, "{}", ("retry-after", "120")));
    let executor = world.executor();
    refused(&executor, &world).await;
    after(Duration::from_secs(100)).await;
    refused(&executor, &world).await;
    assert_eq!(world.fake.calls(EXCHANGE), 1);
    after(Duration::from_secs(21)).await;
    let outcome = executor.revert(&world.request).await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
}

/// Lets time go by without waiting.
async fn after(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_key_of_another_app_is_refused_by_name() {
    let mut world = world(RevertMode::Push).await;
    let (url, ca) = (world.request.remote.url.clone(), world.fake.ca.clone());
    let data = [("githubAppID", "999"), ("githubAppPrivateKey", KEY), ("ca.crt", ca.as_str())];
    world.request.remote = remote(&url, &data);
    let (_, told) = refused(&world.executor(), &world).await;
    assert!(told.contains("key `githubAppPrivateKey`") && told.contains("App 999"), "{told}");
    assert!(told.contains("Integration not found"), "{told}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_made_up_for_by_the_servers_time() {
    for minutes in [-30, 30] {
        let clock = || Arc::new(TokioClock::starting_at(Utc::now() + TimeDelta::minutes(minutes)));
        let world = world(RevertMode::Push).await;
        let executor = world.executor_through(forge_at(clock()));
        let outcome = executor.revert(&world.request).await;
        assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
        assert_eq!(world.fake.calls(EXCHANGE), 2, "once by each clock");
        // A token is valid as long as the server's clock says: it is kept.
        executor.revert(&world.request).await;
        assert_eq!(world.fake.calls(EXCHANGE), 2);
        let refusal = || Fault::Answer(401, r#"{"message": "no"}"#);
        for _ in 0..2 {
            world.fake.fault(EXCHANGE, refusal());
        }
        let executor = world.executor_through(forge_at(clock()));
        let (_, told) = refused(&executor, &world).await;
        assert!(told.contains("s ahead of the controller's"), "{told}");
        assert_eq!(world.fake.calls(EXCHANGE), 4, "no third try");
    }
}

#[tokio::test]
async fn a_token_that_ends_soon_serves_one_job() {
    let mut world = world(RevertMode::PullRequest).await;
    world.request.mode = RevertMode::Suggest;
    let executor = world.executor();
    for (minutes, exchanges) in [(4, 2), (60, 3)] {
        world.fake.apps(|apps| apps.lifetime = TimeDelta::minutes(minutes));
        executor.revert(&world.request).await;
        executor.revert(&world.request).await;
        assert_eq!(world.fake.calls(EXCHANGE), exchanges);
    }
    after(Duration::from_mins(56)).await;
    executor.revert(&world.request).await;
    assert_eq!(world.fake.calls(EXCHANGE), 4, "replaced shortly before its end");
}

#[tokio::test]
async fn a_token_that_is_refused_in_the_middle_is_replaced_once() {
    let world = world(RevertMode::PullRequest).await;
    let executor = world.executor();
    proposed(&executor, &world).await;
    after(Duration::from_secs(61)).await;
    world.fake.apps(|apps| apps.tokens.clear());
    proposed(&executor, &world).await;
    assert_eq!(world.fake.calls(EXCHANGE), 2, "a second token, and no third one");
    // A new one that is refused, too, is no reason to ask for more.
    world.fake.apps(|apps| apps.tokens.clear());
    let before = world.fake.calls("/pulls");
    let outcome = executor.revert(&world.request).await;
    let RevertOutcome::Suggested { reason, .. } = outcome else { panic!("{outcome:?}") };
    assert!(reason.to_string().contains("(401)"), "{reason}");
    assert_eq!(world.fake.calls(EXCHANGE), 2);
    assert_eq!(world.fake.calls("/pulls"), before + 2);
}

#[tokio::test]
async fn a_push_that_is_refused_for_its_token_is_tried_once_with_another_one() {
    let refusal = || GitFault::Fail(GitError::Auth { host: "localhost".into() });
    let world = world(RevertMode::Push).await;
    let executor = world.executor();
    executor.default_branch(&world.request.remote).await.unwrap();
    after(Duration::from_secs(61)).await;
    world.git.fault(Operation::Push, refusal());
    let outcome = executor.revert(&world.request).await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
    assert_eq!(world.fake.calls(EXCHANGE), 2);

    let world = self::world(RevertMode::Push).await;
    let executor = world.executor();
    for _ in 0..2 {
        world.git.fault(Operation::Push, refusal());
    }
    let outcome = executor.revert(&world.request).await;
    assert!(
        matches!(outcome, RevertOutcome::Failed { error: GitError::Auth { .. }, .. }),
        "{outcome:?}"
    );
    assert_eq!(world.fake.calls(EXCHANGE), 1, "a new token is not replaced");
}

#[tokio::test]
async fn many_jobs_at_once_ask_for_one_token() {
    let world = world(RevertMode::Push).await;
    let forge = Arc::new(forge());
    let ask = || {
        let (forge, remote) = (forge.clone(), world.request.remote.clone());
        tokio::spawn(async move { forge.authorize(&remote).await.is_ok() })
    };
    let jobs: Vec<_> = (0..20).map(|_| ask()).collect();
    for job in jobs {
        assert!(job.await.unwrap());
    }
    assert_eq!(world.fake.calls(EXCHANGE), 1);
}

#[tokio::test]
async fn nothing_shows_the_key_or_the_token() {
    let world = world(RevertMode::PullRequest).await;
    let forge = forge();
    let authorized = forge.authorize(&world.request.remote).await.unwrap();
    let outcome = world.executor_through(forge.clone()).revert(&world.request).await;
    let shown = format!("{:?} {authorized:?} {outcome:?} {forge:?}", world.request);
    assert!(!shown.contains("ghs_") && !shown.contains(TOKEN), "{shown}");
    let line = KEY.lines().nth(1).unwrap();
    assert!(!shown.contains(line));
}
