//! The language of the scenarios. One step is one line; indented lines belong to the one before.
//!
//! ```text
//! == name of a scenario, as a sentence
//! DEF map = {metadata: {name: a}}            a body to build upon, for the rest of the file
//! POST /api/v1/namespaces/NS/configmaps $map + {data: {k: v}}
//! SET rv = metadata.resourceVersion          from the last answer; `${rv}` from now on
//! MERGE, JSON, STRATEGIC, APPLY /path body   the kinds of PATCH
//! AS team GET /path                          as somebody else than the administrator
//! TABLE, META, METAS /path                   GET of a table, of metadata, of a list of metadata
//! QUIET POST /path body                      only the status is compared, when it is a success
//! CODE POST /path body                       only status and reason are compared
//! WAIT 200 AS team GET /path                 asks until that is the status; nothing is compared
//! WATCH w /path?query                        begins a watch
//! EVENTS w                                   what it told since
//! GONE /path                                 waits until the controllers have removed it
//! ```
//!
//! `NS` is the namespace of the scenario. Bodies are YAML in one line; `+` merges (RFC 7396).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// A file of scenarios.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) scenarios: Vec<Scenario>,
}

/// Steps with one namespace of their own.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// Number over all files: it makes names of namespaces.
    pub(crate) number: usize,
    /// Managed fields are compared too.
    pub(crate) shows_managed_fields: bool,
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Ask { line: String, user: String, shown: Shown, ask: Ask },
    Wait { code: u16, user: String, ask: Ask },
    Set { name: String, path: String },
    Watch { name: String, path: String },
    Events { name: String },
    Gone { path: String },
}

/// What of an answer is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shown {
    #[default]
    All,
    /// The status, when it is a success.
    Quiet,
    /// Status and reason.
    Code,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) accept: &'static str,
    pub(crate) path: String,
    /// The terms of the body; empty for none.
    pub(crate) body: Vec<String>,
}

/// Every file of a directory, sorted.
pub(crate) fn read_all(directory: &Path) -> Vec<File> {
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut number = 0;
    paths.iter().map(|path| read(path, &mut number)).collect()
}

fn read(path: &Path, number: &mut usize) -> File {
    let text = std::fs::read_to_string(path).unwrap();
    let mut definitions: BTreeMap<String, String> = BTreeMap::new();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for line in logical_lines(&text) {
        if let Some(name) = line.strip_prefix("== ") {
            let shows_managed_fields = name.ends_with(" [managed]");
            let name = name.trim_end_matches(" [managed]").to_owned();
            let is_new = scenarios.iter().all(|scenario| scenario.name != name);
            assert!(is_new, "{}: two scenarios are called {name:?}", path.display());
            *number += 1;
            let number = *number;
            scenarios.push(Scenario { name, number, shows_managed_fields, steps: vec![] });
        } else if let Some(definition) = line.strip_prefix("DEF ") {
            let (name, body) = definition.split_once(" = ").unwrap();
            definitions.insert(name.to_owned(), body.to_owned());
        } else {
            let scenario = scenarios.last_mut().expect("a scenario begins with ==");
            scenario.steps.push(step(&line, &definitions));
        }
    }
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    File { name, scenarios }
}

fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match lines.last_mut() {
            Some(last) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.trim_end().to_owned()),
        }
    }
    lines
}

fn step(line: &str, definitions: &BTreeMap<String, String>) -> Step {
    let mut rest = line;
    let (mut user, mut shown, mut wait) = ("admin", Shown::All, None);
    loop {
        let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = tail;
        match word {
            "AS" => (user, rest) = rest.split_once(' ').unwrap(),
            "QUIET" => shown = Shown::Quiet,
            "CODE" => shown = Shown::Code,
            "WAIT" => {
                let (code, tail) = rest.split_once(' ').unwrap();
                wait = Some(code.parse().unwrap());
                rest = tail;
            }
            "SET" => {
                let (name, path) = rest.split_once(" = ").unwrap();
                return Step::Set { name: name.to_owned(), path: path.to_owned() };
            }
            "WATCH" => {
                let (name, path) = rest.split_once(' ').unwrap();
                return Step::Watch { name: name.to_owned(), path: path.to_owned() };
            }
            "EVENTS" => return Step::Events { name: rest.to_owned() },
            "GONE" => return Step::Gone { path: rest.to_owned() },
            verb => {
                let ask = ask(verb, rest, definitions);
                let (line, user) = (line.to_owned(), user.to_owned());
                return match wait {
                    Some(code) => Step::Wait { code, user, ask },
                    None => Step::Ask { line, user, shown, ask },
                };
            }
        }
    }
}

