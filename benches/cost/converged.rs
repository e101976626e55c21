//! Many Rollouts: first until all are Healthy, then while nothing happens.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chrono::Utc;
use sluice::sim::api::{Caller, HttpServer, Identity, KindName};
use sluice::sim::world::{World, WorldPlan};
use tokio_util::sync::CancellationToken;

use crate::process::{Controller, Used};
use crate::say;

const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");
/// Rollouts in one namespace.
const PER_NAMESPACE: usize = 250;
/// How long nothing happens.
const QUIET: Duration = Duration::from_mins(2);
/// How long the first deployment of a thousand Rollouts may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs with `count` Rollouts of two pods.
pub(crate) fn run(count: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(count))
}

async fn measure(count: usize) -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut plan = WorldPlan::new(1);
    // The controller is a process of its own, with the time of this machine.
    plan.origin = Utc::now();
    let world = World::begin(plan)?;
    let namespaces = fill(&world, count)?;
    let caller = |context: &str, identity| Caller {
        context: context.to_owned(),
        token: format!("bench-{context}"),
        namespace: "default".to_owned(),
        identity,
    };
    let controller = Identity::service_account("sluice-system", "sluice-controller");
    let server = HttpServer::bind(world.cluster().clone(), 0, vec![caller("c", controller)]);
    let server = server.await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(stop.clone()));
    let _stop = stop.drop_guard();

    let controller = Controller::start(&kubeconfig)?;
    controller.until_up().await?;
    let began = Instant::now();
    let patience = PATIENCE * u32::try_from(count.div_ceil(1000))?;
    while healthy(&world, &namespaces) < count {
        if began.elapsed() > patience {
            let healthy = healthy(&world, &namespaces);
            bail!("{healthy} of {count} Rollouts are Healthy after {} s", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let first = controller.used().await?;
    say(&format!("\n{count} Rollouts, first deployment"))?;
    say(&format!("  all Healthy after   {took:.1} s (server and nodes in memory included)"))?;
    report(&first, count, took)?;

    // The last echoes and counts.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = controller.used().await?;
    tokio::time::sleep(QUIET).await;
    let quiet = controller.used().await?.since(&before);
    let seconds = QUIET.as_secs_f64();
    say(&format!("{count} Rollouts, nothing happens for {seconds} s"))?;
    report(&quiet, count, seconds)?;
    let is_read = |verb: &str| matches!(verb, "get" | "list");
    let writes = quiet.requests_of(|verb| !is_read(verb));
    let reads = quiet.requests_of(is_read);
    let rate = per(reads, count) * 60.0 / seconds;
    say(&format!("  writes {writes}; reads a Rollout and minute {rate:.2}"))?;
    if writes > 0 || rate > 1.5 {
        bail!("converged Rollouts should cause no write and about one GET a minute each");
    }
    Ok(())
}

fn report(used: &Used, count: usize, seconds: f64) -> anyhow::Result<()> {
    say(&format!("  controller CPU      {:.2} s ({:.1} %)", used.cpu, 100.0 * used.cpu / seconds))?;
    say(&format!("  controller memory   {:.1} MiB", used.resident))?;
    say(&format!(
        "  reconciles          {} ({:.0} a second)",
        used.reconciles,
        per(used.reconciles, 1) / seconds
    ))?;
    for (name, requests) in &used.requests {
        say(&format!("  {:8.2} a Rollout {requests:8}  {name}", per(*requests, count)))?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per(total: u64, count: usize) -> f64 {
    total as f64 / count as f64
}

/// Namespaces with Rollouts; their names.
fn fill(world: &World, count: usize) -> anyhow::Result<Vec<String>> {
    let mut namespaces = Vec::new();
    let mut left = count;
    while left > 0 {
        let here = left.min(PER_NAMESPACE);
        let namespace = format!("team-{}", namespaces.len());
        world.add_namespace(&namespace)?;
        let mut text = String::new();
        for idx in 0..here {
            write!(text, "{}", manifests(&format!("app-{idx}")))?;
        }
        world.create("team", &namespace, &text).context("the manifests of the bench")?;
        namespaces.push(namespace);
        left -= here;
    }
    Ok(namespaces)
}

fn healthy(world: &World, namespaces: &[String]) -> usize {
    let phases = namespaces.iter().flat_map(|name| world.cluster().list(&ROLLOUTS, name));
    phases.filter(|rollout| rollout.pointer("/status/phase") == Some(&"Healthy".into())).count()
}

/// A Rollout with its two Services.
pub(crate) fn manifests(name: &str) -> String {
    let service = |suffix: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}-{suffix}}}\n\
             spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}\n"
        )
    };
    format!(
        "{}{}---
apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {{name: {name}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: app
          image: registry.example.test/{name}:v1
          ports: [{{containerPort: 8080}}]
          env: [{{name: LEVEL, value: info}}, {{name: MODE, value: production}}]
          resources: {{requests: {{cpu: 100m, memory: 128Mi}}, limits: {{memory: 256Mi}}}}
          readinessProbe: {{httpGet: {{path: /ready, port: 8080}}}}
  strategy:
    canary:
      stableService: {name}-stable
      canaryService: {name}-canary
      steps: [{{setWeight: 10}}, {{pause: {{}}}}, {{setWeight: 50}}, {{pause: {{duration: 10s}}}}]
",
        service("stable"),
        service("canary"),
    )
}
