//! Leader election over a `coordination.k8s.io/v1` Lease.
//!
//! The rules: when to claim, renew, wait and step down. They are pure; `controller::elector` carries
//! them out. Whether a holder is dead is judged by how long its record has looked the same *here*,
//! never by its timestamps, which come from another clock (the rule of client-go's
//! `leaderelection`). Every claim raises `leaseTransitions`, which thereby numbers the leaderships,
//! without being their count.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::act::leadership::{Epoch, LossReason};

/// A holder that claims to be good for longer is not believed.
const LONGEST_LEASE: Duration = Duration::from_mins(10);

/// The three times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimings {
    /// How long a record must look the same before others may claim the Lease.
    pub lease: Duration,
    /// How long after the start of its last successful renewal a leader may write.
    pub renew_deadline: Duration,
    /// Pause between attempts.
    pub retry: Duration,
}

impl Default for LeaseTimings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Times that cannot keep two leaders apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "lease times must fall: the lease ({lease:?}) above the renew deadline ({renew_deadline:?}), \
     that above twice the retry period ({retry:?}), and the lease a whole number of seconds"
)]
pub struct InvalidTimings {
    lease: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

impl LeaseTimings {
    /// The times, if they keep two leaders apart.
    ///
    /// # Errors
    /// [`InvalidTimings`].
    pub fn checked(self) -> Result<Self, InvalidTimings> {
        let Self { lease, renew_deadline, retry } = self;
        let whole = lease.subsec_nanos() == 0 && lease <= LONGEST_LEASE;
        if whole && lease > renew_deadline && renew_deadline > retry * 2 && !retry.is_zero() {
            Ok(self)
        } else {
            Err(InvalidTimings { lease, renew_deadline, retry })
        }
    }
}

/// What a Lease says. Fields that are missing or malformed count as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `spec.holderIdentity`; empty if nobody holds it.
    pub holder: String,
    /// `spec.leaseDurationSeconds`.
    pub lease_seconds: u32,
    /// `spec.leaseTransitions`.
    pub term: u32,
    /// `spec.renewTime`, only to be compared with itself.
    pub renewed: Option<String>,
}

impl Record {
    /// What the Lease `object` says.
    pub fn read(object: &Value) -> Self {
        let field = |name: &str| object.get("spec").and_then(|spec| spec.get(name));
        let number = |name: &str| {
            let number = field(name).and_then(Value::as_u64).unwrap_or(0);
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let text = |name: &str| field(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            holder: text("holderIdentity").unwrap_or_default(),
            lease_seconds: number("leaseDurationSeconds"),
            term: number("leaseTransitions"),
            renewed: text("renewTime"),
        }
    }

    /// How long this record must have looked the same before somebody else may claim the Lease.
    fn respected_for(&self, own: Duration) -> Duration {
        // Released by its holder. A holder whose name somebody else wiped out may still be writing,
        // so an empty name without this sign is respected like any other.
        if self.holder.is_empty() && self.lease_seconds == 1 {
            return Duration::ZERO;
        }
        let claimed = Duration::from_secs(u64::from(self.lease_seconds)).min(LONGEST_LEASE);
        claimed.max(own)
    }
}

/// What is known of the Lease here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its record; none if there is no Lease.
    pub record: Option<Record>,
    /// Since when it has looked so, by the local clock, which runs evenly.
    pub since: Instant,
}

impl Seen {
    /// Knowledge after the Lease was read as `record` at `now`, when `before` was known.
    pub fn update(before: Option<&Self>, record: Option<Record>, now: Instant) -> Self {
        match before {
            Some(before) if before.record == record => Self { record, since: before.since },
            Some(_) | None => Self { record, since: now },
        }
    }
}

/// Where a process stands in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It wants to lead.
    Candidate {
        /// Term of a claim of its own whose result it does not know.
        unsure_of: Option<u32>,
    },
    /// It leads.
    Leader {
        /// When the last successful renewal was *sent*.
        renewed_at: Instant,
    },
}

