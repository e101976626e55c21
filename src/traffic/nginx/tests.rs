//! Named cases of the nginx lens; the general laws are in `tests/traffic_laws.rs`.

use super::*;
use crate::traffic::{Change, Providers, RouteObjects, change_to, example_backends, read_route};

const WEIGHT_KEY: &str = "nginx.ingress.kubernetes.io/canary-weight";

fn example() -> (Box<dyn RouteLens>, Value, Value) {
    let example = Nginx::examples().remove(0);
    let lens = example.config.lenses(&example_backends()).remove(0);
    (lens, example.live, example.source.unwrap())
}

fn split(canary: u32, total: u32) -> Split {
    Split::new(canary, total).unwrap()
}

fn change(live: Option<&Value>, source: Option<&Value>, to: Split) -> Result<Change, WriteError> {
    change_to(&*example().0, RouteObjects { live, source }, &example_backends(), to)
}

fn created(source: &Value, to: Split) -> Value {
    match change(None, Some(source), to).unwrap() {
        Change::Create(object) => object,
        other => panic!("expected a new Ingress, got {other:?}"),
    }
}

#[test]
fn the_first_canary_ingress_copies_only_the_stable_rules_tls_and_class() {
    let (_, _, mut source) = example();
    source["metadata"]["annotations"]["kubernetes.io/ingress.class"] = json!("nginx");
    source["spec"]["tls"] = json!([{"hosts": ["shop"], "secretName": "shop-tls"}]);
    let rules = source["spec"]["rules"].as_array_mut().unwrap();
    let mut other = rules[0]["http"]["paths"][0].clone();
    other["backend"]["service"]["name"] = json!("assets");
    let only_other = json!({"host": "cdn", "http": {"paths": [other.clone()]}});
    rules[0]["http"]["paths"].as_array_mut().unwrap().push(other);
    rules.push(only_other);
    rules.push(json!({"host": "no-http"}));
    insta::assert_yaml_snapshot!(created(&source, split(5, 100)));
}

#[test]
fn weight_zero_is_written_explicitly_in_annotations() {
    let made = created(&example().2, split(0, 100));
    assert_eq!(made["metadata"]["annotations"][WEIGHT_KEY], "0");
}

#[test]
fn a_total_other_than_100_is_written_and_read_back() {
    let (lens, live, _) = example();
    let to = example_backends();
    let fine = lens.write(&live, &to, split(5, 1000)).unwrap();
    let total = "nginx.ingress.kubernetes.io/canary-weight-total";
    assert_eq!(fine["metadata"]["annotations"][total], "1000");
    assert_eq!(lens.read(&fine, &to), Ok(split(5, 1000)));
    let plain = lens.write(&fine, &to, split(5, 100)).unwrap();
    assert!(plain["metadata"]["annotations"].get(total).is_none());
}

