//! Tests of `metrics`.

use std::collections::BTreeSet;

use super::*;
use crate::api::analysis::TrafficSplit;
use crate::telemetry::catalog::{CATALOG, MetricKind};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn report(phase: RolloutPhase, waited: i64, bound: Option<i64>) -> RolloutReport {
    let since = now() - chrono::TimeDelta::seconds(waited);
    let overdue_at = bound.map(|seconds| since + chrono::TimeDelta::seconds(seconds));
    RolloutReport {
        phase,
        waiting: Some(Waiting { what: Awaited::Pods, since, overdue_at }),
        desired_weight: Some(0.25),
        actual_weight: None,
    }
}

/// Every method once, so that every metric has a series.
fn everything() -> Metrics {
    let metrics = Metrics::default();
    metrics.rollout_ended(UpdateEnd::Completed);
    metrics.aborted(AbortCause::AnalysisFailed);
    metrics.rolled_back(Duration::from_millis(300));
    let took = Some(Duration::from_secs(2));
    metrics.git_reverted(RevertEnd::Pushed, GitRevertMode::Push, took);
    metrics.measured("prometheus", AnalysisPhase::Successful);
    metrics.analysis_value("shop", "web", "errors", 0.5);
    metrics.compared("shop", "web-1", &[compared()]);
    metrics.reconciled(Kind::Rollout, Duration::from_millis(3));
    metrics.reconcile_failed(Kind::Rollout);
    metrics.api_request("get", "rollouts", "200");
    metrics.leadership_gained(7);
    let mut both = report(RolloutPhase::Progressing, 30, Some(20));
    both.actual_weight = Some(0.2);
    metrics.report_rollout("shop", "web", both);
    metrics.count_dropped(&catalog::ANALYSIS_VALUE, 1);
    metrics
}

fn compared() -> MetricComparison {
    let number = || Some("1.5".to_owned());
    MetricComparison {
        name: "errors".to_owned(),
        log_e_fail: number(),
        log_e_pass: number(),
        ratio_lower: number(),
        ratio_upper: number(),
        split: Some(TrafficSplit {
            weight: "0.05".to_owned(),
            requests: "0.12".to_owned(),
            message: String::new(),
        }),
        ..MetricComparison::default()
    }
}

#[test]
fn what_is_exported_is_what_the_catalog_says() {
    let text = everything().render(now());
    let exported: BTreeSet<String> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    let documented: BTreeSet<String> = CATALOG
        .iter()
        .map(|doc| {
            let name = doc.name.strip_suffix("_total").unwrap_or(doc.name);
            format!("{name} {}", doc.kind.as_str())
        })
        .collect();
    assert_eq!(exported, documented);
    for doc in CATALOG {
        let suffix = if doc.kind == MetricKind::Histogram { "_count" } else { "" };
        let start = format!("{}{suffix}", doc.name);
        let line = text.lines().find(|line| {
            line.strip_prefix(&start).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let line = line.unwrap_or_else(|| panic!("no sample of {start} in\n{text}"));
        for label in doc.labels {
            let name = label.name;
            assert!(line.contains(&format!("{name}=\"")), "{name} in {line}");
        }
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_word_that_can_be_sent_is_documented_with_its_metric() {
    let metrics = Metrics::default();
    for cause in AbortCause::ALL {
        metrics.aborted(*cause);
    }
    for end in UpdateEnd::ALL {
        metrics.rollout_ended(*end);
    }
    let modes = ["Disabled", "Suggest", "PullRequest", "Push"];
    for mode in modes.map(|mode| serde_json::from_value(mode.into()).unwrap()) {
        for end in RevertEnd::ALL {
            metrics.git_reverted(*end, mode, Some(Duration::ZERO));
        }
    }
    let phases = ["Running", "Successful", "Failed", "Error", "Inconclusive"];
    for phase in phases.map(|phase| serde_json::from_value(phase.into()).unwrap()) {
        metrics.measured("web", phase);
    }
    for kind in [Kind::Rollout, Kind::AnalysisRun] {
        metrics.reconciled(kind, Duration::ZERO);
        metrics.reconcile_failed(kind);
    }
    let phases = ["Healthy", "Degraded", "Progressing", "Paused"];
    for (idx, what) in Awaited::ALL.iter().enumerate() {
        let phase = serde_json::from_value(phases[idx % phases.len()].into()).unwrap();
        let waiting = Waiting { what: *what, since: now(), overdue_at: None };
        let report = RolloutReport { waiting: Some(waiting), ..report(phase, 0, None) };
        metrics.report_rollout("shop", what.as_str(), report);
    }
    metrics.compared("shop", "web-1", &[compared()]);
    let text = metrics.render(now());
    let page = catalog::as_markdown();
    for doc in CATALOG {
        let lines = text.lines().filter(|line| line.starts_with(doc.name));
        let samples: String = lines.collect::<Vec<_>>().join("\n");
        let row = page.lines().find(|row| row.contains(&format!("`{}`", doc.name))).unwrap();
        for label in doc.labels.iter().filter(|label| !label.words.is_empty()) {
            let start = format!("{}=\"", label.name);
            let parts = samples.split(&start).skip(1);
            let sent: BTreeSet<&str> = parts.map(|part| part.split('"').next().unwrap()).collect();
            let words: BTreeSet<&str> = label.words.iter().copied().collect();
            assert_eq!(sent, words, "{} of {}", label.name, doc.name);
            assert!(row.contains(&format!("`{}` ({})", label.name, label.words.join(", "))));
        }
    }
}

#[test]
fn waiting_and_phases_are_counted_over_all_rollouts_at_the_time_of_the_scrape() {
    let metrics = Metrics::default();
    metrics.report_rollout("shop", "a", report(RolloutPhase::Progressing, 30, Some(20)));
    metrics.report_rollout("shop", "b", report(RolloutPhase::Progressing, 10, None));
    metrics.report_rollout("shop", "c", report(RolloutPhase::Paused, 5, Some(600)));
    let text = metrics.render(now());
    assert!(text.contains("sluice_rollout_phase{phase=\"Progressing\"} 2\n"), "{text}");
    assert!(text.contains("sluice_waiting_seconds{what=\"Pods\"} 30\n"), "{text}");
    assert!(text.contains("sluice_stuck_rollouts 1\n"), "{text}");
    metrics.report_rollout("shop", "a", report(RolloutPhase::Healthy, 0, None));
    metrics.forget_rollout("shop", "b");
    let text = metrics.render(now());
    assert!(!text.contains("Progressing"), "{text}");
    assert!(text.contains("sluice_stuck_rollouts 0\n"), "{text}");
}

#[test]
fn a_lost_leadership_leaves_no_series_of_rollouts_behind() {
    let metrics = everything();
    metrics.leadership_lost();
    let text = metrics.render(now());
    assert!(text.contains("sluice_leader 0\n"), "{text}");
    assert!(!text.contains("rollout=\"web\""), "{text}");
}

#[test]
fn an_unknown_actual_weight_has_no_series() {
    let metrics = everything();
    assert!(metrics.render(now()).contains("sluice_actual_weight_ratio{"));
    metrics.report_rollout("shop", "web", report(RolloutPhase::Progressing, 1, None));
    let text = metrics.render(now());
    assert!(!text.contains("sluice_actual_weight_ratio{"), "{text}");
    assert!(text.contains("sluice_desired_weight_ratio{"), "{text}");
}

#[test]
fn hostile_label_values_are_escaped() {
    let metrics = Metrics::default();
    metrics.analysis_value("shop", "web", "a\"} 1\nevil 2", 1.0);
    let text = metrics.render(now());
    assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
}
