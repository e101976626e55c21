//! How a pod stands, in one word. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde::Serialize;

use super::text::Tone;
use super::view::created_at;
use crate::api::Time;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    /// Name.
    pub name: String,
    /// `Running`, `Pending`, `CrashLoopBackOff`, `Terminating`, ...
    pub phase: String,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers in all.
    pub containers: usize,
    /// Restarts of all containers.
    pub restarts: i64,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
}

impl PodView {
    /// Whether it will not become ready by waiting alone.
    pub fn is_broken(&self) -> bool {
        self.tone() == Tone::Bad
    }

    /// How it stands.
    pub fn tone(&self) -> Tone {
        match self.phase.as_str() {
            "Running" if self.ready == self.containers => Tone::Good,
            "Running" | "Pending" | "ContainerCreating" | "PodInitializing" => Tone::Busy,
            "Terminating" | "Succeeded" | "Completed" => Tone::Dim,
            // Every other word is the reason of a container that does not run.
            _ => Tone::Bad,
        }
    }
}

/// Makes the view.
pub(super) fn pod_view(pod: &Pod) -> PodView {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let containers: &[ContainerStatus] = containers.map_or(&[], Vec::as_slice);
    let declared = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let is_leaving = pod.metadata.deletion_timestamp.is_some();
    let initial = status.and_then(|status| status.init_container_statuses.as_ref());
    let phase = if is_leaving {
        "Terminating".to_owned()
    } else {
        initial
            .into_iter()
            .flatten()
            .chain(containers)
            .find_map(reason)
            .or_else(|| status.and_then(|status| status.reason.clone()))
            .or_else(|| status.and_then(|status| status.phase.clone()))
            .unwrap_or_else(|| "Unknown".to_owned())
    };
    PodView {
        name: pod.metadata.name.clone().unwrap_or_default(),
        phase,
        ready: containers.iter().filter(|container| container.ready).count(),
        containers: declared.max(containers.len()),
        restarts: containers.iter().map(|container| i64::from(container.restart_count)).sum(),
        created_at: created_at(&pod.metadata),
    }
}

/// Why a container does not run; init containers that ended well are no reason.
fn reason(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        return waiting.reason.clone();
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    Some(ended.reason.clone().unwrap_or_else(|| "Error".to_owned()))
}
