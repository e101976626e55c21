//! A small world of facts in which the plan is carried out pass by pass: pods come up after a
//! while, routes are accepted after a while, people and analyses do what the test says. It knows
//! nothing of Kubernetes; it exists so that the plan can be judged by what comes of it.

mod apply;
mod judge;
mod observe;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice::act::events;
use sluice::act::status::differs_only_in_detail;
use sluice::analysis::Verdict;
use sluice::analysis::templates::{TemplateKey, TemplateLibrary};
use sluice::api::ApiNames;
use sluice::api::analysis::ComparisonStatus;
use sluice::api::rollout::RolloutSpec;
use sluice::api::status::{
    LastRequest, PullRequestState, RevisionSource, RolloutPhase, RolloutStatus,
};
use sluice::plan::action::{Action, ActionFailure, EffectClass, Outcome, RevertOrder};
use sluice::plan::facts::{
    Around, Asked, Declared, FailingAction, GitFact, Known, LedgerAnswer, Observed, PauseWatch,
    PodFact, ReplicaSetFact, RevertProgress, RevertResult, RolloutFact, RouteFact, RouteState,
    RunFact, RunSlot, ServiceFact, ServiceState, SyncLook, WithdrawProgress,
};
use sluice::plan::validate::validate;
use sluice::plan::{Decision, decide, status};
use sluice::revision::{Commit, Revision, TemplateDigest};
use sluice::traffic::Acceptance;
use sluice::weight::Split;

/// One ReplicaSet of the world, with the time at which its ordered pods are available.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub fact: ReplicaSetFact,
    pub ready_at: DateTime<Utc>,
    /// From when its status is about the size that it has.
    pub seen_at: DateTime<Utc>,
    /// The revision's pods never become ready.
    pub is_broken: bool,
    /// It belongs to the Rollout no more, and outlives it.
    pub is_orphan: bool,
}

/// A route of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// What it says.
    pub split: Split,
    /// What the data plane does until it has accepted that.
    pub before: Split,
    pub written: DateTime<Utc>,
}

#[expect(clippy::struct_excessive_bools, reason = "each switches one fault")]
pub(crate) struct World {
    pub now: DateTime<Utc>,
    pub spec: Value,
    pub status: Option<RolloutStatus>,
    pub generation: i64,
    pub sets: BTreeMap<String, Set>,
    pub services: BTreeMap<String, ServiceFact>,
    pub missing_services: Vec<String>,
    pub routes: BTreeMap<String, Route>,
    pub unknown_routes: bool,
    /// Seconds until a written route is accepted.
    pub route_lag: i64,
    /// Writes of routes are refused.
    pub unwritable_routes: bool,
    /// Every write is refused.
    pub refuses_writes: bool,
    /// Pods that are to go stay until this is over.
    pub slow_to_end: bool,
    /// So many of the next writes take effect without an answer.
    pub lost_answers: u32,
    /// So many of the next statuses are lost: the process dies before it writes them.
    pub lost_statuses: u32,
    pub missing_route: bool,
    pub unknown_sets: bool,
    pub unknown_endpoints: bool,
    pub runs: Vec<RunFact>,
    /// Verdicts that runs get a while after they started, by slot label.
    pub verdicts: BTreeMap<&'static str, Verdict>,
    /// What runs that compare say.
    pub comparison: Option<ComparisonStatus>,
    /// The runs as they were made.
    pub made_runs: Vec<Value>,
    pub templates: TemplateLibrary,
    pub git: GitFact,
    /// What was ordered in Git.
    pub orders: Vec<RevertOrder>,
    /// What the Git worker answers.
    pub git_answer: Option<RevertResult>,
    pub ledger_answer: Option<Commit>,
    /// Where the commit was found, and whether the tool still applies.
    pub ledger_source: Option<RevisionSource>,
    pub is_syncing: bool,
    /// What holds up the GitOps tool that is to apply a revert.
    pub sync_obstacle: Option<String>,
    /// What becomes of asking it to look at Git, and whether each look was to ask.
    pub sync_asked: Option<Asked>,
    pub asks: Vec<bool>,
    /// What becomes of requests that are withdrawn, and why they were.
    pub withdraw_answer: Option<PullRequestState>,
    pub withdrawals: Vec<String>,
    pub broken_images: Vec<String>,
    /// At most so many pods of an image are ready at once.
    pub most_ready: BTreeMap<String, u32>,
    pub has_finalizer: bool,
    pub deleted_at: Option<DateTime<Utc>>,
    pub is_gone: bool,
    pub failing: Vec<FailingAction>,
    pub old_pods: Vec<PodFact>,
    pub annotations: BTreeMap<String, String>,
    pub timeline: String,
    pub violations: Vec<String>,
    pub writes: usize,
    /// What the controller would send, in this order; without what may wait for the next write.
    pub requests: Vec<String>,
    /// Phase and message of every status that was written, each only when it differs from the last.
    pub history: Vec<(RolloutPhase, String)>,
    /// How far the wall clock is ahead of the time that really goes by, which `now` is.
    pub skew: TimeDelta,
    /// The pause that this process has been watching: when it began, when it was first seen by the
    /// wall clock, and when it really was.
    watch: Option<(DateTime<Utc>, DateTime<Utc>, DateTime<Utc>)>,
    last_line: String,
    shown: Option<(RolloutPhase, String)>,
}

