//! Work in Git, beside the passes: look-ups for the ledger and reverts. Each runs as a task of its
//! own; its result is a fact of the next pass. It writes nothing to the cluster but, where
//! that is wanted, the annotation that asks a GitOps tool to look at Git; no pass ever waits for it.

mod results;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::results::{is_asked_again, request_state, result_of, word};
use self::sources::{Job, Place, Sources, Unsourced};
use crate::act::git_port::GitPort;
use crate::act::guard::Writer;
use crate::act::wire::Wire;
use crate::api::ApiNames;
use crate::api::git_revert::GitRevertMode;
use crate::api::status::PullRequestState;
use crate::breakdown::caught;
use crate::clock::{Clock, Entropy};
use crate::git::executor::{
    Candidates, Confirm, Executor, FoundSource, Requests, RevertMode, RevertRequest, Withdrawal,
};
use crate::git::message::{Author, MessageFacts, SubjectTemplate, version_words};
use crate::git::plan::Declaration;
use crate::git::revert_id::RevertId;
use crate::git::source::GitUrl;
use crate::observe::Snapshot;
use crate::observe::cache::Key;
use crate::plan::action::{RevertOrder, SyncOrder, WithdrawOrder};
use crate::plan::facts::{
    Declared, GitFact, LedgerAnswer, LedgerMiss, REASON_NOT_ALLOWED, RevertLimits, RevertProgress,
    RevertResult, Sight, SyncLook, WithdrawProgress,
};
use crate::telemetry::chain;

/// Wait before the second look-up of a commit; doubled by each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait between two look-ups.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The worker.
#[derive(Clone)]
pub struct GitWorker {
    parts: GitParts,
    wishes: mpsc::UnboundedSender<Key>,
    state: Arc<Mutex<HashMap<String, State>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    facts: GitFact,
    /// Look-ups that found nothing.
    misses: BTreeMap<Sight, u32>,
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
    /// Argo CD's own namespace.
    pub argocd_namespace: String,
    /// When people must look before anything is written.
    pub limits: RevertLimits,
    /// The API group's names.
    pub names: ApiNames,
    /// Asks GitOps tools to look at Git when a revert is there; absent where nobody wants it.
    pub asks_tools: Option<Writer>,
    /// The controller's own namespace, with the Secrets of ClusterGitCredentials.
    pub own_namespace: String,
}

impl std::fmt::Debug for GitWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitWorker").field("cluster", &self.parts.cluster).finish_non_exhaustive()
    }
}

