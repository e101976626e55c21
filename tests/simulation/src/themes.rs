//! Faults that belong together: one theme for a case, at moments that the protocol is sensitive to.

use serde_json::{Value, json};
use sluice::sim::world::{Named, Order, Patch, Write};

use crate::case::{Fault, Setup, Shape, What, When};
use crate::generate::{Dice, gateway, named, prometheus, restart};
use crate::manifests::NAME;

/// Faults of the theme of a seed; half of them have none.
pub(crate) fn faults(seed: u64, setup: &Setup, heals_at_ms: u64) -> Vec<Fault> {
    let mut dice = Dice::of(seed, 5);
    if dice.percent(50) {
        return Vec::new();
    }
    let theme = match dice.within(0, 7) {
        0 => slow_gateway,
        1 => no_measurements,
        2 => two_leaders,
        3 => overtaken,
        4 => denied,
        5 => edited,
        6 => few_pods,
        _ => restarts,
    };
    theme(&mut dice, setup, heals_at_ms)
}

fn at_write(dice: &mut Dice, what: What) -> Fault {
    Fault { when: When::Write(dice.within(3, 90)), what }
}

fn at_time(dice: &mut Dice, heals_at_ms: u64, what: What) -> Fault {
    Fault { when: When::AtMs(dice.within(0, heals_at_ms.saturating_sub(1_000))), what }
}

/// The data plane is behind, from a write of the controller on.
fn slow_gateway(dice: &mut Dice, _: &Setup, _: u64) -> Vec<Fault> {
    let mut one = |_| {
        let what = What::Standing { patch: gateway(dice), lasts_ms: dice.within(10_000, 90_000) };
        at_write(dice, what)
    };
    (0..2).map(&mut one).collect()
}

/// Nothing can be measured for a while, from a write of the controller on.
fn no_measurements(dice: &mut Dice, _: &Setup, _: u64) -> Vec<Fault> {
    let mut one = |_| {
        let what = What::Standing { patch: prometheus(dice), lasts_ms: dice.within(2_000, 40_000) };
        at_write(dice, what)
    };
    (0..3).map(&mut one).collect()
}

/// The leader is cut off, held or robbed of its Lease while it writes.
fn two_leaders(dice: &mut Dice, setup: &Setup, _: u64) -> Vec<Fault> {
    let process = usize::try_from(dice.within(0, 1)).unwrap_or(0) % setup.processes;
    let lease = || Named {
        group: "coordination.k8s.io".to_owned(),
        plural: "leases".to_owned(),
        namespace: "sluice-system".to_owned(),
        name: "sluice-controller".to_owned(),
    };
    let mut one = |_| {
        let what = match dice.within(0, 3) {
            0 => What::Partitioned { process, lasts_ms: dice.within(2_000, 40_000) },
            1 => What::Stalled { process, lasts_ms: dice.within(5_000, 30_000) },
            2 => happens(Write::Delete(lease())),
            _ => happens(Write::Merge(Patch {
                object: lease(),
                subresource: String::new(),
                patch: json!({"spec": {"holderIdentity": "somebody-else"}}),
            })),
        };
        at_write(dice, what)
    };
    (0..2).map(&mut one).collect()
}

/// Others write to what the controller is about to write.
fn overtaken(dice: &mut Dice, _: &Setup, _: u64) -> Vec<Fault> {
    let mut one = |_| {
        let what = What::Overtaken { is_unseen: dice.percent(40) };
        at_write(dice, what)
    };
    (0..5).map(&mut one).collect()
}

/// Some requests are refused for a while; often just after the process has begun anew.
fn denied(dice: &mut Dice, _: &Setup, heals_at_ms: u64) -> Vec<Fault> {
    let paths = [
        "httproutes",
        "services",
        "replicasets",
        "analysisruns",
        "endpointslices",
        "rollouts",
        "leases",
        "",
    ];
    let path = dice.one(&paths).unwrap_or_default();
    let code = dice.one(&[401, 403, 403, 422, 500, 503]).unwrap_or(403);
    let lasts_ms = dice.within(2_000, 60_000);
    // An admission webhook sees only writes.
    let is_write_only = code == 422 || dice.percent(40);
    let refusal = What::Denied { path: path.to_owned(), is_write_only, code, lasts_ms };
    let begins = at_write(dice, refusal);
    let mut faults = vec![begins.clone()];
    if dice.percent(60) {
        let killed = What::Killed { process: 0, restart_ms: restart(dice) };
        faults.push(at_write(dice, killed));
        // The next process begins without what is refused.
        let When::Write(write) = begins.when else { return faults };
        faults.push(Fault {
            when: When::Write(write + 1),
            what: What::Killed { process: 0, restart_ms: 500 },
        });
    }
    if dice.percent(30) {
        faults.push(at_time(dice, heals_at_ms, What::Compaction));
        faults.push(at_time(dice, heals_at_ms, What::WatchesCut));
    }
    faults
}

