//! Checks a manifest against the schema of its type: unknown fields, wrong types, unknown words,
//! missing fields, all at once and with their lines. What is wrong is left out of the result, so
//! that the rest can still be checked for its meaning. Pure.

use serde_json::{Map, Value};

use super::yaml::{Content, Node};

/// Something that does not fit the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Path of the field.
    pub(super) field: String,
    /// Its line.
    pub(super) line: usize,
    /// What is wrong with it.
    pub(super) problem: String,
    /// What may have been meant.
    pub(super) hint: Option<String>,
}

/// A JSON schema with its definitions, as `schemars` makes them.
pub(super) struct Schema {
    root: Value,
}

impl Schema {
    /// The schema of a type.
    pub(super) fn of<T: schemars::JsonSchema>() -> Self {
        Self { root: schemars::schema_for!(T).to_value() }
    }

    /// Checks `node`, whose path is `field`; what fits of it.
    pub(super) fn check(
        &self,
        node: &Node,
        field: &str,
        misfits: &mut Vec<Misfit>,
    ) -> Option<Value> {
        let mut walk = Walk { schema: self, misfits };
        walk.value(&self.root, node, field)
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(name) = schema.get("$ref").and_then(Value::as_str) else { return schema };
        name.strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer))
            .map_or(schema, |found| self.resolve(found))
    }
}