pub(crate) const POD_START: i64 = 5;
pub(crate) const ROUTE_LAG: i64 = 1;
pub(crate) const SET_LAG: i64 = 1;
pub(crate) const RUN_TIME: i64 = 10;

impl World {
    pub(crate) fn new(yaml: &str) -> Self {
        let spec: Value = serde_norway::from_str(yaml).unwrap();
        let names = ["stable", "canary", "active", "preview"];
        let services = names
            .iter()
            .map(|name| {
                let selector = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
                ((*name).to_owned(), ServiceFact { selector, managed_by: None })
            })
            .collect();
        let template = serde_json::from_value(json!({"metrics": [{
            "name": "success", "interval": "5s", "count": 1, "successCondition": "result > 0.9",
            "provider": {"prometheus": {"address": "http://prometheus:9090", "query": "up"}}}]}))
        .unwrap();
        let key = TemplateKey { is_cluster_scope: false, name: "success".to_owned() };
        let mut world = Self {
            now: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            spec,
            status: None,
            generation: 1,
            sets: BTreeMap::new(),
            services,
            missing_services: vec![],
            routes: BTreeMap::new(),
            unknown_routes: false,
            route_lag: ROUTE_LAG,
            unwritable_routes: false,
            refuses_writes: false,
            slow_to_end: false,
            lost_answers: 0,
            lost_statuses: 0,
            missing_route: false,
            unknown_sets: false,
            unknown_endpoints: false,
            runs: vec![],
            verdicts: BTreeMap::new(),
            comparison: None,
            made_runs: vec![],
            templates: BTreeMap::from([(key, template)]),
            git: GitFact { around: Some(Around::default()), ..GitFact::default() },
            orders: vec![],
            git_answer: None,
            ledger_answer: None,
            ledger_source: None,
            is_syncing: false,
            sync_obstacle: None,
            sync_asked: None,
            asks: vec![],
            withdraw_answer: None,
            withdrawals: vec![],
            broken_images: vec![],
            most_ready: BTreeMap::new(),
            has_finalizer: false,
            deleted_at: None,
            is_gone: false,
            failing: vec![],
            old_pods: vec![],
            annotations: BTreeMap::new(),
            timeline: String::new(),
            violations: vec![],
            writes: 0,
            requests: vec![],
            history: vec![],
            skew: TimeDelta::zero(),
            watch: None,
            last_line: String::new(),
            shown: None,
        };
        if world.spec.pointer("/strategy/canary/trafficRouting").is_some() {
            let total = world
                .spec
                .pointer("/strategy/canary/trafficRouting/maxTrafficWeight")
                .and_then(Value::as_u64)
                .map_or(100, |total| u32::try_from(total).unwrap());
            let split = Split::all_stable(total);
            let route = Route { split, before: split, written: world.now - TimeDelta::hours(1) };
            world.routes.insert("HTTPRoute `web`".to_owned(), route);
        }
        world
    }

