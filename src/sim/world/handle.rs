//! A whole world: cluster, companions and processes of the controller.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::agent::{Agent, Application, documents};
use super::behaviour::{Behaviour, BehaviourPatch};
use super::gateway::CONTROLLER_NAME;
use super::gateway_api;
use super::git::GitServer;
use super::inner::Inner;
use super::order::{Order, ProcessOrder, Timed, Unfit};
use super::plane::{InForce, Share, Target};
use super::process::ProcessState;
use super::random::entropy;
use super::rbac;
use super::room::Room;
use super::traffic::{Tally, Users};
use crate::api::rbac::Role;
use crate::api::{ApiNames, Kind, crd};
use crate::clock::{Clock, TokioClock};
use crate::controller::settings::Settings;
use crate::git::backend::GitBackend;
use crate::git::memory::MemoryGit;
use crate::revision::Commit;
use crate::sim::api::{Cluster, Identity, Interference, KindName, Untouched, object};

/// How a world begins.
#[derive(Clone, Debug)]
pub struct WorldPlan {
    /// Everything that is random follows from it.
    pub seed: u64,
    /// The time at which the world begins.
    pub origin: DateTime<Utc>,
    /// How many times as fast as tokio's clock the world's runs; 1 for tests.
    pub speed: u32,
    /// The behaviour at the beginning.
    pub behaviour: Behaviour,
    /// What stands between the controller and the API server.
    pub interference: Arc<dyn Interference>,
    /// Names of the API group that is installed.
    pub names: ApiNames,
    /// Host name of Prometheus; `*` for any.
    pub prometheus_host: String,
    /// The roles of what is switched off at first that are installed: `JobMetrics`, `GitOpsRefresh`.
    pub roles: Vec<Role>,
}

impl WorldPlan {
    /// A healthy world.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            // 2026-01-01: above the terms that a Lease of that year begins with.
            origin: DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default(),
            speed: 1,
            behaviour: Behaviour::default(),
            interference: Arc::new(Untouched),
            names: ApiNames::SLUICE,
            prometheus_host: "prometheus.monitoring".to_owned(),
            roles: Vec::new(),
        }
    }
}

const NAMESPACES: KindName = KindName::of("", "namespaces");

/// A world. Dropping it ends everything in it.
#[derive(Debug)]
pub struct World {
    inner: Arc<Inner>,
    driver: AbortHandle,
}

impl Drop for World {
    fn drop(&mut self) {
        self.driver.abort();
        self.inner.processes().kill_all();
    }
}

