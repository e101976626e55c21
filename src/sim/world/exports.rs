//! Series as teams have them: HTTP and gRPC servers by the conventions of several libraries, and what
//! meshes and Ingress controllers count. A world names those that it needs; what is not in the table
//! does not exist here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::companion::{Context, Key, PODS, key_of, list_at, text_at};
use super::nodes::Nodes;
use super::plane::{Target, TargetKind};
use super::random::to_f64;
use super::traffic::{Counters, Traffic};
use super::versions::FINE_BOUNDS;
use crate::sim::api::object;
use crate::sim::promql::{Labels, NAME, STALE, SeriesId, Store};

/// Series of one metric.
struct Family {
    /// Name; histograms have `_bucket`, `_sum` and `_count` of it.
    name: &'static str,
    form: Form,
    /// Whether proxies count it, and not the pods.
    is_of_proxy: bool,
    /// Labels that say how requests ended; each result has its own.
    results: &'static [ResultLabel],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Counter,
    Histogram { in_ms: bool },
}

/// A label with its value for answers that succeeded, that failed, and that never came.
type ResultLabel = (&'static str, [&'static str; 3]);

const CODES: [&str; 3] = ["200", "500", "503"];
const HTTP: &[ResultLabel] =
    &[("code", CODES), ("method", ["GET"; 3]), ("status", CODES), ("status_code", CODES)];
/// Here the histogram has the code, too.
const GRPC: &[ResultLabel] =
    &[("grpc_code", ["OK", "Internal", "Unavailable"]), ("grpc_type", ["unary"; 3])];
const SECONDS: Form = Form::Histogram { in_ms: false };

/// Sources: the client libraries of Prometheus, Micrometer and OpenTelemetry, go-grpc-middleware,
/// the standard metrics of Istio, and those of ingress-nginx.
const FAMILIES: &[Family] = &[
    Family { name: "http_requests_total", form: Form::Counter, is_of_proxy: false, results: HTTP },
    Family {
        name: "http_request_duration_seconds",
        form: SECONDS,
        is_of_proxy: false,
        results: HTTP,
    },
    Family {
        name: "http_server_requests_seconds",
        form: SECONDS,
        is_of_proxy: false,
        results: &[
            ("method", ["GET"; 3]),
            ("outcome", ["SUCCESS", "SERVER_ERROR", "SERVER_ERROR"]),
            ("status", CODES),
        ],
    },
    Family {
        name: "http_server_request_duration_seconds",
        form: SECONDS,
        is_of_proxy: false,
        results: &[("http_request_method", ["GET"; 3]), ("http_response_status_code", CODES)],
    },
    Family {
        name: "grpc_server_handled_total",
        form: Form::Counter,
        is_of_proxy: false,
        results: GRPC,
    },
    Family {
        name: "grpc_server_handling_seconds",
        form: SECONDS,
        is_of_proxy: false,
        results: GRPC,
    },
    Family {
        name: "istio_requests_total",
        form: Form::Counter,
        is_of_proxy: true,
        results: &[("reporter", ["destination"; 3]), ("response_code", CODES)],
    },
    Family {
        name: "istio_request_duration_milliseconds",
        form: Form::Histogram { in_ms: true },
        is_of_proxy: true,
        results: &[("reporter", ["destination"; 3]), ("response_code", CODES)],
    },
    Family {
        name: "nginx_ingress_controller_requests",
        form: Form::Counter,
        is_of_proxy: true,
        results: &[("method", ["GET"; 3]), ("status", CODES)],
    },
    Family {
        name: "nginx_ingress_controller_request_duration_seconds",
        form: SECONDS,
        is_of_proxy: true,
        results: &[("method", ["GET"; 3]), ("status", CODES)],
    },
];
/// Whether a pod can be scraped.
const UP: &str = "up";

/// The names of all series that can be exported, in order.
pub fn exported_series() -> Vec<String> {
    let mut names: Vec<String> = FAMILIES.iter().flat_map(Family::series).collect();
    names.push(UP.to_owned());
    names.sort();
    names
}

