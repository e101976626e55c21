//! `sluice git restore` as a program, on real repositories of this machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support code of tests: what cannot be set up fails the test"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const ROLLOUT: &str = "apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop}
spec:
  replicas: 3  # by hand
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: \"registry.example.test/web:1.0\"  # set by the pipeline
";

/// A repository with a work tree, and a bare one that people push to.
struct Repository {
    root: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let repository = Self { root };
        repository.git(&["init", "--quiet", "--initial-branch=main", "."]);
        std::fs::create_dir_all(repository.path("bare.git")).unwrap();
        std::fs::write(repository.path(".git/info/exclude"), "bare.git\n").unwrap();
        let bare = repository.path("bare.git");
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(self.root.path(), arguments)
    }

    /// Writes files (an empty text removes one), commits and pushes them; the commit.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.path(name);
            if text.is_empty() {
                std::fs::remove_file(path).unwrap();
            } else {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "Change"]);
        let bare = self.path("bare.git");
        self.git(&["push", "--quiet", bare.to_str().unwrap(), "main"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn restore(&self, path: &str, good: &str, bad: &str, more: &[&str]) -> Outcome {
        let bare = self.path("bare.git");
        let repo = bare.to_str().unwrap();
        let mut arguments = vec!["--repo", repo, "--branch", "main", "--path", path];
        arguments.extend(["--rollout", "shop/web", "--good", good, "--bad", bad, "-o", "json"]);
        arguments.extend(more);
        run(&arguments)
    }

    fn tip(&self) -> String {
        git(&self.path("bare.git"), &["rev-parse", "main"])
    }

    fn pushed(&self, file: &str) -> String {
        git_raw(&self.path("bare.git"), &["show", &format!("main:{file}")])
    }
}

struct Outcome {
    code: i32,
    report: Value,
    error: String,
}

impl Outcome {
    fn has(&self, code: i32, result: &str) {
        let shown = format!("{}\n{:#}", self.error, self.report);
        assert_eq!((self.code, self.report["result"].as_str()), (code, Some(result)), "{shown}");
    }

    fn patch(&self) -> Vec<&str> {
        let lines = self.report["patch"].as_str().unwrap().lines();
        let is_change = |line: &&str| {
            (line.starts_with('+') || line.starts_with('-'))
                && !line.starts_with("+++")
                && !line.starts_with("---")
        };
        lines.filter(is_change).collect()
    }
}

fn run(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["git", "restore"])
        .args(arguments)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

fn git(place: &Path, arguments: &[&str]) -> String {
    git_raw(place, arguments).trim().to_owned()
}

fn git_raw(place: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new("git")
        .current_dir(place)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["-c", "user.name=dev", "-c", "user.email=dev@example.test"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

const FILE: &str = "apps/web/rollout.yaml";

/// One value of the file, changed.
fn with(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "{old}");
    text.replace(old, new)
}

#[test]
fn a_dry_run_shows_the_patch_and_a_push_makes_one_commit() {
    let repository = Repository::new();
    let good = repository.commit(&[(FILE, ROLLOUT)]);
    let bad_text = with(ROLLOUT, "web:1.0", "web:2.0");
    let bad = repository.commit(&[(FILE, &bad_text)]);
    // Somebody scales meanwhile.
    let later = repository.commit(&[(FILE, &with(&bad_text, "replicas: 3", "replicas: 5"))]);

    let dry = repository.restore("apps/web", &good, &bad, &[]);
    dry.has(0, "Restored");
    assert_eq!(dry.report["mode"], "Push");
    assert_eq!(dry.report["files"], serde_json::json!([FILE]));
    assert_eq!(dry.report["commit"], Value::Null);
    let image = "          image: \"registry.example.test/web:";
    let expected = [
        format!("-{image}2.0\"  # set by the pipeline"),
        format!("+{image}1.0\"  # set by the pipeline"),
    ];
    assert_eq!(dry.patch(), expected);
    assert_eq!(repository.tip(), later);

    let why = "error rate 5 %";
    let pushed = repository.restore("apps/web", &good, &bad, &["--push", "--reason", why]);
    pushed.has(0, "Pushed");
    assert_eq!(pushed.report["patch"], dry.report["patch"]);
    assert_eq!(pushed.report["commit"].as_str(), Some(repository.tip().as_str()));
    assert_eq!(repository.pushed(FILE), with(ROLLOUT, "replicas: 3", "replicas: 5"));
    let bare = repository.path("bare.git");
    assert_eq!(git(&bare, &["rev-parse", "main^"]), later);
    let message = git(&bare, &["log", "-1", "--format=%B"]);
    let subject = "revert(shop/web): restore 1.0, canary of 2.0 failed";
    assert!(message.starts_with(subject), "{message}");
    assert!(message.contains(why) && message.contains("put back by hand"), "{message}");

    let again = repository.restore("apps/web", &good, &bad, &["--push"]);
    again.has(0, "AlreadyReverted");
    assert_eq!(again.report["commit"], pushed.report["commit"]);
}

#[test]
fn a_later_version_wins_and_nothing_is_written() {
    let repository = Repository::new();
    let good = repository.commit(&[(FILE, ROLLOUT)]);
    let bad = repository.commit(&[(FILE, &with(ROLLOUT, "web:1.0", "web:2.0"))]);
    let third = repository.commit(&[(FILE, &with(ROLLOUT, "web:1.0", "web:3.0"))]);
    repository.restore("apps/web", &good, &bad, &["--push"]).has(0, "Superseded");
    assert_eq!(repository.tip(), third);
}

#[test]
fn a_base_that_others_use_needs_a_person() {
    let repository = Repository::new();
    let overlay = "resources: [../base]\n";
    let good = repository.commit(&[
        ("base/rollout.yaml", &with(ROLLOUT, ", namespace: shop", "")),
        ("base/kustomization.yaml", "resources: [rollout.yaml]\n"),
        ("prod/kustomization.yaml", &format!("namespace: shop\n{overlay}")),
        ("test/kustomization.yaml", overlay),
    ]);
    let bad_text = with(ROLLOUT, "web:1.0", "web:2.0").replace(", namespace: shop", "");
    let bad = repository.commit(&[("base/rollout.yaml", &bad_text)]);
    let outcome = repository.restore("prod", &good, &bad, &["--push"]);
    outcome.has(3, "Suggested");
    assert_eq!(outcome.report["mode"], "PullRequest");
    let reason = outcome.report["reason"].as_str().unwrap();
    assert!(reason.contains("test/kustomization.yaml"), "{reason}");
    assert_eq!(repository.tip(), bad);
    // In an overlay of its own the tag goes back at once.
    let image = |tag: &str| {
        format!(
            "{overlay}namespace: shop\nimages: [{{name: registry.example.test/web, newTag: '{tag}'}}]\n"
        )
    };
    let good = repository.commit(&[("prod/kustomization.yaml", &image("4.0"))]);
    let bad = repository.commit(&[("prod/kustomization.yaml", &image("5.0"))]);
    repository.restore("prod", &good, &bad, &["--push"]).has(0, "Pushed");
    assert_eq!(repository.pushed("prod/kustomization.yaml"), image("4.0"));
}

#[test]
fn values_of_a_chart_go_back_without_rendering_it() {
    let values =
        |tag: &str, replicas: u32| format!("image:\n  tag: '{tag}'  # bot\nreplicas: {replicas}\n");
    let repository = Repository::new();
    let good = repository.commit(&[
        ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        ("chart/templates/rollout.yaml", "{{- if .Values.image }}\nkind: Rollout\n{{- end }}\n"),
        ("chart/values.yaml", &values("1.0", 3)),
    ]);
    let bad = repository.commit(&[("chart/values.yaml", &values("2.0", 3))]);
    repository.commit(&[("chart/values.yaml", &values("2.0", 7))]);
    repository.restore("chart", &good, &bad, &["--push"]).has(0, "Pushed");
    assert_eq!(repository.pushed("chart/values.yaml"), values("1.0", 7));
}

#[test]
fn a_branch_that_is_checked_out_cannot_be_pushed_to_and_the_patch_remains() {
    let repository = Repository::new();
    let good = repository.commit(&[(FILE, ROLLOUT)]);
    let bad = repository.commit(&[(FILE, &with(ROLLOUT, "web:1.0", "web:2.0"))]);
    let address = format!("file://{}", repository.root.path().display());
    let place = ["--repo", &address, "--branch", "main", "--path", "apps/web"];
    let commits = ["--rollout", "shop/web", "--good", &good, "--bad", &bad];
    let outcome = run(&[&place[..], &commits, &["--push", "-o", "json"]].concat());
    outcome.has(3, "Suggested");
    assert_eq!(outcome.patch().len(), 2);
    let reason = outcome.report["reason"].as_str().unwrap();
    assert!(reason.contains("checked out"), "{reason}");
    assert_eq!(repository.git(&["rev-parse", "main"]), bad);
}

#[test]
fn wrong_arguments_are_named() {
    let repository = Repository::new();
    let good = repository.commit(&[(FILE, ROLLOUT)]);
    let bad = repository.commit(&[(FILE, &with(ROLLOUT, "web:1.0", "web:2.0"))]);
    let bare = repository.path("bare.git").display().to_string();
    let missing = "a".repeat(40);
    let right = [
        ("repo", bare.as_str()),
        ("branch", "main"),
        ("path", "apps/web"),
        ("rollout", "shop/web"),
        ("good", good.as_str()),
        ("bad", bad.as_str()),
    ];
    let wrong = [
        ("repo", "http://git.example.test/a.git", "transport `http`"),
        ("repo", "ext::sh -c id", "no Git address needs"),
        ("repo", "/proc", "is no Git repository"),
        ("repo", "/does/not/exist", "cannot be opened"),
        ("branch", "nope", "has no branch nope"),
        ("branch", "--all", "not a valid branch name"),
        ("path", "../etc", "not a path inside the repository"),
        ("rollout", "web", "NAMESPACE/NAME"),
        ("good", "abc", "git rev-parse"),
        ("bad", missing.as_str(), "has no commit"),
    ];
    for (flag, value, words) in wrong {
        let arguments: Vec<String> = right
            .iter()
            .map(|(name, usual)| format!("--{name}={}", if *name == flag { value } else { usual }))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = run(&arguments);
        assert_eq!(outcome.code, 1, "{flag}={value}: {}", outcome.error);
        assert!(outcome.error.starts_with(&format!("Error: --{flag}: ")), "{}", outcome.error);
        assert!(outcome.error.contains(words), "{}", outcome.error);
    }
    // What is right and yet not declared is an answer.
    let other = ["--rollout", "shop/other", "--branch", "main", "--path", "apps/web"];
    let commits = ["--repo", &bare, "--good", &good, "--bad", &bad, "-o", "json"];
    let outcome = run(&[&other[..], &commits].concat());
    outcome.has(3, "Blocked");
    assert!(outcome.report["reason"].as_str().unwrap().contains("no document"));
}
