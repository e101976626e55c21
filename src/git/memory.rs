//! Git servers in memory, for simulation and tests: the same compare-and-swap, and faults that are
//! scripted instead of waited for. It must never touch a clock, a socket or a file.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest as _, Sha256};

use super::{
    backend::{GitBackend, GitError, GitResult, GitSession, NewCommit, Remote},
    message::trailer,
    plan::{Blob, BlobId, Entry, EntryKind, HistoryEntry, MAX_FILE_BYTES, Tree},
    revert_id::{REVERT_ID_TRAILER, RevertId},
    source::{BranchName, GitUrl, RepoPath},
};
use crate::revision::{Commit, hex};

/// Where a scripted fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// When a session is opened.
    Open,
    /// When a tip is fetched.
    FetchTip,
    /// When contents are fetched.
    Blobs,
    /// When a commit is pushed.
    Push,
}

/// What goes wrong, once.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The operation fails and does nothing.
    Fail(GitError),
    /// The push is done, but its answer is lost.
    LostReply,
    /// Somebody else's commit lands just before the push.
    Race(Files, String),
}

/// Contents by path; `None` removes a file.
pub type Files = BTreeMap<RepoPath, Option<Vec<u8>>>;

#[derive(Clone, Debug)]
struct Recorded {
    parent: Option<Commit>,
    files: BTreeMap<RepoPath, Vec<u8>>,
    message: String,
}

#[derive(Debug, Default)]
struct Repository {
    commits: BTreeMap<Commit, Recorded>,
    branches: BTreeMap<BranchName, Commit>,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<String, Repository>,
    faults: VecDeque<(Operation, Fault)>,
    pushes: u64,
}

/// Repositories in memory, shared by all clones of this value.
#[derive(Clone, Debug, Default)]
pub struct MemoryGit(Arc<Mutex<State>>);

impl MemoryGit {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a commit to a branch as another author would; makes the repository and the branch if
    /// they do not exist.
    pub fn commit(
        &self,
        url: &GitUrl,
        branch: &BranchName,
        files: &Files,
        message: &str,
    ) -> Commit {
        let mut state = self.state();
        let repository = state.repositories.entry(url.as_str().to_owned()).or_default();
        let parent = repository.branches.get(branch).cloned();
        let commit = repository.record(parent, files, message);
        repository.branches.insert(branch.clone(), commit.clone());
        commit
    }

    /// The tip of a branch.
    pub fn tip(&self, url: &GitUrl, branch: &BranchName) -> Option<Commit> {
        self.state().repositories.get(url.as_str())?.branches.get(branch).cloned()
    }

    /// A file at the tip of a branch.
    pub fn file(&self, url: &GitUrl, branch: &BranchName, path: &RepoPath) -> Option<Vec<u8>> {
        let state = self.state();
        let repository = state.repositories.get(url.as_str())?;
        let tip = repository.branches.get(branch)?;
        repository.commits.get(tip)?.files.get(path).cloned()
    }

    /// The tip of a branch with all of its files.
    pub fn files(
        &self,
        url: &GitUrl,
        branch: &BranchName,
    ) -> Option<(Commit, BTreeMap<RepoPath, Vec<u8>>)> {
        let state = self.state();
        let repository = state.repositories.get(url.as_str())?;
        let tip = repository.branches.get(branch)?;
        Some((tip.clone(), repository.commits.get(tip)?.files.clone()))
    }

    /// Puts a commit on top of `parent`, which the repository has, and moves the branch there,
    /// whatever it held: a forced push.
    pub fn force(
        &self,
        url: &GitUrl,
        branch: &BranchName,
        parent: &Commit,
        files: &Files,
        message: &str,
    ) -> Commit {
        let mut state = self.state();
        let repository = state.repositories.entry(url.as_str().to_owned()).or_default();
        let commit = repository.record(Some(parent.clone()), files, message);
        repository.branches.insert(branch.clone(), commit.clone());
        commit
    }

