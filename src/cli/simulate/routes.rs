//! What users ask: the routes that the Rollout names, the Gateways of these, or a Service.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::intake::NoteKind;
use super::supply::{Shelf, text};
use crate::cli::error::CliError;
use crate::cli::lint::routes::backends;
use crate::cli::lint::set::{RolloutOf, routing, service_fields};
use crate::sim::world::{Target, TargetKind};
use crate::traffic::RouteRef;

impl Shelf<'_> {
    /// The routes that the Rollout names; what users ask, if it has any.
    pub(super) fn routes(&mut self) -> Result<Option<Target>, CliError> {
        let of = RolloutOf { manifest: self.rollout, spec: &self.team.spec };
        let Some(routing) = routing(&of) else { return Ok(None) };
        let to = backends(self.team.names, self.rollout, &routing);
        let configured = serde_json::to_value(&routing.providers).unwrap_or_default();
        let mut target = None;
        for lens in routing.providers.lenses(&to) {
            let route = match lens.derivation() {
                Some(derivation) => derivation.source(),
                None => lens.route(),
            };
            let kind = match route.kind.as_str() {
                "HTTPRoute" => TargetKind::HttpRoute,
                "GRPCRoute" => TargetKind::GrpcRoute,
                "Ingress" => TargetKind::Ingress,
                other => {
                    return Err(CliError::refused(
                        format!("routes of kind {other} are not modelled"),
                        "there are HTTPRoute, GRPCRoute and Ingress",
                    ));
                }
            };
            if target.is_none() {
                target = Some(Target::new(kind, &self.rollout.namespace, &route.name));
            } else {
                let text = format!(
                    "users ask {}, and not {} {}",
                    target.as_ref().map_or(String::new(), |one| one.name.clone()),
                    route.kind,
                    route.name
                );
                self.note(NoteKind::Assumed, text);
            }
            if !self.has(&route.kind, &self.rollout.namespace, &route.name) {
                let object =
                    self.route(&route, &to.stable_service, &to.canary_service, &configured);
                self.note(
                    NoteKind::StandIn,
                    format!(
                        "{} {}, named by spec.strategy.canary.trafficRouting",
                        route.kind, route.name
                    ),
                );
                self.objects.push(object);
            }
        }
        Ok(target)
    }

    fn route(&self, route: &RouteRef, stable: &str, canary: &str, configured: &Value) -> Value {
        let metadata = json!({"name": route.name, "namespace": self.rollout.namespace});
        let host = format!("{}.simulated", route.name);
        if route.kind == "Ingress" {
            let backend = json!({"service": {"name": stable, "port": {"number": 80}}});
            return json!({
                "apiVersion": route.api_version, "kind": route.kind, "metadata": metadata,
                "spec": {"ingressClassName": "nginx", "rules": [{
                    "host": host,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }]},
            });
        }
        let mut rule = json!({"backendRefs": [
            {"name": stable, "port": 80, "weight": 100}, {"name": canary, "port": 80, "weight": 0},
        ]});
        let routes = configured.pointer("/gatewayAPI/routes").and_then(Value::as_array);
        let own = routes.into_iter().flatten().find(|one| text(one, "/name") == route.name);
        if let (Some(name), Some(rule)) =
            (own.and_then(|own| own.get("rule")), rule.as_object_mut())
        {
            rule.insert("name".to_owned(), name.clone());
        }
        json!({
            "apiVersion": route.api_version, "kind": route.kind, "metadata": metadata,
            "spec": {
                "parentRefs": [{"name": "main", "namespace": "gateways"}], "hostnames": [host],
                "rules": [rule],
            },
        })
    }

    /// What users ask where no router is: a Service that selects the pods of all versions.
    pub(super) fn plain_target(&mut self) -> Target {
        let namespace = self.rollout.namespace.clone();
        if let Some(blue_green) = &self.team.spec.strategy.blue_green {
            return Target::new(TargetKind::Service, &namespace, &blue_green.active_service);
        }
        let own: BTreeSet<String> =
            service_fields(&self.team.spec).into_iter().map(|(_, name)| name.to_owned()).collect();
        let found = self.selecting().into_iter().find(|name| !own.contains(name));
        let name = found.unwrap_or_else(|| {
            let mut name = self.rollout.name.clone();
            if self.has("Service", &namespace, &name) || own.contains(&name) {
                name.push_str("-users");
            }
            self.note(
                NoteKind::StandIn,
                format!("Service {name}, through which users reach the pods of all versions"),
            );
            let service = self.service(&name);
            self.objects.push(service);
            name
        });
        Target::new(TargetKind::Service, &namespace, &name)
    }

    /// Gateways that routes name.
    pub(super) fn gateways(&mut self) -> Result<(), CliError> {
        let mut missing: BTreeSet<(String, String)> = BTreeSet::new();
        for route in &self.objects {
            let kind = text(route, "/kind");
            if !["HTTPRoute", "GRPCRoute"].contains(&kind) {
                continue;
            }
            let parents = route.pointer("/spec/parentRefs").and_then(Value::as_array);
            for parent in parents.into_iter().flatten() {
                if !["", "Gateway"].contains(&text(parent, "/kind")) {
                    return Err(CliError::refused(
                        format!(
                            "{kind} {}: spec.parentRefs: a route of a {} is not modelled",
                            text(route, "/metadata/name"),
                            text(parent, "/kind")
                        ),
                        "routes of a Gateway are",
                    ));
                }
                let own = text(route, "/metadata/namespace");
                let namespace = match text(parent, "/namespace") {
                    "" => own,
                    given => given,
                };
                let name = text(parent, "/name");
                let is_made = (namespace, name) == ("gateways", "main");
                if !is_made && !self.has("Gateway", namespace, name) {
                    missing.insert((namespace.to_owned(), name.to_owned()));
                }
            }
        }
        for (namespace, name) in missing {
            self.note(
                NoteKind::StandIn,
                format!("Gateway {name} of namespace {namespace}, named by a route"),
            );
            self.objects.insert(
                0,
                json!({
                    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": {"gatewayClassName": "simulated", "listeners": [{
                        "name": "http", "protocol": "HTTP", "port": 80,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }]},
                }),
            );
        }
        Ok(())
    }
}
