//! Faults that scenarios inject into the controller: a SIGKILL of its process, and a pod that disappears.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use kube::api::DeleteParams;
use tokio::process::Command;

use crate::cluster::{POD, text};
use crate::log::say;
use crate::scene::Scene;

/// Names of the controller's pods that run.
pub(crate) async fn controller_pods(scene: &Scene) -> Result<Vec<String>> {
    let namespace = &scene.settings.controller_namespace;
    let pods = scene.cluster.list(POD, namespace, "app.kubernetes.io/name=sluice").await?;
    let running = pods.iter().filter(|pod| {
        text(pod, "/status/phase") == "Running"
            && text(pod, "/metadata/deletionTimestamp").is_empty()
    });
    Ok(running.map(|pod| text(pod, "/metadata/name")).collect())
}

/// Sends SIGKILL to the process of a pod's first container; the kubelet starts it again.
pub(crate) async fn kill_container(scene: &Scene, pod: &str) -> Result<()> {
    let namespace = &scene.settings.controller_namespace;
    let found = scene.cluster.get(POD, namespace, pod).await?;
    let found = found.with_context(|| format!("pod {namespace}/{pod} is gone"))?;
    let container = text(&found, "/status/containerStatuses/0/containerID");
    let Some(container) = container.strip_prefix("containerd://") else {
        bail!("pod {pod} has no running container");
    };
    let Some(socket) = &scene.settings.containerd else {
        // On a cluster that is not ours, the hardest that we can do.
        return delete_now(scene, pod).await;
    };
    let killed = Command::new("ctr")
        .args([
            "--address",
            socket,
            "--namespace",
            "k8s.io",
            "tasks",
            "kill",
            "--signal",
            "SIGKILL",
        ])
        .arg(container)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .context("ctr cannot be started")?;
    if !killed.success() {
        bail!("container {container} of {pod} does not run");
    }
    say(&scene.namespace, format!("kill -9 of {pod}"));
    Ok(())
}

/// Deletes a pod of the controller without waiting for its end.
pub(crate) async fn delete_now(scene: &Scene, pod: &str) -> Result<()> {
    let namespace = &scene.settings.controller_namespace;
    let api = scene.cluster.api(POD.0, POD.1, namespace).await?;
    api.delete(pod, &DeleteParams::default().grace_period(0))
        .await
        .with_context(|| format!("failed to delete pod {namespace}/{pod}"))?;
    say(&scene.namespace, format!("deleted {pod} at once"));
    Ok(())
}
