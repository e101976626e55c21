//! Blue-green: a preview is checked and becomes active in one switch; a version that turns out bad after the switch is left
//! again. In both no request fails.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::manifests::{Revert, RolloutOptions, blue_green};
use crate::release::{Release, deploy, describe, seconds, wait_phase, wait_run};
use crate::scenarios::bad_canary::assert_reverted;
use crate::scene::Scene;

const ACTIVE: &str = "service/web-active selector";

async fn deployed(scene: &Scene, revert: Revert) -> Result<Release> {
    let options = RolloutOptions { spec: "  replicas: 3\n", strategy: blue_green(), revert };
    deploy(scene, &options, &[("web-active", 1)], None).await
}

pub(crate) async fn promote(scene: &Scene) -> Result<()> {
    let release = deployed(scene, Revert::Off).await?;
    let (_commit, pushed) = release.push(scene, "v1", "v2").await?;
    let switched = switch(scene, pushed, 90).await?;
    scene.figure("push to switch", seconds(switched - pushed));
    let healthy = wait_phase(scene, "Healthy", switched, 90).await?;
    scene.figure("push to Healthy", seconds(healthy - pushed));
    // Until the old version is scaled down, so that its end is seen by users, too.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let traffic = release.stop().await?;
    let late = traffic.sent_after("v1", switched + propagation(scene));
    if late > 0 {
        bail!("{late} requests reached v1 after the switch");
    }
    if !scene.pods_of("v1").await?.is_empty() {
        bail!("v1 was not scaled down after its delay");
    }
    scene.assert_no_failed_requests(&traffic)
}

/// A selector reaches users through the EndpointSlice controller and the gateway, which a busy machine delays.
fn propagation(scene: &Scene) -> Duration {
    scene.settings.deadline(5)
}

pub(crate) async fn return_to_old(scene: &Scene) -> Result<()> {
    let release = deployed(scene, Revert::Named).await?;
    let before = scene.recorder.now(ACTIVE);
    let (bad, pushed) = release.push(scene, "v1", "errors").await?;
    let switched = switch(scene, pushed, 90).await?;
    let (_run, verdict) = wait_run(scene, "Failed", switched, 90).await?;
    let deadline = scene.settings.deadline(30);
    let back = scene
        .recorder
        .wait("the active Service selects v1 again", deadline, (ACTIVE, verdict), |now| {
            now == before
        })
        .await?;
    scene.figure("verdict to switch back", seconds(back.0.saturating_duration_since(verdict)));
    assert_reverted(scene, &release, &bad, verdict).await?;
    let traffic = release.stop().await?;
    if let Some((_, sent)) = traffic.last_of("errors") {
        let after = sent.saturating_duration_since(back.0);
        scene.figure("switch back to last request to the bad version", seconds(after));
    }
    let late = traffic.sent_after("errors", back.0 + propagation(scene));
    if late > 0 {
        bail!("{late} requests reached the bad version after the return; {}", describe(scene));
    }
    scene.figure("errors that users saw", traffic.application_errors().to_string());
    scene.assert_no_failed_requests(&traffic)
}

/// Waits until the active Service selects something else than it did at `from`.
async fn switch(scene: &Scene, from: Instant, seconds: u64) -> Result<Instant> {
    let history = scene.recorder.history(ACTIVE);
    let before = history.iter().rfind(|(at, _)| *at < from).map(|(_, selector)| selector.clone());
    let deadline = scene.settings.deadline(seconds);
    let changed = |now: &str| before.as_deref() != Some(now);
    Ok(scene
        .recorder
        .wait("the active Service is switched", deadline, (ACTIVE, from), changed)
        .await?
        .0)
}
