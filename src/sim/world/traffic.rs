//! Simulated users: a steady number of requests a second to a target, spread over the pods that the
//! data plane knows, answered as the pods' versions behave.
//!
//! Between two moments at which anything changes, everything is constant, so the requests of such a
//! stretch are drawn at once: how many go where, fail or are slow are binomial numbers. A request
//! that meets no pod, or one that does not run, is lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agenda::Time;
use super::behaviour::VersionBehaviour;
use super::companion::Key;
use super::nodes::Nodes;
use super::plane::{Plane, Target};
use super::random::{Random, from_f64, to_f64};
use super::versions::{Manners, bounds};

/// Versions whose manners are kept.
const MOST_MANNERS: usize = 32;
/// Stretches that are remembered.
const MOST_STRETCHES: usize = 100_000;

/// A crowd of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Users {
    /// What they ask.
    pub target: Target,
    /// Requests per second, all of them together.
    pub per_second: f64,
}

/// How requests ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub sent: u64,
    /// Met no running pod.
    pub lost: u64,
    /// Answered with 500 by the application.
    pub errors: u64,
    /// Answered, by the tag of the image that answered.
    pub by_version: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.errors += other.errors;
        for (version, count) in &other.by_version {
            *self.by_version.entry(version.clone()).or_default() += count;
        }
    }

    /// Requests that this version answered.
    pub fn of(&self, version: &str) -> u64 {
        self.by_version.get(version).copied().unwrap_or(0)
    }
}

/// Answers of a pod since its containers started, or to what a proxy sent to a Service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counters {
    uid: String,
    restarts: u32,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    /// Requests that nobody answered; only a proxy sees them.
    pub(crate) lost: u64,
    /// Requests in each latency bucket, not cumulative; empty before the first.
    pub(crate) buckets: Vec<u64>,
    /// Those of them that failed, where that is kept.
    pub(crate) failed_buckets: Vec<u64>,
    /// What all answers took.
    pub(crate) sum_seconds: f64,
    /// What the answers that failed took.
    pub(crate) failed_seconds: f64,
}

impl Counters {
    fn add(&mut self, more: &Self) {
        self.succeeded += more.succeeded;
        self.failed += more.failed;
        self.sum_seconds += more.sum_seconds;
        self.failed_seconds += more.failed_seconds;
        add_each(&mut self.buckets, &more.buckets);
        add_each(&mut self.failed_buckets, &more.failed_buckets);
    }

    /// Begins again when the containers are others.
    fn belong_to(&mut self, uid: &str, restarts: u32) {
        if self.uid != uid || self.restarts != restarts {
            *self = Self { uid: uid.to_owned(), restarts, ..Self::default() };
        }
    }

    pub(crate) fn are_of(&self, uid: &str, restarts: u32) -> bool {
        self.uid == uid && self.restarts == restarts
    }
}

fn add_each(sums: &mut Vec<u64>, more: &[u64]) {
    sums.resize(more.len().max(sums.len()), 0);
    for (sum, count) in sums.iter_mut().zip(more) {
        *sum += count;
    }
}

#[derive(Clone, Debug)]
struct Crowd {
    users: Users,
    /// The part of a request that is not sent yet.
    carry: f64,
}

/// A stretch of time in which nothing changed.
#[derive(Clone, Debug)]
struct Stretch {
    from: Time,
    to: Time,
    crowd: String,
    tally: Tally,
}

/// Counters that tell apart through which Service requests came.
#[derive(Debug, Default)]
pub(crate) struct ByService {
    /// Of a pod: by pod and Service.
    pub(crate) pods: BTreeMap<(Key, Key), Counters>,
    /// Of the proxies: by target and Service.
    pub(crate) proxies: BTreeMap<(Target, Key), Counters>,
}

/// All users.
#[derive(Debug)]
pub(crate) struct Traffic {
    random: Random,
    crowds: BTreeMap<String, Crowd>,
    counters: BTreeMap<Key, Counters>,
    /// What pods and proxies have counted by Service; kept only in a versatile world.
    by_service: ByService,
    is_versatile: bool,
    /// Manners that are known, by version and whether it is still good.
    manners: Vec<(VersionBehaviour, bool, Arc<Manners>)>,
    totals: BTreeMap<String, Tally>,
    stretches: VecDeque<Stretch>,
    until: Time,
}

impl Traffic {
    pub(crate) fn new(seed: u64, is_versatile: bool, now: Time) -> Self {
        Self {
            random: Random::stream(seed, "traffic"),
            crowds: BTreeMap::new(),
            counters: BTreeMap::new(),
            by_service: ByService::default(),
            is_versatile,
            manners: Vec::new(),
            totals: BTreeMap::new(),
            stretches: VecDeque::new(),
            until: now,
        }
    }

    /// Begins, changes or (with none) ends a crowd.
    pub(crate) fn set(&mut self, name: &str, users: Option<Users>) {
        match users {
            Some(users) => {
                let carry = self.crowds.get(name).map_or(0.0, |crowd| crowd.carry);
                self.crowds.insert(name.to_owned(), Crowd { users, carry });
            }
            None => {
                self.crowds.remove(name);
            }
        }
    }

    /// Requests per second to targets of a namespace.
    pub(crate) fn load(&self, namespace: &str) -> f64 {
        let crowds = self.crowds.values().filter(|crowd| crowd.users.target.namespace == namespace);
        crowds.map(|crowd| crowd.users.per_second).sum()
    }

