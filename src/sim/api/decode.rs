//! From the body of a request to an object: of the right kind, in the form that is stored, with
//! defaults, in the namespace and under the name of the request.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::builtin;
use super::duplicates::duplicates;
use super::failure::{Cause, Failure};
use super::kinds::{Resource, split_api_version};
use super::object;
use super::patch::go_json_error;
use super::request::Verb;
use super::schema::{Schema, apply_defaults, builtin_schema, decode, prune};
use super::server::{Body, Call, Server};

/// How a body came: it decides how a wrong one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The body is the object.
    Whole,
    /// The object is what a patch made.
    Patch,
    /// The body is a configuration to apply.
    Apply,
}

impl Server {
    /// The object of a POST or PUT.
    ///
    /// # Errors
    /// 400.
    pub(crate) fn read_body(&mut self, call: &Call, body: Body<'_>) -> Result<Value, Failure> {
        let resource = call.resource();
        let repeated = match &body {
            Body::Value(_) => Vec::new(),
            Body::Bytes(bytes) => duplicates(bytes),
        };
        let mut object = match body {
            Body::Value(value) => value,
            Body::Bytes(bytes) => serde_json::from_slice(bytes).map_err(|error| {
                let why = go_json_error(bytes, &error);
                unrecognized(resource, &why, &String::from_utf8_lossy(bytes))
            })?,
        };
        if !object.is_object() {
            let given = if object.is_array() { "array" } else { "string" };
            let why = format!(
                "json: cannot unmarshal {given} into Go value of type struct {{ APIVersion string \
                 \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                 \"json:\\\"kind,omitempty\\\"\" }}"
            );
            // What is no object is shown in hexadecimal.
            let mut text = String::new();
            for byte in object.to_string().bytes() {
                let _ = write!(text, "{byte:02x}");
            }
            return Err(unrecognized(resource, &why, &text));
        }
        check_type(resource, &mut object)?;
        if !repeated.is_empty() && !resource.is_custom && call.options.field_validation != "Strict"
        {
            // The real server puts the maps and objects of one key together.
            return Err(Failure::not_implemented("keys that stand twice in one object"));
        }
        self.shape_and_report(call, &mut object, Source::Whole, &repeated)?;
        Ok(object)
    }

    /// Gives an object the form in which it is stored.
    ///
    /// # Errors
    /// 400, or 422 for what a patch made.
    pub(crate) fn shape(
        &mut self,
        call: &Call,
        object: &mut Value,
        source: Source,
    ) -> Result<(), Failure> {
        self.shape_and_report(call, object, source, &[])
    }

    /// What the version that is kept does not know is not kept.
    fn prune_as_kept(&self, resource: &Resource, object: &mut Value) {
        let (_, version) = split_api_version(&resource.stored_as);
        let kept = self.kinds.find(&resource.group, version, &resource.plural);
        if let Some(kept) = kept.filter(|kept| kept.version != resource.version) {
            prune(object, &kept.schema, "", &mut Vec::new());
        }
    }

    fn shape_and_report(
        &mut self,
        call: &Call,
        object: &mut Value,
        source: Source,
        repeated: &[String],
    ) -> Result<(), Failure> {
        let resource = call.resource().clone();
        let mut unknown = Vec::new();
        let decoded = if resource.is_custom {
            shape_custom(&resource, object, &mut unknown)
        } else {
            decode(object, &resource.schema, &mut unknown)
        };
        decoded.map_err(|why| wrong_body(&resource, source, &why))?;
        if source != Source::Apply {
            self.report(call, source, repeated, unknown)?;
        }
        if resource.is_custom {
            apply_defaults(object, &resource.schema);
            drop_nulls(object, &resource.schema);
            self.prune_as_kept(&resource, object);
        } else {
            builtin::apply_defaults(&resource, object);
        }
        Ok(())
    }

    /// Says which keys stand twice and which are unknown, as much as is wanted.
    fn report(
        &mut self,
        call: &Call,
        source: Source,
        repeated: &[String],
        mut unknown: Vec<String>,
    ) -> Result<(), Failure> {
        unknown.sort();
        let repeated = repeated.iter().map(|path| format!("duplicate field {path:?}"));
        let unknown = unknown.iter().map(|path| format!("unknown field {path:?}"));
        let texts: Vec<String> = repeated.chain(unknown).collect();
        match call.options.field_validation.as_str() {
            "Strict" if !texts.is_empty() => {
                let why = format!("strict decoding error: {}", texts.join(", "));
                Err(wrong_body(call.resource(), source, &why))
            }
            "Ignore" | "Strict" => Ok(()),
            _ => {
                self.warnings.extend(texts);
                Ok(())
            }
        }
    }
}

/// The refusal of a body that is no object.
fn unrecognized(resource: &Resource, why: &str, text: &str) -> Failure {
    let kind = &resource.kind;
    Failure::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; \
         json parse error: {why} ({text})"
    ))
}

