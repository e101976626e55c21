//! Arguments: where their values come from. A Secret's value is never here, only its reference.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Problem;
use crate::api::analysis::{
    Argument, FieldRef, PodTemplateHash, RolloutArgument, RolloutArgumentSource, SecretKeyRef,
};

/// Longest value of an argument, in bytes.
const MAX_VALUE_BYTES: usize = 4096;

/// What argument values of a Rollout may come from.
#[derive(Clone, Copy, Debug)]
pub struct RolloutFacts<'a> {
    /// The whole Rollout object as JSON.
    pub rollout: &'a Value,
    /// Revision label of the new pods.
    pub latest_hash: &'a str,
    /// Revision label of the stable pods; none on the first deploy.
    pub stable_hash: Option<&'a str>,
}

/// Value of an argument once everything but Secrets is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentValue {
    /// A text.
    Text(String),
    /// A key of a Secret; its value is not read here.
    Secret(SecretKeyRef),
}

/// Arguments of a run by name.
pub type ArgumentValues = BTreeMap<String, ArgumentValue>;

/// The text that a Rollout gives for one of its arguments. `field` is the argument's own path.
///
/// # Errors
/// A [`Problem`] that names the part of the argument.
pub fn rollout_argument(
    argument: &RolloutArgument,
    facts: &RolloutFacts<'_>,
    field: &str,
) -> Result<String, Problem> {
    match (&argument.value, &argument.value_from) {
        (Some(value), None) => Ok(value.clone()),
        (None, Some(source)) => from_source(source, facts, &format!("{field}.valueFrom")),
        (None, None) => Err(Problem::new(field, "has neither value nor valueFrom")),
        (Some(_), Some(_)) => Err(Problem::new(field, "has both value and valueFrom")),
    }
}

fn from_source(
    source: &RolloutArgumentSource,
    facts: &RolloutFacts<'_>,
    field: &str,
) -> Result<String, Problem> {
    match (source.pod_template_hash_value, &source.field_ref) {
        (Some(PodTemplateHash::Latest), None) => Ok(facts.latest_hash.to_owned()),
        (Some(PodTemplateHash::Stable), None) => {
            facts.stable_hash.map(str::to_owned).ok_or_else(|| {
                Problem::new(
                    field,
                    "needs a stable revision, and there is none before the first one is complete",
                )
            })
        }
        (None, Some(reference)) => field_value(facts.rollout, reference, field),
        (None, None) => Err(Problem::new(field, "needs podTemplateHashValue or fieldRef")),
        (Some(_), Some(_)) => {
            Err(Problem::new(field, "has both podTemplateHashValue and fieldRef"))
        }
    }
}

/// The primitive value at a path of the Rollout, as text.
///
/// # Errors
/// A [`Problem`] when there is nothing or no primitive value.
pub fn field_value(rollout: &Value, reference: &FieldRef, field: &str) -> Result<String, Problem> {
    let path = &reference.field_path;
    let here = format!("{field}.fieldRef.fieldPath");
    let keys = path_keys(path).ok_or_else(|| {
        Problem::new(&here, format!("{path:?} is not a path such as metadata.labels['app']"))
    })?;
    let mut value = rollout;
    for key in &keys {
        let next = match value {
            Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            Value::Object(fields) => fields.get(key.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        value =
            next.ok_or_else(|| Problem::new(&here, format!("{path} is not set on the Rollout")))?;
    }
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null => Err(Problem::new(&here, format!("{path} is not set on the Rollout"))),
        Value::Array(_) | Value::Object(_) => {
            Err(Problem::new(&here, format!("{path} must lead to a text, a number, true or false")))
        }
    }
}

/// Keys of a path: `a.b[0]['c.d']` is `a`, `b`, `0`, `c.d`.
fn path_keys(path: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = path.trim();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (key, after) = match inner.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    let (key, after) = inner.get(1..)?.split_once(quote)?;
                    (key, after.strip_prefix(']')?)
                }
                _ => inner.split_once(']')?,
            };
            keys.push(key.to_owned());
            rest = after;
        } else {
            let start = if keys.is_empty() { rest } else { rest.strip_prefix('.')? };
            let end = start.find(['.', '[']).unwrap_or(start.len());
            let (key, after) = start.split_at_checked(end)?;
            keys.push(key.to_owned());
            rest = after;
        }
    }
    (!keys.is_empty() && keys.iter().all(|key| !key.is_empty())).then_some(keys)
}

