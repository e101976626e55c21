//! Takes the API server's defaults out of a pod template again. A ReplicaSet holds the template with
//! every default written out, but a revision is the template as its author wrote it. Pure.
//!
//! Defaults: Kubernetes API reference v1.34, `PodTemplateSpec` and what it contains.

use serde_json::{Map, Value, json};

use crate::revision::TemplateDigest;

/// The template that `digest` names, found by taking defaults out of `full`; `None` when no
/// candidate has that digest. `like` is a template of the same author, whose habits are tried first.
pub fn as_written(full: &Value, like: &Value, digest: &TemplateDigest) -> Option<Value> {
    let candidates = [
        full.clone(),
        without_defaults(full, Some(like), "template"),
        without_defaults(full, None, "template"),
    ];
    candidates.into_iter().find(|candidate| TemplateDigest::of(candidate) == *digest)
}

/// Whether two templates differ in nothing but defaults that one of them writes out.
pub fn means_the_same(one: &Value, other: &Value) -> bool {
    one == other
        || without_defaults(one, None, "template") == without_defaults(other, None, "template")
}

/// `full` without defaults; those that `like` writes out stay.
fn without_defaults(full: &Value, like: Option<&Value>, place: &str) -> Value {
    match full {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (key, value) in fields {
                let written = like.and_then(|like| like.get(key));
                if written.is_none() && is_default(place, key, value, fields) {
                    continue;
                }
                kept.insert(key.clone(), without_defaults(value, written, key));
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let items = items.iter().enumerate().map(|(idx, item)| {
                without_defaults(item, like.and_then(|like| counterpart(like, item, idx)), place)
            });
            Value::Array(items.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => full.clone(),
    }
}

/// The item of a list with the same name, or else at the same place.
fn counterpart<'a>(list: &'a Value, item: &Value, idx: usize) -> Option<&'a Value> {
    let list = list.as_array()?;
    match item.get("name") {
        Some(name) => list.iter().find(|other| other.get("name") == Some(name)),
        None => list.get(idx),
    }
}

/// Whether the API server writes `key: value` where its author wrote nothing; `place` is the key of
/// the object or list around it.
fn is_default(place: &str, key: &str, value: &Value, around: &Map<String, Value>) -> bool {
    match (place, key) {
        ("template" | "metadata", "creationTimestamp") => value.is_null(),
        ("spec", "securityContext") | ("containers" | "initContainers", "resources") => {
            *value == json!({})
        }
        ("spec", "restartPolicy") => *value == json!("Always"),
        ("spec", "terminationGracePeriodSeconds") => *value == json!(30),
        ("spec", "dnsPolicy") => *value == json!("ClusterFirst"),
        ("spec", "schedulerName") => *value == json!("default-scheduler"),
        ("spec", "serviceAccount") => Some(value) == around.get("serviceAccountName"),
        ("containers" | "initContainers", "terminationMessagePath") => {
            *value == json!("/dev/termination-log")
        }
        ("containers" | "initContainers", "terminationMessagePolicy") => *value == json!("File"),
        ("containers" | "initContainers", "imagePullPolicy") => {
            let image = around.get("image").and_then(Value::as_str).unwrap_or_default();
            *value == json!(if is_moving_image(image) { "Always" } else { "IfNotPresent" })
        }
        ("ports", "protocol") => *value == json!("TCP"),
        ("livenessProbe" | "readinessProbe" | "startupProbe", key) => match key {
            "timeoutSeconds" | "successThreshold" => *value == json!(1),
            "periodSeconds" => *value == json!(10),
            "failureThreshold" => *value == json!(3),
            _ => false,
        },
        ("httpGet", "scheme") => *value == json!("HTTP"),
        ("httpGet", "path") => *value == json!("/"),
        ("grpc", "service") | ("hostPath", "type") => *value == json!(""),
        ("fieldRef", "apiVersion") => *value == json!("v1"),
        ("configMap" | "secret" | "projected" | "downwardAPI", "defaultMode") => {
            *value == json!(420)
        }
        ("serviceAccountToken", "expirationSeconds") => *value == json!(3600),
        ("topologySpreadConstraints", "nodeAffinityPolicy") => *value == json!("Honor"),
        ("topologySpreadConstraints", "nodeTaintsPolicy") => *value == json!("Ignore"),
        _ => false,
    }
}

