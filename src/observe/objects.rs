//! Facts of single objects, read from their JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde::Deserialize as _;
use serde_json::Value;

use super::recall::Recall;
use crate::analysis::Verdict;
use crate::api::ApiNames;
use crate::api::analysis::AnalysisRunStatus;
use crate::plan::facts::{PodFact, ReplicaSetFact, RunFact, RunSlot, ServiceFact};
use crate::plan::validate::string_map;
use crate::revision::{Revision, TemplateDigest};

/// The bytes of an entry of a Secret's `data`; nothing when it is not base64.
pub fn secret_bytes(entry: &str) -> Option<Vec<u8>> {
    STANDARD.decode(entry).ok()
}

/// A field of fields, by the JSON pointer of a path without `~` and indices. Unlike
/// [`Value::pointer`] it copies no part of the path: a pass asks a hundred times.
pub(super) fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(object, |value, field| value.get(field))
}

/// A text field by JSON pointer.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    at(object, pointer)?.as_str()
}

/// A time field by JSON pointer; unreadable text counts as absent.
pub(super) fn time(object: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    parse_time(text(object, pointer)?)
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

fn count(object: &Value, pointer: &str) -> u32 {
    at(object, pointer)
        .and_then(Value::as_u64)
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(0)
}

/// The entries of a map of texts.
pub(super) fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    string_map(at(object, pointer))
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// A ReplicaSet; `None` when it has no revision label and so is not one of ours.
pub(super) fn replica_set(
    object: &Value,
    names: ApiNames,
    recall: &Recall,
) -> Option<ReplicaSetFact> {
    let revision = Revision::from_label(label(object, names.revision_label())?);
    let generation = at(object, "/metadata/generation").and_then(Value::as_i64);
    let observed = at(object, "/status/observedGeneration").and_then(Value::as_i64);
    // A status that is older than the spec says nothing about the pods that the spec asks for.
    let is_current = observed.is_some() && observed >= generation;
    let available = if is_current { count(object, "/status/availableReplicas") } else { 0 };
    Some(ReplicaSetFact {
        name: text(object, "/metadata/name")?.to_owned(),
        revision,
        digest: annotation(object, names.digest_annotation()).map(TemplateDigest::from_annotation),
        template: recall
            .template(object)
            .unwrap_or_else(|| Arc::new(template_without_revision(object, names))),
        number: annotation(object, names.revision_number_annotation())
            .and_then(|number| number.parse().ok())
            .unwrap_or(0),
        desired: count(object, "/spec/replicas"),
        replicas: count(object, "/status/replicas"),
        ready: if is_current { count(object, "/status/readyReplicas") } else { 0 },
        available,
        is_behind: !is_current,
        created_at: time(object, "/metadata/creationTimestamp").unwrap_or(DateTime::UNIX_EPOCH),
    })
}

fn template_without_revision(object: &Value, names: ApiNames) -> Value {
    let mut template = at(object, "/spec/template").cloned().unwrap_or(Value::Null);
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(names.revision_label());
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        // The API server adds it to every template it stores.
        if metadata.get("creationTimestamp").is_some_and(Value::is_null) {
            metadata.remove("creationTimestamp");
        }
    }
    template
}

/// A Service.
pub(super) fn service(object: &Value, names: ApiNames) -> ServiceFact {
    ServiceFact {
        selector: texts(object, "/spec/selector"),
        managed_by: annotation(object, names.managed_by_annotation()).map(str::to_owned),
    }
}

/// An AnalysisRun.
pub(super) fn run(object: &Value, names: ApiNames) -> Option<RunFact> {
    let slot = match label(object, names.run_type_label()) {
        Some("Step") => label(object, names.step_index_label())
            .and_then(|index| index.parse().ok())
            .map(RunSlot::Step),
        Some("Background") => Some(RunSlot::Background),
        Some("PrePromotion") => Some(RunSlot::PrePromotion),
        Some("PostPromotion") => Some(RunSlot::PostPromotion),
        Some(_) | None => None,
    };
    let (verdict, comparison) = match object.get("status") {
        None | Some(Value::Null) => (Verdict::Running { waiting_on: None }, None),
        Some(status) => match AnalysisRunStatus::deserialize(status) {
            Ok(status) => (Verdict::of(&status), status.comparison),
            // Not readable is not a verdict: neither good nor bad.
            Err(error) => {
                let what = format!("its status cannot be understood: {error}");
                (Verdict::Running { waiting_on: Some(what) }, None)
            }
        },
    };
    Some(RunFact {
        name: text(object, "/metadata/name")?.to_owned(),
        slot,
        attempt: label(object, names.attempt_label()).and_then(|attempt| attempt.parse().ok()),
        revision: label(object, names.revision_label()).map(Revision::from_label),
        verdict,
        terminate: at(object, "/spec/terminate") == Some(&Value::Bool(true)),
        compares: at(object, "/spec/comparison").is_some_and(Value::is_object),
        comparison,
        created_at: time(object, "/metadata/creationTimestamp").unwrap_or(DateTime::UNIX_EPOCH),
    })
}

/// A pod, from its metadata.
pub(super) fn pod(object: &Value, names: ApiNames) -> Option<PodFact> {
    Some(PodFact {
        name: text(object, "/metadata/name")?.to_owned(),
        revision: Revision::from_label(label(object, names.revision_label())?),
        is_terminating: text(object, "/metadata/deletionTimestamp").is_some(),
        created_at: time(object, "/metadata/creationTimestamp")?,
    })
}
