//! Named cases of the Gateway API lens; the general laws are in `tests/traffic_laws.rs`.

#![expect(clippy::needless_pass_by_value, reason = "`json!` makes owned values")]

use serde_json::{Value, json};

use super::*;
use crate::traffic::{Change, Providers, RouteObjects, change_to, example_backends, read_route};

fn split(canary: u32, total: u32) -> Split {
    Split::new(canary, total).unwrap()
}

fn lens(rule: Option<&str>) -> Route {
    Route { kind: RouteKind::Http, name: "shop".into(), rule: rule.map(str::to_owned) }
}

fn stable(weight: Value) -> Value {
    json!({"name": "shop-stable", "port": 80, "weight": weight})
}

fn canary(weight: Value) -> Value {
    json!({"name": "shop-canary", "port": 80, "weight": weight})
}

fn both(stable_weight: u32, canary_weight: u32) -> Value {
    json!({"backendRefs": [stable(json!(stable_weight)), canary(json!(canary_weight))]})
}

fn route(rules: Value) -> Value {
    json!({
        "metadata": {"name": "shop", "namespace": "default", "uid": "u", "resourceVersion": "1",
            "generation": 3},
        "spec": {"parentRefs": [{"name": "web"}], "rules": rules},
    })
}

fn read(object: &Value) -> Result<Split, ReadError> {
    lens(None).read(object, &example_backends())
}

fn write(object: &Value, to: Split) -> Result<Value, WriteError> {
    lens(None).write(object, &example_backends(), to)
}

fn weights(object: &Value) -> Vec<Vec<Option<u64>>> {
    let rules = object["spec"]["rules"].as_array().unwrap().iter();
    let of_rule = |rule: &Value| {
        let backends = rule["backendRefs"].as_array().unwrap().iter();
        backends.map(|backend| backend["weight"].as_u64()).collect()
    };
    rules.map(of_rule).collect()
}

mod weights_of_a_route {
    use super::*;

    #[test]
    fn weight_zero_is_written_explicitly() {
        // flagger#930: a dropped 0 becomes the default of 1. Here both weights were left out.
        let mut object = route(json!([both(1, 1)]));
        for idx in [0, 1] {
            let backend = &mut object["spec"]["rules"][0]["backendRefs"][idx];
            backend.as_object_mut().unwrap().remove("weight");
        }
        assert_eq!(read(&object), Ok(split(50, 100)));
        assert_eq!(weights(&write(&object, split(0, 100)).unwrap()), [[Some(100), Some(0)]]);
        assert_eq!(weights(&write(&object, split(100, 100)).unwrap()), [[Some(0), Some(100)]]);
    }

    #[test]
    fn a_missing_weight_is_read_as_the_apis_default_of_one() {
        // flagger PR 1851: status said 0 while the route carried traffic.
        let mut object = route(json!([both(3, 0)]));
        let backend = &mut object["spec"]["rules"][0]["backendRefs"][1];
        backend.as_object_mut().unwrap().remove("weight");
        assert_eq!(read(&object), Ok(split(25, 100)));
        object["spec"]["rules"][0]["backendRefs"][1]["weight"] = Value::Null;
        assert_eq!(read(&object), Ok(split(25, 100)));
    }

    #[test]
    fn unmanaged_backends_and_rules_stay_byte_for_byte() {
        // plugin#203, flagger#1857.
        let mut main = both(90, 0);
        main["backendRefs"][1]["filters"] =
            json!([{"type": "RequestHeaderModifier", "x": [1, {}]}]);
        main["backendRefs"].as_array_mut().unwrap().push(json!({"name": "old", "weight": 10}));
        main["timeouts"] = json!({"request": "5s"});
        let testers = json!({"matches": [{"headers": [{"name": "X-Canary", "value": "1"}]}],
            "backendRefs": [canary(json!(1))]});
        let object = route(json!([testers, main, {"name": "redirect", "filters": [{}]}]));
        let written = write(&object, split(50, 100)).unwrap();
        let mut expected = object;
        for (idx, weight) in [(0, 450), (1, 450), (2, 100)] {
            expected["spec"]["rules"][1]["backendRefs"][idx]["weight"] = json!(weight);
        }
        assert_eq!(written.to_string(), expected.to_string());
    }

