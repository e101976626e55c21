//! Quantities in the one form that the API server writes: `0.5` is `500m`, `1024Mi` is `1Gi`.
//! Syntax: "Quantity" of the Kubernetes API reference.

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// Billionths, which is as fine as quantities are.
const NANO: i128 = 1_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

/// The canonical form; none when it is no quantity.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'));
    let end = end.unwrap_or(text.len());
    let (number, suffix) = (text.get(..end)?, text.get(end..)?);
    let (family, nanos) = if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix)
    {
        (Family::Binary, parse(number, 0)?.checked_mul(1 << shift)?)
    } else if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (Family::Decimal, parse(number, *power)?)
    } else {
        let power = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
        (Family::Exponent, parse(number, power)?)
    };
    // Fractions of a byte cannot be said in binary.
    let is_binary = family == Family::Binary && nanos % NANO == 0;
    Some(match family {
        _ if nanos == 0 => "0".to_owned(),
        Family::Binary if is_binary => binary(nanos / NANO),
        Family::Exponent => decimal(nanos, true),
        Family::Binary | Family::Decimal => decimal(nanos, false),
    })
}

/// `number` times ten to the `power`, in billionths, rounded up.
fn parse(number: &str, power: i32) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let all = format!("{whole}{fraction}");
    if !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mantissa: i128 = all.parse().ok()?;
    let power = power + 9 - i32::try_from(fraction.len()).ok()?;
    let value = if power >= 0 {
        mantissa.checked_mul(10_i128.checked_pow(power.unsigned_abs())?)?
    } else {
        let divisor = 10_i128.checked_pow(power.unsigned_abs())?;
        (mantissa + divisor - 1) / divisor
    };
    Some(sign * value)
}

fn binary(value: i128) -> String {
    let suffix = BINARY.iter().rev().find(|(_, shift)| value % (1 << shift) == 0);
    match suffix {
        Some((name, shift)) => format!("{}{name}", value >> shift),
        None => value.to_string(),
    }
}

fn decimal(nanos: i128, is_exponent: bool) -> String {
    for (name, power) in DECIMAL.iter().rev() {
        let unit = 10_i128.pow((power + 9).unsigned_abs());
        if nanos % unit == 0 {
            let number = nanos / unit;
            return match power {
                0 => number.to_string(),
                _ if is_exponent => format!("{number}e{power}"),
                _ => format!("{number}{name}"),
            };
        }
    }
    nanos.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_one_form() {
        for (given, wanted) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1500Mi", "1500Mi"),
            ("0.5Gi", "512Mi"),
            ("1.5Ki", "1536"),
            ("5000", "5k"),
            ("1e3", "1e3"),
            ("100", "100"),
            ("0Mi", "0"),
            ("-1.5", "-1500m"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(canonical(given).as_deref(), Some(wanted), "{given}");
        }
        for given in ["", "x", "1x", "1.2.3", "Mi", "--1"] {
            assert_eq!(canonical(given), None, "{given}");
        }
    }
}
