//! The loop over runs on a store of objects with planned faults. Counting is shown with Jobs on
//! paused time; what needs a metrics server talks to one on loopback, with deadlines.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::act::fake_api::{FakeApi, Fault};
use crate::act::leadership::Leadership;
use crate::api::analysis::AnalysisPhase;
use crate::clock::{SeededEntropy, TokioClock};
use crate::metrics::job::{JobPort, JobPortError};
use crate::metrics::{AddressPolicy, MeasureContext, Transport};
use crate::observe::cache::Scope;

const PATH: &str = "/apis/sluice.dev/v1alpha1/namespaces/shop/analysisruns/check";
const STEP: Duration = Duration::from_millis(10);

fn key() -> Key {
    Key::new("shop", "check")
}

/// How the Jobs of the tests behave.
#[derive(Clone, Debug, Default)]
struct Script {
    /// Time that a request takes.
    delay: Duration,
    /// Metrics whose requests take three times as long.
    slow: Vec<String>,
    /// Metrics whose Jobs never end.
    endless: Vec<String>,
    /// Metrics whose Jobs fail.
    failing: Vec<String>,
}

/// Jobs in memory that end at once unless told otherwise.
#[derive(Debug, Default)]
struct Jobs {
    script: Mutex<Script>,
    stored: Mutex<BTreeMap<String, Value>>,
    created: Mutex<Vec<String>>,
    looks: Mutex<u32>,
}

impl Jobs {
    fn created(&self) -> Vec<String> {
        self.created.lock().unwrap().clone()
    }

    fn remaining(&self) -> usize {
        self.stored.lock().unwrap().len()
    }
}

fn metric_of(job: &Value) -> String {
    let annotations = job["metadata"]["annotations"].as_object().unwrap();
    let metric = annotations.iter().find(|(key, _)| key.ends_with("/metric-name")).unwrap().1;
    metric.as_str().unwrap().to_owned()
}

/// The Job as the script has it end.
fn ended(mut job: Value, script: &Script) -> Value {
    let metric = metric_of(&job);
    if !script.endless.contains(&metric) {
        let kind = if script.failing.contains(&metric) { "Failed" } else { "Complete" };
        job["status"] = json!({"conditions": [{"type": kind, "status": "True"}]});
    }
    job
}

impl JobPort for Jobs {
    fn create(&self, _: &str, mut job: Value) -> BoxFuture<'_, Result<Value, JobPortError>> {
        async move {
            let script = self.script.lock().unwrap().clone();
            let times = if script.slow.contains(&metric_of(&job)) { 3 } else { 1 };
            sleep(script.delay * times).await;
            let name = job["metadata"]["name"].as_str().unwrap().to_owned();
            if let Some(existing) = self.stored.lock().unwrap().get(&name) {
                return Ok(ended(existing.clone(), &script));
            }
            job["metadata"]["uid"] = format!("uid-{name}").into();
            self.created.lock().unwrap().push(name.clone());
            self.stored.lock().unwrap().insert(name, job.clone());
            Ok(ended(job, &script))
        }
        .boxed()
    }

    fn get(&self, _: &str, name: &str) -> BoxFuture<'_, Result<Option<Value>, JobPortError>> {
        *self.looks.lock().unwrap() += 1;
        let script = self.script.lock().unwrap().clone();
        let job = self.stored.lock().unwrap().get(name).cloned();
        let job = job.map(|job| ended(job, &script));
        async move { Ok(job) }.boxed()
    }

    fn pods(&self, _: &str, _: &str) -> BoxFuture<'_, Result<Vec<Value>, JobPortError>> {
        async { Ok(vec![]) }.boxed()
    }

    fn delete(&self, _: &str, name: &str, _: &str) -> BoxFuture<'_, Result<(), JobPortError>> {
        self.stored.lock().unwrap().remove(name);
        async { Ok(()) }.boxed()
    }
}

/// A store, Jobs, and at times a loop.
struct World {
    api: FakeApi,
    jobs: Arc<Jobs>,
    clock: TokioClock,
    metrics: Arc<Metrics>,
    names: ApiNames,
}

