//! Who gets traffic, and in which order weights, selectors and pods move.

use chrono::TimeDelta;
use serde_json::json;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{HEAD, STEPS, routed};
use crate::world::World;

const DYNAMIC: &str = "    dynamicStableScale: true\n";

/// The places in the timeline at which these texts stand first, which must be in this order.
fn assert_order(world: &World, texts: &[&str]) {
    let from = world.timeline.find("-- push web:2").unwrap();
    let timeline = &world.timeline[from..];
    let places: Vec<_> = texts
        .iter()
        .map(|text| timeline.find(text).unwrap_or_else(|| panic!("no {text}:\n{timeline}")))
        .collect();
    assert!(places.is_sorted(), "{texts:?} at {places:?}:\n{timeline}");
}

#[test]
fn ar587_pods_come_before_the_selector_and_the_selector_before_the_weight() {
    let mut world = routed(5, "[{setWeight: 20}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(90);
    assert_order(
        &world,
        &[
            "create <web:2> x1",
            "point canary to <web:2>",
            "weight 20/100",
            "scale web-<web:2> 1->5",
            "weight 100/100",
            "point stable to <web:2>",
            "weight 0/100",
            "scale web-<web:1> 5->0",
        ],
    );
    world.assert_safe();
}

#[test]
fn ar2235_no_service_moves_to_a_set_that_has_no_pods() {
    for more in ["", DYNAMIC] {
        let mut world = routed(5, STEPS, more);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        world.broken_images = vec!["web:1".to_owned(), "web:2".to_owned()];
        world.run(1);
        world.promote_full();
        world.run(20);
        world.broken_images = vec!["web:2".to_owned()];
        world.push("web:3");
        world.run(60);
        world.broken_images.clear();
        world.run(60);
        world.assert_safe();
    }
}

#[test]
fn ar2781_after_an_abort_the_canary_service_leads_to_stable_before_the_pods_go() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.abort();
    while world.available("web:2") > 0 {
        if world.selected_by("canary") == "web:2" {
            assert!(world.available("web:2") > 0);
        }
        world.run(1);
    }
    assert_eq!(world.selected_by("canary"), "web:1");
    let aborted = world.timeline.find("change=Aborted").unwrap();
    let timeline = &world.timeline[aborted..];
    let point = timeline.find("point canary to <web:1>").unwrap();
    assert!(point < timeline.find("scale web-<web:2> 3->0").unwrap(), "{timeline}");
    world.assert_safe();
}

#[test]
fn ar3586_the_last_stable_pods_stay_until_the_router_has_let_go_of_them() {
    let mut world = routed(5, "[{setWeight: 100}]", DYNAMIC);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    while world.selected_by("stable") == "web:1" {
        assert!(world.available("web:1") > 0, "{}", world.timeline);
        world.now += TimeDelta::milliseconds(500);
        world.settle();
    }
    assert!(world.available("web:1") > 0, "{}", world.timeline);
    world.run(90);
    assert_eq!(world.available("web:1"), 0);
    world.assert_safe();
}

#[test]
fn ar4898_an_abort_with_dynamic_scale_and_a_delay_gives_the_traffic_back_and_then_ends() {
    for delay in ["1", "30", "immediately", "never"] {
        let more = format!("{DYNAMIC}    abortScaleDownDelaySeconds: {delay}\n");
        let mut world = routed(10, STEPS, &more);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        assert_eq!((world.actual(), world.available("web:1")), (60, 4));
        world.abort();
        world.run(2);
        assert!(world.available("web:2") >= 6, "{}", world.timeline);
        world.run(60);
        let left = if delay == "never" { 6 } else { 0 };
        assert_eq!((world.actual(), world.available("web:1")), (0, 10), "{delay}");
        assert_eq!(world.available("web:2"), left, "{delay}: {}", world.timeline);
        world.assert_safe();
    }
}

#[test]
fn ar4973_replicas_may_change_in_the_middle_of_an_abort() {
    for more in ["", DYNAMIC] {
        for replicas in [1, 4, 20] {
            let mut world = routed(10, STEPS, more);
            world.run_until(RolloutPhase::Healthy, 30);
            world.push("web:2");
            world.run(30);
            world.abort();
            world.edit("/replicas", json!(replicas));
            world.run(60);
            assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
            assert_eq!((world.actual(), world.available("web:1")), (0, replicas));
            world.assert_safe();
        }
    }
}

