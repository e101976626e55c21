//! Edits of single values in YAML text that leave every other byte as it is.
//!
//! An edit replaces the bytes of one scalar and is then proved: the new text is parsed again, and
//! every document must mean what it meant before, except for the one value. What cannot be proved
//! is refused; nothing is ever re-formatted, and no text is written that was not parsed back.

use std::ops::Range;

use saphyr_parser::ScalarStyle;
use serde_json::Value;

use super::{
    values::{FieldPath, same_json},
    yaml_tree::{Kind, Node, Unreadable, YamlText, find},
};

/// Why one value is not changed in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditRefused {
    /// The text cannot be read.
    #[error("the text is not readable YAML")]
    Unreadable(#[from] Unreadable),
    /// The document has no such value, or has it only by an alias or a merge key.
    #[error("`{0}` is not written out in this document")]
    NotFound(String),
    /// The value is shared by an anchor, tagged, a block or spread over several lines.
    #[error("`{path}` is {form}, which is not edited in place")]
    Form {
        /// The value.
        path: String,
        /// How it is written.
        form: &'static str,
    },
    /// The value is not the one that was to be replaced.
    #[error("`{0}` holds another value than expected")]
    OtherValue(String),
    /// No way of writing the new value was read back as meant.
    #[error("no way of writing `{0}` keeps the rest of the file")]
    NotProvable(String),
}

impl<'t> YamlText<'t> {
    /// How a scalar is written, with its quotes, if it stands on one line without anchor and tag.
    pub fn scalar_text(&self, document: usize, path: &FieldPath) -> Option<&'t str> {
        let node = find(&self.documents.get(document)?.root, path)?;
        match editable_span(self.text, node) {
            Ok(span) => self.text.get(span),
            Err(_) => None,
        }
    }
}

/// One value to be changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// Which document of the text, from 0.
    pub document: usize,
    /// Which value.
    pub path: FieldPath,
    /// What stands there.
    pub from: Value,
    /// What is to stand there.
    pub to: Value,
    /// How the new value was written elsewhere (with quotes), to be preferred.
    pub written_as: Option<String>,
}

/// The text with all `edits` made, and nothing else changed.
///
/// # Errors
/// [`EditRefused`] for the first edit that cannot be made and proved.
pub fn edit(text: &str, edits: &[Edit]) -> Result<String, EditRefused> {
    let mut current = text.to_owned();
    for one in edits {
        current = edit_one(&current, one)?;
    }
    Ok(current)
}

fn edit_one(text: &str, edit: &Edit) -> Result<String, EditRefused> {
    let name = edit.path.to_string();
    let parsed = YamlText::parse(text)?;
    let document =
        parsed.documents.get(edit.document).ok_or(EditRefused::NotFound(name.clone()))?;
    let node = find(&document.root, &edit.path).ok_or(EditRefused::NotFound(name.clone()))?;
    let span =
        editable_span(text, node).map_err(|form| EditRefused::Form { path: name.clone(), form })?;
    let Kind::Scalar { style, value, .. } = &node.kind else {
        return Err(EditRefused::Form { path: name, form: "not a single value" });
    };
    if !same_json(value, &edit.from) {
        return Err(EditRefused::OtherValue(name));
    }
    let mut wanted: Vec<Value> = parsed.values().cloned().collect();
    let slot = wanted.get_mut(edit.document).and_then(|value| edit.path.find_mut(value));
    *slot.ok_or(EditRefused::NotFound(name.clone()))? = edit.to.clone();
    for written in candidates(edit, *style) {
        let (Some(head), Some(tail)) = (text.get(..span.start), text.get(span.end..)) else {
            break;
        };
        let changed = format!("{head}{written}{tail}");
        let is_proved = YamlText::parse(&changed).is_ok_and(|after| {
            after.documents.len() == wanted.len()
                && after.values().zip(&wanted).all(|(is, should)| is == should)
        });
        if is_proved {
            return Ok(changed);
        }
    }
    Err(EditRefused::NotProvable(name))
}

/// Ways of writing the new value, the most faithful first.
fn candidates(edit: &Edit, style: ScalarStyle) -> Vec<String> {
    let mut ways: Vec<String> = edit.written_as.iter().cloned().collect();
    match &edit.to {
        Value::String(text) => {
            match style {
                ScalarStyle::Plain => ways.push(text.clone()),
                ScalarStyle::SingleQuoted => ways.push(format!("'{}'", text.replace('\'', "''"))),
                ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => {}
            }
            ways.push(double_quoted(text));
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => ways.push(other.to_string()),
    }
    // A line break in a value would be folded or would end the value.
    ways.retain(|way| !way.contains(['\n', '\r']));
    ways
}

/// JSON's escapes are a subset of YAML's.
fn double_quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// The bytes of a scalar, if they are sure to be the scalar and nothing else.
fn editable_span(text: &str, node: &Node) -> Result<Range<usize>, &'static str> {
    if node.anchor != 0 {
        return Err("shared by an anchor");
    }
    if node.is_tagged {
        return Err("tagged");
    }
    let (style, value) = match &node.kind {
        Kind::Scalar { style, text, .. } => (*style, text),
        Kind::Alias(_) => return Err("an alias"),
        Kind::Map(_) | Kind::List(_) => return Err("not a single value"),
    };
    let raw = text.get(node.span.clone()).ok_or("not found in the text")?;
    // The parser's mark of a quoted value may lie behind blanks and comments; the closing quote is
    // looked for here.
    let raw = match style {
        ScalarStyle::Plain => raw,
        ScalarStyle::SingleQuoted => quoted_part(raw, '\'').ok_or("not found in the text")?,
        ScalarStyle::DoubleQuoted => quoted_part(raw, '"').ok_or("not found in the text")?,
        ScalarStyle::Literal | ScalarStyle::Folded => return Err("a block of text"),
    };
    if raw.contains(['\n', '\r']) {
        return Err("spread over several lines");
    }
    if style == ScalarStyle::Plain && (raw != value || raw.is_empty()) {
        return Err("not found in the text");
    }
    Ok(node.span.start..node.span.start + raw.len())
}

/// The beginning of `raw` from its opening quote to the closing one.
fn quoted_part(raw: &str, quote: char) -> Option<&str> {
    let mut letters = raw.char_indices().peekable();
    if letters.next()?.1 != quote {
        return None;
    }
    while let Some((at, letter)) = letters.next() {
        if quote == '"' && letter == '\\' {
            letters.next();
        } else if letter == quote {
            let is_doubled =
                quote == '\'' && letters.peek().is_some_and(|(_, next)| *next == quote);
            if !is_doubled {
                return raw.get(..at + quote.len_utf8());
            }
            letters.next();
        }
    }
    None
}

#[cfg(test)]
#[path = "yaml_span_tests.rs"]
mod tests;
