//! The Git server behind its network: repositories in memory, with the delays and faults of the
//! world. The controller reaches it through its own port; people and bots through orders.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::agenda::Time;
use super::behaviour::{GitAnswer, GitBehaviour, PushAnswer};
use super::random::Random;
use crate::clock::Clock;
use crate::git::backend::{GitBackend, GitError, GitResult, GitSession, NewCommit, Remote};
use crate::git::memory::{Files, MemoryGit};
use crate::git::plan::{Blob, BlobId, HistoryEntry, Tree};
use crate::git::revert_id::RevertId;
use crate::git::source::{BranchName, GitUrl, RepoPath};
use crate::revision::Commit;

/// After so long the git program is stopped.
const LIMIT: Duration = Duration::from_mins(1);

/// A Git server; clones share it.
#[derive(Clone)]
pub(crate) struct GitServer {
    memory: MemoryGit,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    /// Cancelled when the process dies that this handle belongs to.
    ended: CancellationToken,
}

#[derive(Debug)]
struct State {
    behaviour: GitBehaviour,
    random: Random,
    /// Pushes of the controller that landed, with their times.
    pushes: Vec<(Time, Commit)>,
    races: u32,
}

impl fmt::Debug for GitServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitServer").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl GitServer {
    pub(crate) fn new(clock: Arc<dyn Clock>, behaviour: GitBehaviour, seed: u64) -> Self {
        let random = Random::stream(seed, "git");
        let state = State { behaviour, random, pushes: Vec::new(), races: 0 };
        let state = Arc::new(Mutex::new(state));
        Self { memory: MemoryGit::default(), clock, state, ended: CancellationToken::new() }
    }

    /// The same server, as a process sees it that ends with `ended`.
    pub(crate) fn until(&self, ended: CancellationToken) -> Self {
        Self { ended, ..self.clone() }
    }

    /// The repositories.
    pub(crate) fn memory(&self) -> &MemoryGit {
        &self.memory
    }

    /// Changes how it behaves.
    pub(crate) fn behave(&self, behaviour: GitBehaviour) {
        self.state().behaviour = behaviour;
    }

    /// Pushes through the port that landed.
    pub(crate) fn pushes(&self) -> Vec<(Time, Commit)> {
        self.state().pushes.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an agent that fetches now gets; the error that it meets.
    pub(crate) fn check(&self) -> Result<(), GitError> {
        refusal(self.state().behaviour.answer, "git.example.test").map_or(Ok(()), Err)
    }

    /// The way to the server and back: its delay, and what is met there.
    async fn travel(&self, url: &GitUrl) -> Result<(), GitError> {
        let dead = || GitError::Transient { detail: "the process has ended".to_owned() };
        if self.ended.is_cancelled() {
            return Err(dead());
        }
        let (delay, answer) = {
            let mut state = self.state();
            let takes = state.behaviour.takes;
            (state.random.within(takes), state.behaviour.answer)
        };
        tokio::time::sleep(self.clock.real_wait(delay.to_std().unwrap_or_default())).await;
        if answer == GitAnswer::Hangs {
            // The port promises that no operation lasts for ever.
            tokio::time::sleep(self.clock.real_wait(LIMIT)).await;
            return Err(GitError::Timeout { operation: "fetch", seconds: LIMIT.as_secs() });
        }
        match refusal(answer, url.as_str()) {
            _ if self.ended.is_cancelled() => Err(dead()),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn refusal(answer: GitAnswer, host: &str) -> Option<GitError> {
    match answer {
        GitAnswer::Works | GitAnswer::Hangs => None,
        GitAnswer::Unreachable => {
            Some(GitError::Transient { detail: "the connection was refused".to_owned() })
        }
        GitAnswer::Unauthorized => Some(GitError::Auth { host: host.to_owned() }),
    }
}

impl GitBackend for GitServer {
    fn open<'a>(&'a self, remote: &'a Remote) -> GitResult<'a, Box<dyn GitSession>> {
        Box::pin(async move {
            let inner = self.memory.open(remote).await?;
            let session = Session { server: self.clone(), url: remote.url.clone(), inner };
            Ok(Box::new(session) as Box<dyn GitSession>)
        })
    }
}

struct Session {
    server: GitServer,
    url: GitUrl,
    inner: Box<dyn GitSession>,
}

impl Session {
    /// Somebody else's commit, on a file that nobody needs.
    fn race(&self, branch: &BranchName) {
        let number = {
            let mut state = self.server.state();
            state.races += 1;
            state.races
        };
        let Ok(path) = RepoPath::parse("other.txt") else { return };
        let files = Files::from([(path, Some(format!("{number}\n").into_bytes()))]);
        self.server.memory.commit(&self.url, branch, &files, "Change something else");
    }
}

impl GitSession for Session {
    fn fetch_tip<'a>(&'a mut self, branch: &'a BranchName) -> GitResult<'a, Commit> {
        Box::pin(async move {
            self.server.travel(&self.url).await?;
            self.inner.fetch_tip(branch).await
        })
    }

    fn default_branch(&mut self) -> GitResult<'_, BranchName> {
        Box::pin(async move {
            self.server.travel(&self.url).await?;
            self.inner.default_branch().await
        })
    }

    fn require_commit<'a>(&'a mut self, commit: &'a Commit) -> GitResult<'a, ()> {
        // It came with the history of the tip.
        self.inner.require_commit(commit)
    }

    fn tree<'a>(&'a mut self, commit: &'a Commit, path: &'a RepoPath) -> GitResult<'a, Tree> {
        self.inner.tree(commit, path)
    }

    fn blobs<'a>(&'a mut self, ids: &'a BTreeSet<BlobId>) -> GitResult<'a, Vec<(BlobId, Blob)>> {
        Box::pin(async move {
            self.server.travel(&self.url).await?;
            self.inner.blobs(ids).await
        })
    }

    fn find_revert<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        id: &'a RevertId,
    ) -> GitResult<'a, Option<Commit>> {
        self.inner.find_revert(after, until, id)
    }

    fn history<'a>(
        &'a mut self,
        after: &'a Commit,
        until: &'a Commit,
        paths: &'a [RepoPath],
    ) -> GitResult<'a, Vec<HistoryEntry>> {
        self.inner.history(after, until, paths)
    }

    fn commit_paths<'a>(&'a mut self, commit: NewCommit<'a>) -> GitResult<'a, Commit> {
        self.inner.commit_paths(commit)
    }

    fn create_branch<'a>(
        &'a mut self,
        branch: &'a BranchName,
        commit: &'a Commit,
    ) -> GitResult<'a, ()> {
        Box::pin(async move {
            self.server.travel(&self.url).await?;
            self.inner.create_branch(branch, commit).await
        })
    }

    fn push_cas<'a>(
        &'a mut self,
        branch: &'a BranchName,
        new: &'a Commit,
        expected: &'a Commit,
    ) -> GitResult<'a, ()> {
        Box::pin(async move {
            self.server.travel(&self.url).await?;
            let push = self.server.state().behaviour.push.clone();
            match &push {
                PushAnswer::Rejected(detail) => {
                    let (branch, detail) = (branch.to_string(), detail.clone());
                    return Err(GitError::Protected { branch, detail });
                }
                PushAnswer::Raced => self.race(branch),
                PushAnswer::Accepted | PushAnswer::ReplyLost => {}
            }
            self.inner.push_cas(branch, new, expected).await?;
            let now = self.server.clock.now();
            self.server.state().pushes.push((now, new.clone()));
            if push == PushAnswer::ReplyLost {
                return Err(GitError::Transient { detail: "the connection was closed".to_owned() });
            }
            Ok(())
        })
    }
}
