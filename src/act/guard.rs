//! The only door through which this program writes to the cluster.
//!
//! Every write to an existing object carries the uid and resourceVersion that its decision was made
//! on, and the epoch of the leader that sends it. Nothing is ever retried here: whoever gets
//! anything but `Applied` forgets what it read, reads again and decides again. Nothing is written
//! without a valid leadership. Server-side apply is not offered: with a resourceVersion on an absent
//! object it creates the object anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;
use json_patch::PatchOperation;
use serde_json::{Value, json};

use crate::act::leadership::{Epoch, Leadership, LossReason};
use crate::act::outcome::{outcome_of, refused_here};
use crate::act::patch::{guarded_json_patch, guarded_merge_patch};
use crate::act::wire::{Doubt, Part, Reply, Target, Wire};

pub use crate::act::outcome::WriteOutcome;
pub use crate::act::patch::merge_difference;
pub use crate::act::write_log::{NoLog, Stage, Verb, WriteLog, WriteRecord};

const JSON: &str = "application/json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What was read of an object, and must still be true when a write to it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// `metadata.uid`: the object is the same and not one of its name.
    pub uid: String,
    /// `metadata.resourceVersion`: nobody wrote it since.
    pub resource_version: String,
    /// Epoch in its annotation; none if absent, unreadable or forged.
    pub epoch: Option<Epoch>,
    /// Whether it has an annotation map that a JSON patch can add to.
    pub has_annotations: bool,
}

/// An object without uid or resourceVersion, which no server has ever stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object has no metadata.{0}: only objects read from the API server can be changed")]
pub struct Unguarded(&'static str);

impl Guard {
    /// The guard for changing `object` as it was read; `epoch_key` is the annotation.
    ///
    /// # Errors
    /// [`Unguarded`] for an object that did not come from an API server.
    pub fn of(object: &Value, epoch_key: &str) -> Result<Self, Unguarded> {
        let text = |field: &'static str| {
            let value = object.get("metadata").and_then(|metadata| metadata.get(field));
            let text = value.and_then(Value::as_str).filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or(Unguarded(field))
        };
        Ok(Self {
            uid: text("uid")?,
            resource_version: text("resourceVersion")?,
            epoch: Epoch::read(object, epoch_key),
            has_annotations: object.pointer("/metadata/annotations").is_some_and(Value::is_object),
        })
    }
}

/// How dependents of a deleted object are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// The garbage collector removes them afterwards.
    Background,
    /// They stay.
    Orphan,
}

/// Writes to the cluster under one leadership.
#[derive(Clone, Debug)]
pub struct Writer {
    wire: Wire,
    leadership: Leadership,
    epoch_key: &'static str,
    log: Arc<dyn WriteLog>,
    sequence: Arc<AtomicU64>,
}

/// A write that is ready to be sent.
struct Write<'a> {
    verb: Verb,
    target: &'a Target,
    guard: Option<&'a Guard>,
    method: Method,
    part: Part,
    content_type: &'static str,
    body: Value,
    /// Epoch that this write puts on the object.
    stamp: Option<Epoch>,
}

impl Writer {
    /// Writes through `wire` under `leadership`, with the epoch in the annotation `epoch_key`.
    pub fn new(wire: Wire, leadership: Leadership, epoch_key: &'static str) -> Self {
        Self { wire, leadership, epoch_key, log: Arc::new(NoLog), sequence: Arc::default() }
    }

    /// The same with a log of all writes.
    #[must_use]
    pub fn with_log(self, log: Arc<dyn WriteLog>) -> Self {
        Self { log, ..self }
    }

    /// The leadership under which this writes.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    /// The guard for changing `object` as it was read.
    ///
    /// # Errors
    /// [`Unguarded`] for an object that did not come from an API server.
    pub fn guard(&self, object: &Value) -> Result<Guard, Unguarded> {
        Guard::of(object, self.epoch_key)
    }

