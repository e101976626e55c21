//! The garbage collector and the namespace controller of kube-controller-manager, as one step over
//! what changed: who is owned by what is gone goes, or is set free, as its owner's deletion asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::kinds::{KindName, Resource, split_api_version};
use super::log::Change;
use super::object;
use super::request::{Identity, Options, Target, Verb};
use super::server::{Body, Call, Server};
use super::store;

const COLLECTOR: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";
/// Passes of one step: more than any chain of owners is long.
const MOST_ROUNDS: usize = 100;

/// An object by kind and key.
type Place = (KindName, String);

/// The two controllers, and what they know.
#[derive(Debug, Default)]
pub struct Collector {
    cursor: u64,
    /// Objects by the uid of an owner.
    dependents: BTreeMap<String, BTreeSet<Place>>,
    /// Objects to look at.
    due: BTreeSet<Place>,
}

impl Collector {
    /// Looks at everything that changed, until nothing is left to do; how many writes were made.
    pub fn step(&mut self, server: &mut Server, now: DateTime<Utc>) -> usize {
        let before = server.version();
        for _ in 0..MOST_ROUNDS {
            self.learn(server);
            let due = std::mem::take(&mut self.due);
            if due.is_empty() {
                break;
            }
            for place in due {
                self.look_at(server, &place, now);
            }
        }
        usize::try_from(server.version() - before).unwrap_or(usize::MAX)
    }

    fn learn(&mut self, server: &Server) {
        for entry in server.store.since(self.cursor) {
            self.cursor = entry.version;
            let key = store::key(entry.namespace(), entry.name());
            let place = (entry.resource.storage.clone(), key);
            for owner in entry.old.iter().flat_map(|old| object::owners(old)) {
                if let Some(places) = self.dependents.get_mut(object::text(owner, "uid")) {
                    places.remove(&place);
                }
            }
            if entry.change == Change::Removed {
                let uid = object::uid(&entry.object);
                self.due.extend(self.dependents.remove(uid).into_iter().flatten());
                // An owner may wait for this one, a namespace for its last object.
                for owner in object::owners(&entry.object) {
                    self.due.extend(owner_place(server, owner, entry.namespace()));
                }
                self.due.insert((KindName::of("", "namespaces"), entry.namespace().to_owned()));
                continue;
            }
            for owner in object::owners(&entry.object) {
                let uid = object::text(owner, "uid").to_owned();
                self.dependents.entry(uid).or_default().insert(place.clone());
            }
            if object::is_terminating(&entry.object) || !object::owners(&entry.object).is_empty() {
                self.due.insert(place);
            }
        }
    }

    fn look_at(&self, server: &mut Server, place: &Place, now: DateTime<Utc>) {
        let Some(object) = server.store.get(&place.0, &place.1).cloned() else { return };
        if object::is_terminating(&object) {
            let finalizers = object::finalizers(&object);
            if finalizers.contains(&"orphan") {
                self.orphan(server, place, &object, now);
            } else if finalizers.contains(&"foregroundDeletion") {
                self.delete_dependents(server, place, &object, now);
            }
            if place.0 == KindName::of("", "namespaces") {
                empty_namespace(server, &object, now);
            }
            return;
        }
        self.judge(server, place, &object, now);
    }

    fn dependents_of(&self, object: &Value) -> Vec<Place> {
        let places = self.dependents.get(object::uid(object));
        places.into_iter().flatten().cloned().collect()
    }

    fn orphan(&self, server: &mut Server, place: &Place, owner: &Value, now: DateTime<Utc>) {
        for dependent in self.dependents_of(owner) {
            let Some(object) = server.store.get(&dependent.0, &dependent.1).cloned() else {
                continue;
            };
            let rest = owners_without(&object, |reference| {
                object::text(reference, "uid") == object::uid(owner)
            });
            set_owners(server, &dependent, &object, rest, now);
        }
        drop_finalizer(server, place, owner, "orphan", now);
    }

    fn delete_dependents(
        &self,
        server: &mut Server,
        place: &Place,
        owner: &Value,
        now: DateTime<Utc>,
    ) {
        let mut is_blocked = false;
        for dependent in self.dependents_of(owner) {
            let Some(object) = server.store.get(&dependent.0, &dependent.1).cloned() else {
                continue;
            };
            if !object::is_terminating(&object) {
                self.judge(server, &dependent, &object, now);
            }
            let is_left = server.store.get(&dependent.0, &dependent.1).is_some_and(|object| {
                object::owners(object).iter().any(|reference| {
                    object::text(reference, "uid") == object::uid(owner)
                        && reference.get("blockOwnerDeletion") == Some(&Value::Bool(true))
                })
            });
            is_blocked |= is_left;
        }
        if !is_blocked {
            drop_finalizer(server, place, owner, "foregroundDeletion", now);
        }
    }

