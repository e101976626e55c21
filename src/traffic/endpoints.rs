//! Which revisions really answer behind a Service, from its EndpointSlices.
//!
//! It counts pods, not addresses: a dual-stack pod has two, and a pod may stand in two slices while
//! the endpoint controller moves it. A pod counts as ready when every one of its entries is. An
//! entry that cannot be attributed to a revision is counted apart and never guessed. It is pure:
//! the caller lists slices and pods.
//!
//! Source: Kubernetes API `discovery.k8s.io/v1`, `EndpointConditions`.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::revision::Revision;

/// Label by which a slice names its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The ready pods behind one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyEndpoints {
    /// Ready pods by revision; a revision without a ready pod is not in it.
    pub by_revision: BTreeMap<Revision, u32>,
    /// Ready entries that are no pod of which the revision is known.
    pub unattributed: u32,
    /// Ready pods that offer no port of the Service (its named target port does not exist in
    /// them): requests to them fail, so they are in no other count.
    pub portless: u32,
}

impl ReadyEndpoints {
    /// Ready pods of `revision` behind the Service.
    pub fn of(&self, revision: &Revision) -> u32 {
        self.by_revision.get(revision).copied().unwrap_or(0)
    }

    /// Everything that answers behind the Service, of whatever revision.
    pub fn total(&self) -> u32 {
        self.by_revision.values().fold(self.unattributed, |sum, n| sum.saturating_add(*n))
    }

    /// Whether something answers and all of it is of `revision`.
    pub fn is_only(&self, revision: &Revision) -> bool {
        self.of(revision) > 0 && self.of(revision) == self.total()
    }
}

/// A slice is not what its API says it is; nothing is known about the Service then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EndpointSlice `{slice}` of Service `{service}`: {field} is not {expected}")]
pub struct MalformedSlice {
    /// Name of the slice.
    pub slice: String,
    /// Name of the Service.
    pub service: String,
    /// Path of the field.
    pub field: String,
    /// What would be right.
    pub expected: &'static str,
}

/// Counts the ready pods behind `service`. `slices` may hold those of other Services, which are
/// passed over; `pods` maps the names of pods in the same namespace to their revisions.
///
/// # Errors
/// [`MalformedSlice`] for the first field of a wrong type.
pub fn ready_endpoints(
    service: &str,
    slices: &[impl Borrow<Value>],
    pods: &BTreeMap<String, Revision>,
) -> Result<ReadyEndpoints, MalformedSlice> {
    let mut by_pod: BTreeMap<&str, Entry> = BTreeMap::new();
    let mut ready = ReadyEndpoints::default();
    let slices = slices.iter().map(Borrow::borrow);
    for slice in slices.filter(|slice| service_of(slice) == Some(service)) {
        let slice = Slice { service, slice };
        let has_ports = !slice.list(slice.slice.get("ports"), "ports")?.is_empty();
        for (idx, endpoint) in
            slice.list(slice.slice.get("endpoints"), "endpoints")?.iter().enumerate()
        {
            let is_ready = slice.is_ready(idx, endpoint)?;
            match pod_of(endpoint).filter(|name| pods.contains_key(*name)) {
                Some(name) => {
                    let entry =
                        by_pod.entry(name).or_insert(Entry { is_ready: true, has_ports: false });
                    entry.is_ready &= is_ready;
                    entry.has_ports |= has_ports;
                }
                None if is_ready && has_ports => ready.unattributed += 1,
                None => {}
            }
        }
    }
    for (name, entry) in by_pod.into_iter().filter(|(_, entry)| entry.is_ready) {
        match pods.get(name) {
            Some(revision) if entry.has_ports => {
                *ready.by_revision.entry(revision.clone()).or_default() += 1;
            }
            Some(_) | None => ready.portless += 1,
        }
    }
    Ok(ready)
}

/// What all entries of one pod say together.
struct Entry {
    is_ready: bool,
    has_ports: bool,
}

struct Slice<'a> {
    service: &'a str,
    slice: &'a Value,
}

impl<'a> Slice<'a> {
    /// `ready` may be absent and then means true; so may `serving`, which then follows `ready`. A
    /// Service with `publishNotReadyAddresses` reports every pod as ready, so `serving` and
    /// `terminating` are looked at too.
    fn is_ready(&self, idx: usize, endpoint: &Value) -> Result<bool, MalformedSlice> {
        let flag =
            |key: &str, default: bool| match endpoint.get("conditions").and_then(|c| c.get(key)) {
                None | Some(Value::Null) => Ok(default),
                Some(Value::Bool(flag)) => Ok(*flag),
                Some(_) => {
                    Err(self.malformed(format!("endpoints[{idx}].conditions.{key}"), "a boolean"))
                }
            };
        Ok(flag("ready", true)? && flag("serving", true)? && !flag("terminating", false)?)
    }

