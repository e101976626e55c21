//! Recorded answers: reading, writing, comparing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::script::{Scenario, Step};

/// The recorded answers of a file by scenario.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Vec<Value>> {
    let Ok(text) = std::fs::read_to_string(path) else { return BTreeMap::new() };
    let mut recorded: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        match value {
            Value::String(text) => {
                recorded.insert(text.clone(), vec![]);
                name = text;
            }
            answer => recorded.get_mut(&name).unwrap().push(answer),
        }
    }
    recorded
}

/// What differs, for people.
pub(crate) fn differences(
    file: &str,
    scenario: &Scenario,
    wanted: &[Value],
    found: &[Value],
) -> Vec<String> {
    let mut lines = scenario.steps.iter().filter_map(|step| match step {
        Step::Ask { line, .. } => Some(line.clone()),
        Step::Events { name } => Some(format!("EVENTS {name}")),
        Step::Gone { .. } | Step::Set { .. } | Step::Wait { .. } | Step::Watch { .. } => None,
    });
    let mut differences = Vec::new();
    for idx in 0..wanted.len().max(found.len()) {
        let line = lines.next().unwrap_or_default();
        let (wanted, found) = (wanted.get(idx), found.get(idx));
        if wanted != found {
            let null = Value::Null;
            let mut text = format!("{file}: {}\n  {line}", scenario.name);
            explain(wanted.unwrap_or(&null), found.unwrap_or(&null), "", &mut text);
            differences.push(text);
            // What follows from it is no news.
            break;
        }
    }
    differences
}

fn explain(wanted: &Value, found: &Value, path: &str, text: &mut String) {
    if wanted == found {
        return;
    }
    match (wanted, found) {
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                explain(
                    value,
                    other.get(key).unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                    text,
                );
            }
            for (key, value) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                let _ = write!(text, "\n    {path}.{key}: only ours: {value}");
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (idx, (one, other)) in one.iter().zip(other).enumerate() {
                explain(one, other, &format!("{path}[{idx}]"), text);
            }
        }
        (Value::Array(one), Value::Array(other)) if path.is_empty() => {
            // Status, body, and perhaps warnings.
            for idx in 0..one.len().max(other.len()) {
                let (one, other) = (one.get(idx), other.get(idx));
                let null = Value::Null;
                explain(one.unwrap_or(&null), other.unwrap_or(&null), &format!("[{idx}]"), text);
            }
        }
        _ => {
            let _ = write!(text, "\n    {path}: real {wanted}\n    {path}: ours {found}");
        }
    }
}
