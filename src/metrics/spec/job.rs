//! What a metric says to Kubernetes Jobs: the Job itself, as raw JSON. Data only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::values::RawObject;

/// A Job that runs once a measurement (`provider.job`). It succeeds when the Job completes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `labels` and `annotations` of the Job; nothing else is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<RawObject>,
    /// A `batch/v1` JobSpec. An argument from a Secret may stand only as the whole value of an
    /// environment variable; the pod then reads the Secret itself.
    pub spec: RawObject,
}
