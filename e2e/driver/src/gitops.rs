//! Real GitOps tools in the place of our own agent: the objects that tell Argo CD or Flux to deliver `apps/web` of a branch into a
//! scenario's namespace, and what the tool says about them. They run as processes that `e2e/lib/gitops.sh` starts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Kind, text};
use crate::log::say;
use crate::recorder::Recorder;
use crate::scene::Scene;

const APPLICATION: Kind = ("argoproj.io/v1alpha1", "Application");
const GIT_REPOSITORY: Kind = ("source.toolkit.fluxcd.io/v1", "GitRepository");
const KUSTOMIZATION: Kind = ("kustomize.toolkit.fluxcd.io/v1", "Kustomization");
const SECRET: Kind = ("v1", "Secret");

/// How often the tool's object is read.
const LOOK: Duration = Duration::from_millis(250);

/// A tool that a scenario can be delivered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Argo CD: an Application in its own namespace, synced automatically, with self-healing and pruning.
    ArgoCd,
    /// Flux: a GitRepository and a Kustomization in its own namespace.
    Flux,
}

impl Tool {
    /// As `e2e/run` starts it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ArgoCd => "argocd",
            Self::Flux => "flux",
        }
    }

    /// The process that applies, as `e2e/lib/gitops.sh` names it.
    pub(crate) const fn process(self) -> &'static str {
        match self {
            Self::ArgoCd => "argocd-application-controller",
            Self::Flux => "kustomize-controller",
        }
    }

    /// Kind of the object that applies.
    pub(crate) const fn owner(self) -> &'static str {
        match self {
            Self::ArgoCd => APPLICATION.1,
            Self::Flux => KUSTOMIZATION.1,
        }
    }

    /// Where its objects stand.
    const fn namespace(self) -> &'static str {
        match self {
            Self::ArgoCd => "argocd",
            Self::Flux => "flux-system",
        }
    }
}

/// A delivery by a tool; it ends when it is stopped.
pub(crate) struct Delivery {
    tool: Tool,
    name: String,
    cluster: Cluster,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Delivery {
    /// Makes the objects. What the tool says is recorded: the commit that it applied last as `agent applied`, and `tool health`.
    pub(crate) async fn start(scene: &Scene, tool: Tool) -> Result<Self> {
        let name = scene.namespace.clone();
        let cluster = scene.cluster.clone();
        // A run that was broken off may have left them.
        remove(&cluster, tool, &name).await?;
        for object in objects(scene, tool)? {
            let manager = "platform-team";
            cluster
                .apply(tool.namespace(), &object.to_string(), manager)
                .await
                .with_context(|| format!("{} does not take its objects", tool.name()))?;
        }
        let stop = CancellationToken::new();
        let watch = watch(tool, cluster.clone(), name.clone(), scene.recorder.clone());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = watch => {}
            }
        });
        Ok(Self { tool, name, cluster, stop, task })
    }

    /// Tells the tool that there is a new commit, as the webhook of a forge does.
    pub(crate) async fn announce(&self) -> Result<()> {
        let (kind, annotation) = match self.tool {
            Tool::ArgoCd => (APPLICATION, json!({"argocd.argoproj.io/refresh": "normal"})),
            Tool::Flux => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
                let requested = format!("{}", now.as_millis());
                (GIT_REPOSITORY, json!({"reconcile.fluxcd.io/requestedAt": requested}))
            }
        };
        let patch = json!({"metadata": {"annotations": annotation}});
        self.cluster.patch(kind, self.tool.namespace(), &self.name, &patch).await
    }

    /// Removes the tool's objects; what they delivered stays.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        let _a_panic_was_printed = self.task.await;
        remove(&self.cluster, self.tool, &self.name).await
    }
}

/// Removes the tool's objects, so that it leaves alone what it delivered.
async fn remove(cluster: &Cluster, tool: Tool, name: &str) -> Result<()> {
    let namespace = tool.namespace();
    let kinds: &[Kind] = match tool {
        Tool::ArgoCd => &[APPLICATION, SECRET],
        Tool::Flux => &[KUSTOMIZATION, GIT_REPOSITORY, SECRET],
    };
    for kind in kinds {
        let is_there = cluster.get(*kind, namespace, name).await?.is_some();
        if *kind == KUSTOMIZATION && is_there {
            // Else its finalizer would remove what it applied, which the namespace's end does.
            let suspend = json!({"spec": {"suspend": true}});
            cluster.patch(*kind, namespace, name, &suspend).await?;
        }
        cluster.delete(*kind, namespace, name).await?;
    }
    Ok(())
}

