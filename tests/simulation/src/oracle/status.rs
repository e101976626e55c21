//! Invariants of the Rollout's status, and the states that the soak must reach.

use serde_json::Value;
use sluice::sim::api::Entry;

use super::view::{FRESH, count, is_confirmed, is_set, shares, text};
use super::{Oracle, Time};
use crate::case::Shape;
use crate::manifests::{NAME, is_bad, is_broken};

impl Oracle {
    /// A write of ours to the Rollout.
    pub(super) fn judge_status(&mut self, entry: &Entry) {
        let Some(old) = entry.old.clone() else { return };
        let new = &entry.object;
        if old.get("spec") != new.get("spec") {
            self.blame(entry, "S25", "the spec of the Rollout is changed".to_owned());
        }
        let generation = u64::from(count(new, "/metadata/generation"));
        let observed: u64 = text(new, "/status/observedGeneration").parse().unwrap_or(0);
        if observed > generation {
            let what = format!("generation {observed} is observed of {generation}");
            self.blame(entry, "S28", what);
        }
        let same = |pointer: &str| old.pointer(pointer) == new.pointer(pointer);
        if same("/status/attempt") && same("/status/currentPodHash") {
            self.judge_attempt(entry, &old);
        }
        let (before, after) = (text(&old, "/status/stableRS"), text(new, "/status/stableRS"));
        if before != after {
            self.judge_promotion(entry, &old);
        }
        if Self::phase(new) == "Healthy" && Self::phase(&old) != "Healthy" {
            self.judge_health(entry);
        }
        self.judge_beginning(entry, &old);
        self.judge_plan(entry, &old);
        let attempts = |object: &Value| object.pointer("/status/attempt").and_then(Value::as_u64);
        if attempts(new) < attempts(&old) {
            self.blame(entry, "S6", "the number of the attempt falls".to_owned());
        }
    }

    /// S6: another revision is another attempt, and an attempt begins at its beginning.
    fn judge_beginning(&mut self, entry: &Entry, old: &Value) {
        let new = &entry.object;
        let changes = |pointer: &str| old.pointer(pointer) != new.pointer(pointer);
        let is_new = changes("/status/attempt");
        if changes("/status/currentPodHash") && !is_new {
            self.blame(entry, "S6", "another revision, and the same attempt".to_owned());
        }
        if let Some(index) = Self::index(new).filter(|index| is_new && *index > 0) {
            self.blame(entry, "S6", format!("an attempt begins at step {index}"));
        }
    }

    /// S23: a revert is due only when no user reaches the failed revision.
    fn judge_plan(&mut self, entry: &Entry, old: &Value) {
        let state = |object: &Value| text(object, "/status/gitRevert/state").to_owned();
        let is_planned = state(&entry.object) == "Planned" && state(old) != "Planned";
        let share = self.view.share_of(self.view.stable(), &shares(&self.view.route));
        if is_planned && self.shape != Shape::PlainCanary && share < 100.0 {
            let what = format!("a revert is planned while only {share} % go to stable");
            self.blame(entry, "S23", what);
        }
    }

    /// S8, S12: what lets a step pass.
    fn judge_gate(&mut self, entry: &Entry, old: &Value, step: u32) {
        let new = entry.object.clone();
        if is_set(&new, "/spec/paused") {
            self.blame(entry, "S8", format!("step {step} is done while a person pauses it"));
        }
        let pointer = format!("/spec/strategy/canary/steps/{step}");
        let Some(declared) = new.pointer(&pointer) else { return };
        if declared.get("analysis").is_some() && !self.has_passed("Step", Some(step)) {
            self.blame(entry, "S12", format!("step {step} is done without its analysis"));
        }
        let length = text(declared, "/pause/duration").trim_end_matches('s').parse::<i64>();
        let Ok(length) = length else { return };
        // The status says when it began; its write may have been on its way for a while.
        let began = text(old, "/status/currentStepStartedAt").parse::<Time>().ok();
        let began = began.max(self.index_since.map(|since| since - FRESH));
        let lasted = began.map(|began| (entry.at - began).num_milliseconds());
        if lasted.is_some_and(|lasted| lasted < length * 1000 - 1000) && !self.has_clock {
            let what = format!("a pause of {length} s ends after {} ms", lasted.unwrap_or(0));
            self.blame(entry, "S8", what);
        }
    }

