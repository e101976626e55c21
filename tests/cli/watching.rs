//! Commands that wait and follow. Time is tokio's and paused: nothing here really waits.

use serde_json::{Value, json};

use crate::fake::{PODS, ROLLOUTS, Shared, until};
use crate::fixtures::{change, cluster, now_is, pod};

#[tokio::test(start_paused = true)]
async fn status_waits_until_it_is_healthy_and_tells_progress_on_stderr() {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["status"]["phase"] = json!("Progressing");
        rollout["status"]["message"] = json!("more replicas need to be updated");
        rollout["status"].as_object_mut().unwrap().remove("pauseConditions");
    });
    let (out, err) = (Shared::default(), Shared::default());
    let act = async {
        until(|| err.text().contains("more replicas")).await;
        change(&fake, |rollout| {
            rollout["status"]["phase"] = json!("Healthy");
            rollout["status"]["message"] = json!("");
        });
    };
    let (code, ()) = tokio::join!(fake.run_into("status shop", &out, &err), act);
    assert_eq!(code, 0, "{}", err.text());
    assert_eq!(out.text(), "✔ Healthy\n");
}

#[tokio::test(start_paused = true)]
async fn status_ends_with_1_when_the_time_is_up() {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["status"]["phase"] = json!("Progressing");
        rollout["status"].as_object_mut().unwrap().remove("pauseConditions");
    });
    let outcome = fake.run("status shop --timeout 2m -o json").await;
    assert_eq!(outcome.code, 1);
    let data: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(data["timedOut"], json!(true));
    assert!(outcome.err.contains("hint: see why: kubectl sluice explain shop"), "{}", outcome.err);
}

#[tokio::test(start_paused = true)]
async fn status_of_a_rollout_that_is_deleted_meanwhile_fails() {
    let fake = cluster();
    change(&fake, |rollout| rollout["status"]["phase"] = json!("Progressing"));
    let (out, err) = (Shared::default(), Shared::default());
    let act = async {
        until(|| err.text().contains("Progressing")).await;
        fake.with(|state| state.delete(ROLLOUTS, "shop"));
    };
    let (code, ()) = tokio::join!(fake.run_into("status shop", &out, &err), act);
    assert_eq!(code, 1);
    assert!(err.text().contains("not found"), "{}", err.text());
}

#[tokio::test(start_paused = true)]
async fn promote_with_wait_does_not_take_the_old_pause_for_the_answer() {
    let fake = cluster();
    let (out, err) = (Shared::default(), Shared::default());
    let act = async {
        until(|| err.text().contains("not acted on it yet")).await;
        change(&fake, |rollout| {
            rollout["status"] = json!({"observedGeneration": "2", "phase": "Degraded",
                "message": "RolloutAborted: x", "stableRS": "aaa", "currentPodHash": "bbb",
                "abort": true, "abortedAt": "2026-08-17T12:00:00Z"});
        });
    };
    let (code, ()) = tokio::join!(fake.run_into("promote shop --wait", &out, &err), act);
    assert_eq!(code, 1);
    assert!(out.text().ends_with("✖ Degraded - RolloutAborted: x\n"), "{}", out.text());
    assert_eq!(now_is(&fake)["status"]["abort"], json!(true));
}

#[tokio::test(start_paused = true)]
async fn get_with_watch_prints_again_when_something_changed_and_ends_with_the_rollout() {
    let fake = cluster();
    let (out, err) = (Shared::default(), Shared::default());
    let act = async {
        until(|| out.text().contains("shop-bbb-0")).await;
        until(|| fake.with(|state| state.log.len() >= 12)).await;
        fake.with(|state| state.put(PODS, pod("bbb", 5)));
        until(|| out.text().contains("shop-bbb-5")).await;
        fake.with(|state| state.delete(ROLLOUTS, "shop"));
    };
    let (code, ()) = tokio::join!(fake.run_into("get rollout shop -w", &out, &err), act);
    assert_eq!(code, 1);
    assert_eq!(out.text().matches("\n--- 2026-08-17T12:00:00Z\n").count(), 1, "{}", out.text());
    assert!(err.text().contains("the Rollout was deleted"), "{}", err.text());
}

#[tokio::test(start_paused = true)]
async fn get_with_watch_as_json_prints_one_document_a_line() {
    let fake = cluster();
    let (out, err) = (Shared::default(), Shared::default());
    let act = async {
        until(|| fake.with(|state| state.log.len() >= 12)).await;
        change(&fake, |rollout| rollout["status"]["message"] = json!("another"));
        until(|| out.text().contains("another")).await;
        fake.with(|state| state.delete(ROLLOUTS, "shop"));
    };
    let (_, ()) = tokio::join!(fake.run_into("get rollout shop -w -o json", &out, &err), act);
    let messages: Vec<String> = out
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].to_string())
        .collect();
    assert_eq!(messages, ["\"CanaryPauseStep\"", "\"another\""]);
}

#[tokio::test(start_paused = true)]
async fn list_with_watch_prints_again_when_something_changed() {
    let fake = cluster();
    let (out, err) = (Shared::default(), Shared::default());
    let act = async {
        until(|| out.text().contains("Paused")).await;
        until(|| fake.with(|state| state.log.len() >= 3)).await;
        change(&fake, |rollout| {
            rollout["status"]["phase"] = json!("Healthy");
            rollout["status"].as_object_mut().unwrap().remove("pauseConditions");
        });
        until(|| out.text().contains("Healthy")).await;
        fake.with(|state| state.delete(ROLLOUTS, "shop"));
        until(|| out.text().matches("---").count() == 2).await;
    };
    tokio::select! {
        code = fake.run_into("list rollouts --watch", &out, &err) => panic!("ended with {code}"),
        () = act => {}
    }
    let text = out.text();
    let tables: Vec<&str> = text.split("\n--- 2026-08-17T12:00:00Z\n").collect();
    assert_eq!(tables.len(), 3, "{text}");
    assert!(tables.iter().all(|table| table.starts_with("NAME ")), "{text}");
    assert!(tables[1].contains("Healthy") && !tables[2].contains("shop"), "{text}");
}
