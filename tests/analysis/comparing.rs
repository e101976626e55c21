//! Metrics that compare: the counts that are judged are the counts that were served, whatever happens
//! to pods, scrapes, looks and controllers; and what verdicts come of them.

#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "counts are small whole numbers, and exact"
)]

use std::collections::BTreeMap;

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice::analysis::Verdict;
use sluice::analysis::comparing::ConfirmedWeight;
use sluice::api::analysis::{AnalysisPhase, ComparisonVerdict};
use sluice::metrics::sample::{Look, MeasureError, MeasurementResult, Series};
use sluice::metrics::spec::look::LookSpec;

use crate::play::Play;

/// Name of a metric, and labels.
type Name = (String, Vec<(String, String)>);
/// Milliseconds and values.
type Points = Vec<(i64, f64)>;

/// A server with the samples of a few series, by metric and labels.
#[derive(Clone, Debug, Default)]
struct Server {
    series: BTreeMap<Name, Points>,
}

impl Server {
    fn scrape(&mut self, metric: &str, labels: &[(&str, &str)], at_ms: i64, value: f64) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.series.entry((metric.to_owned(), labels)).or_default().push((at_ms, value));
    }

    /// What Prometheus answers: samples of the window, and where a series has none before the span, its
    /// last one of the hour before.
    fn answer(&self, spec: &LookSpec) -> Look {
        let (from, until) = (spec.from.timestamp_millis(), spec.until.timestamp_millis());
        let part = |selector: &String| {
            let name = selector.split('{').next().unwrap_or_default();
            let of_name = self.series.iter().filter(|((metric, _), _)| metric == name);
            let read = of_name.filter_map(|((_, labels), points)| {
                let within = |after: i64, up_to: i64| {
                    points.iter().copied().filter(move |(at, _)| *at > after && *at <= up_to)
                };
                let mut numbers: Vec<(i64, f64)> = within(from - 75_000, until).collect();
                if numbers.is_empty() {
                    return None;
                }
                if numbers[0].0 > from
                    && let Some((_, value)) = within(from - 3_600_000, from).next_back()
                {
                    numbers.insert(0, (from, value));
                }
                Some(Series {
                    labels: labels.iter().cloned().collect(),
                    numbers,
                    histograms: vec![],
                })
            });
            read.collect()
        };
        let parts = spec.selectors.iter().map(part).collect();
        let history = spec.history.as_ref().map(|it| it.queries.iter().map(|_| vec![]).collect());
        Look { from: spec.from, until: spec.until, parts, history }
    }
}

const ORIGIN: i64 = 1_800_000_000_000;

fn spec(metrics: Value, more: Value) -> Value {
    let mut comparison = json!({"arms": {"canary": "web-new", "stable": "web-old"}});
    for (key, value) in more.as_object().unwrap() {
        comparison[key] = value.clone();
    }
    json!({"metrics": metrics, "comparison": comparison})
}

fn errors() -> Value {
    json!([{"name": "errors", "type": "rate", "total": "all_total", "bad": "bad_total",
            "dispersion": "independent"}])
}

/// Waits for the next look of a metric and answers it.
fn look(play: &mut Play, metric: &str, answer: impl Fn(&LookSpec) -> MeasurementResult) {
    for _ in 0..100 {
        let due = play.step.due.iter().find(|due| due.metric == metric);
        if let Some(spec) = due.and_then(|due| due.look.clone()) {
            let outcome = play.outcome(metric, &answer(&spec)).unwrap();
            play.look(&[outcome]);
            return;
        }
        play.wait();
    }
    panic!("{metric} is never looked at");
}

fn answered(server: &Server) -> impl Fn(&LookSpec) -> MeasurementResult {
    |spec| MeasurementResult::Look(Box::new(server.answer(spec)))
}

fn totals(play: &Play, metric: &str) -> [f64; 4] {
    let evidence = play.status.evidence.as_ref().expect("evidence");
    let list = evidence.0["progress"][metric]["totals"].as_array().unwrap().clone();
    let numbers: Vec<f64> = list.iter().map(|it| it.as_str().unwrap().parse().unwrap()).collect();
    [numbers[0], numbers[1], numbers[2], numbers[3]]
}

