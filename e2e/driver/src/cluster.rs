//! The Kubernetes API as the scenarios use it: objects are JSON, kinds are looked up once, and every wait has a deadline,
//! says what it waits for while it waits, and what it last saw when it gives up.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use kube::core::discovery::Scope;
use kube::{Client, Config};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::log::say;

/// A kind as manifests name it: apiVersion and kind.
pub(crate) type Kind = (&'static str, &'static str);

pub(crate) const ROLLOUT: Kind = ("sluice.dev/v1alpha1", "Rollout");
pub(crate) const ANALYSIS_RUN: Kind = ("sluice.dev/v1alpha1", "AnalysisRun");
pub(crate) const HTTP_ROUTE: Kind = ("gateway.networking.k8s.io/v1", "HTTPRoute");
pub(crate) const SERVICE: Kind = ("v1", "Service");
pub(crate) const NAMESPACE: Kind = ("v1", "Namespace");
pub(crate) const POD: Kind = ("v1", "Pod");
pub(crate) const DEPLOYMENT: Kind = ("apps/v1", "Deployment");
pub(crate) const REPLICA_SET: Kind = ("apps/v1", "ReplicaSet");
pub(crate) const AUTOSCALER: Kind = ("autoscaling/v2", "HorizontalPodAutoscaler");
pub(crate) const LEASE: Kind = ("coordination.k8s.io/v1", "Lease");

/// Annotation on objects that the GitOps agent creates and then leaves alone, because the controller edits them (the
/// annotation is Flux' own).
const CREATE_ONLY: &str = "/metadata/annotations/kustomize.toolkit.fluxcd.io~1ssa";

/// A connection to the cluster; cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    kinds: Arc<Mutex<HashMap<GroupVersionKind, (ApiResource, Scope)>>>,
}

impl Cluster {
    /// Connects as `KUBECONFIG` says.
    pub(crate) async fn connect() -> Result<Self> {
        // Fails only when a provider is installed already, which is what we want.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let mut config =
            Config::infer().await.context("no usable kubeconfig; is KUBECONFIG set?")?;
        "default".clone_into(&mut config.default_namespace);
        let client = Client::try_from(config).context("failed to make a Kubernetes client")?;
        let cluster = Self { client, kinds: Arc::default() };
        cluster.client.apiserver_version().await.context("the API server does not answer")?;
        Ok(cluster)
    }

