//! Reverts at a real Gitea: pushes, protected branches, pull requests that people merge and close, tokens.
//! `.ci/run gitea` builds the program and runs this; it fails without $SLUICE_GITEA.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: what is unexpected fails the test"
)]

#[expect(dead_code, reason = "the half that is no server")]
mod git;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use git::{FILE, backend, executor, identified, manifest, remote, request_to};
use serde_json::{Value, json};
use sluice::api::git_revert::PullRequestProvider;
use sluice::clock::SystemClock;
use sluice::git::backend::GitError;
use sluice::git::executor::{Executor, RevertMode, RevertOutcome, RevertRequest, Withdrawal};
use sluice::git::forge::RequestState;
use sluice::git::http::HttpForge;
use sluice::git::source::{AddressRule, AllowedHosts, GitUrl};
use sluice::revision::Commit;
use tempfile::TempDir;

const TEAM: &str = "team";
const BOT: &str = "bot";
const PASSWORD: &str = "correct-horse-battery";

/// A running Gitea with two users: `team`, who owns everything, and `bot`.
struct Gitea {
    root: TempDir,
    process: Child,
    port: u16,
    ca: String,
    api: reqwest::Client,
}

impl Drop for Gitea {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; start with `.ci/run gitea`"))
}

/// The user that runs this.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn gitea(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(variable("SLUICE_GITEA"));
    command
        .arg("--config")
        .arg(root.join("app.ini"))
        .args(words)
        .env("GITEA_WORK_DIR", root)
        .env("HOME", root)
        .stdin(Stdio::null());
    command
}

/// Runs a command of the administrator and gives what it printed.
fn administer(root: &Path, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = gitea(root, words).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "gitea {words:?}: {stdout}{stderr}");
    stdout.trim().to_owned()
}

fn add_user(root: &Path, name: &str, more: &[&str]) {
    let email = format!("{name}@example.test");
    let words = ["admin", "user", "create", "--username", name, "--password", PASSWORD, "--email"];
    let rest = [email.as_str(), "--must-change-password=false"];
    administer(root, &[&words[..], &rest, more].concat());
}

