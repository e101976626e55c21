//! A person at the keyboard: abort at 50 %, retry, promote --full, all by the plugin.

use anyhow::{Result, bail};

use crate::manifests::{Revert, RolloutOptions, canary};
use crate::release::{SETTLED, deploy_canary, seconds, wait_phase};
use crate::scene::Scene;

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let steps =
        "      - setWeight: 50\n      - pause: {}\n      - setWeight: 75\n      - pause: {}\n";
    let options =
        RolloutOptions { spec: "  replicas: 4\n", strategy: canary(steps), revert: Revert::Named };
    let release = deploy_canary(scene, &options).await?;
    let (bad, pushed) = release.push(scene, "v1", "v2").await?;
    let half = scene.wait_route_weight(50, pushed, 90).await?;
    wait_phase(scene, "Paused", half, 30).await?;

    let asked = tokio::time::Instant::now();
    scene.plugin(&["abort", "web"]).await?;
    let zero = scene.wait_route_weight(0, asked, 30).await?;
    scene.figure("abort to weight 0", seconds(zero - asked));
    wait_phase(scene, "Degraded", asked, 30).await?;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let late = release.prober.traffic().sent_after("v2", zero + SETTLED);
    if late > 0 {
        bail!("{late} requests reached v2 after the abort");
    }
    // A person's abort is no verdict: Git stays as it is.
    release.repository.pull().await?;
    if !release.repository.commits_since(&bad).await?.is_empty() {
        bail!("an abort by hand was reverted in Git");
    }

    let asked = tokio::time::Instant::now();
    scene.plugin(&["retry", "web"]).await?;
    let again = scene.wait_route_weight(50, asked, 60).await?;
    scene.figure("retry to weight 50", seconds(again - asked));
    wait_phase(scene, "Paused", again, 30).await?;

    let asked = tokio::time::Instant::now();
    scene.plugin(&["promote", "web", "--full"]).await?;
    let healthy = wait_phase(scene, "Healthy", asked, 90).await?;
    scene.figure("promote --full to Healthy", seconds(healthy - asked));
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let traffic = release.stop().await?;
    let late = traffic.sent_after("v1", healthy + SETTLED);
    if late > 0 {
        bail!("{late} requests reached v1 after the promotion");
    }
    scene.assert_no_failed_requests(&traffic)
}
