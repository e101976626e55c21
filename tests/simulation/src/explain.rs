//! A change of the log as one line for people.

use std::fmt::Write as _;

use serde_json::Value;
use sluice::sim::api::{Change, Entry};

/// What changed, in the fields that matter.
pub(crate) fn line(entry: &Entry) -> String {
    let who = entry.writer.user.rsplit(':').next().unwrap_or_default();
    let (plural, name) = (entry.resource.plural.as_str(), entry.name());
    let mut line = format!("v{} {who} {:?} {plural}/{name}", entry.version, entry.change);
    if entry.change == Change::Modified {
        let null = Value::Null;
        let old = entry.old.as_deref().unwrap_or(&null);
        let mut changes = Vec::new();
        differences("", old, &entry.object, &mut changes);
        for change in changes.iter().take(8) {
            // A String takes everything.
            let _ = write!(line, "; {change}");
        }
    }
    line
}

fn differences(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    const QUIET: [&str; 6] = [
        "managedFields",
        "resourceVersion",
        "generation",
        "lastUpdateTime",
        "lastTransitionTime",
        "conditions",
    ];
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
            for key in keys {
                if QUIET.contains(&key.as_str()) {
                    continue;
                }
                let (one, other) = (before.get(key), after.get(key));
                if one != other {
                    let null = Value::Null;
                    let path = format!("{path}.{key}");
                    differences(&path, one.unwrap_or(&null), other.unwrap_or(&null), found);
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (idx, (one, other)) in before.iter().zip(after).enumerate() {
                if one != other {
                    differences(&format!("{path}[{idx}]"), one, other, found);
                }
            }
        }
        _ => {
            let path = path.trim_start_matches('.');
            found.push(format!("{path} {} -> {}", short(old), short(new)));
        }
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(90).collect()
}
