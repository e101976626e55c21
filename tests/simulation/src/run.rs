//! One run: a world, the processes of the controller, what people do, what goes wrong, and the
//! oracle that reads along.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sluice::git::memory::Files;
use sluice::git::source::{BranchName, GitUrl, RepoPath};
use sluice::sim::api::{Entry, Follower};
use sluice::sim::world::{
    Application, Named, Order, Patch, ProcessState, Push, PushChange, Target, TargetKind, Users,
    World, WorldPlan, Write,
};
use tokio::time::Instant;

use crate::case::{Act, Case, What, When};
use crate::faults::{Counts, Faults, name};
use crate::generate::healthy;
use crate::manifests::{
    self, BRANCH, FOLDER, NAME, NAMESPACE, ROLLOUT_FILE, URL, files, platform, versions,
};
use crate::oracle::{Beside, End, Ending, Oracle, Violation};
use crate::repository;
use crate::shim;

/// From the healing to rest at the latest.
const REST: Duration = Duration::from_mins(20);
/// What must stay so long for the world to be at rest.
const SETTLES: Duration = Duration::from_secs(90);
/// How long nothing may be written after that.
const QUIET: Duration = Duration::from_mins(3);
/// How often it is looked whether a process has ended.
const CONTAINER_RESTART: Duration = Duration::from_secs(1);
/// Until the first version is Healthy.
const SETUP: Duration = Duration::from_mins(2);

/// What a run found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Hash of everything that happened.
    pub(crate) trace: String,
    /// What must not be.
    pub(crate) violations: Vec<Violation>,
    /// Where it came to.
    pub(crate) end: End,
    /// States that were reached.
    pub(crate) reached: BTreeSet<String>,
    /// Updates that began.
    pub(crate) rollouts: u64,
    /// Faults that were carried out.
    pub(crate) faults: u64,
    /// Deaths of processes.
    pub(crate) deaths: u64,
    /// Requests of the controller.
    pub(crate) requests: u64,
    /// Its writes, Leases and Events left out.
    pub(crate) writes: u64,
    /// The most requests in a second, and the most writes to one object in a minute.
    pub(crate) busiest: (u64, usize),
    /// Writes as faults count them: until the world healed, whether they had an effect or not.
    pub(crate) counted_writes: u64,
    /// Events that its watches were sent.
    pub(crate) events: u64,
    /// Simulated time.
    pub(crate) virtual_ms: i64,
    /// What happened, a line each; only when it was asked for.
    #[serde(default)]
    pub(crate) timeline: Vec<String>,
}

/// Runs a case in this thread, which must have been made for it.
///
/// # Errors
/// The world cannot be set up, or the case is malformed.
pub(crate) fn run(case: &Case, is_told: bool) -> anyhow::Result<Report> {
    shim::begin(case.seed);
    let panics = collect_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("failed to make a runtime")?;
    let report = runtime.block_on(Run::play(case, is_told, &panics));
    drop(runtime);
    report
}

type Panics = Arc<Mutex<Vec<String>>>;

fn collect_panics() -> Panics {
    let panics = Panics::default();
    let collected = panics.clone();
    std::panic::set_hook(Box::new(move |info| {
        let mut all = collected.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(info.to_string().replace('\n', " "));
    }));
    panics
}

/// A run under way.
struct Run<'a> {
    case: &'a Case,
    world: Arc<World>,
    faults: Faults,
    follower: Follower,
    oracle: Oracle,
    trace: Sha256,
    pushes: usize,
    began: Instant,
    timeline: Option<Vec<String>>,
}

impl<'a> Run<'a> {
    async fn play(case: &'a Case, is_told: bool, panics: &Panics) -> anyhow::Result<Report> {
        let mut run = Self::set_up(case, is_told)?;
        run.begin().await?;
        run.faults.arm();
        run.began = Instant::now();
        run.go_through().await;
        run.heal();
        let rested = run.come_to_rest().await;
        let quiet_from = run.world.now();
        if rested {
            run.advance(QUIET).await;
        }
        Ok(run.finish(panics, quiet_from))
    }

