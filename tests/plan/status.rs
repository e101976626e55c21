//! What status says at every moment: phases and messages that follow from each other, and waits that
//! name what is waited for and until when.

use chrono::TimeDelta;
use serde_json::json;
use sluice::analysis::Verdict;
use sluice::api::status::RolloutPhase::{self, Degraded, Healthy, Paused, Progressing};
use sluice::plan::action::ActionKey;
use sluice::plan::facts::{FailingAction, LedgerAnswer, LedgerMiss, RevertResult, Sight};
use sluice::revision::Revision;

use crate::rollouts::{GIT, STEPS, WITH_ANALYSIS, blue_green, commit, failed, routed, unrouted};
use crate::world::World;

const MORE: &str = "more replicas need to be updated";
const BECOMING: &str = "updated replicas are still becoming available";
const CUTOVER: &str = "active service cutover pending";
const STEPPING: &str = "waiting for all steps to complete";
const PAUSED: &str = "CanaryPauseStep";

fn assert_history(world: &mut World, wanted: &[(RolloutPhase, &str)]) {
    let history: Vec<_> =
        world.history.iter().map(|(phase, text)| (*phase, text.as_str())).collect();
    assert_eq!(history, wanted, "{}", world.timeline);
    world.history.clear();
}

/// What the wait that contains `text` says, and for how many seconds from now it lasts at most.
fn wait(world: &mut World, text: &str) -> (String, Option<i64>) {
    let now = world.now;
    let waits = &world.status().waiting_on;
    let found = waits.iter().find(|wait| wait.what.contains(text));
    let found = found.unwrap_or_else(|| panic!("nothing waits for {text}: {waits:#?}"));
    (found.what.clone(), found.until.map(|until| (until.0 - now).num_seconds()))
}

#[test]
fn phases_of_a_canary_from_its_first_deploy_to_its_promotion() {
    let mut world = routed(5, STEPS, "");
    world.run(30);
    let services = "waiting for the Services to select the new revision";
    let first = [(Progressing, MORE), (Progressing, BECOMING), (Progressing, services)];
    assert_history(&mut world, &[&first[..], &[(Healthy, "")]].concat());
    world.push("web:2");
    world.run(60);
    assert_history(
        &mut world,
        &[
            (Progressing, MORE),
            (Progressing, STEPPING),
            (Paused, PAUSED),
            (Progressing, STEPPING),
            (Paused, PAUSED),
        ],
    );
    world.promote();
    world.run(90);
    assert_history(
        &mut world,
        &[
            (Progressing, MORE),
            (Progressing, BECOMING),
            (Progressing, "waiting for the new revision to take over"),
            (Healthy, ""),
        ],
    );
}

#[test]
fn only_a_canary_without_a_router_waits_for_old_replicas() {
    let mut world = unrouted(4, "[{setWeight: 50}]", "    maxSurge: 1\n    maxUnavailable: 0\n");
    world.run(30);
    assert_history(&mut world, &[(Progressing, MORE), (Progressing, BECOMING), (Healthy, "")]);
    world.push("web:2");
    world.run(90);
    let old = "old replicas are pending termination";
    assert_eq!(world.history.last(), Some(&(Healthy, String::new())));
    assert!(world.history.contains(&(Progressing, old.to_owned())), "{:#?}", world.history);
}

#[test]
fn phases_of_a_blue_green_update_name_an_analysis_only_where_there_is_one() {
    let mut world = blue_green("");
    world.run(30);
    let first = [(Progressing, MORE), (Progressing, BECOMING), (Progressing, CUTOVER)];
    assert_history(&mut world, &[&first[..], &[(Healthy, "")]].concat());
    world.push("web:2");
    world.run(60);
    assert_history(&mut world, &[&first[..], &[(Healthy, "")]].concat());
    // Back while the old set is still there: its pods do not count down again.
    world.push("web:1");
    world.run(60);
    let history = world.history.clone();
    assert!(history.iter().all(|(_, text)| !text.contains("analysis")), "{history:#?}");

    let mut world =
        blue_green("    prePromotionAnalysis: {templates: [{templateName: success}]}\n");
    world.run(30);
    world.history.clear();
    world.push("web:2");
    world.run(60);
    let analysis = (Progressing, "waiting for analysis to complete".to_owned());
    assert!(world.history.contains(&analysis), "{:#?}", world.history);
    assert_eq!(world.history.last(), Some(&(Healthy, String::new())));
}

#[test]
fn a_revert_in_git_ends_in_a_healthy_rollout_that_stays_so() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(Healthy, 30);
    world.verdicts.insert("Step", failed());
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.push("web:2");
    world.run(40);
    assert_eq!(world.phase(), Some(Degraded));
    world.history.clear();
    world.push("web:1");
    world.run(120);
    assert_history(&mut world, &[(Healthy, "")]);
}

