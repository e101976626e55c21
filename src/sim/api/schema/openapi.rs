//! Reads the structural schema of a CustomResourceDefinition, or the part of an OpenAPI schema that
//! such schemas consist of.

use std::sync::Arc;

use serde_json::Value;

use super::rules::leads_on;
use super::{Form, Limits, ListKind, Rules, Schema};

/// The type that an `openAPIV3Schema` describes.
pub(crate) fn from_openapi(schema: &Value) -> Schema {
    let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut typed = Schema {
        form: form_of(schema),
        required: texts(schema.get("required")),
        default: schema.get("default").filter(|value| !value.is_null()).cloned(),
        is_atomic: text("x-kubernetes-map-type") == "atomic",
        is_nullable: flag("nullable"),
        preserves_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        is_embedded: flag("x-kubernetes-embedded-resource"),
        description: text("description").to_owned(),
        ..Schema::default()
    };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        typed.properties = properties
            .iter()
            .map(|(name, field)| (name.clone(), Arc::new(from_openapi(field))))
            .collect();
    }
    typed.additional = match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => {
            Some(Arc::new(Schema { preserves_unknown: true, ..Schema::default() }))
        }
        Some(values @ Value::Object(_)) => Some(Arc::new(from_openapi(values))),
        _ => None,
    };
    typed.items = schema.get("items").map(|items| Arc::new(from_openapi(items)));
    typed.list = match text("x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" => ListKind::Map(texts(schema.get("x-kubernetes-list-map-keys"))),
        _ => ListKind::Atomic,
    };
    typed.rules = Rules::of(schema);
    typed.leads_to_rules = typed.rules.is_some()
        || leads_on(typed.form)
            && (typed.properties.values().any(|field| field.leads_to_rules)
                || typed.additional.as_ref().is_some_and(|values| values.leads_to_rules)
                || typed.items.as_ref().is_some_and(|items| items.leads_to_rules));
    typed.limits = limits_of(schema);
    typed
}

fn form_of(schema: &Value) -> Form {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Form::IntOrString;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Form::Object,
        Some("array") => Form::Array,
        Some("string") => Form::String,
        Some("integer") => Form::Integer,
        Some("number") => Form::Number,
        Some("boolean") => Form::Boolean,
        _ => Form::Any,
    }
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The keywords of [`Limits`].
const KEYWORDS: [&str; 17] = [
    "enum",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "uniqueItems",
    "format",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];

fn limits_of(schema: &Value) -> Option<Box<Limits>> {
    let number = |key: &str| schema.get(key).and_then(Value::as_u64);
    let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
    let bound = |key: &str, exclusive: &str| {
        let value = schema.get(key).filter(|value| value.is_number())?;
        Some((value.clone(), flag(exclusive)))
    };
    let several = |key: &str| -> Vec<Schema> {
        let list = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        list.map(from_openapi).collect()
    };
    let pattern = schema.get("pattern").and_then(Value::as_str);
    let limits = Limits {
        values: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        minimum: bound("minimum", "exclusiveMinimum"),
        maximum: bound("maximum", "exclusiveMaximum"),
        multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
        min_length: number("minLength"),
        max_length: number("maxLength"),
        pattern: pattern.map(|text| (text.to_owned(), regex::Regex::new(text).ok())),
        min_items: number("minItems"),
        max_items: number("maxItems"),
        min_properties: number("minProperties"),
        max_properties: number("maxProperties"),
        unique_items: flag("uniqueItems"),
        format: schema.get("format").and_then(Value::as_str).unwrap_or_default().to_owned(),
        all_of: several("allOf"),
        any_of: several("anyOf"),
        one_of: several("oneOf"),
        not: schema.get("not").map(|not| Box::new(from_openapi(not))),
    };
    KEYWORDS.iter().any(|key| schema.get(key).is_some()).then(|| Box::new(limits))
}
