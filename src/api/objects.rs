//! Whole objects of our kinds: metadata, spec and status, and how a raw object becomes one.
//!
//! `kube::Resource` is implemented by hand with the group as a run-time value ([`ApiNames`]).
//! Watches carry raw objects, so that one malformed object never hides the others: it becomes a
//! [`Malformed`] of its own.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::analysis::{AnalysisRunSpec, AnalysisRunStatus, AnalysisTemplateSpec};
use super::git_credential::GitCredentialSpec;
use super::metrics_source::MetricsSourceSpec;
use super::names::{ApiNames, Kind, VERSION};
use super::rollout::RolloutSpec;
use super::status::RolloutStatus;

/// An object that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} is malformed at {path}: {problem}")]
pub struct Malformed {
    /// Kind of the object.
    pub kind: &'static str,
    /// Name of the object.
    pub name: String,
    /// Path of the field, for example `spec.strategy.canary.steps[0].setWeight`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { spec: $spec:ty, status: $status:ty },)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            /// API version, as read.
            #[serde(default, rename = "apiVersion", skip_serializing_if = "String::is_empty")]
            pub api_version: String,
            /// Kind, as read.
            #[serde(default, skip_serializing_if = "String::is_empty")]
            pub kind: String,
            /// Object metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// Desired state.
            pub spec: $spec,
            /// Observed state.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub status: Option<$status>,
        }

        impl $name {
            /// The kind.
            pub const KIND: Kind = Kind::$name;

            /// A new object with a spec and nothing else.
            pub fn new(names: ApiNames, metadata: ObjectMeta, spec: $spec) -> Self {
                Self {
                    api_version: names.api_version(),
                    kind: Self::KIND.as_str().to_owned(),
                    metadata,
                    spec,
                    status: None,
                }
            }

            /// Reads a raw object.
            ///
            /// # Errors
            /// [`Malformed`] names the object, the field and what is wrong.
            pub fn from_dynamic(object: &DynamicObject) -> Result<Self, Malformed> {
                from_dynamic(Self::KIND, object)
            }
        }

        impl Resource for $name {
            type DynamicType = ApiNames;
            type Scope = kube::core::DynamicResourceScope;
            fn kind(_: &ApiNames) -> Cow<'_, str> {
                Self::KIND.as_str().into()
            }
            fn group(names: &ApiNames) -> Cow<'_, str> {
                names.group().into()
            }
            fn version(_: &ApiNames) -> Cow<'_, str> {
                VERSION.into()
            }
            fn plural(_: &ApiNames) -> Cow<'_, str> {
                Self::KIND.plural().into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    )+};
}

/// The status of kinds that have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoStatus {}

objects! {
    /// A progressively delivered workload.
    Rollout { spec: RolloutSpec, status: RolloutStatus },
    /// Metrics of a namespace.
    AnalysisTemplate { spec: AnalysisTemplateSpec, status: NoStatus },
    /// Metrics of the cluster.
    ClusterAnalysisTemplate { spec: AnalysisTemplateSpec, status: NoStatus },
    /// One execution of templates.
    AnalysisRun { spec: AnalysisRunSpec, status: AnalysisRunStatus },
    /// Address and credentials of a metrics server, for a namespace.
    MetricsSource { spec: MetricsSourceSpec, status: NoStatus },
    /// Address and credentials of a metrics server, for the cluster.
    ClusterMetricsSource { spec: MetricsSourceSpec, status: NoStatus },
    /// The right to push that a platform team lends.
    ClusterGitCredential { spec: GitCredentialSpec, status: NoStatus },
}

fn from_dynamic<T: DeserializeOwned>(kind: Kind, object: &DynamicObject) -> Result<T, Malformed> {
    let malformed = |path: String, problem: String| Malformed {
        kind: kind.as_str(),
        name: object.metadata.name.clone().unwrap_or_default(),
        path,
        problem,
    };
    let value = serde_json::to_value(object)
        .map_err(|error| malformed("the whole object".to_owned(), error.to_string()))?;
    serde_path_to_error::deserialize(value)
        .map_err(|error| malformed(error.path().to_string(), error.inner().to_string()))
}
