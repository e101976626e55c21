//! Laws of the judge that hold for every script of values and every set of limits.

use crate::play::{Play, bad, good, metric, unreachable, vector};
use proptest::prelude::*;
use serde_json::{Value, json};
use sluice::analysis::condition::Condition;
use sluice::analysis::{ResolvedRun, Verdict, advance};
use sluice::api::analysis::{AnalysisPhase, AnalysisRunStatus};
use sluice::metrics::{MeasurementResult, SampleValue};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Letter {
    Good,
    Bad,
    Undecided,
    Unreachable,
    Empty,
    Nan,
}

impl Letter {
    fn result(self) -> MeasurementResult {
        match self {
            Self::Good => good(),
            Self::Bad => bad(),
            Self::Undecided => vector(&[0.2]),
            Self::Unreachable => unreachable(),
            Self::Empty => vector(&[]),
            Self::Nan => vector(&[f64::NAN]),
        }
    }

    fn is_error(self) -> bool {
        matches!(self, Self::Unreachable | Self::Empty | Self::Nan)
    }
}

fn any_letter() -> impl Strategy<Value = Letter> {
    prop::sample::select(vec![
        Letter::Good,
        Letter::Good,
        Letter::Bad,
        Letter::Undecided,
        Letter::Unreachable,
        Letter::Empty,
        Letter::Nan,
    ])
}

fn any_fields() -> impl Strategy<Value = Value> {
    (
        prop::option::of(0..6_i64),
        prop::option::of(-1..3_i64),
        prop::option::of(0..3_i64),
        prop::option::of(0..3_i64),
        prop::option::of(0..3_i64),
        prop::option::of(1..3_i64),
        0..3_u8,
    )
        .prop_map(|(count, failure, inconclusive, errors, successes, samples, conditions)| {
            let mut fields = json!({
                "interval": "30s", "count": count, "failureLimit": failure,
                "inconclusiveLimit": inconclusive, "consecutiveErrorLimit": errors,
                "consecutiveSuccessLimit": successes, "minSamples": samples,
            });
            fields.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            if conditions != 1 {
                fields["successCondition"] = json!("result[0] < 0.05");
            }
            if conditions != 0 {
                fields["failureCondition"] = json!("result[0] > 0.4");
            }
            fields
        })
        .prop_filter("limits that fit together", |fields| {
            let spec = json!({"metrics": [metric("m", fields.clone())]});
            ResolvedRun::resolve(&serde_json::from_value(spec).unwrap()).is_ok()
        })
}

