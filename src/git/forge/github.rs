//! GitHub, github.com and Enterprise Server. Source: REST API documentation, "Pulls", version
//! 2022-11-28.

use serde_json::Value;

use super::{Call, Place, Provider, PullRequest, RequestState};
use super::{PAGE, commit, owner_and_name, read_pull, text};
use crate::git::source::BranchName;

pub(super) struct GitHub;

/// What every call names beside its token.
pub(in crate::git) const HEADERS: &[(&str, &str)] =
    &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")];

impl Provider for GitHub {
    fn name(&self) -> &'static str {
        "GitHub"
    }

    fn base(&self, host: &str) -> String {
        if host == "github.com" {
            "https://api.github.com".to_owned()
        } else {
            format!("https://{host}/api/v3")
        }
    }

    fn repository(&self, path: &str) -> Result<String, &'static str> {
        owner_and_name(path)
    }

    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        HEADERS
    }

    fn list(&self, at: &Place<'_>, head: &BranchName, base: &BranchName, page: u32) -> Call {
        let owner = at.repository.split('/').next().unwrap_or_default();
        let query = vec![
            ("state", "all".to_owned()),
            ("head", format!("{owner}:{head}")),
            ("base", base.to_string()),
            ("per_page", PAGE.to_string()),
            ("page", page.to_string()),
        ];
        at.get(&format!("/repos/{}/pulls", at.repository), query)
    }

    fn read(&self, value: &Value) -> Option<(PullRequest, String, String)> {
        let state = match text(value, "/state")?.as_str() {
            "open" => RequestState::Open,
            "closed" if value.pointer("/merged_at").is_some_and(|at| !at.is_null()) => {
                RequestState::Merged(commit(value, "/merge_commit_sha"))
            }
            "closed" => RequestState::Closed,
            _ => return None,
        };
        read_pull(value, state)
    }
}
