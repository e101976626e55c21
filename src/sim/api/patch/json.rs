//! JSON patches (RFC 6902) with the liberties of the library that the API server uses: a `replace`
//! sets a field that is missing, and an index may be counted from the end. The crate that we use
//! elsewhere follows the RFC, so it is not used here.

use serde_json::Value;

/// What is wrong, for people who read logs.
type Wrong = String;

/// `object` with every operation carried out.
///
/// # Errors
/// The first operation that does not fit.
pub(super) fn apply(object: &Value, operations: &[Value]) -> Result<Value, Wrong> {
    let mut object = object.clone();
    for operation in operations {
        carry_out(&mut object, operation)?;
    }
    Ok(object)
}

fn carry_out(object: &mut Value, operation: &Value) -> Result<(), Wrong> {
    let text = |key: &str| operation.get(key).and_then(Value::as_str);
    let path = text("path").ok_or("an operation needs a path")?;
    let value = operation.get("value");
    match text("op").unwrap_or_default() {
        "add" => add(object, path, value.cloned().unwrap_or_default()),
        "remove" => take(object, path).map(drop),
        "replace" => replace(object, path, value.cloned().unwrap_or_default()),
        "move" => {
            let from = text("from").ok_or("move needs from")?;
            let value = take(object, from)?;
            add(object, path, value)
        }
        "copy" => {
            let from = text("from").ok_or("copy needs from")?;
            let value = get(object, from)?.cloned().unwrap_or_default();
            add(object, path, value)
        }
        "test" => {
            let found = get(object, path)?;
            let wanted = value.unwrap_or(&Value::Null);
            if found.unwrap_or(&Value::Null) == wanted {
                Ok(())
            } else {
                Err(format!("testing value {path} failed"))
            }
        }
        other => Err(format!("unexpected kind: {other}")),
    }
}

/// The container of a path, and its last step.
fn container<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Wrong> {
    let mut steps: Vec<String> = path.split('/').map(unescaped).collect();
    let last = steps.pop().unwrap_or_default();
    if steps.is_empty() {
        return Err(format!("doc is missing path: {path}"));
    }
    let mut place = object;
    for step in steps.iter().skip(1) {
        let next = match place {
            Value::Object(map) => map.get_mut(step),
            Value::Array(entries) => {
                index(step, entries.len()).ok().and_then(|idx| entries.get_mut(idx))
            }
            _ => None,
        };
        place = next.ok_or_else(|| format!("doc is missing path: {path}"))?;
    }
    if place.is_object() || place.is_array() {
        Ok((place, last))
    } else {
        Err(format!("doc is missing path: {path}"))
    }
}

fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The index of an entry; negative ones are counted from the end.
fn index(step: &str, len: usize) -> Result<usize, Wrong> {
    let number: i64 = step.parse().map_err(|_| format!("{step} is no index"))?;
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let number = if number < 0 { number + len } else { number };
    usize::try_from(number).map_err(|_| format!("unable to access invalid index: {step}"))
}

fn get<'a>(object: &'a mut Value, path: &str) -> Result<Option<&'a Value>, Wrong> {
    if path.is_empty() {
        return Ok(Some(object));
    }
    let (place, last) = container(object, path)?;
    match place {
        Value::Array(entries) => {
            let idx = index(&last, entries.len())?;
            entries.get(idx).map(Some).ok_or_else(|| format!("no entry {last}"))
        }
        place => Ok(place.get(&last)),
    }
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), Wrong> {
    let (place, last) = container(object, path)?;
    match place {
        Value::Array(entries) if last == "-" => entries.push(value),
        Value::Array(entries) => {
            let idx = index(&last, entries.len() + 1)?;
            if idx > entries.len() {
                return Err(format!("unable to access invalid index: {last}"));
            }
            entries.insert(idx, value);
        }
        Value::Object(map) => {
            map.insert(last, value);
        }
        _ => return Err(format!("doc is missing path: {path}")),
    }
    Ok(())
}

fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), Wrong> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    let (place, last) = container(object, path)?;
    match place {
        Value::Array(entries) => {
            let idx = index(&last, entries.len())?;
            let entry = entries.get_mut(idx).ok_or_else(|| format!("no entry {last}"))?;
            *entry = value;
        }
        Value::Object(map) => {
            map.insert(last, value);
        }
        _ => return Err(format!("doc is missing path: {path}")),
    }
    Ok(())
}

fn take(object: &mut Value, path: &str) -> Result<Value, Wrong> {
    let (place, last) = container(object, path)?;
    match place {
        Value::Array(entries) => {
            let idx = index(&last, entries.len())?;
            if idx < entries.len() {
                Ok(entries.remove(idx))
            } else {
                Err(format!("no entry {last}"))
            }
        }
        Value::Object(map) => {
            map.remove(&last).ok_or_else(|| format!("unable to remove nonexistent key: {last}"))
        }
        _ => Err(format!("doc is missing path: {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_are_carried_out_with_the_liberties_of_the_server() {
        let object = json!({"a": {"b": 1}, "l": [1, 2]});
        let patch = json!([
            {"op": "replace", "path": "/a/c", "value": 2}, {"op": "add", "path": "/l/-", "value": 3},
            {"op": "add", "path": "/l/0", "value": 0}, {"op": "remove", "path": "/l/-1"},
            {"op": "test", "path": "/a/none", "value": null},
            {"op": "move", "from": "/a/b", "path": "/d"},
        ]);
        let after = apply(&object, patch.as_array().unwrap()).unwrap();
        assert_eq!(after, json!({"a": {"c": 2}, "l": [0, 1, 2], "d": 1}));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let object = json!({"a": {"b": 1}, "l": [1]});
        for patch in [
            json!({"op": "remove", "path": "/a/c"}),
            json!({"op": "add", "path": "/x/y", "value": 1}),
            json!({"op": "add", "path": "/l/5", "value": 1}),
            json!({"op": "test", "path": "/a/b", "value": 2}),
            json!({"op": "jump", "path": "/a/b"}),
        ] {
            assert!(apply(&object, std::slice::from_ref(&patch)).is_err(), "{patch}");
        }
    }
}
