//! The kinds of the Gateway API as definitions: names, scopes, status and scale as the standard
//! channel has them, and of the schemas what routing depends on (defaults, bounds, list types).
//! Everything else is kept as it is written.
//!
//! Source: Gateway API v1.4, `HTTPRoute`, `GRPCRoute`, `Gateway`, `GatewayClass`.

use serde_json::{Value, json};

const GROUP: &str = "gateway.networking.k8s.io";

/// The definitions.
pub(crate) fn definitions() -> Vec<Value> {
    let open = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    vec![
        definition("GatewayClass", "gatewayclasses", "Cluster", &open()),
        definition("Gateway", "gateways", "Namespaced", &open()),
        definition("HTTPRoute", "httproutes", "Namespaced", &route(&http_matches())),
        definition("GRPCRoute", "grpcroutes", "Namespaced", &route(&open_list())),
    ]
}

fn definition(kind: &str, plural: &str, scope: &str, spec: &Value) -> Value {
    let singular = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": scope,
            "names": {
                "kind": kind, "plural": plural, "singular": singular,
                "listKind": format!("{kind}List"),
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                        "metadata": {"type": "object"}, "spec": spec,
                        "status": {
                            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        },
                    },
                    "required": ["spec"],
                }},
            }],
        },
    })
}

/// A list of anything.
fn open_list() -> Value {
    json!({
        "type": "array", "x-kubernetes-list-type": "atomic",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

fn http_matches() -> Value {
    json!({
        "type": "array", "maxItems": 64, "x-kubernetes-list-type": "atomic",
        "default": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "items": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"path": {
                "type": "object", "default": {"type": "PathPrefix", "value": "/"},
                "properties": {
                    "type": {"type": "string", "default": "PathPrefix"},
                    "value": {"type": "string", "default": "/"},
                },
            }},
        },
    })
}

fn route(matches: &Value) -> Value {
    let reference = |group: &str, kind: &str| {
        json!({
            "group": {"type": "string", "default": group, "maxLength": 253},
            "kind": {"type": "string", "default": kind, "minLength": 1, "maxLength": 63},
            "name": {"type": "string", "minLength": 1, "maxLength": 253},
            "namespace": {"type": "string", "minLength": 1, "maxLength": 63},
            "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
        })
    };
    let mut parent = reference(GROUP, "Gateway");
    let mut backend = reference("", "Service");
    if let (Some(parent), Some(backend)) = (parent.as_object_mut(), backend.as_object_mut()) {
        parent.insert("sectionName".to_owned(), json!({"type": "string"}));
        let weight = json!({"type": "integer", "default": 1, "minimum": 0, "maximum": 1_000_000});
        backend.insert("weight".to_owned(), weight);
        backend.insert("filters".to_owned(), open_list());
    }
    json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "parentRefs": {
                "type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic",
                "items": {"type": "object", "required": ["name"], "properties": parent},
            },
            "hostnames": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                "items": {"type": "string"},
            },
            "rules": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {
                        "matches": matches,
                        "backendRefs": {
                            "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                            "items": {
                                "type": "object", "required": ["name"], "properties": backend,
                            },
                        },
                    },
                },
            },
        },
    })
}
