//! Updates that are given up, and what people do about them.

use serde_json::json;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{STEPS, WITH_ANALYSIS, failed, routed};

#[test]
fn abort_by_hand_then_retry_then_promote_full() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.abort();
    world.run(5);
    assert_eq!((world.phase(), world.actual()), (Some(RolloutPhase::Degraded), 0));
    world.retry();
    world.run(8);
    assert_eq!(world.actual(), 20);
    world.promote_full();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn ar4461_abort_beats_promote_full_in_either_order() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.promote_full();
    world.abort();
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
    assert_eq!((world.actual(), world.stable_image()), (0, "web:1".to_owned()));
    world.assert_safe();
}

#[test]
fn ar1292_abort_with_nothing_under_way_is_dropped() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.abort();
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Healthy));
    assert!(!world.status().abort);
    assert_eq!(world.available("web:1"), 5);
}

#[test]
fn ar4839_abort_works_while_stable_is_broken() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(2);
    world.abort();
    world.run(5);
    assert_eq!(world.actual(), 0);
}

#[test]
fn editing_the_steps_of_an_aborted_revision_does_not_bring_it_back() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    world.run(40);
    world.edit("/strategy/canary/steps/0/setWeight", json!(30));
    world.run(60);
    assert_eq!((world.phase(), world.actual()), (Some(RolloutPhase::Degraded), 0));
    world.assert_safe();
}

#[test]
fn ar1292_an_abort_ends_with_a_stable_set_that_is_scaled_to_nothing() {
    for more in ["", "    dynamicStableScale: true\n"] {
        let mut world = routed(5, STEPS, more);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        world.broken_images = vec!["web:1".to_owned()];
        world.edit("/replicas", json!(0));
        world.abort();
        world.run(60);
        assert_eq!((world.actual(), world.available("web:2")), (0, 0), "{}", world.timeline);
    }
}