    /// Two statuses of one attempt.
    fn judge_attempt(&mut self, entry: &Entry, old: &Value) {
        let new = entry.object.clone();
        let is_full = is_set(old, "/status/promoteFull") || is_set(&new, "/status/promoteFull");
        let is_free = is_full || is_set(&new, "/status/abort") || is_set(old, "/status/abort");
        if let (Some(before), Some(after)) = (Self::index(old), Self::index(&new)) {
            if after < before && !is_free {
                self.blame(entry, "S6", format!("the step falls from {before} to {after}"));
            }
            if after > before + 1 && !is_free {
                self.blame(entry, "S6", format!("the step jumps from {before} to {after}"));
            }
            let began = |object: &Value| text(object, "/status/currentStepStartedAt").to_owned();
            let (was, is) = (began(old), began(&new));
            if after == before && !was.is_empty() && !is.is_empty() && was != is && !is_free {
                let what = format!("the start of step {after} moves from {was} to {is}");
                self.blame(entry, "S9", what);
            }
            if after == before + 1 && !is_full {
                self.judge_gate(entry, old, before);
            }
            if after == before + 1 && !is_full && self.shape != Shape::PlainCanary {
                self.judge_step(entry, before);
            }
        }
        // Before the first revision is stable there is nothing that an abort could go back to.
        let has_stable = !text(old, "/status/stableRS").is_empty();
        // What is being deleted is not released any more, and an abort of it means nothing.
        let is_deleted = new.pointer("/metadata/deletionTimestamp").is_some();
        if has_stable
            && !is_deleted
            && is_set(old, "/status/abort")
            && !is_set(&new, "/status/abort")
        {
            self.blame(entry, "S10", "an abort is erased in its attempt".to_owned());
        }
    }

    /// S7: a weight step is done only when the route has its weight.
    fn judge_step(&mut self, entry: &Entry, step: u32) {
        let pointer = format!("/spec/strategy/canary/steps/{step}/setWeight");
        let Some(weight) = entry.object.pointer(&pointer).and_then(Value::as_f64) else { return };
        let share = shares(&self.view.route).get("web-canary").copied().unwrap_or(0.0);
        if (share - weight).abs() > 0.01 {
            let what = format!("step {step} (weight {weight}) is done while the route has {share}");
            self.blame(entry, "S7", what);
        }
        if !is_confirmed(&self.view.route) {
            let what = format!("step {step} (weight {weight}) is done before it is in force");
            self.blame(entry, "S7", what);
        }
    }

    /// S14: a revision becomes stable through its gates or by a person.
    fn judge_promotion(&mut self, entry: &Entry, old: &Value) {
        let new = &entry.object;
        let revision = text(new, "/status/stableRS").to_owned();
        let is_first = text(old, "/status/stableRS").is_empty();
        let is_full = is_set(old, "/status/promoteFull") || is_set(new, "/status/promoteFull");
        let is_return = self.once_stable.contains(&revision);
        let steps = new.pointer("/spec/strategy/canary/steps").and_then(Value::as_array);
        let steps = steps.and_then(|steps| u32::try_from(steps.len()).ok());
        let is_through = match steps {
            // There is no index while the update is promoted: the step before was the last.
            Some(steps) => self.last_index.is_some_and(|index| index + 1 >= steps),
            None => true,
        };
        if !(is_first || is_full || is_return || is_through) {
            let what = format!("{revision} becomes stable after step {:?}", self.last_index);
            self.blame(entry, "S14", what);
        }
        if !is_first {
            self.judge_takeover_of_users(entry, &revision);
        }
        let tag = self.view.tags.get(&revision).cloned().unwrap_or_default();
        if is_bad(&tag) && !is_first && !self.has_promote_full && !is_return {
            self.blame(entry, "S12", format!("the bad version {tag} becomes stable"));
        }
        if is_set(old, "/status/abort") {
            self.blame(entry, "S10", format!("{revision} becomes stable though it is aborted"));
        }
        self.reached.insert(match (is_first, is_full, is_return) {
            (true, ..) => "the first revision becomes stable",
            (_, true, _) => "a revision becomes stable by promote --full",
            (_, _, true) => "a revision becomes stable again",
            _ => "a revision becomes stable through its gates",
        });
        self.once_stable.insert(revision);
    }

    /// S14: what becomes stable has all users, and pods for them.
    fn judge_takeover_of_users(&mut self, entry: &Entry, revision: &str) {
        let share = self.view.share_of(revision, &shares(&self.view.route));
        if self.shape != Shape::PlainCanary && share < 100.0 {
            self.blame(entry, "S14", format!("{revision} becomes stable with {share} %"));
        }
        let ready = self.view.most_ready(revision, entry.at);
        let wanted = self.view.wanted.least(entry.at);
        if ready < wanted {
            let what = format!("{revision} becomes stable with {ready} of {wanted} ready");
            self.blame(entry, "S14", what);
        }
    }

    /// S28: Healthy means it.
    fn judge_health(&mut self, entry: &Entry) {
        let (new, now) = (entry.object.clone(), entry.at);
        let stable = text(&new, "/status/stableRS").to_owned();
        if stable != text(&new, "/status/currentPodHash") {
            self.blame(entry, "S28", "Healthy, and the update is not done".to_owned());
        }
        let (ready, wanted) = (self.view.most_ready(&stable, now), self.view.wanted.least(now));
        if ready < wanted {
            self.blame(entry, "S28", format!("Healthy with {ready} of {wanted} ready"));
        }
        let share = self.view.share_of(&stable, &shares(&self.view.route));
        if self.shape != Shape::PlainCanary && share < 100.0 {
            self.blame(entry, "S28", format!("Healthy with {share} % to stable"));
        }
        self.reached.insert("a Rollout becomes Healthy");
    }

