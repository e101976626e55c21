//! Manifests of the scenarios that judge by counts: the comparison with stable, and beside it limits as teams write them, which
//! are measured and never decide (`dryRun`).

use crate::scene::Scene;

/// A limit that is measured beside the comparison.
#[derive(Debug)]
pub(crate) struct Limit {
    /// Name of its metric.
    pub(crate) metric: &'static str,
    /// What it asks for, for people.
    pub(crate) about: &'static str,
    condition: &'static str,
    /// `@` stands for the matchers of the canary's pods, `%` for those of the whole service.
    query: &'static str,
}

const SUCCESS: &str = "1 - sum(rate(http_requests_total{@,code=~\"5..\"}[1m])) / sum(rate(http_requests_total{@}[1m]))";
const SUCCESS_OF_ALL: &str = "1 - sum(rate(http_requests_total{%,code=~\"5..\"}[1m])) / sum(rate(http_requests_total{%}[1m]))";
const P99: &str =
    "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{@}[1m])))";
const P95: &str =
    "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{@}[1m])))";

/// The limits. A service with 0.5 % errors and a p99 of half a second would have such ones.
#[rustfmt::skip]
pub(crate) const LIMITS: &[Limit] = &[
    Limit { metric: "limit-success-99", about: "success of the canary >= 99 %", condition: "result[0] >= 0.99", query: SUCCESS },
    Limit { metric: "limit-success-97", about: "success of the canary >= 97 %", condition: "result[0] >= 0.97", query: SUCCESS },
    Limit { metric: "limit-success-95", about: "success of the canary >= 95 %", condition: "result[0] >= 0.95", query: SUCCESS },
    Limit { metric: "limit-service-99", about: "success of the whole service >= 99 %", condition: "result[0] >= 0.99", query: SUCCESS_OF_ALL },
    Limit { metric: "limit-p99", about: "p99 of the canary <= 1 s", condition: "result[0] <= 1", query: P99 },
    Limit { metric: "limit-p95", about: "p95 of the canary <= 0.5 s", condition: "result[0] <= 0.5", query: P95 },
];

/// How the comparison is asked for. Everything else is as by default: budget 0.01, warm-up 60 s, `maxRatio` 1.1, `maxOdds` 1.25,
/// dispersion from the history of stable. Looks are every 10 s, as Prometheus scrapes each second here.
fn comparison(namespace: &str) -> String {
    format!(
        "  source: {{name: prometheus}}
  interval: 10s
  lag: 3s
  metrics:
    - name: errors
      type: rate
      total: http_requests_total{{namespace=\"{namespace}\"}}
      bad: http_requests_total{{namespace=\"{namespace}\",code=~\"5..\"}}
    - name: latency
      type: latency
      histogram: http_request_duration_seconds{{namespace=\"{namespace}\"}}
"
    )
}

fn limit(limit: &Limit, namespace: &str) -> String {
    let query = limit
        .query
        .replace('@', &format!("namespace=\"{namespace}\",revision=\"{{{{args.revision}}}}\""))
        .replace('%', &format!("namespace=\"{namespace}\""));
    format!(
        "    - name: {}
      initialDelay: 60s
      interval: 30s
      failureLimit: 1000
      successCondition: {}
      provider:
        prometheus:
          source: {{name: prometheus}}
          query: >-
            {query}
",
        limit.metric, limit.condition
    )
}

/// The template `judged`: the comparison, and limits that never decide.
pub(crate) fn template(scene: &Scene) -> String {
    let limits: Vec<String> = LIMITS.iter().map(|it| limit(it, &scene.namespace)).collect();
    let comparison = comparison(&scene.namespace);
    format!(
        "apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {{name: judged}}
spec:
  args: [{{name: revision}}]
  dryRun: [{{metricName: limit-.*}}]
  measurementRetention: [{{metricName: limit-.*, limit: 100}}]
{comparison}{}",
        limits.concat()
    )
}

/// The background analysis of `judged`, indented as a field of the canary strategy.
pub(crate) const BACKGROUND: &str = "      analysis:
        templates: [{templateName: judged}]
        args: [{name: revision, valueFrom: {podTemplateHashValue: Latest}}]
";

/// What both versions need: the Service `store` and its one pod, which is no part of the application.
pub(crate) fn store(scene: &Scene, replicas: u32) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: store}}
spec:
  selector: {{app: store}}
  ports: [{{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: store}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: store}}}}
  template:
    metadata: {{labels: {{app: store}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: store
          image: {}
          imagePullPolicy: IfNotPresent
          readinessProbe:
            httpGet: {{path: /readyz, port: 8080}}
            periodSeconds: 1
",
        scene.image("v1")
    )
}
