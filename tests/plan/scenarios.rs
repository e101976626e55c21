//! Named scenarios; the numbers in some names are issues of Argo Rollouts (`ar`) or Flagger (`fl`)
//! whose failure they rule out.

use serde_json::json;
use sluice::analysis::Verdict;
use sluice::api::status::{GitRevertState, RevisionOutcome, RolloutPhase};
use sluice::plan::facts::RevertResult;
use sluice::revision::Commit;

use crate::world::World;

const HEAD: &str = r"
selector: {matchLabels: {app: web}}
template:
  metadata: {labels: {app: web}}
  spec: {containers: [{name: web, image: 'web:1'}]}
";

fn routed(replicas: u32, steps: &str, more: &str) -> World {
    World::new(&format!(
        "{HEAD}replicas: {replicas}
strategy:
  canary:
    stableService: stable
    canaryService: canary
    trafficRouting: {{gatewayAPI: {{httpRoute: web}}}}
    steps: {steps}
{more}"
    ))
}

fn unrouted(replicas: u32, steps: &str, more: &str) -> World {
    World::new(&format!(
        "{HEAD}replicas: {replicas}
strategy:
  canary:
    steps: {steps}
{more}"
    ))
}

fn blue_green(more: &str) -> World {
    World::new(&format!(
        "{HEAD}replicas: 3
strategy:
  blueGreen:
    activeService: active
    previewService: preview
{more}"
    ))
}

fn failed() -> Verdict {
    Verdict::Failed {
        message: "Metric \"success\" assessed Failed due to failed (1) > failureLimit (0)".into(),
        has_measurements: true,
    }
}

const STEPS: &str = "[{setWeight: 20}, {pause: {duration: 10}}, {setWeight: 60}, {pause: {}}]";
const WITH_ANALYSIS: &str =
    "[{setWeight: 20}, {analysis: {templates: [{templateName: success}]}}, {setWeight: 60}]";

#[test]
fn a_good_canary_goes_through_its_steps_and_is_promoted() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    assert_eq!(world.actual(), 60);
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.run(60);
    assert_eq!((world.available("web:1"), world.available("web:2")), (0, 5));
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

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
fn a_canary_without_a_router_moves_pods_within_its_bounds() {
    let mut world = unrouted(4, "[{setWeight: 25}, {pause: {duration: 5}}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!((world.available("web:1"), world.available("web:2")), (0, 4));
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

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
fn abort_by_hand_then_retry_then_promote_full() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.abort();
    world.run(5);
    assert_eq!((world.phase(), world.actual()), (Some(RolloutPhase::Degraded), 0));
    world.retry();
    world.run(8);
    assert_eq!(world.actual(), 20);
    world.promote_full();
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(world.stable_image(), "web:2");
    world.assert_safe();
}

#[test]
fn ar4461_abort_beats_promote_full_in_either_order() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.promote_full();
    world.abort();
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
    assert_eq!((world.actual(), world.stable_image()), (0, "web:1".to_owned()));
    world.assert_safe();
}

#[test]
fn ar1292_abort_with_nothing_under_way_is_dropped() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.abort();
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Healthy));
    assert!(!world.status().abort);
    assert_eq!(world.available("web:1"), 5);
}

#[test]
fn ar4626_a_router_that_cannot_be_read_does_not_stop_deadline_and_abort() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.unknown_routes = true;
    world.run(90);
    assert!(world.status().abort, "{}", world.timeline);
    world.unknown_routes = false;
    world.run(5);
    assert_eq!(world.actual(), 0);
    world.assert_safe();
}

#[test]
fn ar3765_pods_that_never_stay_ready_meet_the_deadline() {
    let deadline = "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n";
    let mut world = routed(5, "[{setWeight: 60}]", deadline);
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    // Two of three pods flap between ready and not: only the first time is progress.
    for round in 0..40 {
        world.most_ready.insert("web:2".to_owned(), round % 3);
        world.run(2);
    }
    assert!(world.status().abort, "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn ar3082_a_corrected_spec_is_not_judged_by_the_time_it_was_invalid() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(8);
    world.edit("/strategy/canary/steps/0/setWeight", json!(500));
    world.run(120);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded));
    assert!(world.status().message.contains("steps[0].setWeight"), "{}", world.timeline);
    world.edit("/strategy/canary/steps/0/setWeight", json!(20));
    world.run(20);
    assert!(!world.status().abort, "{}", world.timeline);
    world.assert_safe();
}

