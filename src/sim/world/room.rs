//! All companions behind one lock, stepped through time together: what changed is told to each, and
//! each does what is due, in a fixed order, until nothing is left to do at this moment.

use std::sync::Arc;

use chrono::TimeDelta;

use super::agenda::{Agenda, Time};
use super::agent::Agent;
use super::autoscaler::Autoscaler;
use super::behaviour::Behaviour;
use super::companion::{Context, PODS, key_of};
use super::deployments::Deployments;
use super::endpoints::Endpoints;
use super::gateway::Gateways;
use super::git::GitServer;
use super::jobs::Jobs;
use super::nodes::Nodes;
use super::order::{PodFault, Timed, Unfit};
use super::plane::Plane;
use super::prometheus::Prometheus;
use super::random::Random;
use super::replica_sets::ReplicaSets;
use super::traffic::Traffic;
use crate::sim::api::{Change, Cluster, Entry, object};

/// Rounds at one moment after which something runs in circles.
const MOST_ROUNDS: usize = 10_000;

/// All companions.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) behaviour: Behaviour,
    cluster: Cluster,
    git: GitServer,
    random: Random,
    nodes: Nodes,
    replica_sets: ReplicaSets,
    deployments: Deployments,
    jobs: Jobs,
    endpoints: Endpoints,
    autoscaler: Autoscaler,
    gateways: Gateways,
    pub(crate) plane: Plane,
    pub(crate) traffic: Traffic,
    pub(crate) prometheus: Prometheus,
    pub(crate) agents: Vec<Agent>,
    collection: Agenda<()>,
    /// Orders to come, by the number in which they were given.
    schedule: Agenda<usize>,
    orders: Vec<Timed>,
    /// Version of the cluster up to which changes were told.
    cursor: u64,
}

