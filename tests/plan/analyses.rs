//! Verdicts of analyses, and what follows from them.

use sluice::analysis::Verdict;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{WITH_ANALYSIS, failed, routed};

#[test]
fn a_failed_analysis_takes_traffic_away_first_and_then_the_pods() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    assert!(world.status().message.starts_with("RolloutAborted: Rollout aborted update to"));
    world.run(60);
    assert_eq!((world.actual(), world.available("web:1"), world.available("web:2")), (0, 5, 0));
    assert_eq!(world.stable_image(), "web:1");
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn ar3850_an_inconclusive_background_analysis_holds_the_promotion_until_a_person_decides() {
    let mut world = routed(
        5,
        "[{setWeight: 20}, {pause: {duration: 30}}]",
        "    analysis: {templates: [{templateName: success}]}\n",
    );
    world.run_until(RolloutPhase::Healthy, 30);
    let unclear = Verdict::Inconclusive { message: "no condition holds".into() };
    world.verdicts.insert("Background", unclear);
    world.push("web:2");
    world.run(120);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    assert_eq!(world.status().message, "InconclusiveAnalysisRun");
    world.verdicts.clear();
    world.promote();
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn a_healthy_canary_passes_its_analysis_and_is_promoted() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}