    /// Declares another image, as a Git commit would.
    pub(crate) fn push(&mut self, image: &str) {
        self.spec["template"]["spec"]["containers"][0]["image"] = json!(image);
        self.generation += 1;
        self.note(&format!("push {image}"));
    }

    /// What `undo` of Argo Rollouts' plugin does: the template as the old ReplicaSet holds it.
    pub(crate) fn undo(&mut self, image_of_old: &str) {
        let mut sets = self.sets.values();
        let old = sets.find(|set| image(&set.fact.template) == image_of_old).unwrap();
        self.spec["template"] = Value::clone(&old.fact.template);
        self.generation += 1;
        self.note(&format!("undo to {image_of_old}"));
    }

    /// Whether a ReplicaSet runs, or once ran, this image.
    pub(crate) fn has(&self, wanted: &str) -> bool {
        self.sets.values().any(|set| image(&set.fact.template) == wanted)
    }

    /// Somebody edits the route.
    pub(crate) fn set_weight_by_hand(&mut self, weight: u32) {
        for route in self.routes.values_mut() {
            route.split = Split::saturating(weight, route.split.total());
        }
    }

    /// Somebody scales the ReplicaSet of an image.
    pub(crate) fn scale_by_hand(&mut self, wanted: &str, size: u32) {
        let now = self.now;
        let mut sets = self.sets.values_mut();
        let set = sets.find(|set| image(&set.fact.template) == wanted).unwrap();
        set.fact.desired = size;
        set.fact.replicas = size;
        set.fact.available = set.fact.available.min(size);
        set.fact.ready = set.fact.available;
        set.ready_at = now + TimeDelta::seconds(POD_START);
    }

    /// Somebody deletes the ReplicaSet of an image.
    pub(crate) fn delete_set(&mut self, wanted: &str) {
        self.sets.retain(|_, set| image(&set.fact.template) != wanted);
    }

    /// Somebody asks for a restart of every pod that there is.
    pub(crate) fn restart(&mut self) {
        let at = self.now;
        for set in self.sets.values() {
            for ordinal in 0..set.fact.desired {
                self.old_pods.push(PodFact {
                    name: format!("{}-{ordinal}", set.fact.name),
                    revision: set.fact.revision.clone(),
                    is_terminating: false,
                    created_at: at - TimeDelta::seconds(60),
                });
            }
        }
        self.edit("/restartAt", json!(at.to_rfc3339()));
    }

    /// Another process takes over: what only the old one knew is forgotten.
    pub(crate) fn fail_over(&mut self) {
        self.watch = None;
        self.failing.clear();
        self.git = GitFact { around: self.git.around, ..GitFact::default() };
    }

    pub(crate) fn edit(&mut self, pointer: &str, value: Value) {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match self.spec.pointer_mut(parent).unwrap() {
            Value::Object(fields) => {
                fields.insert(key.to_owned(), value);
            }
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            other => panic!("{parent} is {other}"),
        }
        self.generation += 1;
    }

    pub(crate) fn note(&mut self, text: &str) {
        let at = self.seconds();
        writeln!(self.timeline, "t={at}s -- {text}").unwrap();
        self.last_line.clear();
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.now.timestamp() - 1_800_000_000
    }

    pub(crate) fn status(&mut self) -> &mut RolloutStatus {
        self.status.as_mut().expect("no status yet")
    }

    pub(crate) fn abort(&mut self) {
        self.note("abort");
        self.status().abort = true;
    }

