//! `sluice demo` as people run it: the program, its output into a pipe, its exit code, and the
//! cluster that it leaves up for them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn the_demonstration_shows_what_it_claims_and_serves_its_cluster() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut program = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["demo", "--serve", "--speed", "8"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    let mut output = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut kubeconfig = String::new();
    for line in output.by_ref() {
        let line = line.unwrap();
        if let Some((_, path)) = line.split_once("export KUBECONFIG=") {
            path.clone_into(&mut kubeconfig);
        }
        let is_last = line.contains("Ctrl-C");
        lines.push(line);
        if is_last {
            break;
        }
    }
    let text = lines.join("\n");
    assert!(!text.contains('\x1b'), "a pipe gets no commands for terminals:\n{text}");
    for wanted in [
        "ada      pushes",
        "5 % of the requests go to the canary",
        "RolloutAborted",
        "revert(shop/web): restore 1.1.0, canary of 1.2.0 failed",
        "+          image: registry.example.test/web:1.1.0",
        "GitReverted",
        "✔ the agent applied it, and web is Healthy on 1.1.0",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
    assert!(!text.contains("NOT SEEN"), "{text}");

    let path = Path::new(&kubeconfig);
    let config = Kubeconfig::read_from(path).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(config, &options).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let kind = GroupVersionKind::gvk("sluice.dev", "v1alpha1", "Rollout");
    let resource = ApiResource::from_gvk(&kind);
    let rollouts: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let list = rollouts.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].data["status"]["phase"], "Healthy");

    let pid = Pid::from_raw(i32::try_from(program.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let status = program.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(!path.parent().unwrap().exists(), "something was left behind");
}

#[test]
fn a_wrong_option_is_refused_by_name() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_sluice")).args(["demo", "--speed", "0"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--speed") && text.contains("1..=30"), "{text}");
}
