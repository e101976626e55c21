//! Canaries, with and without a router, when nothing goes wrong.

use chrono::TimeDelta;
use serde_json::json;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{HEAD, STEPS, routed, unrouted};
use crate::world::World;

#[test]
fn a_good_canary_goes_through_its_steps_and_is_promoted() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    assert_eq!(world.actual(), 60);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.run(60);
    assert_eq!((world.available("web:1"), world.available("web:2")), (0, 5));
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn a_canary_without_a_router_moves_pods_within_its_bounds() {
    let mut world = unrouted(4, "[{setWeight: 25}, {pause: {duration: 5}}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!((world.available("web:1"), world.available("web:2")), (0, 4));
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn ar2050_the_first_deploy_takes_no_service_before_every_pod_is_available() {
    let mut world = routed(5, STEPS, "");
    world.broken_images = vec!["web:1".to_owned()];
    world.run(30);
    assert!(!world.services["stable"].selector.contains_key("sluice.dev/revision"));
    world.broken_images.clear();
    world.run_until(RolloutPhase::Healthy, 30);
    world.assert_safe();
}

#[test]
fn dynamic_stable_scale_shrinks_stable_and_lets_it_grow_before_it_takes_traffic_back() {
    let mut world = routed(10, STEPS, "    dynamicStableScale: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    assert_eq!((world.actual(), world.available("web:1")), (60, 4));
    world.abort();
    world.run(1);
    assert!(world.actual() > 0, "stable has 4 of 10 pods and cannot take everything yet");
    world.run(20);
    assert_eq!((world.actual(), world.available("web:1")), (0, 10));
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn paused_by_hand_holds_the_steps_but_not_the_scaling() {
    let mut world = routed(5, "[{setWeight: 20}, {setWeight: 60}]", "paused: true\n");
    world.edit("/paused", json!(false));
    world.run_until(RolloutPhase::Healthy, 30);
    world.edit("/paused", json!(true));
    world.push("web:2");
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    assert!(world.status().current_step_index <= Some(0));
    world.edit("/replicas", json!(7));
    world.run(10);
    assert_eq!(world.available("web:1"), 7);
    world.edit("/paused", json!(false));
    world.run_until(RolloutPhase::Healthy, 120);
    world.assert_safe();
}

#[test]
fn a_timed_pause_is_never_left_early() {
    let mut world = routed(5, "[{setWeight: 20}, {pause: {duration: 100}}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Paused, 30);
    let since = world.seconds();
    while world.phase() == Some(RolloutPhase::Paused) {
        world.run(1);
    }
    assert!(world.seconds() >= since + 100);
}

#[test]
fn set_canary_scale_sizes_the_canary_apart_from_its_weight() {
    let steps = "[{setCanaryScale: {replicas: 3}}, {setWeight: 10}, {setCanaryScale: \
                 {matchTrafficWeight: true}}, {pause: {}}]";
    let mut world = routed(10, steps, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(5);
    assert_eq!(world.available("web:2"), 3);
    world.run(40);
    assert_eq!((world.available("web:2"), world.actual()), (1, 10));
    world.assert_safe();
}

#[test]
fn weights_finer_than_one_percent_are_steps_like_any_other() {
    let mut world = World::new(&format!(
        "{HEAD}replicas: 5
strategy:
  canary:
    stableService: stable
    canaryService: canary
    trafficRouting: {{maxTrafficWeight: 1000, gatewayAPI: {{httpRoute: web}}}}
    steps: [{{setWeight: 5}}, {{pause: {{}}}}]
"
    ));
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    assert_eq!((world.actual(), world.available("web:2")), (5, 1));
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    world.assert_safe();
}

#[test]
fn the_old_sets_beyond_the_history_are_deleted() {
    let mut world = routed(2, "[{setWeight: 50}]", "revisionHistoryLimit: 2\n");
    world.run_until(RolloutPhase::Healthy, 30);
    for version in 2..8 {
        world.push(&format!("web:{version}"));
        world.run_until(RolloutPhase::Healthy, 60);
        world.run(60);
    }
    assert_eq!(world.sets.len(), 3, "the current one and two old ones");
    world.assert_safe();
}

#[test]
fn a_healthy_rollout_is_left_alone() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.run(5);
    let writes = world.writes;
    world.run(600);
    assert_eq!(world.writes, writes, "a converged Rollout causes no write");
}

#[test]
fn a_clock_that_jumps_ends_no_pause_early_and_makes_none_longer() {
    for jump in [3_000, 50, -50, -90_000] {
        let mut world = routed(5, "[{setWeight: 20}, {pause: {duration: 100}}]", "");
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run_until(RolloutPhase::Paused, 30);
        let since = world.seconds();
        world.run(40);
        world.skew = TimeDelta::seconds(jump);
        while world.phase() == Some(RolloutPhase::Paused) {
            world.run(1);
            assert!(world.seconds() < since + 110, "{jump}: {}", world.timeline);
        }
        assert!(world.seconds() >= since + 100, "{jump}: {}", world.timeline);
        world.assert_safe();
    }
}

#[test]
fn another_process_takes_what_is_left_of_a_pause_from_the_wall_clock() {
    for (skew, wanted) in [(0, 100), (-1_000, 140)] {
        let mut world = routed(5, "[{setWeight: 20}, {pause: {duration: 100}}]", "");
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run_until(RolloutPhase::Paused, 30);
        let since = world.seconds();
        world.run(40);
        world.skew = TimeDelta::seconds(skew);
        world.fail_over();
        while world.phase() == Some(RolloutPhase::Paused) {
            world.run(1);
        }
        // A clock that is behind begins the pause again, and never makes it longer than that.
        let lasted = world.seconds() - since;
        assert!((wanted..wanted + 5).contains(&lasted), "{skew}: {lasted}");
    }
}
