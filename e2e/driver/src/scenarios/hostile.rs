//! A hostile world: a canary that crashes, an autoscaler in mid-canary, a route that somebody deletes.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{AUTOSCALER, HTTP_ROUTE};
use crate::manifests::{Revert, RolloutOptions, canary};
use crate::release::{deploy_canary, describe, seconds, wait_phase};
use crate::scene::Scene;

/// A canary that waits for a person at 25 %.
fn waits_at_25(spec: &'static str) -> RolloutOptions {
    let strategy = canary("      - setWeight: 25\n      - pause: {}\n");
    RolloutOptions { spec, strategy, revert: Revert::Off }
}

pub(crate) async fn crash_loop(scene: &Scene) -> Result<()> {
    let options = RolloutOptions {
        spec: "  replicas: 4\n  minReadySeconds: 4\n  progressDeadlineSeconds: 20\n  progressDeadlineAbort: true\n",
        ..waits_at_25("")
    };
    let release = deploy_canary(scene, &options).await?;
    let (_commit, pushed) = release.push(scene, "v1", "crash").await?;
    let aborted = wait_phase(scene, "Degraded", pushed, 90).await?;
    scene.figure("push to deadline abort", seconds(aborted - pushed));
    let key = ("rollout/web aborted", pushed);
    let deadline = scene.settings.deadline(30);
    scene.recorder.wait("the Rollout is aborted", deadline, key, |now| now == "true").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let traffic = release.stop().await?;
    if let Some((_, sent)) = traffic.last_of("crash") {
        bail!("a user reached the crashing canary {} after the push", seconds(sent - pushed));
    }
    scene.assert_no_failed_requests(&traffic)
}

pub(crate) async fn autoscaled(scene: &Scene) -> Result<()> {
    // No replicas in Git: they belong to the autoscaler.
    let release = {
        autoscaler(scene, 2).await?;
        deploy_canary(scene, &waits_at_25("")).await?
    };
    wait_pods(scene, "v1", 2).await?;
    let (_commit, pushed) = release.push(scene, "v1", "v2").await?;
    let quarter = scene.wait_route_weight(25, pushed, 90).await?;
    wait_phase(scene, "Paused", quarter, 30).await?;
    let scaled = Instant::now();
    autoscaler(scene, 8).await?;
    wait_pods(scene, "v1", 8).await?;
    wait_pods(scene, "v2", 2).await?;
    scene.figure("autoscaler to both sides scaled", seconds(scaled.elapsed()));
    scene.plugin(&["promote", "web"]).await?;
    wait_phase(scene, "Healthy", scaled, 120).await?;
    wait_pods(scene, "v2", 8).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let traffic = release.stop().await?;
    scene.assert_no_failed_requests(&traffic)
}

/// An autoscaler whose lower bound is what scales: it needs no metrics server, and uses the scale subresource all the same.
async fn autoscaler(scene: &Scene, replicas: u32) -> Result<()> {
    let object = json!({
        "apiVersion": AUTOSCALER.0, "kind": AUTOSCALER.1, "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout", "name": "web"},
            "minReplicas": replicas, "maxReplicas": 10,
        },
    });
    scene.cluster.apply(&scene.namespace, &object.to_string(), "platform-team").await
}

async fn wait_pods(scene: &Scene, version: &str, wanted: usize) -> Result<()> {
    let from = Instant::now();
    loop {
        let pods = scene.pods_of(version).await?.len();
        if pods == wanted {
            return Ok(());
        }
        if from.elapsed() > scene.settings.deadline(60) {
            bail!("{pods} pods run {version}, and not {wanted}; {}", describe(scene));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

pub(crate) async fn route_deleted(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &waits_at_25("  replicas: 4\n")).await?;
    let (_commit, pushed) = release.push(scene, "v1", "v2").await?;
    let quarter = scene.wait_route_weight(25, pushed, 90).await?;
    wait_phase(scene, "Paused", quarter, 30).await?;
    // Without the agent, which would make the route again at once.
    release.deliverer.stop().await?;
    let deleted = Instant::now();
    scene.cluster.delete(HTTP_ROUTE, &scene.namespace, "web").await?;
    let said = says_that_the_route_is_missing(scene, deleted).await?;
    scene.figure("said without the route", said);

    let asked = Instant::now();
    scene.plugin(&["abort", "web"]).await?;
    wait_phase(scene, "Degraded", asked, 30).await?;
    let agent = scene.agent(&release.repository).await?;
    scene.wait_route_weight(0, Instant::now(), 30).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let back = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let traffic = release.prober.stop().await;
    agent.stop().await;
    let versions = traffic.by_version(back, Instant::now());
    if versions.keys().any(|version| version != "v1") || versions.is_empty() {
        bail!("after the abort and the return of the route users get {versions:?}");
    }
    scene.figure("requests without a route", traffic.failures().values().sum::<u64>().to_string());
    Ok(())
}

async fn says_that_the_route_is_missing(scene: &Scene, deleted: Instant) -> Result<String> {
    loop {
        let now = describe(scene);
        if now.contains("HTTPRoute") && now.contains("web") {
            return Ok(now);
        }
        if deleted.elapsed() > scene.settings.deadline(30) {
            bail!("nothing says that the HTTPRoute is missing; {now}");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
