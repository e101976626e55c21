//! Updates that are compared with stable: what the end of the steps waits for, and where nothing can be
//! compared.

use serde_json::{Value, json};
use sluice::analysis::Verdict;
use sluice::analysis::templates::TemplateKey;
use sluice::api::analysis::{ComparisonStatus, ComparisonVerdict, OnInconclusive};
use sluice::api::status::RolloutPhase;

use crate::rollouts::{blue_green, failed, routed};
use crate::world::World;

const STEPS: &str = "[{setWeight: 20}, {pause: {duration: 30}}]";
const COMPARED: &str = "    analysis:
      metrics: [{errors: {counter: all_total, bad: 'code=~\"5..\"'}}]
";

fn says(verdict: ComparisonVerdict, requires_pass: bool, then: OnInconclusive) -> ComparisonStatus {
    ComparisonStatus {
        verdict,
        message: "errors undecided after 3 looks".to_owned(),
        requires_pass,
        on_inconclusive: then,
        metrics: vec![],
    }
}

fn judge_by(world: &mut World, template: &Value) {
    let key = TemplateKey { is_cluster_scope: false, name: "success".to_owned() };
    world.templates.insert(key, serde_json::from_value(template.clone()).unwrap());
}

fn begun(steps: &str, analysis: &str) -> World {
    let mut world = routed(5, steps, analysis);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world
}

#[test]
fn the_end_of_the_steps_waits_for_pass_and_goes_on_by_itself() {
    let mut world = begun(STEPS, COMPARED);
    world.comparison = Some(says(ComparisonVerdict::Continue, true, OnInconclusive::Proceed));
    world.run(200);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused), "{}", world.timeline);
    assert_eq!(world.actual(), 20);
    let waits = format!("{:?}", world.status().waiting_on);
    assert!(waits.contains("errors undecided after 3 looks"), "{waits}");
    world.comparison = Some(says(ComparisonVerdict::Pass, true, OnInconclusive::Proceed));
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn a_person_may_promote_what_is_undecided_at_any_last_step() {
    for steps in [STEPS, "[{setWeight: 20}]"] {
        let mut world = begun(steps, COMPARED);
        world.comparison = Some(says(ComparisonVerdict::Continue, true, OnInconclusive::Pause));
        world.run(100);
        assert_eq!(world.phase(), Some(RolloutPhase::Paused), "{}", world.timeline);
        world.promote();
        world.run_until(RolloutPhase::Healthy, 120);
        assert_eq!(world.stable_image(), "web:2");
    }
}

#[test]
fn what_has_not_had_a_look_is_not_promoted() {
    let mut world = begun("[{setWeight: 20}]", COMPARED);
    world.run(200);
    assert_eq!((world.phase(), world.actual()), (Some(RolloutPhase::Paused), 20));
    let waits = format!("{:?}", world.status().waiting_on);
    assert!(waits.contains("not had a look yet"), "{waits}");
}

#[test]
fn without_require_pass_an_undecided_update_goes_on() {
    let mut world = begun(STEPS, COMPARED);
    world.comparison = Some(says(ComparisonVerdict::Continue, false, OnInconclusive::Proceed));
    world.run_until(RolloutPhase::Healthy, 200);
    assert_eq!(world.stable_image(), "web:2");
}

#[test]
fn on_inconclusive_rollback_gives_up_and_is_no_reason_to_touch_git() {
    let mut world = begun(STEPS, COMPARED);
    world.comparison = Some(says(ComparisonVerdict::Continue, false, OnInconclusive::Rollback));
    world.run_until(RolloutPhase::Degraded, 200);
    let message = world.status().message.clone();
    assert!(message.contains("undecided at the end of its steps"), "{message}");
    // An abort of its own kind: no analysis has failed.
    let given_up = "status: Aborted(AnalysisInconclusive)".to_owned();
    assert!(world.requests.contains(&given_up), "{:?}", world.requests);
    assert!(world.status().failed_revisions.is_empty());
    world.run(60);
    assert_eq!(world.actual(), 0);
}

