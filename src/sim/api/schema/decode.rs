//! Reads a built-in object as the API server's Go types do: unknown fields are noted and dropped,
//! wrong types are errors, and what is empty is left out or written as empty, field by field.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Number, Value};

use super::shape::join;
use super::{Form, Schema, quantity};

const QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// Where decoding is: for messages.
struct Place<'a> {
    /// Name of the struct that holds the field.
    owner: &'a str,
    path: String,
}

/// Brings `value` into the form that the server stores and answers with. Adds the paths of unknown
/// fields to `unknown`.
///
/// # Errors
/// The words of the Go decoder about the first field of a wrong type.
pub(crate) fn decode(
    value: &mut Value,
    schema: &Schema,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    let place = Place { owner: schema.name, path: String::new() };
    read(value, schema, &place, unknown)
}

/// The object of a type in which nothing is set.
pub(crate) fn empty(schema: &Schema) -> Value {
    let mut value = Value::Object(Map::new());
    // An empty object is of every type.
    let _ = decode(&mut value, schema, &mut Vec::new());
    value
}

fn read(
    value: &mut Value,
    schema: &Schema,
    place: &Place<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    match (schema.form, &mut *value) {
        (Form::Any, _) | (_, Value::Null) => Ok(()),
        (Form::Object, Value::Object(map)) => match &schema.additional {
            Some(values) => {
                for (key, value) in map.iter_mut() {
                    let path = join(&place.path, key);
                    if value.is_null() {
                        *value = zero(values);
                    }
                    read(value, values, &Place { owner: place.owner, path }, unknown)
                        .map_err(|error| error.replace(&join(&place.path, key), &place.path))?;
                }
                Ok(())
            }
            None => read_struct(map, schema, place, unknown),
        },
        (Form::Array, Value::Array(list)) => {
            let Some(items) = &schema.items else { return Ok(()) };
            for (idx, entry) in list.iter_mut().enumerate() {
                let path = format!("{}[{idx}]", place.path);
                if entry.is_null() {
                    *entry = zero(items);
                }
                read(entry, items, &Place { owner: place.owner, path }, unknown)?;
            }
            Ok(())
        }
        _ => read_scalar(value, schema, place),
    }
}

fn read_struct(
    map: &mut Map<String, Value>,
    schema: &Schema,
    place: &Place<'_>,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    map.retain(|name, _| {
        let is_known = schema.properties.contains_key(name);
        if !is_known {
            unknown.push(join(&place.path, name));
        }
        is_known
    });
    for (name, field) in &schema.properties {
        let path = join(&place.path, name);
        let place = Place { owner: schema.name, path };
        let mut value = map.remove(name).unwrap_or_default();
        read(&mut value, field, &place, unknown)?;
        let is_set = if field.is_pointer { !value.is_null() } else { !is_zero(&value) };
        if is_set {
            map.insert(name.clone(), value);
        } else if field.is_always {
            map.insert(name.clone(), zero(field));
        }
    }
    Ok(())
}

/// Whether a value is the zero of its Go type. A struct is never left out for being empty, but it is
/// written anew.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// The zero of a type as it is written.
fn zero(schema: &Schema) -> Value {
    if schema.is_pointer {
        return Value::Null;
    }
    match schema.form {
        Form::Object if schema.additional.is_none() => empty(schema),
        Form::IntOrString if schema.name == "q" => "0".into(),
        Form::Integer | Form::Number | Form::IntOrString => 0.into(),
        Form::Boolean => false.into(),
        Form::String if !matches!(schema.name, "t" | "m" | "y") => "".into(),
        Form::String | Form::Any | Form::Object | Form::Array => Value::Null,
    }
}

