//! A Rust file as the rules see it: its module path, and its production code without comments,
//! texts and tests. Not a parser: it knows just enough to find paths, and errs towards finding too
//! many.

use std::path::{Path, PathBuf};

/// A file below `src/`.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Path of the module, such as `["traffic", "nginx"]`; empty for `lib.rs`.
    pub(crate) module: Vec<String>,
    /// The text as it is.
    pub(crate) text: String,
    /// Production code: comments, contents of texts, and items under `#[cfg(test)]` are blank.
    pub(crate) code: String,
}

impl Source {
    /// Reads a text as the file at `path`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = without_tests(&without_comments_and_texts(text));
        Self { path: path.to_owned(), module: module_of(path), text: text.to_owned(), code }
    }

    /// Lines of production code, with its comments.
    pub(crate) fn production_lines(&self) -> usize {
        let tests = test_items(&without_comments_and_texts(&self.text));
        let in_tests: usize =
            tests.iter().map(|(from, to)| self.text[*from..*to].lines().count()).sum();
        self.text.lines().count() - in_tests
    }

    /// Module paths (from the crate's root) that the production code names.
    pub(crate) fn imports(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        let rest = self.collect_use_trees(&mut found);
        self.collect_inline_paths(&rest, &mut found);
        found
    }

    /// Expands each `use`, and returns the code without them.
    fn collect_use_trees(&self, found: &mut Vec<Vec<String>>) -> String {
        let mut rest = String::new();
        let mut tail = self.code.as_str();
        while let Some((before, after)) = split_keyword(tail, "use") {
            rest.push_str(before);
            let (tree, after) = after.split_once(';').unwrap_or((after, ""));
            for path in expand(tree) {
                found.extend(self.resolve(&path));
            }
            tail = after;
        }
        rest.push_str(tail);
        rest
    }

    fn collect_inline_paths(&self, code: &str, found: &mut Vec<Vec<String>>) {
        for start in ["crate::", "super::", "self::", "sluice::"] {
            for (at, _) in code.match_indices(start) {
                let is_inside_word = code[..at].ends_with(|c: char| is_word(c) || c == ':');
                if !is_inside_word {
                    let end =
                        code[at..].find(|c| !is_word(c) && c != ':').unwrap_or(code.len() - at);
                    let path = code[at..at + end].trim_end_matches(':');
                    found.extend(self.resolve(path));
                }
            }
        }
    }

    /// A path from the crate's root; none for a path into another crate.
    fn resolve(&self, path: &str) -> Option<Vec<String>> {
        let mut segments = path.split("::").map(str::to_owned).peekable();
        let mut resolved = match segments.next()?.as_str() {
            "crate" | "sluice" => Vec::new(),
            "self" => self.module.clone(),
            "super" => {
                let mut module = self.module.clone();
                module.pop();
                while segments.next_if(|segment| segment == "super").is_some() {
                    module.pop();
                }
                module
            }
            _ => return None,
        };
        resolved.extend(segments);
        Some(resolved)
    }
}

/// Every Rust file of the library that is not a test as a whole.
pub(crate) fn production() -> Vec<Source> {
    drop_test_files(read_all("src"))
}

