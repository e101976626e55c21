//! The story: a first version, a good release, a bad one, and the way back.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{Either, select};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::checks::Checks;
use super::mirror::Mirror;
use super::news::{News, clock, weights_since};
use super::panel::{panel, rollout, tag};
use super::screen::Screen;
use super::serve;
use super::shop::{self, APP, BAD, FIRST, GOOD, NAMESPACE, Place, WEIGHTS};
use super::{DemoError, Options};
use crate::api::names::LEASE_NAME;
use crate::cli::text::{Line, Span, Tone};
use crate::git::binary::{BinaryConfig, BinaryGit, LocalCommit, LocalRepository};
use crate::git::message::Author;
use crate::git::source::AllowedHosts;
use crate::revision::Commit;
use crate::sim::world::{Application, Tally, Target, TargetKind, Users, World, WorldPlan};

/// Time between two looks at the world, on the wall.
const LOOK: Duration = Duration::from_millis(100);
/// Namespace of the controller.
const SYSTEM: &str = "sluice-system";
/// Name of the users.
const PEOPLE: &str = "people";
/// Requests per second, all of them together.
const PER_SECOND: f64 = 100.0;
/// About as long as the story lasts in the world: so that afterwards its clock is near the wall's.
const STORY: Duration = Duration::from_secs(150);

/// Shows the demonstration; whether all that it claims was seen. An interruption ends it; before
/// its end not all was seen.
///
/// # Errors
/// [`DemoError`] when it cannot be shown.
pub async fn run(options: &Options, screen: &mut Screen<'_>) -> Result<bool, DemoError> {
    let stage = match select(pin!(tell(options, screen)), pin!(interruption())).await {
        Either::Left((stage, _)) => stage?,
        Either::Right((signal, _)) => return signal.map(|()| false),
    };
    let is_all_seen = stage.checks.all_met();
    if options.serve {
        match select(pin!(stage.serve(options.port)), pin!(interruption())).await {
            Either::Left((result, _)) => result?,
            Either::Right((signal, _)) => signal?,
        }
    }
    Ok(is_all_seen)
}

/// Ends when somebody wants the program to.
async fn interruption() -> Result<(), DemoError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signals)?;
    select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
    Ok(())
}

async fn tell<'a, 'b>(
    options: &Options,
    screen: &'a mut Screen<'b>,
) -> Result<Stage<'a, 'b>, DemoError> {
    let began = tokio::time::Instant::now();
    let mut stage = Stage::begin(options, screen).await?;
    let is_up = stage.first_version().await?;
    stage.checks.add(is_up, format!("{APP} {FIRST} was applied from Git and became Healthy"));
    if is_up && stage.good_release().await? {
        stage.bad_release().await?;
    } else {
        stage.checks.add(false, "the bad release, since the good one did not arrive");
    }
    stage.screen.panel(Vec::new())?;
    stage.checks.show(stage.screen)?;
    let seconds = (stage.world.now() - stage.origin).num_seconds();
    let wall = began.elapsed().as_secs_f64();
    let text = format!("  {seconds} seconds of the cluster in {wall:.1} s");
    stage.screen.line(&Line(vec![Span::toned(Tone::Dim, text)]))?;
    Ok(stage)
}

/// A world, a repository, and what was seen of them.
struct Stage<'a, 'b> {
    screen: &'a mut Screen<'b>,
    world: World,
    place: Place,
    repository: LocalRepository,
    author: Author,
    mirror: Mirror,
    news: News,
    checks: Checks,
    origin: DateTime<Utc>,
    speed: u32,
    /// The commits that were pushed here.
    own: Vec<Commit>,
    /// Goes when the story is over.
    folder: TempDir,
}

