//! What the tests begin with: the manifests of one application in a branch, an agent that applies
//! them, users, and a controller.

use std::time::Duration;

use serde_json::Value;
use sluice::controller::settings::Settings;
use sluice::git::memory::Files;
use sluice::git::source::{BranchName, GitUrl, RepoPath};
use sluice::sim::api::KindName;
use sluice::sim::world::{
    Application, Order, Push, PushChange, Target, TargetKind, Users, World, WorldPlan,
};

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const URL: &str = "https://git.example.test/shop.git";
pub(crate) const BRANCH: &str = "main";
pub(crate) const FOLDER: &str = "apps/web";
const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");

/// A world with one application.
pub(crate) struct Scene {
    pub(crate) world: World,
    started: std::time::Instant,
}

impl Scene {
    /// Version v1 is declared in Git, applied, Healthy, and has a hundred requests a second.
    pub(crate) async fn begin(seed: u64, strategy: &str, backends: &[(&str, u32)]) -> Self {
        let source = format!(
            "source: {{url: \"{URL}\", branch: {BRANCH}, path: {FOLDER}, secretRef: {{name: git}}}}"
        );
        Self::begin_with(seed, strategy, backends, &source).await
    }

    /// The same, with another `gitRevert.source`.
    pub(crate) async fn begin_with(
        seed: u64,
        strategy: &str,
        backends: &[(&str, u32)],
        source: &str,
    ) -> Self {
        Self::begin_in(WorldPlan::new(seed), None, strategy, backends, source).await
    }

    /// The same in another world, with other settings of the controller.
    pub(crate) async fn begin_in(
        plan: WorldPlan,
        settings: Option<Settings>,
        strategy: &str,
        backends: &[(&str, u32)],
        source: &str,
    ) -> Self {
        let services = ["web-stable", "web-canary", "web-active", "web-preview"];
        let services: String =
            services.into_iter().filter(|name| strategy.contains(name)).map(service).collect();
        let files = [
            ("analysis.yaml", ANALYSIS.replace("COUNT", "5").replace("MOST_ERRORS", "0.01")),
            ("rollout.yaml", rollout(strategy, source)),
            ("services.yaml", services),
            ("route.yaml", route(backends)),
        ];
        let files: Files = files
            .into_iter()
            .map(|(name, text)| {
                (RepoPath::parse(&format!("{FOLDER}/{name}")).unwrap(), Some(text.into_bytes()))
            })
            .collect();
        Self::of(plan, settings, &files).await
    }

    /// A new cluster, made from what this one's branch declares now.
    pub(crate) async fn rebuilt(&self, seed: u64) -> Self {
        let (url, branch) = place();
        let (_, files) = self.world.git().files(&url, &branch).unwrap();
        let files = files.into_iter().map(|(path, text)| (path, Some(text))).collect();
        Self::of(WorldPlan::new(seed), None, &files).await
    }

    async fn of(mut plan: WorldPlan, settings: Option<Settings>, files: &Files) -> Self {
        let started = std::time::Instant::now();
        plan.behaviour.prometheus.scrape_interval = "1s".parse().unwrap();
        let bad = serde_json::json!({"errorRate": 0.3});
        plan.behaviour.versions.insert(":bad".into(), serde_json::from_value(bad).unwrap());
        let world = World::begin(plan).unwrap();
        if let Some(settings) = settings {
            world.configure(settings);
        }
        world.add_namespace(NAMESPACE).unwrap();
        world.create("platform-team", NAMESPACE, PLATFORM).unwrap();
        let (url, branch) = place();
        world.git().commit(&url, &branch, files, "Begin");
        world.add_agent(Application {
            url,
            branch,
            path: RepoPath::parse(FOLDER).unwrap(),
            namespace: NAMESPACE.to_owned(),
        });
        world.start("one").unwrap();
        let scene = Self { world, started };
        scene.until("Healthy at first", 60, |scene| scene.phase() == "Healthy").await;
        // Endpoints and routes follow a moment later.
        scene.world.wait(Duration::from_secs(5)).await;
        let target = Target::new(TargetKind::HttpRoute, NAMESPACE, "web");
        scene.world.set_users("people", Some(Users { target, per_second: 100.0 }));
        scene.world.wait(Duration::from_secs(10)).await;
        scene
    }

    /// Pushes another image tag.
    pub(crate) fn push(&self, old: &str, new: &str) {
        let change = PushChange::Replace {
            path: format!("{FOLDER}/rollout.yaml"),
            old: format!("web:{old}"),
            new: format!("web:{new}"),
        };
        let push = Push {
            url: URL.to_owned(),
            branch: BRANCH.to_owned(),
            message: format!("Release {new}"),
            change,
            drops: 0,
        };
        self.world.order(Order::Push(push)).unwrap();
    }

