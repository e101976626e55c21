//! Blue-green updates.

use sluice::api::status::RolloutPhase;

use crate::rollouts::{blue_green, failed};

#[test]
fn blue_green_switches_once_when_the_new_set_is_whole() {
    let mut world = blue_green("");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.run(60);
    assert_eq!(world.available("web:1"), 0);
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn blue_green_waits_for_a_person_and_previews_with_fewer_pods() {
    let mut world = blue_green("    autoPromotionEnabled: false\n    previewReplicaCount: 1\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Paused, 60);
    world.run(30);
    assert_eq!((world.available("web:1"), world.available("web:2")), (3, 1));
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.available("web:2"), 3);
    world.assert_safe();
}

#[test]
fn blue_green_promotes_by_itself_after_its_seconds() {
    let mut world = blue_green("    autoPromotionSeconds: 20\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Paused, 30);
    let paused_at = world.seconds();
    world.run_until(RolloutPhase::Healthy, 60);
    assert!(world.seconds() >= paused_at + 20);
    world.assert_safe();
}

#[test]
fn blue_green_post_promotion_failure_switches_back_at_once() {
    let mut world =
        blue_green("    postPromotionAnalysis: {templates: [{templateName: success}]}\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("PostPromotion", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    world.run(5);
    let stable = world.status().stable_rs.clone();
    assert_eq!(world.services["active"].selector["sluice.dev/revision"], stable);
    assert_eq!(world.available("web:1"), 3);
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn blue_green_pre_promotion_failure_never_switches() {
    let mut world =
        blue_green("    prePromotionAnalysis: {templates: [{templateName: success}]}\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("PrePromotion", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    assert!(!world.timeline.contains("point active to <web:2>"));
    world.assert_safe();
}

#[test]
fn going_back_within_the_delay_skips_the_gates_of_blue_green() {
    let mut world = blue_green("    autoPromotionEnabled: false\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Paused, 30);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 10);
    assert_eq!(world.stable_image(), "web:1");
    world.assert_safe();
}
