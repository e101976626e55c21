//! `sluice git restore`: a revert by hand, for scripts and audits. What the controller would write for
//! a Rollout whose version failed, decided by the same ladder, from two commits that the caller names.
//!
//! It runs with the rights of whoever runs it, so that a repository may be a path of this machine. It
//! never writes anything without `--push`, and has no part in the controller.

mod arguments;
mod report;

use std::io::{self, Write};
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use arguments::{Arguments, Format};
use report::{Outcome, Report};

use crate::clock::SystemClock;
use crate::git::backend::{Carrier as _, GitError, Remote};
use crate::git::binary::{BinaryConfig, BinaryGit};
use crate::git::credentials::CredentialRefusal;
use crate::git::executor::{
    Executor, LedgerFailure, Requests, RevertMode, RevertOutcome, RevertRequest,
};
use crate::git::http::HttpForge;
use crate::git::message::{MessageFacts, version_words};
use crate::git::plan::{Declaration, Identity};
use crate::git::revert_id::RevertId;
use crate::git::source::{AddressRule, AllowedHosts, InvalidSource};
use crate::revision::{InvalidCommit, TemplateDigest};

/// `sluice git`: work on repositories without a cluster.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Makes Git declare the template of an earlier commit again, by the smallest change that does. Prints
    /// what it would commit; `--push` commits it.
    ///
    /// Exit code 0: restored, pushed, already there, or overtaken by a later change. 3: a person is
    /// needed. 1: an error.
    Restore(Box<Arguments>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument cannot be used.
    #[error("--{flag}: {reason}")]
    Argument {
        /// Its name.
        flag: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A file of the credentials cannot be read.
    #[error("failed to read the credentials in {path}")]
    Credentials {
        /// The folder or file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The credentials are not usable.
    #[error("the credentials cannot be used")]
    Refused(#[from] CredentialRefusal),
    /// The folder for the copy of the repository cannot be made.
    #[error("failed to make a temporary folder")]
    Scratch(#[source] io::Error),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The output cannot be written.
    #[error("failed to write the result")]
    Write(#[from] io::Error),
}

impl Error {
    fn source(flag: &'static str) -> impl Fn(InvalidSource) -> Self {
        move |refusal| Self::Argument { flag, reason: refusal.to_string() }
    }

    fn commit(flag: &'static str) -> impl Fn(InvalidCommit) -> Self {
        move |refusal| {
            let hint = "the full id is needed; `git rev-parse COMMIT` prints it";
            Self::Argument { flag, reason: format!("{refusal}; {hint}") }
        }
    }
}

impl Command {
    /// Carries it out; data to `out`. The exit code.
    ///
    /// # Errors
    /// [`Error`]; nothing was pushed then, unless the answer to a push was lost.
    pub async fn run(&self, out: &mut impl Write, now: DateTime<Utc>) -> Result<u8, Error> {
        let Self::Restore(arguments) = self;
        let report = restore(arguments, now).await?;
        match arguments.output {
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Format::Text => write!(out, "{report}")?,
        }
        Ok(report.result.exit_code())
    }
}

async fn restore(arguments: &Arguments, now: DateTime<Utc>) -> Result<Report, Error> {
    let place = arguments.place()?;
    let scratch =
        tempfile::Builder::new().prefix("sluice-restore-").tempdir().map_err(Error::Scratch)?;
    let mut config = BinaryConfig::new(scratch.path(), any_host()?);
    let rule = AddressRule { permit_loopback: true };
    config.addresses = rule;
    if let Some(repository) = &place.local {
        config = config.with_local(&place.source.url, repository);
    }
    let git = BinaryGit::detect(config).await?;
    let executor = Executor::new(Arc::new(git), Arc::new(|| 0.5));
    let words = |error: GitError| place.told(error);
    let remote = Remote {
        url: place.source.url.clone(),
        credentials: Arc::new(arguments.credentials(&place.source.url)?),
    };
    // For the token of a GitHub App alone: nothing is proposed from here.
    let forge = HttpForge::new(any_host()?, rule, Arc::new(SystemClock));
    let remote = forge.authorize(&remote).await.map_err(|error| words(error.into()))?;
    let source = &place.source;
    let mut declarations = Vec::new();
    for (flag, commit) in [("good", &place.good), ("bad", &place.bad)] {
        match executor.declaration(&remote, source, &place.identity, commit).await {
            Ok(template) => declarations.push(Declaration { commit: commit.clone(), template }),
            Err(LedgerFailure::Git(GitError::CommitGone { .. })) => {
                let reason = format!("the repository has no commit {commit}");
                return Err(Error::Argument { flag, reason });
            }
            Err(LedgerFailure::Git(error)) => return Err(words(error)),
            Err(LedgerFailure::NothingApplied) => {}
            Err(LedgerFailure::Refused { refusal, .. }) => {
                return Ok(Report::refused(flag, commit, &refusal));
            }
        }
    }
    let [good, bad] = declarations.as_slice() else {
        return Err(Error::Argument { flag: "good", reason: "two commits are needed".to_owned() });
    };
    let request = RevertRequest {
        id: identity_of_run(&place.identity, bad, now),
        source: source.clone(),
        remote,
        identity: place.identity.clone(),
        message: message(&place.identity, good, bad, arguments),
        good: Some(good.clone()),
        bad: bad.clone(),
        mode: RevertMode::Suggest,
        found: None,
        requests: Requests::default(),
        author: arguments.author(),
        now,
    };
    let shown = Report::of(executor.revert(&request).await, &words)?;
    if shown.result != Outcome::Restored || !arguments.push {
        return Ok(shown);
    }
    let pushed = executor.revert(&RevertRequest { mode: RevertMode::Push, ..request }).await;
    match pushed {
        RevertOutcome::Pushed { commit } => Ok(shown.pushed(&commit)),
        other => Report::of(other, &words),
    }
}

/// Whoever runs it decides which servers are talked to.
fn any_host() -> Result<AllowedHosts, Error> {
    AllowedHosts::parse(["*"]).map_err(Error::source("repo"))
}

/// Each run is a revert of its own: asked for twice, it is done twice. The time tells the runs apart.
fn identity_of_run(identity: &Identity, bad: &Declaration, now: DateTime<Utc>) -> RevertId {
    let run = format!("by hand {}/{} {}", identity.namespace, identity.name, now.to_rfc3339());
    RevertId::new(&run, &TemplateDigest::of(&bad.template), &bad.commit)
}

fn message(
    identity: &Identity,
    good: &Declaration,
    bad: &Declaration,
    arguments: &Arguments,
) -> MessageFacts {
    let (stable_version, failed_version) =
        version_words((&good.template, good.commit.short()), (&bad.template, bad.commit.short()));
    MessageFacts {
        namespace: identity.namespace.clone(),
        name: identity.name.clone(),
        stable_version,
        failed_version,
        measurements: arguments.reason.clone(),
        failed_template: TemplateDigest::of(&bad.template).to_string(),
        stable_template: TemplateDigest::of(&good.template).to_string(),
        sign_off: arguments.sign_off,
        skip_ci: arguments.skip_ci,
        ..MessageFacts::default()
    }
}
