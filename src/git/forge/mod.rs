//! Pull requests at a forge: what is asked and what the answers say, as values. One provider a file and
//! one line in the registry; who carries the calls is behind a port ([`super::backend::Carrier`]).
//!
//! It must never open a connection, hold a token, or take an answer that it cannot read for one that
//! says that there is no request.

mod error;
mod gitea;
mod github;
mod gitlab;

#[cfg(test)]
mod tests;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

pub use error::ForgeError;
pub(in crate::git) use github::HEADERS as GITHUB_HEADERS;

use super::source::{BranchName, GitUrl, Transport};
use crate::api::git_revert::PullRequestProvider;
use crate::revision::Commit;

/// Requests on a page of a list.
const PAGE: usize = 50;
/// Longest text of a server's answer that is told.
const MAX_DETAIL: usize = 200;

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes.
    Post,
    /// Changes.
    Put,
    /// Changes a part.
    Patch,
}

/// One call of an API.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What kind.
    pub method: Method,
    /// The whole address, without the query.
    pub url: String,
    /// The query.
    pub query: Vec<(&'static str, String)>,
    /// The body, as JSON.
    pub body: Option<Value>,
    /// The word before the token in the `Authorization` header.
    pub scheme: &'static str,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the server says that there were too many calls, by a header.
    pub is_exhausted: bool,
}

/// A pull request to be made. GitLab calls it a merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The title.
    pub title: String,
    /// The text, as Markdown.
    pub body: String,
    /// The branch with the commit.
    pub head: BranchName,
    /// The branch that it is for.
    pub base: BranchName,
    /// Whether it is not to be merged before somebody says that it is ready.
    pub is_draft: bool,
    /// Its labels.
    pub labels: Vec<String>,
}

impl Proposal {
    /// The title where `prefix` makes a draft.
    fn title_at(&self, prefix: Option<&str>) -> String {
        let prefix = prefix.filter(|_| self.is_draft).unwrap_or_default();
        format!("{prefix}{}", self.title)
    }
}

/// What a page of a list holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The request that was looked for: an open one first, else the newest.
    pub found: Option<PullRequest>,
    /// Whether there may be a further page.
    pub is_full: bool,
}

/// A pull request as the forge has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number in the repository.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// How it is.
    pub state: RequestState,
}

/// How a pull request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// It waits for people.
    Open,
    /// It was merged; the commit if the forge says it.
    Merged(Option<Commit>),
    /// It was closed without being merged: people do not want it.
    Closed,
}

/// The wire format of one forge. What most of them took over from GitHub is said once, here.
trait Provider: Sync {
    /// The name in texts.
    fn name(&self) -> &'static str;
    /// The address of the API at a host.
    fn base(&self, host: &str) -> String;
    /// The repository as it stands in paths; what would be one if this is none.
    fn repository(&self, path: &str) -> Result<String, &'static str>;
    /// The word before the token.
    fn scheme(&self) -> &'static str {
        "Bearer"
    }
    /// Further headers.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// A page of the newest requests, whatever their state, from `head` into `base` as far as can be
    /// asked for; the first page is 1.
    fn list(&self, at: &Place<'_>, head: &BranchName, base: &BranchName, page: u32) -> Call;
    /// What stands before the title of a draft, where that is what makes it one.
    fn draft_prefix(&self) -> Option<&'static str> {
        None
    }
    /// Labels a request, where that is a call of its own.
    fn label(&self, at: &Place<'_>, number: u64, labels: &[String]) -> Option<Call> {
        let path = format!("/repos/{}/issues/{number}/labels", at.repository);
        Some(at.call(Method::Post, &path, Some(json!({"labels": labels}))))
    }
    /// One request.
    fn get(&self, at: &Place<'_>, number: u64) -> Call {
        at.get(&format!("/repos/{}/pulls/{number}", at.repository), Vec::new())
    }
    /// Makes a request.
    fn create(&self, at: &Place<'_>, proposal: &Proposal) -> Call {
        let Proposal { title: _, body, head, base, is_draft, labels: _ } = proposal;
        let mut body = json!({
            "title": proposal.title_at(self.draft_prefix()), "body": body, "head": head.as_str(),
            "base": base.as_str(),
        });
        if let (true, None, Some(fields)) = (*is_draft, self.draft_prefix(), body.as_object_mut()) {
            fields.insert("draft".to_owned(), Value::Bool(true));
        }
        at.call(Method::Post, &format!("/repos/{}/pulls", at.repository), Some(body))
    }
    /// Adds a comment.
    fn comment(&self, at: &Place<'_>, number: u64, text: &str) -> Call {
        let path = format!("/repos/{}/issues/{number}/comments", at.repository);
        at.call(Method::Post, &path, Some(json!({"body": text})))
    }
    /// Closes a request.
    fn close(&self, at: &Place<'_>, number: u64) -> Call {
        let path = format!("/repos/{}/pulls/{number}", at.repository);
        at.call(Method::Patch, &path, Some(json!({"state": "closed"})))
    }
    /// A request in an answer, with its two branches.
    fn read(&self, value: &Value) -> Option<(PullRequest, String, String)>;
}

