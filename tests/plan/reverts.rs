//! What a failed revision leads to in Git.

use chrono::TimeDelta;
use sluice::analysis::Verdict;
use sluice::api::git_revert::GitRevertMode;
use sluice::api::status::{
    GitRevertState, PullRequestState, RevisionOutcome, RevisionSource, RolloutPhase,
};
use sluice::plan::facts::{Around, Asked, Declared, LedgerAnswer, RevertResult};

use crate::rollouts::{GIT, WITH_ANALYSIS, commit, failed, routed};
use crate::world::World;

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

/// web:1 is stable; web:2 failed, and the commit that takes it back is on the branch.
fn pushed(git: &str) -> World {
    let mut world = routed(5, WITH_ANALYSIS, git);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.ledger_answer = Some(commit('b'));
    world.verdicts.insert("Step", failed());
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.push("web:2");
    world.run(40);
    world
}

#[test]
fn a_failed_revision_is_reverted_in_git_once_traffic_is_home() {
    let mut world = pushed(GIT);
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

/// The same, and the cluster shows the commit.
fn reverted() -> World {
    let mut world = pushed(&format!("{GIT}  cooldown: 10m\n"));
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 60);
    world
}

fn is_quarantined(world: &mut World) -> bool {
    let conditions = &world.status().conditions;
    conditions.iter().any(|condition| condition.kind == "Quarantined" && condition.status == "True")
}

#[test]
fn scenario_44_a_failed_version_that_a_bot_declares_again_is_refused_and_reverted_once() {
    let mut world = reverted();
    world.push("web:2");
    world.run(300);
    assert_eq!(world.phase(), Some(RolloutPhase::Degraded), "{}", world.timeline);
    assert!(is_quarantined(&mut world));
    assert_eq!((world.actual(), world.available("web:2")), (0, 0), "{}", world.timeline);
    assert_eq!(world.timeline.matches("actions=[revert").count(), 1);
    assert_eq!(world.status().git_revert.as_ref().unwrap().state, GitRevertState::Reverted);
    let wait = &world.status().waiting_on[0].what;
    assert!(wait.contains("quarantined"), "{wait}");
    // The time of the quarantine being over releases nothing by itself.
    world.run(900);
    assert!(is_quarantined(&mut world));
    assert_eq!((world.actual(), world.available("web:2")), (0, 0));
    // Another version is not concerned.
    world.verdicts.clear();
    world.push("web:3");
    world.run_until(RolloutPhase::Healthy, 600);
    assert!(!is_quarantined(&mut world));
    assert_eq!(world.stable_image(), "web:3");
    world.assert_safe();
}

#[test]
fn scenario_45_a_person_releases_a_version_and_its_next_failure_is_reverted_within_the_budget() {
    let mut world = reverted();
    for (round, pushed) in [(2, 2), (3, 2)] {
        world.ledger_answer = Some(commit(['d', 'e'][round - 2]));
        world.push("web:2");
        world.run(60);
        assert!(is_quarantined(&mut world), "{}", world.timeline);
        world.retry();
        world.run(120);
        assert!(!is_quarantined(&mut world));
        assert_eq!(world.timeline.matches("actions=[revert").count(), pushed, "round {round}");
        let state = world.status().git_revert.as_ref().unwrap().state;
        let expected = [GitRevertState::AwaitingSync, GitRevertState::Suspended][round - 2];
        assert_eq!(state, expected, "{}", world.timeline);
        world.push("web:1");
        world.run_until(RolloutPhase::Healthy, 60);
    }
    // A day later there is a budget again.
    for at in &mut world.status().git_revert.as_mut().unwrap().pushed_at {
        at.0 -= TimeDelta::hours(24);
    }
    world.run(600);
    world.ledger_answer = Some(commit('f'));
    world.push("web:2");
    world.run(120);
    assert_eq!(world.timeline.matches("actions=[revert").count(), 3);
    world.assert_safe();
}

