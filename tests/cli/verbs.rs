//! Commands that change something.

use http::Method;
use serde_json::{Value, json};

use crate::fake::{ROLLOUTS, RUNS, SETS};
use crate::fixtures::{change, cluster, healthy, now_is, replica_set};

fn aborted(rollout: &mut Value) {
    let status = rollout["status"].as_object_mut().unwrap();
    status.insert("abort".to_owned(), json!(true));
    status.insert("abortedAt".to_owned(), json!("2026-08-17T11:59:00.000Z"));
    status.insert("phase".to_owned(), json!("Degraded"));
    status.remove("pauseConditions");
    status.remove("controllerPause");
}

#[tokio::test]
async fn abort_asks_in_status_and_says_who_asked() {
    let fake = cluster();
    let outcome = fake.run("abort shop").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(outcome.out, "rollout \"shop\" is aborted: all traffic goes back to revision aaa\n");
    let rollout = now_is(&fake);
    assert_eq!(rollout["status"]["abort"], json!(true));
    assert_eq!(
        rollout["status"]["lastRequest"],
        json!({"verb": "abort", "at": "2026-08-17T12:00:00.000Z", "by": "alice@example.org"})
    );
    // What this version does not know is left as it is.
    assert_eq!(rollout["status"]["unknownToThisVersion"], json!({"kept": true}));
    assert_eq!(fake.writes().len(), 1);
}

#[tokio::test]
async fn the_name_in_the_kubeconfig_stands_in_when_the_server_cannot_tell() {
    let fake = cluster();
    fake.without_reviews();
    fake.run("abort shop").await;
    assert_eq!(now_is(&fake)["status"]["lastRequest"]["by"], json!("kubeconfig-user"));
}

#[tokio::test]
async fn nonsense_is_answered_politely_and_writes_nothing() {
    for (line, expected) in [
        ("abort shop", "has no update in progress: nothing to abort"),
        ("promote shop", "has no update in progress: nothing to promote"),
        ("promote shop --full", "has no update in progress: nothing to promote"),
        ("retry shop", "is not aborted: nothing to retry"),
        ("release-hold shop", "holds no version"),
        ("resume shop", "is not paused by spec.paused"),
        ("revert shop --approve", "has no Git revert: nothing to approve"),
        ("set image shop web=shop:v2", "has these images already"),
        ("undo shop --to-revision 2", "has the template of revision 2 already"),
    ] {
        let fake = healthy();
        let outcome = fake.run(line).await;
        assert_eq!(outcome.code, 0, "{line}: {}", outcome.err);
        assert_eq!(outcome.out, format!("rollout \"shop\" {expected}\n"), "{line}");
        assert_eq!(fake.writes(), Vec::<String>::new(), "{line}");
    }
}

#[tokio::test]
async fn a_verb_as_json_says_whether_anything_changed() {
    let data = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let changed = data(&cluster().run("pause shop -o json").await.out);
    assert_eq!(
        changed,
        json!({"name": "shop", "namespace": "shop", "verb": "pause", "changed": true,
            "message": "is paused until `resume`"})
    );
    assert_eq!(data(&healthy().run("abort shop -o json").await.out)["changed"], json!(false));
}

#[tokio::test]
async fn promote_ends_a_pause_and_leaves_the_mark_that_says_so() {
    let fake = cluster();
    let outcome = fake.run("promote shop").await;
    assert_eq!(outcome.out, "rollout \"shop\" goes on after its pause\n", "{}", outcome.err);
    let status = &now_is(&fake)["status"];
    assert_eq!(status.get("pauseConditions"), None);
    assert_eq!(status["controllerPause"], json!(true));
    assert_eq!(status["currentStepIndex"], json!(1));
    // A second time, before the controller has acted, must not skip a step.
    let again = fake.run("promote shop").await;
    assert!(again.out.contains("was told to go on already"), "{}", again.out);
    assert_eq!(now_is(&fake)["status"]["currentStepIndex"], json!(1));
}

#[tokio::test]
async fn promote_skips_the_step_when_nothing_pauses() {
    let fake = cluster();
    change(&fake, |rollout| {
        let status = rollout["status"].as_object_mut().unwrap();
        status.remove("pauseConditions");
        status.remove("controllerPause");
        status.insert("currentStepIndex".to_owned(), json!(3));
        status.insert("phase".to_owned(), json!("Progressing"));
    });
    let outcome = fake.run("promote shop").await;
    assert_eq!(outcome.out, "rollout \"shop\" skips step 4 of 4\n", "{}", outcome.err);
    assert_eq!(now_is(&fake)["status"]["currentStepIndex"], json!(4));
    let outcome = fake.run("promote shop").await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("is at no step that could be skipped"), "{}", outcome.err);
}

