//! The common end of every write: admission, preparation, validation, and the store.

use std::sync::Arc;

use serde_json::Value;

use super::access::terminating_cause;
use super::apply::Managers;
use super::builtin;
use super::crd::{self, DEFINITIONS};
use super::failure::{Cause, Failure};
use super::kinds::{KindName, Resource};
use super::meta;
use super::object;
use super::read::converted;
use super::request::Verb;
use super::schema::{apply_defaults, check_rules, validate};
use super::server::{Answer, Call, Server};
use super::store::Deed;

const NAMESPACES: KindName = KindName::of("", "namespaces");

impl Server {
    /// Stores an object that is not there yet.
    pub(crate) fn insert(&mut self, call: &Call, mut new: Value) -> Result<Arc<Value>, Failure> {
        let resource = call.resource().clone();
        if !object::version(&new).is_empty() {
            return Err(Failure::unexplained(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.admit_into_namespace(call, &new)?;
        builtin::admit(&resource, &mut new);
        if object::name(&new).is_empty() {
            let base = object::meta_text(&new, "generateName").to_owned();
            if !base.is_empty() {
                let base: String = base.chars().take(58).collect();
                let name = format!("{base}{}", self.new_suffix());
                object::set_meta(&mut new, "name", name);
            }
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
            object::set_meta(&mut new, field, Value::Null);
        }
        object::set_meta(&mut new, "uid", self.new_uid());
        object::set_meta(&mut new, "creationTimestamp", call.timestamp());
        if resource.manners.has_generation {
            object::set_meta(&mut new, "generation", 1);
        }
        if resource.is_custom && resource.manners.has_status {
            object::remove_at(&mut new, &["status"]);
        }
        builtin::prepare_create(&resource, &mut new);
        let mut causes = meta::check(&resource, &new);
        if resource.is_custom {
            check_custom(call, &new, None, &mut causes);
        }
        causes.extend(builtin::check(&resource, &new, None));
        refuse_if_any(call, &new, causes)?;
        self.warnings.extend(meta::warnings(&resource, &new));
        self.warnings.extend(builtin::warnings(&resource));
        let key = super::store::key(object::namespace(&new), object::name(&new));
        if self.store.get(&resource.storage, &key).is_some() {
            return Err(Failure::already_exists(&resource, object::name(&new)));
        }
        self.allocate(&resource, &mut new);
        if call.options.is_dry_run {
            return Ok(Arc::new(new));
        }
        let (deed, new) = self.to_storage(call, new);
        let stored = self.store.put(deed, new);
        self.after_write(call, &stored);
        Ok(stored)
    }

    /// What is stored of an object, and under which version of its kind.
    fn to_storage(&self, call: &Call, mut new: Value) -> (Deed, Value) {
        let mut deed = call.deed();
        let resource = call.resource();
        if resource.stored_as != resource.api_version()
            && let Some(stored) = self.kinds.of_kind(&resource.stored_as, &resource.kind)
        {
            new = Value::clone(&converted(stored, &Arc::new(new)));
            apply_defaults(&mut new, &stored.schema);
            deed.resource = stored.clone();
        }
        (deed, new)
    }

    fn admit_into_namespace(&self, call: &Call, new: &Value) -> Result<(), Failure> {
        let resource = call.resource();
        if !resource.is_namespaced {
            return Ok(());
        }
        let name = &call.target.namespace;
        let Some(namespace) = self.store.get(&NAMESPACES, name) else {
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
                details.causes = vec![terminating_cause(name)];
            }
            return Err(failure);
        }
        Ok(())
    }

    /// Puts `new` in the place of `old`, through the subresource of the call.
    pub(crate) fn replace(
        &mut self,
        call: &Call,
        old: &Arc<Value>,
        new: Value,
    ) -> Result<Answer, Failure> {
        let stored = self.replace_object(call, old, new)?;
        Ok(Answer::ok(converted(call.resource(), &stored)))
    }

    /// The same; what is stored in the end.
    pub(crate) fn replace_object(
        &mut self,
        call: &Call,
        old: &Arc<Value>,
        mut new: Value,
    ) -> Result<Arc<Value>, Failure> {
        let resource = call.resource().clone();
        let version = object::version(&new);
        if !version.is_empty() && version != "0" && version != object::version(old) {
            return Err(Failure::conflict(&resource, &call.target.name));
        }
        isolate(call, &mut new, old);
        keep_system_fields(&mut new, old);
        builtin::prepare_update(&resource, &call.target.subresource, &mut new, old);
        let subresource = &call.target.subresource;
        if resource.manners.has_generation
            && builtin::is_new_generation(&resource, subresource, &new, old)
        {
            object::set_meta(&mut new, "generation", object::generation(old) + 1);
        }
        let mut causes = meta::check_update(&new, old);
        causes.extend(meta::check(&resource, &new));
        if resource.is_custom {
            check_custom(call, &new, Some(old), &mut causes);
        }
        causes.extend(builtin::check(&resource, &new, Some(old)));
        refuse_if_any(call, &new, causes)?;
        object::copy_meta(&mut new, old, "resourceVersion");
        keep_times_if_nothing_else_changed(&mut new, old);
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
        let (deed, new) = self.to_storage(call, new);
        let stored = self.store.put(deed, new);
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
            let status = crd::established(stored, &call.timestamp());
            object::set_at(&mut established, &["status"], status);
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
        if call.resource().storage != DEFINITIONS {
            return;
        }
        let group = object::at(old, &["spec", "group"]).and_then(Value::as_str);
        let plural = object::at(old, &["spec", "names", "plural"]).and_then(Value::as_str);
        let kind = KindName::new(group.unwrap_or_default(), plural.unwrap_or_default());
        let keys: Vec<String> = self.store.list(&kind, "").map(|(key, _)| key.clone()).collect();
        if let Some(resource) = self.kinds.any_version(&kind).cloned() {
            for key in keys {
                let deed = Deed { resource: resource.clone(), ..call.deed() };
                self.store.remove(deed, &key);
            }
        }
        self.kinds.remove(&kind.group, &kind.plural);
    }
}

fn refuse_if_any(call: &Call, new: &Value, causes: Vec<Cause>) -> Result<(), Failure> {
    if causes.is_empty() {
        return Ok(());
    }
    let resource = call.resource();
    if resource.group == resource.storage.group {
        return Err(Failure::invalid(resource, object::name(new), causes));
    }
    // Messages know a kind by the group that it is stored in.
    let group = resource.storage.group.to_string();
    let stored = Resource { group, ..Resource::clone(resource) };
    Err(Failure::invalid(&stored, object::name(new), causes))
}

/// Checks an object of a custom kind against its schema; a status by itself where that is written.
fn check_custom(call: &Call, new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let resource = call.resource();
    let schema = &resource.schema;
    if call.target.subresource == "status" {
        let mut wrong = Vec::new();
        if let Some(status) = new.get("status") {
            let old = old.and_then(|old| old.get("status"));
            validate(status, old, schema.inside("status"), "", &mut wrong);
        }
        causes.extend(wrong.into_iter().map(|cause| cause.below("status")));
    } else {
        validate(new, old, schema, "", causes);
        if let Some(scale) = &resource.scale {
            let path: Vec<&str> = scale.spec_replicas.iter().map(String::as_str).collect();
            causes.extend(wrong_replicas(new, &path));
        }
    }
    if !schema.has_rules() {
        return;
    }
    if causes.iter().any(Cause::blocks_rules) {
        let detail = "some validation rules were not checked because the object was invalid; \
                      correct the existing errors to complete validation";
        causes.push(Cause::invalid("<nil>", &Value::Null, detail));
    } else {
        check_rules(new, old, schema, "", causes);
    }
}

/// What the scale subresource does not accept as a number of replicas.
fn wrong_replicas(new: &Value, path: &[&str]) -> Option<Cause> {
    let field = format!(".{}", path.join("."));
    let accessor_error = |value: &Value, expected: &str| {
        let (shown, kind) = match value {
            Value::String(text) => (text.clone(), "string"),
            Value::Bool(value) => (value.to_string(), "bool"),
            Value::Number(number) if number.is_f64() => {
                (number.as_f64().unwrap_or_default().to_string(), "float64")
            }
            Value::Number(number) => (number.to_string(), "int64"),
            Value::Array(_) => ("[]".to_owned(), "[]interface {}"),
            other => (other.to_string(), "map[string]interface {}"),
        };
        let detail =
            format!("{field} accessor error: {shown} is of the type {kind}, expected {expected}");
        Some(Cause::invalid(&field, &0.into(), &detail))
    };
    let mut place = new;
    for step in path {
        let Some(map) = place.as_object() else {
            return accessor_error(place, "map[string]interface{}");
        };
        place = map.get(*step).filter(|next| !next.is_null())?;
    }
    match place.as_i64() {
        Some(0..) => None,
        Some(_) => Some(Cause::invalid(&field, place, "should be a non-negative integer")),
        None => accessor_error(place, "int64"),
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

/// Takes over from `old` what the subresource of the call does not write.
fn isolate(call: &Call, new: &mut Value, old: &Arc<Value>) {
    let resource = call.resource();
    let keep = |new: &mut Value, field: &str| match old.get(field) {
        Some(value) => object::set_at(new, &[field], value.clone()),
        None => {
            object::remove_at(new, &[field]);
        }
    };
    match call.target.subresource.as_str() {
        "" if resource.manners.has_status => keep(new, "status"),
        "status" if resource.is_custom => {
            let status = new.get_mut("status").map(Value::take);
            let managed = object::metadata(new).and_then(|meta| meta.get("managedFields")).cloned();
            let mut whole = Value::clone(old);
            match status {
                Some(status) => object::set_at(&mut whole, &["status"], status),
                None => {
                    object::remove_at(&mut whole, &["status"]);
                }
            }
            object::set_meta(&mut whole, "managedFields", managed.unwrap_or_default());
            *new = whole;
        }
        "status" => {
            keep(new, "spec");
            if resource.plural == "pods" {
                object::copy_meta(new, old, "ownerReferences");
            }
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
    }
    if object::has_meta(old, "deletionGracePeriodSeconds")
        && !object::has_meta(new, "deletionGracePeriodSeconds")
    {
        object::copy_meta(new, old, "deletionGracePeriodSeconds");
    }
}

/// An update that would only change the times of field managers changes nothing.
fn keep_times_if_nothing_else_changed(new: &mut Value, old: &Value) {
    let (Some(after), Some(before)) = (Managers::read(new), Managers::read(old)) else { return };
    if after == before || !after.owns_the_same(&before) {
        return;
    }
    let mut other = new.clone();
    object::copy_meta(&mut other, old, "managedFields");
    if other == *old {
        *new = other;
    }
}
