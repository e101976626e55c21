//! The server: from a request to an answer.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use serde_json::Value;

use super::access::{AccessLog, Attributes, Policy};
use super::failure::Failure;
use super::kinds::{KindName, Kinds, Resource};
use super::log::{Entry, Writer};
use super::request::{Identity, Options, Request, Response, Target, Verb};
use super::store::{self, Deed, Store};
use super::watch::WatchPlan;
use crate::clock::Entropy;

/// The body of a request: bytes from the wire, or a value from inside of the process.
#[derive(Clone, Debug)]
pub(crate) enum Body<'a> {
    Bytes(&'a [u8]),
    Value(Value),
}

impl Body<'_> {
    /// The JSON object that the body is.
    ///
    /// # Errors
    /// 400 when it is none.
    pub(crate) fn object(self) -> Result<Value, Failure> {
        let value = match self {
            Self::Value(value) => value,
            Self::Bytes(bytes) => serde_json::from_slice(bytes).map_err(|error| {
                let message = format!("couldn't get version/kind; json parse error: {error}");
                Failure::bad_request(message)
            })?,
        };
        if value.is_object() {
            Ok(value)
        } else {
            Err(Failure::bad_request("couldn't get version/kind; json parse error: not an object"))
        }
    }

    /// The body as bytes.
    pub(crate) fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Self::Bytes(bytes) => std::borrow::Cow::Borrowed(bytes),
            Self::Value(value) => std::borrow::Cow::Owned(value.to_string().into_bytes()),
        }
    }
}

/// One request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) verb: Verb,
    pub(crate) options: Options,
    pub(crate) content_type: String,
    pub(crate) identity: Identity,
    pub(crate) user_agent: String,
    pub(crate) now: DateTime<Utc>,
}

impl Call {
    pub(crate) fn resource(&self) -> &Arc<Resource> {
        &self.target.resource
    }

    /// The key of the object on its shelf.
    pub(crate) fn key(&self) -> String {
        store::key(&self.target.namespace, &self.target.name)
    }

    /// The time as it is written into objects.
    pub(crate) fn timestamp(&self) -> String {
        self.now.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The field manager: as named, or the program's name from the user agent.
    pub(crate) fn manager(&self) -> String {
        if self.options.field_manager.is_empty() {
            self.user_agent.split('/').next().unwrap_or_default().to_owned()
        } else {
            self.options.field_manager.clone()
        }
    }

    pub(crate) fn deed(&self) -> Deed {
        Deed {
            resource: self.target.resource.clone(),
            writer: Writer {
                user: self.identity.user.clone(),
                pod: self.identity.pod.clone(),
                user_agent: self.user_agent.clone(),
                field_manager: self.manager(),
            },
            verb: self.verb,
            subresource: self.target.subresource.clone(),
            at: self.now,
        }
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Json { code: u16, body: Arc<Value>, warnings: Vec<String> },
    Watch(WatchPlan),
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Arc<Value>>) -> Self {
        Self::Json { code: 200, body: body.into(), warnings: Vec::new() }
    }

    pub(crate) fn created(body: impl Into<Arc<Value>>) -> Self {
        Self::Json { code: 201, body: body.into(), warnings: Vec::new() }
    }
}

/// Whether a body of this type is read.
fn check_media_type(content_type: &str) -> Result<(), Failure> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "" | "application/json" => Ok(()),
        other @ ("application/yaml" | "application/vnd.kubernetes.protobuf") => {
            Err(Failure::not_implemented(&format!("bodies of the type {other}; send JSON")))
        }
        _ => Err(Failure::unsupported_media_type(&[
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
        ])),
    }
}

/// The API server: see the module. A clone goes its own way, but shares the entropy.
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    entropy: Arc<dyn Entropy>,
    pub(crate) policy: Policy,
    pub(crate) access: AccessLog,
    /// Texts of `Warning` headers of the present request.
    pub(crate) warnings: Vec<String>,
}