impl World {
    /// Makes the cluster with everything that is installed in it, and begins to move. No controller
    /// runs yet. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`Unfit`] when the cluster refuses a part of the installation.
    pub fn begin(plan: WorldPlan) -> Result<Self, Unfit> {
        let clock: Arc<dyn Clock> =
            Arc::new(TokioClock::starting_at(plan.origin).with_speed(plan.speed));
        let api_entropy = Arc::new(entropy(plan.seed, "api server"));
        let cluster =
            Cluster::with_interference(clock.clone(), api_entropy, plan.interference.clone());
        install(&cluster, &plan)?;
        let git = GitServer::new(clock.clone(), plan.behaviour.git.clone(), plan.seed);
        let room = Room::new(&cluster, &git, plan.behaviour, plan.seed, clock.now());
        let inner = Inner::new(plan.seed, clock, cluster, git, plan.prometheus_host, room);
        let inner = Arc::new(inner);
        let driver = tokio::spawn(inner.clone().drive()).abort_handle();
        Ok(Self { inner, driver })
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// The repositories of the Git server, without its network.
    pub fn git(&self) -> &MemoryGit {
        self.inner.git.memory()
    }

    /// The present time of the world.
    pub fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// Lets the world go on for so long.
    pub async fn wait(&self, duration: Duration) {
        tokio::time::sleep(self.inner.clock.real_wait(duration)).await;
    }

    /// Lets the world go on until `is_so` holds after some change of the cluster; whether it did
    /// within `limit`.
    pub async fn until(&self, limit: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let mut changes = self.inner.cluster.follow(self.inner.cluster.version());
        let wait = async {
            while !is_so(self) {
                changes.next().await;
            }
        };
        tokio::time::timeout(self.inner.clock.real_wait(limit), wait).await.is_ok()
    }

    /// A namespace in which the controller may read Secrets.
    ///
    /// # Errors
    /// The refusal of the cluster.
    pub fn add_namespace(&self, name: &str) -> Result<(), Unfit> {
        let admin = self.inner.cluster.actor(Identity::admin("platform-team"));
        let is_there = self.inner.cluster.get(&NAMESPACES, "", name).is_some();
        let namespace = (!is_there).then(|| rbac::namespace(name));
        for object in namespace.into_iter().chain([rbac::secret_access(name)]) {
            admin.create(object).map_err(|failure| Unfit(failure.message))?;
        }
        Ok(())
    }

    /// Creates the objects of a YAML stream, as `who`; those without a namespace in `namespace`.
    ///
    /// # Errors
    /// [`Unfit`] for what is no YAML, and the refusals of the cluster.
    pub fn create(&self, who: &str, namespace: &str, yaml: &str) -> Result<(), Unfit> {
        let actor = self.inner.cluster.actor(Identity::admin(who));
        for mut object in documents(yaml.as_bytes()).map_err(Unfit)? {
            let resource = super::agent::resource_of(&self.inner.cluster, &object);
            if resource.is_some_and(|resource| resource.is_namespaced)
                && object::namespace(&object).is_empty()
            {
                object::set_meta(&mut object, "namespace", namespace);
            }
            let name = object::name(&object).to_owned();
            actor
                .create(object)
                .map_err(|failure| Unfit(format!("{name}: {}", failure.message)))?;
        }
        Ok(())
    }

    /// Has an agent keep an application in step with its branch from now on.
    pub fn add_agent(&self, application: Application) {
        let agent =
            Agent::new(application, &self.inner.cluster, self.inner.seed, self.inner.clock.now());
        self.inner.room().agents.push(agent);
        self.inner.nudge();
    }

    /// The commit that each agent applied last, with what went wrong at its last try.
    pub fn agents(&self) -> Vec<(Option<Commit>, Vec<String>)> {
        let room = self.inner.room();
        let agents = room.agents.iter();
        agents.map(|agent| (agent.applied().cloned(), agent.trouble().to_vec())).collect()
    }

    /// Carries out an order now.
    ///
    /// # Errors
    /// [`Unfit`] when it cannot be.
    pub fn order(&self, order: Order) -> Result<(), Unfit> {
        self.inner.carry_out(order)
    }

    /// Carries out orders at their times, counted from now.
    pub fn plan(&self, orders: Vec<Timed>) {
        self.inner.plan(orders);
    }

    /// Whether orders are still to come.
    pub fn has_orders(&self) -> bool {
        self.inner.room().has_orders()
    }

    /// Planned orders that could not be carried out, with their times.
    pub fn unfit(&self) -> Vec<(DateTime<Utc>, Unfit)> {
        self.inner.unfit()
    }

    /// Has the companions behave otherwise from now on.
    ///
    /// # Errors
    /// [`Unfit`] when `patch` is none of a behaviour.
    pub fn behave(&self, patch: Value) -> Result<(), Unfit> {
        let patch = BehaviourPatch::new(patch).map_err(|error| Unfit(error.to_string()))?;
        self.order(Order::Behave(patch))
    }

    /// The present behaviour.
    pub fn behaviour(&self) -> Behaviour {
        self.inner.room().behaviour.clone()
    }

    /// Begins, changes or ends a crowd of users.
    pub fn set_users(&self, crowd: &str, users: Option<Users>) {
        let order = Order::Users { crowd: crowd.to_owned(), users };
        // Users can always be set.
        let _ = self.order(order);
    }

    /// How the requests of a crowd ended until now.
    pub fn tally(&self, crowd: &str) -> Tally {
        let mut room = self.inner.room();
        room.advance(self.inner.clock.now());
        room.traffic.total(crowd)
    }

    /// How the requests of a crowd ended in a window.
    pub fn tally_between(&self, crowd: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Tally {
        let mut room = self.inner.room();
        room.advance(self.inner.clock.now());
        room.traffic.between(crowd, from, to)
    }

    /// Where requests to a target go now.
    pub fn shares(&self, target: &Target) -> Vec<Share> {
        self.inner.room().plane.branches(target)
    }

    /// Everything that took force in the data plane, in order.
    pub fn in_force(&self) -> Vec<InForce> {
        self.inner.room().plane.history().to_vec()
    }

    /// The value of a PromQL query now, as the HTTP API writes it, without any fault.
    pub fn query(&self, query: &str) -> Value {
        let now = self.inner.clock.now();
        let mut room = self.inner.room();
        let behaviour = super::behaviour::PrometheusBehaviour {
            clock_ahead: room.behaviour.prometheus.clock_ahead,
            ..super::behaviour::PrometheusBehaviour::default()
        };
        let answer = room.prometheus.answer(query, None, &behaviour, now);
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Pushes of the controller that landed, with their times.
    pub fn pushes(&self) -> Vec<(DateTime<Utc>, Commit)> {
        self.inner.git.pushes()
    }

    /// Settings of processes of the controller that start from now on; without them the defaults.
    pub fn configure(&self, settings: Settings) {
        self.inner.processes().configure(settings);
    }

    /// Lets processes that start from now on reach the APIs of forges through `forges`; without it they
    /// open no pull requests.
    pub fn reach_forges_through(&self, forges: Arc<dyn crate::git::backend::Carrier>) {
        self.inner.processes().reach_forges_through(forges);
    }

    /// Git as processes of the controller reach it that start from now on, in the place of the
    /// world's own server. Whoever does this keeps [`World::git`], which the agents read, in step.
    pub fn reach_git_through(&self, git: Arc<dyn GitBackend>) {
        self.inner.processes().reach_git_through(git);
    }

    /// The settings of a controller that is started without arguments.
    ///
    /// # Errors
    /// [`Unfit`] when the environment holds a wrong value for one.
    pub fn default_settings() -> Result<Settings, Unfit> {
        super::process::default_settings()
    }

    /// Starts a process of the controller; one of this name that runs is killed.
    ///
    /// # Errors
    /// [`Unfit`] when its settings are wrong.
    pub fn start(&self, process: &str) -> Result<(), Unfit> {
        self.order(Order::Controller { process: process.to_owned(), act: ProcessOrder::Start })
    }

    /// Ends a process at once, whatever it was doing.
    pub fn kill(&self, process: &str) {
        let order = Order::Controller { process: process.to_owned(), act: ProcessOrder::Kill };
        // Whoever does not run is dead already.
        let _ = self.order(order);
    }

    /// Asks a process for an orderly end.
    pub fn stop(&self, process: &str) {
        let order = Order::Controller { process: process.to_owned(), act: ProcessOrder::Stop };
        let _ = self.order(order);
    }

    /// How a process is.
    pub fn process(&self, name: &str) -> ProcessState {
        self.inner.processes().state(name)
    }

    /// Own metrics of a process, in the text format of Prometheus.
    pub fn process_metrics(&self, name: &str) -> Option<String> {
        let now = self.inner.clock.now();
        self.inner.processes().metrics(name, now)
    }
}

/// What is installed in every world: our CRDs and roles, the Gateway API and one Gateway.
fn install(cluster: &Cluster, plan: &WorldPlan) -> Result<(), Unfit> {
    let admin = cluster.actor(Identity::admin("platform-team"));
    let mut objects = Vec::new();
    for kind in Kind::ALL {
        let definition = crd::definition(plan.names, kind);
        objects.push(definition.map_err(|error| Unfit(error.to_string()))?);
    }
    objects.extend(gateway_api::definitions());
    objects.extend(rbac::installation(plan.names, &plan.roles));
    objects.push(rbac::namespace("gateways"));
    objects.push(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "simulated"}, "spec": {"controllerName": CONTROLLER_NAME},
    }));
    objects.push(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "main", "namespace": "gateways"},
        "spec": {
            "gatewayClassName": "simulated",
            "listeners": [{
                "name": "http", "protocol": "HTTP", "port": 80,
                "allowedRoutes": {"namespaces": {"from": "All"}},
            }],
        },
    }));
    for object in objects {
        let name = object::name(&object).to_owned();
        admin.create(object).map_err(|failure| Unfit(format!("{name}: {}", failure.message)))?;
    }
    Ok(())
}
