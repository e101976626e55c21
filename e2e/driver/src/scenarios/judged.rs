//! Releases that are judged by counts: the comparison with stable decides, over a real Prometheus and real processes, and limits
//! as teams write them are measured beside it. What happens is chance, so each of these may run in several copies at once; more
//! than the machine serves fail by their requests without an answer.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster::{ANALYSIS_RUN, DEPLOYMENT, ROLLOUT, number, text};
use crate::manifests::judged::{BACKGROUND, LIMITS, store, template};
use crate::manifests::{Revert, RolloutOptions, canary, platform, rollout_of, route, service};
use crate::prober::Prober;
use crate::recorder::weight_of;
use crate::release::{SETTLED, describe, seconds, wait_phase, wait_run};
use crate::scene::Scene;

/// Requests a minute of a service whose traffic is 100 requests a second.
const BUSY: u32 = 6000;
/// Requests a minute of a quiet service.
const QUIET: u32 = 12;
/// For so long stable serves before the release: two whole minutes say how far its pods differ.
const HISTORY: Duration = Duration::from_secs(150);
/// The field manager of everything here.
const MANAGER: &str = "gitops-agent";

/// A service with its users.
struct Service {
    options: RolloutOptions,
    prober: Prober,
}

/// Deploys `version` with these steps, and sends so many requests a minute.
async fn deploy(scene: &Scene, version: &str, steps: &str, a_minute: u32) -> Result<Service> {
    let strategy = canary(&format!("{steps}{BACKGROUND}"));
    let options = RolloutOptions { spec: "  replicas: 4\n", strategy, revert: Revert::Off };
    let services = [service("web-stable", ""), service("web-canary", "")].concat();
    let manifests = [
        platform(scene)?,
        template(scene),
        services,
        route(scene, &[("web-stable", 100), ("web-canary", 0)]),
        rollout_of(scene, &options, version),
    ];
    for manifest in &manifests {
        scene.cluster.apply(&scene.namespace, manifest, MANAGER).await?;
    }
    wait_phase(scene, "Healthy", Instant::now(), 120).await.context("the first deployment")?;
    let prober = scene.prober_at(a_minute).await?;
    Ok(Service { options, prober })
}

impl Service {
    /// Releases another version; gives the moments at which that was done, and at which its weight was `weight`.
    async fn release(
        &self,
        scene: &Scene,
        version: &str,
        weight: i64,
    ) -> Result<(Instant, Instant)> {
        let asked = Instant::now();
        let manifest = rollout_of(scene, &self.options, version);
        scene.cluster.apply(&scene.namespace, &manifest, MANAGER).await?;
        Ok((asked, scene.wait_route_weight(weight, asked, 120).await?))
    }
}

pub(crate) async fn errors(scene: &Scene) -> Result<()> {
    rolled_back(scene, "regressed", "errors").await
}

pub(crate) async fn slow_tail(scene: &Scene) -> Result<()> {
    rolled_back(scene, "slow-tail", "latency").await
}

/// A release that is worse in one way is given up at 5 %, because of the metric that shows it.
async fn rolled_back(scene: &Scene, version: &str, metric: &str) -> Result<()> {
    let steps = "      - setWeight: 5\n      - pause: {duration: 6m}\n";
    let service = deploy(scene, "usual", steps, BUSY).await?;
    tokio::time::sleep(HISTORY).await;
    let (asked, began) = service.release(scene, version, 5).await?;
    let (run, verdict) = wait_run(scene, "Failed", asked, 480).await?;
    let zero = scene.wait_route_weight(0, verdict, 30).await?;
    wait_phase(scene, "Degraded", verdict, 30).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let traffic = service.prober.stop().await;

    let run = the_run(scene, &run).await?;
    scene.figure("5 % to verdict", seconds(verdict - began));
    scene.figure("verdict to weight 0", seconds(zero.saturating_duration_since(verdict)));
    say_comparison(scene, &run, metric);
    say_limits(scene, &run);
    let (answers, bad) = traffic.of(version);
    scene.figure("answers of the bad version, until all users had left it", answers.to_string());
    scene.figure("of these errors", bad.to_string());
    let said = text(&run, "/status/comparison/message");
    if !said.starts_with(&format!("{metric} FAIL")) {
        bail!("it was not given up because of {metric}: {said}");
    }
    let late = traffic.sent_after(version, zero + SETTLED);
    if late > 0 {
        bail!("{late} requests reached {version} after its weight was 0");
    }
    scene.assert_no_failed_requests(&traffic)
}