impl Gitea {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let identified = identified();
        std::fs::write(root.path().join("key.pem"), identified.key.serialize_pem()).unwrap();
        std::fs::write(root.path().join("cert.pem"), identified.leaf.pem()).unwrap();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let place = root.path().display();
        let static_files = variable("SLUICE_GITEA_STATIC");
        let settings = format!(
            "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
RUN_USER = {user}
WORK_PATH = {place}
[server]
PROTOCOL = https
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
DOMAIN = localhost
ROOT_URL = https://localhost:{port}/
CERT_FILE = {place}/cert.pem
KEY_FILE = {place}/key.pem
STATIC_ROOT_PATH = {static_files}
OFFLINE_MODE = true
DISABLE_SSH = true
[database]
DB_TYPE = sqlite3
PATH = {place}/gitea.db
[repository]
ROOT = {place}/repositories
[security]
INSTALL_LOCK = true
SECRET_KEY = not-a-secret-of-a-test
PASSWORD_COMPLEXITY = off
[log]
MODE = file
LEVEL = Warn
ROOT_PATH = {place}/log
[actions]
ENABLED = false
[cron.update_checker]
ENABLED = false
",
            user = user(),
        );
        std::fs::write(root.path().join("app.ini"), settings).unwrap();
        administer(root.path(), &["migrate"]);
        add_user(root.path(), TEAM, &["--admin"]);
        add_user(root.path(), BOT, &[]);
        let log = std::fs::File::create(root.path().join("web.log")).unwrap();
        let process = gitea(root.path(), &["web"]).stdout(log).stderr(Stdio::null()).spawn();
        let ca = reqwest::Certificate::from_pem(identified.ca.as_bytes()).unwrap();
        let api = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let gitea = Self { root, process: process.unwrap(), port, ca: identified.ca, api };
        gitea.answers().await;
        gitea
    }

    /// Waits until it serves.
    async fn answers(&self) {
        for _ in 0..600 {
            let answer = self.api.get(self.url("/api/healthz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.root.path().join("web.log")).unwrap_or_default();
        panic!("Gitea does not answer: {log}");
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// A call of the team; fails unless it works.
    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let url = self.url(&format!("/api/v1{path}"));
        let request = self.api.request(method.clone(), url).basic_auth(TEAM, Some(PASSWORD));
        let answer = request.json(body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// A token of the bot with these rights.
    fn token(&self, name: &str, scopes: &str) -> String {
        let words = ["admin", "user", "generate-access-token", "--raw", "--username", BOT];
        let rest = ["--token-name", name, "--scopes", scopes];
        // Its log may come first.
        let said = administer(self.root.path(), &[&words[..], &rest].concat());
        said.lines().last().unwrap_or_default().trim().to_owned()
    }

    /// A repository that the bot may write to, whose branch went from `app:1` to `app:2`.
    async fn repository(&self, name: &str) -> Repository<'_> {
        let new = json!({"name": name, "private": true, "default_branch": "main"});
        self.call(reqwest::Method::POST, "/user/repos", &new).await;
        let collaborator = format!("/repos/{TEAM}/{name}/collaborators/{BOT}");
        self.call(reqwest::Method::PUT, &collaborator, &json!({"permission": "write"})).await;
        Repository::filled(self, name)
    }
}

/// A repository of the team, and a clone of it.
struct Repository<'g> {
    gitea: &'g Gitea,
    name: String,
    clone: TempDir,
    good: Commit,
    bad: Commit,
}

impl<'g> Repository<'g> {
    fn filled(gitea: &'g Gitea, name: &str) -> Self {
        let clone = tempfile::tempdir().unwrap();
        git_of_the_team(gitea, clone.path(), &["init", "--quiet", "--initial-branch=main"]);
        let release = |image: &str| {
            let file = clone.path().join(FILE);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, manifest("web", image)).unwrap();
            git_of_the_team(gitea, clone.path(), &["add", "--all"]);
            git_of_the_team(gitea, clone.path(), &["commit", "--quiet", "--message", image]);
            Commit::parse(&git_of_the_team(gitea, clone.path(), &["rev-parse", "HEAD"])).unwrap()
        };
        let (good, bad) = (release("app:1"), release("app:2"));
        let url = format!("https://{TEAM}:{PASSWORD}@localhost:{}/{TEAM}/{name}.git", gitea.port);
        git_of_the_team(gitea, clone.path(), &["push", "--quiet", &url, "main"]);
        git_of_the_team(gitea, clone.path(), &["remote", "add", "origin", &url]);
        Self { gitea, name: name.to_owned(), clone, good, bad }
    }

    fn path(&self, rest: &str) -> String {
        format!("/repos/{TEAM}/{}{rest}", self.name)
    }

    /// Nobody may push to `main`.
    async fn protect(&self) {
        let rule = json!({"rule_name": "main", "enable_push": false});
        let path = self.path("/branch_protections");
        self.gitea.call(reqwest::Method::POST, &path, &rule).await;
    }

    /// What the branch declares.
    fn declared(&self) -> String {
        git_of_the_team(self.gitea, self.clone.path(), &["fetch", "--quiet", "origin"]);
        let spec = format!("origin/main:{FILE}");
        git_of_the_team(self.gitea, self.clone.path(), &["show", &spec])
    }

    fn request(&self, token: &str, mode: RevertMode) -> RevertRequest {
        let url = format!("https://localhost:{}/{TEAM}/{}.git", self.gitea.port, self.name);
        let data = [("username", BOT), ("password", token), ("ca.crt", self.gitea.ca.as_str())];
        let remote = remote(GitUrl::parse(&url).unwrap(), &data);
        let mut request = request_to(remote, &self.good, &self.bad);
        request.mode = mode;
        request.requests.provider = Some(PullRequestProvider::Gitea);
        request
    }

    async fn requests(&self) -> Vec<Value> {
        let path = self.path("/pulls?state=all&limit=50");
        let listed = self.gitea.call(reqwest::Method::GET, &path, &json!({})).await;
        listed.as_array().cloned().unwrap()
    }
}

fn git_of_the_team(gitea: &Gitea, directory: &Path, words: &[&str]) -> String {
    let ca = gitea.root.path().join("ca.pem");
    std::fs::write(&ca, &gitea.ca).unwrap();
    let mut command = Command::new("git");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Team");
        command.env(format!("GIT_{who}_EMAIL"), "team@example.test");
    }
    let output = command
        .args(words)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_SSL_CAINFO", &ca)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, error) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "git {words:?}: {error}");
    String::from_utf8(said).unwrap().trim().to_owned()
}

