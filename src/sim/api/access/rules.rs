//! Roles and bindings, read from the store, and what they allow.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Attributes, RuleName};
use crate::sim::api::kinds::KindName;
use crate::sim::api::object;
use crate::sim::api::request::Identity;
use crate::sim::api::store::Store;

/// The API group of roles.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

const ROLES: KindName = KindName::of(GROUP, "roles");
const CLUSTER_ROLES: KindName = KindName::of(GROUP, "clusterroles");
const BINDINGS: KindName = KindName::of(GROUP, "rolebindings");
const CLUSTER_BINDINGS: KindName = KindName::of(GROUP, "clusterrolebindings");

/// What everybody who is known may read and ask.
const COMMON_PATHS: [&str; 10] = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
];

#[derive(Clone, Debug, Default)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

#[derive(Clone, Debug)]
struct Binding {
    name: String,
    /// Where it counts; empty for the whole cluster.
    namespace: String,
    subjects: Vec<Subject>,
    /// Namespace (empty for a ClusterRole) and name.
    role: (String, String),
}

#[derive(Clone, Debug)]
enum Subject {
    User(String),
    Group(String),
}

/// Everything that is allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    version: u64,
    roles: BTreeMap<(String, String), Vec<Rule>>,
    bindings: Vec<Binding>,
}

impl Policy {
    /// The version of the store that it was read from.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn read(store: &Store, version: u64) -> Self {
        let mut policy = Self { version, ..Self::default() };
        for kind in [&ROLES, &CLUSTER_ROLES] {
            for (_, role) in store.list(kind, "") {
                let key = (object::namespace(role).to_owned(), object::name(role).to_owned());
                let list = role.get("rules").and_then(Value::as_array);
                let rules = list.into_iter().flatten().map(Rule::read).collect();
                policy.roles.insert(key, rules);
            }
        }
        for kind in [&CLUSTER_BINDINGS, &BINDINGS] {
            policy.bindings.extend(store.list(kind, "").map(|(_, binding)| Binding::read(binding)));
        }
        policy
    }

    /// The rule that allows it; none for what everybody may.
    ///
    /// # Errors
    /// It is not allowed; what is known beside that.
    pub(super) fn decide(
        &self,
        identity: &Identity,
        wanted: &Attributes,
    ) -> Result<Option<RuleName>, String> {
        if is_common(identity, wanted) {
            return Ok(None);
        }
        let mut missing = Vec::new();
        for binding in &self.bindings {
            let counts_here = binding.namespace.is_empty() || binding.namespace == wanted.namespace;
            if !counts_here || !binding.subjects.iter().any(|subject| subject.is(identity)) {
                continue;
            }
            let (namespace, role) = &binding.role;
            let Some(rules) = self.roles.get(&binding.role) else {
                let kind = if namespace.is_empty() { "clusterrole" } else { "role" };
                missing.push(format!("{kind}.{GROUP} {role:?} not found"));
                continue;
            };
            if let Some(index) = rules.iter().position(|rule| rule.allows(wanted)) {
                let (namespace, role) = (namespace.clone(), role.clone());
                return Ok(Some(RuleName { namespace, role, index }));
            }
        }
        Err(match missing.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }
}

impl Policy {
    /// Why a rule counts for somebody, as reviews say it.
    pub(super) fn reason(&self, rule: &RuleName, identity: &Identity) -> String {
        let bound = (rule.namespace.clone(), rule.role.clone());
        let binding = self.bindings.iter().find(|binding| {
            binding.role == bound && binding.subjects.iter().any(|subject| subject.is(identity))
        });
        let Some(binding) = binding else { return String::new() };
        let subject = binding.subjects.iter().find(|subject| subject.is(identity));
        let subject = match subject {
            Some(Subject::User(user)) => format!("User {user:?}"),
            Some(Subject::Group(group)) => format!("Group {group:?}"),
            None => String::new(),
        };
        let role_kind = if rule.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let (kind, name) = if binding.namespace.is_empty() {
            ("ClusterRoleBinding", binding.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", binding.name, binding.namespace))
        };
        format!("RBAC: allowed by {kind} {name:?} of {role_kind} {:?} to {subject}", rule.role)
    }
}

/// Discovery, health, and questions about oneself.
fn is_common(identity: &Identity, wanted: &Attributes) -> bool {
    if !wanted.path.is_empty() {
        return matches!(wanted.verb.as_str(), "get" | "head")
            && COMMON_PATHS.iter().any(|pattern| matches_path(pattern, &wanted.path));
    }
    let is_known = identity.groups.iter().any(|group| group == "system:authenticated");
    is_known
        && wanted.verb == "create"
        && matches!(
            (wanted.group.as_str(), wanted.resource.as_str()),
            ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
                | ("authentication.k8s.io", "selfsubjectreviews")
        )
}

fn matches_path(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern || path.trim_end_matches('/') == pattern,
    }
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    let list = value.get(field).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Rule {
    fn read(rule: &Value) -> Self {
        Self {
            verbs: texts(rule, "verbs"),
            groups: texts(rule, "apiGroups"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
            paths: texts(rule, "nonResourceURLs"),
        }
    }

    fn allows(&self, wanted: &Attributes) -> bool {
        let has =
            |list: &[String], one: &str| list.iter().any(|entry| entry == "*" || entry == one);
        if !has(&self.verbs, &wanted.verb) {
            return false;
        }
        if !wanted.path.is_empty() {
            return self
                .paths
                .iter()
                .any(|pattern| pattern == "*" || matches_path(pattern, &wanted.path));
        }
        let resource = wanted.qualified_resource();
        let any_of_subresource = format!("*/{}", wanted.subresource);
        let covers_resource = self.resources.iter().any(|entry| {
            entry == "*"
                || *entry == resource
                || !wanted.subresource.is_empty() && *entry == any_of_subresource
        });
        has(&self.groups, &wanted.group)
            && covers_resource
            && (self.names.is_empty() || self.names.contains(&wanted.name))
    }
}

impl Binding {
    fn read(binding: &Value) -> Self {
        let namespace = object::namespace(binding).to_owned();
        let role = binding.get("roleRef").unwrap_or(&Value::Null);
        let of_namespace = object::text(role, "kind") == "Role";
        let list = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
        let subjects = list.filter_map(|subject| {
            let name = object::text(subject, "name").to_owned();
            match object::text(subject, "kind") {
                "User" => Some(Subject::User(name)),
                "Group" => Some(Subject::Group(name)),
                "ServiceAccount" => {
                    let namespace = object::text(subject, "namespace");
                    Some(Subject::User(format!("system:serviceaccount:{namespace}:{name}")))
                }
                _ => None,
            }
        });
        Self {
            name: object::name(binding).to_owned(),
            subjects: subjects.collect(),
            role: (
                if of_namespace { namespace.clone() } else { String::new() },
                object::text(role, "name").to_owned(),
            ),
            namespace,
        }
    }
}

impl Subject {
    fn is(&self, identity: &Identity) -> bool {
        match self {
            Self::User(user) => *user == identity.user,
            Self::Group(group) => identity.groups.contains(group),
        }
    }
}
