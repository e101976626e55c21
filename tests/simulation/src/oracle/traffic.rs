//! Invariants of routes, Services and ReplicaSets.

use std::collections::BTreeMap;

use serde_json::Value;
use sluice::sim::api::{Change, Entry};

use super::view::{FRESH, count, is_set, revision_of, selected, shares};
use super::{Beside, Oracle};
use crate::case::Shape;
use crate::manifests::is_bad;

impl Oracle {
    /// A write of ours to a route.
    pub(super) fn judge_route(&mut self, entry: &Entry) {
        let Some(old) = entry.old.clone() else { return };
        if without_weights(&old) != without_weights(&entry.object) {
            self.blame(entry, "S25", "a route is changed beyond its weights".to_owned());
        }
        let weights = managed_weights(&entry.object);
        let total: i64 = weights.iter().sum();
        if weights.iter().any(|weight| !(0..=100).contains(weight)) || total != 100 {
            self.blame(entry, "S1", format!("weights {weights:?}"));
        }
        let (before, after) = (shares(&old), shares(&entry.object));
        for (service, share) in &after {
            let was = before.get(service).copied().unwrap_or(0.0);
            if *share > was {
                self.judge_raise(entry, service, &before, &after);
            }
        }
        if before != after {
            self.note_weights(&before, &after);
        }
    }

    /// A share of a Service is raised.
    fn judge_raise(
        &mut self,
        entry: &Entry,
        service: &str,
        before: &BTreeMap<String, f64>,
        after: &BTreeMap<String, f64>,
    ) {
        let share = after.get(service).copied().unwrap_or(0.0);
        let revision = self.view.services.get(service).map(|found| selected(found).to_owned());
        let Some(revision) = revision else {
            self.blame(entry, "S2", format!("{share} % to {service}, which does not exist"));
            return;
        };
        // On the way back to stable whatever the Service still leads to is better than nothing.
        let is_back = revision == self.view.stable();
        let found = self.view.most_endpoints(service, &revision, entry.at);
        let found = if is_back {
            found.max(self.view.most_endpoints(service, "", entry.at))
        } else {
            found
        };
        if found == 0 {
            let what = format!("{share} % to {service}, which had no ready endpoint of late");
            self.blame(entry, "S2", what);
        }
        // Two Services may lead to one revision: what moves between them is no more than before.
        let rises = self.view.share_of(&revision, after) > self.view.share_of(&revision, before);
        let is_canary = rises && revision == self.view.current() && revision != self.view.stable();
        if self.view.is_abort_known(entry.at) && is_canary {
            let what = format!("{share} % to {revision}, which is aborted");
            self.blame(entry, "S10", what);
        }
        let is_held = self.view.paused_since.is_some_and(|since| entry.at - since > FRESH);
        if is_held && is_canary {
            self.blame(entry, "S8", format!("{share} % to {revision} while it is paused"));
        }
    }

    /// A write of ours to a Service.
    pub(super) fn judge_service(&mut self, entry: &Entry) {
        let Some(old) = entry.old.clone() else { return };
        if without_selector(&old) != without_selector(&entry.object) {
            self.blame(entry, "S25", "a Service is changed beyond its selector".to_owned());
        }
        let (from, to) = (selected(&old).to_owned(), selected(&entry.object).to_owned());
        if from == to {
            return;
        }
        let share = shares(&self.view.route).get(entry.name()).copied().unwrap_or(0.0);
        let (current, stable) = (self.view.current(), self.view.stable());
        let side = match entry.name() {
            "web-canary" => Some("canary"),
            // Going back to stable waits for nothing.
            "web-stable" if to == current && current != stable && !stable.is_empty() => {
                Some("stable")
            }
            _ => None,
        };
        let is_left = share == 0.0
            && self.view.was_confirmed(entry.at, |all| {
                all.get(entry.name()).is_none_or(|share| *share == 0.0)
            });
        // Both Services of a first revision go to the same pods.
        let is_first = stable.is_empty() || from.is_empty();
        if let Some(side) = side.filter(|_| !is_left && !is_first) {
            let what = format!(
                "the {side} Service moves from {from} to {to} with {share} %, and nobody has \
                 confirmed that all users have left it"
            );
            self.blame(entry, "S16", what);
        }
        if share > 0.0 && !to.is_empty() {
            let (ready, need) = (self.view.most_ready(&to, entry.at), self.need(share, entry));
            // Blue-green moves everybody at once; going back must not wait for anything.
            let is_switch = entry.name() == "web-active" && to == self.view.current();
            if ready < if is_switch { need } else { need.min(1) } {
                let what = format!(
                    "{} with {share} % moves to {to}: {ready} ready, not {need}",
                    entry.name()
                );
                self.blame(entry, "S5", what);
            }
        }
        if entry.name() == "web-active" {
            self.judge_switch(entry, &from, to);
        }
    }

    /// The active Service of blue-green moves.
    fn judge_switch(&mut self, entry: &Entry, from: &str, to: String) {
        let attempt = u64::from(count(&self.view.rollout, "/status/attempt"));
        if self.switched.0 != attempt {
            self.switched = (attempt, vec![from.to_owned()]);
        }
        let is_free = is_set(&self.view.rollout, "/status/promoteFull")
            || self.once_stable.contains(&to)
            // The first revision has no gate, whatever a deleted Rollout has left to its users.
            || self.view.stable().is_empty()
            || from.is_empty();
        if to == self.view.current()
            && !is_free
            && !self.view.is_aborted()
            && !self.has_passed("PrePromotion", None)
        {
            let what = format!("the active Service moves to {to} before its analysis has passed");
            self.blame(entry, "S31", what);
        }
        let is_back = self.switched.1.contains(&to);
        if is_back && !self.view.is_aborted() && to != self.view.current() && !from.is_empty() {
            let what = format!("the active Service goes back from {from} to {to} without an abort");
            self.blame(entry, "S31", what);
        }
        self.reached.insert(if self.view.is_aborted() {
            "a switched Service is switched back"
        } else {
            "the active Service is switched"
        });
        self.switched.1.push(to);
    }

