//! Which Rollouts a change of an object concerns. It holds names and never looks at a Rollout.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::observe::Interest;
use crate::observe::cache::{Cache, Change, Key, controller_of};
use crate::traffic::endpoints::service_of;

/// Who is interested in what.
#[derive(Debug, Default)]
pub(super) struct Concerns(Mutex<HashMap<Interest, BTreeSet<Key>>>);

impl Concerns {
    /// The interests of a Rollout were `before` and are `after`.
    pub(super) fn note(&self, key: &Key, before: &BTreeSet<Interest>, after: &BTreeSet<Interest>) {
        if before == after {
            return;
        }
        let mut interested = self.interested();
        for gone in before.difference(after) {
            if let Some(keys) = interested.get_mut(gone) {
                keys.remove(key);
                if keys.is_empty() {
                    interested.remove(gone);
                }
            }
        }
        for new in after.difference(before) {
            interested.entry(new.clone()).or_default().insert(key.clone());
        }
    }

    /// The Rollouts that a change concerns. An echo of a write tells the Rollout that it was made
    /// for nothing: the pass that wrote has seen the answer.
    pub(super) fn of(&self, change: &Change, replica_sets: &Cache) -> Vec<Key> {
        let namespace = &change.key.namespace;
        match change.plural.as_str() {
            "rollouts" | "replicasets" if change.is_echo => vec![],
            "rollouts" => vec![change.key.clone()],
            "replicasets" | "analysisruns" => owner(&change.object, namespace),
            // A pod matters when it is new: its endpoints may have been seen before it was.
            "pods" if change.is_new => {
                let set = owner(&change.object, namespace);
                let set = set.first().and_then(|set| replica_sets.get(set));
                set.map_or_else(Vec::new, |set| owner(&set, namespace))
            }
            "pods" => vec![],
            plural => {
                let name = match plural {
                    "endpointslices" => service_of(&change.object).unwrap_or_default(),
                    _ => change.key.name.as_str(),
                };
                let key = Key::new(namespace, name);
                let interest = Interest { plural: plural.to_owned(), key };
                let keys: Vec<Key> =
                    self.interested().get(&interest).into_iter().flatten().cloned().collect();
                // Where several are interested, only one of them wrote.
                if change.is_echo && keys.len() == 1 { vec![] } else { keys }
            }
        }
    }

    fn interested(&self) -> MutexGuard<'_, HashMap<Interest, BTreeSet<Key>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object that controls this one, by name; none or one.
fn owner(object: &Value, namespace: &str) -> Vec<Key> {
    let name = controller_of(object).and_then(|owner| owner.get("name")).and_then(Value::as_str);
    name.map(|name| Key::new(namespace, name)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::json;

    use super::*;

    fn change(plural: &str, name: &str, is_echo: bool) -> Change {
        let object = json!({"metadata": {"name": name, "namespace": "shop", "ownerReferences": [
            {"kind": "Rollout", "name": "web", "uid": "uid-web", "controller": true}]}});
        let key = Key::new("shop", name);
        Change { plural: plural.to_owned(), key, object: Arc::new(object), is_new: false, is_echo }
    }

    fn replica_sets() -> Cache {
        let gvk = GroupVersionKind::gvk("apps", "v1", "ReplicaSet");
        Cache::new(ApiResource::from_gvk_with_plural(&gvk, "replicasets"), 1)
    }

    fn interest(plural: &str, name: &str) -> Interest {
        Interest { plural: plural.to_owned(), key: Key::new("shop", name) }
    }

    #[test]
    fn a_rollout_hears_of_others_writes_and_not_of_its_own() {
        let (concerns, sets) = (Concerns::default(), replica_sets());
        let web = Key::new("shop", "web");
        for (plural, name) in [("rollouts", "web"), ("replicasets", "web-1")] {
            assert_eq!(
                concerns.of(&change(plural, name, false), &sets),
                std::slice::from_ref(&web)
            );
            assert!(concerns.of(&change(plural, name, true), &sets).is_empty(), "{plural}");
        }
        // The loop over AnalysisRuns writes them too: what it wrote is news here.
        assert_eq!(concerns.of(&change("analysisruns", "run", true), &sets), [web]);
    }

    #[test]
    fn the_echo_of_a_shared_object_is_news_for_those_who_did_not_write_it() {
        let (concerns, sets) = (Concerns::default(), replica_sets());
        let (one, other) = (Key::new("shop", "one"), Key::new("shop", "other"));
        let service = BTreeSet::from([interest("services", "stable")]);
        concerns.note(&one, &BTreeSet::new(), &service);
        assert!(concerns.of(&change("services", "stable", true), &sets).is_empty());
        concerns.note(&other, &BTreeSet::new(), &service);
        let keys = concerns.of(&change("services", "stable", true), &sets);
        assert_eq!(keys, [one.clone(), other.clone()]);
        concerns.note(&one, &service, &BTreeSet::new());
        assert_eq!(concerns.of(&change("services", "stable", false), &sets), [other]);
    }
}
