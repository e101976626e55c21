//! From the push of a revert to its application: what holds the GitOps tool up is said, nothing is
//! pushed twice, and the tool is asked once to look at Git, where that is wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sluice::api::rbac::Role;
use sluice::controller::settings::Settings;
use sluice::sim::api::{
    Effect, Failure, Interference, KindName, RequestFacts, RequestFate, Untouched, Verb,
};
use sluice::sim::world::{World, WorldPlan};

use crate::discovery::{
    BACKENDS, ENTRY, UNNAMED, argo, flux, in_state, knows, record, resources, revert, scene, sync,
    tip,
};
use crate::gitops::{APPLICATIONS, KUSTOMIZATIONS, applied, install, merge, synced};
use crate::scene::{Scene, canary};

const REPOSITORIES: KindName = KindName::of("source.toolkit.fluxcd.io", "gitrepositories");
const REFRESH: &str = "argocd.argoproj.io/refresh";
const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
const AUTOMATED: &str = r#"{"spec": {"syncPolicy": {"automated": {}}}}"#;

/// A world whose controller asks GitOps tools; with the right to, or without.
async fn asking_scene(seed: u64, roles: Vec<Role>, faults: Arc<dyn Interference>) -> Scene {
    let plan = WorldPlan { roles, interference: faults, ..WorldPlan::new(seed) };
    let settings = World::default_settings().unwrap();
    let settings = Settings { git_refresh: true, ..settings };
    let scene = Scene::begin_in(plan, Some(settings), &canary(), BACKENDS, UNNAMED).await;
    install(&scene.world);
    scene
}

fn paused(scene: &Scene, is_paused: bool) {
    scene.world.behave(json!({"agent": {"isPaused": is_paused}})).unwrap();
}