    /// The Rollout as it is stored.
    pub(crate) fn rollout(&self) -> Value {
        let found = self.world.cluster().get(&ROLLOUTS, NAMESPACE, "web");
        found.map(|found| Value::clone(&found)).unwrap_or_default()
    }

    /// Its phase.
    pub(crate) fn phase(&self) -> String {
        self.rollout()["status"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the controller has seen the newest spec.
    pub(crate) fn is_observed(&self) -> bool {
        let rollout = self.rollout();
        let observed = rollout["status"]["observedGeneration"].as_str().map(str::to_owned);
        observed == Some(rollout["metadata"]["generation"].to_string())
    }

    /// The image that the stored Rollout asks for.
    pub(crate) fn image(&self) -> String {
        let rollout = self.rollout();
        let image = &rollout["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until something is so, or fails with what the Rollout says.
    pub(crate) async fn until(&self, what: &str, seconds: u64, is_so: impl Fn(&Self) -> bool) {
        let limit = Duration::from_secs(seconds);
        let is_met = self.world.until(limit, |_| is_so(self)).await;
        assert!(
            is_met,
            "not {what} within {seconds} s: {:#}\nagents: {:?}\nprocess: {:?}",
            self.rollout()["status"],
            self.world.agents(),
            self.world.process("one"),
        );
    }

    /// Weights of the canary backend that took force, in order.
    pub(crate) fn canary_weights(&self) -> Vec<u64> {
        let in_force = self.world.in_force();
        let canary = in_force.iter().filter_map(|entry| {
            let canary = entry.backends.iter().find(|one| one.service.1 == "web-canary")?;
            Some(canary.weight)
        });
        canary.collect()
    }

    /// Says how fast it was.
    pub(crate) fn report(&self, what: &str) {
        let virtual_seconds = (self.world.now() - WorldPlan::new(0).origin).as_seconds_f64();
        let real = self.started.elapsed().as_secs_f64();
        eprintln!(
            "{what}: {virtual_seconds:.0} virtual seconds in {real:.2} s, {} versions",
            self.world.cluster().version()
        );
    }
}

const PLATFORM: &str = "
apiVersion: v1
kind: Secret
metadata: {name: git}
data: {username: dGVhbQ==, password: c2VjcmV0}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricsSource
metadata: {name: prometheus}
spec: {type: Prometheus, address: 'http://prometheus.monitoring:9090'}
";

/// The branch that declares the application.
pub(crate) fn place() -> (GitUrl, BranchName) {
    (GitUrl::parse(URL).unwrap(), BranchName::parse(BRANCH).unwrap())
}

/// Words in capitals are for each user of these to say.
const ANALYSIS: &str = include_str!("../fixtures/world/analysis.yaml");
pub(crate) const SERVICE: &str = include_str!("../fixtures/world/service.yaml");
pub(crate) const TEMPLATE: &str = include_str!("../fixtures/world/template.yaml");

/// 5, 25, 50 and then all, judged after each of the first three.
pub(crate) fn canary() -> String {
    let judged = "      - analysis:
          templates: [{templateName: quality}]
          args: [{name: revision, valueFrom: {podTemplateHashValue: Latest}}]
";
    format!(
        "    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {{gatewayAPI: {{httpRoute: web}}}}
      steps:
      - setWeight: 5
{judged}      - setWeight: 25
{judged}      - setWeight: 50
{judged}"
    )
}

/// A preview that must be scraped, a switch, and a judgement by users.
pub(crate) fn blue_green() -> String {
    "    blueGreen:
      activeService: web-active
      previewService: web-preview
      scaleDownDelaySeconds: 20
      prePromotionAnalysis:
        templates: [{templateName: preview-is-scraped}]
        args: [{name: revision, valueFrom: {podTemplateHashValue: Latest}}]
      postPromotionAnalysis:
        templates: [{templateName: quality}]
        args: [{name: revision, valueFrom: {podTemplateHashValue: Latest}}]
"
    .to_owned()
}

fn rollout(strategy: &str, source: &str) -> String {
    let template = TEMPLATE.replace("TAG", "v1");
    format!(
        "apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  strategy:
{strategy}  gitRevert:
    mode: Push
    {source}
{template}"
    )
}

const CREATE_ONLY: &str = "annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}";

fn service(name: &str) -> String {
    SERVICE.replace("NAME", name).replace("APP", "web")
}

fn route(backends: &[(&str, u32)]) -> String {
    let backends: Vec<String> = backends
        .iter()
        .map(|(name, weight)| format!("        - {{name: {name}, port: 80, weight: {weight}}}\n"))
        .collect();
    let backends = backends.concat();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  {CREATE_ONLY}
spec:
  parentRefs: [{{name: main, namespace: gateways}}]
  hostnames: [shop.example.test]
  rules:
    - backendRefs:
{backends}"
    )
}
