//! The plugin's only way to the API server: a few reads and one guarded write, each with its own
//! time limit. Nothing is tried again in here; whoever wants that reads again and decides again.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::args::ClusterFlags;
use super::error::CliError;
use crate::api::{ApiNames, Kind, Rollout};

/// Field manager of the plugin's writes.
const FIELD_MANAGER: &str = "kubectl-sluice";
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// Time limit of one request, unless the user gives another.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a command gets its client.
#[derive(Clone)]
pub enum Connector {
    /// From the user's kubeconfig.
    Kubeconfig,
    /// This one (tests, and clusters in memory), with the user's name.
    Given(Client, String),
}

/// A cluster, a namespace in it, and who asks.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    names: ApiNames,
    namespace: String,
    user: String,
    timeout: Duration,
}

/// The part of an object that a patch goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself: spec and metadata.
    Main,
    /// Its status.
    Status,
}

/// Why a write did not happen.
#[derive(Debug)]
pub enum WriteFailure {
    /// Somebody else changed the object since it was read.
    Conflict,
    /// Anything else.
    Other(CliError),
}

/// What is asked of the API server, for messages.
struct Attempt<'a> {
    verb: &'static str,
    resource: &'a str,
    group: &'a str,
    kind: &'static str,
    subresource: Option<&'static str>,
    name: Option<&'a str>,
    namespace: Option<&'a str>,
}

impl Attempt<'_> {
    fn what(&self) -> String {
        let of = self.subresource.map_or_else(String::new, |part| format!("/{part}"));
        let name = self.name.map_or_else(String::new, |name| format!(" {name:?}"));
        let place = self
            .namespace
            .map_or_else(|| " in all namespaces".to_owned(), |ns| format!(" in namespace {ns:?}"));
        format!("{} {}{of}{name}{place}", self.verb, self.resource)
    }

    /// The arguments of `kubectl auth can-i`.
    fn question(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let part =
            self.subresource.map_or_else(String::new, |part| format!(" --subresource={part}"));
        let place = self.namespace.map_or_else(|| " -A".to_owned(), |ns| format!(" -n {ns}"));
        format!("{} {}{group}{part}{place}", self.verb, self.resource)
    }

    fn failed(&self, error: kube::Error) -> CliError {
        let what = self.what();
        let status = match error {
            kube::Error::Api(status) => status,
            kube::Error::SerdeError(source) => {
                return CliError::Api {
                    what,
                    message: format!("the answer cannot be understood: {source}"),
                    code: 200,
                };
            }
            // The wrapper adds nothing for people.
            kube::Error::Service(source) => return CliError::Unreachable { what, source },
            other => return CliError::Unreachable { what, source: Box::new(other) },
        };
        let is_about_object =
            status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        match StatusCode::from_u16(status.code) {
            Ok(StatusCode::UNAUTHORIZED) => CliError::Unauthorized { message: status.message },
            Ok(StatusCode::FORBIDDEN) => {
                CliError::Forbidden { what, message: status.message, question: self.question() }
            }
            Ok(StatusCode::NOT_FOUND) if !is_about_object => CliError::UnknownKind {
                resource: self.resource.to_owned(),
                group: self.group.to_owned(),
            },
            Ok(StatusCode::NOT_FOUND) => CliError::NotFound {
                kind: self.kind,
                name: self.name.unwrap_or_default().to_owned(),
                namespace: self.namespace.unwrap_or_default().to_owned(),
            },
            Ok(_) | Err(_) => CliError::Api { what, message: status.message, code: status.code },
        }
    }
}

