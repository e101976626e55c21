//! What the team's metrics ask, checked before anything runs: every series and label that a query
//! needs must be one that the simulated Prometheus has, or the metric must be pinned.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::intake::{Note, NoteKind, Team};
use super::words::Pin;

use crate::analysis::resolved::{Judge, ResolvedMetric};
use crate::api::Kind;
use crate::cli::error::CliError;
use crate::cli::lint::object::Manifest;
use crate::cli::lint::schema::nearest;
use crate::metrics::spec::{Provider, SourceRef, job, web};
use crate::sim::review_query;
use crate::sim::world::{exported_series, series_labels};

/// Host of pinned web metrics.
const PINNED: &str = "http://pinned.simulated";

/// What the metrics need of the world.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Series that Prometheus has to have.
    pub(super) series: BTreeSet<String>,
    /// Sources that metrics name, each with whether Prometheus speaks there.
    pub(super) sources: Vec<(SourceRef, bool)>,
    /// Answers of web servers by URL.
    pub(super) web: Vec<(String, Value)>,
    /// Images of Jobs that fail.
    pub(super) failing_jobs: Vec<String>,
    /// Whether there are Jobs.
    pub(super) has_jobs: bool,
    pub(super) notes: Vec<Note>,
}

/// Checks every metric.
///
/// # Errors
/// [`CliError`] that names each metric that cannot be measured here, and what would help.
pub(super) fn check(team: &Team, pins: &[Pin], services: &[String]) -> Result<Needs, CliError> {
    let mut needs = Needs::default();
    let mut problems: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut can_be_pinned = false;
    let metrics: Vec<&ResolvedMetric> =
        team.analyses.iter().flat_map(|analysis| &analysis.run.metrics).collect();
    let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    for pin in pins {
        if !names.contains(&pin.name.as_str()) {
            let hint = match nearest(&pin.name, names.iter()) {
                Some(name) => format!("did you mean {name}?"),
                None if names.is_empty() => "the Rollout asks for no analysis".to_owned(),
                None => format!(
                    "there is {}",
                    BTreeSet::from_iter(names).into_iter().collect::<Vec<_>>().join(", ")
                ),
            };
            return Err(CliError::usage(
                format!("--metric: no metric is named {:?}", pin.name),
                hint,
            ));
        }
        if let Some(metric) = metrics.iter().find(|one| one.name == pin.name && compares(one)) {
            return Err(CliError::usage(
                format!("--metric: {} counts the requests of both versions", metric.name),
                "--canary error-rate=5%,p99=900ms and --stable say what they answer",
            ));
        }
    }
    for analysis in &team.analyses {
        for metric in &analysis.run.metrics {
            let pin = pins.iter().find(|pin| pin.name == metric.name);
            if let Some(problem) = needs.add(team, metric, pin, services)
                && seen.insert((metric.name.clone(), problem.clone()))
            {
                let of = match team.place_of_metric(&metric.name).as_str() {
                    "" => String::new(),
                    place => format!(" of {place}"),
                };
                problems.push(format!(
                    "metric {:?}{of}, asked for by {}: {problem}",
                    metric.name, analysis.field
                ));
                can_be_pinned |= !compares(metric);
            }
        }
    }
    needs.notes.dedup();
    if problems.is_empty() {
        return Ok(needs);
    }
    let first = problems.first().and_then(|problem| problem.split('"').nth(1)).unwrap_or("NAME");
    let pinning = if can_be_pinned {
        format!("say what it measures with --metric {first}=VALUE. ")
    } else {
        String::new()
    };
    let series = exported_series().join(", ");
    Err(CliError::refused(
        format!("the simulation cannot measure this:\n  {}", problems.join("\n  ")),
        format!("{pinning}The simulated Prometheus has {series}"),
    ))
}

/// Whether a metric compares the two versions.
fn compares(metric: &ResolvedMetric) -> bool {
    matches!(metric.judge, Judge::Comparison(_))
}

impl Needs {
    /// Adds what a metric needs; a problem if there is no such thing.
    fn add(
        &mut self,
        team: &Team,
        metric: &ResolvedMetric,
        pin: Option<&Pin>,
        services: &[String],
    ) -> Option<String> {
        match metric.provider.chosen().ok()? {
            Provider::Prometheus(spec) => {
                self.add_source(spec.source.as_ref(), true);
                match pin {
                    Some(pin) if pin.value.is_number() => None,
                    Some(pin) => {
                        Some(format!("--metric gives it {}, which is no number", pin.text))
                    }
                    None => self.query(team, &spec.query, services),
                }
            }
            Provider::Web(spec) => self.web(metric, spec, pin),
            Provider::Job(spec) => self.job(metric, spec, pin),
            Provider::Asked(asked) => Some(format!(
                "is measured in {}, which the simulation does not have",
                asked.spec().kind()
            )),
        }
    }

    fn add_source(&mut self, source: Option<&SourceRef>, is_prometheus: bool) {
        if let Some(source) = source
            && !self.sources.iter().any(|(known, _)| known == source)
        {
            self.sources.push((source.clone(), is_prometheus));
        }
    }

