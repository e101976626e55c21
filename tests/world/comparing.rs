//! Releases that are compared with stable: a small regression is reverted, a shared outage is not, and a
//! service with little traffic is neither reverted nor promoted blindly.

use std::time::Duration;

use crate::scene::{NAMESPACE, Scene};
use serde_json::{Value, json};
use sluice::sim::api::KindName;
use sluice::sim::world::{Target, TargetKind, Users};

const BACKENDS: &[(&str, u32)] = &[("web-stable", 100), ("web-canary", 0)];
const RUNS: KindName = KindName::of("sluice.dev", "analysisruns");

/// The short form, beside three steps with pauses.
fn compared(steps: &str) -> String {
    format!(
        "    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {{gatewayAPI: {{httpRoute: web}}}}
      analysis:
        source: {{name: prometheus}}
        interval: 15s
        lag: 5s
        noDataAfter: 2m
        metrics:
        - errors: {{counter: 'http_requests_total{{namespace=\"shop\"}}', bad: 'code=~\"5..\"'}}
        - latency: {{histogram: 'http_request_duration_seconds{{namespace=\"shop\"}}'}}
      steps:
{steps}"
    )
}

const STEPS: &str = "      - setWeight: 5
      - pause: {duration: 5m}
      - setWeight: 50
      - pause: {duration: 5m}
";

fn crowd(scene: &Scene, per_second: f64) {
    let target = Target::new(TargetKind::HttpRoute, NAMESPACE, "web");
    scene.world.set_users("people", Some(Users { target, per_second }));
}

/// Stable has half a percent of errors, for long enough that its pods can be told from bursts.
async fn begin(seed: u64, steps: &str, bad: Value) -> Scene {
    let scene = Scene::begin(seed, &compared(steps), BACKENDS).await;
    let usual = json!({"errorRate": 0.005});
    let versions = json!({":v1": usual, ":v2": usual, ":bad": bad});
    scene.world.behave(json!({"versions": versions})).unwrap();
    scene.world.wait(Duration::from_mins(5)).await;
    scene
}

/// The run of the update that is under way, or was.
fn run(scene: &Scene) -> Value {
    let runs = scene.world.cluster().list(&RUNS, NAMESPACE);
    runs.last().map(|run| Value::clone(run)).unwrap_or_default()
}