impl<'a, 'b> Stage<'a, 'b> {
    async fn begin(options: &Options, screen: &'a mut Screen<'b>) -> Result<Self, DemoError> {
        let folder = tempfile::Builder::new().prefix("sluice-demo-").tempdir()?;
        let place = Place::new()?;
        let repository = LocalRepository::create(&folder.path().join("shop.git"), &place.branch)?;
        let mut plan = WorldPlan::new(options.seed);
        plan.origin = Utc::now() - STORY;
        plan.speed = options.speed;
        plan.behaviour.prometheus.scrape_interval = crate::sim::world::Span::secs(1);
        let bad = crate::sim::world::VersionBehaviour {
            error_rate: 0.3,
            ..crate::sim::world::VersionBehaviour::default()
        };
        plan.behaviour.versions = BTreeMap::from([(format!(":{BAD}"), bad)]);
        let origin = plan.origin;
        let world = World::begin(plan)?;
        world.add_namespace(NAMESPACE)?;
        world.create("platform-team", NAMESPACE, shop::PLATFORM)?;
        // The controller's own Git room; only the address leads elsewhere.
        let git = BinaryConfig::new(folder.path(), AllowedHosts::parse(["*"])?)
            .with_local(&place.url, &repository);
        world.reach_git_through(Arc::new(BinaryGit::detect(git).await?));
        // As a predecessor that came to an orderly end leaves it. Without one the first controller of
        // a cluster waits for a whole term of the Lease.
        let free = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": LEASE_NAME, "namespace": SYSTEM},
            "spec": {"leaseDurationSeconds": 1, "leaseTransitions": 1},
        });
        world.create("platform-team", SYSTEM, &free.to_string())?;
        let news = News::of(&world);
        Ok(Self {
            screen,
            world,
            place,
            repository,
            author: Author::new("Ada", "ada@example.com"),
            mirror: Mirror::default(),
            news,
            checks: Checks::default(),
            origin,
            speed: options.speed,
            own: Vec::new(),
            folder,
        })
    }

    /// Shows what has happened.
    async fn look(&mut self) -> Result<(), DemoError> {
        let commit = self.mirror.step(&self.repository, &self.place, &self.world).await?;
        if let Some(commit) = commit
            && !self.own.contains(&commit)
        {
            let log = self.repository.log(&self.place.branch, 1).await?;
            let words: Vec<&str> = log.split_whitespace().collect();
            self.say("git", Tone::Busy, &format!("main is now {}", words.join(" ")))?;
        }
        for told in self.news.next(&self.world) {
            self.screen.told(&clock(told.at, self.origin), told.who, told.tone, &told.what)?;
        }
        let panel = panel(&self.world, self.speed, self.origin);
        Ok(self.screen.panel(panel)?)
    }

    fn say(&mut self, who: &str, tone: Tone, what: &str) -> Result<(), DemoError> {
        let at = clock(self.world.now(), self.origin);
        Ok(self.screen.told(&at, who, tone, what)?)
    }

    /// Shows the world until something is so; whether it was within `seconds` of the world.
    async fn until(
        &mut self,
        seconds: u64,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<bool, DemoError> {
        let limit = self.world.now() + Duration::from_secs(seconds);
        loop {
            self.look().await?;
            if is_so(self) {
                return Ok(true);
            }
            if self.world.now() >= limit {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Shows the world for so many seconds of it.
    async fn pass(&mut self, seconds: u64) -> Result<(), DemoError> {
        self.until(seconds, |_| false).await.map(drop)
    }

    async fn push(
        &mut self,
        files: BTreeMap<crate::git::source::RepoPath, Vec<u8>>,
        message: &str,
    ) -> Result<Commit, DemoError> {
        let files = files.into_iter().map(|(path, content)| (path, Some(content))).collect();
        let new = LocalCommit {
            branch: &self.place.branch,
            files: &files,
            message,
            author: &self.author,
            at: self.world.now(),
        };
        let commit = self.repository.commit(new).await?;
        self.own.push(commit.clone());
        self.say("ada", Tone::Busy, &format!("pushes {} {message:?}", commit.short()))?;
        Ok(commit)
    }

    /// Whether the Rollout runs a version and the controller is content with it.
    fn is_healthy_on(&self, version: &str) -> bool {
        let rollout = rollout(&self.world);
        let observed = rollout.pointer("/status/observedGeneration").and_then(Value::as_str);
        let generation = rollout.pointer("/metadata/generation").map(Value::to_string);
        self.declares(version)
            && observed == generation.as_deref()
            && rollout.pointer("/status/phase") == Some(&json!("Healthy"))
    }

    /// Whether the Rollout in the cluster asks for a version.
    fn declares(&self, version: &str) -> bool {
        rollout(&self.world).pointer("/spec/template").map(tag) == Some(version)
    }

    async fn first_version(&mut self) -> Result<bool, DemoError> {
        let text = format!(
            "A cluster in memory, {} times as fast as the wall. The controller, git and the \
             repository {} are real.",
            self.speed,
            self.repository.path().display()
        );
        self.screen.line(&Line::text(text))?;
        self.screen.headline(&format!("The first version, {FIRST}"))?;
        self.push(shop::files()?, &format!("Begin with {FIRST}")).await?;
        self.look().await?;
        self.world.add_agent(Application {
            url: self.place.url.clone(),
            branch: self.place.branch.clone(),
            path: self.place.folder.clone(),
            namespace: NAMESPACE.to_owned(),
        });
        self.world.start("sluice")?;
        let is_up = self.until(120, |stage| stage.is_healthy_on(FIRST)).await?;
        // Endpoints and routes follow a moment later.
        self.pass(4).await?;
        let target = Target::new(TargetKind::HttpRoute, NAMESPACE, APP);
        self.world.set_users(PEOPLE, Some(Users { target, per_second: PER_SECOND }));
        self.say("users", Tone::Plain, &format!("{PER_SECOND} requests a second from now on"))?;
        self.pass(8).await?;
        Ok(is_up)
    }

    /// Ends with whether the good version runs.
    async fn good_release(&mut self) -> Result<bool, DemoError> {
        self.screen.headline(&format!("A good release, {GOOD}"))?;
        let (from, before) = (self.world.now(), self.world.tally(PEOPLE));
        self.push([shop::rollout_file(GOOD)?].into(), &format!("Release {GOOD}")).await?;
        let is_there = self.until(600, |stage| stage.is_healthy_on(GOOD)).await?;
        self.pass(12).await?;
        let weights = weights_since(&self.world, from);
        let wanted: Vec<u64> = WEIGHTS.into_iter().chain([100, 0]).collect();
        let claim = format!("{GOOD} got {} and then all of the requests", shown(&WEIGHTS));
        self.checks
            .add(weights == wanted, format!("{claim} (canary weights: {})", shown(&weights)));
        let now = self.world.now();
        let lately = self.world.tally_between(PEOPLE, now - Duration::from_secs(5), now);
        let is_alone = lately.of(GOOD) > 0 && lately.of(FIRST) == 0;
        self.checks
            .add(is_there && is_alone, format!("{APP} is Healthy, and {GOOD} answers everybody"));
        let during = difference(&self.world.tally(PEOPLE), &before);
        let is_quiet = during.lost == 0 && during.errors == 0;
        let claim = format!("none of {} requests was lost or failed meanwhile", during.sent);
        self.checks
            .add(is_quiet, format!("{claim} ({} lost, {} failed)", during.lost, during.errors));
        Ok(is_there)
    }

    async fn bad_release(&mut self) -> Result<(), DemoError> {
        self.screen.headline(&format!("A bad release, {BAD}: it fails 30 % of its requests"))?;
        let (from, before) = (self.world.now(), self.world.tally(PEOPLE));
        let good = self.own.last().cloned();
        let pushed =
            self.push([shop::rollout_file(BAD)?].into(), &format!("Release {BAD}")).await?;
        let is_tried = self.until(60, |stage| stage.declares(BAD)).await?;
        let is_aborted =
            |stage: &Self| rollout(&stage.world).pointer("/status/abort") == Some(&true.into());
        let is_left = is_tried && self.until(180, is_aborted).await?;
        let is_back = is_left && self.until(180, |stage| stage.is_healthy_on(GOOD)).await?;
        self.pass(8).await?;
        let weights = weights_since(&self.world, from);
        let claim = format!("{BAD} failed its analysis at 5 %, and all requests went back");
        self.checks.add(
            is_left && weights == [5, 0],
            format!("{claim} (canary weights: {})", shown(&weights)),
        );
        let during = difference(&self.world.tally(PEOPLE), &before);
        let claim = format!(
            "{} of {} requests failed, and none was lost ({} lost)",
            during.errors, during.sent, during.lost
        );
        let are_few = during.errors > 0 && during.errors * 50 < during.sent;
        self.checks.add(during.lost == 0 && are_few, claim);
        self.revert(&pushed, good.as_ref(), is_back).await
    }

    /// Shows the revert in Git.
    async fn revert(
        &mut self,
        pushed: &Commit,
        good: Option<&Commit>,
        is_back: bool,
    ) -> Result<(), DemoError> {
        let tip = self.repository.tip(&self.place.branch).await?;
        let log = self.repository.log(&self.place.branch, 9).await?;
        self.screen.panel(Vec::new())?;
        self.screen.headline("git log")?;
        self.screen.block(&log)?;
        let mut is_one = false;
        let mut is_same = false;
        if let (Some(tip), Some(good)) = (&tip, good)
            && tip != pushed
        {
            self.screen.headline(&format!("git show {}", tip.short()))?;
            let shown = self.repository.show(tip).await?;
            self.screen.block(&shown)?;
            is_one = log.lines().count() == self.own.len() + 1;
            is_same = self.repository.files(tip).await? == self.repository.files(good).await?;
        }
        let claim = format!(
            "one commit of Sluice's on main declares {GOOD} again and changes nothing else"
        );
        self.checks.add(is_one && is_same, claim);
        let applied = self.world.agents().into_iter().find_map(|(applied, _)| applied);
        let claim = format!("the agent applied it, and {APP} is Healthy on {GOOD}");
        self.checks.add(is_back && applied.is_some() && applied == tip, claim);
        Ok(())
    }

    async fn serve(mut self, port: u16) -> Result<(), DemoError> {
        let server = serve::Serving::begin(&self.world, port, self.folder.path()).await?;
        self.screen.headline("Now it is yours")?;
        for line in server.hints(self.repository.path()) {
            self.screen.line(&Line::text(format!("  {line}")))?;
        }
        self.screen.line(&Line::default())?;
        loop {
            // People push, too.
            self.look().await?;
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn shown(weights: &[u64]) -> String {
    weights.iter().map(|weight| format!("{weight} %")).collect::<Vec<_>>().join(", ")
}

fn difference(after: &Tally, before: &Tally) -> Tally {
    Tally {
        sent: after.sent - before.sent,
        lost: after.lost - before.lost,
        errors: after.errors - before.errors,
        by_version: BTreeMap::new(),
    }
}
