//! What the log has said until now, as far as the invariants look at it.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sluice::sim::api::Entry;

use crate::manifests::{NAME, NAMESPACE};

/// A moment of the world.
pub(crate) type Time = DateTime<Utc>;

/// The freshness bound: what was so within this time may still be believed. Request timeout, lag of
/// watches and the longest time in flight.
pub(crate) const FRESH: TimeDelta = TimeDelta::seconds(40);

/// The label that names the revision.
pub(crate) const REVISION: &str = "sluice.dev/revision";

/// A number with its past.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(VecDeque<(Time, u32)>);

impl Recent {
    /// The number is this from `now` on.
    pub(crate) fn set(&mut self, now: Time, value: u32) {
        if self.0.back().is_some_and(|(_, last)| *last == value) {
            return;
        }
        self.0.push_back((now, value));
        // The oldest one that is kept began before the bound.
        while self.0.get(1).is_some_and(|(since, _)| *since <= now - FRESH) {
            self.0.pop_front();
        }
    }

    /// Every value that it had within the freshness bound.
    fn within(&self, now: Time) -> impl Iterator<Item = u32> {
        let from = now - FRESH;
        let first = self.0.iter().rposition(|(since, _)| *since <= from).unwrap_or(0);
        self.0.iter().skip(first).map(|(_, value)| *value)
    }

    /// The largest value within the freshness bound; 0 without any.
    pub(crate) fn most(&self, now: Time) -> u32 {
        self.within(now).max().unwrap_or(0)
    }

    /// The smallest value within the freshness bound; 0 without any.
    pub(crate) fn least(&self, now: Time) -> u32 {
        self.within(now).min().unwrap_or(0)
    }

    /// The value now.
    pub(crate) fn now(&self) -> u32 {
        self.0.back().map_or(0, |(_, value)| *value)
    }
}

/// What is known of a pod.
#[derive(Clone, Debug)]
struct Pod {
    revision: String,
    is_ready: bool,
}

/// What the log has said.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pods: BTreeMap<String, Pod>,
    slices: BTreeMap<String, (String, Vec<(String, bool)>)>,
    /// Ready pods by revision.
    pub(crate) ready: BTreeMap<String, Recent>,
    /// Ready endpoints by Service and revision.
    pub(crate) endpoints: BTreeMap<(String, String), Recent>,
    /// ReplicaSets by name.
    pub(crate) sets: BTreeMap<String, Value>,
    /// Services by name.
    pub(crate) services: BTreeMap<String, Value>,
    /// AnalysisRuns by name.
    pub(crate) runs: BTreeMap<String, Value>,
    /// The Rollout.
    pub(crate) rollout: Value,
    /// The route.
    pub(crate) route: Value,
    /// The shares that the route had, where they were confirmed, each from its time on.
    said: VecDeque<(Time, Option<BTreeMap<String, f64>>)>,
    /// `spec.replicas` of the Rollout.
    pub(crate) wanted: Recent,
    /// Image tags by revision.
    pub(crate) tags: BTreeMap<String, String>,
    /// Since when `spec.paused` is set.
    pub(crate) paused_since: Option<Time>,
    /// Since when an abort is asked for that is not recorded yet.
    pub(crate) abort_asked_since: Option<Time>,
}

/// A text at a path; empty when it is missing.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A count at a path; 0 when it is missing.
pub(crate) fn count(value: &Value, pointer: &str) -> u32 {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.and_then(|found| u32::try_from(found).ok()).unwrap_or(0)
}

/// Whether a path holds true.
pub(crate) fn is_set(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer) == Some(&Value::Bool(true))
}

/// The revision that a Service selects; empty when it selects by other labels only.
pub(crate) fn selected(service: &Value) -> &str {
    let selector = service.pointer("/spec/selector").and_then(|selector| selector.get(REVISION));
    selector.and_then(Value::as_str).unwrap_or_default()
}

