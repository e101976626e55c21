//! Server-side apply: who owns which field, and how a configuration is merged into an object.
//!
//! What it does is what structured-merge-diff does, as `managedFields` and `FieldsV1` of the
//! Kubernetes API reference describe it; `tests/fidelity` compares. It never looks at what a field
//! means.

mod fields;
mod managers;
mod merge;
mod typed;
mod walk;

use serde_json::Value;

use super::schema::Schema;
pub(crate) use fields::Fields;
pub(crate) use managers::{Manager, Managers};
pub(crate) use merge::merged;
pub(crate) use typed::{as_go_prints, type_errors};
use walk::{Comparison, compare, fields_of, without};

/// Who writes, through what.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    pub(crate) manager: String,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    /// Fields that this way of writing does not reach.
    pub(crate) reset: Fields,
    /// The time, as it is written.
    pub(crate) now: String,
}

/// A field that somebody else owns, and who.
#[derive(Clone, Debug)]
pub(crate) struct Conflict {
    pub(crate) manager: Manager,
    pub(crate) path: String,
}

/// Metadata that nobody owns.
fn nobodys() -> Fields {
    let mut fields = Fields::default();
    for path in [&["f:apiVersion"][..], &["f:kind"], &["f:metadata"]] {
        fields.insert(path);
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        fields.insert(&["f:metadata", &format!("f:{name}")]);
    }
    fields
}

/// Who owns what after an update (or create, or any patch but an apply) of `live` to `new`.
pub(crate) fn after_update(
    live: &Value,
    new: &Value,
    schema: &Schema,
    mut managers: Managers,
    hand: &Hand,
) -> Managers {
    let is_create = super::object::uid(live).is_empty();
    if managers.0.is_empty() && !is_create {
        return managers;
    }
    let comparison = compare(live, new, schema);
    take_over(&mut managers, &comparison.without(&hand.reset), None);
    let set = comparison.modified.union(&comparison.added).without_all(&hand.reset);
    let set = set.difference(&nobodys());
    if !set.is_empty() {
        let mut manager = Manager::of(hand, false);
        manager.fields = set;
        // The scale subresource books without a time.
        if hand.subresource != "scale" {
            manager.time.clone_from(&hand.now);
        }
        match managers.find(&manager) {
            Some(before) => {
                // What the same manager removed just now is gone from its fields already.
                manager.fields = manager.fields.union(&before.fields);
                *before = manager;
            }
            None => managers.0.push(manager),
        }
    }
    managers.cap();
    managers
}

/// Removes what changed from everybody but `except`.
fn take_over(managers: &mut Managers, comparison: &Comparison, except: Option<&Manager>) {
    let changed = comparison.modified.union(&comparison.added).union(&comparison.removed);
    for manager in &mut managers.0 {
        if except.is_none_or(|except| !manager.is_same(except)) {
            manager.fields = manager.fields.difference(&changed);
        }
    }
    managers.0.retain(|manager| !manager.fields.is_empty());
}

/// What an apply makes of `live`.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The object; none if the configuration changes nothing in it.
    pub(crate) object: Option<Value>,
    pub(crate) managers: Managers,
}

/// Applies `config` to `live`.
///
/// # Errors
/// The conflicts, unless `force` settles them.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    schema: &Schema,
    mut managers: Managers,
    hand: &Hand,
    force: bool,
) -> Result<Applied, Vec<Conflict>> {
    if managers.0.is_empty() && !super::object::uid(live).is_empty() {
        managers = before_first_apply(live, schema, hand);
    }
    let mut own = Manager::of(hand, true);
    let last = managers.find(&own).map(|before| before.clone());
    own.fields = fields_of(config, schema).without_all(&hand.reset);
    if let Some(last) = &last {
        own.time.clone_from(&last.time);
    }
    managers.0.retain(|manager| !manager.is_same(&own));
    managers.0.push(own.clone());
    let together = merged(live, config, schema);
    let object = match &last {
        Some(last) => pruned(&together, schema, &managers, &last.fields),
        None => together,
    };
    let comparison = compare(live, &object, schema).without(&hand.reset);
    let conflicts = conflicts(&managers, &comparison, &own);
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    take_over(&mut managers, &comparison, Some(&own));
    let is_changed = object != *live;
    let nobodys = nobodys();
    if let Some(own) = managers.find(&own) {
        own.fields = own.fields.difference(&nobodys);
        if is_changed {
            own.time.clone_from(&hand.now);
        }
    }
    managers.0.retain(|manager| !manager.fields.is_empty());
    Ok(Applied { object: is_changed.then_some(object), managers })
}

/// An object that nobody owned belongs to whoever was before the first apply.
fn before_first_apply(live: &Value, schema: &Schema, hand: &Hand) -> Managers {
    let empty = Value::Object(serde_json::Map::new());
    let before = Hand { manager: "before-first-apply".to_owned(), ..hand.clone() };
    after_update(&empty, live, schema, Managers::default(), &before)
}

/// `together` without what the applier owned before and owns no more, unless others own it.
fn pruned(together: &Value, schema: &Schema, managers: &Managers, last: &Fields) -> Value {
    let last = last.with_named_members(schema);
    let all = fields_of(together, schema).with_named_members(schema);
    let owned = managers
        .0
        .iter()
        .fold(Fields::default(), |all, manager| all.union(&manager.fields))
        .with_named_members(schema);
    let bare = without(together, schema, &last);
    let left = fields_of(&bare, schema).with_named_members(schema);
    let bare = without(together, schema, &all.difference(&left.union(&owned)));
    // What nobody owned, or only an updater, stays.
    let left = fields_of(&bare, schema).with_named_members(schema);
    without(together, schema, &all.difference(&left).intersection(&last))
}

fn conflicts(managers: &Managers, comparison: &Comparison, own: &Manager) -> Vec<Conflict> {
    let changed = comparison.modified.union(&comparison.added);
    let mut conflicts = Vec::new();
    for manager in managers.0.iter().filter(|manager| !manager.is_same(own)) {
        for path in manager.fields.intersection(&changed).paths() {
            conflicts.push(Conflict { manager: manager.clone(), path });
        }
    }
    conflicts
}

/// What the API server says about conflicts.
pub(crate) fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        let (manager, path) = (one.manager.shown(), &one.path);
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut by_manager: Vec<(String, Vec<&str>)> = Vec::new();
    for conflict in conflicts {
        let shown = conflict.manager.shown();
        match by_manager.iter_mut().find(|(manager, _)| *manager == shown) {
            Some((_, paths)) => paths.push(&conflict.path),
            None => by_manager.push((shown, vec![&conflict.path])),
        }
    }
    by_manager.sort();
    let mut lines = Vec::new();
    for (manager, paths) in by_manager {
        lines.push(format!("conflicts with {manager}:"));
        lines.extend(paths.iter().map(|path| format!("- {path}")));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
