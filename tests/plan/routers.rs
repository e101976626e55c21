//! Routes and Services that are missing, foreign, or not as they should be.

use serde_json::json;
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

#[test]
fn ar4258_a_write_that_is_refused_stops_nothing_else() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.unwritable_routes = true;
    world.abort();
    world.edit("/replicas", json!(7));
    world.run(10);
    assert_eq!((world.phase(), world.available("web:1")), (Some(RolloutPhase::Degraded), 7));
    assert_eq!((world.actual(), world.available("web:2")), (60, 3), "its traffic is still there");
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("another try to set the weight in HTTPRoute `web`"), "{waiting}");
    world.unwritable_routes = false;
    world.run(60);
    assert_eq!((world.actual(), world.available("web:2")), (0, 0));
    world.assert_safe();
}

#[test]
fn a_router_that_has_nothing_to_accept_is_not_waited_for() {
    let mut world = routed(5, STEPS, "");
    world.route_lag = 0;
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    assert!(!world.timeline.contains("to accept"), "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn a_stable_service_that_is_deleted_in_mid_canary_is_named_and_taken_again() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.missing_services.push("stable".to_owned());
    world.run(30);
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("Service `stable` to exist"), "{waiting}");
    // It comes back as its manifest says, without the revision.
    world.missing_services.clear();
    world.services.get_mut("stable").unwrap().selector.remove("sluice.dev/revision");
    world.run(5);
    assert_eq!(world.selected_by("stable"), "web:1");
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    world.assert_safe();
}
