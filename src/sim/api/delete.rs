//! Deleting: preconditions, finalizers, propagation policies and graceful deletion of pods.

use std::sync::Arc;

use serde_json::{Value, json};

use super::commit::is_free;
use super::failure::{Cause, Failure};
use super::object;
use super::read::{as_item, converted};
use super::request::{Verb, dry_run};
use super::server::{Answer, Body, Call, Server};

/// What a DELETE asks for, from body and query.
#[derive(Clone, Debug, Default)]
struct DeleteOptions {
    uid: String,
    version: String,
    propagation: String,
    grace: Option<i64>,
    is_dry_run: bool,
}

impl DeleteOptions {
    fn read(call: &Call, body: Body<'_>) -> Result<Self, Failure> {
        let value = match &body {
            Body::Bytes([]) => json!({}),
            _ => body.object()?,
        };
        let of_preconditions = |field: &str| {
            let text = object::at(&value, &["preconditions", field]).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let options = &call.options;
        let orphan = value.get("orphanDependents").and_then(Value::as_bool);
        let propagation = match object::text(&value, "propagationPolicy") {
            "" if !options.propagation_policy.is_empty() => options.propagation_policy.clone(),
            "" => match orphan.or(options.orphan_dependents) {
                Some(true) => "Orphan".to_owned(),
                Some(false) => "Background".to_owned(),
                None => String::new(),
            },
            given => given.to_owned(),
        };
        if !matches!(propagation.as_str(), "" | "Orphan" | "Foreground" | "Background") {
            let known = ["Foreground", "Background", "Orphan", "nil"].map(str::to_owned);
            let value = propagation.into();
            let cause = Cause::not_supported("propagationPolicy", &value, &known);
            return Err(Failure::invalid_options("DeleteOptions", cause));
        }
        let has_both = !object::text(&value, "propagationPolicy").is_empty() && orphan.is_some();
        if has_both {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            let cause = Cause::invalid("propagationPolicy", &propagation.into(), detail);
            return Err(Failure::invalid_options("DeleteOptions", cause));
        }
        let dry = value.get("dryRun").and_then(Value::as_array).and_then(|list| list.first());
        Ok(Self {
            uid: of_preconditions("uid"),
            version: of_preconditions("resourceVersion"),
            propagation,
            grace: value
                .get("gracePeriodSeconds")
                .and_then(Value::as_i64)
                .or(options.grace_period_seconds),
            is_dry_run: options.is_dry_run
                || dry_run(dry.and_then(Value::as_str).unwrap_or_default(), "DeleteOptions")?,
        })
    }
}

impl Server {
    pub(crate) fn delete(&mut self, call: &Call, body: Body<'_>) -> Result<Answer, Failure> {
        if !matches!(call.target.subresource.as_str(), "" | "eviction") {
            return Err(Failure::method_not_allowed());
        }
        let options = DeleteOptions::read(call, body)?;
        self.delete_one(call, &options)
    }

    pub(crate) fn delete_collection(
        &mut self,
        call: &Call,
        body: Body<'_>,
    ) -> Result<Answer, Failure> {
        let options = DeleteOptions::read(call, body)?;
        let resource = call.resource().clone();
        let chosen: Vec<Arc<Value>> = self
            .store
            .list(&resource.storage, &call.target.namespace)
            .map(|(_, object)| object.clone())
            .filter(|object| call.options.labels.matches(object))
            .filter(|object| call.options.fields.matches(object))
            .collect();
        for object in &chosen {
            let mut one = call.clone();
            object::name(object).clone_into(&mut one.target.name);
            object::namespace(object).clone_into(&mut one.target.namespace);
            one.verb = Verb::DeleteCollection;
            self.delete_one(&one, &options)?;
        }
        let items: Vec<Value> =
            chosen.iter().map(|object| as_item(&resource, &converted(&resource, object))).collect();
        let mut meta = json!({"resourceVersion": self.version().to_string()});
        if resource.is_custom {
            object::set_at(&mut meta, &["continue"], "".into());
        }
        Ok(Answer::ok(json!({
            "kind": resource.list_kind, "apiVersion": resource.api_version(),
            "metadata": meta, "items": items,
        })))
    }

