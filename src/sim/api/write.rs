//! Creating and changing objects: the ways of POST, PUT and PATCH through the server, in the order
//! of kube-apiserver. What is common to them is in `commit`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::access::Attributes;
use super::apply::{Applied, Fields, Hand, Managers, after_update, apply};
use super::apply::{conflict_message, type_errors};
use super::decode::{Source, place};
use super::failure::{Cause, Failure};
use super::object;
use super::patch::{PatchKind, patched};
use super::read::converted;
use super::request::Verb;
use super::schema::empty;
use super::server::{Answer, Body, Call, Server};

impl Server {
    pub(crate) fn create(&mut self, call: Call, body: Body<'_>) -> Result<Answer, Failure> {
        if !call.target.subresource.is_empty() {
            return self.create_subresource(call, body);
        }
        let mut new = self.read_body(&call, body)?;
        if call.resource().is_virtual {
            return self.review(&call, new);
        }
        place(&call, &mut new)?;
        track(&call, &blank(&call), &mut new);
        let stored = self.insert(&call, new)?;
        Ok(Answer::created(converted(call.resource(), &stored)))
    }

    pub(crate) fn update(&mut self, call: &Call, body: Body<'_>) -> Result<Answer, Failure> {
        if call.target.subresource == "scale" {
            return self.put_scale(call, body);
        }
        let resource = call.resource().clone();
        let mut new = self.read_body(call, body)?;
        place(call, &mut new)?;
        let Some(old) = self.live(call) else {
            if resource.manners.creates_on_update && call.target.subresource.is_empty() {
                self.authorize_create(call)?;
                object::set_meta(&mut new, "resourceVersion", Value::Null);
                track(call, &blank(call), &mut new);
                let stored = self.insert(call, new)?;
                return Ok(Answer::created(converted(&resource, &stored)));
            }
            return Err(Failure::not_found(&resource, &call.target.name));
        };
        let uid = object::uid(&new);
        if !uid.is_empty() && uid != object::uid(&old) {
            let storage = &resource.storage;
            let group = if storage.group.is_empty() || !storage.group.contains('.') {
                String::new()
            } else {
                format!("{}/", storage.group)
            };
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{}, \
                 ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: \
                 {uid}, UID in object meta: {}",
                storage.plural,
                call.key(),
                object::uid(&old)
            );
            return Err(Failure::conflict_because(&resource, &call.target.name, &why));
        }
        if object::version(&new).is_empty() && !resource.manners.updates_unconditionally {
            let cause = Cause::invalid(
                "metadata.resourceVersion",
                &json!(0),
                "must be specified for an update",
            );
            return Err(Failure::invalid_resource(&resource, &call.target.name, cause));
        }
        track(call, &old, &mut new);
        self.replace(call, &old, new)
    }

    pub(crate) fn patch(&mut self, call: &Call, body: &Body<'_>) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        let kind = PatchKind::of(&call.content_type, resource.is_custom)?;
        if kind == PatchKind::Apply {
            return self.apply(call, body);
        }
        if call.options.is_forced_given {
            let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
            return Err(Failure::invalid_options("PatchOptions", cause));
        }
        let Some(old) = self.live(call) else {
            return Err(Failure::not_found(&resource, &call.target.name));
        };
        if call.target.subresource == "scale" {
            return self.patch_scale(call, &old, kind, body);
        }
        let mut new = patched(kind, &old, &body.bytes(), &resource.schema)?;
        self.shape(call, &mut new, Source::Patch)?;
        place(call, &mut new)?;
        track(call, &old, &mut new);
        self.replace(call, &old, new)
    }

    fn apply(&mut self, call: &Call, body: &Body<'_>) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        if call.options.field_manager.is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Failure::invalid_options("PatchOptions", cause));
        }
        let config = read_configuration(call, body)?;
        let old = self.live(call);
        let live = old.clone().unwrap_or_else(|| Arc::new(blank(call)));
        let errors = type_errors(&config, &resource.schema);
        if !errors.is_empty() {
            let place = format!("{}/{}", object::namespace(&config), object::name(&config));
            let why = match errors.as_slice() {
                [one] => one.clone(),
                many => format!("errors:\n  {}", many.join("\n  ")),
            };
            return Err(Failure::unexplained(format!(
                "failed to create typed patch object ({place}; {}/{}, Kind={}): {why}",
                resource.group, resource.version, resource.kind
            )));
        }
        let managers = Managers::read(&live).unwrap_or_default();
        let force = call.options.force;
        let hand = hand(call);
        let applied = apply(&live, &config, &resource.schema, managers, &hand, force);
        let Applied { object, managers } = applied.map_err(|conflicts| {
            let causes = conflicts.iter().map(|conflict| Cause {
                reason: "FieldManagerConflict",
                message: format!("conflict with {}", conflict.manager.shown()),
                field: conflict.path.clone(),
            });
            Failure::apply_conflict(conflict_message(&conflicts), causes.collect())
        })?;
        let mut new = match object {
            Some(mut object) => {
                self.shape(call, &mut object, Source::Apply)?;
                object
            }
            None => Value::clone(&live),
        };
        managers.write(&mut new);
        let Some(old) = old else {
            let uid = object::uid(&new);
            if !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object \
                     was found"
                );
                return Err(Failure::conflict_because(&resource, &call.target.name, &why));
            }
            if !call.target.subresource.is_empty() {
                return Err(Failure::not_found(&resource, &call.target.name));
            }
            place(call, &mut new)?;
            self.authorize_create(call)?;
            object::set_meta(&mut new, "resourceVersion", Value::Null);
            let stored = self.insert(call, new)?;
            return Ok(Answer::created(converted(&resource, &stored)));
        };
        place(call, &mut new)?;
        self.replace(call, &old, new)
    }

    /// A PUT or an apply that creates needs the right to create as well.
    fn authorize_create(&mut self, call: &Call) -> Result<(), Failure> {
        let resource = call.resource();
        let wanted = Attributes {
            verb: Verb::Create.as_str().to_owned(),
            group: resource.group.clone(),
            resource: resource.plural.clone(),
            namespace: call.target.namespace.clone(),
            name: call.target.name.clone(),
            ..Attributes::default()
        };
        self.authorize(&call.identity, &wanted)
    }

    /// The object of a call as it is stored, in the version of the call.
    pub(crate) fn live(&self, call: &Call) -> Option<Arc<Value>> {
        let resource = call.resource();
        let stored = self.store.get(&resource.storage, &call.key())?;
        Some(converted(resource, stored))
    }

    /// Places a pod on a node, once.
    fn bind(&mut self, call: &Call, body: Body<'_>) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        let name = call.target.name.as_str();
        let binding = body.object()?;
        let node = object::at(&binding, &["target", "name"]).and_then(Value::as_str);
        let Some(node) = node.filter(|node| !node.is_empty()) else {
            let cause = Cause::required("target.name", "");
            return Err(Failure::invalid(&resource, name, vec![cause]));
        };
        let Some(pod) = self.store.get(&resource.storage, &call.key()).cloned() else {
            return Err(Failure::not_found(&resource, name));
        };
        if object::is_terminating(&pod) {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(Failure::conflict_of("pods/binding", name, &why));
        }
        let before = object::at(&pod, &["spec", "nodeName"]).and_then(Value::as_str);
        if let Some(before) = before.filter(|before| !before.is_empty()) {
            let why = format!("pod {name} is already assigned to node {before:?}");
            return Err(Failure::conflict_of("pods/binding", name, &why));
        }
        let mut placed = Value::clone(&pod);
        object::set_at(&mut placed, &["spec", "nodeName"], node.into());
        // The server says so itself; the rules for updates of a pod, its generation and its field
        // managers are not for this write.
        let mut conditions = object::at(&pod, &["status", "conditions"])
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        conditions.retain(|one| object::text(one, "type") != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": call.timestamp(),
        }));
        object::set_at(&mut placed, &["status", "conditions"], conditions.into());
        self.store.put(call.deed(), placed);
        Ok(done())
    }

    fn create_subresource(&mut self, call: Call, body: Body<'_>) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        match (resource.plural.as_str(), call.target.subresource.as_str()) {
            ("pods", "eviction") => {
                if self.store.get(&resource.storage, &call.key()).is_none() {
                    return Err(Failure::not_found(&resource, &call.target.name));
                }
                let mut eviction = body.object()?;
                let options = eviction.get_mut("deleteOptions").map(Value::take);
                let delete = Call { verb: Verb::Delete, ..call };
                self.delete(&delete, Body::Value(options.unwrap_or_else(|| json!({}))))?;
                Ok(done())
            }
            ("pods", "binding") => self.bind(&call, body),
            (plural, subresource) => {
                let what = format!("the subresource {subresource} of {plural}");
                Err(Failure::not_implemented(&what))
            }
        }
    }
}

