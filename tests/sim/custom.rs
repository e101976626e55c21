//! Kinds that a CustomResourceDefinition declares: ours, as we ship them.

use serde_json::{Value, json};
use sluice::sim::api::KindName;

use crate::help::{ROLLOUTS, admin, cluster, cluster_with_crds, rollout};

#[tokio::test(start_paused = true)]
async fn a_definition_makes_its_kind_served_and_takes_it_away_with_it() {
    let cluster = cluster_with_crds();
    let definitions = KindName::of("apiextensions.k8s.io", "customresourcedefinitions");
    let definition = cluster.get(&definitions, "", "rollouts.sluice.dev").unwrap();
    assert_eq!(definition["status"]["conditions"][1]["type"], "Established");
    admin(&cluster).create(rollout("web")).unwrap();
    admin(&cluster).delete(&definitions, ("", "rollouts.sluice.dev")).unwrap();
    assert!(cluster.list(&ROLLOUTS, "").is_empty());
    assert_eq!(admin(&cluster).create(rollout("web")).unwrap_err().code, 404);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_nobody_declared_is_not_found() {
    assert_eq!(admin(&cluster()).create(rollout("web")).unwrap_err().code, 404);
}

#[tokio::test(start_paused = true)]
async fn the_shipped_schema_drops_what_it_does_not_know_and_refuses_what_does_not_fit() {
    let cluster = cluster_with_crds();
    let mut object = rollout("web");
    object["spec"]["replica"] = json!(3);
    object["spec"]["template"]["spec"]["anything"] = json!({"goes": true});
    let stored = admin(&cluster).create(object).unwrap();
    assert_eq!(stored["spec"]["replica"], Value::Null);
    assert_eq!(stored["spec"]["template"]["spec"]["anything"]["goes"], true);
    let patch = json!({"spec": {"replicas": "many"}});
    let refused = admin(&cluster).merge(&ROLLOUTS, ("shop", "web"), "", patch).unwrap_err();
    let wanted = "spec.replicas in body must be of type integer: \"string\"";
    assert!(refused.message.contains(wanted), "{}", refused.message);
}
