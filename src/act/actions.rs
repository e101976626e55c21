//! Carrying out what the plan decided: each action as one guarded write to the object that the
//! decision was made on. It decides nothing; an action that does not work becomes an outcome.

use std::sync::Arc;

use serde_json::{Value, json};

use super::git_port::GitPort;
use super::guard::{Dependents, WriteOutcome, Writer};
use super::wire::{Read, ReadFailure, Target, Wire};
use crate::api::{ApiNames, Kind};
use crate::mutants::{Mutant, mutant};
use crate::observe::cache::{Cache, Key, key_of};
use crate::observe::caches::{Caches, pods};
use crate::observe::{Snapshot, backends};
use crate::plan::action::{Action, ActionFailure, Outcome};
use crate::plan::validate::ValidRollout;
use crate::revision::Revision;
use crate::traffic::endpoints::SERVICE_LABEL;
use crate::traffic::{Change, RouteLens, RouteObjects, change_to};
use crate::weight::Split;

/// EndpointSlices of one Service that are looked at; each has some 100 endpoints.
const MOST_SLICES: u32 = 100;

/// What actions are carried out with.
#[derive(Clone, Debug)]
pub struct Hands {
    /// The door to the cluster.
    pub writer: Writer,
    /// Single reads.
    pub wire: Wire,
    /// The caches, which are told of every write.
    pub caches: Arc<Caches>,
    /// The API group's names.
    pub names: ApiNames,
    /// Work in Git.
    pub git: Arc<dyn GitPort>,
}

impl Hands {
    /// Carries out actions in their order.
    pub async fn act(&self, snapshot: &Snapshot, actions: &[Action]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for action in actions {
            let result = self.carry_out(snapshot, action).await;
            outcomes.push(Outcome { key: action.key(), result });
        }
        outcomes
    }

    /// Puts this leadership's epoch on every object of the Rollout that an earlier leader may have
    /// written, so that nothing that is still on its way from there can land. Says whether anything
    /// was written: what was read before is then out of date.
    ///
    /// # Errors
    /// The first take-over that did not work; nothing may be written for the Rollout then.
    pub async fn take_over(&self, snapshot: &Snapshot) -> Result<bool, ActionFailure> {
        let mut has_written = false;
        let plurals = Self::writable_plurals(snapshot);
        let rollout = [("rollouts", &snapshot.rollout)].into_iter();
        let others = snapshot.objects.iter().map(|((plural, _), object)| (plural.as_str(), object));
        for (plural, object) in rollout.chain(others) {
            if !plurals.contains(&plural) {
                continue;
            }
            let Some(cache) = self.caches.of_plural(plural) else { continue };
            let target = target_of(&cache, object);
            let Ok(guard) = self.writer.guard(object) else { continue };
            if self.writer.needs_take_over(&target, &guard) {
                let outcome = self.writer.take_over(&target, &guard).await;
                self.done(&cache, &target, outcome).await?;
                has_written = true;
            }
        }
        Ok(has_written)
    }

