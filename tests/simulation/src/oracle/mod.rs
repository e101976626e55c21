//! The oracle: invariants over the log of the API server, judged change by change, and the end of a
//! run. A violation is charged to the controller only when its own write made it.
//!
//! The numbers of the invariants are those of ARCHITECTURE.md. The oracle reads what is stored; it
//! asks neither the controller nor its code.

mod end;
mod status;
mod traffic;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice::sim::api::{Change, Entry};

pub(crate) use end::{End, Ending, differs_from_twin, is_excused};
pub(crate) use view::Time;
use view::{View, shares, text};

use crate::case::{Act, Case, Shape};
use crate::manifests::{NAME, NAMESPACE};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Violation {
    /// The invariant, such as `S3`.
    pub(crate) rule: String,
    /// resourceVersion of the write; 0 when it is about the end of the run.
    pub(crate) version: u64,
    /// When, in milliseconds since the beginning of the world.
    pub(crate) at_ms: i64,
    /// What, in one sentence.
    pub(crate) what: String,
}

/// What is known beside the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// Percent of the requests by Service, as the data plane has it.
    pub(crate) in_force: BTreeMap<String, f64>,
}

/// The oracle of one run.
#[derive(Debug)]
pub(crate) struct Oracle {
    shape: Shape,
    has_promote_full: bool,
    has_autoscaler: bool,
    begin: Time,
    pub(crate) view: View,
    violations: Vec<Violation>,
    pub(crate) reached: BTreeSet<&'static str>,
    /// Revisions that were stable.
    once_stable: BTreeSet<String>,
    /// The last step that the present attempt was at.
    last_index: Option<u32>,
    /// The active Service's revisions in the present attempt.
    switched: (u64, Vec<String>),
    /// When an abort was recorded that traffic has not followed yet.
    abort_open_since: Option<Time>,
    /// The last write of the controller that was neither a Lease nor an Event.
    pub(crate) last_write: Option<(Time, String)>,
    /// Those writes.
    pub(crate) writes: u64,
    /// Updates that began.
    pub(crate) rollouts: u64,
}

impl Oracle {
    /// An oracle for a case whose world began at `begin`.
    pub(crate) fn new(case: &Case, begin: Time) -> Self {
        Self {
            shape: case.setup.shape,
            has_promote_full: case.steps.iter().any(|step| step.act == Act::PromoteFull),
            has_autoscaler: case.setup.has_autoscaler,
            begin,
            view: View::default(),
            violations: Vec::new(),
            reached: BTreeSet::new(),
            once_stable: BTreeSet::new(),
            last_index: None,
            switched: (0, Vec::new()),
            abort_open_since: None,
            last_write: None,
            writes: 0,
            rollouts: 0,
        }
    }

    /// What was found.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Judges a change, and takes note of it.
    pub(crate) fn feed(&mut self, entry: &Entry, beside: &Beside) {
        let is_ours = entry.writer.user.ends_with(":sluice-controller");
        if is_ours {
            self.note_write(entry);
            self.judge(entry, beside);
        }
        if entry.namespace() == NAMESPACE {
            self.note_state(entry, is_ours);
        }
        self.view.take(entry);
        self.watch_abort(entry.at, entry.version);
    }

    fn note_write(&mut self, entry: &Entry) {
        let plural = entry.resource.plural.as_str();
        if !matches!(plural, "leases" | "events") {
            let (name, verb) = (entry.name(), entry.verb.as_str());
            let what = format!("{verb} {plural}/{name} {}", entry.subresource);
            self.last_write = Some((entry.at, what.trim_end().to_owned()));
            self.writes += 1;
        }
    }

    /// Judges a write of the controller.
    fn judge(&mut self, entry: &Entry, beside: &Beside) {
        let plural = entry.resource.plural.as_str();
        if entry.namespace() != NAMESPACE {
            if !matches!(plural, "leases" | "events") {
                self.blame(entry, "S26", format!("a write to {plural} in {}", entry.namespace()));
            }
            return;
        }
        self.judge_epoch(entry);
        match (plural, entry.change) {
            ("httproutes", Change::Modified) => self.judge_route(entry),
            ("services", Change::Modified) => self.judge_service(entry),
            ("replicasets", Change::Modified | Change::Removed) => self.judge_set(entry, beside),
            ("rollouts", Change::Modified) if entry.name() == NAME => self.judge_status(entry),
            ("httproutes" | "services" | "rollouts", change) => {
                self.blame(entry, "S25", format!("{change:?} of {plural}/{}", entry.name()));
            }
            _ => {}
        }
    }

    /// S19: the epoch on an object never falls.
    fn judge_epoch(&mut self, entry: &Entry) {
        let epoch = |object: &Value| {
            let annotations = object.pointer("/metadata/annotations");
            let text = annotations.and_then(|all| all.get("sluice.dev/epoch")?.as_str());
            text.and_then(|text| text.parse::<sluice::act::leadership::Epoch>().ok())
        };
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
    }

    /// L2: an abort that is recorded reaches the route within three minutes, whatever happens.
    fn watch_abort(&mut self, now: Time, version: u64) {
        let all = shares(&self.view.route);
        let (current, stable) = (self.view.current(), self.view.stable());
        let share = self.view.share_of(current, &all);
        let is_open = self.view.is_aborted() && share > 0.0 && current != stable;
        let is_routed = self.shape != Shape::PlainCanary;
        if !is_open || !is_routed || stable.is_empty() {
            self.abort_open_since = None;
            return;
        }
        let since = *self.abort_open_since.get_or_insert(now);
        if now - since > chrono::TimeDelta::minutes(3) {
            self.abort_open_since = Some(now);
            let what = format!("aborted three minutes ago, and {share} % go to the canary");
            self.violate("L2", version, now, what);
        }
    }

    fn blame(&mut self, entry: &Entry, rule: &str, what: String) {
        self.violate(rule, entry.version, entry.at, what);
    }

    pub(crate) fn violate(&mut self, rule: &str, version: u64, at: Time, what: String) {
        // The first of a kind says it; a run that is wrong stays wrong.
        if self.violations.iter().filter(|one| one.rule == rule).count() < 3 {
            let at_ms = (at - self.begin).num_milliseconds();
            self.violations.push(Violation { rule: rule.to_owned(), version, at_ms, what });
        }
    }

    /// A push of the controller landed.
    pub(crate) fn feed_push(&mut self, at: Time) {
        let all = shares(&self.view.route);
        let stable = self.view.stable().to_owned();
        let share = self.view.share_of(&stable, &all);
        if self.shape != Shape::PlainCanary && share < 100.0 {
            let what = format!("Git is changed while only {share} % go to stable");
            self.violate("S23", 0, at, what);
        }
        if !self.view.is_aborted() {
            self.reached.insert("a push lands when the update is not aborted any more");
        }
        self.reached.insert("a failed revision is reverted in Git");
    }

    /// The step that the update is at. When nothing is being released it is their number.
    fn index(object: &Value) -> Option<u32> {
        let status = |field: &str| object.get("status")?.get(field)?.as_str();
        if status("stableRS").is_none() || status("stableRS") == status("currentPodHash") {
            return None;
        }
        let index = object.pointer("/status/currentStepIndex")?.as_u64()?;
        u32::try_from(index).ok()
    }

    fn phase(object: &Value) -> &str {
        text(object, "/status/phase")
    }
}
