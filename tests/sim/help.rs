//! What the tests of the cluster in memory share.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::{Value, json};
use sluice::api::{ApiNames, Kind, crd};
use sluice::clock::{SeededEntropy, TokioClock};
use sluice::sim::api::{Actor, Cluster, Identity, KindName};

pub(crate) const CONFIG_MAPS: KindName = KindName::of("", "configmaps");
pub(crate) const REPLICA_SETS: KindName = KindName::of("apps", "replicasets");
pub(crate) const ROLLOUTS: KindName = KindName::of("sluice.dev", "rollouts");

/// A cluster with the namespace `shop`, at a fixed time. Needs a runtime with paused time.
pub(crate) fn cluster() -> Cluster {
    let origin = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let clock = Arc::new(TokioClock::starting_at(origin));
    let cluster = Cluster::new(clock, Arc::new(SeededEntropy::new(1)));
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    admin(&cluster).create(namespace).unwrap();
    cluster
}

/// The same with our own kinds.
pub(crate) fn cluster_with_crds() -> Cluster {
    let cluster = cluster();
    for kind in Kind::ALL {
        let definition = crd::definition(ApiNames::SLUICE, kind).unwrap();
        admin(&cluster).create(serde_json::to_value(definition).unwrap()).unwrap();
    }
    cluster
}

pub(crate) fn admin(cluster: &Cluster) -> Actor {
    cluster.actor(Identity::admin("admin"))
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "shop"}, "data": data})
}

pub(crate) fn rollout(name: &str) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "shop:1"}]},
            },
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {"duration": "1m"}}]}},
        },
    })
}
