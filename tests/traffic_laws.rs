//! The lens laws for every registered traffic provider. A provider that is added to the registry is
//! tested here without a change to this file: its examples are the objects, its own
//! `is_weight_path` the paths that a write may touch.
//!
//! Objects of the Gateway API are also generated, because they are written by users.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::collections::BTreeMap;

use json_patch::PatchOperation;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use sluice::revision::Revision;
use sluice::traffic::endpoints::ready_endpoints;
use sluice::traffic::{
    Acceptance, Backends, Change, Example, Providers, RouteLens, RouteObjects, WriteError,
    change_to, example_backends, guarded_patch, read_route, registry,
};
use sluice::weight::Split;

fn examples() -> Vec<(&'static str, Example<Providers>)> {
    let of_entry = |entry: sluice::traffic::Registered| {
        entry.examples.into_iter().map(move |example| (entry.field, example))
    };
    registry().into_iter().flat_map(of_entry).collect()
}

fn backends(total: u32) -> Backends {
    Backends { total, ..example_backends() }
}

fn first_lens(example: &Example<Providers>, to: &Backends) -> Box<dyn RouteLens> {
    example.config.lenses(to).remove(0)
}

/// The paths that differ between two versions of one object.
fn changed_paths(before: &Value, after: &Value) -> Vec<String> {
    let patch = guarded_patch(before, after).unwrap();
    let operations = patch.into_iter().flat_map(|patch| patch.0);
    operations
        .filter(|operation| !matches!(operation, PatchOperation::Test(_)))
        .map(|operation| operation.path().to_string())
        .collect()
}

/// Checks all laws for one object, which must be readable.
fn check_laws(lens: &dyn RouteLens, object: &Value, to: &Backends, a: Split, b: Split) {
    let now = lens.read(object, to).unwrap();
    let is_too_fine =
        |split| matches!(lens.write(object, to, split), Err(WriteError::TooFine { .. }));
    if is_too_fine(a) || is_too_fine(b) {
        return;
    }
    assert_eq!(&lens.write(object, to, now).unwrap(), object, "write what was read");
    let with_a = lens.write(object, to, a).unwrap();
    let with_b = lens.write(object, to, b).unwrap();
    assert_eq!(lens.read(&with_a, to), Ok(a), "read what was written");
    let twice = lens.write(&with_a, to, b).unwrap();
    assert_eq!(lens.read(&twice, to), Ok(b), "the last write counts");
    assert_eq!(lens.write(&with_a, to, a).unwrap(), with_a, "a write again changes nothing");
    for written in [&with_a, &with_b, &twice] {
        for path in changed_paths(object, written) {
            assert!(lens.is_weight_path(&path), "{path} is no weight");
        }
    }
    // From an object in parts of the total, what came before leaves no trace.
    assert_eq!(lens.write(&with_a, to, b), lens.write(&twice, to, b), "no trace");
    check_change(lens, object, to, a);
}

/// The generic writer's patch makes exactly what the lens wrote.
fn check_change(lens: &dyn RouteLens, object: &Value, to: &Backends, split: Split) {
    let seen = RouteObjects { live: Some(object), source: None };
    if lens.derivation().is_some() {
        return;
    }
    let wanted = lens.write(object, to, split).unwrap();
    match change_to(lens, seen, to, split).unwrap() {
        Change::Nothing => assert_eq!(&wanted, object),
        Change::Create(_) => panic!("a user's route is never created"),
        Change::Patch(patch) => {
            let mut patched = object.clone();
            json_patch::patch(&mut patched, &patch).unwrap();
            assert_eq!(patched, wanted);
        }
    }
}

fn split_of(total: u32) -> impl Strategy<Value = Split> {
    prop_oneof![Just(0), Just(total), 0..=total]
        .prop_map(move |part| Split::saturating(part, total))
}

fn two_splits() -> impl Strategy<Value = (Split, Split)> {
    prop_oneof![Just(100_u32), Just(1000), Just(1), 1_u32..=5000]
        .prop_flat_map(|total| (split_of(total), split_of(total)))
}

/// Any JSON, small.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!("shop-canary")),
        Just(json!("20")),
        "[a-z0-9./%-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,8}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

