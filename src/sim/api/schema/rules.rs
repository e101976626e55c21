//! CEL rules of custom kinds (`x-kubernetes-validations`), evaluated by `kube-cel`.
//!
//! A rule is compiled when it is first needed. A rule that this build cannot evaluate refuses the
//! object and says so; it never passes by.

use std::sync::{Arc, OnceLock};

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value, json};

use super::shape::join;
use super::{Form, ListKind, Schema};
use crate::sim::api::failure::Cause;

/// The rules of one place in a schema.
#[derive(Clone)]
pub(crate) struct Rules {
    /// What the compiler is given: the rules, and as much of the schema as says how values are read.
    source: Value,
    compiled: Arc<OnceLock<CompiledSchema>>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Rules").field(&self.source).finish()
    }
}

impl Rules {
    /// The rules of a schema; none if it has none.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let rules = schema.get("x-kubernetes-validations").filter(|rules| rules.is_array())?;
        let mut source = reduced(schema);
        source.insert("x-kubernetes-validations".to_owned(), rules.clone());
        Some(Self { source: Value::Object(source), compiled: Arc::default() })
    }

    fn check(&self, value: &Value, old: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
        thread_local! {
            static VALIDATOR: Validator = Validator::new();
        }
        let compiled = self.compiled.get_or_init(|| compile_schema(&self.source));
        let checked = VALIDATOR.with(|validator| validator.validate_compiled(compiled, value, old));
        let Err(errors) = checked else { return };
        for error in errors.into_vec() {
            let kind = super::validate::type_name(value);
            causes.push(Cause::of_rule(error.reason.as_deref(), path, kind, &error.message));
        }
    }
}

/// A schema with only what says how values are read: formats, and which objects are maps.
fn reduced(schema: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    for keyword in
        ["type", "format", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string"]
    {
        if let Some(value) = schema.get(keyword) {
            out.insert(keyword.to_owned(), value.clone());
        }
    }
    let inner = |schema: &Value| {
        let reduced = reduced(schema);
        let is_telling = ["format", "properties", "items", "additionalProperties"]
            .iter()
            .any(|keyword| reduced.contains_key(*keyword));
        is_telling.then_some(Value::Object(reduced))
    };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let telling: Map<String, Value> = properties
            .iter()
            .filter_map(|(name, field)| Some((name.clone(), inner(field)?)))
            .collect();
        if !telling.is_empty() {
            out.insert("properties".to_owned(), Value::Object(telling));
        }
    }
    if let Some(items) = schema.get("items").and_then(inner) {
        out.insert("items".to_owned(), items);
    }
    if let Some(values) =
        schema.get("additionalProperties").filter(|values| **values != json!(false))
    {
        let values = inner(values).unwrap_or(json!(true));
        out.insert("additionalProperties".to_owned(), values);
    }
    out
}

/// Adds the rules that `value` breaks to `causes`. `old` is the same place in the object before.
pub(crate) fn check_rules(
    value: &Value,
    old: Option<&Value>,
    schema: &Schema,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    if value.is_null() || !schema.has_rules() || old == Some(value) {
        return;
    }
    if let Some(rules) = &schema.rules {
        rules.check(value, old, path, causes);
    }
    match value {
        Value::Object(map) => {
            for (name, field) in map {
                if let Some(typed) = schema.field(name) {
                    let old = old.and_then(|old| old.get(name));
                    check_rules(field, old, typed, &join(path, name), causes);
                }
            }
        }
        Value::Array(list) => {
            let Some(items) = &schema.items else { return };
            for (idx, entry) in list.iter().enumerate() {
                let old = match &schema.list {
                    ListKind::Map(keys) => super::validate::correlated(entry, old, keys, schema),
                    ListKind::Atomic | ListKind::Set => None,
                };
                check_rules(entry, old, items, &format!("{path}[{idx}]"), causes);
            }
        }
        _ => {}
    }
}

/// Whether a value of this form can hold rules further down.
pub(super) fn leads_on(form: Form) -> bool {
    matches!(form, Form::Object | Form::Array | Form::Any)
}

#[cfg(test)]
mod tests {
    use super::super::from_openapi;
    use super::*;

    fn broken(schema: &Value, value: &Value, old: Option<&Value>) -> Vec<String> {
        let mut causes = Vec::new();
        check_rules(value, old, &from_openapi(schema), "", &mut causes);
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn rules_are_checked_where_they_stand_and_with_what_was_before() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": [{"rule": "self.a <= self.b", "message": "a is above b"}],
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"},
                "when": {"type": "string", "format": "date-time"},
                "fixed": {"type": "string", "x-kubernetes-validations":
                    [{"rule": "self == oldSelf", "message": "fixed is fixed"}]}}}}});
        let one = json!({"spec": {"a": 1, "b": 2, "fixed": "x"}});
        assert_eq!(broken(&schema, &one, None), Vec::<String>::new());
        let other = json!({"spec": {"a": 3, "b": 2, "fixed": "y"}});
        assert_eq!(
            broken(&schema, &other, Some(&one)),
            [
                "spec: Invalid value: \"object\": a is above b",
                "spec.fixed: Invalid value: \"string\": fixed is fixed",
            ]
        );
    }

    #[test]
    fn a_rule_that_cannot_be_evaluated_refuses() {
        let schema = json!({"type": "object", "x-kubernetes-validations":
            [{"rule": "self.none.there == 1"}]});
        assert_eq!(broken(&schema, &json!({"a": 1}), None).len(), 1);
    }
}
