//! The CustomResourceDefinitions of our kinds, made from the Rust types: schema, subresources,
//! printer columns, and the rules of `crd/rules.rs` for what the types alone cannot say.
//!
//! Pure: it returns JSON, and never talks to a cluster nor writes a file. Defaults are left out on
//! purpose: the API server must keep a spec as its author wrote it. The one exception is
//! `spec.replicas`, which belongs to autoscalers as much as to its author.

mod rules;
mod schema;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

pub use schema::Unstructural;

use super::analysis::{AnalysisRunSpec, AnalysisRunStatus, AnalysisTemplateSpec};
use super::git_credential::GitCredentialSpec;
use super::metrics_source::MetricsSourceSpec;
use super::names::{ApiNames, Kind, VERSION};
use super::rollout::RolloutSpec;
use super::status::RolloutStatus;

/// Why no definition can be made. Each case is a mistake in the Rust types or in the rules, found by
/// the test of the generated files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrdProblem {
    /// A type has no structural schema.
    #[error("the schema of {kind} is not structural")]
    Schema {
        /// The kind.
        kind: &'static str,
        /// Where and why.
        #[source]
        source: Unstructural,
    },
    /// A rule names a field that does not exist.
    #[error("a rule of {kind} names {path}, which is not in its schema")]
    NoSuchField {
        /// The kind.
        kind: &'static str,
        /// The path as the rule has it.
        path: String,
    },
}

/// The CustomResourceDefinition (`apiextensions.k8s.io/v1`) of a kind, in the group of `names`.
///
/// # Errors
/// [`CrdProblem`] when the types or the rules cannot be expressed.
pub fn definition(names: ApiNames, kind: Kind) -> Result<Value, CrdProblem> {
    let mut object = object_schema(kind)?;
    rules::apply(kind, &mut object)
        .map_err(|path| CrdProblem::NoSuchField { kind: kind.as_str(), path })?;
    let mut version = json!({
        "name": VERSION,
        "served": true,
        "storage": true,
        "schema": {"openAPIV3Schema": object},
        "additionalPrinterColumns": columns(kind),
    });
    if let (Some(subresources), Some(version)) =
        (subresources(names, kind), version.as_object_mut())
    {
        version.insert("subresources".to_owned(), subresources);
    }
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural(), names.group()),
            "labels": {"app.kubernetes.io/name": "sluice", "app.kubernetes.io/part-of": "sluice"},
        },
        "spec": {
            "group": names.group(),
            "scope": if kind.is_namespaced() { "Namespaced" } else { "Cluster" },
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": kind.plural(),
                "singular": kind.as_str().to_lowercase(),
                "shortNames": kind.short_names(),
                "categories": categories(kind),
            },
            "versions": [version],
        },
    }))
}

/// The schema of a whole object. `metadata` is the API server's own.
fn object_schema(kind: Kind) -> Result<Value, CrdProblem> {
    let (spec, status) = match kind {
        Kind::Rollout => (raw::<RolloutSpec>(), Some(raw::<RolloutStatus>())),
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => {
            (raw::<AnalysisTemplateSpec>(), None)
        }
        Kind::AnalysisRun => (raw::<AnalysisRunSpec>(), Some(raw::<AnalysisRunStatus>())),
        Kind::MetricsSource | Kind::ClusterMetricsSource => (raw::<MetricsSourceSpec>(), None),
        Kind::ClusterGitCredential => (raw::<GitCredentialSpec>(), None),
    };
    let structural = |field: &str, value: Value| {
        schema::structural(field, value)
            .map_err(|source| CrdProblem::Schema { kind: kind.as_str(), source })
    };
    let mut properties = Map::new();
    properties.insert(
        "apiVersion".to_owned(),
        json!({"type": "string", "description": "Version of this form of the object."}),
    );
    properties
        .insert("kind".to_owned(), json!({"type": "string", "description": "Kind of the object."}));
    properties.insert("metadata".to_owned(), json!({"type": "object"}));
    properties.insert("spec".to_owned(), structural("spec", spec)?);
    if let Some(status) = status {
        properties.insert("status".to_owned(), structural("status", status)?);
    }
    Ok(json!({
        "type": "object",
        "description": description(kind),
        "required": ["spec"],
        "properties": properties,
    }))
}

/// What schemars makes of a type, with everything inline: a CRD knows no references.
fn raw<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value()
}

