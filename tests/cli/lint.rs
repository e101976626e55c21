//! `lint`: manifests in, findings with file and line out.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sluice::api::ApiNames;
use sluice::cli::lint::{SourceFile, lint};

use crate::fake::Fake;

/// A set in which nothing is wrong.
const GOOD: &str = r#"apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata:
  name: shop
spec:
  replicas: 3
  selector:
    matchLabels: {app: shop}
  template:
    metadata:
      labels: {app: shop}
    spec:
      containers:
      - name: web
        image: shop:v1
  strategy:
    canary:
      stableService: shop-stable
      canaryService: shop-canary
      trafficRouting:
        gatewayAPI:
          httpRoute: shop
      steps:
      - setWeight: 20
      - analysis:
          templates:
          - templateName: errors
          args:
          - name: service
            value: shop-canary
---
apiVersion: v1
kind: Service
metadata: {name: shop-stable}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop-canary}
spec: {selector: {app: shop}, ports: [{port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - backendRefs:
    - {name: shop-stable, port: 80}
    - {name: shop-canary, port: 80, weight: 0}
---
apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  args:
  - name: service
  metrics:
  - name: errors
    successCondition: result[0] < 0.01
    provider:
      prometheus:
        source: {name: prometheus}
        query: errors{service="{{args.service}}"}
---
apiVersion: sluice.dev/v1alpha1
kind: MetricsSource
metadata: {name: prometheus}
spec:
  address: http://prometheus.monitoring:9090
"#;

/// The findings as `line severity object field: problem`, and hints below.
fn told(text: &str) -> Vec<String> {
    let file = SourceFile { name: "a.yaml".to_owned(), text: text.to_owned(), is_named: true };
    let report = lint(&[file], ApiNames::SLUICE, "default", false);
    report.lines().iter().map(|line| line.paint(false, 0)).collect()
}

/// The set with one text replaced, as its author might have written it.
fn with(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "the set has no {from:?}");
    told(&GOOD.replacen(from, to, 1))
}

#[test]
fn a_set_in_which_nothing_is_wrong_gets_no_finding() {
    assert_eq!(told(GOOD), Vec::<String>::new());
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = GOOD
        .replacen("replicas: 3", "replicas: three", 1)
        .replacen("setWeight: 20", "setWeight: 120", 1)
        .replacen("stableService: shop-stable", "stableServices: shop-stable", 1)
        .replacen("image: shop:v1", "image: shop:v1\n        prots: [80]", 1)
        .replacen("result[0] < 0.01", "result[0] <", 1)
        .replacen("http://prometheus.monitoring:9090", "prometheus:9090", 1);
    insta::assert_snapshot!(told(&text).join("\n"));
}

/// What an author writes, what instead of it, and the finding.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "    canary:\n      stableService",
        "    blueGreen: {activeService: shop-stable}\n    canary:\n      stableService",
        "a.yaml:16: error: Rollout shop: spec.strategy: has both canary and blueGreen; keep \
             exactly one",
    ),
    (
        "setWeight: 20",
        "setWeight: 120",
        "a.yaml:24: error: Rollout shop: spec.strategy.canary.steps[0].setWeight: must be in \
             0..=100, but is 120",
    ),
    (
        "      - setWeight: 20\n",
        "      - setWeight: 20\n        pause: {}\n",
        "a.yaml:24: error: Rollout shop: spec.strategy.canary.steps[0]: sets ",
    ),
    (
        "matchLabels: {app: shop}",
        "matchLabels: {app: shopp}",
        "a.yaml:7: error: Rollout shop: spec.selector: does not match \
             spec.template.metadata.labels: \"app=shopp\"",
    ),
    (
        "metadata: {name: shop-canary}",
        "metadata: {name: shop-canari}",
        "a.yaml:19: error: Rollout shop: spec.strategy.canary.canaryService: Service \
             \"shop-canary\" is not in these files",
    ),
    (
        "metadata: {name: shop-stable}\nspec: {selector: {app: shop}",
        "metadata: {name: shop-stable}\nspec: {selector: {app: other}",
        "a.yaml:18: error: Rollout shop: spec.strategy.canary.stableService: Service \
             \"shop-stable\" (a.yaml:32) selects app=other, but the labels of the Rollout's pods \
             are app=shop",
    ),
    (
        "    - {name: shop-canary, port: 80, weight: 0}\n",
        "",
        "a.yaml:22: error: Rollout shop: spec.strategy.canary.trafficRouting: HTTPRoute `shop`",
    ),
    (
        "kind: HTTPRoute\nmetadata: {name: shop}",
        "kind: HTTPRoute\nmetadata: {name: shops}",
        "a.yaml:22: error: Rollout shop: spec.strategy.canary.trafficRouting: HTTPRoute \
             \"shop\" is not in these files",
    ),
    (
        "templateName: errors",
        "templateName: error",
        "a.yaml:27: error: Rollout shop: \
             spec.strategy.canary.steps[1].analysis.templates: AnalysisTemplate \"error\" is not \
             in these files",
    ),
    (
        "          args:\n          - name: service\n            value: shop-canary\n",
        "",
        "error: Rollout shop: spec.strategy.canary.steps[1].analysis.args: must give a value \
             to \"service\", which the templates need",
    ),
    (
        "          - name: service\n            value: shop-canary\n",
        "          - {name: service, value: x}\n          - {name: other, value: x}\n",
        "a.yaml:28: warning: Rollout shop: spec.strategy.canary.steps[1].analysis.args: no \
             template declares the argument \"other\"",
    ),
    (
        "source: {name: prometheus}",
        "source: {name: prom}",
        "error: AnalysisTemplate errors: spec.metrics[0].provider.prometheus.source.name: \
             MetricsSource \"prom\" is not in these files",
    ),
    (
        "spec:\n  args:\n  - name: service\n  metrics:\n",
        "spec:\n  args:\n  - name: service\n  source: {name: prom}\n  metrics:\n  - errors: {counter: all_total, bad: \
         'code=~\"5..\"'}\n",
        "error: AnalysisTemplate errors: spec.source.name: MetricsSource \"prom\" is not in these files",
    ),
    (
        "result[0] < 0.01",
        "result[0] <",
        "error: AnalysisTemplate errors: spec.metrics[0].successCondition: ",
    ),
    (
        "result[0] < 0.01",
        "len(1..1000000000) > 0",
        "error: AnalysisTemplate errors: spec.metrics[0].successCondition: ",
    ),
    (
        "      prometheus:\n        source",
        "      datadog: {}\n      prometheus:\n        source",
        "error: AnalysisTemplate errors: spec.metrics[0].provider",
    ),
    (
        "        gatewayAPI:\n",
        "        istio: {}\n        gatewayAPI:\n",
        "a.yaml:21: error: Rollout shop: spec.strategy.canary.trafficRouting.istio: is not \
             supported yet",
    ),
    (
        "metadata:\n  name: shop\n",
        "metadata:\n  name: Shop_1\n",
        "a.yaml:4: error: Rollout Shop_1: metadata.name: cannot be a name",
    ),
];

