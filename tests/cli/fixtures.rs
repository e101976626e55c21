//! A canary in the middle of its steps, with everything that belongs to it.

use serde_json::{Value, json};

use crate::fake::{Fake, PODS, ROLLOUTS, RUNS, SETS};

pub(crate) const UID: &str = "rollout-uid";

/// A canary that pauses at step 1 of 4 until a person promotes it.
pub(crate) fn rollout() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": "shop", "uid": UID, "generation": 2,
            "creationTimestamp": "2026-08-14T12:00:00Z"},
        "spec": {
            "replicas": 5,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {"metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "web", "image": "shop:v2"}]}},
            "strategy": {"canary": {
                "stableService": "shop-stable", "canaryService": "shop-canary",
                "trafficRouting": {"gatewayAPI": {"httpRoute": "shop"}},
                "steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50},
                    {"analysis": {"templates": [{"templateName": "errors"}]}}]}},
        },
        "status": {
            "observedGeneration": "2", "phase": "Paused", "message": "CanaryPauseStep",
            "stableRS": "aaa", "currentPodHash": "bbb", "currentStepIndex": 1,
            "currentStepHash": "steps",
            "controllerPause": true, "pauseConditions":
                [{"reason": "CanaryPauseStep", "startTime": "2026-08-17T11:58:00.000Z"}],
            "replicas": 6, "updatedReplicas": 1, "readyReplicas": 6, "availableReplicas": 6,
            "waitingOn": [{"what": "a person to promote the update (pause step 1)",
                "since": "2026-08-17T11:58:00.000Z"}],
            "canary": {
                "desiredWeights": {"canary": {"weight": 20}, "stable": {"weight": 80}},
                "weights": {"canary": {"weight": 20}, "stable": {"weight": 80}, "verified": true}},
            "conditions": [
                {"type": "Paused", "status": "True", "reason": "RolloutPaused",
                 "message": "CanaryPauseStep"},
                {"type": "Healthy", "status": "False", "reason": "RolloutNotHealthy"}],
            "lastRequest": {"verb": "retry", "at": "2026-08-17T11:50:00.000Z",
                "by": "bob@example.org"},
            "unknownToThisVersion": {"kept": true},
        },
    })
}

pub(crate) fn replica_set(revision: &str, number: u64, image: &str, pods: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": format!("shop-{revision}"), "namespace": "shop",
            "uid": format!("set-{revision}"),
            "creationTimestamp": "2026-08-17T11:57:00Z",
            "labels": {"app": "shop", "sluice.dev/revision": revision},
            "annotations": {"sluice.dev/revision-number": number.to_string()},
            "ownerReferences": [{"apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout",
                "name": "shop", "uid": UID, "controller": true}]},
        "spec": {"replicas": pods, "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop", "sluice.dev/revision": revision}},
                "spec": {"containers": [{"name": "web", "image": image}]}}},
        "status": {"replicas": pods, "readyReplicas": pods, "availableReplicas": pods},
    })
}

pub(crate) fn pod(revision: &str, idx: u32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("shop-{revision}-{idx}"), "namespace": "shop",
            "creationTimestamp": "2026-08-17T11:57:30Z",
            "labels": {"app": "shop", "sluice.dev/revision": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": format!("shop-{revision}"), "uid": format!("set-{revision}"),
                "controller": true}]},
        "spec": {"containers": [{"name": "web", "image": "x"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "web", "ready": true,
            "restartCount": 0, "image": "x", "imageID": "", "state": {"running": {}}}]},
    })
}

pub(crate) fn run() -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "AnalysisRun",
        "metadata": {"name": "shop-bbb-1-background", "namespace": "shop", "uid": "run-uid",
            "creationTimestamp": "2026-08-17T11:57:10Z",
            "labels": {"sluice.dev/revision": "bbb"},
            "ownerReferences": [{"apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout",
                "name": "shop", "uid": UID, "controller": true}]},
        "spec": {"metrics": [{"name": "errors", "successCondition": "result < 0.01",
            "provider": {"prometheus": {"query": "up"}}}]},
        "status": {"phase": "Running", "startedAt": "2026-08-17T11:57:10Z", "metricResults": [
            {"name": "errors", "phase": "Running", "count": 4, "successful": 3, "failed": 1,
             "error": 2, "measurements": [{"phase": "Successful", "value": "[0.002]"}]},
            {"name": "latency", "phase": "Failed", "dryRun": true, "count": 1, "failed": 1,
             "message": "failed (1) > failureLimit (0)"}]},
    })
}

/// A server that holds all of it.
pub(crate) fn cluster() -> Fake {
    let fake = Fake::default();
    fake.with(|state| {
        state.put(ROLLOUTS, rollout());
        state.put(SETS, replica_set("aaa", 1, "shop:v1", 5));
        state.put(SETS, replica_set("bbb", 2, "shop:v2", 1));
        // Of somebody else, with the same labels.
        let mut foreign = replica_set("ccc", 9, "other", 1);
        foreign["metadata"]["ownerReferences"][0]["uid"] = json!("somebody-else");
        state.put(SETS, foreign);
        for idx in 0..2 {
            state.put(PODS, pod("aaa", idx));
        }
        let mut crashing = pod("bbb", 0);
        crashing["status"]["containerStatuses"][0]["ready"] = json!(false);
        crashing["status"]["containerStatuses"][0]["restartCount"] = json!(7);
        crashing["status"]["containerStatuses"][0]["state"] =
            json!({"waiting": {"reason": "CrashLoopBackOff"}});
        state.put(PODS, crashing);
        state.put(RUNS, run());
    });
    fake
}

/// The same server with a Rollout whose update is done.
pub(crate) fn healthy() -> Fake {
    let fake = cluster();
    change(&fake, |rollout| {
        rollout["status"] = json!({"observedGeneration": "2", "phase": "Healthy",
            "stableRS": "bbb", "currentPodHash": "bbb", "replicas": 5, "readyReplicas": 5,
            "updatedReplicas": 5, "availableReplicas": 5});
    });
    fake
}

/// Changes the Rollout, as if the controller had.
pub(crate) fn change(fake: &Fake, change: impl FnOnce(&mut Value)) {
    fake.with(|state| state.change(ROLLOUTS, "shop", change));
}

/// The Rollout as it is now.
pub(crate) fn now_is(fake: &Fake) -> Value {
    fake.with(|state| state.get(ROLLOUTS, "shop"))
}
