//! One job on one repository: reading without a work tree, a commit from plumbing, one push.
//!
//! Reading runs in a repository that knows no server, so that nothing is ever fetched in passing;
//! what is missing is asked for once, in one batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
};

use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::{
    super::{
        backend::{GitError, GitResult, GitSession, NewCommit, Remote},
        message::trailer,
        plan::{Blob, BlobId, HistoryEntry, MAX_FILE_BYTES, Tree},
        revert_id::{REVERT_ID_TRAILER, RevertId},
        source::{BranchName, RepoPath},
    },
    Invocation, Output, Shared,
    answer::{About, classify, classify_push, redact},
    command::{GitCommand, Reach},
    parse::{self, TreeLine, tree_lines},
    settings::Settings,
    sign::Signature,
};
use crate::revision::{Commit, hex};

/// One job on one repository.
pub(super) struct BinarySession {
    pub(super) shared: Arc<Shared>,
    pub(super) remote: Remote,
    pub(super) settings: Settings,
    pub(super) repository: PathBuf,
    pub(super) _turn: (OwnedMutexGuard<()>, OwnedSemaphorePermit),
}

impl BinarySession {
    fn environment(&self, reach: Reach) -> Vec<(&'static str, OsString)> {
        let place = self.settings.path();
        let mut environment: Vec<(&'static str, OsString)> =
            vec![("HOME", place.into()), ("TMPDIR", place.into())];
        match reach {
            Reach::Network => {
                environment.push(("GIT_DIR", (&self.repository).into()));
                environment.push(("GIT_CONFIG_GLOBAL", self.settings.config().into()));
            }
            Reach::Local => {
                environment.push(("GIT_DIR", self.settings.local_repository().into()));
                // Without the server's name in its configuration nothing is fetched in passing.
                environment.push(("GIT_CONFIG_GLOBAL", "/dev/null".into()));
                let objects = self.repository.join("objects");
                environment.push(("GIT_OBJECT_DIRECTORY", objects.into()));
            }
        }
        if self.settings.is_local {
            // In the place of the protocols that are always allowed.
            environment.push(("GIT_ALLOW_PROTOCOL", "file".into()));
        }
        if let Some(ssh) = &self.settings.ssh_command {
            environment.push(("GIT_SSH_COMMAND", ssh.into()));
            environment.push(("GIT_SSH_VARIANT", "ssh".into()));
        }
        environment
    }

    /// Runs a command; a damaged or half-written copy is dropped, so that the next try begins anew.
    async fn run(&self, command: GitCommand<'_>, input: Vec<u8>) -> Result<Output, GitError> {
        self.run_with(command, input, Vec::new()).await
    }

    pub(super) async fn run_with(
        &self,
        command: GitCommand<'_>,
        input: Vec<u8>,
        more: Vec<(&'static str, OsString)>,
    ) -> Result<Output, GitError> {
        let reach = command.reach();
        let mut environment = self.environment(reach);
        environment.extend(more);
        let limit = match reach {
            Reach::Network => self.shared.config.network_limit,
            Reach::Local => self.shared.config.local_limit,
        };
        Invocation { command, environment, input, limit }.run().await
    }

    /// Runs a command that must succeed.
    async fn must(
        &self,
        command: GitCommand<'_>,
        input: Vec<u8>,
        branch: Option<&BranchName>,
    ) -> Result<Vec<u8>, GitError> {
        let operation = command.name();
        let output = self.run(command, input).await?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let secrets = self.remote.credentials.secrets();
        let about = About { operation, url: &self.remote.url, branch, secrets: &secrets };
        let error = classify(&output.stderr, about);
        if matches!(error, GitError::LocalCopy { .. }) {
            let _ = tokio::fs::remove_dir_all(&self.repository).await;
        }
        Err(error)
    }

    async fn fetch_branch(&self, branch: &BranchName) -> Result<Commit, GitError> {
        self.must(GitCommand::FetchBranch(branch), Vec::new(), Some(branch)).await?;
        let operation = "fetch";
        let head = tokio::fs::read_to_string(self.repository.join("FETCH_HEAD")).await;
        let head = head.unwrap_or_default();
        let unexpected =
            || GitError::Unexpected { operation, detail: "no commit was fetched".to_owned() };
        let first = head.split(['\t', '\n']).next().unwrap_or_default();
        let commit = Commit::parse(first).map_err(|_| unexpected())?;
        // The next fetch asks only for what is newer.
        let digest = Sha256::digest(branch.as_str().as_bytes());
        let slot: String = hex(&digest).chars().take(16).collect();
        let keep = GitCommand::KeepRef { slot: &slot, commit: &commit };
        self.must(keep, Vec::new(), Some(branch)).await?;
        Ok(commit)
    }

    async fn head_branch(&self) -> Result<BranchName, GitError> {
        let output = self.must(GitCommand::DefaultBranch, Vec::new(), None).await?;
        parse::default_branch(&output).ok_or_else(|| GitError::Unexpected {
            operation: GitCommand::DefaultBranch.name(),
            detail: "the server names no default branch".to_owned(),
        })
    }

    async fn has_commit(&self, commit: &Commit) -> Result<bool, GitError> {
        let output = self.run(GitCommand::HasCommit(commit), Vec::new()).await?;
        Ok(output.status.success())
    }

    async fn require(&self, commit: &Commit) -> Result<(), GitError> {
        if self.has_commit(commit).await? {
            return Ok(());
        }
        match self.must(GitCommand::FetchCommit(commit), Vec::new(), None).await {
            Ok(_) => {}
            Err(GitError::Unexpected { .. } | GitError::NotFound { .. }) => {
                return Err(GitError::CommitGone { commit: commit.clone() });
            }
            Err(error) => return Err(error),
        }
        if self.has_commit(commit).await? {
            Ok(())
        } else {
            Err(GitError::CommitGone { commit: commit.clone() })
        }
    }

    async fn list_tree(&self, commit: &Commit, path: &RepoPath) -> Result<Tree, GitError> {
        let output = self.must(GitCommand::ListTree(commit), Vec::new(), None).await?;
        Ok(Tree::new(commit.clone(), parse::entries(&output, path)))
    }

    /// Sizes by id; `None` for what is not here.
    async fn sizes(
        &self,
        ids: &BTreeSet<BlobId>,
    ) -> Result<BTreeMap<BlobId, Option<usize>>, GitError> {
        let output = self.must(GitCommand::Sizes, lines(ids), None).await?;
        Ok(parse::sizes(&output))
    }

    async fn contents(&self, ids: &BTreeSet<BlobId>) -> Result<Vec<(BlobId, Blob)>, GitError> {
        let mut sizes = self.sizes(ids).await?;
        let is_missing = |id: &&BlobId| !matches!(sizes.get(*id), Some(Some(_)));
        let missing: BTreeSet<BlobId> = ids.iter().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            self.must(GitCommand::FetchObjects, lines(&missing), None).await?;
            sizes = self.sizes(ids).await?;
        }
        let is_small =
            |id: &&BlobId| matches!(sizes.get(*id), Some(Some(size)) if *size <= MAX_FILE_BYTES);
        let small: BTreeSet<BlobId> = ids.iter().filter(is_small).cloned().collect();
        let output = self.must(GitCommand::Contents, lines(&small), None).await?;
        let mut found = parse::contents(&output);
        let mut blobs = Vec::new();
        for id in ids {
            let blob = match (found.remove(id), sizes.get(id)) {
                (Some(bytes), _) => Blob::Bytes(bytes.into()),
                (None, Some(Some(_))) if !small.contains(id) => Blob::TooLarge,
                (None, _) => {
                    let detail = format!("content {} is missing", id.as_str());
                    return Err(GitError::Unexpected { operation: "cat-file", detail });
                }
            };
            blobs.push((id.clone(), blob));
        }
        Ok(blobs)
    }

    async fn log(&self, command: GitCommand<'_>) -> Result<Vec<HistoryEntry>, GitError> {
        Ok(parse::history(&self.must(command, Vec::new(), None).await?))
    }

    async fn make_commit(&self, new: NewCommit<'_>) -> Result<Commit, GitError> {
        let mut changes = BTreeMap::new();
        for (path, content) in new.changes {
            let blob = match content {
                None => None,
                Some(content) => {
                    let output = self.must(GitCommand::StoreBlob, content.clone(), None).await?;
                    Some(parse::object_id("hash-object", &output)?)
                }
            };
            changes.insert(path.as_str().to_owned(), blob);
        }
        let root = self.write_tree(Some(new.parent.as_str().to_owned()), changes).await?;
        let empty = || GitError::Unexpected {
            operation: "mktree",
            detail: "the revert would leave an empty repository".to_owned(),
        };
        let root = root.ok_or_else(empty)?;
        let date = OsString::from(format!("@{} +0000", new.at.timestamp()));
        let who = vec![
            ("GIT_AUTHOR_NAME", new.author.name().into()),
            ("GIT_AUTHOR_EMAIL", new.author.email().into()),
            ("GIT_COMMITTER_NAME", new.author.name().into()),
            ("GIT_COMMITTER_EMAIL", new.author.email().into()),
            ("GIT_AUTHOR_DATE", date.clone()),
            ("GIT_COMMITTER_DATE", date),
        ];
        let signature = match new.author.signing_key() {
            Some(key) => Some(self.prepare(key).await?),
            None => None,
        };
        let signer = signature.as_ref().map(Signature::signer);
        let environment = signature.iter().flat_map(|it| it.environment.clone()).chain(who);
        let command = GitCommand::StoreCommit { tree: &root, parent: new.parent, signer };
        let message = new.message.as_bytes().to_vec();
        let output = self.run_with(command, message, environment.collect()).await;
        let is_signed = signature.is_some();
        if let Some(signature) = signature {
            self.put_away(signature).await;
        }
        let (output, operation) = (output?, "commit-tree");
        if !output.status.success() {
            if is_signed {
                return Err(self.unsigned(&output.stderr));
            }
            let detail = redact(&output.stderr, &self.remote.credentials.secrets());
            return Err(GitError::Unexpected { operation, detail });
        }
        let id = parse::object_id(operation, &output.stdout)?;
        let commit = Commit::parse(id.as_str())
            .map_err(|error| GitError::Unexpected { operation, detail: error.to_string() })?;
        self.check_changes(&new, &commit).await?;
        Ok(commit)
    }

    /// The commit must change the given paths and nothing else.
    async fn check_changes(&self, new: &NewCommit<'_>, commit: &Commit) -> Result<(), GitError> {
        let command = GitCommand::ChangedPaths { before: new.parent, after: commit };
        let output = self.must(command, Vec::new(), None).await?;
        let is: BTreeSet<&[u8]> =
            output.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
        let should: BTreeSet<&[u8]> =
            new.changes.keys().map(|path| path.as_str().as_bytes()).collect();
        if is == should {
            Ok(())
        } else {
            let detail = "the commit would change other files than intended".to_owned();
            Err(GitError::Unexpected { operation: "commit-tree", detail })
        }
    }

    /// Writes a directory with `changes` (by path below it); `None` if nothing is left in it.
    fn write_tree(
        &self,
        old: Option<String>,
        changes: BTreeMap<String, Option<BlobId>>,
    ) -> BoxFuture<'_, Result<Option<BlobId>, GitError>> {
        Box::pin(async move {
            let listing = match &old {
                None => Vec::new(),
                Some(old) => self.must(GitCommand::ListDirectory(old), Vec::new(), None).await?,
            };
            let mut entries: BTreeMap<Vec<u8>, TreeLine> =
                tree_lines(&listing).map(|line| (line.name.clone(), line)).collect();
            let mut below: BTreeMap<String, BTreeMap<String, Option<BlobId>>> = BTreeMap::new();
            for (path, blob) in changes {
                match (path.split_once('/'), blob) {
                    (Some((directory, rest)), blob) => {
                        below
                            .entry(directory.to_owned())
                            .or_default()
                            .insert(rest.to_owned(), blob);
                    }
                    (None, None) => {
                        entries.remove(path.as_bytes());
                    }
                    (None, Some(blob)) => {
                        let name = path.into_bytes();
                        let line = TreeLine::file(&name, &blob, entries.get(&name))?;
                        entries.insert(name, line);
                    }
                }
            }
            for (directory, changes) in below {
                let name = directory.into_bytes();
                let old = entries.get(&name).map(TreeLine::directory).transpose()?;
                match self.write_tree(old, changes).await? {
                    Some(tree) => entries.insert(name.clone(), TreeLine::tree(&name, &tree)),
                    None => entries.remove(&name),
                };
            }
            if entries.is_empty() {
                return Ok(None);
            }
            let input: Vec<u8> = entries.values().flat_map(TreeLine::bytes).collect();
            let output = self.must(GitCommand::StoreTree, input, None).await?;
            parse::object_id("mktree", &output).map(Some)
        })
    }

