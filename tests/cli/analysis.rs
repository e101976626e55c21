//! `analysis`: templates over series.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fake::{Fake, Outcome};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("analysis-templates")
}

async fn tested(template: &Path, series: &Path, more: &str) -> Outcome {
    let line =
        format!("analysis test -f {} --series {} {more}", template.display(), series.display());
    Fake::default().run(&line).await
}

/// The ready templates with cases of their own.
fn ready() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn each_ready_template_fails_passes_and_has_no_data_in_the_shape_of_its_exporter() {
    let names = ready();
    assert_eq!(
        names,
        [
            "container-health.yaml",
            "container-memory.yaml",
            "envoy.yaml",
            "ingress-nginx.yaml",
            "istio.yaml",
            "linkerd.yaml",
            "prometheus-client-http.yaml",
            "traefik.yaml",
        ]
    );
    for name in names {
        let outcome =
            tested(&root().join(&name), &root().join("tests").join(&name), "-o json").await;
        assert_eq!(outcome.code, 0, "{name}: {}\n{}", outcome.err, outcome.out);
        let report: Value = serde_json::from_str(&outcome.out).unwrap();
        let cases = report["cases"].as_array().unwrap();
        // What only informs decides nothing; its cases expect what it tells.
        let informs = name == "container-memory.yaml";
        let verdicts: &[&str] = if informs { &["UNDECIDED"] } else { &["FAIL", "PASS", "NODATA"] };
        for verdict in verdicts {
            assert!(cases.iter().any(|case| case["verdict"] == *verdict), "{name}: {verdict}");
        }
    }
}

#[tokio::test]
async fn lint_finds_nothing_in_the_ready_templates() {
    let line = format!("lint {} --allow-missing", root().display());
    let outcome = Fake::default().run(&line).await;
    assert_eq!((outcome.code, outcome.out.as_str()), (0, ""), "{}", outcome.err);
}

const TEMPLATE: &str = r#"apiVersion: sluice.dev/v1alpha1
kind: AnalysisTemplate
metadata: {name: compared}
spec:
  args:
  - name: app
  metrics:
  - name: errors
    type: rate
    total: all_total{app="{{args.app}}"}
    bad: bad_total{app="{{args.app}}"}
    dispersion: independent
"#;

/// A canary with ten times the errors of stable.
const CASES: &str = r#"tests:
- name: ten times the errors
  interval: 10s
  start: 1m
  canary: web-new
  stable: web-old
  args: {app: web}
  input_series:
  - {series: 'all_total{app="web",pod="web-new-aaaaa"}', values: '_x6 0+100x60'}
  - {series: 'bad_total{app="web",pod="web-new-aaaaa"}', values: '_x6 0+10x60'}
  - {series: 'all_total{app="web",pod="web-old-bbbbb"}', values: '0+1000x66'}
  - {series: 'bad_total{app="web",pod="web-old-bbbbb"}', values: '0+10x66'}
  expect: {verdict: FAIL, metric: errors, within: 2m, message: canary}
"#;

/// Runs `analysis test` over these texts.
async fn of(template: &str, cases: &str, more: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    tested(&path("template.yaml", template), &path("cases.yaml", cases), more).await
}

#[tokio::test]
async fn a_case_that_comes_to_its_end_is_told_with_its_sentence() {
    let outcome = of(TEMPLATE, CASES, "").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.starts_with("✔ ten times the errors: FAIL after "), "{}", outcome.out);
    assert!(outcome.out.contains("errors FAIL after"), "{}", outcome.out);
    assert_eq!(outcome.err, "1 case of compared, as expected\n");
}

#[tokio::test]
async fn each_way_to_differ_is_told_and_ends_with_4() {
    for (wanted, other, told) in [
        ("verdict: FAIL", "verdict: PASS", "expected PASS, and it is FAIL"),
        ("metric: errors", "metric: latency", "expected it of the metric \"latency\""),
        ("within: 2m", "within: 1s", "expected it within 1s, and it took"),
        ("message: canary", "message: nothing", "expected a message with \"nothing\""),
    ] {
        let outcome = of(TEMPLATE, &CASES.replace(wanted, other), "").await;
        assert_eq!(outcome.code, 4, "{wanted}: {}", outcome.err);
        assert!(
            outcome.out.starts_with("✖ ten times") && outcome.out.contains(told),
            "{}",
            outcome.out
        );
        assert_eq!(outcome.err, "1 of 1 case of compared differ\n");
    }
}

#[tokio::test]
async fn an_argument_of_the_command_line_wins_over_that_of_the_case() {
    let outcome = of(TEMPLATE, CASES, "--arg app=other -o json").await;
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(report["cases"][0]["verdict"], "NODATA", "{}", outcome.out);
    assert_eq!(outcome.code, 4);
}

