//! Reading: one object, lists, and how objects are shown.

use std::sync::Arc;

use serde_json::{Value, json};

use super::discovery::discover;
use super::failure::Failure;
use super::kinds::Resource;
use super::object;
use super::openapi::openapi;
use super::request::{Request, Response, View};
use super::scale::scale_of;
use super::server::{Answer, Call, Server};
use super::table::{table, table_of_one};

/// Answers that are no objects: health and version.
pub(crate) fn fixed(server: &Server, request: &Request<'_>) -> Option<Response> {
    if let Some(response) = discover(server, request).or_else(|| openapi(server, request.path)) {
        return Some(response);
    }
    match request.path.trim_end_matches('/') {
        "/healthz" | "/livez" | "/readyz" => {
            Some(Response::Text { code: 200, body: "ok".to_owned() })
        }
        "/version" => Some(Response::json(
            200,
            json!({
                "major": "1", "minor": "34", "gitVersion": "v1.34.4+sluice",
                "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
                "goVersion": "none", "compiler": "rustc", "platform": "memory",
            }),
        )),
        _ => None,
    }
}

impl Server {
    pub(crate) fn get(&self, call: &Call) -> Result<Answer, Failure> {
        let resource = call.resource();
        let stored = self.store.get(&resource.storage, &call.key());
        let stored = stored.ok_or_else(|| Failure::not_found(resource, &call.target.name))?;
        match call.target.subresource.as_str() {
            "" if call.options.view == View::Table => {
                let of = for_table(resource, stored);
                let include = &call.options.include_object;
                Ok(Answer::ok(table_of_one(resource, &of, include, call.now)))
            }
            "" => Ok(Answer::ok(shown(resource, stored, call.options.view))),
            "status" if resource.manners.has_status => Ok(Answer::ok(converted(resource, stored))),
            "scale" if resource.scale.is_some() => Ok(Answer::ok(scale_of(resource, stored)?)),
            "status" | "scale" if resource.is_custom => {
                Err(Failure::not_found(resource, &call.target.name))
            }
            subresource => Err(no_subresource(resource, subresource)),
        }
    }

    pub(crate) fn list(&self, call: &Call) -> Result<Answer, Failure> {
        let resource = call.resource();
        let options = &call.options;
        let (from, version) = self.page_start(call)?;
        let past;
        let objects: Box<dyn Iterator<Item = (&String, &Arc<Value>)>> =
            if version == self.store.version() {
                Box::new(self.store.list(&resource.storage, &call.target.namespace))
            } else {
                past = self.store.list_at(&resource.storage, version);
                let prefix = super::store::key(&call.target.namespace, "");
                Box::new(past.iter().filter(move |(key, _)| key.starts_with(&prefix)))
            };
        let mut chosen = objects
            .filter(|(key, _)| key.as_str() > from.as_str())
            .filter(|(_, object)| options.labels.matches(object) && options.fields.matches(object));
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let mut items = Vec::new();
        let mut last = String::new();
        for (key, object) in chosen.by_ref().take(limit) {
            items.push(match options.view {
                View::Table => for_table(resource, object),
                view => shown(resource, object, view),
            });
            last.clone_from(key);
        }
        let remaining = chosen.count();
        let mut meta = json!({"resourceVersion": version.to_string()});
        if resource.is_custom && options.view == View::Whole {
            object::set_at(&mut meta, &["continue"], "".into());
        }
        if remaining > 0 {
            object::set_at(&mut meta, &["continue"], continue_token(version, &last).into());
            if options.labels.is_empty() && options.fields.is_empty() {
                object::set_at(&mut meta, &["remainingItemCount"], remaining.into());
            }
        }
        let (kind, api_version) = match options.view {
            View::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned()),
            View::Whole => (resource.list_kind.as_str(), resource.api_version()),
            View::Table => {
                let rows = items.iter().map(AsRef::as_ref);
                let include = &options.include_object;
                return Ok(Answer::ok(table(resource, rows, &meta, include, call.now)));
            }
        };
        let mut items: Value = items.iter().map(|object| as_item(resource, object)).collect();
        // Go's empty slice, as it stands there.
        if options.view == View::Metadata && items.as_array().is_some_and(Vec::is_empty) {
            items = Value::Null;
        }
        Ok(Answer::ok(json!({
            "kind": kind, "apiVersion": api_version, "metadata": meta, "items": items,
        })))
    }

    /// The key behind which a page starts, and the version that it shows.
    fn page_start(&self, call: &Call) -> Result<(String, u64), Failure> {
        let current = self.store.version();
        let options = &call.options;
        if !options.continue_token.is_empty() {
            let (version, key) = read_token(&options.continue_token).ok_or_else(|| {
                Failure::bad_request("continue key is not valid: unreadable token")
            })?;
            if version < self.store.compacted() {
                return Err(Failure::expired(
                    "The provided continue parameter is too old to display a consistent list \
                     result. You can start a new list without the continue parameter.",
                ));
            }
            return Ok((key, version));
        }
        let asked = match options.resource_version.as_str() {
            "" | "0" => return Ok((String::new(), current)),
            text => text.parse::<u64>().map_err(|_| {
                Failure::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: {text:?}: \
                     strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            })?,
        };
        if asked > current {
            return Err(Failure::version_too_large(asked, current));
        }
        if options.resource_version_match == "Exact" {
            if asked < self.store.compacted() {
                return Err(Failure::expired(format!(
                    "The resourceVersion for the provided list is too old: {asked}"
                )));
            }
            return Ok((String::new(), asked));
        }
        Ok((String::new(), current))
    }
}

