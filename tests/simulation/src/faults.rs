//! What stands between the controller's processes and the API server, and carries out the faults of
//! a case at their moments. It decides nothing by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde_json::json;
use sluice::sim::api::{
    Effect, Entry, EventFate, Failure, Identity, Interference, Reply, RequestFacts, RequestFate,
    WatchId,
};
use sluice::sim::world::{
    BehaviourPatch, Named, Order, Patch, ProcessOrder, Span, Timed, World, Write,
};
use tokio::time::Instant;

use crate::case::{Fault, What, When};
use crate::generate::healthy_part;

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
    /// Who the processes are, as far as they have asked for something.
    identities: BTreeMap<String, Identity>,
    /// Until when what a process sends gets lost.
    cut_off: BTreeMap<String, Instant>,
    /// ReplicaSets, by their first writes.
    sets: Vec<Named>,
    /// Until when requests are refused: part of the path, whether only writes are meant, code.
    denied: Vec<(Instant, String, bool, u16)>,
    /// The object whose next event gets lost on the way to the controller: plural and name.
    unseen: Option<(String, String)>,
    rate: Rate,
    /// Until when a process that was told to stop stays so.
    stopped: BTreeMap<String, Instant>,
    /// Every request, for the trace.
    log: String,
    fired: Vec<(When, What)>,
    deaths: u64,
}

/// Requests of the present second.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    requests: u64,
    /// The most that there were in one second.
    most: u64,
}

