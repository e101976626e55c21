//! Measurements side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::DateTime;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sluice::api::names::ApiNames;
use sluice::clock::TokioClock;
use sluice::metrics::job::{JobCall, JobOwner, JobPort, JobPortError, JobStep};
use sluice::metrics::spec::{MetricProvider, prometheus};
use sluice::metrics::{
    MeasureCall, MeasureContext, MeasurementKey, MeasurementResult, ResolvedEndpoint, Runner,
    SampleValue,
};

use crate::server::{Reply, Server, endpoint, json as json_reply, transport};

fn context(jobs: Option<Arc<dyn JobPort>>) -> MeasureContext {
    MeasureContext {
        transport: transport(),
        jobs,
        clock: Arc::new(TokioClock::starting_at(
            DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        )),
    }
}

fn key(run: &str, metric: &str) -> MeasurementKey {
    MeasurementKey { run_uid: run.to_owned(), metric: metric.to_owned() }
}

fn query(server: &Server) -> MeasureCall {
    let endpoint = endpoint(json!({"address": server.url}));
    MeasureCall::Prometheus {
        endpoint: Box::new(endpoint),
        spec: prometheus::Spec { query: "up".into(), ..prometheus::Spec::default() },
    }
}

fn scalar() -> Value {
    json!({"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}})
}

#[tokio::test]
async fn a_hanging_server_delays_only_its_own_metrics() {
    let hanging = Server::start(|_| Reply::Hang);
    let healthy = Server::start(|_| json_reply(&scalar()));
    let (runner, mut ready) = Runner::new(context(None));
    for n in 0..100 {
        assert!(runner.start(key("slow", &format!("m{n}")), 1, query(&hanging)));
    }
    for n in 0..40 {
        assert!(runner.start(key("quick", &format!("m{n}")), 1, query(&healthy)));
    }
    for _ in 0..40 {
        assert_eq!(ready.recv().await.unwrap().run_uid, "quick");
    }
    assert_eq!(runner.finished("quick").len(), 40);
    assert!(runner.finished("slow").is_empty() && runner.is_busy(&key("slow", "m0")));
    assert!(hanging.requests().len() <= 16, "one server is asked at most 16 times at once");
    runner.forget_all();
}

#[tokio::test]
async fn nothing_is_measured_twice_until_its_outcome_is_acknowledged() {
    let server = Server::start(|_| json_reply(&scalar()));
    let (runner, mut ready) = Runner::new(context(None));
    assert!(runner.start(key("r", "m"), 1, query(&server)));
    assert!(!runner.start(key("r", "m"), 1, query(&server)), "under way");
    ready.recv().await.unwrap();
    assert!(!runner.start(key("r", "m"), 1, query(&server)), "not acknowledged");
    let outcomes = runner.finished("r");
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].result, MeasurementResult::Sample(SampleValue::Number(1.0).into()));
    assert_eq!(runner.finished("r"), outcomes, "reading does not take it away");
    runner.acknowledge("r", &outcomes);
    assert!(runner.finished("r").is_empty());
    assert!(runner.start(key("r", "m"), 2, query(&server)));
    ready.recv().await.unwrap();
    runner.acknowledge("r", &outcomes);
    assert_eq!(
        runner.finished("r")[0].ordinal,
        2,
        "an old acknowledgement does not take a new outcome"
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_run_that_is_gone_is_forgotten() {
    let hanging = Server::start(|_| Reply::Hang);
    let (runner, _ready) = Runner::new(context(None));
    runner.start(key("gone", "m"), 1, query(&hanging));
    runner.start(key("stays", "m"), 1, query(&hanging));
    runner.forget("gone");
    assert!(!runner.is_busy(&key("gone", "m")) && runner.is_busy(&key("stays", "m")));
    runner.forget_all();
    assert!(!runner.is_busy(&key("stays", "m")));
}

/// Hangs on the first creation and panics on the second.
#[derive(Default)]
struct BadPort(AtomicUsize);

impl JobPort for BadPort {
    fn create(&self, _: &str, _: Value) -> BoxFuture<'_, Result<Value, JobPortError>> {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) == 0, "a bug in a provider");
        std::future::pending().boxed()
    }
    fn get(&self, _: &str, _: &str) -> BoxFuture<'_, Result<Option<Value>, JobPortError>> {
        std::future::pending().boxed()
    }
    fn pods(&self, _: &str, _: &str) -> BoxFuture<'_, Result<Vec<Value>, JobPortError>> {
        std::future::pending().boxed()
    }
    fn delete(&self, _: &str, _: &str, _: &str) -> BoxFuture<'_, Result<(), JobPortError>> {
        std::future::pending().boxed()
    }
}

fn job(metric: &str) -> MeasureCall {
    let spec = serde_json::from_value(json!({"spec": {}})).unwrap();
    MeasureCall::Job(Box::new(JobCall {
        owner: JobOwner {
            names: ApiNames::SLUICE,
            namespace: "n".into(),
            run_name: "r".into(),
            run_uid: "u".into(),
        },
        metric: metric.to_owned(),
        ordinal: 1,
        started_at: DateTime::from_timestamp(0, 0).unwrap(),
        step: JobStep::Start(spec),
    }))
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_or_panics_becomes_an_error_and_frees_its_place() {
    let (runner, mut ready) = Runner::new(context(Some(Arc::new(BadPort::default()))));
    runner.start(key("r", "hangs"), 1, job("hangs"));
    ready.recv().await.unwrap();
    runner.start(key("r", "panics"), 1, job("panics"));
    ready.recv().await.unwrap();
    let kinds: Vec<(String, &str)> = runner
        .finished("r")
        .into_iter()
        .map(|outcome| match outcome.result {
            MeasurementResult::Error(error) => (outcome.metric, error.kind()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [("hangs".to_owned(), "timed_out"), ("panics".to_owned(), "unusable")]);
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_outcome_with_its_reason() {
    let (runner, mut ready) = Runner::new(context(None));
    let provider: MetricProvider =
        serde_json::from_value(json!({"prometheus": {"query": "up"}})).unwrap();
    runner.start(
        key("r", "bad"),
        1,
        MeasureCall::over_http(&provider, ResolvedEndpoint::inline("nonsense")),
    );
    ready.recv().await.unwrap();
    runner.start(key("r", "job"), 1, job("job"));
    ready.recv().await.unwrap();
    let texts: Vec<String> =
        runner.finished("r").iter().map(|o| format!("{:?}", o.result)).collect();
    assert!(
        texts[0].contains("is not a URL") && texts[1].contains("Jobs are switched off"),
        "{texts:?}"
    );
}
