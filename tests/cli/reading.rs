//! Commands that only read.

use http::Method;
use serde_json::{Value, json};

use crate::fake::{Fake, ROLLOUTS};
use crate::fixtures::{change, cluster, healthy};

#[tokio::test]
async fn get_shows_the_rollout_its_weights_its_waits_and_its_tree() {
    let outcome = cluster().run("get rollout shop").await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    insta::assert_snapshot!(outcome.out);
}

#[tokio::test]
async fn get_as_json_keeps_its_documented_shape() {
    let outcome = cluster().run("get rollout shop -o json").await;
    let data: Value = serde_json::from_str(&outcome.out).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&data).unwrap());
}

#[tokio::test]
async fn yaml_holds_the_same_data_as_json() {
    for command in [
        "get rollout shop",
        "get analysisrun shop-bbb-1-background",
        "list rollouts",
        "status shop",
        "explain shop",
        "version",
        "revert shop",
        "history shop",
    ] {
        let fake = cluster();
        let json: Value =
            serde_json::from_str(&fake.run(&format!("{command} -o json")).await.out).unwrap();
        let yaml: Value =
            serde_norway::from_str(&fake.run(&format!("{command} -o yaml")).await.out).unwrap();
        assert_eq!(json, yaml, "{command}");
    }
}

#[tokio::test]
async fn an_unconfirmed_weight_and_a_git_revert_are_told_in_words() {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["status"]["canary"]["weights"] = json!(null);
        rollout["status"]["gitRevert"] = json!({"state": "AwaitingApproval", "id": "1",
            "failedRevision": "bbb", "at": "2026-08-17T11:59:00Z",
            "message": "the revert of shop:v2 is ready"});
    });
    let outcome = fake.run("get rollout shop").await;
    assert!(outcome.out.contains("Desired weight:  20\n"), "{}", outcome.out);
    assert!(outcome.out.contains("Actual weight:   not known\n"), "{}", outcome.out);
    assert!(
        outcome.out.contains("‖ AwaitingApproval: the revert of shop:v2 is ready"),
        "{}",
        outcome.out
    );
}

#[tokio::test]
async fn a_rollout_without_status_is_shown_too() {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout.as_object_mut().unwrap().remove("status");
    });
    let outcome = fake.run("get rollout shop").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("the controller has not looked at it yet"), "{}", outcome.out);
}

#[tokio::test]
async fn an_analysis_run_is_shown_with_its_metrics() {
    let outcome = cluster().run("get analysisrun shop-bbb-1-background").await;
    insta::assert_snapshot!(outcome.out);
}

