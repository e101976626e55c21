//! Traffic providers: where the routes of a Rollout are and how a share of traffic is stored in
//! them. Everything here is pure: JSON in, JSON or an error out. Reading, writing and waiting are
//! `observe`'s and `act`'s.
//!
//! A provider is one file (an `impl Provider` and its lenses) and one line in `providers!` below.
//! From that line come the field in the CRD, validation, dispatch, RBAC, the row in the
//! documentation, and the law tests of `tests/traffic_laws.rs`.

mod change;
pub mod endpoints;
mod lens;
mod patch;
mod proportion;
mod provider;

pub use change::{Change, RouteObjects, change_to, read_route};
pub use lens::{
    Acceptance, Backends, Derivation, OwnerRef, ReadError, RouteLens, RouteRef, WriteError,
};
pub use patch::{Unguarded, guarded_patch};
pub use provider::{Capabilities, ConfigError, Example, Provider, RbacRule, example_backends};

use crate::api::values::RawObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares each provider's module, its field in [`Providers`] and its entry in [`registry`].
macro_rules! providers {
    ($( $field:literal => $module:ident::$config:ident, $summary:literal; )+) => {
        $( pub mod $module; )+

        /// The providers of a Rollout: the fields of `trafficRouting` that name routes. Several
        /// may be set together; each of their routes then gets the same weights.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub struct Providers {
            $(
                #[doc = $summary]
                #[serde(rename = $field, default, skip_serializing_if = "Option::is_none")]
                pub $module: Option<$module::$config>,
            )+
        }

        impl Providers {
            /// The field names of the providers that are set.
            pub fn names(&self) -> Vec<&'static str> {
                let set = [$( self.$module.is_some().then_some($field) ),+];
                set.into_iter().flatten().collect()
            }

            /// What is wrong with the configuration, whatever the cluster holds; empty when
            /// nothing is.
            pub fn problems(&self) -> Vec<ConfigError> {
                let mut problems = Vec::new();
                $(
                    let own = self.$module.as_ref().map(Provider::problems);
                    let own = own.into_iter().flatten();
                    problems.extend(own.map(|problem| problem.below($field)));
                )+
                problems
            }

            /// One lens for each route object, in the order of the registry and then of the
            /// configuration. Meaningful only without [`Providers::problems`].
            pub fn lenses(&self, to: &Backends) -> Vec<Box<dyn RouteLens>> {
                let mut lenses = Vec::new();
                $( lenses.extend(self.$module.iter().flat_map(|config| config.lenses(to))); )+
                lenses
            }

            /// What every provider that is set can carry; `None` when none is set.
            pub fn capabilities(&self) -> Option<Capabilities> {
                let set = [$(
                    self.$module.as_ref().map(|_| <$module::$config as Provider>::CAPABILITIES)
                ),+];
                set.into_iter().flatten().reduce(Capabilities::and)
            }
        }

        /// All providers of this build.
        pub fn registry() -> Vec<Registered> {
            vec![$( Registered {
                field: $field,
                summary: $summary,
                capabilities: <$module::$config as Provider>::CAPABILITIES,
                rules: <$module::$config as Provider>::RULES,
                examples: <$module::$config as Provider>::examples()
                    .into_iter()
                    .map(|example| Example {
                        config: Providers {
                            $module: Some(example.config),
                            ..Providers::default()
                        },
                        live: example.live,
                        source: example.source,
                    })
                    .collect(),
            } ),+]
        }
    };
}

providers! {
    "gatewayAPI" => gateway_api::GatewayApi, "HTTPRoutes and GRPCRoutes of the Gateway API.";
    "nginx" => nginx::Nginx, "The nginx Ingress controller, by a canary Ingress.";
}

/// Declares the routers of Argo Rollouts that are in the schema but not built.
macro_rules! planned {
    ($( $field:literal => $name:ident, $summary:literal; )+) => {
        /// Routers of Argo Rollouts that are in the schema, so that validation can refuse them by
        /// name.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub struct Planned {
            $(
                #[doc = $summary]
                #[serde(rename = $field, default, skip_serializing_if = "Option::is_none")]
                pub $name: Option<RawObject>,
            )+
        }

        impl Planned {
            /// The field names of all of them.
            pub const ALL: &'static [&'static str] = &[$( $field ),+];

            /// The field names of those that are set.
            pub fn names(&self) -> Vec<&'static str> {
                let set = [$( self.$name.is_some().then_some($field) ),+];
                set.into_iter().flatten().collect()
            }
        }
    };
}

