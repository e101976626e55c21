//! Work in Git, beside the passes: look-ups for the ledger and reverts. Each runs as a task of its
//! own; its result is a fact of the next pass. It writes nothing to the cluster, and no pass ever
//! waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::act::actions::GitPort;
use crate::act::wire::{Read, Target, Wire};
use crate::api::conditions::RevertEnd;
use crate::clock::{Clock, Entropy};
use crate::git::backend::Remote;
use crate::git::credentials::{Credentials, Data};
use crate::git::executor::{Executor, RevertMode, RevertOutcome, RevertRequest};
use crate::git::message::{Author, MessageFacts, version_words};
use crate::git::plan::{Blocked, Declaration, Identity};
use crate::git::revert_id::RevertId;
use crate::git::source::{BranchName, GitUrl, RepoPath, Source};
use crate::observe::Snapshot;
use crate::observe::cache::Key;
use crate::observe::caches::builtin;
use crate::observe::objects::secret_bytes;
use crate::plan::action::RevertOrder;
use crate::plan::facts::{GitFact, LedgerAnswer, LedgerMiss, RevertProgress, RevertResult};
use crate::plan::validate::ValidGit;
use crate::revision::Revision;
use crate::telemetry::chain;

/// Wait before the second look-up of a commit; doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait between two look-ups.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The worker.
#[derive(Clone)]
pub struct GitWorker {
    executor: Option<Executor>,
    wire: Wire,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cluster: Option<String>,
    wishes: mpsc::UnboundedSender<Key>,
    state: Arc<Mutex<HashMap<String, State>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    facts: GitFact,
    /// Look-ups that found nothing, by revision.
    misses: HashMap<Revision, u32>,
}

/// What a worker is made of.
#[derive(Clone)]
pub struct GitParts {
    /// How Git is reached; absent where the controller runs without it.
    pub executor: Option<Executor>,
    /// Single reads, for Secrets.
    pub wire: Wire,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub entropy: Arc<dyn Entropy>,
    /// The cluster's name in commit messages.
    pub cluster: Option<String>,
}

