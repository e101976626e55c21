//! `simulate`: a team's manifests in; a timeline, an end and an exit code out. Virtual time only.

use std::path::Path;

use serde_json::Value;

use crate::fake::{Fake, Outcome};

const WEB: &str = "-f tests/fixtures/simulate/web.yaml";

async fn simulate(line: &str) -> Outcome {
    Fake::default().run(&format!("simulate {line}")).await
}

/// A manifest in a folder of its own, and the folder.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollout.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path.display().to_string())
}

/// The fixture with some text in place of another.
fn changed(pairs: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/simulate/web.yaml");
    let mut text = std::fs::read_to_string(path).unwrap();
    for (old, new) in pairs {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    file(&text)
}

async fn report(line: &str) -> Value {
    let outcome = simulate(&format!("{line} -o json")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    serde_json::from_str(&outcome.out).unwrap()
}

#[tokio::test]
async fn a_bad_version_is_aborted_and_reverted_in_git() {
    let outcome = simulate(&format!("{WEB} --canary error-rate=5% --expect reverted")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    insta::assert_snapshot!(outcome.out);
}

#[tokio::test]
async fn a_good_version_is_promoted_with_stable_json() {
    let outcome = simulate(&format!("{WEB} --expect promoted --rps 20 -o json")).await;
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    let mut report: Value = serde_json::from_str(&outcome.out).unwrap();
    // One event of each kind, and one sample.
    let mut kinds = std::collections::BTreeSet::new();
    let events = report["events"].as_array_mut().unwrap();
    events.retain(|event| kinds.insert(event["kind"].as_str().unwrap().to_owned()));
    report["samples"].as_array_mut().unwrap().truncate(1);
    // The order of keys in a value depends on features of other packages.
    insta::with_settings!({sort_maps => true}, { insta::assert_yaml_snapshot!(report) });
}

#[tokio::test]
async fn another_end_than_expected_has_an_exit_code_of_its_own() {
    let outcome = simulate(&format!("{WEB} --canary error-rate=5% --expect promoted")).await;
    assert_eq!(outcome.code, 4);
    assert!(outcome.err.contains("expected promoted, but it came to Reverted"), "{}", outcome.err);
    let outcome = simulate(&format!("{WEB} --canary error-rate=5% --expect aborted")).await;
    assert_eq!(outcome.code, 0, "a version that was reverted was aborted, too");
}

#[tokio::test]
async fn one_seed_has_one_timeline() {
    let line = format!(
        "{WEB} --canary p50=40ms,p99=2s --at 40s=controller-restart --at 70s=stable.crash --at 90s=stable.healthy -o json"
    );
    let first = simulate(&format!("{line} --seed 7")).await;
    let second = simulate(&format!("{line} --seed 7")).await;
    assert_eq!(first.out, second.out);
    let other = simulate(&format!("{line} --seed 8")).await;
    assert_ne!(first.out, other.out);
    // Another process has other keys for its hash maps.
    let program = env!("CARGO_BIN_EXE_kubectl-sluice");
    let words = format!("simulate {line} --seed 7");
    let elsewhere =
        std::process::Command::new(program).args(words.split_whitespace()).output().unwrap();
    assert_eq!(first.out, String::from_utf8(elsewhere.stdout).unwrap());
}

#[tokio::test]
async fn a_folder_and_standard_input_are_read_as_files_are() {
    let line = "--canary error-rate=5% --expect reverted";
    let whole = simulate(&format!("{WEB} {line}")).await;
    let text = std::fs::read_to_string("tests/fixtures/simulate/web.yaml").unwrap();
    let piped = Fake::default().run_reading(&format!("simulate -f - {line}"), &text).await;
    assert_eq!(piped.code, 0, "{}", piped.err);
    assert!(piped.out.contains("+++ b/apps/web/rollout.yaml"), "{}", piped.out);
    // One document in each file of the folder, and one in a folder below.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    for (nth, document) in text.split("\n---\n").enumerate() {
        let name = if nth == 0 { "below/0.yaml".to_owned() } else { format!("{nth}.yml") };
        std::fs::write(folder.path().join(name), document).unwrap();
    }
    let split = simulate(&format!("-f {} {line}", folder.path().display())).await;
    assert_eq!(split.code, 0, "{}", split.err);
    let end = |text: &str| text.split_once("Outcome:").unwrap().1.to_owned();
    assert_eq!(end(&split.out), end(&whole.out));
    assert_eq!(end(&piped.out), end(&whole.out));
}

#[tokio::test]
async fn slow_answers_fail_the_metric_of_latency() {
    let report = report(&format!("{WEB} --canary p99=900ms")).await;
    assert_eq!(report["end"]["outcome"], "Reverted");
    let bad: Vec<&Value> = report["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["verdict"] == "Failed" && event["metric"] == "p99")
        .collect();
    assert!(bad.len() >= 2);
    for measurement in bad {
        let value: f64 = measurement["value"].as_str().unwrap().parse().unwrap();
        assert!((0.6..1.3).contains(&value), "{value}");
    }
}

#[tokio::test]
async fn what_happens_meanwhile_and_what_people_do_is_told() {
    let line = format!(
        "{WEB} --at 30s=pause --at 40s=resume --at 50s=scale:6 --at 60s=rps:200 --at 65s=prometheus-down \
         --at 75s=prometheus-up --at 80s=controller-restart --at 140s=abort"
    );
    let report = report(&line).await;
    assert_eq!(report["end"]["outcome"], "Aborted", "a person's abort is no reason to touch Git");
    assert_eq!(report["end"]["gitImage"], "registry.example.test/web:next");
    let told: Vec<&str> = report["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| ["person", "world"].contains(&event["kind"].as_str().unwrap()))
        .map(|event| event["text"].as_str().unwrap())
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[tokio::test]
async fn a_pause_without_end_is_an_end_unless_somebody_promotes() {
    let (_folder, path) = changed(&[("pause: {duration: 2m}", "pause: {}")]);
    let outcome = simulate(&format!("-f {path} --expect paused")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("Waits for:  kubectl sluice promote web"), "{}", outcome.out);
    for more in ["--promote-pauses", "--at 5m=promote"] {
        let outcome = simulate(&format!("-f {path} --expect promoted {more}")).await;
        assert_eq!(outcome.code, 0, "{more}: {}{}", outcome.out, outcome.err);
    }
}

#[tokio::test]
async fn the_limit_of_virtual_time_is_an_end() {
    let outcome = simulate(&format!("{WEB} --for 1m")).await;
    assert_eq!(outcome.code, 0);
    assert!(outcome.out.contains("TimedOut after 1m00s"), "{}", outcome.out);
}

#[tokio::test]
async fn metrics_that_cannot_be_measured_are_named_before_the_run() {
    for (old, new, why) in [
        ("http_requests_total", "shop_orders_total", "there is no series \"shop_orders_total\""),
        (
            "status=~",
            "http_code=~",
            "has no label \"http_code\" (http_code=~\"5..\"); it has app, ",
        ),
        (
            "namespace=\"shop\"",
            "namespace=\"store\"",
            "has namespace=\"store\"; here namespace is shop",
        ),
        ("sum(rate(", "histogram_avg(rate(", "does not evaluate the function histogram_avg"),
    ] {
        let (_folder, path) = changed(&[(old, new)]);
        let outcome = simulate(&format!("-f {path}")).await;
        assert_eq!((outcome.code, outcome.out.as_str()), (1, ""), "{new}");
        let named = "metric \"error-rate\" of AnalysisTemplate quality";
        assert!(outcome.err.contains(why) && outcome.err.contains(named), "{new}: {}", outcome.err);
        assert!(outcome.err.contains("--metric error-rate=VALUE"), "{}", outcome.err);
    }
}

#[tokio::test]
async fn a_pinned_metric_decides() {
    let (_folder, path) = changed(&[("http_requests_total", "shop_orders_total")]);
    let outcome = simulate(&format!("-f {path} --metric error-rate=1% --expect promoted")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("error-rate = 0.01, 4 times good"), "{}", outcome.out);
    let outcome = simulate(&format!("-f {path} --metric error-rate=0.5 --expect reverted")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let outcome = simulate(&format!("-f {path} --metric error-rat=0.5")).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("did you mean error-rate?"), "{}", outcome.err);
}

#[tokio::test]
async fn counts_of_both_versions_are_compared_and_cannot_be_pinned() {
    let compares = |counter: &str| {
        let metric = format!("errors: {{counter: {counter}, bad: 'code=~\"5..\"'}}");
        let text = format!(
            "\
apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {{name: web, namespace: shop}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  strategy:
    canary:
      stableService: web-stable
      canaryService: web-canary
      trafficRouting: {{gatewayAPI: {{httpRoute: web}}}}
      analysis: {{metrics: [{{name: errors, {metric}}}]}}
      steps: [{{setWeight: 10}}, {{pause: {{duration: 5m}}}}]
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: 'web:v1', ports: [{{containerPort: 8080}}]}}]}}
"
        );
        file(&text)
    };
    let (_folder, path) = compares("http_requests_total");
    let outcome = simulate(&format!("-f {path} --canary error-rate=5% --expect aborted")).await;
    assert_eq!(outcome.code, 0, "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.contains("times counted since"), "{}", outcome.out);
    assert!(outcome.out.contains("errors FAIL after"), "{}", outcome.out);
    let outcome = simulate(&format!("-f {path} --metric errors=0.5")).await;
    assert_eq!(outcome.code, 2);
    let why = "--metric: errors counts the requests of both versions";
    assert!(outcome.err.contains(why), "{}", outcome.err);
    let (_folder, path) = compares("shop_orders_total");
    let outcome = simulate(&format!("-f {path}")).await;
    assert_eq!(outcome.code, 1);
    let why = "metric \"errors\", asked for by spec.strategy.canary.analysis: there is no series";
    assert!(outcome.err.contains(why), "{}", outcome.err);
    assert!(!outcome.err.contains("--metric"), "{}", outcome.err);
}

#[tokio::test]
async fn web_metrics_and_jobs_are_pinned_or_stood_in_for() {
    let text = r#"
apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}]}
  strategy:
    canary:
      steps:
        - setWeight: 50
        - analysis: {templates: [{templateName: checks}]}
