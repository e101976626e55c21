//! The GitOps agent: looks at a branch every few seconds and applies the files of one folder by
//! server-side apply under its own field manager. Plain YAML only: it renders nothing.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Deserialize as _;
use serde_json::Value;

use super::agenda::Time;
use super::companion::Context;
use super::git::GitServer;
use super::random::Random;
use crate::git::source::{BranchName, GitUrl, RepoPath};
use crate::revision::Commit;
use crate::sim::api::{Actor, Cluster, Identity, KindName, Resource, object};

/// Field manager of everything that the agent applies.
pub const AGENT: &str = "gitops";
/// An object that is made when it is missing and not changed after.
const CREATE_ONLY: &str = "kustomize.toolkit.fluxcd.io/ssa";

/// What an agent keeps in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The repository.
    pub url: GitUrl,
    /// The branch.
    pub branch: BranchName,
    /// The folder.
    pub path: RepoPath,
    /// The namespace into which objects without one go.
    pub namespace: String,
}

/// The agent of one application.
#[derive(Debug)]
pub(crate) struct Agent {
    application: Application,
    actor: Actor,
    random: Random,
    next_look: Time,
    /// What was fetched, and when it is applied.
    fetched: Option<(Time, Commit, Vec<Value>)>,
    /// The commit that was applied last.
    applied: Option<Commit>,
    /// Objects as they were after our last apply: kind, namespace, name, resourceVersion.
    made: BTreeMap<(String, String, String), String>,
    /// What went wrong at the last try.
    trouble: Vec<String>,
}

impl Agent {
    pub(crate) fn new(application: Application, cluster: &Cluster, seed: u64, now: Time) -> Self {
        let stream = format!("agent {} {}", application.namespace, application.path);
        Self {
            application,
            actor: cluster.actor(Identity::admin(AGENT)),
            random: Random::stream(seed, &stream),
            next_look: now,
            fetched: None,
            applied: None,
            made: BTreeMap::new(),
            trouble: Vec::new(),
        }
    }

    /// The commit that was applied last, in whole or in part.
    pub(crate) fn applied(&self) -> Option<&Commit> {
        self.applied.as_ref()
    }

    /// What went wrong at the last try.
    pub(crate) fn trouble(&self) -> &[String] {
        &self.trouble
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Time {
        self.fetched.as_ref().map_or(self.next_look, |(at, ..)| (*at).min(self.next_look))
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, git: &GitServer, ctx: Context<'_>) {
        if let Some((_, commit, objects)) = self.fetched.take_if(|(at, ..)| *at <= ctx.now) {
            self.apply(commit, objects, ctx);
        }
        if self.next_look > ctx.now {
            return;
        }
        let behaviour = &ctx.behaviour.agent;
        let interval = self.random.within(behaviour.interval);
        self.next_look = ctx.now + interval.max(TimeDelta::milliseconds(100));
        if behaviour.is_paused || self.fetched.is_some() {
            return;
        }
        let Application { url, branch, .. } = &self.application;
        if let Err(error) = git.check() {
            self.trouble = vec![error.to_string()];
            return;
        }
        let Some((tip, files)) = git.memory().files(url, branch) else {
            self.trouble = vec![format!("branch {branch} of {url} does not exist")];
            return;
        };
        if self.applied.as_ref() == Some(&tip) && !behaviour.self_heals && self.trouble.is_empty() {
            return;
        }
        let mut objects = Vec::new();
        for (path, content) in &files {
            if !is_manifest(&self.application.path, path) {
                continue;
            }
            match documents(content) {
                Ok(found) => objects.extend(found),
                Err(error) => {
                    // An agent that cannot read its branch applies nothing of it.
                    self.trouble = vec![format!("{path}: {error}")];
                    return;
                }
            }
        }
        let delay = self.random.within(behaviour.applies_after);
        self.fetched = Some((ctx.now + delay, tip, objects));
    }

    fn apply(&mut self, commit: Commit, objects: Vec<Value>, ctx: Context<'_>) {
        self.trouble.clear();
        let mut present = BTreeSet::new();
        let is_new = self.applied.as_ref() != Some(&commit);
        for mut object in objects {
            let Some(resource) = resource_of(ctx.cluster, &object) else {
                self.trouble.push(format!("no kind {}", object::text(&object, "kind")));
                continue;
            };
            if resource.is_namespaced && object::namespace(&object).is_empty() {
                object::set_meta(&mut object, "namespace", self.application.namespace.as_str());
            }
            let kind = resource.name();
            let (namespace, name) = (object::namespace(&object), object::name(&object));
            let key = (resource.qualified(), namespace.to_owned(), name.to_owned());
            let live = ctx.cluster.get(&kind, namespace, name);
            present.insert(key.clone());
            let is_kept = live.is_some()
                && !ctx.behaviour.agent.ignores_create_only
                && annotation(&object, CREATE_ONLY) == "IfNotPresent";
            let version = live.as_deref().map(object::version).unwrap_or_default();
            // The same on the same would change nothing.
            let is_same = !is_new && self.made.get(&key).is_some_and(|made| made == version);
            if is_kept || is_same {
                continue;
            }
            match self.actor.apply(object, AGENT, true) {
                Ok(stored) => {
                    self.made.insert(key, object::version(&stored).to_owned());
                }
                Err(failure) => self.trouble.push(failure.message),
            }
        }
        self.prune(&present, ctx);
        self.applied = Some(commit);
    }

    fn prune(&mut self, present: &BTreeSet<(String, String, String)>, ctx: Context<'_>) {
        let gone: Vec<(String, String, String)> =
            self.made.keys().filter(|key| !present.contains(*key)).cloned().collect();
        for key in gone {
            self.made.remove(&key);
            if ctx.behaviour.agent.prunes {
                let (plural, group) = key.0.split_once('.').unwrap_or((&key.0, ""));
                let _ = self.actor.delete(&KindName::new(group, plural), (&key.1, &key.2));
            }
        }
    }
}

/// Whether a file stands in the folder itself and holds manifests.
fn is_manifest(folder: &RepoPath, path: &RepoPath) -> bool {
    let (parent, file) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    let extension = file.rsplit_once('.').map(|(_, extension)| extension);
    parent == folder.as_str() && matches!(extension, Some("yaml" | "yml"))
}

/// The objects of a file.
pub(crate) fn documents(content: &[u8]) -> Result<Vec<Value>, String> {
    let mut objects = Vec::new();
    for document in serde_norway::Deserializer::from_slice(content) {
        let value = Value::deserialize(document).map_err(|error| error.to_string())?;
        if !value.is_null() {
            objects.push(value);
        }
    }
    Ok(objects)
}

/// The kind of a manifest, if it is served.
pub(crate) fn resource_of(cluster: &Cluster, object: &Value) -> Option<std::sync::Arc<Resource>> {
    cluster.resource(object::text(object, "apiVersion"), object::text(object, "kind"))
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    super::companion::text_at(object, &["metadata", "annotations", key])
}
