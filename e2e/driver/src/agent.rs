//! A small GitOps agent: every two seconds it fetches a branch and applies the YAML files of one path by server-side apply
//! with its own field manager, whether or not they changed, as real ones do. It never deletes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::log::say;
use crate::recorder::Recorder;
use crate::repository::Repository;

/// Field manager of everything that the agent applies.
const MANAGER: &str = "gitops-agent";
const INTERVAL: Duration = Duration::from_secs(2);

/// A running agent; dropping it ends it.
pub(crate) struct Agent {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Agent {
    /// Applies `path` of the repository's branch into `namespace` from now on. The commit that was applied last is
    /// recorded as `agent applied`.
    pub(crate) fn start(
        cluster: Cluster,
        clone: Repository,
        path: String,
        namespace: String,
        recorder: Recorder,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut trouble = String::new();
            loop {
                let outcome = sync(&cluster, &clone, &path, &namespace).await;
                match outcome {
                    Ok(commit) => {
                        trouble.clear();
                        recorder.record("agent applied", &commit);
                    }
                    Err(error) => {
                        let now = format!("{error:#}");
                        if now != trouble {
                            say(&namespace, format!("agent: {now}"));
                            trouble = now;
                        }
                    }
                }
                tokio::select! {
                    () = stopped.cancelled() => break,
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        });
        Self { stop, task }
    }

    /// Ends the agent after what it is just doing.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let _a_panic_was_printed = (&mut self.task).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One pass: fetch, then apply. When the server cannot be reached, nothing is applied.
async fn sync(
    cluster: &Cluster,
    clone: &Repository,
    path: &str,
    namespace: &str,
) -> Result<String> {
    let commit = clone.pull().await?;
    apply_directory(cluster, &clone.directory().join(path), namespace).await?;
    Ok(commit)
}

/// Applies every YAML file of a directory, in the order of their names.
pub(crate) async fn apply_directory(
    cluster: &Cluster,
    directory: &Path,
    namespace: &str,
) -> Result<()> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .with_context(|| format!("failed to list {}", directory.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    for file in files {
        let yaml = tokio::fs::read_to_string(&file).await?;
        cluster
            .apply(namespace, &yaml, MANAGER)
            .await
            .with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}
