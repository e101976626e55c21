//! Specs and statuses that nobody would write on purpose: deciding goes on whatever it is given.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice::api::status::RolloutStatus;

use crate::rollouts::{STEPS, blue_green, routed};
use crate::world::World;

/// Every place in a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                places(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (idx, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{idx}"), found);
            }
        }
        _ => {}
    }
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!("")),
        Just(json!("9223372036854775807h")),
        Just(json!("never")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        Just(json!(true)),
    ]
}

/// The document with an odd value at one of its places; `which` chooses.
fn spoil(document: &mut Value, which: usize, value: &Value) {
    let mut found = Vec::new();
    places(document, "", &mut found);
    let place = &found[which % found.len()];
    if let Some(target) = document.pointer_mut(place) {
        *target = value.clone();
    }
}

fn run(world: &mut World) {
    world.run(3);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        rng_seed: proptest::test_runner::RngSeed::Fixed(2026),
        ..ProptestConfig::default()
    })]

    #[test]
    fn ar838_no_spec_makes_deciding_break_down(
        is_canary in any::<bool>(),
        spoilers in proptest::collection::vec((any::<usize>(), odd_value()), 1..4),
    ) {
        let mut world = if is_canary { routed(3, STEPS, "") } else { blue_green("") };
        world.run(10);
        world.push("web:2");
        world.run(10);
        for (which, value) in &spoilers {
            let mut spec = world.spec.clone();
            spoil(&mut spec, *which, value);
            // What is no spec at all never gets to deciding: reading says so.
            if serde_json::from_value::<sluice::api::rollout::RolloutSpec>(spec.clone()).is_ok() {
                world.spec = spec;
                run(&mut world);
            }
        }
    }

    #[test]
    fn ar4208_no_status_makes_deciding_break_down(
        is_canary in any::<bool>(),
        spoilers in proptest::collection::vec((any::<usize>(), odd_value()), 1..4),
    ) {
        let mut world = if is_canary { routed(3, STEPS, "") } else { blue_green("") };
        world.run(10);
        world.push("web:2");
        world.run(10);
        for (which, value) in &spoilers {
            let mut status = serde_json::to_value(world.status.as_ref().unwrap()).unwrap();
            spoil(&mut status, *which, value);
            if let Ok(status) = serde_json::from_value::<RolloutStatus>(status) {
                world.status = Some(status);
                run(&mut world);
            }
        }
    }
}
