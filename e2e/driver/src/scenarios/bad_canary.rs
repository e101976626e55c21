//! A bad release fails its analysis at the first step: users go back to the old version at once, and then Git is put right
//! by one commit that touches one field, after which nothing more happens.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::cluster::{NAMESPACE, POD, ROLLOUT, number, text};
use crate::manifests::{Revert, platform};
use crate::prober::Traffic;
use crate::recorder::weight_of;
use crate::release::{
    ROLLOUT_FILE, Release, SETTLED, deploy_canary, describe, seconds, wait_phase, wait_run,
};
use crate::scenarios::good_canary::options;
use crate::scene::Scene;

pub(crate) async fn run(scene: &Scene, version: &str) -> Result<()> {
    let release = deploy_canary(scene, &options(scene, Revert::Named)).await?;
    let failed = fail_and_revert(scene, &release, version).await?;
    assert_no_further_steps(scene, failed.at_zero).await?;
    fresh_namespace_gets(scene, &release, "v1").await?;
    let traffic = release.stop().await?;
    assert_users_left(scene, &traffic, version, &failed)?;
    scene.assert_no_failed_requests(&traffic)
}

/// The moments of a failure.
pub(crate) struct Failure {
    /// The AnalysisRun said Failed.
    pub(crate) verdict: Instant,
    /// The route gave nothing to the canary any more.
    pub(crate) at_zero: Instant,
}

/// Pushes a bad version and follows it until Git is put right and the Rollout is Healthy on v1.
pub(crate) async fn fail_and_revert(
    scene: &Scene,
    release: &Release,
    version: &str,
) -> Result<Failure> {
    let (bad, pushed) = release.push(scene, "v1", version).await?;
    let first = scene.wait_route_weight(5, pushed, 120).await?;
    let (run, verdict) = wait_run(scene, "Failed", pushed, 120).await?;
    scene.figure("judged after", seconds(verdict - first));
    let at_zero = scene.wait_route_weight(0, verdict, 30).await?;
    scene.figure("verdict to weight 0", seconds(at_zero.saturating_duration_since(verdict)));
    assert_reverted(scene, release, &bad, verdict).await.with_context(|| format!("after {run}"))?;
    Ok(Failure { verdict, at_zero })
}

/// Waits for the one commit in Git, its application, and Healthy; checks what the commit changes.
pub(crate) async fn assert_reverted(
    scene: &Scene,
    release: &Release,
    bad: &str,
    verdict: Instant,
) -> Result<()> {
    let deadline = scene.settings.deadline(120);
    let key = ("rollout/web git revert", verdict);
    let reverted = scene
        .recorder
        .wait_change("the revert is seen in the cluster", deadline, key, |state| {
            state == "Reverted"
        })
        .await
        .with_context(|| describe(scene))?;
    let healthy = wait_phase(scene, "Healthy", reverted.0, 60).await?;
    scene.figure("verdict to Healthy, Git put right", seconds(healthy - verdict));
    let tip = release.repository.pull().await?;
    let commits = release.repository.commits_since(bad).await?;
    if commits.len() != 1 {
        bail!("{} commits follow the bad one, and not one", commits.len());
    }
    let changed = release.repository.show(&["diff", "--numstat", bad, &tip]).await?;
    if changed != format!("1\t1\t{ROLLOUT_FILE}") {
        bail!("the revert changes more than one line of {ROLLOUT_FILE}: {changed}");
    }
    let content = release.repository.read(ROLLOUT_FILE).await?;
    if !content.contains(&format!("image: {}\n", scene.image("v1"))) {
        bail!("the revert did not put v1 back");
    }
    let message = release.repository.show(&["log", "-1", "--format=%B"]).await?;
    for wanted in ["Sluice-Revert-Id:", "Sluice-Failed-Revision:"] {
        if !message.contains(wanted) {
            bail!("the commit lacks `{wanted}`: {message}");
        }
    }
    let applied = scene.recorder.now("agent applied");
    if applied != tip {
        bail!("the agent applied {applied}, and not the revert {tip}");
    }
    Ok(())
}

/// For ten seconds more the canary gets nothing and no analysis begins.
async fn assert_no_further_steps(scene: &Scene, since: Instant) -> Result<()> {
    let runs = scene.recorder.keys("analysisrun/").len();
    tokio::time::sleep(Duration::from_secs(10)).await;
    if let Some((_, weights)) = scene.recorder.seen("httproute/web weights", since, |weights| {
        weight_of(weights, "web-canary").unwrap_or(0) > 0
    }) {
        bail!("the canary got traffic after the abort: {weights}");
    }
    if scene.recorder.keys("analysisrun/").len() != runs {
        bail!("another analysis began after the revert");
    }
    Ok(())
}

/// A new namespace that is built from the branch as it is now gets `version` and nothing else.
async fn fresh_namespace_gets(scene: &Scene, release: &Release, version: &str) -> Result<()> {
    let fresh = format!("{}-fresh", scene.namespace);
    let deadline = scene.settings.deadline(120);
    scene.cluster.fresh_namespace(&fresh, deadline).await?;
    scene.cluster.apply(&fresh, &platform(scene)?, "platform-team").await?;
    for file in ["analysis", "rollout", "services", "route"] {
        let yaml = release.repository.read(&format!("apps/web/{file}.yaml")).await?;
        // Hosts and queries carry the namespace's name; the branch of the repository stays what it is.
        let moved = yaml.replace(&scene.host(), &format!("{fresh}.example.test")).replace(
            &format!("namespace=\"{}\"", scene.namespace),
            &format!("namespace=\"{fresh}\""),
        );
        scene.cluster.apply(&fresh, &moved, "gitops-agent").await?;
    }
    let healthy = |value: &serde_json::Value| {
        (text(value, "/status/phase") == "Healthy"
            && number(value, "/status/availableReplicas") == 4)
            .then_some(())
    };
    let object = (ROLLOUT, fresh.as_str(), "web");
    scene.cluster.wait("the fresh namespace is Healthy", deadline, object, healthy).await?;
    for pod in scene.cluster.list(POD, &fresh, "app=web").await? {
        let image = text(&pod, "/spec/containers/0/image");
        if image != scene.image(version) {
            bail!("a namespace built from the branch runs {image}");
        }
    }
    scene.figure("fresh namespace gets", version);
    scene.cluster.delete(NAMESPACE, "", &fresh).await
}

/// Reports how fast users left the bad version, and fails when any request was sent to it later than a second after its
/// weight was zero.
pub(crate) fn assert_users_left(
    scene: &Scene,
    traffic: &Traffic,
    version: &str,
    failure: &Failure,
) -> Result<()> {
    let (done, sent) = traffic
        .last_of(version)
        .with_context(|| format!("no user ever saw {version}, so nothing was judged"))?;
    let after = |moment: Instant| seconds(moment.saturating_duration_since(failure.verdict));
    scene.figure("verdict to last request to the canary", after(sent));
    scene.figure("verdict to last answer of the canary", after(done));
    scene.figure("errors that users saw", traffic.application_errors().to_string());
    let late = traffic.sent_after(version, failure.at_zero + SETTLED);
    if late > 0 {
        bail!("{late} requests reached {version} after its weight was 0");
    }
    Ok(())
}
