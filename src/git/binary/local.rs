//! A repository on this machine, in the place of a server: for `sluice git restore`, and for
//! demonstrations, where people commit to it, an agent reads it, and a controller reaches it through
//! [`BinaryConfig::with_local`](super::BinaryConfig::with_local) by the address that stands in the
//! Rollout. It is an ordinary repository: whoever has its path can clone it and push to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::backend::GitError;
use super::super::message::Author;
use super::super::plan::{BlobId, Entry, EntryKind};
use super::super::source::{BranchName, RepoPath};
use super::answer::redact;
use super::command::GitCommand;
use super::parse;
use super::settings::make_repository;
use super::{Invocation, Output};
use crate::revision::Commit;

/// Limit of one invocation.
const LIMIT: Duration = Duration::from_secs(30);
/// What a server allows whose clients fetch contents one by one, as the controller does.
const SERVER: &str = "[uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n\
                      [gc]\n\tauto = 0\n[receive]\n\tfsckObjects = true\n";

/// A commit by a person.
#[derive(Clone, Debug)]
pub struct LocalCommit<'a> {
    /// The branch, which is made if it does not exist.
    pub branch: &'a BranchName,
    /// New contents by path; `None` removes the file.
    pub files: &'a BTreeMap<RepoPath, Option<Vec<u8>>>,
    /// The whole message.
    pub message: &'a str,
    /// Author and committer.
    pub author: &'a Author,
    /// Author's and committer's time.
    pub at: DateTime<Utc>,
}

/// A bare repository on this machine.
#[derive(Clone, Debug)]
pub struct LocalRepository {
    path: PathBuf,
}