    async fn push(
        &self,
        branch: &BranchName,
        new: &Commit,
        expected: &Commit,
    ) -> Result<(), GitError> {
        let operation = "push";
        let parents = self.must(GitCommand::Parents(new), Vec::new(), None).await?;
        if parents.trim_ascii() != format!("{new} {expected}").as_bytes() {
            let detail = "the commit does not follow the tip that was read".to_owned();
            return Err(GitError::Unexpected { operation, detail });
        }
        self.send(branch, new).await
    }

    /// Pushes without force: a branch that is not there is made.
    async fn send(&self, branch: &BranchName, new: &Commit) -> Result<(), GitError> {
        let operation = "push";
        let output = self.run(GitCommand::Push { new, branch }, Vec::new()).await?;
        if output.status.success() {
            return Ok(());
        }
        let secrets = self.remote.credentials.secrets();
        let about =
            About { operation, url: &self.remote.url, branch: Some(branch), secrets: &secrets };
        let stdout = String::from_utf8_lossy(&output.stdout);
        Err(classify_push(&stdout, &output.stderr, about))
    }
}

/// Ids, one a line.
fn lines(ids: &BTreeSet<BlobId>) -> Vec<u8> {
    ids.iter().flat_map(|id| [id.as_str().as_bytes(), b"\n"].concat()).collect()
}

