//! One fault at each write of a few plain releases, one run for each: nothing is left to chance.

use crate::batch;
use crate::case::{Act, Case, Fault, Setup, Shape, Step, What, When};

/// The releases: a good one and then a bad one in every shape.
pub(crate) fn canonical() -> Vec<Case> {
    let shapes = [Shape::Canary, Shape::PausedCanary, Shape::PlainCanary, Shape::BlueGreen];
    shapes
        .into_iter()
        .map(|shape| Case {
            about: format!("{shape:?}: a good release, then a bad one"),
            seed: 7,
            setup: Setup { shape, replicas: 3, processes: 1, has_autoscaler: false },
            steps: vec![
                Step { at_ms: 2_000, act: Act::Release("v2".to_owned()) },
                Step { at_ms: 150_000, act: Act::Release("bad3".to_owned()) },
            ],
            heals_at_ms: 240_000,
            faults: Vec::new(),
        })
        .collect()
}

/// What happens at a write.
fn kinds() -> [What; 5] {
    [
        What::DiesBefore { restart_ms: 500 },
        What::DiesAfter { restart_ms: 500 },
        What::DiesInFlight { lands_ms: 6_000, restart_ms: 500 },
        What::LandsLate { lands_ms: 14_000 },
        What::CarriedOutBut(504),
    ]
}

/// Every case of the sweep of a plain release: each kind of fault at each of its writes.
///
/// # Errors
/// The plain release cannot be run, or goes wrong.
pub(crate) fn around(plain: &Case) -> anyhow::Result<Vec<Case>> {
    let report = batch::alone(plain, false)?;
    anyhow::ensure!(report.violations.is_empty(), "{}: {:?}", plain.about, report.violations);
    let writes = report.counted_writes;
    let one = |write: u64, what: What| {
        let faults = vec![Fault { when: When::Write(write), what: what.clone() }];
        let about = format!("{}, {} at write {write}", plain.about, crate::run::kind(&what));
        Case { about, faults, ..plain.clone() }
    };
    Ok((1..=writes).flat_map(|write| kinds().map(|what| one(write, what))).collect())
}
