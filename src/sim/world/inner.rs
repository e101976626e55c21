//! What the handles of a world share, and the task that moves it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use tokio::sync::Notify;

use super::agenda::Time;
use super::clock::ShiftedClock;
use super::git::GitServer;
use super::order::{Order, Timed, Unfit};
use super::process::Processes;
use super::room::Room;
use super::writes;
use crate::clock::Clock;
use crate::sim::api::Cluster;

/// The shared part of a world.
pub(crate) struct Inner {
    pub(crate) seed: u64,
    pub(crate) clock: Arc<dyn Clock>,
    /// The clock of the controller's processes.
    pub(crate) controller_clock: Arc<ShiftedClock>,
    pub(crate) cluster: Cluster,
    pub(crate) git: GitServer,
    /// Host name of Prometheus.
    pub(crate) prometheus_host: String,
    room: Mutex<Room>,
    pub(crate) processes: Mutex<Processes>,
    /// Orders that could not be carried out, with why.
    unfit: Mutex<Vec<(Time, Unfit)>>,
    /// Something was changed from outside.
    changed: Notify,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn new(
        seed: u64,
        clock: Arc<dyn Clock>,
        cluster: Cluster,
        git: GitServer,
        prometheus_host: String,
        room: Room,
    ) -> Self {
        Self {
            seed,
            controller_clock: Arc::new(ShiftedClock::new(clock.clone())),
            clock,
            cluster,
            git,
            prometheus_host,
            room: Mutex::new(room),
            processes: Mutex::default(),
            unfit: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders that could not be carried out.
    pub(crate) fn unfit(&self) -> Vec<(Time, Unfit)> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for so long in the time of the world.
    pub(crate) async fn wait(&self, delay: TimeDelta) {
        let delay = self.clock.real_wait(delay.to_std().unwrap_or_default());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Has the driver look at everything.
    pub(crate) fn nudge(&self) {
        self.changed.notify_one();
    }

    /// Notes orders for their times.
    pub(crate) fn plan(&self, orders: Vec<Timed>) {
        let now = self.clock.now();
        self.room().plan(orders, now);
        self.nudge();
    }

    /// Carries out an order now.
    pub(crate) fn carry_out(self: &Arc<Self>, order: Order) -> Result<(), Unfit> {
        let now = self.clock.now();
        let result = match order {
            Order::Behave(patch) => {
                let mut room = self.room();
                let changed = patch.applied_to(&room.behaviour);
                changed
                    .map(|behaviour| room.behave(behaviour, now))
                    .map_err(|error| Unfit(error.to_string()))
            }
            Order::Pod { namespace, labels, nth, fault } => {
                self.room().strike_pod(&namespace, &labels, nth, fault, now)
            }
            Order::LoseNode { name, lasts } => {
                self.room().lose_node(&name, lasts, now);
                Ok(())
            }
            Order::Users { crowd, users } => {
                let mut room = self.room();
                room.advance(now);
                room.traffic.set(&crowd, users);
                Ok(())
            }
            Order::Write { who, write } => writes::write(&self.cluster, &who, write),
            Order::Push(push) => writes::push(self.git.memory(), &push),
            Order::Controller { process, act } => Processes::order(self, &process, act),
            Order::ControllerClock { ahead_ms } => {
                self.controller_clock.shift(ahead_ms);
                Ok(())
            }
        };
        self.nudge();
        result
    }

    /// Moves the world for ever.
    pub(crate) async fn drive(self: Arc<Self>) {
        let mut changes = self.cluster.follow(self.cluster.version());
        loop {
            let now = self.clock.now();
            loop {
                // Not under the lock that an order takes.
                let order = self.room().due_order(now);
                let Some(Timed { order, .. }) = order else { break };
                if let Err(why) = self.carry_out(order) {
                    tracing::debug!(%why, "an order was not carried out");
                    self.unfit.lock().unwrap_or_else(PoisonError::into_inner).push((now, why));
                }
            }
            let next = self.room().step(now);
            let timer = async {
                match next {
                    Some(at) => self.wait((at - self.clock.now()).max(TimeDelta::zero())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = changes.next() => {}
                () = self.changed.notified() => {}
                () = timer => {}
            }
        }
    }
}