    #[test]
    fn a_header_rule_for_testers_never_gets_weight_zero() {
        // plugin#158: a rule that sends testers to the canary alone must not become all zero.
        let testers = json!({"backendRefs": [canary(json!(1))]});
        let object = route(json!([testers, both(100, 0)]));
        for part in [0, 20, 100] {
            let written = write(&object, split(part, 100)).unwrap();
            assert_eq!(weights(&written)[0], [Some(1)]);
        }
    }

    #[test]
    fn no_written_rule_ever_has_a_sum_of_zero() {
        // argo-rollouts#3141: admission refuses it, and the rollout is stuck.
        for (a, b) in [(0, 0), (1, 1), (100, 0), (0, 7), (1_000_000, 1_000_000)] {
            for part in [0, 1, 50, 100] {
                let written = write(&route(json!([both(a, b)])), split(part, 100)).unwrap();
                let sum: u64 = weights(&written)[0].iter().flatten().sum();
                assert!(sum > 0, "{a} {b} {part}");
            }
        }
    }

    #[test]
    fn both_members_stay_in_the_rule_at_every_weight() {
        // traefik#9158: members come and go in no write of ours; the empty one has weight 0.
        for part in [0, 100] {
            let written = write(&route(json!([both(50, 50)])), split(part, 100)).unwrap();
            assert_eq!(weights(&written)[0].len(), 2);
        }
    }

    #[test]
    fn small_weights_are_exact_and_not_rounded_to_nothing() {
        // haproxy-ingress#1182: a share of 1 in 1000 must not become 0 for all.
        let to = Backends { total: 1000, ..example_backends() };
        for object in [route(json!([both(1, 0)])), route(json!([both(100, 0)]))] {
            let written = lens(None).write(&object, &to, split(1, 1000)).unwrap();
            assert_eq!(weights(&written), [[Some(999), Some(1)]]);
            assert_eq!(lens(None).read(&written, &to), Ok(split(1, 1000)));
        }
    }

    #[test]
    fn every_rule_that_carries_both_is_split_unless_one_is_named() {
        let mut named = both(100, 0);
        named["name"] = json!("main");
        let object = route(json!([both(100, 0), named]));
        let all = write(&object, split(20, 100)).unwrap();
        assert_eq!(weights(&all), [[Some(80), Some(20)], [Some(80), Some(20)]]);
        let one = lens(Some("main")).write(&object, &example_backends(), split(20, 100)).unwrap();
        assert_eq!(weights(&one), [[Some(100), Some(0)], [Some(80), Some(20)]]);
        assert_eq!(lens(Some("main")).read(&one, &example_backends()), Ok(split(20, 100)));
        assert_eq!(
            lens(Some("mian")).read(&object, &example_backends()).unwrap_err().to_string(),
            "HTTPRoute `shop` has no rule named `mian`; its named rules are: main"
        );
    }

    #[test]
    fn a_write_is_the_same_object_every_time() {
        // flagger PR 1713: map order made every object look changed.
        let object = route(json!([both(90, 10)]));
        let once = write(&object, split(20, 100)).unwrap();
        assert_eq!(write(&once, split(20, 100)).unwrap().to_string(), once.to_string());
        assert_eq!(write(&object, split(20, 100)).unwrap().to_string(), once.to_string());
    }

    #[test]
    fn only_services_of_this_namespace_are_ours() {
        let foreign = [
            json!({"name": "shop-canary", "namespace": "other", "weight": 5}),
            json!({"name": "shop-canary", "kind": "ServiceImport", "weight": 5}),
            json!({"name": "shop-canary", "group": "example.com", "weight": 5}),
        ];
        for other in foreign {
            let mut rule = both(95, 0);
            rule["backendRefs"].as_array_mut().unwrap().push(other.clone());
            assert_eq!(read(&route(json!([rule]))), Ok(split(0, 100)), "{other}");
        }
        let mut explicit = both(80, 20);
        for idx in [0, 1] {
            explicit["backendRefs"][idx]["group"] = json!("");
            explicit["backendRefs"][idx]["kind"] = json!("Service");
            explicit["backendRefs"][idx]["namespace"] = json!("default");
        }
        assert_eq!(read(&route(json!([explicit]))), Ok(split(20, 100)));
    }
}

mod what_is_wrong_with_a_route {
    use super::*;

