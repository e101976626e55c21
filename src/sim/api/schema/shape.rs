//! Giving an object the shape of its type: unknown fields are dropped, missing ones get their
//! defaults.

use serde_json::{Map, Value};

use super::{Schema, builtin_schema};

/// The paths of what was dropped, such as `spec.replica`.
pub(crate) type Dropped = Vec<String>;

/// Drops what `schema` does not know, and notes the paths. `path` is that of `value`.
pub(crate) fn prune(value: &mut Value, schema: &Schema, path: &str, dropped: &mut Dropped) {
    match value {
        Value::Object(map) => {
            if schema.is_embedded {
                prune_embedded(map, path, dropped);
            }
            if !schema.preserves_unknown && schema.additional.is_none() {
                map.retain(|name, _| {
                    let is_known = schema.properties.contains_key(name)
                        || schema.is_embedded && is_type_meta(name);
                    if !is_known {
                        dropped.push(join(path, name));
                    }
                    is_known
                });
            }
            for (name, field) in map {
                if let Some(typed) = schema.field(name) {
                    prune(field, typed, &join(path, name), dropped);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for (idx, entry) in list.iter_mut().enumerate() {
                    prune(entry, items, &format!("{path}[{idx}]"), dropped);
                }
            }
        }
        _ => {}
    }
}

fn is_type_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

fn prune_embedded(map: &mut Map<String, Value>, path: &str, dropped: &mut Dropped) {
    if let Some(meta) = map.get_mut("metadata") {
        prune(meta, &builtin_schema("ObjectMeta"), &join(path, "metadata"), dropped);
    }
}

/// `path.name`, or the name alone at the root.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Fills in the defaults of fields that are missing; null counts as missing where it is not
/// allowed and there is a default.
pub(crate) fn apply_defaults(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, typed) in &schema.properties {
                let Some(default) = &typed.default else { continue };
                let is_missing =
                    map.get(name).is_none_or(|present| present.is_null() && !typed.is_nullable);
                if is_missing {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in map.iter_mut() {
                if let Some(typed) = schema.field(name) {
                    if field.is_null()
                        && !typed.is_nullable
                        && let Some(default) = &typed.default
                    {
                        *field = default.clone();
                    }
                    apply_defaults(field, typed);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for entry in list {
                    apply_defaults(entry, items);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_openapi;
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_are_dropped_unless_the_type_keeps_them() {
        let schema = from_openapi(&json!({"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
        }}));
        let mut value =
            json!({"list": [{"a": "x", "b": 1}], "open": {"c": 1}, "map": {"d": "e"}, "f": 1});
        let mut dropped = Vec::new();
        prune(&mut value, &schema, "", &mut dropped);
        assert_eq!(value, json!({"list": [{"a": "x"}], "open": {"c": 1}, "map": {"d": "e"}}));
        assert_eq!(dropped, ["f", "list[0].b"]);
    }

    #[test]
    fn defaults_fill_what_is_missing_and_what_a_default_brought() {
        let schema = from_openapi(&json!({"type": "object", "properties": {
            "a": {"type": "object", "default": {}, "properties": {"b": {"type": "integer", "default": 1}}},
            "n": {"type": "string", "nullable": true, "default": "x"},
            "z": {"type": "string", "default": "y"},
        }}));
        let mut value = json!({"n": null, "z": null});
        apply_defaults(&mut value, &schema);
        assert_eq!(value, json!({"a": {"b": 1}, "n": null, "z": "y"}));
    }
}