/// The answer to a POST that stores no object of its own.
fn done() -> Answer {
    Answer::created(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    }))
}

/// The configuration of an apply: YAML or JSON.
fn read_configuration(call: &Call, body: &Body<'_>) -> Result<Value, Failure> {
    let config = match body {
        Body::Value(value) => value.clone(),
        Body::Bytes(bytes) => serde_json::from_slice(bytes)
            .or_else(|_| serde_norway::from_slice(bytes))
            .map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))?,
    };
    if !config.is_object() {
        return Err(Failure::bad_request("error decoding YAML: the configuration is no object"));
    }
    let resource = call.resource();
    let (version, kind) = (object::text(&config, "apiVersion"), object::text(&config, "kind"));
    if version != resource.api_version() || kind != resource.kind {
        let slash = if version.contains('/') { "" } else { "/" };
        return Err(Failure::bad_request(format!(
            "invalid object type: {slash}{version}, Kind={kind}"
        )));
    }
    if object::has_meta(&config, "managedFields") {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    Ok(config)
}

/// The object of the kind of a call in which nothing is set.
fn blank(call: &Call) -> Value {
    let resource = call.resource();
    if resource.is_custom {
        json!({"apiVersion": resource.api_version(), "kind": resource.kind})
    } else {
        let mut blank = empty(&resource.schema);
        object::set_at(&mut blank, &["apiVersion"], resource.api_version().into());
        object::set_at(&mut blank, &["kind"], resource.kind.as_str().into());
        blank
    }
}

