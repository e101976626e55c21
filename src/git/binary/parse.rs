//! Git's plumbing output as values. What does not have the documented form is left out or refused,
//! never guessed. Sources: `git-ls-tree(1)`, `git-cat-file(1)`, `git-mktree(1)`.

use std::collections::BTreeMap;

use super::super::{
    backend::GitError,
    plan::{BlobId, Entry, EntryKind, HistoryEntry, Tree},
    source::{BranchName, RepoPath},
};
use crate::revision::Commit;

/// Whether `git --version` says 2.39 or later.
pub(super) fn is_recent_version(text: &str) -> bool {
    let mut numbers = text
        .trim_start_matches("git version ")
        .split(['.', ' ', '\n'])
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 39)
}

/// The branch in `ls-remote --symref`: `ref: refs/heads/<branch> TAB HEAD`.
pub(super) fn default_branch(output: &[u8]) -> Option<BranchName> {
    let text = std::str::from_utf8(output).ok()?;
    let line = text.lines().find_map(|line| line.strip_suffix("\tHEAD"))?;
    BranchName::parse(line.strip_prefix("ref: refs/heads/")?).ok()
}

/// One entry of a directory: `<mode> <type> <id> TAB <name> NUL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeLine {
    mode: String,
    kind: String,
    id: String,
    pub(super) name: Vec<u8>,
}

impl TreeLine {
    /// A file in the place of `old`, whose mode it keeps.
    pub(super) fn file(name: &[u8], blob: &BlobId, old: Option<&Self>) -> Result<Self, GitError> {
        let mode = match old.map(|old| old.mode.as_str()) {
            None | Some("100644") => "100644",
            Some("100755") => "100755",
            Some(_) => return Err(unexpected("mktree", "a path is not a plain file")),
        };
        Ok(Self {
            mode: mode.to_owned(),
            kind: "blob".to_owned(),
            id: blob.as_str().to_owned(),
            name: name.to_vec(),
        })
    }

    /// A directory.
    pub(super) fn tree(name: &[u8], tree: &BlobId) -> Self {
        Self {
            mode: "040000".to_owned(),
            kind: "tree".to_owned(),
            id: tree.as_str().to_owned(),
            name: name.to_vec(),
        }
    }

    /// The id of a directory.
    pub(super) fn directory(&self) -> Result<String, GitError> {
        if self.kind == "tree" {
            Ok(self.id.clone())
        } else {
            Err(unexpected("mktree", "a path leads through something that is not a directory"))
        }
    }

    /// The entry as `mktree` reads it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} {}\t", self.mode, self.kind, self.id).into_bytes();
        bytes.extend(&self.name);
        bytes.push(0);
        bytes
    }
}

/// The entries of `ls-tree -z`.
pub(super) fn tree_lines(output: &[u8]) -> impl Iterator<Item = TreeLine> {
    output.split(|byte| *byte == 0).filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let (facts, name) = line.split_at_checked(tab)?;
        let mut facts = std::str::from_utf8(facts).ok()?.split(' ');
        let mut next = || facts.next().map(str::to_owned);
        let (mode, kind, id) = (next()?, next()?, next()?);
        Some(TreeLine { mode, kind, id, name: name.get(1..)?.to_vec() })
    })
}

/// The files of `ls-tree -r -z`. Names that are not paths to us (not UTF-8, `.git`) are left out:
/// nothing there is ever read or written.
pub(super) fn files(output: &[u8]) -> BTreeMap<RepoPath, Entry> {
    tree_lines(output)
        .filter_map(|line| {
            let kind = match line.mode.as_str() {
                "100644" => EntryKind::File,
                "100755" => EntryKind::Executable,
                "120000" => EntryKind::Symlink,
                "160000" => EntryKind::Submodule,
                _ => return None,
            };
            let name = RepoPath::parse(std::str::from_utf8(&line.name).ok()?).ok()?;
            let blob = BlobId::parse(&line.id).ok()?;
            Some((name, Entry { kind, blob }))
        })
        .collect()
}

/// Those of them that can matter below `path`.
pub(super) fn entries(output: &[u8], path: &RepoPath) -> BTreeMap<RepoPath, Entry> {
    let mut entries = files(output);
    entries.retain(|name, entry| Tree::is_relevant(path, name, entry.kind));
    entries
}

