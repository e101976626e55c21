//! Measurements by Jobs, over an API server that is a map.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sluice::api::names::ApiNames;
use sluice::metrics::MeasurementResult;
use sluice::metrics::job::{
    JobCall, JobOwner, JobPort, JobPortError, JobStep, job_name, job_object, measure,
};
use sluice::metrics::spec::job::Spec;

/// An API server for Jobs.
#[derive(Default)]
pub(crate) struct Jobs {
    by_name: Mutex<BTreeMap<String, Value>>,
    pods: Mutex<Vec<Value>>,
    failure: Mutex<Option<JobPortError>>,
    deleted: Mutex<Vec<String>>,
}

impl Jobs {
    fn failing(&self) -> Result<(), JobPortError> {
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl JobPort for Jobs {
    fn create(&self, _: &str, mut job: Value) -> BoxFuture<'_, Result<Value, JobPortError>> {
        async move {
            self.failing()?;
            let name = job["metadata"]["name"].as_str().unwrap().to_owned();
            job["metadata"]["uid"] = json!(format!("uid-of-{name}"));
            Ok(self.by_name.lock().unwrap().entry(name).or_insert(job).clone())
        }
        .boxed()
    }

    fn get(&self, _: &str, name: &str) -> BoxFuture<'_, Result<Option<Value>, JobPortError>> {
        let name = name.to_owned();
        async move {
            self.failing()?;
            Ok(self.by_name.lock().unwrap().get(&name).cloned())
        }
        .boxed()
    }

