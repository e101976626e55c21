//! Whether an object of a custom kind is what its schema says, with the words of the API server.
//!
//! On an update, parts that did not change are not looked at again ("validation ratcheting").

use regex::Regex;
use serde_json::Value;

use super::shape::join;
use super::{Form, Limits, ListKind, Schema};
use crate::sim::api::failure::Cause;

/// Adds what is wrong with `value` to `causes`. `old` is the same place in the object before.
pub(crate) fn validate(
    value: &Value,
    old: Option<&Value>,
    schema: &Schema,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    if old == Some(value) {
        return;
    }
    if !has_form(value, schema)
        && let Some(wanted) = form_name(schema.form)
    {
        let actual = type_name(value);
        let detail = format!("{path} in body must be of type {wanted}: {actual:?}");
        causes.push(Cause::type_invalid(path, &actual.into(), &detail));
    }
    if value.is_null() {
        return;
    }
    if let Some(limits) = &schema.limits {
        combined(value, limits, path, causes);
        scalar(value, limits, path, causes);
    }
    match value {
        Value::Array(list) => entries(list, old, schema, path, causes),
        Value::Object(map) => {
            if schema.is_embedded {
                for name in ["apiVersion", "kind"] {
                    if !map.contains_key(name) {
                        causes.push(Cause::required(&join(path, name), ""));
                    }
                }
            }
            for name in &schema.required {
                if !map.contains_key(name) {
                    causes.push(Cause::required(&join(path, name), ""));
                }
            }
            for (name, field) in map {
                if let Some(typed) = schema.field(name) {
                    let old = old.and_then(|old| old.get(name));
                    validate(field, old, typed, &join(path, name), causes);
                }
            }
        }
        _ => {}
    }
}

