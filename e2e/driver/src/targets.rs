//! Service discovery for a Prometheus that was built without Kubernetes' (as Debian's is): watches pods and writes the ones
//! that ask to be scraped as a `file_sd` file. Runs as a process of its own beside the cluster.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};

use crate::cluster::{Cluster, text};

/// Keeps `file` true until the process ends.
pub(crate) async fn run(file: &Path) -> Result<()> {
    let cluster = Cluster::connect().await?;
    let pods = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    let api: Api<DynamicObject> = Api::all_with(cluster.client().clone(), &pods);
    let mut targets = BTreeMap::new();
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    write(file, &targets)?;
    let mut listing = BTreeMap::new();
    while let Some(event) = events.try_next().await.context("the watch of pods ended")? {
        match event {
            watcher::Event::Init => listing = BTreeMap::new(),
            watcher::Event::InitApply(pod) => insert(&mut listing, &pod),
            watcher::Event::InitDone => targets = std::mem::take(&mut listing),
            watcher::Event::Apply(pod) => insert(&mut targets, &pod),
            watcher::Event::Delete(pod) => {
                targets.remove(&key(&pod));
            }
        }
        write(file, &targets)?;
    }
    Ok(())
}

fn key(pod: &DynamicObject) -> String {
    let metadata = &pod.metadata;
    format!("{:?}/{:?}", metadata.namespace, metadata.name)
}

fn insert(targets: &mut BTreeMap<String, Value>, pod: &DynamicObject) {
    let found = serde_json::to_value(pod).ok().and_then(|value| target(&value));
    match found {
        Some(target) => targets.insert(key(pod), target),
        None => targets.remove(&key(pod)),
    };
}

/// The entry of a pod that runs, has an address and carries `prometheus.io/scrape: "true"`.
fn target(pod: &Value) -> Option<Value> {
    let address = text(pod, "/status/podIP");
    let wants = text(pod, "/metadata/annotations/prometheus.io~1scrape") == "true";
    if !wants || address.is_empty() || text(pod, "/status/phase") != "Running" {
        return None;
    }
    let port = text(pod, "/metadata/annotations/prometheus.io~1port");
    Some(json!({
        "targets": [format!("{address}:{port}")],
        "labels": {
            "namespace": text(pod, "/metadata/namespace"),
            "pod": text(pod, "/metadata/name"),
            "app": text(pod, "/metadata/labels/app"),
            "revision": text(pod, "/metadata/labels/sluice.dev~1revision"),
            "rollouts_pod_template_hash": text(pod, "/metadata/labels/rollouts-pod-template-hash"),
        },
    }))
}

/// Replaces the file in one step, or Prometheus would read half of it.
fn write(file: &Path, targets: &BTreeMap<String, Value>) -> Result<()> {
    let list: Vec<&Value> = targets.values().collect();
    let text = serde_json::to_string(&list)?;
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).with_context(|| format!("failed to write {}", fresh.display()))?;
    std::fs::rename(&fresh, file).with_context(|| format!("failed to write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_pod_that_asks_for_it_is_scraped() {
        let mut pod = json!({
            "metadata": {
                "name": "web-1", "namespace": "shop",
                "labels": {"app": "web", "sluice.dev/revision": "abc"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
            },
            "status": {"phase": "Running", "podIP": "10.244.0.7"}
        });
        let entry = target(&pod).unwrap();
        assert_eq!(text(&entry, "/targets/0"), "10.244.0.7:8080");
        assert_eq!(text(&entry, "/labels/revision"), "abc");
        pod["status"]["phase"] = json!("Pending");
        assert_eq!(target(&pod), None);
    }
}