fn message(scene: &Scene) -> String {
    scene.rollout()["status"]["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn three_percent_of_errors_at_five_percent_of_the_traffic_are_reverted() {
    let scene = begin(11, STEPS, json!({"errorRate": 0.03})).await;
    scene.push("v1", "bad");
    scene.until("aborted", 330, |scene| scene.rollout()["status"]["abort"] == true).await;
    assert!(message(&scene).contains("errors FAIL after"), "{}", message(&scene));
    assert!(message(&scene).contains("fewer than 1 of 100"), "{}", message(&scene));
    let is_back = |scene: &Scene| scene.image().ends_with(":v1") && scene.phase() == "Healthy";
    scene.until("Healthy on v1 by a revert in Git", 120, is_back).await;
    assert_eq!(scene.canary_weights(), [0, 5, 0], "it never left its first step");
    let run = run(&scene);
    assert_eq!(run["status"]["phase"], "Failed", "{run:#}");
    assert_eq!(run["status"]["comparison"]["verdict"], "Fail", "{run:#}");
    let text = run["status"].to_string();
    assert!(text.len() < 20_000, "its status stays small: {} bytes", text.len());
    scene.report(&message(&scene));
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_both_versions_share_reverts_nothing() {
    let scene = begin(12, STEPS, json!({})).await;
    scene.push("v1", "v2");
    scene.until("at 5 %", 60, |scene| scene.canary_weights().contains(&5)).await;
    scene.world.wait(Duration::from_mins(2)).await;
    let outage = json!({"errorRate": 0.2});
    scene.world.behave(json!({"versions": {":v1": outage, ":v2": outage}})).unwrap();
    scene.world.wait(Duration::from_mins(2)).await;
    let usual = json!({"errorRate": 0.005});
    scene.world.behave(json!({"versions": {":v1": usual, ":v2": usual}})).unwrap();
    let is_new = |scene: &Scene| scene.image().ends_with(":v2") && scene.phase() == "Healthy";
    scene.until("Healthy on v2", 900, is_new).await;
    assert_ne!(scene.rollout()["status"]["abort"], true);
    let run = run(&scene);
    assert_eq!(run["status"]["comparison"]["verdict"], "Pass", "{run:#}");
    let split = &run["status"]["evidence"]["progress"]["errors"]["split"];
    assert_eq!(split["weight"]["canary"], 50, "{run:#}");
    assert!(split["requests"][0].as_str().is_some_and(|it| it.len() > 3), "{run:#}");
    assert_eq!(
        events(&scene, "UnexpectedTrafficSplit").len(),
        0,
        "its requests follow the weights"
    );
    scene.report("shared outage");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_service_is_neither_reverted_nor_promoted_blindly() {
    let scene = begin(13, STEPS, json!({})).await;
    crowd(&scene, 0.2);
    scene.world.wait(Duration::from_mins(2)).await;
    scene.push("v1", "v2");
    scene
        .until("paused at the end", 1200, |scene| message(scene) == "InconclusiveAnalysisRun")
        .await;
    scene.world.wait(Duration::from_mins(5)).await;
    let status = &scene.rollout()["status"];
    assert_eq!(status["phase"], "Paused", "{status:#}");
    let waits = status["waitingOn"].to_string();
    assert!(waits.contains("errors undecided after"), "{waits}");
    // More traffic is more evidence: it goes on by itself once that suffices.
    crowd(&scene, 100.0);
    let is_new = |scene: &Scene| scene.image().ends_with(":v2") && scene.phase() == "Healthy";
    scene.until("Healthy on v2", 1200, is_new).await;
    scene.report("quiet service");
}

#[tokio::test(start_paused = true)]
async fn a_canary_without_traffic_is_held_and_said_and_never_failed() {
    let scene = begin(14, STEPS, json!({})).await;
    scene.push("v1", "v2");
    scene.until("at 5 %", 60, |scene| scene.canary_weights().contains(&5)).await;
    scene.world.set_users("people", None);
    scene
        .until("NoTraffic", 300, |scene| {
            let conditions = scene.rollout()["status"]["conditions"].clone();
            let all = conditions.as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["type"] == "NoTraffic" && one["status"] == "True")
        })
        .await;
    scene.world.wait(Duration::from_mins(5)).await;
    assert_ne!(scene.rollout()["status"]["abort"], true);
    assert_eq!(scene.canary_weights(), [0, 5], "it is held");
    crowd(&scene, 100.0);
    let is_new = |scene: &Scene| scene.image().ends_with(":v2") && scene.phase() == "Healthy";
    scene.until("Healthy on v2", 1200, is_new).await;
}

fn events(scene: &Scene, reason: &str) -> Vec<String> {
    let all = scene.world.cluster().list(&KindName::of("", "events"), NAMESPACE);
    let of_reason = all.iter().filter(|event| event["reason"] == reason);
    of_reason.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Callers inside of the cluster that use the canary's Service directly: its weight says nothing of them.
#[tokio::test(start_paused = true)]
async fn requests_that_do_not_follow_the_weight_are_said_once_and_fail_nothing() {
    let scene = begin(17, STEPS, json!({})).await;
    scene.push("v1", "v2");
    scene.until("at 5 %", 60, |scene| scene.canary_weights().contains(&5)).await;
    let target = Target::new(TargetKind::Service, NAMESPACE, "web-canary");
    scene.world.set_users("jobs", Some(Users { target, per_second: 8.0 }));
    let is_said = |scene: &Scene| {
        let current = &scene.rollout()["status"]["canary"]["currentBackgroundAnalysisRunStatus"];
        current["message"].as_str().unwrap_or_default().contains("its weight is 5 %")
    };
    scene.until("said", 180, is_said).await;
    let errors = run(&scene)["status"]["comparison"]["metrics"][0].clone();
    assert_eq!(errors["split"]["weight"], "0.0500", "{errors:#}");
    let said = events(&scene, "UnexpectedTrafficSplit");
    assert!(
        matches!(said.as_slice(), [one] if one.contains("Traffic: the canary gets 1")),
        "{said:?}"
    );
    scene.world.set_users("jobs", None);
    let is_new = |scene: &Scene| scene.image().ends_with(":v2") && scene.phase() == "Healthy";
    scene.until("Healthy on v2", 900, is_new).await;
    assert_eq!(events(&scene, "UnexpectedTrafficSplit").len(), 1, "once");
    assert!(scene.canary_weights().starts_with(&[0, 5, 50]), "{:?}", scene.canary_weights());
}

/// What the judge counted must not depend on who counted.
#[tokio::test(start_paused = true)]
async fn a_controller_that_is_killed_between_looks_changes_no_count() {
    let mut seen = Vec::new();
    for kills in [false, true] {
        let scene = begin(15, STEPS, json!({"errorRate": 0.005})).await;
        scene.push("v1", "v2");
        scene.until("at 5 %", 60, |scene| scene.canary_weights().contains(&5)).await;
        scene.world.wait(Duration::from_secs(100)).await;
        if kills {
            scene.world.kill("one");
            scene.world.wait(Duration::from_secs(50)).await;
            scene.world.start("two").unwrap();
        } else {
            scene.world.wait(Duration::from_secs(50)).await;
        }
        scene.world.wait(Duration::from_secs(90)).await;
        let run = run(&scene);
        let progress = run["status"]["evidence"]["progress"]["errors"].clone();
        assert!(progress["looks"].as_u64().unwrap_or(0) > 5, "{run:#}");
        seen.push((progress, scene.world.now()));
    }
    let totals = |idx: usize| -> Vec<f64> {
        let all = seen[idx].0["totals"].as_array().unwrap().iter();
        all.map(|one| one.as_str().unwrap().parse().unwrap()).collect()
    };
    // One look more or less at the end is all that may differ: per look about 1,500 requests.
    let (usual, killed) = (totals(0), totals(1));
    let difference = (usual[3] - killed[3]).abs();
    assert!(difference < 3500.0, "{usual:?} {killed:?}");
}

/// The API server says at once what the controller would say a moment later.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_compared_is_refused_when_it_is_applied() {
    let scene = Scene::begin(16, &compared(STEPS), BACKENDS).await;
    let apply = |fields: &str| {
        let yaml = format!(
            "apiVersion: sluice.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{generateName: t-}}\nspec: {fields}\n"
        );
        let named = yaml.replace("generateName: t-", &format!("name: t{}", fields.len()));
        scene.world.create("team", NAMESPACE, &named).map_err(|error| error.to_string())
    };
    let errors = "errors: {counter: a_total, bad: 'x=\"1\"'}";
    for (fields, part) in [
        (
            format!("{{metrics: [{{{errors}, provider: {{web: {{url: /}}}}}}]}}"),
            "either a provider, or a type",
        ),
        (
            format!("{{metrics: [{{{errors}, type: rate}}]}}"),
            "exactly one of type, errors, latency",
        ),
        (
            format!("{{metrics: [{{{errors}, successCondition: 'true'}}]}}"),
            "no conditions, limits or interval",
        ),
        (format!("{{metrics: [{{{errors}, maxRatio: 0}}]}}"), "maxRatio must be above 0"),
        (format!("{{falseRollbackBudget: 0.5, metrics: [{{{errors}}}]}}"), "at most 0.2"),
        (
            format!("{{address: 'http://a', source: {{name: b}}, metrics: [{{{errors}}}]}}"),
            "exclude each other",
        ),
        (format!("{{arms: {{by: label}}, metrics: [{{{errors}}}]}}"), "arms by label need a label"),
        ("{metrics: [{type: rate, total: a, bad: b}]}".to_owned(), "name is required"),
        (format!("{{onInconclusive: hope, metrics: [{{{errors}}}]}}"), "onInconclusive"),
        (format!("{{metrics: [{{{errors}, type: gauge}}]}}"), "type"),
    ] {
        let refused = apply(&fields).expect_err(&fields);
        assert!(refused.contains(part), "{fields}: {refused}");
    }
    apply(&format!("{{metrics: [{{{errors}}}, {{latency: {{histogram: h}}}}]}}")).unwrap();
}
