//! The cluster itself, without our controller: Git push and agent, routing by weight, metrics of the pods, a rolling update
//! without a failed request. When this fails, no other result means anything.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{DEPLOYMENT, HTTP_ROUTE, number};
use crate::manifests::{deployment, route, service};
use crate::prometheus;
use crate::scene::Scene;

/// Time from a change of the route until no request can be split by the old weights.
const SETTLED: Duration = Duration::from_secs(1);

pub(crate) async fn run(scene: &Scene) -> Result<()> {
    let services =
        [service("web-stable", ", track: v1"), service("web-canary", ", track: v2")].concat();
    let repository = scene
        .repository(&[
            (
                "deployments.yaml",
                format!("{}---\n{}", deployment(scene, "v1"), deployment(scene, "v2")),
            ),
            ("services.yaml", services),
            ("route.yaml", route(scene, &[("web-stable", 95), ("web-canary", 5)])),
        ])
        .await?;
    let agent = scene.agent(&repository).await?;
    for name in ["web-v1", "web-v2"] {
        wait_available(scene, name).await?;
    }
    let prober = scene.prober().await?;
    let mut moments = vec![(5, Instant::now())];
    for weight in [50, 5] {
        tokio::time::sleep(enough(scene)).await;
        set_weight(scene, weight).await?;
        moments.push((weight, scene.wait_route_weight(weight, Instant::now(), 10).await?));
    }
    tokio::time::sleep(enough(scene)).await;
    let end = Instant::now();
    let traffic = prober.traffic();
    let ends = moments.iter().skip(1).map(|(_, at)| *at).chain([end]);
    for ((weight, from), to) in moments.iter().zip(ends) {
        scene.assert_share(&traffic, "v2", *weight, (*from + SETTLED, to))?;
    }

    let commit = repository.change("apps/web/deployments.yaml", "app:v2", "app:errors").await?;
    let pushed = Instant::now();
    let applied = scene
        .recorder
        .wait(
            "the agent applies the commit",
            scene.settings.deadline(30),
            ("agent applied", pushed),
            |seen| seen == commit,
        )
        .await?;
    scene.figure("push to applied", format!("{:.1} s", (applied.0 - pushed).as_secs_f64()));
    set_weight(scene, 100).await?;
    expect_error_rate(scene, &commit).await?;
    agent.stop().await;
    let traffic = prober.stop().await;
    if traffic.application_errors() == 0 {
        bail!("the bad release was rolled out, and the prober saw none of its errors");
    }
    scene.assert_no_failed_requests(&traffic)
}

/// So long do 5,000 requests take, and a fifth more.
fn enough(scene: &Scene) -> Duration {
    SETTLED + Duration::from_secs_f64(6000.0 / f64::from(scene.settings.rate))
}

async fn wait_available(scene: &Scene, name: &str) -> Result<()> {
    let object = (DEPLOYMENT, scene.namespace.as_str(), name);
    let what = format!("{name} is available");
    let ready =
        |value: &serde_json::Value| (number(value, "/status/availableReplicas") == 2).then_some(());
    scene.cluster.wait(&what, scene.settings.deadline(90), object, ready).await
}

async fn set_weight(scene: &Scene, weight: i64) -> Result<()> {
    let rules = json!([{"backendRefs": [
        {"name": "web-stable", "port": 80, "weight": 100 - weight},
        {"name": "web-canary", "port": 80, "weight": weight},
    ]}]);
    let patch = json!({"spec": {"rules": rules}});
    scene.cluster.patch(HTTP_ROUTE, &scene.namespace, "web", &patch).await
}

/// Prometheus sees the 5 % errors of the bad release, under the pods' labels.
async fn expect_error_rate(scene: &Scene, commit: &str) -> Result<()> {
    let selector = format!("namespace=\"{}\",pod=~\"web-v2-.*\"", scene.namespace);
    let question = format!(
        "sum(rate(http_requests_total{{{selector},code=\"500\"}}[10s])) / sum(rate(http_requests_total{{{selector}}}[10s]))"
    );
    let from = Instant::now();
    loop {
        let seen = prometheus::query(&scene.settings.prometheus_url, &question).await?;
        let rate = seen.first().copied().unwrap_or(f64::NAN);
        if (0.03..0.07).contains(&rate) {
            scene.figure("error rate in Prometheus", format!("{:.1} %", rate * 100.0));
            return Ok(());
        }
        if from.elapsed() > scene.settings.deadline(60) {
            return Err(anyhow::anyhow!("the last answer was {seen:?}"))
                .with_context(|| format!("Prometheus does not see the errors of {commit}"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
