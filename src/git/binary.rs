//! [`GitBackend`] over the `git` program, version 2.39 or later. This is the only file that may
//! execute a program.
//!
//! Plumbing only, in bare repositories without a work tree, so that nothing of a repository is ever
//! checked out, filtered or run. The environment is cleared; arguments come from
//! [`command::GitCommand`]; secrets are in files of a private directory. Contents are fetched only
//! when they are asked for (`--filter=blob:none`). Every invocation has a limit in time and in
//! output; what exceeds it is killed with its whole process group, and so is what was started for a
//! future that is dropped.

mod answer;
mod command;
mod parse;
mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    net::IpAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use self::{
    answer::{About, classify, classify_push, redact},
    command::{GitCommand, Reach},
    parse::{TreeLine, tree_lines},
    settings::{PARTIAL_CLONE, Settings, make_repository},
};
use super::{
    backend::{GitBackend, GitError, GitResult, GitSession, NewCommit, Remote},
    credentials::{CredentialRefusal, Login},
    message::trailer,
    plan::{Blob, BlobId, HistoryEntry, MAX_FILE_BYTES, Tree},
    revert_id::{REVERT_ID_TRAILER, RevertId},
    source::{AddressRule, AllowedHosts, BranchName, RepoPath, Transport},
};
use crate::revision::{Commit, hex};

/// Most output of one invocation, in bytes: the names of some 500,000 files.
const MAX_STDOUT: u64 = 64 << 20;
/// Most error text that is read, in bytes.
const MAX_STDERR: u64 = 64 << 10;
/// Jobs at one time.
const MAX_JOBS: usize = 2;
/// Limit of a name look-up.
const RESOLVE_LIMIT: Duration = Duration::from_secs(10);
/// Where git, ssh and their helpers are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How the program is used.
#[derive(Clone, Debug)]
pub struct BinaryConfig {
    /// Where copies of repositories are kept; a directory of our own, emptied at the start.
    pub cache: PathBuf,
    /// Where private files are made; the system's temporary directory if not given.
    pub scratch: Option<PathBuf>,
    /// The hosts that may be talked to.
    pub allowed_hosts: AllowedHosts,
    /// The addresses that may be connected to.
    pub addresses: AddressRule,
    /// Limit of an invocation that talks to a server.
    pub network_limit: Duration,
    /// Limit of any other invocation.
    pub local_limit: Duration,
}

impl BinaryConfig {
    /// The usual limits, with copies in `cache`.
    pub fn new(cache: PathBuf, allowed_hosts: AllowedHosts) -> Self {
        Self {
            cache,
            scratch: None,
            allowed_hosts,
            addresses: AddressRule::default(),
            network_limit: Duration::from_secs(90),
            local_limit: Duration::from_secs(30),
        }
    }
}

/// A lock for each repository, and when it was last used.
type Repositories = BTreeMap<String, (Arc<tokio::sync::Mutex<()>>, Instant)>;

struct Shared {
    config: BinaryConfig,
    jobs: Arc<Semaphore>,
    repositories: Mutex<Repositories>,
}

/// Git by its program.
#[derive(Clone)]
pub struct BinaryGit(Arc<Shared>);

impl BinaryGit {
    /// Checks the program's version and makes the cache directory empty.
    ///
    /// # Errors
    /// [`GitError::Program`] if git is missing, older than 2.39 or the directory cannot be made.
    pub async fn detect(config: BinaryConfig) -> Result<Self, GitError> {
        let trouble = |error: std::io::Error| {
            GitError::Program(format!("failed to prepare the cache of Git repositories: {error}"))
        };
        if tokio::fs::try_exists(&config.cache).await.map_err(trouble)? {
            tokio::fs::remove_dir_all(&config.cache).await.map_err(trouble)?;
        }
        tokio::fs::create_dir_all(&config.cache).await.map_err(trouble)?;
        let invocation = Invocation {
            command: GitCommand::Version,
            environment: Vec::new(),
            input: Vec::new(),
            limit: config.local_limit,
        };
        let output = invocation.run().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !parse::is_recent_version(&text) {
            let words = format!("git 2.39 or later is needed; found: {}", redact(&text, &[]));
            return Err(GitError::Program(words));
        }
        let jobs = Arc::new(Semaphore::new(MAX_JOBS));
        Ok(Self(Arc::new(Shared { config, jobs, repositories: Mutex::default() })))
    }

    /// Removes copies that were not used for `idle`.
    pub async fn prune(&self, idle: Duration) {
        let old: Vec<(String, OwnedMutexGuard<()>)> = {
            let repositories = self.0.repositories.lock().unwrap_or_else(PoisonError::into_inner);
            repositories
                .iter()
                .filter(|(_, (_, used))| used.elapsed() >= idle)
                .filter_map(|(key, (lock, _))| {
                    Some((key.clone(), Arc::clone(lock).try_lock_owned().ok()?))
                })
                .collect()
        };
        for (key, _guard) in old {
            // What cannot be removed now is removed at the next start.
            let _ = tokio::fs::remove_dir_all(self.0.config.cache.join(&key)).await;
        }
    }

    /// Waits for this repository's turn, then for a free place.
    async fn turn(
        &self,
        key: &str,
    ) -> Result<(OwnedMutexGuard<()>, OwnedSemaphorePermit), GitError> {
        let lock = {
            let mut repositories =
                self.0.repositories.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = repositories
                .entry(key.to_owned())
                .or_insert_with(|| (Arc::default(), Instant::now()));
            entry.1 = Instant::now();
            Arc::clone(&entry.0)
        };
        let guard = lock.lock_owned().await;
        let permit = Arc::clone(&self.0.jobs).acquire_owned().await;
        let closed = |_| GitError::Program("the Git room is shutting down".to_owned());
        Ok((guard, permit.map_err(closed)?))
    }

