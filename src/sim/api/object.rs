//! Reading and changing the JSON of an object: its metadata, mostly. Nothing here fails; what is
//! missing reads as empty.

use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// `metadata`, if the object has it.
pub(crate) fn metadata(object: &Value) -> Option<&Object> {
    object.get("metadata")?.as_object()
}

/// `metadata`; made when it is missing. None when `object` is no JSON object.
pub(crate) fn metadata_mut(object: &mut Value) -> Option<&mut Object> {
    section_mut(object, "metadata")
}

/// The object under `key`; made when it is missing or something else.
pub(crate) fn section_mut<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Object> {
    let section = object.as_object_mut()?.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !section.is_object() {
        *section = Value::Object(Map::new());
    }
    section.as_object_mut()
}

/// A text of `metadata`; empty when it is missing.
pub(crate) fn meta_text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// A top-level text, such as `kind`; empty when it is missing.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    meta_text(object, "name")
}

/// `metadata.namespace`; empty for objects of the cluster.
pub(crate) fn namespace(object: &Value) -> &str {
    meta_text(object, "namespace")
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    meta_text(object, "uid")
}

/// `metadata.resourceVersion`.
pub(crate) fn version(object: &Value) -> &str {
    meta_text(object, "resourceVersion")
}

/// `metadata.generation`; 0 when the kind has none.
pub(crate) fn generation(object: &Value) -> i64 {
    metadata(object).and_then(|meta| meta.get("generation")).and_then(Value::as_i64).unwrap_or(0)
}

/// Sets or, with null, removes a field of `metadata`.
pub(crate) fn set_meta(object: &mut Value, field: &str, value: impl Into<Value>) {
    let Some(meta) = metadata_mut(object) else { return };
    match value.into() {
        Value::Null => {
            meta.remove(field);
        }
        value => {
            meta.insert(field.to_owned(), value);
        }
    }
}

/// Gives `object` the value of a metadata field that `other` has, or none if it has none.
pub(crate) fn copy_meta(object: &mut Value, other: &Value, field: &str) {
    let value = metadata(other).and_then(|meta| meta.get(field)).cloned().unwrap_or_default();
    set_meta(object, field, value);
}

/// Whether a metadata field is there and not null.
pub(crate) fn has_meta(object: &Value, field: &str) -> bool {
    metadata(object).and_then(|meta| meta.get(field)).is_some_and(|value| !value.is_null())
}

/// Whether deletion of the object has begun.
pub(crate) fn is_terminating(object: &Value) -> bool {
    has_meta(object, "deletionTimestamp")
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    let list = metadata(object).and_then(|meta| meta.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// `metadata.labels` as pairs.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("labels")?.get(key)?.as_str()
}

/// `metadata.ownerReferences`.
pub(crate) fn owners(object: &Value) -> &[Value] {
    let list = metadata(object).and_then(|meta| meta.get("ownerReferences"));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The value at `path`, where every step is the name of a field.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field))
}

/// Sets the value at `path` and makes what is missing on the way.
pub(crate) fn set_at(value: &mut Value, path: &[&str], new: Value) {
    match path {
        [] => *value = new,
        [field, rest @ ..] => {
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            if let Some(map) = value.as_object_mut() {
                set_at(map.entry(*field).or_insert(Value::Null), rest, new);
            }
        }
    }
}

/// Sets the value at `path` where there is none (or null) and its parent is there; where the parent
/// is missing nothing is done.
pub(crate) fn default_at(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut parent = value;
    for field in parents {
        let Some(next) = parent.get_mut(*field) else { return };
        parent = next;
    }
    let Some(map) = parent.as_object_mut() else { return };
    if map.get(*last).is_none_or(Value::is_null) {
        map.insert((*last).to_owned(), new.into());
    }
}

/// Removes the field at `path`.
pub(crate) fn remove_at(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut parent = value;
    for field in parents {
        parent = parent.get_mut(*field)?;
    }
    parent.as_object_mut()?.remove(*last)
}
