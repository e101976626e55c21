//! Measures with a Kubernetes Job: builds it, reads how it ended. The requests themselves go through
//! [`JobPort`], which the Kubernetes edge implements.
//!
//! The Job's name follows from run, metric and ordinal number, so a crash after its creation finds the
//! same Job again. It runs in the namespace of its run and is owned by it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::sample::{DETAIL_LIMIT, MeasureError, MeasurementResult, shortened};
use super::spec::job::Spec;
use crate::api::names::{ApiNames, Kind};

/// Keys of a measurement's metadata, as in Argo Rollouts.
const JOB_NAME_KEY: &str = "job-name";
const JOB_NAMESPACE_KEY: &str = "job-namespace";
/// Longest name of a Job: it becomes a label of its pods.
const MAX_NAME: usize = 63;
/// Time between two looks at a young Job, and at an old one.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(5);
const LOOK_AGAIN_LATER: TimeDelta = TimeDelta::seconds(15);
/// Age from which a Job is old.
const OLD: TimeDelta = TimeDelta::minutes(2);
/// Reasons for which a container waits and will not start without help.
const STUCK_REASONS: &[&str] =
    &["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"];

/// The requests for Jobs.
pub trait JobPort: Send + Sync {
    /// Creates a Job in a namespace and gives it back; gives the existing one when the name is taken.
    fn create(&self, namespace: &str, job: Value) -> BoxFuture<'_, Result<Value, JobPortError>>;
    /// Reads a Job; nothing when there is none.
    fn get(
        &self,
        namespace: &str,
        name: &str,
    ) -> BoxFuture<'_, Result<Option<Value>, JobPortError>>;
    /// Reads the pods of a Job (label `batch.kubernetes.io/job-name`).
    fn pods(&self, namespace: &str, name: &str) -> BoxFuture<'_, Result<Vec<Value>, JobPortError>>;
    /// Deletes a Job with its pods, only if it still has this uid; one that is gone is no error.
    fn delete(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> BoxFuture<'_, Result<(), JobPortError>>;
}

/// Why a request for a Job failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobPortError {
    /// The API server said no.
    #[error("status {status}: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// No answer.
    #[error("{0}")]
    NoAnswer(String),
    /// Jobs are switched off, or the controller has no right to create them.
    #[error("{0}")]
    NotAvailable(String),
}

impl From<JobPortError> for MeasureError {
    fn from(error: JobPortError) -> Self {
        let address = "the Kubernetes API".to_owned();
        match error {
            JobPortError::Refused { status, message } => {
                Self::Rejected { address, status, detail: shortened(&message, DETAIL_LIMIT) }
            }
            JobPortError::NoAnswer(detail) => Self::Unreachable { address, detail },
            JobPortError::NotAvailable(reason) => Self::Unusable(reason),
        }
    }
}

/// The run that a Job belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOwner {
    /// Names of the API group.
    pub names: ApiNames,
    /// Namespace of the run and of its Jobs.
    pub namespace: String,
    /// Name of the run.
    pub run_name: String,
    /// Uid of the run.
    pub run_uid: String,
}

/// One measurement by a Job.
#[derive(Clone, Debug, PartialEq)]
pub struct JobCall {
    /// The run.
    pub owner: JobOwner,
    /// Name of the metric.
    pub metric: String,
    /// Ordinal number of the measurement.
    pub ordinal: u32,
    /// When the measurement was started; the present for a new one.
    pub started_at: DateTime<Utc>,
    /// What to do.
    pub step: JobStep,
}

/// What to do with a Job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobStep {
    /// Create it, or find it again.
    Start(Spec),
    /// Look how it is.
    Resume,
    /// Delete it: its run has ended.
    Cancel,
}

/// Does one step of a measurement by a Job.
pub async fn measure(port: &dyn JobPort, call: &JobCall, now: DateTime<Utc>) -> MeasurementResult {
    match attempt(port, call, now).await {
        Ok(result) => result,
        // A Job that could not be deleted is tried again; it must not be forgotten.
        Err(_) if call.step == JobStep::Cancel => MeasurementResult::InProgress {
            metadata: metadata(call),
            resume_at: now + LOOK_AGAIN_LATER,
        },
        // A request without answer may have been carried out, and a Job that cannot be looked at may
        // still run: look again rather than start another one.
        Err(MeasureError::Unreachable { .. } | MeasureError::TimedOut { .. }) => {
            MeasurementResult::InProgress {
                metadata: metadata(call),
                resume_at: now + LOOK_AGAIN_LATER,
            }
        }
        Err(error) => MeasurementResult::Error(error),
    }
}