/// A process in the election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Its name, never used by another process.
    pub identity: String,
    /// The times.
    pub timings: LeaseTimings,
    /// Where it stands.
    pub standing: Standing,
    /// The lowest term that it may claim: above every term it has seen.
    pub lowest_term: u32,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAction {
    /// There is none: create it with this term and without a holder, and wait.
    Prepare {
        /// The term; the first leadership gets the next one.
        term: u32,
    },
    /// Write it with our name and this new term.
    Claim {
        /// The term.
        term: u32,
    },
    /// Write it with our name and the present term; create it if somebody deleted it.
    Renew,
    /// Look again then.
    Wait {
        /// When the claim becomes possible if nothing changes.
        until: Instant,
    },
    /// Stop leading at once.
    StepDown(LossReason),
}

/// What `me` does, knowing `seen`, at `now`.
///
/// A new term is above every term that was seen, and at least `fresh_term`, which comes from a clock:
/// thus terms do not start over when somebody deletes the Lease.
///
/// An absent Lease is never claimed at once: whoever held it before it was deleted does not know yet,
/// and may write until its deadline. Nor is absence watched for a while, since it has no version by
/// which a claim would notice that the Lease was back in between; instead an empty Lease is created
/// and respected. A leader takes a Lease back that was deleted or wiped out, which is safe because
/// everybody else still waits.
pub fn decide(me: &Contender, seen: &Seen, now: Instant, fresh_term: u32) -> LeaseAction {
    match me.standing {
        Standing::Leader { renewed_at } => {
            if now >= renewed_at + me.timings.renew_deadline {
                return LeaseAction::StepDown(LossReason::RenewDeadline);
            }
            match &seen.record {
                Some(record) if !record.holder.is_empty() && record.holder != me.identity => {
                    LeaseAction::StepDown(LossReason::Replaced {
                        holder: record.holder.clone(),
                        term: record.term,
                    })
                }
                Some(_) | None => LeaseAction::Renew,
            }
        }
        Standing::Candidate { unsure_of } => {
            let Some(record) = &seen.record else {
                return LeaseAction::Prepare { term: fresh_term.max(me.lowest_term) };
            };
            // Our own claim, of which only the answer was lost.
            let own = record.holder == me.identity && unsure_of == Some(record.term);
            let respected = record.respected_for(me.timings.lease);
            let until = seen.since + if own { Duration::ZERO } else { respected };
            let term = record.term.saturating_add(1).max(me.lowest_term).max(fresh_term);
            // Terms that objects would not be believed start over; see `Epoch::MAX_TERM`.
            let term = if term > Epoch::MAX_TERM { fresh_term } else { term };
            if now >= until { LeaseAction::Claim { term } } else { LeaseAction::Wait { until } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn contender(standing: Standing) -> Contender {
        let timings = LeaseTimings::default();
        Contender { identity: "me".to_owned(), timings, standing, lowest_term: 1 }
    }

    fn held_by(holder: &str, lease_seconds: u32, term: u32) -> Record {
        let renewed = Some("2026-01-01T00:00:00.000000Z".to_owned());
        Record { holder: holder.to_owned(), lease_seconds, term, renewed }
    }

    fn candidate_waits(record: Record, unsure_of: Option<u32>) -> Duration {
        let (record, since) = (Some(record), Instant::now());
        let me = contender(Standing::Candidate { unsure_of });
        match decide(&me, &Seen { record, since }, since, 500) {
            LeaseAction::Wait { until } => until - since,
            LeaseAction::Claim { .. } => Duration::ZERO,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_candidate_respects_whatever_may_still_be_led() {
        let seconds = |seconds| Duration::from_secs(seconds);
        assert_eq!(candidate_waits(held_by("other", 15, 3), None), seconds(15));
        assert_eq!(candidate_waits(held_by("other", 60, 3), None), seconds(60));
        assert_eq!(candidate_waits(held_by("other", 1, 3), None), seconds(15));
        assert_eq!(candidate_waits(held_by("other", u32::MAX, 3), None), seconds(600));
        assert_eq!(candidate_waits(held_by("", 15, 3), None), seconds(15), "wiped out by hand");
        assert_eq!(candidate_waits(held_by("", 1, 3), None), seconds(0), "released");
        assert_eq!(candidate_waits(held_by("me", 15, 3), None), seconds(15), "not our claim");
        assert_eq!(candidate_waits(held_by("me", 15, 3), Some(3)), seconds(0), "our lost claim");
    }

    #[test]
    fn a_new_term_is_above_every_term_that_was_seen() {
        let since = Instant::now();
        let later = since + Duration::from_mins(1);
        let mut me = contender(Standing::Candidate { unsure_of: None });
        let term = |me: &Contender, record| match decide(
            me,
            &Seen { record: Some(record), since },
            later,
            500,
        ) {
            LeaseAction::Claim { term } => term,
            other => panic!("{other:?}"),
        };
        assert_eq!(term(&me, held_by("other", 15, 700)), 701);
        assert_eq!(term(&me, held_by("other", 15, 3)), 500);
        assert_eq!(term(&me, held_by("other", 15, u32::MAX)), 500, "absurd, starts over");
        let absent = Seen { record: None, since };
        assert_eq!(decide(&me, &absent, later, 500), LeaseAction::Prepare { term: 500 });
        me.lowest_term = 900;
        assert_eq!(decide(&me, &absent, later, 500), LeaseAction::Prepare { term: 900 });
        assert_eq!(term(&me, held_by("other", 15, 3)), 900);
    }

    #[test]
    fn a_leader_steps_down_for_another_and_takes_a_wiped_lease_back() {
        let renewed_at = Instant::now();
        let me = contender(Standing::Leader { renewed_at });
        let act = |record, after| {
            let seen = Seen { record, since: renewed_at };
            decide(&me, &seen, renewed_at + Duration::from_millis(after), 500)
        };
        assert_eq!(act(Some(held_by("me", 15, 3)), 2000), LeaseAction::Renew);
        assert_eq!(act(Some(held_by("", 15, 3)), 2000), LeaseAction::Renew);
        assert_eq!(act(None, 2000), LeaseAction::Renew);
        assert!(matches!(act(Some(held_by("other", 15, 4)), 2000), LeaseAction::StepDown(_)));
        let late = LeaseAction::StepDown(LossReason::RenewDeadline);
        assert_eq!(act(Some(held_by("me", 15, 3)), 10_000), late);
    }

    #[test]
    fn only_the_record_counts_and_not_the_version_of_the_object() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        let first = Seen::update(None, Some(held_by("other", 15, 3)), start);
        assert_eq!(Seen::update(Some(&first), Some(held_by("other", 15, 3)), later).since, start);
        assert_eq!(Seen::update(Some(&first), Some(held_by("other", 15, 4)), later).since, later);
        assert_eq!(Seen::update(Some(&first), None, later).since, later);
    }

    #[test]
    fn malformed_leases_are_read_as_empty() {
        let bad = json!({"spec": {"holderIdentity": 5, "leaseTransitions": -1, "renewTime": []}});
        assert_eq!(Record::read(&bad), Record::default());
        assert_eq!(Record::read(&json!("x")), Record::default());
    }

    #[test]
    fn times_that_cannot_keep_leaders_apart_are_refused() {
        let times = |lease, renew_deadline, retry| LeaseTimings {
            lease: Duration::from_secs(lease),
            renew_deadline: Duration::from_secs(renew_deadline),
            retry: Duration::from_secs(retry),
        };
        assert!(LeaseTimings::default().checked().is_ok());
        for bad in [times(10, 10, 2), times(15, 4, 2), times(15, 10, 0), times(1000, 10, 2)] {
            assert!(bad.checked().is_err(), "{bad:?}");
        }
    }

    /// One process of the random schedules below.
    struct Process {
        me: Contender,
        seen: Option<Seen>,
        stored_version: Option<u64>,
        doing: Doing,
    }

    enum Doing {
        Idle { until: u64 },
        Reading { read_at: u64, answer_at: u64, answer: Option<Stored> },
        Writing { sent: u64, answer_at: u64, number: usize },
    }

    /// The Lease and its version; none if there is none.
    type Stored = Option<(Record, u64)>;

    /// A write on its way; it lands even if its sender is long gone.
    struct Flight {
        lands_at: u64,
        record: Record,
        expected: Option<u64>,
        landed: Landed,
        reply_lost: bool,
    }

    #[derive(Clone, Copy)]
    enum Landed {
        NotYet,
        Refused,
        As(u64),
    }

    /// A Lease API and processes that follow [`decide`], in steps of 100 ms.
    struct Schedule {
        rng: fastrand::Rng,
        base: Instant,
        now: u64,
        stored: Stored,
        version: u64,
        born: u32,
        flights: Vec<Flight>,
        leaderships: BTreeMap<u32, String>,
    }

    const STEP: u64 = 100;
    const REQUEST_TIMEOUT: u64 = 3300;

    impl Schedule {
        fn new(seed: u64) -> Self {
            Self {
                rng: fastrand::Rng::with_seed(seed),
                base: Instant::now(),
                now: 0,
                stored: None,
                version: 0,
                born: 0,
                flights: Vec::new(),
                leaderships: BTreeMap::new(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.base + Duration::from_millis(millis)
        }

        fn newborn(&mut self) -> Process {
            self.born += 1;
            let mut me = contender(Standing::Candidate { unsure_of: None });
            me.identity = format!("p{}", self.born);
            let until = self.now + self.rng.u64(0..3000);
            Process { me, seen: None, stored_version: None, doing: Doing::Idle { until } }
        }

        fn is_leading(&self, process: &Process) -> bool {
            match process.me.standing {
                Standing::Leader { renewed_at } => {
                    self.at(self.now) < renewed_at + process.me.timings.renew_deadline
                }
                Standing::Candidate { .. } => false,
            }
        }

        fn put(&mut self, record: Option<Record>) {
            self.version += 1;
            self.stored = record.map(|record| (record, self.version));
        }

        /// People, who delete, wipe and steal.
        fn meddle(&mut self) {
            let Some((record, _)) = self.stored.clone() else {
                return;
            };
            match self.rng.u32(0..600) {
                0 => self.put(None),
                1 => self.put(Some(Record { holder: String::new(), ..record })),
                2 => self.put(Some(Record { holder: "somebody".to_owned(), ..record })),
                _ => {}
            }
        }

        /// What arrives at the server.
        fn land(&mut self) {
            for index in 0..self.flights.len() {
                let flight = &self.flights[index];
                if !matches!(flight.landed, Landed::NotYet) || flight.lands_at > self.now {
                    continue;
                }
                let fits = self.stored.as_ref().map(|(_, version)| *version) == flight.expected;
                if fits {
                    let record = flight.record.clone();
                    self.put(Some(record));
                }
                self.flights[index].landed =
                    if fits { Landed::As(self.version) } else { Landed::Refused };
            }
        }

        fn run(&mut self, process: &mut Process) {
            let now = self.now;
            match &mut process.doing {
                Doing::Idle { until } if *until <= now => {
                    let read_at = now + self.rng.u64(0..800);
                    let answer_at = read_at + self.rng.u64(0..800);
                    process.doing = Doing::Reading { read_at, answer_at, answer: None };
                }
                Doing::Reading { answer_at, answer: Some(answer), .. } if *answer_at <= now => {
                    let answer = answer.take();
                    self.know(process, answer);
                    self.choose(process);
                }
                Doing::Writing { sent, answer_at, number } if *answer_at <= now => {
                    let (sent, number) = (*sent, *number);
                    self.answered(process, sent, number);
                }
                Doing::Idle { .. } | Doing::Reading { .. } | Doing::Writing { .. } => {}
            }
        }

        /// The server reads on time, even if the process that asked is stopped.
        fn read(&self, process: &mut Process) {
            if let Doing::Reading { read_at, answer, .. } = &mut process.doing
                && answer.is_none()
                && *read_at <= self.now
            {
                *answer = Some(self.stored.clone());
            }
        }

        fn know(&self, process: &mut Process, stored: Stored) {
            let (record, version) = stored.unzip();
            if let Some(record) = &record {
                process.me.lowest_term = process.me.lowest_term.max(record.term + 1);
            }
            let seen = Seen::update(process.seen.as_ref(), record, self.at(self.now));
            process.seen = Some(seen);
            process.stored_version = version;
        }

        fn choose(&mut self, process: &mut Process) {
            let now = self.now;
            let fresh = 100 + u32::try_from(now / 1000).unwrap();
            let seen = process.seen.as_ref().unwrap();
            let mut holder = process.me.identity.clone();
            let known_term = seen.record.as_ref().map_or(fresh, |record| record.term);
            let term = match decide(&process.me, seen, self.at(now), fresh) {
                LeaseAction::Claim { term } => {
                    process.me.standing = Standing::Candidate { unsure_of: Some(term) };
                    term
                }
                LeaseAction::Prepare { term } => {
                    holder.clear();
                    term
                }
                LeaseAction::Renew => known_term,
                LeaseAction::Wait { .. } => return self.rest(process),
                LeaseAction::StepDown(_) => {
                    process.me.standing = Standing::Candidate { unsure_of: None };
                    return self.rest(process);
                }
            };
            // Some requests land long after their sender has given up on them.
            let delay = if self.rng.u32(0..20) == 0 { 25_000 } else { 900 };
            let lands_at = now + self.rng.u64(0..delay);
            let answer_at = (lands_at + self.rng.u64(STEP..600)).min(now + REQUEST_TIMEOUT);
            let renewed = Some(format!("{now} {holder}"));
            let record = Record { holder, lease_seconds: 15, term, renewed };
            let reply_lost = self.rng.u32(0..12) == 0;
            let expected = process.stored_version;
            let flight = Flight { lands_at, record, expected, landed: Landed::NotYet, reply_lost };
            self.flights.push(flight);
            let number = self.flights.len() - 1;
            process.doing = Doing::Writing { sent: now, answer_at, number };
        }

        fn rest(&mut self, process: &mut Process) {
            process.doing = Doing::Idle { until: self.now + self.rng.u64(1600..2000) };
        }

        fn answered(&mut self, process: &mut Process, sent: u64, number: usize) {
            let flight = &self.flights[number];
            if let (Landed::As(version), false) = (flight.landed, flight.reply_lost) {
                let record = flight.record.clone();
                if record.holder == process.me.identity {
                    process.me.standing = Standing::Leader { renewed_at: self.at(sent) };
                    let before = self.leaderships.insert(record.term, record.holder.clone());
                    let same = before.is_none_or(|before| before == record.holder);
                    assert!(same, "term {} was given twice", record.term);
                }
                self.know(process, Some((record, version)));
            }
            self.rest(process);
        }
    }

    /// Runs one schedule and gives back how many processes came to lead.
    fn run_schedule(seed: u64) -> Result<usize, TestCaseError> {
        let mut schedule = Schedule::new(seed);
        let mut processes: Vec<(Process, u64)> = (0..3).map(|_| (schedule.newborn(), 0)).collect();
        while schedule.now < 180_000 {
            schedule.now += STEP;
            schedule.meddle();
            schedule.land();
            for (process, stopped_until) in &mut processes {
                schedule.read(process);
                match schedule.rng.u32(0..2000) {
                    0 => *process = schedule.newborn(),
                    1 => *stopped_until = schedule.now + schedule.rng.u64(0..40_000),
                    _ => {}
                }
                if *stopped_until <= schedule.now {
                    schedule.run(process);
                }
            }
            let leading = processes.iter().filter(|(one, _)| schedule.is_leading(one));
            let names: Vec<_> = leading.map(|(one, _)| one.me.identity.clone()).collect();
            prop_assert!(names.len() <= 1, "at {} ms: {names:?}", schedule.now);
        }
        Ok(schedule.leaderships.len())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
        #[test]
        fn there_are_never_two_leaders_at_once(seed in any::<u64>()) {
            run_schedule(seed)?;
        }
    }

    #[test]
    fn the_random_schedules_do_change_leaders() {
        let changes: usize = (0..50).map(|seed| run_schedule(seed).unwrap()).sum();
        assert!(changes > 100, "only {changes} leaderships in 50 schedules");
    }
}