/// Pushes by git and speaks to the forge, both for real.
async fn worker(cache: &Path) -> Executor {
    let hosts = AllowedHosts::parse(["localhost"]).unwrap();
    let rule = AddressRule { permit_loopback: true };
    executor(&backend(cache).await, 1).with_carrier(Arc::new(HttpForge::new(
        hosts,
        rule,
        Arc::new(SystemClock),
    )))
}

/// Tries until there is an outcome that stays, as the controller does: a busy Gitea sometimes says that a repository which it
/// has just served does not exist.
async fn settled(worker: &Executor, request: &RevertRequest) -> RevertOutcome {
    let mut tries = 0;
    loop {
        match worker.revert(request).await {
            RevertOutcome::Failed { is_retryable: true, .. } if tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            outcome => return outcome,
        }
    }
}

#[track_caller]
fn proposed(outcome: &RevertOutcome) -> (u64, &str) {
    match outcome {
        RevertOutcome::Proposed { number, reason, .. } => (*number, reason),
        other => panic!("not proposed: {other:?}"),
    }
}

const WRITE: &str = "write:repository,write:issue";

/// One server for everything: it takes seconds to begin.
#[tokio::test]
async fn reverts_at_a_real_gitea() {
    let gitea = Gitea::start().await;
    let token = gitea.token("writes", WRITE);
    let cache = tempfile::tempdir().unwrap();
    let worker = worker(cache.path()).await;

    pushes(&gitea.repository("pushed").await, &worker, &token).await;
    is_proposed_where_nobody_may_push(&gitea.repository("protected").await, &worker, &token).await;
    is_vetoed_by_closing(&gitea.repository("closed").await, &worker, &token).await;
    is_withdrawn(&gitea.repository("withdrawn").await, &worker, &token).await;
    is_found_among_many(&gitea.repository("busy").await, &worker, &token).await;
    refuses_bad_tokens(&gitea.repository("refused").await, &worker).await;
}

async fn pushes(repository: &Repository<'_>, worker: &Executor, token: &str) {
    let request = repository.request(token, RevertMode::Push);
    let outcome = settled(worker, &request).await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
    assert!(repository.declared().contains("image: app:1 # keep me"));
    assert!(repository.requests().await.is_empty());
    let again = settled(worker, &request).await;
    assert!(
        matches!(again, RevertOutcome::AlreadyReverted { .. } | RevertOutcome::Pushed { .. }),
        "{again:?}"
    );
}

async fn is_proposed_where_nobody_may_push(
    repository: &Repository<'_>,
    worker: &Executor,
    token: &str,
) {
    repository.protect().await;
    let mut request = repository.request(token, RevertMode::Push);
    let outcome = settled(worker, &request).await;
    let (number, reason) = proposed(&outcome);
    assert!(reason.contains("protected"), "{reason}");
    assert!(repository.declared().contains("image: app:2"), "nothing reached the branch");
    let requests = repository.requests().await;
    let [pull] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(pull["base"]["ref"], "main");
    assert_eq!(pull["title"], "revert(shop/web): restore 1, canary of 2 failed");
    assert!(pull["body"].as_str().unwrap().contains("Sluice-Revert-Id: "));
    assert_eq!(pull["user"]["login"], BOT);
    request.requests.known = Some(number);
    assert_eq!(proposed(&settled(worker, &request).await).0, number, "it is found again");

    let merge = repository.path(&format!("/pulls/{number}/merge"));
    merges(repository.gitea, &merge).await;
    let merged = settled(worker, &request).await;
    assert!(matches!(merged, RevertOutcome::Pushed { .. }), "{merged:?}");
    assert!(repository.declared().contains("image: app:1 # keep me"));
}

