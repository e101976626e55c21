//! One look and one decision, at a Rollout that waits in mid-canary.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use sluice::api::ApiNames;
use sluice::clock::SeededEntropy;
use sluice::observe::cache::{Key, Scope};
use sluice::observe::caches::Caches;
use sluice::observe::{Memo, Recall, observe};
use sluice::plan::{decide, status};
use sluice::sim::api::{Identity, KindName};
use sluice::sim::world::{World, WorldPlan};
use tokio_util::sync::CancellationToken;

use crate::converged::manifests;
use crate::say;

const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");
const NAMESPACE: &str = "shop";
const NAME: &str = "web";
const TIMES: u32 = 20_000;

/// Runs it.
pub(crate) fn run() -> anyhow::Result<()> {
    // Time of the cluster stands still while this thread works.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let world = World::begin(WorldPlan::new(1))?;
    world.add_namespace(NAMESPACE)?;
    world.create("team", NAMESPACE, &manifests(NAME))?;
    world.start("one")?;
    until(&world, "Healthy").await?;
    let actor = world.cluster().actor(Identity::admin("team"));
    let mut rollout = world.cluster().get(&ROLLOUTS, NAMESPACE, NAME).context("no Rollout")?;
    set_image(std::sync::Arc::make_mut(&mut rollout), "registry.example.test/web:v2")?;
    actor.update(Value::clone(&rollout)).map_err(|failure| anyhow::anyhow!(failure.message))?;
    until(&world, "Paused").await?;

    let stop = CancellationToken::new();
    let names = ApiNames::default();
    let client = world.cluster().client(Identity::admin("bench"));
    let entropy = std::sync::Arc::new(SeededEntropy::new(1));
    let (caches, _changes) = Caches::start(&client, names, Scope::Cluster, entropy, stop.clone());
    while caches.required().iter().any(|cache| cache.ready().is_err()) {
        world.wait(Duration::from_millis(100)).await;
    }
    let rollout = caches.rollouts.get(&Key::new(NAMESPACE, NAME)).context("not in the cache")?;
    let now = world.now();
    let cold = Memo::default();
    let snapshot = observe(&caches, names, &rollout, &cold, now);
    let warm = Memo { recall: Recall::of(&snapshot), ..Memo::default() };
    let decision = decide(&snapshot.observed);
    if decision.memory.is_none() || !decision.actions.is_empty() {
        bail!("the Rollout does not wait: {:?}", decision.actions);
    }
    say("One pass over a Rollout in mid-canary (2 ReplicaSets, 2 Services)")?;
    time("observe, for the first time", || {
        black_box(observe(&caches, names, &rollout, black_box(&cold), now));
    })?;
    time("observe, nothing changed", || {
        black_box(observe(&caches, names, &rollout, black_box(&warm), now));
    })?;
    time("decide", || {
        black_box(decide(black_box(&snapshot.observed)));
    })?;
    time("project the status", || {
        black_box(status::project(black_box(&snapshot.observed), &decision, &[]));
    })?;
    stop.cancel();
    Ok(())
}

/// The shortest of five rounds: what the work takes when nothing disturbs it.
fn time(what: &str, work: impl Fn()) -> anyhow::Result<()> {
    let rounds = (0..5).map(|_| {
        let began = Instant::now();
        (0..TIMES).for_each(|_| work());
        began.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
    });
    let best = rounds.fold(f64::INFINITY, f64::min);
    say(&format!("  {best:8.1} µs  {what}"))
}

async fn until(world: &World, phase: &str) -> anyhow::Result<()> {
    let is_so = |world: &World| {
        let rollout = world.cluster().get(&ROLLOUTS, NAMESPACE, NAME);
        rollout.is_some_and(|found| found.pointer("/status/phase") == Some(&json!(phase)))
    };
    if world.until(Duration::from_mins(5), is_so).await {
        return Ok(());
    }
    bail!("the Rollout is never {phase}")
}

fn set_image(rollout: &mut Value, image: &str) -> anyhow::Result<()> {
    let found = rollout.pointer_mut("/spec/template/spec/containers/0/image");
    *found.context("no image")? = json!(image);
    Ok(())
}