#[test]
fn without_git_or_with_a_cooldown_of_zero_nothing_is_refused() {
    for more in ["", &format!("{GIT}  cooldown: 0s\n")] {
        let mut world = routed(5, WITH_ANALYSIS, more);
        world.ledger_answer = Some(commit('a'));
        world.run_until(RolloutPhase::Healthy, 30);
        world.verdicts.insert("Step", failed());
        world.push("web:2");
        world.run(60);
        world.push("web:1");
        world.run_until(RolloutPhase::Healthy, 60);
        world.verdicts.clear();
        world.push("web:2");
        world.run_until(RolloutPhase::Healthy, 600);
        assert_eq!(world.stable_image(), "web:2");
    }
}

const FOUND: &str = "gitRevert: {mode: Push, settle: 0s}\n";

fn found_at(path: &str) -> RevisionSource {
    RevisionSource {
        owner: "Application argocd/web".into(),
        url: "https://git.example.test/shop.git".into(),
        branch: "main".into(),
        path: path.into(),
        file: None,
    }
}

#[test]
fn a_commit_that_was_recorded_during_a_sync_is_corrected_once_and_then_final() {
    let mut world = routed(5, WITH_ANALYSIS, FOUND);
    (world.ledger_answer, world.ledger_source) = (Some(commit('a')), Some(found_at("apps/web")));
    world.is_syncing = true;
    world.run_until(RolloutPhase::Healthy, 30);
    let record = |world: &mut World| world.status().revisions[0].clone();
    assert_eq!(record(&mut world).commit, Some(commit('a').to_string()));
    assert!(record(&mut world).provisional);
    assert_eq!(world.timeline.matches("actions=[look up").count(), 2, "{}", world.timeline);
    world.is_syncing = false;
    let found =
        Declared { commit: commit('b'), source: Some(found_at("apps/web")), is_final: true };
    for answer in world.git.ledger.values_mut() {
        *answer = LedgerAnswer::Declared(found.clone());
    }
    world.run(120);
    assert_eq!(record(&mut world).commit, Some(commit('b').to_string()), "{}", world.timeline);
    assert!(!record(&mut world).provisional);
    world.ledger_answer = Some(commit('c'));
    world.run(120);
    assert_eq!(record(&mut world).commit, Some(commit('b').to_string()), "it was final");
}

#[test]
fn a_rollout_whose_place_in_git_changed_between_two_versions_is_not_reverted() {
    let mut world = routed(5, WITH_ANALYSIS, FOUND);
    (world.ledger_answer, world.ledger_source) = (Some(commit('a')), Some(found_at("apps/web")));
    world.run_until(RolloutPhase::Healthy, 30);
    (world.ledger_answer, world.ledger_source) = (Some(commit('b')), Some(found_at("apps/new")));
    world.verdicts.insert("Step", failed());
    world.push("web:2");
    world.run(120);
    let revert = world.status().git_revert.clone().expect("a revert");
    assert_eq!((revert.state, revert.reason.as_str()), (GitRevertState::Blocked, "SourceMoved"));
    assert!(revert.message.contains("apps/web on main"), "{}", revert.message);
    assert!(!world.timeline.contains("actions=[revert"));
}

/// As [`pushed`], where the place was found through a GitOps tool.
fn pushed_where_it_was_found() -> World {
    pushed_where_it_was_found_by(|_| {})
}

fn pushed_where_it_was_found_by(change: impl FnOnce(&mut World)) -> World {
    let mut world = routed(5, WITH_ANALYSIS, FOUND);
    change(&mut world);
    (world.ledger_answer, world.ledger_source) = (Some(commit('a')), Some(found_at("apps/web")));
    world.run_until(RolloutPhase::Healthy, 30);
    world.ledger_answer = Some(commit('b'));
    world.verdicts.insert("Step", failed());
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.push("web:2");
    world.run(40);
    world
}

#[test]
fn a_found_place_is_what_a_revert_is_ordered_for() {
    let mut world = pushed_where_it_was_found();
    let revert = world.status().git_revert.clone().expect("a revert");
    assert_eq!(revert.state, GitRevertState::AwaitingSync);
    assert_eq!(revert.url, "https://git.example.test/shop.git");
}

