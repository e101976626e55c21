//! The Job controller: pods until enough of them succeeded or too many failed. Indexed Jobs, pod
//! failure policies and success policies are not known to it.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::agenda::{Agenda, Time};
use super::companion::{
    Context, JOBS, Key, PODS, concerned, count_at, is_controlled_by, is_true, key_of, list_at,
    named, stamp, text_at, time_at, with_condition,
};
use super::random::Random;
use super::replica_sets::pod_of_template;
use crate::sim::api::{Actor, Cluster, Entry, Identity, object};

/// Waits between a failed pod and the next.
const FIRST_BACK_OFF: TimeDelta = TimeDelta::seconds(10);
const LAST_BACK_OFF: TimeDelta = TimeDelta::minutes(6);

/// The Job controller.
#[derive(Debug)]
pub(crate) struct Jobs {
    actor: Actor,
    random: Random,
    agenda: Agenda<Key>,
}

impl Jobs {
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        Self {
            actor: cluster.actor(Identity::admin("job-controller")),
            random: Random::stream(seed, "jobs"),
            agenda: Agenda::default(),
        }
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        let Some(key) = concerned(entry, &JOBS, ("Job", &PODS)) else { return };
        let delay = self.random.within(ctx.behaviour.workloads.acts_after);
        self.agenda.by(key, ctx.now + delay);
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, ctx: Context<'_>) {
        while let Some(key) = self.agenda.take(ctx.now) {
            self.sync(&key, ctx);
        }
    }

    fn sync(&mut self, key: &Key, ctx: Context<'_>) {
        let Some(job) = ctx.cluster.get(&JOBS, &key.0, &key.1) else { return };
        if object::is_terminating(&job) {
            return;
        }
        if is_true(&job, "Complete") || is_true(&job, "Failed") {
            return self.clean_up(key, &job, ctx);
        }
        let pods = pods_of(ctx.cluster, &job);
        let in_phase = |phase: &str| {
            pods.iter().filter(|pod| text_at(pod, &["status", "phase"]) == phase).count()
        };
        let (succeeded, failed) = (in_phase("Succeeded"), in_phase("Failed"));
        let active: Vec<&Arc<Value>> = pods
            .iter()
            .filter(|pod| !super::companion::is_over(pod) && !object::is_terminating(pod))
            .collect();
        let number = |field: &str, default: u32| {
            let count = count_at(&job, &["spec", field]).unwrap_or(default);
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        let started = time_at(&job, &["status", "startTime"]).unwrap_or(ctx.now);
        let deadline = count_at(&job, &["spec", "activeDeadlineSeconds"])
            .map(|seconds| started + TimeDelta::seconds(i64::from(seconds)));
        let verdict = if succeeded >= number("completions", 1) {
            Some(("Complete", "CompletionsReached", "Reached expected number of succeeded pods"))
        } else if failed > number("backoffLimit", 6) {
            let why = "Job has reached the specified backoff limit";
            Some(("Failed", "BackoffLimitExceeded", why))
        } else if deadline.is_some_and(|at| at <= ctx.now) {
            Some(("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"))
        } else {
            None
        };
        let is_suspended = object::at(&job, &["spec", "suspend"]) == Some(&Value::Bool(true));
        let mut now_active = active.len();
        if verdict.is_some() || is_suspended {
            for pod in &active {
                let _ = self.actor.delete(&PODS, named(&key_of(pod)));
            }
            now_active = 0;
        } else {
            let wanted = number("parallelism", 1).min(number("completions", 1) - succeeded);
            now_active += self.add_pods(key, &job, wanted.saturating_sub(active.len()), &pods, ctx);
        }
        if let Some(at) = deadline.filter(|_| verdict.is_none()) {
            self.agenda.by(key.clone(), at);
        }
        self.report(&job, (now_active, succeeded, failed), started, verdict, ctx);
    }

    /// Creates pods, unless the last one failed too shortly before; how many.
    fn add_pods(
        &mut self,
        key: &Key,
        job: &Value,
        count: usize,
        pods: &[Arc<Value>],
        ctx: Context<'_>,
    ) -> usize {
        let failures: Vec<Time> = pods
            .iter()
            .filter(|pod| text_at(pod, &["status", "phase"]) == "Failed")
            .filter_map(|pod| {
                let status = list_at(pod, &["status", "containerStatuses"]).first()?;
                time_at(status, &["state", "terminated", "finishedAt"])
            })
            .collect();
        if let Some(last) = failures.iter().max() {
            let tries = u32::try_from(failures.len()).unwrap_or(u32::MAX);
            let wait = FIRST_BACK_OFF * 2_i32.saturating_pow((tries - 1).min(6));
            let at = *last + wait.min(LAST_BACK_OFF);
            if at > ctx.now {
                self.agenda.by(key.clone(), at);
                return 0;
            }
        }
        (0..count).filter(|_| self.actor.create(pod_of(job)).is_ok()).count()
    }

    fn report(
        &self,
        job: &Value,
        (active, succeeded, failed): (usize, usize, usize),
        started: Time,
        verdict: Option<(&str, &str, &str)>,
        ctx: Context<'_>,
    ) {
        let mut conditions = list_at(job, &["status", "conditions"]).to_vec();
        if let Some((kind, reason, message)) = verdict {
            let first = if kind == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
            for kind in [first, kind] {
                let one = json!({
                    "type": kind, "status": "True", "reason": reason, "message": message,
                });
                conditions = with_condition(&conditions, one, ctx.now);
            }
        }
        let mut status = json!({
            "startTime": stamp(started), "active": active, "ready": active,
            "succeeded": succeeded, "failed": failed, "conditions": conditions,
        });
        if let Some(map) = status.as_object_mut() {
            map.retain(|_, value| *value != json!(0) && *value != json!([]));
        }
        if matches!(verdict, Some(("Complete", ..))) {
            object::set_at(&mut status, &["completionTime"], stamp(ctx.now));
        }
        if job.get("status") != Some(&status) {
            let mut new = job.clone();
            object::set_at(&mut new, &["status"], status);
            let _ = self.actor.update_status(new);
        }
    }

    /// Deletes a Job whose time to live is over.
    fn clean_up(&mut self, key: &Key, job: &Value, ctx: Context<'_>) {
        let Some(ttl) = count_at(job, &["spec", "ttlSecondsAfterFinished"]) else { return };
        let ended = ["Complete", "Failed"]
            .iter()
            .find_map(|kind| super::companion::condition(job, kind))
            .and_then(|one| time_at(one, &["lastTransitionTime"]))
            .unwrap_or(ctx.now);
        let at = ended + TimeDelta::seconds(i64::from(ttl));
        if at <= ctx.now {
            let background = json!({"propagationPolicy": "Background"});
            let _ = self.actor.delete_with(&JOBS, named(key), background);
        } else {
            self.agenda.by(key.clone(), at);
        }
    }
}

fn pods_of(cluster: &Cluster, job: &Value) -> Vec<Arc<Value>> {
    let mut pods = cluster.list(&PODS, object::namespace(job));
    pods.retain(|pod| is_controlled_by(pod, job));
    pods
}

fn pod_of(job: &Value) -> Value {
    let mut pod = pod_of_template(job, &["spec", "template"]);
    for (key, value) in [
        ("batch.kubernetes.io/job-name", object::name(job)),
        ("job-name", object::name(job)),
        ("batch.kubernetes.io/controller-uid", object::uid(job)),
        ("controller-uid", object::uid(job)),
    ] {
        object::set_at(&mut pod, &["metadata", "labels", key], value.into());
    }
    pod
}