/// The credentials and the delivery, all under the name of the scenario's namespace.
fn objects(scene: &Scene, tool: Tool) -> Result<Vec<Value>> {
    let git = &scene.settings.git;
    let name = &scene.namespace;
    let basic = json!({"username": git.user, "password": git.password});
    Ok(match tool {
        Tool::ArgoCd => vec![
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": name, "labels": {"argocd.argoproj.io/secret-type": "repository"}},
                "stringData": {
                    "type": "git", "url": git.url, "username": git.user, "password": git.password,
                },
            }),
            // As docs/gitops.md has it.
            json!({
                "apiVersion": APPLICATION.0, "kind": APPLICATION.1,
                "metadata": {
                    "name": name,
                    "annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"},
                },
                "spec": {
                    "project": "default",
                    "source": {"repoURL": git.url, "targetRevision": name, "path": "apps/web"},
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
                    "syncPolicy": {
                        "automated": {"prune": true, "selfHeal": true},
                        "syncOptions": ["RespectIgnoreDifferences=true"],
                    },
                    "ignoreDifferences": [
                        {
                            "group": "gateway.networking.k8s.io", "kind": "HTTPRoute",
                            "jqPathExpressions": [".spec.rules[].backendRefs[].weight"],
                        },
                        {
                            "kind": "Service",
                            "jsonPointers": ["/spec/selector/sluice.dev~1revision"],
                        },
                    ],
                },
            }),
        ],
        Tool::Flux => {
            let ca = std::fs::read_to_string(&git.ca)
                .with_context(|| format!("failed to read {}", git.ca.display()))?;
            let mut credentials = basic;
            if let Some(fields) = credentials.as_object_mut() {
                fields.insert("ca.crt".to_owned(), Value::String(ca));
            }
            vec![
                json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                    "stringData": credentials,
                }),
                json!({
                    "apiVersion": GIT_REPOSITORY.0, "kind": GIT_REPOSITORY.1, "metadata": {"name": name},
                    "spec": {
                        "url": git.url, "ref": {"branch": name}, "interval": "1m", "timeout": "20s",
                        "secretRef": {"name": name},
                    },
                }),
                json!({
                    "apiVersion": KUSTOMIZATION.0, "kind": KUSTOMIZATION.1, "metadata": {"name": name},
                    "spec": {
                        "sourceRef": {"kind": "GitRepository", "name": name}, "path": "./apps/web",
                        "interval": "1m", "retryInterval": "10s", "prune": true, "targetNamespace": name,
                    },
                }),
            ]
        }
    })
}

/// Records what the tool says until it is dropped.
async fn watch(tool: Tool, cluster: Cluster, name: String, recorder: Recorder) {
    let kind = if tool == Tool::ArgoCd { APPLICATION } else { KUSTOMIZATION };
    loop {
        match cluster.get(kind, tool.namespace(), &name).await {
            Ok(Some(object)) => {
                let (applied, health) = said(tool, &object);
                if !applied.is_empty() {
                    recorder.record("agent applied", &applied);
                }
                recorder.record("tool health", &health);
                recorder.record("tool sync", &text(&object, "/status/operationState/startedAt"));
            }
            Ok(None) => {}
            Err(error) => say(&name, format!("{}: {error:#}", kind.1)),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The commit that was applied last, and how the tool sees its delivery.
fn said(tool: Tool, object: &Value) -> (String, String) {
    match tool {
        Tool::ArgoCd => {
            let state = "/status/operationState";
            let is_done = text(object, &format!("{state}/phase")) == "Succeeded";
            let applied = text(object, &format!("{state}/syncResult/revision"));
            let (sync, health) =
                (text(object, "/status/sync/status"), text(object, "/status/health/status"));
            (if is_done { applied } else { String::new() }, format!("{sync} {health}"))
        }
        Tool::Flux => {
            let revision = text(object, "/status/lastAppliedRevision");
            let applied = revision.rsplit_once(':').map_or("", |(_, commit)| commit);
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
            let ready = conditions.into_iter().flatten().find(|one| text(one, "/type") == "Ready");
            let ready = ready.map_or_else(String::new, |one| {
                format!("{} {}", text(one, "/status"), text(one, "/reason"))
            });
            (applied.to_owned(), ready)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_counts_when_the_sync_has_succeeded() {
        let mut application = json!({"status": {
            "operationState": {"phase": "Running", "syncResult": {"revision": "abc"}},
            "sync": {"status": "OutOfSync"}, "health": {"status": "Degraded"},
        }});
        assert_eq!(said(Tool::ArgoCd, &application).0, "");
        application["status"]["operationState"]["phase"] = json!("Succeeded");
        let expected = ("abc".to_owned(), "OutOfSync Degraded".to_owned());
        assert_eq!(said(Tool::ArgoCd, &application), expected);
    }

    #[test]
    fn a_revision_of_flux_is_a_branch_and_a_commit() {
        let kustomization = json!({"status": {
            "lastAppliedRevision": "feature/x@sha1:abc",
            "conditions": [{"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded"}],
        }});
        let expected = ("abc".to_owned(), "True ReconciliationSucceeded".to_owned());
        assert_eq!(said(Tool::Flux, &kustomization), expected);
    }
}
