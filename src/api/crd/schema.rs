//! Turns what schemars makes of a Rust type into a structural schema, the form that the API server
//! accepts in a CustomResourceDefinition. Anything that has no such form is an error with its path;
//! nothing is dropped that would loosen the schema.
//!
//! Source of the rules: Kubernetes documentation, "Specifying a structural schema".

use serde_json::{Map, Value};

/// A part of a type that a CustomResourceDefinition cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Unstructural {
    /// Path of the field, such as `spec.strategy.canary.steps[]`.
    pub path: String,
    /// What has no structural form.
    pub problem: String,
}

/// The structural form of `schema`, which describes the field at `path`.
///
/// # Errors
/// [`Unstructural`] names the first part that has none.
pub(super) fn structural(path: &str, schema: Value) -> Result<Value, Unstructural> {
    let Value::Object(mut schema) = schema else {
        return Err(refuse(path, "accepts any value; use RawObject"));
    };
    for key in ["$schema", "$defs", "title", "default", "examples"] {
        schema.remove(key);
    }
    unwrap_option(path, &mut schema)?;
    name_constants(path, &mut schema)?;
    single_type(path, &mut schema)?;
    plain_format(path, &mut schema)?;
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = plain_text(text);
    }
    for key in ["$ref", "oneOf", "anyOf", "allOf", "not", "const", "patternProperties"] {
        if schema.contains_key(key) {
            return Err(refuse(path, format!("uses {key}")));
        }
    }
    below(path, &mut schema)?;
    let is_typed = ["type", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"];
    if !is_typed.iter().any(|key| schema.contains_key(*key)) {
        return Err(refuse(path, "has no type"));
    }
    Ok(Value::Object(schema))
}

fn refuse(path: &str, problem: impl Into<String>) -> Unstructural {
    Unstructural { path: path.to_owned(), problem: problem.into() }
}

/// `Option<T>` is `T`: a field is left out, never null, because the API server refuses a null for
/// a field that is not nullable and Argo's manifests have none.
fn unwrap_option(path: &str, schema: &mut Map<String, Value>) -> Result<(), Unstructural> {
    let Some(Value::Array(branches)) = schema.get("anyOf") else { return Ok(()) };
    let is_null = |branch: &Value| branch.get("type").and_then(Value::as_str) == Some("null");
    let mut present = branches.iter().filter(|branch| !is_null(branch));
    let (Some(Value::Object(only)), None) = (present.next().cloned(), present.next()) else {
        return Err(refuse(path, "is one of several types"));
    };
    schema.remove("anyOf");
    for (key, value) in only {
        // What the field says about itself goes before what its type says.
        schema.entry(key).or_insert(value);
    }
    Ok(())
}

/// An enum whose variants have doc comments is a `oneOf` of constants; a CRD wants `enum`. What the
/// variants say is appended to the description.
fn name_constants(path: &str, schema: &mut Map<String, Value>) -> Result<(), Unstructural> {
    let Some(Value::Array(branches)) = schema.remove("oneOf") else {
        if let Some(Value::Array(names)) = schema.get_mut("enum") {
            names.retain(|name| !name.is_null());
        }
        return Ok(());
    };
    let mut names = Vec::new();
    let mut meanings = Vec::new();
    for branch in branches {
        let meaning = branch.get("description").and_then(Value::as_str).unwrap_or("");
        let constants: Vec<&Value> = match (branch.get("const"), branch.get("enum")) {
            (Some(constant), None) => vec![constant],
            (None, Some(Value::Array(constants))) => constants.iter().collect(),
            _ => return Err(refuse(path, "is an enum with data")),
        };
        for constant in constants {
            let Some(name) = constant.as_str() else {
                return Err(refuse(path, format!("has the constant {constant}, which is no text")));
            };
            meanings.push(format!("`{name}`: {}", plain_text(meaning)));
            names.push(constant.clone());
        }
    }
    let own = schema.get("description").and_then(Value::as_str).map(plain_text).unwrap_or_default();
    let description = format!("{own} {}", meanings.join(" "));
    schema.insert("description".to_owned(), description.trim().into());
    schema.insert("type".to_owned(), "string".into());
    schema.insert("enum".to_owned(), names.into());
    Ok(())
}