    /// Takes over a commit of another repository under its own id, with all of its files, as the
    /// new tip of a branch.
    pub fn mirror(
        &self,
        url: &GitUrl,
        branch: &BranchName,
        commit: &Commit,
        files: BTreeMap<RepoPath, Vec<u8>>,
        message: &str,
    ) {
        let mut state = self.state();
        let repository = state.repositories.entry(url.as_str().to_owned()).or_default();
        let parent = repository.branches.get(branch).cloned();
        let recorded = Recorded { parent, files, message: message.to_owned() };
        repository.commits.insert(commit.clone(), recorded);
        repository.branches.insert(branch.clone(), commit.clone());
    }

    /// The commits of a branch, newest first.
    pub fn commits(&self, url: &GitUrl, branch: &BranchName) -> Vec<Commit> {
        let state = self.state();
        let Some(repository) = state.repositories.get(url.as_str()) else { return Vec::new() };
        repository.line(repository.branches.get(branch)).map(|(id, _)| id.clone()).collect()
    }

    /// The messages of a branch, newest first.
    pub fn log(&self, url: &GitUrl, branch: &BranchName) -> Vec<String> {
        let state = self.state();
        let Some(repository) = state.repositories.get(url.as_str()) else { return Vec::new() };
        let tip = repository.branches.get(branch);
        repository.line(tip).map(|(_, commit)| commit.message.clone()).collect()
    }

    /// Makes the next `operation` go wrong. Faults of one operation strike in order.
    pub fn fault(&self, operation: Operation, fault: Fault) {
        self.state().faults.push_back((operation, fault));
    }

    /// How many pushes were tried.
    pub fn pushes(&self) -> u64 {
        self.state().pushes
    }

    /// Removes a branch.
    pub fn delete_branch(&self, url: &GitUrl, branch: &BranchName) {
        if let Some(repository) = self.state().repositories.get_mut(url.as_str()) {
            repository.branches.remove(branch);
        }
    }
}

impl State {
    fn strike(&mut self, operation: Operation) -> Option<Fault> {
        let at = self.faults.iter().position(|(at, _)| *at == operation)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }

    /// The fault of an operation that can only fail.
    fn fail(&mut self, operation: Operation) -> Result<(), GitError> {
        match self.strike(operation) {
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::LostReply) => Err(lost()),
            Some(Fault::Race(..)) | None => Ok(()),
        }
    }
}

fn lost() -> GitError {
    GitError::Transient { detail: "the connection was closed".to_owned() }
}

fn id_of(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hex(&hasher.finalize())
}

#[expect(clippy::expect_used, reason = "a SHA-256 in hex is always a full object id")]
fn commit_of(digest: &str) -> Commit {
    Commit::parse(digest).expect("64 hex digits")
}

fn unexpected(detail: &str) -> GitError {
    GitError::Unexpected { operation: "memory", detail: detail.to_owned() }
}

impl Repository {
    fn record(&mut self, parent: Option<Commit>, changes: &Files, message: &str) -> Commit {
        let mut files = parent
            .as_ref()
            .and_then(|parent| self.commits.get(parent))
            .map(|commit| commit.files.clone())
            .unwrap_or_default();
        for (path, content) in changes {
            match content {
                Some(content) => files.insert(path.clone(), content.clone()),
                None => files.remove(path),
            };
        }
        let mut parts: Vec<&[u8]> = vec![message.as_bytes()];
        parts.extend(parent.as_ref().map(|parent| parent.as_str().as_bytes()));
        for (path, content) in &files {
            parts.extend([path.as_str().as_bytes(), content.as_slice()]);
        }
        let commit = commit_of(&id_of(&parts));
        self.commits
            .insert(commit.clone(), Recorded { parent, files, message: message.to_owned() });
        commit
    }

    /// A commit and its ancestors.
    fn line<'a>(
        &'a self,
        from: Option<&'a Commit>,
    ) -> impl Iterator<Item = (&'a Commit, &'a Recorded)> {
        let find = |id: &'a Commit| self.commits.get_key_value(id);
        std::iter::successors(from.and_then(find), move |(_, commit)| {
            commit.parent.as_ref().and_then(find)
        })
    }

    /// Reachable from `until`, not from `after`, newest first.
    fn range<'a>(
        &'a self,
        after: &'a Commit,
        until: &'a Commit,
    ) -> Vec<(&'a Commit, &'a Recorded)> {
        let old: BTreeSet<&Commit> = self.line(Some(after)).map(|(id, _)| id).collect();
        self.line(Some(until)).filter(|(id, _)| !old.contains(id)).collect()
    }
}