#[test]
fn what_holds_up_the_gitops_tool_is_said_until_it_has_applied_the_revert() {
    let mut world = pushed_where_it_was_found();
    let said = |world: &mut World| world.status().git_revert.clone().unwrap().message;
    let since = world.status().git_revert.clone().unwrap().at;
    assert_eq!(said(&mut world), "commit cccccccc is on the branch");
    world.sync_obstacle = Some("Application argocd/web is asleep".into());
    world.run(60);
    let expected = "commit cccccccc is on the branch; Application argocd/web is asleep";
    assert_eq!(said(&mut world), expected, "{}", world.timeline);
    let waits = world.status().waiting_on.iter().map(|wait| wait.what.clone()).collect::<Vec<_>>();
    let wait = "the GitOps tool to apply the revert commit: Application argocd/web is asleep";
    assert!(waits.iter().any(|what| what == wait), "{waits:?}");
    let looks = |world: &World| world.timeline.matches("actions=[watch the sync").count();
    let before = looks(&world);
    world.run(300);
    assert!((8..=11).contains(&(looks(&world) - before)), "a look each half minute");
    assert_eq!(world.status().git_revert.clone().unwrap().at, since, "its time goes on");
    world.run(600);
    let revert = world.status().git_revert.clone().unwrap();
    assert_eq!(revert.state, GitRevertState::Ineffective);
    assert!(
        revert.message.ends_with("900 s: Application argocd/web is asleep"),
        "{}",
        revert.message
    );
    let after = looks(&world);
    world.run(300);
    assert_eq!(looks(&world), after, "nobody looks any more");
}

#[test]
fn a_tool_is_asked_to_look_at_git_once_for_a_commit_and_at_once() {
    for (answer, denied) in
        [(Asked::Done, None), (Asked::Denied("no right".into()), Some("no right".to_owned()))]
    {
        let mut world = pushed_where_it_was_found_by(|world| world.git.asks_tools = true);
        let pushed_at = world.status().git_revert.clone().unwrap().at;
        assert_eq!(world.asks.first(), Some(&true), "without waiting half a minute");
        assert_eq!(world.status().git_revert.clone().unwrap().refresh, None, "not done yet");
        // A person let the tool go on.
        world.sync_asked = Some(answer);
        world.run(60);
        let revert = world.status().git_revert.clone().unwrap();
        let refresh = revert.refresh.expect("it was asked");
        assert_eq!(refresh.denied, denied);
        let words = denied.map_or(String::new(), |denied| {
            format!("; it could not be asked to look now: {denied}")
        });
        assert_eq!(revert.message, format!("commit cccccccc is on the branch{words}"));
        let asks = world.asks.len();
        world.run(300);
        assert!(world.asks[asks..].iter().all(|asks| !asks), "{:?}", world.asks);
        let revert = world.status().git_revert.clone().unwrap();
        assert_eq!((revert.refresh, revert.at), (Some(refresh), pushed_at));
    }
    let mut world = pushed_where_it_was_found();
    world.run(120);
    assert!(!world.asks.is_empty() && world.asks.iter().all(|asks| !asks), "{:?}", world.asks);
}

#[test]
fn nobody_asks_who_applies_a_place_that_the_user_names() {
    let mut world = pushed(GIT);
    world.run(300);
    assert!(!world.timeline.contains("watch the sync"), "{}", world.timeline);
}

const PROPOSED: &str = "gitRevert: {mode: PullRequest, settle: 0s, source: {url: 'https://github.com/shop/env', branch: main, path: apps/web}}\n";
const PAGE: &str = "https://github.com/shop/env/pull/7";

fn open_request() -> RevertResult {
    RevertResult::Proposed { number: 7, url: PAGE.into(), reason: String::new() }
}

/// web:1 is stable; web:2 failed, and a pull request is open.
fn proposed() -> World {
    let mut world = routed(5, WITH_ANALYSIS, PROPOSED);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.ledger_answer = Some(commit('b'));
    world.verdicts.insert("Step", failed());
    world.git_answer = Some(open_request());
    world.push("web:2");
    world.run(60);
    world
}

fn request_of(world: &mut World) -> (GitRevertState, PullRequestState) {
    let revert = world.status().git_revert.clone().expect("a revert");
    (revert.state, revert.pull_request.expect("a request").state)
}

