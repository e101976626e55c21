//! Reading and writing from inside of the process, under a name. What companions use: no HTTP, no
//! faults, the same rules.

use std::sync::Arc;

use serde_json::Value;

use super::cluster::Cluster;
use super::failure::Failure;
use super::kinds::KindName;
use super::object;
use super::request::{Identity, Options, Target, Verb};
use super::server::{Answer, Body, Call};

/// Somebody who writes.
#[derive(Clone, Debug)]
pub struct Actor {
    cluster: Cluster,
    identity: Identity,
}

impl Actor {
    pub(crate) fn new(cluster: Cluster, identity: Identity) -> Self {
        Self { cluster, identity }
    }

    /// The cluster, for reading.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// POST: creates `object`; its kind, namespace and name are in it.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn create(&self, object: Value) -> Result<Arc<Value>, Failure> {
        self.about(Verb::Create, "", object)
    }

    /// PUT: replaces an object. With a resourceVersion in it, only that version.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn update(&self, object: Value) -> Result<Arc<Value>, Failure> {
        self.about(Verb::Update, "", object)
    }

    /// PUT to the status subresource.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn update_status(&self, object: Value) -> Result<Arc<Value>, Failure> {
        self.about(Verb::Update, "status", object)
    }

    /// A merge patch of an object, or of its `subresource` unless that is empty.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn merge(
        &self,
        kind: &KindName,
        (namespace, name): (&str, &str),
        subresource: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Failure> {
        let content_type = "application/merge-patch+json";
        self.at(Verb::Patch, kind, (namespace, name), subresource, content_type, patch)
    }

    /// A JSON patch of an object, or of its `subresource` unless that is empty.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn json_patch(
        &self,
        kind: &KindName,
        (namespace, name): (&str, &str),
        subresource: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Failure> {
        let content_type = "application/json-patch+json";
        self.at(Verb::Patch, kind, (namespace, name), subresource, content_type, patch)
    }

    /// Server-side apply of a whole object under a field manager; with `force` conflicts are decided
    /// in its favour.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn apply(&self, object: Value, manager: &str, force: bool) -> Result<Arc<Value>, Failure> {
        let now = self.cluster.shared.clock.now();
        self.cluster.change(|state| {
            let server = &mut state.server;
            let user_agent = self.identity.user.clone();
            let mut call =
                server.call_for(Verb::Patch, &object, &self.identity, &user_agent, now)?;
            "application/apply-patch+yaml".clone_into(&mut call.content_type);
            manager.clone_into(&mut call.options.field_manager);
            call.options.force = force;
            json(server.execute(call, Body::Value(object)))
        })
    }

    /// DELETE with the options of a body, such as `gracePeriodSeconds` or `preconditions`.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn delete_with(
        &self,
        kind: &KindName,
        (namespace, name): (&str, &str),
        options: Value,
    ) -> Result<Arc<Value>, Failure> {
        self.at(Verb::Delete, kind, (namespace, name), "", "", options)
    }

    /// DELETE with the default propagation. The answer of the server is the object or a Status.
    ///
    /// # Errors
    /// The refusal of the server.
    pub fn delete(
        &self,
        kind: &KindName,
        (namespace, name): (&str, &str),
    ) -> Result<Arc<Value>, Failure> {
        self.at(Verb::Delete, kind, (namespace, name), "", "", Value::Object(object::Object::new()))
    }

    fn about(&self, verb: Verb, subresource: &str, object: Value) -> Result<Arc<Value>, Failure> {
        let now = self.cluster.shared.clock.now();
        self.cluster.change(|state| {
            let server = &mut state.server;
            let user_agent = self.identity.user.clone();
            let mut call = server.call_for(verb, &object, &self.identity, &user_agent, now)?;
            subresource.clone_into(&mut call.target.subresource);
            json(server.execute(call, Body::Value(object)))
        })
    }

    fn at(
        &self,
        verb: Verb,
        kind: &KindName,
        (namespace, name): (&str, &str),
        subresource: &str,
        content_type: &str,
        body: Value,
    ) -> Result<Arc<Value>, Failure> {
        let now = self.cluster.shared.clock.now();
        self.cluster.change(|state| {
            let server = &mut state.server;
            let resource = server.kinds.any_version(kind).ok_or_else(Failure::no_such_path)?;
            let call = Call {
                target: Target {
                    resource: resource.clone(),
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    subresource: subresource.to_owned(),
                },
                verb,
                options: Options::default(),
                content_type: content_type.to_owned(),
                identity: self.identity.clone(),
                user_agent: self.identity.user.clone(),
                now,
            };
            json(server.execute(call, Body::Value(body)))
        })
    }
}

fn json(answer: Result<Answer, Failure>) -> Result<Arc<Value>, Failure> {
    match answer? {
        Answer::Json { body, .. } => Ok(body),
        Answer::Watch(_) => Err(Failure::method_not_allowed()),
    }
}
