//! The row of a pod.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::cells::{NONE, list, number, or_none, string};
use super::{age, created};
use crate::sim::api::object::{self, at, text};

/// The status of a pod whose first containers have not all done their work, as the row says it.
fn initializing(object: &Value) -> Option<String> {
    let containers = list(object, &["spec", "initContainers"]);
    let is_sidecar = |name: &str| {
        containers
            .iter()
            .any(|one| text(one, "name") == name && text(one, "restartPolicy") == "Always")
    };
    let statuses = list(object, &["status", "initContainerStatuses"]);
    for (idx, container) in statuses.iter().enumerate() {
        let terminated = at(container, &["state", "terminated"]);
        let code = terminated.map_or(0, |ended| number(ended, &["exitCode"]));
        let has_started = container.get("started") == Some(&Value::Bool(true));
        if (terminated.is_some() && code == 0)
            || (is_sidecar(text(container, "name")) && has_started)
        {
            continue;
        }
        let waiting = string(container, &["state", "waiting", "reason"]);
        return Some(match terminated.map(|ended| text(ended, "reason")) {
            Some("") => format!("Init:ExitCode:{code}"),
            Some(reason) => format!("Init:{reason}"),
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                format!("Init:{waiting}")
            }
            None => format!("Init:{idx}/{}", containers.len()),
        });
    }
    None
}

/// Ready containers, restarts and the end before the last restart.
#[derive(Default)]
struct Counted {
    ready: usize,
    restarts: i64,
    last_restart: String,
}

impl Counted {
    fn take(&mut self, container: &Value) {
        self.restarts += number(container, &["restartCount"]);
        let ended = string(container, &["lastState", "terminated", "finishedAt"]);
        if ended > self.last_restart {
            self.last_restart = ended;
        }
    }
}

/// The cells of a pod.
pub(super) fn pod(object: &Value, now: DateTime<Utc>) -> Vec<Value> {
    let total = list(object, &["spec", "containers"]).len();
    let mut status = string(object, &["status", "reason"]);
    let phase = string(object, &["status", "phase"]);
    if status.is_empty() {
        status.clone_from(&phase);
    }
    let mut counted = Counted::default();
    if let Some(word) = initializing(object) {
        for container in list(object, &["status", "initContainerStatuses"]) {
            counted.take(container);
        }
        status = word;
    } else {
        containers(object, &mut status, &mut counted);
    }
    if object::is_terminating(object) && !matches!(phase.as_str(), "Succeeded" | "Failed") {
        "Terminating".clone_into(&mut status);
    }
    let Counted { ready, restarts, last_restart } = counted;
    let restarts = if restarts != 0 && !last_restart.is_empty() {
        format!("{restarts} ({} ago)", age::since(&last_restart, now))
    } else {
        restarts.to_string()
    };
    let address = list(object, &["status", "podIPs"]).first().map(|one| text(one, "ip").to_owned());
    vec![
        object::name(object).into(),
        format!("{ready}/{total}").into(),
        status.into(),
        restarts.into(),
        created(object, now),
        or_none(address.unwrap_or_default()),
        or_none(string(object, &["spec", "nodeName"])),
        or_none(string(object, &["status", "nominatedNodeName"])),
        readiness_gates(object).into(),
    ]
}

/// What the containers of a pod say about it.
fn containers(object: &Value, status: &mut String, counted: &mut Counted) {
    let mut is_running = false;
    for container in list(object, &["status", "containerStatuses"]).iter().rev() {
        counted.take(container);
        let waiting = string(container, &["state", "waiting", "reason"]);
        let terminated = at(container, &["state", "terminated"]);
        if !waiting.is_empty() {
            *status = waiting;
        } else if let Some(terminated) = terminated {
            let reason = text(terminated, "reason");
            *status = if reason.is_empty() {
                format!("ExitCode:{}", number(terminated, &["exitCode"]))
            } else {
                reason.to_owned()
            };
        } else if container.get("ready") == Some(&Value::Bool(true))
            && at(container, &["state", "running"]).is_some()
        {
            is_running = true;
            counted.ready += 1;
        }
    }
    if status == "Completed" && is_running {
        "Running".clone_into(status);
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let conditions = list(pod, &["status", "conditions"]);
    let is_true = |gate: &&Value| {
        let wanted = text(gate, "conditionType");
        conditions.iter().any(|one| text(one, "type") == wanted && text(one, "status") == "True")
    };
    format!("{}/{}", gates.iter().filter(is_true).count(), gates.len())
}
