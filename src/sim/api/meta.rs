//! Whether names, labels and the rest of `metadata` are well formed, and what of it may not change.

use serde_json::Value;

use super::failure::Cause;
use super::kinds::Resource;
use super::object;

pub(crate) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of \
    alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
pub(crate) const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', \
    '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
    'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
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

/// `prefix/name`, as keys of labels and names of finalizers are.
pub(crate) fn is_qualified_name(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => {
            is_subdomain(prefix)
                && prefix.len() <= 253
                && !name.contains('/')
                && is_name_part(name)
                && name.len() <= 63
        }
        None => is_name_part(key) && key.len() <= 63,
    }
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
        if !is_qualified_name(finalizer) {
            let value = finalizer.into();
            causes.push(Cause::invalid("metadata.finalizers", &value, QUALIFIED_NAME));
        } else if !finalizer.contains('/') && !is_standard_finalizer(finalizer) {
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
        if !is_qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                QUALIFIED_NAME,
            ));
        }
    }
    if size > 256 * 1024 {
        causes.push(Cause::too_long("metadata.annotations", 256 * 1024));
    }
    causes
}

fn is_standard_finalizer(name: &str) -> bool {
    matches!(name, "kubernetes" | "orphan" | "foregroundDeletion")
}

/// What is wrong with labels.
pub(crate) fn check_labels(labels: Option<&Value>, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        if !is_qualified_name(key) {
            causes.push(Cause::invalid(field, &key.as_str().into(), QUALIFIED_NAME));
        }
        let Some(text) = value.as_str() else { continue };
        if text.len() > 63 {
            causes.push(Cause::invalid(field, value, "must be no more than 63 bytes"));
        } else if !is_label_value(text) {
            causes.push(Cause::invalid(field, value, LABEL_VALUE));
        }
    }
    causes
}

fn check_owners(new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controllers = Vec::new();
    for (idx, owner) in object::owners(new).iter().enumerate() {
        let field = |name: &str| format!("metadata.ownerReferences[{idx}].{name}");
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
    if let [first, second, ..] = controllers.as_slice() {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for \
             {first} and {second}"
        );
        let list = Value::Array(object::owners(new).to_vec());
        causes.push(Cause::invalid("metadata.ownerReferences", &list, &detail));
    }
    causes
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
        assert!(is_qualified_name("sluice.dev/traffic") && is_qualified_name("App_1"));
        assert!(!is_qualified_name("a/b/c") && !is_qualified_name("/x") && !is_qualified_name(""));
        assert!(is_label_value("") && is_label_value("A.b-c_1") && !is_label_value("-a"));
    }
}