impl Cluster {
    /// Connects as the flags say. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CliError::Kubeconfig`] or [`CliError::Usage`].
    pub async fn connect(flags: &ClusterFlags, connector: &Connector) -> Result<Self, CliError> {
        let names = ApiNames::for_group(&flags.api_group)
            .map_err(|error| CliError::Usage { message: error.to_string(), hint: None })?;
        let timeout = match &flags.request_timeout {
            None => DEFAULT_TIMEOUT,
            Some(text) => time_limit(text)?,
        };
        let (client, user) = match connector {
            Connector::Given(client, user) => (client.clone(), user.clone()),
            Connector::Kubeconfig => from_kubeconfig(flags, timeout).await?,
        };
        let namespace =
            flags.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Self { client, names, namespace, user, timeout })
    }

    /// The names of the API group in use.
    pub fn names(&self) -> ApiNames {
        self.names
    }

    /// The namespace in use.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client, for watches.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Who asks: the name that the API server knows, or else that of the kubeconfig.
    pub async fn user(&self) -> String {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
            "metadata": {}, "status": {},
        });
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(review.to_string().into_bytes());
        let Ok(request) = request else { return self.user.clone() };
        let answer =
            tokio::time::timeout(self.timeout, self.client.request::<Value>(request)).await;
        let name = answer.ok().and_then(Result::ok).and_then(|review| {
            review.pointer("/status/userInfo/username").and_then(Value::as_str).map(str::to_owned)
        });
        name.filter(|name| !name.is_empty()).unwrap_or_else(|| self.user.clone())
    }

    /// Reads one object of ours.
    ///
    /// # Errors
    /// [`CliError`], among them [`CliError::NotFound`].
    pub async fn object(&self, kind: Kind, name: &str) -> Result<DynamicObject, CliError> {
        if name.is_empty() {
            return Err(CliError::Usage { message: "the name is empty".to_owned(), hint: None });
        }
        let attempt = self.attempt("get", kind, None, Some(name));
        self.within(&attempt, self.api(kind).get(name)).await
    }

    /// Reads one Rollout.
    ///
    /// # Errors
    /// As [`Self::object`], and [`CliError::Malformed`].
    pub async fn rollout(&self, name: &str) -> Result<Rollout, CliError> {
        Ok(Rollout::from_dynamic(&self.object(Kind::Rollout, name).await?)?)
    }

    /// Every Rollout of the namespace, or of all, as read.
    ///
    /// # Errors
    /// [`CliError`] when the list cannot be read.
    pub async fn rollouts(&self, is_all_namespaces: bool) -> Result<Vec<DynamicObject>, CliError> {
        let mut attempt = self.attempt("list", Kind::Rollout, None, None);
        if is_all_namespaces {
            attempt.namespace = None;
        }
        let api = self.rollout_api(is_all_namespaces);
        self.pages(&attempt, &api, &ListParams::default()).await
    }

    /// The ReplicaSets that `rollout` owns.
    ///
    /// # Errors
    /// [`CliError`] when the list cannot be read.
    pub async fn replica_sets(&self, rollout: &Rollout) -> Result<Vec<ReplicaSet>, CliError> {
        let attempt = self.builtin("list", "replicasets", "apps", "ReplicaSet");
        let api: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = self.pages(&attempt, &api, &pods_of(rollout)).await?;
        Ok(found.into_iter().filter(|set| is_owned(&set.metadata, uid(rollout))).collect())
    }

    /// The same as read, with fields that this program's types may not have.
    ///
    /// # Errors
    /// [`CliError`] when the list cannot be read.
    pub async fn replica_set_objects(
        &self,
        rollout: &Rollout,
    ) -> Result<Vec<DynamicObject>, CliError> {
        let attempt = self.builtin("list", "replicasets", "apps", "ReplicaSet");
        let resource = ApiResource::erase::<ReplicaSet>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let found = self.pages(&attempt, &api, &pods_of(rollout)).await?;
        Ok(found.into_iter().filter(|set| is_owned(&set.metadata, uid(rollout))).collect())
    }

    /// The pods that the selector of `rollout` selects.
    ///
    /// # Errors
    /// [`CliError`] when the list cannot be read.
    pub async fn pods(&self, rollout: &Rollout) -> Result<Vec<Pod>, CliError> {
        let attempt = self.builtin("list", "pods", "", "Pod");
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        self.pages(&attempt, &api, &pods_of(rollout)).await
    }

    /// The AnalysisRuns that `rollout` owns, as read.
    ///
    /// # Errors
    /// [`CliError`] when the list cannot be read.
    pub async fn run_objects(&self, rollout: &Rollout) -> Result<Vec<DynamicObject>, CliError> {
        let attempt = self.attempt("list", Kind::AnalysisRun, None, None);
        let api = self.api(Kind::AnalysisRun);
        let found = self.pages(&attempt, &api, &ListParams::default()).await?;
        Ok(found.into_iter().filter(|run| is_owned(&run.metadata, uid(rollout))).collect())
    }

    /// Sends a guarded patch, once; the object as it is afterwards.
    ///
    /// # Errors
    /// [`WriteFailure::Conflict`] when the object is no longer the one that was read.
    pub async fn write(
        &self,
        kind: Kind,
        name: &str,
        part: Part,
        patch: json_patch::Patch,
    ) -> Result<DynamicObject, WriteFailure> {
        let subresource = match part {
            Part::Main => None,
            Part::Status => Some("status"),
        };
        let attempt = self.attempt("patch", kind, subresource, Some(name));
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch: Patch<()> = Patch::Json(patch);
        let api = self.api(kind);
        let sent = async {
            match part {
                Part::Main => api.patch(name, &parameters, &patch).await,
                Part::Status => api.patch_status(name, &parameters, &patch).await,
            }
        };
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(WriteFailure::Conflict),
            Ok(Err(kube::Error::Api(status))) if status.code == 422 => {
                Err(refused_patch(&attempt, status))
            }
            Ok(Err(error)) => Err(WriteFailure::Other(attempt.failed(error))),
            Err(_) => Err(WriteFailure::Other(self.timed_out(&attempt))),
        }
    }

    /// The Rollouts of the namespace, or of all.
    pub(super) fn rollout_api(&self, is_all_namespaces: bool) -> Api<DynamicObject> {
        if is_all_namespaces {
            Api::all_with(self.client.clone(), &self.names.resource(Kind::Rollout))
        } else {
            self.api(Kind::Rollout)
        }
    }

    pub(super) fn api(&self, kind: Kind) -> Api<DynamicObject> {
        let resource = self.names.resource(kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    fn attempt<'a>(
        &'a self,
        verb: &'static str,
        kind: Kind,
        subresource: Option<&'static str>,
        name: Option<&'a str>,
    ) -> Attempt<'a> {
        Attempt {
            verb,
            resource: kind.plural(),
            group: self.names.group(),
            kind: kind.as_str(),
            subresource,
            name,
            namespace: Some(&self.namespace),
        }
    }

    fn builtin<'a>(
        &'a self,
        verb: &'static str,
        resource: &'a str,
        group: &'a str,
        kind: &'static str,
    ) -> Attempt<'a> {
        let namespace = Some(self.namespace.as_str());
        Attempt { verb, resource, group, kind, subresource: None, name: None, namespace }
    }

    async fn pages<K>(
        &self,
        attempt: &Attempt<'_>,
        api: &Api<K>,
        parameters: &ListParams,
    ) -> Result<Vec<K>, CliError>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut found = Vec::new();
        let mut page = parameters.clone().limit(PAGE);
        loop {
            let list = self.within(attempt, api.list(&page)).await?;
            found.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    async fn within<T>(
        &self,
        attempt: &Attempt<'_>,
        sent: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(answer) => answer.map_err(|error| attempt.failed(error)),
            Err(_) => Err(self.timed_out(attempt)),
        }
    }

    fn timed_out(&self, attempt: &Attempt<'_>) -> CliError {
        CliError::TimedOut { what: attempt.what(), seconds: self.timeout.as_secs() }
    }
}

