//! The application of the demonstration: manifests as a team would have them in Git.

use std::collections::BTreeMap;

use crate::git::source::{BranchName, GitUrl, InvalidSource, RepoPath};

pub(super) const NAMESPACE: &str = "shop";
/// Name of the Rollout and of its route.
pub(super) const APP: &str = "web";
pub(super) const CANARY_SERVICE: &str = "web-canary";
const URL: &str = "https://git.example.test/shop.git";
const FOLDER: &str = "apps/web";
/// Image tags: the first version, a good one and a bad one.
pub(super) const FIRST: &str = "1.0.0";
pub(super) const GOOD: &str = "1.1.0";
pub(super) const BAD: &str = "1.2.0";
/// Weights of the canary, in percent, in the order of the steps.
pub(super) const WEIGHTS: [u64; 3] = [5, 25, 50];

/// Where the application is declared.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) url: GitUrl,
    pub(super) branch: BranchName,
    pub(super) folder: RepoPath,
}

impl Place {
    pub(super) fn new() -> Result<Self, InvalidSource> {
        Ok(Self {
            url: GitUrl::parse(URL)?,
            branch: BranchName::parse("main")?,
            folder: RepoPath::parse(FOLDER)?,
        })
    }
}

/// The path of a file of the application.
fn path(name: &str) -> Result<RepoPath, InvalidSource> {
    RepoPath::parse(&format!("{FOLDER}/{name}"))
}

/// The file that declares the Rollout.
pub(super) fn rollout_file(tag: &str) -> Result<(RepoPath, Vec<u8>), InvalidSource> {
    let text = ROLLOUT.replace("TAG", tag).replace("URL", URL).replace("FOLDER", FOLDER);
    Ok((path("rollout.yaml")?, text.into_bytes()))
}

/// All files of the application.
pub(super) fn files() -> Result<BTreeMap<RepoPath, Vec<u8>>, InvalidSource> {
    Ok(BTreeMap::from([
        rollout_file(FIRST)?,
        (path("analysis.yaml")?, ANALYSIS.into()),
        (path("services.yaml")?, SERVICES.into()),
        (path("route.yaml")?, ROUTE.into()),
    ]))
}

/// What the team that runs the platform has put there: credentials for Git, and an address.
pub(super) const PLATFORM: &str = "
apiVersion: v1
kind: Secret
metadata: {name: git}
stringData: {username: sluice, password: demonstration}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricsSource
metadata: {name: prometheus}
spec: {type: Prometheus, address: 'http://prometheus.monitoring:9090'}
";

const ROLLOUT: &str = "apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata:
  name: web
spec:
  replicas: 4
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
      annotations: {prometheus.io/scrape: \"true\", prometheus.io/port: \"8080\"}
    spec:
      containers:
        - name: web
          image: registry.example.test/web:TAG
          ports: [{name: http, containerPort: 8080}]
  strategy:
    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting:
        gatewayAPI: {httpRoute: web}
      steps:
        - setWeight: 5
        - analysis: &judged
            templates: [{templateName: quality}]
            args: [{name: revision, valueFrom: {podTemplateHashValue: Latest}}]
        - setWeight: 25
        - analysis: *judged
        - setWeight: 50
        - analysis: *judged
  gitRevert:
    mode: Push
    source: {url: \"URL\", branch: main, path: FOLDER, secretRef: {name: git}}
";

const ANALYSIS: &str = r#"apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: quality}
spec:
  args: [{name: revision}]
  metrics:
    - name: error-rate
      initialDelay: 5s
      interval: 3s
      count: 6
      failureLimit: 1
      successCondition: result[0] < 0.02
      provider:
        prometheus:
          source: {name: prometheus}
          query: >-
            sum(rate(http_requests_total{namespace="shop",revision="{{args.revision}}",code=~"5.."}[10s]))
            / sum(rate(http_requests_total{namespace="shop",revision="{{args.revision}}"}[10s]))
    - name: latency-p90
      initialDelay: 5s
      interval: 3s
      count: 6
      failureLimit: 1
      successCondition: result[0] < 0.5
      provider:
        prometheus:
          source: {name: prometheus}
          query: >-
            histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket{namespace="shop",revision="{{args.revision}}"}[10s])))
"#;

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata:
  name: web-stable
  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata:
  name: web-canary
  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
";

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}
spec:
  parentRefs: [{name: main, namespace: gateways}]
  hostnames: [shop.example.test]
  rules:
    - backendRefs:
        - {name: web-stable, port: 80, weight: 100}
        - {name: web-canary, port: 80, weight: 0}
";