/// Plays letters until the run ends; at the end of the script it may be terminated.
fn play(fields: &Value, letters: &[Letter], is_terminated: bool) -> Play {
    let mut play = Play::of(vec![metric("m", fields.clone())]);
    for letter in letters {
        if play.status.phase.is_completed() {
            break;
        }
        play.measure("m", letter.result());
    }
    if is_terminated {
        play.terminate();
    }
    play
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_gate_opens_without_a_good_value(
        fields in any_fields(),
        letters in prop::collection::vec(any_letter(), 0..12),
        is_terminated in any::<bool>(),
    ) {
        let play = play(&fields, &letters, is_terminated);
        let taken = play.status.metric_results.first().map_or(0, |r| r.count + r.error);
        let taken = &letters[..taken as usize];
        // Without a success condition everything that is not bad is good.
        let is_good = |letter: &Letter| *letter == Letter::Good
            || (*letter == Letter::Undecided && fields.get("successCondition").is_none());
        let good = taken.iter().filter(|letter| is_good(letter)).count();
        let needed = fields.get("minSamples").and_then(Value::as_u64).unwrap_or(1);
        if play.status.phase == AnalysisPhase::Successful {
            prop_assert!(good as u64 >= needed);
        }
        if Verdict::of(&play.status) == Verdict::Successful {
            prop_assert!(good as u64 >= needed);
            prop_assert!(!play.status.terminated);
        }
    }

    #[test]
    fn only_bad_values_fail_a_run(
        fields in any_fields(), letters in prop::collection::vec(any_letter(), 0..12),
    ) {
        let play = play(&fields, &letters, false);
        if let Verdict::Failed { has_measurements, .. } = Verdict::of(&play.status) {
            let fits = letters.contains(&Letter::Bad)
                || letters.contains(&Letter::Undecided)
                || fields.get("consecutiveSuccessLimit").is_some();
            prop_assert!(fits);
            prop_assert_eq!(has_measurements, play.status.metric_results[0].failed > 0);
        }
    }

    #[test]
    fn an_error_more_never_turns_into_success(
        fields in any_fields(),
        letters in prop::collection::vec(any_letter(), 0..10),
        at in 0..10_usize,
    ) {
        let without = play(&fields, &letters, false);
        let mut more = letters.clone();
        more.insert(at.min(letters.len()), Letter::Unreachable);
        let with = play(&fields, &more, false);
        if Verdict::of(&with.status) == Verdict::Successful {
            prop_assert_eq!(Verdict::of(&without.status), Verdict::Successful);
        }
    }

    #[test]
    fn errors_alone_never_end_a_run_without_a_written_limit(
        fields in any_fields(), letters in prop::collection::vec(any_letter(), 1..10),
    ) {
        let mut fields = fields;
        fields.as_object_mut().unwrap().remove("consecutiveErrorLimit");
        let errors: Vec<Letter> = letters.into_iter().filter(|letter| letter.is_error()).collect();
        prop_assert_eq!(play(&fields, &errors, false).status.phase, AnalysisPhase::Running);
    }

    #[test]
    fn the_judge_is_deterministic_and_a_completed_run_is_a_fixed_point(
        fields in any_fields(), letters in prop::collection::vec(any_letter(), 0..12),
    ) {
        let first = play(&fields, &letters, true);
        let second = play(&fields, &letters, true);
        prop_assert_eq!(&first.status, &second.status);
        let again = advance(&first.run(), &first.status, &[], first.now);
        prop_assert_eq!(again.status, first.status);
        prop_assert!(again.due.is_empty() && again.wake_at.is_none());
    }

    /// A crash loses what was not written: replaying the same values from any written status ends
    /// the same way, and old outcomes change nothing.
    #[test]
    fn a_crash_before_the_status_write_only_measures_again(
        fields in any_fields(), letters in prop::collection::vec(any_letter(), 1..10),
    ) {
        let steady = play(&fields, &letters, false);
        let mut crashing = Play::of(vec![metric("m", fields.clone())]);
        let mut old = Vec::new();
        for letter in &letters {
            if crashing.status.phase.is_completed() {
                break;
            }
            while crashing.step.due.is_empty() {
                crashing.wait();
            }
            let lost = crashing.outcome("m", &letter.result()).unwrap();
            let _never_written = advance(&crashing.run(), &crashing.status, &[lost], crashing.now);
            crashing.look(&old);
            let outcome = crashing.outcome("m", &letter.result()).unwrap();
            old.push(outcome.clone());
            crashing.look(&[outcome]);
            crashing.look(&old);
        }
        prop_assert_eq!(steady.status, crashing.status);
    }

    #[test]
    fn a_run_that_goes_on_is_always_woken(
        fields in any_fields(), letters in prop::collection::vec(any_letter(), 0..12),
    ) {
        let play = play(&fields, &letters, false);
        if !play.status.phase.is_completed() {
            prop_assert!(play.step.wake_at.is_some() || !play.step.due.is_empty());
            prop_assert!(!play.step.waiting.is_empty());
        }
    }

    #[test]
    fn no_json_value_and_no_status_of_others_breaks_the_judge(
        text in "[\\[\\]{}\",:0-9a-z.eE+-]{0,40}", numbers in prop::collection::vec(any::<f64>(), 0..5),
        count in any::<u32>(), error in any::<u32>(), failed in any::<u32>(),
    ) {
        let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
        for source in ["result[0] < 0.05", "result.a > 1", "asFloat(result) > 1", "all(result, {# > 1})"] {
            let condition = Condition::parse(source).unwrap();
            for value in [SampleValue::Json(json.clone()), SampleValue::Numbers(numbers.clone())] {
                let _ = condition.holds(&value);
                let mut play = Play::of(vec![metric("m", json!({"successCondition": source}))]);
                play.measure("m", MeasurementResult::Sample(value.into()));
            }
        }
        let status: AnalysisRunStatus = serde_json::from_value(json!({
            "phase": "Running", "metricResults": [
                {"name": "m", "phase": "Running", "count": count, "error": error, "failed": failed},
                {"name": "stranger", "phase": "", "measurements": [{"phase": ""}]},
            ],
        })).unwrap();
        let run = Play::of(vec![metric("m", json!({"successCondition": "true"}))]).run();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let step = advance(&run, &status, &[], now);
        let _ = Verdict::of(&step.status);
    }
}