/// Each forge, by the word in the API.
fn provider(provider: PullRequestProvider) -> &'static dyn Provider {
    match provider {
        PullRequestProvider::GitHub => &github::GitHub,
        PullRequestProvider::GitLab => &gitlab::GitLab,
        PullRequestProvider::Gitea => &gitea::Gitea,
    }
}

/// A repository in an API.
struct Place<'a> {
    base: &'a str,
    repository: &'a str,
    provider: &'static dyn Provider,
}

impl Place<'_> {
    fn call(&self, method: Method, path: &str, body: Option<Value>) -> Call {
        Call {
            method,
            url: format!("{}{path}", self.base),
            query: Vec::new(),
            body,
            scheme: self.provider.scheme(),
            headers: self.provider.headers(),
        }
    }

    fn get(&self, path: &str, query: Vec<(&'static str, String)>) -> Call {
        Call { query, ..self.call(Method::Get, path, None) }
    }
}

/// One repository at its forge.
#[derive(Clone)]
pub struct Forge {
    host: String,
    base: String,
    repository: String,
    provider: &'static dyn Provider,
}

impl fmt::Debug for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forge")
            .field("provider", &self.provider.name())
            .field("repository", &self.repository)
            .finish_non_exhaustive()
    }
}

impl Forge {
    /// The forge of a repository: as the user says, else by the name of a well-known host.
    ///
    /// # Errors
    /// [`ForgeError::UnknownForge`], [`ForgeError::BadPath`].
    pub fn of(url: &GitUrl, given: Option<PullRequestProvider>) -> Result<Self, ForgeError> {
        let host = url.host();
        let word = given.or_else(|| well_known(host));
        let word = word.ok_or_else(|| ForgeError::UnknownForge { host: host.to_owned() })?;
        let provider = provider(word);
        let path = url.path().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let repository = provider.repository(path).map_err(|wanted| ForgeError::BadPath {
            path: path.to_owned(),
            forge: provider.name(),
            wanted,
        })?;
        // An SSH port says nothing about the API; the address of an https one is the API's, too.
        let place = match url.transport() {
            Transport::Https if url.has_port() => format!("{}:{}", bracketed(host), url.port()),
            Transport::Https | Transport::Ssh => bracketed(host),
        };
        Ok(Self { host: host.to_owned(), base: provider.base(&place), repository, provider })
    }