fn read_scalar(value: &mut Value, schema: &Schema, place: &Place<'_>) -> Result<(), String> {
    let wrong = |value: &Value| Err(wrong_type(value, schema, place));
    match (schema.name, &*value) {
        ("s", Value::String(_))
        | ("b", Value::Bool(_))
        | ("n", Value::Number(_))
        | ("x", Value::String(_) | Value::Number(_)) => Ok(()),
        ("i" | "l", Value::Number(number)) => {
            let Some(whole) = whole(number) else { return wrong(value) };
            if schema.name == "i" && i32::try_from(whole).is_err() {
                return wrong(value);
            }
            *value = whole.into();
            Ok(())
        }
        ("q", Value::String(_) | Value::Number(_)) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            *value = quantity::canonical(text.trim()).ok_or_else(|| QUANTITY.to_owned())?.into();
            Ok(())
        }
        ("t" | "m", Value::String(text)) => {
            let time = DateTime::parse_from_rfc3339(text).map_err(|_| {
                format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse it")
            })?;
            let format =
                if schema.name == "t" { SecondsFormat::Secs } else { SecondsFormat::Micros };
            *value = time.with_timezone(&Utc).to_rfc3339_opts(format, true).into();
            Ok(())
        }
        ("y", Value::String(text)) => {
            use base64::Engine as _;
            match base64::engine::general_purpose::STANDARD.decode(text) {
                Ok(_) => Ok(()),
                Err(_) => Err("illegal base64 data at input byte 0".to_owned()),
            }
        }
        _ => wrong(value),
    }
}

/// The whole number that a JSON number is.
fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
        format!("{float:.0}").parse().ok()
    })
}

fn wrong_type(value: &Value, schema: &Schema, place: &Place<'_>) -> String {
    let given = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    // Go names the field without the indexes of lists.
    let path = without_indexes(&place.path);
    format!(
        "json: cannot unmarshal {given} into Go struct field {}.{path} of type {}",
        place.owner,
        go_type(schema)
    )
}

/// `spec.ports[0].port` as `spec.ports.port`.
fn without_indexes(path: &str) -> String {
    let mut out = String::new();
    let mut is_inside = false;
    for c in path.chars() {
        match c {
            '[' => is_inside = true,
            ']' => is_inside = false,
            c if !is_inside => out.push(c),
            _ => {}
        }
    }
    out
}

fn go_type(schema: &Schema) -> String {
    match schema.form {
        Form::Array => {
            format!("[]{}", schema.items.as_ref().map(|items| go_type(items)).unwrap_or_default())
        }
        Form::Object => match &schema.additional {
            Some(values) => format!("map[string]{}", go_type(values)),
            None => format!("v1.{}", schema.name.rsplit('.').next().unwrap_or_default()),
        },
        _ => match schema.name {
            "i" => "int32",
            "l" => "int64",
            "n" => "float64",
            "b" => "bool",
            "y" => "[]uint8",
            _ => "string",
        }
        .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtin_schema;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_empty_is_left_out_or_written_as_go_does() {
        let mut value = json!({
            "metadata": {"name": "a", "labels": {}, "finalizers": []},
            "spec": {"replicas": 0, "paused": false, "template": {"spec": {"containers": [
                {"name": "c", "resources": {"limits": {"cpu": "0.5"}}, "args": []}]}}},
        });
        let mut unknown = Vec::new();
        decode(&mut value, &builtin_schema("Deployment"), &mut unknown).unwrap();
        assert_eq!(
            value,
            json!({
                "metadata": {"name": "a"},
                "spec": {
                    "replicas": 0, "selector": null, "strategy": {},
                    "template": {"metadata": {}, "spec": {"containers": [
                        {"name": "c", "resources": {"limits": {"cpu": "500m"}}}]}},
                },
                "status": {},
            })
        );
        assert!(unknown.is_empty());
    }

    #[test]
    fn wrong_types_and_unknown_fields_are_named() {
        let schema = builtin_schema("Service");
        let mut unknown = Vec::new();
        let mut value = json!({"spec": {"ports": [{"port": 80, "prot": 1}]}, "x": 1});
        decode(&mut value, &schema, &mut unknown).unwrap();
        assert_eq!(unknown, ["x", "spec.ports[0].prot"]);
        let mut value = json!({"spec": {"ports": {"port": 80}}});
        let error = decode(&mut value, &schema, &mut Vec::new()).unwrap_err();
        assert_eq!(
            error,
            "json: cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type \
             []v1.ServicePort"
        );
    }
}
