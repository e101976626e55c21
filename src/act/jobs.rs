//! The Jobs of measurements: created, read and deleted through the same guarded door as everything
//! else. What a Job contains and what its end means is decided elsewhere.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kube::core::ApiResource;
use serde_json::Value;

use super::guard::{Dependents, WriteOutcome, Writer};
use super::wire::{Read, ReadFailure, Target, Wire};
use crate::metrics::job::{JobPort, JobPortError};
use crate::observe::caches::{builtin, pods};

/// Pods of a Job that are looked at: enough to see one that is stuck.
const MOST_PODS: u32 = 20;

/// Requests for Jobs to the cluster.
#[derive(Clone, Debug)]
pub struct Jobs {
    writer: Writer,
    wire: Wire,
}

/// The kind.
pub fn jobs() -> ApiResource {
    builtin("batch", "v1", "Job", "jobs")
}

impl Jobs {
    /// Jobs written by `writer` and read through `wire`.
    pub fn new(writer: Writer, wire: Wire) -> Self {
        Self { writer, wire }
    }

    async fn made(&self, namespace: &str, job: Value) -> Result<Value, JobPortError> {
        let name = job.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let target = Target::namespaced(&jobs(), namespace, name);
        match self.writer.create(&target, job).await {
            WriteOutcome::Applied(job) => Ok(job),
            // It was made before a crash, or by a request whose answer was lost.
            WriteOutcome::AlreadyExists => match self.wire.get(&target).await {
                Read::Found(job) => Ok(job),
                Read::Absent => Err(JobPortError::NoAnswer("the Job is being deleted".to_owned())),
                Read::Failed(failure) => Err(read_failed(failure)),
            },
            outcome => Err(write_failed(&outcome)),
        }
    }

    async fn found(&self, namespace: &str, name: &str) -> Result<Option<Value>, JobPortError> {
        match self.wire.get(&Target::namespaced(&jobs(), namespace, name)).await {
            Read::Found(job) => Ok(Some(job)),
            Read::Absent => Ok(None),
            Read::Failed(failure) => Err(read_failed(failure)),
        }
    }

    async fn pods_of(&self, namespace: &str, name: &str) -> Result<Vec<Value>, JobPortError> {
        let label = ("batch.kubernetes.io/job-name", name);
        self.wire.labelled(&pods(), namespace, label, MOST_PODS).await.map_err(read_failed)
    }

    async fn removed(&self, namespace: &str, name: &str, uid: &str) -> Result<(), JobPortError> {
        let Some(job) = self.found(namespace, name).await? else { return Ok(()) };
        let guard = self.writer.guard(&job);
        let guard = guard.map_err(|error| JobPortError::NoAnswer(error.to_string()))?;
        if guard.uid != uid {
            return Ok(());
        }
        let target = Target::namespaced(&jobs(), namespace, name);
        match self.writer.delete(&target, &guard, Dependents::Background).await {
            WriteOutcome::Applied(_) | WriteOutcome::NotFound => Ok(()),
            outcome => Err(write_failed(&outcome)),
        }
    }
}

fn read_failed(failure: ReadFailure) -> JobPortError {
    match failure {
        ReadFailure::Refused { code, message, .. } => {
            JobPortError::Refused { status: code, message }
        }
        ReadFailure::Unreachable(message) => JobPortError::NoAnswer(message),
    }
}

/// Only what may have been carried out counts as "no answer": everything else had no effect.
fn write_failed(outcome: &WriteOutcome) -> JobPortError {
    match outcome {
        WriteOutcome::Rejected { code, message, .. }
        | WriteOutcome::Forbidden { code, message } => {
            JobPortError::Refused { status: *code, message: message.clone() }
        }
        WriteOutcome::Throttled { .. } => {
            JobPortError::Refused { status: 429, message: outcome.to_string() }
        }
        WriteOutcome::NotSent { .. } | WriteOutcome::NotFound | WriteOutcome::NotLeading(_) => {
            JobPortError::NotAvailable(outcome.to_string())
        }
        WriteOutcome::Ambiguous(_)
        | WriteOutcome::Conflict
        | WriteOutcome::AlreadyExists
        | WriteOutcome::Applied(_) => JobPortError::NoAnswer(outcome.to_string()),
    }
}

impl JobPort for Jobs {
    fn create(&self, namespace: &str, job: Value) -> BoxFuture<'_, Result<Value, JobPortError>> {
        let namespace = namespace.to_owned();
        async move { self.made(&namespace, job).await }.boxed()
    }

    fn get(
        &self,
        namespace: &str,
        name: &str,
    ) -> BoxFuture<'_, Result<Option<Value>, JobPortError>> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        async move { self.found(&namespace, &name).await }.boxed()
    }

    fn pods(&self, namespace: &str, name: &str) -> BoxFuture<'_, Result<Vec<Value>, JobPortError>> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        async move { self.pods_of(&namespace, &name).await }.boxed()
    }

    fn delete(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> BoxFuture<'_, Result<(), JobPortError>> {
        let (namespace, name, uid) = (namespace.to_owned(), name.to_owned(), uid.to_owned());
        async move { self.removed(&namespace, &name, &uid).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::act::fake_api::{FakeApi, Fault};
    use crate::act::leadership::Leadership;

    const PATH: &str = "/apis/batch/v1/namespaces/shop/jobs/probe";

    fn port(api: &FakeApi) -> Jobs {
        let wire = Wire::new(api.client());
        Jobs::new(Writer::new(wire.clone(), Leadership::unelected(1), "sluice.dev/epoch"), wire)
    }

    fn job() -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"}})
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_exists_is_found_again_instead_of_made_twice() {
        let api = FakeApi::default();
        let port = port(&api);
        api.plan([Some(Fault::LostReply)]);
        let lost = port.create("shop", job()).await;
        assert!(matches!(lost, Err(JobPortError::NoAnswer(_))), "{lost:?}");
        let again = port.create("shop", job()).await.unwrap();
        assert_eq!(again["metadata"]["uid"], api.get(PATH).unwrap()["metadata"]["uid"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_job_is_no_doubt() {
        let api = FakeApi::default();
        let message = json!({"kind": "Status", "reason": "Forbidden", "message": "no right"});
        api.plan([Some(Fault::Answer(403, message))]);
        let refused = port(&api).create("shop", job()).await;
        let expected = JobPortError::Refused { status: 403, message: "no right".to_owned() };
        assert_eq!(refused, Err(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_very_job_is_deleted() {
        let api = FakeApi::default();
        let port = port(&api);
        let stored = port.create("shop", job()).await.unwrap();
        port.delete("shop", "probe", "another uid").await.unwrap();
        assert!(api.get(PATH).is_some());
        port.delete("shop", "probe", stored["metadata"]["uid"].as_str().unwrap()).await.unwrap();
        assert_eq!(port.get("shop", "probe").await, Ok(None));
        assert_eq!(port.delete("shop", "probe", "x").await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_pods_of_a_job_are_listed() {
        let api = FakeApi::default();
        api.put("/api/v1/namespaces/shop/pods", json!({"items": [{"metadata": {"name": "p"}}]}));
        let pods = port(&api).pods("shop", "probe").await.unwrap();
        assert_eq!(pods[0]["metadata"]["name"], "p");
    }
}
