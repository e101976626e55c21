//! Patch bodies of guarded writes. Pure: values in, values out.
//!
//! A guard inside the body is what makes a write safe: the server checks it in the same transaction
//! in which it writes. Formats: RFC 6902 (JSON patch), RFC 7386 (merge patch).

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, TestOperation};
use serde_json::{Map, Value, json};

use crate::act::guard::Guard;
use crate::mutants::{Mutant, mutant};

/// `operations` behind tests of identity and version; with `stamp` also the annotation key and value.
pub(super) fn guarded_json_patch(
    guard: &Guard,
    operations: &[PatchOperation],
    stamp: Option<(&str, &str)>,
) -> Value {
    let mut all = vec![
        test(&["metadata", "uid"], &guard.uid),
        test(&["metadata", "resourceVersion"], &guard.resource_version),
    ];
    if mutant(Mutant::UnguardedWrite) {
        all.pop();
    }
    let annotations = PointerBuf::from_tokens(["metadata", "annotations"]);
    let (tests, changes): (Vec<_>, Vec<_>) =
        operations.iter().cloned().partition(|one| matches!(one, PatchOperation::Test(_)));
    all.extend(tests);
    // Whoever sets the whole map would wipe the stamp out or be wiped out by it.
    let sets_the_map = changes.iter().any(|one| one.path() == annotations.as_ptr());
    match stamp {
        Some((key, value)) if guard.has_annotations && !sets_the_map => {
            let path = PointerBuf::from_tokens(["metadata", "annotations", key]);
            all.push(PatchOperation::Add(AddOperation { path, value: value.into() }));
            all.extend(changes);
        }
        Some((key, value)) if !sets_the_map => {
            all.push(PatchOperation::Add(AddOperation {
                path: annotations,
                value: json!({ key: value }),
            }));
            all.extend(changes);
        }
        Some(_) | None => all.extend(changes),
    }
    json!(all)
}

fn test(path: &[&str], value: &str) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: PointerBuf::from_tokens(path.iter().copied()),
        value: value.into(),
    })
}

/// A merge patch from `before` to `after`; none if they are equal.
///
/// What neither of the two has is left alone, so fields of a newer version survive when both sides
/// were made by the same types. Lists are replaced as a whole.
pub fn merge_difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for (key, new) in after.iter().filter(|(_, new)| !new.is_null()) {
        match before.get(key) {
            Some(old) => {
                if let Some(change) = merge_difference(old, new) {
                    patch.insert(key.clone(), change);
                }
            }
            None => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for (key, old) in before {
        let gone = after.get(key).is_none_or(Value::is_null);
        if gone && !old.is_null() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// `patch` with the guard, and with `stamp` the annotation, in its metadata.
pub(super) fn guarded_merge_patch(
    guard: &Guard,
    mut patch: Value,
    stamp: Option<(&str, &str)>,
) -> Value {
    let mut metadata = Map::new();
    metadata.insert("uid".to_owned(), guard.uid.clone().into());
    if !mutant(Mutant::UnguardedWrite) {
        metadata.insert("resourceVersion".to_owned(), guard.resource_version.clone().into());
    }
    if let Some((key, value)) = stamp {
        metadata.insert("annotations".to_owned(), json!({ key: value }));
    }
    json_patch::merge(&mut patch, &json!({ "metadata": metadata }));
    patch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guard(has_annotations: bool) -> Guard {
        Guard {
            uid: "u1".to_owned(),
            resource_version: "7".to_owned(),
            epoch: None,
            has_annotations,
        }
    }

    fn object(annotations: &Value) -> Value {
        json!({"metadata": {"uid": "u1", "resourceVersion": "7", "annotations": annotations},
               "spec": {"replicas": 1}})
    }

    fn apply(object: &Value, patch: Value) -> Value {
        let mut changed = object.clone();
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut changed, &patch).unwrap();
        changed
    }

    #[test]
    fn a_json_patch_tests_identity_and_version_before_it_changes_anything() {
        let change: json_patch::Patch = serde_json::from_value(json!([
            {"op": "replace", "path": "/spec/replicas", "value": 2},
            {"op": "test", "path": "/spec/replicas", "value": 1},
        ]))
        .unwrap();
        let patch = guarded_json_patch(&guard(true), &change.0, Some(("sluice.dev/epoch", "3")));
        let order: Vec<_> =
            patch.as_array().unwrap().iter().map(|one| one["op"].as_str().unwrap()).collect();
        assert_eq!(order, ["test", "test", "test", "add", "replace"]);
        let after = apply(&object(&json!({"a": "b"})), patch);
        assert_eq!(after["metadata"]["annotations"], json!({"a": "b", "sluice.dev/epoch": "3"}));
        assert_eq!(after["spec"]["replicas"], 2);
    }

    #[test]
    fn an_object_without_annotations_gets_a_map_for_the_stamp() {
        let mut bare = object(&json!({}));
        bare["metadata"].as_object_mut().unwrap().remove("annotations");
        let patch = guarded_json_patch(&guard(false), &[], Some(("sluice.dev/epoch", "3")));
        let after = apply(&bare, patch);
        assert_eq!(after["metadata"]["annotations"], json!({"sluice.dev/epoch": "3"}));
    }

    #[test]
    fn a_change_of_the_whole_annotation_map_is_left_as_it_is() {
        let change: json_patch::Patch = serde_json::from_value(json!([
            {"op": "replace", "path": "/metadata/annotations", "value": {"only": "this"}},
        ]))
        .unwrap();
        let patch = guarded_json_patch(&guard(true), &change.0, Some(("sluice.dev/epoch", "3")));
        let after = apply(&object(&json!({"a": "b"})), patch);
        assert_eq!(after["metadata"]["annotations"], json!({"only": "this"}));
    }

    #[test]
    fn a_field_unknown_to_both_sides_survives_a_merge() {
        let mut stored = json!({"phase": "Progressing", "fromTheFuture": {"x": 1}, "list": [1, 2]});
        let before = json!({"phase": "Progressing", "list": [1, 2]});
        let after = json!({"phase": "Healthy"});
        json_patch::merge(&mut stored, &merge_difference(&before, &after).unwrap());
        assert_eq!(stored, json!({"phase": "Healthy", "fromTheFuture": {"x": 1}}));
        assert_eq!(merge_difference(&before, &before), None);
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..4).prop_map(Value::from)];
        let tree = leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-d]", tree, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn merging_the_difference_gives_the_second_document(
            before in documents(), after in documents(),
        ) {
            let mut merged = before.clone();
            if let Some(patch) = merge_difference(&before, &after) {
                json_patch::merge(&mut merged, &patch);
            }
            prop_assert_eq!(merged, after);
        }
    }
}
