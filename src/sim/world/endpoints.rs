//! The EndpointSlice controller: says which pods stand behind a Service, some time after they do.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::agenda::{Agenda, Time};
use super::companion::{
    Context, Key, PODS, SERVICES, SLICES, fits, is_over, is_true, key_of, list_at, named, owned_by,
    service_selector, text_at,
};
use super::random::Random;
use crate::sim::api::{Actor, Cluster, Entry, Identity, object};

/// Most endpoints of one slice.
const MOST_ENDPOINTS: usize = 100;
/// The label by which a slice names its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The EndpointSlice controller.
#[derive(Debug)]
pub(crate) struct Endpoints {
    actor: Actor,
    random: Random,
    agenda: Agenda<Key>,
}

impl Endpoints {
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        Self {
            actor: cluster.actor(Identity::admin("endpointslice-controller")),
            random: Random::stream(seed, "endpoints"),
            agenda: Agenda::default(),
        }
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        match (entry.resource.group.as_str(), entry.resource.plural.as_str()) {
            ("", "services") => self.note(key_of(&entry.object), ctx),
            ("", "pods") => {
                for service in ctx.cluster.list(&SERVICES, entry.namespace()) {
                    let Some(selector) = service_selector(&service) else { continue };
                    let was = entry.old.as_ref().is_some_and(|old| fits(selector, old));
                    if was || fits(selector, &entry.object) {
                        self.note(key_of(&service), ctx);
                    }
                }
            }
            ("discovery.k8s.io", "endpointslices") => {
                if let Some(service) = object::label(&entry.object, SERVICE_NAME)
                    && entry.writer.user != "endpointslice-controller"
                {
                    self.note((entry.namespace().to_owned(), service.to_owned()), ctx);
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, service: Key, ctx: Context<'_>) {
        let lag = self.random.within(ctx.behaviour.endpoints.lag);
        self.agenda.by(service, ctx.now + lag);
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
        let Some(service) = ctx.cluster.get(&SERVICES, &key.0, &key.1) else { return };
        let Some(selector) = service_selector(&service) else { return };
        let mut wanted = chunks(&service, selector, ctx);
        let mut existing = ctx.cluster.list(&SLICES, &key.0);
        existing.retain(|slice| {
            object::label(slice, SERVICE_NAME) == Some(&key.1)
                && object::label(slice, MANAGED_BY) == Some(MANAGER)
        });
        for slice in existing {
            // The slice that has most of these ports already, else any.
            let at = wanted
                .iter()
                .position(|(ports, _)| slice.get("ports") == Some(ports))
                .or(if wanted.is_empty() { None } else { Some(0) });
            let Some(at) = at else {
                let _ = self.actor.delete(&SLICES, named(&key_of(&slice)));
                continue;
            };
            let (ports, endpoints) = wanted.remove(at);
            let mut new = Value::clone(&slice);
            object::set_at(&mut new, &["ports"], ports);
            object::set_at(&mut new, &["endpoints"], endpoints);
            if new != *slice {
                let _ = self.actor.update(new);
            }
        }
        for (ports, endpoints) in wanted {
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "generateName": format!("{}-", key.1), "namespace": key.0,
                    "labels": {SERVICE_NAME: key.1, MANAGED_BY: MANAGER},
                    "ownerReferences": owned_by(&service),
                },
                "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            });
            let _ = self.actor.create(slice);
        }
    }
}

/// Ports and endpoints of the slices that a Service should have; at least one.
fn chunks(service: &Value, selector: &Map<String, Value>, ctx: Context<'_>) -> Vec<(Value, Value)> {
    let mut by_ports: BTreeMap<String, (Value, Vec<Value>)> = BTreeMap::new();
    let shows_all = object::at(service, &["spec", "publishNotReadyAddresses"]);
    let shows_all = shows_all == Some(&Value::Bool(true));
    for pod in ctx.cluster.list(&PODS, object::namespace(service)) {
        let address = text_at(&pod, &["status", "podIP"]);
        if address.is_empty() || is_over(&pod) || !fits(selector, &pod) {
            continue;
        }
        let ports = ports_of(service, &pod);
        let is_serving = is_true(&pod, "Ready");
        let is_ending = object::is_terminating(&pod);
        let endpoint = json!({
            "addresses": [address],
            "conditions": {
                "ready": shows_all || (is_serving && !is_ending),
                "serving": is_serving, "terminating": is_ending,
            },
            "nodeName": text_at(&pod, &["spec", "nodeName"]),
            "targetRef": {
                "kind": "Pod", "namespace": object::namespace(&pod), "name": object::name(&pod),
                "uid": object::uid(&pod),
            },
        });
        by_ports.entry(ports.to_string()).or_insert((ports, Vec::new())).1.push(endpoint);
    }
    let mut chunks = Vec::new();
    for (ports, endpoints) in by_ports.into_values() {
        for chunk in endpoints.chunks(MOST_ENDPOINTS) {
            chunks.push((ports.clone(), Value::from(chunk)));
        }
    }
    if chunks.is_empty() {
        chunks.push((Value::Null, json!([])));
    }
    chunks
}

/// The ports of a Service as numbers of one pod; a name that the pod does not have is left out.
fn ports_of(service: &Value, pod: &Value) -> Value {
    let ports = list_at(service, &["spec", "ports"]).iter().filter_map(|port| {
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => named_port(pod, name)?,
            Some(number) if number.is_u64() => number.clone(),
            _ => port.get("port")?.clone(),
        };
        let protocol = port.get("protocol").cloned().unwrap_or_else(|| "TCP".into());
        Some(json!({"name": object::text(port, "name"), "port": number, "protocol": protocol}))
    });
    ports.collect()
}

fn named_port(pod: &Value, name: &str) -> Option<Value> {
    let containers = list_at(pod, &["spec", "containers"]);
    let mut ports = containers.iter().flat_map(|container| list_at(container, &["ports"]));
    ports.find(|port| object::text(port, "name") == name)?.get("containerPort").cloned()
}

/// Names of the pods that a slice says are ready, with the namespace that they are in.
pub(crate) fn ready_pods(slice: &Value) -> impl Iterator<Item = Key> + '_ {
    let has_ports = !list_at(slice, &["ports"]).is_empty();
    let endpoints = list_at(slice, &["endpoints"]).iter().filter(move |endpoint| {
        // Unknown counts as ready, as the API says.
        let ready = object::at(endpoint, &["conditions", "ready"]);
        has_ports && ready != Some(&Value::Bool(false))
    });
    endpoints.filter_map(|endpoint| {
        let pod = endpoint.get("targetRef")?;
        let namespace = object::text(pod, "namespace").to_owned();
        Some((namespace, object::text(pod, "name").to_owned()))
    })
}