#[tokio::test]
async fn the_list_has_one_row_a_rollout_and_a_malformed_one_hides_no_other() {
    let fake = cluster();
    fake.with(|state| {
        state.put(
            ROLLOUTS,
            json!({"metadata": {"name": "broken", "namespace": "shop", "uid": "x"},
                "spec": {"replicas": "five", "strategy": {}}}),
        );
        state.put(
            &ROLLOUTS.replace("/shop/", "/other/"),
            json!({"metadata": {"name": "api", "namespace": "other", "uid": "y"},
                "spec": {"strategy": {"blueGreen": {"activeService": "api"}}},
                "status": {"phase": "Healthy"}}),
        );
    });
    let outcome = fake.run("list rollouts -A").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    insta::assert_snapshot!(outcome.out);
    let data: Value = serde_json::from_str(&fake.run("list rollouts -o json").await.out).unwrap();
    let names: Vec<&Value> =
        data["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["broken", "shop"]);
}

#[tokio::test]
async fn an_empty_list_says_so_on_stderr_and_prints_no_data() {
    let outcome = Fake::default().run("list rollouts").await;
    assert_eq!((outcome.code, outcome.out.as_str()), (0, ""));
    assert!(outcome.err.contains("no Rollouts in namespace \"shop\""), "{}", outcome.err);
    assert!(outcome.err.contains("hint: -A"), "{}", outcome.err);
    let outcome = Fake::default().run("list rollouts -o json").await;
    assert_eq!(serde_json::from_str::<Value>(&outcome.out).unwrap(), json!({"items": []}));
}

#[tokio::test]
async fn explain_says_why_it_waits_and_what_ends_the_wait() {
    insta::assert_snapshot!(cluster().run("explain shop").await.out);
    let outcome = healthy().run("explain shop").await;
    assert!(outcome.out.contains("Waiting on:      nothing"), "{}", outcome.out);
}

#[tokio::test]
async fn explain_names_the_command_for_every_standstill() {
    let cases: [(Value, &str); 4] = [
        (
            json!({"pauseConditions": [{"reason": "InconclusiveAnalysisRun",
            "startTime": "2026-08-17T11:58:00Z"}]}),
            "promote shop, or gives up with abort",
        ),
        (
            json!({"abort": true, "abortedAt": "2026-08-17T11:58:00Z", "phase": "Degraded",
            "pauseConditions": []}),
            "kubectl sluice retry shop",
        ),
        (
            json!({"phase": "Degraded", "conditions": [{"type": "InvalidSpec", "status": "True",
            "reason": "InvalidSpec"}]}),
            "kubectl sluice lint",
        ),
        (
            json!({"gitRevert": {"state": "AwaitingApproval", "id": "1", "failedRevision": "b",
            "at": "2026-08-17T11:58:00Z"}}),
            "kubectl sluice revert shop --approve",
        ),
    ];
    for (status, expected) in cases {
        let fake = cluster();
        change(&fake, |rollout| {
            let fields = rollout["status"].as_object_mut().unwrap();
            fields.extend(status.as_object().unwrap().clone());
        });
        let outcome = fake.run("explain shop").await;
        assert!(outcome.out.contains(expected), "{expected}: {}", outcome.out);
    }
}

#[tokio::test]
async fn status_tells_by_its_exit_code_how_a_rollout_stands() {
    let cases: [(&str, Value, u8); 5] = [
        ("Healthy", json!({}), 0),
        ("Degraded", json!({"message": "RolloutAborted: x"}), 1),
        ("Paused", json!({}), 3),
        ("Progressing", json!({}), 1),
        ("Paused", json!({"currentStepIndex": 4, "pauseConditions": []}), 1),
    ];
    for (phase, more, code) in cases {
        let fake = cluster();
        change(&fake, |rollout| {
            rollout["status"]["phase"] = json!(phase);
            let fields = rollout["status"].as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
        });
        let outcome = fake.run("status shop --watch=false").await;
        assert_eq!(outcome.code, code, "{phase} {more}: {} {}", outcome.out, outcome.err);
    }
    let outcome = cluster().run("status shop --watch=false").await;
    assert_eq!(outcome.out, "‖ Paused - CanaryPauseStep\n");
    assert_eq!(outcome.err, "hint: let it go on: kubectl sluice promote shop\n");
}

#[tokio::test]
async fn errors_say_what_failed_and_which_command_helps() {
    let missing = cluster().run("get rollout shopp").await;
    assert_eq!(missing.code, 1);
    assert_eq!(missing.out, "");
    assert_eq!(
        missing.err,
        "error: Rollout \"shopp\" not found in namespace \"shop\"\nhint: see which there are: \
         kubectl sluice list rollouts -n shop (-A for all namespaces)\n"
    );

    let fake = cluster();
    fake.refuse(Method::GET, "/pods", 403, 1);
    let forbidden = fake.run("get rollout shop").await;
    assert_eq!(forbidden.code, 1);
    assert_eq!(
        forbidden.err,
        "error: not allowed to list pods in namespace \"shop\": refused by the test\nhint: ask \
         what you may do: kubectl auth can-i list pods -n shop\n"
    );

    let fake = cluster();
    fake.unreachable();
    let unreachable = fake.run("list rollouts").await;
    assert_eq!(unreachable.code, 2);
    assert!(unreachable.err.contains("failed to reach the API server"), "{}", unreachable.err);
    assert!(unreachable.err.contains("connection refused"), "{}", unreachable.err);
    assert!(unreachable.err.contains("hint: check the server's address"), "{}", unreachable.err);

    let fake = cluster();
    fake.refuse(Method::GET, "/rollouts", 401, 1);
    let unknown = fake.run("list rollouts").await;
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("hint: log in again"), "{}", unknown.err);

    let fake = cluster();
    fake.refuse(Method::GET, "/rollouts", 404, 1);
    let no_crd = fake.run("list rollouts").await;
    assert_eq!(no_crd.code, 2);
    assert!(no_crd.err.contains("does not know rollouts.sluice.dev"), "{}", no_crd.err);
    assert!(no_crd.err.contains("--api-group"), "{}", no_crd.err);
}