#[tokio::test]
async fn what_prometheus_answered_is_judged_as_what_was_written() {
    let point = |seconds: u32, each: u32| {
        format!("[{},\"{}\"]", 1_800_000_000 + seconds, seconds / 10 * each)
    };
    let series = |name: &str, pod: &str, from: u32, each: u32| {
        let points: Vec<String> = (from..=60).map(|step| point(step * 10, each)).collect();
        format!(
            r#"{{"metric":{{"__name__":"{name}","app":"web","pod":"{pod}"}},"values":[{}]}}"#,
            points.join(",")
        )
    };
    let all = [
        series("all_total", "web-new-aaaaa", 6, 100),
        series("bad_total", "web-new-aaaaa", 6, 10),
        series("all_total", "web-old-bbbbb", 0, 1000),
        series("bad_total", "web-old-bbbbb", 0, 10),
    ];
    let answer = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{}]}}}}"#,
        all.join(",")
    );
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    write("incident.json", &answer);
    let (head, rest) = CASES.split_once("  input_series:").unwrap();
    let (_, tail) = rest.split_once("  expect:").unwrap();
    let cases = format!("{head}  recorded: [incident.json]\n  expect:{tail}");
    let outcome = tested(&write("template.yaml", TEMPLATE), &write("cases.yaml", &cases), "").await;
    assert_eq!(outcome.code, 0, "{}{}", outcome.out, outcome.err);
}

#[tokio::test]
async fn a_recorded_native_histogram_is_judged() {
    // Of 100 requests in ten seconds so many are slower than a second.
    let point = |step: u32, slow: u32| {
        let (at, fast, slow) = (1_800_000_000 + step * 10, step * (100 - slow), step * slow);
        format!(
            r#"[{at},{{"count":"{}","sum":"1","buckets":[[0,"0.25","0.5","{fast}"],[0,"1","2","{slow}"]]}}]"#,
            fast + slow
        )
    };
    let series = |pod: &str, from: u32, slow: u32| {
        let points: Vec<String> = (from..=60).map(|step| point(step, slow)).collect();
        format!(
            r#"{{"metric":{{"__name__":"latency","app":"web","pod":"{pod}"}},"histograms":[{}]}}"#,
            points.join(",")
        )
    };
    let answer = format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{},{}]}}}}"#,
        series("web-new-aaaaa", 6, 12),
        series("web-old-bbbbb", 0, 2)
    );
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    write("native.json", &answer);
    let (head, _) = CASES.split_once("  input_series:").unwrap();
    let cases = format!(
        "{head}  recorded: [native.json]\n  expect: {{verdict: FAIL, metric: latency, message: slower than 0.5}}\n"
    );
    let (head, _) = TEMPLATE.split_once("  - name: errors").unwrap();
    let template =
        format!("{head}  - latency: {{histogram: 'latency{{app=\"{{{{args.app}}}}\"}}'}}\n");
    let outcome =
        tested(&write("template.yaml", &template), &write("cases.yaml", &cases), "").await;
    assert_eq!(outcome.code, 0, "{}{}", outcome.out, outcome.err);
}

