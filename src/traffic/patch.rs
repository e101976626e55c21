//! The guarded JSON patch (RFC 6902) between an object as it was read and as it must be.
//!
//! Every patch first tests `metadata.uid` and `metadata.resourceVersion`, then the old value of
//! whatever it replaces or removes: it applies to the very object that was read or not at all. A
//! field that is added is guarded by the resource version alone, since JSON patch has no test for
//! absence. This file sends nothing.

use json_patch::jsonptr::PointerBuf;
use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
};
use serde_json::{Map, Value};

/// The object as read lacks what a guarded write needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object that was read has no {field}")]
pub struct Unguarded {
    /// The field that is missing or not a string.
    pub field: &'static str,
}

/// The patch from `live`, as read from the API server, to `desired`; `None` when they are equal.
///
/// # Errors
/// [`Unguarded`] when `live` has no uid or no resource version.
pub fn guarded_patch(live: &Value, desired: &Value) -> Result<Option<Patch>, Unguarded> {
    let mut changes = Vec::new();
    collect(live, desired, &mut PointerBuf::new(), &mut changes);
    if changes.is_empty() {
        return Ok(None);
    }
    let mut operations = vec![
        guard(live, ["metadata", "uid"], "metadata.uid")?,
        guard(live, ["metadata", "resourceVersion"], "metadata.resourceVersion")?,
    ];
    operations.append(&mut changes);
    Ok(Some(Patch(operations)))
}

fn guard(live: &Value, path: [&str; 2], field: &'static str) -> Result<PatchOperation, Unguarded> {
    let pointer = PointerBuf::from_tokens(path);
    let value = live
        .pointer(pointer.as_str())
        .filter(|value| value.as_str().is_some_and(|text| !text.is_empty()))
        .ok_or(Unguarded { field })?;
    Ok(PatchOperation::Test(TestOperation { path: pointer, value: value.clone() }))
}

/// Appends the operations that turn `old` into `new` at `path`. Lists of the same length are
/// compared item by item; any other list is replaced as a whole, so that no index shifts.
fn collect(old: &Value, new: &Value, path: &mut PointerBuf, out: &mut Vec<PatchOperation>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => collect_object(old, new, path, out),
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (idx, (old, new)) in old.iter().zip(new).enumerate() {
                path.push_back(idx);
                collect(old, new, path, out);
                path.pop_back();
            }
        }
        _ if old == new => {}
        _ => {
            out.push(test(path, old));
            let (path, value) = (path.clone(), new.clone());
            out.push(PatchOperation::Replace(ReplaceOperation { path, value }));
        }
    }
}

fn collect_object(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    path: &mut PointerBuf,
    out: &mut Vec<PatchOperation>,
) {
    for (key, new_value) in new {
        path.push_back(key);
        if let Some(old_value) = old.get(key) {
            collect(old_value, new_value, path, out);
        } else {
            let (path, value) = (path.clone(), new_value.clone());
            out.push(PatchOperation::Add(AddOperation { path, value }));
        }
        path.pop_back();
    }
    for (key, old_value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
        path.push_back(key);
        out.push(test(path, old_value));
        out.push(PatchOperation::Remove(RemoveOperation { path: path.clone() }));
        path.pop_back();
    }
}

fn test(path: &PointerBuf, value: &Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: path.clone(), value: value.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live() -> Value {
        json!({
            "metadata": {"uid": "u1", "resourceVersion": "7", "annotations": {"a/b~c": "1"}},
            "spec": {"rules": [{"weight": 1}, {"weight": 2}]},
        })
    }

    fn ops(live: &Value, desired: &Value) -> Value {
        serde_json::to_value(guarded_patch(live, desired).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn equal_objects_need_no_patch_not_even_its_tests() {
        assert_eq!(guarded_patch(&live(), &live()), Ok(None));
    }

    #[test]
    fn every_change_is_guarded_by_uid_resource_version_and_old_value() {
        let mut desired = live();
        desired["spec"]["rules"][1]["weight"] = json!(0);
        desired["metadata"]["annotations"] = json!({"new": "x"});
        assert_eq!(
            ops(&live(), &desired),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": "u1"},
                {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
                {"op": "add", "path": "/metadata/annotations/new", "value": "x"},
                {"op": "test", "path": "/metadata/annotations/a~1b~0c", "value": "1"},
                {"op": "remove", "path": "/metadata/annotations/a~1b~0c"},
                {"op": "test", "path": "/spec/rules/1/weight", "value": 2},
                {"op": "replace", "path": "/spec/rules/1/weight", "value": 0},
            ])
        );
    }

    #[test]
    fn a_list_of_another_length_is_replaced_as_a_whole() {
        let mut desired = live();
        desired["spec"]["rules"] = json!([{"weight": 2}]);
        let ops = ops(&live(), &desired);
        assert_eq!(ops[2]["path"], "/spec/rules");
        assert_eq!(ops[2]["value"], live()["spec"]["rules"]);
        assert_eq!(ops[3]["op"], "replace");
    }

    #[test]
    fn an_object_without_uid_or_resource_version_is_never_patched() {
        for field in ["uid", "resourceVersion"] {
            for bad in [Value::Null, json!(""), json!(7)] {
                let mut read = live();
                read["metadata"][field] = bad;
                let mut desired = read.clone();
                desired["spec"] = json!({});
                assert!(guarded_patch(&read, &desired).unwrap_err().field.ends_with(field));
            }
        }
    }

    #[test]
    fn the_patch_applies_to_what_was_read_and_fails_on_anything_newer() {
        let mut desired = live();
        desired["spec"]["rules"][0]["weight"] = json!(9);
        let patch = guarded_patch(&live(), &desired).unwrap().unwrap();
        let mut object = live();
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(object, desired);
        let mut newer = live();
        newer["metadata"]["resourceVersion"] = json!("8");
        assert!(json_patch::patch(&mut newer, &patch).is_err());
    }
}