fn description(kind: Kind) -> &'static str {
    match kind {
        Kind::Rollout => {
            "A workload whose pod template is released step by step (canary) or at once after \
             checks (blue-green)."
        }
        Kind::AnalysisTemplate => "Metrics that judge a release, for Rollouts of its namespace.",
        Kind::ClusterAnalysisTemplate => "Metrics that judge a release, for Rollouts everywhere.",
        Kind::AnalysisRun => "One analysis: what is measured, what came out, and the verdict.",
        Kind::MetricsSource => {
            "Address and credentials of a metrics server, for analyses of its namespace."
        }
        Kind::ClusterMetricsSource => {
            "Address and credentials of a metrics server, for analyses everywhere; its Secrets are \
             in the controller's namespace."
        }
        Kind::ClusterGitCredential => {
            "The right to revert in Git repositories, lent to the Rollouts of some namespaces; its \
             Secret is in the controller's namespace."
        }
    }
}

/// `kubectl get sluice` lists what a team watches, not what a platform team sets up once.
fn categories(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Rollout | Kind::AnalysisRun => &["all", "sluice"],
        Kind::AnalysisTemplate
        | Kind::ClusterAnalysisTemplate
        | Kind::MetricsSource
        | Kind::ClusterMetricsSource
        | Kind::ClusterGitCredential => &["sluice"],
    }
}

fn subresources(names: ApiNames, kind: Kind) -> Option<Value> {
    match kind {
        Kind::Rollout => Some(json!({
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.HPAReplicas",
                "labelSelectorPath": ".status.selector",
            },
        })),
        _ if names.has_status_subresource(kind) => Some(json!({"status": {}})),
        Kind::AnalysisRun
        | Kind::AnalysisTemplate
        | Kind::ClusterAnalysisTemplate
        | Kind::MetricsSource
        | Kind::ClusterMetricsSource
        | Kind::ClusterGitCredential => None,
    }
}

/// A column of `kubectl get`; those of priority 1 need `-o wide`.
fn column(name: &str, kind: &str, path: &str, priority: u8, description: &str) -> Value {
    json!({
        "name": name,
        "type": kind,
        "jsonPath": path,
        "priority": priority,
        "description": description,
    })
}

fn columns(kind: Kind) -> Vec<Value> {
    let age = column("Age", "date", ".metadata.creationTimestamp", 0, "Time since its creation");
    let mut columns = match kind {
        Kind::Rollout => rollout_columns(),
        Kind::AnalysisRun => vec![
            column("Phase", "string", ".status.phase", 0, "How far the run is"),
            column("Message", "string", ".status.message", 1, "What decided"),
        ],
        // A column shows one value, and which metrics there are takes several.
        Kind::AnalysisTemplate | Kind::ClusterAnalysisTemplate => vec![],
        Kind::MetricsSource | Kind::ClusterMetricsSource => vec![
            column("Type", "string", ".spec.type", 0, "What speaks there (default Prometheus)"),
            column("Address", "string", ".spec.address", 0, "Base URL"),
        ],
        Kind::ClusterGitCredential => {
            vec![column(
                "Repositories",
                "string",
                ".spec.urlPrefix",
                0,
                "What addresses begin with",
            )]
        }
    };
    columns.push(age);
    columns
}

fn rollout_columns() -> Vec<Value> {
    let weight = |side: &str| format!(".status.canary.{side}.canary.weight");
    let desired = "The canary's share that was decided";
    let actual = "The canary's share that was read back";
    vec![
        column("Phase", "string", ".status.phase", 0, "Healthy, Degraded, Progressing or Paused"),
        column("Step", "integer", ".status.currentStepIndex", 0, "Index of the step, from 0"),
        column("Desired-Weight", "integer", &weight("desiredWeights"), 0, desired),
        column("Actual-Weight", "integer", &weight("weights"), 0, actual),
        column("Desired", "integer", ".spec.replicas", 0, "Pods that are wanted"),
        column("Up-To-Date", "integer", ".status.updatedReplicas", 0, "Pods of the new revision"),
        column("Available", "integer", ".status.availableReplicas", 0, "Available pods"),
        column("Current", "integer", ".status.replicas", 1, "Pods of every revision"),
        column("Ready", "integer", ".status.readyReplicas", 1, "Ready pods"),
        column("Message", "string", ".status.message", 1, "Why the phase is what it is"),
    ]
}