impl GitSession for BinarySession {
    fn fetch_tip<'a>(&'a mut self, branch: &'a BranchName) -> GitResult<'a, Commit> {
        Box::pin(self.fetch_branch(branch))
    }

    fn default_branch(&mut self) -> GitResult<'_, BranchName> {
        Box::pin(self.head_branch())
    }

    fn require_commit<'a>(&'a mut self, commit: &'a Commit) -> GitResult<'a, ()> {
        Box::pin(self.require(commit))
    }

    fn tree<'a>(&'a mut self, commit: &'a Commit, path: &'a RepoPath) -> GitResult<'a, Tree> {
        Box::pin(self.list_tree(commit, path))
    }

    fn blobs<'a>(&'a mut self, ids: &'a BTreeSet<BlobId>) -> GitResult<'a, Vec<(BlobId, Blob)>> {
        Box::pin(self.contents(ids))
    }

    fn find_revert<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        id: &'a RevertId,
    ) -> GitResult<'a, Option<Commit>> {
        Box::pin(async move {
            let found = self.log(GitCommand::FindRevert { after, until, id }).await?;
            let carries = |entry: &HistoryEntry| {
                trailer(&entry.message, REVERT_ID_TRAILER) == Some(id.as_str())
            };
            Ok(found.into_iter().find(carries).map(|entry| entry.commit))
        })
    }

    fn history<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        paths: &'a [RepoPath],
    ) -> GitResult<'a, Vec<HistoryEntry>> {
        Box::pin(self.log(GitCommand::History { after, until, paths }))
    }

    fn commit_paths<'a>(&'a mut self, commit: NewCommit<'a>) -> GitResult<'a, Commit> {
        Box::pin(self.make_commit(commit))
    }

    fn create_branch<'a>(
        &'a mut self,
        branch: &'a BranchName,
        commit: &'a Commit,
    ) -> GitResult<'a, ()> {
        Box::pin(self.send(branch, commit))
    }

    fn push_cas<'a>(
        &'a mut self,
        branch: &'a BranchName,
        new: &'a Commit,
        expected: &'a Commit,
    ) -> GitResult<'a, ()> {
        Box::pin(self.push(branch, new, expected))
    }
}