    /// Kinds of which we write single objects that a late write could still change.
    fn writable_plurals(snapshot: &Snapshot) -> Vec<&'static str> {
        let mut plurals = vec!["rollouts", "services", "replicasets"];
        let spec = snapshot.observed.rollout.spec.usable.as_ref();
        let is_routed = spec.is_some_and(|spec| spec.routing().is_some());
        if is_routed {
            plurals.extend(["httproutes", "grpcroutes"]);
        }
        plurals
    }

    async fn carry_out(&self, snapshot: &Snapshot, action: &Action) -> Result<(), ActionFailure> {
        let sets = &self.caches.replica_sets;
        let names = self.names;
        match action {
            Action::AddFinalizer => self.set_finalizer(snapshot, true).await,
            Action::RemoveFinalizer => self.set_finalizer(snapshot, false).await,
            Action::CreateReplicaSet { name, object, .. } => {
                self.create(snapshot, sets, name, object, &[names.digest_annotation()]).await
            }
            Action::ScaleReplicaSet { name, to, .. } => {
                self.edit(snapshot, sets, name, |set| scale(set, names, snapshot, *to)).await
            }
            Action::SetRevisionNumber { name, number } => {
                let key = names.revision_number_annotation();
                let text = Some(json!(number.to_string()));
                self.edit(snapshot, sets, name, |set| annotate(set, key, text)).await
            }
            Action::OrphanReplicaSet { name } => {
                let uid = snapshot.observed.rollout.uid.clone();
                self.edit(snapshot, sets, name, |set| orphan(set, &uid)).await
            }
            Action::DeleteReplicaSet { name } => self.delete(snapshot, sets, name).await,
            Action::PointService { name, revision } => {
                let rollout = snapshot.observed.rollout.name.clone();
                let services = &self.caches.services;
                self.edit(snapshot, services, name, |service| {
                    point(service, names, revision, &rollout);
                })
                .await
            }
            Action::SetWeight { split, routes } => self.set_weight(snapshot, *split, routes).await,
            Action::CreateRun { name, object, .. } => {
                let runs = &self.caches.runs;
                self.create(snapshot, runs, name, object, &[]).await
            }
            Action::TerminateRun { name } => {
                let runs = &self.caches.runs;
                self.edit(snapshot, runs, name, |run| {
                    set(run, &["spec", "terminate"], json!(true));
                })
                .await
            }
            Action::DeleteRun { name } => self.delete(snapshot, &self.caches.runs, name).await,
            Action::EvictPod { name } => self.evict(snapshot, name).await,
            Action::LookUpCommit(sight) => {
                self.git.look_up(snapshot, sight);
                Ok(())
            }
            Action::RevertInGit(order) => {
                self.git.revert(snapshot, order);
                Ok(())
            }
            Action::WithdrawRequest(order) => {
                self.git.withdraw(snapshot, order);
                Ok(())
            }
            Action::WatchSync(order) => {
                self.git.watch_sync(snapshot, order);
                Ok(())
            }
        }
    }

    /// A quorum read of an object into its cache.
    ///
    /// # Errors
    /// Why nothing is known; the cache is as it was.
    pub async fn read(&self, cache: &Cache, target: &Target) -> Result<(), ReadFailure> {
        match self.wire.get(target).await {
            Read::Found(object) => cache.note(object),
            Read::Absent => {
                let namespace = target.namespace.as_deref().unwrap_or_default();
                cache.forget(&Key::new(namespace, &target.name));
            }
            Read::Failed(error) => return Err(error),
        }
        Ok(())
    }

    async fn try_read(&self, cache: &Cache, target: &Target) {
        if let Err(error) = self.read(cache, target).await {
            tracing::debug!(%error, "cannot read an object again");
        }
    }

    /// Reads again what the Rollout is released through, in case that a watch has lost an event of it;
    /// whether anything was otherwise than it had told.
    pub async fn read_objects(&self, snapshot: &Snapshot) -> bool {
        let plurals = Self::writable_plurals(snapshot);
        let mut is_news = false;
        for ((plural, _), object) in &snapshot.objects {
            if !plurals.contains(&plural.as_str()) {
                continue;
            }
            let Some(cache) = self.caches.of_plural(plural) else { continue };
            self.try_read(&cache, &target_of(&cache, object)).await;
            let now = cache.get(&key_of(object));
            let version = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
            is_news |= now.is_none_or(|now| version(&now) != version(object));
        }
        let slices = &self.caches.slices;
        let plural = &slices.resource().plural;
        for interest in snapshot.interests.iter().filter(|one| one.plural == *plural) {
            is_news |= self.read_slices(slices, &interest.key).await;
        }
        is_news
    }

    /// Reads the EndpointSlices of a Service again; whether that told anything new.
    async fn read_slices(&self, cache: &Cache, service: &Key) -> bool {
        let before = cache.of_service(service);
        let label = (SERVICE_LABEL, service.name.as_str());
        let (kind, namespace) = (cache.resource(), &service.namespace);
        let now = match self.wire.labelled(kind, namespace, label, MOST_SLICES).await {
            Ok(now) => now,
            Err(error) => {
                tracing::debug!(%error, "cannot read the EndpointSlices of a Service again");
                return false;
            }
        };
        let is_cut = u32::try_from(now.len()).is_ok_and(|count| count >= MOST_SLICES);
        // What a watch has brought since is newer than this, and stays.
        let is_left = |slice: &Value| now.iter().any(|one| key_of(one) == key_of(slice));
        for gone in before.iter().filter(|slice| !is_cut && !is_left(slice)) {
            cache.forget(&key_of(gone));
        }
        for slice in now {
            cache.note(slice);
        }
        cache.of_service(service) != before
    }

    /// Tells the cache what a write made of the object. After a conflict that is what somebody else
    /// made of it: a watch that has lost the event would keep the old one for minutes.
    async fn done(
        &self,
        cache: &Cache,
        target: &Target,
        outcome: WriteOutcome,
    ) -> Result<(), ActionFailure> {
        if matches!(outcome, WriteOutcome::Conflict | WriteOutcome::NotFound)
            && !mutant(Mutant::ConflictIsSuccess)
        {
            // The next try tells.
            self.try_read(cache, target).await;
        }
        Self::noted(cache, outcome)
    }

    /// Tells the cache what a write made of the object.
    pub(super) fn noted(cache: &Cache, outcome: WriteOutcome) -> Result<(), ActionFailure> {
        match outcome {
            WriteOutcome::Applied(object) => {
                cache.note(object);
                Ok(())
            }
            WriteOutcome::Conflict if mutant(Mutant::ConflictIsSuccess) => Ok(()),
            other => Err(failure(&other)),
        }
    }

    async fn edit(
        &self,
        snapshot: &Snapshot,
        cache: &Arc<Cache>,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<(), ActionFailure> {
        let before = Self::seen(snapshot, cache, name)?;
        let mut after = Value::clone(&before);
        change(&mut after);
        let target = target_of(cache, &before);
        let outcome = self.writer.edit(&target, &before, &after).await;
        self.done(cache, &target, outcome).await
    }

    fn seen(snapshot: &Snapshot, cache: &Cache, name: &str) -> Result<Arc<Value>, ActionFailure> {
        let key = (cache.resource().plural.clone(), name.to_owned());
        snapshot.objects.get(&key).cloned().ok_or(ActionFailure::Conflict)
    }

    async fn set_finalizer(
        &self,
        snapshot: &Snapshot,
        is_wanted: bool,
    ) -> Result<(), ActionFailure> {
        let finalizer = json!(self.names.finalizer());
        let cache = &self.caches.rollouts;
        let mut after = Value::clone(&snapshot.rollout);
        let mut finalizers = after
            .pointer("/metadata/finalizers")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        finalizers.retain(|one| *one != finalizer);
        if is_wanted {
            finalizers.push(finalizer);
        }
        set(&mut after, &["metadata", "finalizers"], Value::Array(finalizers));
        let target = target_of(cache, &snapshot.rollout);
        let outcome = self.writer.edit(&target, &snapshot.rollout, &after).await;
        self.done(cache, &target, outcome).await
    }

    /// Creates an object that the Rollout owns. When it is there already and is ours and the same,
    /// an earlier try went through after all.
    async fn create(
        &self,
        snapshot: &Snapshot,
        cache: &Arc<Cache>,
        name: &str,
        object: &Value,
        same: &[&str],
    ) -> Result<(), ActionFailure> {
        let rollout = &snapshot.observed.rollout;
        let mut object = object.clone();
        let owner = json!([{
            "apiVersion": self.names.api_version(), "kind": Kind::Rollout.as_str(),
            "name": rollout.name, "uid": rollout.uid,
            "controller": true, "blockOwnerDeletion": true,
        }]);
        set(&mut object, &["metadata", "ownerReferences"], owner);
        let target = Target::namespaced(cache.resource(), &rollout.namespace, name);
        match self.writer.create(&target, object.clone()).await {
            WriteOutcome::AlreadyExists => {
                let found = match self.wire.get(&target).await {
                    Read::Found(found) => found,
                    Read::Absent => return Err(ActionFailure::Conflict),
                    Read::Failed(error) => return Err(ActionFailure::Ambiguous(error.to_string())),
                };
                let uid = crate::observe::cache::controller_uid(&found);
                let annotation = |object: &Value, key: &str| {
                    object.get("metadata")?.get("annotations")?.get(key).cloned()
                };
                let is_same =
                    same.iter().all(|key| annotation(&found, key) == annotation(&object, key));
                if uid == Some(rollout.uid.as_str()) && is_same {
                    cache.note(found);
                    Ok(())
                } else {
                    Err(ActionFailure::NameIsTaken)
                }
            }
            outcome => self.done(cache, &target, outcome).await,
        }
    }

    async fn delete(
        &self,
        snapshot: &Snapshot,
        cache: &Arc<Cache>,
        name: &str,
    ) -> Result<(), ActionFailure> {
        let object = Self::seen(snapshot, cache, name)?;
        let target = target_of(cache, &object);
        let guard = self.writer.guard(&object).map_err(|_| ActionFailure::Conflict)?;
        match self.writer.delete(&target, &guard, Dependents::Background).await {
            WriteOutcome::Applied(_) | WriteOutcome::NotFound => {
                cache.forget(&key_of(&object));
                Ok(())
            }
            other => self.done(cache, &target, other).await,
        }
    }

    async fn evict(&self, snapshot: &Snapshot, name: &str) -> Result<(), ActionFailure> {
        let object = Self::seen(snapshot, &self.caches.pods, name)?;
        let target = Target::namespaced(&pods(), &snapshot.observed.rollout.namespace, name);
        let guard = self.writer.guard(&object).map_err(|_| ActionFailure::Conflict)?;
        match self.writer.evict(&target, &guard).await {
            WriteOutcome::Applied(_) | WriteOutcome::NotFound => Ok(()),
            other => Err(failure(&other)),
        }
    }

    async fn set_weight(
        &self,
        snapshot: &Snapshot,
        split: Split,
        routes: &[String],
    ) -> Result<(), ActionFailure> {
        let rollout = &snapshot.observed.rollout;
        let routing = rollout.spec.usable.as_ref().and_then(ValidRollout::routing);
        let Some(routing) = routing else { return Err(ActionFailure::Conflict) };
        let backends = backends(self.names, rollout, routing);
        let mut first_failure = Ok(());
        for lens in routing.providers.lenses(&backends) {
            if !routes.contains(&lens.route().to_string()) {
                continue;
            }
            // One route that cannot be written does not keep the others from being written.
            let result = self.write_route(snapshot, lens.as_ref(), &backends, split).await;
            if first_failure.is_ok() {
                first_failure = result;
            }
        }
        first_failure
    }

    async fn write_route(
        &self,
        snapshot: &Snapshot,
        lens: &dyn RouteLens,
        backends: &crate::traffic::Backends,
        split: Split,
    ) -> Result<(), ActionFailure> {
        let route = lens.route();
        let cache = self.caches.routes_like(&route);
        let seen = |plural: &str, name: &str| {
            snapshot.objects.get(&(plural.to_owned(), name.to_owned())).cloned()
        };
        let live = seen(&route.plural, &route.name);
        let source = lens.derivation().map(crate::traffic::Derivation::source);
        let source = source.and_then(|source| seen(&source.plural, &source.name));
        let objects = RouteObjects { live: live.as_deref(), source: source.as_deref() };
        let target = Target::namespaced(cache.resource(), &backends.namespace, &route.name);
        let change = change_to(lens, objects, backends, split)
            .map_err(|error| ActionFailure::Refused(crate::telemetry::chain(&error)))?;
        match (change, live) {
            (Change::Nothing, _) => Ok(()),
            (Change::Create(object), _) => match self.writer.create(&target, object).await {
                WriteOutcome::AlreadyExists => Err(ActionFailure::Conflict),
                outcome => self.done(&cache, &target, outcome).await,
            },
            (Change::Patch(patch), Some(live)) => {
                let guard = self.writer.guard(&live).map_err(|_| ActionFailure::Conflict)?;
                let outcome = self.writer.json_patch(&target, &guard, &patch.0).await;
                self.done(&cache, &target, outcome).await
            }
            (Change::Patch(_), None) => Err(ActionFailure::Conflict),
        }
    }
}

