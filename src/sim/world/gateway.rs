//! Gateway and Ingress controllers: say in a route's status what they think of it, and programme the
//! proxies. The two have delays of their own, and neither waits for the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::agenda::{Agenda, Time};
use super::behaviour::RouteAnswer;
use super::companion::{
    Context, Key, SERVICES, SLICES, key_of, list_at, named, text_at, with_condition,
};
use super::endpoints::{SERVICE_NAME, ready_pods};
use super::pipeline::Pipeline;
use super::plane::{Plane, Target, TargetKind};
use super::random::Random;
use crate::sim::api::{Actor, Change, Cluster, Entry, Identity, KindName, object};

/// `spec.controllerName` of our GatewayClass.
pub(crate) const CONTROLLER_NAME: &str = "example.test/gateway-controller";
const GROUP: &str = "gateway.networking.k8s.io";
const GATEWAYS: KindName = KindName::of(GROUP, "gateways");

/// Gateway and Ingress controllers.
#[derive(Debug)]
pub(crate) struct Gateways {
    actor: Actor,
    random: Random,
    /// Routes to report on.
    reports: Agenda<Target>,
    /// Gateways to report on.
    gateway_reports: Agenda<Key>,
    /// Routes on their way to the proxies.
    routes: Pipeline<Target, Option<Arc<Value>>>,
    /// The last form of routes that does not reach the proxies.
    held: BTreeMap<Target, Option<Arc<Value>>>,
    /// Endpoints on their way to the proxies.
    endpoints: Pipeline<Key, BTreeSet<Key>>,
}

