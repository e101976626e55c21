//! From a seed to a case. One stream of numbers for each purpose, so that a change in one shifts no
//! other.

use serde_json::{Value, json};
use sluice::sim::world::{Named, Order, Patch, PodFault, Push, PushChange, Span, Write};

use crate::case::{Act, Case, Fault, Setup, Shape, Step, What, When};
use crate::manifests::{BRANCH, FOLDER, NAME, NAMESPACE, ROLLOUT_FILE, URL, versions};

/// A stream of numbers.
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn of(seed: u64, purpose: u64) -> Self {
        let mut mixed = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self(fastrand::Rng::with_seed(mixed ^ (mixed >> 31)))
    }

    /// Whether something of so many per cent happens.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.0.u64(0..100) < chance
    }

    pub(crate) fn within(&mut self, from: u64, to: u64) -> u64 {
        self.0.u64(from..=to)
    }

    pub(crate) fn one<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        self.0.choice(of).cloned()
    }
}

/// The case of a seed.
pub(crate) fn case(seed: u64) -> Case {
    let mut dice = Dice::of(seed, 1);
    let shape = match dice.within(0, 99) {
        0..45 => Shape::Canary,
        45..65 => Shape::PausedCanary,
        65..75 => Shape::PlainCanary,
        _ => Shape::BlueGreen,
    };
    let setup = Setup {
        shape,
        replicas: u32::try_from(dice.within(2, 5)).unwrap_or(2),
        processes: if dice.percent(30) { 2 } else { 1 },
        has_autoscaler: dice.percent(20),
    };
    let steps = steps(seed, &setup);
    let last = steps.last().map_or(0, |step| step.at_ms);
    let heals_at_ms = last + Dice::of(seed, 2).within(30_000, 150_000);
    let mut faults = faults(seed, &setup, heals_at_ms);
    faults.extend(crate::themes::faults(seed, &setup, heals_at_ms));
    faults.extend(breakdowns(seed));
    Case { about: String::new(), seed, setup, steps, heals_at_ms, faults }
}

/// What people do.
fn steps(seed: u64, setup: &Setup) -> Vec<Step> {
    let mut dice = Dice::of(seed, 3);
    let mut steps = Vec::new();
    let mut at_ms = dice.within(1_000, 5_000);
    let releases = dice.within(1, 4);
    let mut tags = vec!["v1".to_owned()];
    for number in 2..2 + releases {
        let tag = match dice.within(0, 99) {
            0..55 => format!("v{number}"),
            55..75 => format!("bad{number}"),
            75..82 => format!("slow{number}"),
            82..88 => format!("stuck{number}"),
            88..92 => format!("crash{number}"),
            // An older one again.
            _ => dice.one(&tags).unwrap_or_default(),
        };
        tags.push(tag.clone());
        steps.push(Step { at_ms, act: Act::Release(tag) });
        if dice.percent(25) {
            let verb = match dice.within(0, 6) {
                0 => vec![Act::Abort],
                1 => vec![Act::Abort, Act::Retry],
                2 => vec![Act::PromoteFull],
                3 => vec![Act::Pause, Act::Resume],
                4 => vec![Act::PromoteFull, Act::Abort],
                5 => vec![Act::Delete],
                _ => vec![Act::Abort, Act::PromoteFull],
            };
            // Two people at once, or one who thinks again.
            let apart = if dice.percent(50) { 1_500 } else { 40_000 };
            let mut when = at_ms + dice.within(500, 40_000);
            for act in verb {
                steps.push(Step { at_ms: when, act });
                when += dice.within(0, apart);
            }
        }
        // Midway through the last update, or after it.
        at_ms +=
            if dice.percent(50) { dice.within(500, 60_000) } else { dice.within(60_000, 200_000) };
    }
    if !setup.has_autoscaler && dice.percent(20) {
        let replicas = u32::try_from(dice.within(1, 6)).unwrap_or(3);
        steps.push(Step { at_ms: dice.within(1_000, at_ms), act: Act::Scale(replicas) });
    }
    steps.sort_by_key(|step| step.at_ms);
    steps
}

/// Everything that goes wrong.
fn faults(seed: u64, setup: &Setup, heals_at_ms: u64) -> Vec<Fault> {
    let mut dice = Dice::of(seed, 4);
    let mut faults = Vec::new();
    // One case in ten is healthy but for what people do.
    if dice.percent(10) {
        return faults;
    }
    for _ in 0..dice.within(0, 8) {
        let when = When::Write(dice.within(1, 120));
        faults.push(Fault { when, what: at_write(&mut dice) });
    }
    for _ in 0..dice.within(0, 6) {
        let when = When::Request(dice.within(1, 900));
        faults.push(Fault { when, what: at_request(&mut dice) });
    }
    for _ in 0..dice.within(0, 8) {
        let what = match dice.within(0, 9) {
            0..4 => What::EventLate { by_ms: dice.within(50, 8_000) },
            4..7 => What::EventLost,
            _ => What::EventCut,
        };
        faults.push(Fault { when: When::Event(dice.within(1, 900)), what });
    }
    for _ in 0..dice.within(0, 8) {
        let at = dice.within(0, heals_at_ms.saturating_sub(1_000));
        let what = at_time(&mut dice, setup, heals_at_ms - at);
        faults.push(Fault { when: When::AtMs(at), what });
    }
    faults
}

