//! What was read of a repository: file names of whole trees, and the contents asked for so far.
//!
//! The planner is pure, and cannot know which files it needs before it has read some: a reader that
//! misses contents says so ([`Need`]), the caller fetches them and asks again. Files are known by
//! their content's id, so that equal files of three trees are fetched once and compared unread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::super::source::RepoPath;
use crate::revision::{Commit, InvalidCommit};

/// Largest file that is read or written, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The id of a file's content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(Commit);

impl BlobId {
    /// Parses a full object id.
    ///
    /// # Errors
    /// [`InvalidCommit`] for anything but 40 or 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, InvalidCommit> {
        Commit::parse(text).map(Self)
    }

    /// The full object id.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What an entry of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; its content is its target.
    Symlink,
    /// Another repository, by commit.
    Submodule,
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The id of its content.
    pub blob: BlobId,
}

/// The files of one commit. A tree may leave out files that cannot matter (by
/// [`Tree::is_relevant`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    commit: Commit,
    entries: BTreeMap<RepoPath, Entry>,
}

impl Tree {
    /// The tree of `commit`.
    pub fn new(commit: Commit, entries: BTreeMap<RepoPath, Entry>) -> Self {
        Self { commit, entries }
    }

    /// Whether an entry can matter to a Rollout declared below `path`: manifests anywhere (an
    /// overlay reaches other directories), anything below the path, and everything that is not a
    /// plain file.
    pub fn is_relevant(path: &RepoPath, entry: &RepoPath, kind: EntryKind) -> bool {
        kind == EntryKind::Symlink
            || kind == EntryKind::Submodule
            || entry.is_within(path)
            || is_manifest(entry)
            || is_kustomization(entry)
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// The file at `path`.
    pub fn entry(&self, path: &RepoPath) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// All files, by path.
    pub fn entries(&self) -> impl Iterator<Item = (&RepoPath, &Entry)> {
        self.entries.iter()
    }

    /// The files that differ between two trees, in one or the other or both.
    pub fn differing(&self, other: &Self) -> BTreeSet<RepoPath> {
        let one_way = |a: &Self, b: &Self| {
            a.entries
                .iter()
                .filter(|(path, entry)| b.entries.get(*path) != Some(entry))
                .map(|(path, _)| path.clone())
                .collect::<BTreeSet<_>>()
        };
        let mut all = one_way(self, other);
        all.append(&mut one_way(other, self));
        all
    }
}

/// Whether the name is one that tools apply as a manifest.
pub(super) fn is_manifest(path: &RepoPath) -> bool {
    let name = path.file_name();
    [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

/// Whether the name is one that kustomize looks for.
pub(super) fn is_kustomization(path: &RepoPath) -> bool {
    matches!(path.file_name(), "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}

/// Contents, by id.
#[derive(Clone, Debug, Default)]
pub struct Blobs(BTreeMap<BlobId, Blob>);

/// One content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// The bytes.
    Bytes(Arc<[u8]>),
    /// Larger than [`MAX_FILE_BYTES`]; not read.
    TooLarge,
}

impl Blobs {
    /// Adds contents.
    pub fn extend(&mut self, blobs: impl IntoIterator<Item = (BlobId, Blob)>) {
        self.0.extend(blobs);
    }

    /// The content with this id, if it was fetched.
    pub fn get(&self, id: &BlobId) -> Option<&Blob> {
        self.0.get(id)
    }
}

/// Contents without which the planner cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need(pub BTreeSet<BlobId>);

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileText<'a> {
    /// Text.
    Text(&'a str),
    /// No such file.
    Absent,
    /// A symlink, a submodule, a pointer of Git LFS, binary or too large.
    NotText(&'static str),
}

/// A tree with some files changed: what would be, if the changes were committed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    tree: &'a Tree,
    blobs: &'a Blobs,
    changes: Option<&'a BTreeMap<RepoPath, Option<Vec<u8>>>>,
}

impl<'a> View<'a> {
    /// The tree as it is.
    pub fn new(tree: &'a Tree, blobs: &'a Blobs) -> Self {
        Self { tree, blobs, changes: None }
    }

    /// The same tree with `changes` (`None` removes a file).
    #[must_use]
    pub fn with(self, changes: &'a BTreeMap<RepoPath, Option<Vec<u8>>>) -> Self {
        Self { changes: Some(changes), ..self }
    }

    /// The tree below the changes.
    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// Whether a file or link stands at `path`.
    pub fn exists(&self, path: &RepoPath) -> bool {
        match self.changes.and_then(|changes| changes.get(path)) {
            Some(change) => change.is_some(),
            None => self.tree.entry(path).is_some(),
        }
    }

    /// All files at or below `directory`.
    pub fn below(&self, directory: &RepoPath) -> Vec<RepoPath> {
        let added = self.changes.into_iter().flat_map(BTreeMap::keys);
        self.tree
            .entries
            .keys()
            .chain(added)
            .filter(|path| path.is_within(directory) && self.exists(path))
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Says which of `paths` still have to be fetched.
    ///
    /// # Errors
    /// [`Need`] with all of them at once.
    pub fn require<'p>(&self, paths: impl IntoIterator<Item = &'p RepoPath>) -> Result<(), Need> {
        let missing: BTreeSet<BlobId> = paths
            .into_iter()
            .filter(|path| !self.changes.is_some_and(|changes| changes.contains_key(*path)))
            .filter_map(|path| self.tree.entry(path))
            .filter(|entry| entry.kind != EntryKind::Submodule)
            .map(|entry| entry.blob.clone())
            .filter(|blob| self.blobs.get(blob).is_none())
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Need(missing)) }
    }

    /// The bytes at `path`: `None` when there are none to be had (absent, submodule, too large).
    ///
    /// # Errors
    /// [`Need`] when they were not fetched yet.
    pub fn bytes(&self, path: &RepoPath) -> Result<Option<&'a [u8]>, Need> {
        if let Some(change) = self.changes.and_then(|changes| changes.get(path)) {
            return Ok(change.as_deref());
        }
        self.require([path])?;
        let blob = self.tree.entry(path).and_then(|entry| self.blobs.get(&entry.blob));
        Ok(match blob {
            Some(Blob::Bytes(bytes)) => Some(bytes),
            Some(Blob::TooLarge) | None => None,
        })
    }

    /// The text at `path`.
    ///
    /// # Errors
    /// [`Need`] when it was not fetched yet.
    pub fn text(&self, path: &RepoPath) -> Result<FileText<'a>, Need> {
        if !self.exists(path) {
            return Ok(FileText::Absent);
        }
        match self.tree.entry(path).map(|entry| entry.kind) {
            Some(EntryKind::Symlink) => return Ok(FileText::NotText("a symbolic link")),
            Some(EntryKind::Submodule) => return Ok(FileText::NotText("a submodule")),
            Some(EntryKind::File | EntryKind::Executable) | None => {}
        }
        let Some(bytes) = self.bytes(path)? else {
            return Ok(FileText::NotText("larger than 1 MiB"));
        };
        Ok(match std::str::from_utf8(bytes) {
            Err(_) => FileText::NotText("binary"),
            Ok(text) if text.contains('\0') => FileText::NotText("binary"),
            Ok(text) if text.starts_with("version https://git-lfs.github.com/spec/") => {
                FileText::NotText("a pointer of Git LFS")
            }
            Ok(text) => FileText::Text(text),
        })
    }