/// Whether the value is of the form; null is where it is allowed.
fn has_form(value: &Value, schema: &Schema) -> bool {
    if value.is_null() {
        return schema.is_nullable || schema.form == Form::Any;
    }
    match schema.form {
        Form::Any => true,
        Form::Object => value.is_object(),
        Form::Array => value.is_array(),
        Form::String => value.is_string(),
        Form::Integer => is_integer(value),
        Form::Number => value.is_number(),
        Form::Boolean => value.is_boolean(),
        Form::IntOrString => value.is_string() || is_integer(value),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn form_name(form: Form) -> Option<&'static str> {
    Some(match form {
        Form::Any => return None,
        Form::Object => "object",
        Form::Array => "array",
        Form::String => "string",
        Form::Integer => "integer",
        Form::Number => "number",
        Form::Boolean => "boolean",
        Form::IntOrString => "integer,string",
    })
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`.
fn combined(value: &Value, limits: &Limits, path: &str, causes: &mut Vec<Cause>) {
    let fits = |schema: &Schema| {
        let mut wrong = Vec::new();
        validate(value, None, schema, path, &mut wrong);
        wrong.is_empty()
    };
    let mut refuse = |how: &str| {
        let detail = format!("{path:?} must validate {how}");
        causes.push(Cause::invalid(path, &"".into(), &detail));
    };
    if !limits.any_of.is_empty() && !limits.any_of.iter().any(fits) {
        refuse("at least one schema (anyOf)");
    }
    if !limits.one_of.is_empty() {
        match limits.one_of.iter().filter(|schema| fits(schema)).count() {
            1 => {}
            0 => refuse("one and only one schema (oneOf). Found none valid"),
            many => {
                refuse(&format!(
                    "one and only one schema (oneOf). Found {many} valid alternatives"
                ));
            }
        }
    }
    if !limits.all_of.is_empty() && !limits.all_of.iter().all(fits) {
        refuse("all the schemas (allOf)");
    }
    if limits.not.as_ref().is_some_and(|schema| fits(schema)) {
        let detail = format!("{path:?} must not validate the schema (not)");
        causes.push(Cause::invalid(path, &"".into(), &detail));
    }
}

fn scalar(value: &Value, limits: &Limits, path: &str, causes: &mut Vec<Cause>) {
    let mut refuse = |what: String| {
        causes.push(Cause::invalid(path, value, &format!("{path} in body {what}")));
    };
    match value {
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if limits.min_length.is_some_and(|least| length < least) {
                let least = limits.min_length.unwrap_or_default();
                refuse(format!("should be at least {least} chars long"));
            }
            if let Some((pattern, regex)) = &limits.pattern
                && !regex.as_ref().is_some_and(|regex: &Regex| regex.is_match(text))
            {
                refuse(format!("should match '{pattern}'"));
            }
            if !has_format(text, &limits.format) {
                let format = &limits.format;
                let detail = format!("{path} in body must be of type {format}: {text:?}");
                causes.push(Cause::type_invalid(path, value, &detail));
                return;
            }
            if let Some(most) = limits.max_length.filter(|most| length > *most) {
                causes.push(Cause::too_long(path, most));
            }
        }
        Value::Number(_) => {
            if let Some((bound, is_exclusive)) = &limits.maximum
                && !is_below(value, bound, *is_exclusive)
            {
                let than = if *is_exclusive { "less than" } else { "less than or equal to" };
                refuse(format!("should be {than} {bound}"));
            }
            if let Some((bound, is_exclusive)) = &limits.minimum
                && !is_below(bound, value, *is_exclusive)
            {
                let than = if *is_exclusive { "greater than" } else { "greater than or equal to" };
                refuse(format!("should be {than} {bound}"));
            }
            if let (Some(factor), Some(number)) = (limits.multiple_of, value.as_f64())
                && (number / factor).fract() != 0.0
            {
                refuse(format!("should be a multiple of {factor}"));
            }
        }
        Value::Object(map) => {
            let count = map.len() as u64;
            if let Some(least) = limits.min_properties.filter(|least| count < *least) {
                refuse(format!("should have at least {least} properties"));
            }
            if let Some(most) = limits.max_properties.filter(|most| count > *most) {
                causes.push(Cause::too_many(path, count, most));
            }
        }
        _ => {}
    }
    if !limits.values.is_empty() && !limits.values.contains(value) {
        let supported: Vec<String> = limits
            .values
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        causes.push(Cause::not_supported(path, value, &supported));
    }
}

/// Whether a text has a format; formats that are not known here are not checked.
fn has_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" | "datetime" => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "date" => chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok(),
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        _ => true,
    }
}

/// Whether `low` is at most `high`, or less where the bound is exclusive.
fn is_below(low: &Value, high: &Value, is_exclusive: bool) -> bool {
    if let (Some(low), Some(high)) = (low.as_i64(), high.as_i64()) {
        return if is_exclusive { low < high } else { low <= high };
    }
    match (low.as_f64(), high.as_f64()) {
        (Some(low), Some(high)) if is_exclusive => low < high,
        (Some(low), Some(high)) => low <= high,
        _ => true,
    }
}

fn entries(
    list: &[Value],
    old: Option<&Value>,
    schema: &Schema,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    if let Some(limits) = &schema.limits {
        let count = list.len() as u64;
        if let Some(least) = limits.min_items.filter(|least| count < *least) {
            let detail = format!("{path} in body should have at least {least} items");
            causes.push(Cause::invalid(path, &count.into(), &detail));
        }
        if let Some(most) = limits.max_items.filter(|most| count > *most) {
            causes.push(Cause::too_many(path, count, most));
        }
        if limits.unique_items && duplicates(list, |entry| Some(entry.clone())).next().is_some() {
            let detail = format!("{path} in body shouldn't contain duplicates");
            causes.push(Cause::invalid(path, &Value::Array(list.to_vec()), &detail));
        }
    }
    match &schema.list {
        ListKind::Atomic => {}
        ListKind::Set => {
            for (idx, entry) in duplicates(list, |entry| Some(entry.clone())) {
                causes.push(Cause::duplicate(&format!("{path}[{idx}]"), &entry));
            }
        }
        ListKind::Map(keys) => {
            for (idx, key) in duplicates(list, |entry| key_of(entry, keys, schema)) {
                causes.push(Cause::duplicate(&format!("{path}[{idx}]"), &key));
            }
        }
    }
    let Some(items) = &schema.items else { return };
    for (idx, entry) in list.iter().enumerate() {
        let old = match &schema.list {
            ListKind::Map(keys) => correlated(entry, old, keys, schema),
            ListKind::Atomic | ListKind::Set => None,
        };
        validate(entry, old, items, &format!("{path}[{idx}]"), causes);
    }
}

/// The entry of the list before that has the same key.
pub(super) fn correlated<'a>(
    entry: &Value,
    old: Option<&'a Value>,
    keys: &[String],
    schema: &Schema,
) -> Option<&'a Value> {
    let key = key_of(entry, keys, schema);
    old?.as_array()?.iter().find(|other| key_of(other, keys, schema) == key)
}

/// The key of an entry of a list that is a map.
fn key_of(entry: &Value, keys: &[String], schema: &Schema) -> Option<Value> {
    let default =
        |key: &str| schema.items.as_ref().and_then(|items| items.field(key)?.default.clone());
    let map = entry.as_object()?;
    let of_key = |key: &String| {
        let value = map.get(key).cloned().or_else(|| default(key))?;
        Some((key.clone(), value))
    };
    Some(Value::Object(keys.iter().filter_map(of_key).collect()))
}

/// The entries whose key was there before, with their index.
fn duplicates<'a>(
    list: &'a [Value],
    key: impl Fn(&Value) -> Option<Value> + 'a,
) -> impl Iterator<Item = (usize, Value)> + 'a {
    let mut seen: Vec<Value> = Vec::new();
    list.iter().enumerate().filter_map(move |(idx, entry)| {
        let key = key(entry)?;
        if seen.contains(&key) {
            return Some((idx, key));
        }
        seen.push(key);
        None
    })
}

#[cfg(test)]
mod tests {
    use super::super::from_openapi;
    use super::*;
    use serde_json::json;

    fn wrong(schema: &Value, value: &Value, old: Option<&Value>) -> Vec<String> {
        let mut causes = Vec::new();
        validate(value, old, &from_openapi(schema), "spec", &mut causes);
        let mut found: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        found.sort();
        found
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_api_server() {
        let schema = json!({"type": "object", "required": ["b"], "properties": {
            "n": {"type": "integer", "minimum": 0}, "s": {"type": "string", "enum": ["A", "B"]},
            "l": {"type": "string", "maxLength": 2}, "x": {"x-kubernetes-int-or-string": true},
        }});
        let value = json!({"n": -1, "s": "C", "l": "abc", "x": true});
        assert_eq!(
            wrong(&schema, &value, None),
            [
                "spec.b: Required value",
                "spec.l: Too long: may not be more than 2 bytes",
                "spec.n: Invalid value: -1: spec.n in body should be greater than or equal to 0",
                "spec.s: Unsupported value: \"C\": supported values: \"A\", \"B\"",
                "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \
                 \"boolean\"",
            ]
        );
    }

    #[test]
    fn what_did_not_change_is_not_looked_at_again() {
        let schema = json!({"type": "object", "properties": {
            "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                  "items": {"type": "object", "properties": {
                      "k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        }});
        let old = json!({"m": [{"k": "a", "v": 5}]});
        let same = json!({"m": [{"k": "b", "v": 1}, {"k": "a", "v": 5}]});
        assert_eq!(wrong(&schema, &same, Some(&old)), Vec::<String>::new());
        let changed = json!({"m": [{"k": "a", "v": 6}]});
        assert_eq!(wrong(&schema, &changed, Some(&old)).len(), 1);
    }

    #[test]
    fn two_entries_with_one_key_are_refused() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}});
        let found = wrong(&schema, &json!([{"k": "a"}, {"k": "a"}]), None);
        assert_eq!(found, ["spec[1]: Duplicate value: {\"k\":\"a\"}"]);
    }
}
