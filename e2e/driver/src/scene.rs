//! What a scenario has in its hands: a namespace of its own, the history of it, a branch of the repository, a prober, and a
//! place for the figures that it reports.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::binomial::{band, real};
use crate::cluster::{ANALYSIS_RUN, Cluster, HTTP_ROUTE, POD, REPLICA_SET, ROLLOUT, SERVICE, text};
use crate::log::say;
use crate::prober::{Prober, Traffic};
use crate::recorder::{Recorder, weight_of};
use crate::repository::Repository;
use crate::settings::Settings;

/// One running scenario.
pub(crate) struct Scene {
    /// Name of the scenario; `NAME-2` for its second copy.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    pub(crate) settings: Settings,
    pub(crate) cluster: Cluster,
    /// What happened in the namespace.
    pub(crate) recorder: Recorder,
    figures: Mutex<Vec<(String, String)>>,
}

impl Scene {
    /// An empty namespace whose objects are watched. A scenario that `needs_controller` fails here, and clearly, when the
    /// cluster does not know its kinds.
    pub(crate) async fn begin(
        name: &str,
        settings: &Settings,
        cluster: &Cluster,
        needs_controller: bool,
    ) -> Result<Self> {
        let namespace = format!("e2e-{name}");
        say(&namespace, "making the namespace anew");
        cluster.fresh_namespace(&namespace, settings.deadline(120)).await?;
        let recorder = Recorder::new(&namespace);
        for kind in [HTTP_ROUTE, SERVICE, REPLICA_SET] {
            recorder.watch(cluster, kind, &namespace).await?;
        }
        if needs_controller {
            for kind in [ROLLOUT, ANALYSIS_RUN] {
                recorder.watch(cluster, kind, &namespace).await?;
            }
        }
        Ok(Self {
            name: name.to_owned(),
            namespace,
            settings: settings.clone(),
            cluster: cluster.clone(),
            recorder,
            figures: Mutex::default(),
        })
    }

    /// The host name under which the gateway serves this namespace.
    pub(crate) fn host(&self) -> String {
        format!("{}.example.test", self.namespace)
    }

