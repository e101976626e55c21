//! Changes of the spec in the middle of an update.

use chrono::TimeDelta;
use serde_json::json;
use sluice::api::status::{RolloutPhase, RolloutStatus};
use sluice::plan::facts::ReplicaSetFact;
use sluice::revision::TemplateDigest;

use crate::rollouts::{STEPS, blue_green, routed, unrouted};

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

#[test]
fn ar3617_a_third_revision_at_any_moment_of_the_second_takes_no_pods_away_that_serve() {
    for more in ["", "    dynamicStableScale: true\n"] {
        for second in 1..45 {
            let mut world = routed(5, "[{setWeight: 40}, {pause: {duration: 10}}]", more);
            world.run_until(RolloutPhase::Healthy, 30);
            world.push("web:2");
            world.run(second);
            world.push("web:3");
            world.run_until(RolloutPhase::Healthy, 120);
            assert_eq!(world.stable_image(), "web:3");
            world.run(60);
            let left = (world.available("web:1"), world.available("web:2"));
            assert_eq!(left, (0, 0), "after {second} s");
            world.assert_safe();
        }
    }
}

#[test]
fn ar4696_a_set_that_another_version_made_is_recognised_and_nothing_is_rolled_out() {
    type Change = fn(&mut ReplicaSetFact);
    let changes: [Change; 2] = [
        // Made by Argo Rollouts.
        |set| set.digest = None,
        // Made by a version that computed digests in another way.
        |set| set.digest = Some(TemplateDigest::from_annotation("of another algorithm")),
    ];
    for change in changes {
        let mut world = routed(5, STEPS, "");
        world.run_until(RolloutPhase::Healthy, 30);
        world.history.clear();
        change(&mut world.sets.values_mut().next().unwrap().fact);
        world.fail_over();
        world.run(60);
        assert_eq!((world.sets.len(), world.history.len()), (1, 0), "{}", world.timeline);
        world.push("web:2");
        world.run(60);
        world.promote();
        world.run_until(RolloutPhase::Healthy, 60);
        world.assert_safe();
    }
}

#[test]
fn fl634_an_autoscaler_is_no_new_revision_and_no_new_attempt() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    let (attempt, step) = (world.status().attempt, world.status().current_step_index);
    for replicas in [9, 4, 6] {
        world.edit("/replicas", json!(replicas));
        world.run(10);
        assert_eq!((world.status().attempt, world.status().current_step_index), (attempt, step));
        assert_eq!(world.actual(), 60);
    }
    world.assert_safe();
}

#[test]
fn ar3565_replicas_that_a_sync_takes_away_come_back_with_their_traffic() {
    for gone in [json!(0), json!(null)] {
        let mut world = routed(5, STEPS, "");
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        world.edit("/replicas", gone);
        world.run(20);
        world.edit("/replicas", json!(5));
        world.run(20);
        assert_eq!(
            (world.actual(), world.available("web:1"), world.available("web:2")),
            (60, 5, 3)
        );
        world.assert_safe();
    }
}

#[test]
fn fl989_a_read_that_failed_starts_no_release_and_ends_none() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    let attempt = world.status().attempt;
    world.unknown_sets = true;
    world.unknown_routes = true;
    world.unknown_endpoints = true;
    let writes = world.sets.len();
    world.run(120);
    world.unknown_sets = false;
    world.unknown_routes = false;
    world.unknown_endpoints = false;
    world.run(10);
    assert_eq!((world.status().attempt, world.sets.len(), world.actual()), (attempt, writes, 60));
    world.assert_safe();
}

#[test]
fn fl_pr1713_the_order_of_keys_is_no_change() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.history.clear();
    let backwards = r#"{"spec": {"containers": [{"image": "web:1", "name": "web"}]},
        "metadata": {"labels": {"app": "web"}}}"#;
    world.edit("/template", serde_json::from_str(backwards).unwrap());
    world.run(30);
    assert_eq!((world.sets.len(), world.history.len()), (1, 0));
}

