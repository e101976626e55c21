//! From a metric that is due to a measurement that can be made: its source, the Secrets and
//! ConfigMaps that the source names, or the Job.
//!
//! These objects are read one by one when they are needed and kept for a moment; they are never
//! listed or watched, so the controller needs only the right to `get` them. What is missing becomes
//! the outcome of the measurement, and names the object and the key, never a value.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join_all};
use kube::core::ApiResource;
use serde_json::Value;
use tokio::time::Instant;

use super::caches::builtin;
use super::objects::secret_bytes;
use crate::analysis::resolved::Judge;
use crate::analysis::{DueAction, DueMeasurement, ResolvedRun};
use crate::api::metrics_source::MetricsSourceSpec;
use crate::api::{ApiNames, Kind};
use crate::metrics::endpoint::{SourceMaterial, source_needs};
use crate::metrics::job::{JobCall, JobOwner, JobStep};
use crate::metrics::measure::EndpointNeed;
use crate::metrics::sample::{DETAIL_LIMIT, shortened};
use crate::metrics::spec::{Provider, SourceKind, SourceRef};
use crate::metrics::{MeasureCall, MeasureError, ResolvedEndpoint, Secret};

/// How long an object that was read is used again.
const KEPT: Duration = Duration::from_secs(30);
/// How long it is remembered that an object is absent or cannot be read: only those who asked at the
/// same time share that answer.
const KEPT_ABSENCE: Duration = Duration::from_millis(500);
/// Objects that are kept; old ones are dropped beyond it.
const MOST_KEPT: usize = 1024;

/// Reads single objects from the API server.
pub trait ObjectReader: Send + Sync {
    /// One object, as the server has it now; nothing when there is none.
    ///
    /// # Errors
    /// Why it could not be read, for people.
    fn read<'a>(
        &'a self,
        resource: &'a ApiResource,
        namespace: Option<&'a str>,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Value>, String>>;
}

/// What may be read for a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fetched {
    Source,
    ClusterSource,
    Secret,
    ConfigMap,
}

impl Fetched {
    const ALL: [Self; 4] = [Self::Source, Self::ClusterSource, Self::Secret, Self::ConfigMap];

