//! Tests of `lease`.

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
