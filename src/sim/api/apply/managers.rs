//! `metadata.managedFields`: who owns what.

use serde_json::{Value, json};

use super::{Fields, Hand};
use crate::sim::api::object;

/// More updaters than this are put together.
const MOST_UPDATERS: usize = 10;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    /// By an apply, and not by another write.
    pub(crate) is_apply: bool,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    /// As it is written; empty if there is none.
    pub(crate) time: String,
    pub(crate) fields: Fields,
}

/// All entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Managers(pub(crate) Vec<Manager>);

impl Manager {
    /// The entry of `hand`, without fields.
    pub(super) fn of(hand: &Hand, is_apply: bool) -> Self {
        let name = if hand.manager.is_empty() { "unknown" } else { &hand.manager };
        Self {
            name: name.to_owned(),
            is_apply,
            api_version: hand.api_version.clone(),
            subresource: hand.subresource.clone(),
            ..Self::default()
        }
    }

    /// Whether both are entries of the same manager: an applier is one in all versions.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name
            && self.is_apply == other.is_apply
            && self.subresource == other.subresource
            && (self.is_apply || self.api_version == other.api_version)
    }

    /// As messages about conflicts show it.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        if !self.is_apply {
            text = format!("{text} using {}", self.api_version);
        }
        text
    }

    fn from_json(entry: &Value) -> Option<Self> {
        let text = |field: &str| object::text(entry, field).to_owned();
        let is_apply = match object::text(entry, "operation") {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        if object::text(entry, "fieldsType") != "FieldsV1" || text("apiVersion").is_empty() {
            return None;
        }
        Some(Self {
            name: text("manager"),
            is_apply,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: Fields::from_json(entry.get("fieldsV1").unwrap_or(&Value::Null)),
        })
    }

    fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name, "operation": self.operation(), "apiVersion": self.api_version,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_json(),
        });
        for (field, text) in [("time", &self.time), ("subresource", &self.subresource)] {
            if !text.is_empty() {
                object::set_at(&mut entry, &[field], text.as_str().into());
            }
        }
        entry
    }

    fn operation(&self) -> &'static str {
        if self.is_apply { "Apply" } else { "Update" }
    }
}

impl Managers {
    /// Reads those of an object; none if any of them cannot be read.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let list = object::metadata(object).and_then(|meta| meta.get("managedFields"));
        let list = list.and_then(Value::as_array).into_iter().flatten();
        list.map(Manager::from_json).collect::<Option<_>>().map(Self)
    }

    /// Writes them into an object, in the order of the API server.
    pub(crate) fn write(mut self, object: &mut Value) {
        self.0.sort_by(|a, b| {
            let key = |manager: &Manager| {
                (
                    manager.operation(),
                    manager.time.clone(),
                    manager.name.clone(),
                    manager.api_version.clone(),
                    manager.subresource.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        let entries: Vec<Value> = self.0.iter().map(Manager::to_json).collect();
        let value = if entries.is_empty() { Value::Null } else { Value::Array(entries) };
        object::set_meta(object, "managedFields", value);
    }

    /// The same as far as times are left out.
    pub(crate) fn owns_the_same(&self, other: &Self) -> bool {
        let timeless = |managers: &Self| {
            let mut list = managers.0.clone();
            for manager in &mut list {
                manager.time.clear();
            }
            list.sort_by(|a, b| {
                (a.operation(), &a.name, &a.api_version, &a.subresource).cmp(&(
                    b.operation(),
                    &b.name,
                    &b.api_version,
                    &b.subresource,
                ))
            });
            list
        };
        timeless(self) == timeless(other)
    }

    pub(super) fn find(&mut self, manager: &Manager) -> Option<&mut Manager> {
        self.0.iter_mut().find(|one| one.is_same(manager))
    }

    /// Puts the oldest updaters together when there are too many.
    pub(super) fn cap(&mut self) {
        loop {
            let mut updaters: Vec<(String, String, String)> = self
                .0
                .iter()
                .filter(|manager| !manager.is_apply)
                .map(|one| (one.time.clone(), one.name.clone(), one.api_version.clone()))
                .collect();
            if updaters.len() <= MOST_UPDATERS {
                return;
            }
            updaters.sort();
            let [first, second, ..] = updaters.as_slice() else { return };
            let version = first.2.clone();
            let mut ancient = Manager {
                name: "ancient-changes".to_owned(),
                api_version: version.clone(),
                time: second.0.clone(),
                ..Manager::default()
            };
            let is_old = |one: &Manager| {
                let key = (one.time.clone(), one.name.clone(), one.api_version.clone());
                !one.is_apply && one.api_version == version && (key == *first || key == *second)
            };
            let before = self.0.len();
            for manager in self.0.iter().filter(|manager| is_old(manager)) {
                ancient.fields = ancient.fields.union(&manager.fields);
            }
            self.0.retain(|manager| !is_old(manager));
            self.0.push(ancient);
            if self.0.len() >= before {
                return;
            }
        }
    }
}