impl Room {
    pub(crate) fn new(
        cluster: &Cluster,
        git: &GitServer,
        behaviour: Behaviour,
        seed: u64,
        now: Time,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            git: git.clone(),
            random: Random::stream(seed, "room"),
            nodes: Nodes::new(cluster, behaviour.nodes.count, seed),
            replica_sets: ReplicaSets::new(cluster, seed),
            deployments: Deployments::new(cluster, seed),
            jobs: Jobs::new(cluster, seed),
            endpoints: Endpoints::new(cluster, seed),
            autoscaler: Autoscaler::new(cluster, seed),
            gateways: Gateways::new(cluster, seed),
            plane: Plane::default(),
            traffic: Traffic::new(seed, behaviour.prometheus.exports.is_some(), now),
            prometheus: Prometheus::new(seed, &behaviour.prometheus, now),
            agents: Vec::new(),
            collection: Agenda::default(),
            schedule: Agenda::default(),
            orders: Vec::new(),
            cursor: 0,
            behaviour,
        }
    }

    /// A delay out of a span.
    pub(crate) fn delay(&mut self, span: super::span::Span) -> TimeDelta {
        self.random.within(span)
    }

    /// Notes orders for their times.
    pub(crate) fn plan(&mut self, orders: Vec<Timed>, now: Time) {
        for order in orders {
            let at = now + self.random.within(order.after);
            self.schedule.at(self.orders.len(), at);
            self.orders.push(order);
        }
    }

    /// Takes an order that is due.
    pub(crate) fn due_order(&mut self, now: Time) -> Option<Timed> {
        let number = self.schedule.take(now)?;
        self.orders.get(number).cloned()
    }

    /// Orders that have not come yet.
    pub(crate) fn has_orders(&self) -> bool {
        self.schedule.next().is_some()
    }

    /// Lets users do what they did until now, before anything changes.
    pub(crate) fn advance(&mut self, now: Time) {
        self.traffic.advance(now, &self.plane, &self.nodes);
    }

    /// Does everything that is due at `now`; when something is due again.
    pub(crate) fn step(&mut self, now: Time) -> Option<Time> {
        self.advance(now);
        for _ in 0..MOST_ROUNDS {
            let entries = self.cluster.changes_since(self.cursor);
            if let Some(last) = entries.last() {
                self.cursor = last.version;
                for entry in &entries {
                    self.tell(entry, now);
                }
            } else if self.next().is_none_or(|next| next > now) {
                break;
            }
            self.act(now);
        }
        [self.next(), self.schedule.next()].into_iter().flatten().min()
    }

    fn tell(&mut self, entry: &Arc<Entry>, now: Time) {
        let ctx = Context { now, cluster: &self.cluster, behaviour: &self.behaviour };
        if entry.change == Change::Removed && entry.resource.plural == "pods" {
            self.traffic.forget(&key_of(&entry.object));
        }
        let ends = entry.change == Change::Removed || object::is_terminating(&entry.object);
        if ends || entry.old.is_none() {
            let delay = self.random.within(ctx.behaviour.workloads.collects_after);
            self.collection.by((), now + delay);
        }
        self.nodes.notice(entry, ctx);
        self.replica_sets.notice(entry, ctx);
        self.deployments.notice(entry, ctx);
        self.jobs.notice(entry, ctx);
        self.endpoints.notice(entry, ctx);
        self.autoscaler.notice(entry, ctx);
        self.gateways.notice(entry, ctx);
    }

    /// When a companion wants to act.
    fn next(&self) -> Option<Time> {
        let behaviour = &self.behaviour;
        let workloads = [
            self.replica_sets.next(),
            self.deployments.next(),
            self.jobs.next(),
            self.collection.next(),
        ];
        let workloads = workloads.into_iter().flatten().min();
        [
            workloads.filter(|_| !behaviour.workloads.is_stopped),
            self.endpoints.next().filter(|_| !behaviour.endpoints.is_stopped),
            self.autoscaler.next().filter(|_| !behaviour.autoscaler.is_stopped),
            self.nodes.next(),
            self.gateways.next(),
            Some(self.prometheus.next()),
            self.agents.iter().map(Agent::next).min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn act(&mut self, now: Time) {
        let ctx = Context { now, cluster: &self.cluster, behaviour: &self.behaviour };
        for agent in &mut self.agents {
            agent.act(&self.git, ctx);
        }
        if !ctx.behaviour.autoscaler.is_stopped {
            let traffic = &self.traffic;
            self.autoscaler.act(ctx, |namespace| traffic.load(namespace));
        }
        if !ctx.behaviour.workloads.is_stopped {
            self.deployments.act(ctx);
            self.jobs.act(ctx);
            self.replica_sets.act(ctx);
            if self.collection.take(now).is_some() {
                self.cluster.collect_garbage();
            }
        }
        self.nodes.act(ctx);
        if !ctx.behaviour.endpoints.is_stopped {
            self.endpoints.act(ctx);
        }
        self.gateways.act(&mut self.plane, ctx);
        self.prometheus.act(&self.traffic, &self.nodes, ctx);
    }

    /// The companions behave otherwise from now on.
    pub(crate) fn behave(&mut self, behaviour: Behaviour, now: Time) {
        self.advance(now);
        let old = std::mem::replace(&mut self.behaviour, behaviour);
        self.git.behave(self.behaviour.git.clone());
        let ctx = Context { now, cluster: &self.cluster, behaviour: &self.behaviour };
        if old.versions != self.behaviour.versions {
            self.nodes.reconsider(ctx);
        }
        if old.gateway != self.behaviour.gateway {
            self.gateways.reconsider(ctx);
        }
    }

    /// Loses a node for a while.
    pub(crate) fn lose_node(&mut self, name: &str, lasts: super::span::Span, now: Time) {
        self.advance(now);
        let lasts = self.random.within(lasts);
        let ctx = Context { now, cluster: &self.cluster, behaviour: &self.behaviour };
        self.nodes.lose(name, lasts, ctx);
    }

    /// Something happens to one pod.
    ///
    /// # Errors
    /// [`Unfit`] when no pod has these labels.
    pub(crate) fn strike_pod(
        &mut self,
        namespace: &str,
        labels: &std::collections::BTreeMap<String, String>,
        nth: usize,
        fault: PodFault,
        now: Time,
    ) -> Result<(), Unfit> {
        self.advance(now);
        let mut pods = self.cluster.list(&PODS, namespace);
        pods.retain(|pod| labels.iter().all(|(key, value)| object::label(pod, key) == Some(value)));
        let chosen = nth.checked_rem(pods.len()).and_then(|nth| pods.get(nth));
        let Some(pod) = chosen else {
            return Err(Unfit(format!("no pod in {namespace} has the labels {labels:?}")));
        };
        let key = key_of(pod);
        let ctx = Context { now, cluster: &self.cluster, behaviour: &self.behaviour };
        match fault {
            PodFault::Evicted => self.nodes.evict(&key, ctx),
            PodFault::Crashes => self.nodes.crash(&key, ctx),
            PodFault::Unready(lasts) => {
                let lasts: TimeDelta = self.random.within(lasts);
                self.nodes.hold_back(&key, lasts, ctx);
            }
            PodFault::Deleted => {
                let person = self.cluster.actor(crate::sim::api::Identity::admin("kubectl"));
                let _ = person.delete(&PODS, (&key.0, &key.1));
            }
        }
        Ok(())
    }
}
