//! `trafficRouting`: which router splits the traffic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// The routers that are not built yet.
    #[serde(flatten)]
    pub planned: crate::traffic::Planned,
}

/// A route that a step may create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManagedRoute {
    /// The route's name.
    pub name: String,
}
