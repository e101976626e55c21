//! What stands between the controller's processes and the API server, and carries out the faults of
//! a case at their moments. It decides nothing by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use sluice::sim::api::{
    Effect, Entry, EventFate, Failure, Identity, Interference, Reply, RequestFacts, RequestFate,
    WatchId,
};
use sluice::sim::world::{Order, ProcessOrder, Span, Timed, World};
use tokio::time::Instant;

use crate::case::{Fault, What, When};

/// Names of the processes of the controller.
pub(crate) const PROCESSES: [&str; 2] = ["controller-0", "controller-1"];

/// The interference of one run; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    world: OnceLock<Weak<World>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_armed: bool,
    at_request: BTreeMap<u64, What>,
    at_write: BTreeMap<u64, What>,
    at_event: BTreeMap<u64, What>,
    counts: Counts,
    /// Until when requests of a process are held.
    stalled: BTreeMap<String, Instant>,
    /// Until when a process that was told to stop stays so.
    stopped: BTreeMap<String, Instant>,
    /// Every request, for the trace.
    log: String,
    fired: Vec<(When, What)>,
    deaths: u64,
}

/// How much there was of everything since the beginning of the case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests.
    pub(crate) requests: u64,
    /// Writes, without those of Leases and Events.
    pub(crate) writes: u64,
    /// Events that were about to be sent.
    pub(crate) events: u64,
}

impl Faults {
    /// Nothing happens before [`Self::arm`].
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let mut state = State::default();
        for fault in faults {
            let what = fault.what.clone();
            // Two faults at one request: the first is as good as the second.
            match fault.when {
                When::Request(number) => state.at_request.insert(number, what),
                When::Write(number) => state.at_write.insert(number, what),
                When::Event(number) => state.at_event.insert(number, what),
                When::AtMs(_) => None,
            };
        }
        Self(Arc::new(Shared { world: OnceLock::new(), state: Mutex::new(state) }))
    }

    /// Tells where the processes are that may die.
    pub(crate) fn attach(&self, world: &Arc<World>) {
        // It is attached once.
        let _ = self.0.world.set(Arc::downgrade(world));
    }

    /// Counts from now on, and carries out what is due.
    pub(crate) fn arm(&self) {
        let mut state = self.state();
        state.is_armed = true;
        state.counts = Counts::default();
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.at_request.clear();
        state.at_write.clear();
        state.at_event.clear();
        state.stalled.clear();
    }

    /// Carries out a fault that is due by the clock.
    pub(crate) fn strike(&self, when: When, what: &What) {
        let Some(world) = self.world() else { return };
        self.note(when, what);
        match what {
            What::WatchesCut => {
                for (id, _) in world.cluster().watches(None) {
                    world.cluster().cut(id);
                }
            }
            What::Compaction => world.cluster().compact(world.cluster().version()),
            What::Stalled { process, lasts_ms } => {
                let until = Instant::now() + Duration::from_millis(*lasts_ms);
                self.state().stalled.insert(name(*process).to_owned(), until);
            }
            What::Killed { process, restart_ms } => {
                self.kill(name(*process), *restart_ms);
            }
            What::Stopped { process, restart_ms } => {
                world.stop(name(*process));
                let until = Instant::now() + Duration::from_millis(*restart_ms);
                let mut state = self.state();
                state.deaths += 1;
                state.stopped.insert(name(*process).to_owned(), until);
                drop(state);
                restart(&world, name(*process), *restart_ms);
            }
            What::Standing { patch, .. } => {
                // A patch that does not fit is one that a person wrote into a file.
                let _ = world.behave(patch.clone());
            }
            What::Clock { ahead_ms, .. } => {
                let _ = world.order(Order::ControllerClock { ahead_ms: *ahead_ms });
            }
            What::Happens(order) => {
                // What it is about may be gone.
                let _ = world.order(order.clone());
            }
            // The others belong to a request or an event.
            _ => {}
        }
    }

    /// How much there was.
    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Whether a process was told to stop, and its next start is still to come.
    pub(crate) fn is_stopped(&self, process: &str) -> bool {
        self.state().stopped.get(process).is_some_and(|until| Instant::now() < *until)
    }

    /// How many processes died.
    pub(crate) fn deaths(&self) -> u64 {
        self.state().deaths
    }

    /// What was carried out, in order.
    pub(crate) fn fired(&self) -> Vec<(When, What)> {
        self.state().fired.clone()
    }

    /// The requests since the last call, one a line.
    pub(crate) fn take_log(&self) -> String {
        std::mem::take(&mut self.state().log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn world(&self) -> Option<Arc<World>> {
        self.0.world.get()?.upgrade()
    }

    fn note(&self, when: When, what: &What) {
        self.state().fired.push((when, what.clone()));
    }

    fn kill(&self, process: &str, restart_ms: u64) {
        let Some(world) = self.world() else { return };
        world.kill(process);
        self.state().deaths += 1;
        restart(&world, process, restart_ms);
    }

    /// What a fault makes of a request of `identity`.
    fn fate(&self, what: &What, identity: &Identity, is_write: bool) -> RequestFate {
        let ms = Duration::from_millis;
        let ordinary = RequestFate::default();
        let lost = RequestFate { reply: Reply::Lost, ..RequestFate::default() };
        match what {
            What::DiesBefore { restart_ms } => {
                self.kill(&identity.pod, *restart_ms);
                RequestFate { effect: Effect::Dropped, ..lost }
            }
            What::DiesAfter { restart_ms } => {
                self.kill(&identity.pod, *restart_ms);
                RequestFate { is_on_the_wire: true, ..lost }
            }
            What::DiesInFlight { lands_ms, restart_ms } => {
                self.kill(&identity.pod, *restart_ms);
                RequestFate { before: ms(*lands_ms), is_on_the_wire: true, ..lost }
            }
            What::LandsLate { lands_ms } => {
                RequestFate { before: ms(*lands_ms), is_on_the_wire: true, ..lost }
            }
            What::Slow { before_ms, after_ms } => {
                RequestFate { before: ms(*before_ms), after: ms(*after_ms), ..ordinary }
            }
            What::RequestLost => RequestFate { effect: Effect::Dropped, ..lost },
            What::ReplyLost => lost,
            What::ReplyBroken => RequestFate { reply: Reply::Broken, ..ordinary },
            What::Refused(409) if !is_write => ordinary,
            What::Refused(code) => {
                RequestFate { effect: Effect::Refused(Box::new(failure(*code))), ..ordinary }
            }
            What::CarriedOutBut(code) => {
                RequestFate { effect: Effect::CarriedOutBut(Box::new(failure(*code))), ..ordinary }
            }
            _ => ordinary,
        }
    }
}

/// The name of a process.
pub(crate) fn name(process: usize) -> &'static str {
    PROCESSES.get(process).copied().unwrap_or(PROCESSES[0])
}

