//! `spec.gitRevert`: what happens in Git when an update fails its analysis.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{IntOrString, is_false};

/// What happens in Git when an update fails its analysis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitRevert {
    /// `Disabled` (default), `Suggest`, `PullRequest` or `Push`.
    #[serde(default)]
    pub mode: GitRevertMode,
    /// `Auto` (default), or `Manual`: waits for `kubectl sluice revert --approve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<GitApproval>,
    /// Which failures are reverted. Default: `AnalysisFailed` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<GitRevertCause>,
    /// Where Git declares this Rollout. Without `url`, `branch` and `path` it is found through the Argo CD
    /// Application or the Flux Kustomization that applies the Rollout, and lists it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<GitSource>,
    /// `Rollout` (default: only this Rollout's template) or `Path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Further paths that may be restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// How long Git is left alone after a failure, so that a person who is at it already is not
    /// overtaken. Default 30s; `0s`: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle: Option<IntOrString>,
    /// How long a template that failed stays refused when it is declared again, by a bot or by a sync:
    /// it is not rolled out until a person says so (`kubectl sluice release-hold`). Default 24h; `0s`:
    /// not at all. A template that is held when the time is over stays held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<IntOrString>,
    /// Most commits for this Rollout in 24 hours, at least 1. Default 2; one more is suspended until a
    /// person puts Git right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_day: Option<u32>,
    /// How long to wait until the cluster shows the reverted template. Default 15m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_timeout: Option<IntOrString>,
    /// Author and form of the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<GitCommitOptions>,
    /// Where and how a pull request is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestOptions>,
}

/// How far Sluice goes by itself.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum GitRevertMode {
    /// Git is not touched and nothing is suggested. (Not `Off`: kubectl would read that as false.)
    #[default]
    Disabled,
    /// The change is put into an Event and into status; Git is only read.
    Suggest,
    /// The change is proposed as a pull request.
    PullRequest,
    /// The change is pushed to the branch as one additive commit; as a pull request where it may not be.
    Push,
}

impl GitRevertMode {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Suggest => "Suggest",
            Self::PullRequest => "PullRequest",
            Self::Push => "Push",
        }
    }
}

/// Where and how a pull request is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullRequestOptions {
    /// Whose API the repository's host speaks. Default: known from the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<PullRequestProvider>,
    /// Opens it as a draft, which somebody has to mark as ready. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub draft: bool,
    /// Its labels; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

/// A forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullRequestProvider {
    /// github.com or GitHub Enterprise Server.
    GitHub,
    /// gitlab.com or a GitLab of your own.
    GitLab,
    /// Gitea or Forgejo.
    Gitea,
}

/// Whether a revert waits for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GitApproval {
    /// No person is asked.
    #[default]
    Auto,
    /// `kubectl sluice revert --approve` starts it.
    Manual,
}

/// A failure that may be reverted in Git.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GitRevertCause {
    /// An analysis ended as Failed, with measurements.
    AnalysisFailed,
    /// The progress deadline passed and aborted the update.
    ProgressDeadlineExceeded,
    /// The new pods did not become healthy.
    PodsUnhealthy,
}

/// Where Git declares a Rollout: `url`, `branch` and `path`, or none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// Repository: `https://...`, `ssh://...` or `user@host:path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Branch that the GitOps tool follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Folder inside the repository (a plain folder or one with a kustomization).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The one file that holds the Rollout, relative to `path`, which it needs. Default: it is searched
    /// for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Secret with the credentials, in the Rollout's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalSecretRef>,
    /// `ClusterGitCredential` that the platform team lends, in the place of `secretRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_ref: Option<ClusterCredentialRef>,
}

/// A `ClusterGitCredential`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterCredentialRef {
    /// Its name.
    pub name: String,
}

/// A Secret in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalSecretRef {
    /// Name of the Secret.
    pub name: String,
}

/// Author and form of a revert commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitCommitOptions {
    /// Author's name. Default `Sluice`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author_name: Option<String>,
    /// Author's e-mail address. Default `sluice@noreply.invalid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author_email: Option<String>,
    /// The subject line, in which `{namespace}`, `{name}`, `{stable}` and `{failed}` (the two versions)
    /// are filled in; cut to 72 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_template: Option<String>,
    /// Adds a `Signed-off-by` trailer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sign_off: bool,
    /// Adds a line `[skip ci]` to the message. Default false.
    #[serde(rename = "skipCI", default, skip_serializing_if = "is_false")]
    pub skip_ci: bool,
    /// Secret in the Rollout's namespace whose key `signingKey` (or `git.asc`) holds the private key that
    /// commits are signed with: an OpenSSH key without passphrase, or an armored OpenPGP key, whose
    /// `passphrase` may stand beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret_ref: Option<LocalSecretRef>,
}
