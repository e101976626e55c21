//! Gateway API: HTTPRoute and GRPCRoute of `gateway.networking.k8s.io/v1`. The route is the user's;
//! only `backendRefs[].weight` is written, and only in rules that carry both Services.
//!
//! Which rules: the one that the Rollout names, else every rule that carries both the stable and
//! the canary Service. Two paths of one application are two rules, and both are to be split;
//! whoever wants only one of them names it. All other rules, filters and fields stay as they are.
//!
//! A weight is a share of the sum *within its rule*, 0 to 1,000,000, and a missing one is 1: so a
//! weight of 0 is always written out. Other backends of the rule keep their proportion to the two
//! of ours taken together (`proportion.rs`).
//!
//! Source: Gateway API v1.6, `HTTPBackendRef`, `BackendRef`, `BackendObjectReference`.

mod acceptance;
mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::rules::{SplitRule, split_rules};
use super::lens::{Acceptance, Backends, ReadError, RouteLens, RouteRef, WriteError};
use super::proportion::{Indivisible, divide, share};
use super::provider::{Capabilities, ConfigError, Example, Provider, RbacRule, check_name};
use crate::weight::Split;

const API_VERSION: &str = "gateway.networking.k8s.io/v1";

/// Routes of the Gateway API, in the Rollout's namespace: either one by its kind, or a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.httpRoute), has(self.grpcRoute), has(self.routes)].exists_one(set, set)",
    "message": "exactly one of httpRoute, grpcRoute and routes must be set",
}]))]
pub struct GatewayApi {
    /// Name of the HTTPRoute; every rule of it that carries both Services is split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub http_route: Option<String>,
    /// Name of the GRPCRoute; every rule of it that carries both Services is split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub grpc_route: Option<String>,
    /// Several routes, or one of which only a named rule is split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub routes: Option<Vec<Route>>,
}

/// One route object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Kind of the route.
    pub kind: RouteKind,
    /// Name of the route, in the Rollout's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name (`rules[].name`) of the one rule to split; default: every rule that carries both
    /// Services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub rule: Option<String>,
}

/// Kinds of routes whose backends have weights by request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteKind {
    /// HTTPRoute.
    #[serde(rename = "HTTPRoute")]
    Http,
    /// GRPCRoute.
    #[serde(rename = "GRPCRoute")]
    Grpc,
}

impl GatewayApi {
    fn all_routes(&self) -> Vec<Route> {
        let single = |kind, name: &String| Route { kind, name: name.clone(), rule: None };
        let http = self.http_route.iter().map(|name| single(RouteKind::Http, name));
        let grpc = self.grpc_route.iter().map(|name| single(RouteKind::Grpc, name));
        http.chain(grpc).chain(self.routes.iter().flatten().cloned()).collect()
    }
}

impl Provider for GatewayApi {
    const CAPABILITIES: Capabilities =
        Capabilities { weight: true, header_route: false, mirror: false };
    const RULES: &'static [RbacRule] = &[RbacRule {
        api_group: "gateway.networking.k8s.io",
        resources: &["httproutes", "grpcroutes"],
        verbs: &["get", "list", "watch", "patch"],
    }];

    fn problems(&self) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        let set = [self.http_route.is_some(), self.grpc_route.is_some(), self.routes.is_some()];
        match set.into_iter().filter(|is_set| *is_set).count() {
            0 => problems.push(ConfigError::new(
                "httpRoute",
                "is missing: set one of httpRoute, grpcRoute and routes",
            )),
            1 => {}
            _ => problems.push(ConfigError::new(
                "routes",
                "is not the only one: set exactly one of httpRoute, grpcRoute and routes",
            )),
        }
        problems.extend(self.http_route.iter().filter_map(|n| check_name("httpRoute", n)));
        problems.extend(self.grpc_route.iter().filter_map(|n| check_name("grpcRoute", n)));
        let routes = self.routes.as_deref();
        if routes.is_some_and(<[Route]>::is_empty) {
            problems.push(ConfigError::new("routes", "is empty: name a route"));
        }
        for (idx, route) in routes.into_iter().flatten().enumerate() {
            let earlier = routes.into_iter().flatten().take(idx);
            problems.extend(route.problems(idx, earlier));
        }
        problems
    }

    fn lenses(&self, _to: &Backends) -> Vec<Box<dyn RouteLens>> {
        self.all_routes().into_iter().map(|route| Box::new(route) as Box<dyn RouteLens>).collect()
    }

    fn examples() -> Vec<Example<Self>> {
        let route = |kind: &str, rules: Value| {
            json!({
                "apiVersion": API_VERSION,
                "kind": kind,
                "metadata": {"name": "shop", "namespace": "default", "uid": "route-uid",
                    "resourceVersion": "1", "generation": 1},
                "spec": {"parentRefs": [{"name": "web"}], "rules": rules},
            })
        };
        let both = json!([{"backendRefs": [{"name": "shop-stable", "port": 80, "weight": 100},
            {"name": "shop-canary", "port": 80, "weight": 0}]}]);
        let beside_others = json!([
            {"name": "health", "backendRefs": [{"name": "health", "port": 81}]},
            {"name": "main", "backendRefs": [{"name": "old", "port": 80, "weight": 10},
                {"name": "shop-stable", "port": 80, "weight": 90,
                    "filters": [{"type": "RequestHeaderModifier"}]},
                {"name": "shop-canary", "port": 80, "weight": 0}]},
        ]);
        let named = Route { kind: RouteKind::Http, name: "shop".into(), rule: Some("main".into()) };
        vec![
            Example {
                config: Self { http_route: Some("shop".into()), ..Self::default() },
                live: route("HTTPRoute", both.clone()),
                source: None,
            },
            Example {
                config: Self { grpc_route: Some("shop".into()), ..Self::default() },
                live: route("GRPCRoute", both),
                source: None,
            },
            Example {
                config: Self { routes: Some(vec![named]), ..Self::default() },
                live: route("HTTPRoute", beside_others),
                source: None,
            },
        ]
    }
}

