//! How argument values stand in for `{{args.NAME}}`.
//!
//! A value that lands inside a quoted text of a query or condition is escaped, so it cannot leave
//! that text. A Secret's value is never put in: a Job's environment variable gets a reference.

use serde_json::{Map, Value};

use super::Problem;
use super::arguments::{ArgumentValue, ArgumentValues};

/// In which language a text with placeholders is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// None: the value is put in as it is.
    Plain,
    /// PromQL: texts in `"`, `'` or backticks, comments after `#`.
    Promql,
    /// Conditions: texts in `"`, `'` or backticks, comments after `//`.
    Condition,
}

/// Where in a text of some [`Language`] we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Bare,
    Quoted(char),
    Comment,
}

/// `text` with every `{{args.NAME}}` replaced.
///
/// # Errors
/// A sentence part that names the placeholder that cannot be replaced.
pub fn substituted(
    text: &str,
    values: &ArgumentValues,
    language: Language,
) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut place = Place::Bare;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        place = place_after(before, place, language);
        result.push_str(before);
        let (tag, tail) = after
            .split_once("}}")
            .ok_or_else(|| "has a placeholder {{ that is not closed with }}".to_owned())?;
        result.push_str(&escaped(tag_value(tag, values)?, place, language)?);
        rest = tail;
    }
    result.push_str(rest);
    Ok(result)
}

fn tag_value<'a>(tag: &str, values: &'a ArgumentValues) -> Result<&'a str, String> {
    let name = tag.trim().strip_prefix("args.").ok_or_else(|| {
        format!("has the unknown placeholder {{{{{tag}}}}}: write {{{{args.NAME}}}}")
    })?;
    match values.get(name) {
        Some(ArgumentValue::Text(value)) => Ok(value),
        Some(ArgumentValue::Secret(_)) => Err(format!(
            "uses the argument {name:?} from a Secret, which only the environment variable of a Job may do, as {{{{args.{name}}}}} and nothing else; give credentials of a metrics server to a MetricsSource and name it in source"
        )),
        None => Err(format!("uses the argument {name:?}, which is not given")),
    }
}

fn place_after(text: &str, mut place: Place, language: Language) -> Place {
    if language == Language::Plain {
        return Place::Bare;
    }
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        place = match place {
            Place::Comment if c == '\n' => Place::Bare,
            Place::Comment => Place::Comment,
            Place::Bare if matches!(c, '"' | '\'' | '`') => Place::Quoted(c),
            Place::Bare if language == Language::Promql && c == '#' => Place::Comment,
            Place::Bare
                if language == Language::Condition
                    && c == '/'
                    && characters.peek() == Some(&'/') =>
            {
                Place::Comment
            }
            Place::Bare => Place::Bare,
            Place::Quoted(quote) if c == quote => Place::Bare,
            Place::Quoted(quote) => {
                if c == '\\' && quote != '`' {
                    characters.next();
                }
                Place::Quoted(quote)
            }
        };
    }
    place
}

fn escaped(value: &str, place: Place, language: Language) -> Result<String, String> {
    let quote = match place {
        Place::Quoted(quote) => quote,
        Place::Comment if value.contains('\n') => {
            return Err("uses an argument with a line break inside a comment".to_owned());
        }
        Place::Bare | Place::Comment => return Ok(value.to_owned()),
    };
    if language == Language::Plain {
        return Ok(value.to_owned());
    }
    if quote == '`' {
        // A text in backticks knows no escapes.
        return if value.contains('`') {
            Err("uses an argument with a backtick inside a text in backticks".to_owned())
        } else {
            Ok(value.to_owned())
        };
    }
    let mut result = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            c if c == quote => {
                result.push('\\');
                result.push(c);
            }
            c => result.push(c),
        }
    }
    Ok(result)
}

/// Replaces the placeholders in every text of a JSON tree. `language_of` says in which language the
/// text at a path is.
pub(super) struct Substitution<'a> {
    pub values: &'a ArgumentValues,
    pub language_of: fn(&str) -> Language,
    /// Whether environment variables in this tree may refer to Secrets.
    pub permits_secret_env: fn(&str) -> bool,
    /// Leave arguments without value as they are (a template on its own is being checked).
    pub is_lenient: bool,
    pub problems: Vec<Problem>,
    /// Whether an argument from a Secret was put in.
    pub used_secret: bool,
}

