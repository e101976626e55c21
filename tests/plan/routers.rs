//! Routes and Services that are missing, foreign, or not as they should be.

use sluice::api::status::RolloutPhase;

use crate::rollouts::{STEPS, routed};

#[test]
fn a_missing_service_is_waited_for_and_said() {
    let mut world = routed(5, STEPS, "");
    world.missing_services.push("canary".to_owned());
    world.run(30);
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("Service `canary` to exist"), "{waiting}");
    world.missing_services.clear();
    world.run_until(RolloutPhase::Healthy, 30);
}

#[test]
fn a_service_of_another_rollout_is_never_taken() {
    let mut world = routed(5, STEPS, "");
    world.services.get_mut("stable").unwrap().managed_by = Some("other".to_owned());
    world.run(30);
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("managed by Rollout `other`"), "{waiting}");
    assert_eq!(world.services["stable"].managed_by.as_deref(), Some("other"));
}

#[test]
fn a_route_deleted_in_mid_canary_is_named_and_abort_still_works() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.missing_route = true;
    world.run(5);
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("HTTPRoute `web` does not exist"), "{waiting}");
    world.abort();
    world.run(5);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
    world.missing_route = false;
    world.run(5);
    assert_eq!(world.actual(), 0);
    world.assert_safe();
}