/// A loop at work; it is one process of the controller.
struct Process {
    caches: Arc<Caches>,
    changes: mpsc::UnboundedSender<Change>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        let origin = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        Self {
            api: FakeApi::default(),
            jobs: Arc::default(),
            clock: TokioClock::starting_at(origin),
            metrics: Arc::default(),
            names: ApiNames::SLUICE,
        }
    }

    /// The run's path.
    fn path(&self) -> String {
        PATH.replace("sluice.dev", self.names.group())
    }

    fn script(&self, script: Script) {
        *self.jobs.script.lock().unwrap() = script;
    }

    /// Starts a process that sees what is stored.
    fn process(&self, term: u32) -> Process {
        self.process_with(term, true)
    }

    fn process_with(&self, term: u32, has_jobs: bool) -> Process {
        let stop = CancellationToken::new();
        let ended = CancellationToken::new();
        ended.cancel();
        let names = self.names;
        let entropy = Arc::new(SeededEntropy::new(1));
        let (caches, _) = Caches::start(&self.api.client(), names, Scope::Cluster, entropy, ended);
        let caches = Arc::new(caches);
        if let Some(run) = self.api.get(&self.path()) {
            caches.runs.note(run);
        }
        let clock = self.clock;
        let policy = AddressPolicy { allow_private: true, ..AddressPolicy::default() };
        let jobs: Arc<dyn JobPort> = self.jobs.clone();
        let (runner, mut outcomes) = Runner::new(MeasureContext {
            transport: Transport::new(policy),
            jobs: has_jobs.then_some(jobs),
            clock: Arc::new(clock),
        });
        let wire = Wire::new(self.api.client());
        let leadership = Leadership::unelected(term);
        let runs = Arc::new(AnalysisRuns::new(Equipment {
            writer: Writer::new(wire.clone(), leadership, names.epoch_annotation()),
            wire,
            caches: caches.clone(),
            names,
            own_namespace: "sluice".to_owned(),
            runner,
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(7)),
            metrics: self.metrics.clone(),
        }));
        let (changes, mut receiver) = mpsc::unbounded_channel();
        let token = stop.clone();
        let task = tokio::spawn(async move {
            runs.run(&mut receiver, &mut outcomes, &token).await;
        });
        Process { caches, changes, stop, task }
    }

    fn create(&self, spec: &Value) {
        let mut run = run(spec);
        run["apiVersion"] = json!(self.names.api_version());
        self.api.put(&self.path(), run);
    }

    /// Changes the run as a user does; the watch tells the process.
    fn edit(&self, process: &Process, change: &Value) {
        let mut object = self.api.get(&self.path()).unwrap();
        json_patch::merge(&mut object, change);
        let object = self.api.put(&self.path(), object);
        process.caches.runs.note(object.clone());
        process.tell(object);
    }

    fn status(&self) -> AnalysisRunStatus {
        self.api.get(&self.path()).map(|run| read_status(&run).unwrap()).unwrap_or_default()
    }

    fn metric(&self, name: &str) -> crate::api::analysis::MetricResult {
        let status = self.status();
        status.metric_results.into_iter().find(|result| result.name == name).unwrap_or_default()
    }

    /// Waits for a condition on the status.
    async fn until(&self, what: &str, holds: impl Fn(&AnalysisRunStatus) -> bool) {
        let wait = async {
            while !holds(&self.status()) {
                sleep(STEP).await;
            }
        };
        let is_met = timeout(Duration::from_mins(20), wait).await.is_ok();
        assert!(is_met, "never {what}: {:#?}", self.status());
    }

    async fn until_ended(&self) -> AnalysisRunStatus {
        self.until("ended", |status| status.phase.is_completed()).await;
        // What follows from the end, such as the Event, is under way.
        sleep(Duration::from_secs(1)).await;
        self.status()
    }

    fn status_writes(&self) -> usize {
        self.api.writes().iter().filter(|(_, path, _)| path.ends_with("/status")).count()
    }

    fn events(&self) -> Vec<Value> {
        let writes = self.api.writes().into_iter();
        writes.filter(|(_, path, _)| path.ends_with("/events")).map(|(_, _, body)| body).collect()
    }
}

impl Process {
    fn tell(&self, object: Value) {
        let plural = "analysisruns".to_owned();
        let object = Arc::new(object);
        let change = Change { plural, key: key(), object, is_new: false, is_echo: false };
        self.changes.send(change).unwrap();
    }