    /// What `abort --revert-git` of the plugin writes.
    pub(crate) fn abort_and_revert(&mut self) {
        self.note("abort --revert-git");
        let at = sluice::api::Time(self.now);
        let status = self.status();
        (status.abort, status.revert_git) = (true, true);
        status.last_request = Some(LastRequest {
            verb: "abort-revert-git".to_owned(),
            at: Some(at),
            by: "alice@example.org".to_owned(),
        });
    }

    pub(crate) fn retry(&mut self) {
        self.note("retry");
        self.status().abort = false;
    }

    /// What `promote` of the plugin writes.
    pub(crate) fn promote(&mut self) {
        self.note("promote");
        let steps = self.spec["strategy"]["canary"]["steps"].as_array().map_or(0, Vec::len);
        let status = self.status();
        if status.pause_conditions.is_empty() {
            let next = |index: u32| if (index as usize) < steps { index + 1 } else { index };
            status.current_step_index = status.current_step_index.map(next);
        } else {
            status.pause_conditions.clear();
        }
    }

    pub(crate) fn promote_full(&mut self) {
        self.note("promote --full");
        self.status().promote_full = true;
    }

    pub(crate) fn phase(&self) -> Option<RolloutPhase> {
        self.status.as_ref().and_then(|status| status.phase)
    }

    pub(crate) fn actual(&self) -> u32 {
        self.routes.values().map(|route| route.split.canary()).max().unwrap_or(0)
    }

    pub(crate) fn image_of(&self, revision: &str) -> String {
        self.sets
            .values()
            .find(|set| set.fact.revision.as_str() == revision)
            .map_or_else(|| "?".to_owned(), |set| image(&set.fact.template))
    }

    /// Image that the stable revision runs.
    pub(crate) fn stable_image(&self) -> String {
        self.image_of(&self.status.as_ref().unwrap().stable_rs)
    }

    /// Image that a Service sends to.
    pub(crate) fn selected_by(&self, service: &str) -> String {
        let selector = &self.services[service].selector;
        self.image_of(&selector[ApiNames::SLUICE.revision_label()])
    }

    pub(crate) fn available(&self, wanted: &str) -> u32 {
        self.sets
            .values()
            .filter(|set| image(&set.fact.template) == wanted)
            .map(|set| set.fact.available)
            .sum()
    }

    /// Passes until nothing happens any more for `quiet` seconds, or `limit` seconds are over.
    pub(crate) fn run(&mut self, limit: i64) -> &mut Self {
        let end = self.now + TimeDelta::seconds(limit);
        while self.now < end {
            self.settle();
            self.now += TimeDelta::seconds(1);
        }
        self.settle();
        self
    }

    /// Passes until the phase is `phase`; fails the test when it is not within `limit` seconds.
    pub(crate) fn run_until(&mut self, phase: RolloutPhase, limit: i64) -> &mut Self {
        let end = self.now + TimeDelta::seconds(limit);
        while self.now < end {
            self.settle();
            if self.phase() == Some(phase) {
                return self;
            }
            self.now += TimeDelta::seconds(1);
        }
        panic!("not {phase:?} within {limit} s:\n{}\n{:#?}", self.timeline, self.status);
    }

    /// Passes at one instant until a pass changes nothing.
    pub(crate) fn settle(&mut self) {
        self.live();
        for _ in 0..50 {
            if !self.pass() {
                return;
            }
        }
        panic!("the plan never comes to rest:\n{}", self.timeline);
    }

