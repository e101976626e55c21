//! The counting rules of an analysis run, one by one, and the known faults of Argo Rollouts that
//! concern them.

use crate::play::{Play, bad, good, metric, unreachable, vector};
use serde_json::{Value, json};
use sluice::analysis::{DueAction, ResolvedRun, Verdict};
use sluice::api::analysis::AnalysisPhase::{
    self, Error, Failed, Inconclusive, Running, Successful,
};
use sluice::api::analysis::AnalysisRunStatus;
use sluice::metrics::{MeasureError, MeasurementResult, SampleValue};

const GOOD_BELOW: &str = "result[0] < 0.05";

/// `g`ood, `b`ad, `u`ndecided, `e`rror, `0` empty, `n`aN.
fn play_letters(fields: Value, letters: &str) -> Play {
    let mut play = Play::of(vec![metric("m", fields)]);
    for letter in letters.chars() {
        let result = match letter {
            'g' => good(),
            'b' => bad(),
            'u' => vector(&[0.2]),
            'e' => unreachable(),
            '0' => vector(&[]),
            'n' => vector(&[f64::NAN]),
            other => panic!("{other}"),
        };
        play.measure("m", result);
    }
    play
}

#[test]
#[expect(clippy::too_many_lines, reason = "a flat table of cases")]
fn each_limit_ends_a_metric_exactly_when_it_is_passed() {
    let s = |more: Value| {
        let mut fields = json!({"successCondition": GOOD_BELOW, "interval": "1m"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fields
    };
    let both = |more: Value| {
        let mut fields = s(more);
        fields["failureCondition"] = json!("result[0] > 0.4");
        fields
    };
    let cases: Vec<(&str, Value, &str, AnalysisPhase, &str)> = vec![
        (
            "no interval, no count: one measurement",
            json!({"successCondition": GOOD_BELOW}),
            "g",
            Successful,
            "",
        ),
        (
            "only success: false is bad",
            json!({"successCondition": GOOD_BELOW}),
            "b",
            Failed,
            "failed (1) > failureLimit (0)",
        ),
        (
            "only failure: false is good",
            json!({"failureCondition": "result[0] > 0.4"}),
            "g",
            Successful,
            "",
        ),
        (
            "only failure: true is bad",
            json!({"failureCondition": "result[0] > 0.4"}),
            "b",
            Failed,
            "failed (1) > failureLimit (0)",
        ),
        (
            "both, none true: undecided",
            both(json!({"count": 1})),
            "u",
            Inconclusive,
            "inconclusive (1) > inconclusiveLimit (0)",
        ),
        ("both, failure true", both(json!({"count": 1})), "b", Failed, "failed (1)"),
        ("count is not reached", s(json!({"count": 3})), "gg", Running, ""),
        ("count is reached", s(json!({"count": 3})), "ggg", Successful, ""),
        ("count as text", s(json!({"count": "2"})), "gg", Successful, ""),
        ("interval without count runs on", s(json!({})), "gggggggg", Running, ""),
        (
            "failureLimit is tolerated",
            s(json!({"count": 3, "failureLimit": 1})),
            "gbg",
            Successful,
            "",
        ),
        (
            "failureLimit is passed",
            s(json!({"count": 3, "failureLimit": 1})),
            "gbb",
            Failed,
            "failed (2) > failureLimit (1)",
        ),
        (
            "failures need not be in a row",
            s(json!({"failureLimit": 2})),
            "bgbggb",
            Failed,
            "failed (3) > failureLimit (2)",
        ),
        (
            "inconclusiveLimit is tolerated",
            both(json!({"count": 3, "inconclusiveLimit": 1})),
            "ugg",
            Successful,
            "",
        ),
        (
            "inconclusiveLimit is passed",
            both(json!({"count": 3, "inconclusiveLimit": 1})),
            "uu",
            Inconclusive,
            "inconclusive (2) > inconclusiveLimit (1)",
        ),
        ("errors do not count", s(json!({"count": 2})), "gee", Running, ""),
        ("errors never end a run by default", s(json!({"count": 2})), "eeeeeeeeeeee", Running, ""),
        ("errors then values", s(json!({"count": 2})), "eeeeeeegg", Successful, ""),
        (
            "a written consecutiveErrorLimit ends it",
            s(json!({"consecutiveErrorLimit": 2})),
            "eee",
            Error,
            "consecutiveErrors (3) > consecutiveErrorLimit (2)",
        ),
        (
            "a value in between resets errors",
            s(json!({"consecutiveErrorLimit": 2})),
            "eegee",
            Running,
            "",
        ),
        (
            "a bad value in between resets errors",
            s(json!({"consecutiveErrorLimit": 1, "failureLimit": 5})),
            "ebe",
            Running,
            "",
        ),
        (
            "consecutiveErrorLimit 0",
            s(json!({"consecutiveErrorLimit": 0})),
            "e",
            Error,
            "consecutiveErrors (1) > consecutiveErrorLimit (0)",
        ),
        (
            "empty answers count as errors",
            s(json!({"consecutiveErrorLimit": 1})),
            "0n",
            Error,
            "consecutiveErrors (2)",
        ),
        (
            "consecutiveSuccessLimit completes",
            s(json!({"consecutiveSuccessLimit": 2})),
            "gg",
            Successful,
            "",
        ),
        (
            "a bad value resets successes",
            s(json!({"consecutiveSuccessLimit": 2, "failureLimit": 5})),
            "gbg",
            Running,
            "",
        ),
        ("an error resets successes", s(json!({"consecutiveSuccessLimit": 2})), "geg", Running, ""),
        (
            "failureLimit -1 tolerates all",
            s(json!({"consecutiveSuccessLimit": 2, "failureLimit": -1})),
            "bbbbbbgg",
            Successful,
            "",
        ),
        (
            "count without enough successes in a row, failures disabled",
            s(json!({"count": 4, "consecutiveSuccessLimit": 3, "failureLimit": -1})),
            "gbgb",
            Failed,
            "consecutiveSuccess (0) < consecutiveSuccessLimit (3)",
        ),
        (
            "count without enough successes in a row, failures tolerated",
            s(json!({"count": 5, "consecutiveSuccessLimit": 3, "failureLimit": 2})),
            "gbgbg",
            Inconclusive,
            "consecutiveSuccess (1) < consecutiveSuccessLimit (3)",
        ),
        (
            "tolerated failures alone are no success",
            s(json!({"count": 2, "failureLimit": 2})),
            "bb",
            Inconclusive,
            "successful (0) < minSamples (1)",
        ),
        (
            "minSamples is kept",
            s(json!({"count": 4, "failureLimit": 2, "minSamples": 3})),
            "ggbb",
            Inconclusive,
            "successful (2) < minSamples (3)",
        ),
        (
            "minSamples is reached",
            s(json!({"count": 4, "failureLimit": 1, "minSamples": 3})),
            "ggbg",
            Successful,
            "",
        ),
        (
            "minSamples beside successes in a row",
            s(json!({"consecutiveSuccessLimit": 1, "minSamples": 2, "failureLimit": 3})),
            "gbg",
            Successful,
            "",
        ),
    ];
    for (name, fields, letters, phase, reason) in cases {
        let play = play_letters(fields, letters);
        assert_eq!(play.status.phase, phase, "{name}: {}", play.status.message);
        assert_eq!(play.status.completed_at.is_some(), phase.is_completed(), "{name}");
        if reason.is_empty() {
            assert_eq!(play.status.message, "", "{name}");
        } else {
            let expected = format!("Metric \"m\" assessed {} due to {reason}", phase.as_str());
            assert!(play.status.message.starts_with(&expected), "{name}: {}", play.status.message);
        }
        if !phase.is_completed() {
            assert!(
                play.step.wake_at.is_some() || !play.step.due.is_empty(),
                "{name}: something wakes it"
            );
        }
    }
}

#[test]
fn the_message_of_a_failed_metric_is_argos() {
    let play = play_letters(json!({"successCondition": GOOD_BELOW}), "b");
    assert_eq!(
        play.status.message,
        "Metric \"m\" assessed Failed due to failed (1) > failureLimit (0)"
    );
    assert_eq!(play.result("m").measurements[0].value, "[0.5]");
    assert_eq!(play.result("m").metadata["ResolvedPrometheusQuery"], "up");
}

#[test]
fn a_condition_that_does_not_fit_the_value_is_an_error_and_names_itself() {
    let play = play_letters(
        json!({"successCondition": "result.ok", "interval": "1m", "consecutiveErrorLimit": 0}),
        "g",
    );
    assert_eq!(play.status.phase, Error);
    assert!(
        play.status.message.contains("could not evaluate successCondition \"result.ok\""),
        "{}",
        play.status.message
    );
}

/// What a value means under conditions that do or do not name its case.
#[test]
fn missing_values_are_decided_only_by_conditions_that_name_them() {
    let nan = vector(&[f64::NAN]);
    let infinite = vector(&[f64::INFINITY]);
    let empty = vector(&[]);
    let nil = MeasurementResult::Sample(SampleValue::Json(Value::Null).into());
    let nan_text = MeasurementResult::Sample(SampleValue::Json(json!("NaN")).into());
    let partly = vector(&[0.01, f64::NAN]);
    let cases: Vec<(Option<&str>, Option<&str>, &MeasurementResult, AnalysisPhase)> = vec![
        (Some(GOOD_BELOW), None, &empty, Error),
        (Some(GOOD_BELOW), None, &nan, Error),
        (Some(GOOD_BELOW), None, &infinite, Error),
        (Some(GOOD_BELOW), None, &partly, Error),
        (None, Some("result[0] > 0.05"), &empty, Error),
        (None, Some("result[0] > 0.05"), &nan, Error),
        (None, Some("result[0] > 0.05"), &infinite, Failed),
        (Some(GOOD_BELOW), Some("result[0] > 0.05"), &nan, Error),
        // True by accident.
        (Some("!(result[0] > 0.05)"), None, &nan, Error),
        (Some("all(result, # < 0.05)"), None, &empty, Error),
        (None, Some("result[0] != 1"), &nan, Error),
        // True because the author said so.
        (Some("len(result) == 0 || result[0] < 0.05"), None, &empty, Successful),
        (Some("len(result) == 0 || result[0] < 0.05"), None, &nan, Error),
        (Some("isNaN(result[0]) || result[0] < 0.05"), None, &nan, Successful),
        (Some("isNaN(result[0]) || result[0] < 0.05"), None, &empty, Error),
        (None, Some("isNaN(result[0]) || result[0] > 0.05"), &nan, Failed),
        (None, Some("len(result) == 0 || result[0] > 0.05"), &empty, Failed),
        (Some("isInf(result[0]) || result[0] < 0.05"), None, &infinite, Successful),
        // A guard against missing values does not make them bad.
        (Some("len(result) > 0 && result[0] < 0.05"), None, &empty, Error),
        (None, Some("len(result) > 0 && result[0] > 0.05"), &empty, Error),
        // A substitute is a value.
        (Some("default(result, 0) < 5"), None, &nil, Successful),
        (Some("default(result, 9) < 5"), None, &nil, Failed),
        (Some("(result[0] ?? 0) < 5"), None, &empty, Successful),
        (None, Some("default(result, 0) > 5"), &nil, Successful),
        (Some("asFloat(result) < 0.05"), None, &nan_text, Error),
    ];
    for (success, failure, value, phase) in cases {
        let fields = json!({
            "successCondition": success, "failureCondition": failure, "interval": "1m",
            "consecutiveErrorLimit": 0
        });
        let mut play = Play::of(vec![metric("m", fields)]);
        play.measure("m", value.clone());
        assert_eq!(
            play.result("m").measurements[0].phase,
            phase,
            "{success:?} {failure:?} {value:?}"
        );
    }
}

#[test]
fn unreachable_rejected_partial_and_empty_hold_the_run_and_say_why() {
    let errors = [
        unreachable(),
        MeasurementResult::Error(MeasureError::Rejected {
            address: "http://p".into(),
            status: 400,
            detail: "bad_data: parse error".into(),
        }),
        MeasurementResult::Error(MeasureError::PartialData {
            warnings: vec!["store s2 is down".into()],
        }),
        MeasurementResult::Error(MeasureError::TimedOut {
            address: "http://p".into(),
            limit: std::time::Duration::from_secs(30),
        }),
        vector(&[]),
        vector(&[f64::NAN]),
    ];
    for error in errors {
        let mut play = Play::of(vec![metric("m", json!({"successCondition": GOOD_BELOW}))]);
        for _ in 0..20 {
            play.measure("m", error.clone());
        }
        assert_eq!(play.status.phase, Running);
        let Verdict::Running { waiting_on: Some(why) } = Verdict::of(&play.status) else {
            panic!()
        };
        assert!(why.starts_with("metric \"m\": "), "{why}");
        assert!(play.step.waiting[0].until.is_some() && play.step.waiting[0].since.is_some());
        play.measure("m", good());
        assert_eq!(Verdict::of(&play.status), Verdict::Successful);
    }
}

#[test]
fn measurements_stand_on_a_grid_that_does_not_drift() {
    let fields = json!({"successCondition": GOOD_BELOW, "interval": "1m", "initialDelay": "10s"});
    let mut play = Play::of(vec![metric("m", fields)]);
    let start = play.now;
    assert!(play.step.due.is_empty(), "the initial delay is kept");
    for round in 0..20 {
        play.wait();
        assert_eq!((play.now - start).num_seconds(), 10 + 60 * round);
        // Each measurement takes a while and begins a little late.
        play.now += chrono::TimeDelta::milliseconds(700);
        let mut outcome = play.outcome("m", &good()).unwrap();
        play.now += chrono::TimeDelta::milliseconds(3_300);
        outcome.finished_at = play.now;
        play.look(&[outcome]);
    }
}

#[test]
fn a_clock_that_was_ahead_puts_no_measurement_off() {
    let fields = json!({"successCondition": GOOD_BELOW, "interval": "1m", "initialDelay": "10s"});
    let ahead = chrono::TimeDelta::hours(1);
    let mut play = Play::of(vec![metric("m", fields)]);
    play.now -= ahead;
    play.look(&[]);
    let start = play.now;
    play.wait();
    assert_eq!((play.now - start).num_seconds(), 10, "the initial delay, by the clock put right");
    play.now += ahead;
    play.measure("m", good());
    play.now -= ahead;
    play.look(&[]);
    assert_eq!(play.step.due.len(), 1, "not after an hour");
    play.measure("m", good());
    assert!(play.step.due.is_empty());
    let wait = (play.step.wake_at.unwrap() - play.now).num_seconds();
    assert!((30..=90).contains(&wait), "back on the grid: {wait}");
}

#[test]
fn missed_points_of_the_grid_are_not_made_up_for() {
    let mut play =
        Play::of(vec![metric("m", json!({"successCondition": GOOD_BELOW, "interval": "1m"}))]);
    let start = play.now;
    play.measure("m", good());
    play.sleep(60 * 10 + 5);
    play.measure("m", good());
    assert!(play.step.due.is_empty());
    assert_eq!((play.step.wake_at.unwrap() - start).num_seconds(), 60 * 11);
}

#[test]
fn after_an_error_it_is_tried_again_after_ten_seconds_and_then_back_on_the_grid() {
    let mut play =
        Play::of(vec![metric("m", json!({"successCondition": GOOD_BELOW, "interval": "1m"}))]);
    let start = play.now;
    play.measure("m", unreachable());
    assert_eq!((play.step.wake_at.unwrap() - start).num_seconds(), 10);
    play.measure("m", good());
    assert_eq!((play.step.wake_at.unwrap() - start).num_seconds(), 60);
    let mut quick =
        Play::of(vec![metric("m", json!({"successCondition": GOOD_BELOW, "interval": "2s"}))]);
    let start = quick.now;
    quick.measure("m", unreachable());
    assert_eq!((quick.step.wake_at.unwrap() - start).num_seconds(), 2);
}

#[test]
fn a_retry_shortly_before_a_point_of_the_grid_stands_for_that_point() {
    let fields = json!({"successCondition": GOOD_BELOW, "interval": "1m"});
    let mut play = Play::of(vec![metric("m", fields)]);
    let start = play.now;
    for _ in 0..5 {
        play.measure("m", unreachable());
    }
    play.measure("m", good());
    assert_eq!((play.now - start).num_seconds(), 50);
    assert_eq!((play.step.wake_at.unwrap() - start).num_seconds(), 120);
}

#[test]
fn an_outcome_that_is_delivered_twice_is_counted_once() {
    let mut play = Play::of(vec![metric(
        "m",
        json!({"successCondition": GOOD_BELOW, "interval": "1m", "failureLimit": 1}),
    )]);
    let outcome = play.outcome("m", &bad()).unwrap();
    play.look(&[outcome.clone(), outcome.clone()]);
    play.look(std::slice::from_ref(&outcome));
    assert_eq!(play.result("m").failed, 1);
    assert_eq!(play.status.phase, Running);
    // A status write that was lost: the same outcome against the status from before.
    play.status = AnalysisRunStatus::default();
    play.look(&[outcome]);
    assert_eq!(play.result("m").failed, 1);
}

#[test]
fn the_worst_metric_wins_and_ends_the_run_early() {
    let mut play = Play::of(vec![
        metric("a", json!({"successCondition": GOOD_BELOW, "interval": "1m", "count": 5})),
        metric("b", json!({"successCondition": GOOD_BELOW})),
        metric("c", json!({"successCondition": GOOD_BELOW, "initialDelay": "1h"})),
    ]);
    play.measure("a", good());
    play.measure("b", bad());
    assert_eq!(play.status.phase, Failed);
    assert_eq!(
        play.status.message,
        "Metric \"b\" assessed Failed due to failed (1) > failureLimit (0)"
    );
    assert_eq!(
        play.result("a").phase,
        Successful,
        "one good value is enough for what was measured"
    );
    assert_eq!(play.result("c").phase, Inconclusive, "never measured is not successful");
    let summary = &play.status.run_summary;
    assert_eq!(
        (summary.count, summary.successful, summary.failed, summary.inconclusive),
        (3, 1, 1, 1)
    );
    assert!(play.step.due.is_empty() && play.step.wake_at.is_none(), "nothing more is measured");
    let before = play.status.clone();
    play.sleep(3600);
    assert_eq!(play.status, before, "a completed run does not change");
}

#[test]
fn two_metrics_that_decide_at_once_give_the_worse_phase() {
    let mut play = Play::of(vec![
        metric("a", json!({"successCondition": GOOD_BELOW, "failureCondition": "result[0] > 0.4"})),
        metric("b", json!({"successCondition": GOOD_BELOW})),
    ]);
    let outcomes =
        [play.outcome("a", &vector(&[0.2])).unwrap(), play.outcome("b", &bad()).unwrap()];
    play.look(&outcomes);
    assert_eq!(play.status.phase, Failed);
    assert_eq!(play.status.run_summary.inconclusive, 1);
}

#[test]
fn a_dry_run_metric_is_counted_and_never_decides() {
    let spec = json!({
        "metrics": [
            metric("real", json!({"successCondition": GOOD_BELOW})),
            metric("trial-errors", json!({"successCondition": GOOD_BELOW})),
        ],
        "dryRun": [{"metricName": "trial-.*"}],
    });
    let mut play = Play::of_spec(spec);
    play.measure("trial-errors", bad());
    assert_eq!(play.status.phase, Running);
    assert_eq!(
        play.result("trial-errors").message,
        "Metric assessed Failed due to failed (1) > failureLimit (0)"
    );
    play.measure("real", good());
    assert_eq!(Verdict::of(&play.status), Verdict::Successful);
    assert_eq!(play.status.run_summary.count, 1);
    let dry = play.status.dry_run_summary.clone().unwrap();
    assert_eq!((dry.count, dry.failed), (1, 1));
}

#[test]
fn a_dry_run_metric_without_values_or_end_does_not_hold_the_run_up() {
    let spec = json!({
        "metrics": [
            metric("real", json!({"successCondition": GOOD_BELOW})),
            metric("broken", json!({"successCondition": GOOD_BELOW})),
            metric("endless", json!({"successCondition": GOOD_BELOW, "interval": "1m"})),
            metric("counted", json!({"successCondition": GOOD_BELOW, "interval": "1m", "count": 2})),
        ],
        "dryRun": [{"metricName": "broken"}, {"metricName": "endless"}, {"metricName": "counted"}],
    });
    let mut play = Play::of_spec(spec);
    for name in ["endless", "counted", "real"] {
        play.measure(name, good());
    }
    play.measure("broken", unreachable());
    assert_eq!(play.status.phase, Running, "a dry run with values and an end is waited for");
    play.measure("counted", good());
    assert_eq!(Verdict::of(&play.status), Verdict::Successful);
}

#[test]
fn a_run_of_dry_runs_only_succeeds_when_they_have_values() {
    let spec = json!({"metrics": [metric("m", json!({"successCondition": GOOD_BELOW}))], "dryRun": [{"metricName": ".*"}]});
    let mut play = Play::of_spec(spec);
    play.measure("m", unreachable());
    assert_eq!(play.status.phase, Running);
    play.measure("m", bad());
    assert_eq!(Verdict::of(&play.status), Verdict::Successful);
}

#[test]
fn ten_measurements_are_kept_or_as_many_as_the_rule_says_and_counters_go_on() {
    let spec = |rules: Value| {
        json!({
            "metrics": [metric("m", json!({"successCondition": GOOD_BELOW, "interval": "1m"}))],
            "measurementRetention": rules,
        })
    };
    for (rules, kept) in [
        (json!([]), 10),
        (json!([{"metricName": "m.*", "limit": 3}]), 3),
        (json!([{"metricName": "m", "limit": 25}]), 25),
    ] {
        let mut play = Play::of_spec(spec(rules));
        for _ in 0..30 {
            play.measure("m", good());
        }
        assert_eq!(play.result("m").measurements.len(), kept);
        assert_eq!(play.result("m").count, 30);
    }
}

fn job_metric() -> Value {
    json!({"name": "smoke", "provider": {"job": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}})
}

fn job_metadata() -> std::collections::BTreeMap<String, String> {
    [("job-name".to_owned(), "x".to_owned())].into()
}

#[test]
fn a_job_is_resumed_until_it_ends_and_is_one_measurement() {
    let mut play = Play::of(vec![job_metric()]);
    let start = play.now;
    for _ in 0..3 {
        let resume_at = play.now + chrono::TimeDelta::seconds(5);
        play.measure(
            "smoke",
            MeasurementResult::InProgress { metadata: job_metadata(), resume_at },
        );
        assert_eq!(play.status.phase, Running);
        assert_eq!(play.result("smoke").measurements.len(), 1);
        assert_eq!(play.result("smoke").measurements[0].started_at.unwrap().0, start);
        assert_eq!(Verdict::of(&play.status), Verdict::Running { waiting_on: None });
    }
    play.wait();
    assert!(play.is_due("smoke", DueAction::Resume));
    play.measure("smoke", MeasurementResult::JobSucceeded { metadata: job_metadata() });
    assert_eq!(Verdict::of(&play.status), Verdict::Successful);
    assert_eq!(play.result("smoke").measurements[0].metadata, job_metadata());
}

#[test]
fn a_failed_job_fails_its_metric() {
    let mut play = Play::of(vec![job_metric()]);
    play.measure(
        "smoke",
        MeasurementResult::JobFailed {
            metadata: job_metadata(),
            message: "BackoffLimitExceeded".into(),
        },
    );
    let Verdict::Failed { message, has_measurements } = Verdict::of(&play.status) else { panic!() };
    assert!(has_measurements);
    assert!(message.ends_with(": \"Error Message: BackoffLimitExceeded\""), "{message}");
}

// Named after the issues of argoproj/argo-rollouts.

#[test]
fn r4479_a_run_with_nothing_but_errors_is_never_successful() {
    let mut play = play_letters(
        json!({"successCondition": GOOD_BELOW, "interval": "1m", "count": 3}),
        "eeeeeeeeee",
    );
    assert_eq!(play.status.phase, Running);
    play.terminate();
    assert_ne!(play.status.phase, Successful);
    assert_eq!(Verdict::of(&play.status), Verdict::Terminated);
}

#[test]
fn r4479_a_status_that_calls_itself_successful_without_a_good_value_opens_no_gate() {
    let status = serde_json::from_value(json!({"phase": "Successful", "metricResults": [{"name": "m", "phase": "Successful", "error": 5}]})).unwrap();
    assert!(matches!(Verdict::of(&status), Verdict::Inconclusive { .. }));
}

#[test]
fn r1329_a_terminated_run_never_counts_as_success() {
    for letters in ["", "g", "ggg"] {
        let mut play =
            play_letters(json!({"successCondition": GOOD_BELOW, "interval": "1m"}), letters);
        play.terminate();
        assert!(play.status.phase.is_completed() && play.status.terminated);
        assert_eq!(play.status.message, "Run Terminated");
        assert_eq!(Verdict::of(&play.status), Verdict::Terminated, "after {letters:?}");
        assert_eq!(
            play.status.phase == Successful,
            !letters.is_empty(),
            "Argo's clients see the values"
        );
        // The field is not in Argo's CRD; the message alone must do.
        play.status.terminated = false;
        assert_eq!(Verdict::of(&play.status), Verdict::Terminated);
    }
}

#[test]
fn r1329_a_failure_measured_before_the_end_is_still_a_failure() {
    let mut play =
        Play::of(vec![metric("m", json!({"successCondition": GOOD_BELOW, "interval": "1m"}))]);
    let outcome = play.outcome("m", &bad()).unwrap();
    play.spec.terminate = true;
    play.look(&[outcome]);
    assert!(matches!(Verdict::of(&play.status), Verdict::Failed { has_measurements: true, .. }));
}

#[test]
fn r3850_an_inconclusive_background_run_is_inconclusive_also_when_terminated_later() {
    let fields = json!({"successCondition": GOOD_BELOW, "failureCondition": "result[0] > 0.4", "interval": "1m"});
    let mut play = play_letters(fields, "gu");
    assert!(matches!(Verdict::of(&play.status), Verdict::Inconclusive { .. }));
    play.terminate();
    assert!(
        matches!(Verdict::of(&play.status), Verdict::Inconclusive { .. }),
        "the verdict stands"
    );
}

#[test]
fn r1466_an_empty_answer_holds_instead_of_ending_the_run() {
    let play =
        play_letters(json!({"successCondition": "result[0] >= 0.95", "interval": "1m"}), "000000");
    let Verdict::Running { waiting_on: Some(why) } = Verdict::of(&play.status) else { panic!() };
    assert!(why.contains("no data"), "{why}");
    assert_eq!(play.result("m").measurements[0].value, "[]");
}

#[test]
fn r4604_an_unfinished_job_is_not_a_success_when_its_run_ends() {
    let mut play = Play::of(vec![job_metric()]);
    let resume_at = play.now + chrono::TimeDelta::seconds(5);
    play.measure("smoke", MeasurementResult::InProgress { metadata: job_metadata(), resume_at });
    play.terminate();
    assert_ne!(play.status.phase, Successful);
    assert_eq!(Verdict::of(&play.status), Verdict::Terminated);
    play.wait();
    assert!(play.is_due("smoke", DueAction::Cancel), "its Job is deleted");
    let before = play.status.phase;
    play.measure("smoke", MeasurementResult::Cancelled);
    assert!(play.step.due.is_empty() && play.step.wake_at.is_none());
    assert_eq!(play.status.phase, before);
    assert_eq!(play.result("smoke").measurements[0].message, "Metric Terminated");
    assert_eq!(play.result("smoke").count, 0);
}

#[test]
fn r4604_a_run_does_not_succeed_while_one_metric_is_unfinished() {
    let mut play =
        Play::of(vec![metric("m", json!({"successCondition": GOOD_BELOW})), job_metric()]);
    play.measure("m", good());
    assert_eq!(play.status.phase, Running);
    let delayed = json!({"successCondition": GOOD_BELOW, "initialDelay": "5m"});
    let mut play = Play::of(vec![
        metric("m", json!({"successCondition": GOOD_BELOW})),
        metric("late", delayed),
    ]);
    play.measure("m", good());
    assert_eq!(play.status.phase, Running);
}

#[test]
fn r4602_a_job_whose_image_cannot_be_pulled_is_inconclusive() {
    let mut play = Play::of(vec![job_metric()]);
    play.measure(
        "smoke",
        MeasurementResult::JobStuck {
            metadata: job_metadata(),
            message: "ImagePullBackOff".into(),
        },
    );
    let Verdict::Inconclusive { message } = Verdict::of(&play.status) else { panic!() };
    assert!(message.contains("ImagePullBackOff"), "{message}");
}

#[test]
fn r4759_an_analysis_that_needs_the_stable_revision_says_so_on_a_first_deploy() {
    use sluice::analysis::arguments::{RolloutFacts, rollout_argument};
    let argument = serde_json::from_value(
        json!({"name": "stable", "valueFrom": {"podTemplateHashValue": "Stable"}}),
    )
    .unwrap();
    let rollout = json!({});
    let facts = RolloutFacts { rollout: &rollout, latest_hash: "abc", stable_hash: None };
    let problem = rollout_argument(&argument, &facts, "args[0]").unwrap_err().to_string();
    assert!(problem.contains("needs a stable revision"), "{problem}");
}

#[test]
fn r1982_a_condition_that_cannot_be_read_ends_the_run_with_a_message() {
    let spec = serde_json::from_value(
        json!({"metrics": [metric("m", json!({"successCondition": "result[0] >"}))]}),
    )
    .unwrap();
    let problems = ResolvedRun::resolve(&spec).unwrap_err();
    let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let status = sluice::analysis::step::invalid(&AnalysisRunStatus::default(), &problems, now);
    let Verdict::Error { message } = Verdict::of(&status) else { panic!() };
    assert!(
        message.starts_with(
            "Analysis spec invalid: metrics[0].successCondition is not an expression: at 1:12"
        ),
        "{message}"
    );
}
