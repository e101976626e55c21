//! The panel of a terminal: where the release stands, who gets the requests, what is measured.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::Value;

use super::news::{clock, metrics};
use super::shop::{APP, NAMESPACE};
use crate::cli::text::{Line, Span, Tone};
use crate::sim::api::{KindName, object};
use crate::sim::world::World;

pub(super) const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");
const RUNS: KindName = KindName::of("sluice.dev", "analysisruns");
const PODS: KindName = KindName::of("", "pods");
/// Requests of so long make the shares.
const WINDOW: TimeDelta = TimeDelta::seconds(3);
/// Length of a bar, in characters.
const BAR: u64 = 40;
/// Errors by version of the last seconds.
const ERRORS: &str = "sum by (revision) (rate(http_requests_total{namespace=\"shop\",code=~\"5..\"}[5s])) \
     / sum by (revision) (rate(http_requests_total{namespace=\"shop\"}[5s]))";

/// What the controller writes on pods.
const REVISION: &str = "sluice.dev/revision";

/// The Rollout as it is stored.
pub(super) fn rollout(world: &World) -> Value {
    let found = world.cluster().get(&ROLLOUTS, NAMESPACE, APP);
    found.map(|found| Value::clone(&found)).unwrap_or_default()
}

/// The tag of an image in a pod or a pod template.
pub(super) fn tag(template: &Value) -> &str {
    let image = template.pointer("/spec/containers/0/image").and_then(Value::as_str);
    image.and_then(|image| image.rsplit_once(':')).map_or("", |(_, tag)| tag)
}

/// One version on the panel.
#[derive(Debug, Default)]
struct Version {
    revision: String,
    pods: u64,
    ready: u64,
}

/// The panel now.
pub(super) fn panel(world: &World, speed: u32, origin: chrono::DateTime<chrono::Utc>) -> Vec<Line> {
    let rollout = rollout(world);
    let status = |field: &str| rollout.pointer(&format!("/status/{field}"));
    let phase = status("phase").and_then(Value::as_str).unwrap_or("-");
    let tone = match phase {
        "Healthy" => Tone::Good,
        "Degraded" => Tone::Bad,
        "Paused" => Tone::Waiting,
        _ => Tone::Busy,
    };
    let steps = rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array);
    let steps = steps.map_or(0, Vec::len);
    let at = status("currentStepIndex").and_then(Value::as_u64);
    let step = at.map_or_else(String::new, |at| format!("  step {at} of {steps}"));
    let mut lines = vec![
        Line::default(),
        Line(vec![
            Span::plain(format!("  {NAMESPACE}/{APP}  ")),
            Span::state(tone, phase),
            Span::plain(step),
            Span::toned(
                Tone::Dim,
                format!("   {}, {speed} times as fast", clock(world.now(), origin)),
            ),
        ]),
    ];
    lines.extend(versions(world));
    lines.extend(analysis(world));
    lines
}

fn versions(world: &World) -> Vec<Line> {
    let mut versions: BTreeMap<String, Version> = BTreeMap::new();
    for pod in world.cluster().list(&PODS, NAMESPACE) {
        if object::is_terminating(&pod) {
            continue;
        }
        let version = versions.entry(tag(&pod).to_owned()).or_default();
        object::label(&pod, REVISION).unwrap_or_default().clone_into(&mut version.revision);
        version.pods += 1;
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let is_ready = conditions.is_some_and(|all| {
            all.iter().any(|one| {
                object::text(one, "type") == "Ready" && object::text(one, "status") == "True"
            })
        });
        version.ready += u64::from(is_ready);
    }
    let errors = errors(world);
    let now = world.now();
    let tally = world.tally_between("people", now - WINDOW, now);
    let line = |(tag, version): (&String, &Version)| {
        let of = tally.of(tag);
        let percent = (of * 100 + tally.sent / 2).checked_div(tally.sent).unwrap_or(0);
        let filled = (of * BAR).div_ceil(tally.sent.max(1)).min(BAR);
        let bar: String = (0..BAR).map(|idx| if idx < filled { '█' } else { '░' }).collect();
        let error = errors.get(&version.revision).copied().unwrap_or(0.0) * 100.0;
        let tone = if error >= 2.0 { Tone::Bad } else { Tone::Good };
        Line(vec![
            Span::plain(format!("  {tag:<7}")),
            Span::toned(tone, bar),
            Span::plain(format!(
                " {:>3} % of requests, {}/{} pods ready, ",
                percent, version.ready, version.pods
            )),
            Span::toned(tone, format!("{error:.1} % errors")),
        ])
    };
    versions.iter().map(line).collect()
}

/// Share of requests that failed, by revision.
fn errors(world: &World) -> BTreeMap<String, f64> {
    let answer = world.query(ERRORS);
    let series = answer.pointer("/data/result").and_then(Value::as_array);
    let of = |one: &Value| {
        let revision = one.pointer("/metric/revision")?.as_str()?.to_owned();
        let value: f64 = one.pointer("/value/1")?.as_str()?.parse().ok()?;
        value.is_finite().then_some((revision, value))
    };
    series.map(|series| series.iter().filter_map(of).collect()).unwrap_or_default()
}

/// The analysis that runs.
fn analysis(world: &World) -> Vec<Line> {
    let runs = world.cluster().list(&RUNS, NAMESPACE);
    let is_running = |run: &Value| run.pointer("/status/phase") == Some(&"Running".into());
    let Some(run) = runs.iter().rev().find(|run| is_running(run)) else { return Vec::new() };
    let count = |name: &str| {
        let metrics = run.pointer("/spec/metrics").and_then(Value::as_array);
        let metric = metrics?.iter().find(|metric| object::text(metric, "name") == name)?;
        metric.get("count").and_then(Value::as_u64)
    };
    let line = |metric: super::news::Metric| {
        let signs =
            |count: u64, sign: &str| sign.repeat(usize::try_from(count).unwrap_or_default());
        let left = count(&metric.name).unwrap_or(0).saturating_sub(metric.taken);
        Line(vec![
            Span::plain(format!("  {:<13}", metric.name)),
            Span::toned(Tone::Good, signs(metric.good, Tone::Good.icon())),
            Span::toned(Tone::Bad, signs(metric.bad, Tone::Bad.icon())),
            Span::toned(Tone::Dim, signs(left, "·")),
            Span::plain(format!("  {}", metric.last)),
        ])
    };
    metrics(run).into_iter().map(line).collect()
}