/// The labels of a series, for pods of a template, with their possible values where these are few
/// and known before anything runs; none when nothing exports the series.
pub fn series_labels(
    name: &str,
    namespace: &str,
    template: &Value,
    services: &[String],
) -> Option<BTreeMap<String, Option<BTreeSet<String>>>> {
    let family = FAMILIES.iter().find(|family| family.series().iter().any(|one| one == name));
    if family.is_none() && name != UP {
        return None;
    }
    let mut labels: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
    let mut known = |label: &str, values: &[&str]| {
        let values: BTreeSet<String> = values.iter().map(|value| (*value).to_owned()).collect();
        labels.insert(label.to_owned(), (!values.is_empty()).then_some(values));
    };
    let services: Vec<&str> = services.iter().map(String::as_str).collect();
    known("namespace", &[namespace]);
    if family.is_some_and(|family| family.is_of_proxy) {
        for label in OF_SERVICE {
            known(label, &services);
        }
        for label in OF_NAMESPACE {
            known(label, &[namespace]);
        }
        for label in ["destination_service", "ingress", "route"] {
            known(label, &[]);
        }
    } else {
        for label in ["instance", "pod", "revision", "rollouts_pod_template_hash"] {
            known(label, &[]);
        }
        for (label, value) in labels_of(template) {
            known(&label, &[&value]);
        }
        known("container", &[&container_of(template)]);
        for label in ["job", "service"] {
            known(label, &services);
        }
    }
    if let Some(family) = family {
        for (label, values) in family.results {
            known(label, values);
        }
        if name.ends_with("_bucket") {
            known("le", &[]);
        }
    }
    Some(labels)
}

/// Labels of proxies that name the Service, and its namespace.
const OF_SERVICE: [&str; 4] =
    ["destination_canonical_service", "destination_service_name", "exported_service", "service"];
const OF_NAMESPACE: [&str; 2] = ["destination_service_namespace", "exported_namespace"];

impl Family {
    fn series(&self) -> Vec<String> {
        match self.form {
            Form::Counter => vec![self.name.to_owned()],
            Form::Histogram { .. } => {
                ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", self.name)).to_vec()
            }
        }
    }
}

/// What is exported in a world.
#[derive(Debug)]
pub(crate) struct Exports {
    names: BTreeSet<String>,
    /// Series of pods, by pod and Service.
    pods: BTreeMap<(Key, Key), Scraped>,
    ups: BTreeMap<Key, (SeriesId, String)>,
    proxies: BTreeMap<(Target, Key), Vec<(SeriesId, Place)>>,
}

#[derive(Clone, Debug)]
struct Scraped {
    /// Uid and restarts of the pod.
    is_of: (String, u32),
    series: Vec<(SeriesId, Place)>,
}

/// Where in the counters the value of a series stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    result: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Count,
    /// Up to this bucket.
    Bucket(usize),
    Sum {
        in_ms: bool,
    },
}

impl Exports {
    pub(crate) fn new(names: BTreeSet<String>) -> Self {
        let (pods, ups, proxies) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { names, pods, ups, proxies }
    }