#[test]
fn an_open_request_is_looked_at_now_and_then_and_merged_is_done() {
    let mut world = proposed();
    assert_eq!(request_of(&mut world), (GitRevertState::PullRequestOpen, PullRequestState::Open));
    let wait = world.status().waiting_on[0].what.clone();
    assert!(wait.contains("merge or close the pull request https://github.com"), "{wait}");
    let looks = |world: &World| world.timeline.matches("actions=[revert").count();
    let before = looks(&world);
    world.run(600);
    let more = looks(&world) - before;
    assert!((3..=6).contains(&more), "{more} looks in ten minutes");
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.run(180);
    assert_eq!(request_of(&mut world), (GitRevertState::AwaitingSync, PullRequestState::Merged));
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 30);
    assert_eq!(request_of(&mut world), (GitRevertState::Reverted, PullRequestState::Merged));
    assert!(world.withdrawals.is_empty());
    world.assert_safe();
}

#[test]
fn a_request_that_people_close_is_a_veto_and_nothing_more_happens() {
    let mut world = proposed();
    world.git_answer = Some(RevertResult::Vetoed { number: 7, url: PAGE.into() });
    world.run(180);
    assert_eq!(request_of(&mut world), (GitRevertState::Vetoed, PullRequestState::Closed));
    let before = world.timeline.matches("actions=[revert").count();
    world.run(1200);
    assert_eq!(world.timeline.matches("actions=[revert").count(), before);
    assert!(world.withdrawals.is_empty());
}

#[test]
fn a_request_that_a_newer_version_makes_needless_is_withdrawn_once() {
    let mut world = proposed();
    world.verdicts.clear();
    world.withdraw_answer = Some(PullRequestState::Withdrawn);
    world.push("web:3");
    world.run(60);
    let expected = (GitRevertState::Superseded, PullRequestState::Withdrawn);
    assert_eq!(request_of(&mut world), expected, "{}", world.timeline);
    world.run(1200);
    assert_eq!(world.withdrawals, ["Closed by Sluice: a newer template was declared."]);
    world.assert_safe();
}

#[test]
fn a_request_that_was_merged_before_anybody_looked_is_not_closed() {
    let mut world = proposed();
    world.withdraw_answer = Some(PullRequestState::Merged);
    world.push("web:1");
    world.run_until(RolloutPhase::Healthy, 60);
    assert_eq!(request_of(&mut world), (GitRevertState::Reverted, PullRequestState::Merged));
}

#[test]
fn trouble_with_the_forge_leaves_an_open_request_open_and_a_withdrawal_is_tried_again() {
    let mut world = proposed();
    let down = RevertResult::Failed { message: "503".into(), retryable: true };
    world.git_answer = Some(down);
    world.run(600);
    assert_eq!(request_of(&mut world), (GitRevertState::PullRequestOpen, PullRequestState::Open));
    world.verdicts.clear();
    world.push("web:3");
    world.run(900);
    let tries = world.withdrawals.len();
    assert!((2..=5).contains(&tries), "{tries} tries in 15 minutes");
    world.withdraw_answer = Some(PullRequestState::Withdrawn);
    world.run(400);
    assert_eq!(request_of(&mut world), (GitRevertState::Superseded, PullRequestState::Withdrawn));
}

/// A revert that waits for 30 seconds, as usual.
fn settling(more: &str) -> World {
    let git = format!("{}{more}", GIT.replace("settle: 0s", "maxPerDay: 9"));
    let mut world = routed(5, WITH_ANALYSIS, &git);
    world.ledger_answer = Some(commit('a'));
    world.run_until(RolloutPhase::Healthy, 30);
    world.ledger_answer = Some(commit('b'));
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.push("web:2");
    world.run(10);
    world
}

fn fail(world: &mut World) {
    world.verdicts.insert("Step", failed());
    world.run_until(RolloutPhase::Degraded, 60);
    world.run(3);
}

fn state(world: &mut World) -> (GitRevertState, String) {
    let revert = world.status().git_revert.clone().expect("a revert");
    (revert.state, revert.reason)
}