fn ask(verb: &str, rest: &str, definitions: &BTreeMap<String, String>) -> Ask {
    let accept = match verb {
        "TABLE" => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "META" => "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
        "METAS" => {
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
        }
        _ => "application/json",
    };
    let (method, content_type) = match verb {
        "GET" | "TABLE" | "META" | "METAS" => ("GET", ""),
        "POST" => ("POST", "application/json"),
        "PUT" => ("PUT", "application/json"),
        "DELETE" => ("DELETE", "application/json"),
        "MERGE" => ("PATCH", "application/merge-patch+json"),
        "JSON" => ("PATCH", "application/json-patch+json"),
        "STRATEGIC" => ("PATCH", "application/strategic-merge-patch+json"),
        "APPLY" => ("PATCH", "application/apply-patch+yaml"),
        other => panic!("no verb {other:?} in {rest:?}"),
    };
    let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let terms = if body.is_empty() { vec![] } else { body.split(" + ").collect() };
    let body = terms
        .into_iter()
        .flat_map(|term| {
            match term.trim().strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => {
                    let definition = definitions.get(name);
                    let definition = definition.unwrap_or_else(|| panic!("no DEF {name}"));
                    expand(definition, definitions)
                }
                None => vec![term.trim().to_owned()],
            }
        })
        .collect();
    Ask { method, content_type, accept, path: path.to_owned(), body }
}

fn expand(text: &str, definitions: &BTreeMap<String, String>) -> Vec<String> {
    text.split(" + ")
        .flat_map(|term| {
            match term.trim().strip_prefix('$').filter(|name| !name.starts_with('{')) {
                Some(name) => expand(&definitions[name], definitions),
                None => vec![term.trim().to_owned()],
            }
        })
        .collect()
}

impl Ask {
    /// A GET of a path.
    pub(crate) fn get(path: &str) -> Self {
        let path = path.to_owned();
        Self { method: "GET", content_type: "", accept: "application/json", path, body: vec![] }
    }
}

/// What a scenario has set, and its namespace.
#[derive(Debug)]
pub(crate) struct Names {
    namespace: String,
    values: BTreeMap<String, String>,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), values: BTreeMap::new() }
    }

    /// `text` with the names in their places.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = text.replace("NS", &self.namespace);
        for (name, value) in &self.values {
            filled = filled.replace(&format!("${{{name}}}"), value);
        }
        assert!(!filled.contains("${"), "{filled} names what was not set");
        filled
    }

    /// Takes the value at `path` of an answer.
    pub(crate) fn set(&mut self, name: &str, path: &str, answer: &Value) {
        let pointer = format!("/{}", path.replace('.', "/"));
        let value = answer.pointer(&pointer).unwrap_or_else(|| panic!("no {path} in {answer}"));
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.values.insert(name.to_owned(), text);
    }

    /// The bytes of a body.
    pub(crate) fn body(&self, terms: &[String]) -> String {
        let mut whole: Option<Value> = None;
        for term in terms {
            let filled = self.fill(term);
            // What is no YAML is sent as it is.
            if let Some(raw) = filled.strip_prefix("RAW ") {
                return raw.to_owned();
            }
            let value: Value =
                serde_norway::from_str(&filled).unwrap_or_else(|error| panic!("{filled}: {error}"));
            match &mut whole {
                None => whole = Some(value),
                Some(whole) => json_patch::merge(whole, &value),
            }
        }
        whole.map(|value| value.to_string()).unwrap_or_default()
    }
}

/// The CustomResourceDefinitions that every scenario finds: ours, and those of `tests/fidelity/crds`.
pub(crate) fn definitions() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = [root.join("crds"), root.join("tests/fidelity/crds")]
        .iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("kustomization.yaml"))
        .collect();
    paths.sort();
    paths
}
