//! Going through values with their types: which fields there are, which differ, and a value without
//! some of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Fields, edge_of};
use crate::sim::api::schema::{Form, ListKind, Schema};

/// How a value is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As one.
    Leaf,
    /// By its fields.
    Map,
    /// By the keys of its entries.
    List,
}

/// The shape of a place that holds `one` or `other`.
pub(super) fn shape(one: Option<&Value>, other: Option<&Value>, schema: &Schema) -> Shape {
    match schema.form {
        Form::Object if schema.is_atomic => Shape::Leaf,
        Form::Object => Shape::Map,
        Form::Array if schema.list == ListKind::Atomic => Shape::Leaf,
        Form::Array => Shape::List,
        // Nothing is known: maps are maps, lists are values.
        Form::Any => {
            let is_map = |value: Option<&Value>| value.is_none_or(Value::is_object);
            if is_map(one) && is_map(other) && !schema.is_atomic { Shape::Map } else { Shape::Leaf }
        }
        Form::String | Form::Integer | Form::Number | Form::Boolean | Form::IntOrString => {
            Shape::Leaf
        }
    }
}

/// The fields of a map; none for null and for what is no map.
fn entries(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The set of the fields of a value.
pub(super) fn fields_of(value: &Value, schema: &Schema) -> Fields {
    let mut fields = Fields::default();
    collect(value, schema, &mut fields);
    fields.trim();
    fields
}

fn collect(value: &Value, schema: &Schema, node: &mut Fields) {
    match shape(Some(value), None, schema) {
        Shape::Leaf => node.mark(),
        Shape::Map => {
            for (name, field) in entries(Some(value)).into_iter().flatten() {
                let child = node.child(&format!("f:{name}"));
                collect(field, schema.inside(name), child);
                let is_bare = field.is_null() || field.as_object().is_some_and(Map::is_empty);
                if is_bare || !schema.properties.contains_key(name) {
                    child.mark();
                }
            }
        }
        Shape::List => {
            for (edge, list) in by_edge(items(Some(value)), schema) {
                let child = node.child(&edge);
                child.mark();
                if let [entry] = list.as_slice() {
                    collect(entry, schema.entries(), child);
                }
            }
        }
    }
}

/// The entries of a list by their edges.
fn by_edge<'a>(list: &'a [Value], schema: &Schema) -> BTreeMap<String, Vec<&'a Value>> {
    let mut found: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for entry in list {
        if let Some(edge) = edge_of(entry, schema) {
            found.entry(edge).or_default().push(entry);
        }
    }
    found
}

/// What differs between two objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Fields,
    pub(super) modified: Fields,
    pub(super) removed: Fields,
}

impl Comparison {
    /// The same without fields that are out of reach.
    pub(super) fn without(&self, reset: &Fields) -> Self {
        Self {
            added: self.added.without_all(reset),
            modified: self.modified.without_all(reset),
            removed: self.removed.without_all(reset),
        }
    }
}

/// Compares two objects.
pub(super) fn compare(old: &Value, new: &Value, schema: &Schema) -> Comparison {
    let mut comparison = Comparison::default();
    compare_at(Some(old), Some(new), schema, &mut Vec::new(), &mut comparison);
    comparison
}

fn compare_at(
    old: Option<&Value>,
    new: Option<&Value>,
    schema: &Schema,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    if old.is_some() && old == new {
        return;
    }
    let shape = shape(old, new, schema);
    let is_bare = match shape {
        Shape::Leaf => true,
        Shape::Map => {
            let is_empty = |value| entries(value).is_none_or(Map::is_empty);
            is_empty(old) && is_empty(new)
        }
        Shape::List => items(old).is_empty() && items(new).is_empty(),
    };
    if is_bare {
        match (old, new) {
            (None, _) => out.added.insert(path),
            (_, None) => out.removed.insert(path),
            (Some(_), Some(_)) => out.modified.insert(path),
        }
        return;
    }
    if shape == Shape::Map {
        let (old, new) = (entries(old), entries(new));
        let get = |map: Option<&Map<String, Value>>, name: &str| {
            map.and_then(|map| map.get(name)).cloned()
        };
        let mut names: Vec<&String> = old.into_iter().flat_map(Map::keys).collect();
        names.extend(new.into_iter().flat_map(Map::keys));
        names.sort();
        names.dedup();
        for name in names {
            path.push(format!("f:{name}"));
            let (old, new) = (get(old, name), get(new, name));
            compare_at(old.as_ref(), new.as_ref(), schema.inside(name), path, out);
            path.pop();
        }
    } else {
        compare_lists(items(old), items(new), schema, path, out);
    }
    match (old, new) {
        (None, _) => out.added.insert(path),
        (_, None) => out.removed.insert(path),
        (Some(_), Some(_)) => {}
    }
}

fn compare_lists(
    old: &[Value],
    new: &[Value],
    schema: &Schema,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let (old, new) = (by_edge(old, schema), by_edge(new, schema));
    let mut edges: Vec<&String> = old.keys().chain(new.keys()).collect();
    edges.sort();
    edges.dedup();
    let none = Vec::new();
    for edge in edges {
        path.push(edge.clone());
        let before = old.get(edge).unwrap_or(&none);
        let after = new.get(edge).unwrap_or(&none);
        let schema = schema.entries();
        match (before.as_slice(), after.as_slice()) {
            ([], [one]) => compare_at(None, Some(one), schema, path, out),
            ([one], []) => compare_at(Some(one), None, schema, path, out),
            ([one], [other]) => compare_at(Some(one), Some(other), schema, path, out),
            ([_, _, ..], [_, _, ..]) => {
                if before != after {
                    out.modified.insert(path);
                }
            }
            ([_, _, ..], rest) => {
                if let [one] = rest {
                    compare_at(None, Some(one), schema, path, out);
                }
                out.removed.insert(path);
            }
            (rest, _) => {
                if let [one] = rest {
                    compare_at(Some(one), None, schema, path, out);
                }
                out.added.insert(path);
            }
        }
        path.pop();
    }
}

/// `value` without the fields of a set.
pub(super) fn without(value: &Value, schema: &Schema, gone: &Fields) -> Value {
    match shape(Some(value), None, schema) {
        Shape::Leaf => value.clone(),
        Shape::Map => {
            let Value::Object(map) = value else { return value.clone() };
            let mut kept = Map::new();
            for (name, field) in map {
                let edge = format!("f:{name}");
                if gone.has(&edge) {
                    continue;
                }
                let rest = match gone.below(&edge) {
                    Some(below) => without(field, schema.inside(name), below),
                    None => field.clone(),
                };
                kept.insert(name.clone(), rest);
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Shape::List => {
            let Value::Array(list) = value else { return value.clone() };
            let mut kept = Vec::new();
            for entry in list {
                let edge = edge_of(entry, schema).unwrap_or_default();
                if gone.has(&edge) {
                    continue;
                }
                kept.push(match gone.below(&edge) {
                    Some(below) => without(entry, schema.entries(), below),
                    None => entry.clone(),
                });
            }
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
    }
}