#[test]
fn a_person_has_the_settle_time_to_be_faster_than_the_revert() {
    let mut world = settling("");
    fail(&mut world);
    assert_eq!(state(&mut world), (GitRevertState::Planned, String::new()));
    let waits = &world.status().waiting_on;
    let wait = waits.iter().find(|wait| wait.what.contains("leaves people time"));
    assert!(wait.is_some_and(|wait| wait.until.is_some()), "{waits:?}");
    world.run(20);
    assert!(!world.timeline.contains("actions=[revert"), "{}", world.timeline);
    world.run(15);
    assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
    // Somebody who fixes it meanwhile is left alone.
    let mut world = settling("");
    fail(&mut world);
    world.verdicts.clear();
    world.push("web:3");
    world.run(120);
    assert_eq!(state(&mut world).0, GitRevertState::Superseded);
    assert!(!world.timeline.contains("actions=[revert"));
    world.assert_safe();
}

#[test]
fn a_person_who_says_now_waits_for_no_settle_time() {
    let mut world = settling("");
    fail(&mut world);
    world.status().git_revert.as_mut().unwrap().approved = true;
    world.run(3);
    assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
}

#[test]
fn who_tries_the_failed_version_again_stops_the_revert_until_it_fails_again() {
    let mut world = settling("");
    fail(&mut world);
    world.retry();
    world.run(4);
    assert_eq!(state(&mut world), (GitRevertState::Superseded, "Retried".to_owned()));
    world.run_until(RolloutPhase::Degraded, 60);
    assert!(!world.timeline.contains("actions=[revert"), "{}", world.timeline);
    // The same commit declares it, and nothing was written yet.
    world.run(40);
    assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
    assert_eq!(world.timeline.matches("actions=[revert").count(), 1);
    world.assert_safe();
}

#[test]
fn a_request_for_a_version_that_was_promoted_after_all_is_withdrawn() {
    let mut world = proposed();
    world.verdicts.clear();
    world.withdraw_answer = Some(PullRequestState::Withdrawn);
    world.retry();
    world.run(4);
    assert_eq!(request_of(&mut world).1, PullRequestState::Open, "it may fail again");
    world.run_until(RolloutPhase::Healthy, 300);
    world.run(10);
    let expected = (GitRevertState::Superseded, PullRequestState::Withdrawn);
    assert_eq!(request_of(&mut world), expected, "{}", world.timeline);
    assert_eq!(world.stable_image(), "web:2");
}

#[test]
fn scenario_47_many_failures_at_once_change_no_git_until_a_person_says_so() {
    let mut world = settling("");
    world.git.around = Some(Around { failed_lately: 4, written_to_repository: 0 });
    fail(&mut world);
    assert_eq!(state(&mut world), (GitRevertState::Suspended, "ManyFailures".to_owned()));
    let message = world.status().git_revert.clone().unwrap().message;
    assert!(message.starts_with("4 Rollouts failed within 10 minutes"), "{message}");
    // The time being over lets no mass of reverts loose.
    world.git.around = Some(Around::default());
    world.run(1800);
    assert_eq!(state(&mut world).0, GitRevertState::Suspended);
    assert!(!world.timeline.contains("actions=[revert"), "{}", world.timeline);
    world.git.around = Some(Around { failed_lately: 9, written_to_repository: 0 });
    world.status().git_revert.as_mut().unwrap().approved = true;
    world.run(5);
    assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
}

#[test]
fn three_failures_are_no_incident_and_the_limit_can_be_switched_off() {
    for (failed_lately, failures) in [(3, 3), (50, 0)] {
        let mut world = settling("");
        world.git.around = Some(Around { failed_lately, written_to_repository: 0 });
        world.git.limits.failures = failures;
        fail(&mut world);
        world.run(40);
        assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
    }
}

#[test]
fn a_repository_has_a_budget_of_its_own_that_no_approval_lifts() {
    let mut world = settling("");
    world.git.around = Some(Around { failed_lately: 1, written_to_repository: 10 });
    fail(&mut world);
    assert_eq!(state(&mut world), (GitRevertState::Suspended, "BudgetSpent".to_owned()));
    world.status().git_revert.as_mut().unwrap().approved = true;
    world.run(60);
    assert_eq!(state(&mut world).0, GitRevertState::Suspended);
    assert!(!world.timeline.contains("actions=[revert"));
}

#[test]
fn how_the_others_are_not_being_known_holds_the_revert_and_nothing_else() {
    let mut world = settling("");
    world.git.around = None;
    fail(&mut world);
    world.run(120);
    assert_eq!((state(&mut world).0, world.actual()), (GitRevertState::Planned, 0));
    let waits = &world.status().waiting_on;
    assert!(waits.iter().any(|wait| wait.what.contains("how many other Rollouts")), "{waits:?}");
    world.git.around = Some(Around::default());
    world.run(10);
    assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync);
}

