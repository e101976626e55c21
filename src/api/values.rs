//! Scalar field types of our API: times, durations, delays, counts or percentages, free JSON.
//!
//! They accept what Argo Rollouts accepts. What cannot be understood is kept as written and refused
//! by validation with the field's name, not by a decoder that knows only a byte offset.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Serde helper: leaves `false` out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// Serde helper: leaves 0 out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// An instant, RFC 3339 in UTC with milliseconds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub DateTime<Utc>);

impl Time {
    /// The wire form.
    pub fn to_rfc3339(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|time| Self(time.with_timezone(&Utc)))
            .map_err(|_| serde::de::Error::custom(format!("{text:?} is not an RFC 3339 time")))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

/// A whole number or a string, as Kubernetes' `IntOrString`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A whole number.
    Int(i64),
    /// Text: a percentage, a duration, or an argument such as `{{args.x}}`.
    Text(String),
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for IntOrString {
    fn schema_name() -> Cow<'static, str> {
        "IntOrString".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}

/// Why a value cannot be used; the caller names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not a duration.
    #[error("{0:?} is not a duration: write seconds as a number, or \"30s\", \"5m\", \"1h30m\"")]
    Duration(String),
    /// Not a delay.
    #[error(
        "{0:?} is not a delay: write seconds as a number, a duration such as \"30s\", \"never\" or \"immediately\""
    )]
    Delay(String),
    /// Not a count or a percentage.
    #[error("{0:?} is neither a whole number of at least 0 nor a percentage such as \"25%\"")]
    CountOrPercent(String),
}

/// Longest duration that is accepted: 10 years. It keeps all later arithmetic on times in range.
const MAX_DURATION_SECONDS: i64 = 10 * 366 * 86_400;

impl IntOrString {
    /// A duration: seconds as a number or as text, or Go's form (`1h30m`, `500ms`).
    ///
    /// # Errors
    /// [`InvalidValue::Duration`] when it is neither, is negative, or exceeds ten years.
    pub fn as_duration(&self) -> Result<TimeDelta, InvalidValue> {
        let bad = || InvalidValue::Duration(self.to_string());
        let delta = match self {
            Self::Int(seconds) => TimeDelta::try_seconds(*seconds).ok_or_else(bad)?,
            Self::Text(text) => parse_go_duration(text).ok_or_else(bad)?,
        };
        let is_in_range = delta >= TimeDelta::zero() && delta.num_seconds() <= MAX_DURATION_SECONDS;
        is_in_range.then_some(delta).ok_or_else(bad)
    }

    /// A delay: a duration, or the words `never` and `immediately`. A bare 0 keeps the meaning that
    /// Argo Rollouts gives it in that field, so it is reported apart.
    ///
    /// # Errors
    /// [`InvalidValue::Delay`] when it is none of these.
    pub fn as_delay(&self) -> Result<Delay, InvalidValue> {
        match self {
            Self::Int(0) => Ok(Delay::Zero),
            Self::Text(text) if text == "never" => Ok(Delay::Never),
            Self::Text(text) if text == "immediately" => Ok(Delay::Immediately),
            Self::Int(_) | Self::Text(_) => self
                .as_duration()
                .map(Delay::After)
                .map_err(|_| InvalidValue::Delay(self.to_string())),
        }
    }

    /// A count, or a percentage of a total.
    ///
    /// # Errors
    /// [`InvalidValue::CountOrPercent`] when it is neither, or beyond `u32`.
    pub fn as_count_or_percent(&self) -> Result<CountOrPercent, InvalidValue> {
        let bad = || InvalidValue::CountOrPercent(self.to_string());
        match self {
            Self::Int(count) => u32::try_from(*count).map(CountOrPercent::Count).map_err(|_| bad()),
            Self::Text(text) => {
                let digits = text.strip_suffix('%').ok_or_else(bad)?;
                digits.parse().map(CountOrPercent::Percent).map_err(|_| bad())
            }
        }
    }
}

/// When something happens after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// After this time.
    After(TimeDelta),
    /// The word `never`.
    Never,
    /// The word `immediately`.
    Immediately,
    /// A bare 0: what it means depends on the field.
    Zero,
}

/// A count, or a share of a total in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOrPercent {
    /// A number of things.
    Count(u32),
    /// A percentage; it may exceed 100.
    Percent(u32),
}