    /// The world without us: pods become ready, analyses end.
    fn live(&mut self) {
        let now = self.now;
        for set in self.sets.values_mut() {
            let fact = &mut set.fact;
            fact.replicas =
                if self.slow_to_end { fact.replicas.max(fact.desired) } else { fact.desired };
            fact.available = fact.available.min(fact.desired);
            let is_broken = set.is_broken || self.broken_images.contains(&image(&fact.template));
            if is_broken {
                fact.available = 0;
            } else if now >= set.ready_at {
                let most = self.most_ready.get(&image(&fact.template));
                fact.available = most.map_or(fact.desired, |most| fact.desired.min(*most));
            }
            fact.ready = fact.available;
        }
        for run in &mut self.runs {
            let is_over = now >= run.created_at + TimeDelta::seconds(RUN_TIME);
            if matches!(run.verdict, Verdict::Running { .. }) {
                if run.terminate {
                    run.verdict = Verdict::Terminated;
                } else if is_over && let Some(slot) = run.slot {
                    run.comparison = self.comparison.clone().filter(|_| run.compares);
                    run.verdict = match self.verdicts.get(slot.label()) {
                        Some(verdict) => verdict.clone(),
                        None if slot == RunSlot::Background => {
                            Verdict::Running { waiting_on: None }
                        }
                        None => Verdict::Successful,
                    };
                }
            }
        }
        // By the wall clock, as the controller notes and compares it.
        let wall = now + self.skew;
        self.failing.retain(|failing| failing.retry_at > wall);
    }

    /// One pass; whether it changed anything.
    fn pass(&mut self) -> bool {
        if self.is_gone {
            return false;
        }
        let observed = self.observe();
        let decision = decide(&observed);
        assert_eq!(decision, decide(&observed), "deciding is deterministic");
        assert!(decision.wake_at <= observed.now + TimeDelta::seconds(60));
        let has_nothing_to_do = decision.actions.is_empty() && !decision.changes_memory();
        assert!(
            !has_nothing_to_do || decision.wake_at > observed.now,
            "nothing is done, and it looks again at once, for ever:\n{}",
            self.timeline
        );
        if self.watch.map(|(since, ..)| since) != decision.pause_began() {
            self.watch = decision.pause_began().map(|since| (since, observed.now, self.now));
        }
        self.line(&decision);
        let mut outcomes = Vec::new();
        if !decision.changes_memory() {
            for action in &decision.actions {
                self.check(&observed, &decision, action);
                outcomes.push(Outcome { key: action.key(), result: self.act(action) });
            }
        }
        let next = status::project(&observed, &decision, &outcomes);
        if let Some(next) = &next {
            self.assert_says_what_it_waits_for(&decision, next);
            self.judge_status(&self.status.clone().unwrap_or_default(), next);
        }
        if self.lost_statuses > 0 {
            self.lost_statuses -= 1;
            self.fail_over();
            return true;
        }
        let is_changed = next.is_some() && next != self.status;
        if let Some(next) = next.filter(|_| is_changed) {
            self.note_status(&decision, &next);
            self.status = Some(next);
            self.writes += 1;
            let status = self.status.as_ref().unwrap();
            let shown = (status.phase.unwrap(), self.redact(&status.message));
            if self.shown.as_ref() != Some(&shown) {
                self.history.push(shown.clone());
                self.shown = Some(shown);
            }
        }
        decision.changes_memory() || !decision.actions.is_empty()
    }

    /// A status that differs only in counts and texts waits until another write takes it along.
    fn note_status(&mut self, decision: &Decision, next: &RolloutStatus) {
        let old = self.status.clone().unwrap_or_default();
        if !decision.changes_memory() && differs_only_in_detail(&old, next) {
            return;
        }
        let change = decision.change.as_ref().map_or("same".to_owned(), |change| {
            let text = format!("{change:?}");
            text.split(' ').next().unwrap_or_default().to_owned()
        });
        self.requests.push(format!("status: {change}"));
        let news = events::news(&old, decision, next);
        self.requests.extend(news.iter().map(|news| format!("event: {}", news.reason.as_str())));
    }

