//! Label and field selectors, in the syntax of queries.

use serde_json::Value;

use super::kinds::Resource;
use super::object;

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Above(String, i64),
    Below(String, i64),
}

/// A label selector; the default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<Requirement>);

/// A field selector; the default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String, bool)>);

impl Labels {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for part in split_outside_of_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err(format!("unable to parse requirement: found '{part}' in {text:?}"));
            }
            requirements.push(requirement(part)?);
        }
        Ok(Self(requirements))
    }

    /// Reads the selector of a spec: `matchLabels` and `matchExpressions`, or a plain map.
    pub(crate) fn of_spec(selector: &Value) -> Self {
        let mut requirements = Vec::new();
        let pairs = selector.get("matchLabels").and_then(Value::as_object);
        for (key, value) in pairs.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::In(key.clone(), vec![value]));
        }
        let list = selector.get("matchExpressions").and_then(Value::as_array);
        for expression in list.into_iter().flatten() {
            let key = object::text(expression, "key").to_owned();
            let values = expression.get("values").and_then(Value::as_array);
            let values: Vec<String> =
                values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(match object::text(expression, "operator") {
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                _ => Requirement::In(key, values),
            });
        }
        Self(requirements)
    }

    /// As it stands in `status.selector` of a scale: sorted by key.
    pub(crate) fn text(&self) -> String {
        let mut parts: Vec<(&str, String)> = self.0.iter().map(Requirement::text).collect();
        parts.sort();
        parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.matches(object))
    }
}

impl Requirement {
    fn matches(&self, object: &Value) -> bool {
        let number = |key: &str| object::label(object, key)?.parse::<i64>().ok();
        match self {
            Self::In(key, values) => object::label(object, key)
                .is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(key, values) => object::label(object, key)
                .is_none_or(|value| !values.iter().any(|one| one == value)),
            Self::Exists(key) => object::label(object, key).is_some(),
            Self::Absent(key) => object::label(object, key).is_none(),
            Self::Above(key, than) => number(key).is_some_and(|value| value > *than),
            Self::Below(key, than) => number(key).is_some_and(|value| value < *than),
        }
    }

    fn text(&self) -> (&str, String) {
        let list = |values: &[String]| {
            let mut values = values.to_vec();
            values.sort();
            values.join(",")
        };
        match self {
            Self::In(key, values) => match values.as_slice() {
                [one] => (key, format!("{key}={one}")),
                many => (key, format!("{key} in ({})", list(many))),
            },
            Self::NotIn(key, values) => (key, format!("{key} notin ({})", list(values))),
            Self::Exists(key) => (key, key.clone()),
            Self::Absent(key) => (key, format!("!{key}")),
            Self::Above(key, than) => (key, format!("{key}>{than}")),
            Self::Below(key, than) => (key, format!("{key}<{than}")),
        }
    }
}

fn split_outside_of_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(from..).unwrap_or_default());
    parts
}

fn requirement(part: &str) -> Result<Requirement, String> {
    if let Some(key) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(checked_key(key)?));
    }
    let words: Vec<&str> = part.splitn(3, char::is_whitespace).collect();
    if let [key, operator @ ("in" | "notin"), list] = words.as_slice() {
        let values = values(list)?;
        let key = checked_key(key)?;
        return Ok(match *operator {
            "in" => Requirement::In(key, values),
            _ => Requirement::NotIn(key, values),
        });
    }
    for (sign, is_equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = part.split_once(sign) {
            if value.trim_start().starts_with('=') {
                return Err("found '=', expected: identifier".to_owned());
            }
            let (key, value) = (checked_key(key)?, checked_value(value)?);
            let values = vec![value];
            return Ok(if is_equal {
                Requirement::In(key, values)
            } else {
                Requirement::NotIn(key, values)
            });
        }
    }
    for sign in ['>', '<'] {
        if let Some((key, value)) = part.split_once(sign) {
            let number = value.trim().parse().map_err(|_| {
                format!("for 'Gt', 'Lt' operators, the value must be an integer: {value:?}")
            })?;
            let key = checked_key(key)?;
            return Ok(if sign == '>' {
                Requirement::Above(key, number)
            } else {
                Requirement::Below(key, number)
            });
        }
    }
    Ok(Requirement::Exists(checked_key(part)?))
}