impl Route {
    fn problems<'a>(
        &self,
        idx: usize,
        mut earlier: impl Iterator<Item = &'a Self>,
    ) -> Vec<ConfigError> {
        let mut problems = Vec::new();
        problems.extend(check_name(&format!("routes[{idx}].name"), &self.name));
        if self.rule.as_deref() == Some("") {
            let field = format!("routes[{idx}].rule");
            problems.push(ConfigError::new(&field, "is empty: name a rule or leave it out"));
        }
        // One object is one lens: two of them would overwrite each other's view of it.
        if earlier.any(|route| route.kind == self.kind && route.name == self.name) {
            let again = format!("repeats {}", self.route());
            problems.push(ConfigError::new(&format!("routes[{idx}]"), again));
        }
        problems
    }
}

impl RouteLens for Route {
    fn route(&self) -> RouteRef {
        let (kind, plural) = match self.kind {
            RouteKind::Http => ("HTTPRoute", "httproutes"),
            RouteKind::Grpc => ("GRPCRoute", "grpcroutes"),
        };
        RouteRef::new(API_VERSION, kind, plural, self.name.clone())
    }

    fn read(&self, live: &Value, to: &Backends) -> Result<Split, ReadError> {
        let rules = split_rules(self, live, to)?;
        let rules = rules.into_iter().collect::<Result<Vec<_>, _>>()?;
        let shares: Vec<_> = rules.iter().map(|rule| share(&rule.weights, to.total)).collect();
        let known = || shares.iter().flatten().copied();
        let none = Split::all_stable(to.total);
        let highest = known().fold(none, |a, b| if b.gives_canary_more_than(a) { b } else { a });
        if let Some((rule, _)) = rules.iter().zip(&shares).find(|(_, share)| share.is_none()) {
            return Err(self.no_traffic(rule, to, highest));
        }
        let lowest = known().fold(highest, |a, b| if a.gives_canary_more_than(b) { b } else { a });
        if lowest.same_share(highest) {
            Ok(highest)
        } else {
            Err(ReadError::Disagree { route: self.route().to_string(), highest, lowest })
        }
    }

    /// Taking all traffic from the canary is never held up by a rule that cannot be split: it is
    /// done in all the others, and what is wrong with that rule shows when the route is read back.
    fn write(&self, live: &Value, to: &Backends, split: Split) -> Result<Value, WriteError> {
        let mut desired = live.clone();
        let mut problem = None;
        let mut n_written = 0_usize;
        for rule in split_rules(self, live, to)? {
            match rule.map_err(WriteError::from).and_then(|rule| {
                let next = divide(&rule.weights, split)
                    .map_err(|why| self.indivisible(why, &rule, to, split))?;
                rule.set_weights(&mut desired, &next);
                Ok(())
            }) {
                Ok(()) => n_written += 1,
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        match problem {
            Some(problem) if n_written == 0 || !split.is_all_stable() => Err(problem),
            Some(_) | None => Ok(desired),
        }
    }

    fn acceptance(&self, live: &Value, to: &Backends) -> Acceptance {
        acceptance::acceptance(&self.route(), live, to)
    }

    fn is_weight_path(&self, pointer: &str) -> bool {
        let is_index = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
        let tokens: Vec<&str> = pointer.split('/').collect();
        match tokens.as_slice() {
            ["", "spec", "rules", rule, "backendRefs", backend, "weight"] => {
                is_index(rule) && is_index(backend)
            }
            _ => false,
        }
    }
}

impl Route {
    fn no_traffic(&self, rule: &SplitRule, to: &Backends, highest_elsewhere: Split) -> ReadError {
        ReadError::NoTraffic {
            route: self.route().to_string(),
            rule: rule.label.clone(),
            stable: to.stable_service.clone(),
            canary: to.canary_service.clone(),
            highest_elsewhere,
        }
    }

    fn indivisible(
        &self,
        problem: Indivisible,
        rule: &SplitRule,
        to: &Backends,
        split: Split,
    ) -> WriteError {
        match problem {
            Indivisible::TooFine => WriteError::TooFine {
                route: self.route().to_string(),
                rule: rule.label.clone(),
                split,
            },
            Indivisible::EmptyPool => self.no_traffic(rule, to, Split::all_stable(to.total)).into(),
        }
    }
}

#[cfg(test)]
mod tests;
