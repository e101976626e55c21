//! What kube-apiserver knows of the built-in kinds beside their types: which there are, how they
//! are defaulted, and what of them can never be changed.

mod check;
mod defaults;
mod table;

use serde_json::{Value, json};

use crate::sim::api::kinds::Resource;
use crate::sim::api::object;

pub(crate) use check::check;
pub(crate) use defaults::apply_defaults;
pub(crate) use table::BUILTIN;

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
        ("apps", "replicasets" | "statefulsets") => {
            object::set_at(new, &["status"], json!({"replicas": 0}));
        }
        ("apps", "deployments") | ("batch", "jobs") => object::set_at(new, &["status"], json!({})),
        ("apps", "daemonsets") => {
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
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = object::at(old, &["spec", field])
                    && object::at(new, &["spec", field]).is_none_or(is_blank)
                {
                    object::set_at(new, &["spec", field], value.clone());
                }
            }
        }
        ("", "namespaces", "") => {
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
pub(crate) fn is_new_generation(resource: &Resource, new: &Value, old: &Value) -> bool {
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
