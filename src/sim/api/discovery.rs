//! What the server says of itself: its API groups, versions and kinds, in the old form and in the
//! aggregated one that kubectl asks for.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::kinds::Resource;
use super::request::{Request, Response};
use super::server::Server;

/// What a client asks for in order to get the aggregated form.
const AGGREGATED: &str = "as=APIGroupDiscoveryList";
const AGGREGATED_TYPE: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const BUILTIN_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CUSTOM_VERBS: [&str; 8] =
    ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// Answers requests for discovery; none for other paths.
pub(crate) fn discover(server: &Server, request: &Request<'_>) -> Option<Response> {
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let is_aggregated = request.accept.contains(AGGREGATED) && request.accept.contains("v=v2");
    let value = match parts.as_slice() {
        ["api" | "apis"] if is_aggregated => {
            let is_core = parts.first() == Some(&"api");
            let body = aggregated(server, is_core).into();
            return Some(Response::Typed { content_type: AGGREGATED_TYPE, body });
        }
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        ["apis"] => {
            let groups: Vec<Value> = groups(server)
                .iter()
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, versions)| group(name, versions))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", name] => match groups(server).get(*name) {
            Some(versions) => {
                let mut group = group(name, versions);
                super::object::set_at(&mut group, &["kind"], "APIGroup".into());
                super::object::set_at(&mut group, &["apiVersion"], "v1".into());
                group
            }
            None => return Some(Failure::no_page().into()),
        },
        ["api", version] => return Some(resource_list(server, "", version)),
        ["apis", name, version] => return Some(resource_list(server, name, version)),
        _ => return None,
    };
    Some(Response::json(200, value))
}

/// The groups with their versions, the best one first.
fn groups(server: &Server) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in server.kinds.all() {
        let versions = groups.entry(resource.group.clone()).or_default();
        if !versions.contains(&resource.version) {
            versions.push(resource.version.clone());
        }
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
    }
    groups
}

/// Released versions are above betas, and those above alphas; higher numbers above lower ones.
fn rank(version: &str) -> (u8, u32, u32) {
    let rest = version.strip_prefix('v').unwrap_or(version);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let major = major.parse().unwrap_or(0);
    let minor = |prefix: &str| rest.strip_prefix(prefix).and_then(|minor| minor.parse().ok());
    match (rest, minor("beta"), minor("alpha")) {
        ("", ..) => (2, major, 0),
        (_, Some(minor), _) => (1, major, minor),
        (_, _, Some(minor)) => (0, major, minor),
        _ => (0, 0, 0),
    }
}

fn group(name: &str, versions: &[String]) -> Value {
    let version =
        |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let list: Vec<Value> = versions.iter().map(version).collect();
    json!({"name": name, "versions": list, "preferredVersion": list.first()})
}

fn of_version<'a>(server: &'a Server, group: &str, version: &str) -> Vec<&'a Resource> {
    let all = server.kinds.all().map(AsRef::as_ref);
    all.filter(|one: &&Resource| one.group == group && one.version == version).collect()
}

fn verbs(resource: &Resource) -> Vec<&'static str> {
    if resource.is_virtual {
        vec!["create"]
    } else if resource.is_custom {
        CUSTOM_VERBS.to_vec()
    } else {
        BUILTIN_VERBS.to_vec()
    }
}

/// The subresources with the group, version and kind of what they speak, and their verbs.
fn subresources(resource: &Resource) -> Vec<(&'static str, [String; 3], Vec<&'static str>)> {
    let own = [resource.group.clone(), resource.version.clone(), resource.kind.clone()];
    let scale = ["autoscaling", "v1", "Scale"].map(str::to_owned);
    let mut list = Vec::new();
    let has_scale = resource.scale.is_some();
    if has_scale && !resource.is_custom {
        list.push(("scale", scale.clone(), SUBRESOURCE_VERBS.to_vec()));
    }
    if resource.manners.has_status {
        list.push(("status", own, SUBRESOURCE_VERBS.to_vec()));
    }
    if has_scale && resource.is_custom {
        list.push(("scale", scale, SUBRESOURCE_VERBS.to_vec()));
    }
    if resource.plural == "pods" && resource.group.is_empty() {
        let eviction = ["policy", "v1", "Eviction"].map(str::to_owned);
        list.push(("eviction", eviction, vec!["create"]));
    }
    list
}

fn resource_list(server: &Server, group: &str, version: &str) -> Response {
    let resources = of_version(server, group, version);
    if resources.is_empty() {
        let is_builtin = server.kinds.all().any(|one| one.group == group && !one.is_custom);
        return if is_builtin { Failure::no_such_path() } else { Failure::no_page() }.into();
    }
    let mut list = Vec::new();
    for resource in resources {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular,
            "namespaced": resource.is_namespaced, "kind": resource.kind,
            "verbs": verbs(resource),
        });
        for (key, texts) in
            [("shortNames", &resource.short_names), ("categories", &resource.categories)]
        {
            if !texts.is_empty() {
                super::object::set_at(&mut entry, &[key], json!(texts));
            }
        }
        list.push(entry);
        for (name, [group, version, kind], verbs) in subresources(resource) {
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural), "singularName": "",
                "namespaced": resource.is_namespaced, "kind": kind, "verbs": verbs,
            });
            if group != resource.group {
                super::object::set_at(&mut entry, &["group"], group.into());
                super::object::set_at(&mut entry, &["version"], version.into());
            }
            list.push(entry);
        }
    }
    Response::json(
        200,
        json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": super::kinds::api_version(group, version), "resources": list,
        }),
    )
}

fn aggregated(server: &Server, is_core: bool) -> Value {
    let mut items = Vec::new();
    for (name, versions) in groups(server) {
        if name.is_empty() != is_core {
            continue;
        }
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let resources: Vec<Value> =
                    of_version(server, &name, version).into_iter().map(aggregated_entry).collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        let meta =
            if is_core { Map::new() } else { Map::from_iter([("name".to_owned(), name.into())]) };
        items.push(json!({"metadata": meta, "versions": versions}));
    }
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
}

fn aggregated_entry(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.is_namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": verbs(resource),
    });
    for (key, texts) in
        [("shortNames", &resource.short_names), ("categories", &resource.categories)]
    {
        if !texts.is_empty() {
            super::object::set_at(&mut entry, &[key], json!(texts));
        }
    }
    let list: Vec<Value> = subresources(resource)
        .into_iter()
        .map(|(name, [group, version, of], verbs)| {
            json!({
                "subresource": name, "responseKind": kind(&group, &version, &of), "verbs": verbs,
            })
        })
        .collect();
    if !list.is_empty() {
        super::object::set_at(&mut entry, &["subresources"], Value::Array(list));
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ranked_as_kubernetes_does() {
        let mut versions = ["v1alpha1", "v2", "v1beta2", "v1", "v1beta10", "v10"];
        versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1"]);
    }
}
