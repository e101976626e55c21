//! `ClusterGitCredential`: the right to push that a platform team lends to the Rollouts of others. The
//! Secret is in the namespace of the controller, where no team reads it; what it may be used for stands
//! beside it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::git_revert::{GitRevertMode, LocalSecretRef};

/// Specification of a `ClusterGitCredential`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitCredentialSpec {
    /// What the address of a repository must begin with, up to the border of a part of its path:
    /// `https://git.example.org/shop`, or one repository.
    pub url_prefix: String,
    /// Secret in the controller's namespace, with the keys that `gitRevert.source.secretRef` takes.
    pub secret_ref: LocalSecretRef,
    /// Who may use it, and for what. Without an entry nobody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<GitGrant>,
}

/// Who may use a credential, and for what. In each list `*` stands for any run of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GitGrant {
    /// Namespaces of the Rollouts; at least one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Branches that the GitOps tool follows. Default: every branch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// Folders that may be changed, with all that is below them; `{namespace}` stands for the Rollout's
    /// namespace, as in `apps/{namespace}`. Default: every folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// How far a revert may go: the furthest of these modes. Default: `PullRequest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<GitRevertMode>,
}

impl GitGrant {
    /// How far a revert may go.
    pub fn furthest(&self) -> GitRevertMode {
        self.modes.iter().copied().max().unwrap_or(GitRevertMode::PullRequest)
    }
}
