//! What the server answers when it refuses: the Status of the Kubernetes API ("Response Status
//! Kind" of its conventions), with the words of kube-apiserver.

use serde_json::{Map, Value, json};

use super::kinds::Resource;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`; may be empty.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What was refused; boxed because most code only passes it on.
    pub details: Option<Box<Details>>,
}

/// `details` of a Status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Its API group.
    pub group: String,
    /// Its kind or plural, as the server has it for this reason.
    pub kind: String,
    /// Its uid, where it is known.
    pub uid: String,
    /// One entry for each thing that is wrong.
    pub causes: Vec<Cause>,
    /// When to come back; 0 for not at all.
    pub retry_after_seconds: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, such as `FieldValueRequired`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

impl Cause {
    fn new(reason: &'static str, field: &str, message: String) -> Self {
        Self { reason, message, field: field.to_owned() }
    }

    /// A required field is missing.
    pub(crate) fn required(field: &str, detail: &str) -> Self {
        let message = join("Required value", detail);
        Self::new("FieldValueRequired", field, message)
    }

    /// A value that cannot be accepted.
    pub(crate) fn invalid(field: &str, value: &Value, detail: &str) -> Self {
        let message = join(&format!("Invalid value: {}", shown(value)), detail);
        Self::new("FieldValueInvalid", field, message)
    }

    /// The same for a value that is shown in a way of its own.
    pub(crate) fn shown_invalid(field: &str, value: &str, detail: &str) -> Self {
        let message = join(&format!("Invalid value: {value}"), detail);
        Self::new("FieldValueInvalid", field, message)
    }

    /// A value of the wrong type.
    pub(crate) fn type_invalid(field: &str, value: &Value, detail: &str) -> Self {
        let message = join(&format!("Invalid value: {}", shown(value)), detail);
        Self::new("FieldValueTypeInvalid", field, message)
    }

    /// A value that is none of the supported ones.
    pub(crate) fn not_supported(field: &str, value: &Value, supported: &[String]) -> Self {
        let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = if list.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", list.join(", "))
        };
        let message = join(&format!("Unsupported value: {}", shown(value)), &detail);
        Self::new("FieldValueNotSupported", field, message)
    }

    /// A CEL rule that is broken, with the reason that it gives.
    pub(crate) fn of_rule(reason: Option<&str>, field: &str, kind: &str, detail: &str) -> Self {
        match reason {
            Some("FieldValueForbidden") => Self::forbidden(field, detail),
            Some("FieldValueRequired") => Self::required(field, detail),
            Some("FieldValueDuplicate") => Self::duplicate(field, &kind.into()),
            _ => Self::invalid(field, &kind.into(), detail),
        }
    }

    /// A value that may not be there or may not be changed.
    pub(crate) fn forbidden(field: &str, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, join("Forbidden", detail))
    }

    /// An entry that is there twice.
    pub(crate) fn duplicate(field: &str, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", shown(value));
        Self::new("FieldValueDuplicate", field, message)
    }

    /// A text that is too long.
    pub(crate) fn too_long(field: &str, most: u64) -> Self {
        let bytes = if most == 1 { "byte" } else { "bytes" };
        let message = format!("Too long: may not be more than {most} {bytes}");
        Self::new("FieldValueTooLong", field, message)
    }

    /// A list with too many entries.
    pub(crate) fn too_many(field: &str, actual: u64, most: u64) -> Self {
        let items = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {actual}: must have at most {most} {items}");
        Self::new("FieldValueTooMany", field, message)
    }

    /// Whether CEL rules are not evaluated any more because of it.
    pub(crate) fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }

    /// The same about a field below `parent`.
    pub(crate) fn below(mut self, parent: &str) -> Self {
        self.field = if self.field.is_empty() {
            parent.to_owned()
        } else {
            format!("{parent}.{}", self.field)
        };
        self
    }

    fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

fn join(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}

/// A value as it stands in messages.
fn shown(value: &Value) -> String {
    match value {
        // Go quotes control characters otherwise than JSON does; printable text is the same.
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// All causes in one line, each once.
fn summary(causes: &[Cause]) -> String {
    let mut unique: Vec<String> = Vec::new();
    for text in causes.iter().map(Cause::text) {
        if !unique.contains(&text) {
            unique.push(text);
        }
    }
    match unique.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..Details::default()
        }));
        self
    }

    fn of(self, resource: &Resource, name: &str) -> Self {
        self.about(&resource.group, &resource.plural, name)
    }

    /// 404.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(404, "NotFound", message).of(resource, name)
    }

    /// 404 for a path that nobody serves.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        let mut failure = Self::new(404, "NotFound", message);
        failure.details = Some(Box::default());
        failure
    }

    /// The reason of [`Self::no_page`], which is never written.
    pub(crate) const NO_PAGE: &str = "NoPage";

    /// 404 in plain text, for a path below which nothing is served.
    pub(crate) fn no_page() -> Self {
        Self::new(404, Self::NO_PAGE, "404 page not found")
    }

    /// 409: the name is taken.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).of(resource, name)
    }

    /// 409 with a reason of one's own.
    pub(crate) fn conflict_because(resource: &Resource, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::new(409, "Conflict", message).of(resource, name)
    }

    /// 409 about a subresource of the core group, such as `pods/binding`.
    pub(crate) fn conflict_of(what: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {what} {name:?}: {why}");
        Self::new(409, "Conflict", message).about("", what, name)
    }

    /// 409 in which the object is called by its kind.
    pub(crate) fn conflict_of_kind(resource: &Resource, name: &str, why: &str) -> Self {
        let group =
            if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let kind = &resource.kind;
        let message = format!("Operation cannot be fulfilled on {kind}{group} {name:?}: {why}");
        Self::new(409, "Conflict", message).about(&resource.group, kind, name)
    }

    /// 409: somebody changed the object.
    pub(crate) fn conflict(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict_because(resource, name, why)
    }

    /// 409 between field managers.
    pub(crate) fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        let mut failure = Self::new(409, "Conflict", message);
        failure.details = Some(Box::new(Details { causes, ..Details::default() }));
        failure
    }

    /// 422: fields of an object are wrong.
    pub(crate) fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        let group =
            if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let all = summary(&causes);
        let message = format!("{}{group} {name:?} is invalid: {all}", resource.kind);
        let mut failure =
            Self::new(422, "Invalid", message).about(&resource.group, &resource.kind, name);
        if let Some(details) = &mut failure.details {
            details.causes = causes;
        }
        failure
    }

    /// 422 about an object of a kind that is called by its plural.
    pub(crate) fn invalid_resource(resource: &Resource, name: &str, cause: Cause) -> Self {
        let message = format!("{} {name:?} is invalid: {}", resource.qualified(), cause.text());
        Self::new(422, "Invalid", message).of(resource, name).because(cause)
    }

    /// 422 about a scale.
    pub(crate) fn invalid_scale(resource: &Resource, name: &str, cause: Cause) -> Self {
        let message = format!("Scale.autoscaling {name:?} is invalid: {}", cause.text());
        let _ = resource;
        Self::new(422, "Invalid", message).about("autoscaling", "Scale", name).because(cause)
    }

    /// 422: the options of a request are wrong. `kind` is such as `PatchOptions`.
    pub(crate) fn invalid_options(kind: &str, cause: Cause) -> Self {
        Self::invalid_options_all(kind, vec![cause])
    }

    /// The same with several causes.
    pub(crate) fn invalid_options_all(kind: &str, causes: Vec<Cause>) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", summary(&causes));
        let mut failure = Self::new(422, "Invalid", message).about("meta.k8s.io", kind, "");
        if let Some(details) = &mut failure.details {
            details.causes = causes;
        }
        failure
    }

    /// 422: what a patch made is no object of the kind.
    pub(crate) fn invalid_patch(cause: Cause) -> Self {
        let message = format!(" \"\" is invalid: {}", cause.text());
        Self::new(422, "Invalid", message).about("", "", "").because(cause)
    }

    fn because(mut self, cause: Cause) -> Self {
        if let Some(details) = &mut self.details {
            details.causes = vec![cause];
        }
        self
    }

    /// 422 without an object: a patch that cannot be carried out.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        let mut failure = Self::new(422, "Invalid", message);
        failure.details = Some(Box::default());
        failure
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403 by the rules of access.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let separator = if name.is_empty() { String::new() } else { format!(" {name:?}") };
        let message = format!("{}{separator} is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).of(resource, name)
    }

    /// 403 for something by its group, plural and name.
    pub(crate) fn forbidden_resource(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let qualified =
            if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let name_part = if name.is_empty() { String::new() } else { format!(" {name:?}") };
        let message = format!("{qualified}{name_part} is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(group, plural, name)
    }

    /// 403 for a path.
    pub(crate) fn forbidden_path(message: String) -> Self {
        let mut failure = Self::new(403, "Forbidden", message);
        failure.details = Some(Box::default());
        failure
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut failure = Self::new(405, "MethodNotAllowed", message);
        failure.details = Some(Box::default());
        failure
    }

    /// 415.
    pub(crate) fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 410: what is asked for has been compacted away.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 504: the version that was asked for is not there yet.
    pub(crate) fn version_too_large(asked: u64, current: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut failure = Self::new(504, "Timeout", message);
        failure.details = Some(Box::new(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge",
                message: "Too large resource version".to_owned(),
                field: String::new(),
            }],
            retry_after_seconds: 1,
            ..Details::default()
        }));
        failure
    }

    /// 500 without a reason.
    pub(crate) fn unexplained(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 500 with a cause.
    pub(crate) fn internal_error(why: &str) -> Self {
        let message = format!("Internal error occurred: {why}");
        let cause = Cause { reason: "", message: why.to_owned(), field: String::new() };
        Self::new(500, "InternalError", message).about("", "", "").because(cause)
    }

    /// An error of Go's that no kind of Status was made of.
    pub(crate) fn plain(code: u16, why: &str) -> Self {
        Self::new(code, "", why)
    }

    /// 501: this server does not do that, and says what.
    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("the server in memory does not implement {what}"))
    }

    /// The Status object of the wire.
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": self.message, "code": self.code,
        });
        let Some(map) = status.as_object_mut() else { return status };
        if !self.reason.is_empty() {
            map.insert("reason".to_owned(), self.reason.into());
        }
        if let Some(details) = &self.details {
            map.insert("details".to_owned(), details.to_json());
        }
        status
    }
}

impl Details {
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        let texts = [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ];
        for (key, text) in texts {
            if !text.is_empty() {
                map.insert(key.to_owned(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|cause| {
                let mut entry = Map::new();
                let texts = [
                    ("reason", cause.reason),
                    ("message", cause.message.as_str()),
                    ("field", cause.field.as_str()),
                ];
                for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                    entry.insert(key.to_owned(), text.into());
                }
                Value::Object(entry)
            });
            map.insert("causes".to_owned(), causes.collect());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".to_owned(), self.retry_after_seconds.into());
        }
        Value::Object(map)
    }
}