    /// The process ends between two requests.
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// The process ends wherever it is.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn run(spec: &Value) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": "check", "namespace": "shop", "ownerReferences": [{
            "kind": "Rollout", "name": "web", "uid": "uid-web", "controller": true}]},
        "spec": spec,
    })
}

fn job_metric(name: &str, more: &Value) -> Value {
    let mut metric = json!({"name": name, "provider": {"job": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "probe", "image": "probe"}]}}}}}});
    json_patch::merge(&mut metric, more);
    metric
}

fn query(name: &str, more: &Value) -> Value {
    let mut metric = json!({"name": name, "successCondition": "result[0] < 5",
        "provider": {"prometheus": {"query": "up", "source": {"name": "prom"}}}});
    json_patch::merge(&mut metric, more);
    metric
}

fn ordinals(created: &[String]) -> Vec<&str> {
    created.iter().map(|name| name.rsplit('-').next().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn counts_survive_a_kill_at_any_moment() {
    // From before the first write to after the last one, in steps that meet every state.
    for killed_after in (0..4200).step_by(35) {
        let world = World::new();
        world.script(Script { delay: Duration::from_millis(50), ..Script::default() });
        world
            .create(&json!({"metrics": [job_metric("m", &json!({"interval": "1s", "count": 4}))]}));
        let first = world.process(1);
        sleep(Duration::from_millis(killed_after)).await;
        first.kill().await;
        let _second = world.process(2);
        let status = world.until_ended().await;
        let metric = world.metric("m");
        assert_eq!(status.phase, AnalysisPhase::Successful);
        assert_eq!((metric.count, metric.successful, metric.error), (4, 4, 0), "{killed_after}");
        assert_eq!(ordinals(&world.jobs.created()), ["1", "2", "3", "4"], "{killed_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_argo_rollouts_is_written_without_a_status_subresource() {
    let world = World { names: ApiNames::ARGO, ..World::new() };
    world.create(&json!({"metrics": [job_metric("m", &json!({"interval": "5s", "count": 2}))]}));
    let _process = world.process(1);
    let status = world.until_ended().await;
    assert_eq!(status.phase, AnalysisPhase::Successful);
    assert_eq!(world.metric("m").successful, 2);
    assert_eq!(world.status_writes(), 0);
    let run = world.api.get(&world.path()).unwrap();
    // Written with the object, so that the epoch can ride along.
    assert_eq!(run["metadata"]["annotations"][world.names.epoch_annotation()], "1");
}

#[tokio::test(start_paused = true)]
async fn a_status_write_without_answer_counts_once_whether_it_landed_or_not() {
    let faults = [
        Fault::LostReply,
        Fault::LostRequest,
        Fault::DoneBut(504),
        Fault::LandsLater(Duration::from_secs(12)),
        Fault::Garbage("<html>"),
    ];
    for (fault, position) in faults.iter().flat_map(|fault| (0..4).map(move |at| (fault, at))) {
        let world = World::new();
        let spec = json!({"interval": "5s", "count": 3, "failureLimit": 3});
        world.create(&json!({"metrics": [job_metric("m", &spec)]}));
        world.api.plan((0..position).map(|_| None).chain([Some(fault.clone())]));
        let process = world.process(1);
        let status = world.until_ended().await;
        let metric = world.metric("m");
        assert_eq!(status.phase, AnalysisPhase::Successful, "{fault:?} {position}");
        assert_eq!((metric.count, metric.successful), (3, 3), "{fault:?} {position}");
        assert_eq!(ordinals(&world.jobs.created()), ["1", "2", "3"], "{fault:?} {position}");
        sleep(Duration::from_mins(1)).await;
        assert_eq!(world.status(), status, "nothing lands after the end");
        assert_eq!(world.events().len(), 1, "{fault:?} {position}");
        process.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_conflicts_converges() {
    let world = World::new();
    world.create(&json!({"metrics": [job_metric("m", &json!({"interval": "5s", "count": 2}))]}));
    let conflict = json!({"kind": "Status", "reason": "Conflict", "code": 409});
    world.api.plan((0..200).map(|_| Some(Fault::Answer(409, conflict.clone()))));
    let _process = world.process(1);
    let status = world.until_ended().await;
    assert_eq!(status.phase, AnalysisPhase::Successful);
    assert_eq!(world.metric("m").count, 2);
    assert_eq!(ordinals(&world.jobs.created()), ["1", "2"]);
    // Pauses grow, so a storm of a few seconds costs far fewer writes than it could.
    assert_eq!(world.status_writes(), 203);
}

#[tokio::test(start_paused = true)]
async fn other_writers_of_the_run_are_neither_lost_nor_counted_over() {
    let world = World::new();
    world.create(&json!({"metrics": [job_metric("m", &json!({"interval": "1s", "count": 20}))]}));
    let process = world.process(1);
    let mut edits = 0;
    while !world.status().phase.is_completed() {
        // Not told to the cache: the process learns of it by a conflict only.
        let mut object = world.api.get(PATH).unwrap();
        edits += 1;
        object["metadata"]["labels"] = json!({"edits": edits.to_string()});
        world.api.put(PATH, object);
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!((world.metric("m").count, world.metric("m").successful), (20, 20));
    assert_eq!(world.jobs.created().len(), 20);
    let label = world.api.get(PATH).unwrap()["metadata"]["labels"]["edits"].clone();
    assert_eq!(label, edits.to_string());
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_status_backs_off_and_nothing_is_measured_meanwhile() {
    let world = World::new();
    world.create(&json!({"metrics": [job_metric("m", &json!({}))]}));
    let no = json!({"kind": "Status", "reason": "Forbidden", "message": "quota"});
    world.api.plan((0..1000).map(|_| Some(Fault::Answer(403, no.clone()))));
    let _process = world.process(1);
    sleep(Duration::from_mins(10)).await;
    assert!(world.status_writes() < 25, "{}", world.status_writes());
    assert_eq!(world.jobs.created(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_round_of_several_metrics_is_one_write() {
    let world = World::new();
    let (delay, slow) = (Duration::from_millis(50), vec!["b".to_owned()]);
    world.script(Script { delay, slow, ..Script::default() });
    let spec = json!({"interval": "10s", "count": 3});
    let metrics: Vec<Value> = ["a", "b", "c"].map(|name| job_metric(name, &spec)).into();
    world.create(&json!({"metrics": metrics}));
    let _process = world.process(1);
    let status = world.until_ended().await;
    assert_eq!(status.run_summary.successful, 3);
    // The start, and one for each of the three rounds.
    assert_eq!(world.status_writes(), 4);
    assert_eq!(world.events().len(), 1);
    assert_eq!(world.api.writes().len(), 5, "status and one Event: nothing else is written");
    assert_eq!(world.api.reads(), [""; 0], "guarded writes prove that nothing was newer");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_a_job_runs_and_nothing_changes() {
    let world = World::new();
    world.script(Script { endless: vec!["m".into()], ..Script::default() });
    world.create(&json!({"metrics": [job_metric("m", &json!({}))]}));
    let _process = world.process(1);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.status_writes(), 2, "the start, and the Job that runs");
    let looks = *world.jobs.looks.lock().unwrap();
    sleep(Duration::from_mins(10)).await;
    assert_eq!(world.status_writes(), 2);
    let more = *world.jobs.looks.lock().unwrap() - looks;
    assert!((38..=70).contains(&more), "a look every 15 s, after 2 min of every 5 s: {more}");
    world.script(Script::default());
    let status = world.until_ended().await;
    assert_eq!(status.phase, AnalysisPhase::Successful);
    assert_eq!(world.status_writes(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_terminated_run_ends_and_its_job_is_deleted() {
    let world = World::new();
    world.script(Script { endless: vec!["slow".into()], ..Script::default() });
    let forever = job_metric("forever", &json!({"interval": "5s"}));
    world.create(&json!({"metrics": [forever, job_metric("slow", &json!({}))]}));
    let process = world.process(1);
    world.until("measured", |_| world.metric("forever").count >= 3).await;
    world.until("running", |_| !world.metric("slow").measurements.is_empty()).await;
    world.edit(&process, &json!({"spec": {"terminate": true}}));
    let status = world.until_ended().await;
    assert!(status.terminated && status.message == "Run Terminated", "{status:?}");
    let ended = |status: &AnalysisRunStatus| {
        let mut all = status.metric_results.iter().flat_map(|result| &result.measurements);
        all.all(|measurement| measurement.finished_at.is_some())
    };
    world.until("the Job is gone", ended).await;
    let created = world.jobs.created();
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.jobs.created(), created, "no further measurement");
    let slow = &world.metric("slow").measurements[0].metadata["job-name"];
    assert!(created.contains(slow) && !world.jobs.stored.lock().unwrap().contains_key(slow));
    assert_eq!(world.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_created_while_its_run_ends_is_deleted_too() {
    let world = World::new();
    let endless = vec!["slow".into()];
    world.script(Script { delay: Duration::from_secs(3), endless, ..Script::default() });
    world.create(&json!({"metrics": [job_metric("slow", &json!({}))]}));
    let process = world.process(1);
    world.until("started", |status| status.started_at.is_some()).await;
    sleep(Duration::from_secs(1)).await;
    world.edit(&process, &json!({"spec": {"terminate": true}}));
    world.until_ended().await;
    assert_eq!(world.jobs.created(), [""; 0], "it is still being created");
    sleep(Duration::from_millis(1500)).await;
    assert_eq!((world.jobs.created().len(), world.jobs.remaining()), (1, 1));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.jobs.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_metric_ends_the_run_with_one_warning() {
    let world = World::new();
    world.script(Script { failing: vec!["bad".into()], ..Script::default() });
    let metrics = [job_metric("good", &json!({"interval": "1m"})), job_metric("bad", &json!({}))];
    world.create(&json!({"metrics": metrics}));
    let _process = world.process(1);
    let status = world.until_ended().await;
    assert_eq!(status.phase, AnalysisPhase::Failed);
    let events = world.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["reason"], "AnalysisRunFailed");
    assert_eq!(events[0]["type"], "Warning");
    assert_eq!(events[0]["involvedObject"]["name"], "check");
    let metrics = world.metrics.render(world.clock.now());
    let line = r#"sluice_analysis_measurements_total{provider="job",result="Failed"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    // A run at rest costs nothing, whatever wakes it.
    let writes = world.api.writes().len();
    sleep(Duration::from_hours(2)).await;
    assert_eq!(world.api.writes().len(), writes);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_run_names_every_problem_once() {
    let world = World::new();
    let metrics = [
        json!({"name": "a", "provider": {"datadog": {"query": "x"}}}),
        query("b", &json!({"successCondition": "now() > 0", "interval": "x"})),
    ];
    world.create(&json!({"metrics": metrics}));
    let _process = world.process(1);
    let status = world.until_ended().await;
    assert_eq!(status.phase, AnalysisPhase::Error);
    for part in ["metrics[0].provider", "metrics[1].successCondition", "metrics[1].interval"] {
        assert!(status.message.contains(part), "{part}: {}", status.message);
    }
    assert_eq!((world.status_writes(), world.events().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_malformed_spec_is_an_invalid_run_and_a_malformed_status_stands_still() {
    let world = World::new();
    world.create(&json!({"metrics": "none"}));
    let process = world.process(1);
    let status = world.until_ended().await;
    assert!(status.message.contains("metrics is malformed"), "{}", status.message);
    process.stop().await;

    let world = World::new();
    let mut object = run(&json!({"metrics": [job_metric("m", &json!({}))]}));
    object["status"] = json!({"phase": "Splendid"});
    world.api.put(PATH, object);
    let process = world.process(1);
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.api.writes().len(), 0);
    world.edit(&process, &json!({"status": null}));
    assert_eq!(world.until_ended().await.phase, AnalysisPhase::Successful);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_run_is_left_alone_and_a_namesake_starts_anew() {
    let world = World::new();
    world.create(&json!({"metrics": [job_metric("m", &json!({"interval": "1s"}))]}));
    let process = world.process(1);
    world.until("measured", |_| world.metric("m").count >= 2).await;
    world.edit(&process, &json!({"metadata": {"deletionTimestamp": "2023-11-14T22:13:20Z"}}));
    sleep(Duration::from_secs(1)).await;
    let (writes, created) = (world.api.writes().len(), world.jobs.created().len());
    sleep(Duration::from_mins(5)).await;
    assert_eq!((world.api.writes().len(), world.jobs.created().len()), (writes, created));
    world.api.remove(PATH);
    let namesake = world.api.put(PATH, run(&json!({"metrics": [job_metric("m", &json!({}))]})));
    process.caches.runs.note(namesake.clone());
    process.tell(namesake);
    let status = world.until_ended().await;
    assert_eq!((status.phase, world.metric("m").count), (AnalysisPhase::Successful, 1));
}

#[tokio::test(start_paused = true)]
async fn a_finished_run_is_deleted_after_its_time_unless_a_rollout_keeps_it() {
    let strategies = [
        (json!({"secondsAfterSuccess": 100, "secondsAfterCompletion": 5}), vec![]),
        (json!({"secondsAfterFailure": 100, "secondsAfterSuccess": 5}), vec!["m".to_owned()]),
        (json!({"secondsAfterCompletion": 100, "secondsAfterSuccess": 5}), vec!["m".to_owned()]),
        (
            json!({"secondsAfterCompletion": 10_000, "secondsAfterFailure": 100}),
            vec!["m".to_owned()],
        ),
    ];
    for (strategy, failing) in strategies {
        for is_owned in [false, true] {
            let world = World::new();
            world.script(Script { failing: failing.clone(), ..Script::default() });
            let spec = json!({"metrics": [job_metric("m", &json!({}))], "ttlStrategy": strategy});
            let mut object = run(&spec);
            if !is_owned {
                object["metadata"]["ownerReferences"] = json!([]);
            }
            world.api.put(PATH, object);
            let process = world.process(1);
            world.until_ended().await;
            sleep(Duration::from_secs(95)).await;
            assert!(world.api.get(PATH).is_some(), "{strategy}");
            sleep(Duration::from_secs(10)).await;
            assert_eq!(world.api.get(PATH).is_some(), is_owned, "{strategy}");
            process.stop().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_holds_the_run_and_is_named() {
    let world = World::new();
    world.create(&json!({"metrics": [query("m", &json!({"interval": "5s", "count": 3}))]}));
    let process = world.process(1);
    let says = async |parts: &[&str]| {
        let all = |_: &AnalysisRunStatus| {
            let message = world.metric("m").message;
            parts.iter().all(|part| message.contains(part))
        };
        world.until(&format!("said {parts:?}"), all).await;
        assert_eq!(world.status().phase, AnalysisPhase::Running);
        assert_eq!((world.metric("m").count, world.metric("m").failed), (0, 0));
    };
    says(&["MetricsSource \"prom\"", "does not exist", "\"shop\""]).await;
    let source = json!({"spec": {"address": "http://127.0.0.1:9",
        "credentials": {"bearer": {"tokenRef": {"name": "prom-token", "key": "token"}}}}});
    world.api.put(&source_path("shop", "prom"), source);
    says(&["Secret \"prom-token\"", "key \"token\"", "missing"]).await;
    world.api.put(&secret_path("shop", "prom-token"), json!({"data": {"other": "eA=="}}));
    says(&["Secret \"prom-token\"", "key \"token\"", "missing"]).await;
    // Half an hour later it still holds.
    sleep(Duration::from_mins(30)).await;
    assert_eq!(world.status().phase, AnalysisPhase::Running);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_that_are_switched_off_are_refused_by_name() {
    let world = World::new();
    world.create(&json!({"metrics": [job_metric("m", &json!({}))]}));
    let _process = world.process_with(1, false);
    world.until("refused", |_| world.metric("m").message.contains("switched off")).await;
    assert_eq!(world.status().phase, AnalysisPhase::Running);
    assert_eq!(world.jobs.created(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_run_is_not_measured_on_the_strength_of_an_old_cache() {
    let world = World::new();
    world.create(&json!({"metrics": [job_metric("m", &json!({"interval": "5m", "count": 3}))]}));
    let _process = world.process(1);
    world.until("measured", |_| world.metric("m").count == 1).await;
    world.api.fail_reads(true);
    sleep(Duration::from_mins(12)).await;
    assert_eq!(world.jobs.created().len(), 1);
    world.api.fail_reads(false);
    world.until_ended().await;
    assert_eq!(world.metric("m").count, 3);
}

fn source_path(namespace: &str, name: &str) -> String {
    format!("/apis/sluice.dev/v1alpha1/namespaces/{namespace}/metricssources/{name}")
}

fn secret_path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

/// A Prometheus on loopback: it answers with what `answer` makes of the request's head, or never.
async fn prometheus(
    answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = vec![0; 16 * 1024];
                while let Ok(length @ 1..) = stream.read(&mut head).await {
                    let text = String::from_utf8_lossy(&head[..length]).into_owned();
                    let Some((code, body)) = answer(&text) else {
                        std::future::pending::<()>().await;
                        return;
                    };
                    let reply = format!(
                        "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\n\
                         content-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(reply.as_bytes()).await;
                }
            });
        }
    });
    (address, task)
}

fn vector(value: &str) -> String {
    json!({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": {}, "value": [1_700_000_000, value]}]}})
    .to_string()
}

#[tokio::test]
async fn a_hanging_prometheus_delays_only_its_own_metric() {
    let world = World::new();
    let (hanging, _task) = prometheus(|_| None).await;
    let (quick, _task) = prometheus(|_| Some((200, vector("3")))).await;
    world.api.put(&source_path("shop", "prom"), json!({"spec": {"address": hanging}}));
    world.api.put(&source_path("shop", "quick"), json!({"spec": {"address": quick}}));
    let source = json!({"provider": {"prometheus": {"source": {"name": "quick"}}}});
    let mut good = query("good", &json!({"interval": "1s", "count": 2}));
    json_patch::merge(&mut good, &source);
    let job = job_metric("job", &json!({"interval": "1s", "count": 2}));
    world.create(&json!({"metrics": [query("stuck", &json!({})), good, job]}));
    let process = world.process(1);
    let both = |_: &AnalysisRunStatus| {
        ["good", "job"].iter().all(|name| world.metric(name).phase == AnalysisPhase::Successful)
    };
    timeout(Duration::from_secs(25), world.until("both are done", both)).await.unwrap();
    assert_eq!(world.status().phase, AnalysisPhase::Running);
    assert!(world.metric("stuck").measurements.is_empty(), "its limit of 30 s is not over");
    let metrics = world.metrics.render(world.clock.now());
    let line = r#"sluice_analysis_value{namespace="shop",rollout="web",metric="good"} 3.0"#;
    assert!(metrics.contains(line), "{metrics}");
    // The end of the run does not wait for it either.
    world.edit(&process, &json!({"spec": {"terminate": true}}));
    timeout(Duration::from_secs(10), world.until("ended", |s| s.phase.is_completed()))
        .await
        .unwrap();
    process.stop().await;
}

/// Lines that were logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_is_sent_to_its_server_and_appears_nowhere_else() {
    const CANARY: &str = "c4nary-7f3a9b";
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let seen = Arc::new(Mutex::new(0));
    let seen_by_server = seen.clone();
    let (address, _task) = prometheus(move |head| {
        let mut seen = seen_by_server.lock().unwrap();
        if !head.contains(&format!("Bearer {CANARY}")) {
            return Some((400, "no token".to_owned()));
        }
        *seen += 1;
        // First it refuses and repeats what it got, as proxies do.
        Some(if *seen == 1 { (401, head.to_owned()) } else { (200, vector("9")) })
    })
    .await;
    let source = json!({"spec": {"address": address,
        "credentials": {"bearer": {"tokenRef": {"name": "prom-token", "key": "token"}}}}});
    world.api.put(&source_path("shop", "prom"), source);
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, CANARY);
    world.api.put(&secret_path("shop", "prom-token"), json!({"data": {"token": data}}));
    world.create(&json!({"metrics": [query("m", &json!({"interval": "1s", "count": 1}))]}));
    let process = world.process(1);
    timeout(Duration::from_secs(25), world.until("ended", |s| s.phase.is_completed()))
        .await
        .unwrap();
    process.stop().await;
    assert_eq!((world.metric("m").error, world.metric("m").failed), (1, 1));
    assert!(*seen.lock().unwrap() >= 2, "the server got it");
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("not measured"), "the log is being read: {logged}");
    let written: String = world.api.writes().iter().map(|(_, _, body)| body.to_string()).collect();
    assert!(written.contains("401"), "{written}");
    let metrics = world.metrics.render(world.clock.now());
    for (what, text) in [("log", &logged), ("writes", &written), ("metrics", &metrics)] {
        for secret in [CANARY, &data] {
            assert!(!text.contains(secret), "the {what} holds the secret: {text}");
        }
    }
}