/// Gitea looks into a new request in the background, and takes no merge before that.
async fn merges(gitea: &Gitea, path: &str) {
    for _ in 0..100 {
        let url = gitea.url(&format!("/api/v1{path}"));
        let request = gitea.api.post(url).basic_auth(TEAM, Some(PASSWORD));
        let answer = request.json(&json!({"Do": "merge"})).send().await.unwrap();
        if answer.status().is_success() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{path}: not merged");
}

async fn is_vetoed_by_closing(repository: &Repository<'_>, worker: &Executor, token: &str) {
    let request = repository.request(token, RevertMode::PullRequest);
    let (number, reason) = {
        let outcome = settled(worker, &request).await;
        let (number, reason) = proposed(&outcome);
        (number, reason.to_owned())
    };
    assert_eq!(reason, "", "a request is what was asked for");
    let path = repository.path(&format!("/pulls/{number}"));
    repository.gitea.call(reqwest::Method::PATCH, &path, &json!({"state": "closed"})).await;
    for _ in 0..2 {
        let outcome = settled(worker, &request).await;
        assert!(
            matches!(outcome, RevertOutcome::Vetoed { number: vetoed, .. } if vetoed == number),
            "{outcome:?}"
        );
    }
    assert_eq!(repository.requests().await.len(), 1, "it is not opened again");
}

async fn is_withdrawn(repository: &Repository<'_>, worker: &Executor, token: &str) {
    let request = repository.request(token, RevertMode::PullRequest);
    let outcome = settled(worker, &request).await;
    let number = proposed(&outcome).0;
    let withdrawal = Withdrawal {
        remote: request.remote.clone(),
        provider: Some(PullRequestProvider::Gitea),
        number,
        comment: "a newer template was declared".to_owned(),
    };
    assert_eq!(worker.withdraw(&withdrawal).await, Ok(RequestState::Open));
    assert_eq!(worker.withdraw(&withdrawal).await, Ok(RequestState::Closed));
    let path = repository.path(&format!("/issues/{number}/comments"));
    let comments = repository.gitea.call(reqwest::Method::GET, &path, &json!({})).await;
    assert_eq!(comments.as_array().unwrap().len(), 1);
    assert_eq!(comments[0]["body"], "a newer template was declared");
}

/// Our request is older than sixty of other people.
async fn is_found_among_many(repository: &Repository<'_>, worker: &Executor, token: &str) {
    let request = repository.request(token, RevertMode::PullRequest);
    let number = proposed(&settled(worker, &request).await).0;
    let git = |words: &[&str]| git_of_the_team(repository.gitea, repository.clone.path(), words);
    let path = repository.path("/pulls");
    for other in 0..60 {
        let branch = format!("topic-{other}");
        git(&["checkout", "--quiet", "-b", &branch, "main"]);
        git(&["commit", "--quiet", "--allow-empty", "--message", &branch]);
        let file = repository.clone.path().join(format!("{branch}.txt"));
        std::fs::write(file, &branch).unwrap();
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "a file"]);
    }
    git(&["push", "--quiet", "origin", "--all"]);
    for other in 0..60 {
        let new = json!({"title": "x", "head": format!("topic-{other}"), "base": "main"});
        repository.gitea.call(reqwest::Method::POST, &path, &new).await;
    }
    assert_eq!(proposed(&settled(worker, &request).await).0, number, "no second one is opened");
}

async fn refuses_bad_tokens(repository: &Repository<'_>, worker: &Executor) {
    let refused = |outcome: RevertOutcome| match outcome {
        RevertOutcome::Failed { error, is_retryable: false } => error,
        other => panic!("{other:?}"),
    };
    let request = repository.request("0123456789abcdef", RevertMode::Push);
    let error = refused(worker.revert(&request).await);
    assert!(matches!(error, GitError::Auth { .. }), "{error:?}");
    // It may read, and nothing more.
    let reads = repository.gitea.token("reads", "read:repository");
    for mode in [RevertMode::Push, RevertMode::PullRequest] {
        let outcome = worker.revert(&repository.request(&reads, mode)).await;
        assert!(
            !matches!(outcome, RevertOutcome::Pushed { .. } | RevertOutcome::Proposed { .. }),
            "{outcome:?}"
        );
        let said = format!("{outcome:?}");
        assert!(!said.contains(&reads), "{said}");
    }
    assert!(repository.declared().contains("image: app:2"));
    // It may push, and not write requests.
    let pushes = repository.gitea.token("pushes", "write:repository,read:issue");
    let outcome = worker.revert(&repository.request(&pushes, RevertMode::PullRequest)).await;
    assert!(!format!("{outcome:?}").contains(&pushes));
}
