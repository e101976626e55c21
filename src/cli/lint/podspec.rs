//! The pod template of a Rollout against Kubernetes' own type: wrong types and unknown fields. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Everything that does not fit, as `(path, problem)`; a path begins with `.` or `[`.
pub(super) fn problems(template: &Value) -> Vec<(String, String)> {
    let known: PodTemplateSpec = match serde_path_to_error::deserialize(template) {
        Ok(known) => known,
        Err(error) => {
            return vec![(format!(".{}", error.path()), error.inner().to_string())];
        }
    };
    // A field that the type does not have is dropped on the way through it.
    let Ok(again) = serde_json::to_value(&known) else { return Vec::new() };
    let mut found = Vec::new();
    unknown(template, &again, "", &mut found);
    found
}

fn unknown(given: &Value, known: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let path = format!("{path}.{key}");
                match known.get(key) {
                    Some(known) => unknown(value, known, &path, found),
                    // Null and empty values are dropped as well, and say nothing.
                    None if is_empty(value) => {}
                    None => found.push((path, "unknown field".to_owned())),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (idx, (given, known)) in given.iter().zip(known).enumerate() {
                unknown(given, known, &format!("{path}[{idx}]"), found);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_of_a_pod_are_told_with_their_path() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
            {"name": "web", "image": "x", "resources": {"limits": {"cpu": "1"}}, "prots": [1],
             "env": [], "readinessProbe": {"httpGet": {"port": "http", "paht": "/"}}}]}});
        assert_eq!(
            problems(&template),
            [
                (".spec.containers[0].prots".to_owned(), "unknown field".to_owned()),
                (
                    ".spec.containers[0].readinessProbe.httpGet.paht".to_owned(),
                    "unknown field".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn a_wrong_type_in_a_pod_is_told_with_its_path() {
        let template = json!({"spec": {"containers": [{"name": "web", "ports":
            [{"containerPort": "80"}]}]}});
        let found = problems(&template);
        assert_eq!(found[0].0, ".spec.containers[0].ports[0].containerPort");
    }
}