/// A `test` of a JSON patch that fails is answered with 422, as is an object that validation
/// refuses. Validation names the fields as causes; a failed test has none.
fn refused_patch(attempt: &Attempt<'_>, status: Box<kube::core::Status>) -> WriteFailure {
    let has_causes = status.details.as_ref().is_some_and(|details| !details.causes.is_empty());
    if has_causes {
        WriteFailure::Other(attempt.failed(kube::Error::Api(status)))
    } else {
        WriteFailure::Conflict
    }
}

fn uid(rollout: &Rollout) -> &str {
    rollout.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether the object's controller has this uid.
pub(super) fn is_owned(
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    uid: &str,
) -> bool {
    !uid.is_empty()
        && metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.uid == uid && owner.controller == Some(true))
}

/// What narrows a list to the pods and ReplicaSets of a Rollout.
pub(super) fn pods_of(rollout: &Rollout) -> ListParams {
    match rollout.spec.selector.as_ref().map(crate::api::LabelSelector::to_query) {
        Some(query) if !query.is_empty() => ListParams::default().labels(&query),
        Some(_) | None => ListParams::default(),
    }
}

async fn from_kubeconfig(
    flags: &ClusterFlags,
    timeout: Duration,
) -> Result<(Client, String), CliError> {
    let bad = |error: kube::config::KubeconfigError| CliError::Kubeconfig(Box::new(error));
    let kubeconfig = match &flags.kubeconfig {
        Some(path) => Kubeconfig::read_from(path).map_err(bad)?,
        None => Kubeconfig::read().map_err(bad)?,
    };
    let context = flags.context.as_ref().or(kubeconfig.current_context.as_ref());
    let of_context = kubeconfig
        .contexts
        .iter()
        .find(|named| Some(&named.name) == context)
        .and_then(|named| named.context.as_ref())
        .and_then(|context| context.user.clone());
    let user = flags.impersonate.clone().or_else(|| flags.user.clone()).or(of_context);
    let options = KubeConfigOptions {
        context: flags.context.clone(),
        cluster: flags.cluster.clone(),
        user: flags.user.clone(),
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(bad)?;
    config.default_retry = false;
    config.connect_timeout = Some(timeout);
    if flags.impersonate.is_some() {
        config.auth_info.impersonate.clone_from(&flags.impersonate);
    }
    if !flags.impersonate_groups.is_empty() {
        config.auth_info.impersonate_groups = Some(flags.impersonate_groups.clone());
    }
    let client = Client::try_from(config).map_err(|error| CliError::Kubeconfig(Box::new(error)))?;
    Ok((client, user.unwrap_or_default()))
}

fn time_limit(text: &str) -> Result<Duration, CliError> {
    let value = crate::api::IntOrString::Text(text.to_owned());
    let limit = value.as_duration().ok().and_then(|limit| limit.to_std().ok());
    match limit {
        // As in kubectl: zero means no limit. A day is as good, and every call keeps a limit.
        Some(limit) if limit.is_zero() => Ok(Duration::from_hours(24)),
        Some(limit) => Ok(limit),
        None => Err(CliError::usage(
            format!("--request-timeout {text:?} is not a duration"),
            "write for example --request-timeout=10s",
        )),
    }
}

/// Any object as JSON.
///
/// # Errors
/// [`CliError::Format`]; it does not happen for objects that came as JSON.
pub(super) fn as_json(object: &impl Serialize) -> Result<Value, CliError> {
    serde_json::to_value(object)
        .map_err(|error| CliError::Format { format: "JSON", source: Box::new(error) })
}
