//! The controller dies again and again, and its leader disappears; what it does for users and for Git stays the same.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::{LEASE, text};
use crate::faults::{controller_pods, kill_container};
use crate::manifests::Revert;
use crate::release::{deploy_canary, seconds};
use crate::scenarios::bad_canary::{assert_users_left, fail_and_revert};
use crate::scenarios::good_canary::{options, roll_out};
use crate::scene::Scene;

const LEASE_NAME: &str = "sluice-controller";
/// So often at least is the controller killed during good releases, and during bad ones; together twenty times.
const KILLS_WANTED: (u32, u32) = (14, 6);

pub(crate) async fn good(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
    let mut kills = 0;
    let mut versions = ["v1", "v2", "v3"].into_iter().cycle();
    let mut running = versions.next().unwrap_or("v1");
    while kills < KILLS_WANTED.0 {
        let next = versions.next().unwrap_or("v1");
        let work = roll_out(scene, &release, running, next);
        let (outcome, killed) = while_killing(scene, work).await;
        let (pushed, _steps, healthy) = outcome?;
        kills += killed;
        scene.figure(
            format!("{running} to {next}"),
            format!("push to Healthy {}, {killed} kills", seconds(healthy - pushed)),
        );
        running = next;
    }
    let traffic = release.stop().await?;
    if traffic.application_errors() > 0 {
        bail!("a good release answered {} times with an error", traffic.application_errors());
    }
    scene.assert_no_failed_requests(&traffic)?;
    enough(scene, kills, KILLS_WANTED.0)
}

pub(crate) async fn bad(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
    let mut kills = 0;
    let mut failures = Vec::new();
    // Two, because a Rollout is reverted twice a day at most.
    for version in ["errors", "slow"] {
        let work = fail_and_revert(scene, &release, version);
        let (outcome, killed) = while_killing(scene, work).await;
        failures.push((version, outcome?));
        kills += killed;
    }
    let traffic = release.stop().await?;
    for (version, failure) in &failures {
        assert_users_left(scene, &traffic, version, failure)?;
    }
    scene.assert_no_failed_requests(&traffic)?;
    enough(scene, kills, KILLS_WANTED.1)
}

pub(crate) async fn failover(scene: &Scene) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
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
        kill_container(scene, pod).await?;
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
    let (rolled_out, lost) = tokio::join!(roll_out(scene, &release, "v1", "v2"), lose_the_leader);
    lost?;
    let (pushed, _steps, healthy) = rolled_out?;
    scene.figure("push to Healthy", seconds(healthy - pushed));
    let traffic = release.stop().await?;
    scene.assert_no_failed_requests(&traffic)
}

/// Runs `work` while replicas of the controller are killed with SIGKILL at random moments; gives the number of kills. After
/// each kill somebody must lead again before the next, or nothing would ever be done.
async fn while_killing<T>(
    scene: &Scene,
    work: impl Future<Output = Result<T>>,
) -> (Result<T>, u32) {
    let stop = CancellationToken::new();
    let killer = async {
        let mut kills = 0;
        while !stop.is_cancelled() {
            let pause = Duration::from_millis(fastrand::u64(200..4000));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            if kill_one(scene).await.unwrap_or(false) {
                kills += 1;
            }
            // The first look only learns what the dead leader wrote last.
            leads(scene).await;
            while !stop.is_cancelled() && !leads(scene).await {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        kills
    };
    let work = async {
        let outcome = work.await;
        stop.cancel();
        outcome
    };
    tokio::join!(work, killer)
}

/// Kills the leader, or in one of three cases any replica; a pod that is just being restarted has no process to kill.
async fn kill_one(scene: &Scene) -> Result<bool> {
    let pods = controller_pods(scene).await?;
    let holder = holder(scene).await?;
    let leader = pods.iter().find(|pod| holder.contains(pod.as_str()));
    let any = fastrand::choice(&pods);
    let Some(pod) = (if fastrand::u32(0..3) == 0 { any } else { leader.or(any) }) else {
        return Ok(false);
    };
    Ok(kill_container(scene, pod).await.is_ok())
}

/// Whether somebody renewed the lease since the last look.
async fn leads(scene: &Scene) -> bool {
    let namespace = &scene.settings.controller_namespace;
    let lease = scene.cluster.get(LEASE, namespace, LEASE_NAME).await;
    let Ok(Some(lease)) = lease else { return false };
    let renewed = text(&lease, "/spec/renewTime");
    let before = scene.recorder.now("lease renewed");
    scene.recorder.remember("lease renewed", &renewed);
    !renewed.is_empty() && !before.is_empty() && renewed != before
}

fn enough(scene: &Scene, kills: u32, wanted: u32) -> Result<()> {
    scene.figure("kills", kills.to_string());
    if kills < wanted {
        bail!("the controller was killed only {kills} times, and not {wanted}");
    }
    Ok(())
}

async fn holder(scene: &Scene) -> Result<String> {
    let namespace = &scene.settings.controller_namespace;
    let lease = scene.cluster.get(LEASE, namespace, LEASE_NAME).await?;
    let lease = lease.with_context(|| format!("there is no Lease {namespace}/{LEASE_NAME}"))?;
    Ok(text(&lease, "/spec/holderIdentity"))
}
