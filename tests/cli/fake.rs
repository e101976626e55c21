//! A small API server in memory: enough of reads, lists, watches and JSON patches for the plugin.
//! It keeps a log of what was asked, and can be told to refuse or to change things in between.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use futures::channel::mpsc;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Bytes;
use kube::client::Body;
use serde_json::{Value, json};
use sluice::cli::{Connector, Console, Terminal, run};

/// The time of every test.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-08-17T12:00:00Z".parse().unwrap()
}

type Answer = UnsyncBoxBody<Bytes, io::Error>;
type Hook = Box<dyn FnOnce(&mut State) + Send>;

/// A refusal that is answered instead of the real thing.
pub(crate) struct Refusal {
    pub(crate) method: Method,
    pub(crate) path_contains: &'static str,
    pub(crate) status: u16,
    pub(crate) times: u32,
}

#[derive(Default)]
pub(crate) struct State {
    /// By collection path and name.
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    /// `METHOD path` of every request, in order.
    pub(crate) log: Vec<String>,
    refusals: Vec<Refusal>,
    /// Runs before the next patch is applied.
    before_patch: Option<Hook>,
    watchers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    is_unreachable: bool,
    has_no_reviews: bool,
}

impl State {
    /// Puts an object in, as if somebody had written it.
    pub(crate) fn put(&mut self, collection: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let key = (collection.to_owned(), name);
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key, object.clone());
        self.tell(collection, kind, &object);
    }

    pub(crate) fn delete(&mut self, collection: &str, name: &str) {
        if let Some(object) = self.objects.remove(&(collection.to_owned(), name.to_owned())) {
            self.tell(collection, "DELETED", &object);
        }
    }

    pub(crate) fn get(&self, collection: &str, name: &str) -> Value {
        self.objects[&(collection.to_owned(), name.to_owned())].clone()
    }

    /// Changes an object, as if somebody had written it.
    pub(crate) fn change(&mut self, collection: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(collection, name);
        change(&mut object);
        self.put(collection, object);
    }

    fn tell(&mut self, collection: &str, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.watchers.retain(|(watched, sender)| {
            watched != collection || sender.unbounded_send(Bytes::from(line.clone())).is_ok()
        });
    }
}

/// The server, and a way to run the plugin against it.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

pub(crate) const ROLLOUTS: &str = "/apis/sluice.dev/v1alpha1/namespaces/shop/rollouts";
pub(crate) const RUNS: &str = "/apis/sluice.dev/v1alpha1/namespaces/shop/analysisruns";
pub(crate) const SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets";
pub(crate) const PODS: &str = "/api/v1/namespaces/shop/pods";

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A buffer that can be looked at while it is written to.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Fake {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn refuse(
        &self,
        method: Method,
        path_contains: &'static str,
        status: u16,
        times: u32,
    ) {
        let refusal = Refusal { method, path_contains, status, times };
        self.with(|state| state.refusals.push(refusal));
    }

    pub(crate) fn before_patch(&self, hook: impl FnOnce(&mut State) + Send + 'static) {
        self.with(|state| state.before_patch = Some(Box::new(hook)));
    }

    pub(crate) fn unreachable(&self) {
        self.with(|state| state.is_unreachable = true);
    }

    pub(crate) fn without_reviews(&self) {
        self.with(|state| state.has_no_reviews = true);
    }

    /// Requests that changed something.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.with(|state| {
            let log = state.log.iter();
            log.filter(|line| line.starts_with("PATCH")).cloned().collect()
        })
    }

    pub(crate) fn connector(&self) -> Connector {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { fake.answer(request).await }
        });
        Connector::Given(kube::Client::new(service, "shop"), "kubeconfig-user".to_owned())
    }

    /// Runs the plugin with a command line.
    pub(crate) async fn run(&self, line: &str) -> Outcome {
        self.run_reading(line, "").await
    }

    pub(crate) async fn run_into(&self, line: &str, out: &Shared, err: &Shared) -> u8 {
        self.run_whole(line, "", out, err).await
    }

    /// Runs the plugin with something on its standard input.
    pub(crate) async fn run_reading(&self, line: &str, stdin: &str) -> Outcome {
        let (out, err) = (Shared::default(), Shared::default());
        let code = self.run_whole(line, stdin, &out, &err).await;
        Outcome { code, out: out.text(), err: err.text() }
    }

    async fn run_whole(&self, line: &str, stdin: &str, out: &Shared, err: &Shared) -> u8 {
        let words = std::iter::once("kubectl-sluice").chain(line.split_whitespace());
        let mut console = Console {
            out: &mut out.clone(),
            err: &mut err.clone(),
            stdin: &mut stdin.as_bytes(),
            terminal: Terminal::default(),
            now: &now,
            format: None,
        };
        run(words.map(Into::into), &mut console, &self.connector()).await.code()
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Answer>, io::Error> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        self.with(|state| {
            if state.is_unreachable {
                return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
            }
            state.log.push(format!("{} {path}", parts.method));
            if let Some(refusal) = state.refusals.iter_mut().find(|refusal| {
                refusal.times > 0
                    && refusal.method == parts.method
                    && path.contains(refusal.path_contains)
            }) {
                refusal.times -= 1;
                return Ok(failure(refusal.status, "refused by the test", None));
            }
            if parts.method == Method::POST && path.ends_with("selfsubjectreviews") {
                let review = json!({"status": {"userInfo": {"username": "alice@example.org"}}});
                let is_missing = state.has_no_reviews;
                return Ok(if is_missing { not_found(None) } else { ok(&review) });
            }
            if query.get("watch").is_some_and(|watch| watch == "true") {
                return Ok(watch(state, &path));
            }
            Ok(match parts.method {
                Method::GET => read(state, &path, &query),
                Method::PATCH => patch(state, &path, &body),
                _ => failure(405, "not in this server", None),
            })
        })
    }
}

