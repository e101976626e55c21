//! A real GitOps tool delivers: Sluice finds the place in Git through the tool, puts a bad version back there, the tool applies that,
//! and then nothing happens any more. A bot that declares the bad version again is held; the next version goes out as usual.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::cluster::{ROLLOUT, number, text};
use crate::gitops::Tool;
use crate::manifests::Revert;
use crate::recorder::weight_of;
use crate::release::{Release, deploy_canary_by, describe, seconds, wait_phase, wait_run};
use crate::scenarios::bad_canary::{Failure, assert_reverted, assert_users_left};
use crate::scenarios::good_canary::{options, roll_out};
use crate::scene::Scene;

/// A file of the application that has nothing to do with its versions.
const SETTINGS_FILE: &str = "apps/web/settings.yaml";

pub(crate) async fn run(scene: &Scene, tool: Tool) -> Result<()> {
    let release = deploy_canary_by(scene, &options(scene, Revert::Found), tool).await?;
    let failure = fail_between_commits(scene, &release, tool).await?;
    content(scene, tool, failure.at_zero).await?;
    stays_quiet(scene, &release).await?;
    a_bot_is_held(scene, &release).await?;
    let (_, _, healthy) = roll_out(scene, &release, "errors", "v2").await?;
    scene.figure("then v2", "released");
    content(scene, tool, healthy).await?;
    let traffic = release.stop().await?;
    assert_users_left(scene, &traffic, "errors", &failure)?;
    scene.assert_no_failed_requests(&traffic)
}

/// Waits until the tool shows that all is as Git says; that may be a moment later than we see it.
async fn content(scene: &Scene, tool: Tool, from: Instant) -> Result<()> {
    let good = match tool {
        Tool::ArgoCd => "Synced Healthy",
        Tool::Flux => "True ReconciliationSucceeded",
    };
    let deadline = scene.settings.deadline(60);
    let key = ("tool health", from);
    scene.recorder.wait("the tool is content", deadline, key, |said| said == good).await?;
    Ok(())
}

/// A bad version, and a colleague's commit while it is judged: the tool applies that without disturbing the weights, and the
/// revert stands on it.
async fn fail_between_commits(scene: &Scene, release: &Release, tool: Tool) -> Result<Failure> {
    let (_bad, pushed) = release.push(scene, "v1", "errors").await?;
    let first = scene.wait_route_weight(5, pushed, 120).await?;
    let base = change_settings(scene, release, "one").await?;
    scene.service("stop", tool.process()).await?;
    let outcome = fail_without_tool(scene, tool, pushed).await;
    scene.service("start", tool.process()).await?;
    let failure = outcome?;
    let Failure { verdict, at_zero: _ } = failure;
    for (at, weights) in scene.recorder.history("httproute/web weights") {
        if at >= first && at < verdict && weight_of(&weights, "web-canary") != Some(5) {
            bail!("a sync during the canary changed the weights to {weights}");
        }
    }
    assert_reverted(scene, release, &base, verdict).await?;
    Ok(failure)
}

/// The verdict and the way back while the tool is away: the commit is pushed, and it is said who has not applied it.
async fn fail_without_tool(scene: &Scene, tool: Tool, pushed: Instant) -> Result<Failure> {
    let (_run, verdict) = wait_run(scene, "Failed", pushed, 120).await?;
    let at_zero = scene.wait_route_weight(0, verdict, 30).await?;
    scene.figure("verdict to weight 0", seconds(at_zero.saturating_duration_since(verdict)));
    let deadline = scene.settings.deadline(60);
    let key = ("rollout/web git revert", verdict);
    let is_pushed = |state: &str| state == "AwaitingSync";
    let (at, _) = scene.recorder.wait("the revert is pushed", deadline, key, is_pushed).await?;
    scene.figure("verdict to the commit", seconds(at - verdict));
    let deadline = scene.settings.deadline(90);
    let key = ("rollout/web git message", verdict);
    let names = |message: &str| message.contains(tool.owner());
    let (_, said) = scene.recorder.wait("who is waited for is said", deadline, key, names).await?;
    scene.figure("said while the tool was away", said);
    Ok(Failure { verdict, at_zero })
}

/// A commit that changes something else of the application; gives it when the tool has applied it.
async fn change_settings(scene: &Scene, release: &Release, value: &str) -> Result<String> {
    release.repository.pull().await?;
    let settings = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{value: {value}}}\n"
    );
    release.repository.write(&[(SETTINGS_FILE.to_owned(), settings)]).await?;
    let pushed = Instant::now();
    let commit = release.repository.commit("Change a setting").await?;
    release.wait_applied(scene, &commit, pushed).await?;
    Ok(commit)
}

/// After the revert nobody does anything: no commit, no sync, no change of the Rollout, no analysis.
async fn stays_quiet(scene: &Scene, release: &Release) -> Result<()> {
    let quiet = scene.settings.quiet;
    let tip = release.repository.pull().await?;
    let generation = generation(scene).await?;
    let runs = scene.recorder.keys("analysisrun/").len();
    let from = Instant::now();
    tokio::time::sleep(quiet).await;
    if release.repository.pull().await? != tip {
        bail!("somebody committed after the revert");
    }
    for key in [
        "rollout/web phase",
        "rollout/web git revert",
        "httproute/web weights",
        "agent applied",
        "tool sync",
    ] {
        if let Some((_, value)) = scene.recorder.became(key, from, |_any| true) {
            bail!("`{key}` became `{value}` after the revert");
        }
    }
    let now = self::generation(scene).await?;
    if now != generation {
        bail!("the Rollout's declaration was changed after the revert");
    }
    if scene.recorder.keys("analysisrun/").len() != runs {
        bail!("another analysis began after the revert");
    }
    scene.figure("quiet after the revert", seconds(quiet));
    Ok(())
}

async fn generation(scene: &Scene) -> Result<i64> {
    let rollout = scene.cluster.get(ROLLOUT, &scene.namespace, "web").await?;
    Ok(number(&rollout.context("the Rollout is gone")?, "/metadata/generation"))
}

/// The bad version is declared again, as image bots do: it gets no pod, no user and no second revert, and one Event says so.
async fn a_bot_is_held(scene: &Scene, release: &Release) -> Result<()> {
    let (again, pushed) = release.push(scene, "v1", "errors").await?;
    let deadline = scene.settings.deadline(30);
    let key = ("rollout/web quarantined", pushed);
    let held = scene
        .recorder
        .wait("the bad version is held", deadline, key, |status| status == "True")
        .await
        .with_context(|| describe(scene))?;
    scene.figure("bot's commit to held", seconds(held.0 - pushed));
    tokio::time::sleep(Duration::from_secs(20)).await;
    if release.repository.pull().await? != again {
        bail!("the bot's commit was reverted, too: that is a loop");
    }
    let pods = scene.pods_of("errors").await?;
    if !pods.is_empty() {
        bail!("the held version has pods: {}", pods.join(", "));
    }
    let given = |weights: &str| weight_of(weights, "web-canary").unwrap_or(0) > 0;
    if let Some((_, weights)) = scene.recorder.seen("httproute/web weights", pushed, given) {
        bail!("the held version got users: {weights}");
    }
    let events = scene.cluster.list(("v1", "Event"), &scene.namespace, "").await?;
    let said = events.iter().filter(|event| text(event, "/reason") == "RolloutQuarantined").count();
    if said != 1 {
        bail!("{said} Events say that the version is held, and not one");
    }
    wait_phase(scene, "Degraded", pushed, 30).await?;
    Ok(())
}
