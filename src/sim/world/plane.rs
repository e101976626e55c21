//! The data plane: where requests really go. It is what the proxies were programmed with, which is
//! neither what the routes say now nor what their status says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::agenda::Time;
use super::companion::{Key, list_at, text_at};
use crate::sim::api::object;

/// Annotations of ingress-nginx, without the prefix, which installations may choose.
const CANARY: &str = "canary";
const CANARY_WEIGHT: &str = "canary-weight";
const CANARY_TOTAL: &str = "canary-weight-total";

/// What requests are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    /// A Gateway API HTTPRoute.
    HttpRoute,
    /// A Gateway API GRPCRoute.
    GrpcRoute,
    /// An Ingress of the nginx class, with the canary Ingresses beside it.
    Ingress,
    /// A Service, from inside of the cluster.
    Service,
}

/// What requests are sent to, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// What it is.
    pub kind: TargetKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// A target by name.
    pub fn new(kind: TargetKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A Service with its weight among those of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// Namespace and name of the Service.
    pub service: (String, String),
    /// Its weight; shares are weights by their sum.
    pub weight: u64,
}

/// What a route came to say to the proxies, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Since when.
    pub since: Time,
    /// Which route.
    pub route: Target,
    /// `metadata.generation` of the route.
    pub generation: i64,
    /// Backends of the rule that requests without special headers meet; empty when it is gone.
    pub backends: Vec<Weighted>,
}

/// What the proxies know.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    routes: BTreeMap<Target, Programmed>,
    /// Ready pods by Service.
    endpoints: BTreeMap<Key, BTreeSet<Key>>,
    history: Vec<InForce>,
}

#[derive(Clone, Debug)]
struct Programmed {
    backends: Vec<Weighted>,
    /// Of an Ingress: its hosts, and the share it takes from others as a canary.
    hosts: Vec<String>,
    canary: Option<(u64, u64)>,
}

/// A share of the requests to a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Which part of all requests, in 0..=1.
    pub share: f64,
    /// Namespace and name of the Service that it is sent to.
    pub service: (String, String),
    /// Namespace and name of the pods among which it is spread evenly; empty: nobody answers.
    pub pods: Vec<(String, String)>,
}

impl Plane {
    /// A route, or nothing in its place, takes force.
    pub(crate) fn program(&mut self, target: &Target, route: Option<&Value>, now: Time) {
        let programmed = route.map(|route| match target.kind {
            TargetKind::Ingress => ingress(route),
            TargetKind::HttpRoute | TargetKind::GrpcRoute | TargetKind::Service => {
                Programmed { backends: gateway_backends(route), hosts: Vec::new(), canary: None }
            }
        });
        let backends = programmed.as_ref().map(|one| one.backends.clone()).unwrap_or_default();
        let generation = route.map_or(0, object::generation);
        let entry = InForce { since: now, route: target.clone(), generation, backends };
        let last = self.history.iter().rev().find(|last| last.route == *target);
        if last.is_none_or(|last| {
            (last.generation, &last.backends) != (entry.generation, &entry.backends)
        }) {
            self.history.push(entry);
        }
        match programmed {
            Some(programmed) => self.routes.insert(target.clone(), programmed),
            None => self.routes.remove(target),
        };
    }

    /// The ready pods of a Service change.
    pub(crate) fn set_endpoints(&mut self, service: Key, pods: BTreeSet<Key>) {
        if pods.is_empty() {
            self.endpoints.remove(&service);
        } else {
            self.endpoints.insert(service, pods);
        }
    }

    /// Everything that took force, in order.
    pub(crate) fn history(&self) -> &[InForce] {
        &self.history
    }

    /// Where requests to `target` go; shares sum to 1. Nothing when the target does not exist: then
    /// nobody answers.
    pub(crate) fn branches(&self, target: &Target) -> Vec<Share> {
        let of_service = |service: &Key, share: f64| {
            let pods = self.endpoints.get(service).into_iter().flatten().cloned().collect();
            Share { share, service: service.clone(), pods }
        };
        if target.kind == TargetKind::Service {
            return vec![of_service(&target.key(), 1.0)];
        }
        let Some(route) = self.routes.get(target) else { return Vec::new() };
        let total: u64 = route.backends.iter().map(|backend| backend.weight).sum();
        let mut branches: Vec<Share> = route
            .backends
            .iter()
            .filter(|backend| backend.weight > 0)
            .map(|backend| of_service(&backend.service, ratio(backend.weight, total)))
            .collect();
        if target.kind == TargetKind::Ingress {
            self.divert(target, route, &mut branches);
        }
        branches
    }