impl GitBackend for MemoryGit {
    fn open<'a>(&'a self, remote: &'a Remote) -> GitResult<'a, Box<dyn GitSession>> {
        Box::pin(async move {
            let mut state = self.state();
            state.fail(Operation::Open)?;
            if !state.repositories.contains_key(remote.url.as_str()) {
                return Err(GitError::NotFound { url: remote.url.to_string() });
            }
            let session = MemorySession { git: self.clone(), url: remote.url.as_str().to_owned() };
            Ok(Box::new(session) as Box<dyn GitSession>)
        })
    }
}

#[derive(Debug)]
struct MemorySession {
    git: MemoryGit,
    url: String,
}

impl MemorySession {
    /// Runs `work` on the repository after the fault of `operation`, if any.
    fn with<T>(
        &self,
        operation: Option<Operation>,
        work: impl FnOnce(&mut Repository) -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let mut state = self.git.state();
        if let Some(operation) = operation {
            state.fail(operation)?;
        }
        let not_found = || GitError::NotFound { url: self.url.clone() };
        work(state.repositories.get_mut(&self.url).ok_or_else(not_found)?)
    }

    fn push(&self, branch: &BranchName, new: &Commit, expected: &Commit) -> Result<(), GitError> {
        let mut state = self.git.state();
        state.pushes += 1;
        let fault = state.strike(Operation::Push);
        let repository = state
            .repositories
            .get_mut(&self.url)
            .ok_or_else(|| GitError::NotFound { url: self.url.clone() })?;
        match &fault {
            Some(Fault::Fail(error)) => return Err(error.clone()),
            Some(Fault::Race(files, message)) => {
                let parent = repository.branches.get(branch).cloned();
                let commit = repository.record(parent, files, message);
                repository.branches.insert(branch.clone(), commit);
            }
            Some(Fault::LostReply) | None => {}
        }
        let is_child = repository
            .commits
            .get(new)
            .is_some_and(|commit| commit.parent.as_ref() == Some(expected));
        if !is_child {
            return Err(unexpected("the pushed commit does not follow the expected tip"));
        }
        if repository.branches.get(branch) != Some(expected) {
            return Err(GitError::Stale { branch: branch.to_string() });
        }
        repository.branches.insert(branch.clone(), new.clone());
        if fault == Some(Fault::LostReply) { Err(lost()) } else { Ok(()) }
    }
}

impl GitSession for MemorySession {
    fn fetch_tip<'a>(&'a mut self, branch: &'a BranchName) -> GitResult<'a, Commit> {
        let gone = || GitError::BranchGone { branch: branch.to_string() };
        let result = self.with(Some(Operation::FetchTip), |repository| {
            repository.branches.get(branch).cloned().ok_or_else(gone)
        });
        Box::pin(async move {
            // Lets other jobs run in between, as a network would.
            tokio::task::yield_now().await;
            result
        })
    }