/// Parts of a process that break down; in every fifth case.
fn breakdowns(seed: u64) -> Vec<Fault> {
    let mut dice = Dice::of(seed, 6);
    if !dice.percent(20) {
        return Vec::new();
    }
    let mut one = |_| {
        let when = if dice.percent(60) {
            When::Write(dice.within(1, 90))
        } else {
            When::Request(dice.within(1, 400))
        };
        Fault { when, what: What::BreaksDown }
    };
    (0..3).map(&mut one).collect()
}

pub(crate) fn restart(dice: &mut Dice) -> u64 {
    if dice.percent(80) { dice.within(100, 5_000) } else { dice.within(5_000, 40_000) }
}

/// Faults of a write.
fn at_write(dice: &mut Dice) -> What {
    match dice.within(0, 9) {
        0 | 1 => What::DiesBefore { restart_ms: restart(dice) },
        2 | 3 => What::DiesAfter { restart_ms: restart(dice) },
        4 | 5 => {
            What::DiesInFlight { lands_ms: dice.within(100, 25_000), restart_ms: restart(dice) }
        }
        6 | 7 => What::LandsLate { lands_ms: dice.within(5_000, 25_000) },
        8 => What::ReplyLost,
        _ => What::CarriedOutBut(504),
    }
}

/// Faults of any request.
fn at_request(dice: &mut Dice) -> What {
    match dice.within(0, 12) {
        0 => What::DiesBefore { restart_ms: restart(dice) },
        1 => What::DiesAfter { restart_ms: restart(dice) },
        2 => What::RequestLost,
        3 => What::ReplyLost,
        4 => What::ReplyBroken,
        5 => What::Refused(409),
        6 => What::Refused(429),
        7 => What::Refused(500),
        8 => What::Refused(504),
        9 => What::CarriedOutBut(500),
        10 => What::Refused(410),
        11 => What::Refused(400),
        _ => What::Slow { before_ms: dice.within(0, 4_000), after_ms: dice.within(0, 4_000) },
    }
}

/// Faults by the clock; those that last are over when the world heals.
fn at_time(dice: &mut Dice, setup: &Setup, most_ms: u64) -> What {
    let lasts_ms = |dice: &mut Dice, from: u64, to: u64| dice.within(from, to).min(most_ms);
    match dice.within(0, 15) {
        0 => What::WatchesCut,
        1 => What::Compaction,
        2 => What::Stalled {
            process: usize::try_from(dice.within(0, 1)).unwrap_or(0) % setup.processes,
            lasts_ms: lasts_ms(dice, 500, 30_000),
        },
        3 => What::Killed { process: 0, restart_ms: restart(dice) },
        4 => What::Stopped { process: 0, restart_ms: restart(dice) },
        5 => What::Clock {
            ahead_ms: i64::try_from(dice.within(0, 7_200_000)).unwrap_or(0) - 3_600_000,
            lasts_ms: lasts_ms(dice, 1_000, 120_000),
        },
        6 | 7 => {
            let patch = prometheus(dice);
            What::Standing { patch, lasts_ms: lasts_ms(dice, 2_000, 90_000) }
        }
        8 | 9 => {
            let patch = git(dice);
            What::Standing { patch, lasts_ms: lasts_ms(dice, 5_000, 120_000) }
        }
        10 => {
            let patch = gateway(dice);
            What::Standing { patch, lasts_ms: lasts_ms(dice, 5_000, 90_000) }
        }
        11 => {
            let patch = workloads(dice);
            What::Standing { patch, lasts_ms: lasts_ms(dice, 5_000, 60_000) }
        }
        12 => What::Happens(Order::LoseNode {
            name: format!("node-{}", dice.within(1, 3)),
            lasts: Span::ms(lasts_ms(dice, 5_000, 120_000)),
        }),
        13 => What::Happens(pod(dice)),
        14 => What::Happens(other_push(dice)),
        _ => What::Happens(edit(dice, setup)),
    }
}

pub(crate) fn prometheus(dice: &mut Dice) -> Value {
    let answers = [
        json!("down"),
        json!("hangs"),
        json!({"status": 503}),
        json!({"status": 429}),
        json!("truncated"),
        json!({"number": "NaN"}),
        json!({"number": "+Inf"}),
        json!("empty"),
        json!({"many": 3}),
        json!({"text": "not a number"}),
        json!({"warns": ["a store did not answer"]}),
    ];
    if dice.percent(15) {
        return json!({"prometheus": {"scrapes": false}});
    }
    if dice.percent(10) {
        return json!({"prometheus": {"clockAhead": 300}});
    }
    json!({"prometheus": {"answer": dice.one(&answers)}})
}

