//! [`GitBackend`] over the `git` program, version 2.39 or later. This is the only file that may
//! execute a program.
//!
//! Plumbing only, in bare repositories without a work tree, so that nothing of a repository is ever
//! checked out, filtered or run. The environment is cleared; arguments come from
//! `GitCommand`; secrets are in files of a private directory. Contents are fetched only
//! when they are asked for (`--filter=blob:none`). Every invocation has a limit in time and in
//! output; what exceeds it is killed with its whole process group, and so is what was started for a
//! future that is dropped.

mod answer;
mod command;
mod local;
mod parse;
mod session;
mod settings;
mod sign;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use local::{LocalCommit, LocalRepository};
use rustix::process::{Pid, Signal, kill_process_group};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use self::{
    answer::redact,
    command::GitCommand,
    session::BinarySession,
    settings::{PARTIAL_CLONE, Settings, make_repository},
};
use super::{
    backend::{GitBackend, GitError, GitResult, GitSession, Remote},
    credentials::{CredentialRefusal, Login},
    forge::ForgeError,
    source::{AddressRule, AllowedHosts, GitUrl, Transport},
};
use crate::revision::hex;

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
    cache: PathBuf,
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
    /// Repositories on this machine in the place of servers, by their addresses.
    local: BTreeMap<String, PathBuf>,
}

impl BinaryConfig {
    /// The usual limits, with copies in a directory of our own inside of `folder`. What else is in
    /// the folder is left alone: somebody may name one that he uses.
    pub fn new(folder: &Path, allowed_hosts: AllowedHosts) -> Self {
        Self {
            cache: folder.join("sluice-git"),
            scratch: None,
            allowed_hosts,
            addresses: AddressRule::default(),
            network_limit: Duration::from_secs(90),
            local_limit: Duration::from_secs(30),
            local: BTreeMap::new(),
        }
    }

    /// Has what is declared under the address `url` be read from and pushed to a repository on this
    /// machine, without any network. For demonstrations and for people's own repositories; there is
    /// no setting of the controller that leads here.
    #[must_use]
    pub fn with_local(mut self, url: &GitUrl, repository: &LocalRepository) -> Self {
        self.local.insert(url.as_str().to_owned(), repository.path().to_owned());
        self
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
            if remote.credentials.app().is_some() {
                // Who carries no calls to a forge has no token of an App.
                return Err(ForgeError::NoCarrier.into());
            }
            let is_ssh = matches!(remote.credentials.login, Login::Ssh { .. });
            match remote.url.transport() {
                Transport::Ssh if !is_ssh => return Err(CredentialRefusal::NoIdentity.into()),
                Transport::Https if is_ssh => {
                    return Err(GitError::Auth { host: remote.url.host().into() });
                }
                Transport::Ssh | Transport::Https => {}
            }
            let mut hasher = Sha256::new();
            hasher.update(remote.url.as_str());
            hasher.update([0]);
            hasher.update(remote.credentials.id());
            let key: String = hex(&hasher.finalize()).chars().take(32).collect();
            let turn = self.turn(&key).await?;
            let scratch = self.0.config.scratch.as_deref();
            let settings = match self.0.config.local.get(remote.url.as_str()) {
                Some(path) => Settings::write_local(remote, path, scratch)?,
                None => Settings::write(remote, &self.resolve(remote).await?, scratch)?,
            };
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
