//! Writing the status: the smallest merge patch that makes the old one the new one, guarded like
//! every other write.

use super::actions::Hands;
use super::guard::merge_difference;
use super::wire::Target;
use crate::api::status::RolloutStatus;
use crate::observe::Snapshot;
use crate::plan::action::ActionFailure;

impl Hands {
    /// Writes `status` if it differs from what was read.
    ///
    /// # Errors
    /// Why it could not be written.
    pub async fn write_status(
        &self,
        snapshot: &Snapshot,
        status: &RolloutStatus,
    ) -> Result<(), ActionFailure> {
        let old = snapshot.observed.rollout.status.known().cloned().unwrap_or_default();
        let refused = |error: serde_json::Error| ActionFailure::Refused(error.to_string());
        let before = serde_json::to_value(&old).map_err(refused)?;
        let after = serde_json::to_value(status).map_err(refused)?;
        let Some(change) = merge_difference(&before, &after) else { return Ok(()) };
        let rollout = &snapshot.observed.rollout;
        let cache = &self.caches.rollouts;
        let target = Target::namespaced(cache.resource(), &rollout.namespace, &rollout.name);
        let guard = self.writer.guard(&snapshot.rollout).map_err(|_| ActionFailure::Conflict)?;
        // After a conflict the next pass begins with reading the Rollout.
        Self::noted(cache, self.writer.patch_status(&target, &guard, &change).await)
    }
}

/// Whether two statuses differ only in what people watch and nothing depends on: counts, waits and
/// texts. Such a difference may be written a little later, together with others.
pub fn differs_only_in_detail(old: &RolloutStatus, new: &RolloutStatus) -> bool {
    let essence = |status: &RolloutStatus| {
        let mut status = status.clone();
        status.replicas = None;
        status.updated_replicas = None;
        status.ready_replicas = None;
        status.available_replicas = None;
        status.hpa_replicas = None;
        status.waiting_on.clear();
        status.message.clear();
        status.canary.weights = None;
        status.canary.desired_weights = None;
        status.progress_mark = 0;
        status.last_progress_at = None;
        status.blue_green.active_selector.clear();
        status.blue_green.preview_selector.clear();
        status.selector.clear();
        status.observed_generation.clear();
        for condition in &mut status.conditions {
            condition.message.clear();
            condition.last_update_time = None;
            condition.last_transition_time = None;
        }
        status.conditions.retain(|condition| condition.kind != "Available");
        status
    };
    essence(old) == essence(new)
}
