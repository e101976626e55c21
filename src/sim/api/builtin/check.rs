//! What of the built-in kinds is required, and what can never be changed: the parts that writers of
//! these kinds run into. Not all of kube-apiserver's validation.

use serde_json::Value;

use crate::sim::api::failure::Cause;
use crate::sim::api::kinds::Resource;
use crate::sim::api::object::{at, text};
use crate::sim::api::select::Labels;

/// Adds nothing when all is well. `old` is the object before an update.
pub(crate) fn check(resource: &Resource, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            workload(new, &mut causes);
            immutable(new, old, &["spec", "selector"], &mut causes);
        }
        ("", "services") => service(new, old, &mut causes),
        ("", "secrets") => immutable(new, old, &["type"], &mut causes),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            if let Some(old) = old
                && old.get("roleRef") != new.get("roleRef")
            {
                let value = new.get("roleRef").cloned().unwrap_or_default();
                causes.push(Cause::invalid("roleRef", &value, "cannot change roleRef"));
            }
        }
        _ => {}
    }
    causes
}

fn immutable(new: &Value, old: Option<&Value>, path: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old else { return };
    if at(new, path) != at(old, path) {
        let value = at(new, path).cloned().unwrap_or_default();
        causes.push(Cause::invalid(&path.join("."), &value, "field is immutable"));
    }
}

fn workload(new: &Value, causes: &mut Vec<Cause>) {
    let selector = at(new, &["spec", "selector"]);
    let Some(selector) = selector else {
        causes.push(Cause::required("spec.selector", ""));
        return;
    };
    let labels = at(new, &["spec", "template", "metadata", "labels"]);
    let template = at(new, &["spec", "template"]).cloned().unwrap_or_default();
    if !Labels::of_spec(selector).matches(&template) {
        let value = labels.cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let detail = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &value, detail));
    }
    containers(at(new, &["spec", "template", "spec"]), "spec.template.spec", causes);
    if let Some(replicas) = at(new, &["spec", "replicas"]).and_then(Value::as_i64)
        && replicas < 0
    {
        let detail = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &replicas.into(), detail));
    }
}

fn containers(spec: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let list = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        causes.push(Cause::required(&format!("{path}.containers"), ""));
        return;
    };
    let mut names = Vec::new();
    for (idx, container) in list.iter().enumerate() {
        let field = |name: &str| format!("{path}.containers[{idx}].{name}");
        let name = text(container, "name");
        if name.is_empty() {
            causes.push(Cause::required(&field("name"), ""));
        } else if names.contains(&name) {
            causes.push(Cause::duplicate(&field("name"), &name.into()));
        }
        names.push(name);
        if text(container, "image").is_empty() {
            causes.push(Cause::required(&field("image"), ""));
        }
    }
}

fn service(new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let is_external = at(new, &["spec", "type"]).and_then(Value::as_str) == Some("ExternalName");
    let is_headless = at(new, &["spec", "clusterIP"]).and_then(Value::as_str) == Some("None");
    let ports = at(new, &["spec", "ports"]).and_then(Value::as_array);
    let ports = ports.map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && !is_external && !is_headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (idx, port) in ports.iter().enumerate() {
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            let detail = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(&format!("spec.ports[{idx}].port"), &number.into(), detail));
        }
        if ports.len() > 1 && text(port, "name").is_empty() {
            causes.push(Cause::required(&format!("spec.ports[{idx}].name"), ""));
        }
    }
    if let Some(old) = old {
        let address = |object: &Value| {
            at(object, &["spec", "clusterIP"])
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if !address(old).is_empty() && address(new) != address(old) && !is_external {
            let path = "spec.clusterIPs[0]";
            let value = vec![Value::from(address(new))];
            causes.push(Cause::invalid(path, &value.into(), "may not change once set"));
        }
    }
}
