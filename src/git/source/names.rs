//! Names inside a repository: branches by the rules of `git-check-ref-format(1)`, and paths that
//! never leave it and never mean Git's own directory.

use std::fmt;

use super::{InvalidSource, check_length, cut};

/// The name of a branch, without `refs/heads/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchName(String);

impl BranchName {
    /// Parses a branch name by the rules of `git check-ref-format --branch`.
    ///
    /// # Errors
    /// [`InvalidSource::Branch`] with the broken rule.
    pub fn parse(text: &str) -> Result<Self, InvalidSource> {
        check_length("branch", text)?;
        match broken_branch_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(InvalidSource::Branch { branch: cut(text), reason }),
        }
    }

    /// The short name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name of the ref: `refs/heads/<branch>`.
    pub fn full_ref(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn broken_branch_rule(text: &str) -> Option<&'static str> {
    if text.starts_with('-') {
        return Some("it begins with `-`");
    }
    if text.starts_with("refs/") {
        return Some("write the short name, without `refs/heads/`");
    }
    if text == "HEAD" || text == "@" {
        return Some("it must name a branch");
    }
    if text.ends_with('.') {
        return Some("it ends with `.`");
    }
    if text.contains("..") || text.contains("@{") {
        return Some("it contains `..` or `@{`");
    }
    if text.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)) {
        return Some("it contains a blank, a control character or one of ~^:?*[\\");
    }
    let is_bad_part = |part: &str| {
        part.is_empty() || part.starts_with('.') || part.to_ascii_lowercase().ends_with(".lock")
    };
    if text.split('/').any(is_bad_part) {
        return Some("a part between slashes is empty, begins with `.` or ends with `.lock`");
    }
    None
}

/// A path inside a repository, relative to its root, with `/` between parts; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

impl RepoPath {
    /// The root of the repository.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Parses a path that a user or a repository names. `.`, a leading `./` and a trailing `/` are
    /// accepted and dropped.
    ///
    /// # Errors
    /// [`InvalidSource::Path`] with the broken rule.
    pub fn parse(text: &str) -> Result<Self, InvalidSource> {
        if text.is_empty() || text == "." || text == "./" {
            return Ok(Self::root());
        }
        check_length("path", text)?;
        let stripped = text.strip_prefix("./").unwrap_or(text);
        let stripped = stripped.strip_suffix('/').unwrap_or(stripped);
        match broken_path_rule(stripped) {
            None => Ok(Self(stripped.to_owned())),
            Some(reason) => Err(InvalidSource::Path { path: cut(text), reason }),
        }
    }

    /// The path that `relative` means when it is written in a file of the directory `self`: `..` and
    /// `.` are followed, but never out of the repository.
    ///
    /// # Errors
    /// [`InvalidSource::Path`] if it leaves the repository or is not a relative path.
    pub fn resolve(&self, relative: &str) -> Result<Self, InvalidSource> {
        let refuse = |reason| InvalidSource::Path { path: cut(relative), reason };
        if relative.starts_with('/') {
            return Err(refuse("it is absolute"));
        }
        let mut parts: Vec<&str> = self.0.split('/').filter(|part| !part.is_empty()).collect();
        for part in relative.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| refuse("it leaves the repository"))?;
                }
                name => parts.push(name),
            }
        }
        Self::parse(&parts.join("/"))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root of the repository.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last part; empty for the root.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// The directory that holds this path; the root for the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        self.0.rsplit_once('/').map_or_else(Self::root, |(parent, _)| Self(parent.to_owned()))
    }

    /// Whether this path is `directory` or lies below it.
    pub fn is_within(&self, directory: &Self) -> bool {
        directory.is_root()
            || self == directory
            || self.0.strip_prefix(&directory.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// This directory's child `name`.
    ///
    /// # Errors
    /// As [`RepoPath::parse`].
    pub fn join(&self, name: &str) -> Result<Self, InvalidSource> {
        if self.is_root() { Self::parse(name) } else { Self::parse(&format!("{}/{name}", self.0)) }
    }

    /// The parts between slashes.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

fn broken_path_rule(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.starts_with('-') {
        return Some("it begins with `-`");
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Some("it contains a backslash or a control character");
    }
    for part in path.split('/') {
        match part {
            "" => return Some("it has an empty part"),
            "." => return Some("it contains `.` as a part"),
            ".." => return Some("it contains `..`"),
            _ if is_git_directory(part) => return Some("it names Git's own directory"),
            _ => {}
        }
    }
    None
}

/// `.git` in any case, and the short name that it has on FAT and NTFS.
fn is_git_directory(part: &str) -> bool {
    part.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(".git")
        || part.eq_ignore_ascii_case("git~1")
}