    /// Whether the object must be [taken over](Self::take_over) before anything is decided from it:
    /// it carries an older epoch, or a write to it has an unknown result.
    pub fn needs_take_over(&self, target: &Target, guard: &Guard) -> bool {
        guard.epoch.is_none_or(|epoch| epoch < self.leadership.required_epoch(target))
    }

    /// Puts the present epoch on an object and nothing else. That moves its resourceVersion, so that
    /// no write that was on its way before can land after it.
    pub async fn take_over(&self, target: &Target, guard: &Guard) -> WriteOutcome {
        self.json_patch(target, guard, &[]).await
    }

    /// Creates an object, with our epoch in its annotations.
    pub async fn create(&self, target: &Target, mut object: Value) -> WriteOutcome {
        let epoch = self.leadership.epoch();
        let stamp = json!({"metadata": {
            "annotations": { self.epoch_key: epoch.to_string() },
            "uid": null, "resourceVersion": null,
        }});
        json_patch::merge(&mut object, &stamp);
        self.run(Write {
            verb: Verb::Create,
            target,
            guard: None,
            method: Method::POST,
            part: Part::Collection,
            content_type: JSON,
            body: object,
            stamp: Some(epoch),
        })
        .await
    }

    /// Changes single fields. Uid, resourceVersion and the caller's own `test` operations are
    /// checked by the server in the same transaction; the epoch rides along.
    pub async fn json_patch(
        &self,
        target: &Target,
        guard: &Guard,
        operations: &[PatchOperation],
    ) -> WriteOutcome {
        let stamp = self.stamp(target, guard);
        let text = stamp.map(|epoch| epoch.to_string());
        let stamp_parts = text.as_deref().map(|text| (self.epoch_key, text));
        self.run(Write {
            verb: Verb::Patch,
            target,
            guard: Some(guard),
            method: Method::PATCH,
            part: Part::Object,
            content_type: JSON_PATCH,
            body: guarded_json_patch(guard, operations, stamp_parts),
            stamp,
        })
        .await
    }

    /// Changes `before`, as it was read, to `after` by the fewest operations.
    ///
    /// Identity and version are those of `before`; what `after` says about them is ignored. An
    /// object that needs nothing is not written, and counts as applied.
    pub async fn edit(&self, target: &Target, before: &Value, after: &Value) -> WriteOutcome {
        let guard = match self.guard(before) {
            Ok(guard) => guard,
            Err(error) => return refused_here("Unguarded", &error.to_string()),
        };
        let mut after = after.clone();
        for field in ["uid", "resourceVersion", "generation", "managedFields"] {
            let kept = before.pointer(&format!("/metadata/{field}")).cloned();
            let metadata = after.get_mut("metadata").and_then(Value::as_object_mut);
            match (metadata, kept) {
                (Some(metadata), Some(kept)) => {
                    metadata.insert(field.to_owned(), kept);
                }
                (Some(metadata), None) => {
                    metadata.remove(field);
                }
                (None, _) => return refused_here("NoMetadata", "the new object has no metadata"),
            }
        }
        let difference = json_patch::diff(before, &after);
        if difference.0.is_empty() {
            return WriteOutcome::Applied(before.clone());
        }
        self.json_patch(target, &guard, &difference.0).await
    }

    /// Merges `patch` into an object; lists are replaced as a whole.
    pub async fn merge_patch(&self, target: &Target, guard: &Guard, patch: Value) -> WriteOutcome {
        let stamp = self.stamp(target, guard);
        let text = stamp.map(|epoch| epoch.to_string());
        let stamp_parts = text.as_deref().map(|text| (self.epoch_key, text));
        self.run(Write {
            verb: Verb::Patch,
            target,
            guard: Some(guard),
            method: Method::PATCH,
            part: Part::Object,
            content_type: MERGE_PATCH,
            body: guarded_merge_patch(guard, patch, stamp_parts),
            stamp,
        })
        .await
    }

