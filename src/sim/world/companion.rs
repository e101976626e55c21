//! What the companions have in common: the moment they act in, and small readings of objects.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::agenda::Time;
use super::behaviour::Behaviour;
use crate::sim::api::{Cluster, Entry, KindName, object};

pub(crate) const PODS: KindName = KindName::of("", "pods");
pub(crate) const NODES: KindName = KindName::of("", "nodes");
pub(crate) const SERVICES: KindName = KindName::of("", "services");
pub(crate) const REPLICA_SETS: KindName = KindName::of("apps", "replicasets");
pub(crate) const DEPLOYMENTS: KindName = KindName::of("apps", "deployments");
pub(crate) const JOBS: KindName = KindName::of("batch", "jobs");
pub(crate) const SLICES: KindName = KindName::of("discovery.k8s.io", "endpointslices");
pub(crate) const AUTOSCALERS: KindName = KindName::of("autoscaling", "horizontalpodautoscalers");

/// Namespace and name.
pub(crate) type Key = (String, String);

/// One moment of the world, in which a companion looks and acts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Time,
    pub(crate) cluster: &'a Cluster,
    pub(crate) behaviour: &'a Behaviour,
}

/// The key of an object.
pub(crate) fn key_of(object: &Value) -> Key {
    (object::namespace(object).to_owned(), object::name(object).to_owned())
}

/// A key as it is passed to the API.
pub(crate) fn named(key: &Key) -> (&str, &str) {
    (&key.0, &key.1)
}

/// A time as objects carry it.
pub(crate) fn stamp(time: Time) -> Value {
    time.to_rfc3339_opts(SecondsFormat::Secs, true).into()
}

/// A time out of an object.
pub(crate) fn time_at(object: &Value, path: &[&str]) -> Option<Time> {
    let text = object::at(object, path)?.as_str()?;
    Some(text.parse::<chrono::DateTime<chrono::FixedOffset>>().ok()?.to_utc())
}

/// A text at a path; empty when it is missing.
pub(crate) fn text_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    object::at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// A count at a path.
pub(crate) fn count_at(object: &Value, path: &[&str]) -> Option<u32> {
    object::at(object, path).and_then(Value::as_u64).and_then(|count| u32::try_from(count).ok())
}

/// A list at a path; empty when it is missing.
pub(crate) fn list_at<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    object::at(object, path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The owner reference of an object's controller.
pub(crate) fn controller_of(object: &Value) -> Option<&Value> {
    object::owners(object).iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// Whether `owner` is the controller of an object.
pub(crate) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|found| object::text(found, "uid") == object::uid(owner))
}

/// What a controller of `own` objects has to look at after a change: the object itself, or the one
/// of `kind` that controls the changed object of `children`.
pub(crate) fn concerned(
    entry: &Entry,
    own: &KindName,
    (kind, children): (&str, &KindName),
) -> Option<Key> {
    let is = |wanted: &KindName| {
        (entry.resource.group.as_str(), entry.resource.plural.as_str())
            == (wanted.group.as_ref(), wanted.plural.as_ref())
    };
    if is(own) {
        return Some(key_of(&entry.object));
    }
    let owner = controller_of(&entry.object).filter(|_| is(children))?;
    let is_ours = object::text(owner, "kind") == kind;
    is_ours.then(|| (entry.namespace().to_owned(), object::text(owner, "name").to_owned()))
}

/// Whether a plain selector (a Service's) fits the labels of an object. An empty one fits nothing.
pub(crate) fn fits(selector: &Map<String, Value>, object: &Value) -> bool {
    let has = |(key, value): (&String, &Value)| object::label(object, key) == value.as_str();
    !selector.is_empty() && selector.iter().all(has)
}

/// The selector of a Service; none for one that selects nothing.
pub(crate) fn service_selector(service: &Value) -> Option<&Map<String, Value>> {
    object::at(service, &["spec", "selector"])?.as_object().filter(|map| !map.is_empty())
}

/// A reference to `owner` as the controller of what it makes.
pub(crate) fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": object::text(owner, "apiVersion"), "kind": object::text(owner, "kind"),
        "name": object::name(owner), "uid": object::uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    }])
}

/// The status of a condition of an object; empty when it has none of this type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list_at(object, &["status", "conditions"]).iter().find(|one| object::text(one, "type") == kind)
}

/// Whether a condition of an object is True.
pub(crate) fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|one| object::text(one, "status") == "True")
}

/// Whether a pod has ended for good.
pub(crate) fn is_over(pod: &Value) -> bool {
    matches!(text_at(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// Conditions with `new` in the place of one of its type. `lastTransitionTime` is that of the old
/// one while its status is the same.
pub(crate) fn with_condition(conditions: &[Value], mut new: Value, now: Time) -> Vec<Value> {
    let kind = object::text(&new, "type").to_owned();
    let old = conditions.iter().find(|one| object::text(one, "type") == kind);
    let is_same = |old: &&Value| object::text(old, "status") == object::text(&new, "status");
    let since = old.filter(is_same).and_then(|old| old.get("lastTransitionTime")).cloned();
    object::set_at(&mut new, &["lastTransitionTime"], since.unwrap_or_else(|| stamp(now)));
    let mut all: Vec<Value> = conditions.to_vec();
    match all.iter_mut().find(|one| object::text(one, "type") == kind) {
        Some(place) => *place = new,
        None => all.push(new),
    }
    all
}

/// A digest in the letters of generated names.
pub(crate) fn short_hash(text: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(text.as_bytes());
    crate::revision::hex(digest.get(..5).unwrap_or_default())
}