/// Counters of both arms that grow by so much every ten seconds, scraped then.
fn steady(seconds: i64, canary: (f64, f64), stable: (f64, f64)) -> Server {
    let mut server = Server::default();
    for step in -30..=seconds / 10 {
        let n = (step + 30) as f64;
        let at = ORIGIN + step * 10_000;
        for (pod, (bad, all)) in [("web-new-aaaaa", canary), ("web-old-bbbbb", stable)] {
            server.scrape("bad_total", &[("pod", pod)], at, n * bad);
            server.scrape("all_total", &[("pod", pod)], at, n * all);
        }
    }
    server
}

fn report(play: &Play) -> (ComparisonVerdict, String) {
    let comparison = play.status.comparison.as_ref().expect("a comparison");
    (comparison.verdict, comparison.message.clone())
}

#[test]
fn a_canary_with_more_errors_fails_with_one_sentence() {
    let server = steady(900, (4.0, 100.0), (10.0, 1000.0));
    let mut play = Play::of_spec(spec(errors(), json!({"warmup": 0})));
    while play.status.phase != AnalysisPhase::Failed {
        look(&mut play, "errors", answered(&server));
    }
    assert_eq!(
        play.status.message,
        "errors FAIL after 2 looks: canary 24 of 600 requests bad (4 %), stable 60 of 6,000 (1 %): \
         4 times as many, at least 1.6 and at most 7.8 times; allowed 1.1. A release within its limits \
         would be rolled back by chance in fewer than 1 of 100 rollouts."
    );
    let verdict = Verdict::of(&play.status);
    assert!(matches!(verdict, Verdict::Failed { has_measurements: true, .. }), "{verdict:?}");
    assert_eq!(report(&play).0, ComparisonVerdict::Fail);
}

#[test]
fn a_canary_as_good_as_stable_passes_and_is_watched_on() {
    let server = steady(3600, (1.0, 100.0), (10.0, 1000.0));
    let mut play = Play::of_spec(spec(errors(), json!({})));
    while report_of(&play) != Some(ComparisonVerdict::Pass) {
        look(&mut play, "errors", answered(&server));
    }
    assert_eq!(play.status.phase, AnalysisPhase::Running, "FAIL stays armed");
    let (_, message) = report(&play);
    assert!(message.starts_with("errors PASS after") && message.contains("margin 2"), "{message}");
    play.terminate();
    assert_eq!(play.result("errors").phase, AnalysisPhase::Successful);
    assert_eq!(Verdict::of(&play.status), Verdict::Terminated);
}

#[test]
fn a_canary_without_any_events_passes_once_it_had_enough_exposure() {
    let quiet = json!([
        {"name": "errors", "type": "rate", "total": "all_total", "bad": "bad_total"},
        {"name": "restarts", "type": "count", "events": "bad_total"},
    ]);
    let server = steady(7200, (0.0, 100.0), (0.0, 1000.0));
    let mut play = Play::of_spec(spec(quiet.clone(), json!({})));
    while report_of(&play) != Some(ComparisonVerdict::Pass) {
        look(&mut play, "errors", answered(&server));
        look(&mut play, "restarts", answered(&server));
    }
    // Nearly five requests would have been bad, and nearly five restarts seen, at the rates that are tolerated.
    assert_eq!(totals(&play, "errors"), [0.0, 28_800.0, 0.0, 288_000.0]);
    assert_eq!(totals(&play, "restarts"), [0.0, 2880.0, 0.0, 2880.0]);
    let (_, message) = report(&play);
    assert_eq!(
        message,
        "errors PASS after 96 looks: fewer than 0.1 % bad, which is tolerated whatever stable has. Note: how \
         far the pods of stable differ is not known (two of them, with bad events in the hour before, would \
         say it). restarts PASS after 96 looks: fewer than 6 events in an hour of a pod, which is tolerated \
         whatever stable has. Note: how far the pods of stable differ is not known (two of them, with bad \
         events in the hour before, would say it)."
    );
    let mut strict = quiet;
    strict[0]["toleratedRate"] = json!(0);
    let mut play = Play::of_spec(spec(strict, json!({})));
    for _ in 0..200 {
        look(&mut play, "errors", answered(&server));
        look(&mut play, "restarts", answered(&server));
    }
    assert_eq!(report_of(&play), Some(ComparisonVerdict::Continue));
}

fn report_of(play: &Play) -> Option<ComparisonVerdict> {
    play.status.comparison.as_ref().map(|comparison| comparison.verdict)
}