---
apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: checks}
spec:
  metrics:
    - name: ready
      successCondition: result.ok == true
      provider: {web: {url: "https://checks.example.test/ready", jsonPath: "{$.state}"}}
    - name: load-test
      provider:
        job:
          spec:
            backoffLimit: 0
            template: {spec: {restartPolicy: Never, containers: [{name: k6, image: "k6:1"}]}}
"#;
    let (_folder, path) = file(text);
    let outcome = simulate(&format!("-f {path}")).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("asks a web server (https://checks.example.test/ready)"),
        "{}",
        outcome.err
    );
    let pin = "--metric ready={\"ok\":true}";
    let outcome = simulate(&format!("-f {path} {pin} --expect promoted")).await;
    assert_eq!(outcome.code, 0, "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.contains("the Job of metric \"load-test\" succeeds"), "{}", outcome.out);
    for more in ["--metric ready={\"ok\":false}", &format!("{pin} --metric load-test=failure")] {
        let outcome = simulate(&format!("-f {path} {more} --expect aborted")).await;
        assert_eq!(outcome.code, 0, "{more}: {}{}", outcome.out, outcome.err);
    }
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_told_with_its_place() {
    let (_folder, path) = changed(&[("templateName: quality", "templateName: quantity")]);
    let outcome = simulate(&format!("-f {path}")).await;
    assert_eq!(outcome.code, 1);
    let why = "rollout.yaml:27: Rollout web: spec.strategy.canary.steps[1].analysis: not in these files: AnalysisTemplate \"quantity\"";
    assert!(outcome.err.contains(why), "{}", outcome.err);
    let (_folder, path) =
        changed(&[("gatewayAPI: {httpRoute: web}", "istio: {virtualService: {name: web}}")]);
    let outcome = simulate(&format!("-f {path}")).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("trafficRouting.istio: is not supported yet"), "{}", outcome.err);
}

