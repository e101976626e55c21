//! Reads along while a world runs, and makes events and samples of what it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::report::{Event, Pods, Requests, Sample, State, What};
use super::supply::{Supplies, text};
use crate::api::ApiNames;
use crate::sim::api::{Entry, KindName, object};
use crate::sim::world::{Tally, World};

const REPLICA_SETS: KindName = KindName::of("apps", "replicasets");
const PODS: KindName = KindName::of("", "pods");
/// Name of the users.
pub(super) const PEOPLE: &str = "people";
/// Seconds between two samples when nothing changes.
const SAMPLE_EVERY: f64 = 30.0;

/// What is known of a run so far.
#[derive(Debug)]
pub(super) struct Watch {
    names: ApiNames,
    namespace: String,
    name: String,
    target: crate::sim::world::Target,
    /// The moment of the change.
    began: DateTime<Utc>,
    /// The revision before the change.
    stable: String,
    before: Tally,
    /// When the last measurement of a metric was started, by run and metric.
    measured: BTreeMap<(String, String), String>,
    ended: BTreeSet<String>,
    /// Percent to the new version, and to nobody.
    weight: (f64, f64),
    pub(super) events: Vec<Event>,
    pub(super) samples: Vec<Sample>,
}

impl Watch {
    /// Begins with the change.
    pub(super) fn begin(names: ApiNames, supplies: &Supplies, world: &World) -> Self {
        let mut watch = Self {
            names,
            namespace: supplies.namespace.clone(),
            name: supplies.name.clone(),
            target: supplies.target.clone(),
            began: world.now(),
            stable: String::new(),
            before: world.tally(PEOPLE),
            measured: BTreeMap::new(),
            ended: BTreeSet::new(),
            weight: (0.0, 0.0),
            events: Vec::new(),
            samples: Vec::new(),
        };
        text(&watch.rollout(world), "/status/stableRS").clone_into(&mut watch.stable);
        watch
    }

    /// Seconds since the change.
    pub(super) fn at(&self, time: DateTime<Utc>) -> f64 {
        (time - self.began).as_seconds_f64().max(0.0)
    }

    /// The Rollout as it is stored.
    pub(super) fn rollout(&self, world: &World) -> Arc<Value> {
        let kind = KindName::new(self.names.group(), "rollouts");
        world.cluster().get(&kind, &self.namespace, &self.name).unwrap_or_default()
    }

    /// The revision before the change.
    pub(super) fn stable(&self) -> &str {
        &self.stable
    }

    /// Notes something that happened.
    pub(super) fn tell(&mut self, world: &World, what: What, text: impl Into<String>) {
        self.tell_at(world, world.now(), what, text);
    }

    fn tell_at(&mut self, world: &World, at: DateTime<Utc>, what: What, text: impl Into<String>) {
        let state = self.state(world);
        self.events.push(Event { at: self.at(at), what, text: text.into(), state });
    }

    /// How everything stands.
    pub(super) fn state(&self, world: &World) -> State {
        let rollout = self.rollout(world);
        let mut pods = [Pods::default(); 2];
        for set in world.cluster().list(&REPLICA_SETS, &self.namespace) {
            if text(&set, "/metadata/ownerReferences/0/name") != self.name {
                continue;
            }
            let count = |pointer: &str| set.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            let [stable, canary] = &mut pods;
            let of = if self.is_stable(&set) { stable } else { canary };
            of.desired += count("/spec/replicas");
            of.ready += count("/status/readyReplicas");
        }
        let [stable_pods, canary_pods] = pods;
        let number = |pointer: &str| rollout.pointer(pointer).and_then(Value::as_u64);
        let desired = number("/status/canary/desiredWeights/canary/weight");
        let is_promoted = text(&rollout, "/status/stableRS") != self.stable;
        let total = desired
            .zip(number("/status/canary/desiredWeights/stable/weight"))
            // Afterwards the new version is the one that they call stable.
            .filter(|_| !is_promoted);
        let now = world.tally(PEOPLE);
        State {
            phase: text(&rollout, "/status/phase").to_owned(),
            step: number("/status/currentStepIndex"),
            desired_weight: total.map(|(canary, stable)| percent(canary, canary + stable)),
            actual_weight: self.actual(world).0,
            stable_pods,
            canary_pods,
            requests: Requests {
                sent: now.sent - self.before.sent,
                failed: now.errors - self.before.errors,
                lost: now.lost - self.before.lost,
                by_version: difference(&now.by_version, &self.before.by_version),
            },
        }
    }

