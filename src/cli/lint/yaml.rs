//! YAML (and so JSON) as a tree that knows the line of every key and item. Pure.
//!
//! Scalars are read as kubectl reads them (YAML 1.1, as in `sigs.k8s.io/yaml`): an unquoted `on` is
//! true there, `0644` is octal. What would be applied is what is checked.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use serde_json::{Map, Value};

use crate::git::plan::plain_scalar;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 100;
/// Most nodes of one file, aliases written out: an alias may stand for thousands.
const MAX_NODES: usize = 500_000;

/// A value and the line where it begins, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) struct Node {
    /// The line.
    pub(in crate::cli) line: usize,
    /// The value.
    pub(in crate::cli) content: Content,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cli) enum Content {
    /// A scalar: never a list or an object.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// An object, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Key {
    /// Its text.
    pub(in crate::cli) text: String,
    /// Its line.
    pub(in crate::cli) line: usize,
}

/// What cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Syntax {
    /// The line.
    pub(in crate::cli) line: usize,
    /// What is wrong.
    pub(in crate::cli) problem: String,
}

impl Node {
    /// The node as JSON.
    pub(in crate::cli) fn to_json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.clone(), node.to_json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// The value of a key.
    pub(in crate::cli) fn get(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(entries) => {
                entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
            }
            Content::Scalar(_) | Content::List(_) => None,
        }
    }

    /// The text of a key's value.
    pub(in crate::cli) fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.content {
            Content::Scalar(value) => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The line of a field such as `spec.steps[0].setWeight`; of its nearest ancestor where the
    /// field itself is missing.
    pub(in crate::cli) fn line_of(&self, path: &str) -> usize {
        let (mut node, mut line, mut rest) = (self, self.line, path);
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let step = match &node.content {
                Content::Map(entries) => key_step(entries, rest),
                Content::List(items) => item_step(items, rest),
                Content::Scalar(_) => None,
            };
            let Some((next, found, tail)) = step else { return line };
            (node, line, rest) = (next, found, tail);
        }
    }

    /// The line of a scalar with this text below the field `path`; the field's own line when there
    /// is none.
    pub(in crate::cli) fn line_of_text_below(&self, path: &str, text: &str) -> usize {
        self.below(path).and_then(|node| node.line_of_text(text)).unwrap_or(self.line_of(path))
    }

    fn below(&self, path: &str) -> Option<&Self> {
        let rest = path.strip_prefix('.').unwrap_or(path);
        if rest.is_empty() {
            return Some(self);
        }
        let (next, _, tail) = match &self.content {
            Content::Map(entries) => key_step(entries, rest)?,
            Content::List(items) => item_step(items, rest)?,
            Content::Scalar(_) => return None,
        };
        next.below(tail)
    }

    fn line_of_text(&self, text: &str) -> Option<usize> {
        match &self.content {
            Content::Scalar(value) => (value.as_str() == Some(text)).then_some(self.line),
            Content::List(items) => items.iter().find_map(|item| item.line_of_text(text)),
            Content::Map(entries) => entries.iter().find_map(|(_, node)| node.line_of_text(text)),
        }
    }
}

/// The longest key that the path begins with: keys may hold dots themselves.
fn key_step<'a, 'p>(
    entries: &'a [(Key, Node)],
    path: &'p str,
) -> Option<(&'a Node, usize, &'p str)> {
    entries
        .iter()
        .filter_map(|(key, node)| {
            let tail = path.strip_prefix(key.text.as_str())?;
            let is_whole = tail.is_empty() || tail.starts_with(['.', '[']);
            (is_whole && !key.text.is_empty()).then_some((node, key.line, tail))
        })
        .min_by_key(|(_, _, tail)| tail.len())
}

fn item_step<'a, 'p>(items: &'a [Node], path: &'p str) -> Option<(&'a Node, usize, &'p str)> {
    let (index, tail) = path.strip_prefix('[')?.split_once(']')?;
    let item = items.get(index.parse::<usize>().ok()?)?;
    Some((item, item.line, tail))
}

/// Every document of a text, and everything that cannot be read. After an unreadable document
/// reading goes on at the next `---`.
pub(in crate::cli) fn documents(text: &str) -> (Vec<Node>, Vec<Syntax>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let (mut rest, mut lines_before) = (text, 0usize);
    loop {
        let mut builder = Builder { lines_before, ..Builder::default() };
        let failed = builder.read(rest);
        found.append(&mut builder.done);
        problems.append(&mut builder.problems);
        let Err(error) = failed else { return (found, problems) };
        let line = error.marker().line().max(1);
        problems.push(Syntax { line: lines_before + line, problem: error.info().to_owned() });
        let Some((skipped, tail)) = next_document(rest, line) else { return (found, problems) };
        lines_before += skipped;
        rest = tail;
    }
}

