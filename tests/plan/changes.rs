//! Changes of the spec in the middle of an update.

use chrono::TimeDelta;
use serde_json::json;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{STEPS, routed};

#[test]
fn ar4390_a_third_revision_in_mid_flight_gets_traffic_only_when_it_has_pods() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    assert_eq!(world.actual(), 60);
    world.push("web:3");
    world.run(60);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:3");
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn ar4035_going_back_to_stable_in_mid_flight_skips_steps_and_analysis() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 10);
    assert_eq!((world.actual(), world.stable_image()), (0, "web:1".to_owned()));
    world.run(60);
    assert_eq!(world.available("web:2"), 0);
    world.assert_safe();
}

#[test]
fn ar1415_a_change_of_replicas_in_mid_canary_resizes_both_and_keeps_the_weight() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.edit("/replicas", json!(10));
    world.run(10);
    assert_eq!(world.actual(), 60);
    assert_eq!((world.available("web:1"), world.available("web:2")), (10, 6));
    world.edit("/replicas", json!(2));
    world.run(10);
    assert_eq!((world.actual(), world.available("web:1"), world.available("web:2")), (60, 2, 2));
    world.assert_safe();
}

#[test]
fn ar3272_replicas_and_template_may_change_in_one_write() {
    let mut world = routed(5, "[{setWeight: 50}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.edit("/replicas", json!(8));
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.available("web:2"), 8);
    world.assert_safe();
}

#[test]
fn undo_of_argos_client_finds_the_old_set_by_what_its_template_means() {
    let mut world = routed(5, "[{setWeight: 50}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 60);
    world.run(60);
    let sets = world.sets.len();
    world.undo("web:1");
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!((world.stable_image(), world.sets.len()), ("web:1".to_owned(), sets));
    world.assert_safe();
}

#[test]
fn undo_in_mid_flight_is_a_return_to_stable_and_skips_the_steps() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.undo("web:1");
    world.run_until(RolloutPhase::Healthy, 10);
    assert_eq!((world.actual(), world.sets.len()), (0, 2));
    world.assert_safe();
}

#[test]
fn defaults_that_are_written_out_are_no_new_revision() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.history.clear();
    world.undo("web:1");
    world.run(60);
    assert_eq!((world.sets.len(), world.history.len()), (1, 0), "{}", world.timeline);
}

#[test]
fn pods_that_serve_stay_when_the_steps_are_edited_in_the_middle_of_a_takeover() {
    for (more, grown) in [("", 1), ("    dynamicStableScale: true\n", 5)] {
        let mut world = routed(5, "[{setWeight: 50}, {pause: {}}]", more);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        world.promote_full();
        while world.selected_by("stable") != "web:2" {
            world.now += TimeDelta::milliseconds(500);
            world.settle();
        }
        world.edit("/strategy/canary/steps", json!([{"pause": {}}, {"setWeight": 10}]));
        while world.selected_by("stable") == "web:2" {
            assert_eq!(world.available("web:2"), 5, "{}", world.timeline);
            world.run(1);
        }
        assert!(world.available("web:1") >= grown, "{}", world.timeline);
        world.run(60);
        world.assert_safe();
    }
}