impl Gateways {
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        Self {
            actor: cluster.actor(Identity::admin("gateway-controller")),
            random: Random::stream(seed, "gateway"),
            reports: Agenda::default(),
            gateway_reports: Agenda::default(),
            routes: Pipeline::default(),
            held: BTreeMap::new(),
            endpoints: Pipeline::default(),
        }
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        let behaviour = &ctx.behaviour.gateway;
        if let Some(target) = route_of(entry) {
            let is_gone = entry.change == Change::Removed;
            if entry.subresource == "status" && !is_gone {
                return;
            }
            let delay = self.random.within(behaviour.programs_after);
            let route = (!is_gone).then(|| entry.object.clone());
            self.routes.send(target.clone(), ctx.now + delay, route);
            return self.note(target, ctx);
        }
        match (entry.resource.group.as_str(), entry.resource.plural.as_str()) {
            (GROUP, "gateways") if entry.subresource != "status" => {
                let delay = self.random.within(behaviour.reports_after);
                self.gateway_reports.by(key_of(&entry.object), ctx.now + delay);
            }
            ("discovery.k8s.io", "endpointslices") => {
                let Some(service) = object::label(&entry.object, SERVICE_NAME) else { return };
                let key = (entry.namespace().to_owned(), service.to_owned());
                let ready = ready_of(ctx.cluster, &key);
                let delay = self.random.within(behaviour.endpoints_after);
                self.endpoints.send(key, ctx.now + delay, ready);
            }
            // Whether a route's references resolve.
            ("", "services") if entry.change != Change::Modified => {
                for target in routes_in(ctx.cluster, entry.namespace()) {
                    self.note(target, ctx);
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, target: Target, ctx: Context<'_>) {
        if target.kind != TargetKind::Ingress {
            let delay = self.random.within(ctx.behaviour.gateway.reports_after);
            self.reports.by(target, ctx.now + delay);
        }
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Option<Time> {
        [
            self.reports.next(),
            self.gateway_reports.next(),
            self.routes.next(),
            self.endpoints.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, plane: &mut Plane, ctx: Context<'_>) {
        while let Some((service, pods)) = self.endpoints.take(ctx.now) {
            plane.set_endpoints(service, pods);
        }
        while let Some((target, route)) = self.routes.take(ctx.now) {
            if reaches_proxies(&target, ctx) {
                self.held.remove(&target);
                plane.program(&target, route.as_deref(), ctx.now);
            } else {
                self.held.insert(target, route);
            }
        }
        while let Some(key) = self.gateway_reports.take(ctx.now) {
            self.report_gateway(&key, ctx);
        }
        while let Some(target) = self.reports.take(ctx.now) {
            self.report(&target, ctx);
        }
    }

    /// Learns that it behaves otherwise now.
    pub(crate) fn reconsider(&mut self, ctx: Context<'_>) {
        let delay = self.random.within(ctx.behaviour.gateway.programs_after);
        for (target, route) in std::mem::take(&mut self.held) {
            self.routes.send(target, ctx.now + delay, route);
        }
        for target in routes_in(ctx.cluster, "") {
            self.note(target, ctx);
        }
    }

    fn report(&self, target: &Target, ctx: Context<'_>) {
        let kind = kind_of(target.kind);
        let Some(route) = ctx.cluster.get(&kind, &target.namespace, &target.name) else { return };
        let answer =
            if concerns(target, ctx) { ctx.behaviour.gateway.answer } else { RouteAnswer::Accepts };
        if answer == RouteAnswer::IsSilent {
            return;
        }
        let old = list_at(&route, &["status", "parents"]);
        let is_foreign = |entry: &&Value| object::text(entry, "controllerName") != CONTROLLER_NAME;
        let mut parents: Vec<Value> = old.iter().filter(is_foreign).cloned().collect();
        for parent in list_at(&route, &["spec", "parentRefs"]) {
            let namespace = match object::text(parent, "namespace") {
                "" => &target.namespace,
                given => given,
            };
            // Nobody speaks for a Gateway that does not exist.
            if ctx.cluster.get(&GATEWAYS, namespace, object::text(parent, "name")).is_none() {
                continue;
            }
            let before = old.iter().find(|entry| entry.get("parentRef") == Some(parent));
            let before = before.map(|entry| list_at(entry, &["conditions"])).unwrap_or_default();
            parents.push(json!({
                "parentRef": parent, "controllerName": CONTROLLER_NAME,
                "conditions": conditions(&route, answer, before, ctx),
            }));
        }
        if old != parents.as_slice() {
            let patch = json!({"status": {"parents": parents}});
            let _ = self.actor.merge(&kind, named(&target.key()), "status", patch);
        }
    }

    fn report_gateway(&mut self, key: &Key, ctx: Context<'_>) {
        let Some(gateway) = ctx.cluster.get(&GATEWAYS, &key.0, &key.1) else { return };
        let generation = object::generation(&gateway);
        let mut conditions = list_at(&gateway, &["status", "conditions"]).to_vec();
        for kind in ["Accepted", "Programmed"] {
            let one = json!({
                "type": kind, "status": "True", "reason": kind, "message": "",
                "observedGeneration": generation,
            });
            conditions = with_condition(&conditions, one, ctx.now);
        }
        let patch = json!({"status": {
            "conditions": conditions,
            "addresses": [{"type": "IPAddress", "value": "192.0.2.10"}],
        }});
        let _ = self.actor.merge(&GATEWAYS, named(key), "status", patch);
        for target in routes_in(ctx.cluster, "") {
            self.note(target, ctx);
        }
    }
}

/// What is said about one route to one of its parents.
fn conditions(
    route: &Value,
    answer: RouteAnswer,
    before: &[Value],
    ctx: Context<'_>,
) -> Vec<Value> {
    let generation = match answer {
        RouteAnswer::ReportsOldGeneration => object::generation(route) - 1,
        RouteAnswer::Accepts
        | RouteAnswer::Rejects
        | RouteAnswer::IsSilent
        | RouteAnswer::TakesPart => object::generation(route),
    };
    let missing = missing_service(route, ctx.cluster);
    let accepted = match answer {
        RouteAnswer::Rejects => {
            ("False", "UnsupportedValue", "a value is not supported".to_owned())
        }
        _ => ("True", "Accepted", String::new()),
    };
    let resolved = match missing {
        Some(name) => ("False", "BackendNotFound", format!("Service {name} does not exist")),
        None => ("True", "ResolvedRefs", String::new()),
    };
    let mut said = vec![("Accepted", accepted), ("ResolvedRefs", resolved)];
    if answer == RouteAnswer::TakesPart {
        let why = "a rule was dropped".to_owned();
        said.push(("PartiallyInvalid", ("True", "UnsupportedValue", why)));
    }
    let mut conditions = Vec::new();
    for (kind, (status, reason, message)) in said {
        let one = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "observedGeneration": generation,
        });
        let old: Vec<Value> =
            before.iter().filter(|one| object::text(one, "type") == kind).cloned().collect();
        conditions.extend(with_condition(&old, one, ctx.now));
    }
    conditions
}

/// The first backend of a route that does not exist.
fn missing_service(route: &Value, cluster: &Cluster) -> Option<String> {
    let rules = list_at(route, &["spec", "rules"]);
    let mut backends = rules.iter().flat_map(|rule| list_at(rule, &["backendRefs"]));
    let found = backends.find(|backend| {
        let given = object::text(backend, "namespace");
        let namespace = if given.is_empty() { object::namespace(route) } else { given };
        cluster.get(&SERVICES, namespace, object::text(backend, "name")).is_none()
    });
    found.map(|backend| text_at(backend, &["name"]).to_owned())
}

/// Whether the standing faults mean this route.
fn concerns(target: &Target, ctx: Context<'_>) -> bool {
    let only = &ctx.behaviour.gateway.only;
    only.is_empty() || only.contains(&format!("{}/{}", target.namespace, target.name))
}

fn reaches_proxies(target: &Target, ctx: Context<'_>) -> bool {
    let gateway = &ctx.behaviour.gateway;
    let is_taken = match gateway.answer {
        RouteAnswer::Rejects | RouteAnswer::TakesPart => target.kind == TargetKind::Ingress,
        RouteAnswer::Accepts | RouteAnswer::IsSilent | RouteAnswer::ReportsOldGeneration => true,
    };
    !concerns(target, ctx) || (gateway.programs && is_taken)
}

fn kind_of(kind: TargetKind) -> KindName {
    match kind {
        TargetKind::HttpRoute => KindName::of(GROUP, "httproutes"),
        TargetKind::GrpcRoute => KindName::of(GROUP, "grpcroutes"),
        TargetKind::Ingress => KindName::of("networking.k8s.io", "ingresses"),
        TargetKind::Service => SERVICES,
    }
}

fn route_of(entry: &Entry) -> Option<Target> {
    let kind = match (entry.resource.group.as_str(), entry.resource.plural.as_str()) {
        (GROUP, "httproutes") => TargetKind::HttpRoute,
        (GROUP, "grpcroutes") => TargetKind::GrpcRoute,
        ("networking.k8s.io", "ingresses") => TargetKind::Ingress,
        _ => return None,
    };
    Some(Target::new(kind, entry.namespace(), entry.name()))
}

/// The routes of a namespace; of all when it is empty.
fn routes_in(cluster: &Cluster, namespace: &str) -> Vec<Target> {
    let of = |kind: TargetKind| {
        let routes = cluster.list(&kind_of(kind), namespace).into_iter();
        routes.map(move |route| Target::new(kind, object::namespace(&route), object::name(&route)))
    };
    of(TargetKind::HttpRoute).chain(of(TargetKind::GrpcRoute)).collect()
}

/// The pods that the slices of a Service call ready.
fn ready_of(cluster: &Cluster, service: &Key) -> BTreeSet<Key> {
    let slices = cluster.list(&SLICES, &service.0);
    let ours = slices.iter().filter(|slice| object::label(slice, SERVICE_NAME) == Some(&service.1));
    ours.flat_map(|slice| ready_pods(slice)).collect()
}