#[tokio::test]
async fn wrong_command_lines_are_refused_with_what_would_be_right() {
    for (line, why) in [
        ("", "no file to simulate"),
        ("-f tests/fixtures/world/analysis.yaml", "found no Rollout"),
        ("-f tests/fixtures/argo/canary-basic.yaml", "declare 4 Rollouts: first-try"),
        ("-f tests/fixtures/argo/canary-basic.yaml --rollout first-tri", "did you mean first-try?"),
        ("-f no/such/file.yaml", "failed to read no/such/file.yaml"),
        ("WEB --canary cpu=90%", "\"cpu\" is no behaviour that is modelled"),
        ("WEB --at 5m=explode", "\"explode\" is nothing that can happen here"),
        ("WEB --at 3h=abort", "comes after the end of the simulation"),
        ("WEB --for soon", "--for \"soon\" is no time"),
        ("WEB --scrape-interval 10ms", "below 1s"),
        ("WEB --rps -1", "unexpected argument"),
        ("WEB --metric error-rate", "is not NAME=VALUE"),
        ("WEB --image registry.example.test/other:1.4.2", "another tag"),
        ("WEB --expect happiness", "promoted, aborted, reverted, paused"),
    ] {
        let outcome = simulate(&line.replace("WEB", WEB)).await;
        assert_ne!(outcome.code, 0, "{line}");
        assert!(outcome.err.contains(why), "{line}: {}", outcome.err);
        assert_eq!(outcome.out, "", "{line}");
    }
    let outcome = Fake::default().run("version -o svg").await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("only simulate draws pictures"), "{}", outcome.err);
}

#[tokio::test]
async fn pictures_stand_alone_and_go_to_files() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["svg", "html"] {
        let path = folder.path().join(format);
        let line =
            format!("{WEB} --canary error-rate=5% -o {format} --output-file {}", path.display());
        let outcome = simulate(&line).await;
        assert_eq!((outcome.code, outcome.out.as_str()), (0, ""), "{}", outcome.err);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains("<svg ") && text.contains("error-rate") && text.contains("Reverted"));
        for foreign in ["<script", "href=", "src=", "url(", "@import"] {
            assert!(!text.contains(foreign), "{format} has {foreign}");
        }
    }
}

/// Each Rollout of Argo's fixtures runs, or is refused by the name of what it lacks.
#[tokio::test]
async fn argos_examples_run_or_are_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/argo");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut told = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let documents = text.split("\n---").filter(|one| one.contains("\nkind: Rollout\n"));
        for document in documents {
            let rollout = document.split("\nmetadata:\n  name: ").nth(1).unwrap();
            let rollout = rollout.lines().next().unwrap();
            let line = format!(
                "-f tests/fixtures/argo/{name} --rollout {rollout} --promote-pauses --for 5m"
            );
            let outcome = simulate(&line).await;
            let last = match outcome.code {
                0 => outcome.out.lines().find(|line| line.starts_with("Outcome:")),
                _ => outcome.err.lines().next(),
            };
            told.push(format!("{name} {rollout}: {}", last.unwrap_or_default()));
        }
    }
    insta::assert_snapshot!(told.join("\n"));
}
