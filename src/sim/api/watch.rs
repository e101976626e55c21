//! Watches: what a watcher is to be told, without any waiting. The waiting is in `transport`.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::failure::Failure;
use super::kinds::Resource;
use super::log::{Change, Entry};
use super::object;
use super::read::shown;
use super::request::View;
use super::select::{Fields, Labels};
use super::server::{Answer, Call, Server};

/// A watch that has begun: what it selects, and how far it has come.
#[derive(Clone, Debug)]
pub struct WatchPlan {
    resource: Arc<Resource>,
    namespace: String,
    labels: Labels,
    fields: Fields,
    view: View,
    /// Changes up to this version have been looked at.
    cursor: u64,
    /// Events that are due before any change is looked at.
    first: VecDeque<Value>,
    /// Bookmarks may be sent.
    pub allows_bookmarks: bool,
    /// After how many seconds the server ends it; none for its own choice.
    pub timeout_seconds: Option<u64>,
}

impl WatchPlan {
    /// What kind of objects is watched.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The version up to which changes have been looked at.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }
}

/// Something that a watcher is told.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// The line of the stream, without its end.
    pub json: Value,
    /// The change behind it; none for bookmarks, errors and initial events.
    pub entry: Option<Arc<Entry>>,
    /// The watch ends after it.
    pub is_last: bool,
}

impl WatchEvent {
    fn plain(json: Value) -> Self {
        Self { json, entry: None, is_last: false }
    }
}

impl Server {
    pub(crate) fn watch(&self, call: &Call) -> Result<Answer, Failure> {
        let options = &call.options;
        let mut fields = options.fields.clone();
        if !call.target.name.is_empty() {
            fields = Fields::of_name(&call.target.name);
        }
        let current = self.store.version();
        let mut plan = WatchPlan {
            resource: call.resource().clone(),
            namespace: call.target.namespace.clone(),
            labels: options.labels.clone(),
            fields,
            view: options.view,
            cursor: current,
            first: VecDeque::new(),
            allows_bookmarks: options.allows_bookmarks,
            timeout_seconds: options.timeout_seconds,
        };
        let asked = match options.resource_version.as_str() {
            "" => None,
            text => Some(text.parse::<u64>().map_err(|_| {
                Failure::unexplained(format!(
                    "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing \
                     {text:?}: invalid syntax"
                ))
            })?),
        };
        match (options.sends_initial_events, asked) {
            (Some(true), _) => {
                plan.first = self.initial_events(&plan)?;
                plan.first.push_back(bookmark(&plan, current, true));
            }
            (None, None | Some(0)) => plan.first = self.initial_events(&plan)?,
            (Some(false), None | Some(0)) => {}
            (_, Some(version)) => plan.cursor = version,
        }
        Ok(Answer::Watch(plan))
    }

    fn initial_events(&self, plan: &WatchPlan) -> Result<VecDeque<Value>, Failure> {
        self.store
            .list(&plan.resource.storage, &plan.namespace)
            .filter(|(_, object)| plan.selects(object))
            .map(|(_, object)| Ok(event("ADDED", &*shown(&plan.resource, object, plan.view)?)))
            .collect()
    }

    /// What a watcher is to be told next; empty when nothing has happened since.
    pub fn poll_watch(&self, plan: &mut WatchPlan) -> Vec<WatchEvent> {
        let mut events: Vec<WatchEvent> = plan.first.drain(..).map(WatchEvent::plain).collect();
        if plan.cursor < self.store.compacted() {
            let status = Failure::expired(format!(
                "too old resource version: {} ({})",
                plan.cursor,
                self.store.compacted() + 1
            ));
            let json = json!({"type": "ERROR", "object": status.to_status()});
            events.push(WatchEvent { json, entry: None, is_last: true });
            return events;
        }
        for entry in self.store.since(plan.cursor) {
            plan.cursor = plan.cursor.max(entry.version);
            if let Some(json) = plan.told_of(entry) {
                events.push(WatchEvent { json, entry: Some(entry.clone()), is_last: false });
            }
        }
        events
    }

    /// The bookmark that a watcher gets now: it has seen everything up to the present version.
    pub fn bookmark(&self, plan: &WatchPlan) -> WatchEvent {
        WatchEvent::plain(bookmark(plan, plan.cursor, false))
    }
}

impl WatchPlan {
    fn selects(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// The line about a change; none if the watcher does not see it.
    fn told_of(&self, entry: &Entry) -> Option<Value> {
        if entry.resource.storage != self.resource.storage
            || !self.namespace.is_empty() && entry.namespace() != self.namespace
        {
            return None;
        }
        let is_in = entry.current().is_some_and(|new| self.selects(new));
        let was_in = entry.old.as_ref().is_some_and(|old| self.selects(old));
        let (kind, object) = match (was_in, is_in) {
            (false, false) => return None,
            (false, true) => ("ADDED", entry.object.clone()),
            (true, true) => ("MODIFIED", entry.object.clone()),
            // What leaves the selection is shown as it last was inside of it.
            (true, false) if entry.change == Change::Modified => {
                let mut last = entry.old.as_deref()?.clone();
                object::set_meta(&mut last, "resourceVersion", entry.version.to_string());
                ("DELETED", Arc::new(last))
            }
            (true, false) => ("DELETED", entry.object.clone()),
        };
        let shown = shown(&self.resource, &object, self.view).ok()?;
        Some(event(kind, &shown))
    }
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn bookmark(plan: &WatchPlan, version: u64, ends_initial_events: bool) -> Value {
    let (kind, api_version) = match plan.view {
        View::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
        View::Whole | View::Table => (plan.resource.kind.as_str(), plan.resource.api_version()),
    };
    let mut meta = json!({"resourceVersion": version.to_string()});
    if ends_initial_events {
        let annotations = json!({"k8s.io/initial-events-end": "true"});
        object::set_at(&mut meta, &["annotations"], annotations);
    }
    event("BOOKMARK", &json!({"kind": kind, "apiVersion": api_version, "metadata": meta}))
}