#[tokio::test]
async fn a_malformed_rollout_is_refused_with_the_field() {
    let fake = cluster();
    change(&fake, |rollout| rollout["spec"]["replicas"] = json!("five"));
    let outcome = fake.run("get rollout shop").await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("malformed at spec.replicas"), "{}", outcome.err);
    assert!(outcome.err.contains("hint: correct the field"), "{}", outcome.err);
}

#[tokio::test]
async fn a_wrong_command_line_ends_with_2_and_help_is_data() {
    for line in ["promot shop", "promote", "get rollout", "list rollouts -o table", ""] {
        let outcome = cluster().run(line).await;
        assert_eq!((outcome.code, outcome.out.as_str()), (2, ""), "{line}");
        assert!(!outcome.err.is_empty(), "{line}");
    }
    let outcome = cluster().run("status shop --timeout soon").await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("hint: write for example 90s"), "{}", outcome.err);
    let outcome = cluster().run("list rollouts --api-group apps").await;
    assert_eq!(outcome.code, 2, "{}", outcome.err);
    for line in ["--help", "promote --help", "--version"] {
        let outcome = cluster().run(line).await;
        assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{line}");
        assert!(outcome.out.contains("sluice"), "{line}");
    }
}

#[tokio::test]
async fn commands_without_a_cluster_ask_none() {
    let fake = cluster();
    fake.unreachable();
    let version = fake.run("version").await;
    assert_eq!(version.code, 0);
    assert!(version.out.contains(env!("CARGO_PKG_VERSION")), "{}", version.out);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let outcome = fake.run(&format!("completion {shell}")).await;
        assert_eq!(outcome.code, 0);
        assert!(outcome.out.contains("promote"), "{shell}");
    }
}

#[tokio::test]
async fn the_group_of_argo_rollouts_is_spoken_when_asked_for() {
    let fake = Fake::default();
    let mut object = crate::fixtures::rollout();
    object["apiVersion"] = json!("argoproj.io/v1alpha1");
    fake.with(|state| state.put(&ROLLOUTS.replace("sluice.dev", "argoproj.io"), object));
    let outcome = fake.run("status shop --watch=false --api-group argoproj.io").await;
    assert_eq!(outcome.code, 3, "{}", outcome.err);
}

#[tokio::test]
async fn a_blue_green_update_shows_which_set_is_active_and_which_is_a_preview() {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["spec"]["strategy"] = json!({"blueGreen": {"activeService": "shop-active",
            "previewService": "shop-preview", "autoPromotionSeconds": 300}});
        let status = rollout["status"].as_object_mut().unwrap();
        status.remove("canary");
        status.remove("currentStepIndex");
        status.insert("message".to_owned(), json!("BlueGreenPause"));
        status.insert(
            "pauseConditions".to_owned(),
            json!([{"reason": "BlueGreenPause", "startTime": "2026-08-17T11:58:00Z"}]),
        );
        status.insert(
            "scaleDowns".to_owned(),
            json!([{"revision": "aaa", "at": "2026-08-17T12:00:25Z"}]),
        );
        status.insert(
            "blueGreen".to_owned(),
            json!({"activeSelector": "aaa", "previewSelector": "bbb", "stage": "Preview"}),
        );
    });
    fake.with(|state| {
        // One that cannot be understood hides nothing else.
        let mut broken = crate::fixtures::run();
        broken["metadata"]["name"] = json!("broken");
        broken["spec"]["metrics"] = json!("none");
        state.put(crate::fake::RUNS, broken);
    });
    insta::assert_snapshot!(fake.run("get rollout shop").await.out);
    // The pause ends by itself: nobody is needed.
    assert_eq!(fake.run("status shop --watch=false").await.code, 1);
}