/// Whether an image has no tag or the tag `latest`, and no digest.
fn is_moving_image(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {
            "serviceAccountName": "web",
            "containers": [
                {"name": "web", "image": "web:v1", "terminationMessagePolicy": "File",
                 "ports": [{"containerPort": 80}],
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}, "periodSeconds": 1}},
                {"name": "proxy", "image": "registry:5000/proxy"}],
            "volumes": [{"name": "c", "configMap": {"name": "c"}}]}})
    }

    /// As the API server of Kubernetes 1.34 gives it back.
    fn full() -> Value {
        json!({"metadata": {"creationTimestamp": null, "labels": {"app": "web"}}, "spec": {
            "serviceAccountName": "web", "serviceAccount": "web", "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler",
            "containers": [
                {"name": "web", "image": "web:v1", "imagePullPolicy": "IfNotPresent",
                 "resources": {}, "terminationMessagePath": "/dev/termination-log",
                 "terminationMessagePolicy": "File",
                 "ports": [{"containerPort": 80, "protocol": "TCP"}],
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": 80, "scheme": "HTTP"},
                    "periodSeconds": 1, "timeoutSeconds": 1, "successThreshold": 1,
                    "failureThreshold": 3}},
                {"name": "proxy", "image": "registry:5000/proxy", "imagePullPolicy": "Always",
                 "resources": {}, "terminationMessagePath": "/dev/termination-log",
                 "terminationMessagePolicy": "File"}],
            "volumes": [{"name": "c", "configMap": {"name": "c", "defaultMode": 420}}]}})
    }

    #[test]
    fn the_template_is_found_again_as_its_author_wrote_it() {
        let digest = TemplateDigest::of(&written());
        // The author's newer template writes the same defaults out, and has other values.
        let mut like = written();
        like["spec"]["containers"][0]["image"] = json!("web:v2");
        assert_eq!(as_written(&full(), &like, &digest), Some(written()));
    }

    #[test]
    fn a_template_without_any_default_is_found_whatever_the_newer_one_writes() {
        let mut old = written();
        old["spec"]["containers"][0].as_object_mut().unwrap().remove("terminationMessagePolicy");
        let digest = TemplateDigest::of(&old);
        assert_eq!(as_written(&full(), &written(), &digest), Some(old));
    }

    #[test]
    fn a_template_that_cannot_be_found_is_not_made_up() {
        let digest = TemplateDigest::of(&json!({"other": true}));
        assert_eq!(as_written(&full(), &written(), &digest), None);
    }

    #[test]
    fn a_template_with_its_defaults_written_out_means_the_same_and_another_value_does_not() {
        assert!(means_the_same(&written(), &full()));
        assert!(means_the_same(&full(), &full()));
        for (pointer, value) in [
            ("/spec/containers/0/image", json!("web:v2")),
            ("/spec/containers/0/imagePullPolicy", json!("Always")),
            ("/spec/restartPolicy", json!("Never")),
            ("/spec/terminationGracePeriodSeconds", json!(31)),
        ] {
            let mut other = full();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!means_the_same(&written(), &other), "{pointer}");
        }
        let mut more = written();
        more["spec"]["nodeName"] = json!("node-1");
        assert!(!means_the_same(&more, &full()));
    }

    #[test]
    fn only_an_image_without_tag_or_digest_moves() {
        for (image, moves) in [
            ("web", true),
            ("web:latest", true),
            ("registry:5000/web", true),
            ("web:v1", false),
            ("registry:5000/web:v1", false),
            ("web@sha256:abc", false),
        ] {
            assert_eq!(is_moving_image(image), moves, "{image}");
        }
    }
}