/// Who writes, and what it cannot reach through the subresource of the call.
pub(crate) fn hand(call: &Call) -> Hand {
    let resource = call.resource();
    let mut reset = Fields::default();
    match call.target.subresource.as_str() {
        "" if resource.manners.has_status => reset.insert(&["f:status"]),
        "status" => {
            reset.insert(&["f:spec"]);
            if resource.plural == "deployments" {
                reset.insert(&["f:metadata", "f:labels"]);
            }
            if resource.plural == "pods" {
                reset.insert(&["f:metadata", "f:deletionTimestamp"]);
                reset.insert(&["f:metadata", "f:ownerReferences"]);
            }
        }
        _ => {}
    }
    Hand {
        manager: call.manager(),
        api_version: resource.api_version(),
        subresource: call.target.subresource.clone(),
        reset,
        now: call.timestamp(),
    }
}

/// Books the difference between `live` and `new` under the field manager of the call.
pub(crate) fn track(call: &Call, live: &Value, new: &mut Value) {
    let given = object::metadata(new).and_then(|meta| meta.get("managedFields"));
    let of_live = || Managers::read(live).unwrap_or_default();
    let is_blank = |entry: &Value| entry.as_object().is_some_and(Map::is_empty);
    let managers = match given {
        _ if !call.target.subresource.is_empty() => of_live(),
        None | Some(Value::Null) => of_live(),
        // An empty list asks for an end of the tracking.
        Some(Value::Array(list)) if list.iter().all(is_blank) && list.len() < 2 => {
            Managers::default()
        }
        Some(_) => match Managers::read(new) {
            Some(managers) if !managers.0.is_empty() => managers,
            _ => of_live(),
        },
    };
    let after = after_update(live, new, &call.resource().schema, managers, &hand(call));
    after.write(new);
}
