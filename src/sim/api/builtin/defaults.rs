//! The defaults that kube-apiserver writes into built-in kinds. Without them an apply would see
//! differences that are none.

use serde_json::{Value, json};

use crate::sim::api::kinds::Resource;
use crate::sim::api::object::{at, default_at, set_at};

/// Fills in what is missing.
pub(crate) fn apply_defaults(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => pod_spec(object.get_mut("spec")),
        ("apps", plural @ ("deployments" | "replicasets" | "statefulsets" | "daemonsets")) => {
            workload(plural, object);
        }
        ("batch", "jobs") => {
            default_at(object, &["spec", "completions"], 1);
            default_at(object, &["spec", "parallelism"], 1);
            default_at(object, &["spec", "backoffLimit"], 6);
            default_at(object, &["spec", "completionMode"], "NonIndexed");
            default_at(object, &["spec", "suspend"], false);
            default_at(object, &["spec", "podReplacementPolicy"], "TerminatingOrFailed");
            pod_spec(
                object.get_mut("spec").and_then(|spec| spec.get_mut("template")?.get_mut("spec")),
            );
        }
        ("", "services") => service(object),
        ("", "secrets") => default_at(object, &["type"], "Opaque"),
        ("discovery.k8s.io", _) => {
            for port in entries(object, &["ports"]) {
                default_at(port, &["name"], "");
                default_at(port, &["protocol"], "TCP");
            }
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            default_at(object, &["roleRef", "apiGroup"], "rbac.authorization.k8s.io");
            for subject in entries(object, &["subjects"]) {
                let is_account = subject.get("kind") == Some(&json!("ServiceAccount"));
                if !is_account {
                    default_at(subject, &["apiGroup"], "rbac.authorization.k8s.io");
                }
            }
        }
        _ => {}
    }
}

/// The entries of the list at `path`.
fn entries<'a>(object: &'a mut Value, path: &[&str]) -> impl Iterator<Item = &'a mut Value> {
    let list = path.iter().try_fold(object, |value, field| value.get_mut(*field));
    list.and_then(Value::as_array_mut).into_iter().flatten()
}

fn workload(plural: &str, object: &mut Value) {
    if plural != "daemonsets" {
        default_at(object, &["spec", "replicas"], 1);
    }
    match plural {
        "deployments" => {
            default_at(object, &["spec", "strategy"], json!({}));
            default_at(object, &["spec", "strategy", "type"], "RollingUpdate");
            if at(object, &["spec", "strategy", "type"]) == Some(&json!("RollingUpdate")) {
                default_at(object, &["spec", "strategy", "rollingUpdate"], json!({}));
                let strategy = ["spec", "strategy", "rollingUpdate"];
                for field in ["maxSurge", "maxUnavailable"] {
                    let [spec, strategy, update] = strategy;
                    default_at(object, &[spec, strategy, update, field], "25%");
                }
            }
            default_at(object, &["spec", "revisionHistoryLimit"], 10);
            default_at(object, &["spec", "progressDeadlineSeconds"], 600);
        }
        "statefulsets" => {
            default_at(object, &["spec", "podManagementPolicy"], "OrderedReady");
            default_at(object, &["spec", "revisionHistoryLimit"], 10);
            default_at(object, &["spec", "updateStrategy"], json!({}));
            default_at(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
            default_at(
                object,
                &["spec", "persistentVolumeClaimRetentionPolicy"],
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
            );
            if at(object, &["spec", "updateStrategy", "type"]) == Some(&json!("RollingUpdate")) {
                default_at(object, &["spec", "updateStrategy", "rollingUpdate"], json!({}));
                default_at(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
            }
        }
        "daemonsets" => default_at(object, &["spec", "revisionHistoryLimit"], 10),
        _ => {}
    }
    pod_spec(object.get_mut("spec").and_then(|spec| spec.get_mut("template")?.get_mut("spec")));
}

fn pod_spec(spec: Option<&mut Value>) {
    let Some(spec) = spec else { return };
    default_at(spec, &["restartPolicy"], "Always");
    default_at(spec, &["terminationGracePeriodSeconds"], 30);
    default_at(spec, &["dnsPolicy"], "ClusterFirst");
    default_at(spec, &["schedulerName"], "default-scheduler");
    default_at(spec, &["securityContext"], json!({}));
    if let Some(account) = at(spec, &["serviceAccountName"]).cloned() {
        default_at(spec, &["serviceAccount"], account);
    }
    for list in ["containers", "initContainers"] {
        for container in entries(spec, &[list]) {
            container_defaults(container);
        }
    }
}

fn container_defaults(container: &mut Value) {
    default_at(container, &["resources"], json!({}));
    default_at(container, &["terminationMessagePath"], "/dev/termination-log");
    default_at(container, &["terminationMessagePolicy"], "File");
    let image = at(container, &["image"]).and_then(Value::as_str).unwrap_or_default();
    // A digest, or a tag other than latest, never changes.
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    let is_fixed = image.contains('@') || tag.is_some_and(|tag| tag != "latest");
    let policy = if is_fixed { "IfNotPresent" } else { "Always" };
    default_at(container, &["imagePullPolicy"], policy);
    for port in entries(container, &["ports"]) {
        default_at(port, &["protocol"], "TCP");
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                default_at(probe, &[field], value);
            }
            default_at(probe, &["httpGet", "scheme"], "HTTP");
            default_at(probe, &["httpGet", "path"], "/");
        }
    }
}

fn service(object: &mut Value) {
    if object.get("spec").is_none() {
        set_at(object, &["spec"], json!({}));
    }
    default_at(object, &["spec", "type"], "ClusterIP");
    default_at(object, &["spec", "sessionAffinity"], "None");
    for port in entries(object, &["spec", "ports"]) {
        default_at(port, &["protocol"], "TCP");
        if let Some(number) = port.get("port").cloned() {
            default_at(port, &["targetPort"], number);
        }
    }
    if at(object, &["spec", "type"]) != Some(&json!("ExternalName")) {
        default_at(object, &["spec", "internalTrafficPolicy"], "Cluster");
    }
}
