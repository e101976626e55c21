//! One pod as its kubelet knows it: what it is doing, when it goes on, and what its status says.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::agenda::Time;
use super::behaviour::{Flapping, VersionBehaviour};
use super::companion::{list_at, stamp, with_condition};
use super::span::Span;
use crate::sim::api::object;

/// Waits between starts of a container that ends with errors.
const FIRST_BACK_OFF: TimeDelta = TimeDelta::seconds(10);
const LAST_BACK_OFF: TimeDelta = TimeDelta::minutes(5);
/// A container that ran for so long begins anew with its waits.
const RECOVERED_AFTER: TimeDelta = TimeDelta::minutes(10);

/// A pod as its kubelet knows it.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) node: String,
    pub(crate) address: String,
    /// The tag of its first image.
    pub(crate) version_name: String,
    /// How its containers behave.
    pub(crate) version: VersionBehaviour,
    pub(crate) is_of_job: bool,
    pub(super) life: Life,
    /// Starts of the containers after the first.
    pub(crate) restarts: u32,
    pub(super) is_ready: bool,
    /// Readiness is held back until then, by order.
    pub(super) unready_until: Option<Time>,
    /// The containers end by then.
    pub(super) ends_at: Option<Time>,
}

/// What a pod is doing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Life {
    /// Waits for a node.
    Unplaced { at: Time },
    /// Has a node; its containers are being made.
    Starting { at: Time, why: &'static str },
    /// Its containers run.
    Up(Up),
    /// Its containers ended and start again.
    BackOff { until: Time },
    /// It is over.
    Over,
}

/// A run of its containers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Up {
    pub(crate) since: Time,
    pub(super) ready_at: Time,
    /// They end by themselves.
    pub(super) ends_at: Option<Time>,
}

impl Pod {
    /// The run of its containers, if they run.
    pub(crate) fn up(&self) -> Option<Up> {
        match self.life {
            Life::Up(up) => Some(up),
            Life::Unplaced { .. } | Life::Starting { .. } | Life::BackOff { .. } | Life::Over => {
                None
            }
        }
    }
}

/// The containers end with an error and wait for their next start.
pub(super) fn crash(pod: &mut Pod, up: Up, now: Time) {
    if now - up.since > RECOVERED_AFTER {
        pod.restarts = 0;
    }
    let doubled = FIRST_BACK_OFF * 2_i32.saturating_pow(pod.restarts.min(6));
    pod.life = Life::BackOff { until: now + doubled.min(LAST_BACK_OFF) };
    pod.restarts += 1;
}

/// Whether it is to be ready at `now`.
pub(super) fn wants_readiness(pod: &Pod, up: Up, now: Time) -> bool {
    let is_held = pod.unready_until.is_some_and(|until| until > now);
    let is_flapped = pod.version.flaps.is_some_and(|flaps| {
        let (ready, period) = flap_times(flaps);
        (now - up.ready_at).num_milliseconds().rem_euclid(period) >= ready
    });
    up.ready_at <= now && !is_held && !is_flapped && !pod.version.is_never_ready
}

/// Milliseconds of readiness, and of a whole period.
fn flap_times(flaps: Flapping) -> (i64, i64) {
    let ms = |span: Span| i64::try_from(span.most().as_millis()).unwrap_or(i64::MAX / 4);
    let ready = ms(flaps.ready_for);
    (ready, (ready + ms(flaps.unready_for)).max(1))
}

/// When readiness changes next by flapping.
pub(super) fn next_flap(pod: &Pod, flaps: Flapping, now: Time) -> Option<Time> {
    let up = pod.up()?;
    let (ready, period) = flap_times(flaps);
    if now < up.ready_at || ready == 0 || ready == period {
        return None;
    }
    let phase = (now - up.ready_at).num_milliseconds().rem_euclid(period);
    let next = if phase < ready { ready } else { period };
    Some(now + TimeDelta::milliseconds(next - phase))
}

/// The status of a pod as its kubelet reports it.
pub(super) fn status_of(pod: &Pod, object: &Value, now: Time) -> Value {
    let (phase, state) = match &pod.life {
        Life::Unplaced { .. } => ("Pending", json!({"waiting": {"reason": "Pending"}})),
        Life::Starting { why, .. } => ("Pending", json!({"waiting": {"reason": why}})),
        Life::Up(up) => ("Running", json!({"running": {"startedAt": stamp(up.since)}})),
        Life::BackOff { .. } => ("Running", json!({"waiting": {"reason": "CrashLoopBackOff"}})),
        Life::Over => {
            let code = pod.version.exit_code;
            let phase = if code == 0 { "Succeeded" } else { "Failed" };
            (phase, json!({"terminated": {"exitCode": code, "finishedAt": stamp(now)}}))
        }
    };
    let containers: Vec<Value> = list_at(object, &["spec", "containers"])
        .iter()
        .map(|container| {
            json!({
                "name": object::text(container, "name"), "image": object::text(container, "image"),
                "imageID": object::text(container, "image"), "ready": pod.is_ready,
                "restartCount": pod.restarts, "started": pod.up().is_some(), "state": state,
            })
        })
        .collect();
    let mut conditions = list_at(object, &["status", "conditions"]).to_vec();
    let ready = if pod.is_ready { "True" } else { "False" };
    for (kind, status) in [
        ("PodScheduled", "True"),
        ("Initialized", "True"),
        ("ContainersReady", ready),
        ("Ready", ready),
    ] {
        conditions = with_condition(&conditions, json!({"type": kind, "status": status}), now);
    }
    let started = object::at(object, &["status", "startTime"]).cloned();
    let mut status = json!({
        "phase": phase, "conditions": conditions, "containerStatuses": containers,
        "startTime": started.unwrap_or_else(|| stamp(now)),
    });
    if pod.up().is_some() || matches!(pod.life, Life::BackOff { .. }) {
        object::set_at(&mut status, &["podIP"], pod.address.as_str().into());
        object::set_at(&mut status, &["podIPs"], json!([{"ip": pod.address}]));
    }
    status
}