    #[test]
    fn a_missing_backend_says_what_to_add_and_how_much_the_canary_can_have() {
        let error = read(&route(json!([{"backendRefs": [stable(json!(1))]}]))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "HTTPRoute `shop`: rule 0 sends traffic to Service `shop-stable` but not to \
             `shop-canary`: add a backendRef for `shop-canary` to it, with weight 0 if it is to \
             take no traffic yet"
        );
        assert_eq!(error.canary_at_most(100), Some(split(0, 100)));
        let error = read(&route(json!([{"backendRefs": [canary(json!(1))]}]))).unwrap_err();
        assert!(
            matches!(&error, ReadError::MissingBackend { missing, .. } if missing == "shop-stable")
        );
        assert_eq!(error.canary_at_most(100), None);
        let error = read(&route(json!([]))).unwrap_err();
        assert!(matches!(error, ReadError::NoBackends { .. }));
        assert_eq!(
            error.to_string(),
            "HTTPRoute `shop`: found neither Service `shop-stable` nor `shop-canary` in any rule: \
             one rule must carry both"
        );
    }

    #[test]
    fn the_same_service_twice_in_a_rule_is_refused_by_name() {
        let mut rule = both(50, 25);
        rule["backendRefs"].as_array_mut().unwrap().push(canary(json!(25)));
        let error = read(&route(json!([rule]))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "HTTPRoute `shop`: rule 0 names Service `shop-canary` more than once: keep one \
             backendRef for it"
        );
        assert_eq!(error.canary_at_most(100), None);
    }

    #[test]
    fn rules_that_disagree_are_an_error_with_the_highest_share_and_a_write_aligns_them() {
        let object = route(json!([both(90, 10), both(70, 30), both(80, 20)]));
        let error = read(&object).unwrap_err();
        let (highest, lowest) = (split(30, 100), split(10, 100));
        assert_eq!(
            error,
            ReadError::Disagree { route: lens(None).route().to_string(), highest, lowest }
        );
        assert_eq!(error.canary_at_most(100), Some(highest));
        assert_eq!(read(&write(&object, split(15, 100)).unwrap()), Ok(split(15, 100)));
    }

    #[test]
    fn a_rule_without_weight_for_either_is_an_error_that_knows_the_other_rules() {
        let mut empty = both(0, 0);
        empty["backendRefs"].as_array_mut().unwrap().push(json!({"name": "maintenance"}));
        let object = route(json!([empty, both(60, 40)]));
        assert_eq!(read(&object).unwrap_err().canary_at_most(100), Some(split(40, 100)));
        let error = write(&object, split(10, 100)).unwrap_err();
        assert!(matches!(error, WriteError::Unreadable(ReadError::NoTraffic { .. })));
        // An abort does what can be done.
        let stopped = write(&object, split(0, 100)).unwrap();
        assert_eq!(weights(&stopped)[1], [Some(100), Some(0)]);
        assert_eq!(read(&stopped).unwrap_err().canary_at_most(100), Some(split(0, 100)));
    }

    #[test]
    fn a_malformed_weight_is_named_and_holds_everything_but_an_abort() {
        for bad in [json!("20"), json!(-1), json!(1.5), json!(1_000_001), json!([]), json!(true)] {
            let rule = json!({"backendRefs": [stable(bad.clone()), canary(json!(5))]});
            let object = route(json!([both(50, 50), rule]));
            let error = read(&object).unwrap_err().to_string();
            assert!(error.contains("spec.rules[1].backendRefs[0].weight is "), "{error}");
            assert!(write(&object, split(20, 100)).is_err(), "{bad}");
            let stopped = write(&object, split(0, 100)).unwrap();
            assert_eq!(weights(&stopped)[0], [Some(100), Some(0)]);
        }
    }

    #[test]
    fn weights_beyond_the_apis_limit_are_refused_by_rule() {
        let mut rule = both(999_983, 0);
        rule["backendRefs"].as_array_mut().unwrap().push(json!({"name": "old", "weight": 999_979}));
        let error = write(&route(json!([rule])), split(1, 100)).unwrap_err();
        assert!(
            error.to_string().starts_with("HTTPRoute `shop`: rule 0 cannot carry 1/100 exactly"),
            "{error}"
        );
    }

