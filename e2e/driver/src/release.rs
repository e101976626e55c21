//! What most scenarios do: put a Rollout of v1 into Git, let the agent apply it, wait until it is Healthy, and then push
//! another version. Checks that several scenarios share stand here, too.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::agent::Agent;
use crate::gitops::{Delivery, Tool};
use crate::manifests::{RolloutOptions, analysis_templates, platform, rollout, route, service};
use crate::prober::{Prober, Traffic};
use crate::repository::Repository;
use crate::scene::Scene;

/// Where the Rollout stands in the repository.
pub(crate) const ROLLOUT_FILE: &str = "apps/web/rollout.yaml";
/// Time from a change of the route until no request is split by the old weights any more.
pub(crate) const SETTLED: Duration = Duration::from_secs(1);
/// Distance kept from the end of a window, because we see a change a moment after it was made.
const MARGIN: Duration = Duration::from_millis(150);

/// The Services of a canary behind the route, and what they get at first.
const CANARY_BACKENDS: &[(&str, u32)] = &[("web-stable", 100), ("web-canary", 0)];

/// A deployed application with its users.
pub(crate) struct Release {
    pub(crate) repository: Repository,
    pub(crate) deliverer: Deliverer,
    pub(crate) prober: Prober,
}

/// Who brings what Git says into the cluster.
pub(crate) enum Deliverer {
    /// Our own small agent, which looks by itself.
    Agent(Agent),
    /// Argo CD or Flux.
    Tool(Delivery),
}

impl Deliverer {
    /// Ends it; what it delivered stays.
    pub(crate) async fn stop(self) -> Result<()> {
        match self {
            Self::Agent(agent) => {
                agent.stop().await;
                Ok(())
            }
            Self::Tool(delivery) => delivery.stop().await,
        }
    }
}

/// Deploys v1 through Git, waits until it is Healthy, and starts the prober. `backends` are those of the route; without a
/// `tool` our own agent delivers.
pub(crate) async fn deploy(
    scene: &Scene,
    options: &RolloutOptions,
    backends: &[(&str, u32)],
    tool: Option<Tool>,
) -> Result<Release> {
    let manager = "platform-team";
    scene.cluster.apply(&scene.namespace, &platform(scene)?, manager).await?;
    let services: Vec<String> = ["web-stable", "web-canary", "web-active", "web-preview"]
        .into_iter()
        .filter(|name| options.strategy.contains(name))
        .map(|name| service(name, ""))
        .collect();
    let repository = scene
        .repository(&[
            ("analysis.yaml", analysis_templates(scene)),
            ("rollout.yaml", rollout(scene, options)),
            ("services.yaml", services.concat()),
            ("route.yaml", route(scene, backends)),
        ])
        .await?;
    let deliverer = match tool {
        None => Deliverer::Agent(scene.agent(&repository).await?),
        Some(tool) => Deliverer::Tool(Delivery::start(scene, tool).await?),
    };
    wait_phase(scene, "Healthy", Instant::now(), 90).await.context("first deployment of v1")?;
    let prober = scene.prober().await?;
    Ok(Release { repository, deliverer, prober })
}

/// Deploys with the canary's two Services behind the route.
pub(crate) async fn deploy_canary(scene: &Scene, options: &RolloutOptions) -> Result<Release> {
    deploy(scene, options, CANARY_BACKENDS, None).await
}

/// The same, delivered by a real GitOps tool.
pub(crate) async fn deploy_canary_by(
    scene: &Scene,
    options: &RolloutOptions,
    tool: Tool,
) -> Result<Release> {
    deploy(scene, options, CANARY_BACKENDS, Some(tool)).await
}

impl Release {
    /// Pushes a change of the image's tag and waits until the agent has applied it; gives commit and moment of the push.
    pub(crate) async fn push(
        &self,
        scene: &Scene,
        old: &str,
        new: &str,
    ) -> Result<(String, Instant)> {
        let (old, new) = (scene.image(old), scene.image(new));
        let pushed = Instant::now();
        let commit = self.repository.change(ROLLOUT_FILE, &old, &new).await?;
        self.wait_applied(scene, &commit, pushed).await?;
        Ok((commit, pushed))
    }

    /// Tells the tool of a commit, if there is one, and waits until it is applied.
    pub(crate) async fn wait_applied(
        &self,
        scene: &Scene,
        commit: &str,
        pushed: Instant,
    ) -> Result<()> {
        if let Deliverer::Tool(delivery) = &self.deliverer {
            delivery.announce().await?;
        }
        let deadline = scene.settings.deadline(30);
        let applied = |seen: &str| seen == commit;
        scene
            .recorder
            .wait("the agent applies the commit", deadline, ("agent applied", pushed), applied)
            .await?;
        Ok(())
    }

    /// Ends deliverer and prober and gives what was answered.
    pub(crate) async fn stop(self) -> Result<Traffic> {
        self.deliverer.stop().await?;
        Ok(self.prober.stop().await)
    }
}

/// Waits until the Rollout has a phase, now or since `from`.
pub(crate) async fn wait_phase(
    scene: &Scene,
    phase: &str,
    from: Instant,
    seconds: u64,
) -> Result<Instant> {
    let what = format!("the Rollout is {phase}");
    let deadline = scene.settings.deadline(seconds);
    let seen =
        scene.recorder.wait(&what, deadline, ("rollout/web phase", from), |now| now == phase).await;
    match seen {
        Ok((at, _)) => Ok(at),
        Err(error) => bail!("{error:#}; {}", describe(scene)),
    }
}

/// What the Rollout says about itself, for messages.
pub(crate) fn describe(scene: &Scene) -> String {
    let now = |what: &str| scene.recorder.now(&format!("rollout/web {what}"));
    format!(
        "the Rollout is {} ({}), step {}, waiting on: {}",
        now("phase"),
        now("message"),
        now("step"),
        now("waiting on")
    )
}

/// A pause long enough for 5,000 requests and a fifth more.
pub(crate) fn pause_step(scene: &Scene) -> String {
    let seconds = 6000_u32.div_ceil(scene.settings.rate.max(1)) + 2;
    format!("      - pause: {{duration: {seconds}s}}\n")
}

/// Waits until an AnalysisRun gets a phase after `from`; gives its name and the moment at which we saw it.
pub(crate) async fn wait_run(
    scene: &Scene,
    phase: &str,
    from: Instant,
    seconds: u64,
) -> Result<(String, Instant)> {
    let end = Instant::now() + scene.settings.deadline(seconds);
    loop {
        for key in scene.recorder.keys("analysisrun/") {
            let Some(name) =
                key.strip_prefix("analysisrun/").and_then(|k| k.strip_suffix(" phase"))
            else {
                continue;
            };
            let became = scene.recorder.became(&key, from, |now| now == phase);
            if let Some((at, _)) = became {
                return Ok((name.to_owned(), at));
            }
        }
        if Instant::now() > end {
            bail!("no AnalysisRun is {phase} within {seconds} s; {}", describe(scene));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Checks the share of `version` for each step: (weight, the moment from which it was in force), and until when the last was.
pub(crate) fn assert_shares(
    scene: &Scene,
    traffic: &Traffic,
    version: &str,
    steps: &[(i64, Instant)],
    until: Instant,
) -> Result<()> {
    let ends = steps.iter().skip(1).map(|(_, at)| *at).chain([until]);
    for ((weight, from), to) in steps.iter().zip(ends) {
        scene.assert_share(traffic, version, *weight, (*from + SETTLED, to - MARGIN))?;
    }
    Ok(())
}

/// A duration in seconds with two digits, for figures.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