    /// Canary Ingresses take their shares, one after the other. ingress-nginx passes over a canary
    /// whose backend has no endpoint.
    fn divert(&self, target: &Target, primary: &Programmed, branches: &mut Vec<Share>) {
        for (other, canary) in &self.routes {
            let is_beside = other.kind == TargetKind::Ingress
                && other.namespace == target.namespace
                && other != target
                && canary.hosts.iter().any(|host| primary.hosts.contains(host));
            let Some((weight, total)) = canary.canary.filter(|_| is_beside) else { continue };
            let Some(backend) = canary.backends.first() else { continue };
            let pods: Vec<Key> =
                self.endpoints.get(&backend.service).into_iter().flatten().cloned().collect();
            if pods.is_empty() || weight == 0 {
                continue;
            }
            let share = ratio(weight.min(total), total);
            for branch in branches.iter_mut() {
                branch.share *= 1.0 - share;
            }
            branches.push(Share { share, service: backend.service.clone(), pods });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "weights are far below 2^53")]
fn ratio(weight: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { weight as f64 / total as f64 }
}

/// The backends of the first rule that asks for no header, query or method, else of the first.
fn gateway_backends(route: &Value) -> Vec<Weighted> {
    let rules = list_at(route, &["spec", "rules"]);
    let is_plain = |rule: &&Value| {
        let matches = list_at(rule, &["matches"]);
        matches.is_empty()
            || matches.iter().any(|one| {
                ["headers", "queryParams", "method"].iter().all(|key| one.get(key).is_none())
            })
    };
    let rule = rules.iter().find(is_plain).or(rules.first());
    let backends = rule.map(|rule| list_at(rule, &["backendRefs"])).unwrap_or_default();
    let namespace = object::namespace(route);
    backends
        .iter()
        .map(|backend| {
            let given = object::text(backend, "namespace");
            let namespace = if given.is_empty() { namespace } else { given };
            Weighted {
                service: (namespace.to_owned(), object::text(backend, "name").to_owned()),
                weight: backend.get("weight").and_then(Value::as_u64).unwrap_or(1),
            }
        })
        .collect()
}

fn ingress(ingress: &Value) -> Programmed {
    let rules = list_at(ingress, &["spec", "rules"]);
    let annotations = object::at(ingress, &["metadata", "annotations"]).and_then(Value::as_object);
    let annotation = |name: &str| {
        let mut all = annotations.into_iter().flatten();
        let found = all.find(|(key, _)| key.rsplit('/').next() == Some(name));
        found.and_then(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let mut services = rules
        .iter()
        .flat_map(|rule| list_at(rule, &["http", "paths"]))
        .map(|path| text_at(path, &["backend", "service", "name"]))
        .chain([text_at(ingress, &["spec", "defaultBackend", "service", "name"])]);
    let service = services.find(|name| !name.is_empty());
    let number = |key: &str| annotation(key).parse::<u64>().ok();
    let is_canary = annotation(CANARY) == "true";
    let canary = || (number(CANARY_WEIGHT).unwrap_or(0), number(CANARY_TOTAL).unwrap_or(100));
    Programmed {
        backends: service
            .map(|name| Weighted {
                service: (object::namespace(ingress).to_owned(), name.to_owned()),
                weight: 1,
            })
            .into_iter()
            .collect(),
        hosts: rules.iter().map(|rule| object::text(rule, "host").to_owned()).collect(),
        canary: is_canary.then(canary),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    fn plane(services: &[(&str, &[&str])]) -> Plane {
        let mut plane = Plane::default();
        for (service, pods) in services {
            plane.set_endpoints(key(service), pods.iter().map(|pod| key(pod)).collect());
        }
        plane
    }

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn requests_follow_what_is_in_force_and_a_backend_without_pods_loses_its_share() {
        let mut plane = plane(&[("stable", &["a", "b"])]);
        let target = Target::new(TargetKind::HttpRoute, "shop", "web");
        assert!(plane.branches(&target).is_empty());
        let route = json!({
            "metadata": {"namespace": "shop", "name": "web", "generation": 3},
            "spec": {"rules": [
                {"matches": [{"headers": [{"name": "x"}]}], "backendRefs": [{"name": "canary"}]},
                {"backendRefs": [
                    {"name": "stable", "weight": 3}, {"name": "canary", "weight": 1},
                    {"name": "none", "weight": 0},
                ]},
            ]},
        });
        plane.program(&target, Some(&route), at(1));
        plane.program(&target, Some(&route), at(2));
        let branches = plane.branches(&target);
        assert_eq!(
            branches[0],
            Share { share: 0.75, service: key("stable"), pods: vec![key("a"), key("b")] }
        );
        assert_eq!(branches[1], Share { share: 0.25, service: key("canary"), pods: vec![] });
        assert_eq!(branches.len(), 2);
        assert_eq!(plane.history().len(), 1, "the same again is no news");
        plane.program(&target, None, at(3));
        assert!(plane.branches(&target).is_empty());
        assert_eq!(plane.history()[1].backends, []);
    }

    #[test]
    fn a_canary_ingress_takes_its_share_only_with_pods_behind_it() {
        let mut plane = plane(&[("stable", &["a"]), ("canary", &["b"])]);
        let ingress = |name: &str, service: &str, annotations: Value| {
            json!({
                "metadata": {"namespace": "shop", "name": name, "annotations": annotations},
                "spec": {"rules": [{"host": "shop.test", "http": {"paths": [
                    {"backend": {"service": {"name": service}}},
                ]}}]},
            })
        };
        let target = |name: &str| Target::new(TargetKind::Ingress, "shop", name);
        plane.program(&target("web"), Some(&ingress("web", "stable", json!({}))), at(1));
        let annotations = json!({
            "nginx.example.test/canary": "true", "nginx.example.test/canary-weight": "50",
            "nginx.example.test/canary-weight-total": "200",
        });
        let canary = ingress("web-canary", "canary", annotations);
        plane.program(&target("web-canary"), Some(&canary), at(1));
        let shares = |plane: &Plane| -> Vec<f64> {
            plane.branches(&target("web")).iter().map(|branch| branch.share).collect()
        };
        assert_eq!(shares(&plane), [0.75, 0.25]);
        plane.set_endpoints(key("canary"), BTreeSet::new());
        assert_eq!(shares(&plane), [1.0]);
    }
}
