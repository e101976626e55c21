//! A store of objects behind a kube client, with optimistic concurrency and planned faults, for the
//! tests of guarded writes and of the election. It knows no kinds, no schemas and no watches.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Carried out, but the answer never comes.
    LostReply,
    /// Never carried out, and no answer.
    LostRequest,
    /// Carried out so much later, and no answer.
    LandsLater(Duration),
    /// Refused with this status and body.
    Answer(u16, Value),
    /// Refused with 429 and a pause in seconds in the header.
    Throttle(u32),
    /// Carried out, then this status.
    DoneBut(u16),
    /// Success with this text instead of JSON.
    Garbage(&'static str),
}

#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Faults of coming writes, in order; none stands for no fault.
    write_faults: VecDeque<Option<Fault>>,
    reads_fail: bool,
    requests: Vec<(Method, String, Value)>,
}

/// The store; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeApi(Arc<Mutex<Store>>);

impl FakeApi {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_behind(&Arc::default())
    }

    /// A client whose network is cut while `cut` is set.
    pub(crate) fn client_behind(&self, cut: &Arc<Mutex<bool>>) -> Client {
        let (api, cut) = (self.clone(), Arc::clone(cut));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (api, cut) = (api.clone(), Arc::clone(&cut));
            async move {
                if *cut.lock().unwrap() {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Infallible>(api.serve(request).await)
            }
        });
        Client::new(service, "default")
    }

    /// Plans what happens to the next writes.
    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.store().write_faults.extend(faults);
    }

    pub(crate) fn fail_reads(&self, fail: bool) {
        self.store().reads_fail = fail;
    }

    /// Stores `object` as somebody else would, and gives it back as stored.
    pub(crate) fn put(&self, path: &str, mut object: Value) -> Value {
        let mut store = self.store();
        store.version += 1;
        let version = store.version;
        json_patch::merge(
            &mut object,
            &json!({"metadata": {"resourceVersion": version.to_string()}}),
        );
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{version}").into();
        }
        store.objects.insert(path.to_owned(), object.clone());
        object
    }

    pub(crate) fn remove(&self, path: &str) {
        self.store().objects.remove(path);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.store().objects.get(path).cloned()
    }

    /// The bodies of all writes so far.
    pub(crate) fn writes(&self) -> Vec<(Method, String, Value)> {
        let store = self.store();
        store.requests.iter().filter(|(method, ..)| method != Method::GET).cloned().collect()
    }

    /// The paths of all reads so far.
    pub(crate) fn reads(&self) -> Vec<String> {
        let store = self.store();
        let reads = store.requests.iter().filter(|(method, ..)| method == Method::GET);
        reads.map(|(_, path, _)| path.clone()).collect()
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let path = parts.uri.path().to_owned();
        let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap());
        let kind = kind.unwrap_or_default().to_owned();
        let method = parts.method;
        self.store().requests.push((method.clone(), path.clone(), body.clone()));
        if method == Method::GET {
            let store = self.store();
            return match store.objects.get(&path) {
                _ if store.reads_fail => status(500, "InternalError", &json!({})),
                Some(object) => answer(200, object),
                None => status(404, "NotFound", &json!({})),
            };
        }
        let fault = self.store().write_faults.pop_front().flatten();
        match fault {
            None => self.apply(&method, &path, &kind, body),
            Some(Fault::LostReply) => {
                self.apply(&method, &path, &kind, body);
                std::future::pending().await
            }
            Some(Fault::LostRequest) => std::future::pending().await,
            Some(Fault::LandsLater(delay)) => {
                let api = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    api.apply(&method, &path, &kind, body);
                });
                std::future::pending().await
            }
            Some(Fault::Answer(code, body)) => answer(code, &body),
            Some(Fault::Throttle(seconds)) => {
                let mut response = status(429, "TooManyRequests", &json!({}));
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                response
            }
            Some(Fault::DoneBut(code)) => {
                self.apply(&method, &path, &kind, body);
                status(code, "InternalError", &json!({}))
            }
            Some(Fault::Garbage(text)) => {
                let mut response = answer(200, &Value::Null);
                *response.body_mut() = Body::from(text.as_bytes().to_vec());
                response
            }
        }
    }

    fn apply(&self, method: &Method, path: &str, kind: &str, body: Value) -> Response<Body> {
        if method == Method::POST {
            if path.ends_with("/eviction") {
                let object = path.trim_end_matches("/eviction");
                return self.delete(object, &body["deleteOptions"]["preconditions"]);
            }
            let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
            if self.get(&path).is_some() {
                return status(409, "AlreadyExists", &json!({}));
            }
            return answer(201, &self.put(&path, body));
        }
        if method == Method::DELETE {
            return self.delete(path, &body["preconditions"]);
        }
        // As with the CRDs: the AnalysisRuns of Argo Rollouts have no status subresource.
        let (path, is_status) = match path.strip_suffix("/status") {
            Some(path) if path.contains("/argoproj.io/") && path.contains("/analysisruns/") => {
                return status(404, "NotFound", &json!({}));
            }
            Some(path) => (path, true),
            None => (path, false),
        };
        let has_own_status = path.contains("/sluice.dev/") || path.contains("/rollouts/");
        let Some(current) = self.get(path) else {
            return status(404, "NotFound", &json!({}));
        };
        let mut next = current.clone();
        match kind {
            "application/json-patch+json" => {
                let changes: json_patch::Patch = serde_json::from_value(body).unwrap();
                if json_patch::patch(&mut next, &changes).is_err() {
                    return status(422, "Invalid", &json!({}));
                }
            }
            "application/merge-patch+json" => json_patch::merge(&mut next, &body),
            "application/json" => next = body,
            other => panic!("{other:?}"),
        }
        if is_status {
            for part in ["spec", "labels", "annotations"] {
                let pointer =
                    if part == "spec" { "/spec".to_owned() } else { format!("/metadata/{part}") };
                assert_eq!(next.pointer(&pointer), current.pointer(&pointer), "lost in a status");
            }
        } else if has_own_status {
            assert_eq!(next["status"], current["status"], "lost outside of the status");
        }
        if next["metadata"]["uid"] != current["metadata"]["uid"] {
            let causes =
                json!({"causes": [{"field": "metadata.uid", "reason": "FieldValueInvalid"}]});
            return status(422, "Invalid", &causes);
        }
        if next["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"] {
            return status(409, "Conflict", &json!({}));
        }
        if next == current { answer(200, &current) } else { answer(200, &self.put(path, next)) }
    }

    fn delete(&self, path: &str, preconditions: &Value) -> Response<Body> {
        let Some(current) = self.get(path) else {
            return status(404, "NotFound", &json!({}));
        };
        for field in ["uid", "resourceVersion"] {
            let wanted = &preconditions[field];
            if !wanted.is_null() && *wanted != current["metadata"][field] {
                return status(409, "Conflict", &json!({}));
            }
        }
        self.remove(path);
        answer(200, &json!({"kind": "Status", "status": "Success"}))
    }
}

fn status(code: u16, reason: &str, details: &Value) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": reason, "details": details,
    });
    answer(code, &body)
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string().into_bytes()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}