    fn line(&mut self, decision: &Decision) {
        let desired = self
            .status
            .as_ref()
            .and_then(|status| status.canary.desired_weights.as_ref())
            .map_or("-".to_owned(), |weights| weights.canary.weight.to_string());
        let actual = if self.routes.is_empty() { "-".into() } else { self.actual().to_string() };
        let phase = self.phase().map_or("-", RolloutPhase::as_str);
        let step = self
            .status
            .as_ref()
            .and_then(|status| status.current_step_index)
            .map_or("-".to_owned(), |index| index.to_string());
        let change = decision.change.as_ref().map_or_else(String::new, |change| {
            let text = format!("{change:?}");
            format!(" change={}", text.split([' ', '(']).next().unwrap_or_default())
        });
        let git = if decision.git_changed { " change=Git" } else { "" };
        let actions: Vec<String> =
            decision.actions.iter().map(|action| self.describe(action)).collect();
        let waiting: Vec<String> =
            decision.waiting.iter().map(|wait| self.redact(&wait.what)).collect();
        let line = format!(
            "phase={phase} step={step} desired={desired} actual={actual}{change}{git} \
             actions=[{}] waiting=[{}]",
            actions.join(", "),
            waiting.join("; ")
        );
        if line != self.last_line {
            let at = self.seconds();
            writeln!(self.timeline, "t={at}s {line}").unwrap();
            self.last_line = line;
        }
    }

    /// One write, with the faults that are switched on.
    fn act(&mut self, action: &Action) -> Result<(), ActionFailure> {
        let is_route = matches!(action, Action::SetWeight { .. });
        if self.refuses_writes || (is_route && self.unwritable_routes) {
            let failure = ActionFailure::Refused("the admission webhook says no".to_owned());
            self.failing.push(FailingAction {
                key: action.key(),
                error: failure.to_string(),
                retry_at: self.now + self.skew + TimeDelta::seconds(2),
                name_is_taken: false,
            });
            return Err(failure);
        }
        let request = self.describe(action);
        self.requests.push(request);
        self.apply(action);
        self.writes += 1;
        if self.lost_answers > 0 {
            self.lost_answers -= 1;
            return Err(ActionFailure::Ambiguous("timeout".to_owned()));
        }
        Ok(())
    }

    /// Nothing waits in silence (L11).
    fn assert_says_what_it_waits_for(&self, decision: &Decision, next: &RolloutStatus) {
        let is_waiting = decision.actions.is_empty() && !decision.changes_memory();
        let is_at_rest = next.phase == Some(RolloutPhase::Healthy) || next.abort;
        assert!(
            !is_waiting || is_at_rest || !next.waiting_on.is_empty(),
            "{:?} and nothing is waited for:\n{}",
            next.phase,
            self.timeline
        );
    }

    /// Revisions by the image that they run: stable over changes of the hash.
    fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for set in self.sets.values() {
            let image = image(&set.fact.template);
            text = text.replace(set.fact.revision.as_str(), &format!("<{image}>"));
        }
        let current = image(&self.spec["template"]);
        let revision = Revision::name_for(&TemplateDigest::of(&self.spec["template"]), 0);
        text.replace(revision.as_str(), &format!("<{current}>"))
    }

    fn describe(&self, action: &Action) -> String {
        let text = match action {
            Action::CreateReplicaSet { revision, replicas, .. } => {
                format!("create {revision} x{replicas}")
            }
            Action::ScaleReplicaSet { name, from, to } => format!("scale {name} {from}->{to}"),
            Action::PointService { name, revision } => format!("point {name} to {revision}"),
            Action::SetWeight { split, .. } => format!("weight {split}"),
            Action::CreateRun { name, .. } => format!("analyse {name}"),
            Action::TerminateRun { name } => format!("stop {name}"),
            Action::RevertInGit(order) => {
                format!("revert {} to {}", order.failed.0, order.stable.0)
            }
            Action::WithdrawRequest(order) => format!("withdraw request {}", order.number),
            Action::WatchSync(_) => "watch the sync".to_owned(),
            Action::LookUpCommit(sight) => format!("look up {}", sight.revision),
            Action::AddFinalizer
            | Action::RemoveFinalizer
            | Action::SetRevisionNumber { .. }
            | Action::OrphanReplicaSet { .. }
            | Action::DeleteReplicaSet { .. }
            | Action::DeleteRun { .. }
            | Action::EvictPod { .. } => {
                let key = action.key();
                format!("{} {}", key.verb, key.object).trim().to_owned()
            }
        };
        self.redact(&text)
    }
}

fn image(template: &Value) -> String {
    template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}
