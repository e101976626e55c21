//! The oracle: invariants over the log of the API server, judged change by change, and the end of a
//! run. A violation is charged to the controller only when its own write made it.
//!
//! The numbers of the invariants are those of docs/simulation.md. The oracle reads what is stored; it
//! asks neither the controller nor its code.

mod analysis;
mod deletion;
mod end;
mod fences;
mod status;
mod traffic;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice::sim::api::{Change, Entry};

pub(crate) use end::{End, Ending, differs_from_twin, is_excused};
pub(crate) use view::Time;
use view::{View, selected, shares, text};

use crate::case::{Act, Case, Shape, What};
use crate::manifests::{NAME, NAMESPACE, SECRETS};

/// For so long after somebody else has changed what the controller looks after, the state of it is
/// not held against the controller.
const DISTURBED: TimeDelta = TimeDelta::seconds(60);
/// Rules about states that somebody else can bring about.
const STATE_RULES: [&str; 12] =
    ["S2", "S3", "S4", "S5", "S7", "S8", "S11", "S14", "S16", "S23", "S28", "S31"];
/// No object needs so many writes in a minute.
const MOST_WRITES_A_MINUTE: usize = 100;

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
    /// Whether nothing has gone wrong until now.
    pub(crate) is_calm: bool,
}

