//! Whole releases: a good canary, a bad one, and blue-green.

use std::time::Duration;

use crate::scene::{Scene, blue_green, canary, place};

const BACKENDS: &[(&str, u32)] = &[("web-stable", 100), ("web-canary", 0)];

#[tokio::test(start_paused = true)]
async fn a_good_canary_reaches_everybody_and_no_request_is_lost() {
    let scene = Scene::begin(1, &canary(), BACKENDS).await;
    scene.push("v1", "v2");
    let is_new = |scene: &Scene| scene.image().ends_with(":v2") && scene.is_observed();
    scene.until("asked for v2", 30, is_new).await;
    scene.until("Healthy on v2", 300, |scene| is_new(scene) && scene.phase() == "Healthy").await;
    scene.world.wait(Duration::from_mins(1)).await;
    assert_eq!(scene.canary_weights(), [0, 5, 25, 50, 100, 0]);
    let tally = scene.world.tally("people");
    assert_eq!((tally.lost, tally.errors), (0, 0), "{tally:?}");
    let (from, to) = (scene.world.now() - Duration::from_secs(40), scene.world.now());
    let lately = scene.world.tally_between("people", from, to);
    assert_eq!(lately.of("v1"), 0, "{lately:?}");
    assert!(lately.of("v2") > 3000, "{lately:?}");
    scene.report("good canary");
}

#[tokio::test(start_paused = true)]
async fn a_bad_canary_is_left_and_taken_back_in_git_by_one_commit() {
    let scene = Scene::begin(2, &canary(), BACKENDS).await;
    scene.push("v1", "bad");
    scene.until("asked for bad", 30, |scene| scene.image().ends_with(":bad")).await;
    scene.until("aborted", 120, |scene| scene.rollout()["status"]["abort"] == true).await;
    let is_back = |scene: &Scene| scene.image().ends_with(":v1") && scene.phase() == "Healthy";
    scene.until("Healthy on v1", 120, is_back).await;
    scene.world.wait(Duration::from_mins(2)).await;
    assert!(is_back(&scene), "{:#}", scene.rollout()["status"]);
    assert_eq!(scene.canary_weights(), [0, 5, 0]);
    assert_eq!(scene.world.pushes().len(), 1);
    let (url, branch) = place();
    assert_eq!(scene.world.git().log(&url, &branch).len(), 3);
    let tally = scene.world.tally("people");
    assert_eq!(tally.lost, 0, "{tally:?}");
    assert!(tally.errors > 0 && tally.errors < tally.sent / 100, "{tally:?}");
    scene.report("bad canary");
}

#[tokio::test(start_paused = true)]
async fn scenario_54_a_new_cluster_from_the_same_branch_gets_the_good_version() {
    let scene = Scene::begin(54, &canary(), BACKENDS).await;
    scene.push("v1", "bad");
    let state = |scene: &Scene| scene.rollout()["status"]["gitRevert"]["state"].clone();
    scene.until("reverted", 300, |scene| state(scene) == "Reverted").await;
    let rebuilt = scene.rebuilt(55).await;
    assert!(rebuilt.image().ends_with(":v1"), "{}", rebuilt.image());
    let tally = rebuilt.world.tally("people");
    assert_eq!((tally.lost, tally.errors), (0, 0), "{tally:?}");
    assert!(tally.sent > 900, "{tally:?}");
}

#[tokio::test(start_paused = true)]
async fn blue_green_switches_once_and_no_request_is_lost() {
    let scene = Scene::begin(3, &blue_green(), &[("web-active", 1)]).await;
    scene.push("v1", "v2");
    let is_new = |scene: &Scene| scene.image().ends_with(":v2") && scene.is_observed();
    scene.until("asked for v2", 30, is_new).await;
    scene.until("Healthy on v2", 300, |scene| is_new(scene) && scene.phase() == "Healthy").await;
    scene.world.wait(Duration::from_mins(1)).await;
    let tally = scene.world.tally("people");
    assert_eq!((tally.lost, tally.errors), (0, 0), "{tally:?}");
    let (from, to) = (scene.world.now() - Duration::from_secs(40), scene.world.now());
    let lately = scene.world.tally_between("people", from, to);
    assert_eq!(lately.of("v1"), 0, "{lately:?}");
    scene.report("blue-green");
}