fn git(dice: &mut Dice) -> Value {
    let faults = [
        json!({"answer": "unreachable"}),
        json!({"answer": "hangs"}),
        json!({"answer": "unauthorized"}),
        json!({"push": {"rejected": "protected branch"}}),
        json!({"push": "replyLost"}),
        json!({"push": "raced"}),
        json!({"takes": "2s..20s"}),
    ];
    json!({"git": dice.one(&faults)})
}

pub(crate) fn gateway(dice: &mut Dice) -> Value {
    let faults = [
        json!({"answer": "rejects"}),
        json!({"answer": "isSilent"}),
        json!({"answer": "reportsOldGeneration"}),
        json!({"answer": "takesPart"}),
        json!({"programs": false}),
        json!({"programs": false, "answer": "isSilent"}),
        json!({"reportsAfter": "1s..20s"}),
        json!({"programsAfter": "1s..20s"}),
    ];
    json!({"gateway": dice.one(&faults)})
}

fn workloads(dice: &mut Dice) -> Value {
    let faults = [
        json!({"workloads": {"isStopped": true}}),
        json!({"workloads": {"podQuota": 4}}),
        json!({"nodes": {"isFull": true}}),
        json!({"nodes": {"startsAfter": "5s..30s"}}),
        json!({"endpoints": {"isStopped": true}}),
        json!({"endpoints": {"lag": "1s..20s"}}),
    ];
    dice.one(&faults).unwrap_or_default()
}

fn pod(dice: &mut Dice) -> Order {
    let faults = [
        PodFault::Evicted,
        PodFault::Crashes,
        PodFault::Deleted,
        PodFault::Unready(Span::between_ms(2_000, 30_000)),
    ];
    Order::Pod {
        namespace: NAMESPACE.to_owned(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        nth: usize::try_from(dice.within(0, 9)).unwrap_or(0),
        fault: dice.one(&faults).unwrap_or(PodFault::Crashes),
    }
}

/// Somebody else's commit: a note, a line of the manifest that means nothing, or a note in place of the
/// newest commit.
fn other_push(dice: &mut Dice) -> Order {
    let name = format!("{FOLDER}/notes-{}.txt", dice.within(1, 3));
    let text = format!("{}\n", dice.within(0, 1_000_000));
    let note = PushChange::Files([(name, Some(text))].into());
    let replace = || PushChange::Replace {
        path: ROLLOUT_FILE.to_owned(),
        old: "kind: Rollout\n".to_owned(),
        new: "# Looked through.\nkind: Rollout\n".to_owned(),
    };
    let (change, drops) = match dice.within(0, 9) {
        0..6 => (note, 0),
        6..8 => (replace(), 0),
        _ => (note, 1),
    };
    Order::Push(Push {
        url: URL.to_owned(),
        branch: BRANCH.to_owned(),
        message: "Write something down".to_owned(),
        change,
        drops,
    })
}

/// An object of the application.
pub(crate) fn named(group: &str, plural: &str, name: &str) -> Named {
    Named {
        group: group.to_owned(),
        plural: plural.to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

/// Somebody edits what the controller looks after, in ways that mean no harm.
fn edit(dice: &mut Dice, setup: &Setup) -> Order {
    let object = match dice.within(0, 2) {
        0 => named("gateway.networking.k8s.io", "httproutes", NAME),
        1 if setup.shape == Shape::BlueGreen => named("", "services", "web-active"),
        1 if setup.shape != Shape::PlainCanary => named("", "services", "web-stable"),
        _ => named("sluice.dev", "rollouts", NAME),
    };
    let note = dice.within(0, 1_000_000).to_string();
    let patch = json!({"metadata": {"annotations": {"example.test/note": note}}});
    let write = Write::Merge(Patch { object, subresource: String::new(), patch });
    Order::Write { who: "kubectl".to_owned(), write }
}

/// What a healthy world is like where `patch` changes it.
pub(crate) fn healthy_part(patch: &Value) -> Value {
    let all = healthy();
    let changed = patch.as_object().into_iter().flatten();
    let part = changed.filter_map(|(key, _)| Some((key.clone(), all.get(key)?.clone())));
    part.collect::<serde_json::Map<_, _>>().into()
}

/// What a healthy world is like; ends every standing fault.
pub(crate) fn healthy() -> Value {
    json!({
        "workloads": {"isStopped": false, "podQuota": null},
        "nodes": {"isFull": false, "startsAfter": "500ms..1500ms"},
        "endpoints": {"isStopped": false, "lag": "50ms..300ms"},
        "gateway": {
            "answer": "accepts", "programs": true,
            "reportsAfter": "50ms..500ms", "programsAfter": "50ms..500ms",
        },
        "prometheus": {"answer": "true", "scrapes": true, "clockAhead": 0},
        "git": {"answer": "works", "push": "accepted", "takes": "50ms..300ms"},
        "versions": versions(),
    })
}
