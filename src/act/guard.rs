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
use crate::mutants::{Mutant, mutant};

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
        let is_behind = |epoch| epoch < self.leadership.required_epoch(target);
        !mutant(Mutant::NoTakeOver) && guard.epoch.is_none_or(is_behind)
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
        let body = |stamp: Option<(&str, &str)>| guarded_json_patch(guard, operations, stamp);
        self.patch(target, guard, JSON_PATCH, body).await
    }

    /// Sends a patch, with our epoch unless it stands there already.
    async fn patch(
        &self,
        target: &Target,
        guard: &Guard,
        content_type: &'static str,
        body: impl FnOnce(Option<(&str, &str)>) -> Value,
    ) -> WriteOutcome {
        let stamp = self.stamp(target, guard);
        let text = stamp.map(|epoch| epoch.to_string());
        let body = body(text.as_deref().map(|text| (self.epoch_key, text)));
        self.run(Write {
            verb: Verb::Patch,
            target,
            guard: Some(guard),
            method: Method::PATCH,
            part: Part::Object,
            content_type,
            body,
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
        let body = |stamp: Option<(&str, &str)>| guarded_merge_patch(guard, patch, stamp);
        self.patch(target, guard, MERGE_PATCH, body).await
    }

    /// Sets one annotation of an object that is not ours and writes nothing else to it: no epoch,
    /// because nothing is decided from what stands there, and a late one says the same.
    pub async fn annotate(
        &self,
        target: &Target,
        guard: &Guard,
        (key, value): (&str, &str),
    ) -> WriteOutcome {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.run(Write {
            verb: Verb::Annotate,
            target,
            guard: Some(guard),
            method: Method::PATCH,
            part: Part::Object,
            content_type: MERGE_PATCH,
            body: guarded_merge_patch(guard, patch, None),
            stamp: None,
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
            body: if mutant(Mutant::UnguardedStatus) {
                json!({ "status": change })
            } else {
                guarded_merge_patch(guard, json!({ "status": change }), None)
            },
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
            Some(_) if mutant(Mutant::LeaseNeverExpires) => Ok(()),
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
            WriteOutcome::Ambiguous(_) if !matches!(write.verb, Verb::Event | Verb::Annotate) => {
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
mod tests;