    /// Merges `change` into the status and leaves every status field alone that it does not name;
    /// see [`merge_difference`]. The status subresource ignores annotations, so no epoch rides along.
    pub async fn patch_status(
        &self,
        target: &Target,
        guard: &Guard,
        change: &Value,
    ) -> WriteOutcome {
        self.run(Write {
            verb: Verb::PatchStatus,
            target,
            guard: Some(guard),
            method: Method::PATCH,
            part: Part::Sub("status"),
            content_type: MERGE_PATCH,
            body: guarded_merge_patch(guard, json!({ "status": change }), None),
            stamp: None,
        })
        .await
    }

    /// Deletes an object, if it is still the one that was read.
    pub async fn delete(
        &self,
        target: &Target,
        guard: &Guard,
        dependents: Dependents,
    ) -> WriteOutcome {
        let policy = match dependents {
            Dependents::Background => "Background",
            Dependents::Orphan => "Orphan",
        };
        let body = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": preconditions(guard), "propagationPolicy": policy,
        });
        self.run(Write {
            verb: Verb::Delete,
            target,
            guard: Some(guard),
            method: Method::DELETE,
            part: Part::Object,
            content_type: JSON,
            body,
            stamp: None,
        })
        .await
    }

    /// Evicts a pod. A disruption budget that forbids it is `Rejected` with reason
    /// `DisruptionBudget`.
    ///
    /// The body is made here, because kube's own spells `deleteOptions` so that the server does not
    /// see the preconditions.
    pub async fn evict(&self, target: &Target, guard: &Guard) -> WriteOutcome {
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": target.name, "namespace": target.namespace },
            "deleteOptions": {
                "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions(guard),
            },
        });
        self.run(Write {
            verb: Verb::Evict,
            target,
            guard: Some(guard),
            method: Method::POST,
            part: Part::Sub("eviction"),
            content_type: JSON,
            body,
            stamp: None,
        })
        .await
    }

    /// Creates a Kubernetes Event. It is news and not state: its outcome casts no doubt on anything.
    pub async fn create_event(&self, target: &Target, event: Value) -> WriteOutcome {
        self.run(Write {
            verb: Verb::Event,
            target,
            guard: None,
            method: Method::POST,
            part: Part::Collection,
            content_type: JSON,
            body: event,
            stamp: None,
        })
        .await
    }

    /// The epoch to put on an object with this write: none if it stands there already.
    fn stamp(&self, target: &Target, guard: &Guard) -> Option<Epoch> {
        let own_term = guard.epoch.is_some_and(|epoch| epoch.term == self.leadership.term());
        let stands = own_term && !self.needs_take_over(target, guard);
        (!stands).then(|| self.leadership.epoch())
    }

    async fn run(&self, write: Write<'_>) -> WriteOutcome {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let record = |stage| WriteRecord {
            sequence,
            stage,
            verb: write.verb,
            target: write.target,
            guard: write.guard,
            epoch: self.leadership.epoch(),
            body: &write.body,
        };
        if let Err(reason) = self.may_write(write.guard).await {
            let outcome = WriteOutcome::NotLeading(reason);
            self.log.record(&record(Stage::Ended(&outcome)));
            return outcome;
        }
        self.log.record(&record(Stage::Sending));
        let outcome = self.send(&write).await;
        self.log.record(&record(Stage::Ended(&outcome)));
        outcome
    }

    /// A leadership that is valid, and not older than what the object carries.
    async fn may_write(&self, guard: Option<&Guard>) -> Result<(), LossReason> {
        self.leadership.check()?;
        match guard.and_then(|guard| guard.epoch) {
            Some(seen) if seen.term > self.leadership.term() => self.leadership.confirm(seen).await,
            Some(_) | None => Ok(()),
        }
    }

    async fn send(&self, write: &Write<'_>) -> WriteOutcome {
        let path = match write.target.path(write.part) {
            Ok(path) => path,
            Err(error) => return refused_here("BadName", &error.to_string()),
        };
        let ended = self.leadership.ended();
        let request =
            self.wire.exchange(write.method.clone(), path, write.content_type, Some(&write.body));
        let reply = tokio::select! {
            biased;
            () = ended.cancelled() => Reply::Unknown(Doubt::Abandoned),
            reply = request => reply,
        };
        let outcome = outcome_of(write.verb, write.content_type, reply);
        self.keep_account(write, &outcome);
        outcome
    }

    /// Doubts the object after an unknown result, and trusts it again once it carries a newer epoch
    /// or is gone.
    fn keep_account(&self, write: &Write<'_>, outcome: &WriteOutcome) {
        let gone = match outcome {
            WriteOutcome::Applied(_) => write.verb == Verb::Delete,
            WriteOutcome::NotFound => write.guard.is_some(),
            WriteOutcome::Ambiguous(_) if write.verb != Verb::Event => {
                return self.leadership.doubt(write.target);
            }
            WriteOutcome::Ambiguous(_)
            | WriteOutcome::Conflict
            | WriteOutcome::AlreadyExists
            | WriteOutcome::Rejected { .. }
            | WriteOutcome::Forbidden { .. }
            | WriteOutcome::Throttled { .. }
            | WriteOutcome::NotSent { .. }
            | WriteOutcome::NotLeading(_) => return,
        };
        if gone {
            self.leadership.settle(write.target, self.leadership.epoch());
        } else if let Some(epoch) = write.stamp {
            self.leadership.settle(write.target, epoch);
        }
    }
}

