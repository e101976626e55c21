//! Blue-green updates.

use chrono::TimeDelta;
use serde_json::json;
use sluice::analysis::Verdict;
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

#[test]
fn ar4750_the_active_service_selects_one_revision_at_every_moment() {
    let mut world =
        blue_green("    postPromotionAnalysis: {templates: [{templateName: success}]}\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    for _ in 0..60 {
        world.services.get_mut("active").unwrap().selector.remove("sluice.dev/revision");
        world.settle();
        assert!(["web:1", "web:2"].contains(&world.selected_by("active").as_str()));
        world.now += TimeDelta::seconds(1);
    }
    assert_eq!(
        (world.phase(), world.selected_by("active")),
        (Some(RolloutPhase::Healthy), "web:2".into())
    );
    world.assert_safe();
}

#[test]
fn ar4552_replicas_may_change_in_the_middle_of_a_blue_green_update() {
    let mut world = blue_green("    autoPromotionEnabled: false\n    previewReplicaCount: 1\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Paused, 30);
    for replicas in [6, 2, 4] {
        world.edit("/replicas", json!(replicas));
        world.run(10);
        assert_eq!((world.available("web:1"), world.available("web:2")), (replicas, 1));
    }
    world.promote();
    world.run_until(RolloutPhase::Healthy, 30);
    assert_eq!(world.available("web:2"), 4);
    world.assert_safe();
}

#[test]
fn a_third_revision_while_the_second_is_verified_goes_back_to_the_last_good_one() {
    let mut world =
        blue_green("    postPromotionAnalysis: {templates: [{templateName: success}]}\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("PostPromotion", Verdict::Running { waiting_on: None });
    world.push("web:2");
    world.run(30);
    assert_eq!(world.selected_by("active"), "web:2");
    world.push("web:3");
    world.run(2);
    assert_eq!(world.selected_by("active"), "web:1", "nobody has judged web:2 to its end");
    world.verdicts.clear();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:3");
    world.run(60);
    assert_eq!((world.available("web:1"), world.available("web:2")), (0, 0));
    world.assert_safe();
}

#[test]
fn ar4926_no_more_old_sets_linger_than_the_limit_says() {
    let mut world =
        blue_green("    scaleDownDelaySeconds: 600\n    scaleDownDelayRevisionLimit: 1\n");
    world.run_until(RolloutPhase::Healthy, 30);
    for version in 2..5 {
        world.push(&format!("web:{version}"));
        world.run_until(RolloutPhase::Healthy, 60);
        world.run(5);
    }
    let left: Vec<_> = (1..5).map(|v| world.available(&format!("web:{v}"))).collect();
    assert_eq!(left, [0, 0, 3, 3], "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn the_pods_of_an_aborted_preview_stay_for_their_delay() {
    for (delay, left) in [("20", 0), ("0", 3)] {
        let mut world = blue_green(&format!(
            "    autoPromotionEnabled: false\n    abortScaleDownDelaySeconds: {delay}\n"
        ));
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run_until(RolloutPhase::Paused, 30);
        world.abort();
        world.run(15);
        assert_eq!(world.available("web:2"), 3);
        world.run(300);
        assert_eq!(world.available("web:2"), left, "a bare 0 keeps them, as in Argo Rollouts");
        world.assert_safe();
    }
}
