//! The Deployment controller: enough of it to roll out, to scale and to be migrated from. It keeps
//! every old ReplicaSet, scales no two of them in proportion, and knows no progress deadline.

use std::sync::Arc;

use serde_json::{Value, json};

use super::agenda::{Agenda, Time};
use super::companion::{
    Context, DEPLOYMENTS, Key, REPLICA_SETS, concerned, count_at, is_controlled_by, key_of,
    list_at, named, owned_by, short_hash, text_at, with_condition,
};
use super::random::Random;
use crate::api::values::IntOrString;
use crate::sim::api::{Actor, Cluster, Entry, Identity, object};

const HASH: &str = "pod-template-hash";

/// The Deployment controller.
#[derive(Debug)]
pub(crate) struct Deployments {
    actor: Actor,
    random: Random,
    agenda: Agenda<Key>,
}

impl Deployments {
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        Self {
            actor: cluster.actor(Identity::admin("deployment-controller")),
            random: Random::stream(seed, "deployments"),
            agenda: Agenda::default(),
        }
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        let Some(key) = concerned(entry, &DEPLOYMENTS, ("Deployment", &REPLICA_SETS)) else {
            return;
        };
        let delay = self.random.within(ctx.behaviour.workloads.acts_after);
        self.agenda.by(key, ctx.now + delay);
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, ctx: Context<'_>) {
        while let Some(key) = self.agenda.take(ctx.now) {
            self.sync(&key, ctx);
        }
    }

    fn sync(&self, key: &Key, ctx: Context<'_>) {
        let Some(deployment) = ctx.cluster.get(&DEPLOYMENTS, &key.0, &key.1) else { return };
        if object::is_terminating(&deployment) {
            return;
        }
        let mut sets = ctx.cluster.list(&REPLICA_SETS, &key.0);
        sets.retain(|set| is_controlled_by(set, &deployment));
        let template = object::at(&deployment, &["spec", "template"]).cloned().unwrap_or_default();
        let hash = short_hash(&template.to_string());
        let at = sets.iter().position(|set| object::label(set, HASH) == Some(&hash));
        let new = at.map(|at| sets.remove(at));
        let is_paused = object::at(&deployment, &["spec", "paused"]) == Some(&Value::Bool(true));
        match &new {
            None if is_paused => {}
            None => {
                let number = sets.len() + 1;
                let _ = self.actor.create(replica_set(&deployment, &template, &hash, number));
            }
            Some(new) => self.scale_all(&deployment, new, &sets),
        }
        self.report(&deployment, new.as_ref(), &sets, ctx);
    }

    fn scale_all(&self, deployment: &Value, new: &Arc<Value>, old: &[Arc<Value>]) {
        let wanted = count_at(deployment, &["spec", "replicas"]).unwrap_or(1);
        let of = |set: &Value| count_at(set, &["spec", "replicas"]).unwrap_or(0);
        let available = |set: &Value| count_at(set, &["status", "availableReplicas"]).unwrap_or(0);
        let old_total: u32 = old.iter().map(|set| of(set)).sum();
        let is_recreated = text_at(deployment, &["spec", "strategy", "type"]) == "Recreate";
        if is_recreated {
            let pods: u32 =
                old.iter().filter_map(|set| count_at(set, &["status", "replicas"])).sum();
            for set in old {
                self.scale(set, 0);
            }
            if old_total == 0 && pods == 0 {
                self.scale(new, wanted);
            }
            return;
        }
        let bound = |field: &str| {
            let value = object::at(deployment, &["spec", "strategy", "rollingUpdate", field])?;
            serde_json::from_value::<IntOrString>(value.clone()).ok()?.as_count_or_percent().ok()
        };
        let surge = bound("maxSurge").map_or(1, |surge| surge.of_rounded_up(wanted));
        let missing = bound("maxUnavailable").map_or(0, |missing| missing.of_rounded_down(wanted));
        // Both zero would never move; the API takes that as one unavailable.
        let missing = if surge == 0 && missing == 0 { 1 } else { missing };
        let present = of(new);
        let room = (wanted + surge).saturating_sub(present + old_total);
        let goal = if present > wanted { wanted } else { present + room.min(wanted - present) };
        if goal != present {
            return self.scale(new, goal);
        }
        let must_stay = wanted.saturating_sub(missing);
        let new_missing = present.saturating_sub(available(new));
        let mut budget = (present + old_total).saturating_sub(must_stay + new_missing);
        for set in old {
            // What serves nobody goes first, then what the budget allows.
            let give = of(set).min(budget);
            if give > 0 {
                self.scale(set, of(set) - give);
                budget -= give;
            }
        }
    }

    fn scale(&self, set: &Arc<Value>, replicas: u32) {
        if count_at(set, &["spec", "replicas"]) != Some(replicas) {
            let patch = json!({"spec": {"replicas": replicas}});
            let _ = self.actor.merge(&REPLICA_SETS, named(&key_of(set)), "", patch);
        }
    }

    fn report(
        &self,
        deployment: &Value,
        new: Option<&Arc<Value>>,
        old: &[Arc<Value>],
        ctx: Context<'_>,
    ) {
        let of = |field: &str| {
            let all = old.iter().chain(new).filter_map(|set| count_at(set, &["status", field]));
            all.sum::<u32>()
        };
        let wanted = count_at(deployment, &["spec", "replicas"]).unwrap_or(1);
        let (replicas, available) = (of("replicas"), of("availableReplicas"));
        let updated = new.and_then(|set| count_at(set, &["status", "replicas"])).unwrap_or(0);
        let is_available = available >= wanted;
        let is_done = updated >= wanted && replicas == updated && is_available;
        let mut conditions = list_at(deployment, &["status", "conditions"]).to_vec();
        for (kind, is_true, reason) in [
            ("Available", is_available, "MinimumReplicasAvailable"),
            (
                "Progressing",
                true,
                if is_done { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
            ),
        ] {
            let status = if is_true { "True" } else { "False" };
            let one = json!({"type": kind, "status": status, "reason": reason});
            conditions = with_condition(&conditions, one, ctx.now);
        }
        let status = json!({
            "observedGeneration": object::generation(deployment), "replicas": replicas,
            "updatedReplicas": updated, "readyReplicas": of("readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": wanted.max(replicas).saturating_sub(available),
            "conditions": conditions,
        });
        if deployment.get("status") != Some(&status) {
            let mut new = deployment.clone();
            object::set_at(&mut new, &["status"], status);
            let _ = self.actor.update_status(new);
        }
    }
}

fn replica_set(deployment: &Value, template: &Value, hash: &str, number: usize) -> Value {
    let mut template = template.clone();
    object::set_at(&mut template, &["metadata", "labels", HASH], hash.into());
    let labels = object::at(&template, &["metadata", "labels"]).cloned().unwrap_or_default();
    let selector = object::at(deployment, &["spec", "selector"]).cloned();
    let mut selector = selector.unwrap_or_else(|| json!({}));
    object::set_at(&mut selector, &["matchLabels", HASH], hash.into());
    let min_ready = count_at(deployment, &["spec", "minReadySeconds"]).unwrap_or(0);
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", object::name(deployment)),
            "namespace": object::namespace(deployment), "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": number.to_string()},
            "ownerReferences": owned_by(deployment),
        },
        "spec": {
            "replicas": 0, "minReadySeconds": min_ready, "selector": selector,
            "template": template,
        },
    })
}
