//! How a command ends, for scripts.

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: done, healthy, or nothing was left to do.
    Done,
    /// 3: it waits, and only a person can let it go on.
    NeedsPerson,
    /// 1: an error, an unhealthy Rollout, or problems found.
    Failed,
    /// 4: a simulation or a test came to another end than was expected.
    Unexpected,
    /// 2: a wrong command line, or no connection.
    Usage,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NeedsPerson => 3,
            Self::Unexpected => 4,
        }
    }

    /// What is worse of two, for commands that do several things.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}
