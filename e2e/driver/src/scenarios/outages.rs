//! What the controller depends on goes away: without Prometheus nothing moves and nothing is blamed; without Git users are
//! safe all the same, and the books follow later.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::manifests::Revert;
use crate::recorder::weight_of;
use crate::release::{deploy_canary, describe, seconds, wait_phase, wait_run};
use crate::scenarios::bad_canary::{Failure, assert_reverted, assert_users_left};
use crate::scenarios::good_canary::options;
use crate::scene::Scene;

pub(crate) async fn prometheus(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
    let (good, pushed) = release.push(scene, "v1", "v2").await?;
    wait_run(scene, "Running", pushed, 90).await?;
    scene.service("stop", "prometheus").await?;
    let stopped = Instant::now();
    let outcome = during_outage(scene, stopped).await;
    scene.service("start", "prometheus").await?;
    outcome?;
    let returned = Instant::now();
    let healthy = wait_phase(scene, "Healthy", returned, 180).await?;
    scene.figure("return of Prometheus to Healthy", seconds(healthy - returned));
    release.repository.pull().await?;
    if !release.repository.commits_since(&good).await?.is_empty() {
        bail!("an outage of Prometheus was reverted in Git");
    }
    let traffic = release.stop().await?;
    scene.assert_no_failed_requests(&traffic)
}

/// Longer than the analysis would have taken: neither promoted nor aborted, and the status names what is missing.
async fn during_outage(scene: &Scene, stopped: Instant) -> Result<()> {
    let mut said = String::new();
    while stopped.elapsed() < Duration::from_secs(30) {
        let weights = scene.recorder.now("httproute/web weights");
        if weight_of(&weights, "web-canary") != Some(5) {
            bail!("the weight moved without Prometheus: {weights}");
        }
        if scene.recorder.now("rollout/web aborted") == "true" {
            bail!("an unreachable Prometheus aborted the Rollout; {}", describe(scene));
        }
        let now = describe(scene);
        if now.contains("cannot be reached") || now.contains("unreachable") {
            said = now;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    if said.is_empty() {
        bail!("nothing says that Prometheus cannot be reached; {}", describe(scene));
    }
    scene.figure("said during the outage", said);
    Ok(())
}

pub(crate) async fn git(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
    let (bad, pushed) = release.push(scene, "v1", "errors").await?;
    wait_run(scene, "Running", pushed, 90).await?;
    scene.service("stop", "nginx").await?;
    let outcome = abort_without_git(scene, pushed).await;
    scene.service("start", "nginx").await?;
    let failure = outcome?;
    assert_reverted(scene, &release, &bad, failure.verdict).await?;
    let traffic = release.stop().await?;
    assert_users_left(scene, &traffic, "errors", &failure)?;
    scene.assert_no_failed_requests(&traffic)
}

/// The verdict and the way back to stable, while Git is away; then ten seconds more of it.
async fn abort_without_git(scene: &Scene, pushed: Instant) -> Result<Failure> {
    let (_run, verdict) = wait_run(scene, "Failed", pushed, 120).await?;
    let at_zero = scene.wait_route_weight(0, verdict, 30).await?;
    scene.figure("verdict to weight 0", seconds(at_zero.saturating_duration_since(verdict)));
    wait_phase(scene, "Degraded", verdict, 30).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    if scene.recorder.now("rollout/web git revert") == "Reverted" {
        bail!("the revert is reported although Git is away");
    }
    scene.figure("said while Git was away", describe(scene));
    Ok(Failure { verdict, at_zero })
}
