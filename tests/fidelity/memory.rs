//! Runs a scenario on the server in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};
use sluice::clock::SeededEntropy;
use sluice::sim::api::{Collector, Identity, Request, Response, Server, WatchPlan};

use crate::normal::{Answer, normal};
use crate::script::{Ask, Names, Scenario, Step};

struct Memory {
    server: Server,
    collector: Collector,
    now: DateTime<Utc>,
    watches: BTreeMap<String, WatchPlan>,
}

/// The normalised answers.
pub(crate) fn run(scenario: &Scenario) -> Vec<Value> {
    let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let server = prepared(now).clone();
    let mut memory =
        Memory { server, collector: Collector::default(), now, watches: BTreeMap::new() };
    let namespace = format!("f-{:04}", scenario.number);
    memory.setup(&namespace);
    let mut names = Names::new(&namespace);
    let mut answers = Vec::new();
    let mut last = Value::Null;
    for step in &scenario.steps {
        match step {
            Step::Ask { user, shown, ask, .. } => {
                let answer = memory.ask(user, ask, &names);
                last = answer.body.clone();
                answers.push(Answer { shown: *shown, ..answer });
            }
            Step::Wait { code, user, ask } => {
                let answer = memory.ask(user, ask, &names);
                let name = &scenario.name;
                assert_eq!(answer.code, *code, "{name}: {}: {}", ask.path, answer.body);
            }
            Step::Set { name, path } => names.set(name, path, &last),
            Step::Watch { name, path } => memory.watch(name, &names.fill(path)),
            Step::Events { name } => {
                let plan = memory.watches.get_mut(name).unwrap();
                let events = memory.server.poll_watch(plan, memory.now);
                let body = events.into_iter().map(|event| event.json).collect();
                answers.push(Answer { code: 200, body, ..Answer::default() });
            }
            Step::Gone { path } => {
                memory.collector.step(&mut memory.server, memory.now);
                let answer = memory.ask("admin", &Ask::get(path), &names);
                assert_eq!(answer.code, 404, "{}: {path} is still there", scenario.name);
            }
        }
    }
    normal(scenario, &namespace, &answers)
}

/// A server with the definitions that every scenario finds.
fn prepared(now: DateTime<Utc>) -> &'static Server {
    static PREPARED: OnceLock<Server> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let server = Server::new(Arc::new(SeededEntropy::new(1)), now);
        let mut memory =
            Memory { server, collector: Collector::default(), now, watches: BTreeMap::new() };
        for path in crate::script::definitions() {
            let text = std::fs::read_to_string(&path).unwrap();
            let definition: Value = serde_norway::from_str(&text).unwrap();
            let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
            let body = definition.to_string();
            let created = memory.send("admin", &post(path), path, &body);
            assert!(matches!(created, Response::Json { code: 201, .. }), "{created:?}");
        }
        memory.server
    })
}

impl Memory {
    fn setup(&mut self, namespace: &str) {
        let namespace = json!({"metadata": {"name": namespace}}).to_string();
        let path = "/api/v1/namespaces";
        let created = self.send("admin", &post(path), path, &namespace);
        assert!(matches!(created, Response::Json { code: 201, .. }), "{created:?}");
    }

    fn send(&mut self, user: &str, ask: &Ask, target: &str, body: &str) -> Response {
        let identity = match user {
            "admin" => Identity::admin("admin"),
            other => Identity {
                user: other.to_owned(),
                groups: vec!["devs".to_owned(), "system:authenticated".to_owned()],
                pod: String::new(),
            },
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let method = Method::from_bytes(ask.method.as_bytes()).unwrap();
        self.server.handle(&Request {
            method: &method,
            path,
            query,
            content_type: ask.content_type,
            accept: ask.accept,
            user_agent: "fidelity/1",
            body: body.as_bytes(),
            identity: &identity,
            now: self.now,
        })
    }

    fn ask(&mut self, user: &str, ask: &Ask, names: &Names) -> Answer {
        let (path, body) = (names.fill(&ask.path), names.body(&ask.body));
        match self.send(user, ask, &path, &body) {
            Response::Json { code, body, warnings } => {
                Answer { code, body: Value::clone(&body), warnings, ..Answer::default() }
            }
            Response::Typed { body, .. } => {
                Answer { code: 200, body: Value::clone(&body), ..Answer::default() }
            }
            Response::Text { code, body } => {
                Answer { code, body: body.into(), ..Answer::default() }
            }
            Response::Watch(mut plan) => {
                let events = self.server.poll_watch(&mut plan, self.now);
                let body = events.into_iter().map(|event| event.json).collect();
                Answer { code: 200, body, ..Answer::default() }
            }
        }
    }

    fn watch(&mut self, name: &str, path: &str) {
        let response = self.send("admin", &Ask::get(path), path, "");
        let Response::Watch(plan) = response else { panic!("{path} is no watch: {response:?}") };
        self.watches.insert(name.to_owned(), plan);
    }
}

fn post(path: &str) -> Ask {
    Ask { method: "POST", content_type: "application/json", ..Ask::get(path) }
}
