//! The server over TLS on a loopback port, as kubectl speaks to it.

use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use http::{Method, Request};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use sluice::api::{ApiNames, Kind, crd};
use sluice::clock::{SeededEntropy, TokioClock};
use sluice::sim::api::{Caller, Cluster, HttpServer, Identity};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::help::{admin, config_map, rollout};

struct Served {
    cluster: Cluster,
    config: Kubeconfig,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn served() -> Served {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let origin = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let clock = Arc::new(TokioClock::starting_at(origin));
    let cluster = Cluster::new(clock, Arc::new(SeededEntropy::new(1)));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    admin(&cluster).create(namespace).unwrap();
    for kind in Kind::ALL {
        let definition = crd::definition(ApiNames::SLUICE, kind).unwrap();
        admin(&cluster).create(serde_json::to_value(definition).unwrap()).unwrap();
    }
    let caller = |context: &str, identity| Caller {
        context: context.to_owned(),
        token: format!("token-of-{context}"),
        namespace: "shop".to_owned(),
        identity,
    };
    let team = Identity { user: "team".to_owned(), groups: vec![], pod: String::new() };
    let callers = vec![caller("you", Identity::admin("you")), caller("team", team)];
    let server = HttpServer::bind(cluster.clone(), 0, callers).await.unwrap();
    let config = Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.serve(stop.clone()));
    Served { cluster, config, stop, task }
}

impl Served {
    async fn config(&self, context: &str) -> Config {
        let options =
            KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(self.config.clone(), &options).await.unwrap()
    }

    async fn client(&self, context: &str) -> Client {
        Client::try_from(self.config(context).await).unwrap()
    }

    /// The answer to a GET, whatever its status.
    async fn get(&self, path: &str, accept: &str) -> Value {
        let request = Request::get(path).header("Accept", accept).body(vec![]).unwrap();
        self.client("you").await.request(request).await.unwrap()
    }
}

fn accept(kind: &str) -> String {
    format!("application/json;as={kind};v=v1;g=meta.k8s.io,application/json")
}

#[tokio::test]
async fn the_kubeconfig_leads_to_the_cluster_and_a_watch_tells_of_changes() {
    let served = served().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(served.client("you").await);
    let list = maps.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let mut watch = Box::pin(maps.watch(&WatchParams::default(), &version).await.unwrap());
    let map: ConfigMap = serde_json::from_value(config_map("a", &json!({"k": "v"}))).unwrap();
    maps.create(&PostParams::default(), &map).await.unwrap();
    let event = futures::TryStreamExt::try_next(&mut watch).await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Added(map)) if map.name_any() == "a"));
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "w"}});
    let params = PatchParams::apply("test");
    let error = maps.patch("a", &params, &Patch::Apply(&apply)).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 409));
    served.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), served.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn whoever_is_not_known_or_not_allowed_is_refused() {
    let served = served().await;
    let mut config = served.config("you").await;
    config.auth_info.token = Some("another".to_owned().into());
    let stranger: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config).unwrap());
    let error = stranger.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 401));
    let team: Api<ConfigMap> = Api::default_namespaced(served.client("team").await);
    let error = team.list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 403));
    // An administrator may act as somebody else, who may do less; the others may not.
    for (context, user) in [("you", "team"), ("team", "you")] {
        let mut config = served.config(context).await;
        config.auth_info.impersonate = Some(user.to_owned());
        let other: Api<ConfigMap> = Api::default_namespaced(Client::try_from(config).unwrap());
        let error = other.list(&ListParams::default()).await.unwrap_err();
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!(status.code, 403);
        let is_about_users = status.message.contains("impersonate resource \"users\"");
        assert_eq!(is_about_users, context == "team", "{}", status.message);
    }
}

#[tokio::test]
async fn everything_that_is_discovered_can_be_listed_and_explained() {
    let served = served().await;
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let paths = served.get("/openapi/v3", "*/*").await;
    let mut count = 0;
    for root in ["/api", "/apis"] {
        let list = served.get(root, aggregated).await;
        for group in list["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap_or("");
            for version in group["versions"].as_array().unwrap() {
                let number = version["version"].as_str().unwrap();
                let root = match name {
                    "" => format!("api/{number}"),
                    name => format!("apis/{name}/{number}"),
                };
                let plain = served.get(&format!("/{root}"), "application/json").await;
                let path = paths["paths"][&root]["serverRelativeURL"].as_str().unwrap();
                let document = served.get(path, "application/json").await;
                for resource in version["resources"].as_array().unwrap() {
                    let plural = resource["resource"].as_str().unwrap();
                    let is_in_both = plain["resources"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|one| one["name"] == plural && one["verbs"] == resource["verbs"]);
                    assert!(is_in_both, "{root} {plural}");
                    let kind = &resource["responseKind"];
                    let schemas = document["components"]["schemas"].as_object().unwrap();
                    let is_described = schemas.values().any(|schema| {
                        schema.pointer("/x-kubernetes-group-version-kind/0") == Some(kind)
                    });
                    assert!(is_described, "{root} {plural} {kind}");
                    if resource["verbs"].as_array().unwrap().contains(&json!("list")) {
                        let path = format!("/{root}/{plural}");
                        let table = served.get(&path, &accept("Table")).await;
                        assert_eq!(table["kind"], "Table", "{root} {plural}");
                        count += 1;
                    }
                }
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[tokio::test]
async fn rollouts_are_shown_in_the_columns_of_their_definition() {
    let served = served().await;
    admin(&served.cluster).create(rollout("web")).unwrap();
    let path = "/apis/sluice.dev/v1alpha1/namespaces/shop/rollouts";
    let table = served.get(path, &accept("Table")).await;
    let columns: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(columns.first(), Some(&"Name"));
    let at = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let row = &table["rows"][0];
    assert_eq!(row["cells"][at("Name")], "web");
    assert_eq!(row["cells"][at("Desired")], 2);
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["cells"].as_array().unwrap().len(), columns.len());
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_its_name() {
    let served = served().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "shop"},
        "spec": {"containers": [{"name": "main", "image": "app:1"}]},
    });
    admin(&served.cluster).create(pod).unwrap();
    let client = served.client("you").await;
    let ask = async |method, path: &str, content_type: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("Content-Type", content_type).body(vec![b'x']).unwrap();
        match client.request::<Value>(request).await {
            Err(kube::Error::Api(status)) => (status.code, status.message),
            other => panic!("{path}: {other:?}"),
        }
    };
    let logs = ask(Method::GET, "/api/v1/namespaces/shop/pods/a/log", "").await;
    assert_eq!((logs.0, logs.1.contains("log of pods")), (501, true), "{}", logs.1);
    let maps = "/api/v1/namespaces/shop/configmaps";
    let protobuf = ask(Method::POST, maps, "application/vnd.kubernetes.protobuf").await;
    assert_eq!((protobuf.0, protobuf.1.contains("protobuf")), (501, true), "{}", protobuf.1);
    assert_eq!(ask(Method::POST, maps, "text/plain").await.0, 415);
    assert_eq!(ask(Method::GET, "/openapi/v2", "").await.0, 501);
}