#[test]
fn a_canary_ingress_of_someone_else_is_refused_with_its_owner() {
    let (_, mut live, source) = example();
    live["metadata"]["ownerReferences"][0] =
        json!({"kind": "Rollout", "name": "cart", "uid": "other", "controller": true});
    let refusal = change(Some(&live), Some(&source), split(5, 100)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Ingress `shop-shop-canary` is not this Rollout's: it is controlled by Rollout `cart`; \
         rename or remove one of the two"
    );
    live["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    // Not even to stop a canary: what it serves is not ours.
    for part in [0, 5] {
        let refusal = change(Some(&live), Some(&source), split(part, 100)).unwrap_err();
        assert!(matches!(refusal, WriteError::NotOurs { .. }), "{refusal}");
    }
}

#[test]
fn foreign_annotations_of_the_canary_ingress_are_kept() {
    let (_, live, source) = example();
    let Change::Patch(patch) = change(Some(&live), Some(&source), split(5, 100)).unwrap() else {
        panic!("expected a patch");
    };
    let mut after = live.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    assert_eq!(after["metadata"]["annotations"]["team"], "checkout");
    let mut expected = live;
    expected["metadata"]["annotations"][WEIGHT_KEY] = json!("5");
    assert_eq!(after, expected);
}

#[test]
fn a_changed_source_is_followed_and_the_weight_kept() {
    let (lens, mut live, mut source) = example();
    live["metadata"]["annotations"][WEIGHT_KEY] = json!("20");
    source["spec"]["rules"][0]["host"] = json!("new-host");
    source["spec"].as_object_mut().unwrap().remove("ingressClassName");
    let to = example_backends();
    let derived = lens.derivation().unwrap().derive(&source, Some(&live), &to).unwrap();
    assert_eq!(derived["spec"]["rules"][0]["host"], "new-host");
    assert!(derived["spec"].get("ingressClassName").is_none());
    assert_eq!(derived["metadata"]["annotations"][WEIGHT_KEY], "20");
}

#[test]
fn a_source_without_a_stable_rule_holds_the_canary_but_never_an_abort() {
    let (_, live, mut source) = example();
    source["spec"]["rules"] = json!([]);
    let refusal = change(Some(&live), Some(&source), split(5, 100)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Ingress `shop` has no rule that points at Service `shop-stable`"
    );
    let mut running = live;
    running["metadata"]["annotations"][WEIGHT_KEY] = json!("50");
    for source in [Some(&source), None] {
        let stopped = change(Some(&running), source, split(0, 100));
        assert!(matches!(stopped, Ok(Change::Patch(_))), "{stopped:?}");
        assert_eq!(change(None, source, split(0, 100)), Ok(Change::Nothing));
        assert!(change(None, source, split(1, 100)).is_err());
        assert!(change(Some(&running), source, split(60, 100)).is_err());
    }
}

#[test]
fn a_canary_ingress_that_does_not_exist_carries_nothing() {
    let to = example_backends();
    assert_eq!(read_route(&*example().0, None, &to), Ok(split(0, 100)));
}

#[test]
fn unreadable_annotations_are_named_and_never_taken_for_a_weight() {
    let (lens, live, _) = example();
    let prefix = "nginx.ingress.kubernetes.io";
    for (key, value) in [
        ("canary", json!("false")),
        ("canary", json!(null)),
        ("canary-weight", json!("20%")),
        ("canary-weight", json!(20)),
        ("canary-weight", json!("-1")),
        ("canary-weight", json!("101")),
        ("canary-weight-total", json!("0")),
    ] {
        let mut bad = live.clone();
        bad["metadata"]["annotations"][format!("{prefix}/{key}")] = value.clone();
        let error = lens.read(&bad, &example_backends()).unwrap_err();
        assert!(matches!(error, ReadError::Malformed { .. }), "{key}={value}: {error}");
        assert_eq!(error.canary_at_most(100), None);
        // One write of ours puts it right.
        let written = lens.write(&bad, &example_backends(), split(5, 100)).unwrap();
        assert_eq!(lens.read(&written, &example_backends()), Ok(split(5, 100)));
    }
}

#[test]
fn prefixless_additional_annotations_get_the_prefix() {
    let config = Nginx {
        stable_ingress: Some("shop".into()),
        annotation_prefix: Some("custom.io".into()),
        additional_ingress_annotations: Some(
            [("canary-by-header", "X-Canary"), ("custom.io/canary-by-cookie", "c")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        ),
        canary_ingress_annotations: Some([("team".to_owned(), "web".to_owned())].into()),
        ..Nginx::default()
    };
    assert_eq!(config.problems(), vec![]);
    let keys: Vec<_> = config.annotations().into_keys().collect();
    assert_eq!(keys, ["custom.io/canary-by-cookie", "custom.io/canary-by-header", "team"]);
}

#[test]
fn long_names_stay_valid_and_apart() {
    let (a, b) = ("i".repeat(250), format!("{}b", "i".repeat(249)));
    let (name_a, name_b) = (canary_name("shop", &a), canary_name("shop", &b));
    assert_eq!(name_a.len(), MAX_NAME);
    assert_ne!(name_a, name_b);
    assert!(check_name("name", &name_a).is_none());
    let dotted = format!("{}.{}", "a".repeat(230), "b".repeat(20));
    let name = canary_name("shop", &dotted);
    assert!(name.len() <= MAX_NAME && check_name("name", &name).is_none(), "{name}");
    assert_eq!(canary_name("shop", "web"), "shop-web-canary");
}

#[test]
fn bad_configurations_are_refused_by_field() {
    let problems = |json: Value| -> Vec<String> {
        let config: Providers = serde_json::from_value(json!({"nginx": json})).unwrap();
        config.problems().iter().map(ToString::to_string).collect()
    };
    insta::assert_yaml_snapshot!([
        problems(json!({})),
        problems(json!({"stableIngress": "a", "stableIngresses": ["b"]})),
        problems(json!({"stableIngresses": []})),
        problems(json!({"stableIngresses": ["a", "a", "Not_A_Name"]})),
        problems(json!({"stableIngress": "a", "annotationPrefix": "a/b"})),
        problems(json!({"stableIngress": "a",
            "additionalIngressAnnotations": {"canary-weight": "50"}})),
    ]);
}