/// The text from the first `---` after line `line` (from 1) on, and how many lines are before it.
fn next_document(text: &str, line: usize) -> Option<(usize, &str)> {
    let mut offset = 0;
    for (idx, content) in text.split_inclusive('\n').enumerate() {
        let is_marker = content
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if idx >= line && is_marker {
            return text.get(offset..).map(|tail| (idx, tail));
        }
        offset += content.len();
    }
    None
}

#[derive(Default)]
struct Builder {
    lines_before: usize,
    done: Vec<Node>,
    problems: Vec<Syntax>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

struct Frame {
    line: usize,
    anchor: usize,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

impl Builder {
    fn read(&mut self, text: &str) -> Result<(), ScanError> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event?;
            let line = self.lines_before + span.start.line();
            let at = |problem: &str| ScanError::new_str(span.start, problem);
            match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let is_text = tag
                        .as_ref()
                        .is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                    let is_plain = style == ScalarStyle::Plain && !is_text;
                    self.scalar(&text, is_plain, line, anchor);
                }
                Event::SequenceStart(anchor, _) => {
                    self.stack.push(Frame { line, anchor, open: Open::List(Vec::new()) });
                }
                Event::MappingStart(anchor, _) => {
                    let open = Open::Map { entries: Vec::new(), key: None };
                    self.stack.push(Frame { line, anchor, open });
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(),
                Event::Alias(anchor) => {
                    let Some(node) = self.anchors.get(&anchor).cloned() else {
                        return Err(at("the alias stands inside of what it names"));
                    };
                    self.nodes = self.nodes.saturating_add(size(&node));
                    self.place(Node { line, ..node }, None);
                }
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
            }
            if self.stack.len() > MAX_DEPTH {
                return Err(at("is nested too deeply"));
            }
            if self.nodes > MAX_NODES {
                return Err(at("is too large, with its aliases written out"));
            }
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, is_plain: bool, line: usize, anchor: usize) {
        let value = if is_plain { plain_scalar(text) } else { Value::String(text.to_owned()) };
        let node = Node { line, content: Content::Scalar(value) };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node, Some((text, is_plain)));
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let content = match frame.open {
            Open::List(items) => Content::List(items),
            Open::Map { entries, .. } => Content::Map(merged(entries)),
        };
        let node = Node { line: frame.line, content };
        if frame.anchor > 0 {
            self.anchors.insert(frame.anchor, node.clone());
        }
        self.place(node, None);
    }

    /// Puts a finished node where it belongs; `source` is a scalar's text and whether it is plain.
    fn place(&mut self, node: Node, source: Option<(&str, bool)>) {
        self.nodes = self.nodes.saturating_add(1);
        let Some(frame) = self.stack.last_mut() else {
            let is_empty = matches!(&node.content, Content::Scalar(Value::Null));
            if !is_empty {
                self.done.push(node);
            }
            return;
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map { entries, key } => {
                if let Some(key) = key.take() {
                    self.problems.extend(put(entries, key, node));
                } else {
                    let (found, problem) = as_key(&node, source);
                    self.problems.extend(problem);
                    *key = Some(found);
                }
            }
        }
    }
}

/// Adds an entry; what is wrong when the key is there already.
fn put(entries: &mut Vec<(Key, Node)>, key: Key, node: Node) -> Option<Syntax> {
    let known = entries.iter().find(|(known, _)| known.text == key.text && known.text != "<<");
    if let Some((first, _)) = known {
        let (text, first) = (&key.text, first.line);
        let problem = format!("the key {text:?} is given twice, first in line {first}");
        return Some(Syntax { line: key.line, problem });
    }
    entries.push((key, node));
    None
}

/// A node as a key, and what is wrong with it.
fn as_key(node: &Node, source: Option<(&str, bool)>) -> (Key, Option<Syntax>) {
    let text = source.map_or_else(|| node.to_json().to_string(), |(text, _)| text.to_owned());
    let is_truth = matches!(&node.content, Content::Scalar(Value::Bool(_)));
    let is_plain = source.is_some_and(|(_, is_plain)| is_plain);
    let problem = (is_truth && is_plain).then(|| Syntax {
        line: node.line,
        problem: format!(
            "kubectl reads the unquoted key {text} as a truth value: write \"{text}\" in quotes"
        ),
    });
    (Key { text, line: node.line }, problem)
}

