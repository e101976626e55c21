//! An object with a configuration merged into it.

use serde_json::{Map, Value};

use super::fields::edge_of;
use super::walk::{Shape, shape};
use crate::sim::api::schema::Schema;

/// `live` with all that `config` says.
pub(crate) fn merged(live: &Value, config: &Value, schema: &Schema) -> Value {
    merge(Some(live), Some(config), schema).unwrap_or_else(|| Value::Object(Map::new()))
}

fn merge(live: Option<&Value>, config: Option<&Value>, schema: &Schema) -> Option<Value> {
    match shape(live, config, schema) {
        Shape::Leaf => config.or(live).cloned(),
        Shape::Map => {
            let is_empty =
                |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(Map::is_empty);
            if is_empty(live) && is_empty(config) {
                return config.or(live).cloned();
            }
            let (live, config) =
                (live.and_then(Value::as_object), config.and_then(Value::as_object));
            let mut out = Map::new();
            let get = |map: Option<&Map<String, Value>>, name: &str| map?.get(name).cloned();
            for name in live.into_iter().flat_map(Map::keys) {
                let (live, config) = (get(live, name), get(config, name));
                let value = merge(live.as_ref(), config.as_ref(), schema.inside(name));
                if let Some(value) = value {
                    out.insert(name.clone(), value);
                }
            }
            for (name, value) in config.into_iter().flatten() {
                if live.is_none_or(|live| !live.contains_key(name))
                    && let Some(value) = merge(None, Some(value), schema.inside(name))
                {
                    out.insert(name.clone(), value);
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        Shape::List => {
            let list = |value: Option<&Value>| -> Vec<Value> {
                value.and_then(Value::as_array).cloned().unwrap_or_default()
            };
            let (old, new) = (list(live), list(config));
            if old.is_empty() && new.is_empty() {
                return config.or(live).cloned();
            }
            let out = merge_lists(&old, &new, schema);
            (!out.is_empty()).then_some(Value::Array(out))
        }
    }
}

/// The entries of both, in the order of `new` where it says one and else in that of `old`.
fn merge_lists(old: &[Value], new: &[Value], schema: &Schema) -> Vec<Value> {
    let edge = |entry: &Value| edge_of(entry, schema).unwrap_or_default();
    let old: Vec<(String, &Value)> = old.iter().map(|entry| (edge(entry), entry)).collect();
    let new: Vec<(String, &Value)> = new.iter().map(|entry| (edge(entry), entry)).collect();
    let is_in = |list: &[(String, &Value)], edge: &str| list.iter().any(|(one, _)| one == edge);
    let of_old = |edge: &str| {
        let mut found = old.iter().filter(|(one, _)| one == edge);
        // Entries that are there twice are not merged.
        found.next().filter(|_| found.next().is_none()).map(|(_, entry)| *entry)
    };
    let mut shared = new.iter().map(|(edge, _)| edge).filter(|edge| is_in(&old, edge));
    let mut next_shared = shared.next();
    let mut done: Vec<&str> = Vec::new();
    let mut out = Vec::new();
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    while left.peek().is_some() || right.peek().is_some() {
        if let (Some((edge, _)), Some((wanted, entry))) = (left.peek(), right.peek()) {
            if edge == wanted {
                done.push(edge);
                out.extend(merge(of_old(edge), Some(entry), schema.entries()));
                left.next();
                right.next();
                next_shared = shared.next();
                continue;
            }
            if is_in(&new, edge) && next_shared.is_some_and(|next| next != edge) {
                // Its turn comes later.
                left.next();
                continue;
            }
        }
        if let Some((edge, entry)) = left.peek() {
            if !is_in(&new, edge) {
                out.extend(merge(Some(entry), None, schema.entries()));
                left.next();
                continue;
            }
            if done.contains(&edge.as_str()) {
                left.next();
            }
        }
        if let Some((edge, entry)) = right.next() {
            done.push(edge);
            out.extend(merge(of_old(edge), Some(entry), schema.entries()));
            if next_shared == Some(edge) {
                next_shared = shared.next();
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::api::schema::from_openapi;
    use serde_json::json;

    fn names(old: &[&str], new: &[&str]) -> Vec<String> {
        let schema = from_openapi(&json!({"type": "array", "x-kubernetes-list-type": "set",
            "items": {"type": "string"}}));
        let list = merged(&json!(old), &json!(new), &schema);
        list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn an_applied_list_keeps_what_is_others_and_says_the_order_of_its_own() {
        assert_eq!(names(&["a", "b"], &["c"]), ["a", "b", "c"]);
        assert_eq!(names(&["a", "b", "c"], &["c", "a"]), ["b", "c", "a"]);
        assert_eq!(names(&["x", "a", "y"], &["a", "z"]), ["x", "a", "y", "z"]);
    }
}
