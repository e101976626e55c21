//! What YAML text means to Kubernetes, and when two JSON values say the same.
//!
//! Manifests reach the API server through YAML 1.1 (sigs.k8s.io/yaml, a fork of go-yaml v2): `yes`
//! is a boolean and `0644` is 420 there. Reading them by YAML 1.2 would find differences that do
//! not exist and miss some that do. This module must never look at where text came from.

use std::fmt;

use serde_json::{Map, Number, Value};

/// One step into a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// The item at a position, from 0.
    Index(usize),
}

/// Where a value stands in a document; shown as `spec.template.spec.containers[0].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Step>);

impl FieldPath {
    /// A path of keys only.
    pub fn of_keys(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// This path and one more key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    /// This path and one more position.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(at));
        Self(steps)
    }

    /// This path with `tail` appended.
    #[must_use]
    pub fn join(&self, tail: &Self) -> Self {
        Self(self.0.iter().chain(&tail.0).cloned().collect())
    }

    /// The value at this path.
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Index(at) => value.get(at),
        })
    }

    /// The value at this path, to be changed.
    pub fn find_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(at) => value.get_mut(at),
        })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if idx == 0 => write!(f, "{key}")?,
                Step::Key(key) if key.contains('.') => write!(f, "[{key}]")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(at) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}

/// A scalar that differs between two values of the same structure.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarChange {
    /// Where.
    pub path: FieldPath,
    /// The value before.
    pub from: Value,
    /// The value after.
    pub to: Value,
}

/// Every scalar that differs, or `None` when keys, list lengths or kinds of values differ, too.
pub(super) fn scalar_changes(from: &Value, to: &Value) -> Option<Vec<ScalarChange>> {
    let mut changes = Vec::new();
    collect_changes(from, to, &FieldPath::default(), &mut changes).then_some(changes)
}

fn collect_changes(
    from: &Value,
    to: &Value,
    path: &FieldPath,
    changes: &mut Vec<ScalarChange>,
) -> bool {
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = |map: &Map<String, Value>| {
                let mut keys: Vec<String> =
                    map.iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k.clone()).collect();
                keys.sort_unstable();
                keys
            };
            keys(a) == keys(b)
                && a.iter().filter(|(_, value)| !value.is_null()).all(|(key, value)| {
                    b.get(key)
                        .is_some_and(|other| collect_changes(value, other, &path.key(key), changes))
                })
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .enumerate()
                    .all(|(at, (x, y))| collect_changes(x, y, &path.index(at), changes))
        }
        _ if same_json(from, to) => true,
        _ if is_scalar(from) && is_scalar(to) => {
            changes.push(ScalarChange { path: path.clone(), from: from.clone(), to: to.clone() });
            true
        }
        _ => false,
    }
}

fn is_scalar(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

/// The images of a pod template's containers, in their order.
pub fn images(template: &Value) -> impl Iterator<Item = &str> {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|one| one.get("image")?.as_str())
}

/// Whether two values say the same to the API server: the order of keys, keys with `null` and the
/// way in which a number is written do not matter; everything else does.
pub fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let covers = |x: &Map<String, Value>, y: &Map<String, Value>| {
                x.iter().all(|(key, value)| {
                    value.is_null() || y.get(key).is_some_and(|other| same_json(value, other))
                })
            };
            covers(a, b) && covers(b, a)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| same_json(x, y))
        }
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        _ => a == b,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    match (a.as_i64(), b.as_i64(), a.as_u64(), b.as_u64()) {
        (Some(a), Some(b), _, _) => a == b,
        (_, _, Some(a), Some(b)) => a == b,
        // At least one is a fraction: compare as the API server does, as doubles.
        _ => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.to_bits() == b.to_bits() || (a - b == 0.0),
            _ => false,
        },
    }
}

/// The value of a scalar that stands without quotes in YAML, as Kubernetes reads it.
pub fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let is_number_like = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let number = if is_number_like { parse_number(text) } else { None };
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn parse_number(text: &str) -> Option<Number> {
    let plain = text.replace('_', "");
    if let Some(integer) = parse_integer(&plain) {
        return Some(integer);
    }
    is_yaml_float(&plain).then(|| plain.parse::<f64>().ok().and_then(Number::from_f64)).flatten()
}

/// Go's `strconv.ParseInt(text, 0, 64)`: prefixes `0x`, `0o`, `0b`, and a leading 0 means octal.
fn parse_integer(text: &str) -> Option<Number> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.strip_prefix('0').unwrap_or(&lower))
    } else {
        (10, lower.as_str())
    };
    // `from_str_radix` accepts signs of its own.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if is_negative {
        let signed = i128::from(magnitude).checked_neg()?;
        i64::try_from(signed).ok().map(Number::from)
    } else {
        Some(Number::from(magnitude))
    }
}

/// go-yaml's `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
fn is_yaml_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let is_mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && all_digits(fraction),
        Some((whole, fraction)) => all_digits(whole) && all_digits(fraction),
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    is_mantissa && is_exponent
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plain_scalars_mean_what_the_api_server_reads() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("off", json!(false)),
            ("0644", json!(420)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("1_000", json!(1000)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("08", json!(8.0)),
            ("1.50", json!(1.5)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("1.2.3", json!("1.2.3")),
            ("v1", json!("v1")),
            ("0x", json!("0x")),
            ("-", json!("-")),
            ("2026-01-01", json!("2026-01-01")),
            ("1:30", json!("1:30")),
            ("12e", json!("12e")),
            (".inf", json!(".inf")),
        ] {
            assert_eq!(plain_scalar(text), value, "{text}");
        }
    }

    #[test]
    fn equality_ignores_nulls_order_and_number_form_only() {
        assert!(same_json(&json!({"a": 1, "b": null}), &json!({"a": 1.0})));
        assert!(!same_json(&json!({"a": "1"}), &json!({"a": 1})));
        assert!(!same_json(&json!({"a": {}}), &json!({})));
        assert!(!same_json(&json!([1, 2]), &json!([2, 1])));
        assert!(!same_json(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)));
    }

    #[test]
    fn structure_changes_are_not_scalar_changes() {
        let from = json!({"c": [{"image": "a:1", "name": "x"}]});
        let changes =
            scalar_changes(&from, &json!({"c": [{"image": "a:2", "name": "x"}]})).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].path.to_string(), "c[0].image");
        assert!(scalar_changes(&from, &json!({"c": [{"image": "a:2"}]})).is_none());
        assert!(scalar_changes(&from, &json!({"c": []})).is_none());
        assert!(scalar_changes(&from, &json!({"c": [{"image": ["a"], "name": "x"}]})).is_none());
    }
}