struct Walk<'a> {
    schema: &'a Schema,
    misfits: &'a mut Vec<Misfit>,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Value, node: &Node, field: &str) -> Option<Value> {
        let whole = self.schema;
        let schema = whole.resolve(schema);
        let is_null = matches!(&node.content, Content::Scalar(Value::Null));
        if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
            if is_null {
                return Some(Value::Null);
            }
            let choice = choices
                .iter()
                .find(|choice| choice.get("type").and_then(Value::as_str) != Some("null"));
            return choice
                .map_or_else(|| Some(node.to_json()), |choice| self.value(choice, node, field));
        }
        if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            return self.int_or_string(node, field);
        }
        if let Some(words) = words(schema) {
            return self.word(&words, node, field);
        }
        let types = types(schema);
        if is_null {
            // The API server drops a null; a field that is required is told by its parent.
            return types.contains(&"null").then_some(Value::Null);
        }
        if types.is_empty() {
            return Some(node.to_json());
        }
        match &node.content {
            Content::Map(_) if types.contains(&"object") => self.object(schema, node, field),
            Content::List(items) if types.contains(&"array") => {
                let item_schema = schema.get("items").unwrap_or(&Value::Bool(true));
                let checked = items.iter().enumerate().filter_map(|(idx, item)| {
                    self.value(item_schema, item, &format!("{field}[{idx}]"))
                });
                Some(Value::Array(checked.collect()))
            }
            Content::Scalar(value) if fits(value, &types) => {
                self.bounded(schema, value, node, field)
            }
            Content::Scalar(_) | Content::List(_) | Content::Map(_) => {
                self.mistyped(&types, node, field)
            }
        }
    }

    fn object(&mut self, schema: &Value, node: &Node, field: &str) -> Option<Value> {
        let Content::Map(entries) = &node.content else { return None };
        if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
            return Some(node.to_json());
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties");
        let mut checked = Map::new();
        for (key, value) in entries {
            let path =
                if field.is_empty() { key.text.clone() } else { format!("{field}.{}", key.text) };
            let known = properties.and_then(|properties| properties.get(&key.text));
            let Some(expected) = known.or(additional.filter(|schema| schema.is_object())) else {
                let names = properties.into_iter().flat_map(Map::keys);
                self.misfits.push(Misfit {
                    field: path,
                    line: key.line,
                    problem: "unknown field".to_owned(),
                    hint: nearest(&key.text, names).map(|name| format!("did you mean {name}?")),
                });
                continue;
            };
            if let Some(value) = self.value(expected, value, &path) {
                checked.insert(key.text.clone(), value);
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if node.get(name).is_none() {
                self.misfits.push(Misfit {
                    field: format!("{field}.{name}"),
                    line: node.line,
                    problem: "is required".to_owned(),
                    hint: None,
                });
            }
        }
        Some(Value::Object(checked))
    }

    fn int_or_string(&mut self, node: &Node, field: &str) -> Option<Value> {
        match &node.content {
            Content::Scalar(value) if value.is_i64() || value.is_string() || value.is_null() => {
                Some(value.clone())
            }
            Content::Scalar(_) | Content::List(_) | Content::Map(_) => {
                self.mistyped(&["integer", "string"], node, field)
            }
        }
    }

    fn word(&mut self, words: &[&str], node: &Node, field: &str) -> Option<Value> {
        if let Content::Scalar(value) = &node.content
            && value.as_str().is_some_and(|text| words.contains(&text))
        {
            return Some(value.clone());
        }
        let given = describe(node);
        let text = match &node.content {
            Content::Scalar(Value::String(text)) => text.as_str(),
            Content::Scalar(_) | Content::List(_) | Content::Map(_) => "",
        };
        let hint = nearest(text, words.iter()).map(|word| format!("did you mean {word}?"));
        let is_truth = matches!(&node.content, Content::Scalar(Value::Bool(_)));
        let read_as_truth = "kubectl reads an unquoted off, no, on or yes as a truth value";
        let hint = hint.or(is_truth.then(|| read_as_truth.to_owned()));
        self.misfit(node, field, format!("is {given}, not one of {}", words.join(", ")), hint)
    }

    fn bounded(
        &mut self,
        schema: &Value,
        value: &Value,
        node: &Node,
        field: &str,
    ) -> Option<Value> {
        let Some(number) = value.as_i64() else { return Some(value.clone()) };
        let format = schema.get("format").and_then(Value::as_str);
        let (least, most) = match format {
            Some("uint32") => (0, i64::from(u32::MAX)),
            Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
            Some("uint64") => (0, i64::MAX),
            Some(_) | None => (i64::MIN, i64::MAX),
        };
        if number < least {
            return self.misfit(
                node,
                field,
                format!("must be at least {least}, but is {number}"),
                None,
            );
        }
        if number > most {
            return self.misfit(
                node,
                field,
                format!("must be at most {most}, but is {number}"),
                None,
            );
        }
        Some(value.clone())
    }

    fn mistyped(&mut self, types: &[&str], node: &Node, field: &str) -> Option<Value> {
        let wanted: Vec<&str> = types
            .iter()
            .filter_map(|name| match *name {
                "string" => Some("a text"),
                "integer" => Some("a whole number"),
                "number" => Some("a number"),
                "boolean" => Some("true or false"),
                "array" => Some("a list"),
                "object" => Some("an object"),
                _ => None,
            })
            .collect();
        let is_scalar = matches!(&node.content, Content::Scalar(_));
        let hint = (types.contains(&"string") && is_scalar)
            .then(|| "write it in quotes to make it a text".to_owned());
        let problem = format!("is {}, but must be {}", describe(node), wanted.join(" or "));
        self.misfit(node, field, problem, hint)
    }

    fn misfit(
        &mut self,
        node: &Node,
        field: &str,
        problem: String,
        hint: Option<String>,
    ) -> Option<Value> {
        self.misfits.push(Misfit { field: field.to_owned(), line: node.line, problem, hint });
        None
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    }
}

/// The words of an enumeration.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(words.iter().filter_map(Value::as_str).collect());
    }
    let mut words = Vec::new();
    for choice in schema.get("oneOf")?.as_array()? {
        if let Some(word) = choice.get("const").and_then(Value::as_str) {
            words.push(word);
        }
        let several = choice.get("enum").and_then(Value::as_array).into_iter().flatten();
        words.extend(several.filter_map(Value::as_str));
    }
    Some(words)
}

fn fits(value: &Value, types: &[&str]) -> bool {
    let name = match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Null => "null",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    types.contains(&name) || (name == "integer" && types.contains(&"number"))
}