    fn resource(self, names: ApiNames) -> ApiResource {
        match self {
            Self::Source => names.resource(Kind::MetricsSource),
            Self::ClusterSource => names.resource(Kind::ClusterMetricsSource),
            Self::Secret => builtin("", "v1", "Secret", "secrets"),
            Self::ConfigMap => builtin("", "v1", "ConfigMap", "configmaps"),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Source => Kind::MetricsSource.as_str(),
            Self::ClusterSource => Kind::ClusterMetricsSource.as_str(),
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// The kinds that are read with `get`, for RBAC.
pub fn fetched_kinds(names: ApiNames) -> Vec<ApiResource> {
    Fetched::ALL.into_iter().map(|fetched| fetched.resource(names)).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    kind: Fetched,
    /// Empty for kinds of the cluster.
    namespace: String,
    name: String,
}

/// Any of these objects may hold a secret, so they are all kept as if they did.
type Answer = Result<Option<Arc<Secret<Value>>>, String>;
/// Whoever holds the lock asks; the others wait for the answer.
type Place = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// A run, as far as its measurements are concerned.
#[derive(Clone, Copy, Debug)]
pub struct RunId<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// Finds what measurements need.
pub struct Sources {
    reader: Arc<dyn ObjectReader>,
    names: ApiNames,
    own_namespace: String,
    serves_cluster: bool,
    kept: Mutex<HashMap<Wanted, Place>>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("own_namespace", &self.own_namespace)
            .finish_non_exhaustive()
    }
}

impl Sources {
    /// Sources read through `reader`. `own_namespace` is the controller's, where the Secrets of
    /// ClusterMetricsSources are; without `serves_cluster` these are refused.
    pub fn new(
        reader: Arc<dyn ObjectReader>,
        names: ApiNames,
        own_namespace: String,
        serves_cluster: bool,
    ) -> Self {
        Self { reader, names, own_namespace, serves_cluster, kept: Mutex::default() }
    }

    /// The measurement for `due` of the run. `since` is when it was started; the present for a new
    /// one. Whatever is missing becomes a refusal, which is the outcome of the measurement.
    pub async fn call(
        &self,
        id: RunId<'_>,
        run: &ResolvedRun,
        due: &DueMeasurement,
        since: DateTime<Utc>,
    ) -> MeasureCall {
        let refused = |text: &str| MeasureCall::Refused(MeasureError::Unusable(text.to_owned()));
        let Some(metric) = run.metrics.get(due.metric_index) else {
            return refused("the metric is not in the specification any more");
        };
        let provider = match metric.provider.chosen() {
            Ok(provider) => provider,
            Err(problem) => return refused(&format!("the metric {problem}")),
        };
        let over_http = |endpoint| match (&metric.judge, &due.look) {
            (Judge::Comparison(_), Some(look)) => MeasureCall::look(look.clone(), endpoint),
            (Judge::Comparison(_), None) => {
                refused("its evidence was written by another version of the controller")
            }
            (_, _) => MeasureCall::over_http(&metric.provider, endpoint),
        };
        match (EndpointNeed::of(provider), due.action) {
            (EndpointNeed::Job, _) => self.job(id, provider, due, since),
            (_, DueAction::Resume | DueAction::Cancel) => {
                refused("the metric was a Job when its measurement began")
            }
            (EndpointNeed::Source(source), DueAction::Start) => {
                over_http(self.endpoint(id.namespace, source).await)
            }
            (EndpointNeed::Inline(address), DueAction::Start) => {
                over_http(ResolvedEndpoint::inline(address))
            }
        }
    }

    fn job(
        &self,
        id: RunId<'_>,
        provider: Provider<'_>,
        due: &DueMeasurement,
        since: DateTime<Utc>,
    ) -> MeasureCall {
        let step = match (due.action, provider) {
            (DueAction::Start, Provider::Job(spec)) => JobStep::Start(spec.clone()),
            (DueAction::Resume, _) => JobStep::Resume,
            (DueAction::Cancel, _) => JobStep::Cancel,
            (DueAction::Start, Provider::Prometheus(_) | Provider::Web(_) | Provider::Asked(_)) => {
                let text = "only a Job is measured by a Job".to_owned();
                return MeasureCall::Refused(MeasureError::Unusable(text));
            }
        };
        MeasureCall::Job(Box::new(JobCall {
            owner: JobOwner {
                names: self.names,
                namespace: id.namespace.to_owned(),
                run_name: id.name.to_owned(),
                run_uid: id.uid.to_owned(),
            },
            metric: due.metric.clone(),
            ordinal: due.ordinal,
            started_at: since,
            step,
        }))
    }

    /// Forgets every Secret, because a server refused one: it may have been renewed.
    pub fn forget_secrets(&self) {
        self.kept().retain(|wanted, _| wanted.kind != Fetched::Secret);
    }

    async fn endpoint(
        &self,
        namespace: &str,
        source: &SourceRef,
    ) -> Result<ResolvedEndpoint, MeasureError> {
        let (kind, is_cluster) = match source.kind() {
            SourceKind::MetricsSource => (Fetched::Source, false),
            SourceKind::ClusterMetricsSource => (Fetched::ClusterSource, true),
        };
        let title = format!("{} {:?}", kind.as_str(), source.name);
        let unusable = |text: String| MeasureError::Unusable(format!("the {title} {text}"));
        if is_cluster && !self.serves_cluster {
            return Err(unusable(
                "cannot be used: this controller serves single namespaces only; use a MetricsSource"
                    .to_owned(),
            ));
        }
        let home = if is_cluster { "" } else { namespace };
        let Some(object) = self.get(kind, home, &source.name).await? else {
            let place =
                if is_cluster { String::new() } else { format!(" in namespace {namespace:?}") };
            return Err(unusable(format!("does not exist{place}")));
        };
        let spec = object.expose().get("spec").cloned().unwrap_or(Value::Null);
        let spec: MetricsSourceSpec = serde_path_to_error::deserialize(spec).map_err(|error| {
            let problem = shortened(&error.inner().to_string(), DETAIL_LIMIT);
            unusable(format!("is malformed at spec.{}: {problem}", error.path()))
        })?;
        // What may not be used is refused before a Secret is read for it.
        let may_be_used = spec.problems(is_cluster).is_empty()
            && (!is_cluster || spec.permits_namespace(namespace));
        let secrets_from = if is_cluster { &self.own_namespace } else { namespace };
        let material = if may_be_used {
            self.material(&spec, secrets_from).await?
        } else {
            SourceMaterial::default()
        };
        ResolvedEndpoint::from_source(&spec, is_cluster, namespace, &material).map_err(|error| {
            match error {
                MeasureError::Unusable(text) => unusable(format!("cannot be used: {text}")),
                other => other,
            }
        })
    }

    /// What the source names. A missing object or key is left out: the endpoint reports it.
    async fn material(
        &self,
        spec: &MetricsSourceSpec,
        namespace: &str,
    ) -> Result<SourceMaterial, MeasureError> {
        let needs = source_needs(spec);
        let secrets = needs.secrets.iter().map(|key| (Fetched::Secret, key.name.as_str()));
        let maps = needs.config_maps.iter().map(|key| (Fetched::ConfigMap, key.name.as_str()));
        let mut wanted: Vec<(Fetched, &str)> = Vec::new();
        for one in secrets.chain(maps) {
            if !wanted.contains(&one) {
                wanted.push(one);
            }
        }
        let reads = wanted.iter().map(|(kind, name)| self.get(*kind, namespace, name));
        let mut found = HashMap::new();
        for (one, object) in wanted.iter().zip(join_all(reads).await) {
            if let Some(object) = object? {
                found.insert(*one, object);
            }
        }
        let mut material = SourceMaterial::default();
        for key in &needs.secrets {
            let object = found.get(&(Fetched::Secret, key.name.as_str()));
            let text = object.and_then(|object| datum(object.expose(), &key.key));
            if let Some(text) = text {
                let text = decoded(text).ok_or_else(|| {
                    MeasureError::Unusable(format!(
                        "the key {:?} of the Secret {:?} does not hold text",
                        key.key, key.name
                    ))
                })?;
                material.secrets.insert((key.name.clone(), key.key.clone()), Secret::new(text));
            }
        }
        for key in &needs.config_maps {
            let object = found.get(&(Fetched::ConfigMap, key.name.as_str()));
            if let Some(text) = object.and_then(|object| datum(object.expose(), &key.key)) {
                let place = (key.name.clone(), key.key.clone());
                material.config_maps.insert(place, text.to_owned());
            }
        }
        Ok(material)
    }

    /// One object, from the server or from a moment ago.
    async fn get(
        &self,
        kind: Fetched,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Secret<Value>>>, MeasureError> {
        let place =
            self.place(Wanted { kind, namespace: namespace.to_owned(), name: name.to_owned() });
        let mut kept = place.lock().await;
        let answer = match &*kept {
            Some((at, answer)) if is_fresh(*at, answer) => answer.clone(),
            Some(_) | None => {
                let resource = kind.resource(self.names);
                let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
                let read = self.reader.read(&resource, namespace, name).await;
                let answer = read.map(|found| found.map(|object| Arc::new(Secret::new(object))));
                *kept = Some((Instant::now(), answer.clone()));
                answer
            }
        };
        answer.map_err(|problem| {
            MeasureError::Unusable(format!(
                "the {} {name:?} cannot be read: {problem}",
                kind.as_str()
            ))
        })
    }

    fn place(&self, wanted: Wanted) -> Place {
        let mut kept = self.kept();
        if kept.len() >= MOST_KEPT {
            // A place that is in use stays: its users wait for one answer.
            kept.retain(|_, place| match place.try_lock().as_deref() {
                Ok(Some((at, answer))) => is_fresh(*at, answer),
                Ok(None) | Err(_) => true,
            });
        }
        kept.entry(wanted).or_default().clone()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Wanted, Place>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(at: Instant, answer: &Answer) -> bool {
    let limit = match answer {
        Ok(Some(_)) => KEPT,
        Ok(None) | Err(_) => KEPT_ABSENCE,
    };
    at.elapsed() < limit
}

fn datum<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("data")?.get(key)?.as_str()
}

fn decoded(base64: &str) -> Option<String> {
    String::from_utf8(secret_bytes(base64)?).ok()
}

#[cfg(test)]
mod tests;
