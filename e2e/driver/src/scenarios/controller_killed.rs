//! The controller dies again and again, and its leader disappears; what it does for users and for Git stays the same.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{LEASE, text};
use crate::faults::{controller_pods, delete_now, kill_container};
use crate::release::{deploy_canary, seconds};
use crate::scenarios::bad_canary::{assert_users_left, fail_and_revert};
use crate::scenarios::good_canary::{options, roll_out};
use crate::scene::Scene;

/// So often at least must the controller have been killed in one scenario.
const KILLS_WANTED: u32 = 10;

pub(crate) async fn good(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, true)).await?;
    let (outcome, kills) = while_killing(scene, roll_out(scene, &release)).await;
    let (pushed, _steps, healthy) = outcome?;
    scene.figure("push to Healthy", seconds(healthy - pushed));
    let traffic = release.stop().await;
    if traffic.application_errors() > 0 {
        bail!("a good release answered {} times with an error", traffic.application_errors());
    }
    scene.assert_no_failed_requests(&traffic)?;
    enough(scene, kills)
}

pub(crate) async fn bad(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, true)).await?;
    let (outcome, kills) = while_killing(scene, fail_and_revert(scene, &release, "errors")).await;
    let failure = outcome?;
    let traffic = release.stop().await;
    assert_users_left(scene, &traffic, "errors", &failure)?;
    scene.assert_no_failed_requests(&traffic)?;
    enough(scene, kills)
}

pub(crate) async fn failover(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, true)).await?;
    let pods = controller_pods(scene).await?;
    if pods.len() < 2 {
        bail!("fail-over needs two replicas of the controller; there are {}", pods.len());
    }
    let lose_the_leader = async {
        scene.wait_route_weight(25, Instant::now(), 120).await?;
        let before = holder(scene).await?;
        let pod = pods
            .iter()
            .find(|pod| before.contains(pod.as_str()))
            .with_context(|| format!("the lease's holder `{before}` is none of {pods:?}"))?;
        delete_now(scene, pod).await?;
        let lost = Instant::now();
        while holder(scene).await? == before {
            if lost.elapsed() > scene.settings.deadline(60) {
                bail!("nobody took the lease over from {before}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        scene.figure("lost leader to next leader", seconds(lost.elapsed()));
        Ok(())
    };
    let (rolled_out, lost) = tokio::join!(roll_out(scene, &release), lose_the_leader);
    lost?;
    let (pushed, _steps, healthy) = rolled_out?;
    scene.figure("push to Healthy", seconds(healthy - pushed));
    let traffic = release.stop().await;
    scene.assert_no_failed_requests(&traffic)
}

/// Runs `work` while replicas of the controller are killed with SIGKILL at random moments; gives the number of kills.
async fn while_killing<T>(
    scene: &Scene,
    work: impl Future<Output = Result<T>>,
) -> (Result<T>, u32) {
    let stop = CancellationToken::new();
    let killer = async {
        let mut kills = 0;
        loop {
            let pause = Duration::from_millis(fastrand::u64(500..4000));
            tokio::select! {
                () = stop.cancelled() => break kills,
                () = tokio::time::sleep(pause) => {}
            }
            let pods = controller_pods(scene).await.unwrap_or_else(|_restarting| Vec::new());
            let Some(pod) = fastrand::choice(&pods) else {
                continue;
            };
            // A pod that is just being restarted has no process to kill; that is no kill.
            if kill_container(scene, pod).await.is_ok() {
                kills += 1;
            }
        }
    };
    let work = async {
        let outcome = work.await;
        stop.cancel();
        outcome
    };
    tokio::join!(work, killer)
}

fn enough(scene: &Scene, kills: u32) -> Result<()> {
    scene.figure("kills", kills.to_string());
    if kills < KILLS_WANTED {
        bail!("the controller was killed only {kills} times");
    }
    Ok(())
}

async fn holder(scene: &Scene) -> Result<String> {
    let namespace = &scene.settings.controller_namespace;
    let lease = scene.cluster.get(LEASE, namespace, "sluice-controller").await?;
    let lease =
        lease.with_context(|| format!("there is no Lease {namespace}/sluice-controller"))?;
    Ok(text(&lease, "/spec/holderIdentity"))
}
