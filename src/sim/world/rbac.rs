//! What an installation gives to the controller: its ServiceAccount and the roles that the chart
//! ships, from the same data. Nothing more, so that a missing right shows.

use serde_json::{Value, json};

use crate::api::ApiNames;
use crate::api::rbac::{Grant, Role};

/// Namespace of the controller.
pub(crate) const NAMESPACE: &str = "sluice-system";
/// Its ServiceAccount.
pub(crate) const SERVICE_ACCOUNT: &str = "sluice-controller";
const GROUP: &str = "rbac.authorization.k8s.io";

/// The objects of an installation for the whole cluster, with the roles of what is switched off at
/// first as far as `wanted` says.
pub(crate) fn installation(names: ApiNames, wanted: &[Role]) -> Vec<Value> {
    let mut objects = vec![
        namespace(NAMESPACE),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": SERVICE_ACCOUNT, "namespace": NAMESPACE},
        }),
    ];
    for role in Role::ALL {
        let name = format!("sluice-{}", role.as_str());
        let rules: Vec<Value> = role.grants(names).iter().map(rule).collect();
        let (kind, binding) = match role {
            Role::JobMetrics | Role::GitOpsRefresh if !wanted.contains(&role) => continue,
            Role::OwnNamespace => ("Role", Some("RoleBinding")),
            Role::Workloads
            | Role::JobMetrics
            | Role::GitOps
            | Role::GitOpsRefresh
            | Role::ClusterKinds => ("ClusterRole", Some("ClusterRoleBinding")),
            // Bound where a namespace wants it.
            Role::Secrets => ("ClusterRole", None),
        };
        let place = |kind: &str| match kind {
            "Role" | "RoleBinding" => json!({"name": name, "namespace": NAMESPACE}),
            _ => json!({"name": name}),
        };
        objects.push(json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": place(kind),
            "rules": rules,
        }));
        if let Some(binding) = binding {
            objects.push(bound(binding, &place(binding), kind, &name));
        }
    }
    objects
}

/// Lets the controller read Secrets of a namespace, as `deploy/secret-access.yaml` does.
pub(crate) fn secret_access(namespace: &str) -> Value {
    let place = json!({"name": "sluice-secrets", "namespace": namespace});
    bound("RoleBinding", &place, "ClusterRole", "sluice-secrets")
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn bound(kind: &str, metadata: &Value, role_kind: &str, role: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
        "subjects": [
            {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE},
        ],
    })
}

fn rule(grant: &Grant) -> Value {
    let mut rule = json!({
        "apiGroups": [grant.api_group], "resources": grant.resources, "verbs": grant.verbs,
    });
    if let Some(map) = rule.as_object_mut()
        && !grant.resource_names.is_empty()
    {
        map.insert("resourceNames".to_owned(), json!(grant.resource_names));
    }
    rule
}