#[tokio::test]
async fn colours_come_only_where_they_are_wanted_and_change_no_word() {
    let fake = cluster();
    let mut texts = Vec::new();
    for line in ["get rollout shop", "get rollout shop --no-color"] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = sluice::cli::Console {
            out: &mut out,
            err: &mut err,
            stdin: &mut std::io::empty(),
            terminal: sluice::cli::Terminal { is_interactive: false, has_color: true },
            now: &crate::fake::now,
            format: None,
        };
        let words = std::iter::once("kubectl-sluice").chain(line.split(' '));
        sluice::cli::run(words.map(Into::into), &mut console, &fake.connector()).await;
        texts.push(String::from_utf8(out).unwrap());
    }
    assert!(texts[0].contains("\x1b[33m‖ Paused\x1b[0m"), "{}", texts[0]);
    let escape = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    let bare: Vec<String> =
        texts[0].lines().map(|line| escape.replace_all(line, "").trim_end().to_owned()).collect();
    assert_eq!(bare, texts[1].lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn history_tells_what_was_released_judged_and_reverted_by_commit() {
    let fake = cluster();
    change(&fake, |rollout| {
        let status = rollout["status"].as_object_mut().unwrap();
        let record = |revision: &str, at: &str, outcome: &str| json!({"revision": revision, "digest": "", "observedAt": at, "outcome": outcome});
        let mut failed = record("bbb", "2026-08-17T11:57:00Z", "Failed");
        failed["commit"] = json!("b".repeat(40));
        let mut earlier = record("000", "2026-08-16T11:57:00Z", "Failed");
        earlier["commit"] = json!("d".repeat(40));
        earlier["revertedBy"] = json!("e".repeat(40));
        let mut stable = record("aaa", "2026-08-15T11:57:00Z", "Stable");
        stable["reason"] = json!("the branch could not be read");
        status.insert("revisions".to_owned(), json!([failed, earlier, stable]));
        status.insert(
            "failedRevisions".to_owned(),
            json!([{"revision": "bbb", "digest": "",
            "at": "2026-08-17T11:58:00Z", "message": "Metric \"errors\" assessed Failed"}]),
        );
        status.insert(
            "gitRevert".to_owned(),
            json!({"state": "AwaitingSync", "id": "1",
            "failedRevision": "bbb", "at": "2026-08-17T11:59:00Z", "commit": "c".repeat(40),
            "message": "commit cccccccccccc is on the branch"}),
        );
    });
    let outcome = fake.run("history shop").await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    insta::assert_snapshot!(outcome.out);
    let data: Value = serde_json::from_str(&fake.run("history shop -o json").await.out).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&data).unwrap());
}

#[tokio::test]
async fn history_of_a_rollout_that_nobody_has_seen_yet_says_so() {
    let fake = Fake::default();
    fake.with(|state| {
        let mut rollout = crate::fixtures::rollout();
        rollout.as_object_mut().unwrap().remove("status");
        state.put(ROLLOUTS, rollout);
    });
    let outcome = fake.run("history shop").await;
    assert_eq!((outcome.code, outcome.out.as_str()), (0, ""));
    assert!(outcome.err.contains("has seen no version of rollout \"shop\" yet"), "{}", outcome.err);
}
