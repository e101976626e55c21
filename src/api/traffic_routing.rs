//! `trafficRouting`: which router splits the traffic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::RawObject;

/// The routers that split traffic between the stable and the canary Service.
///
/// The providers that are built come from the registry of the traffic room; those of Argo Rollouts
/// that are not built yet are in the schema, so that validation can refuse them by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficRouting {
    /// The built providers.
    #[serde(flatten)]
    pub providers: crate::traffic::Providers,
    /// The largest weight; a step's weight is a part of it. Default 100, at most 1,000,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_traffic_weight: Option<u32>,
    /// Routes that header and mirror steps may create, in order of precedence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managed_routes: Vec<ManagedRoute>,
    /// AWS Load Balancer Controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alb: Option<RawObject>,
    /// Istio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub istio: Option<RawObject>,
    /// Service Mesh Interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smi: Option<RawObject>,
    /// Ambassador.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambassador: Option<RawObject>,
    /// AWS App Mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_mesh: Option<RawObject>,
    /// Traefik's own TraefikService.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traefik: Option<RawObject>,
    /// Apache APISIX.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apisix: Option<RawObject>,
    /// Traffic router plug-ins of Argo Rollouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<RawObject>,
}

/// A route that a step may create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManagedRoute {
    /// The route's name.
    pub name: String,
}

impl TrafficRouting {
    /// Names of the providers that are set but not built yet.
    pub fn unbuilt(&self) -> Vec<&'static str> {
        [
            ("alb", &self.alb),
            ("istio", &self.istio),
            ("smi", &self.smi),
            ("ambassador", &self.ambassador),
            ("appMesh", &self.app_mesh),
            ("traefik", &self.traefik),
            ("apisix", &self.apisix),
            ("plugins", &self.plugins),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|_| name))
        .collect()
    }
}
