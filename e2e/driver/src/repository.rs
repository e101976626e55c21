//! A work tree of the test repository, moved by the `git` program: what an app team's laptop does. One branch a scenario,
//! so that scenarios never meet.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use tokio::process::Command;

use crate::settings::GitSettings;

/// A clone of one branch.
#[derive(Clone)]
pub(crate) struct Repository {
    directory: PathBuf,
    branch: String,
    settings: GitSettings,
}

impl Repository {
    /// A work tree in `directory` whose branch begins anew: whatever the server had under that name is replaced.
    pub(crate) async fn begin(
        settings: &GitSettings,
        directory: &Path,
        branch: &str,
    ) -> Result<Self> {
        let repository = Self::at(settings, directory, branch).await?;
        repository.git(&["init", "--quiet", "--initial-branch", branch]).await?;
        repository.git(&["remote", "add", "origin", &settings.url]).await?;
        Ok(repository)
    }

    /// A second, independent clone of the branch, as a GitOps agent has it.
    pub(crate) async fn clone_of(&self, directory: &Path) -> Result<Self> {
        let clone = Self::at(&self.settings, directory, &self.branch).await?;
        clone.git(&["init", "--quiet", "--initial-branch", &self.branch]).await?;
        clone.git(&["remote", "add", "origin", &self.settings.url]).await?;
        Ok(clone)
    }

    async fn at(settings: &GitSettings, directory: &Path, branch: &str) -> Result<Self> {
        if directory.exists() {
            tokio::fs::remove_dir_all(directory)
                .await
                .with_context(|| format!("failed to empty {}", directory.display()))?;
        }
        tokio::fs::create_dir_all(directory)
            .await
            .with_context(|| format!("failed to make {}", directory.display()))?;
        Ok(Self {
            directory: directory.to_owned(),
            branch: branch.to_owned(),
            settings: settings.clone(),
        })
    }

    /// Writes files (path in the repository, content).
    pub(crate) async fn write(&self, files: &[(String, String)]) -> Result<()> {
        for (path, content) in files {
            let target = self.directory.join(path);
            if let Some(parent) = target.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            tokio::fs::write(&target, content)
                .await
                .with_context(|| format!("failed to write {}", target.display()))?;
        }
        Ok(())
    }

    /// The content of a file of the work tree.
    pub(crate) async fn read(&self, path: &str) -> Result<String> {
        let target = self.directory.join(path);
        tokio::fs::read_to_string(&target)
            .await
            .with_context(|| format!("failed to read {}", target.display()))
    }

    /// Commits everything and pushes it; gives the commit.
    pub(crate) async fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", message]).await?;
        let refspec = format!("HEAD:refs/heads/{}", self.branch);
        // Only the first push of a scenario may find an older branch in its way.
        let first = self.git(&["rev-list", "--count", "HEAD"]).await? == "1";
        let mut push = vec!["push", "--quiet", "origin", &refspec];
        if first {
            push.push("--force");
        }
        self.git(&push).await?;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Replaces `old` by `new` in a file (exactly one place), commits and pushes.
    pub(crate) async fn change(&self, path: &str, old: &str, new: &str) -> Result<String> {
        self.pull().await?;
        let content = self.read(path).await?;
        let places = content.matches(old).count();
        if places != 1 {
            bail!("`{old}` stands {places} times in {path}, and not once");
        }
        self.write(&[(path.to_owned(), content.replace(old, new))]).await?;
        self.commit(&format!("Change {old} to {new}")).await
    }

    /// Brings the work tree to the branch as the server has it; gives its tip.
    pub(crate) async fn pull(&self) -> Result<String> {
        self.git(&["fetch", "--quiet", "origin", &format!("refs/heads/{}", self.branch)]).await?;
        self.git(&["checkout", "--quiet", "--force", "-B", &self.branch, "FETCH_HEAD"]).await?;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Commits after `since` on the branch as last pulled, newest first.
    pub(crate) async fn commits_since(&self, since: &str) -> Result<Vec<String>> {
        let listed = self.git(&["rev-list", &format!("{since}..HEAD")]).await?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    /// Output of a read-only git command in the work tree.
    pub(crate) async fn show(&self, arguments: &[&str]) -> Result<String> {
        self.git(arguments).await
    }

    /// Where the work tree is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    async fn git(&self, arguments: &[&str]) -> Result<String> {
        let credentials = format!("{}:{}", self.settings.user, self.settings.password);
        let header = format!(
            "Authorization: Basic {}",
            base64::engine::general_purpose::STANDARD.encode(credentials)
        );
        let output = Command::new("git")
            .args(arguments)
            .current_dir(&self.directory)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "App Team")
            .env("GIT_AUTHOR_EMAIL", "team@example.test")
            .env("GIT_COMMITTER_NAME", "App Team")
            .env("GIT_COMMITTER_EMAIL", "team@example.test")
            // The variable, because one of the machine's own would win over `http.sslCAInfo`.
            .env("GIT_SSL_CAINFO", &self.settings.ca)
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", header)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(30), output)
            .await
            .with_context(|| format!("git {} has not ended after 30 s", arguments.join(" ")))?
            .context("git cannot be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("git {} failed: {}", arguments.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
