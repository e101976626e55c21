//! Tests of the executor: one revert, whatever the server answers, and never a second commit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::{
    git::{
        credentials::Credentials,
        memory::{Fault, Files, MemoryGit, Operation},
        plan::LedgerRefusal,
        source::{BranchName, GitUrl},
    },
    revision::TemplateDigest,
};

struct World {
    git: MemoryGit,
    request: RevertRequest,
}

fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

fn manifest(image: &str) -> Vec<u8> {
    format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: web}}\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        image: {image} # keep\n"
    )
    .into_bytes()
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": image}]}})
}

fn files(pairs: &[(&str, &[u8])]) -> Files {
    pairs.iter().map(|(name, bytes)| (path(name), Some(bytes.to_vec()))).collect()
}

const FILE: &str = "apps/web/rollout.yaml";

impl World {
    /// A branch with a good commit, then a bad one.
    fn new() -> Self {
        let git = MemoryGit::default();
        let url = GitUrl::parse("https://git.example/env").unwrap();
        let branch = BranchName::parse("main").unwrap();
        let good = git.commit(&url, &branch, &files(&[(FILE, &manifest("app:1"))]), "first");
        let bad = git.commit(&url, &branch, &files(&[(FILE, &manifest("app:2"))]), "release 2");
        let id = RevertId::new("uid", &TemplateDigest::of(&template("app:2")), &bad);
        let request = RevertRequest {
            id,
            remote: Remote { url: url.clone(), credentials: Arc::new(Credentials::anonymous("t")) },
            source: Source { url, branch, path: path("apps/web"), file: None },
            identity: Identity::rollout("shop", "web"),
            good: Some(Declaration { commit: good, template: template("app:1") }),
            bad: Declaration { commit: bad, template: template("app:2") },
            mode: RevertMode::Push,
            found: None,
            requests: Requests::default(),
            message: MessageFacts {
                namespace: "shop".into(),
                name: "web".into(),
                stable_version: "1".into(),
                failed_version: "2".into(),
                ..MessageFacts::default()
            },
            author: Author::default(),
            now: DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap(),
        };
        Self { git, request }
    }

    /// With credentials that are lent for these paths.
    fn limited_to(mut self, paths: &[&str]) -> Self {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let credentials = Credentials::anonymous("t").limited_to(paths);
        self.request.remote.credentials = Arc::new(credentials);
        self
    }

    fn executor(&self) -> Executor {
        Executor::new(Arc::new(self.git.clone()), Arc::new(|| 0.5))
    }

    async fn revert(&self) -> RevertOutcome {
        self.executor().revert(&self.request).await
    }

    fn write(&self, changes: &Files, message: &str) -> Commit {
        self.git.commit(&self.request.source.url, &self.request.source.branch, changes, message)
    }

    fn log(&self) -> Vec<String> {
        self.git.log(&self.request.source.url, &self.request.source.branch)
    }

    fn reverts(&self) -> usize {
        self.log().iter().filter(|message| message.starts_with("revert(")).count()
    }

