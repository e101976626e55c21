//! Whether names, labels and the rest of `metadata` are well formed, and what of it may not change.

use serde_json::Value;

use super::failure::Cause;
use super::kinds::Resource;
use super::object;

pub(crate) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of \
    alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', \
    '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
    'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
    '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an \
    optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1123: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric \
    characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or \
    '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or \
    '-', start with an alphabetic character, and end with an alphanumeric character (e.g. \
    'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/// Whether `name` is a text that RFC 1123 calls a label.
pub(crate) fn is_label_1123(name: &str) -> bool {
    let edge =
        |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(name.bytes().next())
        && edge(name.bytes().next_back())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether `name` is a DNS subdomain in lower case, of whatever length.
pub(crate) fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label_1123)
}

fn is_label_1035(name: &str) -> bool {
    is_label_1123(name) && name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
}

fn is_name_part(part: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(part.bytes().next())
        && edge(part.bytes().next_back())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// What is wrong with `prefix/name`, as keys of labels and names of finalizers are.
pub(crate) fn wrong_qualified_name(key: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else if !is_subdomain(prefix) {
                wrong.push(format!("prefix part {SUBDOMAIN}"));
            } else if prefix.len() > 253 {
                wrong.push("prefix part must be no more than 253 bytes".to_owned());
            }
            *name
        }
        _ => return vec![QUALIFIED.to_owned()],
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name_part(name) {
        wrong.push(NAME_PART.to_owned());
    }
    wrong
}

/// Whether a text can be the value of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name_part(value) && value.len() <= 63
}

/// What is wrong with a name of this kind.
fn wrong_name(resource: &Resource, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |fits: bool, most: usize, what: &str| {
        if name.len() > most {
            wrong.push(format!("must be no more than {most} characters"));
        }
        if !fits {
            wrong.push(what.to_owned());
        }
    };
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "services") => check(is_label_1035(name), 63, LABEL_1035),
        ("", "namespaces") if is_subdomain(name) && name.contains('.') => {
            check(false, 63, "must not contain dots");
        }
        ("", "namespaces") => check(is_label_1123(name), 63, LABEL_1123),
        ("rbac.authorization.k8s.io", _) => {
            if name == "." || name == ".." {
                wrong.push(format!("may not be '{name}'"));
            }
            for forbidden in ['/', '%'] {
                if name.contains(forbidden) {
                    wrong.push(format!("may not contain '{forbidden}'"));
                }
            }
        }
        _ => check(is_subdomain(name), 253, SUBDOMAIN),
    }
    wrong
}

/// What is wrong with the metadata of an object.
pub(crate) fn check(resource: &Resource, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::name(new);
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        for wrong in wrong_name(resource, name) {
            causes.push(Cause::invalid("metadata.name", &name.into(), &wrong));
        }
    }
    if resource.is_namespaced && object::namespace(new).is_empty() {
        causes.push(Cause::required("metadata.namespace", ""));
    }
    causes.extend(check_owners(new));
    for finalizer in object::finalizers(new) {
        let wrong = wrong_qualified_name(finalizer);
        if !wrong.is_empty() {
            let invalid =
                |why: &String| Cause::invalid("metadata.finalizers", &finalizer.into(), why);
            causes.extend(wrong.iter().map(invalid));
        } else if !finalizer.contains('/')
            && !is_standard_finalizer(finalizer)
            && !resource.is_custom
        {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid("metadata.finalizers", &finalizer.into(), detail));
        }
    }
    causes.extend(check_labels(
        object::metadata(new).and_then(|meta| meta.get("labels")),
        "metadata.labels",
    ));
    let annotations = object::metadata(new).and_then(|meta| meta.get("annotations"));
    let mut size = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        for wrong in wrong_qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &key.as_str().into(), &wrong));
        }
    }
    if size > 256 * 1024 {
        causes.push(Cause::too_long("metadata.annotations", 256 * 1024));
    }
    causes
}

