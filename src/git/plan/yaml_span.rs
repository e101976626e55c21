//! Edits of single values in YAML text that leave every other byte as it is.
//!
//! The text is parsed into nodes that know their place (`saphyr-parser` gives the marks). An edit
//! replaces the bytes of one scalar and is then proved: the new text is parsed again, and every
//! document must mean what it meant before, except for the one value. What cannot be proved is
//! refused; nothing is ever re-formatted, and no text is written that was not parsed back.

use std::{collections::BTreeMap, ops::Range, panic::catch_unwind};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::values::{FieldPath, Step, plain_scalar, same_json};

/// Deepest accepted nesting.
const MAX_DEPTH: usize = 64;
/// Most nodes of one file, with aliases expanded; stops texts that grow when they are expanded.
const MAX_NODES: usize = 100_000;

/// Why text cannot be read as manifests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not YAML.
    #[error("line {line}: {reason}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// YAML that no manifest needs, or that would cost too much.
    #[error("{0}")]
    Unsupported(&'static str),
}

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

/// How a node is written.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Scalar { style: ScalarStyle, text: String, value: Value },
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Alias(usize),
}

#[derive(Clone, Debug, PartialEq)]
struct Node {
    kind: Kind,
    /// Bytes in the text; exact for scalars only.
    span: Range<usize>,
    /// 0 when the node has no anchor.
    anchor: usize,
    is_tagged: bool,
}

/// One `---` document.
#[derive(Clone, Debug)]
struct Document {
    root: Node,
    value: Value,
}

/// YAML text whose nodes know their place.
#[derive(Clone, Debug)]
pub struct YamlText<'t> {
    text: &'t str,
    documents: Vec<Document>,
}

impl<'t> YamlText<'t> {
    /// Parses all documents of `text`.
    ///
    /// # Errors
    /// [`Unreadable`] for bad syntax and for what manifests must not hold: duplicate keys, keys
    /// that are not scalars, private tags, nesting or aliases without measure.
    pub fn parse(text: &'t str) -> Result<Self, Unreadable> {
        // The parser has internal assertions; a text that trips one is unreadable, nothing more.
        let documents = catch_unwind(|| parse_documents(text))
            .map_err(|_| Unreadable::Unsupported("the parser gave up on this text"))??;
        Ok(Self { text, documents })
    }

    /// The values of the documents, in order; an empty document is null.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.documents.iter().map(|document| &document.value)
    }

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

fn find<'n>(root: &'n Node, path: &FieldPath) -> Option<&'n Node> {
    path.0.iter().try_fold(root, |node, step| {
        // A value below an anchor is shared with its aliases.
        if node.anchor != 0 {
            return None;
        }
        match (&node.kind, step) {
            (Kind::Map(entries), Step::Key(key)) => {
                entries.iter().find(|(name, _)| key_of(name) == Some(key)).map(|(_, value)| value)
            }
            (Kind::List(items), Step::Index(at)) => items.get(*at),
            (Kind::Map(_) | Kind::List(_) | Kind::Scalar { .. } | Kind::Alias(_), _) => None,
        }
    })
}

fn key_of(node: &Node) -> Option<&String> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text),
        Kind::Map(_) | Kind::List(_) | Kind::Alias(_) => None,
    }
}

fn parse_documents(text: &str) -> Result<Vec<Document>, Unreadable> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let offsets = Offsets::new(body, text.len() - body.len());
    let mut parser = Parser::new_from_str(body);
    let mut builder = Builder::default();
    let mut documents = Vec::new();
    loop {
        let next = parser.next_event().ok_or(Unreadable::Unsupported("the text ends early"))?;
        let (event, span) = next.map_err(|error| Unreadable::Syntax {
            line: error.marker().line(),
            reason: error.info().to_owned(),
        })?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentEnd => documents.push(builder.finish()?),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => {}
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => builder.take(event, offsets.bytes(span))?,
        }
    }
}

/// From the parser's character counts to bytes.
struct Offsets {
    /// Byte of each character; `None` when all are one byte long.
    bytes: Option<Vec<usize>>,
    base: usize,
    len: usize,
}

impl Offsets {
    fn new(body: &str, base: usize) -> Self {
        let bytes = (!body.is_ascii()).then(|| body.char_indices().map(|(at, _)| at).collect());
        Self { bytes, base, len: body.len() }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.bytes {
            None => character,
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.len),
        };
        self.base + byte.min(self.len)
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }
}

/// An open map or list.
#[derive(Debug)]
enum Open {
    Map { done: Vec<(Node, Node)>, key: Option<Node>, anchor: usize, start: usize },
    List { done: Vec<Node>, anchor: usize, start: usize },
}