    fn list(&self, value: Option<&'a Value>, field: &str) -> Result<&'a [Value], MalformedSlice> {
        match value {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.malformed(field.to_owned(), "a list")),
        }
    }

    fn malformed(&self, field: String, expected: &'static str) -> MalformedSlice {
        let slice = self.slice.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
        let (slice, service) = (slice.to_owned(), self.service.to_owned());
        MalformedSlice { slice, service, field, expected }
    }
}

/// The Service that an EndpointSlice belongs to; none without the label.
pub fn service_of(slice: &Value) -> Option<&str> {
    slice.get("metadata")?.get("labels")?.get(SERVICE_LABEL)?.as_str()
}

fn pod_of(endpoint: &Value) -> Option<&str> {
    let target = endpoint.get("targetRef")?;
    let is_pod = target.get("kind").and_then(Value::as_str) == Some("Pod");
    target.get("name").and_then(Value::as_str).filter(|_| is_pod)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::needless_pass_by_value, reason = "`json!` makes owned values")]

    use super::*;
    use serde_json::json;

    fn slice(service: &str, endpoints: &[Value]) -> Value {
        json!({"metadata": {"name": format!("{service}-x"),
            "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"port": 80}], "endpoints": endpoints})
    }

    fn endpoint(pod: &str, conditions: Value) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": conditions,
            "targetRef": {"kind": "Pod", "name": pod}})
    }

    fn pods() -> BTreeMap<String, Revision> {
        [("a1", "aaa"), ("a2", "aaa"), ("b1", "bbb")]
            .map(|(pod, revision)| (pod.to_owned(), Revision::from_label(revision)))
            .into()
    }

    fn count(slices: &[Value]) -> ReadyEndpoints {
        ready_endpoints("web", slices, &pods()).unwrap()
    }

    #[test]
    fn ready_endpoints_are_counted_by_revision_and_absent_conditions_mean_ready() {
        let ready = count(&[
            slice("web", &[endpoint("a1", json!({})), endpoint("b1", json!({"ready": true}))]),
            slice("web", &[endpoint("a2", json!({"ready": false})), endpoint("zz", json!({}))]),
            slice("other", &[endpoint("a2", json!({}))]),
        ]);
        let (a, b) = (Revision::from_label("aaa"), Revision::from_label("bbb"));
        assert_eq!((ready.of(&a), ready.of(&b), ready.unattributed), (1, 1, 1));
        assert!(!ready.is_only(&a));
        assert_eq!(ready.total(), 3);
    }

    #[test]
    fn a_terminating_or_not_serving_pod_is_not_ready_even_if_published() {
        // What publishNotReadyAddresses makes of them.
        let ready = count(&[slice(
            "web",
            &[
                endpoint("a1", json!({"ready": true, "serving": false})),
                endpoint("a2", json!({"ready": true, "serving": true, "terminating": true})),
                endpoint("b1", json!({"ready": true, "serving": null, "terminating": false})),
            ],
        )]);
        assert!(ready.is_only(&Revision::from_label("bbb")));
    }

    #[test]
    fn a_pod_in_two_slices_counts_once_and_only_if_ready_in_both() {
        let ready = count(&[
            slice("web", &[endpoint("a1", json!({})), endpoint("b1", json!({}))]),
            slice("web", &[endpoint("a1", json!({})), endpoint("b1", json!({"ready": false}))]),
        ]);
        assert_eq!(ready.of(&Revision::from_label("aaa")), 1);
        assert_eq!(ready.of(&Revision::from_label("bbb")), 0);
    }

    #[test]
    fn a_pod_without_the_services_port_does_not_answer() {
        let mut no_port = slice("web", &[endpoint("a1", json!({}))]);
        no_port["ports"] = json!(null);
        let ready = count(&[no_port]);
        assert_eq!((ready.total(), ready.portless), (0, 1));
    }

    #[test]
    fn a_service_without_slices_has_nothing_ready() {
        let none = count(&[]);
        assert_eq!(none, ReadyEndpoints::default());
        assert!(!none.is_only(&Revision::from_label("aaa")));
    }

    #[test]
    fn a_malformed_slice_is_an_error_that_names_it_and_not_a_count() {
        let bad = slice("web", &[endpoint("a1", json!({"ready": "yes"}))]);
        let error = ready_endpoints("web", &[bad], &pods()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "EndpointSlice `web-x` of Service `web`: endpoints[0].conditions.ready is not a boolean"
        );
        let mut bad = slice("web", &[]);
        bad["endpoints"] = json!({});
        assert!(ready_endpoints("web", &[bad], &pods()).is_err());
    }
}