/// `cat-file --batch-check`: `<id> <type> <size>` or `<id> missing`.
pub(super) fn sizes(output: &[u8]) -> BTreeMap<BlobId, Option<usize>> {
    String::from_utf8_lossy(output)
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let id = BlobId::parse(words.next()?).ok()?;
            let size = match words.next()? {
                "blob" => Some(words.next()?.parse().ok()?),
                _ => None,
            };
            Some((id, size))
        })
        .collect()
}

/// `cat-file --batch`: `<id> blob <size> LF <content> LF`.
pub(super) fn contents(output: &[u8]) -> BTreeMap<BlobId, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest = output;
    while let Some((id, content, after)) = next_content(rest) {
        found.insert(id, content.to_vec());
        rest = after;
    }
    found
}

fn next_content(output: &[u8]) -> Option<(BlobId, &[u8], &[u8])> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(output.get(..end)?).ok()?;
    let mut words = header.split(' ');
    let id = BlobId::parse(words.next()?).ok()?;
    if words.next()? != "blob" {
        return None;
    }
    let size: usize = words.next()?.parse().ok()?;
    let start = end + 1;
    let stop = start.checked_add(size)?;
    Some((id, output.get(start..stop)?, output.get(stop + 1..)?))
}

/// `log -z --format=%H%n%B`.
pub(super) fn history(output: &[u8]) -> Vec<HistoryEntry> {
    output
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let text = String::from_utf8_lossy(entry);
            let (id, message) = text.trim_start().split_once('\n')?;
            Some(HistoryEntry { commit: Commit::parse(id).ok()?, message: message.to_owned() })
        })
        .collect()
}

/// The one id that a storing command prints.
pub(super) fn object_id(operation: &'static str, output: &[u8]) -> Result<BlobId, GitError> {
    let text = std::str::from_utf8(output).unwrap_or_default().trim();
    BlobId::parse(text).map_err(|error| unexpected(operation, &error.to_string()))
}

fn unexpected(operation: &'static str, detail: &str) -> GitError {
    GitError::Unexpected { operation, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_branch_is_read_only_where_the_server_names_one() {
        let named = |text: &str| default_branch(text.as_bytes()).map(|branch| branch.to_string());
        let sha = "a".repeat(40);
        let answer = format!("ref: refs/heads/release/1\tHEAD\n{sha}\tHEAD\n");
        assert_eq!(named(&answer).as_deref(), Some("release/1"));
        for other in [format!("{sha}\tHEAD\n"), String::new(), "ref: refs/tags/v1\tHEAD\n".into()] {
            assert_eq!(named(&other), None, "{other}");
        }
    }

    #[test]
    fn versions_from_2_39_on_are_recent() {
        for (text, is) in [
            ("git version 2.39.5\n", true),
            ("git version 2.47.1.windows.1", true),
            ("git version 3.0", true),
            ("git version 2.38.9", false),
            ("git version 1.99", false),
            ("something else", false),
        ] {
            assert_eq!(is_recent_version(text), is, "{text}");
        }
    }

    #[test]
    fn trees_are_read_with_any_name_and_written_back_alike() {
        let id = "a".repeat(40);
        let output =
            format!("100644 blob {id}\ta b.yaml\0040000 tree {id}\tdir\0120000 blob {id}\tl\0");
        let lines: Vec<TreeLine> = tree_lines(output.as_bytes()).collect();
        let back: Vec<u8> = lines.iter().flat_map(TreeLine::bytes).collect();
        assert_eq!(back, output.as_bytes());
        let names: Vec<_> = entries(output.as_bytes(), &RepoPath::root()).into_keys().collect();
        assert_eq!(names.iter().map(RepoPath::as_str).collect::<Vec<_>>(), ["a b.yaml", "l"]);
        assert!(TreeLine::file(b"l", &BlobId::parse(&id).unwrap(), lines.get(2)).is_err());
    }

    #[test]
    fn contents_with_line_breaks_and_missing_ones_are_told_apart() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let output = format!("{a} blob 4\nx\ny\n\n{b} blob 0\n\n");
        let found = contents(output.as_bytes());
        assert_eq!(found[&BlobId::parse(&a).unwrap()], b"x\ny\n");
        assert_eq!(found[&BlobId::parse(&b).unwrap()], b"");
        let sizes = sizes(format!("{a} blob 4\n{b} missing\n").as_bytes());
        assert_eq!(sizes.into_values().collect::<Vec<_>>(), [Some(4), None]);
        assert!(contents(format!("{a} blob 9\nshort").as_bytes()).is_empty());
    }
}