#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), Unreadable> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Unreadable::Unsupported("the file has too many values"));
        }
        if self.open.len() > MAX_DEPTH {
            return Err(Unreadable::Unsupported("the file is nested too deeply"));
        }
        let start = span.start;
        match event {
            Event::Alias(id) => {
                self.add(Node { kind: Kind::Alias(id), span, anchor: 0, is_tagged: false })
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (value, is_tagged) = scalar_value(&text, style, tag.as_deref())?;
                let kind = Kind::Scalar { style, text: text.into_owned(), value };
                self.add(Node { kind, span, anchor, is_tagged })
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_private_tag(tag.as_deref())?;
                self.open.push(Open::List { done: Vec::new(), anchor, start });
                Ok(())
            }
            Event::MappingStart(anchor, tag) => {
                refuse_private_tag(tag.as_deref())?;
                self.open.push(Open::Map { done: Vec::new(), key: None, anchor, start });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn add(&mut self, node: Node) -> Result<(), Unreadable> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { done, .. }) => done.push(node),
            Some(Open::Map { done, key, .. }) => match key.take() {
                Some(name) => done.push((name, node)),
                None if key_of(&node).is_none() => {
                    return Err(Unreadable::Unsupported("a key is not a single value"));
                }
                None => *key = Some(node),
            },
        }
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Unreadable> {
        let (kind, anchor, start) = match self.open.pop() {
            Some(Open::Map { done, anchor, start, .. }) => (Kind::Map(done), anchor, start),
            Some(Open::List { done, anchor, start }) => (Kind::List(done), anchor, start),
            None => {
                return Err(Unreadable::Unsupported("the parser closed what was not open"));
            }
        };
        self.add(Node { kind, span: start..end, anchor, is_tagged: false })
    }

    fn finish(&mut self) -> Result<Document, Unreadable> {
        self.nodes = 0;
        self.open.clear();
        let empty = || Node {
            kind: Kind::Scalar {
                style: ScalarStyle::Plain,
                text: String::new(),
                value: Value::Null,
            },
            span: 0..0,
            anchor: 0,
            is_tagged: false,
        };
        let root = self.root.take().unwrap_or_else(empty);
        let mut anchors = BTreeMap::new();
        let mut budget = MAX_NODES;
        let value = value_of(&root, &mut anchors, &mut budget)?;
        Ok(Document { root, value })
    }
}

fn refuse_private_tag(tag: Option<&Tag>) -> Result<(), Unreadable> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Unreadable::Unsupported("the file uses private YAML tags"))
        }
        _ => Ok(()),
    }
}

fn scalar_value(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<(Value, bool), Unreadable> {
    refuse_private_tag(tag)?;
    let value = match tag {
        Some(tag) if tag.suffix == "str" => Value::String(text.to_owned()),
        Some(tag) if matches!(tag.suffix.as_str(), "int" | "float" | "bool" | "null") => {
            plain_scalar(text)
        }
        Some(_) => return Err(Unreadable::Unsupported("the file uses an unusual YAML tag")),
        None if style == ScalarStyle::Plain => plain_scalar(text),
        None => Value::String(text.to_owned()),
    };
    Ok((value, tag.is_some()))
}

/// The meaning of a node, with aliases and merge keys followed.
fn value_of(
    node: &Node,
    anchors: &mut BTreeMap<usize, Value>,
    budget: &mut usize,
) -> Result<Value, Unreadable> {
    *budget = budget
        .checked_sub(1)
        .ok_or(Unreadable::Unsupported("the file has too many values behind its aliases"))?;
    let value = match &node.kind {
        Kind::Scalar { value, .. } => value.clone(),
        Kind::Alias(id) => {
            let value = anchors.get(id).cloned();
            let value = value.ok_or(Unreadable::Unsupported("an alias has no anchor before it"))?;
            *budget = budget.checked_sub(count(&value)).ok_or(Unreadable::Unsupported(
                "the file has too many values behind its aliases",
            ))?;
            value
        }
        Kind::List(items) => Value::Array(
            items.iter().map(|item| value_of(item, anchors, budget)).collect::<Result<_, _>>()?,
        ),
        Kind::Map(entries) => map_value(entries, anchors, budget)?,
    };
    if node.anchor != 0 {
        anchors.insert(node.anchor, value.clone());
    }
    Ok(value)
}

fn map_value(
    entries: &[(Node, Node)],
    anchors: &mut BTreeMap<usize, Value>,
    budget: &mut usize,
) -> Result<Value, Unreadable> {
    let mut map = Map::new();
    let mut merged = Vec::new();
    for (name, node) in entries {
        let value = value_of(node, anchors, budget)?;
        let Kind::Scalar { style, text, value: key } = &name.kind else {
            return Err(Unreadable::Unsupported("a key is not a single value"));
        };
        if text == "<<" && *style == ScalarStyle::Plain {
            merged.push(value);
            continue;
        }
        // Keys become strings in JSON: 1 is "1", yes is "true". Only texts that stay themselves are
        // taken, so that a key and its place in the text have one name.
        if !matches!(key, Value::String(key) if key == text) && key.to_string() != *text {
            return Err(Unreadable::Unsupported("a key is read as something else than its text"));
        }
        if map.insert(text.clone(), value).is_some() {
            return Err(Unreadable::Unsupported("a key occurs twice in one map"));
        }
    }
    for value in merged {
        let sources = match value {
            Value::Array(items) => items,
            other => vec![other],
        };
        for source in sources {
            let Value::Object(source) = source else {
                return Err(Unreadable::Unsupported("a merge key does not name a map"));
            };
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
        }
    }
    Ok(Value::Object(map))
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

#[cfg(test)]
#[path = "yaml_span_tests.rs"]
mod tests;
