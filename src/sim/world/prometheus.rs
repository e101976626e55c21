//! Prometheus: scrapes the pods that ask for it into series, and answers queries over them.
//!
//! Pods are found by `prometheus.io/scrape: "true"`, and their series carry the labels that the
//! end-to-end cluster gives them. Every pod exports what the end-to-end application does.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::agenda::Time;
use super::behaviour::{PrometheusBehaviour, QueryAnswer};
use super::companion::{Context, Key, PODS, key_of, text_at};
use super::exports::Exports;
use super::nodes::Nodes;
use super::random::{Random, to_f64};
use super::traffic::{Counters, Traffic};
use super::versions::BOUNDS;
use crate::metrics::exchange::Answer;
use crate::metrics::spec::prometheus::ResolvedRange;
use crate::sim::api::object;
use crate::sim::promql::{Element, Labels, NAME, Outcome, Queries, STALE, SeriesId, Store, wire};

/// How long samples are kept.
const RETENTION: TimeDelta = TimeDelta::hours(2);
/// Time between two looks for samples that are too old.
const PRUNE_EVERY: TimeDelta = TimeDelta::minutes(10);

/// Prometheus.
#[derive(Debug)]
pub(crate) struct Prometheus {
    random: Random,
    store: Store,
    /// What is scraped in the place of the pods that ask for it.
    exports: Option<Exports>,
    targets: BTreeMap<Key, ScrapeTarget>,
    queries: Queries,
    next_scrape: Time,
    next_prune: Time,
}

/// One pod that is scraped, with its series.
#[derive(Clone, Debug)]
struct ScrapeTarget {
    uid: String,
    up: SeriesId,
    succeeded: SeriesId,
    failed: SeriesId,
    buckets: Vec<SeriesId>,
    sum: SeriesId,
    count: SeriesId,
    /// Whether the series of the application had a sample at the last scrape.
    is_live: bool,
}

impl Prometheus {
    pub(crate) fn new(seed: u64, behaviour: &PrometheusBehaviour, now: Time) -> Self {
        Self {
            exports: behaviour.exports.clone().map(Exports::new),
            random: Random::stream(seed, "prometheus"),
            store: Store::default(),
            targets: BTreeMap::new(),
            queries: Queries::default(),
            next_scrape: now,
            next_prune: now + PRUNE_EVERY,
        }
    }

    /// When the next scrape is due.
    pub(crate) fn next(&self) -> Time {
        self.next_scrape
    }

    /// Scrapes if it is time.
    pub(crate) fn act(&mut self, traffic: &Traffic, nodes: &Nodes, ctx: Context<'_>) {
        if self.next_scrape > ctx.now {
            return;
        }
        let behaviour = &ctx.behaviour.prometheus;
        let interval = self.random.within(behaviour.scrape_interval);
        self.next_scrape = ctx.now + interval.max(TimeDelta::milliseconds(100));
        if !behaviour.scrapes {
            return;
        }
        let at = stamp(ctx.now, behaviour);
        if let Some(exports) = &mut self.exports {
            exports.scrape(&mut self.store, at, (traffic, nodes), ctx);
            return self.prune(ctx);
        }
        let mut gone: Vec<Key> = self.targets.keys().cloned().collect();
        for pod in ctx.cluster.list(&PODS, "") {
            if !asks_for_it(&pod) {
                continue;
            }
            let key = key_of(&pod);
            gone.retain(|one| *one != key);
            self.scrape(&key, &pod, at, traffic, nodes);
        }
        for key in gone {
            if let Some(target) = self.targets.remove(&key) {
                self.end(&target, at);
            }
        }
        self.prune(ctx);
    }

    fn prune(&mut self, ctx: Context<'_>) {
        if ctx.now < self.next_prune {
            return;
        }
        self.next_prune = ctx.now + PRUNE_EVERY;
        let oldest = stamp(ctx.now - RETENTION, &ctx.behaviour.prometheus);
        self.store.prune(oldest);
        // Their series may be gone; they are found again, or made.
        self.targets.retain(|_, target| target.is_live);
    }

    fn scrape(&mut self, key: &Key, pod: &Value, at: i64, traffic: &Traffic, nodes: &Nodes) {
        let uid = object::uid(pod);
        if self.targets.get(key).is_none_or(|target| target.uid != uid) {
            if let Some(old) = self.targets.remove(key) {
                self.end(&old, at);
            }
            let target = ScrapeTarget::new(pod, &mut self.store);
            self.targets.insert(key.clone(), target);
        }
        let running = nodes.running(key).filter(|(running, _)| running.uid == uid);
        let Some(target) = self.targets.get_mut(key) else { return };
        let Some((running, _)) = running else {
            self.store.append(target.up, at, 0.0);
            if std::mem::take(&mut target.is_live) {
                for id in target.of_application() {
                    self.store.append(id, at, STALE);
                }
            }
            return;
        };
        target.is_live = true;
        let none = Counters::default();
        let counters = traffic.counters(key, uid, running.restarts).unwrap_or(&none);
        self.store.append(target.up, at, 1.0);
        self.store.append(target.succeeded, at, to_f64(counters.succeeded));
        self.store.append(target.failed, at, to_f64(counters.failed));
        let mut cumulated = 0;
        for (idx, id) in target.buckets.iter().enumerate() {
            cumulated += counters.buckets.get(idx).copied().unwrap_or(0);
            self.store.append(*id, at, to_f64(cumulated));
        }
        self.store.append(target.sum, at, counters.sum_seconds);
        self.store.append(target.count, at, to_f64(cumulated));
    }

