//! What is asked for, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Error;
use crate::git::backend::GitError;
use crate::git::binary::LocalRepository;
use crate::git::credentials::Credentials;
use crate::git::message::Author;
use crate::git::plan::Identity;
use crate::git::source::{BranchName, GitUrl, RepoPath, Source};
use crate::revision::Commit;

/// How the result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// `{result, reason, mode, files, patch, commit}`.
    Json,
}

/// `sluice git restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The repository: https, ssh, `file:` or a path of this machine.
    #[arg(long, value_name = "URL")]
    repo: String,
    /// The branch that declares the Rollout.
    #[arg(long)]
    branch: String,
    /// The directory that the GitOps tool applies.
    #[arg(long, default_value = ".")]
    path: String,
    /// The one file that declares the Rollout, relative to the path.
    #[arg(long)]
    file: Option<String>,
    /// The Rollout.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    rollout: String,
    /// The commit whose template is good.
    #[arg(long, value_name = "COMMIT")]
    good: String,
    /// The commit whose template failed.
    #[arg(long, value_name = "COMMIT")]
    bad: String,
    /// Commits to the branch what is proved.
    #[arg(long)]
    pub(super) push: bool,
    /// A folder with a file for each key of a credentials Secret: username, password, bearerToken,
    /// identity, known_hosts, ca.crt.
    #[arg(long, value_name = "FOLDER")]
    credentials: Option<PathBuf>,
    /// Name of the author.
    #[arg(long, default_value = "Sluice")]
    author_name: String,
    /// E-mail address of the author.
    #[arg(long, default_value = "")]
    author_email: String,
    /// Why the version failed, for the commit message; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Vec<String>,
    /// Adds `Signed-off-by`.
    #[arg(long)]
    pub(super) sign_off: bool,
    /// Adds `[skip ci]` to the message.
    #[arg(long)]
    pub(super) skip_ci: bool,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

/// Where everything is.
pub(super) struct Place {
    pub(super) source: Source,
    pub(super) identity: Identity,
    pub(super) good: Commit,
    pub(super) bad: Commit,
    /// The repository, when it is on this machine.
    pub(super) local: Option<LocalRepository>,
    /// As it was named.
    named: String,
}

impl Place {
    /// The error, with the repository under the name that the caller knows.
    pub(super) fn told(&self, error: GitError) -> Error {
        match (&self.local, error) {
            (Some(_), GitError::NotFound { .. }) => Error::Argument {
                flag: "repo",
                reason: format!("{} is no Git repository", self.named),
            },
            (_, GitError::BranchGone { branch }) => Error::Argument {
                flag: "branch",
                reason: format!("{} has no branch {branch}", self.named),
            },
            (_, error) => Error::Git(error),
        }
    }
}

impl Arguments {
    /// Checks what was given.
    ///
    /// # Errors
    /// [`Error::Argument`], which names the flag.
    pub(super) fn place(&self) -> Result<Place, Error> {
        let (url, local) = repository(&self.repo)?;
        let source = Source {
            url,
            branch: BranchName::parse(&self.branch).map_err(Error::source("branch"))?,
            path: RepoPath::parse(&self.path).map_err(Error::source("path"))?,
            file: match &self.file {
                Some(file) => Some(RepoPath::parse(file).map_err(Error::source("file"))?),
                None => None,
            },
        };
        let names = self.rollout.split_once('/').filter(|(namespace, name)| {
            !namespace.is_empty() && !name.is_empty() && !name.contains('/')
        });
        let Some((namespace, name)) = names else {
            let reason = format!("{:?} is not of the form NAMESPACE/NAME", self.rollout);
            return Err(Error::Argument { flag: "rollout", reason });
        };
        Ok(Place {
            source,
            identity: Identity::rollout(namespace, name),
            good: Commit::parse(&self.good).map_err(Error::commit("good"))?,
            bad: Commit::parse(&self.bad).map_err(Error::commit("bad"))?,
            local,
            named: self.repo.clone(),
        })
    }

    pub(super) fn author(&self) -> Author {
        Author::new(&self.author_name, &self.author_email)
    }

    /// What stands in the folder of the credentials.
    ///
    /// # Errors
    /// What cannot be read, and what is not usable.
    pub(super) fn credentials(&self, url: &GitUrl) -> Result<Credentials, Error> {
        let Some(folder) = &self.credentials else {
            return Ok(Credentials::anonymous("nobody"));
        };
        let trouble = |path: &Path| {
            let path = path.display().to_string();
            move |source| Error::Credentials { path, source }
        };
        let mut data = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(trouble(folder))? {
            let path = entry.map_err(trouble(folder))?.path();
            // Mounted Secrets hold links and folders that begin with dots.
            let Some(key) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if path.is_file() && !key.starts_with('.') {
                data.insert(key.to_owned(), std::fs::read(&path).map_err(trouble(&path))?);
            }
        }
        Ok(Credentials::from_secret("folder", url, &data)?)
    }
}

/// The address of a repository; for one on this machine an address that stands for it.
fn repository(text: &str) -> Result<(GitUrl, Option<LocalRepository>), Error> {
    let is_remote = text.contains("://") || (text.contains(':') && !Path::new(text).exists());
    let path = match text.strip_prefix("file://") {
        Some(path) => path,
        None if is_remote => {
            return Ok((GitUrl::parse(text).map_err(Error::source("repo"))?, None));
        }
        None => text,
    };
    let missing = |error: std::io::Error| Error::Argument {
        flag: "repo",
        reason: format!("{path} cannot be opened: {error}"),
    };
    let whole = Path::new(path).canonicalize().map_err(missing)?;
    let stand_in = GitUrl::parse("https://this-machine.invalid/repository.git");
    Ok((stand_in.map_err(Error::source("repo"))?, Some(LocalRepository::at(&whole))))
}