fn preconditions(guard: &Guard) -> Value {
    json!({ "uid": guard.uid, "resourceVersion": guard.resource_version })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use kube::core::{ApiResource, GroupVersionKind};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;
    use crate::act::fake_api::{FakeApi, Fault};

    const EPOCH: &str = "sluice.dev/epoch";
    const PATH: &str = "/api/v1/namespaces/shop/services/web";

    fn web() -> Target {
        let gvk = GroupVersionKind::gvk("", "v1", "Service");
        Target::namespaced(&ApiResource::from_gvk_with_plural(&gvk, "services"), "shop", "web")
    }

    fn service() -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"selector": {"app": "web"}}})
    }

    fn writer(api: &FakeApi, term: u32) -> Writer {
        Writer::new(Wire::new(api.client()), Leadership::unelected(term), EPOCH)
    }

    fn replace(path: &str, value: &str) -> Vec<PatchOperation> {
        let operations = json!([{"op": "replace", "path": path, "value": value}]);
        serde_json::from_value::<json_patch::Patch>(operations).unwrap().0
    }

    #[derive(Debug, Default)]
    struct Lines(Mutex<Vec<String>>);

    impl WriteLog for Lines {
        fn record(&self, record: &WriteRecord<'_>) {
            let stage = match record.stage {
                Stage::Sending => "sending".to_owned(),
                Stage::Ended(outcome) => outcome.label().to_owned(),
            };
            let line = format!("{} {:?} {} {stage}", record.sequence, record.verb, record.epoch);
            self.0.lock().unwrap().push(line);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_lands_only_on_the_version_that_was_read() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let writer = writer(&api, 3);
        let guard = writer.guard(&read).unwrap();
        let change = replace("/spec/selector/app", "new");
        api.put(PATH, read.clone());
        assert_eq!(writer.json_patch(&web(), &guard, &change).await, WriteOutcome::Conflict);
        let guard = writer.guard(&api.get(PATH).unwrap()).unwrap();
        let outcome = writer.json_patch(&web(), &guard, &change).await;
        let stored = outcome.applied().unwrap();
        assert_eq!(stored["spec"]["selector"]["app"], "new");
        assert_eq!(stored["metadata"]["annotations"][EPOCH], "3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_namesake_of_the_object_is_never_changed_or_deleted() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let writer = writer(&api, 3);
        let mut guard = writer.guard(&read).unwrap();
        api.remove(PATH);
        let namesake = api.put(PATH, service());
        guard.resource_version = namesake["metadata"]["resourceVersion"].as_str().unwrap().into();
        let patch = json!({"spec": null});
        let target = web();
        for outcome in [
            writer.json_patch(&target, &guard, &replace("/spec/selector/app", "x")).await,
            writer.merge_patch(&target, &guard, patch).await,
            writer.patch_status(&target, &guard, &json!({"phase": "x"})).await,
            writer.delete(&target, &guard, Dependents::Orphan).await,
            writer.evict(&target, &guard).await,
        ] {
            assert_eq!(outcome, WriteOutcome::Conflict);
        }
        assert_eq!(api.get(PATH), Some(namesake));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_brings_a_deleted_object_back() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let writer = writer(&api, 3);
        let guard = writer.guard(&read).unwrap();
        api.remove(PATH);
        let target = web();
        let mut after = read.clone();
        after["spec"]["selector"]["app"] = "new".into();
        for outcome in [
            writer.edit(&target, &read, &after).await,
            writer.json_patch(&target, &guard, &[]).await,
            writer.merge_patch(&target, &guard, json!({})).await,
            writer.patch_status(&target, &guard, &json!({"phase": "x"})).await,
            writer.delete(&target, &guard, Dependents::Background).await,
        ] {
            assert_eq!(outcome, WriteOutcome::NotFound);
        }
        assert_eq!(api.get(PATH), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_sends_only_what_differs_and_nothing_when_nothing_does() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let writer = writer(&api, 3);
        let mut after = read.clone();
        after["spec"]["selector"]["app"] = "new".into();
        after["metadata"]["resourceVersion"] = "stale".into();
        let outcome = writer.edit(&web(), &read, &after).await;
        assert_eq!(outcome.applied().unwrap()["spec"]["selector"]["app"], "new");
        let (_, _, body) = api.writes().pop().unwrap();
        let operations: Vec<String> = body
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{} {}", one["op"].as_str().unwrap(), one["path"].as_str().unwrap()))
            .collect();
        assert_eq!(
            operations,
            [
                "test /metadata/uid",
                "test /metadata/resourceVersion",
                "add /metadata/annotations",
                "replace /spec/selector/app",
            ]
        );
        let stored = api.get(PATH).unwrap();
        let sent = api.writes().len();
        assert_eq!(writer.edit(&web(), &stored, &stored).await, WriteOutcome::Applied(stored));
        assert_eq!(api.writes().len(), sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_creation_meets_an_existing_object_and_leaves_it_alone() {
        let api = FakeApi::default();
        let writer = writer(&api, 3);
        let created = writer.create(&web(), service()).await;
        assert_eq!(created.applied().unwrap()["metadata"]["annotations"][EPOCH], "3");
        assert_eq!(writer.create(&web(), service()).await, WriteOutcome::AlreadyExists);
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_patch_leaves_fields_of_newer_versions_alone() {
        let api = FakeApi::default();
        let mut object = service();
        object["status"] = json!({"phase": "Progressing", "fromTheFuture": 1});
        let read = api.put(PATH, object);
        let writer = writer(&api, 3);
        let guard = writer.guard(&read).unwrap();
        let change =
            merge_difference(&json!({"phase": "Progressing"}), &json!({"phase": "Healthy"}));
        writer.patch_status(&web(), &guard, &change.unwrap()).await;
        let status = json!({"phase": "Healthy", "fromTheFuture": 1});
        assert_eq!(api.get(PATH).unwrap()["status"], status);
        let again = writer.patch_status(&web(), &guard, &json!({"phase": "Paused"})).await;
        assert_eq!(again, WriteOutcome::Conflict, "the version has moved on");
    }

    /// The hole that a resourceVersion alone leaves open: the object looks as wanted, nobody writes
    /// it, and then the write of the dead process lands.
    #[tokio::test(start_paused = true)]
    async fn a_write_in_flight_cannot_land_after_the_object_was_taken_over() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let old = writer(&api, 3);
        let guard = old.guard(&read).unwrap();
        api.plan([Some(Fault::LandsLater(Duration::from_secs(20)))]);
        let change = replace("/spec/selector/app", "late");
        let outcome = old.json_patch(&web(), &guard, &change).await;
        assert!(matches!(outcome, WriteOutcome::Ambiguous(Doubt::Timeout(_))), "{outcome}");

        let new = writer(&api, 4);
        let guard = new.guard(&api.get(PATH).unwrap()).unwrap();
        assert!(new.needs_take_over(&web(), &guard));
        let taken = new.take_over(&web(), &guard).await;
        let guard = new.guard(taken.applied().unwrap()).unwrap();
        assert!(!new.needs_take_over(&web(), &guard));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(api.get(PATH).unwrap()["spec"]["selector"]["app"], "web");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_unknown_result_the_same_process_takes_the_object_over_again() {
        let api = FakeApi::default();
        let writer = writer(&api, 3);
        let guard = writer.guard(&api.put(PATH, service())).unwrap();
        let taken = writer.take_over(&web(), &guard).await;
        let guard = writer.guard(taken.applied().unwrap()).unwrap();
        for fault in [
            Fault::LostRequest,
            Fault::DoneBut(504),
            Fault::Answer(503, json!({})),
            Fault::Garbage("<html>"),
        ] {
            api.plan([Some(fault)]);
            let status = json!({"phase": "x"});
            let outcome = writer.patch_status(&web(), &guard, &status).await;
            assert!(matches!(outcome, WriteOutcome::Ambiguous(_)), "{outcome}");
            assert!(writer.needs_take_over(&web(), &guard));
        }
        let guard = writer.guard(&api.get(PATH).unwrap()).unwrap();
        assert!(writer.needs_take_over(&web(), &guard));
        let taken = writer.take_over(&web(), &guard).await;
        let guard = writer.guard(taken.applied().unwrap()).unwrap();
        assert_eq!(guard.epoch.unwrap().to_string(), "3.4");
        assert!(!writer.needs_take_over(&web(), &guard));
    }

    #[tokio::test(start_paused = true)]
    async fn definite_refusals_cast_no_doubt() {
        let api = FakeApi::default();
        let writer = writer(&api, 3);
        let guard = writer.guard(&api.put(PATH, service())).unwrap();
        let invalid = json!({"kind": "Status", "reason": "Invalid", "message": "spec: no",
            "details": {"causes": [{"field": "spec", "reason": "FieldValueInvalid"}]}});
        let forbidden = json!({"kind": "Status", "reason": "Forbidden", "message": "quota"});
        let budget = json!({"kind": "Status", "reason": "TooManyRequests", "message": "budget",
            "details": {"causes": [{"reason": "DisruptionBudget"}]}});
        api.plan([
            Some(Fault::Answer(422, invalid)),
            Some(Fault::Answer(403, forbidden)),
            Some(Fault::Throttle(7)),
            Some(Fault::Answer(429, budget)),
        ]);
        let target = web();
        let change = replace("/spec/selector/app", "x");
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(writer.json_patch(&target, &guard, &change).await);
        }
        seen.push(writer.evict(&target, &guard).await);
        let pause = Duration::from_secs(7);
        assert!(
            matches!(&seen[0], WriteOutcome::Rejected { code: 422, message, .. } if message == "spec: no")
        );
        assert!(matches!(&seen[1], WriteOutcome::Forbidden { code: 403, .. }));
        assert_eq!(seen[2], WriteOutcome::Throttled { retry_after: pause });
        assert!(
            matches!(&seen[3], WriteOutcome::Rejected { reason, .. } if reason == "DisruptionBudget")
        );
        assert_eq!(writer.leadership().epoch(), Epoch::of_term(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_leadership_writes_nothing_and_abandons_what_is_under_way() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let writer = writer(&api, 3);
        let guard = writer.guard(&read).unwrap();
        api.plan([Some(Fault::LostRequest)]);
        let (target, change) = (web(), replace("/spec/selector/app", "x"));
        let (outcome, ()) = tokio::join!(writer.json_patch(&target, &guard, &change), async {
            tokio::task::yield_now().await;
            writer.leadership().lose(LossReason::Shutdown);
        });
        assert_eq!(outcome, WriteOutcome::Ambiguous(Doubt::Abandoned));
        let sent = api.writes().len();
        let refused = WriteOutcome::NotLeading(LossReason::Shutdown);
        assert_eq!(writer.json_patch(&target, &guard, &change).await, refused);
        assert_eq!(writer.create(&target, service()).await, refused);
        assert_eq!(writer.create_event(&target, json!({})).await, refused);
        assert_eq!(api.writes().len(), sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_epoch_on_the_object_stops_the_older_leader() {
        let api = FakeApi::default();
        let read = api.put(PATH, service());
        let (old, new) = (writer(&api, 3), writer(&api, 4));
        new.take_over(&web(), &new.guard(&read).unwrap()).await;
        let guard = old.guard(&api.get(PATH).unwrap()).unwrap();
        let outcome = old.json_patch(&web(), &guard, &replace("/spec/selector/app", "x")).await;
        let reason = LossReason::NewerEpoch { epoch: Epoch::of_term(4) };
        assert_eq!(outcome, WriteOutcome::NotLeading(reason));
        assert!(old.leadership().ended().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_forged_epoch_is_overwritten_once_the_lease_has_confirmed_the_leader() {
        let api = FakeApi::default();
        let mut object = service();
        object["metadata"]["annotations"] = json!({ EPOCH: "1999" });
        let read = api.put(PATH, object);
        let (elector, mut questions) = mpsc::channel(1);
        let leadership = Leadership::elected(3, Instant::now() + Duration::from_mins(1), elector);
        let writer = Writer::new(Wire::new(api.client()), leadership, EPOCH);
        let guard = writer.guard(&read).unwrap();
        let (target, change) = (web(), replace("/spec/selector/app", "x"));
        let (outcome, ()) = tokio::join!(writer.json_patch(&target, &guard, &change), async {
            questions.recv().await.unwrap().send(true).unwrap();
        });
        assert_eq!(outcome.applied().unwrap()["metadata"]["annotations"][EPOCH], "3");
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_sees_every_write_before_and_after() {
        let api = FakeApi::default();
        let log = Arc::new(Lines::default());
        let writer = writer(&api, 3).with_log(Arc::clone(&log) as Arc<dyn WriteLog>);
        let created = writer.create(&web(), service()).await;
        let guard = writer.guard(created.applied().unwrap()).unwrap();
        writer.delete(&web(), &guard, Dependents::Background).await;
        writer.leadership().lose(LossReason::Shutdown);
        writer.delete(&web(), &guard, Dependents::Background).await;
        assert_eq!(
            *log.0.lock().unwrap(),
            [
                "0 Create 3 sending",
                "0 Create 3 Applied",
                "1 Delete 3 sending",
                "1 Delete 3 Applied",
                "2 Delete 3 NotLeading",
            ]
        );
    }

    #[test]
    fn an_object_that_was_never_stored_cannot_be_changed() {
        assert_eq!(Guard::of(&service(), EPOCH), Err(Unguarded("uid")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_elsewhere_is_refused_before_it_is_sent() {
        let api = FakeApi::default();
        let writer = writer(&api, 3);
        let guard = writer.guard(&api.put(PATH, service())).unwrap();
        let mut target = web();
        target.name = "web/../../secrets/x".to_owned();
        let outcome = writer.delete(&target, &guard, Dependents::Orphan).await;
        assert!(matches!(outcome, WriteOutcome::Rejected { code: 0, .. }), "{outcome}");
        assert!(api.writes().is_empty());
    }
}
