//! Creating, changing and deleting objects: the way of a write through the server, in the order of
//! kube-apiserver (decode, admission, preparation, validation, storage).

use std::sync::Arc;

use serde_json::{Value, json};

use super::builtin;
use super::crd::{self, DEFINITIONS};
use super::failure::{Cause, Failure};
use super::kinds::KindName;
use super::meta;
use super::object;
use super::patch::{PatchKind, patched};
use super::request::Verb;
use super::schema::{apply_defaults, prune, validate};
use super::server::{Answer, Body, Call, Server};

const NAMESPACES: KindName = KindName::of("", "namespaces");

impl Server {
    pub(crate) fn create(&mut self, call: Call, body: Body<'_>) -> Result<Answer, Failure> {
        if !call.target.subresource.is_empty() {
            return self.create_subresource(call, body);
        }
        let object = body.object()?;
        self.insert(&call, object).map(Answer::created)
    }

    /// Stores an object that is not there yet.
    pub(crate) fn insert(&mut self, call: &Call, mut new: Value) -> Result<Arc<Value>, Failure> {
        let resource = call.resource().clone();
        self.decode(call, &mut new)?;
        if object::has_meta(&new, "resourceVersion") && !object::version(&new).is_empty() {
            return Err(Failure::internal(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.admit_into_namespace(call, &new)?;
        if object::name(&new).is_empty() {
            let base = object::meta_text(&new, "generateName").to_owned();
            if !base.is_empty() {
                let base: String = base.chars().take(58).collect();
                let name = format!("{base}{}", self.new_suffix());
                object::set_meta(&mut new, "name", name);
            }
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
            object::set_meta(&mut new, field, Value::Null);
        }
        object::set_meta(&mut new, "uid", self.new_uid());
        object::set_meta(&mut new, "creationTimestamp", call.timestamp());
        if resource.manners.has_generation {
            object::set_meta(&mut new, "generation", 1);
        }
        if resource.manners.has_status {
            object::remove_at(&mut new, &["status"]);
        }
        builtin::prepare_create(&resource, &mut new);
        let mut causes = meta::check(&resource, &new);
        if resource.is_custom {
            validate(&new, None, &resource.schema, "", &mut causes);
        }
        causes.extend(builtin::check(&resource, &new, None));
        refuse_if_any(call, &new, causes)?;
        let key = super::store::key(object::namespace(&new), object::name(&new));
        if self.store.get(&resource.storage, &key).is_some() {
            return Err(Failure::already_exists(&resource, object::name(&new)));
        }
        if call.options.is_dry_run {
            return Ok(Arc::new(new));
        }
        let stored = self.store.put(call.deed(), new);
        self.after_write(call, &stored);
        Ok(stored)
    }

    /// Checks what kind of object the body is, drops unknown fields and fills in defaults.
    fn decode(&mut self, call: &Call, new: &mut Value) -> Result<(), Failure> {
        let resource = call.resource();
        check_type(call, new)?;
        if !new.get("metadata").is_none_or(Value::is_object) {
            return Err(Failure::bad_request("metadata must be an object"));
        }
        let name = object::name(new);
        if !call.target.name.is_empty() {
            if name.is_empty() {
                object::set_meta(new, "name", call.target.name.clone());
            } else if name != call.target.name {
                return Err(Failure::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    call.target.name
                )));
            }
        }
        let namespace = object::namespace(new);
        if namespace.is_empty() && resource.is_namespaced {
            object::set_meta(new, "namespace", call.target.namespace.clone());
        } else if namespace != call.target.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the \
                 request",
            ));
        }
        let mut dropped = Vec::new();
        prune(new, &resource.schema, "", &mut dropped);
        self.report_unknown(call, &dropped)?;
        if resource.is_custom {
            apply_defaults(new, &resource.schema);
        } else {
            builtin::apply_defaults(resource, new);
        }
        Ok(())
    }

    fn report_unknown(&mut self, call: &Call, dropped: &[String]) -> Result<(), Failure> {
        let texts: Vec<String> =
            dropped.iter().map(|path| format!("unknown field {path:?}")).collect();
        match call.options.field_validation.as_str() {
            "Strict" if !texts.is_empty() => {
                let resource = call.resource();
                Err(Failure::bad_request(format!(
                    "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                    resource.kind,
                    resource.version,
                    resource.kind,
                    texts.join(", ")
                )))
            }
            "Ignore" | "Strict" => Ok(()),
            _ => {
                self.warnings.extend(texts);
                Ok(())
            }
        }
    }

    fn admit_into_namespace(&self, call: &Call, new: &Value) -> Result<(), Failure> {
        let resource = call.resource();
        if !resource.is_namespaced {
            return Ok(());
        }
        let name = &call.target.namespace;
        let namespace = self.store.get(&NAMESPACES, name);
        let Some(namespace) = namespace else {
            return Err(match self.kinds.any_version(&NAMESPACES) {
                Some(namespaces) => Failure::not_found(namespaces, name),
                None => Failure::no_such_path(),
            });
        };
        if object::is_terminating(namespace) {
            let why = format!(
                "unable to create new content in namespace {name} because it is being terminated"
            );
            let mut failure = Failure::forbidden(resource, object::name(new), &why);
            if let Some(details) = &mut failure.details {
                details.causes = vec![Cause {
                    reason: "NamespaceTerminating",
                    message: format!("namespace {name} is being terminated"),
                    field: "metadata.namespace".to_owned(),
                }];
            }
            return Err(failure);
        }
        Ok(())
    }

    pub(crate) fn update(&mut self, call: &Call, body: Body<'_>) -> Result<Answer, Failure> {
        if call.target.subresource == "scale" {
            let scale = body.object()?;
            return self.update_scale(call, &scale);
        }
        let resource = call.resource().clone();
        let mut new = body.object()?;
        self.decode(call, &mut new)?;
        let Some(old) = self.store.get(&resource.storage, &call.key()).cloned() else {
            if resource.manners.creates_on_update && call.target.subresource.is_empty() {
                return self.insert(call, new).map(Answer::created);
            }
            return Err(Failure::not_found(&resource, &call.target.name));
        };
        let uid = object::uid(&new);
        if !uid.is_empty() && uid != object::uid(&old) {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                object::uid(&old)
            );
            return Err(Failure::conflict_because(&resource, &call.target.name, &why));
        }
        if object::version(&new).is_empty() && !resource.manners.updates_unconditionally {
            let cause = Cause::invalid(
                "metadata.resourceVersion",
                &Value::String("0x0".to_owned()),
                "must be specified for an update",
            );
            // The real message prints a number here.
            let cause = Cause { message: cause.message.replace("\"0x0\"", "0"), ..cause };
            return Err(Failure::invalid(&resource, &call.target.name, vec![cause]));
        }
        self.replace(call, &old, new).map(Answer::ok)
    }

    pub(crate) fn patch(&mut self, call: &Call, body: &Body<'_>) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        let kind = PatchKind::of(&call.content_type, resource.is_custom)?;
        let old = self.store.get(&resource.storage, &call.key()).cloned();
        let Some(old) = old else {
            return Err(Failure::not_found(&resource, &call.target.name));
        };
        if call.target.subresource == "scale" {
            let scale = super::read::scale_of(&resource, &old);
            let new = patched(kind, &scale, &body.bytes())?;
            return self.update_scale(call, &new);
        }
        let mut new = patched(kind, &old, &body.bytes())?;
        self.decode(call, &mut new)?;
        self.replace(call, &old, new).map(Answer::ok)
    }

    /// Puts `new` in the place of `old`, through the subresource of the call.
    pub(crate) fn replace(
        &mut self,
        call: &Call,
        old: &Arc<Value>,
        mut new: Value,
    ) -> Result<Arc<Value>, Failure> {
        let resource = call.resource().clone();
        let version = object::version(&new);
        if !version.is_empty() && version != object::version(old) {
            return Err(Failure::conflict(&resource, &call.target.name));
        }
        isolate(call, &mut new, old);
        keep_system_fields(&mut new, old);
        builtin::prepare_update(&resource, &call.target.subresource, &mut new, old);
        if resource.manners.has_generation && builtin::is_new_generation(&resource, &new, old) {
            object::set_meta(&mut new, "generation", object::generation(old) + 1);
        }
        let mut causes = meta::check(&resource, &new);
        causes.extend(meta::check_update(&new, old));
        if resource.is_custom {
            validate(&new, Some(old), &resource.schema, "", &mut causes);
        }
        causes.extend(builtin::check(&resource, &new, Some(old)));
        refuse_if_any(call, &new, causes)?;
        object::copy_meta(&mut new, old, "resourceVersion");
        if new == **old {
            return Ok(old.clone());
        }
        if call.options.is_dry_run {
            return Ok(Arc::new(new));
        }
        if object::is_terminating(&new) && is_free(&new) {
            self.store.remove(call.deed(), &call.key());
            self.after_removal(call, old);
            return Ok(Arc::new(new));
        }
        let stored = self.store.put(call.deed(), new);
        self.after_write(call, &stored);
        Ok(stored)
    }

    /// What follows from a write inside of the server itself.
    fn after_write(&mut self, call: &Call, stored: &Arc<Value>) {
        if call.resource().storage != DEFINITIONS || call.target.subresource == "status" {
            return;
        }
        self.serve_definition(stored);
        let is_established = object::at(stored, &["status", "conditions"])
            .and_then(Value::as_array)
            .is_some_and(|conditions| {
                conditions.iter().any(|one| object::text(one, "type") == "Established")
            });
        if !is_established && !object::is_terminating(stored) {
            let mut established = Value::clone(stored);
            object::set_at(
                &mut established,
                &["status"],
                crd::established(stored, &call.timestamp()),
            );
            let mut deed = call.deed();
            "system:apiserver".clone_into(&mut deed.writer.user);
            deed.verb = Verb::Update;
            "status".clone_into(&mut deed.subresource);
            self.store.put(deed, established);
        }
    }

    fn serve_definition(&mut self, definition: &Value) {
        let group = object::at(definition, &["spec", "group"]).and_then(Value::as_str);
        let plural = object::at(definition, &["spec", "names", "plural"]).and_then(Value::as_str);
        self.kinds.remove(group.unwrap_or_default(), plural.unwrap_or_default());
        for resource in crd::resources(definition) {
            self.kinds.add(resource);
        }
    }

    /// What follows when an object is gone.
    pub(crate) fn after_removal(&mut self, call: &Call, old: &Value) {
        if call.resource().storage == DEFINITIONS {
            let group = object::at(old, &["spec", "group"]).and_then(Value::as_str);
            let plural = object::at(old, &["spec", "names", "plural"]).and_then(Value::as_str);
            let kind = KindName::new(group.unwrap_or_default(), plural.unwrap_or_default());
            let keys: Vec<String> =
                self.store.list(&kind, "").map(|(key, _)| key.clone()).collect();
            if let Some(resource) = self.kinds.any_version(&kind).cloned() {
                for key in keys {
                    let deed = super::store::Deed { resource: resource.clone(), ..call.deed() };
                    self.store.remove(deed, &key);
                }
            }
            self.kinds.remove(&kind.group, &kind.plural);
        }
    }

    fn update_scale(&mut self, call: &Call, scale: &Value) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        let Some(paths) = resource.scale.clone() else { return Err(Failure::no_such_path()) };
        let old = self.store.get(&resource.storage, &call.key()).cloned();
        let Some(old) = old else {
            return Err(Failure::not_found(&resource, &call.target.name));
        };
        let version = object::version(scale);
        if !version.is_empty() && version != object::version(&old) {
            return Err(Failure::conflict(&resource, &call.target.name));
        }
        let replicas = object::at(scale, &["spec", "replicas"]).cloned().unwrap_or(json!(0));
        let mut new = Value::clone(&old);
        let path: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
        object::set_at(&mut new, &path, replicas);
        let mut on_object = call.clone();
        on_object.target.subresource = String::new();
        let stored = self.replace(&on_object, &old, new)?;
        Ok(Answer::ok(super::read::scale_of(&resource, &stored)))
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
                Ok(Answer::created(json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {},
                    "status": "Success", "code": 201,
                })))
            }
            (plural, subresource) => {
                let what = format!("the subresource {subresource} of {plural}");
                Err(Failure::not_implemented(&what))
            }
        }
    }
}

