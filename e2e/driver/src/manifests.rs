//! The manifests that scenarios put into Git. Services and routes are annotated create-only: after the agent has made them,
//! selectors and weights belong to the controller.

use anyhow::Context as _;
use serde_json::json;

use crate::scene::Scene;

pub(crate) mod judged;

const CREATE_ONLY: &str = "annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}";

/// A Service that selects `app: web` plus `selector` (`, key: value`).
pub(crate) fn service(name: &str, selector: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {name}
  {CREATE_ONLY}
spec:
  selector: {{app: web{selector}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
"
    )
}

/// The route of the scenario's host to the backends with their weights.
pub(crate) fn route(scene: &Scene, backends: &[(&str, u32)]) -> String {
    let (namespace, name) = &scene.settings.gateway;
    let host = scene.host();
    let backends: Vec<String> = backends
        .iter()
        .map(|(backend, weight)| {
            format!("        - {{name: {backend}, port: 80, weight: {weight}}}\n")
        })
        .collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  {CREATE_ONLY}
spec:
  parentRefs: [{{name: {name}, namespace: {namespace}}}]
  hostnames: [{host}]
  rules:
    - backendRefs:
{}",
        backends.concat()
    )
}

/// The pod template of the application, indented for `spec.template`. `labels` (`, key: value`) are added to `app: web`.
pub(crate) fn template(scene: &Scene, version: &str, labels: &str) -> String {
    let image = scene.image(version);
    format!(
        "  template:
    metadata:
      labels: {{app: web{labels}}}
      annotations: {{prometheus.io/scrape: \"true\", prometheus.io/port: \"8080\"}}
    spec:
      terminationGracePeriodSeconds: 15
      containers:
        - name: web
          image: {image}
          imagePullPolicy: IfNotPresent
          ports: [{{containerPort: 8080}}]
          env:
            - name: POD_NAME
              valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}
          readinessProbe:
            httpGet: {{path: /readyz, port: 8080}}
            periodSeconds: 1
          resources:
            requests: {{cpu: 10m, memory: 16Mi}}
"
    )
}

/// A plain Deployment of one version, for the self-test.
pub(crate) fn deployment(scene: &Scene, version: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web-{version}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web, track: {version}}}}}
{}",
        template(scene, version, &format!(", track: {version}"))
    )
}

/// What differs between the Rollouts of the scenarios.
pub(crate) struct RolloutOptions {
    /// Lines of `spec` (indented by two), without strategy and template.
    pub(crate) spec: &'static str,
    /// `spec.strategy`, indented by four.
    pub(crate) strategy: String,
    /// Whether a bad release is reverted in Git.
    pub(crate) revert: Revert,
}

/// What `gitRevert` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revert {
    /// Nothing.
    Off,
    /// The place in Git.
    Named,
    /// Only the right to push: the place is what the GitOps tool says.
    Found,
}

/// The Rollout `web` of version v1.
pub(crate) fn rollout(scene: &Scene, options: &RolloutOptions) -> String {
    rollout_of(scene, options, "v1")
}

/// The Rollout `web` of a version.
pub(crate) fn rollout_of(scene: &Scene, options: &RolloutOptions, version: &str) -> String {
    let place = match options.revert {
        Revert::Off => None,
        Revert::Named => {
            let (url, branch) = (&scene.settings.git.url, &scene.namespace);
            Some(format!("url: \"{url}\", branch: {branch}, path: apps/web, "))
        }
        Revert::Found => Some(String::new()),
    };
    let revert = place.map_or_else(String::new, |place| {
        format!(
            "  gitRevert:
    mode: Push
    settle: 0s
    source: {{{place}secretRef: {{name: git}}}}
"
        )
    });
    format!(
        "apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {{name: web}}
spec:
{}  selector: {{matchLabels: {{app: web}}}}
  strategy:
{}{revert}{}",
        options.spec,
        options.strategy,
        template(scene, version, "")
    )
}

/// A canary strategy on the Gateway's route with these steps (each a line, indented by six).
pub(crate) fn canary(steps: &str) -> String {
    format!(
        "    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {{gatewayAPI: {{httpRoute: web}}}}
      steps:
{steps}"
    )
}

/// A blue-green strategy that checks the preview, switches, and then judges the new version by its users' requests.
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

/// A step that judges the canary by `quality`.
pub(crate) const ANALYSIS_STEP: &str = "      - analysis:
          templates: [{templateName: quality}]
          args: [{name: revision, valueFrom: {podTemplateHashValue: Latest}}]
";

/// The templates: `quality` judges error rate and latency of one revision in about 17 s; `preview-is-scraped` only wants
/// the pods of a revision to be there.
pub(crate) fn analysis_templates(scene: &Scene) -> String {
    let pods = format!("namespace=\"{}\",revision=\"{{{{args.revision}}}}\"", scene.namespace);
    format!(
        "apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{name: quality}}
spec:
  args: [{{name: revision}}]
  metrics:
    - name: error-rate
      initialDelay: 5s
      interval: 3s
      count: 5
      failureLimit: 1
      successCondition: result[0] < 0.01
      provider:
        prometheus:
          source: {{name: prometheus}}
          query: >-
            sum(rate(http_requests_total{{{pods},code=~\"5..\"}}[10s]))
            / sum(rate(http_requests_total{{{pods}}}[10s]))
    - name: latency-p90
      initialDelay: 5s
      interval: 3s
      count: 5
      failureLimit: 1
      successCondition: result[0] < 0.5
      provider:
        prometheus:
          source: {{name: prometheus}}
          query: >-
            histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket{{{pods}}}[10s])))
---
apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{name: preview-is-scraped}}
spec:
  args: [{{name: revision}}]
  metrics:
    - name: pods
      interval: 1s
      count: 3
      successCondition: result[0] >= 1
      provider:
        prometheus:
          source: {{name: prometheus}}
          query: sum(up{{{pods}}})
"
    )
}

/// What a platform team gives to a namespace, outside of Git: the address of Prometheus, the credentials for Git, and leave
/// for the controller to read Secrets here (the chart's NOTES.txt has the same as a command).
pub(crate) fn platform(scene: &Scene) -> anyhow::Result<String> {
    let ca = std::fs::read_to_string(&scene.settings.git.ca)
        .with_context(|| format!("failed to read {}", scene.settings.git.ca.display()))?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"},
        "stringData": {
            "username": scene.settings.git.user, "password": scene.settings.git.password, "ca.crt": ca,
        },
    });
    let source = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "MetricsSource", "metadata": {"name": "prometheus"},
        "spec": {"type": "Prometheus", "address": scene.settings.prometheus_url},
    });
    let may_read_secrets = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "sluice-secrets"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sluice-secrets"},
        "subjects": [{
            "kind": "ServiceAccount", "name": "sluice", "namespace": scene.settings.controller_namespace,
        }],
    });
    Ok(format!("{secret}\n---\n{source}\n---\n{may_read_secrets}\n"))
}