    /// Takes a sample of everything.
    pub(crate) fn scrape(
        &mut self,
        store: &mut Store,
        at: i64,
        (traffic, nodes): (&Traffic, &Nodes),
        ctx: Context<'_>,
    ) {
        let pods: BTreeMap<Key, std::sync::Arc<Value>> = ctx
            .cluster
            .list(&PODS, "")
            .into_iter()
            .filter(|pod| !text_at(pod, &["status", "podIP"]).is_empty())
            .map(|pod| (key_of(&pod), pod))
            .collect();
        self.scrape_ups(store, at, &pods, nodes);
        let mut present = BTreeSet::new();
        for (key, counters) in &traffic.by_service().pods {
            let running = nodes.running(&key.0).map(|(running, _)| running);
            let running = running.filter(|one| counters.are_of(&one.uid, one.restarts));
            let (Some(running), Some(pod)) = (running, pods.get(&key.0)) else { continue };
            present.insert(key.clone());
            let is_of = (running.uid.clone(), running.restarts);
            let scraped = self.pods.get(key).filter(|scraped| scraped.is_of == is_of);
            if scraped.is_none() {
                let series = self.series_of_pod(store, pod, &key.1);
                self.pods.insert(key.clone(), Scraped { is_of, series });
            }
            for (id, place) in self.pods.get(key).into_iter().flat_map(|one| &one.series) {
                store.append(*id, at, place.value(counters));
            }
        }
        self.pods.retain(|key, scraped| {
            let is_there = present.contains(key);
            if !is_there {
                scraped.series.iter().for_each(|(id, _)| store.append(*id, at, STALE));
            }
            is_there
        });
        for (key, counters) in &traffic.by_service().proxies {
            if !self.proxies.contains_key(key) {
                let series = self.series_of_proxy(store, key);
                self.proxies.insert(key.clone(), series);
            }
            for (id, place) in self.proxies.get(key).into_iter().flatten() {
                store.append(*id, at, place.value(counters));
            }
        }
    }

    fn scrape_ups(
        &mut self,
        store: &mut Store,
        at: i64,
        pods: &BTreeMap<Key, std::sync::Arc<Value>>,
        nodes: &Nodes,
    ) {
        if !self.names.contains(UP) {
            return;
        }
        self.ups.retain(|key, (id, uid)| {
            let is_there = pods.get(key).is_some_and(|pod| object::uid(pod) == uid);
            if !is_there {
                store.append(*id, at, STALE);
            }
            is_there
        });
        for (key, pod) in pods {
            let (id, _) = self.ups.entry(key.clone()).or_insert_with(|| {
                let id = store.series(with_name(base_of_pod(pod, ""), UP));
                (id, object::uid(pod).to_owned())
            });
            let is_up = nodes.running(key).is_some();
            store.append(*id, at, if is_up { 1.0 } else { 0.0 });
        }
    }

    fn series_of_pod(
        &self,
        store: &mut Store,
        pod: &Value,
        service: &Key,
    ) -> Vec<(SeriesId, Place)> {
        let base = base_of_pod(pod, &service.1);
        // A pod knows nothing of requests that it did not answer.
        self.series(store, &base, false, 2)
    }

    fn series_of_proxy(
        &self,
        store: &mut Store,
        (target, service): &(Target, Key),
    ) -> Vec<(SeriesId, Place)> {
        let mut base = Labels::new();
        base.insert("namespace".to_owned(), service.0.clone());
        for label in OF_SERVICE {
            base.insert(label.to_owned(), service.1.clone());
        }
        for label in OF_NAMESPACE {
            base.insert(label.to_owned(), service.0.clone());
        }
        let host = format!("{}.{}.svc.cluster.local", service.1, service.0);
        base.insert("destination_service".to_owned(), host);
        let label = if target.kind == TargetKind::Ingress { "ingress" } else { "route" };
        base.insert(label.to_owned(), target.name.clone());
        self.series(store, &base, true, 3)
    }

