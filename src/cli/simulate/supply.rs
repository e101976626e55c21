//! Everything that the world begins with: the team's objects, what stands in for those that are
//! needed and not given, and how everything behaves. Each difference is a note.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::images::Images;
use super::intake::{Note, NoteKind, Team};
use super::queries::{self, Needs, is_template, pinned};
use super::words::{Pin, Traits};
use crate::api::Kind;
use crate::api::git_revert::GitRevertMode;
use crate::cli::error::CliError;
use crate::cli::lint::object::Manifest;
use crate::cli::lint::set::service_fields;
use crate::metrics::spec::SourceKind;
use crate::plan::validate::string_map;
use crate::sim::world::{
    Behaviour, GitBehaviour, PrometheusBehaviour, Span, Target, VersionBehaviour, WebAnswer,
};

/// Kinds of the team's that have a part in the simulation.
const MODELLED: &[&str] = &[
    "AnalysisTemplate",
    "ClusterAnalysisTemplate",
    "ClusterMetricsSource",
    "ConfigMap",
    "Deployment",
    "GRPCRoute",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "HorizontalPodAutoscaler",
    "Ingress",
    "MetricsSource",
    "Secret",
    "Service",
    "ServiceAccount",
];
/// Address in sources that stand in.
const ADDRESS: &str = "http://prometheus.simulated:9090";
/// Namespace of the controller.
const SYSTEM: &str = "sluice-system";
/// Variables of the pods' environment that the simulated application follows.
const VARIABLES: [&str; 7] = [
    "ERROR_RATE",
    "LATENCY_MS",
    "SLOW_RATE",
    "SLOW_MS",
    "STARTUP_DELAY_MS",
    "CRASH_AFTER_MS",
    "DRAIN_MS",
];

/// What the world begins with.
#[derive(Debug)]
pub(super) struct Supplies {
    /// Namespace and name of the Rollout.
    pub(super) namespace: String,
    pub(super) name: String,
    /// Namespaces besides that of the controller.
    pub(super) namespaces: BTreeSet<String>,
    /// Objects besides the Rollout, in the order in which they are made.
    pub(super) objects: Vec<Value>,
    /// The images before and after the change.
    pub(super) images: Images,
    /// What users ask.
    pub(super) target: Target,
    pub(super) behaviour: Behaviour,
    pub(super) has_jobs: bool,
    pub(super) notes: Vec<Note>,
}

/// What the command line says.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) image: Option<String>,
    pub(super) canary: Traits,
    pub(super) stable: Traits,
    pub(super) pins: Vec<Pin>,
    pub(super) scrape_interval: Span,
}

/// Gathers everything.
pub(super) fn gather(team: &Team, wishes: &Wishes) -> Result<Supplies, CliError> {
    let Some(rollout) = team.rollout() else {
        return Err(CliError::usage("found no Rollout to simulate", "name its file with -f"));
    };
    let images = Images::of(team, wishes.image.as_deref())?;
    let mut shelf = Shelf { team, rollout, objects: Vec::new(), notes: Vec::new() };
    shelf.own_objects(&wishes.pins);
    let services = shelf.services();
    let route = shelf.routes()?;
    let target = match route {
        Some(target) => target,
        None => shelf.plain_target(),
    };
    shelf.gateways()?;
    let needs = queries::check(team, &wishes.pins, &services)?;
    shelf.sources(&needs);
    shelf.git_secret();
    shelf.environment();
    let mut namespaces: BTreeSet<String> =
        shelf.objects.iter().map(|one| text(one, "/metadata/namespace").to_owned()).collect();
    namespaces.insert(rollout.namespace.clone());
    namespaces.retain(|name| !name.is_empty() && name != SYSTEM && name != "gateways");
    let mut notes = shelf.notes;
    notes.extend(needs.notes.iter().cloned());
    notes.sort_by_key(|note| note.kind as u8);
    Ok(Supplies {
        namespace: rollout.namespace.clone(),
        name: rollout.name.clone(),
        namespaces,
        objects: shelf.objects,
        behaviour: behaviour(wishes, &images, &needs),
        images,
        target,
        has_jobs: needs.has_jobs,
        notes,
    })
}

