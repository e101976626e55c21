//! The templates in `analysis-templates/`, each over series of a good, a bad and an idle revision.

use serde_json::{Value, json};
use sluice::analysis::arguments::RolloutFacts;
use sluice::analysis::resolve::{Review, review};
use sluice::analysis::templates::{TemplateKey, TemplateLibrary, plan_run};
use sluice::analysis::{ResolvedRun, Verdict};
use sluice::api::analysis::{AnalysisTemplateSpec, RolloutAnalysis};
use sluice::metrics::spec::Provider;

use crate::play::{Play, vector};

fn template(name: &str) -> AnalysisTemplateSpec {
    let path = format!("{}/analysis-templates/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let manifest: Value = serde_norway::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(
        (&manifest["kind"], &manifest["metadata"]["name"]),
        (&json!("ClusterAnalysisTemplate"), &json!(name))
    );
    serde_json::from_value(manifest["spec"].clone()).unwrap()
}

fn play(name: &str, values: &[f64]) -> Play {
    let spec = template(name);
    assert_eq!(review(&spec), Review::default());
    let key = TemplateKey { is_cluster_scope: true, name: name.to_owned() };
    let library: TemplateLibrary = [(key, spec)].into();
    let analysis: RolloutAnalysis = serde_json::from_value(json!({
        "templates": [{"templateName": name, "clusterScope": true}],
        "args": [{"name": "app", "value": "shop"}, {"name": "revision", "valueFrom": {"podTemplateHashValue": "Latest"}}],
    }))
    .unwrap();
    let facts = RolloutFacts { rollout: &Value::Null, latest_hash: "7d9f", stable_hash: None };
    let run =
        plan_run(&analysis, &sluice::api::analysis::InlineAnalysis::default(), &library, &facts)
            .unwrap();
    let resolved = ResolvedRun::resolve(&run.spec).unwrap();
    let Ok(Provider::Prometheus(prometheus)) = resolved.metrics[0].provider.chosen() else {
        panic!()
    };
    assert!(prometheus.query.contains("revision=\"7d9f\"") && !prometheus.query.contains("{{"));
    let mut play = Play::of_spec(serde_json::to_value(&run.spec).unwrap());
    for value in values {
        if !play.status.phase.is_completed() {
            play.measure(name, vector(&[*value]));
        }
    }
    play
}

#[test]
fn each_ready_template_passes_good_fails_bad_and_holds_idle_revisions() {
    let nan = f64::NAN;
    for (name, good, bad) in [("http-error-rate", 0.002, 0.05), ("http-latency", 0.2, 1.2)] {
        assert_eq!(Verdict::of(&play(name, &[good; 5]).status), Verdict::Successful, "{name}");
        assert_eq!(
            Verdict::of(&play(name, &[good, bad, good, good, good]).status),
            Verdict::Successful,
            "{name}"
        );
        assert!(
            matches!(Verdict::of(&play(name, &[bad, bad]).status), Verdict::Failed { .. }),
            "{name}"
        );
        assert!(
            matches!(
                Verdict::of(&play(name, &[nan; 30]).status),
                Verdict::Running { waiting_on: Some(_) }
            ),
            "{name}"
        );
        assert_eq!(
            Verdict::of(&play(name, &[nan, nan, good, nan, good, good, good, good]).status),
            Verdict::Successful,
            "{name}"
        );
    }
}

#[test]
fn every_ready_template_is_tried() {
    let names = |folder: &str| -> std::collections::BTreeSet<String> {
        let directory = format!("{}/analysis-templates{folder}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        files
            .map(|name| name.into_string().unwrap())
            .filter(|name| std::path::Path::new(name).extension().is_some())
            .collect()
    };
    // Those with cases are tried by `kubectl sluice analysis test`, in tests/cli/analysis.
    let mut tried = names("/tests");
    tried.extend(["http-error-rate.yaml", "http-latency.yaml"].map(str::to_owned));
    assert_eq!(names(""), tried);
}
