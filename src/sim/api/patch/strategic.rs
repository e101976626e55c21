//! Strategic merge patches: merge patches that know which lists are merged by which key, with
//! directives (`$patch`, `$retainKeys`, `$setElementOrder/...`, `$deleteFromPrimitiveList/...`).
//! See "Strategic Merge Patch" in the API conventions of Kubernetes.

use super::super::apply::as_go_prints;
use serde_json::{Map, Value};

use crate::sim::api::schema::{Form, Schema};

type Object = Map<String, Value>;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ORDER: &str = "$setElementOrder/";

/// `object` with a patch merged into it.
///
/// # Errors
/// What is wrong with the patch.
pub(super) fn merge(object: &Value, patch: Value, schema: &Schema) -> Result<Value, String> {
    let Value::Object(patch) = patch else { return Err("the patch is no object".to_owned()) };
    let object = object.as_object().cloned().unwrap_or_default();
    merge_maps(object, patch, schema).map(Value::Object)
}

fn merge_maps(mut object: Object, mut patch: Object, schema: &Schema) -> Result<Object, String> {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => {
            patch.remove(PATCH);
            return Ok(patch);
        }
        Some("delete") => return Ok(Object::new()),
        Some("merge") => {
            patch.remove(PATCH);
        }
        Some(other) => return Err(format!("unknown patch type found: {other}")),
        None => {}
    }
    retain_keys(&mut object, &mut patch)?;
    merge_ordered_lists(&mut object, &mut patch, schema)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from(&mut object, list, &value);
            continue;
        }
        if value.is_null() {
            object.remove(&key);
            continue;
        }
        let field = schema.inside(&key);
        let merged = match (object.remove(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                Some(Value::Object(merge_maps(old, new, field)?))
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                Some(Value::Array(merge_lists(old, new, field)?))
            }
            (_, new) => without_directives(new),
        };
        if let Some(merged) = merged {
            object.insert(key, merged);
        }
    }
    Ok(object)
}

fn retain_keys(object: &mut Object, patch: &mut Object) -> Result<(), String> {
    let Some(keys) = patch.remove(RETAIN) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err("$retainKeys must be a list".to_owned()) };
    let is_kept = |key: &str| keys.iter().any(|one| one.as_str() == Some(key));
    let is_stray = |(key, value): (&String, &Value)| {
        !value.is_null() && !key.starts_with('$') && !is_kept(key)
    };
    if patch.iter().any(is_stray) {
        return Err("bad patch format for the $retainKeys list".to_owned());
    }
    object.retain(|key, _| is_kept(key));
    Ok(())
}

fn delete_from(object: &mut Object, list: &str, gone: &Value) {
    let Some(Value::Array(present)) = object.get_mut(list) else { return };
    let gone = gone.as_array().map_or(&[][..], Vec::as_slice);
    present.retain(|one| !gone.contains(one));
}

/// The lists whose order the patch says.
fn merge_ordered_lists(
    object: &mut Object,
    patch: &mut Object,
    schema: &Schema,
) -> Result<(), String> {
    let keys: Vec<String> = patch.keys().filter(|key| key.starts_with(ORDER)).cloned().collect();
    for key in keys {
        let Some(Value::Array(order)) = patch.remove(&key) else {
            return Err(format!("{key} must be a list"));
        };
        let name = key.strip_prefix(ORDER).unwrap_or_default();
        let field = schema.inside(name);
        let old = match object.get(name) {
            Some(Value::Array(old)) => Some(old.clone()),
            _ => None,
        };
        let merged = match (old.clone(), patch.remove(name)) {
            (None, None) => continue,
            (Some(old), Some(Value::Array(new))) => merge_lists(old, new, field)?,
            (Some(old), _) => old,
            (None, Some(Value::Array(new))) => {
                new.into_iter().filter_map(without_directives).collect()
            }
            (None, Some(_)) => return Err(format!("{name} must be a list")),
        };
        let merge_key = field.patch.merge_key.clone().unwrap_or_default();
        let ordered = ordered(merged, &order, &old.unwrap_or_default(), &merge_key);
        object.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// What entries are told apart by: their key, or themselves.
fn identity(entry: &Value, merge_key: &str) -> Value {
    if merge_key.is_empty() {
        entry.clone()
    } else {
        entry.get(merge_key).cloned().unwrap_or_default()
    }
}

/// Entries of the patch in its order, the others where they were before.
fn ordered(all: Vec<Value>, order: &[Value], before: &[Value], merge_key: &str) -> Vec<Value> {
    let place = |list: &[Value], entry: &Value| {
        let wanted = identity(entry, merge_key);
        list.iter().position(|one| identity(one, merge_key) == wanted)
    };
    let (mut patched, mut others): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|entry| place(order, entry).is_some());
    patched.sort_by_key(|entry| place(order, entry));
    others.sort_by_key(|entry| place(before, entry).unwrap_or(usize::MAX));
    let mut out = Vec::new();
    let (mut patched, mut others) = (patched.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let takes_other = match (others.peek(), patched.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(own)) => match (place(before, other), place(before, own)) {
                (Some(other), Some(own)) => other < own,
                _ => false,
            },
        };
        out.extend(if takes_other { others.next() } else { patched.next() });
    }
}