    fn file(&self) -> Vec<u8> {
        self.git.file(&self.request.source.url, &self.request.source.branch, &path(FILE)).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_template_is_reverted_by_one_commit() {
    let world = World::new();
    let RevertOutcome::Pushed { commit } = world.revert().await else { panic!("not pushed") };
    assert_eq!(
        world.git.tip(&world.request.source.url, &world.request.source.branch),
        Some(commit)
    );
    assert_eq!(world.file(), manifest("app:1"));
    assert_eq!(world.log().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_finds_the_first_ones_commit_and_pushes_nothing() {
    let world = World::new();
    let first = world.revert().await;
    world.write(&files(&[("other.yaml", b"a: 1\n")]), "later");
    assert_eq!(world.revert().await, first);
    assert_eq!((world.reverts(), world.git.pushes()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_found_again_and_not_pushed_twice() {
    let world = World::new();
    world.git.fault(Operation::Push, Fault::LostReply);
    let RevertOutcome::Failed { is_retryable: true, .. } = world.revert().await else {
        panic!("the reply was not lost")
    };
    assert!(matches!(world.revert().await, RevertOutcome::Pushed { .. }));
    assert_eq!((world.reverts(), world.git.pushes()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_lands_first_is_kept_and_the_revert_follows_it() {
    let world = World::new();
    let other = files(&[("other.yaml", b"a: 1\n")]);
    world.git.fault(Operation::Push, Fault::Race(other, "busy".into()));
    assert!(matches!(world.revert().await, RevertOutcome::Pushed { .. }));
    assert_eq!(world.log()[1], "busy");
    assert_eq!(world.reverts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fix_forward_that_lands_first_wins() {
    let world = World::new();
    let fix = files(&[(FILE, &manifest("app:3"))]);
    world.git.fault(Operation::Push, Fault::Race(fix, "fix".into()));
    assert_eq!(world.revert().await, RevertOutcome::Superseded(Superseded::OtherTemplate));
    assert_eq!((world.file(), world.reverts()), (manifest("app:3"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_person_who_reverts_first_wins() {
    let world = World::new();
    let hand = files(&[(FILE, &manifest("app:1"))]);
    world.git.fault(Operation::Push, Fault::Race(hand, "by hand".into()));
    assert!(matches!(world.revert().await, RevertOutcome::AlreadyReverted { .. }));
    assert_eq!(world.reverts(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_moves_each_time_ends_in_a_suggestion_after_six_tries() {
    let world = World::new();
    for n in 0..7 {
        let other = files(&[("other.yaml", format!("a: {n}\n").as_bytes())]);
        world.git.fault(Operation::Push, Fault::Race(other, format!("busy {n}")));
    }
    let RevertOutcome::Suggested { reason, patch, .. } = world.revert().await else {
        panic!("not suggested")
    };
    assert_eq!(reason, SuggestReason::BranchBusy(6));
    assert!(patch.contains("+        image: app:1 # keep"));
    assert_eq!(world.git.pushes(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_protected_branch_gives_a_suggestion_with_the_servers_words() {
    let world = World::new();
    let error =
        GitError::Protected { branch: "main".into(), detail: "pre-receive hook declined".into() };
    world.git.fault(Operation::Push, Fault::Fail(error));
    let RevertOutcome::Suggested { reason, patch, restored, files } = world.revert().await else {
        panic!("not suggested")
    };
    assert_eq!(reason.to_string(), "the branch is protected: pre-receive hook declined");
    assert!(patch.starts_with("diff --git"));
    assert_eq!(files, [RepoPath::parse("apps/web/rollout.yaml").unwrap()]);
    assert_eq!(restored, ["apps/web/rollout.yaml (spec.template.spec.containers[0].image)"]);
}

#[tokio::test(start_paused = true)]
async fn the_modes_off_and_suggest_write_nothing() {
    let mut world = World::new();
    world.request.mode = RevertMode::Off;
    assert_eq!(world.revert().await, RevertOutcome::Blocked(Blocked::Off));
    world.request.mode = RevertMode::Suggest;
    let RevertOutcome::Suggested { reason, .. } = world.revert().await else { panic!("no patch") };
    assert_eq!(reason, SuggestReason::ModeSuggest);
    assert_eq!((world.git.pushes(), world.reverts()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn row_21_without_a_stable_version_there_is_nothing_to_restore() {
    let mut world = World::new();
    world.request.good = None;
    assert_eq!(world.revert().await, RevertOutcome::Blocked(Blocked::NoStable));
}

#[tokio::test(start_paused = true)]
async fn row_23_a_branch_that_is_gone_blocks() {
    let world = World::new();
    world.git.delete_branch(&world.request.source.url, &world.request.source.branch);
    assert_eq!(world.revert().await, RevertOutcome::Blocked(Blocked::BranchGone("main".into())));
}

#[tokio::test(start_paused = true)]
async fn row_20_and_opt_out_are_read_from_the_history_of_the_restored_files() {
    let mut world = World::new();
    let message = "release 3\n\nbody\n\nSluice-No-Revert: migration 7\n";
    let bad = world.write(&files(&[(FILE, &manifest("app:3"))]), message);
    world.request.bad = Declaration { commit: bad, template: template("app:3") };
    let RevertOutcome::Blocked(Blocked::OptedOut { reason, .. }) = world.revert().await else {
        panic!("not opted out")
    };
    assert_eq!(reason, "migration 7");

    let mut world = World::new();
    let bad =
        world.write(&files(&[(FILE, &manifest("app:0"))]), "Revert\n\nThis reverts commit x.");
    world.request.bad = Declaration { commit: bad, template: template("app:0") };
    let RevertOutcome::Suggested { reason: SuggestReason::RevertOfRevert(_), .. } =
        world.revert().await
    else {
        panic!("not suggested")
    };
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_server_is_a_retryable_failure_and_credentials_are_not() {
    let world = World::new();
    let down = GitError::Transient { detail: "connection refused".into() };
    world.git.fault(Operation::Open, Fault::Fail(down));
    assert!(matches!(world.revert().await, RevertOutcome::Failed { is_retryable: true, .. }));
    let auth = GitError::Auth { host: "git.example".into() };
    world.git.fault(Operation::FetchTip, Fault::Fail(auth));
    assert!(matches!(world.revert().await, RevertOutcome::Failed { is_retryable: false, .. }));
    assert!(matches!(world.revert().await, RevertOutcome::Pushed { .. }));
}

#[tokio::test(start_paused = true)]
async fn three_reverters_make_one_commit() {
    let world = World::new();
    let outcomes =
        futures::future::join_all([world.revert(), world.revert(), world.revert()]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, RevertOutcome::Pushed { .. })));
    assert_eq!(world.reverts(), 1);
}

#[tokio::test(start_paused = true)]
async fn another_rollout_of_the_same_failed_commit_gets_its_own_revert() {
    let world = World::new();
    let mut other = world.request.clone();
    other.id =
        RevertId::new("other", &TemplateDigest::of(&template("app:2")), &world.request.bad.commit);
    assert!(matches!(world.revert().await, RevertOutcome::Pushed { .. }));
    let outcome = world.executor().revert(&other).await;
    assert!(matches!(outcome, RevertOutcome::AlreadyReverted { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn the_ledger_records_the_tip_only_for_the_template_that_it_declares() {
    let world = World::new();
    let RevertRequest { remote, source, identity, bad, .. } = &world.request;
    let executor = world.executor();
    let entry = executor
        .ledger_entry(remote, source, identity, &template("app:2"), Candidates::Tip)
        .await
        .unwrap();
    assert_eq!(entry.commit, bad.commit);
    let refused =
        executor.ledger_entry(remote, source, identity, &template("app:1"), Candidates::Tip).await;
    let Err(LedgerFailure::Refused { tip, refusal }) = refused else { panic!("{refused:?}") };
    assert_eq!((tip, refusal), (bad.commit.clone(), LedgerRefusal::OtherTemplate));
}

#[test]
fn backoff_grows_stays_bounded_and_follows_the_jitter() {
    let backend: Arc<dyn GitBackend> = Arc::new(MemoryGit::default());
    let all = Executor::new(Arc::clone(&backend), Arc::new(|| 1.0));
    let waits: BTreeMap<u32, Duration> = (1..8).map(|n| (n, all.backoff(n))).collect();
    assert_eq!((waits[&1], waits[&2], waits[&7]), (FIRST_BACKOFF, FIRST_BACKOFF * 2, LAST_BACKOFF));
    let none = Executor::new(backend, Arc::new(|| f64::NAN.max(0.0)));
    assert_eq!(none.backoff(5), Duration::ZERO);
}

/// A found source that answers `answers` in turn, then that it is right.
fn found(
    limit: Option<&str>,
    answers: &[Result<Option<String>, Unconfirmed>],
) -> (FoundSource, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, answers) = (asked.clone(), answers.to_vec());
    let confirm: Confirm = Arc::new(move || {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        let answer = answers.get(turn).cloned().unwrap_or(Ok(None));
        Box::pin(async move { answer })
    });
    (FoundSource { limit: limit.map(str::to_owned), confirm }, asked)
}

#[tokio::test(start_paused = true)]
async fn a_found_source_is_confirmed_before_each_push() {
    let mut world = World::new();
    let (source, asked) = found(None, &[]);
    world.request.found = Some(source);
    let other = files(&[("other.yaml", b"a: 1\n")]);
    world.git.fault(Operation::Push, Fault::Race(other, "in between".to_owned()));
    assert!(matches!(world.revert().await, RevertOutcome::Pushed { .. }));
    assert_eq!((asked.load(Ordering::Relaxed), world.reverts()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_denied_is_only_suggested_and_an_unknown_one_tried_again() {
    let mut world = World::new();
    let denied = Unconfirmed::Denied("it is not listed".to_owned());
    let unknown = Unconfirmed::Unknown("the API server is away".to_owned());
    world.request.found = Some(found(None, &[Err(unknown), Err(denied)]).0);
    let RevertOutcome::Failed { is_retryable: true, .. } = world.revert().await else {
        panic!("unknown is no answer")
    };
    let RevertOutcome::Suggested { reason, .. } = world.revert().await else {
        panic!("it was denied")
    };
    assert_eq!(reason, SuggestReason::SourceNotConfirmed("it is not listed".to_owned()));
    assert_eq!((world.reverts(), world.git.pushes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_limited_source_is_never_pushed_to() {
    let mut world = World::new();
    let (source, asked) = found(Some("others use it"), &[]);
    world.request.found = Some(source);
    let RevertOutcome::Suggested { reason, .. } = world.revert().await else { panic!("pushed") };
    assert_eq!(reason, SuggestReason::SourceLimited("others use it".to_owned()));
    assert_eq!((asked.load(Ordering::Relaxed), world.git.pushes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_ledger_records_the_first_applied_commit_that_declares_the_template() {
    let world = World::new();
    let RevertRequest { remote, source, identity, good, bad, .. } = &world.request;
    let (good, executor) = (good.as_ref().unwrap().commit.clone(), world.executor());
    let gone = Commit::parse(&"d".repeat(40)).unwrap();
    let ask = async |commits: &[Commit], image: &str| {
        let candidates = Candidates::Applied(commits);
        executor.ledger_entry(remote, source, identity, &template(image), candidates).await
    };
    let applied = [gone.clone(), bad.commit.clone(), good.clone()];
    // The tip declares another template, which says nothing about what was applied.
    assert_eq!(ask(&applied, "app:1").await.unwrap().commit, good);
    assert_eq!(ask(&applied, "app:2").await.unwrap().commit, bad.commit);
    let refused = ask(&[good], "app:2").await;
    assert!(matches!(refused, Err(LedgerFailure::Refused { .. })), "{refused:?}");
    let lost = ask(&[gone], "app:2").await;
    assert!(matches!(lost, Err(LedgerFailure::Git(GitError::CommitGone { .. }))), "{lost:?}");
    assert!(matches!(ask(&[], "app:2").await, Err(LedgerFailure::NothingApplied)));
    assert_eq!(executor.default_branch(remote).await.unwrap(), source.branch);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_arose_after_the_first_look_stops_the_push() {
    let mut world = World::new();
    world.request.found = Some(found(None, &[Ok(Some("a set makes it now".to_owned()))]).0);
    let RevertOutcome::Suggested { reason, .. } = world.revert().await else { panic!("pushed") };
    assert_eq!(reason, SuggestReason::SourceLimited("a set makes it now".to_owned()));
    assert_eq!(world.git.pushes(), 0);
}

#[tokio::test]
async fn scenario_50_a_file_outside_of_what_the_credentials_are_lent_for_is_never_changed() {
    let world = World::new().limited_to(&["apps/other"]);
    let outcome = world.revert().await;
    assert_eq!(outcome, RevertOutcome::Blocked(Blocked::NotAllowed(path(FILE))));
    assert_eq!(world.git.pushes(), 0);
    let world = World::new().limited_to(&["apps/other", "apps/web"]);
    let outcome = world.revert().await;
    assert!(matches!(outcome, RevertOutcome::Pushed { .. }), "{outcome:?}");
}

/// How many failed versions the next test takes back: `SLUICE_REVERTS`, else a share that takes seconds.
fn how_many() -> u64 {
    std::env::var("SLUICE_REVERTS").map_or(1_000, |count| count.parse().unwrap())
}

/// A fifth of the operations with Git go wrong, one push in twenty meets a colleague's, and one try in ten dies
/// without anybody hearing what became of it.
#[tokio::test(start_paused = true)]
async fn each_failed_version_is_reverted_once_whatever_git_does() {
    let (mut faults, mut races, mut tries) = (0_u64, 0_u64, 0_u64);
    for seed in 0..how_many() {
        let mut random = fastrand::Rng::with_seed(seed);
        let world = World::new();
        let mut colleagues = 0;
        let is_done = |outcome: &RevertOutcome| match outcome {
            RevertOutcome::Pushed { .. } => true,
            RevertOutcome::Failed { is_retryable: true, .. } => false,
            other => panic!("seed {seed}: {other:?}"),
        };
        loop {
            tries += 1;
            for operation in
                [Operation::Open, Operation::FetchTip, Operation::Blobs, Operation::Push]
            {
                if random.f64() < 0.2 {
                    let away = GitError::Transient { detail: "away".to_owned() };
                    let is_lost = operation == Operation::Push && random.bool();
                    let fault = if is_lost { Fault::LostReply } else { Fault::Fail(away) };
                    world.git.fault(operation, fault);
                    faults += 1;
                }
            }
            if random.f64() < 0.05 {
                let name = format!("other-{colleagues}.yaml");
                let file = files(&[(name.as_str(), b"a: 1\n".as_slice())]);
                world.git.fault(Operation::Push, Fault::Race(file, "busy".to_owned()));
                colleagues += 1;
                races += 1;
            }
            let outcome = world.revert().await;
            if is_done(&outcome) && random.f64() >= 0.1 {
                break;
            }
        }
        assert_eq!(world.reverts(), 1, "seed {seed}: {:?}", world.log());
        assert_eq!(world.file(), manifest("app:1"), "seed {seed}");
        let others = world.log().iter().filter(|message| *message == "busy").count();
        assert!(others <= colleagues, "seed {seed}");
        // Nobody's commit is lost: what stands on the branch is what was pushed, in one line.
        assert_eq!(world.log().len(), 3 + others, "seed {seed}: {:?}", world.log());
    }
    // Shown by `--nocapture`.
    println!("{} reverts, {tries} tries, {faults} faults, {races} races", how_many());
}
