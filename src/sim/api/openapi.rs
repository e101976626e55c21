//! `/openapi/v3`: the types of what is served, as far as kubectl looks at them (`explain`, field
//! validation, merging of lists).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::crd::DEFINITIONS;
use super::failure::Failure;
use super::kinds::Resource;
use super::object;
use super::request::Response;
use super::schema::{Form, ListKind, Schema};
use super::server::Server;

/// Answers requests below `/openapi`; none for other paths.
pub(crate) fn openapi(server: &Server, path: &str) -> Option<Response> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["openapi", "v3"] => Some(Response::json(200, index(server))),
        ["openapi", "v3", "api", version] => Some(document(server, "", version)),
        ["openapi", "v3", "apis", group, version] => Some(document(server, group, version)),
        ["openapi", "v2", ..] => Some(Failure::not_implemented("OpenAPI v2; ask for v3").into()),
        _ => None,
    }
}

fn index(server: &Server) -> Value {
    let mut paths = Map::new();
    for resource in server.kinds.all() {
        let path = root(resource);
        let entry = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
        paths.insert(path, entry);
    }
    json!({"paths": paths})
}

/// `apis/apps/v1`.
fn root(resource: &Resource) -> String {
    if resource.group.is_empty() {
        format!("api/{}", resource.version)
    } else {
        format!("apis/{}/{}", resource.group, resource.version)
    }
}

fn document(server: &Server, group: &str, version: &str) -> Response {
    let resources: Vec<&Resource> = server
        .kinds
        .all()
        .map(AsRef::as_ref)
        .filter(|one: &&Resource| one.group == group && one.version == version)
        .collect();
    if resources.is_empty() {
        return Failure::no_page().into();
    }
    let mut types = BTreeMap::new();
    let mut paths = Map::new();
    for resource in resources {
        let name = component(resource);
        let mut schema = if let Some(declared) = declared(server, resource) {
            custom(declared, &mut types)
        } else {
            let mut schema = described(&resource.schema, &mut types);
            for field in ["apiVersion", "kind"] {
                object::set_at(&mut schema, &["properties", field], json!({"type": "string"}));
            }
            schema
        };
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        object::set_at(&mut schema, &["x-kubernetes-group-version-kind"], json!([kind]));
        types.insert(name.clone(), schema);
        add_paths(resource, &kind, &name, &mut paths);
    }
    Response::json(
        200,
        json!({
            "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.4"},
            "paths": paths, "components": {"schemas": types},
        }),
    )
}

/// `dev.sluice.v1alpha1.Rollout`.
fn component(resource: &Resource) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').rev().collect();
    if resource.group.is_empty() {
        parts = vec!["io.k8s.api.core"];
    } else if !resource.is_custom {
        parts = vec!["io.k8s.api", resource.group.split('.').next().unwrap_or_default()];
    }
    parts.extend([resource.version.as_str(), resource.kind.as_str()]);
    parts.join(".")
}

/// The schema that a definition declares, as it is written there.
fn declared<'a>(server: &'a Server, resource: &Resource) -> Option<&'a Value> {
    if !resource.is_custom {
        return None;
    }
    let key = format!("{}.{}", resource.plural, resource.group);
    let definition = server.store.get(&DEFINITIONS, &key)?;
    let versions = object::at(definition, &["spec", "versions"])?.as_array()?;
    let version = versions.iter().find(|one| object::text(one, "name") == resource.version)?;
    object::at(version, &["schema", "openAPIV3Schema"])
}

fn custom(declared: &Value, types: &mut BTreeMap<String, Value>) -> Value {
    let mut schema = declared.clone();
    for field in ["apiVersion", "kind"] {
        object::set_at(&mut schema, &["properties", field], json!({"type": "string"}));
    }
    let meta = super::schema::builtin_schema("ObjectMeta");
    object::set_at(&mut schema, &["properties", "metadata"], reference(&meta, types));
    schema
}

/// A reference to a type of the table, which is described when it is first named.
fn reference(schema: &Schema, types: &mut BTreeMap<String, Value>) -> Value {
    let name = format!("io.k8s.table.{}", schema.name);
    if !types.contains_key(&name) {
        types.insert(name.clone(), Value::Null);
        let described = described(schema, types);
        types.insert(name.clone(), described);
    }
    json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}], "default": {}})
}

