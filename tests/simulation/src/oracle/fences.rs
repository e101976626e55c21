//! Invariants of leadership: who may write, and that nothing of an earlier leader lands after the
//! next one has begun.

use serde_json::Value;
use sluice::act::leadership::Epoch;
use sluice::sim::api::{Change, Entry};

use super::Oracle;
use super::traffic::without_bookkeeping;
use super::view::{count, revision_of, selected, text};
use crate::case::Shape;

impl Oracle {
    /// A process has written the Lease.
    pub(super) fn note_lease(&mut self, entry: &Entry) {
        let term = entry.object.pointer("/spec/leaseTransitions").and_then(Value::as_u64);
        let is_held = !text(&entry.object, "/spec/holderIdentity").is_empty();
        if let (Some(term), true) = (term, is_held) {
            let term = u32::try_from(term).unwrap_or(u32::MAX);
            if self.terms.insert(entry.writer.pod.clone(), term) != Some(term) {
                self.led_since = Some(entry.at);
            }
        }
    }

    /// S19: the epoch on an object never falls, and nobody writes over a later one. S20: a leader
    /// has taken everything over before it changes anything.
    pub(super) fn judge_epoch(&mut self, entry: &Entry) {
        let before = entry.old.as_ref().and_then(|old| epoch(old));
        let after = epoch(&entry.object);
        if let (Some(before), Some(after)) = (before, after) {
            if after < before {
                let what = format!("the epoch falls from {before} to {after}");
                self.blame(entry, "S19", what);
            }
            if after.term > before.term {
                self.reached.insert("an object is taken over by a later leader");
            }
            if after.turn > before.turn && after.term == before.term {
                self.reached.insert("an object is taken over after a doubtful write");
            }
        }
        let Some(term) = self.terms.get(&entry.writer.pod).copied() else { return };
        if let Some(before) = before.filter(|before| before.term > term) {
            let what = format!("a write of term {term} to an object of {before}");
            self.blame(entry, "S19", what);
        }
        self.judge_takeover(entry, term);
    }

    fn judge_takeover(&mut self, entry: &Entry, term: u32) {
        let plural = entry.resource.plural.as_str();
        let size = |object: &Value| count(object, "/spec/replicas");
        let is_effect = matches!(plural, "httproutes" | "services" | "replicasets")
            && entry.change == Change::Modified
            && entry.old.as_ref().is_some_and(|old| {
                without_bookkeeping(old) != without_bookkeeping(&entry.object)
                    // More pods harm nobody, whatever lands later.
                    && (plural != "replicasets" || size(&entry.object) < size(old))
            });
        if !is_effect {
            return;
        }
        // A write that was on its way when its sender was replaced carries the earlier term.
        let sent = epoch(&entry.object).map_or(term, |epoch| epoch.term.min(term));
        let is_routed = self.shape != Shape::PlainCanary;
        // No route leads to a set that no Service selects.
        let revision = revision_of(&entry.object);
        let is_reachable = plural != "replicasets"
            || self.view.services.values().any(|service| selected(service) == revision);
        let has_route = is_routed && self.shape != Shape::BlueGreen;
        let route = Some(&self.view.route).filter(|_| has_route && is_reachable);
        let others = self.view.services.values().filter(|_| is_routed);
        let behind = route
            .into_iter()
            .chain(others)
            .chain([&self.view.rollout])
            .find(|object| epoch(object).is_some_and(|epoch| epoch.term < sent));
        if let Some(behind) = behind {
            let name = text(behind, "/metadata/name");
            let what = format!("term {sent} writes, and {name} is not taken over yet");
            self.blame(entry, "S20", what);
        }
    }
}

fn epoch(object: &Value) -> Option<Epoch> {
    let annotations = object.pointer("/metadata/annotations");
    let text = annotations.and_then(|all| all.get("sluice.dev/epoch")?.as_str());
    text.and_then(|text| text.parse::<Epoch>().ok())
}