#[test]
fn scenario_48_an_abort_by_hand_leaves_git_alone_unless_it_is_asked_for() {
    for is_late in [false, true] {
        let mut world = settling("");
        if is_late {
            world.abort();
            world.run(120);
            assert!(world.status().git_revert.is_none(), "{}", world.timeline);
            assert_eq!(world.status().revisions[0].outcome, RevisionOutcome::Aborted);
        }
        world.abort_and_revert();
        world.run(5);
        assert_eq!(state(&mut world).0, GitRevertState::Planned, "{}", world.timeline);
        assert!(!world.status().revert_git, "the wish is recorded");
        let failed = world.status().failed_revisions[0].clone();
        assert_eq!(failed.by, "alice@example.org");
        world.run(40);
        let order = &world.orders[0];
        let told = (order.stopped_at.as_str(), order.cause.as_str(), order.run.as_str());
        assert_eq!(told, ("the request of alice@example.org", "", ""));
        assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
        world.push("web:1");
        world.run_until(RolloutPhase::Healthy, 60);
        assert_eq!(state(&mut world).0, GitRevertState::Reverted);
        assert_eq!(world.status().revisions[1].reverted_by, Some(commit('c').to_string()));
        // As after a failed analysis it is not let in again.
        world.push("web:2");
        world.run(60);
        assert!(is_quarantined(&mut world), "{}", world.timeline);
        world.assert_safe();
    }
}

#[test]
fn scenario_49_who_is_to_approve_sees_the_patch_and_a_branch_that_is_right_needs_nobody() {
    let suggested = RevertResult::Suggested { patch: "-2\n+1\n".into(), reason: "mode".into() };
    let mut world = settling("  approval: Manual\n");
    world.git_answer = Some(suggested.clone());
    fail(&mut world);
    world.run(60);
    let revert = world.status().git_revert.clone().unwrap();
    assert_eq!(
        (revert.state, revert.patch.as_str()),
        (GitRevertState::AwaitingApproval, "-2\n+1\n")
    );
    let wait = &world.status().waiting_on[0].what;
    assert!(wait.contains("a person to approve"), "{wait}");
    assert!(world.orders.iter().all(|order| order.is_preview), "nothing is written yet");
    world.git_answer = Some(RevertResult::Pushed(commit('c')));
    world.status().git_revert.as_mut().unwrap().approved = true;
    world.run(5);
    assert_eq!(state(&mut world).0, GitRevertState::AwaitingSync, "{}", world.timeline);
    assert!(world.orders.last().is_some_and(|order| !order.is_preview));
    // HEAD is put right meanwhile.
    for (answer, expected) in [
        (RevertResult::AlreadyReverted, GitRevertState::AlreadyReverted),
        (RevertResult::Superseded, GitRevertState::Superseded),
    ] {
        let mut world = settling("  approval: Manual\n");
        world.git_answer = Some(suggested.clone());
        fail(&mut world);
        world.git_answer = Some(answer);
        world.run(300);
        assert_eq!(state(&mut world).0, expected, "{}", world.timeline);
    }
}

#[test]
fn a_rollback_to_an_earlier_stable_version_that_fails_too_is_only_suggested() {
    let mut world = settling("  cooldown: 0s\n");
    world.run_until(RolloutPhase::Healthy, 300);
    assert_eq!(world.stable_image(), "web:2");
    world.ledger_answer = Some(commit('d'));
    let suggested = RevertResult::Suggested { patch: "-2\n+1\n".into(), reason: "mode".into() };
    world.git_answer = Some(suggested);
    world.push("web:1");
    world.run(5);
    fail(&mut world);
    world.run(60);
    let revert = world.status().git_revert.clone().unwrap();
    assert_eq!(revert.state, GitRevertState::Suggested, "{}", world.timeline);
    assert!(revert.message.contains("had been stable before"), "{}", revert.message);
    let modes: Vec<GitRevertMode> = world.orders.iter().map(|order| order.mode).collect();
    assert_eq!(modes, [GitRevertMode::Suggest]);
}
