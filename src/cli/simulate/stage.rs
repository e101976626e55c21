//! One run: a world, the real controller in it, the first version, the change, and what follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;

use super::branch::{Place, diff, place, with_image};
use super::intake::Team;
use super::people;
use super::report::{End, Outcome, Report, Version, What};
use super::supply::{Supplies, Wishes, text};
use super::watch::{PEOPLE, Watch};
use super::words::{Planned, Verb};
use crate::api::Rollout;
use crate::api::rbac::Role;
use crate::api::status::{GitRevertState, PauseReason, RolloutPhase};
use crate::cli::error::CliError;
use crate::cli::standing::{PauseEnd, describe_step, pause_end, standing};
use crate::git::source::RepoPath;
use crate::revision::Commit;
use crate::sim::api::{Follower, object};
use crate::sim::world::{
    ANY_HOST, Application, Order, ProcessState, Users, World, WorldPlan, Write,
};

/// Name of the controller's process.
pub(super) const CONTROLLER: &str = "sluice";
/// Who applies the files.
const TEAM: &str = "team";
/// Longest time for the first version.
const SETUP: Duration = Duration::from_mins(30);
/// With users, before the change: as long as the windows of most queries.
const WARM_UP: Duration = Duration::from_secs(330);
/// Between two looks at the data plane.
const LOOK: Duration = Duration::from_secs(1);
/// So long nothing happens before a settled release is over: longer than the delay of scale-downs.
const QUIET: f64 = 35.0;
/// Longest time from the outcome to the end of the simulation, in seconds.
const AFTERMATH: f64 = 900.0;
/// How long a person takes with --promote-pauses, in seconds.
const HESITATES: f64 = 10.0;

/// What a run is about.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) team: Team,
    pub(super) wishes: Wishes,
    pub(super) supplies: Supplies,
    pub(super) planned: Vec<Planned>,
    pub(super) rps: f64,
    pub(super) seed: u64,
    pub(super) limit: Duration,
    pub(super) promotes_pauses: bool,
}

/// Runs it. To be called in a runtime of one thread whose time is paused.
pub(super) async fn play(script: &Script) -> Result<Report, CliError> {
    let mut stage = Stage::set_up(script)?;
    stage.first_version().await?;
    stage.change()?;
    let end = stage.go_through().await;
    Ok(stage.report(end))
}

/// A run under way.
pub(super) struct Stage<'a> {
    pub(super) script: &'a Script,
    pub(super) world: World,
    follower: Follower,
    pub(super) watch: Watch,
    place: Option<Place>,
    /// Files of the branch as they were last seen, and its tip.
    branch: (Option<Commit>, BTreeMap<RepoPath, Vec<u8>>),
    applied: Option<Commit>,
    /// The Rollout as it was last read, with its resourceVersion.
    read: (String, Option<Arc<Rollout>>),
    /// Since when a pause waits for a person.
    paused_since: Option<f64>,
}

impl<'a> Stage<'a> {
    fn set_up(script: &'a Script) -> Result<Self, CliError> {
        let supplies = &script.supplies;
        let mut plan = WorldPlan::new(script.seed);
        plan.behaviour = supplies.behaviour.clone();
        plan.names = script.team.names;
        ANY_HOST.clone_into(&mut plan.prometheus_host);
        if supplies.has_jobs {
            plan.roles.push(Role::JobMetrics);
        }
        let world = World::begin(plan).map_err(|error| unfit(&error.to_string()))?;
        let mut settings = World::default_settings().map_err(|error| unfit(&error.to_string()))?;
        settings.namespaces.clear();
        script.team.names.group().clone_into(&mut settings.api_group);
        settings.allow_private_addresses = true;
        settings.allowed_hosts = vec!["*".to_owned()];
        settings.git_allowed_hosts = vec!["*".to_owned()];
        settings.enable_job_metrics = supplies.has_jobs;
        world.configure(settings);
        for namespace in &supplies.namespaces {
            world.add_namespace(namespace).map_err(|error| unfit(&error.to_string()))?;
        }
        for object in &supplies.objects {
            let created = world.create(TEAM, &supplies.namespace, &object.to_string());
            created.map_err(|error| {
                let kind = text(object, "/kind");
                CliError::refused(
                    format!("the simulated API server refuses {kind} {error}"),
                    "a real one would say the same; correct the object",
                )
            })?;
        }
        let watch = Watch::begin(script.team.names, supplies, &world);
        let follower = world.cluster().follow(world.cluster().version());
        Ok(Self {
            script,
            place: place(&script.team)?,
            world,
            follower,
            watch,
            branch: (None, BTreeMap::new()),
            applied: None,
            read: (String::new(), None),
            paused_since: None,
        })
    }

