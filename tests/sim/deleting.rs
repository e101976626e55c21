//! Finalizers, preconditions, and the garbage collector.

use serde_json::{Value, json};
use sluice::sim::api::{Cluster, KindName};

use crate::help::{CONFIG_MAPS, ROLLOUTS, admin, cluster, cluster_with_crds, config_map, rollout};

#[tokio::test(start_paused = true)]
async fn an_object_with_a_finalizer_is_marked_first_and_goes_when_it_is_free() {
    let cluster = cluster_with_crds();
    let admin = admin(&cluster);
    let mut object = rollout("web");
    object["metadata"]["finalizers"] = json!(["sluice.dev/traffic"]);
    admin.create(object).unwrap();
    let place = ("shop", "web");
    let marked = admin.delete(&ROLLOUTS, place).unwrap();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(marked["metadata"]["generation"], 2);
    let more = json!({"metadata": {"finalizers": ["sluice.dev/traffic", "other.dev/x"]}});
    let refused = admin.merge(&ROLLOUTS, place, "", more).unwrap_err();
    assert_eq!(refused.code, 422);
    let version = cluster.version();
    admin.delete(&ROLLOUTS, place).unwrap();
    assert_eq!(cluster.version(), version, "deleting twice changes nothing");
    admin.merge(&ROLLOUTS, place, "", json!({"metadata": {"finalizers": null}})).unwrap();
    assert!(cluster.get(&ROLLOUTS, "shop", "web").is_none());
    assert_eq!(cluster.version(), version + 1);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_without_finalizers_answers_with_a_status() {
    let cluster = cluster_with_crds();
    let admin = admin(&cluster);
    let created = admin.create(rollout("web")).unwrap();
    let answer = admin.delete(&ROLLOUTS, ("shop", "web")).unwrap();
    assert_eq!(answer["kind"], "Status");
    assert_eq!(answer["details"]["uid"], created["metadata"]["uid"]);
    assert_eq!(admin.delete(&ROLLOUTS, ("shop", "web")).unwrap_err().code, 404);
}

fn owned(cluster: &Cluster, name: &str, owner: &Value, blocks: bool) {
    let mut map = config_map(name, &json!({}));
    map["metadata"]["ownerReferences"] = json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks,
    }]);
    admin(cluster).create(map).unwrap();
}

fn is_there(cluster: &Cluster, name: &str) -> bool {
    cluster.get(&CONFIG_MAPS, "shop", name).is_some()
}

#[tokio::test(start_paused = true)]
async fn what_is_owned_by_what_is_gone_goes_too_through_all_generations() {
    let cluster = cluster();
    let first = admin(&cluster).create(config_map("first", &json!({}))).unwrap();
    owned(&cluster, "second", &first, false);
    let second = cluster.get(&CONFIG_MAPS, "shop", "second").unwrap();
    owned(&cluster, "third", &second, false);
    assert_eq!(cluster.collect_garbage(), 0);
    admin(&cluster).delete(&CONFIG_MAPS, ("shop", "first")).unwrap();
    assert!(is_there(&cluster, "second"), "not before the collector ran");
    assert_eq!(cluster.collect_garbage(), 2);
    assert!(!is_there(&cluster, "second") && !is_there(&cluster, "third"));
}

#[tokio::test(start_paused = true)]
async fn an_object_goes_only_with_its_last_owner() {
    let cluster = cluster();
    let one = admin(&cluster).create(config_map("one", &json!({}))).unwrap();
    let two = admin(&cluster).create(config_map("two", &json!({}))).unwrap();
    owned(&cluster, "child", &one, false);
    let reference = |owner: &Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"]})
    };
    let both = json!({"metadata": {"ownerReferences": [reference(&one), reference(&two)]}});
    admin(&cluster).merge(&CONFIG_MAPS, ("shop", "child"), "", both).unwrap();
    admin(&cluster).delete(&CONFIG_MAPS, ("shop", "one")).unwrap();
    cluster.collect_garbage();
    let child = cluster.get(&CONFIG_MAPS, "shop", "child").unwrap();
    assert_eq!(child["metadata"]["ownerReferences"], json!([reference(&two)]));
    admin(&cluster).delete(&CONFIG_MAPS, ("shop", "two")).unwrap();
    cluster.collect_garbage();
    assert!(!is_there(&cluster, "child"));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let cluster = cluster();
    admin(&cluster).create(config_map("a", &json!({}))).unwrap();
    let namespaces = KindName::of("", "namespaces");
    let marked = admin(&cluster).delete(&namespaces, ("", "shop")).unwrap();
    assert_eq!(marked["status"]["phase"], "Terminating");
    let refused = admin(&cluster).create(config_map("b", &json!({}))).unwrap_err();
    assert_eq!(refused.code, 403);
    cluster.collect_garbage();
    assert!(!is_there(&cluster, "a"));
    assert!(cluster.get(&namespaces, "", "shop").is_none());
}