#[test]
fn ar1624_the_deadline_means_nothing_outside_of_an_update() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(200);
    assert!(!world.status().abort);
    assert_eq!(world.phase(), Some(RolloutPhase::Progressing));
    world.broken_images.clear();
    world.run_until(RolloutPhase::Healthy, 10);
}

#[test]
fn ar4839_abort_works_while_stable_is_broken() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(2);
    world.abort();
    world.run(5);
    assert_eq!(world.actual(), 0);
}

#[test]
fn ar1774_a_broken_stable_does_not_hold_up_its_cure() {
    let mut world = routed(5, "[{setWeight: 20}, {setWeight: 60}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.broken_images = vec!["web:1".to_owned()];
    world.run(5);
    world.push("web:2");
    world.run_until(RolloutPhase::Healthy, 120);
    assert_eq!(world.stable_image(), "web:2");
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
fn an_analysis_error_aborts_but_is_no_reason_to_touch_git() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", Verdict::Error { message: "unreachable".into() });
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    world.run(60);
    assert!(world.status().git_revert.is_none());
    assert_eq!(world.status().revisions[0].outcome, RevisionOutcome::Aborted);
}

const GIT: &str = "gitRevert:
  mode: Push
  source: {url: 'https://git.example.com/team/config.git', branch: main, path: apps/web}
";

fn commit(digit: char) -> Commit {
    Commit::parse(&digit.to_string().repeat(40)).unwrap()
}

#[test]
fn a_failed_revision_is_reverted_in_git_once_traffic_is_home() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.ledger_answer = Some(commit('b'));
    world.verdicts.insert("Step", failed());
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.push("web:2");
    world.run(40);
    let revert = world.status().git_revert.clone().expect("a revert");
    assert_eq!(revert.state, GitRevertState::AwaitingSync, "{}", world.timeline);
    assert_eq!(revert.commit, Some(commit('c').to_string()));
    assert_eq!(world.timeline.matches("actions=[revert").count(), 1);
    // The GitOps tool applies the commit: the template is the stable one again.
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 10);
    let revert = world.status().git_revert.clone().unwrap();
    assert_eq!(revert.state, GitRevertState::Reverted);
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn git_out_of_reach_holds_up_nothing_and_the_revert_follows() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    let down = RevertResult::Failed { message: "connection refused".into(), retryable: true };
    world.git_answer = Some(down);
    world.push("web:2");
    world.run(40);
    assert_eq!(world.actual(), 0);
    assert_eq!(world.status().git_revert.as_ref().unwrap().state, GitRevertState::Planned);
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.run(300);
    assert_eq!(world.status().git_revert.as_ref().unwrap().state, GitRevertState::AwaitingSync);
    world.assert_safe();
}

#[test]
fn a_revert_needs_the_commit_of_both_revisions() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run(900);
    let revert = world.status().git_revert.clone().expect("a revert");
    assert_eq!((revert.state, revert.reason.as_str()), (GitRevertState::Blocked, "CommitUnknown"));
    assert!(!world.timeline.contains("actions=[revert"));
}

#[test]
fn an_opt_out_annotation_keeps_git_as_it_is_and_says_why() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.annotations.insert("sluice.dev/no-git-revert".into(), "migration 42".into());
    world.push("web:2");
    world.run(60);
    let revert = world.status().git_revert.clone().expect("a revert");
    assert_eq!(revert.reason, "OptedOut");
    assert!(revert.message.contains("migration 42"));
}