#[test]
fn a_canary_without_requests_is_no_data_and_waits() {
    let server = steady(1800, (0.0, 0.0), (10.0, 1000.0));
    let mut play = Play::of_spec(spec(errors(), json!({"noDataAfter": "2m"})));
    for _ in 0..4 {
        look(&mut play, "errors", answered(&server));
        assert_eq!(report(&play).0, ComparisonVerdict::Continue);
    }
    look(&mut play, "errors", answered(&server));
    let (verdict, message) = report(&play);
    assert_eq!(verdict, ComparisonVerdict::NoData);
    assert!(message.starts_with("errors NODATA: the canary has served no request"), "{message}");
    let verdict = Verdict::of(&play.status);
    assert_eq!(verdict, Verdict::Running { waiting_on: Some(message) });
}

#[test]
fn a_look_that_failed_is_covered_by_the_next_and_counts_once() {
    let server = steady(600, (1.0, 50.0), (10.0, 1000.0));
    let mut play = Play::of_spec(spec(errors(), json!({})));
    let failed = |_: &LookSpec| {
        MeasurementResult::Error(MeasureError::NoData("the server is away".to_owned()))
    };
    look(&mut play, "errors", answered(&server));
    let one = totals(&play, "errors");
    for _ in 0..7 {
        look(&mut play, "errors", failed);
    }
    let Verdict::Running { waiting_on: Some(what) } = Verdict::of(&play.status) else { panic!() };
    assert!(what.contains("the server is away"), "{what}");
    look(&mut play, "errors", answered(&server));
    let [bad, all, stable_bad, stable] = totals(&play, "errors");
    let looks = (play.now.timestamp_millis() - ORIGIN) / 30_000;
    assert_eq!([bad, all, stable_bad, stable], one.map(|count| count * looks as f64));
}

#[test]
fn two_metrics_share_one_budget_and_the_strongest_is_named() {
    let server = steady(900, (4.0, 100.0), (10.0, 1000.0));
    let metrics = json!([
        {"name": "errors", "type": "rate", "total": "all_total", "bad": "bad_total",
         "dispersion": "independent", "weight": 3},
        {"name": "restarts", "type": "count", "events": "none_total", "dispersion": "independent"},
    ]);
    let mut play = Play::of_spec(spec(metrics, json!({"warmup": 0})));
    while play.status.phase != AnalysisPhase::Failed {
        look(&mut play, "errors", answered(&server));
        if play.status.phase != AnalysisPhase::Failed {
            look(&mut play, "restarts", answered(&server));
        }
    }
    assert!(play.status.message.starts_with("errors FAIL after"), "{}", play.status.message);
    assert_eq!(play.result("restarts").phase, AnalysisPhase::Inconclusive);
}

/// A tenth of the requests at a weight of 1 in 20, and then at a weight of 1 in 10.
#[test]
fn requests_that_do_not_follow_the_weight_are_told_and_decide_nothing() {
    let server = steady(1800, (1.0, 100.0), (9.0, 900.0));
    let mut play = Play::of_spec(spec(errors(), json!({})));
    let split = |play: &Play| play.status.comparison.as_ref().unwrap().metrics[0].split.clone();
    play.weight = Some(ConfirmedWeight { canary: 5, stable: 95 });
    for _ in 0..3 {
        look(&mut play, "errors", answered(&server));
        assert_eq!(split(&play), None, "a weight must be seen before and after");
    }
    look(&mut play, "errors", answered(&server));
    let told = split(&play).unwrap();
    assert_eq!((told.weight.as_str(), told.requests.as_str()), ("0.0500", "0.1000"));
    let sentence =
        "Traffic: the canary gets 10 % of the requests (300 of 3,000), its weight is 5 %: ";
    assert!(play.result("errors").message.contains(sentence), "{}", play.result("errors").message);
    assert!(report(&play).1.contains(sentence), "{}", report(&play).1);
    play.weight = Some(ConfirmedWeight { canary: 10, stable: 90 });
    for _ in 0..30 {
        look(&mut play, "errors", answered(&server));
        assert_eq!(split(&play), None, "at another weight it begins anew");
    }
    assert_eq!(report(&play).0, ComparisonVerdict::Pass);
    play.weight = None;
    look(&mut play, "errors", answered(&server));
    let evidence = &play.status.evidence.as_ref().unwrap().0;
    assert_eq!(evidence["progress"]["errors"].get("split"), None, "{evidence:#}");
}

