//! Invariants of AnalysisRuns, and of what may follow from them.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::Value;
use sluice::sim::api::{Change, Entry};

use super::view::{count, revision_of, text};
use super::{Oracle, Time};

/// The label that says what a run is for.
const RUN_TYPE: &str = "sluice.dev/rollout-type";
/// The label that names the attempt.
const ATTEMPT: &str = "sluice.dev/attempt";
/// The label that names the step.
const STEP: &str = "sluice.dev/step-index";
/// In such a time a run moves, whatever happens: a few seconds between measurements, the limit of one
/// that hangs, and the longest that nobody leads.
const STANDSTILL: TimeDelta = TimeDelta::minutes(5);

impl Oracle {
    /// A write of ours to an AnalysisRun.
    pub(super) fn judge_run(&mut self, entry: &Entry) {
        let run = entry.object.clone();
        let (current, stable) = (self.view.current().to_owned(), self.view.stable().to_owned());
        let attempt = count(&self.view.rollout, "/status/attempt").to_string();
        let labels = run.pointer("/metadata/labels");
        // What was on its way before the update ended belongs to an earlier attempt.
        let is_now = labels.and_then(|all| all.get(ATTEMPT)?.as_str()) == Some(attempt.as_str());
        if entry.change == Change::Added && is_now && current == stable && !stable.is_empty() {
            let what = format!("{} judges {current}, which is stable", entry.name());
            self.blame(entry, "S17", what);
        }
        let phase = |object: &Value| text(object, "/status/phase").to_owned();
        let before = entry.old.as_ref().map(|old| phase(old)).unwrap_or_default();
        let after = phase(&run);
        let results = run.pointer("/status/metricResults").and_then(Value::as_array);
        for result in results.into_iter().flatten() {
            self.judge_result(entry, result);
        }
        if before == after {
            return;
        }
        let measurements = || measurements(&run);
        match after.as_str() {
            "Failed" if !measurements().any(|one| is_of(one, "Failed") && has_number(one)) => {
                let what = format!("{} failed without one bad value", entry.name());
                self.blame(entry, "S12", what);
            }
            "Successful" => self.judge_success(entry, &run),
            _ => {}
        }
    }

    /// S12: a good value is a value. S13: it is of the revision and of the run's time, and counts
    /// once.
    fn judge_result(&mut self, entry: &Entry, result: &Value) {
        let (run, name) = (entry.name().to_owned(), text(result, "/name"));
        let revision = revision_of(&entry.object);
        let query = result.pointer("/metadata/ResolvedPrometheusQuery").and_then(Value::as_str);
        if query.is_some_and(|query| !query.contains(revision)) {
            self.blame(entry, "S13", format!("{run} does not ask for revision {revision}"));
        }
        let all = result.get("measurements").and_then(Value::as_array);
        let created = text(&entry.object, "/metadata/creationTimestamp");
        let mut starts = BTreeSet::new();
        for one in all.into_iter().flatten() {
            let started = text(one, "/startedAt");
            if !started.is_empty() && !starts.insert(started.to_owned()) {
                let what = format!("{run} counts the measurement of {name} of {started} twice");
                self.blame(entry, "S13", what);
            }
            // Times of one format; the clock of the controller may be behind the server's.
            if !self.has_clock && !started.is_empty() && started < created.trim_end_matches('Z') {
                let what = format!("{run} counts a measurement of {started}, before its time");
                self.blame(entry, "S13", what);
            }
            if is_of(one, "Failed") && text(one, "/value").is_empty() {
                let what = format!("{run} counts a measurement of {name} without a value as bad");
                self.blame(entry, "S12", what);
            }
            if is_of(one, "Successful") && !has_number(one) {
                let value = text(one, "/value");
                self.blame(entry, "S12", format!("{run} calls {value:?} of {name} a good value"));
            }
        }
    }

    /// S12: a run succeeds by as many good values as were asked for, less those that may be bad.
    fn judge_success(&mut self, entry: &Entry, run: &Value) {
        let metrics = run.pointer("/spec/metrics").and_then(Value::as_array);
        for metric in metrics.into_iter().flatten() {
            let wanted = count(metric, "/count");
            let name = text(metric, "/name");
            let results = run.pointer("/status/metricResults").and_then(Value::as_array);
            let result = results.into_iter().flatten().find(|one| text(one, "/name") == name);
            let good = result.map_or(0, |result| count(result, "/successful"));
            let allowed = count(metric, "/failureLimit");
            if good + allowed < wanted && !super::view::is_set(run, "/spec/terminate") {
                let what = format!("{} succeeds with {good} of {wanted} of {name}", entry.name());
                self.blame(entry, "S12", what);
            }
        }
    }

    /// Takes note of when a run last moved.
    pub(super) fn note_move(&mut self, entry: &Entry) {
        let name = entry.name().to_owned();
        let phase = text(&entry.object, "/status/phase");
        let is_over = matches!(phase, "Successful" | "Failed" | "Inconclusive" | "Error");
        if entry.change == Change::Removed || is_over {
            self.moved.remove(&name);
            return;
        }
        let status = |object: &Value| object.get("status").cloned();
        let old = entry.old.as_ref().map(|old| status(old));
        if old != Some(status(&entry.object)) {
            self.moved.insert(name, entry.at);
        }
    }

    /// L12: an analysis that is under way moves on, whatever happens.
    pub(super) fn watch_runs(&mut self, now: Time, version: u64) {
        let still = self.moved.iter().find(|(_, at)| now - self.led(**at) > STANDSTILL);
        let Some((name, at)) = still.map(|(name, at)| (name.clone(), *at)) else { return };
        self.moved.insert(name.clone(), now);
        let what = format!("{name} has not moved for {} s", (now - at).num_seconds());
        self.violate("L12", version, now, what);
    }

    /// Whether a run of this attempt for this purpose has succeeded.
    pub(super) fn has_passed(&self, kind: &str, step: Option<u32>) -> bool {
        let attempt = count(&self.view.rollout, "/status/attempt").to_string();
        let current = self.view.current();
        self.view.runs.values().any(|run| {
            let labels = run.pointer("/metadata/labels");
            let label = |key: &str| labels.and_then(|all| all.get(key)?.as_str());
            label(RUN_TYPE) == Some(kind)
                && label(ATTEMPT) == Some(attempt.as_str())
                && step.is_none_or(|step| label(STEP) == Some(step.to_string().as_str()))
                && revision_of(run) == current
                && text(run, "/status/phase") == "Successful"
        })
    }
}

fn measurements(run: &Value) -> impl Iterator<Item = &Value> {
    let results = run.pointer("/status/metricResults").and_then(Value::as_array);
    let all = results.into_iter().flatten();
    all.filter_map(|result| result.get("measurements").and_then(Value::as_array)).flatten()
}

fn is_of(measurement: &Value, phase: &str) -> bool {
    text(measurement, "/phase") == phase
}

/// Whether a measurement has a finite number for its value.
fn has_number(measurement: &Value) -> bool {
    let value = text(measurement, "/value");
    let is_odd = ["NaN", "Inf", "null"].iter().any(|odd| value.contains(odd));
    !is_odd && value.chars().any(|char| char.is_ascii_digit())
}
