//! What `get rollout` shows, as data: objects in, one structure out. Pure: the time comes in as a
//! value. Its serialization is the stable shape of `get rollout -o json`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::pods::{PodView, pod_view};
use super::run_view::{RunView, run_view};
use super::standing::{PauseEnd, current_step, describe_step, pause_end, standing};
use crate::api::status::{
    GitRevertStatus, LastRequest, RolloutPhase, RolloutStatus, TrafficWeights, WaitingOn,
};
use crate::api::{AnalysisRun, ApiNames, Rollout, Time};

/// Everything that the view is made from, as read.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The Rollout.
    pub rollout: Rollout,
    /// Its ReplicaSets.
    pub replica_sets: Vec<ReplicaSet>,
    /// Pods that its selector selects; those of other owners are left out of the view.
    pub pods: Vec<Pod>,
    /// Its AnalysisRuns.
    pub runs: Vec<AnalysisRun>,
}

/// A Rollout in full.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// Healthy, Degraded, Progressing or Paused.
    pub phase: RolloutPhase,
    /// Why; empty when it is healthy.
    pub message: String,
    /// Whether nothing happens until a person does something.
    pub needs_person: bool,
    /// `Canary` or `BlueGreen`.
    pub strategy: &'static str,
    /// The step of a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepView>,
    /// When the pause ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ends_at: Option<Time>,
    /// Shares of the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsView>,
    /// The revision of the template.
    pub current_revision: String,
    /// The revision that was last promoted.
    pub stable_revision: String,
    /// Images of the revisions that run or are to run.
    pub images: Vec<ImageView>,
    /// Numbers of pods.
    pub replicas: ReplicasView,
    /// What the controller waits for.
    pub waiting_on: Vec<WaitingOn>,
    /// The last Git revert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git_revert: Option<GitRevertStatus>,
    /// The last request of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_request: Option<LastRequest>,
    /// Revisions, newest first.
    pub revisions: Vec<RevisionView>,
}

/// The step of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// Index of the current step, from 0; the number of steps when all are done.
    pub index: usize,
    /// Number of steps.
    pub count: usize,
    /// The current step in a few words; empty when all are done.
    pub description: String,
}

/// Shares of the traffic, in parts of `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightsView {
    /// The canary's share that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_canary: Option<u32>,
    /// The canary's share that was read back; absent while it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_canary: Option<u32>,
    /// Whether the router is known to do what was decided.
    pub is_confirmed: bool,
    /// Parts in all.
    pub total: u32,
}

/// An image and which revisions use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageView {
    /// The image.
    pub image: String,
    /// `stable`, `canary`, `active`, `preview`.
    pub roles: Vec<&'static str>,
}

/// Numbers of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplicasView {
    /// Wanted.
    pub desired: u32,
    /// Existing.
    pub current: u32,
    /// Of the current revision.
    pub updated: u32,
    /// Ready.
    pub ready: u32,
    /// Available.
    pub available: u32,
}

/// One revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionView {
    /// Ordinal number, 0 when it is not known.
    pub number: u64,
    /// Its name.
    pub revision: String,
    /// Its ReplicaSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica_set: Option<ReplicaSetView>,
    /// Its AnalysisRuns, oldest first.
    pub analysis_runs: Vec<RunView>,
}

/// A ReplicaSet.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSetView {
    /// Name.
    pub name: String,
    /// `Healthy`, `Degraded`, `Progressing` or `ScaledDown`.
    pub phase: &'static str,
    /// `stable`, `canary`, `active`, `preview`.
    pub roles: Vec<&'static str>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// From when it may be scaled down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_at: Option<Time>,
    /// Wanted pods.
    pub desired: u32,
    /// Available pods.
    pub available: u32,
    /// Its pods, by name.
    pub pods: Vec<PodView>,
}