#[test]
fn fewer_replicas_are_no_news_and_more_are_until_they_are_there() {
    for mut world in [routed(5, STEPS, ""), unrouted(5, STEPS, ""), blue_green("")] {
        world.run(60);
        world.history.clear();
        world.edit("/replicas", json!(2));
        world.run(60);
        assert_history(&mut world, &[]);
        world.edit("/replicas", json!(6));
        world.run(60);
        assert_history(&mut world, &[(Progressing, MORE), (Progressing, BECOMING), (Healthy, "")]);
    }
}

#[test]
fn a_fact_that_is_missing_is_no_change() {
    let mut world = routed(5, STEPS, "");
    world.run(60);
    world.history.clear();
    world.unknown_sets = true;
    world.run(20);
    world.unknown_sets = false;
    world.unknown_routes = true;
    world.run(20);
    world.unknown_routes = false;
    world.run(20);
    assert_history(&mut world, &[]);
    world.missing_route = true;
    world.run(5);
    assert_eq!(world.phase(), Some(Progressing), "a route that is known to be gone is a change");
}

#[test]
fn a_timed_pause_says_when_it_ends_and_an_endless_one_who_ends_it() {
    let mut world = routed(5, STEPS, "");
    world.run_until(Healthy, 30);
    world.push("web:2");
    world.run_until(Paused, 30);
    assert_eq!(wait(&mut world, "pause step 2 to end").1, Some(10));
    world.run(30);
    assert_eq!(
        wait(&mut world, "a person"),
        ("a person to promote the update (pause step 4)".to_owned(), None)
    );
    world.edit("/paused", json!(true));
    world.run(1);
    let by_hand = "a person to resume the update (spec.paused is true)".to_owned();
    assert_eq!(wait(&mut world, "a person"), (by_hand, None));
    let waits = world.status().waiting_on.len();
    assert_eq!(waits, 1);
}

#[test]
fn each_gate_of_blue_green_says_what_opens_it() {
    let mut world = blue_green("    autoPromotionSeconds: 20\n");
    world.run_until(Healthy, 30);
    world.push("web:2");
    world.run_until(Paused, 30);
    assert_eq!(wait(&mut world, "the pause of autoPromotionSeconds").1, Some(20));

    let mut world = blue_green("    autoPromotionEnabled: false\n");
    world.run_until(Healthy, 30);
    world.push("web:2");
    world.run_until(Paused, 30);
    assert_eq!(wait(&mut world, "a person to promote the update (autoPromotion").1, None);
}

#[test]
fn an_inconclusive_analysis_says_which_run_a_person_must_look_at() {
    let mut world = routed(5, WITH_ANALYSIS, "");
    world.run_until(Healthy, 30);
    let unclear = Verdict::Inconclusive { message: "no condition holds".into() };
    world.verdicts.insert("Step", unclear);
    world.push("web:2");
    world.run_until(Paused, 60);
    let (what, until) = wait(&mut world, "a person to promote or abort");
    assert!(what.contains(&world.runs[0].name), "{what}");
    assert_eq!(until, None);
}

#[test]
fn what_cannot_go_on_is_bounded_by_the_progress_deadline() {
    let mut world = routed(5, STEPS, "progressDeadlineSeconds: 100\n");
    world.run_until(Healthy, 30);
    world.broken_images = vec!["web:2".to_owned()];
    world.push("web:2");
    world.run(30);
    assert_eq!(wait(&mut world, "1 available pods of revision").1, Some(70));
    world.run(100);
    assert_eq!(world.phase(), Some(Degraded));
    assert_eq!(wait(&mut world, "1 available pods of revision").1, None, "it is over");
}

#[test]
fn old_pods_are_waited_for_until_their_time_has_come() {
    let mut world = routed(5, "[{setWeight: 50}]", "    scaleDownDelaySeconds: 120\n");
    world.run_until(Healthy, 30);
    world.push("web:2");
    world.run_until(Healthy, 60);
    world.run(20);
    assert_eq!(world.phase(), Some(Healthy), "what lingers is not in the way");
    let before = wait(&mut world, "to be removed");
    world.run(30);
    let after = wait(&mut world, "to be removed");
    assert_eq!((before.0, before.1.unwrap() - 30), (after.0, after.1.unwrap()));
    world.run(120);
    assert!(world.status().waiting_on.is_empty());
}

#[test]
fn an_action_that_failed_says_when_it_is_tried_again() {
    let mut world = routed(5, STEPS, "");
    let name = {
        world.settle();
        world.sets.keys().next().unwrap().clone()
    };
    world.run_until(Healthy, 30);
    world.failing.push(FailingAction {
        key: ActionKey { verb: "scale ReplicaSet", object: name },
        error: "the quota is used up".to_owned(),
        retry_at: world.now + TimeDelta::seconds(8),
        name_is_taken: false,
    });
    world.edit("/replicas", json!(9));
    world.settle();
    let (what, until) = wait(&mut world, "another try to scale ReplicaSet");
    assert!(what.ends_with("the quota is used up"), "{what}");
    assert_eq!(until, Some(8));
}