impl Substitution<'_> {
    /// The tree at `path` with its placeholders replaced; problems are collected.
    pub(super) fn tree(&mut self, path: &str, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(path, text)),
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.tree(&format!("{path}[{index}]"), item))
                    .collect(),
            ),
            Value::Object(fields) => {
                self.secret_variable(path, fields).unwrap_or_else(|| self.object(path, fields))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn object(&mut self, path: &str, fields: &Map<String, Value>) -> Value {
        let mut result = Map::new();
        for (key, value) in fields {
            let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let key = if key.contains("{{") { self.text(&here, key) } else { key.clone() };
            let value = self.tree(&here, value);
            result.insert(key, value);
        }
        Value::Object(result)
    }

    fn text(&mut self, path: &str, text: &str) -> String {
        if !text.contains("{{") {
            return text.to_owned();
        }
        match substituted(text, self.values, (self.language_of)(path)) {
            Ok(text) => text,
            Err(_) if self.is_lenient && self.only_misses_values(text) => text.to_owned(),
            Err(problem) => {
                self.problems.push(Problem::new(path, problem));
                text.to_owned()
            }
        }
    }

    fn only_misses_values(&self, text: &str) -> bool {
        text.split("{{").skip(1).all(|part| {
            part.split_once("}}").is_some_and(|(tag, _)| {
                tag.trim().strip_prefix("args.").is_some_and(|name| {
                    !matches!(self.values.get(name), Some(ArgumentValue::Secret(_)))
                })
            })
        })
    }

    /// `{name: X, value: "{{args.secret}}"}` in an `env` list becomes a reference to the Secret.
    fn secret_variable(&mut self, path: &str, fields: &Map<String, Value>) -> Option<Value> {
        if !(self.permits_secret_env)(path) || fields.contains_key("valueFrom") {
            return None;
        }
        let text = fields.get("value")?.as_str()?;
        let name =
            text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("args.")?;
        let Some(ArgumentValue::Secret(secret)) = self.values.get(name) else {
            return None;
        };
        self.used_secret = true;
        let reference = serde_json::json!({
            "secretKeyRef": {"name": secret.name, "key": secret.key}
        });
        let mut fields = fields.clone();
        fields.remove("value");
        fields.insert("valueFrom".to_owned(), reference);
        Some(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(pairs: &[(&str, &str)]) -> ArgumentValues {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), ArgumentValue::Text((*v).to_owned()))).collect()
    }

    #[test]
    fn a_value_inside_a_label_matcher_cannot_leave_it() {
        let injected = values(&[("s", "x\"} or vector(0) #\\")]);
        let query =
            substituted("sum(rate(http{app=\"{{args.s}}\"}[5m]))", &injected, Language::Promql);
        assert_eq!(query.unwrap(), "sum(rate(http{app=\"x\\\"} or vector(0) #\\\\\"}[5m]))");
        let query =
            substituted("http{app='{{args.s}}'}", &values(&[("s", "a'b\"c")]), Language::Promql);
        assert_eq!(query.unwrap(), "http{app='a\\'b\"c'}");
        let error =
            substituted("http{app=`{{args.s}}`}", &values(&[("s", "a`b")]), Language::Promql);
        assert!(error.unwrap_err().contains("backtick"));
    }

    #[test]
    fn outside_of_quotes_a_value_stands_as_it_is() {
        let given = values(&[("window", "5m"), ("limit", "0.95")]);
        let query =
            substituted("rate(x{a=\"b\\\"{\"}[{{ args.window }}])", &given, Language::Promql);
        assert_eq!(query.unwrap(), "rate(x{a=\"b\\\"{\"}[5m])");
        let condition = substituted("result[0] >= {{args.limit}}", &given, Language::Condition);
        assert_eq!(condition.unwrap(), "result[0] >= 0.95");
    }

    #[test]
    fn a_quote_in_a_comment_does_not_open_a_text() {
        let given = values(&[("s", "\"q\"")]);
        let query = substituted("# don't\nup{a=\"{{args.s}}\"}", &given, Language::Promql).unwrap();
        assert_eq!(query, "# don't\nup{a=\"\\\"q\\\"\"}");
        let injected = values(&[("s", "x\nvector(1)")]);
        assert!(substituted("up # {{args.s}}", &injected, Language::Promql).is_err());
    }

    #[test]
    fn a_placeholder_without_value_is_named() {
        let none = ArgumentValues::new();
        for (text, part) in [
            ("{{args.service-name}}", "\"service-name\", which is not given"),
            ("{{arg.x}}", "unknown placeholder {{arg.x}}"),
            ("{{args.x", "not closed"),
        ] {
            let error = substituted(text, &none, Language::Plain).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_substituted_value_is_not_substituted_again() {
        let given = values(&[("a", "{{args.b}}"), ("b", "secret")]);
        assert_eq!(substituted("{{args.a}}", &given, Language::Plain).unwrap(), "{{args.b}}");
    }

    /// A minimal reader of PromQL texts: the content of the first text in double quotes.
    fn first_text(query: &str) -> Option<(String, &str)> {
        let (_, rest) = query.split_once('"')?;
        let mut content = String::new();
        let mut characters = rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => return Some((content, &rest[at + 1..])),
                '\\' => match characters.next()?.1 {
                    'n' => content.push('\n'),
                    'r' => content.push('\r'),
                    't' => content.push('\t'),
                    other => content.push(other),
                },
                c => content.push(c),
            }
        }
        None
    }

    proptest! {
        #[test]
        fn any_value_is_read_back_from_its_label_matcher(value in "(?s).{0,40}") {
            let given = values(&[("v", &value)]);
            let query = substituted("up{a=\"{{args.v}}\"} > 1", &given, Language::Promql).unwrap();
            let (content, rest) = first_text(&query).unwrap();
            prop_assert_eq!(content, value);
            prop_assert_eq!(rest, "} > 1");
        }

        #[test]
        fn no_text_makes_the_substitution_panic(text in "(?s).{0,60}") {
            for language in [Language::Plain, Language::Promql, Language::Condition] {
                let _ = substituted(&text, &values(&[("a", "b")]), language);
            }
        }
    }
}