/// Makes the view.
pub fn rollout_view(names: ApiNames, objects: &Objects) -> RolloutView {
    let rollout = &objects.rollout;
    let none = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&none);
    let standing = standing(rollout);
    let pause_ends_at = match pause_end(rollout) {
        Some(PauseEnd::At(end)) => Some(end),
        Some(PauseEnd::Person(_)) | None => None,
    };
    let revisions = revisions(names, objects, status);
    RolloutView {
        name: rollout.metadata.name.clone().unwrap_or_default(),
        namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
        created_at: created_at(&rollout.metadata),
        phase: standing.phase,
        message: standing.message,
        needs_person: standing.needs_person,
        strategy: strategy(rollout),
        step: step(rollout, status),
        pause_ends_at,
        weights: weights(rollout, status),
        current_revision: status.current_pod_hash.clone(),
        stable_revision: status.stable_rs.clone(),
        images: images(objects, &revisions),
        replicas: replicas(rollout, status),
        waiting_on: status.waiting_on.clone(),
        git_revert: status.git_revert.clone(),
        last_request: status.last_request.clone(),
        revisions,
    }
}

/// The strategy's name.
pub(super) fn strategy(rollout: &Rollout) -> &'static str {
    match (&rollout.spec.strategy.canary, &rollout.spec.strategy.blue_green) {
        (Some(_), None) => "Canary",
        (None, Some(_)) => "BlueGreen",
        (Some(_), Some(_)) | (None, None) => "invalid",
    }
}

/// The step; `None` for a Rollout without steps.
pub(super) fn step(rollout: &Rollout, status: &RolloutStatus) -> Option<StepView> {
    let count = rollout.spec.strategy.canary.as_ref()?.steps.len();
    if count == 0 {
        return None;
    }
    let Some((index, step)) = current_step(rollout) else {
        // Status carries no index before the first pass and after the last step.
        let is_past = !status.current_pod_hash.is_empty();
        let index = if is_past { count } else { 0 };
        return Some(StepView { index, count, description: String::new() });
    };
    Some(StepView { index, count, description: describe_step(step) })
}

/// The weights; `None` without a router.
pub(super) fn weights(rollout: &Rollout, status: &RolloutStatus) -> Option<WeightsView> {
    let routing = rollout.spec.strategy.canary.as_ref()?.traffic_routing.as_ref()?;
    let canary = |weights: &Option<TrafficWeights>| weights.as_ref().map(|both| both.canary.weight);
    let actual = status.canary.weights.as_ref();
    Some(WeightsView {
        desired_canary: canary(&status.canary.desired_weights),
        actual_canary: canary(&status.canary.weights),
        is_confirmed: actual.and_then(|weights| weights.verified) == Some(true),
        total: routing.max_traffic_weight.unwrap_or(100),
    })
}

/// The numbers of pods.
pub(super) fn replicas(rollout: &Rollout, status: &RolloutStatus) -> ReplicasView {
    ReplicasView {
        desired: rollout.spec.replicas.unwrap_or(1),
        current: status.replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
    }
}

/// When an object was made.
pub(super) fn created_at(metadata: &ObjectMeta) -> Option<Time> {
    let seconds = metadata.creation_timestamp.as_ref()?.0.as_second();
    DateTime::<Utc>::from_timestamp(seconds, 0).map(Time)
}

/// The ordinal number of the revision that a ReplicaSet carries; 0 when it carries none.
pub(super) fn revision_number(names: ApiNames, metadata: &ObjectMeta) -> u64 {
    annotation(metadata, names.revision_number_annotation())
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The revision label of an object.
pub(super) fn revision_label(names: ApiNames, metadata: &ObjectMeta) -> String {
    let labels = metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(names.revision_label())).cloned().unwrap_or_default()
}

