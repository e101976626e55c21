//! The manifests that scenarios put into Git. Services and routes are annotated create-only: after the agent has made them,
//! selectors and weights belong to the controller.

use crate::scene::Scene;

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
pub(crate) fn template(version: &str, labels: &str) -> String {
    format!(
        "  template:
    metadata:
      labels: {{app: web{labels}}}
      annotations: {{prometheus.io/scrape: \"true\", prometheus.io/port: \"8080\"}}
    spec:
      terminationGracePeriodSeconds: 15
      containers:
        - name: web
          image: sluice-e2e-app:{version}
          imagePullPolicy: Never
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
pub(crate) fn deployment(version: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web-{version}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web, track: {version}}}}}
{}",
        template(version, &format!(", track: {version}"))
    )
}
