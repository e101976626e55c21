//! Scheduler, kubelets and node controller: what becomes of pods, and which of them really run.
//!
//! What a pod's status says and whether its containers run are two things: a node that is lost stops
//! serving at once, and is noticed later.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::agenda::{Agenda, Time};
use super::companion::{
    Context, Key, NODES, PODS, controller_of, is_over, key_of, list_at, named, text_at, time_at,
    with_condition,
};
use super::pods::{Life, Pod, Up, crash, next_flap, status_of, wants_readiness};
use super::random::Random;
use super::versions::{version_name, version_of};
use crate::sim::api::{Actor, Change, Cluster, Entry, Identity, object};

/// Time between two tries to place a pod or to pull an image.
const NEXT_TRY: TimeDelta = TimeDelta::seconds(10);

/// Scheduler, kubelets and node controller.
#[derive(Debug)]
pub(crate) struct Nodes {
    scheduler: Actor,
    kubelet: Actor,
    node_controller: Actor,
    random: Random,
    pods: BTreeMap<Key, Pod>,
    lost: BTreeMap<String, Lost>,
    agenda: Agenda<Duty>,
    next_address: u32,
    next_node: usize,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Duty {
    Pod(Key),
    Node(String),
}

/// A node that is gone for a while.
#[derive(Clone, Copy, Debug)]
struct Lost {
    noticed: Time,
    evicted: Time,
    back: Time,
}

impl Nodes {
    /// Nothing runs yet; the nodes are made.
    pub(crate) fn new(cluster: &Cluster, count: usize, seed: u64) -> Self {
        let actor = |user: &str| cluster.actor(Identity::admin(user));
        let kubelet = actor("kubelet");
        for number in 1..=count {
            let name = format!("node-{number}");
            let node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "spec": {}, "status": {},
            });
            // An empty cluster refuses none of them.
            let _ = kubelet.create(node);
        }
        Self {
            scheduler: actor("kube-scheduler"),
            kubelet,
            node_controller: actor("node-controller"),
            random: Random::stream(seed, "nodes"),
            pods: BTreeMap::new(),
            lost: BTreeMap::new(),
            agenda: Agenda::default(),
            next_address: 0,
            next_node: 0,
        }
    }

    /// A pod whose containers run on a node that is there.
    pub(crate) fn running(&self, key: &Key) -> Option<(&Pod, Up)> {
        let pod = self.pods.get(key)?;
        let up = pod.up()?;
        (!self.lost.contains_key(&pod.node)).then_some((pod, up))
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        if entry.resource.plural != "pods" || !entry.resource.group.is_empty() {
            return;
        }
        let key = key_of(&entry.object);
        if entry.change == Change::Removed {
            let is_it = |pod: &Pod| pod.uid == object::uid(&entry.object);
            if self.pods.get(&key).is_some_and(is_it) {
                self.pods.remove(&key);
                self.agenda.cancel(&Duty::Pod(key));
            }
            return;
        }
        let is_new = self.pods.get(&key).is_none_or(|pod| pod.uid != object::uid(&entry.object));
        if is_new {
            let pod = self.adopted(&entry.object, ctx);
            self.pods.insert(key.clone(), pod);
            self.plan(&key, ctx.now);
        }
        if object::is_terminating(&entry.object) {
            self.begin_to_end(&key, &entry.object, ctx);
        }
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, ctx: Context<'_>) {
        while let Some(duty) = self.agenda.take(ctx.now) {
            match duty {
                Duty::Pod(key) => self.tend(&key, ctx),
                Duty::Node(name) => self.tend_node(&name, ctx),
            }
        }
    }

    /// Learns that versions behave otherwise now.
    pub(crate) fn reconsider(&mut self, ctx: Context<'_>) {
        for (key, pod) in &mut self.pods {
            if let Some(object) = ctx.cluster.get(&PODS, &key.0, &key.1) {
                pod.version = version_of(&object, ctx.behaviour);
                if let Life::Up(up) = &mut pod.life {
                    up.ends_at = pod
                        .version
                        .crashes_after
                        .map(|after| up.since.max(ctx.now) + self.random.within(after));
                }
            }
            self.agenda.by(Duty::Pod(key.clone()), ctx.now);
        }
    }

    fn adopted(&mut self, object: &Value, ctx: Context<'_>) -> Pod {
        let delay = self.random.within(ctx.behaviour.nodes.schedules_after);
        let is_job = |owner: &Value| object::text(owner, "kind") == "Job";
        Pod {
            uid: object::uid(object).to_owned(),
            node: text_at(object, &["spec", "nodeName"]).to_owned(),
            address: String::new(),
            version_name: version_name(object),
            version: version_of(object, ctx.behaviour),
            is_of_job: controller_of(object).is_some_and(is_job),
            life: if is_over(object) { Life::Over } else { Life::Unplaced { at: ctx.now + delay } },
            restarts: 0,
            is_ready: false,
            unready_until: None,
            ends_at: None,
        }
    }

    /// The pod was told to end: it drains, within what is left of its grace period.
    fn begin_to_end(&mut self, key: &Key, object: &Value, ctx: Context<'_>) {
        let latest = time_at(object, &["metadata", "deletionTimestamp"]).unwrap_or(ctx.now);
        let grace = object::at(object, &["metadata", "deletionGracePeriodSeconds"]);
        let grace = TimeDelta::seconds(grace.and_then(Value::as_i64).unwrap_or(0));
        let Some(pod) = self.pods.get_mut(key) else { return };
        let is_running = matches!(pod.life, Life::Up(_));
        let drain = self.random.within(pod.version.drains_for);
        let drained = if is_running { ctx.now + drain.min(grace) } else { ctx.now };
        let ends_at = pod.ends_at.map_or(drained, |before| before.min(latest.max(ctx.now)));
        pod.ends_at = Some(ends_at);
        self.plan(key, ctx.now);
    }

    /// Notes when to look at a pod again.
    fn plan(&mut self, key: &Key, now: Time) {
        let Some(pod) = self.pods.get(key) else { return };
        let of_life = match &pod.life {
            Life::Unplaced { at } | Life::Starting { at, .. } => Some(*at),
            Life::BackOff { until } => Some(*until),
            Life::Over => None,
            Life::Up(up) => {
                let ready_at =
                    pod.unready_until.map_or(up.ready_at, |until| until.max(up.ready_at));
                let flap = pod.version.flaps.and_then(|flaps| next_flap(pod, flaps, now));
                let ready_at = (ready_at > now).then_some(ready_at);
                [ready_at, flap, up.ends_at].into_iter().flatten().min()
            }
        };
        match [of_life, pod.ends_at].into_iter().flatten().min() {
            Some(at) => self.agenda.at(Duty::Pod(key.clone()), at),
            None => self.agenda.cancel(&Duty::Pod(key.clone())),
        }
    }

    /// Looks at one pod and does what is due.
    fn tend(&mut self, key: &Key, ctx: Context<'_>) {
        let Some(pod) = self.pods.get(key).cloned() else { return };
        if self.lost.contains_key(&pod.node) {
            return;
        }
        if pod.ends_at.is_some_and(|at| at <= ctx.now) {
            return self.end(key);
        }
        match pod.life.clone() {
            Life::Unplaced { at } if at <= ctx.now => self.place(key, ctx),
            Life::Starting { at, .. } if at <= ctx.now => self.start(key, ctx),
            Life::BackOff { until } if until <= ctx.now => self.start(key, ctx),
            Life::Up(up) => self.watch(key, up, ctx),
            Life::Unplaced { .. } | Life::Starting { .. } | Life::BackOff { .. } | Life::Over => {}
        }
        self.plan(key, ctx.now);
    }

    fn place(&mut self, key: &Key, ctx: Context<'_>) {
        let nodes = ctx.cluster.list(&NODES, "");
        let names: Vec<&str> = nodes
            .iter()
            .map(|node| object::name(node))
            .filter(|name| !self.lost.contains_key(*name))
            .collect();
        let choice = names.get(self.next_node % names.len().max(1)).map(|name| (*name).to_owned());
        let Some(pod) = self.pods.get_mut(key) else { return };
        let bound = choice.filter(|_| !ctx.behaviour.nodes.is_full).filter(|node| {
            let binding = json!({"spec": {"nodeName": node}});
            self.scheduler.merge(&PODS, named(key), "", binding).is_ok()
        });
        let Some(node) = bound else {
            pod.life = Life::Unplaced { at: ctx.now + NEXT_TRY };
            return;
        };
        self.next_node += 1;
        self.next_address += 1;
        let number = self.next_address;
        pod.address = format!("10.244.{}.{}", number / 250 % 250, number % 250 + 1);
        pod.node = node;
        let after = pod.version.starts_after.unwrap_or(ctx.behaviour.nodes.starts_after);
        let at = ctx.now + self.random.within(after);
        pod.life = Life::Starting { at, why: "ContainerCreating" };
        self.report(key, ctx.now);
    }

    fn start(&mut self, key: &Key, ctx: Context<'_>) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        if pod.version.image_is_missing {
            let is_first = pod.life == Life::Starting { at: ctx.now, why: "ContainerCreating" };
            let why = if is_first { "ErrImagePull" } else { "ImagePullBackOff" };
            pod.life = Life::Starting { at: ctx.now + NEXT_TRY, why };
            return self.report(key, ctx.now);
        }
        let ready_after = pod.version.ready_after.unwrap_or(ctx.behaviour.nodes.ready_after);
        let ends_after = match pod.version.crashes_after {
            None if pod.is_of_job => Some(pod.version.runs_for),
            crash => crash,
        };
        pod.life = Life::Up(Up {
            since: ctx.now,
            ready_at: ctx.now + self.random.within(ready_after),
            ends_at: ends_after.map(|after| ctx.now + self.random.within(after)),
        });
        self.report(key, ctx.now);
    }

    fn watch(&mut self, key: &Key, up: Up, ctx: Context<'_>) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        if up.ends_at.is_some_and(|at| at <= ctx.now) {
            pod.is_ready = false;
            if pod.is_of_job {
                pod.life = Life::Over;
            } else {
                crash(pod, up, ctx.now);
            }
            return self.report(key, ctx.now);
        }
        let is_ready = wants_readiness(pod, up, ctx.now);
        if is_ready != pod.is_ready {
            pod.is_ready = is_ready;
            self.report(key, ctx.now);
        }
    }

    /// The containers are gone, and so is the pod.
    fn end(&mut self, key: &Key) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        pod.life = Life::Over;
        pod.ends_at = None;
        let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}});
        // Somebody who was faster is fine.
        let _ = self.kubelet.delete_with(&PODS, named(key), now);
    }

    /// Writes the status of a pod.
    fn report(&self, key: &Key, now: Time) {
        let Some(pod) = self.pods.get(key) else { return };
        let Some(object) = self.kubelet.cluster().get(&PODS, &key.0, &key.1) else { return };
        if object::uid(&object) != pod.uid {
            return;
        }
        let status = status_of(pod, &object, now);
        // A pod that is gone meanwhile needs none.
        let _ = self.kubelet.merge(&PODS, named(key), "status", json!({"status": status}));
    }

    /// Loses a node for a while: what runs on it stops at once.
    pub(crate) fn lose(&mut self, name: &str, lasts: TimeDelta, ctx: Context<'_>) {
        let nodes = &ctx.behaviour.nodes;
        let lost = Lost {
            noticed: ctx.now + self.random.within(nodes.noticed_after),
            evicted: ctx.now + self.random.within(nodes.evicted_after),
            back: ctx.now + lasts,
        };
        self.agenda.at(Duty::Node(name.to_owned()), lost.noticed.min(lost.back));
        self.lost.insert(name.to_owned(), lost);
    }

    fn tend_node(&mut self, name: &str, ctx: Context<'_>) {
        let Some(lost) = self.lost.get(name).copied() else { return };
        let on_node: BTreeSet<Key> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.node == name && pod.life != Life::Over)
            .map(|(key, _)| key.clone())
            .collect();
        if lost.back <= ctx.now {
            self.lost.remove(name);
            for key in on_node {
                if let Some(pod) = self.pods.get_mut(&key)
                    && pod.up().is_some()
                {
                    // Its containers start again.
                    pod.restarts += 1;
                    pod.is_ready = false;
                    pod.life = Life::BackOff { until: ctx.now };
                }
                self.agenda.at(Duty::Pod(key), ctx.now);
            }
            return;
        }
        if lost.evicted <= ctx.now {
            for key in &on_node {
                // It stays until the node is back or somebody forces it.
                let _ = self.node_controller.delete(&PODS, named(key));
            }
            self.agenda.at(Duty::Node(name.to_owned()), lost.back);
            return;
        }
        for key in &on_node {
            self.mark_unready(key, ctx);
        }
        self.agenda.at(Duty::Node(name.to_owned()), lost.evicted.min(lost.back));
    }

    fn mark_unready(&self, key: &Key, ctx: Context<'_>) {
        let Some(pod) = ctx.cluster.get(&PODS, &key.0, &key.1) else { return };
        let old = list_at(&pod, &["status", "conditions"]);
        let ready = json!({"type": "Ready", "status": "False", "reason": "NodeNotReady"});
        let conditions = with_condition(old, ready, ctx.now);
        let patch = json!({"status": {"conditions": conditions}});
        let _ = self.node_controller.merge(&PODS, named(key), "status", patch);
    }

    /// Evicts a pod: it fails, and stays as a failed pod.
    pub(crate) fn evict(&mut self, key: &Key, ctx: Context<'_>) {
        let Some(pod) = self.pods.get_mut(key) else { return };
        pod.life = Life::Over;
        pod.is_ready = false;
        let status = json!({
            "phase": "Failed", "reason": "Evicted", "message": "The node was low on memory.",
            "conditions": with_condition(&[], json!({
                "type": "Ready", "status": "False", "reason": "PodFailed",
            }), ctx.now),
        });
        let _ = self.kubelet.merge(&PODS, named(key), "status", json!({"status": status}));
        self.plan(key, ctx.now);
    }

    /// Ends the containers of a pod with an error, once.
    pub(crate) fn crash(&mut self, key: &Key, ctx: Context<'_>) {
        if let Some(pod) = self.pods.get_mut(key)
            && let Life::Up(up) = &mut pod.life
        {
            up.ends_at = Some(ctx.now);
            self.agenda.at(Duty::Pod(key.clone()), ctx.now);
        }
    }

    /// Keeps a pod out of readiness for a while.
    pub(crate) fn hold_back(&mut self, key: &Key, lasts: TimeDelta, ctx: Context<'_>) {
        if let Some(pod) = self.pods.get_mut(key) {
            pod.unready_until = Some(ctx.now + lasts);
            self.agenda.at(Duty::Pod(key.clone()), ctx.now);
        }
    }
}
