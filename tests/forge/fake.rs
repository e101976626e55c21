//! A forge on a loopback port, behind TLS with its own CA: it speaks the wire format of GitHub, GitLab
//! or Gitea, remembers requests, and meets scripted faults.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sluice::api::git_revert::PullRequestProvider;
use tokio::net::TcpListener;

use super::app::Installations;
use super::clients::server_for;

pub(crate) const TOKEN: &str = "correct-horse-battery";

/// What happens to the next call that fits.
#[derive(Clone)]
pub(crate) enum Fault {
    /// An answer of the forge, or of something before it.
    Answer(u16, &'static str),
    /// The same with a header.
    With(u16, &'static str, (&'static str, &'static str)),
    /// It never answers.
    Hang,
    /// The call is carried out, and its answer is not.
    LostReply,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) head: String,
    pub(crate) base: String,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) is_draft: bool,
    pub(crate) labels: Vec<String>,
    /// `open`, `closed` or `merged`.
    pub(crate) state: &'static str,
    pub(crate) comments: Vec<String>,
}

#[derive(Default)]
struct State {
    requests: Vec<Stored>,
    faults: VecDeque<(&'static str, Fault)>,
    calls: Vec<String>,
    apps: Installations,
}

#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) port: u16,
    pub(crate) ca: String,
    provider: PullRequestProvider,
    state: Arc<Mutex<State>>,
}

impl Fake {
    pub(crate) async fn start(provider: PullRequestProvider) -> Self {
        Self::start_for(provider, None).await
    }