    #[test]
    fn a_route_of_another_controller_is_never_taken() {
        let mut object = route(json!([both(100, 0)]));
        object["metadata"]["ownerReferences"] =
            json!([{"kind": "App", "name": "shop", "uid": "x", "controller": true}]);
        let seen = RouteObjects { live: Some(&object), source: None };
        let error = change_to(&lens(None), seen, &example_backends(), split(5, 100)).unwrap_err();
        assert!(error.to_string().contains("it is controlled by App `shop`"), "{error}");
    }

    #[test]
    fn a_deleted_route_is_named_and_carries_nothing() {
        let to = example_backends();
        let error = read_route(&lens(None), None, &to).unwrap_err();
        assert_eq!(error.to_string(), "HTTPRoute `shop` does not exist in namespace `default`");
        assert_eq!(error.canary_at_most(100), Some(split(0, 100)));
        let seen = RouteObjects { live: None, source: None };
        assert!(change_to(&lens(None), seen, &to, split(0, 100)).is_err());
    }

    #[test]
    fn an_object_that_is_as_it_must_be_is_not_written() {
        let object = route(json!([both(80, 20)]));
        let seen = RouteObjects { live: Some(&object), source: None };
        let change = change_to(&lens(None), seen, &example_backends(), split(20, 100));
        assert_eq!(change, Ok(Change::Nothing));
    }

    #[test]
    fn bad_configurations_are_refused_by_field() {
        let problems = |json: Value| -> Vec<String> {
            let config: Providers = serde_json::from_value(json!({"gatewayAPI": json})).unwrap();
            config.problems().iter().map(ToString::to_string).collect()
        };
        insta::assert_yaml_snapshot!([
            problems(json!({})),
            problems(json!({"httpRoute": "a", "grpcRoute": "b"})),
            problems(json!({"httpRoute": "-a"})),
            problems(json!({"routes": []})),
            problems(json!({"routes": [{"kind": "HTTPRoute", "name": "a"},
                {"kind": "HTTPRoute", "name": "a", "rule": ""}]})),
        ]);
        let unknown = json!({"routes": [{"kind": "TCPRoute", "name": "a"}]});
        assert!(serde_json::from_value::<GatewayApi>(unknown).is_err());
    }
}

mod acceptance {
    use super::*;

    /// A route of generation 3 with these parents and this status.
    fn answered(parents: Value, statuses: Value) -> String {
        let mut object = route(json!([both(100, 0)]));
        object["spec"]["parentRefs"] = parents;
        object["status"] = json!({"parents": statuses});
        match lens(None).acceptance(&object, &example_backends()) {
            Acceptance::Confirmed => "confirmed".to_owned(),
            Acceptance::Waiting { what } => format!("waiting for {what}"),
            Acceptance::Refused { what } => format!("refused: {what}"),
        }
    }

    fn condition(kind: &str, status: &str, generation: i64) -> Value {
        json!({"type": kind, "status": status, "observedGeneration": generation,
            "reason": "Because", "message": "it is so"})
    }

    fn entry(parent: Value, accepted: &Value, resolved: &Value) -> Value {
        json!({"parentRef": parent, "controllerName": "c", "conditions": [accepted, resolved]})
    }

    fn good(parent: Value) -> Value {
        entry(parent, &condition("Accepted", "True", 3), &condition("ResolvedRefs", "True", 3))
    }

    #[test]
    fn every_parent_at_the_present_generation_confirms() {
        let parents = json!([{"name": "web"}, {"name": "mesh", "kind": "Service", "group": ""}]);
        let mesh = json!({"name": "mesh", "kind": "Service", "group": "", "namespace": "default"});
        let newer = entry(
            json!({"name": "web"}),
            &condition("Accepted", "True", 4),
            &condition("ResolvedRefs", "True", 4),
        );
        assert_eq!(answered(parents, json!([newer, good(mesh)])), "confirmed");
    }