    fn set_up(case: &'a Case, is_told: bool) -> anyhow::Result<Self> {
        let faults = Faults::new(&case.faults);
        let mut plan = WorldPlan::new(case.seed);
        plan.interference = Arc::new(faults.clone());
        plan.behaviour.prometheus.scrape_interval = "1s".parse()?;
        let begin = plan.origin;
        let world = Arc::new(World::begin(plan)?);
        faults.attach(&world);
        world.behave(json!({"versions": versions()}))?;
        world.add_namespace(NAMESPACE)?;
        world.create("platform-team", NAMESPACE, &platform(&case.setup))?;
        let (url, branch) = (GitUrl::parse(URL)?, BranchName::parse(BRANCH)?);
        let mut content = Files::new();
        for (path, text) in files(&case.setup, "v1") {
            content.insert(RepoPath::parse(&path)?, Some(text.into_bytes()));
        }
        world.git().commit(&url, &branch, &content, "Begin");
        world.add_agent(Application {
            url,
            branch,
            path: RepoPath::parse(FOLDER)?,
            namespace: NAMESPACE.to_owned(),
        });
        let follower = world.cluster().follow(0);
        Ok(Self {
            case,
            follower,
            oracle: Oracle::new(case, begin),
            trace: Sha256::new(),
            pushes: 0,
            began: Instant::now(),
            timeline: is_told.then(Vec::new),
            world,
            faults,
        })
    }

    /// The first version is released and has users.
    async fn begin(&mut self) -> anyhow::Result<()> {
        for process in 0..self.case.setup.processes {
            self.world.start(name(process))?;
        }
        let until = Instant::now() + SETUP;
        while !(self.oracle.is_at_rest() && self.oracle.view.stable() != "") {
            anyhow::ensure!(
                Instant::now() < until,
                "v1 is not Healthy within {SETUP:?}: {:#}; agents: {:?}",
                self.oracle.view.rollout.get("status").unwrap_or(&serde_json::Value::Null),
                self.world.agents(),
            );
            self.advance(Duration::from_millis(500)).await;
        }
        let target = Target::new(TargetKind::HttpRoute, NAMESPACE, NAME);
        self.world.set_users("people", Some(Users { target, per_second: 100.0 }));
        self.advance(Duration::from_secs(12)).await;
        Ok(())
    }