    /// The same for clients with a certificate of this authority only.
    pub(crate) async fn start_for(provider: PullRequestProvider, clients: Option<&str>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config =
            server_for(clients).with_single_cert(vec![certificate.der().clone()], private).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Self { port, ca: certificate.pem(), provider, state: Arc::default() };
        let shared = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| shared.clone().handle(request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        fake
    }

    /// The next call whose method and path contain `part` meets `fault`.
    pub(crate) fn fault(&self, part: &'static str, fault: Fault) {
        self.state.lock().unwrap().faults.push_back((part, fault));
    }

    pub(crate) fn requests(&self) -> Vec<Stored> {
        self.state.lock().unwrap().requests.clone()
    }

    /// So many requests of others, which are newer than all before.
    pub(crate) fn add_others(&self, count: usize) {
        let other = |idx: usize| Stored {
            head: format!("feature/{idx}"),
            base: "main".to_owned(),
            title: "Other work".to_owned(),
            body: String::new(),
            is_draft: false,
            labels: vec![],
            state: "open",
            comments: vec![],
        };
        self.state.lock().unwrap().requests.extend((0..count).map(other));
    }

    /// As if there had never been any.
    pub(crate) fn forget_requests(&self) {
        self.state.lock().unwrap().requests.clear();
    }

    /// What people do to a request.
    pub(crate) fn set_state(&self, number: usize, state: &'static str) {
        self.state.lock().unwrap().requests[number - 1].state = state;
    }

    pub(crate) fn calls(&self, part: &str) -> usize {
        self.state.lock().unwrap().calls.iter().filter(|call| call.contains(part)).count()
    }

    /// What the forge knows of GitHub Apps, to look at and to change.
    pub(crate) fn apps<T>(&self, ask: impl FnOnce(&mut Installations) -> T) -> T {
        ask(&mut self.state.lock().unwrap().apps)
    }

    async fn handle(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let method = request.method().to_string();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let authorization = request.headers().get("authorization").cloned();
        let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
        let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
        let call = format!("{method} {path}?{query}");
        let fault = {
            let mut state = self.state.lock().unwrap();
            state.calls.push(call.clone());
            let found = state.faults.iter().position(|(part, _)| call.contains(part));
            found.and_then(|idx| state.faults.remove(idx)).map(|(_, fault)| fault)
        };
        match fault {
            Some(Fault::Answer(status, text)) => return Ok(answer(status, text, None)),
            Some(Fault::With(status, text, header)) => {
                return Ok(answer(status, text, Some(header)));
            }
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::LostReply) => {
                self.carry_out(&method, &path, &query, &body);
                return Ok(answer(502, "bad gateway", None));
            }
            None => {}
        }
        let given = authorization.as_ref().and_then(|value| value.to_str().ok());
        let (of_app, tokens) = self.apps(|apps| {
            let of_app = apps.answer((&method, &path), given, &body);
            (of_app, apps.tokens.clone())
        });
        if let Some((status, value)) = of_app {
            return Ok(answer(status, &value.to_string(), None));
        }
        let scheme = match self.provider {
            PullRequestProvider::Gitea => "token",
            PullRequestProvider::GitHub | PullRequestProvider::GitLab => "Bearer",
        };
        let is_known = |given: &str| {
            let given = given.strip_prefix(scheme).map(str::trim_start);
            given.is_some_and(|given| given == TOKEN || tokens.iter().any(|one| one == given))
        };
        if !given.is_some_and(is_known) {
            return Ok(answer(401, r#"{"message": "Bad credentials"}"#, None));
        }
        let (status, value) = self.carry_out(&method, &path, &query, &body);
        Ok(answer(status, &value.to_string(), None))
    }

    fn carry_out(&self, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let (root, notes) = match self.provider {
            PullRequestProvider::GitHub => ("/api/v3/repos/shop/env", "comments"),
            PullRequestProvider::Gitea => ("/api/v1/repos/shop/env", "comments"),
            PullRequestProvider::GitLab => ("/api/v4/projects/shop%2Fenv", "notes"),
        };
        let not_found = (404, json!({"message": "Not Found"}));
        let Some(rest) = path.strip_prefix(root) else { return not_found };
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        let mut state = self.state.lock().unwrap();
        match (method, parts.as_slice()) {
            ("GET", ["pulls" | "merge_requests"]) => {
                let wanted = |stored: &&(usize, Stored)| self.is_asked_for(&stored.1, query);
                let all: Vec<(usize, Stored)> =
                    state.requests.iter().cloned().enumerate().collect();
                let list: Vec<Value> = all
                    .iter()
                    .rev()
                    .filter(wanted)
                    .map(|(idx, stored)| self.render(idx + 1, stored))
                    .collect();
                let number = |key: &str| {
                    let pairs = url::form_urlencoded::parse(query.as_bytes());
                    let found = pairs.into_iter().find(|(name, _)| name == key);
                    found.and_then(|(_, value)| value.parse::<usize>().ok())
                };
                let size = number("limit").or(number("per_page")).unwrap_or(30);
                let first = (number("page").unwrap_or(1) - 1) * size;
                (200, Value::Array(list.into_iter().skip(first).take(size).collect()))
            }
            ("GET", ["pulls" | "merge_requests", number]) => match stored(&mut state, number) {
                Some((number, stored)) => (200, self.render(number, stored)),
                None => not_found,
            },
            ("POST", ["pulls" | "merge_requests"]) => self.create(&mut state, body),
            ("POST", ["issues", number, "labels"]) => match stored(&mut state, number) {
                Some((_, stored)) => {
                    stored.labels = strings(&body["labels"]);
                    (200, json!([]))
                }
                None => not_found,
            },
            ("POST", ["issues" | "merge_requests", number, last]) if *last == notes => {
                let text = body["body"].as_str().unwrap().to_owned();
                match stored(&mut state, number) {
                    Some((_, stored)) => {
                        stored.comments.push(text);
                        (201, json!({"id": 1}))
                    }
                    None => not_found,
                }
            }
            ("PATCH" | "PUT", ["pulls" | "merge_requests", number]) => {
                let is_close = body["state"] == "closed" || body["state_event"] == "close";
                match stored(&mut state, number) {
                    Some((number, stored)) if is_close => {
                        stored.state = "closed";
                        (200, self.render(number, stored))
                    }
                    _ => not_found,
                }
            }
            _ => not_found,
        }
    }

    fn create(&self, state: &mut State, body: &Value) -> (u16, Value) {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let stored = match self.provider {
            PullRequestProvider::GitLab => Stored {
                head: text("source_branch"),
                base: text("target_branch"),
                title: text("title"),
                body: text("description"),
                is_draft: text("title").starts_with("Draft: "),
                labels: text("labels").split(',').map(str::to_owned).collect(),
                state: "open",
                comments: vec![],
            },
            PullRequestProvider::GitHub | PullRequestProvider::Gitea => Stored {
                head: text("head"),
                base: text("base"),
                title: text("title"),
                body: text("body"),
                is_draft: body["draft"] == true || text("title").starts_with("WIP: "),
                labels: vec![],
                state: "open",
                comments: vec![],
            },
        };
        let is_there =
            state.requests.iter().any(|one| one.state == "open" && one.head == stored.head);
        if is_there {
            return match self.provider {
                PullRequestProvider::GitHub => (
                    422,
                    json!({"message": "Validation Failed", "errors": [
                        {"message": "A pull request already exists for shop:x."},
                    ]}),
                ),
                PullRequestProvider::GitLab => {
                    (409, json!({"message": ["Another open merge request already exists"]}))
                }
                PullRequestProvider::Gitea => {
                    (409, json!({"message": "pull request already exists for these targets"}))
                }
            };
        }
        state.requests.push(stored.clone());
        (201, self.render(state.requests.len(), &stored))
    }

    fn is_asked_for(&self, stored: &Stored, query: &str) -> bool {
        let parameter = |key: &str| {
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.into_iter().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
        };
        match self.provider {
            PullRequestProvider::GitHub => {
                parameter("head") == Some(format!("shop:{}", stored.head))
                    && parameter("state").as_deref() == Some("all")
            }
            PullRequestProvider::GitLab => {
                parameter("source_branch").as_ref() == Some(&stored.head)
                    && parameter("target_branch").as_ref() == Some(&stored.base)
            }
            // It cannot be asked for a branch.
            PullRequestProvider::Gitea => parameter("state").as_deref() == Some("all"),
        }
    }

    /// A request as the forge shows it, with the fields that stand beside those that are read.
    fn render(&self, number: usize, stored: &Stored) -> Value {
        let Stored { head, base, title, state, .. } = stored;
        let merged = (*state == "merged").then(|| "e".repeat(40));
        let closed = if *state == "open" { "open" } else { "closed" };
        match self.provider {
            PullRequestProvider::GitHub => json!({
                "id": 7000 + number, "number": number, "state": closed, "title": title,
                "html_url": format!("https://localhost:{}/shop/env/pull/{number}", self.port),
                "head": {"ref": head, "sha": "a".repeat(40)}, "base": {"ref": base},
                "merged_at": merged.as_ref().map(|_| "2026-01-01T00:00:00Z"),
                // GitHub shows a commit that would be the merge before there is one.
                "merge_commit_sha": merged.unwrap_or("f".repeat(40)),
            }),
            PullRequestProvider::Gitea => json!({
                "id": 7000 + number, "number": number, "state": closed, "title": title,
                "html_url": format!("https://localhost:{}/shop/env/pulls/{number}", self.port),
                "head": {"ref": head, "label": head}, "base": {"ref": base, "label": base},
                "merged": merged.is_some(), "merge_commit_sha": merged,
            }),
            PullRequestProvider::GitLab => json!({
                "id": 7000 + number, "iid": number, "title": title,
                "state": match *state { "open" => "opened", other => other },
                "web_url": format!("https://localhost:{}/shop/env/-/merge_requests/{number}", self.port),
                "source_branch": head, "target_branch": base, "merge_commit_sha": merged,
            }),
        }
    }
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn stored<'s>(state: &'s mut State, number: &str) -> Option<(usize, &'s mut Stored)> {
    let number: usize = number.parse().ok()?;
    Some((number, state.requests.get_mut(number.checked_sub(1)?)?))
}

fn answer(
    status: u16,
    text: &str,
    header: Option<(&'static str, &'static str)>,
) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = header {
        response = response.header(name, value);
    }
    response.body(Full::from(text.to_owned())).unwrap()
}
