//! GitLab, gitlab.com and self-managed. Source: REST API documentation, "Merge requests" and "Notes",
//! version 4.

use serde_json::{Value, json};

use super::{Call, Method, Place, Proposal, Provider, PullRequest, RequestState};
use super::{PAGE, commit, encoded, page, text};
use crate::git::source::BranchName;

pub(super) struct GitLab;

impl Provider for GitLab {
    fn name(&self) -> &'static str {
        "GitLab"
    }

    fn base(&self, host: &str) -> String {
        format!("https://{host}/api/v4")
    }

    /// Groups may be nested; the whole path is one encoded part.
    fn repository(&self, path: &str) -> Result<String, &'static str> {
        if path.split('/').count() >= 2 && path.split('/').all(|part| !part.is_empty()) {
            Ok(encoded(path))
        } else {
            Err("`group/project`")
        }
    }

    fn draft_prefix(&self) -> Option<&'static str> {
        Some("Draft: ")
    }

    /// They are part of what makes a request.
    fn label(&self, _at: &Place<'_>, _number: u64, _labels: &[String]) -> Option<Call> {
        None
    }

    fn list(&self, at: &Place<'_>, head: &BranchName, base: &BranchName, page: u32) -> Call {
        let query = vec![
            ("state", "all".to_owned()),
            ("source_branch", head.to_string()),
            ("target_branch", base.to_string()),
            ("per_page", PAGE.to_string()),
            ("page", page.to_string()),
        ];
        at.get(&format!("/projects/{}/merge_requests", at.repository), query)
    }

    fn get(&self, at: &Place<'_>, number: u64) -> Call {
        at.get(&format!("/projects/{}/merge_requests/{number}", at.repository), Vec::new())
    }

    fn create(&self, at: &Place<'_>, proposal: &Proposal) -> Call {
        let Proposal { title: _, body, head, base, is_draft: _, labels } = proposal;
        let body = json!({
            "title": proposal.title_at(self.draft_prefix()), "description": body,
            "labels": labels.join(","),
            "source_branch": head.as_str(), "target_branch": base.as_str(),
            "remove_source_branch": true,
        });
        at.call(Method::Post, &format!("/projects/{}/merge_requests", at.repository), Some(body))
    }

    fn comment(&self, at: &Place<'_>, number: u64, text: &str) -> Call {
        let path = format!("/projects/{}/merge_requests/{number}/notes", at.repository);
        at.call(Method::Post, &path, Some(json!({"body": text})))
    }

    fn close(&self, at: &Place<'_>, number: u64) -> Call {
        let path = format!("/projects/{}/merge_requests/{number}", at.repository);
        at.call(Method::Put, &path, Some(json!({"state_event": "close"})))
    }

    fn read(&self, value: &Value) -> Option<(PullRequest, String, String)> {
        let state = match text(value, "/state")?.as_str() {
            // Locked while it is being merged.
            "opened" | "locked" => RequestState::Open,
            "merged" => {
                let merged = commit(value, "/merge_commit_sha");
                RequestState::Merged(merged.or_else(|| commit(value, "/squash_commit_sha")))
            }
            "closed" => RequestState::Closed,
            _ => return None,
        };
        let number = value.get("iid")?.as_u64()?;
        let request = PullRequest { number, url: page(value, "/web_url")?, state };
        Some((request, text(value, "/source_branch")?, text(value, "/target_branch")?))
    }
}