#[test]
fn no_traffic_is_held_and_said_and_passes() {
    let steps = "[{setWeight: 20}, {pause: {duration: 30}}, {setWeight: 60}]";
    let mut world = begun(steps, COMPARED);
    world.comparison = Some(says(ComparisonVerdict::NoData, true, OnInconclusive::Proceed));
    let waiting_on = Some("errors NODATA".to_owned());
    world.verdicts.insert("Background", Verdict::Running { waiting_on });
    world.run(100);
    assert_eq!(world.actual(), 20);
    let condition = world.status().conditions.iter().find(|it| it.kind == "NoTraffic").cloned();
    assert_eq!(condition.map(|it| it.status), Some("True".to_owned()));
    world.verdicts.clear();
    world.comparison = Some(says(ComparisonVerdict::Pass, true, OnInconclusive::Proceed));
    world.run_until(RolloutPhase::Healthy, 120);
    world.assert_safe();
}

#[test]
fn a_failed_comparison_aborts_with_its_own_sentence() {
    let mut world = begun(STEPS, COMPARED);
    world.comparison = Some(says(ComparisonVerdict::Fail, true, OnInconclusive::Proceed));
    let sentence = "errors FAIL after 6 looks: 3.2 times as many.".to_owned();
    let verdict = Verdict::Failed { message: sentence.clone(), has_measurements: true };
    world.verdicts.insert("Background", verdict);
    world.run_until(RolloutPhase::Degraded, 100);
    let message = world.status().message.clone();
    assert!(message.ends_with(&sentence) && !message.contains("error/failed"), "{message}");
    assert_eq!(world.status().failed_revisions.len(), 1);
}

#[test]
fn one_run_lasts_the_whole_update_and_a_retry_has_half_the_budget() {
    let mut world = begun(
        "[{setWeight: 20}, {pause: {duration: 30}}, {setWeight: 60}, {pause: {duration: 90}}]",
        COMPARED,
    );
    world.comparison = Some(says(ComparisonVerdict::Continue, true, OnInconclusive::Proceed));
    world.run(100);
    assert_eq!(world.actual(), 60);
    assert_eq!(world.runs.len(), 1, "no step begins it anew");
    let comparison = world.made_runs[0]["spec"]["comparison"].clone();
    assert_eq!(comparison["attempt"], 1);
    assert_eq!(comparison["plannedLooks"], 20, "two minutes of pauses are few looks");
    let arms = comparison["arms"].clone();
    assert!(arms["canary"].as_str().unwrap().starts_with("web-"), "{arms}");
    assert_ne!(arms["canary"], arms["stable"]);
    world.verdicts.insert("Background", failed());
    world.run_until(RolloutPhase::Degraded, 60);
    world.verdicts.clear();
    world.run(60);
    world.retry();
    world.run(60);
    assert_eq!(world.made_runs.len(), 2, "{}", world.timeline);
    assert_eq!(world.made_runs[1]["spec"]["comparison"]["attempt"], 2);
}

#[test]
fn where_nothing_can_be_compared_the_reason_is_said_and_nothing_is_promoted() {
    let mut template = json!({"metrics": [{"errors": {"counter": "a_total", "bad": "x=\"1\""}}]});
    template["metrics"][0]["name"] = json!("errors");
    let steps = "[{setWeight: 20}, {analysis: {templates: [{templateName: success}]}}]";
    let mut world = routed(5, steps, "");
    judge_by(&mut world, &template);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(120);
    assert_eq!(world.stable_image(), "web:1", "{}", world.timeline);
    let waits = format!("{:?}", world.status().waiting_on);
    assert!(waits.contains("begin again with each step"), "{waits}");
    let mut world = routed(5, "[]", COMPARED);
    world.run(30);
    let message = world.status().message.clone();
    assert!(message.contains("without steps do not serve side by side"), "{message}");
    let mut world =
        blue_green("    prePromotionAnalysis: {templates: [{templateName: success}]}\n");
    judge_by(&mut world, &template);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(120);
    assert_eq!(world.stable_image(), "web:1", "{}", world.timeline);
    let waits = format!("{:?}", world.status().waiting_on);
    assert!(waits.contains("no users at the same time"), "{waits}");
}
