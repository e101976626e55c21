//! The right to push that a platform team lends to the Rollouts of a namespace.

use serde_json::{Value, json};
use sluice::sim::api::KindName;

use crate::gitops::merge;
use crate::scene::{BRANCH, FOLDER, Scene, URL, canary};

const BACKENDS: &[(&str, u32)] = &[("web-stable", 100), ("web-canary", 0)];
const CREDENTIALS: KindName = KindName::of("sluice.dev", "clustergitcredentials");

async fn scene(seed: u64, allow: &Value) -> Scene {
    let source = format!(
        "source: {{url: \"{URL}\", branch: {BRANCH}, path: {FOLDER}, credentialRef: {{name: bot}}}}"
    );
    let scene = Scene::begin_with(seed, &canary(), BACKENDS, &source).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bot"},
        "data": {"username": "dGVhbQ==", "password": "c2VjcmV0"},
    });
    let credential = json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "ClusterGitCredential",
        "metadata": {"name": "bot"},
        "spec": {
            "urlPrefix": "https://git.example.test/", "secretRef": {"name": "bot"},
            "allow": allow,
        },
    });
    for object in [secret, credential] {
        scene.world.create("platform-team", "sluice-system", &object.to_string()).unwrap();
    }
    scene
}

fn revert(scene: &Scene) -> Value {
    scene.rollout()["status"]["gitRevert"].clone()
}

fn is_recorded(scene: &Scene) -> bool {
    scene.rollout()["status"]["revisions"][0]["commit"].is_string()
}

#[tokio::test(start_paused = true)]
async fn scenario_50_a_namespace_with_a_grant_is_reverted_with_the_credential_of_the_controller() {
    let allow = json!([{"namespaces": ["shop"], "paths": ["apps/web"], "modes": ["Push"]}]);
    let scene = scene(51, &allow).await;
    scene.until("recorded", 600, is_recorded).await;
    scene.push("v1", "bad");
    let is_back = |scene: &Scene| revert(scene)["state"] == "Reverted";
    scene.until("Reverted", 900, is_back).await;
    assert_eq!((scene.world.pushes().len(), scene.image().ends_with(":v1")), (1, true));
}

#[tokio::test(start_paused = true)]
async fn scenario_50_without_a_grant_git_is_not_even_read_and_the_message_says_what_is_missing() {
    let scene = scene(52, &json!([{"namespaces": ["bank"], "modes": ["Push"]}])).await;
    scene.push("v1", "bad");
    scene.until("Blocked", 1800, |scene| revert(scene)["state"] == "Blocked").await;
    let revert = revert(&scene);
    assert_eq!(revert["reason"], "NotAllowed", "{revert:#}");
    let message = revert["message"].as_str().unwrap().to_owned();
    let missing = "ClusterGitCredential `bot` has no entry in spec.allow for namespace `shop`";
    assert!(message.contains(missing), "{message}");
    assert!(scene.world.pushes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn scenario_50_a_grant_that_was_narrowed_meanwhile_is_what_counts() {
    let scene = scene(53, &json!([{"namespaces": ["*"], "modes": ["Push"]}])).await;
    scene.until("recorded", 600, is_recorded).await;
    scene.push("v1", "bad");
    scene.until("recorded", 60, is_recorded).await;
    let narrow = json!({"spec": {"allow": [{"namespaces": ["*"], "modes": ["PullRequest"]}]}});
    merge(&scene.world, &CREDENTIALS, ("", "bot"), narrow);
    scene.until("Blocked", 1800, |scene| revert(scene)["state"] == "Blocked").await;
    let revert = revert(&scene);
    assert_eq!(revert["reason"], "NotAllowed", "{revert:#}");
    let message = revert["message"].as_str().unwrap().to_owned();
    assert!(message.contains("no more than PullRequest"), "{message}");
    assert!(scene.world.pushes().is_empty());
}