/// No correct process sends so many requests in one second.
const MOST_PER_SECOND: u64 = 300;

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
        state.cut_off.clear();
        state.denied.clear();
        state.unseen = None;
    }

    /// Carries out a fault that is about no request and no event.
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
            What::Partitioned { process, lasts_ms } => {
                let until = Instant::now() + Duration::from_millis(*lasts_ms);
                self.state().cut_off.insert(name(*process).to_owned(), until);
                let identity = self.state().identities.get(name(*process)).cloned();
                for (id, _) in
                    identity.map(|one| world.cluster().watches(Some(&one))).unwrap_or_default()
                {
                    world.cluster().cut(id);
                }
            }
            What::Denied { path, is_write_only, code, lasts_ms } => {
                let until = Instant::now() + Duration::from_millis(*lasts_ms);
                self.state().denied.push((until, path.clone(), *is_write_only, *code));
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
            What::Standing { patch, lasts_ms } => {
                // A patch that does not fit is one that a person wrote into a file.
                let order = |patch| BehaviourPatch::new(patch).ok().map(Order::Behave);
                let end = order(healthy_part(patch)).map(|end| (end, *lasts_ms));
                if let Some(begin) = order(patch.clone()) {
                    soon(&world, begin, end);
                }
            }
            What::Clock { ahead_ms, lasts_ms } => {
                let ahead = |ahead_ms| Order::ControllerClock { ahead_ms };
                soon(&world, ahead(*ahead_ms), Some((ahead(0), *lasts_ms)));
            }
            // What it is about may be gone.
            What::Happens(order) => soon(&world, order.clone(), None),
            What::Meddled { nth, replicas } => {
                let set = self.state().set(*nth);
                if let Some(set) = set {
                    meddle(&world, set, *replicas);
                }
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

    /// The most requests in one second, and whether no correct process sends so many.
    pub(crate) fn rate(&self) -> (u64, bool) {
        let most = self.state().rate.most;
        (most, most > MOST_PER_SECOND)
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

/// Something happens now, and something else after a while. It is never carried out at once, because
/// a request may be under way.
fn soon(world: &World, order: Order, end: Option<(Order, u64)>) {
    let end = end.map(|(order, after)| Timed { after: Span::ms(after), order });
    let now = Timed { after: Span::ms(0), order };
    world.plan(std::iter::once(now).chain(end).collect());
}

/// Somebody scales or deletes a ReplicaSet.
fn meddle(world: &World, set: Named, replicas: Option<u32>) {
    let write = match replicas {
        Some(replicas) => Write::Merge(Patch {
            object: set,
            subresource: String::new(),
            patch: json!({"spec": {"replicas": replicas}}),
        }),
        None => Write::Delete(set),
    };
    soon(world, Order::Write { who: "kubectl".to_owned(), write }, None);
}

/// The object of a path; none of a collection.
fn object_of(path: &str) -> Option<Named> {
    let mut parts = path.trim_matches('/').split('/');
    let group = match parts.next()? {
        "api" => "",
        _ => parts.next()?,
    };
    // The version.
    parts.next()?;
    let parts: Vec<&str> = parts.collect();
    let ["namespaces", namespace, plural, name, ..] = parts.as_slice() else { return None };
    Some(Named {
        group: group.to_owned(),
        plural: (*plural).to_owned(),
        namespace: (*namespace).to_owned(),
        name: (*name).to_owned(),
    })
}

/// Somebody else writes to the object of `path`, in a way that means no harm.
fn overtake(world: &World, path: &str) -> Option<(String, String)> {
    let object = object_of(path)?;
    let overtaken = (object.plural.clone(), object.name.clone());
    let note = json!({"metadata": {"annotations": {"example.test/note": world.now().to_string()}}});
    let write = Write::Merge(Patch { object, subresource: String::new(), patch: note });
    soon(world, Order::Write { who: "kubectl".to_owned(), write }, None);
    Some(overtaken)
}

fn restart(world: &World, process: &str, after_ms: u64) {
    let order = Order::Controller { process: process.to_owned(), act: ProcessOrder::Start };
    world.plan(vec![Timed { after: Span::ms(after_ms.max(1)), order }]);
}

fn failure(code: u16) -> Failure {
    let (reason, message) = match code {
        409 => ("Conflict", "the object has been modified; please apply your changes again"),
        429 => ("TooManyRequests", "the server has received too many requests"),
        400 => ("BadRequest", "the server rejected our request for an unknown reason"),
        401 => ("Unauthorized", "Unauthorized"),
        410 => ("Expired", "too old resource version"),
        403 => ("Forbidden", "forbidden: the role was edited"),
        422 => ("Invalid", "admission webhook denied the request"),
        504 => ("Timeout", "request did not complete within the allotted timeout"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        _ => ("InternalError", "an error on the server has prevented the request"),
    };
    Failure { code, reason, message: message.to_owned(), details: None }
}

/// What becomes of every request for a while.
enum Standing {
    Held(Duration),
    CutOff,
    Denied(u16),
}

impl State {
    /// Takes note of the ReplicaSet that a write is about.
    fn note_set(&mut self, path: &str) {
        let set = object_of(path).filter(|object| object.plural == "replicasets");
        self.sets.extend(set.filter(|set| self.sets.iter().all(|known| known.name != set.name)));
    }

    fn set(&self, nth: usize) -> Option<Named> {
        self.sets.get(nth.checked_rem(self.sets.len())?).cloned()
    }

    fn standing(&mut self, pod: &str, path: &str, is_write: bool) -> Option<Standing> {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        if self.rate.since.is_none_or(|since| now - since >= second) {
            self.rate.requests = 0;
            self.rate.since = Some(now);
        }
        self.rate.requests += 1;
        self.rate.most = self.rate.most.max(self.rate.requests);
        let left = |until: &Instant| until.saturating_duration_since(now);
        let held = self.stalled.get(pod).map(left).unwrap_or_default();
        // What goes in circles would never let the time pass.
        let held = if self.rate.requests > MOST_PER_SECOND { held.max(second) } else { held };
        if !held.is_zero() {
            return Some(Standing::Held(held));
        }
        if self.cut_off.get(pod).is_some_and(|until| now < *until) {
            return Some(Standing::CutOff);
        }
        let is_meant = |(until, part, is_write_only, _): &&(Instant, String, bool, u16)| {
            now < *until && path.contains(part.as_str()) && (is_write || !is_write_only)
        };
        self.denied.iter().find(is_meant).map(|(.., code)| Standing::Denied(*code))
    }
}

impl Interference for Faults {
    fn request(&self, facts: &RequestFacts<'_>) -> RequestFate {
        let is_news = facts.path.contains("/events") || facts.path.contains("/leases");
        let is_write = facts.verb.is_write();
        let (found, standing) = {
            let mut state = self.state();
            if !state.is_armed {
                return RequestFate::default();
            }
            state.counts.requests += 1;
            let (pod, verb) = (&facts.identity.pod, facts.verb.as_str());
            // A String takes everything.
            let request = state.counts.requests;
            let _ = writeln!(state.log, "{request} {pod} {verb} {}", facts.path);
            if !state.identities.contains_key(pod) {
                state.identities.insert(pod.clone(), facts.identity.clone());
            }
            let mut found =
                state.at_request.remove(&request).map(|what| (When::Request(request), what));
            if is_write && !is_news {
                state.note_set(facts.path);
                state.counts.writes += 1;
                let write = state.counts.writes;
                let of_write = state.at_write.remove(&write);
                found = found.or(of_write.map(|what| (When::Write(write), what)));
            }
            (found, state.standing(pod, facts.path, is_write))
        };
        let mut fate = match &found {
            Some((when, What::Overtaken { is_unseen })) if is_write => {
                self.note(*when, &What::Overtaken { is_unseen: *is_unseen });
                let object = self.world().and_then(|world| overtake(&world, facts.path));
                if *is_unseen {
                    self.state().unseen = object;
                }
                let before = Duration::from_millis(10);
                RequestFate { before, ..RequestFate::default() }
            }
            Some((when, what @ What::BreaksDown)) => {
                self.note(*when, what);
                // Not by `panic!`: this one is no defect, and the hook that collects those is not called.
                std::panic::resume_unwind(Box::new("a planned breakdown"));
            }
            Some((when, what)) if what.is_of_request() => {
                self.note(*when, what);
                self.fate(what, facts.identity, is_write)
            }
            Some((when, what)) => {
                self.strike(*when, what);
                RequestFate::default()
            }
            None => RequestFate::default(),
        };
        match standing {
            Some(Standing::Held(held)) => {
                fate.before = fate.before.max(held);
                fate.is_on_the_wire = true;
            }
            Some(Standing::CutOff) => {
                fate.effect = Effect::Dropped;
                fate.reply = Reply::Lost;
            }
            Some(Standing::Denied(code)) if matches!(fate.effect, Effect::CarriedOut) => {
                fate.effect = Effect::Refused(Box::new(failure(code)));
            }
            Some(Standing::Denied(_)) | None => {}
        }
        fate
    }

    fn event(&self, _watch: WatchId, entry: &Entry) -> EventFate {
        let (when, what) = {
            let mut state = self.state();
            if !state.is_armed {
                return EventFate::Arrives;
            }
            state.counts.events += 1;
            let event = state.counts.events;
            let is_unseen = state.unseen.as_ref().is_some_and(|(plural, name)| {
                *plural == entry.resource.plural && name == entry.name()
            });
            if is_unseen && entry.writer.user == "kubectl" {
                return EventFate::Lost;
            }
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
