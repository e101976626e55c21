//! The revert against a real Git server over HTTPS, with the real `git` program.

#![expect(clippy::panic, reason = "helpers of tests: an unexpected outcome fails the test")]

mod git;

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use git::*;
use sluice::git::{
    backend::{GitBackend as _, GitError, NewCommit},
    executor::{Candidates, LedgerFailure, RevertMode, RevertOutcome},
    plan::{Blocked, LedgerRefusal, SuggestReason, Superseded},
    source::{AddressRule, AllowedHosts, BranchName, RepoPath},
};

fn pushed(outcome: RevertOutcome) -> sluice::revision::Commit {
    match outcome {
        RevertOutcome::Pushed { commit } => commit,
        other => panic!("not pushed: {other:?}"),
    }
}

fn error(outcome: RevertOutcome) -> (GitError, bool) {
    match outcome {
        RevertOutcome::Failed { error, is_retryable } => (error, is_retryable),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn scenario_21_a_revert_with_private_ca_and_basic_auth_is_one_commit_that_changes_one_value()
{
    let (server, good, bad) = world().await;
    let later = server.commit(&[("docs/x.md", "later")], "later");
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let executor = executor(&git, 1);
    let request = request(&server, &good, &bad);
    let began = Instant::now();
    let commit = pushed(executor.revert(&request).await);
    let cold = began.elapsed();
    assert_eq!(server.tip(), commit);
    assert_eq!(server.git(&["rev-parse", "main^"]).trim(), later.as_str());
    assert_eq!(server.file(FILE), manifest("web", "app:1"));
    assert_eq!(server.git(&["diff", "--name-only", "main^", "main"]), format!("{FILE}\n"));
    assert_eq!(
        server.git(&["show", "-s", "--format=%an <%ae> %at", "main"]).trim(),
        "Sluice <sluice@example.com> 1790000000"
    );
    server.git(&["fsck", "--strict", "--no-dangling"]);
    let id =
        server.git(&["show", "-s", "--format=%(trailers:key=Sluice-Revert-Id,valueonly)", "main"]);
    assert_eq!(id.trim(), request.id.as_str());

    // Again, on the kept copy: another release fails.
    let bad = server.commit(&[(FILE, &manifest("web", "app:2"))], "release 2 again");
    let mut again = git::request(&server, &good, &bad);
    again.bad.commit = bad;
    let began = Instant::now();
    pushed(executor.revert(&again).await);
    println!("measured: cold revert {cold:?}, warm revert {:?}", began.elapsed());
    assert_eq!(server.reverts(), 2);
}

#[tokio::test]
async fn scenario_21_without_the_ca_the_server_is_not_trusted_and_nothing_is_retried() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let mut request = request(&server, &good, &bad);
    request.remote = server.remote_with(&[("username", USER), ("password", PASSWORD)]);
    let (error, is_retryable) =
        error(executor(&backend(scratch.path()).await, 1).revert(&request).await);
    assert_eq!((error.class(), is_retryable), ("Tls", false));
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn scenario_23_a_wrong_password_is_tried_once_and_never_shown() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let mut request = request(&server, &good, &bad);
    let secret =
        [("username", USER), ("password", "hunter2hunter2"), ("ca.crt", server.ca.as_str())];
    request.remote = server.remote_with(&secret);
    let (error, is_retryable) =
        error(executor(&backend(scratch.path()).await, 1).revert(&request).await);
    assert_eq!((error.class(), is_retryable), ("Auth", false), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    // Git asks again once without a prompt; no storm of log-ins.
    assert!(server.requests.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn scenario_24_a_commit_between_fetch_and_push_is_kept_and_the_revert_follows_it() {
    let (server, good, bad) = world().await;
    let other = vec![("docs/x.md".to_owned(), "x".to_owned())];
    server.fault("GET /env.git/info/refs?service=git-receive-pack", Fault::Race(other));
    let scratch = tempfile::tempdir().unwrap();
    pushed(
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await,
    );
    assert_eq!(
        server.git(&["log", "--format=%s", "-2", "main"]).lines().nth(1),
        Some("somebody else")
    );
    assert_eq!((server.reverts(), server.file("docs/x.md").as_str()), (1, "x"));
}

#[tokio::test]
async fn scenario_25_a_ref_that_moves_while_the_push_is_received_is_not_overwritten() {
    let (server, good, bad) = world().await;
    let other = vec![("docs/x.md".to_owned(), "x".to_owned())];
    server.fault("POST /env.git/git-receive-pack", Fault::Race(other));
    let scratch = tempfile::tempdir().unwrap();
    pushed(
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await,
    );
    assert_eq!((server.reverts(), server.file("docs/x.md").as_str()), (1, "x"));
}

#[tokio::test]
async fn a_fix_forward_in_the_race_wins() {
    let (server, good, bad) = world().await;
    let fix = vec![(FILE.to_owned(), manifest("web", "app:3"))];
    server.fault("POST /env.git/git-receive-pack", Fault::Race(fix));
    let scratch = tempfile::tempdir().unwrap();
    let outcome =
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await;
    assert_eq!(outcome, RevertOutcome::Superseded(Superseded::OtherTemplate));
    assert_eq!((server.reverts(), server.file(FILE)), (0, manifest("web", "app:3")));
}

#[tokio::test]
async fn scenario_26_a_protected_branch_gives_the_patch_and_the_servers_words() {
    let (server, good, bad) = world().await;
    server.hook(
        "pre-receive",
        "echo 'GH006: changes must be made through a pull request' >&2; exit 1",
    );
    let scratch = tempfile::tempdir().unwrap();
    let outcome =
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await;
    let RevertOutcome::Suggested { reason: SuggestReason::BranchProtected(words), patch, .. } =
        outcome
    else {
        panic!("{outcome:?}")
    };
    assert!(words.contains("pre-receive hook declined") && words.contains("GH006"), "{words}");
    // The patch is one that git applies.
    let work = tempfile::tempdir().unwrap();
    git::git(work.path(), &["clone", "--quiet", server.repository().to_str().unwrap(), "w"], "");
    let clone = work.path().join("w");
    git::git(&clone, &["apply", "--check", "-"], &patch);
    git::git(&clone, &["apply", "-"], &patch);
    assert_eq!(std::fs::read_to_string(clone.join(FILE)).unwrap(), manifest("web", "app:1"));
    assert_eq!(server.reverts(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenario_27_three_reverters_and_a_busy_writer_make_one_revert_and_lose_nothing() {
    let (server, good, bad) = world().await;
    let scratch: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let request = request(&server, &good, &bad);
    let mut jobs = Vec::new();
    for (seed, directory) in scratch.iter().enumerate() {
        let executor = executor(&backend(directory.path()).await, seed as u64);
        let request = request.clone();
        jobs.push(tokio::spawn(async move { executor.revert(&request).await }));
    }
    // The writer pushes like a person: as a fast-forward, again when it lost.
    let repository = server.repository();
    let writer = tokio::task::spawn_blocking(move || {
        let work = tempfile::tempdir().unwrap();
        git::git(work.path(), &["clone", "--quiet", repository.to_str().unwrap(), "w"], "");
        let clone = work.path().join("w");
        for n in 0..6 {
            let name = format!("docs/{n}.md");
            std::fs::create_dir_all(clone.join("docs")).unwrap();
            std::fs::write(clone.join(&name), "x").unwrap();
            git::git(&clone, &["add", &name], "");
            git::git(
                &clone,
                &["-c", "user.name=w", "-c", "user.email=w@x", "commit", "--quiet", "-m", "w"],
                "",
            );
            let push = || {
                std::process::Command::new("git")
                    .args(["push", "--quiet", "origin", "HEAD:main"])
                    .current_dir(&clone)
                    .stderr(std::process::Stdio::null())
                    .status()
                    .unwrap()
                    .success()
            };
            while !push() {
                git::git(
                    &clone,
                    &[
                        "-c",
                        "user.name=w",
                        "-c",
                        "user.email=w@x",
                        "pull",
                        "--quiet",
                        "--rebase",
                        "origin",
                        "main",
                    ],
                    "",
                );
            }
        }
    });
    for job in jobs {
        pushed(job.await.unwrap());
    }
    writer.await.unwrap();
    assert_eq!(server.reverts(), 1);
    for n in 0..6 {
        assert_eq!(server.file(&format!("docs/{n}.md")), "x");
    }
    assert_eq!(server.git(&["rev-list", "--count", "main"]).trim(), "9");
    assert_eq!(server.file(FILE), manifest("web", "app:1"));
}

#[tokio::test]
async fn scenario_28_after_a_lost_reply_a_new_process_finds_the_commit_and_pushes_none() {
    let (server, good, bad) = world().await;
    server.fault("POST /env.git/git-receive-pack", Fault::LostReply);
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = request(&server, &good, &bad);
    let (error, is_retryable) =
        error(executor(&backend(first.path()).await, 1).revert(&request).await);
    assert!(is_retryable, "{error:?}");
    assert_eq!(server.reverts(), 1);
    server.commit(&[("docs/x.md", "x")], "later");
    let commit = pushed(executor(&backend(second.path()).await, 1).revert(&request).await);
    assert_eq!(
        (commit.as_str(), server.reverts()),
        (server.git(&["rev-parse", "main^"]).trim(), 1)
    );
}

#[tokio::test]
async fn scenario_29_a_process_that_dies_before_the_push_leaves_the_work_to_the_next() {
    let (server, good, bad) = world().await;
    server.fault("POST /env.git/git-receive-pack", Fault::Hang);
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = request(&server, &good, &bad);
    let backend_one = backend(first.path()).await;
    let dying = executor(&backend_one, 1);
    let job = {
        let request = request.clone();
        tokio::spawn(async move { dying.revert(&request).await })
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while server.has_faults() {
        assert!(Instant::now() < deadline, "the push never reached the server");
        a_moment().await;
    }
    job.abort();
    assert!(job.await.unwrap_err().is_cancelled());
    let name = first.path().to_string_lossy().into_owned();
    wait_until_gone(&name).await;
    pushed(executor(&backend(second.path()).await, 1).revert(&request).await);
    assert_eq!(server.reverts(), 1);
}

/// Between two looks at a condition that has a deadline.
async fn a_moment() {
    let never = std::future::pending::<()>();
    let _ = tokio::time::timeout(Duration::from_millis(20), never).await;
}

async fn wait_until_gone(name: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = processes_naming(name);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still running: {left:?}");
        a_moment().await;
    }
}

#[tokio::test]
async fn scenario_31_a_server_without_filters_works_too() {
    let (server, good, bad) = world().await;
    server.git(&["config", "uploadpack.allowFilter", "false"]);
    let scratch = tempfile::tempdir().unwrap();
    pushed(
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await,
    );
    assert_eq!(server.reverts(), 1);
}

#[tokio::test]
async fn scenario_32_a_merge_as_the_failed_commit_restores_only_the_path() {
    let (server, good, _) = world().await;
    // A merge of two parents that changes the Rollout and other files.
    let input = format!(
        "commit refs/heads/side\ncommitter D <d@x> 1700000001 +0000\ndata 4\nside\nfrom {good}\nM 100644 inline src/a.txt\ndata 1\na\n\
         commit refs/heads/main\ncommitter D <d@x> 1700000002 +0000\ndata 5\nmerge\nfrom refs/heads/main^0\nmerge refs/heads/side\nM 100644 inline src/a.txt\ndata 1\na\nM 100644 inline src/b.txt\ndata 1\nb\n"
    );
    git::git(&server.repository(), &["fast-import", "--quiet"], &input);
    let bad = server.tip();
    let scratch = tempfile::tempdir().unwrap();
    pushed(
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await,
    );
    assert_eq!(server.git(&["diff", "--name-only", "main^", "main"]), format!("{FILE}\n"));
    assert_eq!((server.file("src/a.txt").as_str(), server.file("src/b.txt").as_str()), ("a", "b"));
}

#[tokio::test]
async fn scenario_33_a_commit_that_bumps_three_apps_puts_one_back_and_names_the_others() {
    let server = Server::start().await;
    let all = |image: &str| {
        ["web", "api", "jobs"]
            .map(|name| (format!("apps/{name}/rollout.yaml"), manifest(name, image)))
    };
    let files = |all: &[(String, String); 3]| {
        all.iter().map(|(p, t)| (p.clone(), t.clone())).collect::<Vec<_>>()
    };
    let (one, two) = (files(&all("app:1")), files(&all("app:2")));
    let commit = |files: &[(String, String)], message: &str| {
        let files: Vec<_> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
        server.commit(&files, message)
    };
    let (good, bad) = (commit(&one, "one"), commit(&two, "bump all"));
    let scratch = tempfile::tempdir().unwrap();
    pushed(
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await,
    );
    assert_eq!(server.git(&["diff", "--name-only", "main^", "main"]), format!("{FILE}\n"));
    let message = server.git(&["show", "-s", "--format=%B", "main"]);
    assert!(message.contains("apps/api/rollout.yaml, apps/jobs/rollout.yaml"), "{message}");
}

#[tokio::test]
async fn scenario_35_a_redirect_is_refused_and_credentials_do_not_follow() {
    let (server, good, bad) = world().await;
    let target = Server::start().await;
    let to = format!(
        "https://localhost:{}/env.git/info/refs?service=git-upload-pack",
        target.address.port()
    );
    server.fault("GET /env.git/info/refs?service=git-upload-pack", Fault::Redirect(to));
    let scratch = tempfile::tempdir().unwrap();
    let (error, is_retryable) = error(
        executor(&backend(scratch.path()).await, 1).revert(&request(&server, &good, &bad)).await,
    );
    assert_eq!((error.class(), is_retryable), ("Redirected", false), "{error:?}");
    assert_eq!(target.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn scenario_36_a_server_that_never_answers_is_given_up_and_leaves_no_process() {
    let (server, good, bad) = world().await;
    server.fault("GET /env.git/info/refs", Fault::Hang);
    let scratch = tempfile::tempdir().unwrap();
    let git =
        backend_with(scratch.path(), |config| config.network_limit = Duration::from_secs(2)).await;
    let request = request(&server, &good, &bad);
    let (error, is_retryable) = error(executor(&git, 1).revert(&request).await);
    assert_eq!((error.class(), is_retryable), ("Timeout", true));
    wait_until_gone(&scratch.path().to_string_lossy()).await;
    // The next try succeeds on the same copy.
    pushed(executor(&git, 1).revert(&request).await);
}

#[tokio::test]
async fn server_errors_are_retryable() {
    let (server, good, bad) = world().await;
    server.fault("GET /env.git/info/refs", Fault::Status(503));
    let scratch = tempfile::tempdir().unwrap();
    let executor = executor(&backend(scratch.path()).await, 1);
    let request = request(&server, &good, &bad);
    let (error, is_retryable) = error(executor.revert(&request).await);
    assert_eq!((error.class(), is_retryable), ("Transient", true), "{error:?}");
    pushed(executor.revert(&request).await);
}

#[tokio::test]
async fn loopback_and_unlisted_hosts_are_refused_before_anything_is_connected_to() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let request = request(&server, &good, &bad);
    let git =
        backend_with(scratch.path(), |config| config.addresses = AddressRule::default()).await;
    let (refused, is_retryable) = error(executor(&git, 1).revert(&request).await);
    assert_eq!((refused.class(), is_retryable), ("AddressRefused", false));
    let git =
        backend_with(scratch.path(), |config| config.allowed_hosts = AllowedHosts::default()).await;
    let (refused, _) = error(executor(&git, 1).revert(&request).await);
    assert_eq!(refused.class(), "Source");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn branches_repositories_and_commits_that_do_not_exist_are_told_apart() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let mut gone = request(&server, &good, &bad);
    gone.source.branch = sluice::git::source::BranchName::parse("gone").unwrap();
    assert_eq!(
        executor(&git, 1).revert(&gone).await,
        RevertOutcome::Blocked(Blocked::BranchGone("gone".into()))
    );

    let mut rewritten = request(&server, &good, &bad);
    let missing = sluice::revision::Commit::parse(&"ab".repeat(20)).unwrap();
    rewritten.good.as_mut().unwrap().commit = missing.clone();
    assert_eq!(
        executor(&git, 1).revert(&rewritten).await,
        RevertOutcome::Blocked(Blocked::CommitGone { commit: missing })
    );

    let mut other = request(&server, &good, &bad);
    other.remote.url =
        sluice::git::source::GitUrl::parse(&server.url().as_str().replace("env.git", "nope.git"))
            .unwrap();
    assert_eq!(error(executor(&git, 1).revert(&other).await).0.class(), "NotFound");
}

#[tokio::test]
async fn the_ledger_reads_the_tip_and_suggest_writes_nothing() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let executor = executor(&git, 1);
    let mut request = request(&server, &good, &bad);
    let ask = |image: &'static str| {
        let (executor, request) = (executor.clone(), request.clone());
        async move {
            let template = template(image);
            let (remote, source) = (&request.remote, &request.source);
            executor
                .ledger_entry(remote, source, &request.identity, &template, Candidates::Tip)
                .await
        }
    };
    assert_eq!(ask("app:2").await.unwrap().commit, bad);
    assert_eq!(executor.default_branch(&request.remote).await.unwrap(), request.source.branch);
    let refused = ask("app:1").await;
    assert!(
        matches!(
            refused,
            Err(LedgerFailure::Refused { refusal: LedgerRefusal::OtherTemplate, .. })
        ),
        "{refused:?}"
    );
    request.mode = RevertMode::Suggest;
    let outcome = executor.revert(&request).await;
    assert!(matches!(outcome, RevertOutcome::Suggested { reason: SuggestReason::ModeSuggest, .. }));
    assert_eq!(server.tip(), bad);
}

#[tokio::test]
async fn what_else_is_in_the_folder_of_the_copies_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    std::fs::create_dir_all(folder.path().join("sluice-git/old-copy")).unwrap();
    backend(folder.path()).await;
    assert!(folder.path().join("thesis.tex").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("sluice-git")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_damaged_copy_is_dropped_and_fetched_again() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let executor = executor(&git, 1);
    let request = request(&server, &good, &bad);
    executor
        .ledger_entry(
            &request.remote,
            &request.source,
            &request.identity,
            &template("app:2"),
            Candidates::Tip,
        )
        .await
        .unwrap();
    // What a killed process leaves behind.
    let copy = std::fs::read_dir(scratch.path().join("sluice-git"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let refs = copy.join("refs/sluice");
    for entry in std::fs::read_dir(&refs).unwrap().flatten() {
        std::fs::write(entry.path().with_extension("lock"), "").unwrap();
    }
    server.commit(&[("docs/x.md", "x")], "later");
    let (error, is_retryable) = error(executor.revert(&request).await);
    assert_eq!((error.class(), is_retryable), ("LocalCopy", true), "{error:?}");
    pushed(executor.revert(&request).await);
    git.prune(Duration::ZERO).await;
    assert_eq!(std::fs::read_dir(scratch.path().join("sluice-git")).unwrap().count(), 0);
    // After pruning the next job begins anew.
    let mut session = git.open(&request.remote).await.unwrap();
    assert_eq!(session.fetch_tip(&request.source.branch).await.unwrap(), server.tip());
}

#[tokio::test]
#[ignore = "makes a repository of 100,000 files; run with: cargo test --test git_https -- --ignored"]
async fn scenario_30_a_repository_of_100000_files_costs_less_than_10_mb() {
    use std::fmt::Write as _;
    let (server, good, _) = world().await;
    let mut input = String::from(
        "commit refs/heads/main\ncommitter D <d@x> 1700000003 +0000\ndata 1\nx\nfrom refs/heads/main^0\n",
    );
    for n in 0..100_000 {
        let text = format!("kind: ConfigMap\n# {n} {}\n", "x".repeat(n % 300));
        let path = format!("team{}/app{}/file{n}.txt", n / 1000, n / 20 % 50);
        let _ = write!(input, "M 100644 inline {path}\ndata {}\n{text}\n", text.len());
    }
    git::git(&server.repository(), &["fast-import", "--quiet"], &input);
    server.git(&["repack", "-adq"]);
    let bad = server.tip();
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let executor = executor(&git, 1);
    for what in ["cold", "warm"] {
        let bad = if what == "cold" {
            bad.clone()
        } else {
            server.commit(&[(FILE, &manifest("web", "app:2"))], "release 2 again")
        };
        let began = Instant::now();
        pushed(executor.revert(&request(&server, &good, &bad)).await);
        println!("measured: {what} revert of 100,000 files {:?}", began.elapsed());
    }
    let copy = std::fs::read_dir(scratch.path().join("sluice-git"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes: u64 = std::fs::read_dir(copy.join("objects/pack"))
        .unwrap()
        .flatten()
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("measured: {bytes} bytes of packs, of this process with its server: {peak}");
    assert!(bytes < 10_000_000, "{bytes}");
}

#[tokio::test]
async fn only_needed_contents_are_fetched_and_modes_and_odd_names_survive() {
    let (server, good, _) = world().await;
    let big = "x".repeat(200_000);
    server.commit(
        &[
            ("big/blob.bin", &big),
            ("apps/web/ä b.md", "odd"),
            (".gitmodules", "[submodule \"s\"]\n\tpath = s\n\turl = https://x/y\n"),
        ],
        "big",
    );
    let input = "commit refs/heads/main\ncommitter D <d@x> 1700000003 +0000\ndata 1\nx\nfrom refs/heads/main^0\nM 100755 inline apps/web/run.sh\ndata 2\n#!\nM 120000 inline apps/web/link\ndata 6\nrun.sh\n";
    git::git(&server.repository(), &["fast-import", "--quiet"], input);
    let bad = server.tip();
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    pushed(executor(&git, 1).revert(&request(&server, &good, &bad)).await);
    let listing = server.git(&["ls-tree", "-r", "main"]);
    assert!(listing.contains("100755 blob") && listing.contains("120000 blob"), "{listing}");
    assert_eq!(server.git(&["diff", "--name-only", "main^", "main"]), format!("{FILE}\n"));
    // The large file never came here.
    let size = |path: std::path::PathBuf| -> u64 {
        std::fs::read_dir(path)
            .unwrap()
            .flatten()
            .map(|entry| entry.metadata().unwrap().len())
            .sum()
    };
    let copy = std::fs::read_dir(scratch.path().join("sluice-git"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    // Asked without a server to fetch it from: the large file never came here, the small one did.
    git::git(scratch.path(), &["init", "--quiet", "--bare", "plain.git"], "");
    let objects = copy.join("objects");
    let has = |name: &str| {
        let id = server.git(&["rev-parse", &format!("main^:{name}")]);
        std::process::Command::new("git")
            .args(["cat-file", "-e", id.trim()])
            .env("GIT_DIR", scratch.path().join("plain.git"))
            .env("GIT_OBJECT_DIRECTORY", &objects)
            .status()
            .unwrap()
            .success()
    };
    assert!(has(FILE) && !has("big/blob.bin"));
    assert!(size(copy.join("objects/pack")) < 100_000);
}

#[tokio::test]
async fn a_branch_for_a_request_is_made_once_and_never_moved() {
    let (server, good, bad) = world().await;
    let scratch = tempfile::tempdir().unwrap();
    let git = backend(scratch.path()).await;
    let request = request(&server, &good, &bad);
    let branch = BranchName::parse("sluice/revert/shop-web-1").unwrap();
    let mut session = git.open(&request.remote).await.unwrap();
    let gone = session.fetch_tip(&branch).await;
    assert!(matches!(gone, Err(GitError::BranchGone { .. })), "{gone:?}");
    let tip = session.fetch_tip(&request.source.branch).await.unwrap();
    let mut commits = Vec::new();
    for content in ["1\n", "2\n"] {
        let path = RepoPath::parse("new.txt").unwrap();
        let changes = BTreeMap::from([(path, Some(content.as_bytes().to_vec()))]);
        let new = NewCommit {
            parent: &tip,
            changes: &changes,
            message: "revert: x\n",
            author: &request.author,
            at: request.now,
        };
        commits.push(session.commit_paths(new).await.unwrap());
    }
    session.create_branch(&branch, &commits[0]).await.unwrap();
    session.create_branch(&branch, &commits[0]).await.unwrap();
    let other = session.create_branch(&branch, &commits[1]).await;
    assert!(matches!(other, Err(GitError::Stale { .. })), "{other:?}");
    assert_eq!(server.git(&["rev-parse", branch.as_str()]).trim(), commits[0].as_str());
    assert_eq!(server.tip(), tip);
}