fn values(list: &str) -> Result<Vec<String>, String> {
    let inner = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
    let inner = inner.ok_or_else(|| format!("found '{list}' expected: '('"))?;
    inner.split(',').map(checked_value).collect()
}

fn checked_key(key: &str) -> Result<String, String> {
    let key = key.trim();
    match super::meta::wrong_qualified_name(key).first() {
        None => Ok(key.to_owned()),
        Some(wrong) => Err(format!("<nil>: Invalid value: {key:?}: {wrong}")),
    }
}

fn checked_value(value: &str) -> Result<String, String> {
    let value = value.trim();
    if super::meta::is_label_value(value) {
        return Ok(value.to_owned());
    }
    Err(format!("values[0]: Invalid value: {value:?}: {}", super::meta::LABEL_VALUE))
}

impl Fields {
    /// Reads `metadata.name=a,metadata.namespace!=b`.
    ///
    /// # Errors
    /// What cannot be read, or the field that this kind cannot be selected by.
    pub(crate) fn parse(text: &str, resource: &Resource) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let signs = [("!=", false), ("==", true), ("=", true)];
            let term = signs.iter().find_map(|(sign, is_equal)| {
                let (field, value) = part.split_once(sign)?;
                Some((field.to_owned(), value.to_owned(), *is_equal))
            });
            let (field, value, is_equal) = term
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            if !is_selectable(resource, &field) {
                return Err(if resource.has_own_selectors() {
                    format!("field label not supported: {field}")
                } else {
                    format!(
                        "{field:?} is not a known field selector: only \"metadata.name\", \
                         \"metadata.namespace\""
                    )
                });
            }
            terms.push((field, value, is_equal));
        }
        Ok(Self(terms))
    }

    /// Selects the objects of one name.
    pub(crate) fn of_name(name: &str) -> Self {
        Self(vec![("metadata.name".to_owned(), name.to_owned(), true)])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0
            .iter()
            .all(|(field, wanted, is_equal)| (value_of(object, field) == *wanted) == *is_equal)
    }
}

impl Resource {
    /// Whether it can be selected by more than name and namespace.
    fn has_own_selectors(&self) -> bool {
        self.is_custom
            || matches!(
                self.storage.plural.as_ref(),
                "pods" | "events" | "secrets" | "namespaces" | "nodes" | "services" | "jobs"
            )
    }
}

/// The fields by which a kind can be selected, beside name and namespace.
fn is_selectable(resource: &Resource, field: &str) -> bool {
    if field == "metadata.name" || field == "metadata.namespace" && resource.is_namespaced {
        return true;
    }
    if resource.is_custom {
        return resource.selectable.iter().any(|path| path == field);
    }
    let fields: &[&str] = match resource.storage.plural.as_ref() {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "secrets" => &["type"],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "services" => &["spec.clusterIP", "spec.type"],
        "jobs" => &["status.successful"],
        _ => &[],
    };
    fields.contains(&field)
}

fn value_of(object: &Value, field: &str) -> String {
    let path: Vec<&str> = match field {
        "source" => vec!["source", "component"],
        "status.successful" => vec!["status", "succeeded"],
        _ => field.split('.').collect(),
    };
    match object::at(object, &path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => match field {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            "status.successful" => "0".to_owned(),
            _ => String::new(),
        },
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(selector: &str) -> bool {
        let object = json!({"metadata": {"name": "x", "labels": {"app": "web", "n": "3"}}});
        Labels::parse(selector).unwrap().matches(&object)
    }

    #[test]
    fn every_operator_of_label_selectors_is_understood() {
        for selector in [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=db",
            "app in (db, web)",
            "app notin (db)",
            "!tier",
            "app=web,n>2",
            "n<4,tier notin (x)",
            "tier!=x",
        ] {
            assert!(selects(selector), "{selector}");
        }
        for selector in ["!app", "app=db", "app notin (web,db)", "tier", "tier=x", "n>3"] {
            assert!(!selects(selector), "{selector}");
        }
        for selector in ["app in web", "a=b,,c", "-a", "n>x"] {
            assert!(Labels::parse(selector).is_err(), "{selector}");
        }
    }

    #[test]
    fn a_selector_of_a_spec_becomes_its_text() {
        let spec = json!({"matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]},
                                 {"key": "d", "operator": "DoesNotExist"}]});
        assert_eq!(Labels::of_spec(&spec).text(), "a=1,b=2,c in (x,y),!d");
    }
}