#[tokio::test]
async fn promote_of_a_held_rollout_clears_the_hold_and_skips_nothing() {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["spec"]["paused"] = json!(true);
        rollout["status"].as_object_mut().unwrap().remove("pauseConditions");
        rollout["status"].as_object_mut().unwrap().remove("controllerPause");
    });
    let outcome = fake.run("promote shop").await;
    assert_eq!(outcome.out, "rollout \"shop\" goes on: spec.paused is cleared\n");
    let rollout = now_is(&fake);
    assert_eq!(rollout["spec"].get("paused"), None);
    assert_eq!(rollout["status"]["currentStepIndex"], json!(1));
    assert_eq!(rollout["status"]["lastRequest"]["verb"], json!("promote"));
}

#[tokio::test]
async fn promote_full_asks_in_status_and_clears_the_hold() {
    let fake = cluster();
    change(&fake, |rollout| rollout["spec"]["paused"] = json!(true));
    let outcome = fake.run("promote shop --full").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let rollout = now_is(&fake);
    assert_eq!(rollout["status"]["promoteFull"], json!(true));
    assert_eq!(rollout["status"]["lastRequest"]["verb"], json!("promote-full"));
    assert_eq!(rollout["spec"].get("paused"), None);
    assert_eq!(fake.writes().len(), 2);
}

#[tokio::test]
async fn an_aborted_rollout_is_retried_and_never_promoted() {
    let fake = cluster();
    change(&fake, aborted);
    for line in ["promote shop", "promote shop --full"] {
        let outcome = fake.run(line).await;
        assert_eq!(outcome.code, 1, "{line}");
        assert!(outcome.err.contains("hint: try the update again: kubectl sluice retry shop"));
    }
    assert!(fake.run("abort shop").await.out.contains("was aborted already"));
    let outcome = fake.run("retry shop").await;
    assert_eq!(outcome.out, "rollout \"shop\" is tried again from its first step\n");
    let status = &now_is(&fake)["status"];
    assert_eq!(status.get("abort"), None);
    assert_eq!(status["abortedAt"], json!("2026-08-17T11:59:00.000Z"));
    assert!(fake.run("retry shop").await.out.contains("is being tried again already"));
}

#[tokio::test]
async fn a_version_that_is_held_is_released_on_purpose_only() {
    let fake = cluster();
    let hold = |outcome: &'static str| {
        move |rollout: &mut Value| {
            aborted(rollout);
            let current = rollout["status"]["currentPodHash"].clone();
            rollout["status"]["revisions"] = json!([{
                "revision": current, "digest": "d", "outcome": outcome,
                "observedAt": "2026-08-17T11:59:00.000Z",
            }]);
            rollout["status"]["failedRevisions"] =
                json!([{"revision": current, "digest": "d", "at": "2026-08-17T11:00:00.000Z"}]);
        }
    };
    change(&fake, hold("Failed"));
    let outcome = fake.run("release-hold shop").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("hint: try it again: kubectl sluice retry shop"),
        "{}",
        outcome.err
    );
    change(&fake, hold("Quarantined"));
    let why = fake.run("explain shop").await.out;
    assert!(why.contains("kubectl sluice release-hold shop"), "{why}");
    let outcome = fake.run("release-hold shop").await;
    assert_eq!(outcome.out, "rollout \"shop\" is tried again from its first step\n");
    let status = &now_is(&fake)["status"];
    assert_eq!((status.get("abort"), &status["failedRevisions"]), (None, &json!([])));
    assert_eq!(status["lastRequest"]["verb"], json!("release-hold"));
}

#[tokio::test]
async fn pause_and_resume_write_the_spec_and_note_who_asked() {
    let fake = cluster();
    fake.run("pause shop").await;
    let rollout = now_is(&fake);
    assert_eq!(rollout["spec"]["paused"], json!(true));
    assert_eq!(rollout["status"]["lastRequest"]["verb"], json!("pause"));
    assert!(fake.run("pause shop").await.out.contains("is paused already"));
    fake.run("resume shop").await;
    let rollout = now_is(&fake);
    assert_eq!(rollout["spec"].get("paused"), None);
    assert_eq!(rollout["status"]["lastRequest"]["verb"], json!("resume"));
}

