//! The scale subresource: two numbers and a selector of an object, as an object of their own.

use serde_json::{Value, json};

use super::failure::{Cause, Failure};
use super::kinds::{Resource, Scale};
use super::object;
use super::patch::{PatchKind, patched};
use super::schema::builtin_schema;
use super::select::Labels;
use super::server::{Answer, Body, Call, Server};
use super::write::track;

impl Server {
    pub(crate) fn put_scale(&mut self, call: &Call, body: Body<'_>) -> Result<Answer, Failure> {
        let scale = body.object()?;
        self.write_scale(call, &scale)
    }

    pub(crate) fn patch_scale(
        &mut self,
        call: &Call,
        old: &Value,
        kind: PatchKind,
        body: &Body<'_>,
    ) -> Result<Answer, Failure> {
        let scale = lenient_scale_of(call.resource(), old)?;
        let new = patched(kind, &scale, &body.bytes(), &builtin_schema("Scale"))?;
        self.write_scale(call, &new)
    }

    fn write_scale(&mut self, call: &Call, scale: &Value) -> Result<Answer, Failure> {
        let resource = call.resource().clone();
        let paths = paths(&resource)?;
        let Some(old) = self.live(call) else {
            return Err(Failure::not_found(&resource, &call.target.name));
        };
        let version = object::version(scale);
        if !version.is_empty() && version != object::version(&old) {
            return Err(Failure::conflict(&resource, &call.target.name));
        }
        let replicas = object::at(scale, &["spec", "replicas"]).cloned().unwrap_or(json!(0));
        if !resource.is_custom && replicas.as_i64().is_some_and(|replicas| replicas < 0) {
            return Err(negative(&resource, call, &replicas));
        }
        let mut new = Value::clone(&old);
        let path: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
        object::set_at(&mut new, &path, replicas);
        let mut on_object = call.clone();
        on_object.target.subresource = String::new();
        track(call, &old, &mut new);
        let stored = self.replace_object(&on_object, &old, new)?;
        Ok(Answer::ok(scale_of(&resource, &stored)?))
    }
}

fn negative(resource: &Resource, call: &Call, replicas: &Value) -> Failure {
    let field = "spec.replicas";
    let detail = "must be greater than or equal to 0";
    let cause = Cause::invalid(field, replicas, detail);
    Failure::invalid_scale(resource, &call.target.name, cause)
}

fn paths(resource: &Resource) -> Result<&Scale, Failure> {
    resource.scale.as_ref().ok_or_else(Failure::no_such_path)
}

/// The scale of an object.
///
/// # Errors
/// 404 where the kind has none, 500 where a custom object has no number.
pub(crate) fn scale_of(resource: &Resource, object: &Value) -> Result<Value, Failure> {
    let paths = paths(resource)?;
    let path: Vec<&str> = paths.spec_replicas.iter().map(String::as_str).collect();
    if resource.is_custom && object::at(object, &path).is_none() {
        let why = format!("the spec replicas field \".{}\" does not exist", path.join("."));
        return Err(Failure::internal_error(&why));
    }
    lenient_scale_of(resource, object)
}

/// The same where a number that is missing is 0.
fn lenient_scale_of(resource: &Resource, object: &Value) -> Result<Value, Failure> {
    let paths = paths(resource)?;
    let find = |path: &[String]| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        object::at(object, &path)
    };
    let number = |path: &[String]| find(path).and_then(Value::as_i64).unwrap_or(0);
    let selector = match &paths.selector {
        Some(path) => find(path).and_then(Value::as_str).unwrap_or_default().to_owned(),
        None if resource.is_custom => String::new(),
        None => object::at(object, &["spec", "selector"])
            .map(|selector| Labels::of_spec(selector).text())
            .unwrap_or_default(),
    };
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        object::set_at(&mut meta, &[field], object::meta_text(object, field).into());
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    if !selector.is_empty() {
        object::set_at(&mut status, &["selector"], selector.into());
    }
    let replicas = number(&paths.spec_replicas);
    let spec = if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) };
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta,
        "spec": spec, "status": status,
    }))
}
