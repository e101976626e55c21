//! Each run in a process of its own, forked from one that has done nothing yet: what a run finds of
//! process-wide state (lazy statics, counters of the runtime) is the same, whichever ran before. A
//! run that hangs or dies takes nothing with it.

#![expect(unsafe_code, reason = "fork and its relatives")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A run in a process of its own.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    output: File,
    received: Vec<u8>,
    started: Instant,
}

/// How a child stands.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It runs.
    Running,
    /// It is over; what it wrote.
    Over(Vec<u8>),
    /// It came to a bad end.
    Died(String),
}

fn pipe() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let mut ends: [RawFd; 2] = [0; 2];
    // SAFETY: the array has room for the two descriptors that the call writes.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        bail!("failed to make a pipe: {}", std::io::Error::last_os_error());
    }
    // SAFETY: the call has opened both, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

impl Child {
    /// Forks, and does `work` in the child: in a fresh thread, because the standard library keeps
    /// the keys of its hash maps by thread.
    ///
    /// # Errors
    /// The system has no process left.
    pub(crate) fn start(work: impl FnOnce() -> Vec<u8> + Send + 'static) -> anyhow::Result<Self> {
        let (reader, writer) = pipe()?;
        // SAFETY: this program has one thread whenever it forks.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            bail!("failed to fork: {}", std::io::Error::last_os_error());
        }
        if pid == 0 {
            // A child whose parent is gone is of no use to anybody.
            // SAFETY: a flag of this process.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            drop(reader);
            let code = match std::thread::Builder::new().stack_size(64 << 20).spawn(work) {
                Ok(thread) => match thread.join() {
                    Ok(bytes) => i32::from(File::from(writer).write_all(&bytes).is_err()),
                    Err(_) => 101,
                },
                Err(_) => 102,
            };
            // SAFETY: ends this process without running what the parent has registered.
            unsafe { libc::_exit(code) };
        }
        drop(writer);
        let output = File::from(reader);
        Ok(Self { pid, output, received: Vec::new(), started: Instant::now() })
    }

    /// Reads for up to 20 ms what has come.
    ///
    /// # Errors
    /// The pipe cannot be read.
    pub(crate) fn poll(&mut self, limit: Duration) -> anyhow::Result<Progress> {
        use std::os::fd::AsRawFd as _;
        let mut wanted =
            libc::pollfd { fd: self.output.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd that lives through the call.
        let ready = unsafe { libc::poll(&raw mut wanted, 1, 20) };
        if ready <= 0 {
            if self.started.elapsed() > limit {
                // SAFETY: the process is a child of ours that nobody has waited for.
                unsafe { libc::kill(self.pid, libc::SIGKILL) };
                let _ = self.wait();
                return Ok(Progress::Died(format!("it ran longer than {limit:?}")));
            }
            return Ok(Progress::Running);
        }
        let mut part = vec![0; 1 << 16];
        let count = self.output.read(&mut part).context("failed to read from a run")?;
        if count > 0 {
            self.received.extend(part.into_iter().take(count));
            return Ok(Progress::Running);
        }
        match self.wait() {
            0 => Ok(Progress::Over(std::mem::take(&mut self.received))),
            status => Ok(Progress::Died(format!("it ended with status {status}"))),
        }
    }

    fn wait(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` lives through the call; the process is a child of ours.
        unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + (status & 0x7f) }
    }
}
