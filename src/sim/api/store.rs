//! All objects under one resourceVersion, and the log of how they became what they are.
//!
//! Keeps; never judges. The state of any version that the log still reaches can be had, which is
//! how paged lists stay consistent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::kinds::{KindName, Resource};
use super::log::{Change, Entry, Writer};
use super::object;
use super::request::Verb;

/// The objects of one kind by their key, in the order of lists.
pub(crate) type Shelf = BTreeMap<String, Arc<Value>>;

/// The objects and the log.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    version: u64,
    shelves: BTreeMap<KindName, Shelf>,
    log: VecDeque<Arc<Entry>>,
    /// Changes up to this version are forgotten.
    compacted: u64,
    /// The version of the latest change in each API group.
    latest: BTreeMap<String, u64>,
}

/// What is noted about a change beside the object itself.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) resource: Arc<Resource>,
    pub(crate) writer: Writer,
    pub(crate) verb: Verb,
    pub(crate) subresource: String,
    pub(crate) at: DateTime<Utc>,
}

/// The key of an object on its shelf: lists are in the order of these texts, as they are in etcd.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

impl Default for Store {
    fn default() -> Self {
        // The first write of an etcd makes version 2.
        Self {
            version: 1,
            shelves: BTreeMap::new(),
            log: VecDeque::new(),
            compacted: 1,
            latest: BTreeMap::new(),
        }
    }
}

impl Store {
    /// The version of the latest change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The version of the latest change of an object of an API group.
    pub(crate) fn version_of_group(&self, group: &str) -> u64 {
        self.latest.get(group).copied().unwrap_or_default()
    }

    /// Changes up to this version can no longer be had.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn get(&self, kind: &KindName, key: &str) -> Option<&Arc<Value>> {
        self.shelves.get(kind)?.get(key)
    }

    /// The objects of a kind: those of `namespace`, or all when it is empty.
    pub(crate) fn list<'a>(
        &'a self,
        kind: &KindName,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a Arc<Value>)> + 'a {
        let from = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let objects = self.shelves.get(kind);
        let prefix = from.clone();
        objects
            .into_iter()
            .flat_map(move |objects| objects.range(from.clone()..))
            .take_while(move |(key, _)| key.starts_with(&prefix))
    }

    /// The objects of a kind as they were at `version`, which is not before the compaction.
    pub(crate) fn list_at(&self, kind: &KindName, version: u64) -> Shelf {
        let mut objects = self.shelves.get(kind).cloned().unwrap_or_default();
        for entry in self.log.iter().rev().take_while(|entry| entry.version > version) {
            if entry.resource.storage != *kind {
                continue;
            }
            let key = key(entry.namespace(), entry.name());
            match &entry.old {
                Some(old) => objects.insert(key, old.clone()),
                None => objects.remove(&key),
            };
        }
        objects
    }

    /// The changes after `version`, oldest first.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let known = self.log.front().map_or(self.version, |entry| entry.version.saturating_sub(1));
        let skip = usize::try_from(version.saturating_sub(known)).unwrap_or(usize::MAX);
        self.log.iter().skip(skip)
    }

    /// Stores `new` under the next version, which is written into it.
    pub(crate) fn put(&mut self, deed: Deed, mut new: Value) -> Arc<Value> {
        self.version += 1;
        object::set_meta(&mut new, "resourceVersion", self.version.to_string());
        let key = key(object::namespace(&new), object::name(&new));
        let new = Arc::new(new);
        let objects = self.shelves.entry(deed.resource.storage.clone()).or_default();
        let old = objects.insert(key, new.clone());
        let change = if old.is_some() { Change::Modified } else { Change::Added };
        self.note(deed, change, new.clone(), old);
        new
    }

    /// Removes an object; its last state with the version of the removal.
    pub(crate) fn remove(&mut self, deed: Deed, key: &str) -> Option<Arc<Value>> {
        let old = self.shelves.get_mut(&deed.resource.storage)?.remove(key)?;
        self.version += 1;
        let mut last = Value::clone(&old);
        object::set_meta(&mut last, "resourceVersion", self.version.to_string());
        let last = Arc::new(last);
        self.note(deed, Change::Removed, last.clone(), Some(old));
        Some(last)
    }

    fn note(&mut self, deed: Deed, change: Change, object: Arc<Value>, old: Option<Arc<Value>>) {
        let Deed { resource, writer, verb, subresource, at } = deed;
        let version = self.version;
        self.latest.insert(resource.storage.group.to_string(), version);
        let entry = Entry { version, at, change, resource, object, old, writer, verb, subresource };
        self.log.push_back(Arc::new(entry));
    }

    /// Forgets the changes up to `version`. Objects stay as they are.
    pub(crate) fn compact(&mut self, version: u64) {
        let version = version.min(self.version);
        while self.log.front().is_some_and(|entry| entry.version <= version) {
            self.log.pop_front();
        }
        self.compacted = self.compacted.max(version);
    }
}