    fn default_branch(&mut self) -> GitResult<'_, BranchName> {
        let result = self.with(Some(Operation::FetchTip), |repository| {
            // The first by name: `main` of a repository that has one branch.
            let gone = || GitError::BranchGone { branch: "HEAD".to_owned() };
            repository.branches.keys().next().cloned().ok_or_else(gone)
        });
        Box::pin(async move { result })
    }

    fn require_commit<'a>(&'a mut self, commit: &'a Commit) -> GitResult<'a, ()> {
        let result = self.with(None, |repository| {
            let gone = || GitError::CommitGone { commit: commit.clone() };
            repository.commits.get(commit).map(|_| ()).ok_or_else(gone)
        });
        Box::pin(async move { result })
    }

    fn tree<'a>(&'a mut self, commit: &'a Commit, path: &'a RepoPath) -> GitResult<'a, Tree> {
        let result = self.with(None, |repository| {
            let gone = || GitError::CommitGone { commit: commit.clone() };
            let files = &repository.commits.get(commit).ok_or_else(gone)?.files;
            let mut entries = BTreeMap::new();
            for (name, content) in files {
                if Tree::is_relevant(path, name, EntryKind::File) {
                    let blob = BlobId::parse(&id_of(&[content]))
                        .map_err(|_| unexpected("no id for a file"))?;
                    entries.insert(name.clone(), Entry { kind: EntryKind::File, blob });
                }
            }
            Ok(Tree::new(commit.clone(), entries))
        });
        Box::pin(async move { result })
    }

    fn blobs<'a>(&'a mut self, ids: &'a BTreeSet<BlobId>) -> GitResult<'a, Vec<(BlobId, Blob)>> {
        let result = self.with(Some(Operation::Blobs), |repository| {
            let mut found = BTreeMap::new();
            for content in repository.commits.values().flat_map(|commit| commit.files.values()) {
                if let Ok(id) = BlobId::parse(&id_of(&[content]))
                    && ids.contains(&id)
                {
                    let is_small = content.len() <= MAX_FILE_BYTES;
                    let bytes = || Blob::Bytes(content.as_slice().into());
                    found.insert(id, if is_small { bytes() } else { Blob::TooLarge });
                }
            }
            if found.len() == ids.len() {
                Ok(found.into_iter().collect())
            } else {
                Err(unexpected("a content does not exist"))
            }
        });
        Box::pin(async move { result })
    }

    fn find_revert<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        id: &'a RevertId,
    ) -> GitResult<'a, Option<Commit>> {
        let result = self.with(None, |repository| {
            let carries = |commit: &Recorded| {
                trailer(&commit.message, REVERT_ID_TRAILER) == Some(id.as_str())
            };
            let range = repository.range(after, until);
            Ok(range.into_iter().find(|(_, commit)| carries(commit)).map(|(id, _)| id.clone()))
        });
        Box::pin(async move { result })
    }

    fn history<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        paths: &'a [RepoPath],
    ) -> GitResult<'a, Vec<HistoryEntry>> {
        let result = self.with(None, |repository| {
            let touched = |commit: &Recorded| {
                let parent = commit.parent.as_ref().and_then(|id| repository.commits.get(id));
                paths.iter().any(|path| {
                    parent.and_then(|parent| parent.files.get(path)) != commit.files.get(path)
                })
            };
            let range = repository.range(after, until);
            let entries = range.into_iter().filter(|(_, commit)| touched(commit));
            let entry = |(id, commit): (&Commit, &Recorded)| HistoryEntry {
                commit: id.clone(),
                message: commit.message.clone(),
            };
            Ok(entries.map(entry).collect())
        });
        Box::pin(async move { result })
    }

    fn commit_paths<'a>(&'a mut self, commit: NewCommit<'a>) -> GitResult<'a, Commit> {
        let result = self.with(None, |repository| {
            Ok(repository.record(Some(commit.parent.clone()), commit.changes, commit.message))
        });
        Box::pin(async move {
            // Lets other jobs run in between, as a network would.
            tokio::task::yield_now().await;
            result
        })
    }

    fn create_branch<'a>(
        &'a mut self,
        branch: &'a BranchName,
        commit: &'a Commit,
    ) -> GitResult<'a, ()> {
        let result = self.with(None, |repository| match repository.branches.get(branch) {
            Some(tip) if tip != commit => Err(GitError::Stale { branch: branch.to_string() }),
            Some(_) => Ok(()),
            None => {
                repository.branches.insert(branch.clone(), commit.clone());
                Ok(())
            }
        });
        Box::pin(async move { result })
    }

    fn push_cas<'a>(
        &'a mut self,
        branch: &'a BranchName,
        new: &'a Commit,
        expected: &'a Commit,
    ) -> GitResult<'a, ()> {
        let result = self.push(branch, new, expected);
        Box::pin(async move { result })
    }
}
