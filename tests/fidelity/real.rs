//! Runs a scenario on a real server.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::normal::{Answer, normal};
use crate::script::{Ask, Names, Scenario, Step};

/// How long a watch is listened to after its last event.
const QUIET: Duration = Duration::from_secs(1);
/// How long the controllers get.
const PATIENCE: Duration = Duration::from_mins(4);

pub(crate) struct Real {
    client: reqwest::Client,
    server: String,
    tokens: BTreeMap<String, String>,
    /// Makes the namespaces of this run different from those of runs before.
    run: String,
}

struct Watch {
    response: reqwest::Response,
    rest: Vec<u8>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see tests/fidelity/live.rs"))
}

impl Real {
    pub(crate) async fn connect() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true).build().unwrap();
        let tokens = BTreeMap::from([
            ("admin".to_owned(), variable("SLUICE_FIDELITY_TOKEN")),
            ("team".to_owned(), variable("SLUICE_FIDELITY_TEAM_TOKEN")),
        ]);
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let real = Self {
            client,
            server: variable("SLUICE_FIDELITY_SERVER"),
            tokens,
            run: format!("{seconds:x}"),
        };
        real.define().await;
        real
    }

    async fn define(&self) {
        let names = Names::new("");
        for path in crate::script::definitions() {
            let text = std::fs::read_to_string(&path).unwrap();
            let definition: Value = serde_norway::from_str(&text).unwrap();
            let name = definition["metadata"]["name"].as_str().unwrap();
            let target = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
            let apply = Ask {
                method: "PATCH",
                content_type: "application/apply-patch+yaml",
                accept: "application/json",
                path: format!("{target}?fieldManager=fidelity&force=true"),
                body: vec![format!("RAW {definition}")],
            };
            let answer = self.ask("admin", &apply, &names).await;
            assert!(answer.code < 300, "{name}: {}", answer.body);
            let spec = &definition["spec"];
            let list = format!(
                "/apis/{}/{}/{}",
                spec["group"].as_str().unwrap(),
                spec["versions"][0]["name"].as_str().unwrap(),
                spec["names"]["plural"].as_str().unwrap(),
            );
            while self.get(&list).await.code != 200 {
                sleep(Duration::from_millis(100)).await;
            }
        }
        // A definition is served a moment before its schema is enforced everywhere.
        sleep(Duration::from_secs(3)).await;
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("admin", &Ask::get(path), &Names::new("")).await
    }

    /// The normalised answers, in a namespace of this attempt.
    pub(crate) async fn run(&self, scenario: &Scenario, attempt: usize) -> Vec<Value> {
        let namespace = format!("f-{}-{attempt}{:04}", self.run, scenario.number);
        let create = Ask {
            method: "POST",
            content_type: "application/json",
            accept: "application/json",
            path: "/api/v1/namespaces".to_owned(),
            body: vec![json!({"metadata": {"name": namespace}}).to_string()],
        };
        let mut names = Names::new(&namespace);
        let created = self.ask("admin", &create, &names).await;
        assert_eq!(created.code, 201, "{}", created.body);
        let mut watches: BTreeMap<String, Watch> = BTreeMap::new();
        let mut answers = Vec::new();
        let mut last = Value::Null;
        for step in &scenario.steps {
            match step {
                Step::Ask { user, shown, ask, .. } => {
                    let answer = self.ask(user, ask, &names).await;
                    last = answer.body.clone();
                    answers.push(Answer { shown: *shown, ..answer });
                }
                Step::Wait { code, user, ask } => {
                    let asked = async {
                        while self.ask(user, ask, &names).await.code != *code {
                            sleep(Duration::from_millis(100)).await;
                        }
                    };
                    let waited = timeout(PATIENCE, asked).await;
                    assert!(waited.is_ok(), "{}: {} is never {code}", scenario.name, ask.path);
                }
                Step::Set { name, path } => names.set(name, path, &last),
                Step::Watch { name, path } => {
                    let response = self.send("admin", &Ask::get(path), &names.fill(path), "").await;
                    assert_eq!(response.status(), 200, "{path}");
                    watches.insert(name.clone(), Watch { response, rest: vec![] });
                }
                Step::Events { name } => {
                    let body = watches.get_mut(name).unwrap().events().await;
                    answers.push(Answer { code: 200, body, ..Answer::default() });
                }
                Step::Gone { path } => {
                    let path = names.fill(path);
                    let gone = async {
                        while self.get(&path).await.code != 404 {
                            sleep(Duration::from_millis(100)).await;
                        }
                    };
                    let waited = timeout(PATIENCE, gone).await;
                    assert!(waited.is_ok(), "{}: {path} is still there", scenario.name);
                }
            }
        }
        normal(scenario, &namespace, &answers)
    }

    async fn send(&self, user: &str, ask: &Ask, path: &str, body: &str) -> reqwest::Response {
        let method = reqwest::Method::from_bytes(ask.method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.server))
            .bearer_auth(&self.tokens[user])
            .header("Accept", ask.accept)
            .header("User-Agent", "fidelity/1");
        if !ask.content_type.is_empty() && !body.is_empty() {
            request = request.header("Content-Type", ask.content_type).body(body.to_owned());
        }
        request.send().await.unwrap()
    }

    async fn ask(&self, user: &str, ask: &Ask, names: &Names) -> Answer {
        let (path, body) = (names.fill(&ask.path), names.body(&ask.body));
        let mut response = self.send(user, ask, &path, &body).await;
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|text| warning(text.to_str().unwrap())).collect();
        if path.contains("watch=") && code == 200 {
            let mut watch = Watch { response, rest: vec![] };
            return Answer { code, body: watch.events().await, ..Answer::default() };
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            bytes.extend(chunk);
        }
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).trim().to_owned()));
        Answer { code, body, warnings, ..Answer::default() }
    }
}

/// The text of a `Warning` header.
fn warning(header: &str) -> String {
    let quoted = header.trim_start_matches("299 - ");
    serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned())
}

impl Watch {
    /// What has come, until nothing comes for a while.
    async fn events(&mut self) -> Value {
        let mut events = Vec::new();
        while let Ok(Ok(Some(chunk))) = timeout(QUIET, self.response.chunk()).await {
            self.rest.extend(chunk);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                events.push(serde_json::from_slice(&line).unwrap());
            }
        }
        Value::Array(events)
    }
}
