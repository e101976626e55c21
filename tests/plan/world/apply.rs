//! What an action does to the world.

use std::sync::Arc;

use super::*;

impl World {
    #[expect(clippy::too_many_lines, reason = "one arm for each action")]
    pub(super) fn apply(&mut self, action: &Action) {
        match action {
            Action::AddFinalizer => self.has_finalizer = true,
            Action::RemoveFinalizer => {
                self.has_finalizer = false;
                self.is_gone = true;
                self.sets.retain(|_, set| set.is_orphan);
            }
            Action::CreateReplicaSet { name, revision, digest, number, replicas, .. } => {
                let fact = ReplicaSetFact {
                    name: name.clone(),
                    revision: revision.clone(),
                    digest: Some(digest.clone()),
                    template: Arc::new(with_defaults(&self.spec["template"])),
                    number: *number,
                    desired: *replicas,
                    replicas: 0,
                    ready: 0,
                    available: 0,
                    is_behind: false,
                    created_at: self.now,
                };
                let ready_at = self.now + TimeDelta::seconds(POD_START);
                let old = self.sets.insert(
                    name.clone(),
                    Set { fact, ready_at, seen_at: self.now, is_broken: false, is_orphan: false },
                );
                assert!(old.is_none(), "{name} was created twice");
            }
            Action::ScaleReplicaSet { name, from, to } => {
                let ready_at = self.now + TimeDelta::seconds(POD_START);
                let set = self.sets.get_mut(name).unwrap();
                assert_eq!(set.fact.desired, *from);
                if to > from {
                    set.ready_at = ready_at;
                }
                set.fact.desired = *to;
                set.seen_at = self.now + TimeDelta::seconds(SET_LAG);
                if !self.slow_to_end {
                    set.fact.replicas = *to;
                }
                set.fact.available = set.fact.available.min(*to);
                set.fact.ready = set.fact.available;
            }
            Action::SetRevisionNumber { name, number } => {
                self.sets.get_mut(name).unwrap().fact.number = *number;
            }
            Action::OrphanReplicaSet { name } => {
                self.sets.get_mut(name).unwrap().is_orphan = true;
            }
            Action::DeleteReplicaSet { name } => {
                let set = self.sets.remove(name).unwrap();
                assert_eq!(set.fact.desired, 0, "{name} was deleted with pods");
            }
            Action::PointService { name, revision } => {
                let service = self.services.get_mut(name).unwrap();
                let label = ApiNames::SLUICE.revision_label();
                service.selector.insert(label.to_owned(), revision.to_string());
                service.managed_by = Some("web".to_owned());
            }
            Action::SetWeight { split, routes } => {
                for id in routes {
                    let is_accepted = self.is_accepted(&self.routes[id]);
                    let route = self.routes.get_mut(id).unwrap();
                    if is_accepted {
                        route.before = route.split;
                    }
                    route.split = *split;
                    route.written = self.now;
                }
            }
            Action::CreateRun { name, slot, object } => {
                assert!(!self.runs.iter().any(|run| run.name == *name), "{name} was made twice");
                self.made_runs.push(object.clone());
                let status = self.status.as_ref().unwrap();
                self.runs.push(RunFact {
                    name: name.clone(),
                    slot: Some(*slot),
                    attempt: status.attempt,
                    revision: Some(Revision::from_label(status.current_pod_hash.clone())),
                    verdict: Verdict::Running { waiting_on: None },
                    terminate: false,
                    compares: object["spec"]["comparison"].is_object(),
                    comparison: None,
                    created_at: self.now,
                });
            }
            Action::TerminateRun { name } => {
                let run = self.runs.iter_mut().find(|run| run.name == *name).unwrap();
                run.terminate = true;
            }
            Action::DeleteRun { name } => self.runs.retain(|run| run.name != *name),
            Action::EvictPod { name } => {
                let idx = self.old_pods.iter().position(|pod| pod.name == *name).unwrap();
                let pod = self.old_pods.remove(idx);
                let ready_at = self.now + TimeDelta::seconds(POD_START);
                let mut sets = self.sets.values_mut();
                let set = sets.find(|set| set.fact.revision == pod.revision).unwrap();
                set.fact.available -= 1;
                set.fact.ready -= 1;
                set.ready_at = ready_at;
            }
            Action::LookUpCommit(sight) => {
                // What was found during a sync is asked again, and the worker leaves time before.
                let is_again = self.is_syncing && self.git.ledger.contains_key(sight);
                let answer = match &self.ledger_answer {
                    Some(_) if is_again => LedgerAnswer::Running { last: None },
                    Some(commit) => LedgerAnswer::Declared(Declared {
                        commit: commit.clone(),
                        source: self.ledger_source.clone(),
                        is_final: !self.is_syncing,
                    }),
                    None => LedgerAnswer::Running { last: None },
                };
                self.git.ledger.insert(sight.clone(), answer);
            }
            Action::RevertInGit(order) => {
                self.orders.push(RevertOrder::clone(order));
                self.git.revert = Some(RevertProgress {
                    id: order.id.clone(),
                    tries: order.tries,
                    is_preview: order.is_preview,
                    result: self.git_answer.clone(),
                    ended_at: Some(self.now),
                });
            }
            Action::WithdrawRequest(order) => {
                self.withdrawals.push(order.comment.clone());
                self.git.withdrawal = Some(WithdrawProgress {
                    id: order.id.clone(),
                    state: self.withdraw_answer,
                    ended_at: Some(self.now),
                });
            }
            Action::WatchSync(order) => {
                self.asks.push(order.ask.is_some());
                self.git.sync = Some(SyncLook {
                    id: order.id.clone(),
                    obstacle: self.sync_obstacle.clone(),
                    asked: order.ask.and(self.sync_asked.clone()),
                    ended_at: Some(self.now),
                });
            }
        }
    }
}

/// The template as the API server stores it in a ReplicaSet.
fn with_defaults(template: &Value) -> Value {
    let mut full = template.clone();
    let mut add = |pointer: &str, defaults: Value| {
        let place = full.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
        for (key, value) in defaults.as_object().unwrap() {
            place.entry(key.clone()).or_insert_with(|| value.clone());
        }
    };
    add(
        "/spec",
        json!({"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {},
            "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler"}),
    );
    add(
        "/spec/containers/0",
        json!({"imagePullPolicy": "IfNotPresent", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}),
    );
    full
}