    /// A target is gone, and with it its series.
    fn end(&mut self, target: &ScrapeTarget, at: i64) {
        for id in target.of_application().into_iter().chain([target.up]) {
            self.store.append(id, at, STALE);
        }
    }

    /// The answer to a query of the HTTP API at `now`, without any fault of the connection.
    pub(crate) fn answer(
        &mut self,
        query: &str,
        range: Option<ResolvedRange>,
        behaviour: &PrometheusBehaviour,
        now: Time,
    ) -> Answer {
        let at = stamp(now, behaviour);
        match self.queries.value(&self.store, query, range, at) {
            Ok(outcome) => respond(outcome, at, &behaviour.answer),
            Err(error) => wire::refusal(&error),
        }
    }
}

impl ScrapeTarget {
    fn new(pod: &Value, store: &mut Store) -> Self {
        let label = |key: &str| object::label(pod, key).unwrap_or_default().to_owned();
        let port = text_at(pod, &["metadata", "annotations", "prometheus.io/port"]);
        let address = text_at(pod, &["status", "podIP"]);
        let base = [
            ("job", "pods".to_owned()),
            ("instance", format!("{address}:{port}")),
            ("namespace", object::namespace(pod).to_owned()),
            ("pod", object::name(pod).to_owned()),
            ("app", label("app")),
            ("revision", label("sluice.dev/revision")),
            ("rollouts_pod_template_hash", label("rollouts-pod-template-hash")),
        ];
        let mut series = |name: &str, extra: Option<(&str, String)>| {
            let all = base.iter().map(|(key, value)| (*key, value.clone()));
            let mut labels: Labels = all
                .chain(extra)
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| (key.to_owned(), value))
                .collect();
            labels.insert(NAME.to_owned(), name.to_owned());
            store.series(labels)
        };
        let histogram = "http_request_duration_seconds";
        let bucket = |idx: usize| BOUNDS.get(idx).map_or("+Inf".to_owned(), ToString::to_string);
        Self {
            uid: object::uid(pod).to_owned(),
            up: series("up", None),
            succeeded: series("http_requests_total", Some(("code", "200".to_owned()))),
            failed: series("http_requests_total", Some(("code", "500".to_owned()))),
            buckets: (0..=BOUNDS.len())
                .map(|idx| series(&format!("{histogram}_bucket"), Some(("le", bucket(idx)))))
                .collect(),
            sum: series(&format!("{histogram}_sum"), None),
            count: series(&format!("{histogram}_count"), None),
            is_live: false,
        }
    }

    fn of_application(&self) -> Vec<SeriesId> {
        let counters = [self.succeeded, self.failed, self.sum, self.count];
        counters.into_iter().chain(self.buckets.iter().copied()).collect()
    }
}

/// A pod that runs, has an address and wants to be scraped.
fn asks_for_it(pod: &Value) -> bool {
    text_at(pod, &["metadata", "annotations", "prometheus.io/scrape"]) == "true"
        && text_at(pod, &["status", "phase"]) == "Running"
        && !text_at(pod, &["status", "podIP"]).is_empty()
}

/// A moment by Prometheus' own clock, in milliseconds.
fn stamp(now: Time, behaviour: &PrometheusBehaviour) -> i64 {
    now.timestamp_millis() + behaviour.clock_ahead * 1000
}

/// An outcome as the HTTP API writes it, after what a fault makes of it.
fn respond(outcome: Outcome, at: i64, fault: &QueryAnswer) -> Answer {
    let outcome = match fault {
        QueryAnswer::Number(number) => with_values(outcome, parsed(number)),
        QueryAnswer::Empty => match outcome {
            Outcome::Matrix(_) => Outcome::Matrix(Vec::new()),
            Outcome::Scalar(_) | Outcome::Vector(_) | Outcome::Text(_) => {
                Outcome::Vector(Vec::new())
            }
        },
        QueryAnswer::Many(times) => repeated(outcome, *times),
        QueryAnswer::Text(text) => Outcome::Text(text.clone()),
        _ => outcome,
    };
    let mut body = wire::success(&outcome, at);
    if let QueryAnswer::Warns(warnings) = fault {
        object::set_at(&mut body, &["warnings"], json!(warnings));
    }
    let mut answer = wire::answer(200, &body);
    if *fault == QueryAnswer::Truncated {
        answer.body.truncate(answer.body.len() / 2);
    }
    answer
}

fn with_values(outcome: Outcome, number: f64) -> Outcome {
    match outcome {
        Outcome::Vector(mut vector) => {
            if vector.is_empty() {
                vector.push(Element { labels: std::sync::Arc::default(), value: number });
            }
            for element in &mut vector {
                element.value = number;
            }
            Outcome::Vector(vector)
        }
        Outcome::Matrix(mut ranges) => {
            for point in ranges.iter_mut().flat_map(|range| &mut range.points) {
                point.1 = number;
            }
            Outcome::Matrix(ranges)
        }
        Outcome::Scalar(_) | Outcome::Text(_) => Outcome::Scalar(number),
    }
}

/// Each element so many times, told apart by a label.
fn repeated(outcome: Outcome, times: usize) -> Outcome {
    let Outcome::Vector(vector) = outcome else { return outcome };
    let copy = |element: &Element, number: usize| {
        let mut labels = Labels::clone(&element.labels);
        labels.insert("copy".to_owned(), number.to_string());
        Element { labels: std::sync::Arc::new(labels), value: element.value }
    };
    let copies =
        vector.iter().flat_map(|element| (0..times).map(move |number| copy(element, number)));
    Outcome::Vector(copies.collect())
}

fn parsed(number: &str) -> f64 {
    match number {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other => other.parse().unwrap_or(f64::NAN),
    }
}