impl Server {
    /// An empty server: the namespaces of a new cluster and nothing else. uids and generated names
    /// come from `entropy`.
    pub fn new(entropy: Arc<dyn Entropy>, now: DateTime<Utc>) -> Self {
        let kinds = Kinds::builtin();
        let mut server = Self {
            store: Store::default(),
            kinds,
            entropy,
            policy: Policy::default(),
            access: AccessLog::default(),
            warnings: Vec::new(),
        };
        for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
            let namespace = serde_json::json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            });
            // An empty store refuses none of them.
            let _ = server.write(&Identity::admin("system:apiserver"), "", now, namespace);
        }
        server
    }

    /// The same server, with another source of uids and generated names.
    #[must_use]
    pub fn with_entropy(self, entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, ..self }
    }

    /// Answers one request. Everything that it depends on is in `request`, in what was written
    /// before and in the entropy that the server was made with.
    pub fn handle(&mut self, request: &Request<'_>) -> Response {
        if let Some(response) = super::read::fixed(self, request) {
            return response;
        }
        match self.call_of(request).and_then(|call| self.execute(call, Body::Bytes(request.body))) {
            Ok(Answer::Json { code, body, warnings }) => Response::Json { code, body, warnings },
            Ok(Answer::Watch(plan)) => Response::Watch(plan),
            Err(failure) => failure.into(),
        }
    }

    fn call_of(&mut self, request: &Request<'_>) -> Result<Call, Failure> {
        let wanted = Attributes::of_request(request.method, request.path, request.query);
        self.authorize(request.identity, &wanted)?;
        let target = Target::of_path(request.path, &self.kinds)?;
        let options =
            Options::read(request.query, request.accept, request.method, &target.resource)?;
        let is_one = !target.name.is_empty();
        let verb = match *request.method {
            Method::GET | Method::HEAD if options.is_watch => Verb::Watch,
            Method::GET | Method::HEAD if is_one => Verb::Get,
            Method::GET | Method::HEAD => Verb::List,
            Method::POST if !is_one || !target.subresource.is_empty() => Verb::Create,
            // The server of custom kinds does not look at the name in the path.
            Method::POST if target.resource.is_custom => Verb::Create,
            Method::PUT if is_one => Verb::Update,
            Method::PATCH if is_one => Verb::Patch,
            Method::DELETE if is_one => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            _ => return Err(Failure::method_not_allowed()),
        };
        if matches!(verb, Verb::Create | Verb::Update) {
            check_media_type(request.content_type)?;
        }
        Ok(Call {
            target,
            verb,
            options,
            content_type: request.content_type.to_owned(),
            identity: request.identity.clone(),
            user_agent: request.user_agent.to_owned(),
            now: request.now,
        })
    }

    /// Carries out a call.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn execute(&mut self, call: Call, body: Body<'_>) -> Result<Answer, Failure> {
        self.warnings.clear();
        let mut answer = match call.verb {
            Verb::Get => self.get(&call),
            Verb::List => self.list(&call),
            Verb::Watch => self.watch(&call),
            Verb::Create => self.create(call, body),
            Verb::Update => self.update(&call, body),
            Verb::Patch => self.patch(&call, &body),
            Verb::Delete => self.delete(&call, body),
            Verb::DeleteCollection => self.delete_collection(&call, body),
        }?;
        if let Answer::Json { warnings, .. } = &mut answer {
            warnings.append(&mut self.warnings);
        }
        Ok(answer)
    }

    /// Creates an object as somebody inside of the process.
    fn write(
        &mut self,
        identity: &Identity,
        name: &str,
        now: DateTime<Utc>,
        object: Value,
    ) -> Result<Answer, Failure> {
        let call = self.call_for(Verb::Create, &object, identity, name, now)?;
        self.execute(call, Body::Value(object))
    }

    /// A call about the object that `object` is.
    ///
    /// # Errors
    /// 404 when its kind is not served.
    pub(crate) fn call_for(
        &self,
        verb: Verb,
        object: &Value,
        identity: &Identity,
        user_agent: &str,
        now: DateTime<Utc>,
    ) -> Result<Call, Failure> {
        use super::object::{name, namespace, text};
        let resource = self.kinds.of_kind(text(object, "apiVersion"), text(object, "kind"));
        let resource = resource.ok_or_else(Failure::no_such_path)?.clone();
        let name = if verb == Verb::Create { "" } else { name(object) };
        Ok(Call {
            target: Target {
                resource,
                namespace: namespace(object).to_owned(),
                name: name.to_owned(),
                subresource: String::new(),
            },
            verb,
            options: Options::default(),
            content_type: String::new(),
            identity: identity.clone(),
            user_agent: user_agent.to_owned(),
            now,
        })
    }

    /// An object as it is stored.
    pub fn object(&self, kind: &KindName, namespace: &str, name: &str) -> Option<&Arc<Value>> {
        let storage = &self.kinds.any_version(kind)?.storage;
        self.store.get(storage, &store::key(namespace, name))
    }

    /// The objects of a kind in a namespace (in all of them when it is empty), in order of
    /// namespace and name.
    pub fn objects(&self, kind: &KindName, namespace: &str) -> Vec<Arc<Value>> {
        let Some(resource) = self.kinds.any_version(kind) else { return Vec::new() };
        self.store.list(&resource.storage, namespace).map(|(_, object)| object.clone()).collect()
    }

    /// The kinds that are served.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.kinds.all().cloned().collect()
    }

    /// The resourceVersion of the latest change.
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// The changes after a version, oldest first. What was compacted is left out.
    pub fn changes_since(&self, version: u64) -> Vec<Arc<Entry>> {
        self.store.since(version).cloned().collect()
    }

    /// Forgets the changes up to `version`, as the compaction of etcd does: watches and pages that
    /// start before it get 410.
    pub fn compact(&mut self, version: u64) {
        self.store.compact(version);
    }

    /// A new uid.
    pub(crate) fn new_uid(&self) -> String {
        let (high, low) = (self.entropy.next_u64(), self.entropy.next_u64());
        // Version 4, variant 1, as RFC 9562 has them.
        let high = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// The five letters behind a `generateName`.
    pub(crate) fn new_suffix(&self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut bits = self.entropy.next_u64();
        let mut suffix = String::new();
        for _ in 0..5 {
            let count = LETTERS.len() as u64;
            let letter = usize::try_from(bits % count).ok().and_then(|idx| LETTERS.get(idx));
            suffix.extend(letter.map(|letter| char::from(*letter)));
            bits /= count;
        }
        suffix
    }
}
