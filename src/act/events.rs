//! Kubernetes Events: one for each thing that a person would want to be told, with Argo Rollouts'
//! reasons. An Event that cannot be written is lost; nothing waits for it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::guard::Writer;
use super::wire::Target;
use crate::api::conditions::Reason;
use crate::api::names::FIELD_MANAGER;
use crate::api::status::{GitRevertState, RolloutStatus};
use crate::api::{ApiNames, Kind};
use crate::observe::Snapshot;
use crate::observe::caches::builtin;
use crate::plan::{Change, Decision};

/// Longest message of an Event, in characters: Kubernetes' own limit.
const MAX_MESSAGE: usize = 1024;
/// Rollouts whose Events are written at once.
const AT_ONCE: usize = 4;
/// How long the end waits for Events.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Most Rollouts whose Events wait.
const MOST_WAITING: usize = 1000;

/// One Event to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether it is a warning.
    pub is_warning: bool,
    /// The reason.
    pub reason: Reason,
    /// One sentence.
    pub message: String,
}

fn normal(reason: Reason, message: impl Into<String>) -> News {
    News { is_warning: false, reason, message: message.into() }
}

fn warning(reason: Reason, message: impl Into<String>) -> News {
    News { is_warning: true, reason, message: message.into() }
}

/// What a decision and the status that came of it are news of.
pub fn news(old: &RolloutStatus, decision: &Decision, new: &RolloutStatus) -> Vec<News> {
    let mut news = Vec::new();
    let revision = &new.current_pod_hash;
    if let Some(change) = &decision.change {
        news.extend(change_news(change, revision, new));
    }
    if !decision.problems.is_empty() && old.message != new.message {
        news.push(warning(Reason::InvalidSpec, new.message.clone()));
    }
    let state = |status: &RolloutStatus| status.git_revert.as_ref().map(|revert| revert.state);
    if state(old) != state(new)
        && let Some(revert) = &new.git_revert
    {
        news.extend(git_news(revert.state, &revert.message, &revert.url));
    }
    news
}

fn change_news(change: &Change, revision: &str, new: &RolloutStatus) -> Option<News> {
    Some(match change {
        Change::Began => {
            normal(Reason::RolloutUpdated, format!("Rollout updated to revision {revision}"))
        }
        Change::WentBack => normal(
            Reason::SkipSteps,
            format!("the template is that of the stable revision {revision}: steps are skipped"),
        ),
        Change::Retried => {
            normal(Reason::RolloutRetry, format!("revision {revision} is tried again"))
        }
        Change::Quarantined => warning(Reason::RolloutQuarantined, new.message.clone()),
        Change::Aborted(_) => warning(Reason::RolloutAborted, new.message.clone()),
        Change::DeadlineExceeded => warning(Reason::ProgressDeadlineExceeded, new.message.clone()),
        Change::Paused(reason) => {
            normal(Reason::RolloutPaused, format!("Rollout is paused ({})", reason.as_str()))
        }
        Change::Resumed => normal(Reason::RolloutResumed, "Rollout is resumed"),
        Change::StepDone { index, was_pause: false } => normal(
            Reason::RolloutStepCompleted,
            format!("Rollout step {} completed ({revision})", index.saturating_add(1)),
        ),
        Change::Completed => {
            normal(Reason::RolloutCompleted, format!("Rollout completed update to {revision}"))
        }
        // A pause was told when it began, and the step after it is told when it is done.
        Change::StepDone { was_pause: true, .. }
        | Change::Promoting
        | Change::Verifying
        | Change::StepsNoted => return None,
    })
}