fn merge_lists(old: Vec<Value>, new: Vec<Value>, schema: &Schema) -> Result<Vec<Value>, String> {
    let Some(merge_key) = &schema.patch.merge_key else {
        return Ok(new.into_iter().filter_map(without_directives).collect());
    };
    let before = old.clone();
    let mut all = old;
    let mut order = Vec::new();
    let is_of_maps = schema.entries().form == Form::Object;
    let is_replaced = |entry: &Value| entry.get(PATCH).and_then(Value::as_str) == Some("replace");
    if new.iter().any(is_replaced) {
        return Ok(new.into_iter().filter(|entry| entry.get(PATCH).is_none()).collect());
    }
    for entry in new {
        if !is_of_maps {
            if !all.contains(&entry) {
                all.push(entry.clone());
            }
            order.push(entry);
            continue;
        }
        let Value::Object(patch) = entry else { return Err("an entry is no object".to_owned()) };
        let key = patch.get(merge_key).cloned().ok_or_else(|| {
            let shown = as_go_prints(&Value::Object(patch.clone()));
            format!("map: {shown} does not contain declared merge key: {merge_key}")
        })?;
        let is_it = |one: &Value| one.get(merge_key) == Some(&key);
        if patch.get(PATCH).and_then(Value::as_str) == Some("delete") {
            all.retain(|one| !is_it(one));
            continue;
        }
        order.push(Value::Object(patch.clone()));
        match all.iter_mut().find(|one| is_it(one)) {
            Some(present) => {
                let old = present.as_object().cloned().unwrap_or_default();
                *present = Value::Object(merge_maps(old, patch, schema.entries())?);
            }
            None => all.extend(without_directives(Value::Object(patch))),
        }
    }
    Ok(ordered(all, &order, &before, merge_key))
}

/// A value of the patch as it is stored: without directives and without nulls.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.get(PATCH).and_then(Value::as_str) == Some("delete") {
                return None;
            }
            let kept = map
                .into_iter()
                .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
                .filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(list) => {
            Some(Value::Array(list.into_iter().filter_map(without_directives).collect()))
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::api::schema::builtin_schema;
    use serde_json::json;

    fn merged(object: &Value, patch: Value) -> Value {
        merge(object, patch, &builtin_schema("PodSpec")).unwrap()
    }

    #[test]
    fn containers_are_merged_by_name_and_deleted_by_directive() {
        let object =
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]});
        let patch = json!({"containers": [{"name": "b", "image": "2"}, {"name": "c"}]});
        assert_eq!(
            merged(&object, patch),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}]})
        );
        let patch = json!({"containers": [{"name": "a", "$patch": "delete"}],
            "$setElementOrder/containers": [{"name": "b"}]});
        assert_eq!(merged(&object, patch), json!({"containers": [{"name": "b", "image": "1"}]}));
    }

    #[test]
    fn lists_without_a_key_are_replaced_and_nulls_remove() {
        let object = json!({"tolerations": [{"key": "a"}], "hostname": "x"});
        let patch = json!({"tolerations": [{"key": "b"}], "hostname": null});
        assert_eq!(merged(&object, patch), json!({"tolerations": [{"key": "b"}]}));
    }

    #[test]
    fn volumes_keep_only_the_keys_that_the_patch_names() {
        let object = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        let patch = json!({"volumes": [{"name": "v", "configMap": {"name": "m"},
            "$retainKeys": ["name", "configMap"]}]});
        let wanted = json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}]});
        assert_eq!(merged(&object, patch), wanted);
    }
}
