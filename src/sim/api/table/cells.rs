//! The cells of built-in objects, in the order of their columns.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::pod::pod;
use super::{age, created};
use crate::sim::api::kinds::Resource;
use crate::sim::api::object::{self, at, text};
use crate::sim::api::select::Labels;

pub(super) const NONE: &str = "<none>";

/// The cells of an object of a built-in kind.
pub(super) fn cells(resource: &Resource, object: &Value, now: DateTime<Utc>) -> Vec<Value> {
    let name = Value::from(object::name(object));
    let age = created(object, now);
    let with_age = |cells: Vec<Value>| -> Vec<Value> {
        std::iter::once(name.clone()).chain(cells).chain(std::iter::once(age.clone())).collect()
    };
    let spec = |path: &str| string(object, &["spec", path]);
    match resource.plural.as_str() {
        "pods" => pod(object, now),
        "services" => service(object, &name, &age),
        "replicasets" | "deployments" | "statefulsets" | "daemonsets" | "jobs" => {
            workload(resource, object, now)
        }
        "events" => event(object, now),
        "nodes" => node(object, &name, &age),
        "namespaces" => with_age(vec![string(object, &["status", "phase"]).into()]),
        "secrets" => with_age(vec![text(object, "type").into(), length(object.get("data")).into()]),
        "configmaps" => {
            let count = length(object.get("data")) + length(object.get("binaryData"));
            with_age(vec![count.into()])
        }
        "serviceaccounts" => with_age(vec![length(object.get("secrets")).into()]),
        "endpointslices" => with_age(slice(object)),
        "ingresses" => with_age(ingress(object)),
        "ingressclasses" => with_age(vec![spec("controller").into(), NONE.into()]),
        "networkpolicies" => with_age(vec![selector(at(object, &["spec", "podSelector"])).into()]),
        "leases" => with_age(vec![spec("holderIdentity").into()]),
        "horizontalpodautoscalers" => with_age(autoscaler(object)),
        "poddisruptionbudgets" => with_age(budget(object)),
        "rolebindings" | "clusterrolebindings" => binding(object, &name, &age),
        "endpoints" => with_age(vec![endpoints(object).into()]),
        _ => vec![name, object::meta_text(object, "creationTimestamp").into()],
    }
}

pub(super) fn string(object: &Value, path: &[&str]) -> String {
    match at(object, path) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(super) fn or_none(text: String) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}

pub(super) fn number(object: &Value, path: &[&str]) -> i64 {
    at(object, path).and_then(Value::as_i64).unwrap_or(0)
}

pub(super) fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn length(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Array(list)) => list.len(),
        Some(Value::Object(map)) => map.len(),
        _ => 0,
    }
}