/// Argo CD applies a bad version, it is reverted, and Argo CD does not apply the revert.
async fn unapplied_by_argo(scene: &Scene) -> String {
    argo(scene, &serde_json::from_str(AUTOMATED).unwrap());
    let first = tip(scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    scene.push("v1", "bad");
    sync(scene, "Succeeded", &resources());
    let bad = tip(scene);
    scene.until("asked for bad", 30, |scene| scene.image().ends_with(":bad")).await;
    scene.until("recorded", 60, |scene| knows(scene, &bad) && is_final(scene)).await;
    paused(scene, true);
    in_state(scene, "AwaitingSync").await;
    bad
}

/// The same with Flux.
async fn unapplied_by_flux(scene: &Scene, patch: &Value) {
    flux(scene);
    let first = tip(scene);
    scene.until("recorded", 600, |scene| knows(scene, &first)).await;
    scene.push("v1", "bad");
    let bad = tip(scene);
    let status = json!({"status": applied(&bad, ENTRY)});
    merge(&scene.world, &KUSTOMIZATIONS, ("flux-system", "apps"), status);
    scene.until("asked for bad", 30, |scene| scene.image().ends_with(":bad")).await;
    scene.until("recorded", 60, |scene| knows(scene, &bad)).await;
    merge(&scene.world, &KUSTOMIZATIONS, ("flux-system", "apps"), patch.clone());
    paused(scene, true);
    in_state(scene, "AwaitingSync").await;
}

fn is_final(scene: &Scene) -> bool {
    record(scene)["provisional"].is_null()
}

fn says(scene: &Scene, words: &str) -> bool {
    revert(scene)["message"].as_str().is_some_and(|message| message.contains(words))
}

async fn applied_at_last(scene: &Scene) {
    paused(scene, false);
    let is_back = |scene: &Scene| scene.image().ends_with(":v1") && scene.phase() == "Healthy";
    scene.until("Healthy on v1", 300, is_back).await;
    assert_eq!(revert(scene)["state"], "Reverted");
    assert_eq!(scene.world.pushes().len(), 1);
}

fn annotations(scene: &Scene, kind: &KindName, (namespace, name): (&str, &str)) -> Value {
    let object = scene.world.cluster().get(kind, namespace, name).unwrap();
    object["metadata"]["annotations"].clone()
}

fn of_application(scene: &Scene) -> Value {
    annotations(scene, &APPLICATIONS, ("argocd", "web"))
}

fn of_flux(scene: &Scene) -> [Value; 2] {
    [
        annotations(scene, &REPOSITORIES, ("flux-system", "deploy")),
        annotations(scene, &KUSTOMIZATIONS, ("flux-system", "apps")),
    ]
}

#[tokio::test(start_paused = true)]
async fn scenario_40_a_sync_that_hangs_on_the_old_revision_is_told_and_nothing_is_pushed_again() {
    let scene = scene(21).await;
    let bad = unapplied_by_argo(&scene).await;
    let mut status = synced(&bad, "Running", &resources());
    status["operationState"]["message"] = "waiting for healthy state of Rollout/web".into();
    merge(&scene.world, &APPLICATIONS, ("argocd", "web"), json!({"status": status}));
    let words = format!(
        "Application argocd/web has an older sync of {} under way (Running: waiting for healthy \
         state of Rollout/web)",
        &bad[..8]
    );
    scene.until("told", 90, |scene| says(scene, &words)).await;
    let waits = scene.rollout()["status"]["waitingOn"].to_string();
    assert!(waits.contains(&words), "{waits}");
    in_state(&scene, "Ineffective").await;
    assert!(says(&scene, &words), "{}", revert(&scene));
    scene.world.wait(Duration::from_mins(30)).await;
    assert_eq!(scene.world.pushes().len(), 1);
    assert_eq!(of_application(&scene), Value::Null, "nobody wanted it to be asked");
    sync(&scene, "Succeeded", &resources());
    applied_at_last(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn scenario_41_a_suspended_kustomization_is_told_and_nothing_is_pushed_again() {
    let scene = scene(22).await;
    unapplied_by_flux(&scene, &json!({"spec": {"suspend": true}})).await;
    let words = "Kustomization flux-system/apps is suspended";
    scene.until("told", 90, |scene| says(scene, words)).await;
    scene.world.wait(Duration::from_mins(5)).await;
    assert_eq!(revert(&scene)["state"], "AwaitingSync");
    assert_eq!(of_flux(&scene), [Value::Null, Value::Null]);
    let resumed = json!({"spec": {"suspend": false}});
    merge(&scene.world, &KUSTOMIZATIONS, ("flux-system", "apps"), resumed);
    applied_at_last(&scene).await;
}

#[tokio::test(start_paused = true)]
async fn argo_cd_is_asked_once_to_look_at_git() {
    let scene = asking_scene(23, vec![Role::GitOpsRefresh], Arc::new(Untouched)).await;
    unapplied_by_argo(&scene).await;
    let is_asked = |scene: &Scene| of_application(scene) == json!({REFRESH: "normal"});
    scene.until("asked", 5, is_asked).await;
    scene.until("told", 5, |scene| !revert(scene)["refresh"]["at"].is_null()).await;
    // Argo CD removes the annotation when it begins.
    let removed = json!({"metadata": {"annotations": {REFRESH: null}}});
    merge(&scene.world, &APPLICATIONS, ("argocd", "web"), removed);
    scene.world.wait(Duration::from_mins(5)).await;
    assert_eq!(of_application(&scene)[REFRESH], Value::Null, "once for a commit");
    applied_at_last(&scene).await;
    let access = scene.world.cluster().access_log();
    assert_eq!(access.refused.len(), 0);
    let right = ("argoproj.io".to_owned(), "applications".to_owned(), "patch".to_owned());
    assert!(access.used_of("", "sluice-gitops-refresh").contains(&right));
}

#[tokio::test(start_paused = true)]
async fn flux_is_asked_from_the_source_on_when_nobody_holds_it() {
    let scene = asking_scene(24, vec![Role::GitOpsRefresh], Arc::new(Untouched)).await;
    unapplied_by_flux(&scene, &json!({"spec": {"suspend": true}})).await;
    scene.world.wait(Duration::from_mins(3)).await;
    assert_eq!(of_flux(&scene), [Value::Null, Value::Null], "a person holds it");
    assert_eq!(revert(&scene)["refresh"], Value::Null);
    let resumed = json!({"spec": {"suspend": null}});
    merge(&scene.world, &KUSTOMIZATIONS, ("flux-system", "apps"), resumed);
    scene.until("told", 60, |scene| !revert(scene)["refresh"]["at"].is_null()).await;
    let token = revert(&scene)["at"].as_str().unwrap().to_owned();
    for annotations in of_flux(&scene) {
        let asked = annotations[REQUESTED_AT].as_str().unwrap();
        assert_eq!(annotations.as_object().unwrap().len(), 1, "{annotations}");
        let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
        assert_eq!(at(asked), at(&token));
    }
    applied_at_last(&scene).await;
    let used = scene.world.cluster().access_log().used_of("", "sluice-gitops-refresh");
    assert_eq!(used.len(), 2, "{used:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_ask_that_is_said_once_and_all_else_goes_on() {
    let scene = asking_scene(25, vec![], Arc::new(Untouched)).await;
    unapplied_by_argo(&scene).await;
    let words = "it could not be asked to look now: Application argocd/web: ";
    scene.until("told", 10, |scene| says(scene, words)).await;
    scene.world.wait(Duration::from_mins(5)).await;
    assert!(says(&scene, words));
    assert_eq!(of_application(&scene), Value::Null);
    applied_at_last(&scene).await;
}

/// Refuses the first patch of an Application because somebody else wrote it.
#[derive(Debug, Default)]
struct Conflict(AtomicUsize);

impl Interference for Conflict {
    fn request(&self, facts: &RequestFacts<'_>) -> RequestFate {
        let is_asking = facts.verb == Verb::Patch
            && facts.path.contains("/applications/")
            && facts.identity.user.starts_with("system:serviceaccount:");
        if is_asking && self.0.fetch_add(1, Ordering::SeqCst) == 0 {
            let message = "the object has been modified".to_owned();
            let failure = Failure { code: 409, reason: "Conflict", message, details: None };
            return RequestFate {
                effect: Effect::Refused(Box::new(failure)),
                ..RequestFate::default()
            };
        }
        RequestFate::default()
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_wrote_meanwhile_is_read_again_before_it_is_asked() {
    let conflict = Arc::new(Conflict::default());
    let scene = asking_scene(26, vec![Role::GitOpsRefresh], conflict.clone()).await;
    unapplied_by_argo(&scene).await;
    let is_asked = |scene: &Scene| of_application(scene) == json!({REFRESH: "normal"});
    scene.until("asked", 5, is_asked).await;
    assert_eq!(conflict.0.load(Ordering::SeqCst), 2);
    applied_at_last(&scene).await;
}