    /// Pods that a share needs, at least one.
    fn need(&self, share: f64, entry: &Entry) -> u32 {
        let wanted = f64::from(self.view.wanted.least(entry.at));
        // A share is at most 100, and replicas are few.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let need = (wanted * share / 100.0).ceil() as u32;
        need
    }

    /// A write of ours to a ReplicaSet.
    pub(super) fn judge_set(&mut self, entry: &Entry, beside: &Beside) {
        let Some(old) = entry.old.clone() else { return };
        let revision = revision_of(&old).to_owned();
        let from = count(&old, "/spec/replicas");
        let to = match entry.change {
            Change::Removed => 0,
            Change::Added | Change::Modified => count(&entry.object, "/spec/replicas"),
        };
        if to >= from {
            return;
        }
        if self.shape == Shape::PlainCanary {
            self.judge_sum(entry, to);
            return;
        }
        let written = self.view.share_of(&revision, &shares(&self.view.route));
        // What the data plane still has counts until it has said that it follows.
        let behind = self.view.share_of(&revision, &beside.in_force);
        let is_followed =
            self.view.was_confirmed(entry.at, |all| self.view.share_of(&revision, all) <= written);
        let share = if is_followed { written } else { written.max(behind) };
        let need = self.need(share, entry);
        if to < need {
            let what = format!("{revision} with {share} % goes from {from} to {to}, needs {need}");
            self.blame(entry, "S3", what);
        }
        let is_updating = self.view.current() != self.view.stable();
        let least = self.view.wanted.least(entry.at);
        if is_updating && revision == self.view.stable() && to < least {
            let what = format!("stable goes to {to} of {least} during an update");
            self.blame(entry, "S4", what);
        }
        // 20 s is the shortest delay in the manifests.
        let left = self.left_at.get(&revision).map(|left| entry.at - *left);
        let is_hasty = left.is_some_and(|left| left < chrono::TimeDelta::seconds(20));
        if is_hasty && to == 0 && !self.has_clock {
            let what = format!("{revision} loses its pods right after its traffic");
            self.blame(entry, "S31", what);
        }
        if share == 0.0 && to == 0 {
            self.reached.insert("a revision without traffic is scaled to nothing");
        }
    }

    /// Without a router: all pods together stay enough.
    fn judge_sum(&mut self, entry: &Entry, to: u32) {
        let others = self.view.sets.iter().filter(|(name, _)| *name != entry.name());
        let sum: u32 = others.map(|(_, set)| count(set, "/spec/replicas")).sum();
        let least = self.view.wanted.least(entry.at);
        let allowed = least - least.div_ceil(4);
        if sum + to < allowed {
            let what = format!("only {} pods are asked for, of {least}", sum + to);
            self.blame(entry, "S3", what);
        }
    }

    /// States that the soak must reach.
    fn note_weights(&mut self, before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
        let of = |shares: &BTreeMap<String, f64>| shares.get("web-canary").copied().unwrap_or(0.0);
        let (was, is) = (of(before), of(after));
        if was == 0.0 && is > 0.0 {
            self.reached.insert("the canary gets its first traffic");
        }
        if is >= 100.0 {
            self.reached.insert("the canary gets all traffic");
        }
        if is == 0.0 && was > 0.0 && self.view.is_aborted() {
            self.reached.insert(if was >= 40.0 {
                "an abort takes much traffic away"
            } else {
                "an abort takes little traffic away"
            });
        }
        if is == 0.0 && (1.0..100.0).contains(&was) && !self.view.is_aborted() {
            self.reached.insert("a superseded canary loses its traffic");
        }
        let tag = self.view.tags.get(self.view.current()).cloned().unwrap_or_default();
        if is > 0.0 && is_bad(&tag) {
            self.reached.insert("a bad version gets traffic");
        }
    }
}

/// The weights of the managed rule as they are written.
fn managed_weights(route: &Value) -> Vec<i64> {
    let rules = route.pointer("/spec/rules").and_then(Value::as_array);
    let backends = rules.and_then(|rules| rules.last()?.get("backendRefs")?.as_array());
    let weight = |backend: &Value| backend.get("weight").and_then(Value::as_i64).unwrap_or(-1);
    backends.into_iter().flatten().map(weight).collect()
}

/// A route without what is ours in it.
fn without_weights(route: &Value) -> Value {
    let mut rest = without_bookkeeping(route);
    let rule = rest.pointer_mut("/spec/rules").and_then(Value::as_array_mut);
    let backends = rule.and_then(|rules| rules.last_mut()?.get_mut("backendRefs")?.as_array_mut());
    for backend in backends.into_iter().flatten() {
        if let Some(map) = backend.as_object_mut() {
            map.remove("weight");
        }
    }
    rest
}

/// A Service without what is ours in it.
fn without_selector(service: &Value) -> Value {
    let mut rest = without_bookkeeping(service);
    if let Some(spec) = rest.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("selector");
    }
    rest
}

/// An object without what the server counts, and without our annotations.
pub(super) fn without_bookkeeping(object: &Value) -> Value {
    let mut rest = object.clone();
    if let Some(map) = rest.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = rest.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !key.starts_with("sluice.dev/"));
        }
    }
    rest
}
