//! `spec.gitRevert`.

use chrono::TimeDelta;

use super::Problems;
use super::types::{NamedSource, ValidGit};
use crate::api::git_revert::{
    GitCommitOptions, GitRevert, GitRevertCause, GitRevertMode, GitSource, PullRequestOptions,
    PullRequestProvider,
};
use crate::api::values::IntOrString;
use crate::git::forge::Forge;
use crate::git::message::SubjectTemplate;
use crate::git::source::{BranchName, GitUrl, RepoPath};

const FIELD: &str = "spec.gitRevert";

/// Checks the wish to revert; `None` when it is disabled or cannot be used.
pub(super) fn check(git: &GitRevert, problems: &mut Problems) -> Option<ValidGit> {
    match git.mode {
        GitRevertMode::Disabled => return None,
        GitRevertMode::Suggest | GitRevertMode::PullRequest | GitRevertMode::Push => {}
    }
    refuse_unbuilt(git, problems);
    if let Some(commit) = &git.commit {
        check_commit(commit, problems);
    }
    if let Some(options) = &git.pull_request {
        check_labels(options, problems);
    }
    let provider = git.pull_request.as_ref().and_then(|options| options.provider);
    let named =
        git.source.as_ref().and_then(|source| named(source, (git.mode, provider), problems));
    let mut duration = |field: &str, given: Option<&IntOrString>, usual: TimeDelta| {
        given
            .and_then(|given| problems.take(&format!("{FIELD}.{field}"), given.as_duration()))
            .unwrap_or(usual)
    };
    let verify_timeout =
        duration("verifyTimeout", git.verify_timeout.as_ref(), TimeDelta::minutes(15));
    let settle = duration("settle", git.settle.as_ref(), TimeDelta::seconds(30));
    let cooldown = duration("cooldown", git.cooldown.as_ref(), TimeDelta::hours(24));
    let max_per_day = git.max_per_day.unwrap_or(2);
    if max_per_day == 0 {
        problems.add(
            format!("{FIELD}.maxPerDay"),
            "must be at least 1; `mode: Suggest` pushes nothing",
        );
    }
    Some(ValidGit {
        mode: git.mode,
        approval: git.approval.unwrap_or_default(),
        causes: if git.causes.is_empty() {
            vec![GitRevertCause::AnalysisFailed]
        } else {
            git.causes.clone()
        },
        named,
        provider,
        requests: git.pull_request.clone().unwrap_or_default(),
        secret: git
            .source
            .as_ref()
            .and_then(|source| source.secret_ref.as_ref())
            .map(|secret| secret.name.clone()),
        credential: git
            .source
            .as_ref()
            .and_then(|source| source.credential_ref.as_ref())
            .map(|credential| credential.name.clone()),
        verify_timeout,
        settle,
        cooldown,
        max_per_day,
        commit: git.commit.clone().unwrap_or_default(),
    })
}

/// The place that the user names; `None` when it is to be found.
fn named(
    source: &GitSource,
    (mode, provider): (GitRevertMode, Option<PullRequestProvider>),
    problems: &mut Problems,
) -> Option<NamedSource> {
    let field = |name: &str| format!("{FIELD}.source.{name}");
    let GitSource { url, branch, path, file, secret_ref, credential_ref } = source;
    if secret_ref.is_some() && credential_ref.is_some() {
        problems
            .add(field("credentialRef"), "stands in the place of secretRef: set one of the two");
    }
    let (Some(url), Some(branch), Some(path)) = (url, branch, path) else {
        for (name, is_missing) in
            [("url", url.is_none()), ("branch", branch.is_none()), ("path", path.is_none())]
        {
            if is_missing && (url.is_some() || branch.is_some() || path.is_some() || file.is_some())
            {
                let words = "is required: set url, branch and path, or none of them and no file (the \
                             source is then found through Argo CD or Flux)";
                problems.add(field(name), words);
            }
        }
        return None;
    };
    problems.take(&field("url"), GitUrl::parse(url));
    problems.take(&field("branch"), BranchName::parse(branch));
    problems.take(&field("path"), RepoPath::parse(path));
    if let Some(file) = file {
        problems.take(&field("file"), RepoPath::parse(file));
    }
    if mode == GitRevertMode::PullRequest
        && let Ok(url) = GitUrl::parse(url)
        && let Err(error) = Forge::of(&url, provider)
    {
        problems.add(field("url"), error.to_string());
    }
    let (url, branch, path) = (url.clone(), branch.clone(), path.clone());
    Some(NamedSource { url, branch, path, file: file.clone() })
}

fn refuse_unbuilt(git: &GitRevert, problems: &mut Problems) {
    if git.scope.as_deref().is_some_and(|scope| scope != "Rollout") {
        problems.unbuilt(format!("{FIELD}.scope"), ": only Rollout is");
    }
    if !git.also.is_empty() {
        problems.unbuilt(format!("{FIELD}.also"), "");
    }
    for (idx, cause) in git.causes.iter().enumerate() {
        match cause {
            GitRevertCause::AnalysisFailed => {}
            GitRevertCause::ProgressDeadlineExceeded | GitRevertCause::PodsUnhealthy => {
                problems.unbuilt(format!("{FIELD}.causes[{idx}]"), ": only AnalysisFailed is");
            }
        }
    }
}

/// Labels that every forge takes.
fn check_labels(options: &PullRequestOptions, problems: &mut Problems) {
    let is_label = |label: &String| {
        !label.trim().is_empty()
            && label.chars().count() <= 50
            && !label.chars().any(|c| c.is_control() || c == ',')
    };
    for (idx, label) in options.labels.iter().enumerate() {
        if !is_label(label) {
            let field = format!("{FIELD}.pullRequest.labels[{idx}]");
            problems.add(field, "must be 1 to 50 characters, without comma and line break");
        }
    }
    if options.labels.len() > 20 {
        problems.add(format!("{FIELD}.pullRequest.labels"), "at most 20 are set");
    }
}

fn check_commit(commit: &GitCommitOptions, problems: &mut Problems) {
    let subject = commit.subject_template.as_deref().map(SubjectTemplate::parse);
    if let Some(Err(error)) = subject {
        problems.add(format!("{FIELD}.commit.subjectTemplate"), error.to_string());
    }
    if commit.signing_secret_ref.as_ref().is_some_and(|secret| secret.name.is_empty()) {
        let field = format!("{FIELD}.commit.signingSecretRef.name");
        problems.add(field, "is required: the Secret that holds the key `signingKey`");
    }
}