fn described(schema: &Schema, types: &mut BTreeMap<String, Value>) -> Value {
    let kind = match schema.form {
        Form::Any | Form::Object => "object",
        Form::Array => "array",
        Form::String => "string",
        Form::Integer => "integer",
        Form::Number => "number",
        Form::Boolean => "boolean",
        Form::IntOrString => return json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
    };
    let mut out = json!({"type": kind});
    let format = match schema.name {
        "i" => "int32",
        "l" => "int64",
        "t" | "m" => "date-time",
        "y" => "byte",
        _ => "",
    };
    if !format.is_empty() {
        object::set_at(&mut out, &["format"], format.into());
    }
    for (name, field) in &schema.properties {
        let value = field_schema(field, types);
        object::set_at(&mut out, &["properties", name], value);
    }
    if let Some(values) = &schema.additional {
        let value = field_schema(values, types);
        object::set_at(&mut out, &["additionalProperties"], value);
    }
    if let Some(items) = &schema.items {
        let value = field_schema(items, types);
        object::set_at(&mut out, &["items"], value);
    }
    if !schema.required.is_empty() {
        object::set_at(&mut out, &["required"], json!(schema.required));
    }
    merging(schema, &mut out);
    out
}

/// How lists and maps are merged.
fn merging(schema: &Schema, out: &mut Value) {
    match &schema.list {
        ListKind::Atomic if schema.form == Form::Array => {
            object::set_at(out, &["x-kubernetes-list-type"], "atomic".into());
        }
        ListKind::Atomic => {}
        ListKind::Set => object::set_at(out, &["x-kubernetes-list-type"], "set".into()),
        ListKind::Map(keys) => {
            object::set_at(out, &["x-kubernetes-list-type"], "map".into());
            object::set_at(out, &["x-kubernetes-list-map-keys"], json!(keys));
        }
    }
    if schema.is_atomic {
        object::set_at(out, &["x-kubernetes-map-type"], "atomic".into());
    }
    let strategy = match (&schema.patch.merge_key, schema.patch.retains_keys) {
        (Some(_), true) => "merge,retainKeys",
        (Some(_), false) => "merge",
        (None, true) => "retainKeys",
        (None, false) => return,
    };
    object::set_at(out, &["x-kubernetes-patch-strategy"], strategy.into());
    if let Some(key) = schema.patch.merge_key.as_deref().filter(|key| !key.is_empty()) {
        object::set_at(out, &["x-kubernetes-patch-merge-key"], key.into());
    }
}

/// A field: structs by reference, everything else in place.
fn field_schema(schema: &Schema, types: &mut BTreeMap<String, Value>) -> Value {
    let is_struct = schema.form == Form::Object && !schema.properties.is_empty();
    if is_struct && !schema.name.is_empty() {
        reference(schema, types)
    } else {
        described(schema, types)
    }
}

/// The paths of a kind, with what kubectl looks for in them: the parameters of a PATCH.
fn add_paths(resource: &Resource, kind: &Value, component: &str, paths: &mut Map<String, Value>) {
    let scope = if resource.is_namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("/{}{scope}/{}", root(resource), resource.plural);
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let content = json!({"application/json": {
        "schema": {"$ref": format!("#/components/schemas/{component}")}}});
    let operation = |action: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters.iter().map(|name| parameter(name)).collect();
        json!({
            "parameters": parameters, "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
            "responses": {"200": {"description": "OK", "content": content}},
        })
    };
    let writing = ["dryRun", "fieldManager", "fieldValidation"];
    paths.insert(
        collection.clone(),
        json!({
            "get": operation("list", &["labelSelector", "fieldSelector", "limit", "continue"]),
            "post": operation("post", &writing),
        }),
    );
    let patching = ["dryRun", "fieldManager", "fieldValidation", "force"];
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", &[]),
            "put": operation("put", &writing),
            "patch": operation("patch", &patching),
            "delete": operation("delete", &["dryRun", "propagationPolicy"]),
        }),
    );
}
