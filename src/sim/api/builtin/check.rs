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
        ("", "pods") => {
            containers(new.get("spec"), "spec", &mut causes);
            if let Some(old) = old {
                pod_update(new, old, &mut causes);
            }
        }
        ("", "services") => service(new, old, &mut causes),
        ("", "configmaps") => {
            keys(new, &["data", "binaryData"], &mut causes);
            sealed(new, old, &["data", "binaryData"], &mut causes);
        }
        ("discovery.k8s.io", "endpointslices") if text(new, "addressType").is_empty() => {
            causes.push(Cause::required("addressType", ""));
        }
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => rules(new, &mut causes),
        ("", "secrets") => {
            keys(new, &["data"], &mut causes);
            immutable(new, old, &["type"], &mut causes);
            sealed(new, old, &["data"], &mut causes);
        }
        ("" | "events.k8s.io", "events") if old.is_none() => event(resource, new, &mut causes),
        ("apiextensions.k8s.io", _) => definition(new, &mut causes),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            if let Some(old) = old
                && old.get("roleRef") != new.get("roleRef")
            {
                let role = new.get("roleRef").unwrap_or(&Value::Null);
                let field = |name: &str| Value::from(text(role, name));
                // The fields as they are called inside of the server.
                let shown = format!(
                    "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
                    field("apiGroup"),
                    field("kind"),
                    field("name")
                );
                causes.push(Cause::shown_invalid("roleRef", &shown, "cannot change roleRef"));
            }
        }
        _ => {}
    }
    causes
}

/// The names of files in maps and Secrets.
fn keys(new: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    let is_plain = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    for field in fields {
        let map = new.get(field).and_then(Value::as_object);
        for key in map.into_iter().flat_map(|map| map.keys()) {
            let why = match key.as_str() {
                "." => "must not be '.'",
                ".." => "must not be '..'",
                key if key.starts_with("..") => "must not start with '..'",
                key if is_plain(key) => continue,
                _ => {
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' \
                     (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation \
                     is '[-._a-zA-Z0-9]+')"
                }
            };
            let value = Value::from(key.as_str());
            causes.push(Cause::invalid(&format!("{field}[{key}]"), &value, why));
        }
    }
}

/// The rules of a role: each says what may be done.
fn rules(new: &Value, causes: &mut Vec<Cause>) {
    let rules = new.get("rules").and_then(Value::as_array);
    for (idx, rule) in rules.into_iter().flatten().enumerate() {
        let verbs = rule.get("verbs").and_then(Value::as_array);
        if verbs.is_none_or(Vec::is_empty) {
            let field = format!("rules[{idx}].verbs");
            causes.push(Cause::required(&field, "verbs must contain at least one value"));
        }
    }
}

fn immutable(new: &Value, old: Option<&Value>, path: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old else { return };
    if at(new, path) != at(old, path) {
        let value = at(new, path).cloned().unwrap_or_default();
        causes.push(Cause::invalid(&path.join("."), &value, "field is immutable"));
    }
}

/// What is sealed cannot be changed, nor unsealed.
fn sealed(new: &Value, old: Option<&Value>, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|old| old.get("immutable") == Some(&Value::Bool(true))) else {
        return;
    };
    let detail = "field is immutable when `immutable` is set";
    if new.get("immutable") != Some(&Value::Bool(true)) {
        causes.push(Cause::forbidden("immutable", detail));
    }
    for field in fields {
        if new.get(*field) != old.get(*field) {
            causes.push(Cause::forbidden(field, detail));
        }
    }
}

/// Of the spec of a pod only images and a few times may change.
fn pod_update(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let rest = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        for list in ["containers", "initContainers"] {
            let entries = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in entries {
                crate::sim::api::object::remove_at(container, &["image"]);
            }
        }
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
            crate::sim::api::object::remove_at(&mut spec, &[field]);
        }
        spec
    };
    if rest(new) != rest(old) {
        let detail = "pod updates may not change fields other than `spec.containers[*].image`,\
                      `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                      `spec.tolerations` (only additions to existing tolerations),\
                      `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                      previously negative)";
        causes.push(Cause::forbidden("spec", detail));
    }
}

/// A new event is about something in its namespace; those of `events.k8s.io` are held to more.
fn event(resource: &Resource, new: &Value, causes: &mut Vec<Cause>) {
    let is_of_core = resource.group.is_empty();
    let subject = if is_of_core { "involvedObject" } else { "regarding" };
    let namespace = at(new, &[subject, "namespace"]).and_then(Value::as_str).unwrap_or_default();
    let own = crate::sim::api::object::namespace(new);
    let is_timed = new.get("eventTime").is_some_and(|time| !time.is_null());
    let is_anywhere = matches!(own, "default") || is_timed && own == "kube-system";
    let fits = if namespace.is_empty() { is_anywhere } else { is_timed || namespace == own };
    if !fits {
        let detail = "does not match event.namespace";
        causes.push(Cause::invalid("involvedObject.namespace", &namespace.into(), detail));
    }
    if is_timed {
        let reporter = if is_of_core { "reportingComponent" } else { "reportingController" };
        for field in [reporter, "reportingInstance", "action", "reason"] {
            if text(new, field).is_empty() {
                causes.push(Cause::required(field, ""));
            }
        }
    }
    if is_of_core {
        return;
    }
    if !is_timed {
        causes.push(Cause::required("eventTime", ""));
    }
    let kind = text(new, "type");
    if !matches!(kind, "Normal" | "Warning") {
        let detail = format!("has invalid value: {kind}");
        causes.push(Cause::invalid("type", &"".into(), &detail));
    }
}

/// A definition is called after its kind, and stores one version.
fn definition(new: &Value, causes: &mut Vec<Cause>) {
    let plural = at(new, &["spec", "names", "plural"]).and_then(Value::as_str).unwrap_or_default();
    let group = at(new, &["spec", "group"]).and_then(Value::as_str).unwrap_or_default();
    let name = crate::sim::api::object::name(new);
    if name != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &name.into(), detail));
    }
    let versions = at(new, &["spec", "versions"]).and_then(Value::as_array);
    let stored = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)));
    if stored.count() != 1 {
        let value = versions.cloned().unwrap_or_default();
        let detail = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &Value::Array(value), detail));
    }
}

fn workload(new: &Value, causes: &mut Vec<Cause>) {
    let selector = at(new, &["spec", "selector"]).filter(|selector| !selector.is_null());
    if selector.is_none() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let labels = at(new, &["spec", "template", "metadata", "labels"]);
    let template = at(new, &["spec", "template"]).cloned().unwrap_or_default();
    if !selector.is_some_and(|selector| Labels::of_spec(selector).matches(&template)) {
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
        if let Some(target) = port.get("targetPort").filter(|target| target.is_number())
            && !(1..=65535).contains(&target.as_i64().unwrap_or(0))
        {
            let detail = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(&format!("spec.ports[{idx}].targetPort"), target, detail));
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