/// What both versions need is away for 20 s while the canary has 5 %: the release goes on to its end all the same.
pub(crate) async fn outage(scene: &Scene) -> Result<()> {
    scene.cluster.apply(&scene.namespace, &store(scene, 1), MANAGER).await?;
    wait_store(scene, 1).await?;
    let steps = "      - setWeight: 5\n      - pause: {duration: 150s}\n      - setWeight: 50\n      - pause: {duration: 60s}\n";
    let service = deploy(scene, "usual", steps, BUSY).await?;
    tokio::time::sleep(HISTORY).await;
    let (asked, began) = service.release(scene, "usual-again", 5).await?;
    let (run, running) = wait_run(scene, "Running", asked, 120).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    scene.cluster.apply(&scene.namespace, &store(scene, 0), MANAGER).await?;
    wait_store(scene, 0).await?;
    let away = Instant::now();
    tokio::time::sleep(Duration::from_secs(20)).await;
    scene.cluster.apply(&scene.namespace, &store(scene, 1), MANAGER).await?;
    wait_store(scene, 1).await?;
    scene.figure("store away for", seconds(away.elapsed()));
    let healthy = wait_phase(scene, "Healthy", running, 400).await;
    let run = the_run(scene, &run).await?;
    say_comparison(scene, &run, "errors");
    say_comparison(scene, &run, "latency");
    say_limits(scene, &run);
    assert_never_aborted(scene, began)?;
    match healthy {
        Ok(healthy) => scene.figure("5 % to Healthy", seconds(healthy - began)),
        // What is not proved yet waits, which is no fault of the release nor of the judge.
        Err(error) if is_held(scene).await? => scene.figure("held as undecided", error.to_string()),
        Err(error) => return Err(error),
    }
    let traffic = service.prober.stop().await;
    for version in ["usual", "usual-again"] {
        let (answers, bad) = traffic.of(version);
        scene.figure(format!("errors of {version}"), format!("{bad} of {answers}"));
        // The outage alone makes 20 s of errors: 1900 of stable, 100 of the canary.
        if bad < 50 {
            bail!("{version} hardly noticed the outage: {bad} errors in {answers} answers");
        }
    }
    scene.assert_no_failed_requests(&traffic)
}

async fn wait_store(scene: &Scene, available: i64) -> Result<()> {
    let object = (DEPLOYMENT, scene.namespace.as_str(), "store");
    let seen = |value: &Value| {
        (number(value, "/status/observedGeneration") == number(value, "/metadata/generation")
            && number(value, "/status/availableReplicas") == available)
            .then_some(())
    };
    let what = format!("the store has {available} pods");
    scene.cluster.wait(&what, scene.settings.deadline(60), object, seen).await
}