impl LocalRepository {
    /// Makes an empty repository at `path`, whose default branch is `branch`.
    ///
    /// # Errors
    /// [`GitError::Program`] when a file cannot be written.
    pub fn create(path: &Path, branch: &BranchName) -> Result<Self, GitError> {
        let made = make_repository(path, SERVER).and_then(|()| {
            std::fs::write(path.join("HEAD"), format!("ref: {}\n", branch.full_ref()))
        });
        made.map_err(|error| {
            GitError::Program(format!("failed to make the repository {}: {error}", path.display()))
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// The repository that is at `path` already, with or without a work tree.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a commit to a branch.
    ///
    /// # Errors
    /// [`GitError`]: the branch moved meanwhile, or git failed.
    pub async fn commit(&self, new: LocalCommit<'_>) -> Result<Commit, GitError> {
        let parent = self.tip(new.branch).await?;
        let mut input = format!(
            "commit {branch}\ncommitter {name} <{email}> {seconds} +0000\n",
            branch = new.branch.full_ref(),
            name = new.author.name(),
            email = new.author.email(),
            seconds = new.at.timestamp(),
        )
        .into_bytes();
        data(&mut input, new.message.as_bytes());
        if let Some(parent) = &parent {
            input.extend(format!("from {parent}\n").bytes());
        }
        for (path, content) in new.files {
            // Git's own quoting is for line ends and quotation marks, which no manifest's name has.
            let name = path.as_str();
            if name.contains(['"', '\n']) {
                return Err(unexpected("fast-import", &format!("the path {name:?} is not plain")));
            }
            match content {
                Some(content) => {
                    input.extend(format!("M 100644 inline {name}\n").bytes());
                    data(&mut input, content);
                }
                None => input.extend(format!("D {name}\n").bytes()),
            }
        }
        input.extend(b"done\n");
        self.must(GitCommand::ImportCommit, input).await?;
        let gone = || GitError::BranchGone { branch: new.branch.to_string() };
        self.tip(new.branch).await?.ok_or_else(gone)
    }

    /// The commit at the tip of a branch; none when there is no such branch.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub async fn tip(&self, branch: &BranchName) -> Result<Option<Commit>, GitError> {
        let output = self.run(GitCommand::Tip(branch), Vec::new()).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = |_| unexpected("rev-parse", "no commit id");
        Commit::parse(text).map(Some).map_err(wrong)
    }

    /// All files of a commit.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub async fn files(&self, commit: &Commit) -> Result<BTreeMap<RepoPath, Vec<u8>>, GitError> {
        let listing = self.must(GitCommand::ListTree(commit), Vec::new()).await?;
        let mut entries = parse::files(&listing);
        entries.retain(|_, entry| matches!(entry.kind, EntryKind::File | EntryKind::Executable));
        let ids: BTreeSet<&BlobId> = entries.values().map(|entry| &entry.blob).collect();
        let input: Vec<u8> =
            ids.iter().flat_map(|id| [id.as_str(), "\n"].concat().into_bytes()).collect();
        let contents = parse::contents(&self.must(GitCommand::Contents, input).await?);
        let file = |(path, entry): (RepoPath, Entry)| {
            contents.get(&entry.blob).map(|content| (path, content.clone()))
        };
        Ok(entries.into_iter().filter_map(file).collect())
    }

    /// What `git log --oneline` says of a branch, with authors; newest first, at most `count` lines.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub async fn log(&self, branch: &BranchName, count: u32) -> Result<String, GitError> {
        let output = self.must(GitCommand::ShowLog { branch, count }, Vec::new()).await?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// What `git show` says of a commit: message and difference.
    ///
    /// # Errors
    /// [`GitError`] when git fails.
    pub async fn show(&self, commit: &Commit) -> Result<String, GitError> {
        let output = self.must(GitCommand::Show(commit), Vec::new()).await?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    async fn run(&self, command: GitCommand<'_>, input: Vec<u8>) -> Result<Output, GitError> {
        let environment: Vec<(&'static str, OsString)> = vec![
            ("GIT_DIR", (&self.path).into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            ("HOME", (&self.path).into()),
        ];
        Invocation { command, environment, input, limit: LIMIT }.run().await
    }

    async fn must(&self, command: GitCommand<'_>, input: Vec<u8>) -> Result<Vec<u8>, GitError> {
        let operation = command.name();
        let output = self.run(command, input).await?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(unexpected(operation, &redact(&output.stderr, &[])))
        }
    }
}

/// A block of bytes in the language of fast-import.
fn data(input: &mut Vec<u8>, content: &[u8]) {
    input.extend(format!("data {}\n", content.len()).bytes());
    input.extend(content);
    input.push(b'\n');
}

fn unexpected(operation: &'static str, detail: &str) -> GitError {
    GitError::Unexpected { operation, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::backend::{GitBackend as _, NewCommit, Remote};
    use super::super::super::credentials::Credentials;
    use super::super::super::source::{AllowedHosts, GitUrl};
    use super::super::{BinaryConfig, BinaryGit};
    use super::*;

    #[tokio::test]
    async fn what_is_committed_is_at_the_tip_and_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let branch = BranchName::parse("main").unwrap();
        let repository = LocalRepository::create(&folder.path().join("a.git"), &branch).unwrap();
        assert_eq!(repository.tip(&branch).await.unwrap(), None);
        let author = Author::new("Ada", "ada@example.com");
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let path = |text| RepoPath::parse(text).unwrap();
        let mut tips = Vec::new();
        for (message, files) in [
            ("One", vec![("a/b.yaml", Some("x: 1\n")), ("c d", Some(""))]),
            ("Two\n\nWith more.", vec![("a/b.yaml", Some("x: 2\n")), ("c d", None)]),
        ] {
            let files = files
                .into_iter()
                .map(|(name, content)| (path(name), content.map(|text| text.as_bytes().to_vec())))
                .collect();
            let new = LocalCommit { branch: &branch, files: &files, message, author: &author, at };
            tips.push(repository.commit(new).await.unwrap());
        }
        assert_eq!(repository.tip(&branch).await.unwrap().as_ref(), tips.last());
        let first = repository.files(&tips[0]).await.unwrap();
        assert_eq!(first.keys().map(RepoPath::as_str).collect::<Vec<_>>(), ["a/b.yaml", "c d"]);
        let second = repository.files(&tips[1]).await.unwrap();
        assert_eq!(second, BTreeMap::from([(path("a/b.yaml"), b"x: 2\n".to_vec())]));
        let log = repository.log(&branch, 5).await.unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 2, "{log}");
        assert!(lines[0].contains("Ada") && lines[0].ends_with("Two"), "{log}");
        assert!(repository.show(&tips[1]).await.unwrap().contains("+x: 2"));
    }

    #[tokio::test]
    async fn the_backend_reads_and_pushes_there_and_nowhere_else_on_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let branch = BranchName::parse("main").unwrap();
        let repository = LocalRepository::create(&folder.path().join("a.git"), &branch).unwrap();
        let author = Author::new("Ada", "ada@example.com");
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let path = RepoPath::parse("web.yaml").unwrap();
        let files = |text: &str| BTreeMap::from([(path.clone(), Some(text.as_bytes().to_vec()))]);
        let (message, one, two) = ("One", files("x: 1\n"), files("x: 2\n"));
        let new = LocalCommit { branch: &branch, files: &one, message, author: &author, at };
        let first = repository.commit(new).await.unwrap();

        let url = GitUrl::parse("https://git.example.test/a.git").unwrap();
        let hosts = AllowedHosts::parse(["*"]).unwrap();
        let config = BinaryConfig::new(&folder.path().join("cache"), hosts);
        let git = BinaryGit::detect(config.with_local(&url, &repository)).await.unwrap();
        let remote = |url: &GitUrl| Remote {
            url: url.clone(),
            credentials: Arc::new(Credentials::anonymous("demo")),
        };
        let mut session = git.open(&remote(&url)).await.unwrap();
        assert_eq!(session.fetch_tip(&branch).await.unwrap(), first);
        let new = NewCommit { parent: &first, changes: &two, message, author: &author, at };
        let second = session.commit_paths(new).await.unwrap();
        session.push_cas(&branch, &second, &first).await.unwrap();
        assert_eq!(repository.tip(&branch).await.unwrap(), Some(second));
        drop(session);
        // Another address is a server, whose name nobody knows.
        let other = GitUrl::parse("https://git.example.test/b.git").unwrap();
        let error = git.open(&remote(&other)).await.err().unwrap();
        assert!(matches!(error, GitError::Unresolved { .. }), "{error}");
    }
}
