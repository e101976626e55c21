//! The deletion of a Rollout.

use sluice::api::status::RolloutPhase;

use crate::rollouts::{STEPS, routed};

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