#[test]
fn a_later_attempt_has_half_the_budget() {
    let server = steady(900, (3.0, 100.0), (10.0, 1000.0));
    let looks = |attempt: u32| {
        let mut play = Play::of_spec(spec(errors(), json!({"warmup": 0, "attempt": attempt})));
        while play.status.phase != AnalysisPhase::Failed {
            look(&mut play, "errors", answered(&server));
        }
        play.status.message.clone()
    };
    assert!(looks(1).contains("1 of 100 "), "{}", looks(1));
    assert!(looks(2).contains("1 of 200 "), "{}", looks(2));
    assert!(looks(4).contains("1 of 800 "), "{}", looks(4));
}

#[test]
fn slow_requests_fail_at_the_bounds_of_stable() {
    let mut server = Server::default();
    for step in -360..=90_i64 {
        let n = (step + 360) as f64;
        let at = ORIGIN + step * 10_000;
        for (pod, slow, all) in [("web-new-aaaaa", 6.0, 60.0), ("web-old-bbbbb", 10.0, 1000.0)] {
            for (le, count) in [("0.1", all / 2.0), ("0.5", all - slow), ("1", all), ("+Inf", all)]
            {
                let labels = [("pod", pod), ("le", le)];
                server.scrape("latency_seconds_bucket", &labels, at, n * count);
            }
        }
    }
    let metrics = json!([{"name": "latency", "type": "latency", "histogram": "latency_seconds",
        "bounds": ["500ms"], "dispersion": "independent"}]);
    let mut play = Play::of_spec(spec(metrics, json!({"warmup": 0})));
    while play.status.phase != AnalysisPhase::Failed {
        look(&mut play, "latency", answered(&server));
    }
    let message = &play.status.message;
    assert!(message.contains("requests slower than 0.5 (10 %), and the odds"), "{message}");
    // A bound that no bucket has is said, with those that there are.
    let metrics = json!([{"name": "latency", "type": "latency", "histogram": "latency_seconds_bucket",
        "bounds": ["300ms"], "dispersion": "independent"}]);
    let mut play = Play::of_spec(spec(metrics, json!({})));
    look(&mut play, "latency", answered(&server));
    let message = play.result("latency").message.clone();
    assert!(message.contains("ends at 0.3; stable has 0.1, 0.5, 1"), "{message}");
}

#[test]
fn evidence_of_another_version_is_not_guessed_at() {
    let server = steady(900, (1.0, 100.0), (10.0, 1000.0));
    let mut play = Play::of_spec(spec(errors(), json!({})));
    look(&mut play, "errors", answered(&server));
    play.status.evidence.as_mut().unwrap().0["version"] = json!(2);
    play.look(&[]);
    assert_eq!(play.status.phase, AnalysisPhase::Inconclusive);
    assert!(play.status.message.contains("version 2"), "{}", play.status.message);
}

/// A process as it lived: when it began, how many events it served at each scrape, and when it ended.
#[derive(Clone, Debug)]
struct Life {
    pod: String,
    /// Seconds after the origin of each scrape, and the value then.
    scrapes: Vec<(i64, f64)>,
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let pod = (
        0..2_usize,
        0..5_usize,
        -400..500_i64,
        proptest::collection::vec((3..40_i64, 0..30_u32, 0..12_u32), 1..60),
    );
    proptest::collection::vec(pod, 1..7).prop_map(|pods| {
        pods.into_iter()
            .enumerate()
            .map(|(idx, (arm, _, begins, steps))| {
                let pod = format!("{}-p{idx}", ["web-new", "web-old"][arm]);
                let (mut at, mut value) = (begins, 0.0);
                let mut scrapes = Vec::new();
                for (gap, served, dice) in steps {
                    at += gap;
                    // A restart that shows: what was served since is less than what stood there.
                    let is_restart = dice == 0 && value > f64::from(served);
                    value = if is_restart { f64::from(served) } else { value + f64::from(served) };
                    scrapes.push((at, value));
                }
                Life { pod, scrapes }
            })
            .collect()
    })
}

