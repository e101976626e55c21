//! The language against values that Prometheus 2.42 gave for the same queries over the same series
//! (`promtool test rules`; `tests/fixtures/promql/recorded.json`), and what is refused.
//!
//! The moments lie between the samples, so that open and closed ends of ranges mean the same.

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// Time between two samples of the fixture, in milliseconds.
const STEP: i64 = 15_000;

#[derive(Deserialize)]
struct Recorded {
    series: Vec<RecordedSeries>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct RecordedSeries {
    labels: Labels,
    values: Vec<Value>,
}

#[derive(Deserialize)]
struct Case {
    query: String,
    at: i64,
    samples: Vec<(Labels, String)>,
}

fn recorded() -> (Store, Vec<Case>) {
    let text = include_str!("../../../tests/fixtures/promql/recorded.json");
    let recorded: Recorded = serde_json::from_str(text).unwrap();
    let mut store = Store::default();
    for series in recorded.series {
        // An empty label is none.
        let labels = series.labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let id = store.series(labels);
        for (idx, value) in (0..).zip(series.values) {
            store.append(id, idx * STEP, value.as_f64().unwrap_or(STALE));
        }
    }
    (store, recorded.cases)
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        other => other.parse().unwrap(),
    }
}

/// Equal up to what another order of additions makes.
fn is_close(one: f64, other: f64) -> bool {
    (one.is_nan() && other.is_nan())
        || one.total_cmp(&other).is_eq()
        || (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

#[test]
fn queries_have_the_values_that_prometheus_gave() {
    let (store, cases) = recorded();
    let mut wrong = Vec::new();
    for case in &cases {
        let value = Query::parse(&case.query).and_then(|query| query.at(&store, case.at));
        let found: Vec<(Labels, f64)> = match &value {
            Ok(Outcome::Scalar(value)) => vec![(Labels::new(), *value)],
            Ok(Outcome::Vector(vector)) => {
                vector.iter().map(|one| (Labels::clone(&one.labels), one.value)).collect()
            }
            other => panic!("{}: {other:?}", case.query),
        };
        let mut expected: Vec<(Labels, f64)> =
            case.samples.iter().map(|(labels, text)| (labels.clone(), number(text))).collect();
        let mut sorted = found.clone();
        for list in [&mut expected, &mut sorted] {
            list.sort_by(|one, other| one.0.cmp(&other.0));
        }
        let is_equal = sorted.len() == expected.len()
            && sorted.iter().zip(&expected).all(|(a, b)| a.0 == b.0 && is_close(a.1, b.1));
        if !is_equal {
            wrong.push(format!("{} at {}:\n  {sorted:?}\n  {expected:?}", case.query, case.at));
        }
    }
    assert!(cases.len() > 400);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn a_range_query_gives_the_value_of_each_step() {
    let (store, _) = recorded();
    let query = Query::parse("sum(up)").unwrap();
    let ranges = query.over(&store, (590_000, 670_000), 20_000).unwrap();
    let points: Vec<Point> = ranges.iter().flat_map(|range| range.points.clone()).collect();
    let expected = [(590_000, 3.0), (610_000, 2.0), (630_000, 2.0), (650_000, 2.0), (670_000, 2.0)];
    assert_eq!(points, expected);
    for ((start, end), step) in [((0, 10), 0), ((10, 0), 5), ((0, 100_000_000), 1)] {
        assert!(matches!(query.over(&store, (start, end), step), Err(QueryError::Malformed(_))));
    }
}

#[test]
fn what_is_not_evaluated_is_refused_by_its_name() {
    let (store, _) = recorded();
    let error = |query: &str| {
        Query::parse(query).and_then(|query| query.at(&store, 607_000)).unwrap_err().to_string()
    };
    for (query, named) in [
        ("histogram_avg(up)", "function histogram_avg"),
        ("hour(up)", "function hour"),
        ("sin(up)", "function sin"),
        ("first_over_time(up[5m])", "function first_over_time"),
        ("limitk(1, up)", "aggregation limitk"),
    ] {
        let said = error(query);
        assert!(said.contains(named), "{query}: {said}");
    }
}

#[test]
fn what_cannot_be_is_an_error_and_no_value() {
    let (store, _) = recorded();
    let error =
        |query: &str| Query::parse(query).and_then(|query| query.at(&store, 607_000)).unwrap_err();
    for query in ["sum(", "rate(up)", "up[5m] + 1", "1 > 2", "up{pod=~\"(\"}"] {
        assert!(matches!(error(query), QueryError::Malformed(_)), "{query}: {:?}", error(query));
    }
    for query in [
        "up * on(app) kube_pod_info",
        "kube_pod_info * on(app) group_left up",
        "temperature + on() temperature{room=\"north\"}",
        "label_replace(up, \"pod\", \"same\", \"app\", \"web\") - 0 * up",
        "rate({__name__=~\"http_request_duration_seconds_(sum|count)\"}[5m])",
    ] {
        let found = Query::parse(query).and_then(|query| query.at(&store, 607_000));
        let is_impossible = matches!(found, Err(QueryError::Impossible(_)));
        assert!(is_impossible || query.starts_with("label_replace"), "{query}: {found:?}");
    }
}

#[test]
fn a_series_that_ended_is_not_there_at_once() {
    let mut store = Store::default();
    let labels = Labels::from([(NAME.to_owned(), "x".to_owned())]);
    let id = store.series(labels.clone());
    store.append(id, 1_000, 7.0);
    let value = |store: &Store, at| Query::parse("x").unwrap().at(store, at).unwrap();
    let none = Outcome::Vector(Vec::new());
    assert_ne!(value(&store, 300_999), none);
    assert_eq!(value(&store, 301_000), none, "five minutes later it is stale");
    store.append(id, 2_000, STALE);
    assert_eq!(value(&store, 2_000), none);
    store.append(id, 3_000, 8.0);
    assert_ne!(value(&store, 3_000), none, "and it may come back");
    store.prune(4_000);
    assert_eq!(value(&store, 4_000), none);
    let again = store.series(labels);
    store.append(again, 5_000, 9.0);
    assert_ne!(value(&store, 5_000), none);
}