/// A node in a few words.
fn describe(node: &Node) -> String {
    match &node.content {
        Content::Scalar(Value::String(text)) => {
            let cut: String = text.chars().take(40).collect();
            format!("the text {cut:?}")
        }
        Content::Scalar(Value::Null) => "empty".to_owned(),
        Content::Scalar(value) => value.to_string(),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "an object".to_owned(),
    }
}

/// The name that differs least from `given`, when it differs little.
pub(in crate::cli) fn nearest<'a>(
    given: &str,
    names: impl Iterator<Item = impl AsRef<str> + 'a>,
) -> Option<String> {
    let given = given.to_lowercase();
    let length = given.chars().count();
    // Two letters that changed places are two changes.
    let limit = (length / 3).max(if length > 3 { 2 } else { 1 });
    names
        .map(|name| (distance(&given, &name.as_ref().to_lowercase()), name.as_ref().to_owned()))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Number of inserted, removed and changed characters between two texts (Levenshtein, 1965).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (idx, char_a) in a.chars().take(64).enumerate() {
        let mut next = vec![idx + 1];
        let mut left = idx + 1;
        for ((char_b, above), corner) in b.iter().zip(row.iter().skip(1)).zip(&row) {
            let changed = corner + usize::from(char_a != *char_b);
            left = changed.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::rollout::RolloutSpec;
    use crate::cli::lint::yaml::documents;
    use serde_json::json;

    fn check(text: &str) -> (Vec<String>, Option<Value>) {
        let (nodes, _) = documents(text);
        let mut misfits = Vec::new();
        let kept = Schema::of::<RolloutSpec>().check(&nodes[0], "spec", &mut misfits);
        let told = misfits
            .iter()
            .map(|misfit| {
                let hint = misfit.hint.clone().map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{} {} {}{hint}", misfit.line, misfit.field, misfit.problem)
            })
            .collect();
        (told, kept)
    }

    #[test]
    fn every_misfit_is_told_at_once_and_the_rest_is_kept() {
        let (told, kept) = check(
            "replicas: many\nstrategy:\n  canary:\n    maxsurge: 1\n    steps:\n    - setWeight: 5\n    \
             - pause: {duration: [1]}\n    trafficRouting:\n      istoi: {}\n      nginx: \
             {stableIngress: 7}\ngitRevert:\n  mode: push\nminReadySeconds: -1\n",
        );
        assert_eq!(
            told,
            [
                "1 spec.replicas is the text \"many\", but must be a whole number",
                "4 spec.strategy.canary.maxsurge unknown field (did you mean maxSurge?)",
                "7 spec.strategy.canary.steps[1].pause.duration is a list, but must be a whole \
                 number or a text",
                "9 spec.strategy.canary.trafficRouting.istoi unknown field (did you mean istio?)",
                "10 spec.strategy.canary.trafficRouting.nginx.stableIngress is 7, but must be a \
                 text (write it in quotes to make it a text)",
                "12 spec.gitRevert.mode is the text \"push\", not one of Disabled, \
                 Suggest, PullRequest, Push (did you mean Push?)",
                "13 spec.minReadySeconds must be at least 0, but is -1",
            ]
        );
        assert_eq!(
            kept.unwrap()["strategy"]["canary"]["steps"],
            json!([{"setWeight": 5}, {"pause": {}}])
        );
    }

    #[test]
    fn what_is_kept_as_written_is_not_looked_into() {
        let (told, kept) = check("template: {anything: [1, {x: z}]}\nstrategy: {}\n");
        assert_eq!(told, Vec::<String>::new());
        assert_eq!(kept.unwrap()["template"], json!({"anything": [1, {"x": "z"}]}));
    }

    #[test]
    fn a_missing_required_field_is_told_at_its_parent() {
        let (told, _) =
            check("strategy:\n  canary:\n    analysis:\n      templates:\n      - {}\n");
        assert_eq!(told, ["5 spec.strategy.canary.analysis.templates[0].templateName is required"]);
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [("kitten", "sitting", 3), ("", "ab", 2), ("same", "same", 0)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