fn target_of(cache: &Cache, object: &Value) -> Target {
    let key = key_of(object);
    if key.namespace.is_empty() {
        Target::of_cluster(cache.resource(), &key.name)
    } else {
        Target::namespaced(cache.resource(), &key.namespace, &key.name)
    }
}

/// What a write that did not work means for the plan.
fn failure(outcome: &WriteOutcome) -> ActionFailure {
    match outcome {
        WriteOutcome::Conflict | WriteOutcome::NotFound => ActionFailure::Conflict,
        WriteOutcome::AlreadyExists => ActionFailure::NameIsTaken,
        WriteOutcome::Rejected { .. }
        | WriteOutcome::Forbidden { .. }
        | WriteOutcome::Throttled { .. }
        | WriteOutcome::NotSent { .. }
        | WriteOutcome::Applied(_) => ActionFailure::Refused(outcome.to_string()),
        WriteOutcome::Ambiguous(_) => ActionFailure::Ambiguous(outcome.to_string()),
        WriteOutcome::NotLeading(_) => ActionFailure::NotLeading,
    }
}

/// Sets a field, making the maps on the way to it.
fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for part in parents {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(map) = at.as_object_mut() else { return };
        at = map.entry((*part).to_owned()).or_insert_with(|| json!({}));
    }
    if !at.is_object() {
        *at = json!({});
    }
    if let Some(map) = at.as_object_mut() {
        map.insert((*last).to_owned(), value);
    }
}

fn annotate(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        set(object, &["metadata", "annotations", key], value);
    } else {
        let annotations = object.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(key);
        }
    }
}

fn scale(set_: &mut Value, names: ApiNames, snapshot: &Snapshot, to: u32) {
    set(set_, &["spec", "replicas"], json!(to));
    if let Some(spec) = &snapshot.observed.rollout.spec.usable {
        let replicas = json!(spec.replicas.to_string());
        annotate(set_, names.desired_replicas_annotation(), Some(replicas));
    }
}

fn orphan(set_: &mut Value, uid: &str) {
    let owners = set_.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    if let Some(owners) = owners {
        owners.retain(|owner| owner.get("uid").and_then(Value::as_str) != Some(uid));
    }
}

fn point(service: &mut Value, names: ApiNames, revision: &Revision, rollout: &str) {
    set(service, &["spec", "selector", names.revision_label()], json!(revision.as_str()));
    annotate(service, names.managed_by_annotation(), Some(json!(rollout)));
}