#[test]
fn ar2050_the_first_deploy_takes_no_service_before_every_pod_is_available() {
    let mut world = routed(5, STEPS, "");
    world.broken_images = vec!["web:1".to_owned()];
    world.run(30);
    assert!(!world.services["stable"].selector.contains_key("sluice.dev/revision"));
    world.broken_images.clear();
    world.run_until(RolloutPhase::Healthy, 30);
    world.assert_safe();
}

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
fn dynamic_stable_scale_shrinks_stable_and_lets_it_grow_before_it_takes_traffic_back() {
    let mut world = routed(10, STEPS, "    dynamicStableScale: true\n");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(60);
    assert_eq!((world.actual(), world.available("web:1")), (60, 4));
    world.abort();
    world.run(1);
    assert!(world.actual() > 0, "stable has 4 of 10 pods and cannot take everything yet");
    world.run(20);
    assert_eq!((world.actual(), world.available("web:1")), (0, 10));
    world.assert_safe();
    insta::assert_snapshot!(world.timeline);
}

#[test]
fn paused_by_hand_holds_the_steps_but_not_the_scaling() {
    let mut world = routed(5, "[{setWeight: 20}, {setWeight: 60}]", "paused: true\n");
    world.edit("/paused", json!(false));
    world.run_until(RolloutPhase::Healthy, 30);
    world.edit("/paused", json!(true));
    world.push("web:2");
    world.run(60);
    assert_eq!(world.phase(), Some(RolloutPhase::Paused));
    assert!(world.status().current_step_index <= Some(0));
    world.edit("/replicas", json!(7));
    world.run(10);
    assert_eq!(world.available("web:1"), 7);
    world.edit("/paused", json!(false));
    world.run_until(RolloutPhase::Healthy, 120);
    world.assert_safe();
}

#[test]
fn a_timed_pause_is_never_left_early() {
    let mut world = routed(5, "[{setWeight: 20}, {pause: {duration: 100}}]", "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run_until(RolloutPhase::Paused, 30);
    let since = world.seconds();
    while world.phase() == Some(RolloutPhase::Paused) {
        world.run(1);
    }
    assert!(world.seconds() >= since + 100);
}

#[test]
fn editing_the_steps_of_an_aborted_revision_does_not_bring_it_back() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run_until(RolloutPhase::Degraded, 60);
    world.run(40);
    world.edit("/strategy/canary/steps/0/setWeight", json!(30));
    world.run(60);
    assert_eq!((world.phase(), world.actual()), (Some(RolloutPhase::Degraded), 0));
    world.assert_safe();
}

#[test]
fn set_canary_scale_sizes_the_canary_apart_from_its_weight() {
    let steps = "[{setCanaryScale: {replicas: 3}}, {setWeight: 10}, {setCanaryScale: \
                 {matchTrafficWeight: true}}, {pause: {}}]";
    let mut world = routed(10, steps, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(5);
    assert_eq!(world.available("web:2"), 3);
    world.run(40);
    assert_eq!((world.available("web:2"), world.actual()), (1, 10));
    world.assert_safe();
}

#[test]
fn weights_finer_than_one_percent_are_steps_like_any_other() {
    let mut world = World::new(&format!(
        "{HEAD}replicas: 5
strategy:
  canary:
    stableService: stable
    canaryService: canary
    trafficRouting: {{maxTrafficWeight: 1000, gatewayAPI: {{httpRoute: web}}}}
    steps: [{{setWeight: 5}}, {{pause: {{}}}}]
"
    ));
    world.run_until(RolloutPhase::Healthy, 30);
    world.push("web:2");
    world.run(30);
    assert_eq!((world.actual(), world.available("web:2")), (5, 1));
    world.promote();
    world.run_until(RolloutPhase::Healthy, 60);
    world.assert_safe();
}

#[test]
fn the_old_sets_beyond_the_history_are_deleted() {
    let mut world = routed(2, "[{setWeight: 50}]", "revisionHistoryLimit: 2\n");
    world.run_until(RolloutPhase::Healthy, 30);
    for version in 2..8 {
        world.push(&format!("web:{version}"));
        world.run_until(RolloutPhase::Healthy, 60);
        world.run(60);
    }
    assert_eq!(world.sets.len(), 3, "the current one and two old ones");
    world.assert_safe();
}

#[test]
fn a_healthy_rollout_is_left_alone() {
    let mut world = routed(5, STEPS, "");
    world.run_until(RolloutPhase::Healthy, 30);
    world.run(5);
    let writes = world.writes;
    world.run(600);
    assert_eq!(world.writes, writes, "a converged Rollout causes no write");
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
