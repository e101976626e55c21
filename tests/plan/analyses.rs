//! Verdicts of analyses, and what follows from them.

use sluice::analysis::Verdict;
use sluice::api::status::RolloutPhase;

use crate::rollouts::{WITH_ANALYSIS, blue_green, failed, routed};

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

#[test]
fn a_retry_after_a_failed_background_analysis_begins_anew() {
    let mut world = routed(5, "[{setWeight: 20}, {pause: {duration: 30}}]", WITH_BACKGROUND);
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Background", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    world.verdicts.clear();
    world.retry();
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

fn unmeasured() -> Verdict {
    Verdict::Running { waiting_on: Some("metric \"success\": connection refused".into()) }
}

const WITH_BACKGROUND: &str = "    analysis: {templates: [{templateName: success}]}\n";

#[test]
fn a_background_analysis_that_cannot_be_measured_holds_the_next_step() {
    let steps =
        "[{setWeight: 20}, {pause: {duration: 30}}, {setWeight: 60}, {pause: {duration: 30}}]";
    let mut world = routed(5, steps, WITH_BACKGROUND);
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Background", unmeasured());
    world.push("web:2");
    world.run(200);
    assert_eq!(
        (world.actual(), world.stable_image()),
        (20, "web:1".to_owned()),
        "{}",
        world.timeline
    );
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("connection refused"), "{waiting}");
    world.verdicts.clear();
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn a_person_may_let_an_update_go_on_that_cannot_be_measured() {
    let mut world = routed(5, "[{setWeight: 20}, {pause: {}}, {setWeight: 60}]", WITH_BACKGROUND);
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Background", unmeasured());
    world.push("web:2");
    world.run(60);
    world.promote();
    world.run(20);
    assert_eq!(world.actual(), 60, "the person let one pause pass");
    world.promote_full();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
}

#[test]
fn without_traffic_there_is_nothing_to_measure_and_nothing_is_held() {
    let steps = "[{setCanaryScale: {replicas: 2}}, {pause: {duration: 30}}, {setWeight: 20}]";
    let mut world = routed(5, steps, WITH_BACKGROUND);
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Background", unmeasured());
    world.push("web:2");
    world.run(60);
    assert_eq!(world.actual(), 20, "{}", world.timeline);
}

#[test]
fn what_cannot_be_measured_ends_at_the_progress_deadline() {
    for (aborts, steps) in [(false, WITH_ANALYSIS), (true, WITH_ANALYSIS)] {
        let deadline = format!("progressDeadlineSeconds: 100\nprogressDeadlineAbort: {aborts}\n");
        let mut world = routed(5, steps, &deadline);
        world.run_until(RolloutPhase::Healthy, 30);
        world.push("web:2");
        world.run(10);
        world.verdicts.insert("Step", unmeasured());
        world.run(90);
        assert_eq!(world.phase(), Some(RolloutPhase::Progressing), "{}", world.timeline);
        world.run(30);
        assert_eq!(world.phase(), Some(RolloutPhase::Degraded), "{}", world.timeline);
        assert_eq!(world.status().abort, aborts);
        let message = world.status().message.clone();
        assert!(message.contains("could not be measured"), "{message}");
        world.verdicts.clear();
        world.run(60);
        let wanted = if aborts { RolloutPhase::Degraded } else { RolloutPhase::Healthy };
        assert_eq!(world.phase(), Some(wanted), "{}", world.timeline);
    }
}

#[test]
fn a_short_outage_late_in_a_long_analysis_is_no_passed_deadline() {
    let deadline = "progressDeadlineSeconds: 100\nprogressDeadlineAbort: true\n";
    let mut world = routed(5, WITH_ANALYSIS, deadline);
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", Verdict::Running { waiting_on: None });
    world.push("web:2");
    for _ in 0..3 {
        world.run(150);
        world.verdicts.insert("Step", unmeasured());
        world.run(60);
        world.verdicts.insert("Step", Verdict::Running { waiting_on: None });
    }
    assert!(!world.status().abort, "{}", world.timeline);
    assert_eq!(world.phase(), Some(RolloutPhase::Progressing));
}

#[test]
fn fl1581_a_template_that_does_not_exist_is_waited_for_and_named() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    let templates = std::mem::take(&mut world.templates);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    assert_eq!((world.actual(), world.runs.len()), (20, 0));
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("AnalysisTemplate \\\"success\\\" not found"), "{waiting}");
    world.templates = templates;
    world.run_until(RolloutPhase::Healthy, 60);
    world.assert_safe();
}

#[test]
fn ar1329_a_run_that_somebody_stopped_opens_no_gate_and_says_so() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", Verdict::Terminated);
    world.push("web:2");
    world.run(120);
    assert_eq!((world.actual(), world.stable_image()), (20, "web:1".to_owned()));
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    let waiting = format!("{:?}", world.status().waiting_on);
    assert!(waiting.contains("was stopped before it had decided"), "{waiting}");
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
}

#[test]
fn fl1414_each_gate_of_blue_green_is_judged_once_and_in_its_place() {
    let mut world = blue_green(
        "    prePromotionAnalysis: {templates: [{templateName: success}]}
    postPromotionAnalysis: {templates: [{templateName: success}]}\n",
    );
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 90);
    let places: Vec<_> = ["-pre]", "point active to <web:2>", "-post]", "change=Completed"]
        .iter()
        .map(|text| world.timeline.rfind(text).unwrap_or_else(|| panic!("no {text}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}\n{}", world.timeline);
    assert_eq!(world.runs.len(), 2);
    assert_eq!(world.timeline.matches("point active to <web:2>").count(), 1);
    world.assert_safe();
}

#[test]
fn fl30_a_run_of_an_older_attempt_judges_nothing() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    while world.runs.is_empty() {
        world.run(1);
    }
    // It fails after the next revision came: the failure is of another time.
    world.push("web:3");
    world.verdicts.insert("Step", failed());
    world.run(5);
    world.verdicts.clear();
    world.run_until(RolloutPhase::Healthy, 90);
    assert_eq!(world.stable_image(), "web:3", "{}", world.timeline);
    world.assert_safe();
}