    fn pods(&self, _: &str, _: &str) -> BoxFuture<'_, Result<Vec<Value>, JobPortError>> {
        async move { Ok(self.pods.lock().unwrap().clone()) }.boxed()
    }

    fn delete(&self, _: &str, name: &str, uid: &str) -> BoxFuture<'_, Result<(), JobPortError>> {
        let (name, uid) = (name.to_owned(), uid.to_owned());
        async move {
            self.failing()?;
            assert_eq!(uid, format!("uid-of-{name}"));
            self.by_name.lock().unwrap().remove(&name);
            self.deleted.lock().unwrap().push(name);
            Ok(())
        }
        .boxed()
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn spec() -> Spec {
    serde_json::from_value(json!({
        "metadata": {"labels": {"team": "shop"}},
        "spec": {"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }))
    .unwrap()
}

fn call(step: JobStep) -> JobCall {
    JobCall {
        owner: JobOwner {
            names: ApiNames::SLUICE,
            namespace: "shop".into(),
            run_name: "shop-7d9f-2-canary".into(),
            run_uid: "0f1e2d3c".into(),
        },
        metric: "Smoke_Test".into(),
        ordinal: 1,
        started_at: now(),
        step,
    }
}

fn end(jobs: &Jobs, condition: Value) {
    for job in jobs.by_name.lock().unwrap().values_mut() {
        job["status"] = json!({"conditions": [condition]});
    }
}

#[test]
fn a_job_is_owned_by_its_run_and_named_after_it() {
    let job = job_object(&call(JobStep::Start(spec())), &spec());
    insta::assert_yaml_snapshot!(job);
    let name = job["metadata"]["name"].as_str().unwrap();
    assert!(name.len() <= 63 && !name.contains('_') && name.starts_with("shop-7d9f-2-canary-"));
    let mut long = call(JobStep::Resume);
    long.owner.run_name = "r".repeat(250);
    long.ordinal = 123_456;
    assert_eq!(job_name(&long).len(), 63);
    let mut other = call(JobStep::Resume);
    other.metric = "smoke_test".into();
    assert_ne!(job_name(&other), job_name(&call(JobStep::Resume)), "names differ as metrics do");
}

#[tokio::test]
async fn a_job_that_was_created_before_a_crash_is_found_again() {
    let jobs = Jobs::default();
    for _ in 0..2 {
        let result = measure(&jobs, &call(JobStep::Start(spec())), now()).await;
        assert!(matches!(result, MeasurementResult::InProgress { .. }), "{result:?}");
    }
    assert_eq!(jobs.by_name.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn how_a_job_ends_decides() {
    let jobs = Jobs::default();
    measure(&jobs, &call(JobStep::Start(spec())), now()).await;
    assert!(matches!(
        measure(&jobs, &call(JobStep::Resume), now()).await,
        MeasurementResult::InProgress { .. }
    ));
    end(&jobs, json!({"type": "Complete", "status": "False"}));
    assert!(matches!(
        measure(&jobs, &call(JobStep::Resume), now()).await,
        MeasurementResult::InProgress { .. }
    ));
    end(&jobs, json!({"type": "Complete", "status": "True"}));
    assert!(matches!(
        measure(&jobs, &call(JobStep::Resume), now()).await,
        MeasurementResult::JobSucceeded { .. }
    ));
    end(
        &jobs,
        json!({"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "2 pods failed"}),
    );
    let MeasurementResult::JobFailed { message, metadata } =
        measure(&jobs, &call(JobStep::Resume), now()).await
    else {
        panic!()
    };
    assert_eq!(message, "BackoffLimitExceeded: 2 pods failed");
    assert_eq!(metadata["job-name"], job_name(&call(JobStep::Resume)));
}

#[tokio::test]
async fn r4602_an_image_that_cannot_be_pulled_is_reported() {
    let jobs = Jobs::default();
    measure(&jobs, &call(JobStep::Start(spec())), now()).await;
    jobs.pods.lock().unwrap().push(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [
        {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]}}));
    let MeasurementResult::JobStuck { message, .. } =
        measure(&jobs, &call(JobStep::Resume), now()).await
    else {
        panic!()
    };
    assert_eq!(message, "pod p, container c: ImagePullBackOff: not found");
}

#[tokio::test]
async fn a_job_of_something_else_is_neither_taken_nor_deleted() {
    let jobs = Jobs::default();
    let mut stranger = call(JobStep::Start(spec()));
    measure(&jobs, &stranger, now()).await;
    for job in jobs.by_name.lock().unwrap().values_mut() {
        job["metadata"]["ownerReferences"][0]["uid"] = json!("stranger");
    }
    let result = measure(&jobs, &stranger, now()).await;
    assert!(
        matches!(&result, MeasurementResult::Error(error) if error.to_string().contains("belongs to something else"))
    );
    stranger.step = JobStep::Cancel;
    measure(&jobs, &stranger, now()).await;
    assert!(jobs.deleted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_api_server_without_answer_leaves_the_job_in_progress() {
    let jobs = Jobs::default();
    *jobs.failure.lock().unwrap() = Some(JobPortError::NoAnswer("timeout".into()));
    for step in [JobStep::Start(spec()), JobStep::Resume, JobStep::Cancel] {
        let result = measure(&jobs, &call(step), now()).await;
        assert!(matches!(result, MeasurementResult::InProgress { .. }), "{result:?}");
    }
    *jobs.failure.lock().unwrap() =
        Some(JobPortError::Refused { status: 403, message: "jobs is forbidden".into() });
    let result = measure(&jobs, &call(JobStep::Start(spec())), now()).await;
    assert!(
        matches!(&result, MeasurementResult::Error(error) if error.kind() == "rejected"),
        "{result:?}"
    );
    *jobs.failure.lock().unwrap() = None;
    let result = measure(&jobs, &call(JobStep::Resume), now()).await;
    assert!(
        matches!(&result, MeasurementResult::Error(error) if error.to_string().contains("is gone")),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_cancelled_job_is_deleted_by_its_uid() {
    let jobs = Jobs::default();
    measure(&jobs, &call(JobStep::Start(spec())), now()).await;
    for _ in 0..2 {
        assert_eq!(
            measure(&jobs, &call(JobStep::Cancel), now()).await,
            MeasurementResult::Cancelled
        );
    }
    assert_eq!(jobs.deleted.lock().unwrap().len(), 1);
}