    fn series(
        &self,
        store: &mut Store,
        base: &Labels,
        is_of_proxy: bool,
        results: usize,
    ) -> Vec<(SeriesId, Place)> {
        let mut made = Vec::new();
        for family in FAMILIES.iter().filter(|family| family.is_of_proxy == is_of_proxy) {
            let mut kinds: Vec<(String, What, Option<String>)> = Vec::new();
            if family.form == Form::Counter {
                kinds.push((family.name.to_owned(), What::Count, None));
            } else if let Form::Histogram { in_ms } = family.form {
                kinds.push((format!("{}_count", family.name), What::Count, None));
                kinds.push((format!("{}_sum", family.name), What::Sum { in_ms }, None));
                for bucket in 0..=FINE_BOUNDS.len() {
                    let bound = FINE_BOUNDS.get(bucket).map_or("+Inf".to_owned(), |bound| {
                        (if in_ms { bound * 1000.0 } else { *bound }).to_string()
                    });
                    let name = format!("{}_bucket", family.name);
                    kinds.push((name, What::Bucket(bucket), Some(bound)));
                }
            }
            kinds.retain(|(name, ..)| self.names.contains(name));
            for (name, what, bound) in &kinds {
                for result in 0..results {
                    let mut labels = with_name(base.clone(), name);
                    for (label, values) in family.results {
                        let value = values.get(result).copied().unwrap_or_default();
                        labels.insert((*label).to_owned(), value.to_owned());
                    }
                    if let Some(bound) = bound {
                        labels.insert("le".to_owned(), bound.clone());
                    }
                    made.push((store.series(labels), Place { result, what: *what }));
                }
            }
        }
        made
    }
}

impl Place {
    /// What counters say here.
    fn value(self, counters: &Counters) -> f64 {
        let all: u64 = counters.buckets.iter().sum();
        let failed: u64 = counters.failed_buckets.iter().sum();
        match (self.what, self.result) {
            (What::Count, 0) => to_f64(all - failed),
            (What::Count, 1) => to_f64(failed),
            // Nobody answered, and the proxy at once.
            (What::Count | What::Bucket(_), 2) => to_f64(counters.lost),
            (What::Bucket(last), result) => {
                let upto = |buckets: &[u64]| buckets.iter().take(last + 1).sum::<u64>();
                let failed = upto(&counters.failed_buckets);
                to_f64(if result == 1 { failed } else { upto(&counters.buckets) - failed })
            }
            (What::Sum { in_ms }, result) => {
                let seconds = match result {
                    0 => counters.sum_seconds - counters.failed_seconds,
                    1 => counters.failed_seconds,
                    _ => 0.0,
                };
                if in_ms { seconds * 1000.0 } else { seconds }
            }
            (What::Count, _) => 0.0,
        }
    }
}

fn with_name(mut labels: Labels, name: &str) -> Labels {
    labels.insert(NAME.to_owned(), name.to_owned());
    labels
}

/// The labels of a pod template or pod, as label names of Prometheus allow them.
fn labels_of(pod: &Value) -> BTreeMap<String, String> {
    let labels = object::at(pod, &["metadata", "labels"]).and_then(Value::as_object);
    let name = |key: &str| -> String {
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    let labels = labels.into_iter().flatten();
    labels.filter_map(|(key, value)| Some((name(key), value.as_str()?.to_owned()))).collect()
}

fn container_of(pod: &Value) -> String {
    let first = list_at(pod, &["spec", "containers"]).first();
    first.map(|first| object::text(first, "name").to_owned()).unwrap_or_default()
}

/// The labels that scraping adds to everything of a pod, as a ServiceMonitor or PodMonitor has it.
fn base_of_pod(pod: &Value, service: &str) -> Labels {
    let mut labels = labels_of(pod);
    let hash = |labels: &Labels, key: &str| labels.get(key).cloned().unwrap_or_default();
    let revision = hash(&labels, "sluice_dev_revision");
    let old = hash(&labels, "rollouts_pod_template_hash");
    let both = [&revision, &old].into_iter().find(|hash| !hash.is_empty()).cloned();
    let both = both.unwrap_or_default();
    for (label, value) in [
        ("revision", both.as_str()),
        ("rollouts_pod_template_hash", both.as_str()),
        ("namespace", object::namespace(pod)),
        ("pod", object::name(pod)),
        ("instance", &format!("{}:8080", text_at(pod, &["status", "podIP"]))),
        ("container", &container_of(pod)),
        ("service", service),
        ("job", service),
    ] {
        if !value.is_empty() {
            labels.insert(label.to_owned(), value.to_owned());
        }
    }
    labels
}
