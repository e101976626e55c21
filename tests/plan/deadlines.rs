//! The progress deadline: what counts towards it, and what it never does.

use chrono::TimeDelta;
use serde_json::json;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{STEPS, routed, unrouted};

#[test]
fn ar4626_a_router_that_cannot_be_read_does_not_stop_deadline_and_abort() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.unknown_routes = true;
    world.run(90);
    assert!(world.status().abort, "{}", world.timeline);
    world.unknown_routes = false;
    world.run(5);
    assert_eq!(world.actual(), 0);
    world.assert_safe();
}

#[test]
fn a_clock_that_was_ahead_keeps_neither_the_deadline_nor_old_pods() {
    let deadline = "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n";
    let mut world = routed(5, "[{setWeight: 60}]", deadline);
    world.run_until(RolloutPhase::Healthy, 30);
    world.skew = TimeDelta::hours(1);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 60);
    world.skew = TimeDelta::zero();
    world.run(60);
    let sizes: Vec<u32> = world.sets.values().map(|set| set.fact.desired).collect();
    assert_eq!(sizes.iter().sum::<u32>(), 5, "{}", world.timeline);

    world.skew = TimeDelta::hours(1);
    world.broken_images = vec!["web:3".to_owned()];
    world.push("web:3");
    world.run(8);
    world.skew = TimeDelta::zero();
    world.run(90);
    assert!(world.status().abort, "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn ar3765_pods_that_never_stay_ready_meet_the_deadline() {
    let deadline = "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n";
    let mut world = routed(5, "[{setWeight: 60}]", deadline);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    // Two of three pods flap between ready and not: only the first time is progress.
    for round in 0..40 {
        world.most_ready.insert("web:2".to_owned(), round % 3);
        world.run(2);
    }
    assert!(world.status().abort, "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn ar3082_a_corrected_spec_is_not_judged_by_the_time_it_was_invalid() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(8);
    world.edit("/strategy/canary/steps/0/setWeight", json!(500));
    world.run(120);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
    assert!(world.status().message.contains("steps[0].setWeight"), "{}", world.timeline);
    world.edit("/strategy/canary/steps/0/setWeight", json!(20));
    world.run(20);
    assert!(!world.status().abort, "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn ar1624_the_deadline_means_nothing_outside_of_an_update() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(200);
    assert!(!world.status().abort);
    assert_eq!(world.phase(), Some(RolloutPhase::Progressing));
    world.broken_images.clear();
    world.run_until(RolloutPhase::Healthy, 10);
}

#[test]
fn ar1774_a_broken_stable_does_not_hold_up_its_cure() {
    let mut world = routed(5, "[{setWeight: 20}, {setWeight: 60}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(5);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn ar1225_the_time_for_which_a_person_held_an_update_does_not_count() {
    let deadline = "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\npaused: false\n";
    let mut world = routed(5, "[{setWeight: 20}, {setWeight: 60}]", deadline);
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:2".to_owned()];
    world.push("web:2");
    world.run(20);
    world.edit("/paused", json!(true));
    world.run(300);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    world.edit("/paused", json!(false));
    world.run(50);
    assert!(!world.status().abort, "{}", world.timeline);
    world.run(20);
    assert!(world.status().abort, "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn ar995_a_broken_stable_set_without_a_router_does_not_hold_up_its_cure() {
    let mut world = unrouted(5, "[{setWeight: 40}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(5);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!((world.stable_image(), world.available("web:2")), ("web:2".to_owned(), 5));
}

#[test]
fn ar3988_the_second_bad_revision_in_a_row_meets_its_deadline_too() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:2".to_owned(), "web:3".to_owned()];
    for image in ["web:2", "web:3"] {
        world.push(image);
        world.run(50);
        assert!(!world.status().abort, "{}", world.timeline);
        world.run(20);
        assert!(world.status().abort, "{}", world.timeline);
    }
    world.assert_safe();
}