/// Warnings about names of finalizers that could clash.
pub(crate) fn warnings(resource: &Resource, new: &Value) -> Vec<String> {
    let is_bare = |name: &&str| !name.contains('/') && !is_standard_finalizer(name);
    if !resource.is_custom {
        return Vec::new();
    }
    let bare = object::finalizers(new).into_iter().filter(is_bare);
    bare.map(|name| {
        format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name to avoid \
             accidental conflicts with other finalizer writers"
        )
    })
    .collect()
}

fn is_standard_finalizer(name: &str) -> bool {
    matches!(name, "kubernetes" | "orphan" | "foregroundDeletion")
}

/// What is wrong with labels.
pub(crate) fn check_labels(labels: Option<&Value>, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for wrong in wrong_qualified_name(key) {
            causes.push(Cause::invalid(field, &key.as_str().into(), &wrong));
        }
        let Some(text) = value.as_str() else { continue };
        if text.len() > 63 {
            causes.push(Cause::invalid(field, value, "must be no more than 63 characters"));
        } else if !is_label_value(text) {
            causes.push(Cause::invalid(field, value, LABEL_VALUE));
        }
    }
    causes
}

fn check_owners(new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controllers = Vec::new();
    for owner in object::owners(new) {
        let field = |name: &str| format!("metadata.ownerReferences.{name}");
        for name in ["apiVersion", "kind", "name", "uid"] {
            let text = object::text(owner, name);
            if text.is_empty() {
                let detail = if name == "apiVersion" {
                    "version must not be empty"
                } else {
                    "must not be empty"
                };
                causes.push(Cause::invalid(&field(name), &text.into(), detail));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            controllers
                .push(object::text(owner, "kind").to_owned() + "/" + object::text(owner, "name"));
        }
    }
    for owner in object::owners(new) {
        if object::text(owner, "apiVersion") == "v1" && object::text(owner, "kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            let shown = shown_owner(owner);
            causes.push(Cause::shown_invalid("metadata.ownerReferences", &shown, detail));
        }
    }
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for \
             {first} and {second}"
        );
        let shown: Vec<String> = object::owners(new).iter().map(shown_owner).collect();
        let shown = format!("[{}]", shown.join(","));
        causes.push(Cause::shown_invalid("metadata.ownerReferences", &shown, &detail));
    }
    causes
}

/// An owner reference in the order of the fields of the Go type.
fn shown_owner(owner: &Value) -> String {
    let order = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let fields = order.iter().filter_map(|field| Some((field, owner.get(*field)?)));
    let fields: Vec<String> = fields.map(|(field, value)| format!("\"{field}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// What an update changes of the metadata although it may not.
pub(crate) fn check_update(new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let (new, old) = (object::meta_text(new, field), object::meta_text(old, field));
        if new != old {
            let field = format!("metadata.{field}");
            causes.push(Cause::invalid(&field, &new.into(), "field is immutable"));
        }
    }
    let deletion = |object: &Value| object::meta_text(object, "deletionTimestamp").to_owned();
    if deletion(new) != deletion(old) {
        let value = deletion(new).into();
        causes.push(Cause::invalid("metadata.deletionTimestamp", &value, "field is immutable"));
    }
    if object::is_terminating(old) {
        let before = object::finalizers(old);
        let added: Vec<&str> =
            object::finalizers(new).into_iter().filter(|one| !before.contains(one)).collect();
        if !added.is_empty() {
            let mut added = added;
            added.sort_unstable();
            let list: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                list.join(", ")
            );
            causes.push(Cause::forbidden("metadata.finalizers", &detail));
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keys_and_values_are_told_apart() {
        assert!(is_subdomain("a-1.b") && !is_subdomain("a_b") && !is_subdomain("a..b"));
        assert!(is_label_1035("web") && !is_label_1035("1web"));
        for key in ["sluice.dev/traffic", "App_1"] {
            assert_eq!(wrong_qualified_name(key), Vec::<String>::new());
        }
        for key in ["a/b/c", "/x", "", "a/", "A_/b"] {
            assert!(!wrong_qualified_name(key).is_empty(), "{key}");
        }
        assert!(is_label_value("") && is_label_value("A.b-c_1") && !is_label_value("-a"));
    }
}
