//! Reverts as pull requests, against forges that speak the wire formats of GitHub, GitLab and Gitea on
//! a loopback port.

#![cfg_attr(
    not(test),
    expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "support code of tests")
)]

#[cfg(test)]
mod app;
#[cfg(test)]
mod apps;
#[cfg(test)]
#[path = "../git/clients.rs"]
mod clients;
#[cfg(test)]
mod fake;

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chrono::DateTime;
    use serde_json::{Value, json};
    use sluice::api::git_revert::PullRequestProvider;
    use sluice::clock::SystemClock;
    use sluice::git::backend::{GitError, Remote};
    use sluice::git::credentials::Credentials;
    use sluice::git::executor::{
        Confirm, Executor, FoundSource, Requests, RevertMode, RevertOutcome, RevertRequest,
        Unconfirmed, Withdrawal,
    };
    use sluice::git::forge::{ForgeError, RequestState};
    use sluice::git::http::HttpForge;
    use sluice::git::memory::{Fault as GitFault, Files, MemoryGit, Operation};
    use sluice::git::message::{Author, MessageFacts};
    use sluice::git::plan::{Declaration, Identity, SuggestReason};
    use sluice::git::revert_id::RevertId;
    use sluice::git::source::{AddressRule, AllowedHosts, BranchName, GitUrl, RepoPath, Source};
    use sluice::revision::{Commit, TemplateDigest};

    use crate::fake::{Fake, Fault, TOKEN};

    const ALL: [PullRequestProvider; 3] =
        [PullRequestProvider::GitHub, PullRequestProvider::GitLab, PullRequestProvider::Gitea];

    fn template(image: &str) -> Value {
        json!({"spec": {"containers": [{"name": "app", "image": image}]}})
    }

    fn manifest(image: &str) -> Vec<u8> {
        format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: web}}\nspec:\n  \
             template:\n    spec:\n      containers:\n        - name: app\n          image: {image}\n"
        )
        .into_bytes()
    }

    pub(crate) struct World {
        pub(crate) fake: Fake,
        pub(crate) git: MemoryGit,
        pub(crate) request: RevertRequest,
    }

    impl World {
        pub(crate) async fn new(provider: PullRequestProvider, mode: RevertMode) -> Self {
            let fake = Fake::start(provider).await;
            let url = GitUrl::parse(&format!("https://localhost:{}/shop/env.git", fake.port));
            let url = url.unwrap();
            let branch = BranchName::parse("main").unwrap();
            let git = MemoryGit::default();
            let write = |image: &str| {
                let file = RepoPath::parse("apps/web/rollout.yaml").unwrap();
                let files = Files::from([(file, Some(manifest(image)))]);
                git.commit(&url, &branch, &files, image)
            };
            let (good, bad) = (write("app:1"), write("app:2"));
            let data = [("password", TOKEN), ("ca.crt", fake.ca.as_str())];
            let request = RevertRequest {
                id: RevertId::new("uid", &TemplateDigest::of(&template("app:2")), &bad),
                source: Source {
                    url: url.clone(),
                    branch,
                    path: RepoPath::parse("apps/web").unwrap(),
                    file: None,
                },
                remote: remote(&url, &data),
                identity: Identity::rollout("shop", "web"),
                good: Some(Declaration { commit: good, template: template("app:1") }),
                bad: Declaration { commit: bad, template: template("app:2") },
                mode,
                found: None,
                requests: Requests { provider: Some(provider), ..Requests::default() },
                message: MessageFacts {
                    namespace: "shop".into(),
                    name: "web".into(),
                    stable_version: "1".into(),
                    failed_version: "2".into(),
                    stopped_at: "step 1/2".into(),
                    ..MessageFacts::default()
                },
                author: Author::default(),
                now: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            };
            Self { fake, git, request }
        }

        pub(crate) fn executor(&self) -> Executor {
            let hosts = AllowedHosts::parse(["localhost"]).unwrap();
            let rule = AddressRule { permit_loopback: true };
            self.executor_through(HttpForge::new(hosts, rule, Arc::new(SystemClock)))
        }

        pub(crate) fn executor_through(&self, forge: HttpForge) -> Executor {
            Executor::new(Arc::new(self.git.clone()), Arc::new(|| 0.0))
                .with_carrier(Arc::new(forge))
        }

        async fn revert(&self) -> RevertOutcome {
            self.executor().revert(&self.request).await
        }

        async fn proposed(&self) -> u64 {
            match self.revert().await {
                RevertOutcome::Proposed { number, .. } => number,
                other => panic!("{other:?}"),
            }
        }

        fn tip(&self, branch: &str) -> Option<Commit> {
            let branch = BranchName::parse(branch).unwrap();
            self.git.tip(&self.request.source.url, &branch)
        }

        async fn error(&self) -> (GitError, bool) {
            match self.revert().await {
                RevertOutcome::Failed { error, is_retryable } => (error, is_retryable),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn remote(url: &GitUrl, data: &[(&str, &str)]) -> Remote {
        let data = data.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect();
        let credentials = Credentials::from_secret("test/secret", url, &data).unwrap();
        Remote { url: url.clone(), credentials: Arc::new(credentials) }
    }

    #[tokio::test]
    async fn a_revert_becomes_one_request_and_every_further_try_finds_it() {
        for provider in ALL {
            let mut world = World::new(provider, RevertMode::PullRequest).await;
            let before = world.tip("main");
            assert_eq!(world.proposed().await, 1, "{provider:?}");
            assert_eq!(world.proposed().await, 1, "found by its branch");
            world.request.requests.known = Some(1);
            assert_eq!(world.proposed().await, 1, "found by its number");
            let requests = world.fake.requests();
            let [request] = requests.as_slice() else { panic!("{requests:?}") };
            let short = &world.request.id.as_str()[..8];
            assert_eq!(request.head, format!("sluice/revert/shop-web-{short}"));
            assert_eq!(request.base, "main");
            assert_eq!(request.title, "revert(shop/web): restore 1, canary of 2 failed");
            assert!(request.body.contains("Sluice-Revert-Id: "), "{}", request.body);
            assert_eq!(world.tip("main"), before, "nothing was pushed to the branch");
            let branch = BranchName::parse(&request.head).unwrap();
            let path = RepoPath::parse("apps/web/rollout.yaml").unwrap();
            let file = world.git.file(&world.request.source.url, &branch, &path);
            assert_eq!(file, Some(manifest("app:1")));
        }
    }

    #[tokio::test]
    async fn a_veto_counts_however_many_requests_are_newer() {
        for provider in ALL {
            let world = World::new(provider, RevertMode::PullRequest).await;
            assert_eq!(world.proposed().await, 1);
            world.fake.set_state(1, "closed");
            world.fake.add_others(130);
            let outcome = world.revert().await;
            assert!(matches!(outcome, RevertOutcome::Vetoed { number: 1, .. }), "{outcome:?}");
            assert_eq!(world.fake.requests().len(), 131, "{provider:?}: no second one");
        }
    }

    #[tokio::test]
    async fn a_request_can_be_a_draft_with_labels_and_lacks_them_rather_than_not_being_there() {
        for provider in ALL {
            let mut world = World::new(provider, RevertMode::PullRequest).await;
            world.request.requests.is_draft = true;
            world.request.requests.labels = vec!["revert".to_owned(), "sluice bot".to_owned()];
            world.proposed().await;
            let requests = world.fake.requests();
            assert!(requests[0].is_draft, "{provider:?}");
            assert_eq!(requests[0].labels, ["revert", "sluice bot"], "{provider:?}");
        }
        let mut world = World::new(PullRequestProvider::GitHub, RevertMode::PullRequest).await;
        world.request.requests.labels = vec!["revert".to_owned()];
        world.fake.fault("/labels", Fault::Answer(403, "{}"));
        assert_eq!(world.proposed().await, 1);
        assert!(world.fake.requests()[0].labels.is_empty());
    }

    #[tokio::test]
    async fn a_closed_request_is_a_veto_and_a_merged_one_is_done() {
        for provider in ALL {
            let mut world = World::new(provider, RevertMode::PullRequest).await;
            world.proposed().await;
            world.fake.set_state(1, "closed");
            assert!(matches!(world.revert().await, RevertOutcome::Vetoed { number: 1, .. }));
            world.request.requests.known = Some(1);
            assert!(matches!(world.revert().await, RevertOutcome::Vetoed { number: 1, .. }));
            assert_eq!(world.fake.requests().len(), 1, "it is not opened again");
            world.fake.set_state(1, "merged");
            let RevertOutcome::Pushed { commit } = world.revert().await else {
                panic!("{provider:?}: it was merged")
            };
            assert_eq!(commit.as_str(), "e".repeat(40));
        }
    }

    #[tokio::test]
    async fn a_request_that_is_not_needed_is_closed_with_a_comment_once() {
        for provider in ALL {
            let world = World::new(provider, RevertMode::PullRequest).await;
            world.proposed().await;
            let withdrawal = Withdrawal {
                remote: world.request.remote.clone(),
                provider: Some(provider),
                number: 1,
                comment: "a newer template was declared".into(),
            };
            let executor = world.executor();
            assert_eq!(executor.withdraw(&withdrawal).await, Ok(RequestState::Open));
            assert_eq!(executor.withdraw(&withdrawal).await, Ok(RequestState::Closed));
            let request = world.fake.requests().remove(0);
            assert_eq!((request.state, request.comments.len()), ("closed", 1));
        }
    }

    #[tokio::test]
    async fn what_may_not_be_pushed_is_proposed() {
        for provider in ALL {
            let world = World::new(provider, RevertMode::Push).await;
            let protected =
                GitError::Protected { branch: "main".into(), detail: "hook declined".into() };
            world.git.fault(Operation::Push, GitFault::Fail(protected));
            let RevertOutcome::Proposed { reason, .. } = world.revert().await else {
                panic!("{provider:?}: not proposed")
            };
            assert!(reason.contains("protected"), "{reason}");
            assert!(world.fake.requests()[0].body.contains("hook declined"));
        }
        let world = World::new(PullRequestProvider::Gitea, RevertMode::Push).await;
        assert!(matches!(world.revert().await, RevertOutcome::Pushed { .. }));
        assert!(world.fake.requests().is_empty());
    }

    #[tokio::test]
    async fn a_limited_source_is_proposed_and_a_denied_one_is_not() {
        for mode in [RevertMode::Push, RevertMode::PullRequest] {
            let mut world = World::new(PullRequestProvider::GitHub, mode).await;
            let limit = "a set makes it".to_owned();
            let told = limit.clone();
            let confirm: Confirm = Arc::new(move || {
                let told = told.clone();
                Box::pin(async move { Ok(Some(told)) })
            });
            world.request.found = Some(FoundSource { limit: Some(limit), confirm });
            world.proposed().await;
            let mut world = World::new(PullRequestProvider::GitHub, mode).await;
            let confirm: Confirm = Arc::new(|| {
                Box::pin(async { Err(Unconfirmed::Denied("it is not listed".to_owned())) })
            });
            world.request.found = Some(FoundSource { limit: None, confirm });
            let RevertOutcome::Suggested { reason, .. } = world.revert().await else {
                panic!("{mode:?}: proposed")
            };
            assert_eq!(reason, SuggestReason::SourceNotConfirmed("it is not listed".to_owned()));
            assert!(world.fake.requests().is_empty());
        }
    }

    #[tokio::test]
    async fn an_answer_that_was_lost_opens_no_second_request() {
        for provider in ALL {
            let world = World::new(provider, RevertMode::PullRequest).await;
            world.fake.fault("POST", Fault::LostReply);
            assert!(world.error().await.1, "a server's trouble passes");
            assert_eq!(world.proposed().await, 1);
            assert_eq!(world.fake.requests().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_request_that_somebody_opened_in_between_is_taken() {
        for provider in ALL {
            let world = World::new(provider, RevertMode::PullRequest).await;
            world.proposed().await;
            // The list is asked before it has it.
            world.fake.fault("GET", Fault::Answer(200, "[]"));
            assert_eq!(world.proposed().await, 1, "{provider:?}");
            assert_eq!(world.fake.calls("POST"), 2);
        }
    }

    #[tokio::test]
    async fn a_branch_of_somebody_else_is_never_used() {
        let world = World::new(PullRequestProvider::GitHub, RevertMode::PullRequest).await;
        let short = &world.request.id.as_str()[..8];
        let branch = BranchName::parse(&format!("sluice/revert/shop-web-{short}")).unwrap();
        let files = Files::from([(RepoPath::parse("x.txt").unwrap(), Some(b"x".to_vec()))]);
        world.git.commit(&world.request.source.url, &branch, &files, "mine");
        let RevertOutcome::Suggested { reason, .. } = world.revert().await else { panic!("used") };
        assert!(reason.to_string().contains("does not hold this revert"), "{reason}");
        assert!(world.fake.requests().is_empty());
    }

    #[tokio::test]
    async fn a_refusal_says_what_was_tried_and_whether_it_passes() {
        let table: [(Fault, &str, bool); 10] = [
            (Fault::Answer(401, "{}"), "does not accept the token of the Secret (401)", false),
            (
                Fault::Answer(403, r#"{"message": "Resource not accessible"}"#),
                "may not open a pull request (403: Resource not accessible)",
                false,
            ),
            (
                Fault::With(403, "{}", ("x-ratelimit-remaining", "0")),
                "takes no more calls for now (403)",
                true,
            ),
            (Fault::With(403, "{}", ("retry-after", "60")), "takes no more calls for now", true),
            (Fault::Answer(404, "{}"), "no such repository or branch", true),
            (
                Fault::Answer(
                    422,
                    r#"{"message": "Validation Failed", "errors": [{"field": "head"}]}"#,
                ),
                "refuses to open a pull request (422: Validation Failed; head)",
                true,
            ),
            (Fault::Answer(429, ""), "takes no more calls for now (429)", true),
            (Fault::Answer(503, "<html>"), "has trouble (503)", true),
            (Fault::Answer(201, "<html>"), "cannot be read: it is not JSON", true),
            (Fault::Answer(302, ""), "redirects to another address", false),
        ];
        for (fault, words, passes) in table {
            let world = World::new(PullRequestProvider::GitHub, RevertMode::PullRequest).await;
            world.fake.fault("POST", fault);
            let told = match world.revert().await {
                RevertOutcome::Failed { error, is_retryable: true } if passes => error.to_string(),
                RevertOutcome::Suggested { reason, patch, .. } if !passes => {
                    assert!(matches!(reason, SuggestReason::NotProposed { .. }));
                    assert!(patch.contains("app:1"), "a person can do it by hand");
                    reason.to_string()
                }
                other => panic!("{words}: {other:?}"),
            };
            assert!(told.contains(words), "{told}");
            assert!(!told.contains(TOKEN));
            if passes {
                assert_eq!(world.proposed().await, 1, "the next try works");
            }
        }
    }

    #[tokio::test]
    async fn malformed_lists_are_never_taken_for_empty_ones() {
        for text in [r#"{"message": "hello"}"#, r#"[{"number": 1}]"#, "null", "[1]", ""] {
            let world = World::new(PullRequestProvider::GitLab, RevertMode::PullRequest).await;
            world.fake.fault("GET", Fault::Answer(200, text));
            let (error, is_retryable) = world.error().await;
            assert!(matches!(error, GitError::Forge(ForgeError::Malformed { .. })), "{error}");
            assert!(is_retryable);
            assert_eq!(world.fake.calls("POST"), 0, "{text}");
        }
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_left_after_a_while() {
        let world = World::new(PullRequestProvider::Gitea, RevertMode::PullRequest).await;
        world.fake.fault("GET", Fault::Hang);
        let hosts = AllowedHosts::parse(["localhost"]).unwrap();
        let rule = AddressRule { permit_loopback: true };
        let forge = HttpForge::new(hosts, rule, Arc::new(SystemClock))
            .with_limit(Duration::from_millis(300));
        let outcome = world.executor_through(forge).revert(&world.request).await;
        let RevertOutcome::Failed { error, is_retryable: true } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(error.to_string().contains("no answer within"), "{error}");
    }

    #[tokio::test]
    async fn hosts_and_addresses_that_are_not_allowed_are_never_called() {
        let world = World::new(PullRequestProvider::GitHub, RevertMode::PullRequest).await;
        let told = async |hosts: [&str; 1], permit_loopback: bool| {
            let hosts = AllowedHosts::parse(hosts).unwrap();
            let rule = AddressRule { permit_loopback };
            let forge = HttpForge::new(hosts, rule, Arc::new(SystemClock));
            match world.executor_through(forge).revert(&world.request).await {
                RevertOutcome::Suggested { reason, .. } => reason.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert!(told(["git.example.test"], true).await.contains("the forge is not allowed"));
        assert!(
            told(["localhost"], false).await.contains("loopback address, which is not allowed")
        );
        assert_eq!(world.fake.calls(""), 0);
    }

    #[tokio::test]
    async fn a_server_with_another_certificate_authority_gets_no_token() {
        let mut world = World::new(PullRequestProvider::GitHub, RevertMode::PullRequest).await;
        let url = world.request.remote.url.clone();
        world.request.remote = remote(&url, &[("password", TOKEN)]);
        assert!(matches!(world.error().await.0, GitError::Forge(ForgeError::Unreachable { .. })));
        assert_eq!(world.fake.calls(""), 0);
    }

    #[tokio::test]
    async fn a_token_of_its_own_comes_before_that_of_git() {
        let mut world = World::new(PullRequestProvider::GitLab, RevertMode::PullRequest).await;
        let url = world.request.remote.url.clone();
        let ca = world.fake.ca.clone();
        world.request.remote =
            remote(&url, &[("password", "git-only"), ("apiToken", TOKEN), ("ca.crt", &ca)]);
        assert_eq!(world.proposed().await, 1);
        world.request.remote = remote(&url, &[("ca.crt", &ca)]);
        let RevertOutcome::Suggested { reason, .. } = world.revert().await else { panic!("used") };
        assert!(reason.to_string().contains("has no token for the API"), "{reason}");
    }
}