fn behaviour(wishes: &Wishes, images: &Images, needs: &Needs) -> Behaviour {
    let version = |traits: &Traits| traits.applied_to(&VersionBehaviour::default());
    let mut versions = BTreeMap::from([
        (images.stable.clone(), version(&wishes.stable)),
        (images.canary.clone(), version(&wishes.canary)),
    ]);
    for image in &needs.failing_jobs {
        versions.entry(image.clone()).or_default().exit_code = 1;
    }
    let answer = |body: &Value| WebAnswer { body: body.clone(), ..WebAnswer::default() };
    Behaviour {
        versions,
        prometheus: PrometheusBehaviour {
            scrape_interval: wishes.scrape_interval,
            exports: Some(needs.series.clone()),
            ..PrometheusBehaviour::default()
        },
        git: GitBehaviour::default(),
        web: needs.web.iter().map(|(url, body)| (url.clone(), answer(body))).collect(),
        ..Behaviour::default()
    }
}

/// The objects so far.
pub(super) struct Shelf<'a> {
    pub(super) team: &'a Team,
    pub(super) rollout: &'a Manifest,
    pub(super) objects: Vec<Value>,
    notes: Vec<Note>,
}

impl Shelf<'_> {
    pub(super) fn note(&mut self, kind: NoteKind, text: impl Into<String>) {
        let note = Note { kind, text: text.into() };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The team's own objects, but what has no part here.
    fn own_objects(&mut self, pins: &[Pin]) {
        for manifest in self.team.others() {
            let title = manifest.title();
            if manifest.kind == "Namespace" {
                continue;
            }
            if !MODELLED.contains(&manifest.kind.as_str()) {
                let why = match manifest.kind.as_str() {
                    "Rollout" => "only one Rollout is simulated",
                    "AnalysisRun" => "the Rollout makes its own runs",
                    _ => "nothing in the simulation acts on this kind",
                };
                self.note(NoteKind::NotModelled, format!("{title} is left out: {why}"));
                continue;
            }
            let mut object = if is_template(manifest) {
                pinned(manifest, pins, &mut self.notes)
            } else {
                manifest.json.clone()
            };
            if manifest.kind == "HorizontalPodAutoscaler" {
                let text =
                    format!("{title} keeps the pods within its bounds; its metrics have no effect");
                self.note(NoteKind::NotModelled, text);
            }
            if manifest.kind.ends_with("MetricsSource") {
                self.open_source(&title, &mut object);
            }
            in_namespace(&mut object, manifest);
            self.objects.push(object);
        }
    }

    /// A source without credentials: the simulated server asks for none.
    fn open_source(&mut self, title: &str, object: &mut Value) {
        let address = text(object, "/spec/address").to_owned();
        self.note(
            NoteKind::Assumed,
            format!("{title}: {address} is the simulated server, without credentials"),
        );
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            for field in ["credentials", "ca", "headers"] {
                spec.remove(field);
            }
        }
    }

    pub(super) fn has(&self, kind: &str, namespace: &str, name: &str) -> bool {
        self.objects.iter().any(|one| {
            text(one, "/kind") == kind
                && text(one, "/metadata/name") == name
                && [namespace, ""].contains(&text(one, "/metadata/namespace"))
        })
    }

    /// The Services that the Rollout names, and others of its namespace that select its pods.
    fn services(&mut self) -> Vec<String> {
        let namespace = self.rollout.namespace.clone();
        let fields: Vec<(String, String)> = service_fields(&self.team.spec)
            .into_iter()
            .map(|(field, name)| (field, name.to_owned()))
            .collect();
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (field, name) in fields {
            if !self.has("Service", &namespace, &name) {
                self.note(NoteKind::StandIn, format!("Service {name}, named by {field}"));
                let service = self.service(&name);
                self.objects.push(service);
            }
            names.insert(name);
        }
        names.extend(self.selecting());
        names.into_iter().collect()
    }

    /// Services of the files that select all pods of the Rollout.
    pub(super) fn selecting(&self) -> Vec<String> {
        let template = self.team.spec.template.as_ref().map(|raw| &raw.0);
        let labels = string_map(template.and_then(|raw| raw.pointer("/metadata/labels")));
        let selects = |one: &&Value| {
            let selector = string_map(one.pointer("/spec/selector"));
            text(one, "/kind") == "Service"
                && text(one, "/metadata/namespace") == self.rollout.namespace
                && !selector.is_empty()
                && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let found = self.objects.iter().filter(selects);
        found.map(|one| text(one, "/metadata/name").to_owned()).collect()
    }

    pub(super) fn service(&self, name: &str) -> Value {
        let labels = self.rollout.json.pointer("/spec/selector/matchLabels").cloned();
        let template = self.rollout.json.pointer("/spec/template/metadata/labels").cloned();
        let port =
            self.rollout.json.pointer("/spec/template/spec/containers/0/ports/0/containerPort");
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": self.rollout.namespace},
            "spec": {
                "selector": labels.or(template).unwrap_or_default(),
                "ports": [{"name": "http", "port": 80, "targetPort": port.cloned().unwrap_or(json!(8080))}],
            },
        })
    }

    /// Sources that metrics name.
    fn sources(&mut self, needs: &Needs) {
        for (source, _) in &needs.sources {
            let kind = source.kind();
            let is_cluster = kind == SourceKind::ClusterMetricsSource;
            let namespace = if is_cluster { "" } else { self.rollout.namespace.as_str() };
            if self.has(kind.as_str(), namespace, &source.name) {
                continue;
            }
            let mut object = json!({
                "apiVersion": self.team.names.api_version(), "kind": kind.as_str(),
                "metadata": {"name": source.name}, "spec": {"address": ADDRESS},
            });
            if !is_cluster
                && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
            {
                metadata.insert("namespace".to_owned(), namespace.into());
            }
            self.note(
                NoteKind::StandIn,
                format!("{} {}, with the simulated Prometheus", kind.as_str(), source.name),
            );
            self.objects.push(object);
        }
    }

    /// The Secret for Git.
    fn git_secret(&mut self) {
        let Some(git) = &self.team.spec.git_revert else { return };
        let unfound = "the source of gitRevert: there is no Argo CD or Flux here that could name it, so that Git is not put right; spec.gitRevert.source with url, branch and path would be simulated";
        let Some(source) = &git.source else {
            if git.mode != GitRevertMode::Disabled {
                self.note(NoteKind::NotModelled, unfound);
            }
            return;
        };
        let (Some(url), Some(branch), Some(path)) = (&source.url, &source.branch, &source.path)
        else {
            self.note(NoteKind::NotModelled, unfound);
            return;
        };
        self.note(NoteKind::Assumed, format!(
            "{url} is a simulated server: branch {branch} holds the Rollout as it is in its file, in {path}, and a GitOps agent looks every 3 s"
        ));
        let Some(secret) = &source.secret_ref else { return };
        if self.has("Secret", &self.rollout.namespace, &secret.name) {
            return;
        }
        let data = if url.starts_with("http") {
            json!({"username": "simulated", "password": "simulated"})
        } else {
            let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nsimulated\n-----END OPENSSH PRIVATE KEY-----\n";
            json!({"identity": key, "known_hosts": "simulated ssh-ed25519 AAAA"})
        };
        self.note(NoteKind::StandIn, format!("Secret {}, with a placeholder", secret.name));
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": secret.name, "namespace": self.rollout.namespace}, "stringData": data,
        }));
    }

    /// Variables that the simulated application takes for itself.
    fn environment(&mut self) {
        let containers = self.rollout.json.pointer("/spec/template/spec/containers");
        let variables: Vec<String> = containers
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|one| one.get("env").and_then(Value::as_array))
            .flatten()
            .map(|variable| text(variable, "/name").to_owned())
            .filter(|name| VARIABLES.contains(&name.as_str()))
            .collect();
        for name in variables {
            self.note(
                NoteKind::Assumed,
                format!(
                    "the variable {name} of the pods sets how the simulated application behaves"
                ),
            );
        }
    }
}

/// A text of an object; empty when it is missing.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Puts an object of a namespace into it.
fn in_namespace(object: &mut Value, manifest: &Manifest) {
    let is_of_cluster = manifest.kind == "GatewayClass"
        || Kind::ALL.iter().any(|kind| kind.as_str() == manifest.kind && !kind.is_namespaced());
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let (false, Some(metadata)) = (is_of_cluster, metadata) {
        metadata.insert("namespace".to_owned(), manifest.namespace.clone().into());
    }
}