impl std::fmt::Debug for GitWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitWorker").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl GitWorker {
    /// A worker; when it has a result it wishes for a pass of the Rollout.
    pub fn new(
        parts: GitParts,
        wishes: mpsc::UnboundedSender<Key>,
        stop: CancellationToken,
    ) -> Self {
        let GitParts { executor, wire, clock, entropy, cluster } = parts;
        Self {
            executor,
            wire,
            clock,
            entropy,
            cluster,
            wishes,
            state: Arc::default(),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Waits until every task has ended; after `stop` that is soon.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// The repository with its credentials: one read of one Secret of the Rollout's namespace.
    async fn remote(&self, namespace: &str, git: &ValidGit) -> Result<(Source, Remote), String> {
        let parse = |field: &str, error: &dyn std::fmt::Display| {
            format!("spec.gitRevert.source.{field}: {error}")
        };
        let url = GitUrl::parse(&git.url).map_err(|error| parse("url", &error))?;
        let branch = BranchName::parse(&git.branch).map_err(|error| parse("branch", &error))?;
        let path = RepoPath::parse(&git.path).map_err(|error| parse("path", &error))?;
        let file = git.file.as_deref().map(RepoPath::parse).transpose();
        let file = file.map_err(|error| parse("file", &error))?;
        let credentials = match &git.secret {
            None => Credentials::anonymous("anonymous"),
            Some(secret) => {
                let data = self.secret(namespace, secret).await?;
                let id = format!("{namespace}/{secret}");
                Credentials::from_secret(&id, &url, &data)
                    .map_err(|error| format!("Secret `{secret}`: {error}"))?
            }
        };
        let source = Source { url: url.clone(), branch, path, file };
        Ok((source, Remote { url, credentials: Arc::new(credentials) }))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Data, String> {
        let target = Target::namespaced(&builtin("", "v1", "Secret", "secrets"), namespace, name);
        let object = match self.wire.get(&target).await {
            Read::Found(object) => object,
            Read::Absent => {
                return Err(format!("Secret `{name}` does not exist in namespace `{namespace}`"));
            }
            Read::Failed(error) => return Err(format!("Secret `{name}` cannot be read: {error}")),
        };
        let entries = object.get("data").and_then(Value::as_object).cloned().unwrap_or_default();
        entries
            .into_iter()
            .map(|(key, value)| {
                let bytes = value
                    .as_str()
                    .and_then(secret_bytes)
                    .ok_or_else(|| format!("Secret `{name}`: data.{key} is not base64"))?;
                Ok((key, bytes))
            })
            .collect()
    }

    async fn find_commit(
        &self,
        executor: &Executor,
        git: &ValidGit,
        identity: &Identity,
        template: &Value,
    ) -> LedgerAnswer {
        let (source, remote) = match self.remote(&identity.namespace, git).await {
            Ok(found) => found,
            Err(reason) => return LedgerAnswer::NotFound(reason),
        };
        match executor.ledger_entry(&remote, &source, identity, template).await {
            Ok(entry) => LedgerAnswer::Declared(entry.commit),
            Err(error) => LedgerAnswer::NotFound(chain(&error)),
        }
    }

    async fn carry_out(
        &self,
        executor: &Executor,
        git: &ValidGit,
        order: &RevertOrder,
        identity: &Identity,
    ) -> RevertResult {
        let blocked = |reason: &str, message: String| RevertResult::Blocked {
            reason: reason.to_owned(),
            message,
        };
        let (source, remote) = match self.remote(&identity.namespace, git).await {
            Ok(found) => found,
            Err(message) => return RevertResult::Failed { message, retryable: true },
        };
        let (Some(good), Some(bad)) = (&order.stable.1, &order.failed.1) else {
            let message = "the commits of the two revisions are not known".to_owned();
            return blocked("CommitUnknown", message);
        };
        let Some(id) = RevertId::parse(&order.id) else {
            return blocked("MalformedId", format!("{:?} is not the id of a revert", order.id));
        };
        let author = Author::new(
            git.commit.author_name.as_deref().unwrap_or_default(),
            git.commit.author_email.as_deref().unwrap_or_default(),
        );
        let (stable_name, failed_name) = (order.stable.0.to_string(), order.failed.0.to_string());
        let (stable_version, failed_version) = version_words(
            (&order.stable_template, &stable_name),
            (&order.failed_template, &failed_name),
        );
        let request = RevertRequest {
            id,
            source,
            remote,
            identity: identity.clone(),
            good: Some(Declaration {
                commit: good.clone(),
                template: order.stable_template.clone(),
            }),
            bad: Declaration { commit: bad.clone(), template: order.failed_template.clone() },
            mode: if order.suggest_only { RevertMode::Suggest } else { RevertMode::Push },
            message: MessageFacts {
                namespace: identity.namespace.clone(),
                name: identity.name.clone(),
                stable_version,
                failed_version,
                stopped_at: order.stopped_at.clone(),
                measurements: order.cause.lines().map(str::to_owned).collect(),
                cluster: self.cluster.clone(),
                analysis_run: Some(format!("{}/{}", identity.namespace, order.run)),
                failed_template: order.failed.0.to_string(),
                stable_template: order.stable.0.to_string(),
                sign_off: git.commit.sign_off,
                skip_ci: git.commit.skip_ci,
            },
            author,
            now: self.clock.now(),
        };
        result_of(executor.revert(&request).await)
    }
}

fn result_of(outcome: RevertOutcome) -> RevertResult {
    match outcome {
        RevertOutcome::Pushed { commit } => RevertResult::Pushed(commit),
        RevertOutcome::AlreadyReverted { .. } => RevertResult::AlreadyReverted,
        RevertOutcome::Superseded(_) => RevertResult::Superseded,
        RevertOutcome::Suggested { patch, reason, .. } => {
            RevertResult::Suggested { patch, reason: reason.to_string() }
        }
        RevertOutcome::Blocked(why) => {
            let is_opted_out = matches!(&why, Blocked::OptedOut { .. });
            let reason = if is_opted_out { RevertEnd::OptedOut } else { RevertEnd::Blocked };
            RevertResult::Blocked { reason: reason.as_str().to_owned(), message: why.to_string() }
        }
        RevertOutcome::Conflict(files) => {
            let files: Vec<&str> = files.iter().map(RepoPath::as_str).collect();
            RevertResult::Blocked {
                reason: "Conflict".to_owned(),
                message: format!("later changes are in the way in {}", files.join(", ")),
            }
        }
        RevertOutcome::Failed { error, is_retryable } => {
            RevertResult::Failed { message: chain(&error), retryable: is_retryable }
        }
    }
}

/// A result in a word, for logs.
fn word(result: &RevertResult) -> &'static str {
    match result {
        RevertResult::Pushed(_) => "Pushed",
        RevertResult::AlreadyReverted => "AlreadyReverted",
        RevertResult::Superseded => "Superseded",
        RevertResult::Suggested { .. } => "Suggested",
        RevertResult::Blocked { .. } => "Blocked",
        RevertResult::Failed { .. } => "Failed",
    }
}

fn parts(snapshot: &Snapshot) -> Option<(Key, String, ValidGit, Identity)> {
    let rollout = &snapshot.observed.rollout;
    let git = rollout.spec.usable.as_ref()?.git.clone()?;
    let key = Key::new(&rollout.namespace, &rollout.name);
    let identity = Identity::rollout(&rollout.namespace, &rollout.name);
    Some((key, rollout.uid.clone(), git, identity))
}

impl GitPort for GitWorker {
    fn look_up(&self, snapshot: &Snapshot, revision: &Revision) {
        let Some((key, uid, git, identity)) = parts(snapshot) else { return };
        let Some(template) =
            snapshot.observed.rollout.spec.usable.as_ref().map(|spec| spec.template.clone())
        else {
            return;
        };
        let revision = revision.clone();
        let pause = {
            let mut states = self.state();
            let state = states.entry(uid.clone()).or_default();
            let misses = state.misses.get(&revision).copied().unwrap_or(0);
            let pause = if misses == 0 {
                Duration::ZERO
            } else {
                let doubled = FIRST_PAUSE.saturating_mul(1 << misses.saturating_sub(1).min(16));
                self.entropy.jitter(doubled.min(LONGEST_PAUSE), 20)
            };
            let last = match state.facts.ledger.get(&revision) {
                Some(LedgerAnswer::NotFound(reason)) => Some(LedgerMiss {
                    reason: reason.clone(),
                    next_try: snapshot.observed.now + pause,
                }),
                Some(LedgerAnswer::Running { .. } | LedgerAnswer::Declared(_)) | None => None,
            };
            state.facts.ledger.insert(revision.clone(), LedgerAnswer::Running { last });
            pause
        };
        let this = self.clone();
        self.spawn(async move {
            tokio::time::sleep(this.clock.real_wait(pause)).await;
            let answer = match &this.executor {
                Some(executor) => this.find_commit(executor, &git, &identity, &template).await,
                None => LedgerAnswer::NotFound("this controller runs without Git".to_owned()),
            };
            if let LedgerAnswer::NotFound(reason) = &answer {
                tracing::debug!(rollout = %key, %revision, reason, "commit not found yet");
            }
            if let Some(state) = this.state().get_mut(&uid) {
                if matches!(answer, LedgerAnswer::NotFound(_)) {
                    let misses = state.misses.entry(revision.clone()).or_default();
                    *misses = misses.saturating_add(1);
                }
                state.facts.ledger.insert(revision, answer);
            }
            let _ = this.wishes.send(key);
        });
    }

    fn revert(&self, snapshot: &Snapshot, order: &RevertOrder) {
        let Some((key, uid, git, identity)) = parts(snapshot) else { return };
        let (id, tries) = (order.id.clone(), order.tries);
        self.state().entry(uid.clone()).or_default().facts.revert =
            Some(RevertProgress { id: id.clone(), tries, result: None });
        let this = self.clone();
        let order = order.clone();
        self.spawn(async move {
            let result = match &this.executor {
                Some(executor) => this.carry_out(executor, &git, &order, &identity).await,
                None => RevertResult::Blocked {
                    reason: "NoGit".to_owned(),
                    message: "this controller runs without Git".to_owned(),
                },
            };
            tracing::info!(rollout = %key, id, result = word(&result), "Git revert");
            if let Some(state) = this.state().get_mut(&uid) {
                state.facts.revert = Some(RevertProgress { id, tries, result: Some(result) });
            }
            let _ = this.wishes.send(key);
        });
    }

    fn facts(&self, uid: &str) -> GitFact {
        self.state().get(uid).map_or_else(GitFact::default, |state| state.facts.clone())
    }

    fn forget(&self, uid: &str) {
        self.state().remove(uid);
    }
}