/// Whether whoever programs the data plane says that it has taken the newest version of a route.
pub(crate) fn is_confirmed(route: &Value) -> bool {
    let generation = count(route, "/metadata/generation");
    let parents = route.pointer("/status/parents").and_then(Value::as_array);
    let says = |parent: &Value| {
        let conditions = parent.get("conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|condition| {
            text(condition, "/type") == "Accepted"
                && text(condition, "/status") == "True"
                && count(condition, "/observedGeneration") == generation
        })
    };
    parents.is_some_and(|parents| !parents.is_empty() && parents.iter().all(says))
}

/// The revision of a ReplicaSet or pod.
pub(crate) fn revision_of(object: &Value) -> &str {
    let labels = object.pointer("/metadata/labels").and_then(|labels| labels.get(REVISION));
    labels.and_then(Value::as_str).unwrap_or_default()
}

/// Percent of the requests by Service, as a route says it: of its last rule, which is the managed
/// one.
pub(crate) fn shares(route: &Value) -> BTreeMap<String, f64> {
    let rules = route.pointer("/spec/rules").and_then(Value::as_array);
    let backends = rules.and_then(|rules| rules.last()?.get("backendRefs")?.as_array());
    let weights: Vec<(String, u32)> = backends
        .into_iter()
        .flatten()
        .map(|backend| {
            let weight = backend.get("weight").map_or(1, |_| count(backend, "/weight"));
            (text(backend, "/name").to_owned(), weight)
        })
        .collect();
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    let share = |weight: u32| 100.0 * f64::from(weight) / f64::from(total.max(1));
    weights.into_iter().map(|(name, weight)| (name, share(weight))).collect()
}

impl View {
    /// Takes note of a change, after it was judged.
    pub(crate) fn take(&mut self, entry: &Entry) {
        let (now, name) = (entry.at, entry.name().to_owned());
        if entry.namespace() != NAMESPACE {
            return;
        }
        let current = entry.current().map(|object| Value::clone(object));
        match entry.resource.plural.as_str() {
            "pods" => {
                self.take_pod(name, current.as_ref());
                self.count(now);
            }
            "endpointslices" => {
                match current {
                    Some(slice) => self.slices.insert(name, endpoints_of(&slice)),
                    None => self.slices.remove(&name),
                };
                self.count(now);
            }
            "replicasets" => {
                if let Some(set) = &current {
                    let image = text(set, "/spec/template/spec/containers/0/image");
                    let tag = image.rsplit(':').next().unwrap_or_default().to_owned();
                    self.tags.insert(revision_of(set).to_owned(), tag);
                }
                replace(&mut self.sets, name, current);
            }
            "analysisruns" => replace(&mut self.runs, name, current),
            "services" => replace(&mut self.services, name, current),
            "httproutes" if name == NAME => {
                self.route = current.unwrap_or_default();
                let confirmed = is_confirmed(&self.route).then(|| shares(&self.route));
                self.said.push_back((now, confirmed));
                while self.said.get(1).is_some_and(|(since, _)| *since <= now - FRESH) {
                    self.said.pop_front();
                }
            }
            "rollouts" if name == NAME => {
                self.rollout = current.unwrap_or_default();
                self.wanted.set(now, count(&self.rollout, "/spec/replicas"));
                let is_paused = is_set(&self.rollout, "/spec/paused");
                self.paused_since = is_paused.then(|| self.paused_since.unwrap_or(now));
                let is_asked = is_set(&self.rollout, "/status/abort")
                    && self.rollout.pointer("/status/abortedAt").is_none();
                self.abort_asked_since = is_asked.then(|| self.abort_asked_since.unwrap_or(now));
            }
            _ => {}
        }
    }

    fn take_pod(&mut self, name: String, pod: Option<&Value>) {
        let Some(pod) = pod else {
            self.pods.remove(&name);
            return;
        };
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let is_ready = conditions.into_iter().flatten().any(|condition| {
            text(condition, "/type") == "Ready" && text(condition, "/status") == "True"
        });
        let is_leaving = pod.pointer("/metadata/deletionTimestamp").is_some();
        let revision = revision_of(pod).to_owned();
        self.pods.insert(name, Pod { revision, is_ready: is_ready && !is_leaving });
    }

