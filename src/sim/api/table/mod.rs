//! Objects as tables, which is what `kubectl get` asks for: the columns of built-in kinds, and those
//! that a CustomResourceDefinition declares.

mod age;
mod builtin;
mod cells;
mod path;
mod pod;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::kinds::{Column, Resource};
use super::object;

/// A column: name, type, format, priority (0 is always shown).
pub(super) type ColumnSpec = (&'static str, &'static str, &'static str, i64);

/// Objects as a table of the kind that `resource` is. `include` says how much of each object goes
/// with its row: `None`, `Object`, or metadata only.
pub(crate) fn table<'a>(
    resource: &Resource,
    objects: impl Iterator<Item = &'a Value>,
    meta: &Value,
    include: &str,
    now: DateTime<Utc>,
) -> Value {
    let rows: Vec<Value> = objects.map(|object| row(resource, object, include, now)).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": columns(resource), "rows": rows,
    })
}

/// The table of one object in a watch.
pub(crate) fn table_of_one(
    resource: &Resource,
    shown: &Value,
    include: &str,
    now: DateTime<Utc>,
) -> Value {
    let meta = json!({"resourceVersion": object::version(shown)});
    table(resource, std::iter::once(shown), &meta, include, now)
}

fn columns(resource: &Resource) -> Value {
    if resource.is_custom {
        return custom_columns(resource);
    }
    let column = |(name, kind, format, priority): &ColumnSpec| {
        json!({
            "name": name, "type": kind, "format": format, "description": "", "priority": priority,
        })
    };
    builtin::columns(resource).iter().map(column).collect()
}

fn custom_columns(resource: &Resource) -> Value {
    let mut list = vec![json!({
        "name": "Name", "type": "string", "format": "name", "description": "", "priority": 0,
    })];
    if resource.columns.is_empty() {
        list.push(json!({
            "name": "Age", "type": "date", "format": "", "description": "", "priority": 0,
        }));
    }
    list.extend(resource.columns.iter().map(|column| {
        let description = if column.description.is_empty() {
            format!("Custom resource definition column (in JSONPath format): {}", column.path)
        } else {
            column.description.clone()
        };
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": description, "priority": column.priority,
        })
    }));
    Value::Array(list)
}

fn row(resource: &Resource, object: &Value, include: &str, now: DateTime<Utc>) -> Value {
    let cells = if resource.is_custom {
        let mut cells = vec![object::name(object).into()];
        if resource.columns.is_empty() {
            cells.push(created(object, now));
        }
        cells.extend(resource.columns.iter().map(|column| custom_cell(column, object, now)));
        cells
    } else {
        cells::cells(resource, object, now)
    };
    let mut row = json!({"cells": cells});
    let shown = match include {
        "None" => Value::Null,
        "Object" => object.clone(),
        _ => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object.get("metadata").cloned().unwrap_or(Value::Object(Map::new())),
        }),
    };
    if let Some(row) = row.as_object_mut() {
        row.insert("object".to_owned(), shown);
        if let Some(condition) = ended(resource, object) {
            row.insert("conditions".to_owned(), json!([condition]));
        }
    }
    row
}

/// The condition of the row of a pod that has come to its end.
fn ended(resource: &Resource, object: &Value) -> Option<Value> {
    let is_pod = resource.plural == "pods" && resource.group.is_empty();
    let phase =
        object::at(object, &["status", "phase"]).and_then(Value::as_str).filter(|_| is_pod)?;
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!({"type": "Completed", "status": "True", "reason": phase, "message": message}))
}

/// The age of an object.
pub(super) fn created(object: &Value, now: DateTime<Utc>) -> Value {
    age::since(object::meta_text(object, "creationTimestamp"), now).into()
}

fn custom_cell(column: &Column, object: &Value, now: DateTime<Utc>) -> Value {
    let found = path::find(object, &column.path);
    let Some(first) = found.first() else { return Value::Null };
    match column.kind.as_str() {
        "integer" => first.as_i64().map_or(Value::Null, Value::from),
        "number" => first.as_f64().map_or(Value::Null, Value::from),
        "boolean" => first.as_bool().map_or(Value::Null, Value::from),
        "date" => match first.as_str() {
            Some(time) if DateTime::parse_from_rfc3339(time).is_ok() => {
                age::since(time, now).into()
            }
            _ => "<invalid>".into(),
        },
        "string" => {
            let texts: Vec<String> = found.iter().map(|value| as_text(value)).collect();
            texts.join(" ").into()
        }
        _ => Value::Null,
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
