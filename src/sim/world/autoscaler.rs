//! The HorizontalPodAutoscaler controller: sets `spec.replicas` of what it is told to scale, through
//! the scale subresource. What it wants is told to it, or follows from the requests per pod; the
//! metrics that an autoscaler names are not read.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::agenda::{Agenda, Time};
use super::companion::{AUTOSCALERS, Context, Key, count_at, key_of, named, stamp, text_at};
use super::random::{Random, from_f64};
use crate::sim::api::{Actor, Change, Cluster, Entry, Identity, KindName, object};

/// Load within this share of the target changes nothing.
const TOLERANCE: f64 = 0.1;
/// Fewer replicas are only taken when nothing more was wanted for so long.
const STABLE_FOR: TimeDelta = TimeDelta::minutes(5);

/// The HorizontalPodAutoscaler controller.
#[derive(Debug)]
pub(crate) struct Autoscaler {
    actor: Actor,
    random: Random,
    agenda: Agenda<Key>,
    /// What load has asked for lately, by autoscaler.
    history: BTreeMap<Key, Vec<(Time, u32)>>,
}

impl Autoscaler {
    pub(crate) fn new(cluster: &Cluster, seed: u64) -> Self {
        Self {
            actor: cluster.actor(Identity::admin("horizontal-pod-autoscaler")),
            random: Random::stream(seed, "autoscaler"),
            agenda: Agenda::default(),
            history: BTreeMap::new(),
        }
    }

    /// Takes note of a change.
    pub(crate) fn notice(&mut self, entry: &Entry, ctx: Context<'_>) {
        if entry.resource.plural != "horizontalpodautoscalers" {
            return;
        }
        let key = key_of(&entry.object);
        if entry.change == Change::Removed {
            self.history.remove(&key);
            return self.agenda.cancel(&key);
        }
        if entry.subresource != "status" {
            self.agenda.by(key, ctx.now + TimeDelta::milliseconds(100));
        }
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Option<Time> {
        self.agenda.next()
    }

    /// Does what is due. `load` gives the requests per second that a namespace's pods serve.
    pub(crate) fn act(&mut self, ctx: Context<'_>, load: impl Fn(&str) -> f64) {
        while let Some(key) = self.agenda.take(ctx.now) {
            self.sync(&key, ctx, &load);
            let wait = self.random.within(ctx.behaviour.autoscaler.interval);
            self.agenda.at(key, ctx.now + wait.max(TimeDelta::seconds(1)));
        }
    }

    fn sync(&mut self, key: &Key, ctx: Context<'_>, load: &impl Fn(&str) -> f64) {
        let Some(scaler) = ctx.cluster.get(&AUTOSCALERS, &key.0, &key.1) else { return };
        let target = object::at(&scaler, &["spec", "scaleTargetRef"]).cloned().unwrap_or_default();
        let kind = kind_of(&target);
        let name = object::text(&target, "name");
        let Some(workload) = ctx.cluster.get(&kind, &key.0, name) else { return };
        let present = count_at(&workload, &["spec", "replicas"]).unwrap_or(1);
        let least = count_at(&scaler, &["spec", "minReplicas"]).unwrap_or(1);
        let most = count_at(&scaler, &["spec", "maxReplicas"]).unwrap_or(present);
        let ordered = ctx.behaviour.autoscaler.wants.get(&format!("{}/{}", key.0, key.1)).copied();
        let wanted = match (ordered, ctx.behaviour.autoscaler.requests_per_pod) {
            // An order may leave the bounds: it is how faults ask for nonsense.
            (Some(ordered), _) => ordered,
            // A workload that was scaled to nothing is switched off, as in the real one.
            (None, _) if present == 0 => 0,
            (None, Some(each)) => self
                .by_load(key, load(&key.0), each, present, ctx.now)
                .clamp(least, most.max(least)),
            (None, None) => present.clamp(least, most.max(least)),
        };
        if wanted != present {
            let scale = json!({"spec": {"replicas": wanted}});
            let _ = self.actor.merge(&kind, (&key.0, name), "scale", scale);
        }
        self.report(&scaler, (present, wanted), ctx);
    }

    fn by_load(&mut self, key: &Key, load: f64, each: f64, present: u32, now: Time) -> u32 {
        let ratio = load / (each.max(1e-9) * f64::from(present));
        let asked = if (ratio - 1.0).abs() <= TOLERANCE {
            present
        } else {
            u32::try_from(from_f64((ratio * f64::from(present)).ceil())).unwrap_or(u32::MAX)
        };
        let history = self.history.entry(key.clone()).or_default();
        history.retain(|(at, _)| now - *at <= STABLE_FOR);
        history.push((now, asked));
        let lately = history.iter().map(|(_, asked)| *asked).max().unwrap_or(asked);
        if asked >= present { asked } else { lately.min(present) }
    }

    fn report(&self, scaler: &Value, (present, wanted): (u32, u32), ctx: Context<'_>) {
        let mut status = json!({
            "currentReplicas": present, "desiredReplicas": wanted, "currentMetrics": null,
        });
        let last = object::at(scaler, &["status", "lastScaleTime"]).cloned();
        let last = if present == wanted { last } else { Some(stamp(ctx.now)) };
        if let Some(at) = last {
            object::set_at(&mut status, &["lastScaleTime"], at);
        }
        if scaler.get("status") != Some(&status) {
            let _ = self.actor.merge(
                &AUTOSCALERS,
                named(&key_of(scaler)),
                "status",
                json!({"status": status}),
            );
        }
    }
}

/// The kind that a reference names. Kinds that can be scaled have regular plurals.
fn kind_of(reference: &Value) -> KindName {
    let group = text_at(reference, &["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    KindName::new(group, &format!("{}s", text_at(reference, &["kind"]).to_lowercase()))
}