fn size(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 1,
        Content::List(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Content::Map(entries) => {
            entries.iter().map(|(_, node)| size(node)).fold(1, usize::saturating_add)
        }
    }
}

/// Writes `<<` out: what the object says itself wins.
fn merged(entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    if !entries.iter().any(|(key, _)| key.text == "<<") {
        return entries;
    }
    let (merges, mut own): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, _)| key.text == "<<");
    for (_, node) in merges {
        let sources = match node.content {
            Content::List(items) => items,
            Content::Map(_) | Content::Scalar(_) => vec![node],
        };
        for source in sources {
            let Content::Map(entries) = source.content else { continue };
            for (key, node) in entries {
                if !own.iter().any(|(known, _)| known.text == key.text) {
                    own.push((key, node));
                }
            }
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        let (nodes, problems) = documents(text);
        assert_eq!(problems, vec![]);
        nodes[0].to_json()
    }

    #[test]
    fn scalars_are_what_kubectl_makes_of_them() {
        let text = "a: on\nb: 'on'\nc: 0644\nd: 1_000\ne: 1.20\nf: v1.2\ng: ~\nh: -3\ni: 1e3\nj: \
                    0x1f\nk: 10:30\nl: 2026-08-17\nm: 08\no: !!str 5\n";
        assert_eq!(
            one(text),
            json!({"a": true, "b": "on", "c": 420, "d": 1000, "e": 1.2, "f": "v1.2", "g": null,
                "h": -3, "i": 1000.0, "j": 31, "k": "10:30", "l": "2026-08-17", "m": 8.0, "o": "5"})
        );
    }

    #[test]
    fn a_field_is_found_by_its_path_and_a_missing_one_by_its_parent() {
        let text = "spec:\n  steps:\n  - setWeight: 5\n  - pause:\n      duration: 1m\n  labels:\n    \
                    a.b/c: x\n";
        let (nodes, _) = documents(text);
        let line = |path| nodes[0].line_of(path);
        assert_eq!(line("spec.steps[0].setWeight"), 3);
        assert_eq!(line("spec.steps[1].pause.duration"), 5);
        assert_eq!(line("spec.steps[1].pause.no.such"), 4);
        assert_eq!(line("spec.labels.a.b/c"), 7);
        assert_eq!(line("spec.selector"), 1);
    }

    #[test]
    fn reading_goes_on_after_an_unreadable_document() {
        let text = "a: 1\n---\nb: [1, 2\nc: }\n---\nd: 4\n---\ne: \"x\n";
        let (nodes, problems) = documents(text);
        let found: Vec<Value> = nodes.iter().map(Node::to_json).collect();
        assert_eq!(found, [json!({"a": 1}), json!({"d": 4})]);
        assert_eq!(nodes[1].line, 6);
        assert_eq!(problems.len(), 2);
        assert!((3..=4).contains(&problems[0].line), "{problems:?}");
    }

    #[test]
    fn a_key_that_is_given_twice_is_told_with_both_lines() {
        let (_, problems) = documents("a: 1\nb: 2\na: 3\n");
        assert_eq!(problems[0].line, 3);
        assert_eq!(problems[0].problem, "the key \"a\" is given twice, first in line 1");
    }

    #[test]
    fn an_unquoted_key_that_kubectl_reads_as_a_truth_value_is_told() {
        let (nodes, problems) = documents("on: [x]\n");
        assert_eq!(nodes[0].to_json(), json!({"on": ["x"]}));
        assert!(problems[0].problem.contains("write \"on\" in quotes"), "{problems:?}");
        assert_eq!(documents("\"on\": [x]\n").1, vec![]);
    }

    #[test]
    fn anchors_and_merges_are_written_out() {
        let text = "base: &b {x: 1, z: 2}\nuse:\n  <<: *b\n  z: 3\nagain: *b\n";
        let expected = json!({"base": {"x": 1, "z": 2}, "use": {"z": 3, "x": 1},
            "again": {"x": 1, "z": 2}});
        assert_eq!(one(text), expected);
    }

    #[test]
    fn aliases_that_multiply_are_refused_and_not_written_out() {
        let lines = (1..12).map(|idx| {
            let items = vec![format!("*a{}", idx - 1); 10].join(", ");
            format!("a{idx}: &a{idx} [{items}]\n")
        });
        let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        let text: String = std::iter::once(first).chain(lines).collect();
        let (_, problems) = documents(&text);
        assert!(problems[0].problem.contains("too large"), "{problems:?}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let (_, problems) = documents(&"[".repeat(5000));
        assert!(!problems.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[-a-z0-9:{}\\[\\]&*!<'\"| \n#]{0,80}") {
            let _ = documents(&text);
        }
    }
}
