//! Reverts of Rollouts that name no source: it is found through the tool that applies them.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::sim::api::KindName;

use crate::gitops::{
    APPLICATIONS, KUSTOMIZATIONS, application, applied, install, kustomization, labelled, make,
    merge, synced, tracked,
};
use crate::scene::{BRANCH, FOLDER, Scene, URL, canary, place};

pub(crate) const BACKENDS: &[(&str, u32)] = &[("web-stable", 100), ("web-canary", 0)];
const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");
pub(crate) const ENTRY: &str = "shop_web_sluice.dev_Rollout";
pub(crate) const UNNAMED: &str = "source: {secretRef: {name: git}}";

pub(crate) async fn scene(seed: u64) -> Scene {
    let scene = Scene::begin_with(seed, &canary(), BACKENDS, UNNAMED).await;
    install(&scene.world);
    scene
}

pub(crate) fn tip(scene: &Scene) -> String {
    let (url, branch) = place();
    scene.world.git().tip(&url, &branch).unwrap().to_string()
}

pub(crate) fn resources() -> Value {
    json!([{"group": "sluice.dev", "kind": "Rollout", "namespace": "shop", "name": "web"}])
}

/// The Application argocd/web applies the Rollout, and is in step.
pub(crate) fn argo(scene: &Scene, patch: &Value) {
    let source = json!({"repoURL": URL, "path": FOLDER, "targetRevision": BRANCH});
    let mut object = application("web", &source, &tip(scene));
    json_patch::merge(&mut object, patch);
    make(&scene.world, "argocd", &object);
    merge(&scene.world, &ROLLOUTS, ("shop", "web"), tracked("web"));
}

/// The Kustomization flux-system/apps applies the Rollout, and is in step.
pub(crate) fn flux(scene: &Scene) {
    let path = format!("./{FOLDER}");
    for object in kustomization(ENTRY, URL, &path, &tip(scene)) {
        make(&scene.world, "flux-system", &object);
    }
    let labels = labelled("kustomize.toolkit.fluxcd.io", "flux-system", "apps");
    merge(&scene.world, &ROLLOUTS, ("shop", "web"), labels);
}

/// Argo CD says that it is in `phase` of a sync of the tip.
pub(crate) fn sync(scene: &Scene, phase: &str, resources: &Value) {
    let status = json!({"status": synced(&tip(scene), phase, resources)});
    merge(&scene.world, &APPLICATIONS, ("argocd", "web"), status);
}

pub(crate) fn record(scene: &Scene) -> Value {
    scene.rollout()["status"]["revisions"][0].clone()
}

pub(crate) fn revert(scene: &Scene) -> Value {
    scene.rollout()["status"]["gitRevert"].clone()
}

pub(crate) fn knows(scene: &Scene, commit: &str) -> bool {
    record(scene)["commit"] == commit
}

async fn aborted(scene: &Scene) {
    scene.until("aborted", 180, |scene| scene.rollout()["status"]["abort"] == true).await;
}

pub(crate) async fn in_state(scene: &Scene, state: &str) {
    scene.until(state, 900, |scene| revert(scene)["state"] == state).await;
}

