//! The generated files are those that the types make, and a cluster can take them.
//!
//! When a test here says that a file is stale: `cargo run --bin sluice -- generate`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like the tests themselves"
)]

#[cfg(test)]
#[expect(dead_code, reason = "other tests use the other part")]
mod common;

use serde::Deserialize as _;
use serde_json::Value;
use sluice::api::{ApiNames, Kind, crd};
use sluice::generate;

fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn definition(names: ApiNames, kind: Kind) -> Value {
    crd::definition(names, kind).unwrap()
}

fn version(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]
}

#[test]
fn every_generated_file_is_fresh() {
    let stale: Vec<String> = generate::files()
        .unwrap()
        .into_iter()
        .filter(|file| {
            let found = std::fs::read_to_string(root().join(&file.path));
            found.ok().as_deref() != Some(file.content.as_str())
        })
        .map(|file| file.path)
        .collect();
    assert!(
        stale.is_empty(),
        "stale: {stale:?}\nrun `{}` and commit what it wrote",
        generate::COMMAND
    );
}

#[test]
fn no_generated_file_is_left_over_from_a_kind_that_is_gone() {
    let wanted: Vec<String> =
        generate::files().unwrap().into_iter().map(|file| file.path).collect();
    for folder in ["crds", "charts/sluice/files/crds"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().display());
            assert!(wanted.contains(&path), "{path} is no longer generated: remove it");
        }
    }
}

/// kubectl reads YAML 1.1, where `on`, `off`, `yes` and `no` are booleans, as keys too.
#[test]
fn no_field_and_no_bare_text_is_a_boolean_for_kubectl() {
    const BOOLEANS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    for file in generate::files().unwrap() {
        for line in file.content.lines() {
            let entry = line.trim_start().trim_start_matches("- ");
            let key = entry.split(':').next().unwrap_or("");
            let value = entry.rsplit(": ").next().unwrap_or("");
            for word in [key, value, entry] {
                let word = word.trim().to_lowercase();
                assert!(!BOOLEANS.contains(&word.as_str()), "{}: {line}", file.path);
            }
        }
    }
}

/// The schema of the field that a JSON path such as `.status.canary.weights` names.
fn field<'a>(definition: &'a Value, path: &str) -> Option<&'a Value> {
    let mut schema = version(definition).pointer("/schema/openAPIV3Schema")?;
    for name in path.trim_start_matches('.').split('.') {
        let (name, is_list) = name.strip_suffix("[*]").map_or((name, false), |name| (name, true));
        schema = schema.get("properties")?.get(name)?;
        if is_list {
            schema = schema.get("items")?;
        }
    }
    Some(schema)
}

#[test]
fn every_column_and_every_scale_path_names_a_field_of_its_type() {
    for kind in Kind::ALL {
        let definition = definition(ApiNames::SLUICE, kind);
        for column in version(&definition)["additionalPrinterColumns"].as_array().unwrap() {
            let path = column["jsonPath"].as_str().unwrap();
            if path.starts_with(".metadata") {
                continue;
            }
            let schema = field(&definition, path);
            let found = schema.and_then(|schema| schema.get("type")).cloned();
            assert_eq!(found, Some(column["type"].clone()), "{kind:?} {path}");
        }
    }
    let rollout = definition(ApiNames::SLUICE, Kind::Rollout);
    let scale = &version(&rollout)["subresources"]["scale"];
    assert_eq!(
        field(&rollout, scale["specReplicasPath"].as_str().unwrap()).unwrap()["type"],
        "integer"
    );
    assert_eq!(
        field(&rollout, scale["statusReplicasPath"].as_str().unwrap()).unwrap()["type"],
        "integer"
    );
    assert_eq!(
        field(&rollout, scale["labelSelectorPath"].as_str().unwrap()).unwrap()["type"],
        "string"
    );
}

/// A spec stays as it was written, except for the count that autoscalers read and write: the scale
/// subresource fails while its `specReplicasPath` is absent.
#[test]
fn the_only_default_of_a_schema_is_that_of_replicas() {
    fn defaults(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(map) => {
                if let (Some(Value::String(_)), Some(default)) =
                    (map.get("type"), map.get("default"))
                {
                    found.push((path.to_owned(), default.clone()));
                }
                for (key, value) in map {
                    let path = if key == "properties" { path } else { &format!("{path}.{key}") };
                    defaults(value, path, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| defaults(item, path, found)),
            _ => {}
        }
    }
    for kind in Kind::ALL {
        let definition = definition(ApiNames::SLUICE, kind);
        let mut found = Vec::new();
        defaults(&version(&definition)["schema"]["openAPIV3Schema"], "", &mut found);
        let wanted = match version(&definition).pointer("/subresources/scale/specReplicasPath") {
            Some(path) => vec![(path.as_str().unwrap().to_owned(), 1.into())],
            None => vec![],
        };
        assert_eq!(found, wanted, "{kind:?}");
    }
}

#[test]
fn the_crds_of_argos_group_have_the_same_fields_and_no_status_subresource_of_runs() {
    for kind in Kind::ALL {
        let ours = definition(ApiNames::SLUICE, kind);
        let argo = definition(ApiNames::ARGO, kind);
        assert_eq!(version(&ours)["schema"], version(&argo)["schema"]);
        assert_eq!(argo["spec"]["group"], "argoproj.io");
        assert_eq!(argo["metadata"]["name"], format!("{}.argoproj.io", kind.plural()));
    }
    let runs = |names| version(&definition(names, Kind::AnalysisRun)).get("subresources").cloned();
    assert_eq!(runs(ApiNames::ARGO), None);
    assert!(runs(ApiNames::SLUICE).is_some());
}

#[test]
fn the_stream_of_crds_has_one_document_for_each_kind() {
    let stream = generate::crds(ApiNames::ARGO).unwrap();
    let documents: Vec<Value> =
        stream.split("---\n").map(|document| serde_norway::from_str(document).unwrap()).collect();
    assert_eq!(documents.len(), Kind::ALL.len());
}

/// What the schema refuses at `kubectl apply`, the controller refuses too: an object may be older
/// than a rule. Here without a cluster; `.ci/apiserver` asks a real API server.
#[test]
fn what_the_rules_refuse_is_refused_by_our_own_validation() {
    let path = root().join("tests/fixtures/refused.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut accepted = Vec::new();
    for document in serde_norway::Deserializer::from_str(&text) {
        let manifest = Value::deserialize(document).unwrap();
        if common::problems(&manifest).is_empty() {
            accepted.push(manifest["metadata"]["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(accepted, Vec::<String>::new());
}