/// People and bots change or delete what the controller looks after.
fn edited(dice: &mut Dice, setup: &Setup, heals_at_ms: u64) -> Vec<Fault> {
    let count = dice.within(1, 3);
    let mut one = |_| {
        let what = if dice.percent(25) { meddled(dice, setup) } else { happens(edit(dice, setup)) };
        if dice.percent(50) { at_write(dice, what) } else { at_time(dice, heals_at_ms, what) }
    };
    (0..count).map(&mut one).collect()
}

/// Somebody looks after a ReplicaSet as if nobody did.
fn meddled(dice: &mut Dice, setup: &Setup) -> What {
    let nth = usize::try_from(dice.within(0, 3)).unwrap_or(0);
    let replicas = u32::try_from(dice.within(0, u64::from(setup.replicas) + 2)).ok();
    What::Meddled { nth, replicas: replicas.filter(|_| dice.percent(60)) }
}

fn edit(dice: &mut Dice, setup: &Setup) -> Write {
    let services: &[&str] = match setup.shape {
        Shape::Canary | Shape::PausedCanary => &["web-stable", "web-canary"],
        Shape::PlainCanary => &["web-all"],
        Shape::BlueGreen => &["web-active", "web-preview"],
    };
    let service = named("", "services", dice.one(services).unwrap_or_default());
    let route = named("gateway.networking.k8s.io", "httproutes", NAME);
    let merge = |object: Named, patch: Value| {
        Write::Merge(Patch { object, subresource: String::new(), patch })
    };
    let is_routed = matches!(setup.shape, Shape::Canary | Shape::PausedCanary);
    match dice.within(0, 4) {
        0 => Write::Delete(service),
        1 if setup.shape != Shape::PlainCanary => {
            merge(service, json!({"spec": {"selector": {"sluice.dev/revision": null}}}))
        }
        2 if is_routed => {
            let canary = dice.within(0, 100);
            let weight = |backend: u64, weight: u64| {
                json!({
                    "op": "replace", "value": weight,
                    "path": format!("/spec/rules/1/backendRefs/{backend}/weight"),
                })
            };
            Write::Json(Patch {
                object: route,
                subresource: String::new(),
                patch: json!([weight(0, 100 - canary), weight(1, canary)]),
            })
        }
        3 if is_routed => Write::Delete(route),
        _ => merge(service, json!({"metadata": {"labels": {"example.test/team": "shop"}}})),
    }
}

/// Pods get ready one by one, or not all of them.
fn few_pods(dice: &mut Dice, setup: &Setup, heals_at_ms: u64) -> Vec<Fault> {
    let mut one = |_| {
        let patch = match dice.within(0, 2) {
            0 => json!({"workloads": {"podQuota": setup.replicas + 1}}),
            1 => json!({"nodes": {"startsAfter": "1s..40s"}}),
            _ => json!({"nodes": {"startsAfter": "500ms..90s"}}),
        };
        let what = What::Standing { patch, lasts_ms: dice.within(20_000, 90_000) };
        at_time(dice, heals_at_ms, what)
    };
    (0..3).map(&mut one).collect()
}

/// The controller begins anew again and again.
fn restarts(dice: &mut Dice, _: &Setup, _: u64) -> Vec<Fault> {
    let mut one = |_| {
        let what = What::Killed { process: 0, restart_ms: dice.within(100, 3_000) };
        at_write(dice, what)
    };
    (0..6).map(&mut one).collect()
}

fn happens(write: Write) -> What {
    What::Happens(Order::Write { who: "kubectl".to_owned(), write })
}
