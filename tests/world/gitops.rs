//! What a GitOps tool leaves in a cluster: its kinds, its objects, and what they say of a Rollout.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sluice::sim::api::KindName;
use sluice::sim::world::{Named, Order, Patch, World, Write};

pub(crate) const APPLICATIONS: KindName = KindName::of("argoproj.io", "applications");
pub(crate) const KUSTOMIZATIONS: KindName =
    KindName::of("kustomize.toolkit.fluxcd.io", "kustomizations");

/// The kinds of Argo CD and Flux, as far as names go.
pub(crate) fn install(world: &World) {
    let mut yaml = String::new();
    for (group, version, kind, plural) in [
        ("argoproj.io", "v1alpha1", "Application", "applications"),
        ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations"),
        ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
        ("source.toolkit.fluxcd.io", "v1", "GitRepository", "gitrepositories"),
    ] {
        let singular = kind.to_lowercase();
        write!(
            yaml,
            "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}, singular: {singular}, listKind: {kind}List}}
  versions:
    - name: {version}
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
        )
        .unwrap();
    }
    world.create("platform-team", "default", &yaml).unwrap();
    for namespace in ["argocd", "flux-system"] {
        world.add_namespace(namespace).unwrap();
    }
}

/// Makes an object.
pub(crate) fn make(world: &World, namespace: &str, object: &Value) {
    world.create("platform-team", namespace, &object.to_string()).unwrap();
}

/// Changes an object.
pub(crate) fn merge(world: &World, kind: &KindName, at: (&str, &str), patch: Value) {
    let object = Named {
        group: kind.group.to_string(),
        plural: kind.plural.to_string(),
        namespace: at.0.to_owned(),
        name: at.1.to_owned(),
    };
    let write = Write::Merge(Patch { object, subresource: String::new(), patch });
    world.order(Order::Write { who: "gitops-tool".to_owned(), write }).unwrap();
}

/// The mark that Argo CD leaves on what the Application argocd/web applies.
pub(crate) fn tracked(name: &str) -> Value {
    let id = format!("{name}:sluice.dev/Rollout:shop/{name}");
    json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": id}}})
}

/// The Application of the Rollout shop/`name`, which lists it and was synced to `commit`.
pub(crate) fn application(name: &str, source: &Value, commit: &str) -> Value {
    let resource =
        json!({"group": "sluice.dev", "kind": "Rollout", "namespace": "shop", "name": name});
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"name": name, "namespace": "argocd"},
        "spec": {
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "source": source,
        },
        "status": synced(commit, "Succeeded", &json!([resource])),
    })
}

/// The status of an Application.
pub(crate) fn synced(commit: &str, phase: &str, resources: &Value) -> Value {
    json!({
        "sync": {"status": "Synced", "revision": commit},
        "operationState": {"phase": phase, "syncResult": {"revision": commit}},
        "resources": resources,
    })
}

/// The labels that a Flux controller leaves on what it applies.
pub(crate) fn labelled(group: &str, namespace: &str, name: &str) -> Value {
    json!({"metadata": {"labels": {
        format!("{group}/name"): name, format!("{group}/namespace"): namespace,
    }}})
}

/// A Kustomization of a GitRepository, and both as they are when `commit` was applied.
pub(crate) fn kustomization(entry: &str, url: &str, path: &str, commit: &str) -> [Value; 2] {
    [
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system"},
            "spec": {"path": path, "sourceRef": {"kind": "GitRepository", "name": "deploy"}},
            "status": applied(commit, entry),
        }),
        json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "deploy", "namespace": "flux-system"},
            "spec": {"url": url, "ref": {"branch": "main"}},
        }),
    ]
}

/// The status of a Kustomization.
pub(crate) fn applied(commit: &str, entry: &str) -> Value {
    json!({
        "observedGeneration": 1,
        "lastAttemptedRevision": format!("main@sha1:{commit}"),
        "lastAppliedRevision": format!("main@sha1:{commit}"),
        "inventory": {"entries": [{"id": entry, "v": "v1alpha1"}]},
    })
}
