//! What an update costs: every request that the plan makes the controller send, in its order. Reads
//! are not counted here (they depend on how long pods take), nor are counts and texts of the status
//! that the next write takes along.

use sluice::api::status::RolloutPhase;

use crate::world::World;

/// The Rollout of `e2e/bench`.
const BENCH: &str = r"
replicas: 2
selector: {matchLabels: {app: web}}
template:
  metadata: {labels: {app: web}}
  spec: {containers: [{name: web, image: 'web:1'}]}
strategy:
  canary:
    stableService: stable
    canaryService: canary
    trafficRouting: {gatewayAPI: {httpRoute: web}}
    steps: [{setWeight: 10}, {pause: {duration: 2}}, {setWeight: 50}, {pause: {duration: 2}}]
";

#[test]
fn an_update_with_two_weights_costs_few_requests() {
    let mut world = World::new(BENCH);
    world.run_until(RolloutPhase::Healthy, 30);
    world.run(60);
    world.requests.clear();
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 60);
    let update = std::mem::take(&mut world.requests);
    world.run(60);
    insta::assert_snapshot!("update", update.join("\n"));
    insta::assert_snapshot!("after the update", world.requests.join("\n"));
}
