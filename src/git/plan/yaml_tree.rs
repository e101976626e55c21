//! YAML text as nodes that know their place in it.
//!
//! `saphyr-parser` gives the events and their marks; this module makes nodes of them, and values as
//! Kubernetes reads them. It refuses what manifests must not hold, and must never bring the process
//! down or take memory without measure, whatever the text.

use std::{collections::BTreeMap, ops::Range, panic::catch_unwind};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::values::{FieldPath, Step, plain_scalar};

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

/// How a node is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Scalar { style: ScalarStyle, text: String, value: Value },
    Map(Vec<(Node, Node)>),
    List(Vec<Node>),
    Alias(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Bytes in the text; exact for scalars only.
    pub(super) span: Range<usize>,
    /// 0 when the node has no anchor.
    pub(super) anchor: usize,
    pub(super) is_tagged: bool,
}

/// One `---` document.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    value: Value,
}

/// YAML text whose nodes know their place.
#[derive(Clone, Debug)]
pub struct YamlText<'t> {
    pub(super) text: &'t str,
    pub(super) documents: Vec<Document>,
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
}

/// The node at a path, if it is written out there and not shared by an anchor above it.
pub(super) fn find<'n>(root: &'n Node, path: &FieldPath) -> Option<&'n Node> {
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
        let name = match key {
            Value::String(key) => key.clone(),
            other => other.to_string(),
        };
        if name != *text {
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
