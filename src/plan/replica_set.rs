//! What a new ReplicaSet looks like.

use serde_json::{Map, Value, json};

use super::action::Action;
use super::view::View;

/// The action that creates the ReplicaSet of the current revision with `replicas` pods.
pub(super) fn create(view: &View<'_>, replicas: u32) -> Action {
    let names = view.observed.names;
    let rollout = &view.observed.rollout;
    let name = format!("{}-{}", rollout.name, view.revision);
    let number =
        view.replica_sets.iter().map(|set| set.number).max().unwrap_or(0).saturating_add(1);
    let label = names.revision_label();
    let revision = json!(view.revision.as_str());

    let mut template = view.spec.template.clone();
    let mut pod_labels = object_at(&template, "/metadata/labels");
    pod_labels.insert(label.to_owned(), revision.clone());
    set_at(&mut template, "metadata", "labels", Value::Object(pod_labels.clone()));

    let mut match_labels = Map::new();
    for (key, value) in &view.spec.selector.match_labels {
        match_labels.insert(key.clone(), json!(value));
    }
    match_labels.insert(label.to_owned(), revision);
    let mut selector = Map::new();
    selector.insert("matchLabels".to_owned(), Value::Object(match_labels));
    if !view.spec.selector.match_expressions.is_empty() {
        selector.insert("matchExpressions".to_owned(), json!(view.spec.selector.match_expressions));
    }

    let mut labels = pod_labels;
    if let Value::Object(own) = super::effects::labels(view) {
        labels.extend(own);
    }
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": rollout.namespace,
            "labels": labels,
            "annotations": {
                names.digest_annotation(): view.digest.as_str(),
                names.revision_number_annotation(): number.to_string(),
                names.desired_replicas_annotation(): view.replicas().to_string(),
            },
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": view.spec.min_ready_seconds,
            "selector": selector,
            "template": template,
        },
    });
    Action::CreateReplicaSet {
        name,
        revision: view.revision.clone(),
        digest: view.digest.clone(),
        number,
        replicas,
        object,
    }
}

fn object_at(value: &Value, pointer: &str) -> Map<String, Value> {
    value.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Sets `value.outer.inner`, making `outer` an object where it is none.
fn set_at(value: &mut Value, outer: &str, inner: &str, to: Value) {
    let Some(root) = value.as_object_mut() else { return };
    let entry = root.entry(outer).or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    if let Some(entry) = entry.as_object_mut() {
        entry.insert(inner.to_owned(), to);
    }
}
