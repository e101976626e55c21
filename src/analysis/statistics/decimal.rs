//! Serde helpers for numbers that must come back exactly as they were. A number in JSON may lose its
//! last digit on the way through another program's decoder, so these travel as decimal strings, as
//! the conventions of the Kubernetes API ask for fractions.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize as _, Serialize as _};

fn parse<E: serde::de::Error>(text: &str) -> Result<f64, E> {
    let value: f64 = text.parse().map_err(|_| E::custom(format!("`{text}` is not a number")))?;
    if value.is_nan() { Err(E::custom("a number is expected, not NaN")) } else { Ok(value) }
}

/// Writes the shortest text that reads back as the same number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(in crate::analysis) fn serialize<S: Serializer>(
    value: &f64,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.to_string().serialize(serializer)
}

/// Reads what [`serialize`] wrote.
pub(in crate::analysis) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<f64, D::Error> {
    parse::<D::Error>(&String::deserialize(deserializer)?)
}

/// The same for a list.
pub(in crate::analysis) mod list {
    use super::{Deserializer, Serializer, parse};
    use serde::{Deserialize as _, Serialize as _};

    pub(crate) fn serialize<S: Serializer>(
        values: &[f64],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        values.iter().map(f64::to_string).collect::<Vec<_>>().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f64>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| parse::<D::Error>(text)).collect()
    }
}