/// Whether nothing holds a terminating object any more.
pub(crate) fn is_free(object: &Value) -> bool {
    let grace = object::metadata(object)
        .and_then(|meta| meta.get("deletionGracePeriodSeconds"))
        .and_then(Value::as_i64);
    let is_namespace = object::text(object, "kind") == "Namespace";
    let of_spec = object::at(object, &["spec", "finalizers"]).and_then(Value::as_array);
    let is_in_use = is_namespace && of_spec.is_some_and(|list| !list.is_empty());
    object::finalizers(object).is_empty() && grace.unwrap_or(0) == 0 && !is_in_use
}

fn refuse_if_any(call: &Call, object: &Value, causes: Vec<Cause>) -> Result<(), Failure> {
    if causes.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(call.resource(), object::name(object), causes))
}

fn check_type(call: &Call, new: &mut Value) -> Result<(), Failure> {
    let resource = call.resource();
    let wanted = resource.api_version();
    if resource.is_custom && object::text(new, "kind").is_empty() {
        return Err(Failure::bad_request(format!("Object 'Kind' is missing in '{new}'")));
    }
    for (field, wanted) in [("apiVersion", wanted.as_str()), ("kind", resource.kind.as_str())] {
        let given = object::text(new, field);
        if given.is_empty() {
            object::set_at(new, &[field], wanted.into());
        } else if given != wanted {
            return Err(Failure::bad_request(format!(
                "the {} in the data ({given}) does not match the expected {} ({wanted})",
                if field == "kind" { "kind" } else { "API version" },
                if field == "kind" { "kind" } else { "API version" },
            )));
        }
    }
    Ok(())
}