    fn is_stable(&self, object: &Value) -> bool {
        object::label(object, self.names.revision_label()) == Some(&self.stable)
    }

    /// Percent of the requests that go to pods of the new version, and that meet no pod at all.
    fn actual(&self, world: &World) -> (f64, f64) {
        let (mut share, mut lost) = (0.0, 0.0);
        for branch in world.shares(&self.target) {
            let new = branch.pods.iter().filter(|(namespace, name)| {
                let pod = world.cluster().get(&PODS, namespace, name);
                pod.is_some_and(|pod| !self.is_stable(&pod))
            });
            if branch.pods.is_empty() {
                lost += branch.share;
            } else {
                share += branch.share * ratio(new.count(), branch.pods.len());
            }
        }
        (share * 100.0, lost * 100.0)
    }

    /// Takes note of changes of objects.
    pub(super) fn read(&mut self, world: &World, entry: &Entry) {
        if entry.namespace() != self.namespace {
            return;
        }
        let Some(object) = entry.current() else { return };
        match entry.resource.plural.as_str() {
            "events" => self.read_event(world, object, entry.at),
            "analysisruns" => self.read_run(world, object, entry.at),
            _ => {}
        }
    }

    fn read_event(&mut self, world: &World, event: &Value, at: DateTime<Utc>) {
        let is_ours = text(event, "/involvedObject/kind") == "Rollout"
            && text(event, "/involvedObject/name") == self.name;
        let Some(told) = event_text(event).filter(|_| is_ours) else { return };
        let what = What::Event {
            reason: text(event, "/reason").to_owned(),
            is_warning: text(event, "/type") == "Warning",
        };
        self.tell_at(world, at, what, told);
    }

    fn read_run(&mut self, world: &World, run: &Value, at: DateTime<Utc>) {
        let name = object::name(run).to_owned();
        let results = run.pointer("/status/metricResults").and_then(Value::as_array);
        for result in results.into_iter().flatten() {
            let metric = text(result, "/name").to_owned();
            let manner = Manner {
                is_dry_run: result.get("dryRun") == Some(&Value::Bool(true)),
                is_comparison: is_comparison(run, &metric),
            };
            let measurements = result.get("measurements").and_then(Value::as_array);
            for one in measurements.into_iter().flatten() {
                self.read_measurement(world, (&name, &metric, manner), one);
            }
        }
        let phase = text(run, "/status/phase");
        let is_over = ["Successful", "Failed", "Error", "Inconclusive"].contains(&phase);
        if is_over && self.ended.insert(name.clone()) {
            let message = text(run, "/status/message");
            let was_ended = run.pointer("/status/terminated") == Some(&Value::Bool(true));
            let told = match (was_ended, message) {
                (true, _) => format!("analysis {name} is no longer needed and ended"),
                (false, "") => format!("analysis {name} is {phase}"),
                (false, message) => format!("analysis {name} is {phase}: {message}"),
            };
            let what = What::Verdict { run: name, verdict: phase.to_owned(), was_ended };
            self.tell_at(world, at, what, told);
        }
    }

