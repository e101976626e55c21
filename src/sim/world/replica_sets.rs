//! The ReplicaSet controller: keeps as many pods as asked for and says how many there are.
//!
//! It reads the store directly, so it needs none of the expectations of the real one. It adopts no
//! orphans.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::agenda::{Agenda, Time};
use super::companion::{
    Context, Key, PODS, REPLICA_SETS, concerned, condition, count_at, is_controlled_by, is_over,
    is_true, key_of, list_at, named, owned_by, text_at, time_at, with_condition,
};
use super::random::Random;
use crate::sim::api::{Actor, Cluster, Entry, Failure, Identity, object};

/// Waits between two tries to create pods.
const FIRST_BACK_OFF: TimeDelta = TimeDelta::seconds(1);
const LAST_BACK_OFF: TimeDelta = TimeDelta::minutes(1);

/// The ReplicaSet controller.
#[derive(Debug)]
pub(crate) struct ReplicaSets {
    actor: Actor,
    random: Random,
    agenda: Agenda<Key>,
    /// Tries in a row that could not create a pod.
    failures: BTreeMap<Key, u32>,
}

impl ReplicaSets {
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        Self {
            actor: cluster.actor(Identity::admin("replicaset-controller")),
            random: Random::stream(seed, "replicasets"),
            agenda: Agenda::default(),
            failures: BTreeMap::new(),
        }
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        let Some(key) = concerned(entry, &REPLICA_SETS, ("ReplicaSet", &PODS)) else { return };
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

    fn sync(&mut self, key: &Key, ctx: Context<'_>) {
        let Some(set) = ctx.cluster.get(&REPLICA_SETS, &key.0, &key.1) else {
            self.failures.remove(key);
            return;
        };
        let pods = active_pods(ctx.cluster, &set);
        let failure =
            if object::is_terminating(&set) { Ok(()) } else { self.manage(key, &set, &pods, ctx) };
        if failure.is_ok() {
            self.failures.remove(key);
        } else {
            let tries = self.failures.entry(key.clone()).or_default();
            let wait = FIRST_BACK_OFF * 2_i32.saturating_pow((*tries).min(6));
            *tries = tries.saturating_add(1);
            self.agenda.by(key.clone(), ctx.now + wait.min(LAST_BACK_OFF));
        }
        self.report(key, &set, &pods, failure.err(), ctx);
    }

    /// Creates or deletes pods; why not all could be created.
    fn manage(
        &mut self,
        key: &Key,
        set: &Value,
        pods: &[Arc<Value>],
        ctx: Context<'_>,
    ) -> Result<(), String> {
        let wanted =
            usize::try_from(count_at(set, &["spec", "replicas"]).unwrap_or(1)).unwrap_or(0);
        for _ in pods.len()..wanted {
            self.create_pod(key, set, ctx)?;
        }
        if pods.len() > wanted {
            let mut by_preference: Vec<&Arc<Value>> = pods.iter().collect();
            by_preference.sort_by_key(|pod| preference(pod, pods));
            for pod in by_preference.into_iter().take(pods.len() - wanted) {
                // Somebody who was faster is fine.
                let _ = self.actor.delete(&PODS, named(&key_of(pod)));
            }
        }
        Ok(())
    }

    fn create_pod(&self, key: &Key, set: &Value, ctx: Context<'_>) -> Result<(), String> {
        if let Some(quota) = ctx.behaviour.workloads.pod_quota {
            let pods = ctx.cluster.list(&PODS, &key.0);
            let used = pods.iter().filter(|pod| !is_over(pod)).count();
            if used >= usize::try_from(quota).unwrap_or(usize::MAX) {
                return Err(format!(
                    "pods {:?} is forbidden: exceeded quota: pods, requested: pods=1, used: \
                     pods={used}, limited: pods={quota}",
                    format!("{}-", key.1)
                ));
            }
        }
        let pod = pod_of_template(set, &["spec", "template"]);
        self.actor.create(pod).map(|_| ()).map_err(|failure: Failure| failure.message)
    }

