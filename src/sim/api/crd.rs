//! CustomResourceDefinitions: what a definition makes the server serve.

use serde_json::{Value, json};

use super::kinds::{Column, KindName, Manners, Resource, Scale, api_version};
use super::object;
use super::schema::{Form, Schema, builtin_schema, from_openapi};

/// The kind of CustomResourceDefinitions.
pub(crate) const DEFINITIONS: KindName =
    KindName::of("apiextensions.k8s.io", "customresourcedefinitions");

/// Every served version that a definition declares.
pub(crate) fn resources(definition: &Value) -> Vec<Resource> {
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    let group = object::text(spec, "group");
    let names = spec.get("names").unwrap_or(&Value::Null);
    let versions = spec.get("versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is = |version: &Value, key: &str| version.get(key) == Some(&Value::Bool(true));
    let stored = versions.iter().find(|version| is(version, "storage"));
    let stored = stored.map(|version| object::text(version, "name")).unwrap_or_default();
    let kind = object::text(names, "kind").to_owned();
    let list_kind = match object::text(names, "listKind") {
        "" => format!("{kind}List"),
        given => given.to_owned(),
    };
    let singular = match object::text(names, "singular") {
        "" => kind.to_lowercase(),
        given => given.to_owned(),
    };
    let plural = object::text(names, "plural").to_owned();
    versions
        .iter()
        .filter(|version| is(version, "served"))
        .map(|version| Resource {
            group: group.to_owned(),
            version: object::text(version, "name").to_owned(),
            kind: kind.clone(),
            plural: plural.clone(),
            singular: singular.clone(),
            list_kind: list_kind.clone(),
            short_names: texts(names.get("shortNames")),
            categories: texts(names.get("categories")),
            is_namespaced: object::text(spec, "scope") == "Namespaced",
            is_custom: true,
            is_virtual: false,
            manners: Manners {
                has_generation: true,
                has_status: object::at(version, &["subresources", "status"]).is_some(),
                ..Manners::default()
            },
            scale: object::at(version, &["subresources", "scale"]).map(scale),
            schema: schema(version).into(),
            columns: columns(version),
            selectable: selectable(version),
            stored_as: api_version(group, stored),
            storage: KindName::new(group, &plural),
        })
        .collect()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `.spec.replicas` as steps.
fn steps(path: &str) -> Vec<String> {
    path.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect()
}

fn scale(scale: &Value) -> Scale {
    let selector = object::text(scale, "labelSelectorPath");
    Scale {
        spec_replicas: steps(object::text(scale, "specReplicasPath")),
        status_replicas: steps(object::text(scale, "statusReplicasPath")),
        selector: (!selector.is_empty()).then(|| steps(selector)),
    }
}

/// The schema of whole objects: that of the definition, with the metadata that every object has.
fn schema(version: &Value) -> Schema {
    let declared = object::at(version, &["schema", "openAPIV3Schema"]);
    let mut schema = declared.map(from_openapi).unwrap_or_default();
    schema.form = Form::Object;
    let text = || Schema { form: Form::String, ..Schema::default() };
    schema.properties.insert("apiVersion".to_owned(), text().into());
    schema.properties.insert("kind".to_owned(), text().into());
    // What the definition says of metadata counts for names only, and nobody writes that.
    schema.properties.insert("metadata".to_owned(), builtin_schema("ObjectMeta"));
    schema
}

fn columns(version: &Value) -> Vec<Column> {
    let list = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let column = |column: &Value| Column {
        name: object::text(column, "name").to_owned(),
        path: object::text(column, "jsonPath").to_owned(),
        kind: object::text(column, "type").to_owned(),
        format: object::text(column, "format").to_owned(),
        description: object::text(column, "description").to_owned(),
        priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
    };
    list.into_iter().flatten().map(column).collect()
}

fn selectable(version: &Value) -> Vec<String> {
    let list = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    list.map(|field| object::text(field, "jsonPath").trim_start_matches('.').to_owned()).collect()
}

/// The status of a definition that has been accepted and is served: what the API server's own
/// controllers write soon after it is stored.
pub(crate) fn established(definition: &Value, now: &str) -> Value {
    let names = object::at(definition, &["spec", "names"]).cloned().unwrap_or_default();
    let versions = object::at(definition, &["spec", "versions"]).and_then(Value::as_array);
    let stored: Vec<&str> = versions
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
        .map(|version| object::text(version, "name"))
        .collect();
    json!({
        "acceptedNames": names,
        "storedVersions": stored,
        "conditions": [
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts",
             "message": "no conflicts found", "lastTransitionTime": now},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted",
             "message": "the initial names have been accepted", "lastTransitionTime": now},
        ],
    })
}