/// A label selector of a spec as text.
fn selector(selector: Option<&Value>) -> String {
    let text = selector.map(|selector| Labels::of_spec(selector).text()).unwrap_or_default();
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// A plain map of labels as text.
fn labels(map: Option<&Value>) -> String {
    let mut pairs: Vec<String> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

fn joined(list: &[Value], field: &str) -> String {
    list.iter().map(|entry| text(entry, field)).collect::<Vec<_>>().join(",")
}

fn service(object: &Value, name: &Value, age: &Value) -> Vec<Value> {
    let kind = string(object, &["spec", "type"]);
    let external: Vec<&str> =
        list(object, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    let balancers: Vec<String> = list(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|one| if text(one, "ip").is_empty() { text(one, "hostname") } else { text(one, "ip") })
        .map(str::to_owned)
        .collect();
    let external = match kind.as_str() {
        "ExternalName" => string(object, &["spec", "externalName"]),
        "LoadBalancer" if balancers.is_empty() && external.is_empty() => "<pending>".to_owned(),
        "LoadBalancer" => {
            let external = external.iter().map(|one| (*one).to_owned());
            balancers.into_iter().chain(external).collect::<Vec<_>>().join(",")
        }
        _ if external.is_empty() => NONE.to_owned(),
        _ => external.join(","),
    };
    let ports: Vec<String> = list(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let (protocol, node) = (text(port, "protocol"), number(port, &["nodePort"]));
            match node {
                0 => format!("{}/{protocol}", number(port, &["port"])),
                node => format!("{}:{node}/{protocol}", number(port, &["port"])),
            }
        })
        .collect();
    let address = list(object, &["spec", "clusterIPs"]).first().and_then(Value::as_str);
    vec![
        name.clone(),
        kind.into(),
        address.unwrap_or(NONE).into(),
        external.into(),
        or_none(ports.join(",")),
        age.clone(),
        labels(at(object, &["spec", "selector"])).into(),
    ]
}

fn workload(resource: &Resource, object: &Value, now: DateTime<Utc>) -> Vec<Value> {
    let of_status = |field: &str| Value::from(number(object, &["status", field]));
    let desired = number(object, &["spec", "replicas"]);
    let ready = number(object, &["status", "readyReplicas"]);
    let mut cells = vec![Value::from(object::name(object))];
    match resource.plural.as_str() {
        "deployments" => {
            cells.push(format!("{ready}/{desired}").into());
            cells.extend([of_status("updatedReplicas"), of_status("availableReplicas")]);
        }
        "statefulsets" => cells.push(format!("{ready}/{desired}").into()),
        "daemonsets" => {
            let fields = [
                "desiredNumberScheduled",
                "currentNumberScheduled",
                "numberReady",
                "updatedNumberScheduled",
                "numberAvailable",
            ];
            cells.extend(fields.map(of_status));
            let nodes = at(object, &["spec", "template", "spec", "nodeSelector"]);
            cells.push(labels(nodes).into());
        }
        "jobs" => cells.extend(job(object, now)),
        _ => cells.extend([desired.into(), of_status("replicas"), ready.into()]),
    }
    cells.push(created(object, now));
    let containers = list(object, &["spec", "template", "spec", "containers"]);
    cells.extend([joined(containers, "name").into(), joined(containers, "image").into()]);
    if resource.plural != "statefulsets" {
        cells.push(selector(at(object, &["spec", "selector"])).into());
    }
    cells
}

fn job(object: &Value, now: DateTime<Utc>) -> [Value; 3] {
    let has = |kind: &str| {
        list(object, &["status", "conditions"])
            .iter()
            .any(|one| text(one, "type") == kind && text(one, "status") == "True")
    };
    let status = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object::is_terminating(object) {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else {
        "Running"
    };
    let succeeded = number(object, &["status", "succeeded"]);
    let completions = number(object, &["spec", "completions"]).max(1);
    let started = string(object, &["status", "startTime"]);
    let ended = string(object, &["status", "completionTime"]);
    let duration = match DateTime::parse_from_rfc3339(&started) {
        Err(_) => String::new(),
        Ok(started) => {
            let end = DateTime::parse_from_rfc3339(&ended);
            let end = end.map_or(now, |end| end.with_timezone(&Utc));
            age::shown(end.signed_duration_since(started))
        }
    };
    [status.into(), format!("{succeeded}/{completions}").into(), duration.into()]
}

fn event(object: &Value, now: DateTime<Utc>) -> Vec<Value> {
    // The table is made of the event as it is stored: in the form of the core group.
    let time = |field: &str| string(object, &[field]);
    let first =
        if time("firstTimestamp").is_empty() { time("eventTime") } else { time("firstTimestamp") };
    let mut last =
        if time("lastTimestamp").is_empty() { first.clone() } else { time("lastTimestamp") };
    let mut count = number(object, &["count"]).max(1);
    if object.get("series").is_some() {
        last = string(object, &["series", "lastObservedTime"]);
        count = number(object, &["series", "count"]);
    }
    let kind = string(object, &["involvedObject", "kind"]).to_lowercase();
    let subject = match string(object, &["involvedObject", "name"]).as_str() {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let first_of = |one: String, other: &str| {
        if one.is_empty() { text(object, other).to_owned() } else { one }
    };
    let component = first_of(string(object, &["source", "component"]), "reportingComponent");
    let host = first_of(string(object, &["source", "host"]), "reportingInstance");
    let source = if host.is_empty() { component } else { format!("{component}, {host}") };
    vec![
        age::since(&last, now).into(),
        text(object, "type").into(),
        text(object, "reason").into(),
        subject.into(),
        string(object, &["involvedObject", "fieldPath"]).into(),
        source.into(),
        text(object, "message").trim().into(),
        age::since(&first, now).into(),
        count.into(),
        object::name(object).into(),
    ]
}

fn node(object: &Value, name: &Value, age: &Value) -> Vec<Value> {
    let ready = list(object, &["status", "conditions"])
        .iter()
        .find(|one| text(one, "type") == "Ready")
        .map_or("Unknown", |one| if text(one, "status") == "True" { "Ready" } else { "NotReady" });
    let is_closed = at(object, &["spec", "unschedulable"]) == Some(&Value::Bool(true));
    let status = if is_closed { format!("{ready},SchedulingDisabled") } else { ready.to_owned() };
    let prefix = "node-role.kubernetes.io/";
    let mut roles: Vec<&str> = object::metadata(object)
        .and_then(|meta| meta.get("labels"))
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix(prefix))
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        let list = list(object, &["status", "addresses"]);
        let found = list.iter().find(|one| text(one, "type") == kind);
        or_none(found.map(|one| text(one, "address").to_owned()).unwrap_or_default())
    };
    let info = |field: &str| {
        let text = string(object, &["status", "nodeInfo", field]);
        if text.is_empty() { Value::from("<unknown>") } else { text.into() }
    };
    vec![
        name.clone(),
        status.into(),
        or_none(roles.join(",")),
        age.clone(),
        string(object, &["status", "nodeInfo", "kubeletVersion"]).into(),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

/// The first three of a list, and how many more there are.
fn first_three(all: &[String]) -> String {
    if all.is_empty() {
        return "<unset>".to_owned();
    }
    let shown: Vec<&str> = all.iter().take(3).map(String::as_str).collect();
    match all.len().saturating_sub(3) {
        0 => shown.join(","),
        more => format!("{} + {more} more...", shown.join(",")),
    }
}

fn slice(object: &Value) -> Vec<Value> {
    let ports: Vec<String> = list(object, &["ports"])
        .iter()
        .map(|port| match string(port, &["port"]).as_str() {
            "" => text(port, "name").to_owned(),
            number => number.to_owned(),
        })
        .collect();
    let addresses: Vec<String> = list(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| list(endpoint, &["addresses"]))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    vec![
        text(object, "addressType").into(),
        first_three(&ports).into(),
        first_three(&addresses).into(),
    ]
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, &["subsets"]) {
        for port in list(subset, &["ports"]) {
            for address in list(subset, &["addresses"]) {
                all.push(format!("{}:{}", text(address, "ip"), number(port, &["port"])));
            }
        }
    }
    if all.is_empty() { NONE.to_owned() } else { first_three(&all) }
}

fn ingress(object: &Value) -> Vec<Value> {
    let hosts: Vec<String> = list(object, &["spec", "rules"])
        .iter()
        .map(|rule| text(rule, "host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { first_three(&hosts) };
    let address: Vec<&str> = list(object, &["status", "loadBalancer", "ingress"])
        .iter()
        .map(|one| if text(one, "ip").is_empty() { text(one, "hostname") } else { text(one, "ip") })
        .collect();
    let ports = if list(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        or_none(string(object, &["spec", "ingressClassName"])),
        hosts.into(),
        address.join(",").into(),
        ports.into(),
    ]
}

fn autoscaler(object: &Value) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        string(object, &["spec", "scaleTargetRef", "kind"]),
        string(object, &["spec", "scaleTargetRef", "name"])
    );
    let current = list(object, &["status", "currentMetrics"]);
    let targets: Vec<String> = list(object, &["spec", "metrics"])
        .iter()
        .enumerate()
        .filter(|(_, metric)| text(metric, "type") == "Resource")
        .map(|(idx, metric)| {
            let name = string(metric, &["resource", "name"]);
            let now = current
                .get(idx)
                .map(|one| string(one, &["resource", "current", "averageUtilization"]));
            let now = now.filter(|now| !now.is_empty());
            let wanted = string(metric, &["resource", "target", "averageUtilization"]);
            let now = now.map_or_else(|| "<unknown>".to_owned(), |now| format!("{now}%"));
            format!("{name}: {now}/{wanted}%")
        })
        .collect();
    let least = string(object, &["spec", "minReplicas"]);
    vec![
        reference.into(),
        if targets.is_empty() { NONE.into() } else { targets.join(", ").into() },
        if least.is_empty() { "<unset>".into() } else { least.into() },
        number(object, &["spec", "maxReplicas"]).into(),
        number(object, &["status", "currentReplicas"]).into(),
    ]
}

fn budget(object: &Value) -> Vec<Value> {
    let bound = |field: &str| match string(object, &["spec", field]).as_str() {
        "" => Value::from("N/A"),
        text => text.into(),
    };
    let allowed = number(object, &["status", "disruptionsAllowed"]);
    vec![bound("minAvailable"), bound("maxUnavailable"), allowed.into()]
}

fn binding(object: &Value, name: &Value, age: &Value) -> Vec<Value> {
    let role = string(object, &["roleRef", "kind"]) + "/" + &string(object, &["roleRef", "name"]);
    let subjects = |kind: &str| {
        let list = list(object, &["subjects"]).iter();
        let names: Vec<String> = list
            .filter(|subject| text(subject, "kind") == kind)
            .map(|subject| match text(subject, "namespace") {
                "" => text(subject, "name").to_owned(),
                namespace => format!("{namespace}/{}", text(subject, "name")),
            })
            .collect();
        Value::from(names.join(", "))
    };
    vec![
        name.clone(),
        role.into(),
        age.clone(),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