#[test]
fn kruise113_an_empty_revision_in_status_is_filled_in_again() {
    type Wipe = fn(&mut RolloutStatus);
    let wipes: [Wipe; 3] = [
        |status| status.current_pod_hash.clear(),
        |status| status.current_step_index = None,
        |status| status.attempt = None,
    ];
    for (idx, wipe) in wipes.into_iter().enumerate() {
        let mut world = routed(5, STEPS, "");
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(30);
        wipe(world.status());
        world.run(40);
        world.promote();
        world.run_until(RolloutPhase::Healthy, 60);
        assert_eq!(world.stable_image(), "web:2", "{idx}");
    }
}

#[test]
fn kruise_pr307_a_template_may_carry_the_label_that_names_revisions() {
    let mut world = routed(5, STEPS, "");
    world.edit("/template/metadata/labels", json!({"app": "web", "sluice.dev/revision": "mine"}));
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn kruise84_the_way_back_is_open_while_a_person_holds_the_update() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.edit("/paused", json!(true));
    world.run(5);
    world.undo("web:1");
    world.run(5);
    assert_eq!(world.actual(), 0, "{}", world.timeline);
    world.edit("/paused", json!(false));
    world.run(1);
    assert_eq!(world.phase(), Some(RolloutPhase::Healthy));
    world.assert_safe();
}

#[test]
fn fl1207_a_stable_set_that_somebody_deletes_is_not_made_of_the_new_template() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.delete_set("web:1");
    world.run(10);
    world.abort();
    world.run(30);
    assert_eq!((world.sets.len(), world.actual()), (1, 60), "{}", world.timeline);
    // Whoever brings the template back brings the pods back.
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 30);
    assert_eq!((world.actual(), world.available("web:1")), (0, 5));
    world.assert_safe();
}

#[test]
fn a_set_that_somebody_deletes_is_made_again_while_its_template_is_declared() {
    for mut world in [routed(5, STEPS, ""), unrouted(5, STEPS, ""), blue_green("")] {
        world.run_until(RolloutPhase::Healthy, 30);
        world.delete_set("web:1");
        world.run_until(RolloutPhase::Healthy, 30);
        assert_eq!(world.stable_image(), "web:1");
        world.push("web:2");
        world.run(8);
        world.delete_set("web:2");
        world.run(60);
        world.promote();
        world.run_until(RolloutPhase::Healthy, 90);
        assert_eq!(world.stable_image(), "web:2");
    }
}

#[test]
fn ar4221_a_restart_in_the_middle_of_an_update_takes_a_few_pods_at_a_time() {
    for (mut world, least) in [
        (routed(8, "[{setWeight: 50}, {pause: {}}]", ""), 10),
        (unrouted(8, "[{setWeight: 50}, {pause: {}}]", ""), 6),
        (blue_green("    autoPromotionEnabled: false\n"), 5),
    ] {
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(60);
        world.restart();
        for _ in 0..120 {
            world.run(1);
            let available = world.available("web:1") + world.available("web:2");
            assert!(available >= least, "{available}:\n{}", world.timeline);
        }
        assert!(world.old_pods.is_empty(), "{}", world.timeline);
        assert!(world.status().restarted_at.is_some());
        world.promote();
        world.run_until(RolloutPhase::Healthy, 60);
        world.assert_safe();
    }
}

#[test]
fn another_total_in_the_middle_of_an_update_is_another_weight() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(12);
    assert_eq!(world.actual(), 20);
    world.edit("/strategy/canary/trafficRouting/maxTrafficWeight", json!(1000));
    world.run(2);
    let weights = world.status().canary.weights.clone().unwrap();
    assert_eq!((weights.canary.weight, weights.stable.weight), (20, 980), "{}", world.timeline);
    world.run(60);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    world.assert_safe();
}