#[tokio::test]
async fn a_pause_holds_even_when_nobody_may_note_who_asked() {
    let fake = cluster();
    fake.refuse(Method::PATCH, "/status", 403, 9);
    let outcome = fake.run("pause shop").await;
    assert_eq!(outcome.code, 0);
    assert!(outcome.err.contains("warning: who asked could not be noted"), "{}", outcome.err);
    assert_eq!(now_is(&fake)["spec"]["paused"], json!(true));
}

#[tokio::test]
async fn a_wish_survives_a_write_of_the_controller_in_between() {
    let fake = cluster();
    let other = fake.clone();
    fake.before_patch(move |state| {
        state.change(crate::fake::ROLLOUTS, "shop", |rollout| {
            rollout["status"]["readyReplicas"] = json!(5);
        });
        drop(other);
    });
    let outcome = fake.run("abort shop").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let status = &now_is(&fake)["status"];
    assert_eq!((&status["abort"], &status["readyReplicas"]), (&json!(true), &json!(5)));
    assert_eq!(fake.writes().len(), 2);
}

#[tokio::test]
async fn a_promotion_that_is_overtaken_skips_no_other_step() {
    let fake = cluster();
    fake.before_patch(|state| {
        state.change(crate::fake::ROLLOUTS, "shop", |rollout| {
            rollout["status"]["currentStepIndex"] = json!(2);
            rollout["status"].as_object_mut().unwrap().remove("pauseConditions");
            rollout["status"].as_object_mut().unwrap().remove("controllerPause");
        });
    });
    let outcome = fake.run("promote shop").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("has moved on by itself meanwhile"), "{}", outcome.out);
    assert_eq!(now_is(&fake)["status"]["currentStepIndex"], json!(2));
}

#[tokio::test]
async fn endless_conflicts_end_after_five_tries() {
    let fake = cluster();
    fake.refuse(Method::PATCH, "/status", 409, 99);
    let outcome = fake.run("abort shop").await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("5 times in a row"), "{}", outcome.err);
    assert!(outcome.err.contains("hint: try again"), "{}", outcome.err);
    assert_eq!(fake.writes().len(), 5);
}

#[tokio::test]
async fn a_refused_write_asks_the_right_question() {
    let fake = cluster();
    fake.refuse(Method::PATCH, "/status", 403, 9);
    let outcome = fake.run("abort shop").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .err
            .contains("kubectl auth can-i patch rollouts.sluice.dev --subresource=status -n shop"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn several_rollouts_are_done_one_by_one_and_a_missing_one_fails_alone() {
    let fake = cluster();
    let outcome = fake.run("abort nope shop").await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("\"nope\" not found"), "{}", outcome.err);
    assert_eq!(now_is(&fake)["status"]["abort"], json!(true));
}

#[tokio::test]
async fn undo_goes_to_stable_during_an_update_without_the_revision_label() {
    let fake = cluster();
    let outcome = fake.run("undo shop").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(outcome.out, "rollout \"shop\" has the template of revision 1 (aaa) again\n");
    assert!(outcome.err.contains("puts the newer template back"), "{}", outcome.err);
    assert_eq!(
        now_is(&fake)["spec"]["template"],
        json!({"metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "web", "image": "shop:v1"}]}})
    );
}

#[tokio::test]
async fn undo_of_a_finished_update_skips_revisions_that_failed() {
    let fake = healthy();
    fake.with(|state| state.put(SETS, replica_set("bad", 3, "shop:v3", 0)));
    change(&fake, |rollout| {
        rollout["status"]["revisions"] = json!([{"revision": "bad", "digest": "d",
            "observedAt": "2026-08-17T10:00:00Z", "outcome": "Failed"}]);
        rollout["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": "x"});
    });
    let outcome = fake.run("undo shop").await;
    assert!(outcome.out.contains("revision 1 (aaa)"), "{} {}", outcome.out, outcome.err);
    assert!(outcome.err.contains("warning: Argo CD manages this Rollout"), "{}", outcome.err);
}

#[tokio::test]
async fn undo_refuses_what_is_not_there() {
    let outcome = cluster().run("undo shop --to-revision 7").await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("keeps no revision 7"), "{}", outcome.err);
    assert!(outcome.err.contains("hint: it keeps: 1, 2"), "{}", outcome.err);
    let fake = healthy();
    fake.with(|state| state.delete(SETS, "shop-aaa"));
    let outcome = fake.run("undo shop").await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("no earlier revision that was good"), "{}", outcome.err);
}