#[tokio::test]
async fn what_is_wrong_with_template_or_cases_is_named() {
    let web = TEMPLATE.replace(
        "    dispersion: independent\n",
        "  - name: reachable\n    successCondition: result == 1\n    provider: {web: {source: {name: a}, url: /x}}\n",
    );
    let unknown = TEMPLATE.replace(
        "    dispersion: independent\n",
        "  - name: odd\n    successCondition: result[0] == 1\n    provider: {prometheus: {source: {name: a}, \
         query: 'histogram_avg(all_total)'}}\n",
    );
    let two = format!("{TEMPLATE}---\n{}", TEMPLATE.replace("compared", "second"));
    for (template, cases, code, told) in [
        (
            TEMPLATE.to_owned(),
            CASES.replace("args: {app: web}", "args: {}"),
            1,
            "must give a value to \"app\"",
        ),
        (
            TEMPLATE.to_owned(),
            CASES.replace("{app: web}", "{app: web, b: c}"),
            1,
            "has no argument \"b\"",
        ),
        (TEMPLATE.to_owned(), CASES.replace("  canary: web-new\n", ""), 1, "name the ReplicaSets"),
        (
            TEMPLATE.to_owned(),
            CASES.replace("start: 1m", "start: 1h"),
            1,
            "end before the run begins",
        ),
        (TEMPLATE.to_owned(), CASES.replace("0+1000x66", "0+1000y66"), 1, "\"0+1000y66\" is none"),
        (
            TEMPLATE.to_owned(),
            CASES.replace("'all_total{app", "'rate{x=~\"app\",app"),
            1,
            "one value with =",
        ),
        (TEMPLATE.to_owned(), CASES.replace("interval:", "intervall:"), 1, "intervall"),
        (TEMPLATE.to_owned(), "tests: []".to_owned(), 1, "holds no case"),
        (TEMPLATE.to_owned(), "[1".to_owned(), 1, "is no file of cases"),
        (
            TEMPLATE.replace("all_total", "rate(all_total[1m])#"),
            CASES.to_owned(),
            1,
            "whose windows overlap",
        ),
        (web, CASES.to_owned(), 1, "\"reachable\" is not measured in Prometheus"),
        (two, CASES.to_owned(), 2, "2 templates: compared, second"),
        ("kind: Pod".to_owned(), CASES.to_owned(), 1, "nothing to test"),
    ] {
        let outcome = of(&template, &cases, "").await;
        assert_eq!(outcome.code, code, "{told}: {}", outcome.err);
        assert!(outcome.err.contains(told), "{told}: {}", outcome.err);
    }
    // A query that cannot be carried out is an end of its own, and never that of no data.
    let outcome = of(&unknown, CASES, "").await;
    assert_eq!(outcome.code, 4, "{}", outcome.err);
    assert!(outcome.out.contains("expected FAIL, and it is ERROR"), "{}", outcome.out);
    assert!(outcome.out.contains("histogram_avg"), "{}", outcome.out);
    let outcome = of(TEMPLATE, CASES, "--case other").await;
    assert_eq!(outcome.code, 2, "{}", outcome.err);
    let outcome = of(TEMPLATE, CASES, "--arg app").await;
    assert!(outcome.code == 2 && outcome.err.contains("NAME=VALUE"), "{}", outcome.err);
}

#[tokio::test]
async fn plots_are_drawn_in_the_terminal_and_as_a_picture_that_is_xml() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("plots.svg");
    let name = "prometheus-client-http.yaml";
    let more = format!("--case slower --plot --svg {}", picture.display());
    let outcome = tested(&root().join(name), &root().join("tests").join(name), &more).await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    for word in
        ["errors: evidence, as log10", "latency: evidence", "errors: times stable", "\u{2801}"]
    {
        assert!(outcome.out.contains(word), "{word}: {}", outcome.out);
    }
    let text = std::fs::read_to_string(picture).unwrap();
    // The evidence of both, the ratio of the errors, and the distributions of the latencies.
    assert_eq!(text.matches("<rect").count(), 1 + 4, "{text}");
    assert_eq!(text.matches("class=\"canaryband\"").count(), 1);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    let open = regex::Regex::new("<([a-z]+)(?: [^>]*[^/>])?>").unwrap();
    for found in open.captures_iter(&text) {
        let close = format!("</{}>", &found[1]);
        assert!(text[found.get(0).unwrap().end()..].contains(&close), "{close}");
    }
}

async fn planned(more: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    // How far errors come in bursts is left to the history of stable.
    std::fs::write(&path, TEMPLATE.replace("    dispersion: independent\n", "")).unwrap();
    Fake::default().run(&format!("analysis plan -f {} --arg app=web {more}", path.display())).await
}

#[tokio::test]
async fn a_plan_says_what_is_found_at_each_step_and_how_soon() {
    let outcome = planned("--rps 100 --bad 0.01 --steps 5:10m,50:10m").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("1     5 %     10m    3000      "), "{}", outcome.out);
    let outcome = planned("--rps 100 --bad 0.01 --steps 5:10m,50:10m -o json").await;
    let report: Value = serde_json::from_str(&outcome.out).unwrap();
    let steps = &report["metrics"][0]["steps"];
    let found = |idx: usize| steps[idx]["findsRatio"].as_f64().unwrap();
    assert!(found(1) < found(0) && found(1) > 1.1, "{report:#}");
    let releases = report["metrics"][0]["releases"].as_array().unwrap();
    let after: Vec<Option<i64>> =
        releases.iter().map(|release| release["failsAfterSeconds"].as_i64()).collect();
    assert!(after[4].unwrap() < after[2].unwrap(), "{after:?}");
    // Errors that come in bursts are found later.
    let outcome = planned("--rps 100 --dispersion 4 --steps 5:10m,50:10m -o json").await;
    let bursts: Value = serde_json::from_str(&outcome.out).unwrap();
    assert!(bursts["metrics"][0]["steps"][0]["findsRatio"].as_f64().unwrap() > found(0));
    let quiet = planned("--rps 0.01").await;
    assert!(quiet.out.contains("nothing: too few requests"), "{}", quiet.out);
    assert!(quiet.out.contains("does not pass in these steps"), "{}", quiet.out);
}

