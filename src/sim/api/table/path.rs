//! The JSONPath of `additionalPrinterColumns`: fields, indexes, `[*]` and filters by equality, as in
//! `.status.conditions[?(@.type=="Ready")].status`. What is not understood finds nothing.

use serde_json::Value;

/// One step.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// Entries whose field has a value.
    Where(Vec<String>, String),
}

/// The values at a path, in order.
pub(super) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let Some(steps) = parse(path) else { return Vec::new() };
    steps.iter().fold(vec![object], |found, step| {
        found.into_iter().flat_map(|value| next(value, step)).collect()
    })
}

fn next<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    let list = || value.as_array().map_or(&[][..], Vec::as_slice);
    match step {
        Step::Field(name) => value.get(name).filter(|value| !value.is_null()).into_iter().collect(),
        Step::Index(index) => {
            let len = i64::try_from(list().len()).unwrap_or(i64::MAX);
            let index = if *index < 0 { index + len } else { *index };
            usize::try_from(index).ok().and_then(|index| list().get(index)).into_iter().collect()
        }
        Step::All => list().iter().collect(),
        Step::Where(path, wanted) => list()
            .iter()
            .filter(|entry| {
                let found = path.iter().try_fold(*entry, |value, field| value.get(field));
                found.and_then(Value::as_str) == Some(wanted)
            })
            .collect(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('$');
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            let end = rest.find(']')?;
            steps.push(bracket(rest.get(1..end)?)?);
            rest = rest.get(end + 1..)?;
            continue;
        }
        let from = usize::from(first == '.');
        let body = rest.get(from..)?;
        let mut name = String::new();
        let mut used = 0;
        let mut chars = body.chars();
        while let Some(c) = chars.next() {
            if matches!(c, '.' | '[') {
                break;
            }
            used += c.len_utf8();
            // A point inside of a name is written with a backslash.
            if c == '\\' {
                let escaped = chars.next()?;
                used += escaped.len_utf8();
                name.push(escaped);
            } else {
                name.push(c);
            }
        }
        if name.is_empty() {
            return None;
        }
        steps.push(Step::Field(name));
        rest = body.get(used..)?;
    }
    Some(steps)
}

fn bracket(inner: &str) -> Option<Step> {
    if inner == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(inner) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = inner.strip_prefix("?(").and_then(|inner| inner.strip_suffix(')')) {
        let (field, wanted) = filter.split_once("==")?;
        let field = field.trim().strip_prefix("@.")?;
        let wanted = quoted(wanted.trim())?.to_owned();
        return Some(Step::Where(field.split('.').map(str::to_owned).collect(), wanted));
    }
    inner.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_indexes_and_filters_are_followed() {
        let object = json!({"status": {"conditions": [{"type": "A", "status": "True"},
            {"type": "B", "status": "False"}], "hosts": ["x", "y"], "a.b": 1}});
        for (path, wanted) in [
            (".status.conditions[?(@.type==\"B\")].status", json!(["False"])),
            (".status.hosts[0]", json!(["x"])),
            (".status.hosts[-1]", json!(["y"])),
            (".status.hosts[*]", json!(["x", "y"])),
            (".status.hosts", json!([["x", "y"]])),
            (".status.a\\.b", json!([1])),
            (".none.at.all", json!([])),
            (".status[", json!([])),
        ] {
            assert_eq!(json!(find(&object, path)), wanted, "{path}");
        }
    }
}