#[tokio::test]
async fn restart_writes_the_time() {
    let fake = healthy();
    let outcome = fake.run("restart shop --in 10m").await;
    assert!(outcome.out.contains("restarts its pods in 10m"), "{}", outcome.out);
    assert_eq!(now_is(&fake)["spec"]["restartAt"], json!("2026-08-17T12:10:00Z"));
    assert_eq!(fake.run("restart shop --in soon").await.code, 2);
}

#[tokio::test]
async fn set_image_changes_the_named_container_alone() {
    let fake = healthy();
    change(&fake, |rollout| {
        let containers = rollout["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
        containers.push(json!({"name": "proxy", "image": "proxy:1"}));
    });
    let outcome = fake.run("set image shop web=registry.example:5000/shop:v3").await;
    assert_eq!(
        outcome.out,
        "rollout \"shop\" has a new template: web runs registry.example:5000/shop:v3\n"
    );
    let images = |fake: &crate::fake::Fake| {
        let rollout = now_is(fake);
        let containers = rollout["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        containers.iter().map(|it| it["image"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(images(&fake), ["registry.example:5000/shop:v3", "proxy:1"]);
    fake.run("set image shop *=all:1").await;
    assert_eq!(images(&fake), ["all:1", "all:1"]);
    let outcome = fake.run("set image shop nope=x").await;
    assert!(outcome.err.contains("hint: its containers are: web, proxy"), "{}", outcome.err);
    assert_eq!(fake.run("set image shop web").await.code, 2);
}

#[tokio::test]
async fn a_git_revert_is_approved_only_while_it_waits() {
    let fake = cluster();
    let put = |state: &str| {
        change(&fake, |rollout| {
            rollout["status"]["gitRevert"] = json!({"state": state, "id": "1", "patch": "-a\n+b",
                "failedRevision": "bbb", "at": "2026-08-17T11:58:00Z"});
        });
    };
    put("AwaitingApproval");
    let shown = fake.run("revert shop").await;
    assert_eq!(shown.code, 3);
    assert!(shown.out.contains("-a\n+b"), "{}", shown.out);
    assert!(shown.err.contains("hint: let it be written"), "{}", shown.err);
    let outcome = fake.run("revert shop --approve").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(now_is(&fake)["status"]["gitRevert"]["approved"], json!(true));
    put("Pushing");
    assert_eq!(fake.run("revert shop --approve").await.code, 1);
}

/// A Rollout whose revert is in this state, with further fields.
fn reverting(state: &str, more: &Value) -> crate::fake::Fake {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["spec"]["gitRevert"] = json!({"mode": "Push", "source": {"branch": "main",
            "url": "https://git.example/env.git", "path": "apps/shop"}});
        let mut revert = json!({"state": state, "id": "1", "failedRevision": "bbb",
            "url": "https://git.example/env.git", "at": "2026-08-17T11:58:00Z"});
        revert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rollout["status"]["gitRevert"] = revert;
        rollout["status"]["revisions"] = json!([
            {"revision": "bbb", "digest": "", "observedAt": "2026-08-17T11:57:00Z",
             "outcome": "Failed", "commit": "b".repeat(40)},
            {"revision": "aaa", "digest": "", "observedAt": "2026-08-16T11:57:00Z",
             "outcome": "Stable", "commit": "a".repeat(40)}]);
    });
    fake
}

#[tokio::test]
async fn a_git_revert_that_waits_for_a_time_begins_now_and_one_that_is_refused_does_not() {
    let many = json!({"reason": "ManyFailures"});
    for (state, more) in
        [("Planned", json!({})), ("AwaitingApproval", json!({})), ("Suspended", many)]
    {
        let fake = reverting(state, &more);
        let outcome = fake.run("revert shop --now").await;
        assert_eq!(outcome.code, 0, "{state}: {}", outcome.err);
        let status = &now_is(&fake)["status"];
        assert_eq!(status["gitRevert"]["approved"], json!(true));
        assert_eq!(status["lastRequest"]["verb"], json!("revert-now"));
    }
    for (state, more) in [
        ("Planned", json!({"tries": 2})),
        ("Suspended", json!({"reason": "BudgetSpent"})),
        ("Blocked", json!({})),
        ("Vetoed", json!({})),
        ("AwaitingSync", json!({})),
    ] {
        let fake = reverting(state, &more);
        let outcome = fake.run("revert shop --now").await;
        assert_eq!(outcome.code, 1, "{state}");
        let told = format!("waits for nothing that could be left out: it is {state}");
        assert!(outcome.err.contains(&told), "{}", outcome.err);
        assert_eq!(fake.writes(), Vec::<String>::new(), "{state}");
    }
    // A settle time is nobody's approval.
    let planned = reverting("Planned", &json!({})).run("revert shop --approve").await;
    assert!(planned.err.contains("waits for nobody's approval"), "{}", planned.err);
    for line in ["revert shop --now --approve", "revert shop --now --print-patch"] {
        assert_eq!(cluster().run(line).await.code, 2, "{line}");
    }
}

#[tokio::test]
async fn a_patch_is_printed_byte_for_byte_or_it_is_said_where_the_change_is() {
    let patch = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n \n-image: shop:v2 \n+image: shop:v1\n";
    let fake = reverting("Suggested", &json!({"patch": patch}));
    let outcome = fake.run("revert shop --print-patch").await;
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (0, patch, ""));
    let data: Value =
        serde_json::from_str(&fake.run("revert shop --print-patch -o json").await.out).unwrap();
    assert_eq!(data, json!({"patch": patch}));
    let commit = "c".repeat(40);
    for (fake, told) in [
        (cluster(), "has no Git revert, and so no patch".to_owned()),
        (reverting("Planned", &json!({})), "hint: it is made in a moment".to_owned()),
        (reverting("AwaitingSync", &json!({"commit": commit})), format!("git show {commit}")),
        (
            reverting(
                "PullRequestOpen",
                &json!({"pullRequest":
                {"number": 7, "url": "https://git.example/7", "state": "Open"}}),
            ),
            "hint: see the pull request: https://git.example/7".to_owned(),
        ),
        (
            reverting("Blocked", &json!({"message": "no commit is known"})),
            "it is Blocked\nhint: no commit is known".to_owned(),
        ),
        (
            reverting("Suggested", &json!({"patch": "x".repeat(8192)})),
            format!(
                "hint: this prints all of it: sluice git restore --repo https://git.example/env.git \
                 --branch main --path apps/shop --rollout shop/shop --good {} --bad {}",
                "a".repeat(40),
                "b".repeat(40)
            ),
        ),
    ] {
        let outcome = fake.run("revert shop --print-patch").await;
        assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
        assert!(outcome.err.contains(&told), "{} has no {told}", outcome.err);
    }
}

