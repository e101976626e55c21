//! The deletion of a Rollout.

use chrono::TimeDelta;
use sluice::api::status::RolloutPhase;
use sluice::plan::action::Action;
use sluice::plan::facts::FailingAction;

use crate::rollouts::{STEPS, routed};
use crate::world::World;

#[test]
fn deletion_waits_for_ready_pods_and_then_lets_go() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    assert!(world.has_finalizer);
    world.deleted_at = Some(world.now);
    world.run(5);
    assert!(world.is_gone);
    assert_eq!(world.available("web:1"), 5);
}

#[test]
fn deletion_ends_even_if_the_route_cannot_be_read() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.unknown_routes = true;
    world.run(1);
    world.deleted_at = Some(world.now);
    world.run(50);
    assert!(!world.is_gone);
    world.run(20);
    assert!(world.is_gone);
}

#[test]
fn what_is_gone_with_its_namespace_carries_no_traffic_and_is_not_waited_for() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    // The namespace goes: pods, Services and the route are deleted in any order.
    world.deleted_at = Some(world.now);
    world.broken_images = vec!["web:1".to_owned(), "web:2".to_owned()];
    world.run(3);
    assert!(!world.is_gone, "the route still sends users to Services without ready pods");
    let wait = world.status().waiting_on[0].clone();
    assert!(wait.what.contains("ready pods wherever traffic goes"), "{wait:?}");
    assert_eq!(wait.until.unwrap().0, world.deleted_at.unwrap() + TimeDelta::seconds(60));
    world.missing_services = vec!["canary".to_owned()];
    world.run(3);
    assert!(!world.is_gone, "the stable Service is still there");
    world.missing_services.push("stable".to_owned());
    world.run(1);
    assert!(world.is_gone);
}

#[test]
fn a_route_that_is_gone_leads_nobody_to_pods_that_are_not_ready() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.deleted_at = Some(world.now);
    world.run(3);
    assert!(!world.is_gone);
    world.missing_route = true;
    world.run(1);
    assert!(world.is_gone);
}

/// A Rollout that is deleted while its ReplicaSet cannot be let go of for so many seconds.
fn deleted_while_pods_are_held(seconds: i64) -> World {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.deleted_at = Some(world.now);
    let name = world.sets.keys().next().unwrap().clone();
    let key = Action::OrphanReplicaSet { name }.key();
    let retry_at = world.now + TimeDelta::seconds(seconds);
    let error = "the admission webhook says no".to_owned();
    world.failing = vec![FailingAction { key, error, retry_at, name_is_taken: false }];
    world
}

#[test]
fn a_rollout_is_gone_only_when_its_pods_are_let_go_of() {
    let mut world = deleted_while_pods_are_held(8);
    world.run(6);
    assert!(!world.is_gone, "its pods would have been deleted with it");
    let wait = world.status().waiting_on[0].clone();
    assert!(wait.what.contains("to be let go of"), "{wait:?}");
    world.run(6);
    assert!(world.is_gone);
    assert_eq!(world.available("web:1"), 5);
}

#[test]
fn what_cannot_be_let_go_of_holds_a_deletion_for_90_seconds() {
    let mut world = deleted_while_pods_are_held(300);
    world.run(85);
    assert!(!world.is_gone);
    world.run(10);
    assert!(world.is_gone);
}
