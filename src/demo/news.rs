//! What happens in the world, as lines for people: the controller's Events, what analyses found,
//! weights as they take force, what the agent applies.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::shop::{self, CANARY_SERVICE, NAMESPACE};
use crate::cli::simulate::event_text;
use crate::cli::text::Tone;
use crate::revision::Commit;
use crate::sim::api::{Entry, Follower, object};
use crate::sim::world::World;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: DateTime<Utc>,
    pub(super) who: &'static str,
    pub(super) tone: Tone,
    pub(super) what: String,
}

/// Follows a world.
#[derive(Debug)]
pub(super) struct News {
    log: Follower,
    /// Entries of the data plane's history that were told.
    in_force: usize,
    applied: Option<Commit>,
}

impl News {
    pub(super) fn of(world: &World) -> Self {
        let log = world.cluster().follow(world.cluster().version());
        Self { log, in_force: 0, applied: None }
    }

    /// What happened since the last call, in order of time.
    pub(super) fn next(&mut self, world: &World) -> Vec<Told> {
        let mut told: Vec<Told> =
            self.log.ready().iter().filter_map(|entry| of_entry(entry)).collect();
        let history = world.in_force();
        for force in history.iter().skip(self.in_force) {
            let weight = force.backends.iter().find(|one| one.service.1 == CANARY_SERVICE);
            let what = match weight.map(|one| one.weight) {
                Some(0) => "all requests go to the stable version".to_owned(),
                Some(weight) => format!("{weight} % of the requests go to the canary"),
                None => continue,
            };
            told.push(Told { at: force.since, who: "gateway", tone: Tone::Plain, what });
        }
        self.in_force = history.len();
        let applied = world.agents().into_iter().find_map(|(applied, _)| applied);
        if applied != self.applied {
            if let Some(commit) = &applied {
                let what = format!("applied {} to the cluster", commit.short());
                told.push(Told { at: world.now(), who: "agent", tone: Tone::Plain, what });
            }
            self.applied = applied;
        }
        told.sort_by_key(|one| one.at);
        told
    }
}

fn of_entry(entry: &Entry) -> Option<Told> {
    if entry.namespace() != NAMESPACE {
        return None;
    }
    let object = entry.current()?;
    match entry.resource.plural.as_str() {
        "events" => of_event(object, entry.at),
        "analysisruns" => of_run(object, entry.old.as_deref(), entry.at),
        _ => None,
    }
}

fn of_event(event: &Value, at: DateTime<Utc>) -> Option<Told> {
    let is_about_the_app = event.pointer("/involvedObject/kind") == Some(&"Rollout".into());
    let what = event_text(event).filter(|_| is_about_the_app)?;
    let tone = if object::text(event, "type") == "Warning" { Tone::Bad } else { Tone::Plain };
    Some(Told { at, who: "sluice", tone, what })
}

/// An analysis that came to its end.
fn of_run(run: &Value, old: Option<&Value>, at: DateTime<Utc>) -> Option<Told> {
    let phase = |run: &Value| -> Option<String> {
        run.pointer("/status/phase").and_then(Value::as_str).map(str::to_owned)
    };
    let now = phase(run)?;
    if old.and_then(phase).as_ref() == Some(&now) {
        return None;
    }
    let tone = match now.as_str() {
        "Successful" => Tone::Good,
        "Failed" | "Error" => Tone::Bad,
        _ => return None,
    };
    let results: Vec<String> = metrics(run)
        .into_iter()
        .map(|metric| {
            format!("{} {} ({} of {} good)", metric.name, metric.last, metric.good, metric.taken)
        })
        .collect();
    let what = format!("{now}: {}", results.join(", "));
    Some(Told { at, who: "analysis", tone, what })
}

/// A metric of an AnalysisRun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: String,
    /// The value that was measured last.
    pub(super) last: String,
    pub(super) good: u64,
    pub(super) bad: u64,
    pub(super) taken: u64,
}

/// The metrics of an AnalysisRun, in their order.
pub(super) fn metrics(run: &Value) -> Vec<Metric> {
    let results = run.pointer("/status/metricResults").and_then(Value::as_array);
    let metric = |result: &Value| {
        let count = |field: &str| result.get(field).and_then(Value::as_u64).unwrap_or(0);
        let measured = result.get("measurements").and_then(Value::as_array);
        let last = measured.and_then(|list| list.last());
        let value = last.map(|last| object::text(last, "value")).unwrap_or_default();
        Metric {
            name: object::text(result, "name").to_owned(),
            last: shortened(value),
            good: count("successful"),
            bad: count("failed"),
            taken: count("count"),
        }
    };
    results.map(|results| results.iter().map(metric).collect()).unwrap_or_default()
}

/// A measured value (`[0.0123456]`) with three decimals.
fn shortened(value: &str) -> String {
    let inner = value.trim_matches(['[', ']']);
    inner.parse::<f64>().map_or_else(|_| value.to_owned(), |number| format!("{number:.3}"))
}

/// Since the beginning of the world, as `mm:ss`.
pub(super) fn clock(at: DateTime<Utc>, origin: DateTime<Utc>) -> String {
    let seconds = (at - origin).num_seconds().max(0);
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

/// The Rollout's canary weight in the order in which it took force, since `from`.
pub(super) fn weights_since(world: &World, from: DateTime<Utc>) -> Vec<u64> {
    let history = world.in_force();
    let since = history.iter().filter(|force| force.since >= from && force.route.name == shop::APP);
    let canary = since.filter_map(|force| {
        force.backends.iter().find(|one| one.service.1 == CANARY_SERVICE).map(|one| one.weight)
    });
    canary.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_analysis_is_told_once_when_it_ends() {
        let run = |phase: &str| {
            json!({"status": {"phase": phase, "metricResults": [{
                "name": "error-rate", "count": 3, "successful": 1, "failed": 2,
                "measurements": [{"value": "[0.1]"}, {"value": "[0.30049]"}],
            }]}})
        };
        let at = DateTime::from_timestamp(0, 0).unwrap();
        assert_eq!(of_run(&run("Running"), None, at), None);
        let told = of_run(&run("Failed"), Some(&run("Running")), at).unwrap();
        assert_eq!(told.what, "Failed: error-rate 0.300 (1 of 3 good)");
        assert_eq!(of_run(&run("Failed"), Some(&run("Failed")), at), None);
    }
}