    /// States that the soak must reach, whoever made them.
    pub(super) fn note_state(&mut self, entry: &Entry, is_ours: bool) {
        if entry.resource.plural == "analysisruns" {
            self.note_run(entry);
        }
        if entry.resource.plural != "rollouts" || entry.name() != NAME {
            return;
        }
        let (Some(old), new) = (entry.old.clone(), entry.object.clone()) else { return };
        self.note_phase(&old, &new);
        if is_ours {
            self.note_attempt(&old, &new, entry.at);
        }
        let had = |pointer: &str| is_set(&old, pointer);
        let has = |pointer: &str| is_set(&new, pointer);
        if has("/spec/paused") && !had("/spec/paused") && Self::phase(&new) == "Progressing" {
            self.reached.insert("a person pauses an update");
        }
        if !has("/spec/paused") && had("/spec/paused") {
            self.reached.insert("a person resumes");
        }
        if has("/status/promoteFull") && !had("/status/promoteFull") {
            self.reached.insert("a person promotes in full");
        }
        if has("/status/abort") && !had("/status/abort") && !is_ours {
            self.reached.insert("a person aborts");
        }
        if !has("/status/abort") && had("/status/abort") && !is_ours {
            self.reached.insert("a person retries");
        }
        if has("/status/abort") && has("/status/promoteFull") {
            self.reached.insert("abort and promote meet");
        }
        if is_quarantined(&new) && !is_quarantined(&old) {
            self.reached.insert("a failed version that comes back is held");
        }
    }

    fn note_phase(&mut self, old: &Value, new: &Value) {
        match (Self::phase(old), Self::phase(new)) {
            ("Healthy", "Progressing") => {
                self.reached.insert("an update begins");
            }
            (_, "Paused") => {
                self.reached.insert("an update pauses");
            }
            ("Degraded", "Progressing") => {
                self.reached.insert("a degraded Rollout goes on");
            }
            ("Progressing", "Degraded") => {
                self.reached.insert("an update becomes degraded");
            }
            ("Degraded", "Healthy") => {
                self.reached.insert("a degraded Rollout recovers");
            }
            _ => {}
        }
    }

    /// A new attempt, an abort of ours.
    fn note_attempt(&mut self, old: &Value, new: &Value, at: Time) {
        let changed = |pointer: &str| old.pointer(pointer) != new.pointer(pointer);
        if changed("/status/attempt") {
            self.last_index = None;
        }
        self.last_index = Self::index(new).or(self.last_index);
        if changed("/status/attempt") || Self::index(new) != Self::index(old) {
            self.index_since = Some(at);
        }
        if changed("/status/currentPodHash") {
            self.rollouts += 1;
            let index = Self::index(old);
            let is_midway = text(old, "/status/stableRS") != text(old, "/status/currentPodHash");
            if is_midway && !is_set(old, "/status/abort") && index.is_some() {
                self.reached.insert("an update is superseded midway");
            }
            let is_return = text(new, "/status/currentPodHash") == text(new, "/status/stableRS");
            if is_return && is_midway {
                self.reached.insert("an update is taken back to stable by a push");
            }
        }
        if is_set(new, "/status/abort") && !is_set(old, "/status/abort") {
            let tag = self.view.tags.get(text(new, "/status/currentPodHash"));
            let tag = tag.cloned().unwrap_or_default();
            self.reached.insert(if is_bad(&tag) {
                "a bad version is aborted"
            } else if is_broken(&tag) {
                "a version that never gets ready is aborted"
            } else {
                "a good version is aborted under faults"
            });
        }
        let state = text(new, "/status/gitRevert/state").to_owned();
        if changed("/status/gitRevert/state") {
            self.reached.insert(match state.as_str() {
                "Pushed" | "Reverted" | "Done" | "Succeeded" => "a revert is reported as done",
                "Suggested" => "a revert is only suggested",
                "" => "a revert is forgotten",
                _ => "a revert is under way",
            });
        }
        if Self::index(new) == Some(0) && Self::index(old).is_none_or(|index| index > 0) {
            self.reached.insert("the steps begin");
        }
    }

    fn note_run(&mut self, entry: &Entry) {
        let phase = |object: &Value| text(object, "/status/phase").to_owned();
        let before = entry.old.as_ref().map(|old| phase(old)).unwrap_or_default();
        let after = phase(&entry.object);
        if before == after {
            return;
        }
        match after.as_str() {
            "Running" => self.reached.insert("an analysis runs"),
            "Successful" => self.reached.insert("an analysis succeeds"),
            "Failed" => self.reached.insert("an analysis fails"),
            "Inconclusive" => self.reached.insert("an analysis is inconclusive"),
            "Error" => self.reached.insert("an analysis ends in an error"),
            _ => false,
        };
    }
}

/// Whether the status says that a failed version is held back.
fn is_quarantined(rollout: &Value) -> bool {
    let conditions = rollout.pointer("/status/conditions").and_then(Value::as_array);
    let mut all = conditions.into_iter().flatten();
    all.any(|one| text(one, "/type") == "Quarantined" && text(one, "/status") == "True")
}