    fn query(&mut self, team: &Team, query: &str, services: &[String]) -> Option<String> {
        let selected = match review_query(query) {
            Ok(selected) => selected,
            Err(problem) => return Some(format!("{problem}: {}", one_line(query))),
        };
        let rollout = team.rollout()?;
        let template = team.spec.template.as_ref().map(|raw| raw.0.clone()).unwrap_or_default();
        for one in selected {
            let Some(name) = &one.name else {
                return Some(format!("selects series without a name: {}", one_line(query)));
            };
            let labels = series_labels(name, &rollout.namespace, &template, services);
            let Some(labels) = labels else {
                return Some(format!("there is no series {name:?}"));
            };
            for (label, condition) in one.needs() {
                let Some(values) = labels.get(&label) else {
                    let known: Vec<&str> = labels.keys().map(String::as_str).collect();
                    return Some(format!(
                        "the series {name:?} has no label {label:?} ({condition}); it has {}",
                        known.join(", ")
                    ));
                };
                if let Some(values) = values
                    && !values.iter().any(|value| one.fits(&label, value))
                    && !is_result(&label)
                {
                    let values: Vec<&str> = values.iter().map(String::as_str).collect();
                    return Some(format!(
                        "no series {name:?} has {condition}; here {label} is {}",
                        values.join(" or ")
                    ));
                }
            }
            self.series.insert(name.clone());
        }
        None
    }

    fn web(
        &mut self,
        metric: &ResolvedMetric,
        spec: &web::Spec,
        pin: Option<&Pin>,
    ) -> Option<String> {
        let Some(pin) = pin else {
            return Some(format!("asks a web server ({}), and none is modelled", spec.url));
        };
        self.web.push((pinned_url(&metric.name), pin.value.clone()));
        None
    }

    fn job(
        &mut self,
        metric: &ResolvedMetric,
        spec: &job::Spec,
        pin: Option<&Pin>,
    ) -> Option<String> {
        self.has_jobs = true;
        let is_bad = match pin.map(|pin| pin.text.as_str()) {
            None => {
                let text = format!(
                    "the Job of metric {:?} succeeds after 3 s; --metric {}=failure has it fail",
                    metric.name, metric.name
                );
                self.notes.push(Note { kind: NoteKind::Assumed, text });
                false
            }
            Some("success") => false,
            Some("failure") => true,
            Some(other) => {
                return Some(format!(
                    "is a Job, which ends as success or failure, not as {other:?}"
                ));
            }
        };
        let json = serde_json::to_value(spec).unwrap_or_default();
        let image = json.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
        if let (true, Some(image)) = (is_bad, image) {
            self.failing_jobs.push(image.to_owned());
        }
        None
    }
}

/// Whether a label says how requests ended: asking for an outcome that never comes is no mistake.
fn is_result(label: &str) -> bool {
    ["code", "status", "outcome", "method", "reporter"].iter().any(|part| label.contains(part))
}

fn one_line(query: &str) -> String {
    query.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn pinned_url(metric: &str) -> String {
    format!("{PINNED}/{metric}")
}

/// A template with its pinned metrics measuring what they are pinned to.
pub(super) fn pinned(template: &Manifest, pins: &[Pin], notes: &mut Vec<Note>) -> Value {
    let mut object = template.json.clone();
    let metrics = object.pointer_mut("/spec/metrics").and_then(Value::as_array_mut);
    for metric in metrics.into_iter().flatten() {
        let name = metric.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(pin) = pins.iter().find(|pin| pin.name == name) else { continue };
        let is_list = ["successCondition", "failureCondition"].iter().any(|field| {
            let condition = metric.get(*field).and_then(Value::as_str).unwrap_or_default();
            ["result[", "(result", "result |"].iter().any(|part| condition.contains(part))
        });
        let Some(provider) = metric.get_mut("provider") else { continue };
        if let Some(prometheus) = provider.get_mut("prometheus") {
            let number = &pin.value;
            let query = if is_list { format!("vector({number})") } else { number.to_string() };
            if let Some(spec) = prometheus.as_object_mut() {
                spec.insert("query".to_owned(), query.into());
                spec.remove("rangeQuery");
            }
        } else if provider.get("web").is_some() {
            *provider = json!({"web": {"url": pinned_url(&name), "jsonPath": "{$}"}});
        }
        let text = format!("metric {name:?} measures {} always (--metric)", pin.text);
        let note = Note { kind: NoteKind::Assumed, text };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    object
}

/// Whether a manifest is a template of analyses.
pub(super) fn is_template(manifest: &Manifest) -> bool {
    [Kind::AnalysisTemplate, Kind::ClusterAnalysisTemplate]
        .iter()
        .any(|kind| kind.as_str() == manifest.kind)
}

/// How many judged measurements a metric is complete with, for the length of the simulation; none
/// when it goes on.
pub(super) fn lasts(metric: &ResolvedMetric) -> Option<chrono::TimeDelta> {
    let interval = metric.schedule.interval.unwrap_or_default();
    let count = match (&metric.judge, metric.schedule.count) {
        (Judge::JobOutcome, None) => 1,
        (_, Some(count)) => count,
        (_, None) if metric.schedule.interval.is_none() => 1,
        (_, None) => return None,
    };
    Some(metric.schedule.initial_delay + interval * i32::try_from(count).unwrap_or(i32::MAX))
}
