//! What is kept of a failed scenario: the objects of its namespace, their events and the controller's logs, as text files.
//! Collecting them never fails a run.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::log::say;
use crate::scene::Scene;

const KINDS: &str = "rollouts.sluice.dev,analysisruns.sluice.dev,analysistemplates.sluice.dev,replicasets,pods,services,\
                     endpointslices,httproutes,hpa";

/// Writes everything into `failures/SCENARIO` of the state directory.
pub(crate) async fn keep(scene: &Scene) {
    let directory = scene.settings.state.join("failures").join(&scene.name);
    if let Err(error) = std::fs::create_dir_all(&directory) {
        say(&scene.name, format!("nothing is kept of the failure: {error}"));
        return;
    }
    let ours = ["--namespace", &scene.namespace];
    let system = ["--namespace", &scene.settings.controller_namespace];
    let selector = ["--selector", "app.kubernetes.io/name=sluice"];
    let logs = ["logs", "--prefix", "--tail=5000", "--timestamps"];
    let files: [(&str, Vec<&str>); 6] = [
        ("objects.txt", [&["get", KINDS, "-o", "wide"], &ours[..]].concat()),
        ("objects.yaml", [&["get", KINDS, "-o", "yaml"], &ours[..]].concat()),
        ("events.txt", [&["get", "events", "--sort-by=.lastTimestamp"], &ours[..]].concat()),
        ("controller.txt", [&["get", "pods,lease", "-o", "wide"], &system[..]].concat()),
        ("controller.log", [&logs[..], &system, &selector].concat()),
        ("controller-before.log", [&logs[..], &["--previous"], &system, &selector].concat()),
    ];
    for (file, arguments) in files {
        write(&directory.join(file), &arguments).await;
    }
    say(&scene.name, format!("what can be known of the failure is in {}", directory.display()));
}

async fn write(file: &Path, arguments: &[&str]) {
    let output =
        Command::new("kubectl").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let text = match tokio::time::timeout(Duration::from_secs(20), output).await {
        Ok(Ok(output)) => [output.stdout, output.stderr].concat(),
        Ok(Err(error)) => error.to_string().into_bytes(),
        Err(_elapsed) => b"kubectl did not answer within 20 s\n".to_vec(),
    };
    // Best effort: a full disk must not hide why the scenario failed.
    let _ignored = std::fs::write(file, text);
}