#[tokio::test]
async fn abort_asks_for_the_git_revert_where_there_can_be_one() {
    let with_git = |mode: &str| {
        let fake = cluster();
        change(&fake, |rollout| rollout["spec"]["gitRevert"] = json!({"mode": mode}));
        fake
    };
    let fake = with_git("Push");
    let outcome = fake.run("abort shop --revert-git").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let status = now_is(&fake)["status"].clone();
    assert_eq!((&status["abort"], &status["revertGit"]), (&json!(true), &json!(true)));
    assert_eq!(status["lastRequest"]["verb"], json!("abort-revert-git"));
    for fake in [cluster(), with_git("Disabled")] {
        let outcome = fake.run("abort shop --revert-git").await;
        assert_eq!(outcome.code, 1);
        assert!(outcome.err.contains("spec.gitRevert.mode is Disabled"), "{}", outcome.err);
        assert!(outcome.err.contains("or abort without --revert-git"), "{}", outcome.err);
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
    // Of an update that was aborted before.
    for (outcome_of_it, code, told) in [
        ("Aborted", 0, "now revision bbb is taken back in Git, too"),
        ("Failed", 0, "is dealt with in Git already"),
        ("Quarantined", 1, "was declared again, and is refused"),
    ] {
        let fake = with_git("PullRequest");
        change(&fake, |rollout| {
            aborted(rollout);
            rollout["status"]["revisions"] = json!([{"revision": "bbb", "digest": "",
                "observedAt": "2026-08-17T11:57:00Z", "outcome": outcome_of_it}]);
        });
        let outcome = fake.run("abort shop --revert-git").await;
        assert_eq!(outcome.code, code, "{}", outcome.err);
        assert!(format!("{}{}", outcome.out, outcome.err).contains(told), "{outcome:?}");
        let is_asked = now_is(&fake)["status"]["revertGit"] == json!(true);
        assert_eq!(is_asked, outcome_of_it == "Aborted");
    }
    let outcome = healthy().run("abort shop --revert-git").await;
    assert_eq!(outcome.code, 1, "without spec.gitRevert it is refused before anything else");
}

#[tokio::test]
async fn a_running_analysis_is_ended_once() {
    let fake = cluster();
    let outcome = fake.run("terminate analysisrun shop-bbb-1-background").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let run = fake.with(|state| state.get(RUNS, "shop-bbb-1-background"));
    assert_eq!(run["spec"]["terminate"], json!(true));
    let outcome = fake.run("terminate analysisrun shop-bbb-1-background").await;
    assert!(outcome.out.contains("is being ended already"), "{}", outcome.out);
    assert_eq!(fake.writes().len(), 1);
}

#[tokio::test]
async fn the_forms_of_argo_rollouts_plugin_are_understood() {
    for line in [
        "abort shop",
        "abort rollout shop",
        "abort rollouts shop",
        "abort ro shop",
        "abort rollout/shop",
        "abort rollout.sluice.dev/shop",
        "promote rollout shop",
        "promote rollout/shop --full",
        "pause rollout shop",
        "restart rollout shop -i 10m",
        "undo rollout shop",
        "undo rollout/shop --to-revision 1",
        "set image shop web=shop:v9",
        "set image rollout shop web=shop:v9",
        "set image rollout/shop *=shop:v9",
    ] {
        let fake = cluster();
        let outcome = fake.run(line).await;
        assert_eq!(outcome.code, 0, "{line}: {}", outcome.err);
        assert!(outcome.out.starts_with("rollout \"shop\" "), "{line}: {}", outcome.out);
        assert!(!fake.writes().is_empty(), "{line}");
    }
    for line in ["retry rollout shop", "retry shop", "resume rollout shop"] {
        let outcome = healthy().run(line).await;
        assert_eq!(outcome.code, 0, "{line}: {}", outcome.err);
        assert!(outcome.out.starts_with("rollout \"shop\" "), "{line}: {}", outcome.out);
    }
}

#[tokio::test]
async fn a_rollout_that_is_named_like_its_kind_can_be_meant() {
    for line in ["abort rollout", "abort rollout rollout", "abort rollout/rollout"] {
        let fake = cluster();
        fake.with(|state| {
            let mut namesake = state.get(ROLLOUTS, "shop");
            namesake["metadata"]["name"] = json!("rollout");
            namesake["metadata"]["uid"] = json!("another-uid");
            state.put(ROLLOUTS, namesake);
        });
        let outcome = fake.run(line).await;
        assert!(outcome.out.starts_with("rollout \"rollout\" is aborted"), "{line}: {outcome:?}");
        assert_eq!(fake.writes(), [format!("PATCH {ROLLOUTS}/rollout/status")], "{line}");
    }
    let outcome = cluster().run("set image rollout web=shop:v9").await;
    assert!(outcome.err.contains("Rollout \"rollout\" not found"), "{outcome:?}");
    let hint = "hint: \"rollout\" was taken as a name; write for example: kubectl sluice status \
                rollout web";
    assert!(outcome.err.contains(hint), "{outcome:?}");
}

#[tokio::test]
async fn what_names_no_rollout_is_told_before_anything_is_asked() {
    for (line, expected) in [
        (
            "abort deployment/shop",
            "error: \"deployment/shop\" names no Rollout\nhint: write NAME or rollout/NAME\n",
        ),
        (
            "status shop web",
            "error: takes one Rollout, but was given shop and web\nhint: give one name\n",
        ),
        ("retry experiment check", "error: Experiments are not supported yet\n"),
        ("set image shop", "error: names no image\nhint: write for example: kubectl sluice set"),
        ("set image rollout shop", "error: names no image\n"),
        ("set image shop shop:v2", "error: \"shop:v2\" is not CONTAINER=IMAGE\n"),
    ] {
        let fake = cluster();
        let outcome = fake.run(line).await;
        assert_eq!(outcome.code, 2, "{line}");
        assert!(outcome.err.starts_with(expected), "{line}: {}", outcome.err);
        assert_eq!(fake.with(|state| state.log.clone()), Vec::<String>::new(), "{line}");
    }
}

#[tokio::test]
async fn a_command_that_only_argo_rollouts_has_is_answered_with_what_to_use() {
    for (line, hint) in [
        ("create -f x.yaml", "hint: create objects with kubectl: kubectl create -f FILE\n"),
        ("dashboard", "hint: there is no dashboard yet; "),
        ("notifications", "hint: there are no notifications; "),
        ("terminate experiment x", "hint: Experiments are not supported yet\n"),
    ] {
        let outcome = cluster().run(line).await;
        assert_eq!(outcome.code, 2, "{line}");
        assert!(outcome.err.contains(hint), "{line}: {}", outcome.err);
    }
}