    fn report(
        &mut self,
        key: &Key,
        set: &Value,
        pods: &[Arc<Value>],
        failure: Option<String>,
        ctx: Context<'_>,
    ) {
        let min_ready = i64::from(count_at(set, &["spec", "minReadySeconds"]).unwrap_or(0));
        let ready: Vec<&Arc<Value>> = pods.iter().filter(|pod| is_true(pod, "Ready")).collect();
        let mut available = 0;
        for pod in &ready {
            let since = condition(pod, "Ready")
                .and_then(|ready| time_at(ready, &["lastTransitionTime"]))
                .unwrap_or(ctx.now);
            let at = since + TimeDelta::seconds(min_ready);
            if min_ready == 0 || at <= ctx.now {
                available += 1;
            } else {
                self.agenda.by(key.clone(), at);
            }
        }
        let mut conditions = list_at(set, &["status", "conditions"]).to_vec();
        match failure {
            Some(message) => {
                let failed = json!({
                    "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
                    "message": message,
                });
                conditions = with_condition(&conditions, failed, ctx.now);
            }
            None => conditions.retain(|one| object::text(one, "type") != "ReplicaFailure"),
        }
        let mut status = json!({
            "replicas": pods.len(), "fullyLabeledReplicas": pods.len(),
            "readyReplicas": ready.len(), "availableReplicas": available,
            "observedGeneration": object::generation(set),
        });
        // Zeros are left out on the wire, but for `replicas`.
        if let Some(map) = status.as_object_mut() {
            map.retain(|field, value| field == "replicas" || *value != json!(0));
            if !conditions.is_empty() {
                map.insert("conditions".to_owned(), conditions.into());
            }
        }
        if set.get("status") == Some(&status) {
            return;
        }
        let mut new = set.clone();
        object::set_at(&mut new, &["status"], status);
        if self.actor.update_status(new).is_err() {
            // It changed in this very moment: its new version is looked at again.
            self.agenda.by(key.clone(), ctx.now + FIRST_BACK_OFF);
        }
    }
}

/// The pods of a ReplicaSet that are neither over nor ending.
fn active_pods(cluster: &Cluster, set: &Value) -> Vec<Arc<Value>> {
    let mut pods = cluster.list(&PODS, object::namespace(set));
    pods.retain(|pod| is_controlled_by(pod, set) && !is_over(pod) && !object::is_terminating(pod));
    pods
}

/// A pod as a workload's template at `path` has it, owned by that workload.
pub(crate) fn pod_of_template(owner: &Value, path: &[&str]) -> Value {
    let template = object::at(owner, path).cloned().unwrap_or_default();
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": template.get("metadata").cloned().unwrap_or_else(|| json!({})),
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    });
    for field in ["creationTimestamp", "name"] {
        object::remove_at(&mut pod, &["metadata", field]);
    }
    object::set_at(&mut pod, &["metadata", "namespace"], object::namespace(owner).into());
    let prefix = format!("{}-", object::name(owner));
    object::set_at(&mut pod, &["metadata", "generateName"], prefix.into());
    object::set_at(&mut pod, &["metadata", "ownerReferences"], owned_by(owner));
    pod
}

/// Order in which pods are given up, as the real controller has it (`ActivePodsWithRanks`), with the
/// name at its end where that one lets chance decide.
fn preference(pod: &Value, all: &[Arc<Value>]) -> impl Ord + use<> {
    let node = text_at(pod, &["spec", "nodeName"]);
    let phase = match text_at(pod, &["status", "phase"]) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let is_ready = is_true(pod, "Ready");
    let cost = object::metadata(pod)
        .and_then(|meta| meta.get("annotations")?.get("controller.kubernetes.io/pod-deletion-cost"))
        .and_then(Value::as_str)
        .and_then(|cost| cost.parse::<i64>().ok())
        .unwrap_or(0);
    let neighbours = all
        .iter()
        .filter(|other| is_true(other, "Ready") && text_at(other, &["spec", "nodeName"]) == node)
        .count();
    let ready_since = condition(pod, "Ready").and_then(|one| time_at(one, &["lastTransitionTime"]));
    let restarts = list_at(pod, &["status", "containerStatuses"])
        .iter()
        .filter_map(|one| count_at(one, &["restartCount"]))
        .max();
    let created = time_at(pod, &["metadata", "creationTimestamp"]);
    (
        !node.is_empty(),
        phase,
        is_ready,
        cost,
        Reverse(neighbours),
        Reverse(ready_since),
        Reverse(restarts),
        Reverse(created),
        object::name(pod).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_serve_nobody_are_given_up_first() {
        let pod = |name: &str, node: &str, phase: &str, ready: &str, created: &str| {
            Arc::new(json!({
                "metadata": {"name": name, "creationTimestamp": created},
                "spec": {"nodeName": node},
                "status": {"phase": phase, "conditions": [
                    {"type": "Ready", "status": ready, "lastTransitionTime": created},
                ]},
            }))
        };
        let (old, young) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let pods = [
            pod("old", "b", "Running", "True", old),
            pod("young", "c", "Running", "True", young),
            pod("crowded", "a", "Running", "True", old),
            pod("crowding", "a", "Running", "True", old),
            pod("broken", "d", "Running", "False", old),
            pod("starting", "d", "Pending", "False", old),
            pod("unplaced", "", "Pending", "False", old),
        ];
        let mut order: Vec<&Arc<Value>> = pods.iter().collect();
        order.sort_by_key(|pod| preference(pod, &pods));
        let names: Vec<&str> = order.iter().map(|pod| object::name(pod)).collect();
        let expected = ["unplaced", "starting", "broken", "crowded", "crowding", "young", "old"];
        assert_eq!(names, expected);
    }
}