    /// Reports a figure in the table at the end.
    pub(crate) fn figure(&self, what: impl Into<String>, value: impl Into<String>) {
        let (what, value) = (what.into(), value.into());
        say(&self.namespace, format!("figure: {what} = {value}"));
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).push((what, value));
    }

    /// All figures so far.
    pub(crate) fn figures(&self) -> Vec<(String, String)> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A branch of the repository with these files under `apps/web`, pushed.
    pub(crate) async fn repository(&self, files: &[(&str, String)]) -> Result<Repository> {
        let directory = self.work("team");
        let repository = Repository::begin(&self.settings.git, &directory, &self.namespace).await?;
        let mut all: Vec<(String, String)> = files
            .iter()
            .map(|(file, content)| (format!("apps/web/{file}"), content.clone()))
            .collect();
        // Somebody else's application: no scenario may ever change it.
        all.push(("apps/other/config.yaml".to_owned(), "replicas: 3 # not ours\n".to_owned()));
        repository.write(&all).await?;
        repository.commit("Begin").await?;
        Ok(repository)
    }

    /// An agent that applies `apps/web` of the branch into this namespace.
    pub(crate) async fn agent(&self, repository: &Repository) -> Result<Agent> {
        let clone = repository.clone_of(&self.work("agent")).await?;
        Ok(Agent::start(
            self.cluster.clone(),
            clone,
            "apps/web".to_owned(),
            self.namespace.clone(),
            self.recorder.clone(),
        ))
    }

    /// A prober of this namespace's host.
    pub(crate) async fn prober(&self) -> Result<Prober> {
        self.prober_at(self.settings.rate.saturating_mul(60)).await
    }

    /// A prober that sends so many requests a minute.
    pub(crate) async fn prober_at(&self, a_minute: u32) -> Result<Prober> {
        let deadline = self.settings.deadline(60);
        Prober::start(&self.settings.gateway_url, &self.host(), a_minute, deadline).await
    }

    /// A directory for work trees of this scenario.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.settings.state.join("work").join(&self.name).join(name)
    }

    /// Waits for the moment at which the route gives `weight` to the canary backend.
    pub(crate) async fn wait_route_weight(
        &self,
        weight: i64,
        from: Instant,
        seconds: u64,
    ) -> Result<Instant> {
        let what = format!("the route gives {weight} to the canary");
        let key = ("httproute/web weights", from);
        let deadline = self.settings.deadline(seconds);
        let passes = |weights: &str| weight_of(weights, "web-canary") == Some(weight);
        Ok(self.recorder.wait(&what, deadline, key, passes).await?.0)
    }

    /// Reports how many requests there were, and how many of them got no answer of the application; gives the latter.
    pub(crate) fn say_requests(&self, traffic: &Traffic) -> u64 {
        let failed: u64 = traffic.failures().values().sum();
        self.figure("requests", traffic.sent().to_string());
        self.figure("failed requests", failed.to_string());
        self.figure(
            "p50 / p99 ms",
            format!("{:.1} / {:.1}", traffic.latency_ms(0.5), traffic.latency_ms(0.99)),
        );
        failed
    }

    /// Fails when any request got no answer of the application.
    pub(crate) fn assert_no_failed_requests(&self, traffic: &Traffic) -> Result<()> {
        let failures = traffic.failures();
        let failed = self.say_requests(traffic);
        if failed > 0 {
            bail!("{failed} of {} requests failed: {failures:?}", traffic.sent());
        }
        Ok(())
    }

    /// Fails unless the share of `version` among at least 5,000 answers to requests sent in `from..to` lies within the
    /// 99.9 % binomial band of `percent`.
    pub(crate) fn assert_share(
        &self,
        traffic: &Traffic,
        version: &str,
        percent: i64,
        (from, to): (Instant, Instant),
    ) -> Result<()> {
        let versions = traffic.by_version(from, to);
        let total: u64 = versions.values().sum();
        let ours = versions.get(version).copied().unwrap_or(0);
        if total < 5000 {
            bail!(
                "only {total} answers while {version} had {percent} %, of 5000 that a judgement needs"
            );
        }
        let share = real(u64::try_from(percent).unwrap_or(0)) / 100.0;
        let (low, high) = band(total, share, 0.999);
        self.figure(
            format!("share of {version} at {percent} %"),
            format!(
                "{:.2} % ({ours} of {total}, band {low}..{high})",
                100.0 * real(ours) / real(total)
            ),
        );
        if !(low..=high).contains(&ours) {
            bail!(
                "{ours} of {total} answers were {version} at weight {percent}; the 99.9 % band is {low}..={high}"
            );
        }
        Ok(())
    }

    /// Runs the plugin in this namespace and gives what it printed; fails with its output when it fails.
    pub(crate) async fn plugin(&self, arguments: &[&str]) -> Result<String> {
        say(&self.namespace, format!("kubectl sluice {}", arguments.join(" ")));
        let output = Command::new(&self.settings.plugin)
            .args(arguments)
            .args(["--namespace", &self.namespace])
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_mins(1), output)
            .await
            .with_context(|| format!("kubectl sluice {} has not ended", arguments.join(" ")))?
            .with_context(|| format!("{} cannot be started", self.settings.plugin.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl sluice {} failed: {}{}", arguments.join(" "), said, error.trim());
        }
        Ok(said)
    }

    /// Calls the program that stops and starts what stands around the cluster.
    pub(crate) async fn service(&self, verb: &str, name: &str) -> Result<()> {
        let program = &self.settings.service;
        let program = program.as_ref().with_context(|| {
            format!("SLUICE_E2E_SERVICE is not set, so nobody can {verb} {name}")
        })?;
        say(&self.namespace, format!("{verb} {name}"));
        let status = Command::new(program)
            .args([verb, name])
            .status()
            .await
            .with_context(|| format!("{} cannot be started", program.display()))?;
        if !status.success() {
            bail!("{} {verb} {name} failed", program.display());
        }
        Ok(())
    }

    /// The test application's image of a version.
    pub(crate) fn image(&self, version: &str) -> String {
        format!("{}:{version}", self.settings.app_image)
    }

    /// Names of this scenario's pods that run `version`, by the tag of their image.
    pub(crate) async fn pods_of(&self, version: &str) -> Result<Vec<String>> {
        let pods = self.cluster.list(POD, &self.namespace, "app=web").await?;
        let image = self.image(version);
        let ours = pods.iter().filter(|pod| text(pod, "/spec/containers/0/image") == image);
        Ok(ours.map(|pod| text(pod, "/metadata/name")).collect())
    }

    /// Ends the watches and removes the namespace.
    pub(crate) async fn finish(&self) -> Result<()> {
        self.recorder.stop();
        self.cluster.remove_namespace(&self.namespace, self.settings.deadline(120)).await
    }
}