fn assert_nothing_was_pushed(scene: &Scene, words: &str) {
    assert!(scene.world.pushes().is_empty());
    let message = revert(scene)["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(words), "{message}");
}

#[tokio::test(start_paused = true)]
async fn scenario_38_what_argo_cd_applies_is_found_recorded_and_reverted() {
    let scene = scene(11).await;
    argo(&scene, &json!({}));
    let first = tip(&scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    let source = json!({
        "owner": "Application argocd/web", "url": URL, "branch": BRANCH, "path": FOLDER,
    });
    assert_eq!(record(&scene)["source"], source);
    scene.push("v1", "bad");
    sync(&scene, "Running", &resources());
    let second = tip(&scene);
    scene.until("recorded while it syncs", 60, |scene| knows(scene, &second)).await;
    assert_eq!(record(&scene)["provisional"], true, "the sync has not ended");
    sync(&scene, "Succeeded", &resources());
    scene.until("final", 300, |scene| record(scene)["provisional"].is_null()).await;
    let is_back = |scene: &Scene| scene.image().ends_with(":v1") && scene.phase() == "Healthy";
    scene.until("Healthy on v1", 300, is_back).await;
    assert_eq!(scene.world.pushes().len(), 1);
    assert_eq!(revert(&scene)["state"], "Reverted");
    assert_eq!(revert(&scene)["url"], URL);
}

#[tokio::test(start_paused = true)]
async fn a_commit_recorded_while_a_sync_ran_is_corrected_when_it_ends() {
    let scene = scene(12).await;
    argo(&scene, &json!({}));
    let first = tip(&scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    scene.push("v1", "v2");
    sync(&scene, "Running", &resources());
    let second = tip(&scene);
    scene.until("recorded while it syncs", 60, |scene| knows(scene, &second)).await;
    // The sync ends at a later commit, which declares the same template.
    scene.push("v2", "v2  # promoted");
    let third = tip(&scene);
    assert_ne!(second, third);
    sync(&scene, "Succeeded", &resources());
    scene.until("corrected", 300, |scene| knows(scene, &third)).await;
    assert!(record(&scene)["provisional"].is_null());
}

#[tokio::test(start_paused = true)]
async fn scenario_17_an_application_that_does_not_list_the_rollout_is_never_pushed_to() {
    let scene = scene(13).await;
    argo(&scene, &json!({"status": {"resources": []}}));
    scene.push("v1", "bad");
    sync(&scene, "Succeeded", &json!([]));
    aborted(&scene).await;
    in_state(&scene, "Blocked").await;
    assert_nothing_was_pushed(&scene, "does not list it in status.resources");
}

#[tokio::test(start_paused = true)]
async fn a_back_reference_that_is_gone_before_the_push_stops_it() {
    let scene = scene(14).await;
    argo(&scene, &json!({}));
    let first = tip(&scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    scene.push("v1", "bad");
    sync(&scene, "Succeeded", &resources());
    let second = tip(&scene);
    scene.until("recorded", 60, |scene| knows(scene, &second)).await;
    sync(&scene, "Succeeded", &json!([]));
    in_state(&scene, "Blocked").await;
    assert_eq!(revert(&scene)["reason"], "NoSource");
    assert_nothing_was_pushed(&scene, "does not list it");
}

#[tokio::test(start_paused = true)]
async fn an_application_of_an_app_of_apps_is_suggested_for_with_the_reason() {
    let scene = scene(15).await;
    let id = "root:argoproj.io/Application:argocd/web";
    argo(&scene, &json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": id}}}));
    let first = tip(&scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    scene.push("v1", "bad");
    sync(&scene, "Succeeded", &resources());
    in_state(&scene, "Suggested").await;
    assert_nothing_was_pushed(&scene, "is managed by Application root");
    assert!(revert(&scene)["patch"].as_str().unwrap().contains("web:v1"));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_read_applications_nothing_is_pushed_and_the_reason_is_told() {
    let scene = scene(16).await;
    argo(&scene, &json!({}));
    let actor = scene.world.cluster().actor(sluice::sim::api::Identity::admin("platform-team"));
    let bindings = KindName::of("rbac.authorization.k8s.io", "clusterrolebindings");
    actor.delete(&bindings, ("", "sluice-gitops")).unwrap();
    scene.push("v1", "bad");
    aborted(&scene).await;
    in_state(&scene, "Blocked").await;
    assert_nothing_was_pushed(&scene, "Application argocd/web cannot be read");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_no_tool_marked_says_what_to_set() {
    let scene = scene(17).await;
    scene.push("v1", "bad");
    aborted(&scene).await;
    in_state(&scene, "Blocked").await;
    assert_nothing_was_pushed(&scene, "set spec.gitRevert.source.url");
}

#[tokio::test(start_paused = true)]
async fn scenario_41_what_flux_applies_is_found_and_reverted() {
    let scene = scene(18).await;
    flux(&scene);
    let first = tip(&scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    scene.push("v1", "bad");
    let status = json!({"status": applied(&tip(&scene), ENTRY)});
    merge(&scene.world, &KUSTOMIZATIONS, ("flux-system", "apps"), status);
    let is_back = |scene: &Scene| scene.image().ends_with(":v1") && scene.phase() == "Healthy";
    scene.until("asked for bad", 30, |scene| scene.image().ends_with(":bad")).await;
    scene.until("Healthy on v1", 300, is_back).await;
    assert_eq!(scene.world.pushes().len(), 1);
    scene.world.wait(Duration::from_mins(1)).await;
    assert_eq!(record(&scene)["source"]["owner"], "Kustomization flux-system/apps");
}
