//! Watches, with time that stands still.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use serde_json::json;
use sluice::clock::{SeededEntropy, TokioClock};
use sluice::sim::api::{Cluster, Entry, EventFate, Identity, Interference, WatchId};

use crate::help::{CONFIG_MAPS, admin, cluster, config_map};

fn maps(cluster: &Cluster) -> Api<ConfigMap> {
    Api::namespaced(cluster.client(Identity::admin("test")), "shop")
}

fn told(event: &WatchEvent<ConfigMap>) -> String {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap_or_default();
    match event {
        WatchEvent::Added(map) => format!("+{}", name(map)),
        WatchEvent::Modified(map) => format!("~{}", name(map)),
        WatchEvent::Deleted(map) => format!("-{}", name(map)),
        WatchEvent::Bookmark(_) => "bookmark".to_owned(),
        WatchEvent::Error(status) => format!("{} {}", status.code, status.reason),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_of_what_enters_changes_and_leaves_its_selection() {
    let cluster = cluster();
    let admin = admin(&cluster);
    let params = WatchParams::default().labels("app=web").disable_bookmarks().timeout(10);
    let version = cluster.version().to_string();
    let mut stream = maps(&cluster).watch(&params, &version).await.unwrap().boxed();
    let place = ("shop", "a");
    let label = |value: &str| json!({"metadata": {"labels": {"app": value}}});
    admin.create(config_map("a", &json!({}))).unwrap();
    admin.merge(&CONFIG_MAPS, place, "", label("web")).unwrap();
    admin.merge(&CONFIG_MAPS, place, "", json!({"data": {"k": "v"}})).unwrap();
    admin.merge(&CONFIG_MAPS, place, "", label("db")).unwrap();
    admin.merge(&CONFIG_MAPS, place, "", label("web")).unwrap();
    admin.delete(&CONFIG_MAPS, place).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        seen.push(told(&event.unwrap()));
    }
    assert_eq!(seen, ["+a", "~a", "-a", "+a", "-a"], "and then the server ended it");
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_compacted_version_gets_410_in_the_stream() {
    let cluster = cluster();
    let from = cluster.version().to_string();
    admin(&cluster).create(config_map("a", &json!({}))).unwrap();
    cluster.compact(cluster.version());
    let params = WatchParams::default();
    let mut stream = maps(&cluster).watch(&params, &from).await.unwrap().boxed();
    assert_eq!(told(&stream.next().await.unwrap().unwrap()), "410 Expired");
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_gets_a_bookmark_each_minute() {
    let cluster = cluster();
    let params = WatchParams::default().timeout(150);
    let version = cluster.version().to_string();
    let mut stream = maps(&cluster).watch(&params, &version).await.unwrap().boxed();
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        seen.push(told(&event.unwrap()));
    }
    assert_eq!(seen, ["bookmark", "bookmark"]);
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_the_bookmark_that_says_so() {
    let cluster = cluster();
    for name in ["b", "a"] {
        admin(&cluster).create(config_map(name, &json!({}))).unwrap();
    }
    let config = watcher::Config::default().streaming_lists();
    let mut stream = watcher::watcher(maps(&cluster), config).boxed();
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            Event::Init => seen.push("init".to_owned()),
            Event::InitApply(map) => seen.push(map.metadata.name.unwrap()),
            Event::InitDone => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["init", "a", "b"]);
}

/// The second event of each watch is lost, the third late; the fourth cuts.
#[derive(Debug)]
struct Faults {
    from: std::sync::atomic::AtomicU64,
}

impl Interference for Faults {
    fn event(&self, _: WatchId, entry: &Entry) -> EventFate {
        let number = entry.version - self.from.load(std::sync::atomic::Ordering::SeqCst);
        match number {
            2 => EventFate::Lost,
            3 => EventFate::Late(Duration::from_secs(5)),
            4 => EventFate::Cut,
            _ => EventFate::Arrives,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn events_can_be_lost_late_and_the_last_of_a_broken_connection() {
    let origin = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let faults = Arc::new(Faults { from: 0.into() });
    let clock = Arc::new(TokioClock::starting_at(origin));
    let entropy = Arc::new(SeededEntropy::new(1));
    let cluster = Cluster::with_interference(clock, entropy, faults.clone());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    admin(&cluster).create(namespace).unwrap();
    faults.from.store(cluster.version(), std::sync::atomic::Ordering::SeqCst);
    let version = cluster.version().to_string();
    let params = WatchParams::default().disable_bookmarks();
    let mut stream = maps(&cluster).watch(&params, &version).await.unwrap().boxed();
    for name in ["a", "b", "c", "d", "e"] {
        admin(&cluster).create(config_map(name, &json!({}))).unwrap();
    }
    let began = tokio::time::Instant::now();
    let mut seen = Vec::new();
    while let Some(event) = stream.next().await {
        seen.push((told(&event.unwrap()), began.elapsed().as_secs()));
    }
    assert_eq!(seen, [("+a".to_owned(), 0), ("+c".to_owned(), 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_is_taken_up_again_by_the_watcher_without_loss() {
    let cluster = cluster();
    let stream = watcher::watcher(maps(&cluster), watcher::Config::default()).default_backoff();
    let mut stream = stream.applied_objects().boxed();
    admin(&cluster).create(config_map("a", &json!({}))).unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().metadata.name.unwrap(), "a");
    let cut = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let open = cluster.watches(None);
        assert_eq!(open.len(), 1, "{open:?}");
        cluster.cut(open[0].0);
        admin(&cluster).create(config_map("b", &json!({}))).unwrap();
    };
    let (next, ()) = tokio::join!(stream.next(), cut);
    assert_eq!(next.unwrap().unwrap().metadata.name.unwrap(), "b");
}