/// Every Rust file below `folder` of the repository.
pub(crate) fn read_all(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                files.push(Source::new(name, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Leaves out files whose module is declared under `#[cfg(test)]`: they are tests as a whole.
pub(crate) fn drop_test_files(files: Vec<Source>) -> Vec<Source> {
    let mut tests: Vec<Vec<String>> = Vec::new();
    for file in &files {
        let cleaned = without_comments_and_texts(&file.text);
        for (from, to) in test_items(&cleaned) {
            if let Some(name) = declared_module(&cleaned[from..to]) {
                tests.push([file.module.clone(), vec![name]].concat());
            }
            if let Some(path) = path_attribute(&file.text[from..to]) {
                let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                tests.push(module_of(&format!("{folder}/{path}")));
            }
        }
    }
    files.into_iter().filter(|file| !tests.iter().any(|t| file.module.starts_with(t))).collect()
}

/// The name in `mod name;`.
fn declared_module(item: &str) -> Option<String> {
    let (_, name) = item.strip_suffix(';')?.rsplit_once("mod ")?;
    Some(name.trim().to_owned())
}

/// The file in `#[path = "file.rs"]`.
fn path_attribute(item: &str) -> Option<&str> {
    item.split_once("#[path = \"")?.1.split('"').next()
}

fn module_of(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let inside = inside.trim_end_matches("/mod");
    match inside {
        "lib" => Vec::new(),
        _ => inside.split('/').map(str::to_owned).collect(),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits at the first `keyword` that stands alone.
fn split_keyword<'a>(code: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    code.match_indices(keyword).find_map(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + keyword.len()..]);
        let is_alone = !before.ends_with(is_word) && after.starts_with(char::is_whitespace);
        is_alone.then_some((before, after))
    })
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`; `a as b` as `a`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree).trim();
        return if path.is_empty() { vec![] } else { vec![path.to_owned()] };
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let mut branches = vec![String::new()];
    let mut depth = 0_i32;
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            branches.push(String::new());
        } else if let Some(branch) = branches.last_mut() {
            branch.push(c);
        }
    }
    let expanded = branches.iter().flat_map(|branch| expand(branch));
    expanded
        .map(|path| match path.as_str() {
            "self" => prefix.trim().trim_end_matches("::").to_owned(),
            path => format!("{}{path}", prefix.trim()),
        })
        .collect()
}

/// The text with blanks for comments and for what stands between quotes; line ends stay.
fn without_comments_and_texts(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| {
        what.chars().enumerate().all(|(idx, c)| bytes.get(at + idx) == Some(&c))
    };
    while at < bytes.len() {
        let end = if starts(at, "//") {
            (at..bytes.len()).find(|idx| bytes[*idx] == '\n').unwrap_or(bytes.len())
        } else if starts(at, "/*") {
            (at + 2..bytes.len()).find(|idx| starts(*idx, "*/")).map_or(bytes.len(), |idx| idx + 2)
        } else if let Some(end) = raw_text_end(&bytes, at) {
            end
        } else if bytes[at] == '"' {
            text_end(&bytes, at)
        } else if bytes[at] == '\'' && is_char_literal(&bytes, at) {
            char_end(&bytes, at)
        } else {
            code.push(bytes[at]);
            at += 1;
            continue;
        };
        // Blank, byte for byte, so that positions stay those of the text.
        for c in &bytes[at..end] {
            code.push_str(&if *c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) });
        }
        at = end;
    }
    code
}

fn text_end(text: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// End of `r"..."` or `r#"..."#`, if one begins here.
fn raw_text_end(text: &[char], from: usize) -> Option<usize> {
    let is_new_word = from == 0 || !is_word(text[from - 1]) || text[from - 1] == 'b';
    if text[from] != 'r' || !is_new_word {
        return None;
    }
    let hashes = text[from + 1..].iter().take_while(|c| **c == '#').count();
    if text.get(from + 1 + hashes) != Some(&'"') {
        return None;
    }
    let is_end = |idx: usize| {
        text[idx] == '"' && text[idx + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    let end = (from + 2 + hashes..text.len()).find(|idx| is_end(*idx));
    Some(end.map_or(text.len(), |idx| idx + 1 + hashes))
}

/// A character such as `'a'` or `'\n'`, and not a lifetime.
fn is_char_literal(text: &[char], at: usize) -> bool {
    text.get(at + 1) == Some(&'\\') || text.get(at + 2) == Some(&'\'')
}

fn char_end(text: &[char], from: usize) -> usize {
    let inside = if text.get(from + 1) == Some(&'\\') { from + 3 } else { from + 2 };
    let end = (inside..text.len()).find(|idx| text[*idx] == '\'');
    end.map_or(text.len(), |idx| idx + 1)
}

/// Where the items under `#[cfg(test)]` are, from the attribute to their end.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|at| at + from) {
        let end = item_end(code, at);
        items.push((at, end));
        from = end;
    }
    items
}

fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code[from..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return from + at + 1;
        }
    }
    code.len()
}

fn without_tests(code: &str) -> String {
    let mut blanked = code.to_owned();
    for (from, to) in test_items(code).into_iter().rev() {
        let lines: String = code[from..to].chars().filter(|c| *c == '\n').collect();
        blanked.replace_range(from..to, &lines);
    }
    blanked
}
