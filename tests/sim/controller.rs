//! The real controller on the cluster in memory: its caches, its election, its loop over Rollouts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize as _;
use serde_json::{Value, json};
use sluice::act::actions::Hands;
use sluice::act::guard::Writer;
use sluice::act::wire::Wire;
use sluice::api::ApiNames;
use sluice::clock::{Clock, Entropy, SeededEntropy, TokioClock};
use sluice::controller::elector::{Elector, HoldEnd, LeaseConfig};
use sluice::controller::git::{GitParts, GitWorker};
use sluice::controller::lease::LeaseTimings;
use sluice::controller::rollouts::Rollouts;
use sluice::observe::cache::Scope;
use sluice::observe::caches::Caches;
use sluice::plan::facts::RevertLimits;
use sluice::sim::api::{Cluster, Identity, KindName};
use sluice::telemetry::metrics::{Metrics, SeriesLimits};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::help::{REPLICA_SETS, ROLLOUTS, admin, cluster_with_crds, rollout};

/// One process of the controller, until `stop`.
async fn controller(cluster: Cluster, stop: CancellationToken) {
    let origin = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(origin));
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(2));
    let client = cluster.client(Identity::service_account("sluice-system", "sluice-controller"));
    let names = ApiNames::SLUICE;
    let (caches, mut changes) =
        Caches::start(&client, names, Scope::Cluster, entropy.clone(), stop.clone());
    while caches.required().iter().any(|cache| cache.ready().is_err()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let config = LeaseConfig {
        namespace: "sluice-system".to_owned(),
        name: "sluice-controller".to_owned(),
        identity: "one".to_owned(),
        timings: LeaseTimings::default(),
    };
    let mut elector = Elector::new(client.clone(), config, clock.clone(), entropy.clone()).unwrap();
    let leadership = elector.campaign(&stop).await.unwrap();
    let wire = Wire::new(client);
    let (wishes, mut granted) = mpsc::unbounded_channel();
    let parts = GitParts {
        executor: None,
        wire: wire.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        cluster: None,
        argocd_namespace: "argocd".to_owned(),
        limits: RevertLimits::default(),
        names,
        own_namespace: "sluice-system".to_owned(),
        asks_tools: None,
    };
    let git = GitWorker::new(parts, wishes, stop.clone());
    let hands = Hands {
        writer: Writer::new(wire.clone(), leadership.clone(), names.epoch_annotation()),
        wire,
        caches: Arc::new(caches),
        names,
        git: Arc::new(git),
    };
    let metrics = Arc::new(Metrics::new(SeriesLimits::default()));
    let rollouts = Arc::new(Rollouts::new(hands, clock, entropy, metrics));
    let (end, ()) = tokio::join!(
        elector.hold(&leadership, &stop),
        rollouts.run(&mut changes, &mut granted, &stop)
    );
    assert_eq!(end, HoldEnd::Stopped);
    elector.release(&leadership).await;
}

/// ReplicaSets whose pods are ready after two seconds.
async fn kubelet(cluster: Cluster, stop: CancellationToken) {
    let actor = cluster.actor(Identity::admin("kubelet"));
    let mut log = cluster.follow(0);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = log.next() => tokio::time::sleep(Duration::from_secs(2)).await,
        }
        for set in cluster.list(&REPLICA_SETS, "") {
            let replicas = &set["spec"]["replicas"];
            let status = json!({"status": {
                "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
                "fullyLabeledReplicas": replicas,
                "observedGeneration": set["metadata"]["generation"],
            }});
            let name = set["metadata"]["name"].as_str().unwrap();
            actor.merge(&REPLICA_SETS, ("shop", name), "status", status).unwrap();
        }
    }
}

async fn phase_is(cluster: &Cluster, phase: &str) -> Arc<Value> {
    let mut log = cluster.follow(0);
    let seen = async {
        loop {
            log.next().await;
            let rollout = cluster.get(&ROLLOUTS, "shop", "web").unwrap();
            if rollout["status"]["phase"] == phase {
                return rollout;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(30), seen).await.unwrap_or_else(|_| {
        let rollout = cluster.get(&ROLLOUTS, "shop", "web").unwrap();
        panic!("never {phase}: {:#}", rollout["status"])
    })
}

/// The roles and bindings as they are shipped.
fn install_roles(cluster: &Cluster) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for file in ["namespace.yaml", "serviceaccount.yaml", "rbac.yaml"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            let mut object = Value::deserialize(document).unwrap();
            if object.is_null() {
                continue;
            }
            let kind = object["kind"].as_str().unwrap();
            let is_of_cluster = kind.starts_with("Cluster") || kind == "Namespace";
            if !is_of_cluster && object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = "sluice-system".into();
            }
            admin(cluster).create(object).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_real_controller_takes_a_rollout_through_its_steps() {
    let cluster = cluster_with_crds();
    install_roles(&cluster);
    let stop = CancellationToken::new();
    admin(&cluster).create(rollout("web")).unwrap();
    let process = tokio::spawn(controller(cluster.clone(), stop.clone()));
    let pods = tokio::spawn(kubelet(cluster.clone(), stop.clone()));
    phase_is(&cluster, "Healthy").await;
    assert_eq!(cluster.list(&REPLICA_SETS, "shop").len(), 1);

    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image",
        "value": "shop:2"}]);
    admin(&cluster).json_patch(&ROLLOUTS, ("shop", "web"), "", image).unwrap();
    phase_is(&cluster, "Paused").await;
    let healthy = phase_is(&cluster, "Healthy").await;
    let sets = cluster.list(&REPLICA_SETS, "shop");
    assert_eq!(sets.len(), 2);
    let stable = healthy["status"]["stableRS"].as_str().unwrap();
    let full = sets.iter().find(|set| set["spec"]["replicas"] == 2).unwrap();
    assert!(full["metadata"]["name"].as_str().unwrap().ends_with(stable));

    stop.cancel();
    process.await.unwrap();
    pods.await.unwrap();
    let leases = KindName::of("coordination.k8s.io", "leases");
    let lease = cluster.get(&leases, "sluice-system", "sluice-controller").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], Value::Null, "released");

    // The shipped role was enough.
    let access = cluster.access_log();
    assert_eq!(access.refused, BTreeSet::new());
    let used = access.used_of("", "sluice-workloads");
    let right = |group: &str, resource: &str, verb: &str| {
        (group.to_owned(), resource.to_owned(), verb.to_owned())
    };
    assert!(used.contains(&right("sluice.dev", "rollouts/status", "patch")), "{used:?}");
    assert!(used.contains(&right("apps", "replicasets", "create")), "{used:?}");
}
