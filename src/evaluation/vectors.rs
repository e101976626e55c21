//! `sluice judge check-vectors`: compares the judge with test vectors that other programs computed.
//!
//! A file is JSON: `families.NAME.vectors[] = {id, input, output}`; what a family's input and output
//! hold is in `super::families`. A family that is not known, or a case that cannot be read, is a
//! disagreement: nothing is passed over.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::families;

/// How far two numbers may be apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Absolute.
    pub absolute: f64,
    /// As a part of the expected number.
    pub relative: f64,
}

impl Tolerance {
    /// An absolute and a relative part, added.
    pub const fn new(absolute: f64, relative: f64) -> Self {
        Self { absolute, relative }
    }

    fn accepts(self, expected: f64, actual: f64) -> bool {
        expected.total_cmp(&actual).is_eq()
            || (expected - actual).abs() <= self.absolute + self.relative * expected.abs()
    }
}

/// A number of a case that was computed twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Which number, such as `log_e[3]`.
    pub field: String,
    /// What the file says; None for `null`, no such number.
    pub expected: Option<f64>,
    /// What the judge says.
    pub actual: Option<f64>,
    /// How far they may be apart.
    pub tolerance: Tolerance,
}

impl Comparison {
    fn agrees(&self) -> bool {
        match (self.expected, self.actual) {
            (Some(expected), Some(actual)) => self.tolerance.accepts(expected, actual),
            (expected, actual) => expected.is_none() && actual.is_none(),
        }
    }
}

/// Where the judge and the file are not of one opinion.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// The family.
    pub family: String,
    /// The case's id.
    pub case: String,
    /// What differs.
    pub what: Difference,
}

/// What differs in a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// A number.
    Number(Comparison),
    /// The case could not be read, or its family is not known.
    Unreadable(String),
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.family, self.case)?;
        match &self.what {
            Difference::Unreadable(message) => f.write_str(message),
            Difference::Number(it) => {
                let show = |value: Option<f64>| value.map_or("none".to_owned(), |v| v.to_string());
                write!(f, "{} is {}, expected {}", it.field, show(it.actual), show(it.expected))
            }
        }
    }
}

/// What came of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// For each family, how many cases agree, and how many there are.
    pub families: BTreeMap<String, (usize, usize)>,
    /// Each number that differs.
    pub disagreements: Vec<Disagreement>,
}

impl Report {
    /// Whether there were cases, and the judge agrees with all of them.
    pub fn is_agreement(&self) -> bool {
        self.disagreements.is_empty() && self.families.values().any(|(_, all)| *all > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for disagreement in &self.disagreements {
            writeln!(f, "{disagreement}")?;
        }
        for (family, (agreed, all)) in &self.families {
            writeln!(f, "{family}: {agreed} of {all} agree")?;
        }
        let sum = |of: fn(&(usize, usize)) -> usize| self.families.values().map(of).sum::<usize>();
        writeln!(f, "{} of {} cases agree", sum(|it| it.0), sum(|it| it.1))
    }
}

#[derive(Deserialize)]
struct File {
    families: BTreeMap<String, Family>,
}

#[derive(Deserialize)]
struct Family {
    vectors: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    input: Value,
    output: Value,
}

/// Checks the text of a file. An error when it does not have the form at all.
pub fn check(text: &str) -> Result<Report, serde_json::Error> {
    let file: File = serde_json::from_str(text)?;
    let mut report = Report::default();
    for (name, family) in file.families {
        let mut agreed = 0;
        for case in &family.vectors {
            let found = differences(&name, case);
            agreed += usize::from(found.is_empty());
            report.disagreements.extend(found.into_iter().map(|what| Disagreement {
                family: name.clone(),
                case: case.id.clone(),
                what,
            }));
        }
        report.families.insert(name, (agreed, family.vectors.len()));
    }
    Ok(report)
}

fn differences(family: &str, case: &Case) -> Vec<Difference> {
    match families::compare(family, &case.input, &case.output) {
        Err(error) => vec![Difference::Unreadable(error.to_string())],
        Ok(comparisons) if comparisons.is_empty() => {
            vec![Difference::Unreadable("has no number to compare".to_owned())]
        }
        Ok(comparisons) => comparisons
            .into_iter()
            .filter(|comparison| !comparison.agrees())
            .map(Difference::Number)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &str = include_str!("../../tests/fixtures/statistics/vectors.json");

    #[test]
    fn the_judge_agrees_with_every_vector() {
        let report = check(VECTORS).unwrap();
        assert!(report.is_agreement(), "{report}");
        assert_eq!(report.families.len(), 17);
        assert_eq!(report.families.values().map(|(_, all)| all).sum::<usize>(), 108);
    }

    #[test]
    fn each_number_that_is_changed_is_found() {
        let mut file: Value = serde_json::from_str(VECTORS).unwrap();
        let mut changed = 0;
        for family in file["families"].as_object_mut().unwrap().values_mut() {
            for case in family["vectors"].as_array_mut().unwrap() {
                changed +=
                    case["output"].as_object_mut().unwrap().values_mut().map(change).sum::<usize>();
            }
        }
        let report = check(&file.to_string()).unwrap();
        assert!(changed > 600, "{changed}");
        assert_eq!(report.disagreements.len(), changed, "{report}");
        assert!(report.families.values().all(|(agreed, _)| *agreed == 0), "{report}");
    }

    /// Changes what is a number or a flag, far beyond any tolerance. How many were changed.
    fn change(value: &mut Value) -> usize {
        match value {
            Value::Bool(flag) => *flag = !*flag,
            Value::Number(number) => {
                let old = number.as_f64().unwrap();
                *value = (old + old.abs() * 0.1 + 0.1).into();
            }
            Value::Array(items) => return items.iter_mut().map(change).sum(),
            _ => return 0,
        }
        1
    }

    #[test]
    fn what_is_not_understood_is_no_agreement() {
        for (text, expected) in [
            (
                r#"{"families": {"new": {"vectors": [{"id": "a", "input": {}, "output": {}}]}}}"#,
                "new a: a family of this name is not known",
            ),
            (
                r#"{"families": {"welch_t": {"vectors": [{"id": "b", "input": {}, "output": {}}]}}}"#,
                "welch_t b: input or output is not of the family's form",
            ),
            (
                r#"{"families": {"absolute_rate_eprocess": {"vectors": [{"id": "c", "input": {"intervals_events_requests": [], "max_rate": 0.1, "grid": [2]}, "output": {"log_e": [], "fail_at_alpha_0_01": []}}]}}}"#,
                "c: has no number to compare",
            ),
        ] {
            let report = check(text).unwrap();
            assert!(!report.is_agreement());
            assert!(report.to_string().contains(expected), "{report}");
        }
        assert!(!check(r#"{"families": {}}"#).unwrap().is_agreement());
        assert!(check("{}").is_err());
    }
}