impl GitWorker {
    /// A worker; when it has a result it wishes for a pass of the Rollout.
    pub fn new(
        parts: GitParts,
        wishes: mpsc::UnboundedSender<Key>,
        stop: CancellationToken,
    ) -> Self {
        Self { parts, wishes, state: Arc::default(), tasks: TaskTracker::new(), stop }
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

    async fn find_commit(&self, executor: &Executor, job: &Job, template: &Value) -> LedgerAnswer {
        let identity = job.identity();
        let sources = match self.sources(executor, job).await {
            Ok(sources) => sources,
            Err(Unsourced::NotAllowed(why)) => return LedgerAnswer::NotAllowed(why),
            Err(refusal) => return LedgerAnswer::NotFound(refusal.to_string()),
        };
        let mut declared = Vec::new();
        let mut misses = Vec::new();
        for place in &sources.places {
            let candidates = match &place.commits {
                None => Candidates::Tip,
                Some(commits) => Candidates::Applied(commits),
            };
            let Place { source, remote, .. } = place;
            match executor.ledger_entry(remote, source, &identity, template, candidates).await {
                Ok(entry) => declared.push((entry.commit, place)),
                Err(error) => misses.push(chain(&error)),
            }
        }
        match declared.as_slice() {
            [] => LedgerAnswer::NotFound(misses.join("; ")),
            [(commit, place)] => LedgerAnswer::Declared(Declared {
                commit: commit.clone(),
                source: sources.owner.as_ref().map(|owner| place.record(owner)),
                is_final: sources.is_settled,
            }),
            _ => LedgerAnswer::NotFound(
                "several sources declare it; name one in spec.gitRevert.source".to_owned(),
            ),
        }
    }

    async fn close_request(
        &self,
        job: &Job,
        order: &WithdrawOrder,
    ) -> Result<PullRequestState, String> {
        let executor = self.parts.executor.as_ref().ok_or("this controller runs without Git")?;
        let url = match (&order.source, &job.git.named) {
            (Some(found), _) => &found.url,
            (None, Some(named)) => &named.url,
            (None, None) => return Err("its repository is not known any more".to_owned()),
        };
        let url = GitUrl::parse(url).map_err(|error| error.to_string())?;
        let withdrawal = Withdrawal {
            remote: self.remote(job, &url).await.map_err(|refusal| refusal.to_string())?.remote,
            provider: job.git.provider,
            number: order.number,
            comment: order.comment.clone(),
        };
        let before = executor.withdraw(&withdrawal).await.map_err(|error| chain(&error))?;
        Ok(request_state(&before))
    }

    /// What the commit's message tells.
    fn message(&self, job: &Job, order: &RevertOrder) -> MessageFacts {
        let (stable_name, failed_name) = (order.stable.0.to_string(), order.failed.0.to_string());
        let (stable_version, failed_version) = version_words(
            (&order.stable_template, &stable_name),
            (&order.failed_template, &failed_name),
        );
        MessageFacts {
            namespace: job.namespace.clone(),
            name: job.name.clone(),
            stable_version,
            failed_version,
            stopped_at: order.stopped_at.clone(),
            is_by_hand: order.asked_by.is_some(),
            measurements: order.cause.lines().map(str::to_owned).collect(),
            cluster: self.parts.cluster.clone(),
            analysis_run: (!order.run.is_empty())
                .then(|| format!("{}/{}", job.namespace, order.run)),
            failed_template: order.failed.0.to_string(),
            stable_template: order.stable.0.to_string(),
            subject: job
                .git
                .commit
                .subject_template
                .as_deref()
                .and_then(|subject| SubjectTemplate::parse(subject).ok()),
            sign_off: job.git.commit.sign_off,
            skip_ci: job.git.commit.skip_ci,
        }
    }

    async fn carry_out(&self, executor: &Executor, job: &Job, order: &RevertOrder) -> RevertResult {
        let (git, identity) = (&job.git, &job.identity());
        let blocked = |reason: &str, message: String| RevertResult::Blocked {
            reason: reason.to_owned(),
            message,
        };
        let Sources { places, limit, owner, is_settled: _ } =
            match self.sources(executor, job).await {
                Ok(sources) => sources,
                Err(Unsourced::Unknown(message)) => {
                    return RevertResult::Failed { message, retryable: true };
                }
                Err(Unsourced::Refused(message)) => return blocked("NoSource", message),
                Err(Unsourced::NotAllowed(message)) => return blocked(REASON_NOT_ALLOWED, message),
            };
        let place = places.into_iter().find(|place| match (&order.source, &owner) {
            (Some(recorded), Some(owner)) => place.record(owner) == *recorded,
            (recorded, owner) => recorded.is_none() && owner.is_none(),
        });
        let Some(Place { source, remote, .. }) = place else {
            let message = "what applies the Rollout takes it from another place than when the \
                           version was seen; put the branch right by hand";
            return blocked("SourceMoved", message.to_owned());
        };
        let found = order.source.clone().map(|recorded| {
            let (this, executor, job) = (self.clone(), executor.clone(), job.clone());
            let confirm: Confirm = Arc::new(move || {
                let (this, executor) = (this.clone(), executor.clone());
                let (job, recorded) = (job.clone(), recorded.clone());
                Box::pin(async move { this.confirm(&executor, &job, &recorded).await })
            });
            FoundSource { limit, confirm }
        });
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
        let author = match self.signing_key(job).await {
            Ok(key) => author.signing(key),
            Err(message) => return RevertResult::Failed { message, retryable: true },
        };
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
            mode: match order.mode {
                _ if order.is_preview => RevertMode::Suggest,
                GitRevertMode::Disabled => RevertMode::Off,
                GitRevertMode::Suggest => RevertMode::Suggest,
                GitRevertMode::PullRequest => RevertMode::PullRequest,
                GitRevertMode::Push => RevertMode::Push,
            },
            requests: Requests {
                provider: git.provider,
                known: order.known_request,
                is_draft: git.requests.draft,
                labels: git.requests.labels.clone(),
            },
            found,
            message: self.message(job, order),
            author,
            now: self.parts.clock.now(),
        };
        result_of(executor.revert(&request).await)
    }
}