/// All JSON pointers in `value`, its own first.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                let token = key.replace('~', "~0").replace('/', "~1");
                pointers(item, &format!("{at}/{token}"), out);
            }
        }
        Value::Array(items) => {
            for (idx, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{idx}"), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `object` with the value at some place replaced.
fn vandalised(object: &Value, damage: &[(Index, Value)]) -> Value {
    let mut object = object.clone();
    for (place, value) in damage {
        let mut places: Vec<String> = Vec::new();
        pointers(&object, "", &mut places);
        let pointer = place.get(&places).clone();
        *object.pointer_mut(&pointer).unwrap() = value.clone();
    }
    object
}

/// Every method on whatever it is given: errors, never a panic; and what is written can be read.
fn survives(lens: &dyn RouteLens, live: &Value, source: Option<&Value>, to: &Backends, s: Split) {
    let before = read_route(lens, Some(live), to);
    if let Err(error) = &before {
        assert!(error.to_string().len() < 2000);
        let _ = error.canary_at_most(to.total);
    }
    if let Ok(written) = lens.write(live, to, s)
        && before.is_ok()
    {
        assert_eq!(lens.read(&written, to), Ok(s));
    }
    if let Acceptance::Waiting { what } | Acceptance::Refused { what } = lens.acceptance(live, to) {
        assert!(!what.is_empty());
    }
    for live in [Some(live), None] {
        let seen = RouteObjects { live, source };
        if let Ok(Change::Patch(patch)) = change_to(lens, seen, to, s) {
            let mut patched = live.unwrap().clone();
            json_patch::patch(&mut patched, &patch).unwrap();
            // A second pass finds nothing left to do.
            let seen = RouteObjects { live: Some(&patched), source };
            assert_eq!(change_to(lens, seen, to, s), Ok(Change::Nothing));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn every_provider_obeys_the_lens_laws(
        (a, b) in two_splits(),
        before in prop::collection::vec(0_u32..=1000, 0..3),
    ) {
        let to = backends(a.total());
        for (field, example) in examples() {
            let lens = first_lens(&example, &to);
            let mut object = example.live.clone();
            for part in &before {
                let split = Split::saturating(*part, to.total);
                object = lens.write(&object, &to, split).unwrap();
            }
            // Brings the object to parts of this total once; the laws hold from then on.
            let stable = Split::all_stable(to.total);
            let fresh = lens.write(&object, &to, stable).unwrap();
            prop_assert_eq!(lens.read(&fresh, &to), Ok(stable), "{}", field);
            check_laws(&*lens, &fresh, &to, a, b);
        }
    }

    #[test]
    fn every_derived_object_is_made_with_its_weight_and_then_left_alone(
        (a, b) in two_splits(),
    ) {
        let to = backends(a.total());
        for (field, example) in examples().into_iter().filter(|(_, e)| e.source.is_some()) {
            let lens = first_lens(&example, &to);
            let source = example.source.as_ref();
            let change = change_to(&*lens, RouteObjects { live: None, source }, &to, a).unwrap();
            let Change::Create(mut made) = change else { panic!("{field} makes no object") };
            made["metadata"]["uid"] = json!("made");
            made["metadata"]["resourceVersion"] = json!("1");
            prop_assert_eq!(lens.read(&made, &to), Ok(a));
            let seen = RouteObjects { live: Some(&made), source };
            prop_assert_eq!(change_to(&*lens, seen, &to, a), Ok(Change::Nothing));
            if let Change::Patch(patch) = change_to(&*lens, seen, &to, b).unwrap() {
                let mut patched = made.clone();
                json_patch::patch(&mut patched, &patch).unwrap();
                prop_assert_eq!(lens.read(&patched, &to), Ok(b));
                for path in changed_paths(&made, &patched) {
                    prop_assert!(lens.is_weight_path(&path), "{} is no weight", path);
                }
            }
        }
    }

    #[test]
    fn no_provider_panics_on_malformed_objects(
        damage in prop::collection::vec((any::<Index>(), any_json()), 1..4),
        source_damage in prop::collection::vec((any::<Index>(), any_json()), 0..3),
        (a, _) in two_splits(),
    ) {
        let to = backends(a.total());
        for (_, example) in examples() {
            let lens = first_lens(&example, &to);
            let live = vandalised(&example.live, &damage);
            let source = example.source.as_ref().map(|s| vandalised(s, &source_damage));
            survives(&*lens, &live, source.as_ref(), &to, a);
        }
    }

    #[test]
    fn no_provider_panics_on_arbitrary_json(object in any_json(), source in any_json()) {
        let to = backends(100);
        for (_, example) in examples() {
            let lens = first_lens(&example, &to);
            survives(&*lens, &object, Some(&source), &to, Split::saturating(20, 100));
        }
    }

    #[test]
    fn counting_endpoints_never_panics(
        damage in prop::collection::vec((any::<Index>(), any_json()), 0..4),
    ) {
        let slice = json!({"metadata": {"name": "s",
            "labels": {"kubernetes.io/service-name": "web"}}, "ports": [{"port": 80}],
            "endpoints": [{"conditions": {"ready": true, "serving": true},
                "targetRef": {"kind": "Pod", "name": "p"}}]});
        let pods = BTreeMap::from([("p".to_owned(), Revision::from_label("r"))]);
        let slices = [vandalised(&slice, &damage), slice];
        if let Ok(ready) = ready_endpoints("web", &slices, &pods) {
            prop_assert!(ready.of(&Revision::from_label("r")) <= 1);
        }
    }
}

/// A rule with both Services among others, in any order, some weights left to their default.
fn any_rule() -> impl Strategy<Value = Value> {
    let weight = || prop_oneof![2 => Just(None), 3 => (0_u32..=2000).prop_map(Some)];
    let others = prop::collection::vec((weight(), 0_usize..4), 0..4);
    (weight(), weight(), others, any::<bool>()).prop_map(|(stable, canary, others, is_swapped)| {
        let backend = |name: &str, weight: Option<u32>| {
            let mut backend = json!({"name": name, "port": 80});
            if let Some(weight) = weight {
                backend["weight"] = json!(weight);
            }
            backend
        };
        let mut backends = vec![backend("shop-stable", stable), backend("shop-canary", canary)];
        if is_swapped {
            backends.reverse();
        }
        for (idx, (weight, place)) in others.into_iter().enumerate() {
            let place = place.min(backends.len());
            backends.insert(place, backend(&format!("other-{idx}"), weight));
        }
        json!({"backendRefs": backends, "matches": [{"path": {"value": "/"}}]})
    })
}

fn any_route() -> impl Strategy<Value = Value> {
    prop::collection::vec(any_rule(), 1..4).prop_map(|rules| {
        json!({"metadata": {"uid": "u", "resourceVersion": "1", "generation": 1},
            "spec": {"parentRefs": [{"name": "web"}], "rules": rules}})
    })
}

/// Name and weight of each backend of each rule, after the API's default.
fn weights(route: &Value) -> Vec<Vec<(String, u64)>> {
    let of_rule = |rule: &Value| {
        let backends = rule["backendRefs"].as_array().unwrap().iter();
        let pair =
            |b: &Value| (b["name"].as_str().unwrap().to_owned(), b["weight"].as_u64().unwrap_or(1));
        backends.map(pair).collect()
    };
    route["spec"]["rules"].as_array().unwrap().iter().map(of_rule).collect()
}

fn gateway_lens() -> Box<dyn RouteLens> {
    let config: Providers =
        serde_json::from_value(json!({"gatewayAPI": {"httpRoute": "shop"}})).unwrap();
    config.lenses(&example_backends()).remove(0)
}

proptest! {
    #[test]
    fn routes_of_users_obey_the_lens_laws(route in any_route(), (a, b) in two_splits()) {
        let (lens, to) = (gateway_lens(), backends(a.total()));
        match lens.read(&route, &to) {
            Ok(_) => check_laws(&*lens, &route, &to, a, b),
            // Rules that disagree become readable by one write.
            Err(_) => if let Ok(written) = lens.write(&route, &to, a) {
                if lens.read(&written, &to).is_ok() {
                    check_laws(&*lens, &written, &to, a, b);
                } else {
                    prop_assert!(a.is_all_stable());
                }
            },
        }
    }

    #[test]
    fn other_backends_keep_their_proportion_in_every_rule(
        route in any_route(), (a, b) in two_splits(),
    ) {
        let (lens, to) = (gateway_lens(), backends(a.total()));
        let written = lens.write(&route, &to, a).and_then(|written| lens.write(&written, &to, b));
        if let Ok(written) = written {
            for (was, is) in weights(&route).into_iter().zip(weights(&written)) {
                let pool = |rule: &[(String, u64)]| {
                    rule.iter().filter(|(n, _)| n.starts_with("shop-")).map(|(_, w)| w).sum::<u64>()
                };
                let (pool_was, pool_is) = (pool(&was), pool(&is));
                for ((name, was), (_, is)) in was.iter().zip(&is) {
                    if name.starts_with("other-") && pool_was > 0 {
                        prop_assert_eq!(was * pool_is, is * pool_was, "{}", name);
                    }
                }
            }
        }
    }

    #[test]
    fn a_canary_can_always_be_stopped(route in any_route(), (a, _) in two_splits()) {
        let (lens, to) = (gateway_lens(), backends(a.total()));
        let stable = Split::all_stable(a.total());
        if let Ok(stopped) = lens.write(&route, &to, stable) {
            for (name, weight) in weights(&stopped).into_iter().flatten() {
                prop_assert!(name != "shop-canary" || weight == 0);
            }
        } else {
            // Only when no rule gives either Service any weight.
            let given = weights(&route).into_iter().flatten();
            let ours: u64 = given.filter(|(n, _)| n.starts_with("shop-")).map(|(_, w)| w).sum();
            prop_assert_eq!(ours, 0);
        }
    }
}