    /// What people do and what goes wrong, each at its time.
    async fn go_through(&mut self) {
        let mut agenda: BTreeMap<(u64, usize), Due<'_>> = BTreeMap::new();
        let case = self.case;
        let mut number = 0;
        let mut add = |at: u64, due: Due<'a>| {
            agenda.insert((at, number), due);
            number += 1;
        };
        for step in &case.steps {
            add(step.at_ms, Due::Step(&step.act));
        }
        for fault in &case.faults {
            let When::AtMs(at) = fault.when else { continue };
            add(at, Due::Fault(fault.when, &fault.what));
        }
        for ((at, _), due) in agenda {
            if at >= case.heals_at_ms || self.goes_in_circles() {
                break;
            }
            let at = self.began + Duration::from_millis(at);
            self.advance(at.saturating_duration_since(Instant::now())).await;
            self.carry_out(&due);
        }
        let end = self.began + Duration::from_millis(case.heals_at_ms);
        self.advance(end.saturating_duration_since(Instant::now())).await;
    }

    fn carry_out(&mut self, due: &Due<'_>) {
        match due {
            Due::Step(act) => {
                self.tell(|| format!("-- {act:?}"));
                self.act(act);
            }
            Due::Fault(when, what) => self.faults.strike(*when, what),
        }
    }

    /// A person does something.
    fn act(&mut self, act: &Act) {
        let rollout = Named {
            group: "sluice.dev".to_owned(),
            plural: "rollouts".to_owned(),
            namespace: NAMESPACE.to_owned(),
            name: NAME.to_owned(),
        };
        let patch = |subresource: &str, patch| {
            let subresource = subresource.to_owned();
            let write = Write::Merge(Patch { object: rollout.clone(), subresource, patch });
            Order::Write { who: "kubectl-sluice".to_owned(), write }
        };
        let is_aborted = self.oracle.view.is_aborted();
        let is_updating = self.oracle.view.current() != self.oracle.view.stable();
        let order = match act {
            Act::Release(tag) => {
                let text = manifests::rollout(&self.case.setup, tag);
                Order::Push(Push {
                    url: URL.to_owned(),
                    branch: BRANCH.to_owned(),
                    message: format!("Release {tag}"),
                    change: PushChange::Files([(ROLLOUT_FILE.to_owned(), Some(text))].into()),
                    drops: 0,
                })
            }
            // The plugin refuses what has no meaning.
            Act::Abort if is_updating => patch("status", json!({"status": {"abort": true}})),
            Act::Retry if is_aborted => patch("status", json!({"status": {"abort": null}})),
            Act::PromoteFull if is_updating && !is_aborted => {
                patch("status", json!({"status": {"promoteFull": true}}))
            }
            Act::Abort | Act::Retry | Act::PromoteFull => return,
            Act::Delete => {
                let write = Write::Delete(rollout.clone());
                Order::Write { who: "kubectl".to_owned(), write }
            }
            Act::Pause => patch("", json!({"spec": {"paused": true}})),
            Act::Resume => patch("", json!({"spec": {"paused": null}})),
            Act::Scale(replicas) => patch("", json!({"spec": {"replicas": replicas}})),
        };
        // A person who fails says so, and that is all.
        let _ = self.world.order(order);
    }

    /// Nothing goes wrong any more, and nobody holds anything.
    fn heal(&mut self) {
        self.tell(|| "-- everything heals".to_owned());
        self.faults.heal();
        let _ = self.world.behave(healthy());
        let _ = self.world.order(Order::ControllerClock { ahead_ms: 0 });
        self.act(&Act::Resume);
    }

    /// Waits until the world has been at rest for a while; whether it came to that.
    async fn come_to_rest(&mut self) -> bool {
        let until = Instant::now() + REST;
        let mut since = None;
        let mut before = None;
        while Instant::now() < until && !self.goes_in_circles() {
            self.advance(Duration::from_secs(1)).await;
            let now = (self.oracle.is_at_rest(), self.oracle.last_write.clone());
            if !now.0 || before.as_ref() != Some(&now) {
                since = None;
            }
            before = Some(now.clone());
            let since = *since.get_or_insert_with(Instant::now);
            if now.0 && since.elapsed() >= SETTLES {
                return true;
            }
        }
        false
    }

    /// Lets the world go on for so long, and reads along.
    async fn advance(&mut self, by: Duration) {
        let until = Instant::now() + by;
        loop {
            let look = until.min(Instant::now() + CONTAINER_RESTART);
            let entries = tokio::time::timeout_at(look, self.follower.next()).await;
            let is_over = entries.is_err() && Instant::now() >= until;
            if let Ok(entries) = entries {
                self.read(&entries);
            }
            self.restart_ended();
            if is_over || self.goes_in_circles() {
                break;
            }
        }
    }

    /// Whether the run has gone wrong in a way that it may never come out of.
    fn goes_in_circles(&self) -> bool {
        self.faults.rate().1 || self.oracle.is_too_busy()
    }

    /// A process that came to its end by itself (it does when it loses its leadership) is started
    /// again, as a kubelet does with a container.
    fn restart_ended(&mut self) {
        for process in 0..self.case.setup.processes {
            let name = name(process);
            if self.world.process(name) == ProcessState::Ended && !self.faults.is_stopped(name) {
                self.oracle.reached.insert("a process that lost its leadership starts again");
                // Its settings were right the first time.
                let _ = self.world.start(name);
            }
        }
    }

    fn read(&mut self, entries: &[Arc<Entry>]) {
        let pushes = self.world.pushes();
        for entry in entries {
            while let Some((at, _)) = pushes.get(self.pushes).filter(|(at, _)| *at <= entry.at) {
                self.oracle.feed_push(*at);
                self.pushes += 1;
            }
            let beside = self.beside(entry);
            let before = self.oracle.violations().len();
            self.oracle.feed(entry, &beside);
            self.trace(entry);
            let new: Vec<Violation> =
                self.oracle.violations().iter().skip(before).cloned().collect();
            for violation in new {
                self.tell(|| format!("VIOLATION {}: {}", violation.rule, violation.what));
            }
        }
        let log = self.faults.take_log();
        self.trace.update(log.as_bytes());
    }

    /// What the data plane has now; it matters only for ReplicaSets.
    fn beside(&self, entry: &Entry) -> Beside {
        let is_calm = self.faults.fired().is_empty();
        if entry.resource.plural != "replicasets" {
            return Beside { is_calm, ..Beside::default() };
        }
        let history = self.world.in_force();
        let last = history.iter().rev().find(|one| one.route.name == NAME);
        let Some(last) = last else { return Beside { is_calm, ..Beside::default() } };
        let total: u64 = last.backends.iter().map(|backend| backend.weight).sum();
        #[expect(clippy::cast_precision_loss, reason = "weights are at most 100")]
        let share = |weight: u64| 100.0 * weight as f64 / total.max(1) as f64;
        let shares = last.backends.iter();
        let in_force = shares.map(|one| (one.service.1.clone(), share(one.weight))).collect();
        Beside { in_force, is_calm }
    }

    fn trace(&mut self, entry: &Entry) {
        let head = format!(
            "{} {} {:?} {} {} {} {}\n",
            entry.version,
            entry.at.timestamp_millis(),
            entry.change,
            entry.resource.plural,
            entry.namespace(),
            entry.name(),
            entry.writer.user,
        );
        self.trace.update(head.as_bytes());
        self.trace.update(entry.object.to_string().as_bytes());
        let is_shown = matches!(
            entry.resource.plural.as_str(),
            "rollouts" | "httproutes" | "services" | "replicasets" | "analysisruns"
        );
        if is_shown && self.timeline.is_some() {
            let line = crate::explain::line(entry);
            self.tell(|| line);
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        let fired = self.faults.fired().len();
        let at = self.began.elapsed();
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!("{:>9.3}s [{fired:>2} faults] {}", at.as_secs_f64(), line()));
        }
    }

    fn finish(mut self, panics: &Panics, quiet_from: crate::oracle::Time) -> Report {
        let (most, is_too_many) = self.faults.rate();
        if is_too_many {
            let what = format!("{most} requests in one second");
            self.oracle.violate("S29", 0, self.world.now(), what);
        }
        let messages = match (GitUrl::parse(URL), BranchName::parse(BRANCH)) {
            (Ok(url), Ok(branch)) => self.world.git().log(&url, &branch),
            _ => Vec::new(),
        };
        let refused = self.world.cluster().access_log().refused.clone();
        let ending = Ending {
            at: self.world.now(),
            quiet_from,
            lost: repository::lost(&self.world, &self.faults.fired()),
            head: repository::head(&self.world),
            messages,
            refused: refused.iter().map(|(who, what)| format!("{who}: {what:?}")).collect(),
            panics: panics.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            clock_reads: shim::clock_reads(),
        };
        let end = self.oracle.judge_end(self.case, &ending);
        let fired = self.faults.fired();
        let mut reached: BTreeSet<String> =
            self.oracle.reached.iter().map(|state| (*state).to_owned()).collect();
        reached.extend(fired.iter().map(|(_, what)| format!("fault: {}", kind(what))));
        let tally = self.world.tally("people");
        self.trace.update(format!("{tally:?} {end:?} {:?}", self.world.pushes()).as_bytes());
        let Counts { requests, writes: counted_writes, events } = self.faults.counts();
        Report {
            trace: sluice::revision::hex(&self.trace.finalize()),
            violations: self.oracle.violations().to_vec(),
            end,
            reached,
            rollouts: self.oracle.rollouts,
            faults: u64::try_from(fired.len()).unwrap_or(0),
            deaths: self.faults.deaths(),
            requests,
            writes: self.oracle.writes,
            busiest: (most, self.oracle.busiest),
            counted_writes,
            events,
            virtual_ms: (self.world.now() - WorldPlan::new(0).origin).num_milliseconds(),
            timeline: self.timeline.unwrap_or_default(),
        }
    }
}

/// What is due at a time.
enum Due<'a> {
    Step(&'a Act),
    Fault(When, &'a What),
}

/// The name of a kind of fault.
pub(crate) fn kind(what: &What) -> String {
    let value = serde_json::to_value(what).unwrap_or_default();
    match value {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(map) => {
            map.into_iter().next().map(|(name, _)| name).unwrap_or_default()
        }
        _ => String::new(),
    }
}