    /// The version of the files runs and has users.
    async fn first_version(&mut self) -> Result<(), CliError> {
        self.start()?;
        if let Some(place) = self.place.clone() {
            self.commit(&place, &place.text, "Begin");
            self.world.add_agent(Application {
                url: place.url,
                branch: place.branch,
                path: place.folder,
                namespace: self.script.supplies.namespace.clone(),
            });
        } else {
            self.apply(&self.script.supplies.images.stable.clone())?;
        }
        let until = Instant::now() + SETUP;
        while !self.is_first_healthy() {
            if Instant::now() >= until {
                return Err(self.never_healthy());
            }
            self.world.wait(LOOK).await;
            self.restart_ended()?;
        }
        self.set_rps(self.script.rps);
        self.world.wait(WARM_UP).await;
        Ok(())
    }

    pub(super) fn start(&self) -> Result<(), CliError> {
        self.world.start(CONTROLLER).map_err(|error| unfit(&error.to_string()))
    }

    /// A process that ended by itself is started again, as a kubelet does.
    fn restart_ended(&self) -> Result<(), CliError> {
        if self.world.process(CONTROLLER) == ProcessState::Ended { self.start() } else { Ok(()) }
    }

    pub(super) fn set_rps(&self, per_second: f64) {
        let target = self.script.supplies.target.clone();
        self.world.set_users(PEOPLE, Some(Users { target, per_second }));
    }

    fn is_first_healthy(&self) -> bool {
        let rollout = self.watch.rollout(&self.world);
        let stable = text(&rollout, "/status/stableRS");
        !stable.is_empty()
            && stable == text(&rollout, "/status/currentPodHash")
            && text(&rollout, "/status/phase") == "Healthy"
    }

    fn never_healthy(&self) -> CliError {
        let rollout = self.watch.rollout(&self.world);
        let agents = self.world.agents();
        let trouble: Vec<&str> =
            agents.iter().flat_map(|(_, trouble)| trouble).map(String::as_str).collect();
        let message = match text(&rollout, "/status/message") {
            "" if rollout.is_null() => format!("it was not created: {}", trouble.join("; ")),
            "" => "the controller says nothing".to_owned(),
            message => message.to_owned(),
        };
        let phase = text(&rollout, "/status/phase");
        CliError::refused(
            format!("the version of the files is not Healthy within 30 m ({phase}): {message}"),
            "a first version is released without steps; check --stable, replicas, spec.paused and the routes",
        )
    }