#[test]
fn each_mistake_is_told_at_its_line() {
    for (from, to, expected) in MISTAKES {
        let found = with(from, to);
        assert!(found.iter().any(|line| line.contains(expected)), "{expected}:\n{found:#?}");
    }
}

#[test]
fn bad_git_sources_are_refused_by_field() {
    for url in ["--upload-pack=evil", "file:///etc", "ext::sh -c id", "https://user:pw@host/x"] {
        let git = format!(
            "spec:\n  gitRevert:\n    mode: Push\n    source: {{url: \"{url}\", branch: main, path: \
             apps}}\n  replicas: 3\n"
        );
        let found = with("spec:\n  replicas: 3\n", &git);
        let expected = "a.yaml:8: error: Rollout shop: spec.gitRevert.source.url: ";
        assert!(found.iter().any(|line| line.starts_with(expected)), "{url}: {found:#?}");
        assert!(!found.iter().any(|line| line.contains("pw@")), "{found:#?}");
    }
}

#[test]
fn a_word_that_kubectl_reads_as_a_truth_value_is_explained() {
    let git = "spec:\n  gitRevert:\n    mode: Off\n  replicas: 3\n";
    let found = with("spec:\n  replicas: 3\n", git);
    assert_eq!(
        found,
        [
            "a.yaml:7: error: Rollout shop: spec.gitRevert.mode: is false, not one of Disabled, \
             Suggest, PullRequest, Push",
            "    hint: kubectl reads an unquoted off, no, on or yes as a truth value",
        ]
    );
    let git = git.replace("Off", "Disabled");
    assert_eq!(with("spec:\n  replicas: 3\n", &git), Vec::<String>::new());
}

#[test]
fn a_limit_that_no_measurement_can_pass_is_doubted_and_no_error() {
    let limit = "    successCondition: result[0] < 0.01\n    failureLimit: 3\n";
    let found = with("    successCondition: result[0] < 0.01\n", limit);
    assert_eq!(
        found,
        [
            "a.yaml:61: warning: AnalysisTemplate errors: spec.metrics[0].failureLimit: tolerates 3 bad \
          values, but only 1 will be measured: the metric can never fail, and bad values alone pause \
          the update (Inconclusive)"
        ]
    );
}

