//! The defaults that kube-apiserver writes into built-in kinds. Without them an apply would see
//! differences that are none.

use serde_json::{Value, json};

use crate::sim::api::kinds::Resource;
use crate::sim::api::object::{at, default_at, set_at};

/// Fills in what is missing.
pub(crate) fn apply_defaults(resource: &Resource, object: &mut Value) {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => {
            pod_spec(object.get_mut("spec"));
            default_at(object, &["spec", "enableServiceLinks"], true);
        }
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
        ("", "secrets") => secret(object),
        ("autoscaling", _) => {
            default_at(object, &["spec", "minReplicas"], 1);
            let metrics = at(object, &["spec", "metrics"]).and_then(Value::as_array);
            if metrics.is_none_or(Vec::is_empty) {
                let cpu = json!([{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80}}}]);
                set_at(object, &["spec", "metrics"], cpu);
            }
        }
        ("networking.k8s.io", "networkpolicies") => {
            let has_egress = at(object, &["spec", "egress"]).is_some();
            let kinds = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            default_at(object, &["spec", "policyTypes"], kinds);
        }
        ("", "endpoints") => {
            for subset in entries(object, &["subsets"]) {
                for port in entries(subset, &["ports"]) {
                    default_at(port, &["protocol"], "TCP");
                }
            }
        }
        ("discovery.k8s.io", _) => {
            for port in entries(object, &["ports"]) {
                default_at(port, &["name"], "");
                default_at(port, &["protocol"], "TCP");
            }
        }
        ("apiextensions.k8s.io", _) => {
            default_at(object, &["spec", "conversion"], json!({}));
            default_at(object, &["spec", "conversion", "strategy"], "None");
            let kind = at(object, &["spec", "names", "kind"]).and_then(Value::as_str);
            let kind = kind.unwrap_or_default().to_owned();
            default_at(object, &["spec", "names", "singular"], kind.to_lowercase());
            default_at(object, &["spec", "names", "listKind"], format!("{kind}List"));
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            default_text(object, &["roleRef", "apiGroup"], "rbac.authorization.k8s.io");
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

/// The same as [`default_at`] where an empty text counts as missing.
fn default_text(object: &mut Value, path: &[&str], text: &str) {
    if at(object, path) == Some(&json!("")) {
        set_at(object, path, text.into());
    } else {
        default_at(object, path, text);
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
        "daemonsets" => {
            default_at(object, &["spec", "revisionHistoryLimit"], 10);
            default_at(object, &["spec", "updateStrategy"], json!({}));
            default_at(object, &["spec", "updateStrategy", "type"], "RollingUpdate");
            if at(object, &["spec", "updateStrategy", "type"]) == Some(&json!("RollingUpdate")) {
                default_at(object, &["spec", "updateStrategy", "rollingUpdate"], json!({}));
                let [spec, strategy, update] = ["spec", "updateStrategy", "rollingUpdate"];
                default_at(object, &[spec, strategy, update, "maxUnavailable"], 1);
                default_at(object, &[spec, strategy, update, "maxSurge"], 0);
            }
        }
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
    for volume in entries(spec, &["volumes"]) {
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            default_at(volume, &[source, "defaultMode"], 420);
        }
        default_at(volume, &["hostPath", "type"], "");
    }
}

/// Texts become data, as the server keeps them.
fn secret(object: &mut Value) {
    default_at(object, &["type"], "Opaque");
    let texts = object.as_object_mut().and_then(|map| map.remove("stringData"));
    for (key, text) in texts.as_ref().and_then(Value::as_object).into_iter().flatten() {
        use base64::Engine as _;
        let text = text.as_str().unwrap_or_default();
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        set_at(object, &["data", key], encoded.into());
    }
}

fn container_defaults(container: &mut Value) {
    default_at(container, &["resources"], json!({}));
    let limits = at(container, &["resources", "limits"]).and_then(Value::as_object).cloned();
    for (name, limit) in limits.into_iter().flatten() {
        if at(container, &["resources", "requests"]).is_none() {
            set_at(container, &["resources", "requests"], json!({}));
        }
        default_at(container, &["resources", "requests", &name], limit);
    }
    for variable in entries(container, &["env"]) {
        default_at(variable, &["valueFrom", "fieldRef", "apiVersion"], "v1");
    }
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
    if at(object, &["spec", "sessionAffinity"]) == Some(&json!("ClientIP")) {
        let path = ["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"];
        if at(object, &path).is_none() {
            set_at(object, &path, 10_800.into());
        }
    }
    for port in entries(object, &["spec", "ports"]) {
        default_at(port, &["protocol"], "TCP");
        let is_unset = matches!(port.get("targetPort"), None | Some(Value::Null))
            || port.get("targetPort") == Some(&json!(0))
            || port.get("targetPort") == Some(&json!(""));
        if let Some(number) = port.get("port").cloned().filter(|_| is_unset) {
            set_at(port, &["targetPort"], number);
        }
    }
    if at(object, &["spec", "type"]) != Some(&json!("ExternalName")) {
        default_at(object, &["spec", "internalTrafficPolicy"], "Cluster");
    }
}
