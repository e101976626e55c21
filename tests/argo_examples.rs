//! Manifests that use every field of Argo Rollouts' documentation, with nothing changed but their
//! apiVersion: each is known to the schema, is decoded, and is accepted or refused by the name of
//! the field that is not built yet. The snapshot is the list that the migration guide refers to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use kube::core::DynamicObject;
use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice::analysis::ResolvedRun;
use sluice::analysis::resolve::template_problems;
use sluice::api::{
    AnalysisRun, AnalysisTemplate, ApiNames, ClusterAnalysisTemplate, Kind, Rollout, crd,
};
use sluice::plan::validate::validate;

/// Every document of the fixtures, by file, with only its apiVersion changed.
fn documents() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/argo");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut documents = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            let mut value = Value::deserialize(document).unwrap();
            assert_eq!(value["apiVersion"], "argoproj.io/v1alpha1", "{name}");
            value["apiVersion"] = json!("sluice.dev/v1alpha1");
            documents.push((name.clone(), value));
        }
    }
    documents
}

fn kind_of(document: &Value) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| document["kind"] == kind.as_str())
}

/// Everything that is wrong with a document; empty when it is accepted.
fn problems(document: &Value) -> Vec<String> {
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
        Kind::MetricsSource | Kind::ClusterMetricsSource => {
            panic!("Argo Rollouts has no {}", kind.as_str())
        }
    }
}

#[test]
fn each_documented_manifest_is_accepted_or_refused_by_the_name_of_its_field() {
    let mut report = String::new();
    for (file, document) in documents() {
        let name = document["metadata"]["name"].as_str().unwrap();
        let kind = document["kind"].as_str().unwrap();
        let problems = problems(&document);
        let verdict = if problems.is_empty() { "accepted" } else { "refused" };
        writeln!(report, "{file}: {kind} {name}: {verdict}").unwrap();
        for problem in problems {
            writeln!(report, "    {problem}").unwrap();
        }
    }
    insta::assert_snapshot!(report);
}

/// Paths in `value` that `schema` does not know: what a strict API server refuses.
fn unknown_fields(path: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
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

#[test]
fn every_documented_field_is_in_the_schema() {
    let schemas: BTreeMap<&str, Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let definition = crd::definition(ApiNames::SLUICE, kind).unwrap();
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            (kind.as_str(), schema["properties"]["spec"].clone())
        })
        .collect();
    let mut found = Vec::new();
    for (file, document) in documents() {
        if let Some(schema) = schemas.get(document["kind"].as_str().unwrap()) {
            unknown_fields(&format!("{file}: spec"), schema, &document["spec"], &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
    let rollout = &schemas["Rollout"];
    unknown_fields("spec", rollout, &json!({"replica": 1, "strategy": {"x": {}}}), &mut found);
    assert_eq!(found, ["spec.replica", "spec.strategy.x"]);
}

/// Unbuilt providers of the registries are each in a fixture, so that none is forgotten here.
#[test]
fn every_router_and_every_provider_has_an_example() {
    let text =
        serde_json::to_string(&documents().iter().map(|(_, v)| v).collect::<Vec<_>>()).unwrap();
    let routers = sluice::traffic::UNBUILT.into_iter();
    let providers = sluice::metrics::spec::MetricProvider::BUILT.iter();
    let planned = sluice::metrics::spec::MetricProvider::PLANNED.iter();
    for field in routers.chain(providers.copied()).chain(planned.copied()) {
        assert!(text.contains(&format!("{field:?}:")), "no example of {field}");
    }
}
