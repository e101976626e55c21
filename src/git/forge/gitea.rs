//! Gitea and Forgejo. Source: their API documentation (`/api/swagger`), "repository", version 1.

use serde_json::{Value, json};

use super::{Call, Method, Place, Proposal, Provider, PullRequest, RequestState};
use super::{commit, owner_and_name, page, text};
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

    /// Branches cannot be asked for, so the newest are looked through. An older request that is open
    /// makes the creation of a second one fail.
    fn list(&self, at: &Place<'_>, _head: &BranchName, _base: &BranchName) -> Call {
        let query = vec![
            ("state", "all".to_owned()),
            ("sort", "recentupdate".to_owned()),
            ("limit", "50".to_owned()),
        ];
        at.get(&format!("/repos/{}/pulls", at.repository), query)
    }

    fn get(&self, at: &Place<'_>, number: u64) -> Call {
        at.get(&format!("/repos/{}/pulls/{number}", at.repository), Vec::new())
    }

    fn create(&self, at: &Place<'_>, proposal: &Proposal) -> Call {
        let Proposal { title, body, head, base } = proposal;
        let body = json!({
            "title": title, "body": body, "head": head.as_str(), "base": base.as_str(),
        });
        at.call(Method::Post, &format!("/repos/{}/pulls", at.repository), Some(body))
    }

    fn comment(&self, at: &Place<'_>, number: u64, text: &str) -> Call {
        let path = format!("/repos/{}/issues/{number}/comments", at.repository);
        at.call(Method::Post, &path, Some(json!({"body": text})))
    }

    fn close(&self, at: &Place<'_>, number: u64) -> Call {
        let path = format!("/repos/{}/pulls/{number}", at.repository);
        at.call(Method::Patch, &path, Some(json!({"state": "closed"})))
    }

    fn read(&self, value: &Value) -> Option<(PullRequest, String, String)> {
        let is_merged = value.get("merged").and_then(Value::as_bool) == Some(true);
        let state = match text(value, "/state")?.as_str() {
            _ if is_merged => RequestState::Merged(commit(value, "/merge_commit_sha")),
            "open" => RequestState::Open,
            "closed" => RequestState::Closed,
            _ => return None,
        };
        let number = value.get("number")?.as_u64()?;
        let request = PullRequest { number, url: page(value, "/html_url")?, state };
        Some((request, text(value, "/head/ref")?, text(value, "/base/ref")?))
    }
}