    /// Counts ready pods and endpoints again.
    fn count(&mut self, now: Time) {
        let mut ready: BTreeMap<&str, u32> = BTreeMap::new();
        for pod in self.pods.values() {
            *ready.entry(&pod.revision).or_default() += u32::from(pod.is_ready);
        }
        for (revision, count) in &ready {
            self.ready.entry((*revision).to_owned()).or_default().set(now, *count);
        }
        for (revision, recent) in &mut self.ready {
            if !ready.contains_key(revision.as_str()) {
                recent.set(now, 0);
            }
        }
        let mut endpoints: BTreeMap<(String, String), u32> = BTreeMap::new();
        for (service, pods) in self.slices.values() {
            for (pod, is_ready) in pods {
                let Some(pod) = self.pods.get(pod) else { continue };
                let key = (service.clone(), pod.revision.clone());
                *endpoints.entry(key).or_default() += u32::from(*is_ready);
            }
        }
        for (key, recent) in &mut self.endpoints {
            recent.set(now, endpoints.remove(key).unwrap_or(0));
        }
        for (key, count) in endpoints {
            self.endpoints.entry(key).or_default().set(now, count);
        }
    }

    /// The most ready pods of a revision within the freshness bound.
    pub(crate) fn most_ready(&self, revision: &str, now: Time) -> u32 {
        self.ready.get(revision).map_or(0, |recent| recent.most(now))
    }

    /// The most ready endpoints of a Service within the freshness bound: of the revision that it
    /// selects, or of any when it selects by other labels.
    pub(crate) fn most_endpoints(&self, service: &str, revision: &str, now: Time) -> u32 {
        let of_service = self.endpoints.iter().filter(|((of, _), _)| of == service);
        let fitting = of_service.filter(|((_, of), _)| revision.is_empty() || of == revision);
        fitting.map(|(_, recent)| recent.most(now)).max().unwrap_or(0)
    }

    /// Whether shares like these were confirmed within the freshness bound.
    pub(crate) fn was_confirmed(
        &self,
        now: Time,
        are_meant: impl Fn(&BTreeMap<String, f64>) -> bool,
    ) -> bool {
        let first = self.said.iter().rposition(|(since, _)| *since <= now - FRESH).unwrap_or(0);
        self.said
            .iter()
            .skip(first)
            .any(|(_, confirmed)| confirmed.as_ref().is_some_and(&are_meant))
    }

    /// Percent of the requests that go to a revision by these shares and the selectors of now.
    pub(crate) fn share_of(&self, revision: &str, shares: &BTreeMap<String, f64>) -> f64 {
        let selects = |service: &str| {
            self.services.get(service).is_some_and(|service| selected(service) == revision)
        };
        shares.iter().filter(|(service, _)| selects(service)).map(|(_, share)| share).sum()
    }

    /// The revision of `spec.template`, as the status says.
    pub(crate) fn current(&self) -> &str {
        text(&self.rollout, "/status/currentPodHash")
    }

    /// The stable revision, as the status says.
    pub(crate) fn stable(&self) -> &str {
        text(&self.rollout, "/status/stableRS")
    }

    /// Whether the update is aborted.
    pub(crate) fn is_aborted(&self) -> bool {
        is_set(&self.rollout, "/status/abort")
    }

    /// Whether no write can be under way any more that was decided before the abort: it is recorded,
    /// or was asked for long enough ago.
    pub(crate) fn is_abort_known(&self, now: Time) -> bool {
        self.is_aborted() && self.abort_asked_since.is_none_or(|since| now - since > FRESH)
    }
}

fn replace(map: &mut BTreeMap<String, Value>, name: String, object: Option<Value>) {
    match object {
        Some(object) => map.insert(name, object),
        None => map.remove(&name),
    };
}

/// The Service of an EndpointSlice, and its pods with their readiness.
fn endpoints_of(slice: &Value) -> (String, Vec<(String, bool)>) {
    let labels = slice.pointer("/metadata/labels");
    let service = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
    let endpoints = slice.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let pods = endpoints.map(|endpoint| {
        (text(endpoint, "/targetRef/name").to_owned(), is_set(endpoint, "/conditions/ready"))
    });
    (service.and_then(Value::as_str).unwrap_or_default().to_owned(), pods.collect())
}
