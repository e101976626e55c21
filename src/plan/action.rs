//! What a pass may do: complete, idempotent actions with names and numbers, no policy.
//! [`EffectClass`] orders them by safety; one pass carries out actions of one class only.

use serde_json::Value;

use super::facts::{RunSlot, Sight};
use crate::api::Time;
use crate::api::git_revert::GitRevertMode;
use crate::api::status::RevisionSource;
use crate::revision::{Commit, Revision, TemplateDigest};
use crate::weight::Split;

/// Classes of effects, in the order in which they are considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EffectClass {
    /// Taking traffic away from the canary. First, because it is what makes users safe.
    LowerWeight,
    /// Setting or removing the finalizer.
    Finalize,
    /// Creating ReplicaSets and adding pods.
    ScaleUp,
    /// Switching Service selectors.
    Select,
    /// Giving the canary more traffic.
    RaiseWeight,
    /// Starting and stopping analyses.
    Analyse,
    /// Removing pods.
    ScaleDown,
    /// Evicting pods for a restart.
    Restart,
    /// Deleting what is no longer needed.
    CleanUp,
    /// Looking into Git and writing to it; last, and never in the way of the others.
    Git,
}

impl EffectClass {
    /// Whether the effect may move the update forward, so that the Rollout must have been read
    /// afresh before it.
    pub fn is_forward(self) -> bool {
        match self {
            Self::LowerWeight | Self::Finalize => false,
            Self::ScaleUp
            | Self::Select
            | Self::RaiseWeight
            | Self::Analyse
            | Self::ScaleDown
            | Self::Restart
            | Self::CleanUp
            | Self::Git => true,
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put our finalizer on the Rollout.
    AddFinalizer,
    /// Take our finalizer off the Rollout.
    RemoveFinalizer,
    /// Create a ReplicaSet.
    CreateReplicaSet {
        /// Its name.
        name: String,
        /// Its revision.
        revision: Revision,
        /// Digest of the template.
        digest: TemplateDigest,
        /// Ordinal number of the revision.
        number: u64,
        /// Its size.
        replicas: u32,
        /// The whole object, without owner and epoch.
        object: Value,
    },
    /// Set `spec.replicas` of a ReplicaSet.
    ScaleReplicaSet {
        /// Its name.
        name: String,
        /// The size it has.
        from: u32,
        /// The size it gets.
        to: u32,
    },
    /// Give a ReplicaSet a new ordinal number (its template became current again).
    SetRevisionNumber {
        /// Its name.
        name: String,
        /// The number.
        number: u64,
    },
    /// Take our owner reference off a ReplicaSet, so that its pods outlive the Rollout.
    OrphanReplicaSet {
        /// Its name.
        name: String,
    },
    /// Delete a ReplicaSet that has no pods.
    DeleteReplicaSet {
        /// Its name.
        name: String,
    },
    /// Make a Service select a revision, and mark it as managed.
    PointService {
        /// The Service's name.
        name: String,
        /// The revision.
        revision: Revision,
    },
    /// Write a split into routes.
    SetWeight {
        /// The desired split.
        split: Split,
        /// The routes, by [`super::facts::RouteFact::id`].
        routes: Vec<String>,
    },
    /// Create an AnalysisRun.
    CreateRun {
        /// Its name.
        name: String,
        /// What it is for.
        slot: RunSlot,
        /// The whole object, without owner and epoch.
        object: Value,
    },
    /// Ask an AnalysisRun to stop.
    TerminateRun {
        /// Its name.
        name: String,
    },
    /// Delete an AnalysisRun.
    DeleteRun {
        /// Its name.
        name: String,
    },
    /// Evict a pod.
    EvictPod {
        /// Its name.
        name: String,
    },
    /// Find the commit that declares a revision.
    LookUpCommit(Sight),
    /// Take the failed revision back in Git.
    RevertInGit(Box<RevertOrder>),
    /// Close a pull request that is not needed any more.
    WithdrawRequest(Box<WithdrawOrder>),
    /// Ask the GitOps tool what holds up a revert.
    WatchSync(SyncOrder),
}

/// What is to be reverted in Git.
#[derive(Clone, Debug, PartialEq)]
pub struct RevertOrder {
    /// Identity of this revert.
    pub id: String,
    /// How many tries failed before this one.
    pub tries: u32,
    /// Whether it is only to show what would be written.
    pub is_preview: bool,
    /// How far to go.
    pub mode: GitRevertMode,
    /// The pull request that was opened before.
    pub known_request: Option<u64>,
    /// Where Git declares it, if that was found through a GitOps tool.
    pub source: Option<RevisionSource>,
    /// The revision to go back to, and the commit that declared it.
    pub stable: (Revision, Option<Commit>),
    /// The revision that failed, and the commit that declared it.
    pub failed: (Revision, Option<Commit>),
    /// The stable pod template, as the user wrote it.
    pub stable_template: Value,
    /// The failed pod template, as the user wrote it.
    pub failed_template: Value,
    /// Why it failed, in sentences.
    pub cause: String,
    /// Where the update stopped, such as `step 2/5`.
    pub stopped_at: String,
    /// Who asked for it, where no analysis failed.
    pub asked_by: Option<String>,
    /// Name of the AnalysisRun that failed; empty where a person asked.
    pub run: String,
    /// Digests of the two templates: stable, failed.
    pub digests: (TemplateDigest, TemplateDigest),
}

/// A pull request that is not needed any more.
#[derive(Clone, Debug, PartialEq)]
pub struct WithdrawOrder {
    /// Identity of its revert.
    pub id: String,
    /// Its number.
    pub number: u64,
    /// Where it is, if that was found through a GitOps tool.
    pub source: Option<RevisionSource>,
    /// Why, for people.
    pub comment: String,
}

/// A revert that a GitOps tool is to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncOrder {
    /// Identity of the revert.
    pub id: String,
    /// Its commit.
    pub commit: Commit,
    /// Whether the tool is to be asked to look at Git now, and since when it waits.
    pub ask: Option<Time>,
}

/// Identity of an action, to remember that it failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActionKey {
    /// The verb.
    pub verb: &'static str,
    /// The object.
    pub object: String,
}

