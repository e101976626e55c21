//! One fault at each write of a few plain releases, one run for each: nothing is left to chance.

use serde_json::json;

use crate::batch;
use crate::case::{Act, Case, Fault, Setup, Shape, Step, What, When};

/// The releases: a good one and then a bad one in every shape, and one that is superseded midway.
pub(crate) fn canonical() -> Vec<Case> {
    let release = |at_ms: u64, tag: &str| Step { at_ms, act: Act::Release(tag.to_owned()) };
    let plain = |shape, what: &str, steps, heals_at_ms| Case {
        about: format!("{}: {what}", name_of(shape)),
        seed: 7,
        setup: Setup { shape, replicas: 3, processes: 1, has_autoscaler: false },
        steps,
        heals_at_ms,
        faults: Vec::new(),
    };
    let shapes = [Shape::Canary, Shape::PausedCanary, Shape::PlainCanary, Shape::BlueGreen];
    let twice = |shape| {
        let steps = vec![release(2_000, "v2"), release(150_000, "bad3")];
        plain(shape, "a good release, then a bad one", steps, 240_000)
    };
    let midway = vec![release(2_000, "v2"), release(45_000, "v3")];
    let superseded = plain(Shape::Canary, "superseded midway", midway, 150_000);
    shapes.into_iter().map(twice).chain([superseded]).collect()
}

/// The name of a shape in files.
fn name_of(shape: Shape) -> String {
    let name = serde_json::to_value(shape).unwrap_or_default();
    name.as_str().unwrap_or_default().to_owned()
}

/// What happens at a write: each of these is one fault, in one part or in several, at one write after
/// the other.
fn kinds() -> Vec<Vec<What>> {
    let standing = |patch, lasts_ms| What::Standing { patch, lasts_ms };
    let single = [
        What::Overtaken { is_unseen: false },
        What::Overtaken { is_unseen: true },
        standing(json!({"gateway": {"programs": false, "answer": "isSilent"}}), 45_000),
        standing(json!({"prometheus": {"answer": "down"}}), 8_000),
        // Of the three pods of each revision there is room for one more.
        standing(json!({"workloads": {"podQuota": 4}}), 60_000),
        What::DiesBefore { restart_ms: 500 },
        What::DiesAfter { restart_ms: 500 },
        What::DiesInFlight { lands_ms: 6_000, restart_ms: 500 },
        What::LandsLate { lands_ms: 14_000 },
        What::CarriedOutBut(504),
        What::BreaksDown,
    ];
    let denied = |path: &str| What::Denied {
        path: path.to_owned(),
        is_write_only: false,
        code: 403,
        lasts_ms: 60_000,
    };
    // The next process begins without a view of the routes.
    let blind = vec![denied("httproutes"), What::Killed { process: 0, restart_ms: 500 }];
    single.into_iter().map(|what| vec![what]).chain([blind]).collect()
}

/// Cases of the sweep of a plain release: each kind of fault at each of its writes; of those whose name
/// contains every word of `only`, every so-many-th.
///
/// # Errors
/// The plain release cannot be run, or goes wrong.
pub(crate) fn around(plain: &Case, every: usize, only: &str) -> anyhow::Result<Vec<Case>> {
    let report = batch::alone(plain, false)?;
    anyhow::ensure!(report.violations.is_empty(), "{}: {:?}", plain.about, report.violations);
    let writes = report.counted_writes;
    let one = |write: u64, parts: Vec<What>| {
        let kinds: Vec<String> = parts.iter().map(crate::run::kind).collect();
        let about = format!("{}, {} at write {write}", plain.about, kinds.join(" and "));
        let at = (write..).map(When::Write);
        let faults = at.zip(parts).map(|(when, what)| Fault { when, what }).collect();
        Case { about, faults, ..plain.clone() }
    };
    let at = |write: u64| kinds().into_iter().map(move |parts| one(write, parts));
    let all = (1..=writes)
        .flat_map(at)
        .filter(|case| only.split(' ').all(|word| case.about.contains(word)));
    Ok(all.step_by(every.max(1)).collect())
}