#[test]
fn while_git_is_away_the_wait_says_why_and_when_it_is_tried_again() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(Healthy, 30);
    world.verdicts.insert("Step", failed());
    let message = format!("could not reach git.example.com:443\n{}", "x".repeat(500));
    world.git_answer = Some(RevertResult::Failed { message, retryable: true });
    world.push("web:2");
    world.run_until(Degraded, 60);
    world.run(3);
    let (what, until) = wait(&mut world, "the Git revert");
    let cause = "(try 1 did not work: could not reach git.example.com:443 xxx";
    assert!(what.contains(cause) && what.len() < 260, "{what}");
    assert!(until.is_some_and(|left| (1..=5).contains(&left)), "{until:?}");
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.run(60);
    assert!(wait(&mut world, "the GitOps tool to apply").1.is_some());
}

#[test]
fn a_commit_that_git_does_not_give_away_holds_a_revert_up_and_says_so() {
    let mut world = routed(5, WITH_ANALYSIS, GIT);
    world.ledger_answer = Some(commit('a'));
    world.run_until(Healthy, 30);
    world.ledger_answer = None;
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run_until(Degraded, 60);
    world.run(5);
    let (_, until) = wait(&mut world, "the commit that declares revision");
    assert!(until.is_some_and(|left| (500..600).contains(&left)), "{until:?}");
    let revision = Revision::from_label(world.status().current_pod_hash.clone());
    let last = Some(LedgerMiss {
        reason: "could not resolve host git.example.com".to_owned(),
        next_try: world.now + TimeDelta::seconds(16),
    });
    let at = world.status().revisions[0].observed_at;
    world.git.ledger.insert(Sight { revision, at }, LedgerAnswer::Running { last });
    world.settle();
    let (what, until) = wait(&mut world, "the commit that declares revision");
    assert!(what.ends_with("(could not resolve host git.example.com)"), "{what}");
    assert_eq!(until, Some(16));
    // The try takes long. Each pass is checked for looking again without a rest.
    world.run(20);
    let (_, until) = wait(&mut world, "the commit that declares revision");
    assert!(until.is_some_and(|left| (400..600).contains(&left)), "{until:?}");
}

#[test]
fn ar2023_an_invalid_spec_and_a_paused_one_are_looked_at_and_not_written_again() {
    let mut world = routed(5, STEPS, "paused: false\n");
    world.run_until(Healthy, 30);
    world.push("web:2");
    world.run(8);
    for (pointer, value) in
        [("/strategy/canary/steps/0/setWeight", json!(500)), ("/paused", json!(true))]
    {
        world.edit(pointer, value);
        world.run(5);
        let writes = world.writes;
        world.run(300);
        assert_eq!(world.writes, writes, "{pointer}");
    }
}

#[test]
fn ar1193_pods_that_take_long_to_end_hold_up_only_who_would_still_serve() {
    for (mut world, is_held) in [
        (routed(4, "[{setWeight: 50}]", ""), false),
        (blue_green(""), false),
        (unrouted(4, "[{setWeight: 50}]", ""), true),
    ] {
        world.run_until(Healthy, 30);
        world.slow_to_end = true;
        world.push("web:2");
        world.run(120);
        assert_eq!(world.phase() != Some(Healthy), is_held, "{}", world.timeline);
        assert_eq!(world.stable_image(), "web:2", "the update itself is over");
        world.slow_to_end = false;
        world.run(5);
        assert_eq!(world.phase(), Some(Healthy));
    }
}

#[test]
fn ar3414_a_set_that_lingers_makes_nothing_degraded() {
    let more = "    scaleDownDelaySeconds: 600\nprogressDeadlineSeconds: 60\nprogressDeadlineAbort: true\n";
    let mut world = routed(5, "[{setWeight: 50}]", more);
    world.run_until(Healthy, 30);
    world.push("web:2");
    world.run_until(Healthy, 60);
    world.history.clear();
    world.broken_images = vec!["web:1".to_owned()];
    world.run(300);
    assert_history(&mut world, &[]);
}

#[test]
fn ar3064_an_aborted_rollout_is_left_alone() {
    for more in ["", GIT] {
        let mut world = routed(5, WITH_ANALYSIS, more);
        world.ledger_answer = Some(commit('a'));
        world.git_answer = Some(RevertResult::AlreadyReverted);
        world.run_until(Healthy, 30);
        world.verdicts.insert("Step", failed());
        world.push("web:2");
        world.run(120);
        assert_eq!(world.phase(), Some(Degraded));
        let writes = world.writes;
        world.run(600);
        assert_eq!(world.writes, writes, "{}", world.timeline);
    }
}
