//! A good release goes 5 -> 25 -> 50 -> 100, judged at the first step, and no user notices.

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::manifests::{ANALYSIS_STEP, Revert, RolloutOptions, canary};
use crate::release::{
    Release, SETTLED, assert_shares, deploy_canary, pause_step, seconds, wait_phase,
};
use crate::scene::Scene;

/// The Rollout that most canary scenarios use: judged at 5 %, then two timed pauses.
pub(crate) fn options(scene: &Scene, revert: Revert) -> RolloutOptions {
    let pause = pause_step(scene);
    let steps = format!(
        "      - setWeight: 5\n{ANALYSIS_STEP}      - setWeight: 25\n{pause}      - setWeight: 50\n{pause}"
    );
    RolloutOptions { spec: "  replicas: 4\n", strategy: canary(&steps), revert }
}

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
    let (pushed, steps, healthy) = roll_out(scene, &release, "v1", "v2").await?;
    // The users after the promotion count as a step of their own.
    let users_after = std::time::Duration::from_secs_f64(6000.0 / f64::from(scene.settings.rate));
    tokio::time::sleep(SETTLED + users_after).await;
    let end = Instant::now();
    let traffic = release.stop().await?;
    scene.figure("push to Healthy", seconds(healthy - pushed));
    let finished = [(100, healthy)];
    let first_three_until = scene
        .recorder
        .seen("httproute/web weights", last(&steps), |weights| !weights.contains("web-canary=50"))
        .map_or(healthy, |(at, _)| at);
    assert_shares(scene, &traffic, "v2", &steps, first_three_until)?;
    assert_shares(scene, &traffic, "v2", &finished, end)?;
    if traffic.application_errors() > 0 {
        bail!("a good release answered {} times with an error", traffic.application_errors());
    }
    scene.assert_no_failed_requests(&traffic)
}

fn last(steps: &[(i64, Instant)]) -> Instant {
    steps.last().map_or_else(Instant::now, |(_, at)| *at)
}

/// Pushes `new` and follows it to Healthy; gives the push, the moment of each weight, and the moment of Healthy.
pub(crate) async fn roll_out(
    scene: &Scene,
    release: &Release,
    old: &str,
    new: &str,
) -> Result<(Instant, Vec<(i64, Instant)>, Instant)> {
    let (_commit, pushed) = release.push(scene, old, new).await?;
    let mut steps = Vec::new();
    for weight in [5, 25, 50] {
        steps.push((weight, scene.wait_route_weight(weight, pushed, 120).await?));
    }
    let healthy = wait_phase(scene, "Healthy", last(&steps), 120).await?;
    let images = scene.pods_of(new).await?;
    if images.len() < 4 {
        bail!("Healthy, but only {} pods run {new}", images.len());
    }
    Ok((pushed, steps, healthy))
}
