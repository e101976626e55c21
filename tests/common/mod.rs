//! Checks of manifests that several tests share: against the schema, and by our own validation.

use kube::core::DynamicObject;
use serde_json::{Value, json};
use sluice::analysis::ResolvedRun;
use sluice::analysis::resolve::template_problems;
use sluice::api::metrics_source::MetricsSourceSpec;
use sluice::api::{
    AnalysisRun, AnalysisTemplate, ApiNames, ClusterAnalysisTemplate, ClusterGitCredential,
    ClusterMetricsSource, Kind, MetricsSource, Rollout, crd,
};
use sluice::plan::validate::validate;

/// The schema of `spec` in the CRD of a kind.
pub(crate) fn spec_schema(kind: Kind) -> Value {
    let definition = crd::definition(ApiNames::SLUICE, kind).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Paths in `value` that `schema` does not know: what a strict API server refuses.
pub(crate) fn unknown_fields(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
    if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inside = format!("{path}.{name}");
                let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
                match known {
                    Some(schema) => unknown_fields(&inside, schema, value, found),
                    None => found.push(inside),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                unknown_fields(&format!("{path}[]"), &schema["items"], item, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The kind of a manifest, if it is one of ours.
pub(crate) fn kind_of(document: &Value) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| document["kind"] == kind.as_str())
}

/// Everything that is wrong with a document; empty when it is accepted.
pub(crate) fn problems(document: &Value) -> Vec<String> {
    let object: DynamicObject = serde_json::from_value(document.clone()).unwrap();
    let Some(kind) = kind_of(document) else {
        return vec![format!("kind {} is not served", document["kind"].as_str().unwrap())];
    };
    match kind {
        Kind::Rollout => {
            let rollout = Rollout::from_dynamic(&object).unwrap();
            let checked = validate(&object.metadata.name.unwrap(), &rollout.spec);
            checked.problems.iter().map(ToString::to_string).collect()
        }
        Kind::AnalysisTemplate => {
            let template = AnalysisTemplate::from_dynamic(&object).unwrap();
            template_problems(&template.spec).iter().map(ToString::to_string).collect()
        }
        Kind::ClusterAnalysisTemplate => {
            let template = ClusterAnalysisTemplate::from_dynamic(&object).unwrap();
            template_problems(&template.spec).iter().map(ToString::to_string).collect()
        }
        Kind::AnalysisRun => {
            let run = AnalysisRun::from_dynamic(&object).unwrap();
            let problems = ResolvedRun::resolve(&run.spec).err().unwrap_or_default();
            problems.iter().map(ToString::to_string).collect()
        }
        Kind::MetricsSource => {
            let source = MetricsSource::from_dynamic(&object).unwrap();
            source_problems(&source.spec, false)
        }
        Kind::ClusterMetricsSource => {
            let source = ClusterMetricsSource::from_dynamic(&object).unwrap();
            source_problems(&source.spec, true)
        }
        Kind::ClusterGitCredential => {
            let credential = ClusterGitCredential::from_dynamic(&object).unwrap();
            let found = sluice::git::grants::problems(&credential.spec);
            found.into_iter().map(|(field, problem)| format!("{field} {problem}")).collect()
        }
    }
}

fn source_problems(spec: &MetricsSourceSpec, is_cluster: bool) -> Vec<String> {
    let problems = spec.problems(is_cluster);
    problems.into_iter().map(|(field, problem)| format!("{field}: {problem}")).collect()
}