planned! {
    "alb" => alb, "AWS Load Balancer Controller.";
    "ambassador" => ambassador, "Ambassador.";
    "apisix" => apisix, "Apache APISIX.";
    "appMesh" => app_mesh, "AWS App Mesh.";
    "istio" => istio, "Istio.";
    "plugins" => plugins, "Traffic router plug-ins of Argo Rollouts.";
    "smi" => smi, "Service Mesh Interface.";
    "traefik" => traefik, "Traefik's own TraefikService.";
}

/// One provider of this build, as data for validation, RBAC, documentation and tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// Its field under `trafficRouting`.
    pub field: &'static str,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// What its routes can carry.
    pub capabilities: Capabilities,
    /// The rights that the controller needs for it.
    pub rules: &'static [RbacRule],
    /// Examples for the law tests.
    pub examples: Vec<Example<Providers>>,
}

impl Registered {
    /// The row of the documentation's table: field, what it does, weights, header routes, mirrors.
    pub fn docs_row(&self) -> String {
        let word = |can: bool| if can { "yes" } else { "no" };
        let can = self.capabilities;
        format!(
            "| `{}` | {} | {} | {} | {} |",
            self.field,
            self.summary,
            word(can.weight),
            word(can.header_route),
            word(can.mirror)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn argo_manifests_are_read_and_written_back_as_they_were() {
        for text in [
            json!({"nginx": {"stableIngress": "web", "annotationPrefix": "custom.io",
                "additionalIngressAnnotations": {"canary-by-header": "X"}}}),
            json!({"nginx": {"stableIngresses": ["a", "b"]}}),
            json!({"gatewayAPI": {"httpRoute": "web"}}),
            json!({"gatewayAPI": {"grpcRoute": "web"}}),
            json!({"gatewayAPI": {"routes": [
                {"kind": "HTTPRoute", "name": "web", "rule": "main"},
                {"kind": "GRPCRoute", "name": "web"}]}}),
        ] {
            let config: Providers = serde_json::from_value(text.clone()).unwrap();
            assert_eq!(config.problems(), vec![]);
            assert_eq!(serde_json::to_value(&config).unwrap(), text);
        }
    }

    #[test]
    fn several_providers_have_one_lens_for_each_of_their_routes() {
        let config: Providers = serde_json::from_value(json!({
            "nginx": {"stableIngresses": ["a", "b"]}, "gatewayAPI": {"httpRoute": "web"}}))
        .unwrap();
        let lenses = config.lenses(&example_backends());
        let routes: Vec<_> = lenses.iter().map(|lens| lens.route().to_string()).collect();
        assert_eq!(
            routes,
            ["HTTPRoute `web`", "Ingress `shop-a-canary`", "Ingress `shop-b-canary`"]
        );
        assert_eq!(config.names(), ["gatewayAPI", "nginx"]);
        assert!(config.capabilities().unwrap().weight);
        assert_eq!(Providers::default().capabilities(), None);
    }

    #[test]
    fn planned_routers_are_named_and_never_a_built_one() {
        let given = json!({"istio": {"virtualService": {"name": "web"}}, "appMesh": {}});
        let planned: Planned = serde_json::from_value(given.clone()).unwrap();
        assert_eq!(planned.names(), ["appMesh", "istio"]);
        assert_eq!(serde_json::to_value(&planned).unwrap(), given);
        assert!(registry().iter().all(|entry| !Planned::ALL.contains(&entry.field)));
    }

    #[test]
    fn every_provider_says_what_it_needs_and_can() {
        for entry in registry() {
            assert!(!entry.rules.is_empty(), "{}", entry.field);
            assert!(!entry.examples.is_empty(), "{}", entry.field);
            assert!(entry.docs_row().starts_with(&format!("| `{}` |", entry.field)));
            for example in &entry.examples {
                assert_eq!(example.config.problems(), vec![], "{}", entry.field);
                for lens in example.config.lenses(&example_backends()) {
                    let source = lens.derivation().map(Derivation::source);
                    for object in [Some(lens.route()), source].into_iter().flatten() {
                        let is_granted = entry.rules.iter().any(|rule| {
                            rule.api_group == object.group()
                                && rule.resources.contains(&object.plural.as_str())
                        });
                        assert!(is_granted, "{object}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_schema_has_one_optional_field_for_each_provider() {
        let schema = schemars::schema_for!(Providers);
        let properties = schema.get("properties").and_then(Value::as_object).unwrap();
        let fields: Vec<_> = registry().iter().map(|entry| entry.field).collect();
        assert_eq!(properties.keys().collect::<Vec<_>>(), fields);
        assert_eq!(schema.get("required"), None);
    }
}