    /// Deletes an object without owners that are there and stay, or takes the others off its list.
    fn judge(&self, server: &mut Server, place: &Place, object: &Value, now: DateTime<Utc>) {
        if object::owners(object).is_empty() {
            return;
        }
        let namespace = object::namespace(object);
        let state = |reference: &Value| owner_state(server, reference, namespace);
        let states: Vec<OwnerState> = object::owners(object).iter().map(state).collect();
        if states.contains(&OwnerState::Stays) {
            if states.iter().any(|state| *state != OwnerState::Stays) {
                let rest =
                    owners_without(object, |reference| state(reference) != OwnerState::Stays);
                set_owners(server, place, object, rest, now);
            }
            return;
        }
        let waits = states.contains(&OwnerState::Waits);
        let policy = if waits && !self.dependents_of(object).is_empty() {
            "Foreground"
        } else if object::finalizers(object).contains(&"orphan") {
            "Orphan"
        } else if object::finalizers(object).contains(&"foregroundDeletion") {
            "Foreground"
        } else {
            "Background"
        };
        let body = json!({
            "propagationPolicy": policy, "preconditions": {"uid": object::uid(object)},
        });
        if let Some(call) = call(server, Verb::Delete, place, object, COLLECTOR, now) {
            let _ = server.execute(call, Body::Value(body));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerState {
    /// There, and not waiting for its dependents.
    Stays,
    /// Being deleted, and waiting for its dependents.
    Waits,
    /// Not there, or another object of that name.
    Gone,
}

fn owner_place(server: &Server, reference: &Value, namespace: &str) -> Option<Place> {
    let (group, _) = split_api_version(object::text(reference, "apiVersion"));
    let kind = object::text(reference, "kind");
    let resource = server.kinds.all().find(|one| one.kind == kind && one.group == group)?;
    let namespace = if resource.is_namespaced { namespace } else { "" };
    Some((resource.storage.clone(), store::key(namespace, object::text(reference, "name"))))
}

fn owner_state(server: &Server, reference: &Value, namespace: &str) -> OwnerState {
    let owner = owner_place(server, reference, namespace)
        .and_then(|place| server.store.get(&place.0, &place.1));
    match owner {
        Some(owner) if object::uid(owner) == object::text(reference, "uid") => {
            let waits = object::is_terminating(owner)
                && object::finalizers(owner).contains(&"foregroundDeletion");
            if waits { OwnerState::Waits } else { OwnerState::Stays }
        }
        _ => OwnerState::Gone,
    }
}

fn owners_without(object: &Value, is_dropped: impl Fn(&Value) -> bool) -> Vec<Value> {
    object::owners(object).iter().filter(|owner| !is_dropped(owner)).cloned().collect()
}

fn set_owners(
    server: &mut Server,
    place: &Place,
    object: &Value,
    owners: Vec<Value>,
    now: DateTime<Utc>,
) {
    let owners = if owners.is_empty() { Value::Null } else { Value::Array(owners) };
    let patch = json!({"metadata": {"ownerReferences": owners, "uid": object::uid(object)}});
    merge(server, place, object, patch, now);
}

fn drop_finalizer(
    server: &mut Server,
    place: &Place,
    object: &Value,
    finalizer: &str,
    now: DateTime<Utc>,
) {
    let rest: Vec<&str> =
        object::finalizers(object).into_iter().filter(|one| *one != finalizer).collect();
    let patch = json!({"metadata": {"finalizers": rest, "uid": object::uid(object)}});
    merge(server, place, object, patch, now);
}

fn merge(server: &mut Server, place: &Place, object: &Value, patch: Value, now: DateTime<Utc>) {
    if let Some(mut call) = call(server, Verb::Patch, place, object, COLLECTOR, now) {
        "application/merge-patch+json".clone_into(&mut call.content_type);
        let _ = server.execute(call, Body::Value(patch));
    }
}

fn call(
    server: &Server,
    verb: Verb,
    place: &Place,
    object: &Value,
    user: &str,
    now: DateTime<Utc>,
) -> Option<Call> {
    let resource: Arc<Resource> = server.kinds.any_version(&place.0)?.clone();
    Some(Call {
        target: Target {
            resource,
            namespace: object::namespace(object).to_owned(),
            name: object::name(object).to_owned(),
            subresource: String::new(),
        },
        verb,
        options: Options::default(),
        content_type: String::new(),
        identity: Identity::admin(user),
        user_agent: "kube-controller-manager".to_owned(),
        now,
    })
}

/// Deletes what is in a terminating namespace, and the namespace when nothing is left.
fn empty_namespace(server: &mut Server, namespace: &Value, now: DateTime<Utc>) {
    let name = object::name(namespace);
    let storages: Vec<Arc<Resource>> = server.kinds.storages().into_values().cloned().collect();
    let mut left = 0;
    for resource in storages.into_iter().filter(|resource| resource.is_namespaced) {
        let objects: Vec<Arc<Value>> =
            server.store.list(&resource.storage, name).map(|(_, object)| object.clone()).collect();
        for object in objects {
            let key = store::key(name, object::name(&object));
            let place = (resource.storage.clone(), key);
            let is_new = !object::is_terminating(&object);
            if is_new
                && let Some(call) =
                    call(server, Verb::Delete, &place, &object, NAMESPACE_CONTROLLER, now)
            {
                let _ = server.execute(call, Body::Value(json!({})));
            }
            left += usize::from(server.store.get(&place.0, &place.1).is_some());
        }
    }
    if left == 0 && object::finalizers(namespace).is_empty() {
        let place = (KindName::of("", "namespaces"), name.to_owned());
        if let Some(call) = call(server, Verb::Delete, &place, namespace, NAMESPACE_CONTROLLER, now)
        {
            server.store.remove(call.deed(), &place.1);
        }
    }
}