/// What was served and seen after `from` and up to `until`, by the definition: life by life.
fn truth(lives: &[Life], arm: &str, from: i64, until: i64) -> f64 {
    let of_arm = lives.iter().filter(|life| life.pod.starts_with(arm));
    let of_life = of_arm.map(|life| {
        let mut sum = 0.0;
        let mut last = None;
        for (at, value) in &life.scrapes {
            if *at > from && *at <= until {
                sum += match last {
                    Some(last) if *value >= last => value - last,
                    _ => *value,
                };
            }
            last = Some(*value);
        }
        sum
    });
    of_life.sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Looks that fail, pods that come and go, processes that restart, scrapes that are late: each event
    /// that was ever scraped is judged once, and none twice.
    #[test]
    fn judged_counts_are_served_counts(lives in lives(), fails in proptest::collection::vec(any::<bool>(), 20)) {
        let mut server = Server::default();
        // A pod that is there all the time, so that the server is known to remember.
        for step in -60..=80_i64 {
            let labels = [("pod", "web-old-always")];
            server.scrape("all_total", &labels, ORIGIN + step * 10_000, ((step + 60) * 7) as f64);
        }
        for life in &lives {
            for (at, value) in &life.scrapes {
                server.scrape("all_total", &[("pod", &life.pod)], ORIGIN + at * 1000, *value);
            }
        }
        let mut play = Play::of_spec(spec(errors(), json!({"lag": "15s"})));
        prop_assert_eq!(play.now.timestamp_millis(), ORIGIN);
        for fails in fails {
            look(&mut play, "errors", |spec| {
                if fails {
                    MeasurementResult::Error(MeasureError::NoData("away".to_owned()))
                } else {
                    MeasurementResult::Look(Box::new(server.answer(spec)))
                }
            });
        }
        let evidence = play.status.evidence.as_ref();
        if let Some(until) = evidence.and_then(|it| it.0["progress"]["errors"]["until"].as_str()) {
            let until = chrono::DateTime::parse_from_rfc3339(until).unwrap().timestamp_millis();
            let until = (until - ORIGIN).div_euclid(1000);
            let [_, canary, _, stable] = totals(&play, "errors");
            prop_assert_eq!(canary, truth(&lives, "web-new", -15, until));
            let always = Life {
                pod: "web-old-always".into(),
                scrapes: (-60..=80_i64).map(|step| (step * 10, ((step + 60) * 7) as f64)).collect(),
            };
            let expected = truth(&lives, "web-old", -15, until) + truth(&[always], "web-old", -15, until);
            prop_assert_eq!(stable, expected);
        }
    }
}

#[test]
fn a_server_that_lost_its_memory_makes_no_old_counts_new() {
    let mut server = Server::default();
    for step in 0..=60_i64 {
        // Its first sample is at 100 s: millions that were served long before.
        let at = ORIGIN + 100_000 + step * 10_000;
        for (pod, n) in [("web-new-aaaaa", 10.0), ("web-old-bbbbb", 100.0)] {
            let value = 5_000_000.0 + n * step as f64;
            server.scrape("all_total", &[("pod", pod)], at, value);
            server.scrape("bad_total", &[("pod", pod)], at, value / 10.0);
        }
    }
    let mut play = Play::of_spec(spec(errors(), json!({})));
    for _ in 0..10 {
        look(&mut play, "errors", answered(&server));
    }
    let [bad, all, _, stable] = totals(&play, "errors");
    let until = (play.now - TimeDelta::seconds(15)).timestamp_millis() - ORIGIN;
    let steps = ((until - 100_000) / 10_000) as f64;
    assert_eq!((all, stable), (10.0 * steps, 100.0 * steps));
    assert_eq!(bad, steps);
}

#[test]
fn strata_undo_another_mix_of_traffic() {
    // Each route has the same errors in both arms, but the canary gets mostly the bad one.
    let mut server = Server::default();
    for step in -30..=100_i64 {
        let n = (step + 30) as f64;
        let at = ORIGIN + step * 10_000;
        for (pod, route, bad, all) in [
            ("web-new-a", "/bad", 9.0, 90.0),
            ("web-new-a", "/good", 0.1, 10.0),
            ("web-old-b", "/bad", 10.0, 100.0),
            ("web-old-b", "/good", 9.0, 900.0),
        ] {
            let labels = [("pod", pod), ("route", route)];
            server.scrape("bad_total", &labels, at, n * bad);
            server.scrape("all_total", &labels, at, n * all);
        }
    }
    let mut metrics = errors();
    let mut plain = Play::of_spec(spec(metrics.clone(), json!({"warmup": 0})));
    for _ in 0..10 {
        if plain.status.phase == AnalysisPhase::Running {
            look(&mut plain, "errors", answered(&server));
        }
    }
    assert_eq!(plain.status.phase, AnalysisPhase::Failed, "{}", plain.status.message);
    metrics[0]["by"] = json!(["route"]);
    let mut by_route = Play::of_spec(spec(metrics, json!({"warmup": 0})));
    for _ in 0..20 {
        look(&mut by_route, "errors", answered(&server));
    }
    assert_eq!(by_route.status.phase, AnalysisPhase::Running, "{}", by_route.status.message);
}