    /// What a pod has counted.
    pub(crate) fn counters(&self, pod: &Key, uid: &str, restarts: u32) -> Option<&Counters> {
        let counters = self.counters.get(pod)?;
        counters.are_of(uid, restarts).then_some(counters)
    }

    /// What is counted by Service.
    pub(crate) fn by_service(&self) -> &ByService {
        &self.by_service
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&mut self, pod: &Key) {
        self.counters.remove(pod);
        self.by_service.pods.retain(|(one, _), _| one != pod);
    }

    /// How the requests of a crowd ended since its beginning.
    pub(crate) fn total(&self, crowd: &str) -> Tally {
        self.totals.get(crowd).cloned().unwrap_or_default()
    }

    /// How the requests of a crowd ended that were sent in stretches within `from..to`.
    pub(crate) fn between(&self, crowd: &str, from: Time, to: Time) -> Tally {
        let mut tally = Tally::default();
        for stretch in &self.stretches {
            if stretch.crowd == crowd && stretch.from >= from && stretch.to <= to {
                tally.add(&stretch.tally);
            }
        }
        tally
    }

    /// Sends what was due between the last moment and `now`. To be called before anything changes.
    pub(crate) fn advance(&mut self, now: Time, plane: &Plane, nodes: &Nodes) {
        let from = self.until;
        self.until = from.max(now);
        let seconds = (now - from).as_seconds_f64();
        if seconds <= 0.0 {
            return;
        }
        let mut due = Vec::new();
        for (name, crowd) in &mut self.crowds {
            crowd.carry += crowd.users.per_second.max(0.0) * seconds;
            let sent = from_f64(crowd.carry);
            crowd.carry -= to_f64(sent);
            if sent > 0 {
                due.push((name.clone(), crowd.users.target.clone(), sent));
            }
        }
        for (name, target, sent) in due {
            let tally = self.send(sent, &target, now, plane, nodes);
            self.totals.entry(name.clone()).or_default().add(&tally);
            if self.stretches.len() >= MOST_STRETCHES {
                self.stretches.pop_front();
            }
            self.stretches.push_back(Stretch { from, to: now, crowd: name, tally });
        }
    }

    fn send(
        &mut self,
        sent: u64,
        target: &Target,
        now: Time,
        plane: &Plane,
        nodes: &Nodes,
    ) -> Tally {
        let branches = plane.branches(target);
        let shares: Vec<f64> = branches.iter().map(|branch| branch.share).collect();
        let counts = self.random.multinomial(sent, &shares);
        let mut tally = Tally { sent, ..Tally::default() };
        tally.lost = sent - counts.iter().sum::<u64>();
        for (branch, count) in branches.iter().zip(counts) {
            let each = self.random.multinomial(count, &vec![1.0; branch.pods.len()]);
            let mut lost = count - each.iter().sum::<u64>();
            for (pod, count) in branch.pods.iter().zip(each) {
                if !self.answer((pod, &branch.service, target), count, now, nodes, &mut tally) {
                    lost += count;
                }
            }
            tally.lost += lost;
            if self.is_versatile && lost > 0 {
                let key = (target.clone(), branch.service.clone());
                self.by_service.proxies.entry(key).or_default().lost += lost;
            }
        }
        tally
    }

    /// The manners of a version: worked out once for each, since a distribution is costly.
    fn manners(&mut self, version: &VersionBehaviour, since: Time, now: Time) -> Arc<Manners> {
        let is_good = Manners::is_good(version, since, now);
        let known = self.manners.iter().find(|known| known.1 == is_good && known.0 == *version);
        if let Some((.., manners)) = known {
            return manners.clone();
        }
        let manners = Arc::new(Manners::of(version, bounds(self.is_versatile), is_good));
        if self.manners.len() >= MOST_MANNERS {
            self.manners.clear();
        }
        self.manners.push((version.clone(), is_good, manners.clone()));
        manners
    }

    /// Has a pod answer requests that came through a Service of a target; whether it could.
    fn answer(
        &mut self,
        (pod, service, target): (&Key, &Key, &Target),
        count: u64,
        now: Time,
        nodes: &Nodes,
        tally: &mut Tally,
    ) -> bool {
        let Some((running, up)) = nodes.running(pod) else { return false };
        if count == 0 {
            return true;
        }
        let manners = self.manners(&running.version, up.since, now);
        let failed = self.random.binomial(count, manners.error_rate);
        let mut answers = Counters {
            succeeded: count - failed,
            failed,
            sum_seconds: to_f64(count) * manners.mean_seconds,
            failed_seconds: to_f64(failed) * manners.mean_seconds,
            ..Counters::default()
        };
        if self.is_versatile {
            answers.buckets = self.random.multinomial(count - failed, &manners.buckets);
            answers.failed_buckets = self.random.multinomial(failed, &manners.buckets);
            add_each(&mut answers.buckets, &answers.failed_buckets);
        } else {
            answers.buckets = self.random.multinomial(count, &manners.buckets);
        }
        let counters = self.counters.entry(pod.clone()).or_default();
        counters.belong_to(&running.uid, running.restarts);
        counters.add(&answers);
        if self.is_versatile {
            let key = (pod.clone(), service.clone());
            let counters = self.by_service.pods.entry(key).or_default();
            counters.belong_to(&running.uid, running.restarts);
            counters.add(&answers);
            let key = (target.clone(), service.clone());
            self.by_service.proxies.entry(key).or_default().add(&answers);
        }
        tally.errors += failed;
        *tally.by_version.entry(running.version_name.clone()).or_default() += count;
        true
    }
}