#[test]
fn fl1600_an_autoscaler_that_shrinks_the_rollout_leaves_stable_whole() {
    let mut world = routed(10, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    for replicas in [6, 3, 2] {
        world.edit("/replicas", json!(replicas));
        world.run(5);
        assert_eq!((world.actual(), world.available("web:1")), (60, replicas));
    }
    world.abort();
    world.run(5);
    assert_eq!((world.actual(), world.available("web:1")), (0, 2));
    world.assert_safe();
}

#[test]
fn fl635_traffic_that_comes_back_to_a_shrunken_stable_set_waits_for_its_pods() {
    for image in ["web:1", "web:3"] {
        let mut world = routed(10, STEPS, DYNAMIC);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        assert_eq!((world.actual(), world.available("web:1")), (60, 4));
        world.push(image);
        world.run(1);
        assert!(world.actual() > 0, "4 of 10 pods cannot take everything:\n{}", world.timeline);
        let waiting = format!("{:?}", world.status().waiting_on);
        assert!(waiting.contains("10 available pods of revision"), "{waiting}");
        world.run(20);
        assert!(world.actual() <= 20, "{}", world.timeline);
        assert_eq!(world.available("web:1"), if image == "web:1" { 10 } else { 8 });
        world.assert_safe();
    }
}

#[test]
fn fl874_a_canary_that_loses_its_pods_in_a_pause_loses_its_traffic() {
    for more in ["", DYNAMIC] {
        let mut world = routed(5, STEPS, more);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(60);
        assert_eq!(world.actual(), 60);
        world.broken_images = vec!["web:2".to_owned()];
        world.run(1);
        assert_eq!((world.actual(), world.phase()), (0, Some(RolloutPhase::Paused)));
        world.broken_images.clear();
        world.run(10);
        assert_eq!(world.actual(), 60, "the weight of its step, no more");
        world.assert_safe();
    }
}

#[test]
fn fl1202_nothing_is_switched_or_scaled_down_while_a_slow_revision_starts() {
    let mut world = routed(5, "[{setWeight: 50}]", "progressDeadlineSeconds: 1000\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.most_ready.insert("web:2".to_owned(), 2);
    world.run(300);
    assert_eq!((world.available("web:1"), world.actual()), (5, 0), "3 pods carry a half");
    world.most_ready.insert("web:2".to_owned(), 4);
    world.run(300);
    assert_eq!((world.available("web:1"), world.actual()), (5, 50), "5 pods carry it all");
    assert_eq!(world.selected_by("stable"), "web:1");
    world.most_ready.clear();
    world.run_until(RolloutPhase::Healthy, 30);
    world.assert_safe();
}

#[test]
fn fl_pr1791_no_step_follows_before_the_gateway_has_accepted_the_last() {
    let mut world = routed(5, "[{setWeight: 20}, {setWeight: 60}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.route_lag = 100;
    world.push("web:2");
    world.run(90);
    assert_eq!((world.actual(), world.status().current_step_index), (20, Some(0)));
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("parent `gateway` to accept"), "{waiting}");
    assert_eq!(world.status().canary.weights.as_ref().unwrap().verified, Some(false));
    world.run(30);
    assert_eq!((world.actual(), world.status().current_step_index), (60, Some(1)));
    world.assert_safe();
}

#[test]
fn fl_pr1851_the_weight_in_status_is_the_one_that_was_read() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.unwritable_routes = true;
    world.set_weight_by_hand(35);
    world.run(1);
    let canary = world.status().canary.clone();
    assert_eq!(canary.weights.unwrap().canary.weight, 35);
    assert_eq!(canary.desired_weights.unwrap().canary.weight, 0);
    assert_ne!(world.phase(), Some(RolloutPhase::Healthy));
    world.unwritable_routes = false;
    world.run(5);
    assert_eq!((world.actual(), world.phase()), (0, Some(RolloutPhase::Healthy)));
}

#[test]
fn fl1471_a_rollout_that_is_held_still_mends_its_route_and_its_services() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.edit("/paused", json!(true));
    world.set_weight_by_hand(95);
    world.services.get_mut("stable").unwrap().selector.remove("sluice.dev/revision");
    world.run(5);
    assert_eq!((world.actual(), world.selected_by("stable")), (60, "web:1".to_owned()));
}

#[test]
fn ar3474_a_large_total_neither_overflows_nor_counts_in_percent() {
    let mut world = World::new(&format!(
        "{HEAD}replicas: 1000
strategy:
  canary:
    stableService: stable
    canaryService: canary
    trafficRouting: {{maxTrafficWeight: 1000000, gatewayAPI: {{httpRoute: web}}}}
    steps: [{{setWeight: 100}}, {{pause: {{}}}}, {{setWeight: 999999}}, {{pause: {{}}}}]
"
    ));
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    assert_eq!((world.actual(), world.available("web:2")), (100, 1), "a ten-thousandth");
    world.promote();
    world.run(30);
    assert_eq!((world.actual(), world.available("web:2")), (999_999, 1000));
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    world.assert_safe();
}

#[test]
fn ar4619_a_canary_that_somebody_made_larger_is_no_obstacle() {
    let mut world = routed(10, "[{setWeight: 20}, {pause: {duration: 20}}, {setWeight: 50}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(4);
    world.scale_by_hand("web:2", 9);
    world.run_until(RolloutPhase::Healthy, 90);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn ar1822_a_set_that_lingers_keeps_its_pods_and_its_time() {
    let mut world = routed(5, "[{setWeight: 50}]", "    scaleDownDelaySeconds: 300\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 60);
    world.run(1);
    let time = world.timeline.matches("scale-down of web-<web:1>").count();
    for replicas in [8, 3, 5] {
        world.edit("/replicas", json!(replicas));
        world.run(30);
        assert_eq!(world.available("web:1"), 5, "{}", world.timeline);
    }
    assert_eq!(world.timeline.matches("scale-down of web-<web:1>").count(), time);
    world.run(300);
    assert_eq!((world.available("web:1"), world.available("web:2")), (0, 5));
}

#[test]
fn ar1415_with_dynamic_scale_stable_keeps_the_pods_of_its_share_whatever_the_replicas() {
    let mut world = routed(10, STEPS, DYNAMIC);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    for (replicas, stable, canary) in [(20, 8, 12), (5, 2, 3), (1, 1, 1), (10, 4, 6)] {
        world.edit("/replicas", json!(replicas));
        world.run(15);
        assert_eq!((world.available("web:1"), world.available("web:2")), (stable, canary));
        assert_eq!(world.actual(), 60);
    }
    world.assert_safe();
}
