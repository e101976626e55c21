//! Events in their two groups: one storage, in the form of the core group, and the same fields under
//! other names in `events.k8s.io`.

use serde_json::{Map, Value};

/// Names in the core group, and in `events.k8s.io`.
const NAMES: [(&str, &str); 8] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingInstance", "reportingInstance"),
];

/// An event of the core group as one of `events.k8s.io`, or the other way round.
pub(crate) fn renamed(event: &Value, api_version: &str) -> Value {
    let is_new = api_version != "v1";
    let mut out = Map::new();
    for (field, value) in event.as_object().into_iter().flatten() {
        let pair = NAMES.iter().find(|(old, new)| if is_new { old == field } else { new == field });
        let name = pair.map_or(field.as_str(), |(old, new)| if is_new { new } else { old });
        // What the core group always writes and the other one leaves out.
        let is_blank = value.as_str() == Some("") || value.as_i64() == Some(0);
        if is_new
            && is_blank
            && matches!(field.as_str(), "reportingComponent" | "reportingInstance")
        {
            continue;
        }
        out.insert(name.to_owned(), value.clone());
    }
    if !is_new {
        for name in ["reportingComponent", "reportingInstance"] {
            out.entry(name).or_insert_with(|| "".into());
        }
    }
    out.insert("apiVersion".to_owned(), api_version.into());
    Value::Object(out)
}