fn parts(snapshot: &Snapshot) -> Option<(Key, String, Job)> {
    let rollout = &snapshot.observed.rollout;
    let git = rollout.spec.usable.as_ref()?.git.clone()?;
    let key = Key::new(&rollout.namespace, &rollout.name);
    let job = Job {
        git,
        group: snapshot.observed.names.group().to_owned(),
        namespace: rollout.namespace.clone(),
        name: rollout.name.clone(),
        labels: rollout.labels.clone(),
        annotations: rollout.annotations.clone(),
    };
    Some((key, rollout.uid.clone(), job))
}

impl GitPort for GitWorker {
    fn look_up(&self, snapshot: &Snapshot, sight: &Sight) {
        let Some((key, uid, job)) = parts(snapshot) else { return };
        let Some(template) =
            snapshot.observed.rollout.spec.usable.as_ref().map(|spec| spec.template.clone())
        else {
            return;
        };
        let sight = sight.clone();
        let pause = {
            let mut states = self.state();
            let state = states.entry(uid.clone()).or_default();
            // Nobody asks any more for what was seen earlier.
            let is_past = |other: &Sight| other.revision == sight.revision && other.at != sight.at;
            state.facts.ledger.retain(|other, _| !is_past(other));
            state.misses.retain(|other, _| !is_past(other));
            let misses = state.misses.get(&sight).copied().unwrap_or(0);
            let pause = if misses == 0 {
                Duration::ZERO
            } else {
                let doubled = FIRST_PAUSE.saturating_mul(1 << misses.saturating_sub(1).min(16));
                self.parts.entropy.jitter(doubled.min(LONGEST_PAUSE), 20)
            };
            let last = match state.facts.ledger.get(&sight) {
                Some(LedgerAnswer::NotFound(reason) | LedgerAnswer::NotAllowed(reason)) => {
                    Some(LedgerMiss {
                        reason: reason.clone(),
                        next_try: snapshot.observed.now + pause,
                    })
                }
                Some(LedgerAnswer::Running { .. } | LedgerAnswer::Declared(_)) | None => None,
            };
            state.facts.ledger.insert(sight.clone(), LedgerAnswer::Running { last });
            pause
        };
        let this = self.clone();
        self.spawn(async move {
            tokio::time::sleep(this.parts.clock.real_wait(pause)).await;
            let answer = match &this.parts.executor {
                Some(executor) => caught(this.find_commit(executor, &job, &template))
                    .await
                    .unwrap_or_else(|error| LedgerAnswer::NotFound(error.to_string())),
                None => LedgerAnswer::NotFound("this controller runs without Git".to_owned()),
            };
            if let LedgerAnswer::NotFound(reason) | LedgerAnswer::NotAllowed(reason) = &answer {
                let revision = &sight.revision;
                tracing::debug!(rollout = %key, %revision, reason, "commit not found yet");
            }
            if let Some(state) = this.state().get_mut(&uid) {
                if is_asked_again(&answer) {
                    let misses = state.misses.entry(sight.clone()).or_default();
                    *misses = misses.saturating_add(1);
                }
                state.facts.ledger.insert(sight, answer);
            }
            let _ = this.wishes.send(key);
        });
    }

