//! GitHub, github.com and Enterprise Server. Source: REST API documentation, "Pulls", version
//! 2022-11-28.

use serde_json::{Value, json};

use super::{Call, Method, Place, Proposal, Provider, PullRequest, RequestState};
use super::{commit, owner_and_name, page, text};
use crate::git::source::BranchName;

pub(super) struct GitHub;

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
        &[("accept", "application/vnd.github+json"), ("x-github-api-version", "2022-11-28")]
    }

    fn list(&self, at: &Place<'_>, head: &BranchName, base: &BranchName) -> Call {
        let owner = at.repository.split('/').next().unwrap_or_default();
        let query = vec![
            ("state", "all".to_owned()),
            ("head", format!("{owner}:{head}")),
            ("base", base.to_string()),
            ("per_page", "50".to_owned()),
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
        let state = match text(value, "/state")?.as_str() {
            "open" => RequestState::Open,
            "closed" if value.pointer("/merged_at").is_some_and(|at| !at.is_null()) => {
                RequestState::Merged(commit(value, "/merge_commit_sha"))
            }
            "closed" => RequestState::Closed,
            _ => return None,
        };
        let number = value.get("number")?.as_u64()?;
        let request = PullRequest { number, url: page(value, "/html_url")?, state };
        Some((request, text(value, "/head/ref")?, text(value, "/base/ref")?))
    }
}
