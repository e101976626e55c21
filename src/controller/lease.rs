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
mod tests;