    /// The addresses behind the host, all of them allowed.
    async fn resolve(&self, remote: &Remote) -> Result<Vec<IpAddr>, GitError> {
        let host = remote.url.host();
        let unresolved = || GitError::Unresolved { host: host.to_owned() };
        let lookup = tokio::net::lookup_host((host, remote.url.port()));
        let found = tokio::time::timeout(RESOLVE_LIMIT, lookup).await;
        let found = found.map_err(|_| unresolved())?.map_err(|_| unresolved())?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.map(|socket| socket.ip()) {
            if let Some(kind) = self.0.config.addresses.refusal(address) {
                return Err(GitError::AddressRefused { host: host.to_owned(), kind });
            }
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(unresolved()) } else { Ok(addresses) }
    }
}

impl GitBackend for BinaryGit {
    fn open<'a>(&'a self, remote: &'a Remote) -> GitResult<'a, Box<dyn GitSession>> {
        Box::pin(async move {
            self.0.config.allowed_hosts.check(&remote.url)?;
            let is_ssh = matches!(remote.credentials.login, Login::Ssh { .. });
            match remote.url.transport() {
                Transport::Ssh if !is_ssh => Err(CredentialRefusal::NoIdentity)?,
                Transport::Https if is_ssh => {
                    Err(GitError::Auth { host: remote.url.host().into() })?
                }
                Transport::Ssh | Transport::Https => {}
            }
            let mut hasher = Sha256::new();
            hasher.update(remote.url.as_str());
            hasher.update([0]);
            hasher.update(remote.credentials.id());
            let key: String = hex(&hasher.finalize()).chars().take(32).collect();
            let turn = self.turn(&key).await?;
            let addresses = self.resolve(remote).await?;
            let settings = Settings::write(remote, &addresses, self.0.config.scratch.as_deref())?;
            let repository = self.0.config.cache.join(&key);
            if !repository.join("HEAD").exists() {
                make_repository(&repository, PARTIAL_CLONE).map_err(|error| {
                    GitError::Program(format!("failed to make a repository: {error}"))
                })?;
            }
            let shared = Arc::clone(&self.0);
            let session =
                BinarySession { shared, remote: remote.clone(), settings, repository, _turn: turn };
            Ok(Box::new(session) as Box<dyn GitSession>)
        })
    }
}

/// One run of the program.
struct Invocation<'a> {
    command: GitCommand<'a>,
    environment: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    limit: Duration,
}

struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

/// Kills the process group of a child that was not waited for.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The leader was not reaped yet, so that the id still belongs to this group.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Invocation<'_> {
    async fn run(self) -> Result<Output, GitError> {
        let operation = self.command.name();
        let mut command = Command::new("git");
        command
            .args(self.command.arguments())
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:ssh")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_PAGER", "cat")
            .envs(self.environment)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            GitError::Program(format!("failed to run git (is it installed?): {error}"))
        })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut group = Group(pid);
        let talk = talk(&mut child, self.input);
        let Ok(finished) = tokio::time::timeout(self.limit, talk).await else {
            drop(group);
            let _ = child.wait().await;
            return Err(GitError::Timeout { operation, seconds: self.limit.as_secs() });
        };
        let (status, stdout, stderr) = finished.map_err(|error| {
            GitError::Program(format!("failed to talk to git {operation}: {error}"))
        })?;
        group.0 = None;
        if stdout.len() as u64 > MAX_STDOUT {
            return Err(GitError::TooLarge { what: "the answer of git" });
        }
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(Output { status, stdout, stderr })
    }
}

/// Writes the input while reading both outputs, then waits.
async fn talk(
    child: &mut Child,
    input: Vec<u8>,
) -> std::io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async move {
        if let Some(mut stdin) = stdin {
            // A child that fails early closes its input; its status tells why.
            let _ = stdin.write_all(&input).await;
        }
    };
    let (stdout, stderr, ()) =
        tokio::join!(read_up_to(stdout, MAX_STDOUT + 1), read_up_to(stderr, MAX_STDERR), write);
    let (stdout, stderr) = (stdout?, stderr?);
    Ok((child.wait().await?, stdout, stderr))
}

/// Reads up to `most` bytes; the rest is not read.
async fn read_up_to(from: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// One job on one repository.
struct BinarySession {
    shared: Arc<Shared>,
    remote: Remote,
    settings: Settings,
    repository: PathBuf,
    _turn: (OwnedMutexGuard<()>, OwnedSemaphorePermit),
}

impl BinarySession {
    fn environment(&self, reach: Reach) -> Vec<(&'static str, OsString)> {
        let place = self.settings.path();
        let mut environment: Vec<(&'static str, OsString)> = vec![
            ("HOME", place.into()),
            ("TMPDIR", place.into()),
        ];
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

    async fn run_with(
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
        let command = GitCommand::StoreCommit { tree: &root, parent: new.parent };
        let output = self.run_with(command, new.message.as_bytes().to_vec(), who).await?;
        let operation = "commit-tree";
        if !output.status.success() {
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

    fn push_cas<'a>(
        &'a mut self,
        branch: &'a BranchName,
        new: &'a Commit,
        expected: &'a Commit,
    ) -> GitResult<'a, ()> {
        Box::pin(self.push(branch, new, expected))
    }
}