impl Action {
    /// Which action this is, whatever its numbers.
    pub fn key(&self) -> ActionKey {
        let (verb, object) = match self {
            Self::AddFinalizer => ("add the finalizer to", String::new()),
            Self::RemoveFinalizer => ("remove the finalizer from", String::new()),
            Self::CreateReplicaSet { name, .. } => ("create ReplicaSet", name.clone()),
            Self::ScaleReplicaSet { name, .. } => ("scale ReplicaSet", name.clone()),
            Self::SetRevisionNumber { name, .. } => ("set the revision number of", name.clone()),
            Self::OrphanReplicaSet { name } => ("let go of ReplicaSet", name.clone()),
            Self::DeleteReplicaSet { name } => ("delete ReplicaSet", name.clone()),
            Self::PointService { name, .. } => ("switch Service", name.clone()),
            Self::SetWeight { routes, .. } => ("set the weight in", routes.join(", ")),
            Self::CreateRun { name, .. } => ("create AnalysisRun", name.clone()),
            Self::TerminateRun { name } => ("stop AnalysisRun", name.clone()),
            Self::DeleteRun { name } => ("delete AnalysisRun", name.clone()),
            Self::EvictPod { name } => ("evict pod", name.clone()),
            Self::LookUpCommit(sight) => ("find the commit of", sight.revision.to_string()),
            Self::RevertInGit(order) => ("revert in Git", order.id.clone()),
            Self::WithdrawRequest(order) => ("withdraw the pull request of", order.id.clone()),
            Self::WatchSync(order) => ("watch the sync of", order.id.clone()),
        };
        ActionKey { verb, object }
    }
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which action.
    pub key: ActionKey,
    /// How it ended.
    pub result: Result<(), ActionFailure>,
}

/// Why an action did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionFailure {
    /// The object changed since it was read: look again and decide again.
    #[error("the object changed meanwhile")]
    Conflict,
    /// It may or may not have taken effect.
    #[error("no answer: {0}")]
    Ambiguous(String),
    /// The API server refused it.
    #[error("{0}")]
    Refused(String),
    /// The name is taken by an object that is not ours.
    #[error("the name is taken by an object that does not belong to this Rollout")]
    NameIsTaken,
    /// This process may not write any more.
    #[error("this controller is not the leader any more")]
    NotLeading,
}
