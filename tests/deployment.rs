//! What is shipped to run the controller: the pod satisfies the restricted Pod Security Standard,
//! kustomize base and chart say the same, and alerts speak of metrics that exist.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like the tests themselves"
)]

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Args as _, Command};
use regex::Regex;
use serde_json::{Value, json};
use sluice::controller::settings::Settings;
use sluice::telemetry::catalog::CATALOG;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_norway::from_str(&read(path)).unwrap()
}

/// What the restricted standard asks of a pod and of its container.
fn unrestricted(pod: &Value, container: &Value) -> Vec<&'static str> {
    let checks = [
        (pod["runAsNonRoot"] == true, "runAsNonRoot"),
        (pod["runAsUser"].as_u64().is_some_and(|user| user > 0), "runAsUser"),
        (pod["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile"),
        (container["allowPrivilegeEscalation"] == false, "allowPrivilegeEscalation"),
        (container["readOnlyRootFilesystem"] == true, "readOnlyRootFilesystem"),
        (container["capabilities"] == json!({"drop": ["ALL"]}), "capabilities"),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, name)| name).collect()
}

#[test]
fn the_pod_needs_no_more_than_the_restricted_standard() {
    let deployment = yaml("deploy/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let found = unrestricted(&pod["securityContext"], &container["securityContext"]);
    assert_eq!(found, Vec::<&str>::new());
    let values = yaml("charts/sluice/values.yaml");
    let found = unrestricted(&values["podSecurityContext"], &values["securityContext"]);
    assert_eq!(found, Vec::<&str>::new());
    assert_eq!(unrestricted(&json!({}), &json!({})).len(), 6);
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(pod.get(field), None);
    }
    let volumes = pod["volumes"].as_array().unwrap();
    assert!(volumes.iter().all(|volume| volume.get("emptyDir").is_some()));
}

#[test]
fn base_and_chart_agree_on_what_runs() {
    let deployment = yaml("deploy/deployment.yaml");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let values = yaml("charts/sluice/values.yaml");
    assert_eq!(deployment["spec"]["replicas"], values["replicaCount"]);
    assert_eq!(container["resources"], values["resources"]);
    let port = values["metrics"]["port"].as_u64().unwrap();
    assert_eq!(container["ports"][0]["containerPort"], port);
    let template = read("charts/sluice/templates/deployment.yaml");
    for argument in container["args"].as_array().unwrap() {
        let flag = argument.as_str().unwrap().split('=').next().unwrap();
        assert!(template.contains(flag), "the chart does not know {flag}");
    }
}

/// The controller understands its own command line, in the base and in the chart.
#[test]
fn every_flag_is_one_that_the_controller_has() {
    let command = Settings::augment_args(Command::new("controller"));
    let deployment = yaml("deploy/deployment.yaml");
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<&str> =
        arguments.as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(command.clone().try_get_matches_from(&arguments).is_ok(), "{arguments:?}");
    assert!(command.clone().try_get_matches_from(["controller", "--nonsense"]).is_err());
    let known: BTreeSet<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let flag = Regex::new(r"- --([a-z-]+)").unwrap();
    let template = read("charts/sluice/templates/deployment.yaml");
    let documented = read("docs/operation.md");
    for found in flag.captures_iter(&template) {
        assert!(known.contains(&found[1]), "the controller has no --{}", &found[1]);
        assert!(documented.contains(&format!("--{}", &found[1])), "--{}", &found[1]);
    }
}

#[test]
fn every_value_of_the_chart_is_in_its_schema() {
    fn missing(path: &str, values: &Value, schema: &Value, found: &mut Vec<String>) {
        let (Some(values), Some(known)) = (values.as_object(), schema["properties"].as_object())
        else {
            return;
        };
        for (name, value) in values {
            match known.get(name) {
                Some(schema) => missing(&format!("{path}.{name}"), value, schema, found),
                None => found.push(format!("{path}.{name}")),
            }
        }
    }
    let schema: Value = serde_json::from_str(&read("charts/sluice/values.schema.json")).unwrap();
    let mut found = Vec::new();
    missing("", &yaml("charts/sluice/values.yaml"), &schema, &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_alert_asks_for_metrics_that_exist_and_has_a_line_in_the_documentation() {
    let alerts = yaml("charts/sluice/files/alerts.yaml");
    let names: BTreeSet<&str> = CATALOG.iter().map(|metric| metric.name).collect();
    let metric = Regex::new(r"\bsluice_\w+").unwrap();
    let documented = read("docs/operation.md");
    let rules = alerts["groups"][0]["rules"].as_array().unwrap();
    for rule in rules {
        let alert = rule["alert"].as_str().unwrap();
        let used: Vec<&str> =
            metric.find_iter(rule["expr"].as_str().unwrap()).map(|found| found.as_str()).collect();
        assert!(!used.is_empty(), "{alert}");
        for name in used {
            assert!(names.contains(name), "{alert} asks for {name}, which does not exist");
        }
        assert!(documented.contains(&format!("| {alert} |")), "{alert} is not documented");
    }
    for wanted in ["Aborted", "Rollback", "GitRevertFailed", "Stuck", "NoLeader"] {
        let is_there = |rule: &Value| rule["alert"].as_str().unwrap().ends_with(wanted);
        assert!(rules.iter().any(is_there), "no alert on {wanted}");
    }
}