/// An annotation of an object.
pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn revisions(names: ApiNames, objects: &Objects, status: &RolloutStatus) -> Vec<RevisionView> {
    let mut by_revision: BTreeMap<String, RevisionView> = BTreeMap::new();
    for set in &objects.replica_sets {
        let revision = revision_label(names, &set.metadata);
        let view = RevisionView {
            number: revision_number(names, &set.metadata),
            revision: revision.clone(),
            replica_set: Some(replica_set(set, &revision, objects, status)),
            analysis_runs: Vec::new(),
        };
        by_revision.insert(revision, view);
    }
    let mut runs: Vec<&AnalysisRun> = objects.runs.iter().collect();
    runs.sort_by_key(|run| (created_at(&run.metadata), run.metadata.name.clone()));
    for run in runs {
        let revision = revision_label(names, &run.metadata);
        by_revision
            .entry(revision.clone())
            .or_insert_with(|| RevisionView {
                number: 0,
                revision,
                replica_set: None,
                analysis_runs: Vec::new(),
            })
            .analysis_runs
            .push(run_view(run));
    }
    let mut views: Vec<RevisionView> = by_revision.into_values().collect();
    views.sort_by_key(|view| std::cmp::Reverse(view.number));
    views
}

fn replica_set(
    set: &ReplicaSet,
    revision: &str,
    objects: &Objects,
    status: &RolloutStatus,
) -> ReplicaSetView {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut pods: Vec<PodView> = objects
        .pods
        .iter()
        .filter(|pod| super::cluster::is_owned(&pod.metadata, uid))
        .map(pod_view)
        .collect();
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    let count = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let desired = count(set.spec.as_ref().and_then(|spec| spec.replicas));
    let live = set.status.as_ref();
    let available = count(live.and_then(|status| status.available_replicas));
    let existing = count(live.map(|status| status.replicas));
    let phase = if desired == 0 && existing == 0 {
        "ScaledDown"
    } else if pods.iter().any(PodView::is_broken) {
        "Degraded"
    } else if available == desired && existing == desired {
        "Healthy"
    } else {
        "Progressing"
    };
    ReplicaSetView {
        name: set.metadata.name.clone().unwrap_or_default(),
        phase,
        roles: roles(revision, status, &objects.rollout),
        created_at: created_at(&set.metadata),
        scale_down_at: status
            .scale_downs
            .iter()
            .find(|pending| pending.revision == revision)
            .map(|pending| pending.at),
        desired,
        available,
        pods,
    }
}

fn roles(revision: &str, status: &RolloutStatus, rollout: &Rollout) -> Vec<&'static str> {
    let mut roles = Vec::new();
    if revision.is_empty() {
        return roles;
    }
    let is_stable = revision == status.stable_rs;
    if is_stable {
        roles.push("stable");
    }
    if rollout.spec.strategy.blue_green.is_some() {
        if revision == status.blue_green.active_selector {
            roles.push("active");
        }
        if revision == status.blue_green.preview_selector {
            roles.push("preview");
        }
    } else if revision == status.current_pod_hash && !is_stable {
        roles.push("canary");
    }
    roles
}

fn images(objects: &Objects, revisions: &[RevisionView]) -> Vec<ImageView> {
    let mut images: Vec<ImageView> = Vec::new();
    let in_use = revisions.iter().filter_map(|view| view.replica_set.as_ref());
    for set in in_use.filter(|set| set.desired > 0 || !set.roles.is_empty()) {
        let Some(object) = objects
            .replica_sets
            .iter()
            .find(|object| object.metadata.name.as_deref() == Some(set.name.as_str()))
        else {
            continue;
        };
        let template = object.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let pod = template.and_then(|template| template.spec.as_ref());
        for image in pod.into_iter().flat_map(|pod| &pod.containers) {
            let Some(image) = &image.image else { continue };
            match images.iter_mut().find(|known| known.image == *image) {
                Some(known) => {
                    for role in &set.roles {
                        if !known.roles.contains(role) {
                            known.roles.push(role);
                        }
                    }
                }
                None => {
                    images.push(ImageView { image: image.clone(), roles: set.roles.clone() });
                }
            }
        }
    }
    images
}
