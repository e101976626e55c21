//! Gitea and Forgejo. Source: their API documentation (`/api/swagger`), "repository", version 1.

use serde_json::Value;

use super::{Call, Place, Provider, PullRequest, RequestState};
use super::{PAGE, commit, owner_and_name, read_pull, text};
use crate::git::source::BranchName;

pub(super) struct Gitea;

impl Provider for Gitea {
    fn name(&self) -> &'static str {
        "Gitea"
    }

    fn base(&self, host: &str) -> String {
        format!("https://{host}/api/v1")
    }

    fn repository(&self, path: &str) -> Result<String, &'static str> {
        owner_and_name(path)
    }

    fn scheme(&self) -> &'static str {
        "token"
    }

    fn draft_prefix(&self) -> Option<&'static str> {
        Some("WIP: ")
    }

    /// Branches cannot be asked for, so that all requests are looked through, the newest first.
    fn list(&self, at: &Place<'_>, _head: &BranchName, _base: &BranchName, page: u32) -> Call {
        let query = vec![
            ("state", "all".to_owned()),
            ("sort", "recentupdate".to_owned()),
            ("limit", PAGE.to_string()),
            ("page", page.to_string()),
        ];
        at.get(&format!("/repos/{}/pulls", at.repository), query)
    }

    fn read(&self, value: &Value) -> Option<(PullRequest, String, String)> {
        let is_merged = value.get("merged").and_then(Value::as_bool) == Some(true);
        let state = match text(value, "/state")?.as_str() {
            _ if is_merged => RequestState::Merged(commit(value, "/merge_commit_sha")),
            "open" => RequestState::Open,
            "closed" => RequestState::Closed,
            _ => return None,
        };
        read_pull(value, state)
    }
}