/// What a real server has below an object, and this one has not, is named.
fn no_subresource(resource: &Resource, subresource: &str) -> Failure {
    const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];
    let has_streams = matches!(resource.plural.as_str(), "nodes" | "pods" | "services");
    if has_streams && STREAMS.contains(&subresource) && !resource.is_custom {
        let what = format!("the subresource {subresource} of {}", resource.plural);
        return Failure::not_implemented(&what);
    }
    Failure::no_such_path()
}

/// An object as it stands in a list: those of built-in kinds do not say their kind.
pub(crate) fn as_item(resource: &Resource, object: &Value) -> Value {
    let mut item = object.clone();
    if !resource.is_custom
        && let Some(map) = item.as_object_mut()
        && object::text(object, "kind") == resource.kind
    {
        map.remove("kind");
        map.remove("apiVersion");
    }
    item
}

fn continue_token(version: u64, key: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{version}:{key}"))
}

fn read_token(token: &str) -> Option<(u64, String)> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (version, key) = text.split_once(':')?;
    Some((version.parse().ok()?, key.to_owned()))
}

/// An object as it is shown in the version of `resource`: whole, or its metadata.
pub(crate) fn shown(resource: &Resource, object: &Arc<Value>, view: View) -> Arc<Value> {
    match view {
        View::Whole | View::Table => converted(resource, object),
        View::Metadata => {
            let meta = object.get("metadata").cloned().unwrap_or_default();
            Arc::new(json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
            }))
        }
    }
}

/// An object as its table is made of: in the version that is asked for, but Events as they are kept.
pub(crate) fn for_table(resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
    if resource.is_custom {
        return converted(resource, object);
    }
    if resource.plural == "daemonsets" {
        // Where it is kept this is a field of its own.
        let mut other = Value::clone(object);
        let path = ["metadata", "annotations", "deprecated.daemonset.template.generation"];
        object::remove_at(&mut other, &path);
        let annotations = object::at(&other, &["metadata", "annotations"]);
        if annotations.and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            object::remove_at(&mut other, &["metadata", "annotations"]);
        }
        return Arc::new(other);
    }
    object.clone()
}

/// An object in the version in which `resource` serves it.
pub(crate) fn converted(resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
    let wanted = resource.api_version();
    if object::text(object, "apiVersion") == wanted {
        return object.clone();
    }
    if resource.storage.plural == "events" && resource.storage.group.is_empty() {
        return Arc::new(super::events::renamed(object, &wanted));
    }
    let mut other = Value::clone(object);
    object::set_at(&mut other, &["apiVersion"], wanted.into());
    Arc::new(other)
}