/// Too little traffic to prove anything: at the end of its steps the update waits for a person, and is not given up.
pub(crate) async fn quiet(scene: &Scene) -> Result<()> {
    let steps = "      - setWeight: 25\n      - pause: {duration: 90s}\n      - setWeight: 50\n      - pause: {duration: 90s}\n";
    // One request of twenty fails, in both versions.
    let service = deploy(scene, "errors", steps, QUIET).await?;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let (asked, began) = service.release(scene, "flaky", 25).await?;
    let (run, _) = wait_run(scene, "Running", asked, 120).await?;
    let object = (ROLLOUT, scene.namespace.as_str(), "web");
    let waits = |value: &Value| is_undecided(value).then_some(());
    let deadline = scene.settings.deadline(300);
    scene.cluster.wait("the end of the steps waits for a person", deadline, object, waits).await?;
    scene.figure("5 % to the pause for a person", seconds(began.elapsed()));
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_mins(1) {
        let weights = scene.recorder.now("httproute/web weights");
        if weight_of(&weights, "web-canary") != Some(50) {
            bail!("the weight moved without a person: {weights}; {}", describe(scene));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_never_aborted(scene, began)?;
    let run = the_run(scene, &run).await?;
    say_comparison(scene, &run, "errors");
    say_limits(scene, &run);
    scene.figure("it says", describe(scene));
    let asked = Instant::now();
    scene.plugin(&["promote", "web"]).await?;
    wait_phase(scene, "Healthy", asked, 90).await?;
    if scene.pods_of("flaky").await?.len() < 4 {
        bail!("promoted by a person, but the pods are not those of the new version");
    }
    let traffic = service.prober.stop().await;
    let (answers, bad) = traffic.of("flaky");
    scene.figure("errors of the new version", format!("{bad} of {answers}"));
    scene.assert_no_failed_requests(&traffic)
}

/// Whether a Rollout waits at the end of its steps, for the comparison to pass or for a person.
fn is_undecided(rollout: &Value) -> bool {
    let conditions = rollout.pointer("/status/pauseConditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| text(it, "/reason") == "InconclusiveAnalysisRun")
}

async fn is_held(scene: &Scene) -> Result<bool> {
    let found = scene.cluster.get(ROLLOUT, &scene.namespace, "web").await?;
    Ok(found.as_ref().is_some_and(is_undecided))
}

fn assert_never_aborted(scene: &Scene, from: Instant) -> Result<()> {
    if scene.recorder.seen("rollout/web aborted", from, |now| now == "true").is_some() {
        bail!("a healthy release was given up; {}", describe(scene));
    }
    Ok(())
}

async fn the_run(scene: &Scene, name: &str) -> Result<Value> {
    let found = scene.cluster.get(ANALYSIS_RUN, &scene.namespace, name).await?;
    found.with_context(|| format!("the AnalysisRun {name} is gone"))
}

/// The results of the limits.
fn results(run: &Value) -> Vec<&Value> {
    let all = run.pointer("/status/metricResults").and_then(Value::as_array);
    let of = |limit: &str| all.into_iter().flatten().find(|result| text(result, "/name") == limit);
    LIMITS.iter().filter_map(|limit| of(limit.metric)).collect()
}

fn say_comparison(scene: &Scene, run: &Value, metric: &str) {
    let all = run.pointer("/status/metricResults").and_then(Value::as_array);
    for result in all.into_iter().flatten().filter(|it| text(it, "/name") == metric) {
        scene.figure(format!("{metric} says"), text(result, "/message"));
    }
}

/// For each limit: how many looks were bad, and at which look it would have given up with none and with three forgiven.
fn say_limits(scene: &Scene, run: &Value) {
    for (limit, result) in LIMITS.iter().zip(results(run)) {
        let measurements = result.pointer("/measurements").and_then(Value::as_array);
        let phases: Vec<String> =
            measurements.into_iter().flatten().map(|it| text(it, "/phase")).collect();
        scene.figure(limit.about, bad_looks(&phases));
    }
}

fn bad_looks(phases: &[String]) -> String {
    let bad: Vec<usize> =
        (1..).zip(phases).filter(|(_, it)| *it == "Failed").map(|(look, _)| look).collect();
    let nth = |idx: usize| bad.get(idx).map_or_else(|| "never".to_owned(), ToString::to_string);
    format!(
        "{} of {} looks bad; the first: {}, the fourth: {}",
        bad.len(),
        phases.len(),
        nth(0),
        nth(3)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_looks_are_counted_from_one() {
        let phases: Vec<String> =
            ["Successful", "Failed", "Failed", "Successful", "Failed", "Failed"]
                .map(str::to_owned)
                .into();
        assert_eq!(bad_looks(&phases), "4 of 6 looks bad; the first: 2, the fourth: 6");
        assert_eq!(
            bad_looks(&phases[..1]),
            "0 of 1 looks bad; the first: never, the fourth: never"
        );
    }
}
