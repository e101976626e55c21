//! Answers without what differs from run to run: uids and versions become their ordinals, times,
//! tokens and allocated addresses become words.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::script::{Scenario, Shown};

/// One answer: status, body, warnings; or what a watch told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
    pub(crate) shown: Shown,
}

/// The answers of a scenario, made comparable.
pub(crate) fn normal(scenario: &Scenario, namespace: &str, answers: &[Answer]) -> Vec<Value> {
    let mut versions: Vec<u64> = Vec::new();
    for answer in answers {
        collect_versions(&answer.body, &mut versions);
    }
    versions.sort_unstable();
    versions.dedup();
    let mut normalizer = Normalizer {
        namespace,
        versions,
        uids: BTreeMap::new(),
        shows_managed_fields: scenario.shows_managed_fields,
        uid: Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap(),
        time: Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap(),
        suffix: Regex::new(r"\bweb-[bcdfghjklmnpqrstvwxz2456789]{5}\b").unwrap(),
        address: Regex::new(r"\b10\.97\.\d+\.\d+\b").unwrap(),
        number: Regex::new(
            r"(?i)((?:resource version|resourceVersion|current|in record)[:=]? ?\(?)\d+( \(\d+\))?",
        )
        .unwrap(),
    };
    answers
        .iter()
        .map(|answer| {
            let body = normalizer.value(&answer.body, "");
            let mut list = match answer.shown {
                Shown::Quiet if answer.code < 300 => vec![json!(answer.code)],
                Shown::Code => vec![json!(answer.code), body["reason"].clone()],
                Shown::Quiet | Shown::All => vec![json!(answer.code), body],
            };
            if !answer.warnings.is_empty() && answer.shown != Shown::Code {
                list.push(json!(answer.warnings));
            }
            Value::Array(list)
        })
        .collect()
}

struct Normalizer<'a> {
    namespace: &'a str,
    versions: Vec<u64>,
    uids: BTreeMap<String, usize>,
    shows_managed_fields: bool,
    uid: Regex,
    time: Regex,
    address: Regex,
    suffix: Regex,
    number: Regex,
}

/// Versions of objects; those of lists and bookmarks are of the whole server.
fn collect_versions(value: &Value, versions: &mut Vec<u64>) {
    match value {
        Value::Object(map) => {
            let is_list = is_list(map);
            let is_bookmark = map.get("type") == Some(&json!("BOOKMARK"));
            if is_bookmark {
                return;
            }
            if !is_list
                && let Some(version) = value.pointer("/metadata/resourceVersion")
                && let Some(version) = version.as_str().and_then(|text| text.parse().ok())
            {
                versions.push(version);
            }
            map.values().for_each(|value| collect_versions(value, versions));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_versions(value, versions)),
        _ => {}
    }
}

/// Lists and tables: their version is that of the whole server.
fn is_list(map: &Map<String, Value>) -> bool {
    map.contains_key("items") || map.contains_key("rows")
}

/// The columns of a table, without their descriptions.
fn columns(table: &Map<String, Value>) -> Value {
    let columns = table["columnDefinitions"].as_array().into_iter().flatten();
    let shown = columns.map(|column| {
        json!([column["name"], column["type"], column["format"], column["priority"]])
    });
    shown.collect()
}

/// Whether a text is an age, such as `3s` or `2m5s`.
fn is_age(text: &str) -> bool {
    let is_unit = |c: char| matches!(c, 's' | 'm' | 'h' | 'd' | 'y');
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(is_unit)
        && text.chars().all(|c| c.is_ascii_digit() || is_unit(c))
}

