//! The branch that declares the Rollout: where it is, its file, and what a commit changes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::intake::Team;
use crate::cli::error::CliError;
use crate::git::plan::{Edit, FieldPath, Step, edit};
use crate::git::source::{BranchName, GitUrl, RepoPath};

/// Where Git declares the Rollout.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) url: GitUrl,
    pub(super) branch: BranchName,
    pub(super) folder: RepoPath,
    pub(super) file: RepoPath,
    pub(super) text: String,
}

/// Where Git declares the Rollout, if it says so and Git is put right there.
pub(super) fn place(team: &Team) -> Result<Option<Place>, CliError> {
    let Some(source) = team.spec.git_revert.as_ref().and_then(|git| git.source.as_ref()) else {
        return Ok(None);
    };
    let wrong = |field: &str, why: String| {
        CliError::refused(
            format!("spec.gitRevert.source.{field}: {why}"),
            "see docs/git-revert.md for what stands there",
        )
    };
    let (Some(url), Some(branch), Some(path)) = (&source.url, &source.branch, &source.path) else {
        return Ok(None);
    };
    let url = GitUrl::parse(url).map_err(|error| wrong("url", error.to_string()))?;
    let branch = BranchName::parse(branch).map_err(|error| wrong("branch", error.to_string()))?;
    let folder = RepoPath::parse(path).map_err(|error| wrong("path", error.to_string()))?;
    let given = team.rollout().map(|one| one.file.as_str()).unwrap_or_default();
    let base = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_yaml = base.rsplit_once('.').is_some_and(|(_, end)| ["yaml", "yml"].contains(&end));
    let own = if is_yaml { base } else { "rollout.yaml" };
    let file = source.file.as_deref().unwrap_or(own);
    let path =
        if folder.as_str().is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
    let file = RepoPath::parse(&path).map_err(|error| wrong("file", error.to_string()))?;
    Ok(Some(Place { url, branch, folder, file, text: team.text()? }))
}

/// The text with another image of the first container, and nothing else changed.
pub(super) fn with_image(declared: &str, from: &str, to: &str) -> Result<String, CliError> {
    let path = ["spec", "template", "spec", "containers"].map(|key| Step::Key(key.to_owned()));
    let mut path = path.to_vec();
    path.push(Step::Index(0));
    path.push(Step::Key("image".to_owned()));
    let one = Edit {
        document: 0,
        path: FieldPath(path),
        from: json!(from),
        to: json!(to),
        written_as: None,
    };
    edit(declared, &[one]).map_err(|error| {
        CliError::refused(
            format!("the image cannot be changed in the file of the Rollout: {error}"),
            "write spec.template.spec.containers[0].image out on one line",
        )
    })
}

/// What differs between two states of a branch, as a unified diff.
pub(super) fn diff(
    before: &BTreeMap<RepoPath, Vec<u8>>,
    after: &BTreeMap<RepoPath, Vec<u8>>,
) -> String {
    let mut told = String::new();
    let paths: BTreeSet<&RepoPath> = before.keys().chain(after.keys()).collect();
    for path in paths {
        let content = |files: &BTreeMap<RepoPath, Vec<u8>>| {
            files
                .get(path)
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .unwrap_or_default()
        };
        let (old, new) = (content(before), content(after));
        if old != new {
            let mut options = diffy::DiffOptions::new();
            options.set_context_len(1);
            let (from, to) = (format!("a/{path}"), format!("b/{path}"));
            options.set_original_filename(from).set_modified_filename(to);
            told.push_str(&options.create_patch(&old, &new).to_string());
        }
    }
    told
}
