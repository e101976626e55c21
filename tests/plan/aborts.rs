//! Updates that are given up, and what people do about them.

use serde_json::json;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{STEPS, WITH_ANALYSIS, failed, routed, unrouted};
use crate::world::World;

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
    world.most_ready.insert("web:1".to_owned(), 1);
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

#[test]
fn ar777_pods_of_a_failed_canary_without_a_router_leave_within_the_bounds() {
    let mut world = unrouted(8, "[{setWeight: 75}, {pause: {}}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    assert_eq!((world.available("web:1"), world.available("web:2")), (2, 6));
    world.abort();
    for _ in 0..60 {
        world.run(1);
        let available = world.available("web:1") + world.available("web:2");
        assert!(available >= 6, "{available} of 8:\n{}", world.timeline);
    }
    assert_eq!((world.available("web:1"), world.available("web:2")), (8, 0));
    world.assert_safe();
}

#[test]
fn fl1898_a_revision_that_dies_while_it_takes_over_gives_everything_back() {
    let mut world = routed(
        5,
        "[{setWeight: 50}]",
        "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n",
    );
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(12);
    assert_eq!(world.status().current_step_index, None, "it takes over");
    world.broken_images = vec!["web:2".to_owned()];
    world.run(120);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded), "{}", world.timeline);
    assert_eq!((world.actual(), world.available("web:1")), (0, 5));
    assert_eq!(
        (world.stable_image(), world.selected_by("stable")),
        ("web:1".into(), "web:1".into())
    );
    world.assert_safe();
}

#[test]
fn ar4626_a_canary_that_never_starts_blocks_no_verb() {
    let start = || {
        let mut world = routed(5, STEPS, "");
        world.run_until(RolloutPhase::Healthy, 30);
        world.broken_images = vec!["web:2".to_owned()];
        world.push("web:2");
        world.run(30);
        world
    };
    let mut world = start();
    world.abort();
    world.run(2);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
    world.retry();
    world.run(2);
    assert_eq!(world.phase(), Some(RolloutPhase::Progressing));
    world.edit("/paused", json!(true));
    world.run(2);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    let mut world = start();
    world.push("web:1");
    world.run(2);
    assert_eq!(world.phase(), Some(RolloutPhase::Healthy));
}

#[test]
fn fl379_promote_full_gives_nothing_to_a_revision_without_ready_pods() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:2".to_owned()];
    world.push("web:2");
    world.run(10);
    world.promote_full();
    world.run(60);
    assert_eq!((world.actual(), world.stable_image()), (0, "web:1".to_owned()));
    assert_eq!(world.available("web:1"), 5);
    world.broken_images.clear();
    world.run_until(RolloutPhase::Healthy, 30);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn fl1149_promote_full_skips_a_check_that_has_not_failed_yet() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    while world.runs.is_empty() {
        world.run(1);
    }
    world.promote_full();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn fl1801_a_failed_verdict_aborts_whatever_is_waited_for() {
    type Trouble = fn(&mut World);
    let troubles: [Trouble; 5] = [
        |world| world.edit("/paused", json!(true)),
        |world| world.unknown_routes = true,
        |world| world.unknown_endpoints = true,
        |world| world.missing_services = vec!["canary".to_owned()],
        |world| world.broken_images = vec!["web:2".to_owned()],
    ];
    for (idx, trouble) in troubles.into_iter().enumerate() {
        let mut world = routed(5, STEPS, "    analysis: {templates: [{templateName: success}]}\n");
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(6);
        trouble(&mut world);
        world.verdicts.insert("Background", failed());
        world.run(20);
        assert!(world.status().abort, "trouble {idx}: {}", world.timeline);
        world.unknown_routes = false;
        world.run(5);
        assert_eq!(world.actual(), 0, "trouble {idx}");
        world.assert_safe();
    }
}

#[test]
fn fl1310_after_an_abort_a_new_revision_and_a_retry_both_begin() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    world.retry();
    world.run(3);
    assert_eq!(world.phase(), Some(RolloutPhase::Progressing));
    world.run_until(RolloutPhase::Degraded, 60);
    world.verdicts.clear();
    world.push("web:3");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:3");
    assert_eq!(world.status().failed_revisions.len(), 1);
    world.assert_safe();
}

#[test]
fn traffic_stays_with_pods_that_serve_when_stable_has_none() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(2);
    world.abort();
    world.run(20);
    assert_eq!(world.actual(), 60, "nobody answers behind stable:\n{}", world.timeline);
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("ready endpoints behind Service `stable`"), "{waiting}");
    world.broken_images.clear();
    world.run(3);
    assert_eq!(world.actual(), 0);
    world.assert_safe();
}