fn ok(object: &Value) -> Response<Answer> {
    let body = Full::new(Bytes::from(object.to_string()));
    Response::new(body.map_err(|never| match never {}).boxed_unsync())
}

fn failure(code: u16, message: &str, name: Option<&str>) -> Response<Answer> {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
        "status": "Failure", "message": message, "code": code});
    if let Some(name) = name {
        status["details"] = json!({"name": name});
    }
    let mut response = ok(&status);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn not_found(name: Option<&str>) -> Response<Answer> {
    failure(404, "not found", name)
}

/// Collection and name of a path such as `.../rollouts/shop/status`.
fn split(path: &str) -> (String, Option<String>) {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let Some(at) = parts.iter().position(|part| *part == "namespaces") else {
        return (path.to_owned(), None);
    };
    let collection = format!("/{}", parts[..at + 3].join("/"));
    (collection, parts.get(at + 3).map(|name| (*name).to_owned()))
}

fn read(state: &State, path: &str, query: &BTreeMap<String, String>) -> Response<Answer> {
    let (collection, name) = split(path);
    if let Some(name) = name {
        return match state.objects.get(&(collection, name.clone())) {
            Some(object) => ok(object),
            None => not_found(Some(&name)),
        };
    }
    let plural = collection.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted: Vec<(&str, &str)> = query
        .get("labelSelector")
        .map(|labels| labels.split(',').filter_map(|label| label.split_once('=')).collect())
        .unwrap_or_default();
    let is_of_all = !collection.contains("/namespaces/");
    let items: Vec<&Value> = state
        .objects
        .iter()
        .filter(|((found, _), _)| {
            *found == collection || (is_of_all && found.ends_with(&format!("/{plural}")))
        })
        .map(|(_, object)| object)
        .filter(|object| {
            let labels = &object["metadata"]["labels"];
            wanted.iter().all(|(key, value)| labels[*key] == **value)
        })
        .filter(|object| {
            let field = query.get("fieldSelector").and_then(|text| text.split_once('='));
            field.is_none_or(|(_, name)| object["metadata"]["name"] == name)
        })
        .collect();
    ok(&json!({"kind": "List", "apiVersion": "v1", "items": items,
        "metadata": {"resourceVersion": state.version.to_string()}}))
}

fn watch(state: &mut State, path: &str) -> Response<Answer> {
    let (sender, receiver) = mpsc::unbounded();
    state.watchers.push((split(path).0, sender));
    let frames = receiver.map(|bytes| Ok::<_, io::Error>(hyper::body::Frame::data(bytes)));
    Response::new(StreamBody::new(frames).boxed_unsync())
}

fn patch(state: &mut State, at: &str, body: &[u8]) -> Response<Answer> {
    if let Some(hook) = state.before_patch.take() {
        hook(state);
    }
    let (collection, name) = split(at);
    let name = name.unwrap();
    let key = (collection.clone(), name.clone());
    let Some(live) = state.objects.get(&key).cloned() else { return not_found(Some(&name)) };
    let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
    let guards: Vec<String> = patch
        .iter()
        .filter_map(|operation| match operation {
            json_patch::PatchOperation::Test(test) => Some(test.path.to_string()),
            _ => None,
        })
        .collect();
    assert!(guards.contains(&"/metadata/uid".to_owned()), "unguarded: {patch:?}");
    assert!(guards.contains(&"/metadata/resourceVersion".to_owned()), "unguarded: {patch:?}");
    let mut changed = live.clone();
    if json_patch::patch(&mut changed, &patch).is_err() {
        return failure(
            422,
            "the server rejected our request due to an error in our request",
            Some(&name),
        );
    }
    // The main resource keeps its status, and the status subresource everything else.
    let mut result = live.clone();
    if at.ends_with("/status") {
        result["status"] = changed["status"].clone();
    } else {
        result["spec"] = changed["spec"].clone();
        if result["spec"] != live["spec"] {
            let generation = live["metadata"]["generation"].as_i64().unwrap_or(1);
            result["metadata"]["generation"] = json!(generation + 1);
        }
    }
    state.put(&collection, result);
    ok(&state.get(&collection, &name))
}

/// Polls a future until it would wait, then lets others run.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("it never became so");
}