    fn revert(&self, snapshot: &Snapshot, order: &RevertOrder) {
        let Some((key, uid, job)) = parts(snapshot) else { return };
        let begun = RevertProgress {
            id: order.id.clone(),
            tries: order.tries,
            is_preview: order.is_preview,
            result: None,
            ended_at: None,
        };
        self.state().entry(uid.clone()).or_default().facts.revert = Some(begun.clone());
        let this = self.clone();
        let order = order.clone();
        self.spawn(async move {
            let result = match &this.parts.executor {
                Some(executor) => {
                    caught(this.carry_out(executor, &job, &order)).await.unwrap_or_else(|error| {
                        RevertResult::Failed { message: error.to_string(), retryable: true }
                    })
                }
                None => RevertResult::Blocked {
                    reason: "NoGit".to_owned(),
                    message: "this controller runs without Git".to_owned(),
                },
            };
            let what = if order.is_preview { "preview of a Git revert" } else { "Git revert" };
            tracing::info!(rollout = %key, id = begun.id, result = word(&result), "{what}");
            if let Some(state) = this.state().get_mut(&uid) {
                let (ended_at, result) = (Some(this.parts.clock.now()), Some(result));
                state.facts.revert = Some(RevertProgress { result, ended_at, ..begun });
            }
            let _ = this.wishes.send(key);
        });
    }

    fn withdraw(&self, snapshot: &Snapshot, order: &WithdrawOrder) {
        let Some((key, uid, job)) = parts(snapshot) else { return };
        let id = order.id.clone();
        self.state().entry(uid.clone()).or_default().facts.withdrawal =
            Some(WithdrawProgress { id: id.clone(), state: None, ended_at: None });
        let this = self.clone();
        let order = order.clone();
        self.spawn(async move {
            let closed = caught(this.close_request(&job, &order)).await;
            let state = match closed.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(state) => Some(state),
                Err(reason) => {
                    tracing::warn!(rollout = %key, id, reason, "pull request not closed");
                    None
                }
            };
            if let Some(known) = this.state().get_mut(&uid) {
                let ended_at = Some(this.parts.clock.now());
                known.facts.withdrawal = Some(WithdrawProgress { id, state, ended_at });
            }
            let _ = this.wishes.send(key);
        });
    }

    fn watch_sync(&self, snapshot: &Snapshot, order: &SyncOrder) {
        let Some((key, uid, job)) = parts(snapshot) else { return };
        let SyncOrder { id, commit, ask } = order.clone();
        let mut obstacle = {
            let mut states = self.state();
            let facts = &mut states.entry(uid.clone()).or_default().facts;
            // What was known is said until more is known.
            let known = facts.sync.take().filter(|look| look.id == id);
            let obstacle = known.and_then(|look| look.obstacle);
            let id = id.clone();
            let running = SyncLook { id, obstacle: obstacle.clone(), asked: None, ended_at: None };
            facts.sync = Some(running);
            obstacle
        };
        let this = self.clone();
        self.spawn(async move {
            let found = caught(this.held_up(&job, &commit)).await;
            match found.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(now) => obstacle = now,
                Err(reason) => {
                    tracing::debug!(rollout = %key, reason, "the GitOps tool cannot be asked");
                }
            }
            let asked = match ask {
                Some(since) => caught(this.ask_tool(&key, &job, since)).await.ok().flatten(),
                None => None,
            };
            if let Some(state) = this.state().get_mut(&uid) {
                let ended_at = Some(this.parts.clock.now());
                state.facts.sync = Some(SyncLook { id, obstacle, asked, ended_at });
            }
            let _ = this.wishes.send(key);
        });
    }

    fn facts(&self, uid: &str) -> GitFact {
        let facts =
            self.state().get(uid).map_or_else(GitFact::default, |state| state.facts.clone());
        let asks_tools = self.parts.asks_tools.is_some();
        GitFact { limits: self.parts.limits, asks_tools, ..facts }
    }

    fn forget(&self, uid: &str) {
        self.state().remove(uid);
    }
}
