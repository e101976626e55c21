//! What is installed in a simulated cluster: one application, its Rollout and how it is judged.

use serde_json::{Value, json};

use crate::case::{Setup, Shape};

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const NAME: &str = "web";
pub(crate) const URL: &str = "https://git.example.test/shop.git";
pub(crate) const BRANCH: &str = "main";
pub(crate) const FOLDER: &str = "apps/web";
pub(crate) const ROLLOUT_FILE: &str = "apps/web/rollout.yaml";
/// The password of the Git server, plain and as its Secret has it.
pub(crate) const SECRETS: [&str; 2] =
    ["canary-of-the-simulation", "Y2FuYXJ5LW9mLXRoZS1zaW11bGF0aW9u"];
/// Seconds without progress after which an update is aborted.
pub(crate) const DEADLINE_SECONDS: u32 = 150;

/// What versions are like, by a part of their tag.
pub(crate) fn versions() -> Value {
    json!({
        ":bad": {"errorRate": 0.3},
        ":slow": {"latencyMs": 900.0},
        ":stuck": {"isNeverReady": true},
        ":crash": {"crashesAfter": "400ms"},
    })
}

/// Whether an analysis must refuse this tag.
pub(crate) fn is_bad(tag: &str) -> bool {
    tag.starts_with("bad") || tag.starts_with("slow")
}

/// Whether no pod of this tag stays ready.
pub(crate) fn is_broken(tag: &str) -> bool {
    tag.starts_with("stuck") || tag.starts_with("crash")
}

/// The files of the application in Git.
pub(crate) fn files(setup: &Setup, tag: &str) -> Vec<(String, String)> {
    let own = services(setup.shape).iter().map(|name| service(name, "web"));
    let services: String = own.chain([service("others", "others")]).collect();
    let mut files = vec![
        (
            format!("{FOLDER}/analysis.yaml"),
            ANALYSIS.replace("COUNT", "4").replace("MOST_ERRORS", "0.05"),
        ),
        (ROLLOUT_FILE.to_owned(), rollout(setup, tag)),
        (format!("{FOLDER}/services.yaml"), services),
    ];
    let backends: &[(&str, u32)] = match setup.shape {
        Shape::Canary | Shape::PausedCanary => &[("web-stable", 100), ("web-canary", 0)],
        Shape::PlainCanary => &[("web-all", 1)],
        Shape::BlueGreen => &[("web-active", 1)],
    };
    files.push((format!("{FOLDER}/route.yaml"), route(backends)));
    files
}

fn services(shape: Shape) -> &'static [&'static str] {
    match shape {
        Shape::Canary | Shape::PausedCanary => &["web-stable", "web-canary"],
        Shape::PlainCanary => &["web-all"],
        Shape::BlueGreen => &["web-active", "web-preview"],
    }
}

/// What belongs to the platform, and is not in Git.
pub(crate) fn platform(setup: &Setup) -> String {
    let autoscaler = format!(
        "
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web}}
spec:
  scaleTargetRef: {{apiVersion: sluice.dev/v1alpha1, kind: Rollout, name: web}}
  minReplicas: {}
  maxReplicas: {}
  metrics:
    - type: Resource
      resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 60}}}}
",
        setup.replicas,
        setup.replicas + 3
    );
    let autoscaler = if setup.has_autoscaler { autoscaler } else { String::new() };
    format!(
        "
apiVersion: v1
kind: Secret
metadata: {{name: git}}
data: {{username: dGVhbQ==, password: Y2FuYXJ5LW9mLXRoZS1zaW11bGF0aW9u}}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricsSource
metadata: {{name: prometheus}}
spec: {{type: Prometheus, address: 'http://prometheus.monitoring:9090'}}
{autoscaler}"
    )
}

/// The Rollout with an image tag.
pub(crate) fn rollout(setup: &Setup, tag: &str) -> String {
    let strategy = strategy(setup.shape);
    // An autoscaler's number is nobody else's.
    let replicas = if setup.has_autoscaler {
        String::new()
    } else {
        format!("  replicas: {}\n", setup.replicas)
    };
    let template = TEMPLATE.replace("TAG", tag);
    format!(
        "apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {{name: {NAME}}}
spec:
{replicas}  progressDeadlineSeconds: {DEADLINE_SECONDS}
  progressDeadlineAbort: true
  selector: {{matchLabels: {{app: web}}}}
  strategy:
{strategy}  gitRevert:
    mode: Push
    source: {{url: \"{URL}\", branch: {BRANCH}, path: {FOLDER}, secretRef: {{name: git}}}}
{template}"
    )
}

fn strategy(shape: Shape) -> String {
    let run = |indent: &str| {
        format!(
            "{indent}templates: [{{templateName: quality}}]
{indent}args: [{{name: revision, valueFrom: {{podTemplateHashValue: Latest}}}}]
"
        )
    };
    let routed = "    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {gatewayAPI: {httpRoute: web}}
";
    let judged = format!("      - analysis:\n{}", run("          "));
    match shape {
        Shape::Canary => format!(
            "{routed}      steps:
      - setWeight: 5
{judged}      - setWeight: 25
{judged}      - setWeight: 50
{judged}"
        ),
        Shape::PausedCanary => format!(
            "{routed}      analysis:
        startingStep: 1
{}      steps:
      - setWeight: 10
      - pause: {{duration: 15s}}
      - setWeight: 40
      - pause: {{duration: 20s}}
      - setWeight: 80
      - pause: {{duration: 10s}}
",
            run("        ")
        ),
        Shape::PlainCanary => format!(
            "    canary:
      steps:
      - setWeight: 25
{judged}      - setWeight: 60
      - pause: {{duration: 10s}}
"
        ),
        Shape::BlueGreen => format!(
            "    blueGreen:
      activeService: web-active
      previewService: web-preview
      scaleDownDelaySeconds: 20
      prePromotionAnalysis:
        templates: [{{templateName: preview-is-scraped}}]
        args: [{{name: revision, valueFrom: {{podTemplateHashValue: Latest}}}}]
      postPromotionAnalysis:
{}",
            run("        ")
        ),
    }
}

const CREATE_ONLY: &str = "annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}";

fn service(name: &str, app: &str) -> String {
    SERVICE.replace("NAME", name).replace("APP", app)
}

fn route(backends: &[(&str, u32)]) -> String {
    let line = |(name, weight): &(&str, u32)| {
        format!("        - {{name: {name}, port: 80, weight: {weight}}}\n")
    };
    let backends = backends.iter().map(line).collect::<Vec<_>>().concat();
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
    - matches: [{{headers: [{{name: x-team, value: other}}]}}]
      filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{remove: [x-debug]}}}}]
      backendRefs: [{{name: others, port: 80}}]
    - backendRefs:
{backends}"
    )
}

/// Words in capitals are for each user of these to say.
const ANALYSIS: &str = include_str!("../../fixtures/world/analysis.yaml");
const SERVICE: &str = include_str!("../../fixtures/world/service.yaml");
const TEMPLATE: &str = include_str!("../../fixtures/world/template.yaml");