/// Takes over from `old` what the subresource of the call does not write.
fn isolate(call: &Call, new: &mut Value, old: &Arc<Value>) {
    let resource = call.resource();
    match call.target.subresource.as_str() {
        "" if resource.manners.has_status => match old.get("status") {
            Some(status) => object::set_at(new, &["status"], status.clone()),
            None => {
                object::remove_at(new, &["status"]);
            }
        },
        "status" => {
            let status = new.get_mut("status").map(Value::take);
            let meta = new.get_mut("metadata").map(Value::take);
            let mut whole = Value::clone(old);
            match status {
                Some(status) => object::set_at(&mut whole, &["status"], status),
                None => {
                    object::remove_at(&mut whole, &["status"]);
                }
            }
            if !resource.is_custom
                && let Some(meta) = meta
            {
                object::set_at(&mut whole, &["metadata"], meta);
            }
            *new = whole;
        }
        _ => {}
    }
}

/// Restores what only the server writes.
fn keep_system_fields(new: &mut Value, old: &Value) {
    object::copy_meta(new, old, "generation");
    object::copy_meta(new, old, "creationTimestamp");
    object::set_meta(new, "selfLink", Value::Null);
    if object::uid(new).is_empty() {
        object::copy_meta(new, old, "uid");
    }
    if object::is_terminating(old) {
        object::copy_meta(new, old, "deletionTimestamp");
        if !object::has_meta(new, "deletionGracePeriodSeconds") {
            object::copy_meta(new, old, "deletionGracePeriodSeconds");
        }
    } else {
        object::set_meta(new, "deletionTimestamp", Value::Null);
        object::set_meta(new, "deletionGracePeriodSeconds", Value::Null);
    }
}
