//! Manifests that use every field of Argo Rollouts' documentation, with nothing changed but their
//! apiVersion: each is known to the schema, is decoded, and is accepted or refused by the name of
//! the field that is not built yet. The snapshot is the list that the migration guide refers to.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like the tests themselves"
)]

#[cfg(test)]
mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice::api::Kind;

use common::{problems, spec_schema, unknown_fields};

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

#[test]
fn every_documented_field_is_in_the_schema() {
    let schemas: BTreeMap<&str, Value> =
        Kind::ALL.into_iter().map(|kind| (kind.as_str(), spec_schema(kind))).collect();
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
    let routers = sluice::traffic::Planned::ALL.iter();
    let providers = sluice::metrics::spec::MetricProvider::BUILT.iter();
    let planned = sluice::metrics::spec::MetricProvider::PLANNED.iter();
    for field in routers.chain(providers).chain(planned) {
        assert!(text.contains(&format!("{field:?}:")), "no example of {field}");
    }
}