    /// Declares an image, as the team does it without Git.
    fn apply(&self, image: &str) -> Result<(), CliError> {
        let mut object = self.script.team.rollout().map(|one| one.json.clone()).unwrap_or_default();
        if let Some(place) = object.pointer_mut("/spec/template/spec/containers/0/image") {
            *place = image.into();
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), self.script.supplies.namespace.clone().into());
        }
        let write = Write::Apply(object);
        self.world.order(Order::Write { who: TEAM.to_owned(), write }).map_err(|error| {
            CliError::refused(
                format!("the simulated API server refuses the Rollout: {error}"),
                "a real one would say the same; kubectl sluice lint says more",
            )
        })
    }

    fn commit(&self, place: &Place, content: &str, message: &str) -> Commit {
        let files = BTreeMap::from([(place.file.clone(), Some(content.as_bytes().to_vec()))]);
        self.world.git().commit(&place.url, &place.branch, &files, message)
    }

    /// The new version is declared.
    fn change(&mut self) -> Result<(), CliError> {
        // Everything is written down that belongs to the first version.
        let _ = self.follower.ready();
        let supplies = &self.script.supplies;
        self.watch = Watch::begin(self.script.team.names, supplies, &self.world);
        self.applied = self.agent_applied();
        let (from, to) = supplies.images.tags();
        let text = format!("the image changes from {from} to {to}");
        self.watch.tell(&self.world, What::Change, text);
        let images = supplies.images.clone();
        if let Some(place) = self.place.clone() {
            self.branch = self.files(&place);
            let content = with_image(&place.text, &images.stable, &images.canary)?;
            self.commit(&place, &content, &format!("Release {to}"));
            self.look_at_git();
        } else {
            self.apply(&images.canary)?;
        }
        self.watch.look(&self.world);
        Ok(())
    }

    fn files(&self, place: &Place) -> (Option<Commit>, BTreeMap<RepoPath, Vec<u8>>) {
        let found = self.world.git().files(&place.url, &place.branch);
        found.map_or((None, BTreeMap::new()), |(tip, files)| (Some(tip), files))
    }

    /// Tells new commits, and what the agent applied.
    fn look_at_git(&mut self) {
        let Some(place) = self.place.clone() else { return };
        let (tip, files) = self.files(&place);
        if tip != self.branch.0
            && let Some(commit) = &tip
        {
            let log = self.world.git().log(&place.url, &place.branch);
            let message = log.first().and_then(|message| message.lines().next()).unwrap_or("");
            let what = What::Commit {
                commit: commit.short().to_string(),
                diff: diff(&self.branch.1, &files),
            };
            let told = format!("{} is now {}: {message}", place.branch, commit.short());
            self.watch.tell(&self.world, what, told);
            self.branch = (tip, files);
        }
        let applied = self.agent_applied();
        if applied != self.applied
            && let Some(commit) = &applied
        {
            let short = commit.short().to_string();
            let told = format!("the GitOps agent applied {short}");
            self.watch.tell(&self.world, What::Applied { commit: short }, told);
            self.applied = applied;
        }
    }

    fn agent_applied(&self) -> Option<Commit> {
        self.world.agents().into_iter().find_map(|(applied, _)| applied)
    }

    /// Goes on until the release is settled; how it ended.
    async fn go_through(&mut self) -> End {
        let began = Instant::now();
        let limit = began + self.script.limit;
        let mut planned = self.script.planned.clone();
        planned.sort_by_key(|one| std::cmp::Reverse(one.after));
        let mut outcome: Option<(Outcome, f64)> = None;
        loop {
            let next = planned.last().map_or(limit, |one| began + one.after);
            let look = (Instant::now() + LOOK).min(next).min(limit);
            let entries = tokio::time::timeout_at(look, self.follower.next()).await;
            for entry in entries.unwrap_or_default() {
                self.watch.read(&self.world, &entry);
            }
            let _ = self.restart_ended();
            self.look_at_git();
            self.watch.look(&self.world);
            while let Some(due) = planned.pop_if(|one| began + one.after <= Instant::now()) {
                self.carry_out(&due).await;
            }
            let now = self.watch.at(self.world.now());
            let found = self.outcome();
            if found != outcome.map(|(found, _)| found) {
                outcome = found.map(|found| (found, now));
            }
            if self.promote_pause(now).await {
                continue;
            }
            let is_settled = outcome.is_some_and(|(_, since)| self.is_over(since, now));
            if (is_settled && planned.is_empty()) || Instant::now() >= limit {
                return self.end(outcome.unwrap_or((Outcome::TimedOut, now)), now);
            }
        }
    }

    /// Whether nothing more is to be expected.
    fn is_over(&self, since: f64, now: f64) -> bool {
        let last = self.watch.events.last().map_or(0.0, |event| event.at).max(since);
        now - last >= QUIET || now - since >= AFTERMATH
    }

    /// How the release stands, if it stands.
    fn outcome(&mut self) -> Option<Outcome> {
        let rollout = self.typed()?;
        let status = rollout.status.as_ref()?;
        let standing = standing(&rollout);
        let is_healthy = standing.phase == RolloutPhase::Healthy;
        let is_back = status.current_pod_hash == self.watch.stable();
        let revert = status.git_revert.as_ref().map(|revert| revert.state);
        if is_healthy && !is_back && status.stable_rs == status.current_pod_hash {
            return Some(Outcome::Promoted);
        }
        let is_reverted =
            matches!(revert, Some(GitRevertState::Reverted | GitRevertState::AlreadyReverted));
        if is_healthy && is_back && is_reverted {
            return Some(Outcome::Reverted);
        }
        if status.aborted_at.is_some() && standing.phase == RolloutPhase::Degraded {
            let is_under_way = matches!(
                revert,
                Some(
                    GitRevertState::Planned
                        | GitRevertState::Pushing
                        | GitRevertState::AwaitingSync
                )
            );
            let is_left = self.watch.state(&self.world).actual_weight <= 0.0;
            return (is_left && !is_under_way).then_some(Outcome::Aborted);
        }
        standing.needs_person.then_some(Outcome::Paused)
    }

    /// The Rollout as its type; read once for each of its versions.
    fn typed(&mut self) -> Option<Arc<Rollout>> {
        let stored = self.watch.rollout(&self.world);
        if self.read.0 != object::version(&stored) {
            let rollout = Rollout::deserialize(&*stored).ok().map(Arc::new);
            self.read = (object::version(&stored).to_owned(), rollout);
        }
        self.read.1.clone()
    }

    /// Ends a pause that waits for a person, when that was asked for; whether it did.
    async fn promote_pause(&mut self, now: f64) -> bool {
        if !self.script.promotes_pauses {
            return false;
        }
        let verb = self.typed().and_then(|rollout| {
            let status = rollout.status.as_ref()?;
            let reason = status.pause_conditions.first().map(|condition| condition.reason);
            // What an analysis could not decide is no pause of the manifest's.
            let is_undecided = matches!(
                reason,
                Some(PauseReason::InconclusiveAnalysisRun | PauseReason::InconclusiveExperiment)
            );
            let standing = standing(&rollout);
            match pause_end(&rollout) {
                Some(PauseEnd::Person(verb)) if standing.needs_person && !is_undecided => {
                    Some(verb)
                }
                Some(PauseEnd::Person(_) | PauseEnd::At(_)) | None => None,
            }
        });
        let Some(verb) = verb else {
            self.paused_since = None;
            return false;
        };
        if now - *self.paused_since.get_or_insert(now) < HESITATES {
            return false;
        }
        self.paused_since = None;
        let verb = if verb == "resume" { Verb::Resume } else { Verb::Promote };
        people::use_plugin(self, verb).await;
        true
    }

    async fn carry_out(&mut self, due: &Planned) {
        people::carry_out(self, due).await;
    }

    fn end(&mut self, (outcome, after): (Outcome, f64), now: f64) -> End {
        let rollout = self.typed();
        let message =
            rollout.as_deref().map(|rollout| standing(rollout).message).unwrap_or_default();
        let message = match outcome {
            Outcome::Promoted => "the new version is the stable one".to_owned(),
            Outcome::Reverted => {
                "Git declares the old version again, and it serves all requests".to_owned()
            }
            Outcome::Aborted | Outcome::Paused => message,
            Outcome::TimedOut => {
                format!("not settled after {} s: {message}", self.script.limit.as_secs())
            }
        };
        let waits_for = rollout
            .as_deref()
            .and_then(pause_end)
            .filter(|_| outcome == Outcome::Paused)
            .map(|end| match end {
                PauseEnd::Person(verb) => {
                    format!("kubectl sluice {verb} {}", self.script.supplies.name)
                }
                PauseEnd::At(time) => time.to_rfc3339(),
            })
            .unwrap_or_default();
        let revert = rollout
            .as_ref()
            .and_then(|rollout| rollout.status.as_ref()?.git_revert.as_ref())
            .map(|revert| {
                let state = format!("{:?}", revert.state);
                let why = [&revert.reason, &revert.message];
                let why: Vec<&str> =
                    why.into_iter().map(String::as_str).filter(|why| !why.is_empty()).collect();
                if why.is_empty() { state } else { format!("{state}: {}", why.join(": ")) }
            });
        End {
            outcome,
            after,
            message,
            waits_for,
            git_revert: revert.unwrap_or_default(),
            git_image: self.git_image(),
            simulated: now,
            state: self.watch.state(&self.world),
        }
    }

    /// The image that the branch declares.
    fn git_image(&self) -> String {
        let declared = self.place.as_ref().and_then(|place| self.branch.1.get(&place.file));
        let object = declared.and_then(|bytes| serde_norway::from_slice::<Value>(bytes).ok());
        let image =
            object.as_ref().map(|object| text(object, "/spec/template/spec/containers/0/image"));
        image.unwrap_or_default().to_owned()
    }

    fn report(self, end: End) -> Report {
        let script = self.script;
        let (stable, canary) = script.supplies.images.tags();
        let version = |image: &str, tag: String, behaviour: &str| Version {
            image: image.to_owned(),
            tag,
            behaviour: behaviour.to_owned(),
        };
        let spec = &script.team.spec;
        let steps = spec.strategy.canary.iter().flat_map(|canary| &canary.steps);
        Report {
            rollout: script.supplies.name.clone(),
            namespace: script.supplies.namespace.clone(),
            strategy: if spec.strategy.blue_green.is_some() { "BlueGreen" } else { "Canary" },
            steps: steps.map(describe_step).collect(),
            seed: script.seed,
            requests_per_second: script.rps,
            stable: version(&script.supplies.images.stable, stable, &script.wishes.stable.text),
            canary: version(&script.supplies.images.canary, canary, &script.wishes.canary.text),
            notes: script.supplies.notes.clone(),
            events: self.watch.events,
            samples: self.watch.samples,
            end,
        }
    }
}

fn unfit(why: &str) -> CliError {
    CliError::Refused {
        message: format!("the simulated cluster cannot be set up: {why}"),
        hint: None,
    }
}
