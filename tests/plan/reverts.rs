//! What a failed revision leads to in Git.

use sluice::analysis::Verdict;
use sluice::api::status::{GitRevertState, RevisionOutcome, RolloutPhase};
use sluice::plan::facts::RevertResult;

use crate::rollouts::{GIT, WITH_ANALYSIS, commit, failed, routed};

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
