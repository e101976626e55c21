//! What kube-apiserver knows of the built-in kinds beside their types: which there are, how they
//! are defaulted, and what of them can never be changed.

mod allocate;
mod check;
mod defaults;
mod table;

use serde_json::{Value, json};

use crate::sim::api::kinds::Resource;
use crate::sim::api::object::{self, default_at};

pub(crate) use check::check;
pub(crate) use defaults::apply_defaults;
pub(crate) use table::BUILTIN;

/// What admission writes into a new object of this kind, after it was booked who wrote what.
pub(crate) fn admit(resource: &Resource, new: &mut Value) {
    if resource.plural != "pods" || !resource.group.is_empty() {
        return;
    }
    default_at(new, &["spec", "priority"], 0);
    default_at(new, &["spec", "preemptionPolicy"], "PreemptLowerPriority");
    let mut tolerations =
        object::at(new, &["spec", "tolerations"]).and_then(Value::as_array).cloned();
    let list = tolerations.get_or_insert_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_for = |one: &Value| one.get("key").is_none_or(|given| given == key);
        if !list.iter().any(is_for) {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            }));
        }
    }
    object::set_at(new, &["spec", "tolerations"], tolerations.unwrap_or_default().into());
}

/// What clients are told when they write this kind.
pub(crate) fn warnings(resource: &Resource) -> Option<String> {
    (resource.plural == "endpoints" && resource.group.is_empty()).then(|| {
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()
    })
}

/// What the server writes into a new object of this kind.
pub(crate) fn prepare_create(resource: &Resource, new: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "namespaces") => {
            let name = object::name(new).to_owned();
            object::set_at(
                new,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                name.into(),
            );
            object::set_at(new, &["spec", "finalizers"], json!(["kubernetes"]));
            object::set_at(new, &["status"], json!({"phase": "Active"}));
        }
        ("", "pods") => {
            let class = quality_class(new);
            object::set_at(new, &["status"], json!({"phase": "Pending", "qosClass": class}));
        }
        ("apps", "replicasets") => object::set_at(new, &["status"], json!({"replicas": 0})),
        ("apps", "statefulsets") => {
            object::set_at(new, &["status"], json!({"replicas": 0, "availableReplicas": 0}));
        }
        ("apps", "deployments") => object::set_at(new, &["status"], json!({})),
        ("batch", "jobs") => prepare_job(new),
        ("apiextensions.k8s.io", _) => {
            let versions = object::at(new, &["spec", "versions"]).and_then(Value::as_array);
            let stored: Vec<Value> = versions
                .into_iter()
                .flatten()
                .filter(|version| version.get("storage") == Some(&json!(true)))
                .map(|version| object::text(version, "name").into())
                .collect();
            let status = json!({
                "conditions": null, "acceptedNames": {"plural": "", "kind": ""},
                "storedVersions": stored,
            });
            object::set_at(new, &["status"], status);
        }
        ("apps", "daemonsets") => {
            let key = "deprecated.daemonset.template.generation";
            object::set_at(new, &["metadata", "annotations", key], "1".into());
            let status = json!({
                "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0,
                "numberReady": 0,
            });
            object::set_at(new, &["status"], status);
        }
        ("" | "networking.k8s.io", "services" | "ingresses") => {
            object::set_at(new, &["status"], json!({"loadBalancer": {}}));
        }
        ("autoscaling", _) => {
            let status = json!({"desiredReplicas": 0, "currentMetrics": null});
            object::set_at(new, &["status"], status);
        }
        _ => {}
    }
}

/// A Job selects its pods by its own uid.
fn prepare_job(new: &mut Value) {
    object::set_at(new, &["status"], json!({}));
    default_at(new, &["spec", "manualSelector"], false);
    if object::at(new, &["spec", "manualSelector"]) == Some(&json!(true)) {
        return;
    }
    let (uid, name) = (object::uid(new).to_owned(), object::name(new).to_owned());
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (key, value) in labels {
        object::set_at(
            new,
            &["spec", "template", "metadata", "labels", key],
            value.as_str().into(),
        );
    }
    if object::metadata(new).is_none_or(|meta| !meta.contains_key("labels")) {
        let labels = object::at(new, &["spec", "template", "metadata", "labels"]).cloned();
        object::set_meta(new, "labels", labels.unwrap_or_default());
    }
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    object::set_at(new, &["spec", "selector"], selector);
}

/// The quality-of-service class of a pod.
fn quality_class(pod: &Value) -> &'static str {
    let containers = object::at(pod, &["spec", "containers"]).and_then(Value::as_array);
    let mut is_best_effort = true;
    let mut is_guaranteed = true;
    for container in containers.into_iter().flatten() {
        let of = |kind: &str, name: &str| object::at(container, &["resources", kind, name]);
        for name in ["cpu", "memory"] {
            let (request, limit) = (of("requests", name), of("limits", name));
            is_best_effort &= request.is_none() && limit.is_none();
            is_guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (is_best_effort, is_guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

/// What the server keeps of an object of this kind whatever an update says.
pub(crate) fn prepare_update(resource: &Resource, subresource: &str, new: &mut Value, old: &Value) {
    match (resource.group.as_str(), resource.plural.as_str(), subresource) {
        ("", "services", "") => {
            // What was allocated stays, unless another is named.
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if let Some(value) = object::at(old, &["spec", field])
                    && object::at(new, &["spec", field]).is_none_or(is_blank)
                {
                    object::set_at(new, &["spec", field], value.clone());
                }
            }
        }
        ("", "namespaces", "") => {
            let name = object::name(new).to_owned();
            object::set_at(
                new,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                name.into(),
            );
            if let Some(finalizers) = object::at(old, &["spec", "finalizers"]) {
                object::set_at(new, &["spec", "finalizers"], finalizers.clone());
            }
        }
        ("apps", "deployments", "status") => object::copy_meta(new, old, "labels"),
        _ => {}
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Whether an update is one that `metadata.generation` counts.
pub(crate) fn is_new_generation(
    resource: &Resource,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> bool {
    if subresource == "status" {
        return false;
    }
    if resource.is_custom {
        let parts = |object: &Value| {
            let mut object = object.clone();
            if let Some(map) = object.as_object_mut() {
                map.remove("metadata");
                if resource.manners.has_status {
                    map.remove("status");
                }
            }
            object
        };
        return parts(new) != parts(old);
    }
    match resource.plural.as_str() {
        "deployments" => {
            let annotations =
                |object: &Value| object::at(object, &["metadata", "annotations"]).cloned();
            new.get("spec") != old.get("spec") || annotations(new) != annotations(old)
        }
        "endpointslices" => ["endpoints", "ports", "addressType"]
            .iter()
            .any(|field| new.get(*field) != old.get(*field)),
        _ => new.get("spec") != old.get("spec"),
    }
}