const STEPWISE: &str = "
---
apiVersion: sluice.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
  strategy:
    canary:
      analysis: {templates: [{templateName: compared}]}
      steps: STEPS
";

async fn planned_for(steps: &str, more: &str) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("set.yaml");
    std::fs::write(&path, format!("{TEMPLATE}{}", STEPWISE.replace("STEPS", steps))).unwrap();
    let line = format!("analysis plan -f {} --arg app=web --rps 100 {more}", path.display());
    Fake::default().run(&line).await
}

#[tokio::test]
async fn a_plan_takes_the_steps_of_the_rollout_beside_the_template() {
    let steps = "[{pause: {}}, {setWeight: 10}, {pause: {duration: 5m}}, \
                 {pause: {duration: 60}}, {setWeight: 40}, {pause: {}}, {setWeight: 100}, {pause: {}}]";
    let outcome = planned_for(steps, "--pause 20m").await;
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(outcome.out.contains("1     10 %    6m     3600 "), "{}", outcome.out);
    assert!(outcome.out.contains("2     40 %    20m    48000 "), "{}", outcome.out);
    assert!(!outcome.out.contains("\n3     "), "{}", outcome.out);
    assert!(outcome.err.contains("waits for a person is taken to last 20m"), "{}", outcome.err);
    let outcome = planned_for(steps, "--steps 5:10m").await;
    assert!(outcome.out.contains("1     5 %     10m "), "{}", outcome.out);
    let outcome = planned_for("[{setWeight: 10}]", "").await;
    assert_eq!(outcome.code, 1, "{}", outcome.err);
    assert!(outcome.err.contains("the steps of shop have no pause"), "{}", outcome.err);
    let outcome = planned_for(steps, "--pause soon").await;
    assert!(outcome.code == 2 && outcome.err.contains("--pause \"soon\""), "{}", outcome.err);
}

#[tokio::test]
async fn wrong_numbers_of_a_plan_are_named() {
    for (more, told) in [
        ("--rps 0", "--rps 0"),
        ("--rps NaN", "--rps NaN"),
        ("--rps 5 --bad 1", "--bad 1"),
        ("--rps 5 --dispersion 0.5", "--dispersion 0.5"),
        ("--rps 5 --steps 5", "\"5\" is no step"),
        ("--rps 5 --steps 100:5m", "\"100:5m\" is no step"),
        ("--rps 5 --steps 5:soon", "\"5:soon\" is no step"),
    ] {
        let outcome = planned(more).await;
        assert_eq!(outcome.code, 2, "{more}: {}", outcome.err);
        assert!(outcome.err.contains(told), "{more}: {}", outcome.err);
    }
    let health = root().join("container-health.yaml");
    let line = format!(
        "analysis plan -f {} --arg namespace=shop --arg revision=a --rps 5",
        health.display()
    );
    let outcome = Fake::default().run(&line).await;
    assert!(
        outcome.code == 1 && outcome.err.contains("nothing can be foreseen"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn wrong_words_of_backtest_and_run_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, TEMPLATE).unwrap();
    let template = format!("-f {} --arg app=web", path.display());
    let nobody = "--prometheus http://127.0.0.1:1";
    for (line, code, told) in [
        (format!("backtest {template} {nobody} --stable a --range soon"), 2, "--range \"soon\""),
        (format!("backtest {template} {nobody} --stable a --length 1s"), 2, "--length \"1s\""),
        (
            format!("backtest {template} {nobody} --stable a --range 1h --length 2h"),
            2,
            "longer than --range",
        ),
        (format!("backtest {template} {nobody} --stable a --until today"), 2, "--until \"today\""),
        (format!("backtest {template} --prometheus ftp://x --stable a"), 2, "--prometheus"),
        (
            format!("backtest {template} {nobody} --stable a --token-file /nowhere"),
            1,
            "read /nowhere",
        ),
        (format!("backtest {template} {nobody} --stable a"), 2, "cannot be reached"),
        (format!("run {template} {nobody} --stable a"), 1, "the new ReplicaSet is not there yet"),
        (format!("run {template} {nobody} --stable a --canary b --for 0s"), 2, "--for \"0s\""),
    ] {
        let outcome = Fake::default().run(&format!("analysis {line}")).await;
        assert_eq!(outcome.code, code, "{line}: {}", outcome.err);
        assert!(outcome.err.contains(told), "{line}: {}", outcome.err);
    }
}
