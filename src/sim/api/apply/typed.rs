//! Whether a configuration fits the type that it is applied to.

use std::fmt::Write as _;

use serde_json::Value;

use super::fields::edge_of;
use crate::sim::api::schema::{Form, ListKind, Schema};

/// What does not fit, in the words of the API server; empty when all does.
pub(crate) fn type_errors(value: &Value, schema: &Schema) -> Vec<String> {
    let mut errors = Vec::new();
    check(value, schema, "", &mut errors);
    errors.sort();
    errors
}

fn check(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let mut wrong = |what: String| errors.push(format!("{path}: {what}"));
    match schema.form {
        Form::Object => {
            let Value::Object(map) = value else {
                return wrong(format!("expected map, got {}", shown(value)));
            };
            let is_closed = !schema.preserves_unknown && schema.additional.is_none();
            for (name, field) in map {
                let path = format!("{path}.{name}");
                if is_closed && !schema.properties.contains_key(name) && !schema.is_embedded {
                    errors.push(format!("{path}: field not declared in schema"));
                } else {
                    check(field, schema.inside(name), &path, errors);
                }
            }
        }
        Form::Array => {
            let Value::Array(list) = value else {
                return wrong(format!("expected list, got {}", shown(value)));
            };
            let mut seen: Vec<String> = Vec::new();
            for (idx, entry) in list.iter().enumerate() {
                let mut here = path.to_owned();
                if schema.list == ListKind::Atomic {
                    let _ = write!(here, "[{idx}]");
                } else {
                    let Some(edge) = edge_of(entry, schema) else {
                        let keys = match &schema.list {
                            ListKind::Map(keys) => keys.clone(),
                            ListKind::Atomic | ListKind::Set => Vec::new(),
                        };
                        errors.push(format!(
                            "{path}: element {idx}: associative list with keys has an element \
                             that omits all key fields {keys:?} (and doesn't have default values \
                             for any key fields)"
                        ));
                        continue;
                    };
                    here.push_str(&super::fields::shown(&edge));
                    if seen.contains(&edge) {
                        let shown = super::fields::shown(&edge);
                        errors.push(format!("{path}: duplicate entries for key {shown}"));
                    }
                    seen.push(edge);
                }
                check(entry, schema.entries(), &here, errors);
            }
        }
        Form::String if !value.is_string() => {
            wrong(format!("expected string, got &value.valueUnstructured{{Value:{value}}}"));
        }
        Form::Integer | Form::Number if !value.is_number() => {
            let kind = if value.is_boolean() { "boolean" } else { "string" };
            wrong(format!("expected numeric (int or float), got {kind}"));
        }
        Form::Boolean if !value.is_boolean() => {
            wrong(format!("expected boolean, got {}", shown(value)));
        }
        Form::IntOrString if value.is_object() || value.is_array() => {
            wrong(format!("expected scalar, got {}", shown(value)));
        }
        Form::Any
        | Form::String
        | Form::Integer
        | Form::Number
        | Form::Boolean
        | Form::IntOrString => {}
    }
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    format!("&{{{}}}", as_go_prints(value))
}

/// A value as Go's `%v` prints it.
pub(crate) fn as_go_prints(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(as_go_prints).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", as_go_prints(value))).collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}