#[test]
fn a_service_of_two_rollouts_is_told_at_the_second() {
    let second = GOOD.split("---").next().unwrap().replacen("name: shop\n", "name: shop2\n", 1);
    let found = told(&format!("{GOOD}---\n{second}"));
    let expected = "spec.strategy.canary.stableService: Service \"shop-stable\" is used by Rollout \
                    shop (a.yaml:1) as well; each Rollout needs its own";
    assert_eq!(found.iter().filter(|line| line.contains(expected)).count(), 1, "{found:#?}");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn the_same_names_in_another_namespace_are_other_objects() {
    let found = with("metadata:\n  name: shop\n", "metadata:\n  name: shop\n  namespace: prod\n");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_manifest_of_argo_rollouts_is_checked_and_told_how_to_move() {
    let found = told(&GOOD.replace("sluice.dev/v1alpha1", "argoproj.io/v1alpha1"));
    let warnings = found.iter().filter(|line| line.contains("warning: ")).count();
    assert_eq!(warnings, 3, "{found:#?}");
    assert!(found[1].contains("hint: change it to sluice.dev/v1alpha1"), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("error:")), "{found:#?}");
    // Other products share that group.
    assert_eq!(
        told("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x}\n"),
        Vec::<String>::new()
    );
}

#[test]
fn unknown_kinds_versions_and_documents_are_told() {
    let cases = [
        ("apiVersion: sluice.dev/v1alpha1\nkind: Rolout\n", "did you mean Rollout?"),
        ("apiVersion: sluice.dev/v1\nkind: Rollout\n", "write sluice.dev/v1alpha1"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Experiment\n", "is not supported yet"),
        ("apiVersion: sluice.dev/v1alpha1\nkind: Rollout\nspce: {}\n", "did you mean spec?"),
        ("just: text\n", "is no Kubernetes object"),
        ("a: [1\n", "error"),
        ("a: {{ .Values.x }}\nb: [\n", "render it first"),
    ];
    for (text, expected) in cases {
        let found = told(text).join("\n");
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn a_list_is_checked_item_by_item() {
    let item = "  - apiVersion: sluice.dev/v1alpha1\n    kind: MetricsSource\n    metadata: {name: \
                m}\n    spec: {address: \"ftp://x\"}\n";
    let found = told(&format!("apiVersion: v1\nkind: List\nitems:\n{item}"));
    assert_eq!(
        found,
        ["a.yaml:7: error: MetricsSource m: spec.address: must begin with http:// or https://"]
    );
}

#[test]
fn no_manifest_makes_lint_panic() {
    for text in ["", "---\n---\n", "null", "[]", "- 1", "kind: 5\napiVersion: 5\n", "? [a]\n: b\n"]
    {
        told(text);
    }
    // Every prefix of a good set is a bad set that somebody may be typing.
    for end in (0..GOOD.len()).step_by(7) {
        told(&GOOD[..end]);
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path: PathBuf = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn lint_reads_folders_and_ends_with_0_when_nothing_is_wrong() {
    let (rollout, rest) = GOOD.split_once("---\n").unwrap();
    let folder = folder(&[
        ("rollout.yaml", rollout),
        ("more/rest.yml", rest),
        ("more/values.yaml", "just: values\n"),
        (".hidden/x.yaml", "a: ["),
        ("notes.txt", "a: ["),
    ]);
    let outcome = Fake::default().run(&format!("lint -f {}", name(folder.path()))).await;
    assert_eq!((outcome.code, outcome.out.as_str()), (0, ""), "{}", outcome.err);
    assert_eq!(outcome.err, "no problems in 3 objects of 3 files\n");
}

#[tokio::test]
async fn lint_ends_with_1_on_errors_and_prints_them_as_data() {
    let folder = folder(&[("a.yaml", &GOOD.replacen("setWeight: 20", "setWeight: -1", 1))]);
    let file = name(&folder.path().join("a.yaml"));
    let outcome = Fake::default().run(&format!("lint {file} -o json")).await;
    assert_eq!(outcome.code, 1);
    let data: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(data["errors"], 1);
    let found = &data["findings"][0];
    assert_eq!(found["file"], file.as_str());
    assert_eq!(found["line"], 24);
    assert_eq!(found["severity"], "error");
    assert_eq!(found["object"], "Rollout shop");
    assert_eq!(found["field"], "spec.strategy.canary.steps[0].setWeight");
}

#[tokio::test]
async fn references_out_of_the_files_are_reported_as_not_checked() {
    let folder = folder(&[("a.yaml", GOOD.split("---").next().unwrap())]);
    let outcome = Fake::default().run(&format!("lint -f {}", name(folder.path()))).await;
    assert_eq!(outcome.code, 0, "{}", outcome.out);
    let expected = "not checked, since no object of the kind is in the files: AnalysisTemplate \
                    errors, HTTPRoute shop, Service shop-canary, Service shop-stable\n";
    assert!(outcome.err.contains(expected), "{}", outcome.err);
}

#[tokio::test]
async fn nothing_to_check_and_unreadable_files_are_no_success() {
    let folder = folder(&[("a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n")]);
    let fake = Fake::default();
    let outcome = fake.run(&format!("lint -f {}", name(folder.path()))).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("found no object of Sluice"), "{}", outcome.err);
    assert_eq!(fake.run("lint").await.code, 2);
    let outcome = fake.run("lint -f /no/such/file.yaml").await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("failed to read /no/such/file.yaml: No such file"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn standard_input_is_checked_under_the_name_of_a_dash() {
    let text = GOOD.replacen("setWeight: 20", "setWeight: 200", 1);
    let outcome = Fake::default().run_reading("lint -f -", &text).await;
    assert_eq!(outcome.code, 1);
    assert!(outcome.out.starts_with("-:24: error: Rollout shop: "), "{}", outcome.out);
}