async fn attempt(
    port: &dyn JobPort,
    call: &JobCall,
    now: DateTime<Utc>,
) -> Result<MeasurementResult, MeasureError> {
    let namespace = &call.owner.namespace;
    let name = job_name(call);
    let job = match &call.step {
        JobStep::Start(spec) => port.create(namespace, job_object(call, spec)).await?,
        JobStep::Resume | JobStep::Cancel => match port.get(namespace, &name).await? {
            Some(job) => job,
            None if call.step == JobStep::Cancel => return Ok(MeasurementResult::Cancelled),
            None => return Err(MeasureError::NoData(format!("the Job {name:?} is gone"))),
        },
    };
    if owner_uid(&job) != Some(call.owner.run_uid.as_str()) {
        return Err(MeasureError::Unusable(format!("the Job {name:?} belongs to something else")));
    }
    if call.step == JobStep::Cancel {
        let uid = job.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or("");
        port.delete(namespace, &name, uid).await?;
        return Ok(MeasurementResult::Cancelled);
    }
    let metadata = metadata(call);
    match job_end(&job) {
        Some(JobEnd::Complete) => return Ok(MeasurementResult::JobSucceeded { metadata }),
        Some(JobEnd::Failed(message)) => {
            return Ok(MeasurementResult::JobFailed { metadata, message });
        }
        None => {}
    }
    if call.step == JobStep::Resume {
        let pods = port.pods(namespace, &name).await?;
        if let Some(message) = pods.iter().find_map(stuck_container) {
            return Ok(MeasurementResult::JobStuck { metadata, message });
        }
    }
    let is_old = now.signed_duration_since(call.started_at) > OLD;
    let resume_at = now + if is_old { LOOK_AGAIN_LATER } else { LOOK_AGAIN };
    Ok(MeasurementResult::InProgress { metadata, resume_at })
}

fn metadata(call: &JobCall) -> BTreeMap<String, String> {
    [
        (JOB_NAME_KEY.to_owned(), job_name(call)),
        (JOB_NAMESPACE_KEY.to_owned(), call.owner.namespace.clone()),
    ]
    .into()
}

/// Name of the Job: the run's name, shortened, a digest of run and metric, the ordinal number.
pub fn job_name(call: &JobCall) -> String {
    let digest = Sha256::digest(format!("{}/{}", call.owner.run_uid, call.metric));
    let [first, second, third, fourth, fifth, ..] = <[u8; 32]>::from(digest);
    let short = format!("{first:02x}{second:02x}{third:02x}{fourth:02x}{fifth:02x}");
    let tail = format!("-{short}-{}", call.ordinal);
    let head: String =
        call.owner.run_name.chars().take(MAX_NAME.saturating_sub(tail.len())).collect();
    format!("{}{tail}", head.trim_end_matches(['-', '.']))
}

/// The Job as it is created.
pub fn job_object(call: &JobCall, spec: &Spec) -> Value {
    let owner = &call.owner;
    let group = owner.names.group();
    let given = |name: &str| {
        let metadata = spec.metadata.as_ref().and_then(|metadata| metadata.0.get(name));
        metadata.and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let uid_label = format!("analysisrun.{group}/uid");
    let mut labels = given("labels");
    labels.insert(uid_label.clone(), json!(owner.run_uid));
    let mut annotations = given("annotations");
    annotations.insert(format!("analysisrun.{group}/name"), json!(owner.run_name));
    annotations.insert(format!("analysisrun.{group}/metric-name"), json!(call.metric));
    let mut job_spec = spec.spec.0.clone();
    label_pods(&mut job_spec, &uid_label, &owner.run_uid);
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(call),
            "namespace": owner.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [{
                "apiVersion": owner.names.api_version(),
                "kind": Kind::AnalysisRun.as_str(),
                "name": owner.run_name,
                "uid": owner.run_uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": job_spec,
    })
}

fn label_pods(job_spec: &mut Value, key: &str, value: &str) {
    let Some(template) = job_spec.get_mut("template").and_then(Value::as_object_mut) else {
        return;
    };
    let metadata = template.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(key.to_owned(), json!(value));
    }
}

fn owner_uid(job: &Value) -> Option<&str> {
    let owners = job.pointer("/metadata/ownerReferences")?.as_array()?;
    let controller =
        owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    controller.get("uid")?.as_str()
}

enum JobEnd {
    Complete,
    Failed(String),
}

fn job_end(job: &Value) -> Option<JobEnd> {
    let conditions = job.pointer("/status/conditions")?.as_array()?;
    let holds = |condition: &&Value, kind: &str| {
        condition.get("type").and_then(Value::as_str) == Some(kind)
            && condition.get("status").and_then(Value::as_str) == Some("True")
    };
    if let Some(failed) = conditions.iter().find(|condition| holds(condition, "Failed")) {
        let part = |name| failed.get(name).and_then(Value::as_str).unwrap_or("");
        return Some(JobEnd::Failed(format!("{}: {}", part("reason"), part("message"))));
    }
    conditions.iter().find(|condition| holds(condition, "Complete")).map(|_| JobEnd::Complete)
}

fn stuck_container(pod: &Value) -> Option<String> {
    let pod_name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
    ["initContainerStatuses", "containerStatuses"].into_iter().find_map(|list| {
        pod.get("status")?.get(list)?.as_array()?.iter().find_map(|container| {
            let waiting = container.pointer("/state/waiting")?;
            let reason = waiting.get("reason")?.as_str()?;
            let message = waiting.get("message").and_then(Value::as_str).unwrap_or("");
            let name = container.get("name").and_then(Value::as_str).unwrap_or("");
            STUCK_REASONS
                .contains(&reason)
                .then(|| format!("pod {pod_name}, container {name}: {reason}: {message}"))
        })
    })
}