    /// The same forge, whose API is at another address than usual; without a `/` at its end.
    #[must_use]
    pub fn at(self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self }
    }

    /// The address of the API.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The host of the repository.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn place(&self) -> Place<'_> {
        Place { base: &self.base, repository: &self.repository, provider: self.provider }
    }

    /// Asks for a page of the requests from `head` into `base`; the first is 1.
    pub fn list(&self, head: &BranchName, base: &BranchName, page: u32) -> Call {
        self.provider.list(&self.place(), head, base, page)
    }

    /// Labels a request, where that is a call of its own.
    pub fn label(&self, number: u64, labels: &[String]) -> Option<Call> {
        self.provider.label(&self.place(), number, labels)
    }

    /// Asks for one request.
    pub fn get(&self, number: u64) -> Call {
        self.provider.get(&self.place(), number)
    }

    /// Makes a request.
    pub fn create(&self, proposal: &Proposal) -> Call {
        self.provider.create(&self.place(), proposal)
    }

    /// Adds a comment to a request.
    pub fn comment(&self, number: u64, text: &str) -> Call {
        self.provider.comment(&self.place(), number, text)
    }

    /// Closes a request.
    pub fn close(&self, number: u64) -> Call {
        self.provider.close(&self.place(), number)
    }

    /// The request from `head` into `base` in a page of a list.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn read_list(
        &self,
        answer: &Answer,
        head: &BranchName,
        base: &BranchName,
    ) -> Result<Page, ForgeError> {
        let value = self.json(answer, "list pull requests")?;
        let items = value.as_array().ok_or_else(|| self.malformed("it is not a list"))?;
        let mut found: Vec<PullRequest> = Vec::new();
        for item in items {
            let read = self.provider.read(item);
            let (request, from, into) =
                read.ok_or_else(|| self.malformed("an entry is not a pull request"))?;
            if from == head.as_str() && into == base.as_str() {
                found.push(request);
            }
        }
        let open = found.iter().position(|request| request.state == RequestState::Open);
        let newest = found.iter().enumerate().max_by_key(|(_, request)| request.number);
        let chosen = open.or(newest.map(|(idx, _)| idx));
        let found = chosen.map(|idx| found.swap_remove(idx));
        Ok(Page { found, is_full: items.len() >= PAGE })
    }

    /// One request in an answer.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn read_one(&self, answer: &Answer, what: &'static str) -> Result<PullRequest, ForgeError> {
        let value = self.json(answer, what)?;
        let read = self.provider.read(&value);
        read.map(|(request, ..)| request).ok_or_else(|| self.malformed("it is not a pull request"))
    }

    /// Whether a call was carried out.
    ///
    /// # Errors
    /// [`ForgeError`].
    pub fn check(&self, answer: &Answer, what: &'static str) -> Result<(), ForgeError> {
        let host = self.host.clone();
        let status = answer.status;
        Err(match status {
            200..=299 => return Ok(()),
            _ if answer.is_exhausted => ForgeError::Exhausted { host, status },
            300..=399 => ForgeError::Redirected { host },
            401 => ForgeError::Unauthorized { host },
            403 => ForgeError::Forbidden { what, detail: detail(&answer.body) },
            404 => ForgeError::NotFound { host, what },
            429 => ForgeError::Exhausted { host, status },
            500..=599 => ForgeError::Server { host, status },
            _ => ForgeError::Refused { what, status, detail: detail(&answer.body) },
        })
    }

    fn json(&self, answer: &Answer, what: &'static str) -> Result<Value, ForgeError> {
        self.check(answer, what)?;
        serde_json::from_slice(&answer.body).map_err(|_| self.malformed("it is not JSON"))
    }

    fn malformed(&self, detail: &str) -> ForgeError {
        ForgeError::Malformed { host: self.host.clone(), detail: detail.to_owned() }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn well_known(host: &str) -> Option<PullRequestProvider> {
    let named = |name: &str| {
        host == format!("{name}.com") || host.split('.').next().is_some_and(|first| first == name)
    };
    if named("github") {
        Some(PullRequestProvider::GitHub)
    } else if named("gitlab") {
        Some(PullRequestProvider::GitLab)
    } else if named("gitea") || named("forgejo") || host == "codeberg.org" {
        Some(PullRequestProvider::Gitea)
    } else {
        None
    }
}

/// What a server says about a refusal: `message` or `error`, as text, list or map, and GitHub's `errors`.
pub(in crate::git) fn detail(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut words = Vec::new();
    for key in ["message", "error", "errors"] {
        collect(value.get(key).unwrap_or(&Value::Null), &mut words);
    }
    super::message::clean(&words.join("; "), MAX_DETAIL)
}

fn collect(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::String(text) => words.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(map) => match map.get("message") {
            Some(message) => collect(message, words),
            None => map.values().for_each(|item| collect(item, words)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What stands in a part of a path as it is (RFC 3986, unreserved).
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A part of a path, with everything but plain characters encoded.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &PLAIN).to_string()
}

/// `owner/name`, each encoded.
fn owner_and_name(path: &str) -> Result<String, &'static str> {
    match path.split_once('/') {
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(format!("{}/{}", encoded(owner), encoded(name)))
        }
        _ => Err("`owner/name`"),
    }
}

/// A request in GitHub's form, in a state that is known already, with its two branches.
fn read_pull(value: &Value, state: RequestState) -> Option<(PullRequest, String, String)> {
    let number = value.get("number")?.as_u64()?;
    let request = PullRequest { number, url: page(value, "/html_url")?, state };
    Some((request, text(value, "/head/ref")?, text(value, "/base/ref")?))
}

/// The text at a pointer.
fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

/// A page that may be shown as a link.
fn page(value: &Value, pointer: &str) -> Option<String> {
    text(value, pointer).filter(|url| {
        url.starts_with("https://")
            && url.len() <= 1024
            && url.bytes().all(|b| b.is_ascii_graphic())
    })
}

/// A commit at a pointer.
fn commit(value: &Value, pointer: &str) -> Option<Commit> {
    Commit::parse(value.pointer(pointer)?.as_str()?).ok()
}