impl CountOrPercent {
    /// The count, a percentage of `total` being rounded up (Kubernetes' `maxSurge`).
    pub fn of_rounded_up(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let exact = (u64::from(percent) * u64::from(total)).div_ceil(100);
                u32::try_from(exact).unwrap_or(u32::MAX)
            }
        }
    }

    /// The count, a percentage of `total` being rounded down (Kubernetes' `maxUnavailable`).
    pub fn of_rounded_down(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let exact = u64::from(percent) * u64::from(total) / 100;
                u32::try_from(exact).unwrap_or(u32::MAX)
            }
        }
    }
}

/// Go's duration text: decimal numbers with units (`h`, `m`, `s`, `ms`, `us`, `ns`), or bare
/// seconds.
fn parse_go_duration(text: &str) -> Option<TimeDelta> {
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    if let Ok(seconds) = text.parse::<u32>() {
        return TimeDelta::try_seconds(i64::from(seconds));
    }
    let mut rest = text;
    let mut total_nanos: i64 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(number_len)?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(unit_len)?;
        let nanos_per_unit: i64 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total_nanos = total_nanos.checked_add(decimal_times(number, nanos_per_unit)?)?;
        rest = after;
    }
    Some(TimeDelta::nanoseconds(total_nanos))
}

/// `number` (digits with at most one point) times `unit`, exact to the nanosecond.
fn decimal_times(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(place.checked_mul(i64::from(digit.to_digit(10)?))?)?;
    }
    Some(total)
}

/// JSON that we keep exactly as it was written (a pod template, a Job spec, plug-in configuration).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawObject(pub Value);

impl JsonSchema for RawObject {
    fn schema_name() -> Cow<'static, str> {
        "RawObject".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// A label selector, with Kubernetes' own semantics (`metav1.LabelSelector`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must all be present with these values.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub match_labels: std::collections::BTreeMap<String, String>,
    /// Requirements that must all hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// One requirement of a [`LabelSelector`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LabelSelectorRequirement {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// Values for `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether `labels` satisfy every requirement. An unknown operator matches nothing.
    pub fn matches(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| {
                let found = labels.get(&requirement.key);
                match requirement.operator.as_str() {
                    "In" => found.is_some_and(|value| requirement.values.contains(value)),
                    "NotIn" => !found.is_some_and(|value| requirement.values.contains(value)),
                    "Exists" => found.is_some(),
                    "DoesNotExist" => found.is_none(),
                    _ => false,
                }
            })
    }

    /// Whether it selects everything (nothing is required).
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// The text form that list requests and the scale subresource use.
    pub fn to_query(&self) -> String {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(|requirement| {
            let key = &requirement.key;
            let values = requirement.values.join(",");
            match requirement.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.clone(),
            }
        });
        labels.chain(expressions).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: &str) -> IntOrString {
        IntOrString::Text(value.to_owned())
    }

    #[test]
    fn durations_are_seconds_or_go_text() {
        let cases = [
            (IntOrString::Int(90), 90_000),
            (text("90"), 90_000),
            (text("1h30m"), 5_400_000),
            (text("1.5m"), 90_000),
            (text("500ms"), 500),
        ];
        for (given, milliseconds) in cases {
            assert_eq!(given.as_duration(), Ok(TimeDelta::milliseconds(milliseconds)), "{given}");
        }
        for bad in [text("soon"), text(""), text("5x"), text("-5s"), IntOrString::Int(-1)] {
            assert!(bad.as_duration().is_err(), "{bad}");
        }
        assert!(IntOrString::Int(i64::MAX).as_duration().is_err());
    }

    #[test]
    fn never_and_immediately_are_delays_and_zero_is_told_apart() {
        assert_eq!(text("never").as_delay(), Ok(Delay::Never));
        assert_eq!(text("immediately").as_delay(), Ok(Delay::Immediately));
        assert_eq!(IntOrString::Int(0).as_delay(), Ok(Delay::Zero));
        let error = text("later").as_delay().unwrap_err().to_string();
        assert!(error.contains("\"never\""), "{error}");
    }

    #[test]
    fn a_percentage_rounds_up_for_surge_and_down_for_unavailable() {
        let quarter = text("25%").as_count_or_percent().unwrap();
        assert_eq!((quarter.of_rounded_up(10), quarter.of_rounded_down(10)), (3, 2));
        assert!(text("25").as_count_or_percent().is_err());
        assert!(IntOrString::Int(-1).as_count_or_percent().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(any in ".{0,40}") {
            let value = IntOrString::Text(any);
            let _ = (value.as_duration(), value.as_delay(), value.as_count_or_percent());
        }

        #[test]
        fn a_time_survives_its_wire_form(ms in 0i64..4_000_000_000_000) {
            let time = Time(DateTime::from_timestamp_millis(ms).unwrap());
            let wire = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Time>(&wire).unwrap(), time);
        }
    }
}