/// The oracle of one run.
#[derive(Debug)]
pub(crate) struct Oracle {
    shape: Shape,
    has_promote_full: bool,
    has_autoscaler: bool,
    /// Whether a clock differs from the world's at some time.
    has_clock: bool,
    begin: Time,
    pub(crate) view: View,
    violations: Vec<Violation>,
    pub(crate) reached: BTreeSet<&'static str>,
    /// Revisions that were stable.
    once_stable: BTreeSet<String>,
    /// The last step that the present attempt was at.
    last_index: Option<u32>,
    /// Since when it is there.
    index_since: Option<Time>,
    /// When its last traffic left a revision.
    left_at: BTreeMap<String, Time>,
    /// The last term of each process.
    terms: BTreeMap<String, u32>,
    /// When a process last began to lead: what one that does not live long leaves undone is left to the
    /// next.
    led_since: Option<Time>,
    /// When each run that is under way last moved.
    moved: BTreeMap<String, Time>,
    /// The active Service's revisions in the present attempt.
    switched: (u64, Vec<String>),
    /// When somebody else last changed what the controller looks after.
    foreign_at: Option<Time>,
    /// Our writes to each object in the last minute.
    rates: BTreeMap<String, VecDeque<Time>>,
    /// When an abort was recorded that traffic has not followed yet.
    abort_open_since: Option<Time>,
    /// The last write of the controller that was neither a Lease nor an Event.
    pub(crate) last_write: Option<(Time, String)>,
    /// Those writes.
    pub(crate) writes: u64,
    /// The most writes to one object in a minute.
    pub(crate) busiest: usize,
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
            has_clock: case.faults.iter().any(|one| matches!(one.what, What::Clock { .. })),
            begin,
            view: View::default(),
            violations: Vec::new(),
            reached: BTreeSet::new(),
            once_stable: BTreeSet::new(),
            last_index: None,
            index_since: None,
            left_at: BTreeMap::new(),
            terms: BTreeMap::new(),
            led_since: None,
            moved: BTreeMap::new(),
            switched: (0, Vec::new()),
            foreign_at: None,
            rates: BTreeMap::new(),
            abort_open_since: None,
            last_write: None,
            writes: 0,
            busiest: 0,
            rollouts: 0,
        }
    }

    /// What was found.
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Whether some object is written again and again.
    pub(crate) fn is_too_busy(&self) -> bool {
        self.busiest > MOST_WRITES_A_MINUTE
    }

    /// Judges a change, and takes note of it.
    pub(crate) fn feed(&mut self, entry: &Entry, beside: &Beside) {
        let is_ours = entry.writer.user.ends_with(":sluice-controller");
        if is_ours {
            self.note_write(entry);
            self.judge(entry, beside);
        }
        if entry.resource.plural == "leases" && is_ours {
            self.note_lease(entry);
        }
        if entry.namespace() == NAMESPACE {
            self.note_state(entry, is_ours);
            if !is_ours {
                self.note_foreign(entry);
            }
        }
        let before = self.served();
        self.view.take(entry);
        let after = self.served();
        for revision in before.difference(&after) {
            self.left_at.insert(revision.clone(), entry.at);
        }
        self.watch_abort(entry.at, entry.version);
        self.watch_deletion(entry.at, entry.version);
        if entry.resource.plural == "analysisruns" {
            self.note_move(entry);
        }
        self.watch_runs(entry.at, entry.version);
    }

    /// The revisions that users reach, as routes and Services say.
    fn served(&self) -> BTreeSet<String> {
        let all = shares(&self.view.route);
        let used = all.iter().filter(|(_, share)| **share > 0.0);
        let services = used.filter_map(|(service, _)| self.view.services.get(service));
        services.map(|service| selected(service).to_owned()).collect()
    }

    fn note_write(&mut self, entry: &Entry) {
        let plural = entry.resource.plural.as_str();
        let written = entry.object.to_string();
        if SECRETS.iter().any(|secret| written.contains(secret)) {
            self.blame(entry, "S32", format!("a password stands in {plural}/{}", entry.name()));
        }
        if !matches!(plural, "leases" | "events") {
            let (name, verb) = (entry.name(), entry.verb.as_str());
            let what = format!("{verb} {plural}/{name} {}", entry.subresource);
            self.last_write = Some((entry.at, what.trim_end().to_owned()));
            self.writes += 1;
            let rate = self.rates.entry(format!("{plural}/{name}")).or_default();
            rate.push_back(entry.at);
            while rate.front().is_some_and(|at| entry.at - *at > TimeDelta::minutes(1)) {
                rate.pop_front();
            }
            self.busiest = self.busiest.max(rate.len());
            if rate.len() > MOST_WRITES_A_MINUTE {
                let what = format!("{} writes to {plural}/{name} in a minute", rate.len());
                self.blame(entry, "S29", what);
            }
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
        if beside.is_calm {
            self.judge_order(entry);
        }
        match (plural, entry.change) {
            ("httproutes", Change::Modified) => self.judge_route(entry),
            ("services", Change::Modified) => self.judge_service(entry),
            ("replicasets", Change::Modified | Change::Removed) => self.judge_set(entry, beside),
            ("rollouts", Change::Modified) if entry.name() == NAME => self.judge_status(entry),
            ("rollouts", Change::Removed) if entry.name() == NAME => self.judge_deletion(entry),
            ("analysisruns", Change::Added | Change::Modified) => self.judge_run(entry),
            ("httproutes" | "services" | "rollouts", change) => {
                self.blame(entry, "S25", format!("{change:?} of {plural}/{}", entry.name()));
            }
            _ => {}
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
        if now - self.led(since) > TimeDelta::minutes(3) {
            self.abort_open_since = Some(now);
            let what = format!("aborted three minutes ago, and {share} % go to the canary");
            self.violate("L2", version, now, what);
        }
    }

    /// Since when a process was to do what is due since `at`: three minutes are for one that lives so long.
    fn led(&self, at: Time) -> Time {
        self.led_since.map_or(at, |led| led.max(at))
    }

    /// S11: an abort takes the traffic away before it does anything else. Where something went wrong
    /// before, the route may be what cannot be written.
    fn judge_order(&mut self, entry: &Entry) {
        let is_other =
            matches!(entry.resource.plural.as_str(), "analysisruns" | "replicasets" | "services");
        let all = shares(&self.view.route);
        let share = self.view.share_of(self.view.current(), &all);
        let is_routed = matches!(self.shape, Shape::Canary | Shape::PausedCanary);
        let is_updating = self.view.current() != self.view.stable();
        let is_recorded = self.view.rollout.pointer("/status/abortedAt").is_some();
        if is_other && is_routed && is_updating && is_recorded && share > 0.0 {
            let what = format!(
                "the update is aborted, {share} % go to the canary, and {}/{} is written",
                entry.resource.plural,
                entry.name()
            );
            // What was under way when the abort was recorded is no choice.
            if entry.subresource != "status" {
                self.blame(entry, "S11", what);
            }
        }
    }

    /// Takes note of what others do to what the controller looks after.
    fn note_foreign(&mut self, entry: &Entry) {
        let plural = entry.resource.plural.as_str();
        let is_looked_after = matches!(plural, "httproutes" | "services" | "replicasets");
        let spec = |object: &Value| object.get("spec").cloned();
        let is_same = entry.change == Change::Modified
            && entry.old.as_ref().is_some_and(|old| spec(old) == spec(&entry.object));
        if is_looked_after && !is_same {
            self.foreign_at = Some(entry.at);
        }
        if let ("rollouts", Change::Removed) = (plural, entry.change) {
            self.judge_deletion(entry);
        }
    }

    fn blame(&mut self, entry: &Entry, rule: &str, what: String) {
        if !self.is_excused(rule, entry.at) {
            self.violate(rule, entry.version, entry.at, what);
        }
    }

    /// Whether somebody else has just changed what the rule is about.
    fn is_excused(&self, rule: &str, now: Time) -> bool {
        let is_foreign = self.foreign_at.is_some_and(|at| now - at < DISTURBED);
        is_foreign && STATE_RULES.contains(&rule)
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
        if self.shape != Shape::PlainCanary && share < 100.0 && !self.is_excused("S23", at) {
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