impl Normalizer<'_> {
    fn value(&mut self, value: &Value, key: &str) -> Value {
        match value {
            Value::Object(map) => self.object(map),
            Value::Array(list) if key == "causes" => {
                let mut causes: Vec<Value> =
                    list.iter().map(|cause| self.value(cause, "")).collect();
                causes.sort_by_key(Value::to_string);
                // The real server checks the metadata of an update two to four times.
                causes.dedup();
                Value::Array(causes)
            }
            // The kinds of a group: custom ones come in the order in which they were defined.
            Value::Array(list) if key == "resources" => {
                let mut shown: Vec<Value> = list.iter().map(|one| self.value(one, "")).collect();
                shown.sort_by_key(|one| one["name"].to_string());
                Value::Array(shown)
            }
            Value::Array(list) if key == "cells" => {
                let mut cell = |cell: &Value| match cell.as_str() {
                    Some(text) if is_age(text) => json!("AGE"),
                    _ => self.value(cell, ""),
                };
                list.iter().map(&mut cell).collect()
            }
            Value::Array(list) => {
                // Bookmarks come when they like; only the one that ends a list has its place.
                let is_told = |event: &&Value| {
                    event["type"] != json!("BOOKMARK")
                        || event.pointer("/object/metadata/annotations").is_some()
                };
                let list: Vec<&Value> = list.iter().filter(is_told).collect();
                let mut shown: Vec<Value> =
                    list.iter().map(|value| self.value(value, "")).collect();
                // Their order depends on whether two writes fell into one second.
                if key == "managedFields" {
                    shown.sort_by_key(|entry| {
                        let of = |field: &str| entry[field].as_str().unwrap_or("").to_owned();
                        (of("operation"), of("manager"), of("apiVersion"), of("subresource"))
                    });
                }
                Value::Array(shown)
            }
            Value::String(text) => Value::String(self.text(text, key)),
            other => other.clone(),
        }
    }

    fn object(&mut self, map: &Map<String, Value>) -> Value {
        let mut sorted: BTreeMap<&String, &Value> = map.iter().collect();
        if !self.shows_managed_fields {
            sorted.retain(|key, _| key.as_str() != "managedFields");
        }
        let mut normal = Map::new();
        let is_list = is_list(map);
        if map.contains_key("columnDefinitions") {
            // What our columns mean is known from the real ones.
            sorted.remove(&"columnDefinitions".to_owned());
            normal.insert("columnDefinitions".to_owned(), columns(map));
        }
        // A digest of where etcd has the objects.
        sorted.remove(&"storageVersionHash".to_owned());
        let is_bookmark = map.get("type") == Some(&json!("BOOKMARK"));
        for (key, value) in sorted {
            let mut shown = self.value(value, key);
            if is_bookmark && key == "object" {
                let annotations = value.pointer("/metadata/annotations").cloned();
                shown = json!({"kind": value["kind"], "annotations": annotations});
            }
            if is_list
                && key == "metadata"
                && let Some(meta) = shown.as_object_mut()
            {
                meta.insert("resourceVersion".to_owned(), "LIST".into());
            }
            normal.insert(key.clone(), shown);
        }
        // It repeats the whole object, in the order of Go's structs.
        if map.get("field") == Some(&json!("patch")) {
            normal.insert("message".to_owned(), "A PATCH".into());
        }
        // So is that of several errors of one text.
        if let Some(Value::String(message)) = normal.get_mut("message")
            && let Some((head, errors)) = message.split_once(":\n  ")
        {
            let mut errors: Vec<&str> = errors.split("\n  ").collect();
            errors.sort_unstable();
            *message = format!("{head}:\n  {}", errors.join("\n  "));
        }
        let message = normal.get("message").and_then(Value::as_str);
        if message.is_some_and(|text| text.starts_with(" \"\" is invalid: patch:")) {
            normal.insert("message".to_owned(), "A PATCH".into());
        }
        // The order of several causes is that of a Go map.
        let causes = normal.get("details").and_then(|details| details.get("causes"));
        if causes.and_then(Value::as_array).is_some_and(|causes| causes.len() > 1) {
            normal.insert("message".to_owned(), "SEVERAL CAUSES".into());
        }
        Value::Object(normal)
    }

    fn text(&mut self, text: &str, key: &str) -> String {
        match key {
            "resourceVersion" => {
                let place = text.parse().ok().and_then(|v| self.versions.binary_search(&v).ok());
                return place.map_or_else(|| text.to_owned(), |place| format!("v{}", place + 1));
            }
            "continue" if !text.is_empty() => return "TOKEN".to_owned(),
            "message" if text.contains("continue key is not valid") => {
                return "continue key is not valid".to_owned();
            }
            _ => {}
        }
        let mut out = text.replace(self.namespace, "NS");
        out = self.suffix.replace_all(&out, "web-SUFFIX").into_owned();
        let found: Vec<String> =
            self.uid.find_iter(&out).map(|found| found.as_str().to_owned()).collect();
        for uid in found {
            let next = self.uids.len() + 1;
            let number = *self.uids.entry(uid.clone()).or_insert(next);
            out = out.replace(&uid, &format!("uid-{number}"));
        }
        out = self.time.replace_all(&out, "TIME").into_owned();
        out = self.address.replace_all(&out, "ADDRESS").into_owned();
        self.number.replace_all(&out, "${1}N").into_owned()
    }
}