fn git_news(state: GitRevertState, message: &str, url: &str) -> Option<News> {
    Some(match state {
        GitRevertState::AwaitingSync => {
            normal(Reason::GitRevertPushed, format!("{message} ({url})"))
        }
        GitRevertState::Reverted => normal(Reason::GitReverted, message),
        GitRevertState::AlreadyReverted | GitRevertState::Superseded => {
            normal(Reason::GitRevertNotNeeded, message)
        }
        GitRevertState::PullRequestOpen => normal(Reason::GitRevertPullRequest, message),
        GitRevertState::Vetoed => warning(Reason::GitRevertVetoed, message),
        GitRevertState::Suggested => warning(Reason::GitRevertSuggested, message),
        GitRevertState::Blocked | GitRevertState::Ineffective | GitRevertState::Suspended => {
            warning(Reason::GitRevertBlocked, message)
        }
        GitRevertState::Planned | GitRevertState::AwaitingApproval | GitRevertState::Pushing => {
            return None;
        }
    })
}

/// What an Event is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The API group's names.
    pub names: ApiNames,
    /// The object's kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The object as it was read.
    pub object: &'a Value,
}

/// One Event as JSON, and where it is written. `salt` makes its name one of its kind.
pub fn event(about: &About<'_>, news: &News, now: DateTime<Utc>, salt: u64) -> (Target, Value) {
    // As client-go names them: the object's name and something that is never the same.
    let head: String = about.name.chars().take(200).collect();
    let name = format!("{head}.{salt:x}{:x}", now.timestamp_micros());
    let target = Target::namespaced(&builtin("", "v1", "Event", "events"), about.namespace, &name);
    let message: String = news.message.chars().take(MAX_MESSAGE).collect();
    let at = now.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": name, "namespace": about.namespace },
        "involvedObject": {
            "apiVersion": about.names.api_version(), "kind": about.kind.as_str(),
            "name": about.name, "namespace": about.namespace,
            "uid": about.object.pointer("/metadata/uid"),
            "resourceVersion": about.object.pointer("/metadata/resourceVersion"),
        },
        "type": if news.is_warning { "Warning" } else { "Normal" },
        "reason": news.reason.as_str(),
        "message": message,
        "source": { "component": FIELD_MANAGER },
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": at, "lastTimestamp": at, "count": 1,
    });
    (target, event)
}

/// The Events of news of a Rollout, each with where it is written.
pub fn events(
    snapshot: &Snapshot,
    news: &[News],
    now: DateTime<Utc>,
    salt: u64,
) -> Vec<(Target, Value)> {
    let rollout = &snapshot.observed.rollout;
    let about = About {
        names: snapshot.observed.names,
        kind: Kind::Rollout,
        namespace: &rollout.namespace,
        name: &rollout.name,
        object: &snapshot.rollout,
    };
    let salted = (0u64..).map(|idx| salt.wrapping_add(idx));
    news.iter().zip(salted).map(|(one, salt)| event(&about, one, now, salt)).collect()
}

/// Writes Events beside the passes, a few at a time; failures are logged and forgotten.
#[derive(Debug)]
pub struct Herald {
    writer: Writer,
    tasks: TaskTracker,
    turns: Arc<Semaphore>,
}

impl Herald {
    /// A herald that has nothing to tell yet.
    pub fn new(writer: Writer) -> Self {
        Self { writer, tasks: TaskTracker::new(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Writes `events` in their order, when it is their turn.
    pub fn tell(&self, events: Vec<(Target, Value)>) {
        if events.is_empty() {
            return;
        }
        if self.tasks.len() >= MOST_WAITING {
            tracing::warn!(count = events.len(), "events lost: too many wait to be written");
            return;
        }
        let (writer, turns) = (self.writer.clone(), self.turns.clone());
        self.tasks.spawn(async move {
            // It is never closed.
            let _turn = turns.acquire().await;
            for (target, event) in events {
                let reason = event.get("reason").and_then(Value::as_str).unwrap_or_default();
                let reason = reason.to_owned();
                let outcome = writer.create_event(&target, event).await;
                if outcome.applied().is_none() {
                    tracing::debug!(reason, outcome = outcome.label(), "event lost");
                }
            }
        });
    }

    /// Waits until everything is told, but not for long.
    pub async fn end(&self) {
        self.tasks.close();
        if tokio::time::timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            tracing::warn!(count = self.tasks.len(), "events lost: the controller stops");
        }
    }
}