    fn delete_one(&mut self, call: &Call, options: &DeleteOptions) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        let name = &call.target.name;
        let Some(old) = self.store.get(&resource.storage, &call.key()).cloned() else {
            return Err(Failure::not_found(&resource, name));
        };
        check_preconditions(call, options, &old)?;
        let mut new = Value::clone(&old);
        let finalizers = with_propagation(&old, &options.propagation);
        let is_changed = finalizers != object::finalizers(&old);
        if is_changed {
            object::set_meta(&mut new, "finalizers", finalizers);
        }
        if !mark_as_deleting(call, options, &mut new) && !is_changed {
            return Ok(Answer::ok(converted(&resource, &old)));
        }
        if options.is_dry_run || call.options.is_dry_run {
            let new = converted(&resource, &Arc::new(new));
            return Ok(if is_free(&new) { deleted_answer(call, &new) } else { Answer::ok(new) });
        }
        if is_free(&new) {
            let removed = self.store.remove(call.deed(), &call.key());
            self.after_removal(call, &old);
            let mut last = if is_pod(call) { new } else { Value::clone(&old) };
            if let Some(removed) = removed {
                object::copy_meta(&mut last, &removed, "resourceVersion");
            }
            let last = Arc::new(last);
            return Ok(deleted_answer(call, &converted(&resource, &last)));
        }
        let stored = self.store.put(call.deed(), new);
        Ok(Answer::ok(converted(&resource, &stored)))
    }
}

fn check_preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<(), Failure> {
    let refuse =
        |why: String| Err(Failure::conflict_of_kind(call.resource(), &call.target.name, &why));
    if !options.uid.is_empty() && options.uid != object::uid(old) {
        return refuse(format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object \
             might have been deleted and then recreated",
            options.uid,
            object::uid(old)
        ));
    }
    if !options.version.is_empty() && options.version != object::version(old) {
        return refuse(format!(
            "the ResourceVersion in the precondition ({}) does not match the ResourceVersion in \
             record ({}). The object might have been modified",
            options.version,
            object::version(old)
        ));
    }
    Ok(())
}

/// The finalizers with those of the propagation policy.
fn with_propagation<'a>(old: &'a Value, policy: &str) -> Vec<&'a str> {
    let wanted = match policy {
        "Orphan" => Some("orphan"),
        "Foreground" => Some("foregroundDeletion"),
        // Nothing asked for: what is there stays.
        "" => return object::finalizers(old),
        _ => None,
    };
    let mut finalizers: Vec<&str> = object::finalizers(old)
        .into_iter()
        .filter(|one| !matches!(*one, "orphan" | "foregroundDeletion"))
        .collect();
    finalizers.extend(wanted);
    finalizers
}

/// Sets what says that deletion has begun; false when that changes nothing.
fn mark_as_deleting(call: &Call, options: &DeleteOptions, new: &mut Value) -> bool {
    let resource = call.resource();
    let is_pod = is_pod(call);
    let is_namespace = resource.plural == "namespaces" && resource.group.is_empty();
    let grace = if is_pod { pod_grace(new, options.grace) } else { 0 };
    let present = object::metadata(new)
        .and_then(|meta| meta.get("deletionGracePeriodSeconds"))
        .and_then(Value::as_i64);
    if object::is_terminating(new) {
        // Only a shorter time is taken up.
        let is_shorter = present.is_some_and(|present| grace < present) && options.grace.is_some();
        if is_pod && is_shorter {
            object::set_meta(new, "deletionGracePeriodSeconds", grace);
            return true;
        }
        return is_free(new);
    }
    let at = call.now + chrono::TimeDelta::seconds(grace);
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    object::set_meta(new, "deletionTimestamp", at);
    if !is_namespace {
        object::set_meta(new, "deletionGracePeriodSeconds", grace);
    }
    if object::generation(new) > 0 {
        object::set_meta(new, "generation", object::generation(new) + 1);
    }
    if is_namespace {
        object::set_at(new, &["status", "phase"], "Terminating".into());
    }
    true
}

fn is_pod(call: &Call) -> bool {
    call.resource().plural == "pods" && call.resource().group.is_empty()
}

/// How long a pod gets: as asked or declared; nothing when it never started.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let node = object::at(pod, &["spec", "nodeName"]).and_then(Value::as_str).unwrap_or_default();
    let phase = object::at(pod, &["status", "phase"]).and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() || matches!(phase, "Succeeded" | "Failed") {
        return 0;
    }
    let declared = object::at(pod, &["spec", "terminationGracePeriodSeconds"]);
    asked.or_else(|| declared.and_then(Value::as_i64)).unwrap_or(30)
}

fn deleted_answer(call: &Call, last: &Value) -> Answer {
    let resource = call.resource();
    if resource.manners.returns_deleted {
        return Answer::ok(last.clone());
    }
    let mut details = json!({
        "name": object::name(last), "kind": resource.plural, "uid": object::uid(last),
    });
    if !resource.group.is_empty() {
        object::set_at(&mut details, &["group"], resource.group.as_str().into());
    }
    Answer::ok(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    }))
}