    #[test]
    fn parents_are_matched_after_defaulting() {
        let full = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway",
            "namespace": "default", "name": "web"});
        assert_eq!(answered(json!([{"name": "web"}]), json!([good(full.clone())])), "confirmed");
        assert_eq!(answered(json!([full]), json!([good(json!({"name": "web"}))])), "confirmed");
    }

    #[test]
    fn a_parent_without_an_entry_is_waited_for_and_never_success() {
        let parents = json!([{"name": "web"}, {"name": "web", "sectionName": "tls", "port": 443}]);
        assert_eq!(
            answered(parents, json!([good(json!({"name": "web"}))])),
            "waiting for Gateway `default/web` section `tls` port 443 to report on HTTPRoute \
             `shop` (it has no entry in status.parents)"
        );
        assert!(answered(json!([{"name": "web"}]), json!([])).starts_with("waiting"));
        assert!(answered(json!([{"name": "web"}]), json!(null)).starts_with("waiting"));
    }

    #[test]
    fn a_route_without_parents_is_not_accepted_by_anyone() {
        for parents in [json!([]), json!(null)] {
            assert_eq!(
                answered(parents, json!([])),
                "waiting for HTTPRoute `shop` to name a Gateway in spec.parentRefs"
            );
        }
    }

    #[test]
    fn the_answer_to_an_older_generation_is_waited_out() {
        // flagger PR 1791: the next step came before the gateway accepted the last one.
        let stale = entry(
            json!({"name": "web"}),
            &condition("Accepted", "True", 2),
            &condition("ResolvedRefs", "True", 3),
        );
        assert_eq!(
            answered(json!([{"name": "web"}]), json!([stale.clone()])),
            "waiting for Gateway `default/web` to look at HTTPRoute `shop` of generation 3 \
             (Accepted is of generation 2)"
        );
        let mut silent = good(json!({"name": "web"}));
        silent["conditions"][1].as_object_mut().unwrap().remove("observedGeneration");
        assert!(answered(json!([{"name": "web"}]), json!([silent])).starts_with("waiting"));
        // Left over from a controller that is gone, beside the one that serves the route.
        let both = json!([stale, good(json!({"name": "web"}))]);
        assert_eq!(answered(json!([{"name": "web"}]), both), "confirmed");
    }

    #[test]
    fn a_refusal_of_any_parent_is_told_with_its_reason() {
        let refused = entry(
            json!({"name": "web"}),
            &condition("Accepted", "True", 3),
            &condition("ResolvedRefs", "False", 3),
        );
        let parents = json!([{"name": "lan"}, {"name": "web"}]);
        assert_eq!(
            answered(parents, json!([refused.clone(), good(json!({"name": "lan"}))])),
            "refused: Gateway `default/web` refuses HTTPRoute `shop`: ResolvedRefs is False \
             (Because: it is so)"
        );
        let contradictory = json!([good(json!({"name": "web"})), refused]);
        assert!(answered(json!([{"name": "web"}]), contradictory).starts_with("refused"));
    }

    #[test]
    fn a_partially_invalid_route_is_refused_whatever_accepted_says() {
        for generation in [2, 3] {
            let mut partial = good(json!({"name": "web"}));
            let conditions = partial["conditions"].as_array_mut().unwrap();
            conditions.push(condition("PartiallyInvalid", "True", generation));
            let answer = answered(json!([{"name": "web"}]), json!([partial]));
            assert!(answer.starts_with("refused: Gateway `default/web` takes only a part"));
        }
        let mut cleared = good(json!({"name": "web"}));
        let conditions = cleared["conditions"].as_array_mut().unwrap();
        conditions.push(condition("PartiallyInvalid", "False", 3));
        assert_eq!(answered(json!([{"name": "web"}]), json!([cleared])), "confirmed");
    }

    #[test]
    fn missing_or_unknown_conditions_are_waited_for() {
        let unknown = entry(
            json!({"name": "web"}),
            &condition("Accepted", "Unknown", 3),
            &condition("ResolvedRefs", "True", 3),
        );
        let only_one = json!({"parentRef": {"name": "web"},
            "conditions": [condition("Accepted", "True", 3)]});
        for entry in [unknown, only_one, json!({"parentRef": {"name": "web"}})] {
            let answer = answered(json!([{"name": "web"}]), json!([entry]));
            assert!(answer.starts_with("waiting"), "{answer}");
        }
    }

    #[test]
    fn a_long_message_is_cut_and_kept_on_one_line() {
        let mut refusal = condition("Accepted", "False", 3);
        refusal["message"] = json!(format!("a\nb{}", "x".repeat(5000)));
        let refused =
            entry(json!({"name": "web"}), &refusal, &condition("ResolvedRefs", "True", 3));
        let answer = answered(json!([{"name": "web"}]), json!([refused]));
        assert!(answer.len() < 400 && !answer.contains('\n'), "{answer}");
    }
}