    /// The content's identity at `path`, changed or not; equal exactly if the contents are.
    pub fn fingerprint(&self, path: &RepoPath) -> Option<Fingerprint<'a>> {
        match self.changes.and_then(|changes| changes.get(path)) {
            Some(change) => change.as_deref().map(Fingerprint::Bytes),
            None => self.tree.entry(path).map(|entry| match self.blobs.get(&entry.blob) {
                Some(Blob::Bytes(bytes)) => Fingerprint::Bytes(bytes),
                Some(Blob::TooLarge) | None => Fingerprint::Id(&entry.blob),
            }),
        }
    }
}

/// A content's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint<'a> {
    /// Not fetched: its id.
    Id(&'a BlobId),
    /// Its bytes.
    Bytes(&'a [u8]),
}

#[cfg(test)]
pub(crate) mod testing {
    //! Trees from literal text, for the tests of the planner.

    use super::*;

    /// A repository of several commits, written down as text.
    #[derive(Debug, Default)]
    pub(crate) struct Repo {
        pub(crate) blobs: Blobs,
    }

    impl Repo {
        pub(crate) fn blob(&mut self, bytes: &[u8]) -> BlobId {
            use sha2::{Digest as _, Sha256};
            let id = BlobId::parse(&crate::revision::hex(&Sha256::digest(bytes))).unwrap();
            self.blobs.extend([(id.clone(), Blob::Bytes(bytes.into()))]);
            id
        }

        pub(crate) fn tree(&mut self, commit: char, files: &[(&str, &str)]) -> Tree {
            let entries = files
                .iter()
                .map(|(path, text)| {
                    let (kind, text) = match text.strip_prefix("SYMLINK ") {
                        Some(target) => (EntryKind::Symlink, target),
                        None if *text == "SUBMODULE" => (EntryKind::Submodule, *text),
                        None => (EntryKind::File, *text),
                    };
                    let blob = self.blob(text.as_bytes());
                    (RepoPath::parse(path).unwrap(), Entry { kind, blob })
                })
                .collect();
            Tree::new(Commit::parse(&commit.to_string().repeat(40)).unwrap(), entries)
        }
    }
}
