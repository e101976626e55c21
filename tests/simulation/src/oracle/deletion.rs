//! Invariants of the end of a Rollout: somebody deletes it.

use chrono::TimeDelta;
use serde_json::Value;
use sluice::sim::api::Entry;

use super::view::{count, selected, shares, text};
use super::{Oracle, Time};
use crate::case::Shape;

/// Until a deleted Rollout is gone, whatever happens: the controller's own bound, and two passes.
const GONE: TimeDelta = TimeDelta::minutes(3);

impl Oracle {
    /// A deleted Rollout is gone now. S27: its users still reach ready pods, and those outlive it.
    pub(super) fn judge_deletion(&mut self, entry: &Entry) {
        let Some(old) = entry.old.clone() else { return };
        let since = text(&old, "/metadata/deletionTimestamp").parse::<Time>().ok();
        let is_ours = entry.writer.user.ends_with(":sluice-controller");
        if is_ours && since.is_none() {
            self.blame(entry, "S25", "the Rollout is deleted".to_owned());
        }
        self.reached.insert("a Rollout is deleted");
        let is_updating = self.view.current() != self.view.stable();
        if is_updating && !self.view.stable().is_empty() {
            self.reached.insert("a Rollout is deleted midway");
        }
        // What it waits for at most.
        let is_due = since.is_none_or(|since| entry.at - since >= TimeDelta::seconds(60));
        let is_routed = matches!(self.shape, Shape::Canary | Shape::PausedCanary);
        if is_routed && is_ours && !is_due {
            self.judge_orphans(entry, text(&old, "/metadata/uid"));
        }
        self.forget();
    }

    fn judge_orphans(&mut self, entry: &Entry, uid: &str) {
        let all = shares(&self.view.route);
        for (service, share) in all.iter().filter(|(_, share)| **share > 0.0) {
            let Some(found) = self.view.services.get(service) else { continue };
            let revision = selected(found).to_owned();
            if self.view.most_endpoints(service, &revision, entry.at) == 0 {
                let what = format!("deleted while {share} % go to {service} without ready pods");
                self.blame(entry, "S27", what);
            }
            let is_left = |set: &&Value| {
                super::view::revision_of(set) == revision
                    && count(set, "/spec/replicas") > 0
                    && set.pointer("/metadata/deletionTimestamp").is_none()
            };
            let mut sets = self.view.sets.values().filter(is_left);
            let is_owned = |set: &Value| {
                let owners = set.pointer("/metadata/ownerReferences").and_then(Value::as_array);
                owners.into_iter().flatten().any(|owner| text(owner, "/uid") == uid)
            };
            if sets.any(is_owned) {
                let what = format!("deleted, and the pods of {revision} with {share} % with it");
                self.blame(entry, "S27", what);
            }
        }
    }

    /// L7: a deleted Rollout is gone soon, whatever happens.
    pub(super) fn watch_deletion(&mut self, now: Time, version: u64) {
        let since = text(&self.view.rollout, "/metadata/deletionTimestamp").parse::<Time>();
        let is_over = |since: &Time| now - self.led(*since) > GONE;
        let Some(since) = since.ok().filter(is_over) else { return };
        let after = (now - since).num_seconds();
        self.violate("L7", version, now, format!("still there {after} s after its deletion"));
    }

    /// The next Rollout of this name begins anew.
    fn forget(&mut self) {
        self.last_index = None;
        self.index_since = None;
        self.once_stable.clear();
        self.left_at.clear();
        self.switched = (0, Vec::new());
        self.abort_open_since = None;
    }
}