/// The refusal of a body that cannot be read.
fn wrong_body(resource: &Resource, source: Source, why: &str) -> Failure {
    match source {
        Source::Patch => {
            let cause = Cause::invalid("patch", &"".into(), why);
            Failure::invalid_patch(cause)
        }
        Source::Whole | Source::Apply => Failure::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            resource.kind, resource.version, resource.kind
        )),
    }
}

fn shape_custom(
    resource: &Resource,
    object: &mut Value,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    if let Some(meta) = object.get_mut("metadata") {
        if !meta.is_object() && !meta.is_null() {
            return Err("json: cannot unmarshal into Go struct field .metadata".to_owned());
        }
        if meta.is_null() {
            *meta = Value::Object(Map::new());
        }
        let mut in_meta = Vec::new();
        decode(meta, &builtin_schema("ObjectMeta"), &mut in_meta)?;
        unknown.extend(in_meta.iter().map(|path| format!("metadata.{path}")));
    }
    prune(object, &resource.schema, "", unknown);
    Ok(())
}

/// Removes nulls where they are not allowed, as if they had not been written.
fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                !value.is_null() || schema.field(name).is_none_or(|field| field.is_nullable)
            });
            for (name, value) in map {
                if let Some(field) = schema.field(name) {
                    drop_nulls(value, field);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = &schema.items {
                for entry in list {
                    drop_nulls(entry, items);
                }
            }
        }
        _ => {}
    }
}

/// Whether the object is of the kind of the request; an empty type is taken as that.
fn check_type(resource: &Resource, object: &mut Value) -> Result<(), Failure> {
    let wanted = resource.api_version();
    let (given_version, given_kind) =
        (object::text(object, "apiVersion").to_owned(), object::text(object, "kind").to_owned());
    if resource.is_custom {
        for (given, field) in [(&given_kind, "Kind"), (&given_version, "apiVersion")] {
            if given.is_empty() {
                let kind = &resource.kind;
                let text = object.to_string();
                // The text is shown twice, the second time only its beginning.
                let start = match text.get(..30) {
                    Some(start) if text.len() > 30 => format!("{start} ..."),
                    _ => text.clone(),
                };
                return Err(Failure::bad_request(format!(
                    "the object provided is unrecognized (must be of type {kind}): Object \
                     '{field}' is missing in '{text}' ({start})"
                )));
            }
        }
    }
    let version = if given_version.is_empty() { &wanted } else { &given_version };
    let kind = if given_kind.is_empty() { &resource.kind } else { &given_kind };
    if *version != wanted && !resource.is_custom {
        let (kind, (_, bare)) = (&resource.kind, split_api_version(version));
        return Err(Failure::bad_request(format!(
            "{kind} in version {bare:?} cannot be handled as a {kind}: no kind {given:?} is \
             registered for version {version:?} in scheme \"pkg/runtime/scheme.go:110\"",
            given = if given_kind.is_empty() { kind } else { &given_kind },
        )));
    }
    if *version != wanted {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version \
             ({wanted})"
        )));
    }
    if *kind != resource.kind && resource.is_custom {
        let detail = format!("must be {}", resource.kind);
        let cause = Cause::invalid("kind", &kind.as_str().into(), &detail);
        let other = Resource { kind: kind.clone(), ..resource.clone() };
        return Err(Failure::invalid(&other, object::name(object), vec![cause]));
    }
    if *kind != resource.kind {
        return Err(wrong_kind(resource, version, kind));
    }
    object::set_at(object, &["apiVersion"], wanted.into());
    object::set_at(object, &["kind"], resource.kind.as_str().into());
    Ok(())
}

fn wrong_kind(resource: &Resource, version: &str, kind: &str) -> Failure {
    let (_, bare) = split_api_version(version);
    let wanted = &resource.kind;
    Failure::bad_request(format!(
        "{kind} in version {bare:?} cannot be handled as a {wanted}: converting (v1.{kind}) to \
         (core.{wanted}): unknown conversion"
    ))
}

/// Puts the object into the namespace of the request and gives it its name.
///
/// # Errors
/// 400 when it says another one.
pub(crate) fn place(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let resource = call.resource();
    let namespace = object::namespace(object);
    if namespace.is_empty() && resource.is_namespaced {
        object::set_meta(object, "namespace", call.target.namespace.clone());
    } else if namespace != call.target.namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if call.target.name.is_empty() {
        return Ok(());
    }
    let name = object::name(object);
    // The server of custom kinds takes a POST to a name, and does not look at that.
    if call.verb == Verb::Create {
        return Ok(());
    }
    if name.is_empty() {
        return Err(Failure::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.target.name
        )));
    }
    if name != call.target.name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.target.name
        )));
    }
    Ok(())
}