    fn read_measurement(
        &mut self,
        world: &World,
        (run, metric, manner): (&str, &str, Manner),
        one: &Value,
    ) {
        let (started, finished) = (text(one, "/startedAt"), text(one, "/finishedAt"));
        let key = (run.to_owned(), metric.to_owned());
        let is_known = self.measured.get(&key).is_some_and(|last| last.as_str() >= started);
        if finished.is_empty() || is_known {
            return;
        }
        self.measured.insert(key, started.to_owned());
        // A look at counts is no verdict: that comes of all of them.
        let verdict = match text(one, "/phase") {
            "Successful" if manner.is_comparison => "Counted",
            phase => phase,
        };
        let value = shortened(text(one, "/value"));
        let mut told = format!("{metric} = {}", if value.is_empty() { "no value" } else { &value });
        if verdict == "Error" || value.is_empty() {
            let _ = write!(told, " ({})", text(one, "/message"));
        }
        let what = What::Measurement {
            run: run.to_owned(),
            metric: metric.to_owned(),
            value,
            verdict: verdict.to_owned(),
            is_dry_run: manner.is_dry_run,
        };
        let at = finished.parse::<DateTime<Utc>>().unwrap_or(world.now());
        // Written a moment after it was taken; the order of the events is that of the writing.
        let at = at.max(self.began).min(world.now());
        self.tell_at(world, at, what, told);
    }

    /// Looks at what changes without anything being written, and takes a sample when it is time.
    pub(super) fn look(&mut self, world: &World) {
        let (weight, lost) = self.actual(world);
        let (before, lost_before) = self.weight;
        if (before - weight).abs() > 0.005 || (lost_before - lost).abs() > 0.005 {
            self.weight = (weight, lost);
            let mut told = match weight {
                weight if weight <= 0.0 && lost <= 0.0 => {
                    "all requests go to the old version".to_owned()
                }
                weight if weight >= 100.0 => "all requests go to the new version".to_owned(),
                weight => format!("{} of the requests go to the new version", shown(weight)),
            };
            if lost > 0.0 {
                let _ = write!(told, ", and {} meet no ready pod", shown(lost));
            }
            self.tell(world, What::Weight { canary: weight, nobody: lost }, told);
        }
        let at = self.at(world.now());
        let state = self.state(world);
        let essence = |state: &State| State { requests: Requests::default(), ..state.clone() };
        let is_due = self.samples.last().is_none_or(|last| {
            essence(&last.state) != essence(&state) || at - last.at >= SAMPLE_EVERY
        });
        if is_due {
            self.samples.push(Sample { at, state });
        }
    }
}

/// An Event of the controller as a sentence; none when it has no message.
pub(crate) fn event_text(event: &Value) -> Option<String> {
    let (reason, message) = (text(event, "/reason"), text(event, "/message"));
    if message.is_empty() {
        None
    } else if message.starts_with(reason) {
        Some(message.to_owned())
    } else {
        Some(format!("{reason}: {message}"))
    }
}

/// A share in percent as people write it.
pub(super) fn shown(percent: f64) -> String {
    let rounded = (percent * 10.0).round() / 10.0;
    format!("{rounded} %")
}

#[expect(clippy::cast_precision_loss, reason = "weights and pods are few")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "pods are few")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn difference(
    now: &BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let count = |(tag, count): (&String, &u64)| {
        (tag.clone(), count - before.get(tag).copied().unwrap_or(0))
    };
    now.iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// A measured value (`[0.0123456]`) with at most four significant decimals.
pub(super) fn shortened(value: &str) -> String {
    let inner = value.trim_matches(['[', ']']);
    match inner.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            let scale = if number.abs() >= 1.0 { 1_000.0 } else { 100_000.0 };
            ((number * scale).round() / scale).to_string()
        }
        _ => value.to_owned(),
    }
}

/// How a metric is taken.
#[derive(Clone, Copy)]
struct Manner {
    is_dry_run: bool,
    /// It counts the requests of both versions.
    is_comparison: bool,
}

/// Whether a metric of a run compares the two versions: such a one has no provider.
fn is_comparison(run: &Value, metric: &str) -> bool {
    let metrics = run.pointer("/spec/metrics").and_then(Value::as_array);
    let found = metrics.into_iter().flatten().find(|one| text(one, "/name") == metric);
    found.is_some_and(|found| found.get("provider").is_none())
}