fn single_type(path: &str, schema: &mut Map<String, Value>) -> Result<(), Unstructural> {
    let Some(Value::Array(types)) = schema.get("type") else { return Ok(()) };
    let mut present = types.iter().filter(|name| name.as_str() != Some("null")).cloned();
    let (Some(only), None) = (present.next(), present.next()) else {
        return Err(refuse(path, "has several types"));
    };
    schema.insert("type".to_owned(), only);
    Ok(())
}

/// Number formats that Kubernetes knows. Unsigned numbers become signed ones with a minimum, and
/// `u32` gets the maximum of Kubernetes' own counts.
fn plain_format(path: &str, schema: &mut Map<String, Value>) -> Result<(), Unstructural> {
    let Some(format) = schema.get("format").and_then(Value::as_str) else { return Ok(()) };
    let (known, is_unsigned) = match format {
        "uint32" | "uint16" | "uint8" => ("int32", true),
        "uint64" | "uint" => ("int64", true),
        "int32" | "int64" | "double" | "date-time" => return Ok(()),
        other => return Err(refuse(path, format!("has the format {other:?}"))),
    };
    schema.insert("format".to_owned(), known.into());
    if is_unsigned {
        schema.entry("minimum").or_insert_with(|| 0.into());
    }
    Ok(())
}

/// Everything inside: properties, items, values of a map.
fn below(path: &str, schema: &mut Map<String, Value>) -> Result<(), Unstructural> {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            *property = structural(&format!("{path}.{name}"), property.take())?;
        }
    }
    if let Some(items) = schema.get_mut("items") {
        *items = structural(&format!("{path}[]"), items.take())?;
    }
    match schema.remove("additionalProperties") {
        // Unknown fields are refused or pruned anyway.
        None | Some(Value::Bool(false)) => {}
        Some(_) if schema.contains_key("properties") => {
            return Err(refuse(path, "is both a struct and a map"));
        }
        Some(values) => {
            let values = structural(&format!("{path}.*"), values)?;
            schema.insert("additionalProperties".to_owned(), values);
        }
    }
    Ok(())
}

/// A doc comment as running text: one space for a line end, and no links of rustdoc.
fn plain_text(doc: &str) -> String {
    let paragraphs = doc.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n").replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(given: Value) -> Result<Value, String> {
        structural("spec", given).map_err(|problem| problem.to_string())
    }

    #[test]
    fn an_optional_type_is_the_type_with_the_fields_own_description() {
        let given = json!({
            "description": "Of the field.",
            "anyOf": [{"type": "string", "description": "Of the type."}, {"type": "null"}],
        });
        assert_eq!(check(given), Ok(json!({"type": "string", "description": "Of the field."})));
        let given = json!({"type": ["integer", "null"], "format": "uint32", "minimum": 0});
        assert_eq!(check(given), Ok(json!({"type": "integer", "format": "int32", "minimum": 0})));
    }

    #[test]
    fn an_enum_with_documented_variants_lists_its_names() {
        let given = json!({"description": "How far.", "oneOf": [
            {"type": "string", "const": "Off", "description": "Nothing\nis done."},
            {"type": "string", "enum": ["On"]},
        ]});
        assert_eq!(
            check(given),
            Ok(json!({
                "type": "string",
                "enum": ["Off", "On"],
                "description": "How far. `Off`: Nothing is done. `On`:",
            }))
        );
    }

    #[test]
    fn what_a_crd_cannot_express_is_refused_with_its_path() {
        let inside = |schema: Value| {
            json!({"type": "object", "properties": {"a": {
            "type": "array", "items": schema}}})
        };
        for (schema, problem) in [
            (
                json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
                "is one of several types",
            ),
            (json!({"type": ["string", "integer"]}), "has several types"),
            (json!({"type": "integer", "format": "uint128"}), "has the format \"uint128\""),
            (json!({"oneOf": [{"type": "object"}]}), "is an enum with data"),
            (json!({"$ref": "#/x"}), "uses $ref"),
            (json!({"description": "any"}), "has no type"),
            (json!(true), "accepts any value; use RawObject"),
            (
                json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
                "is both a struct and a map",
            ),
        ] {
            assert_eq!(check(inside(schema)), Err(format!("spec.a[]: {problem}")));
        }
    }
}
