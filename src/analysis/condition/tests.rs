//! Tests of `condition`.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn holds(source: &str, sample: &SampleValue) -> Result<bool, ConditionFailure> {
    Condition::parse(source).unwrap_or_else(|e| panic!("{source}: {e}")).holds(sample)
}

fn numbers(values: &[f64]) -> SampleValue {
    SampleValue::Numbers(values.to_vec())
}

#[test]
fn argos_conditions_mean_what_they_mean_there() {
    let web = SampleValue::Json(json!({"ok": true, "successPercent": 0.95, "items": [
        {"state": "up", "n": 3}, {"state": "down", "n": 4}], "text": "7"}));
    let cases: &[(&str, &SampleValue, bool)] = &[
        ("result[0] >= 0.95", &numbers(&[0.95]), true),
        ("result[0] >= 0.95", &numbers(&[0.94]), false),
        ("result > 5", &SampleValue::Number(5.5), true),
        ("len(result) == 0", &numbers(&[]), true),
        ("isNaN(result[0])", &numbers(&[f64::NAN]), true),
        ("isInf(result[0])", &numbers(&[f64::NEG_INFINITY]), true),
        ("isNaN(result[0]) || result[0] < 0.05", &numbers(&[0.01]), true),
        ("all(result, # < 1)", &numbers(&[0.1, 0.2]), true),
        ("any(result, {# > 0.15})", &numbers(&[0.1, 0.2]), true),
        ("sum(result) < 0.31", &numbers(&[0.1, 0.2]), true),
        ("max(result) == 0.2", &numbers(&[0.1, 0.2]), true),
        ("result.ok && result.successPercent >= 0.90", &web, true),
        ("count(result.items, {#.state == 'up'}) == 1", &web, true),
        ("any(result.items, {n > 3})", &web, true),
        ("asInt(result.text) == 7 && asFloat(result.text) == 7.0", &web, true),
        ("asInt(result.successPercent) == 0", &web, true),
        ("isNil(result.missing)", &web, true),
        ("default(result.missing, 3) == 3", &web, true),
        ("result.missing?.deeper == nil", &web, true),
        ("(result.missing ?? 4) == 4", &web, true),
        ("result.text matches '^[0-9]$'", &web, true),
        ("'ok' in keys(result)", &web, true),
    ];
    for (source, sample, expected) in cases {
        assert_eq!(holds(source, sample), Ok(*expected), "{source} over {sample}");
    }
}

#[test]
fn what_is_not_true_or_false_is_an_error_and_not_false() {
    assert_eq!(holds("result[0]", &numbers(&[1.0])), Err(ConditionFailure::NotBoolean("a number")));
    for source in
        ["result[0] < 1", "isNaN(result[0])", "result < 1", "result.a.b == 1", "asInt('x') == 1"]
    {
        assert!(holds(source, &numbers(&[])).is_err(), "{source}");
    }
}

#[test]
fn a_text_that_is_no_expression_is_refused_with_its_position() {
    for source in
        ["result[0] >", "result[0] >= 0.95)", "result ==== 1", "&& result", "result[0] >= 0,95"]
    {
        let error = Condition::parse(source).unwrap_err().to_string();
        assert!(error.starts_with("is not an expression: at 1:"), "{source}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn repeated_uses_of_a_large_result_are_stopped_by_the_budget() {
    let large = SampleValue::Numbers(vec![0.0; 10_000]);
    assert_eq!(holds("all(result, # < 1)", &large), Ok(true));
    assert_eq!(holds("all(result, {len(result) > 0})", &large), Err(ConditionFailure::TooCostly));
    let huge = SampleValue::Numbers(vec![0.0; MAX_RESULT_NODES]);
    assert_eq!(holds("len(result) > 0", &huge), Err(ConditionFailure::TooLarge));
}

#[test]
fn the_deepest_condition_that_is_let_in_fits_the_stack_of_a_small_thread() {
    let chain = format!("result{} > 0", " + 1".repeat(39));
    let nested = format!("{}result > 0{}", "(".repeat(12), ")".repeat(12));
    let worker = std::thread::Builder::new().stack_size(3 << 19).spawn(move || {
        for source in [chain, nested] {
            assert_eq!(holds(&source, &SampleValue::Number(1.0)), Ok(true));
        }
    });
    worker.unwrap().join().unwrap();
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(|n| json!(n)),
        any::<i64>().prop_map(|n| json!(n)),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|m| json!(m)),
        ]
    })
}

/// Expressions put together from pieces of the language, most of them well-formed.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("result".to_owned()),
        Just("result[0]".to_owned()),
        Just("result.a".to_owned()),
        Just("nil".to_owned()),
        Just("#".to_owned()),
        Just("[1, 2]".to_owned()),
        Just("'text'".to_owned()),
        Just("0.5".to_owned()),
        Just("-9223372036854775807".to_owned()),
        Just("true".to_owned()),
        Just("{# > 1}".to_owned()),
        Just("result[1:]".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let functions = [admission::ARGO_FUNCTIONS, BUILTINS_FOR_TESTS].concat();
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec![
                    "+",
                    "-",
                    "*",
                    "/",
                    "%",
                    "**",
                    "==",
                    "!=",
                    "<",
                    ">=",
                    "&&",
                    "||",
                    "in",
                    "not in",
                    "contains",
                    "startsWith",
                    "??",
                    "|"
                ]),
                inner.clone()
            )
                .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (prop::sample::select(functions), prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(name, args)| format!("{name}({})", args.join(", "))),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

const BUILTINS_FOR_TESTS: &[&str] = &[
    "len",
    "all",
    "any",
    "count",
    "sum",
    "mean",
    "median",
    "min",
    "max",
    "abs",
    "round",
    "int",
    "float",
    "string",
    "first",
    "last",
    "keys",
    "values",
    "filter",
    "map",
    "find",
    "sort",
    "reverse",
    "get",
    "lower",
    "trim",
    "indexOf",
    "type",
    "findIndex",
    "none",
    "one",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_expression_and_no_value_breaks_the_evaluation(
        source in any_expression(), json in any_json()
    ) {
        if let Ok(condition) = Condition::parse(&source) {
            let answer = condition.holds(&SampleValue::Json(json));
            prop_assert_ne!(answer, Err(ConditionFailure::Evaluation("the expression broke down".to_owned())));
        }
    }

    #[test]
    fn no_text_breaks_the_parser(source in ".{0,60}", tokens in prop::collection::vec("[()\\[\\]{}?:|.,a-z0-9<>=!&'\" ]{1,4}", 0..20)) {
        for source in [source, tokens.concat()] {
            if let Err(ConditionProblem::NotAnExpression(why)) = Condition::parse(&source) {
                prop_assert_ne!(why, "it confuses the parser", "{}", source);
            }
        }
    }
}