fn restart(world: &World, process: &str, after_ms: u64) {
    let order = Order::Controller { process: process.to_owned(), act: ProcessOrder::Start };
    world.plan(vec![Timed { after: Span::ms(after_ms.max(1)), order }]);
}

fn failure(code: u16) -> Failure {
    let (reason, message) = match code {
        409 => ("Conflict", "the object has been modified; please apply your changes again"),
        429 => ("TooManyRequests", "the server has received too many requests"),
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden: the role was edited"),
        422 => ("Invalid", "admission webhook denied the request"),
        504 => ("Timeout", "request did not complete within the allotted timeout"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        _ => ("InternalError", "an error on the server has prevented the request"),
    };
    Failure { code, reason, message: message.to_owned(), details: None }
}

impl Interference for Faults {
    fn request(&self, facts: &RequestFacts<'_>) -> RequestFate {
        let is_news = facts.path.contains("/events") || facts.path.contains("/leases");
        let is_write = facts.verb.is_write();
        let (when, what, held) = {
            let mut state = self.state();
            if !state.is_armed {
                return RequestFate::default();
            }
            state.counts.requests += 1;
            let (pod, verb) = (&facts.identity.pod, facts.verb.as_str());
            // A String takes everything.
            let request = state.counts.requests;
            let _ = writeln!(state.log, "{request} {pod} {verb} {}", facts.path);
            let mut found =
                state.at_request.remove(&request).map(|what| (When::Request(request), what));
            if is_write && !is_news {
                state.counts.writes += 1;
                let write = state.counts.writes;
                let of_write = state.at_write.remove(&write);
                found = found.or(of_write.map(|what| (When::Write(write), what)));
            }
            let now = Instant::now();
            let held = state.stalled.get(pod).map(|until| until.saturating_duration_since(now));
            match found {
                Some((when, what)) => (Some(when), Some(what), held),
                None => (None, None, held),
            }
        };
        let mut fate = match (when, what) {
            (Some(when), Some(what)) => {
                self.note(when, &what);
                self.fate(&what, facts.identity, is_write)
            }
            _ => RequestFate::default(),
        };
        if let Some(held) = held.filter(|held| !held.is_zero()) {
            fate.before = fate.before.max(held);
            fate.is_on_the_wire = true;
        }
        fate
    }

    fn event(&self, _watch: WatchId, _entry: &Entry) -> EventFate {
        let (when, what) = {
            let mut state = self.state();
            if !state.is_armed {
                return EventFate::Arrives;
            }
            state.counts.events += 1;
            let event = state.counts.events;
            let Some(what) = state.at_event.remove(&event) else { return EventFate::Arrives };
            (When::Event(event), what)
        };
        self.note(when, &what);
        match what {
            What::EventLate { by_ms } => EventFate::Late(Duration::from_millis(by_ms)),
            What::EventLost => EventFate::Lost,
            What::EventCut => EventFate::Cut,
            _ => EventFate::Arrives,
        }
    }
}