    /// The API of a kind, in a namespace when the kind has them.
    pub(crate) async fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: &str,
    ) -> Result<Api<DynamicObject>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let key = GroupVersionKind::gvk(group, version, kind);
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let (resource, scope) = if let Some(known) = known {
            known
        } else {
            let (resource, capabilities) =
                kube::discovery::pinned_kind(&self.client, &key)
                    .await
                    .with_context(|| format!("the cluster does not serve {api_version} {kind}"))?;
            let found = (resource, capabilities.scope);
            self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
            found
        };
        Ok(match scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), namespace, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// One object, or nothing when it does not exist.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>> {
        let api = self.api(kind.0, kind.1, namespace).await?;
        let found = api
            .get_opt(name)
            .await
            .with_context(|| format!("failed to read {} {namespace}/{name}", kind.1))?;
        found.map(|object| Ok(serde_json::to_value(object)?)).transpose()
    }

    /// All objects of a kind in a namespace that carry the labels of `selector`.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>> {
        let api = self.api(kind.0, kind.1, namespace).await?;
        let listed = api
            .list(&ListParams::default().labels(selector))
            .await
            .with_context(|| format!("failed to list {} in {namespace}", kind.1))?;
        listed.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Server-side apply of every document of `yaml` into `namespace`, as a GitOps tool does it: forced, and objects
    /// annotated `IfNotPresent` only when they do not exist.
    pub(crate) async fn apply(&self, namespace: &str, yaml: &str, manager: &str) -> Result<()> {
        for mut object in documents(yaml)? {
            self.apply_object(namespace, &mut object, manager).await?;
        }
        Ok(())
    }

    async fn apply_object(&self, namespace: &str, object: &mut Value, manager: &str) -> Result<()> {
        let api_version = text(object, "/apiVersion");
        let kind = text(object, "/kind");
        let name = text(object, "/metadata/name");
        let api = self.api(&api_version, &kind, namespace).await?;
        let create_only = text(object, CREATE_ONLY) == "IfNotPresent";
        if create_only && api.get_opt(&name).await?.is_some() {
            return Ok(());
        }
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("namespace");
        }
        api.patch(&name, &PatchParams::apply(manager).force(), &Patch::Apply(&object))
            .await
            .with_context(|| format!("failed to apply {kind} {namespace}/{name}"))?;
        Ok(())
    }

    /// A merge patch, of the object or of its `status`.
    pub(crate) async fn patch(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let api = self.api(kind.0, kind.1, namespace).await?;
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .with_context(|| format!("failed to patch {} {namespace}/{name}", kind.1))?;
        Ok(())
    }

    /// Deletes an object with what it owns; it need not exist.
    pub(crate) async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<()> {
        let api = self.api(kind.0, kind.1, namespace).await?;
        match api.delete(name, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error)
                .with_context(|| format!("failed to delete {} {namespace}/{name}", kind.1)),
        }
    }

    /// An empty namespace of that name, made anew when there is one. What an earlier, broken run left there is removed by
    /// force: without a controller nobody takes the finalizers off.
    pub(crate) async fn fresh_namespace(&self, name: &str, deadline: Duration) -> Result<()> {
        if self.get(NAMESPACE, "", name).await?.is_some() {
            self.delete(NAMESPACE, "", name).await?;
            if self.api(ROLLOUT.0, ROLLOUT.1, name).await.is_ok() {
                for rollout in self.list(ROLLOUT, name, "").await? {
                    let free = json!({"metadata": {"finalizers": null}});
                    let rollout = text(&rollout, "/metadata/name");
                    // It may be gone by now, which is what we want.
                    let _gone = self.patch(ROLLOUT, name, &rollout, &free).await;
                }
            }
        }
        self.remove_namespace(name, deadline).await?;
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {"sluice.dev/e2e": "scenario"}},
        });
        self.apply(name, &namespace.to_string(), "sluice-e2e").await
    }

    /// Deletes a namespace and waits until it is gone.
    pub(crate) async fn remove_namespace(&self, name: &str, deadline: Duration) -> Result<()> {
        if self.get(NAMESPACE, "", name).await?.is_none() {
            return Ok(());
        }
        self.delete(NAMESPACE, "", name).await?;
        let from = Instant::now();
        while self.get(NAMESPACE, "", name).await?.is_some() {
            if from.elapsed() > deadline {
                bail!(
                    "namespace {name} is not gone after {deadline:?}; does something hold a finalizer?"
                );
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }

    /// Waits until `test` finds what it looks for in the object.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        deadline: Duration,
        object: (Kind, &str, &str),
        test: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        let (kind, namespace, name) = object;
        let from = Instant::now();
        let mut said = from;
        loop {
            let seen = self.get(kind, namespace, name).await?;
            if let Some(found) = seen.as_ref().and_then(&test) {
                return Ok(found);
            }
            let status = seen.as_ref().map_or_else(
                || "it does not exist".to_owned(),
                |value| value.pointer("/status").map_or_else(|| "no status".to_owned(), short),
            );
            if from.elapsed() > deadline {
                bail!(
                    "{what}: not within {deadline:?}; {} {namespace}/{name} has {status}",
                    kind.1
                );
            }
            if said.elapsed() > Duration::from_secs(5) {
                said = Instant::now();
                say(namespace, format!("waiting until {what}; now {status}"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The client itself, for watches.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// The documents of a YAML text that are not empty.
fn documents(yaml: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in serde_norway::Deserializer::from_str(yaml) {
        let object = Value::deserialize(document).context("a manifest is not YAML")?;
        if !object.is_null() {
            objects.push(object);
        }
    }
    Ok(objects)
}

/// The text at a JSON pointer; empty when it is missing or no text.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

/// The whole number at a JSON pointer; zero when it is missing.
pub(crate) fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The first 300 characters of a JSON value, for messages.
fn short(value: &Value) -> String {
    let mut out = String::new();
    let _infallible = write!(out, "{value}");
    if out.chars().count() > 300 {
        out = out.chars().take(300).chain("...".chars()).collect();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_value_reads_as_empty_and_zero() {
        let value = json!({"a": {"b": "c", "n": 3}});
        assert_eq!(text(&value, "/a/b"), "c");
        assert_eq!(text(&value, "/a/n"), "3");
        assert_eq!(text(&value, "/a/x"), "");
        assert_eq!(number(&value, "/a/n"), 3);
        assert_eq!(number(&value, "/a/b"), 0);
    }

    #[test]
    fn a_long_status_is_cut() {
        assert_eq!(short(&json!("x".repeat(1000))).chars().count(), 303);
    }
}