/// The values of a run's arguments, or every problem with them. A run that a person made has no
/// Rollout to look into, so `fieldRef` is refused there.
///
/// # Errors
/// All [`Problem`]s.
pub fn run_argument_values(arguments: &[Argument]) -> Result<ArgumentValues, Vec<Problem>> {
    let mut values = ArgumentValues::new();
    let mut problems = Vec::new();
    for (index, argument) in arguments.iter().enumerate() {
        let field = format!("args[{index}]");
        let name = &argument.name;
        match argument_value(argument, &field) {
            Ok(_) if name.is_empty() => problems.push(Problem::new(&field, "has no name")),
            Ok(_) if values.contains_key(name) => {
                problems.push(Problem::new(&field, format!("repeats the argument {name:?}")));
            }
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

fn argument_value(argument: &Argument, field: &str) -> Result<ArgumentValue, Problem> {
    let source = argument.value_from.as_ref();
    let secret = source.and_then(|source| source.secret_key_ref.as_ref());
    let reference = source.and_then(|source| source.field_ref.as_ref());
    match (&argument.value, secret, reference) {
        (Some(value), None, None) if value.len() > MAX_VALUE_BYTES => {
            Err(Problem::new(field, format!("has a value longer than {MAX_VALUE_BYTES} bytes")))
        }
        (Some(value), None, None) => Ok(ArgumentValue::Text(value.clone())),
        (None, Some(secret), None) if secret.name.is_empty() || secret.key.is_empty() => {
            Err(Problem::new(field, "needs name and key in valueFrom.secretKeyRef"))
        }
        (None, Some(secret), None) => Ok(ArgumentValue::Secret(secret.clone())),
        (None, None, Some(_)) => {
            Err(Problem::new(field, "uses valueFrom.fieldRef, which only a Rollout can fill in"))
        }
        (None, None, None) => {
            Err(Problem::new(field, format!("the argument {:?} has no value", argument.name)))
        }
        (_, _, _) => Err(Problem::new(field, "has more than one of value, secretKeyRef, fieldRef")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn rollout_fields_are_found_by_argos_paths() {
        let rollout = json!({
            "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "shop"}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "shop:2"}]}}},
            "status": {"blueGreen": {"activeSelector": "abc"}},
        });
        for (path, expected) in [
            ("metadata.name", "web"),
            ("metadata.labels['app.kubernetes.io/name']", "shop"),
            ("metadata.labels[\"app.kubernetes.io/name\"]", "shop"),
            ("spec.replicas", "3"),
            ("spec.template.spec.containers[0].image", "shop:2"),
            ("status.blueGreen.activeSelector", "abc"),
        ] {
            let reference = FieldRef { field_path: path.to_owned() };
            assert_eq!(field_value(&rollout, &reference, "args[0]").unwrap(), expected, "{path}");
        }
        for path in [
            "metadata.labels['region']",
            "spec.template",
            "a[",
            "",
            "..",
            "spec.template.spec.containers[9].image",
        ] {
            let reference = FieldRef { field_path: path.to_owned() };
            let problem = field_value(&rollout, &reference, "args[0].valueFrom").unwrap_err();
            assert_eq!(problem.field, "args[0].valueFrom.fieldRef.fieldPath", "{path}");
        }
    }

    #[test]
    fn a_hash_of_stable_needs_a_stable_revision() {
        let rollout = json!({});
        let argument: RolloutArgument = serde_json::from_value(
            json!({"name": "h", "valueFrom": {"podTemplateHashValue": "Stable"}}),
        )
        .unwrap();
        let mut facts =
            RolloutFacts { rollout: &rollout, latest_hash: "new", stable_hash: Some("old") };
        assert_eq!(rollout_argument(&argument, &facts, "args[0]").unwrap(), "old");
        facts.stable_hash = None;
        assert!(rollout_argument(&argument, &facts, "args[0]").is_err());
    }

    proptest! {
        #[test]
        fn no_path_makes_the_reader_panic(path in ".{0,20}") {
            let _ = path_keys(&path);
        }
    }
}
