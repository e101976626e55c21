//! Creating, reading, changing: versions, conflicts, subresources, generation.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sluice::sim::api::{Change, Identity, KindName};

use crate::help::{CONFIG_MAPS, REPLICA_SETS, ROLLOUTS, admin, cluster, cluster_with_crds};
use crate::help::{config_map, rollout};

#[tokio::test(start_paused = true)]
async fn every_change_makes_the_next_version_and_no_change_makes_none() {
    let cluster = cluster();
    let admin = admin(&cluster);
    let first = admin.create(config_map("a", &json!({"k": "v"}))).unwrap();
    let version = cluster.version();
    assert_eq!(first["metadata"]["resourceVersion"], json!(version.to_string()));
    let place = ("shop", "a");
    let same = admin.merge(&CONFIG_MAPS, place, "", json!({"data": {"k": "v"}})).unwrap();
    assert_eq!((same, cluster.version()), (first, version));
    let next = admin.merge(&CONFIG_MAPS, place, "", json!({"data": {"k": "w"}})).unwrap();
    assert_eq!(next["metadata"]["resourceVersion"], json!((version + 1).to_string()));
    // Maps have no generation.
    assert_eq!(next["metadata"]["generation"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_write_from_an_old_version_is_a_conflict_and_one_with_another_uid_too() {
    let cluster = cluster();
    let admin = admin(&cluster);
    let old = Value::clone(&*admin.create(config_map("a", &json!({"k": "v"}))).unwrap());
    admin.merge(&CONFIG_MAPS, ("shop", "a"), "", json!({"data": {"k": "w"}})).unwrap();
    let refused = admin.update(old.clone()).unwrap_err();
    assert_eq!((refused.code, refused.reason), (409, "Conflict"));
    let patch = json!({"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}});
    let refused = admin.merge(&CONFIG_MAPS, ("shop", "a"), "", patch).unwrap_err();
    assert_eq!(refused.code, 409);
    let mut other = config_map("a", &json!({}));
    other["metadata"]["uid"] = "other".into();
    assert_eq!(admin.update(other).unwrap_err().code, 409);
    let patch = json!({"metadata": {"uid": "other"}});
    assert_eq!(admin.merge(&CONFIG_MAPS, ("shop", "a"), "", patch).unwrap_err().code, 422);
}

#[tokio::test(start_paused = true)]
async fn the_log_says_what_was_before_and_who_did_it() {
    let cluster = cluster();
    let from = cluster.version();
    let mut follower = cluster.follow(from);
    let team = cluster.actor(Identity::admin("team"));
    let first = team.create(config_map("a", &json!({"k": "v"}))).unwrap();
    admin(&cluster).merge(&CONFIG_MAPS, ("shop", "a"), "", json!({"data": null})).unwrap();
    admin(&cluster).delete(&CONFIG_MAPS, ("shop", "a")).unwrap();
    let entries = follower.next().await;
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.version - from, entry.change, entry.writer.user.as_str()))
        .collect();
    assert_eq!(
        seen,
        [(1, Change::Added, "team"), (2, Change::Modified, "admin"), (3, Change::Removed, "admin")]
    );
    assert_eq!(entries[1].old.as_deref(), Some(&*first));
    assert!(entries[2].current().is_none());
    assert!(follower.ready().is_empty());
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_are_written_apart_and_only_the_spec_counts_generations() {
    let cluster = cluster_with_crds();
    let admin = admin(&cluster);
    let mut new = rollout("web");
    new["status"] = json!({"phase": "Healthy"});
    let created = admin.create(new).unwrap();
    assert_eq!(created["status"], Value::Null, "a create drops status");
    let place = ("shop", "web");
    let patch = json!({"status": {"phase": "Paused"}, "spec": {"replicas": 9},
        "metadata": {"labels": {"a": "b"}}});
    let stored = admin.merge(&ROLLOUTS, place, "status", patch).unwrap();
    assert_eq!(stored["status"]["phase"], "Paused");
    assert_eq!(stored["spec"]["replicas"], 2);
    assert_eq!(stored["metadata"]["labels"], Value::Null);
    assert_eq!(stored["metadata"]["generation"], 1);
    let patch = json!({"spec": {"replicas": 3}, "status": null});
    let stored = admin.merge(&ROLLOUTS, place, "", patch).unwrap();
    assert_eq!(stored["metadata"]["generation"], 2);
    assert_eq!(stored["status"]["phase"], "Paused");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let stored = admin.merge(&ROLLOUTS, place, "", labelled).unwrap();
    assert_eq!(stored["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_json_patch_that_does_not_fit_changes_nothing() {
    let cluster = cluster();
    let admin = admin(&cluster);
    admin.create(config_map("a", &json!({"k": "v"}))).unwrap();
    let place = ("shop", "a");
    let guarded = |value: &str| {
        json!([{"op": "test", "path": "/data/k", "value": value},
               {"op": "replace", "path": "/data/k", "value": "w"}])
    };
    assert_eq!(admin.json_patch(&CONFIG_MAPS, place, "", guarded("x")).unwrap_err().code, 422);
    let version = cluster.version();
    let stored = admin.json_patch(&CONFIG_MAPS, place, "", guarded("v")).unwrap();
    assert_eq!(stored["data"]["k"], "w");
    assert_eq!(cluster.version(), version + 1);
}

#[tokio::test(start_paused = true)]
async fn the_kube_client_gets_the_types_and_the_errors_that_it_knows() {
    let cluster = cluster();
    let client = cluster.client(Identity::admin("test"));
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "shop");
    let map: ConfigMap = serde_json::from_value(config_map("a", &json!({"k": "v"}))).unwrap();
    let created = maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(created.data, map.data);
    let Err(kube::Error::Api(status)) = maps.create(&PostParams::default(), &map).await else {
        panic!("created twice")
    };
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
    let patch = Patch::Merge(json!({"data": {"k": "w"}}));
    maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let listed = maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.metadata.resource_version, Some(cluster.version().to_string()));
    assert!(maps.get_opt("b").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_is_scaled_through_its_subresource() {
    let cluster = cluster();
    let client = cluster.client(Identity::admin("test"));
    let sets: Api<ReplicaSet> = Api::namespaced(client, "shop");
    let set = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "shop:1"}]}}},
    });
    let set = sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await;
    assert_eq!(set.unwrap().spec.unwrap().replicas, Some(1), "defaulted");
    let patch = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let scale = sets.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(4));
    assert_eq!(scale.status.unwrap().selector.as_deref(), Some("app=web"));
    let stored = cluster.get(&REPLICA_SETS, "shop", "web").unwrap();
    assert_eq!(stored["spec"]["replicas"], 4);
    assert_eq!(stored["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_in_pages_shows_one_version_to_its_end() {
    let cluster = cluster();
    let admin = admin(&cluster);
    for name in ["a", "b", "c"] {
        admin.create(config_map(name, &json!({}))).unwrap();
    }
    let client = cluster.client(Identity::admin("test"));
    let maps: Api<ConfigMap> = Api::namespaced(client, "shop");
    let first = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    admin.create(config_map("d", &json!({}))).unwrap();
    admin.delete(&CONFIG_MAPS, ("shop", "c")).unwrap();
    let token = first.metadata.continue_.unwrap();
    let params = ListParams::default().limit(2).continue_token(&token);
    let second = maps.list(&params).await.unwrap();
    let names: Vec<_> = second.items.iter().map(|map| map.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["c"]);
    cluster.compact(cluster.version());
    let Err(kube::Error::Api(status)) = maps.list(&params).await else { panic!("not expired") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_there_takes_nothing() {
    let cluster = cluster();
    let mut map = config_map("a", &json!({}));
    map["metadata"]["namespace"] = "nowhere".into();
    let refused = admin(&cluster).create(map).unwrap_err();
    assert_eq!(refused.message, "namespaces \"nowhere\" not found");
    let unknown = KindName::of("nobody.dev", "things");
    assert!(cluster.list(&unknown, "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_clusters_with_one_seed_have_the_same_history() {
    let history = |cluster: sluice::sim::api::Cluster| {
        let mut map = config_map("", &json!({}));
        map["metadata"]["generateName"] = "web-".into();
        admin(&cluster).create(map).unwrap();
        let entries = cluster.changes_since(0);
        entries.iter().map(|entry| entry.object.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(history(cluster()), history(cluster()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_placed_once_and_only_by_a_binding() {
    let cluster = cluster();
    let admin = admin(&cluster);
    let pods = KindName::of("", "pods");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": "app:1"}]},
    });
    admin.create(pod).unwrap();
    let place = ("shop", "a");
    let patch = json!({"spec": {"nodeName": "node-1"}});
    assert_eq!(admin.merge(&pods, place, "", patch).unwrap_err().code, 422);
    let to = |node: &str| json!({"target": {"kind": "Node", "name": node}});
    assert_eq!(admin.create_at(&pods, place, "binding", to("")).unwrap_err().code, 422);
    admin.create_at(&pods, place, "binding", to("node-1")).unwrap();
    let placed = cluster.get(&pods, "shop", "a").unwrap();
    assert_eq!(placed["spec"]["nodeName"], "node-1");
    assert_eq!(placed["status"]["conditions"][0]["type"], "PodScheduled");
    let refused = admin.create_at(&pods, place, "binding", to("node-2")).unwrap_err();
    assert_eq!((refused.code, refused.reason), (409, "Conflict"));
    let none = admin.create_at(&pods, ("shop", "none"), "binding", to("node-1"));
    assert_eq!(none.unwrap_err().code, 404);
}
