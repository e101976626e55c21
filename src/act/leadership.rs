//! The right to write: a token with an epoch that one process at a time holds.
//!
//! A token ends for good: by its deadline, by a newer leader, or by a shutdown. Nothing here renews
//! it; the elector (`controller::lease`) does, or nobody when elections are switched off.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::act::wire::Target;
use crate::mutants::{Mutant, mutant};

/// How long a doubtful leader waits for its elector's answer before it writes nothing.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Order of writers: the term of a leadership, and within it the turns that doubt has cost.
///
/// Written `7` or `7.2`. Terms are the Lease's `leaseTransitions`; a turn begins whenever the result
/// of a write is unknown, so that the object can be taken over again before the next decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Which leadership, from 1; 0 is the state before the first.
    pub term: u32,
    /// Doubts within it, from 0.
    pub turn: u32,
}

impl Epoch {
    /// Terms beyond this are forged: a Lease counts to 2,147,483,647, and no cluster has so many
    /// elections. An object that claims one is treated as if it had no epoch.
    pub const MAX_TERM: u32 = 2_000_000_000;

    /// The first epoch of a term.
    pub const fn of_term(term: u32) -> Self {
        Self { term, turn: 0 }
    }

    /// What `object` says in its annotation `key`; absent, unreadable and forged count as none.
    pub fn read(object: &Value, key: &str) -> Option<Self> {
        let text = object.get("metadata")?.get("annotations")?.get(key)?.as_str()?;
        text.parse::<Self>().ok().filter(|epoch| epoch.term <= Self::MAX_TERM)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.turn {
            0 => write!(f, "{}", self.term),
            turn => write!(f, "{}.{turn}", self.term),
        }
    }
}

/// The text is not an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is a term like \"7\" or a term and a turn like \"7.2\"")]
pub struct InvalidEpoch;

impl FromStr for Epoch {
    type Err = InvalidEpoch;
    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse().map_err(|_| InvalidEpoch) } else { Err(InvalidEpoch) }
        };
        match text.split_once('.') {
            Some((term, turn)) => Ok(Self { term: number(term)?, turn: number(turn)? }),
            None => Ok(Self::of_term(number(text)?)),
        }
    }
}

/// Why a leadership ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossReason {
    /// The Lease could not be renewed in time.
    #[error("the lease was not renewed before its deadline")]
    RenewDeadline,
    /// The Lease names somebody else.
    #[error("the lease is held by {holder:?} in term {term}")]
    Replaced {
        /// Identity in the Lease.
        holder: String,
        /// Its term.
        term: u32,
    },
    /// An object carries the epoch of a newer leader, and the Lease does not contradict it.
    #[error("an object carries the newer epoch {epoch}")]
    NewerEpoch {
        /// The epoch on the object.
        epoch: Epoch,
    },
    /// The process ends.
    #[error("the process is shutting down")]
    Shutdown,
}

/// A question to the elector: is the Lease still ours right now?
pub type Confirmation = oneshot::Sender<bool>;

/// A handle to the right to write; clones share it.
#[derive(Clone, Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    term: u32,
    ended: CancellationToken,
    elector: Option<mpsc::Sender<Confirmation>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// From when on nothing may be written unless it is renewed; none without an elector.
    valid_until: Option<Instant>,
    lost: Option<LossReason>,
    turn: u32,
    /// Objects with a write of unknown result, and the turn that must be on them before the next.
    doubtful: HashMap<Target, u32>,
}

impl Leadership {
    /// A leadership without elections, for one process that is alone by other means.
    pub fn unelected(term: u32) -> Self {
        Self::build(term, None, None)
    }

    /// A leadership that lasts until `valid_until` unless it is renewed; questions go to `elector`.
    pub fn elected(term: u32, valid_until: Instant, elector: mpsc::Sender<Confirmation>) -> Self {
        Self::build(term, Some(valid_until), Some(elector))
    }

    fn build(
        term: u32,
        valid_until: Option<Instant>,
        elector: Option<mpsc::Sender<Confirmation>>,
    ) -> Self {
        let state = State { valid_until, lost: None, turn: 0, doubtful: HashMap::new() };
        let ended = CancellationToken::new();
        Self { shared: Arc::new(Shared { term, ended, elector, state: Mutex::new(state) }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term of this leadership.
    pub fn term(&self) -> u32 {
        self.shared.term
    }

    /// The present epoch: the term and the doubts so far.
    pub fn epoch(&self) -> Epoch {
        Epoch { term: self.shared.term, turn: self.state().turn }
    }

    /// Whether writing is allowed at this moment.
    ///
    /// The deadline is compared here as well, because a process that was stopped and continued may
    /// get here before its timers do.
    ///
    /// # Errors
    /// Why this leadership is over.
    pub fn check(&self) -> Result<(), LossReason> {
        if mutant(Mutant::LeaseNeverExpires) {
            return Ok(());
        }
        let mut state = self.state();
        if let Some(reason) = &state.lost {
            return Err(reason.clone());
        }
        if state.valid_until.is_some_and(|deadline| Instant::now() >= deadline) {
            state.lost = Some(LossReason::RenewDeadline);
            self.shared.ended.cancel();
            return Err(LossReason::RenewDeadline);
        }
        Ok(())
    }

    /// Ends this leadership; the first reason stays.
    pub fn lose(&self, reason: LossReason) {
        if mutant(Mutant::LeaseNeverExpires) {
            return;
        }
        self.state().lost.get_or_insert(reason);
        self.shared.ended.cancel();
    }

    /// Moves the deadline of a leadership that is still valid.
    pub fn renew(&self, valid_until: Instant) {
        if self.check().is_ok() {
            self.state().valid_until = Some(valid_until);
        }
    }

    /// The deadline, if there is one.
    pub fn valid_until(&self) -> Option<Instant> {
        self.state().valid_until
    }

    /// Cancelled at the end of this leadership.
    pub fn ended(&self) -> CancellationToken {
        self.shared.ended.clone()
    }

    /// Settles the sight of a newer epoch: asks the API server whether the Lease is still ours.
    ///
    /// Whoever may edit an object can forge its annotation, so a newer epoch alone does not end the
    /// leadership; a Lease that is not ours does. Without an elector nobody can contradict, and the
    /// leadership ends.
    ///
    /// # Errors
    /// Why nothing may be written now.
    pub async fn confirm(&self, seen: Epoch) -> Result<(), LossReason> {
        let Some(elector) = &self.shared.elector else {
            self.lose(LossReason::NewerEpoch { epoch: seen });
            return self.check();
        };
        let (question, answer) = oneshot::channel();
        let asked = async {
            elector.send(question).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(CONFIRMATION_TIMEOUT, asked).await {
            Ok(Some(true)) => self.check(),
            Ok(Some(false)) => {
                self.lose(LossReason::NewerEpoch { epoch: seen });
                self.check()
            }
            Ok(None) | Err(_) => self.check().and(Err(LossReason::NewerEpoch { epoch: seen })),
        }
    }

    /// Remembers that a write to `target` has an unknown result and may still land.
    pub fn doubt(&self, target: &Target) {
        let mut state = self.state();
        state.turn = state.turn.saturating_add(1);
        let turn = state.turn;
        state.doubtful.insert(target.clone(), turn);
    }

    /// The epoch that must stand on `target` before anything is decided from it.
    pub fn required_epoch(&self, target: &Target) -> Epoch {
        let turn = self.state().doubtful.get(target).copied().unwrap_or(0);
        Epoch { term: self.shared.term, turn }
    }

    /// Forgets the doubt about `target` up to `epoch`, which now stands on it.
    pub fn settle(&self, target: &Target, epoch: Epoch) {
        let mut state = self.state();
        if state.doubtful.get(target).is_some_and(|turn| *turn <= epoch.turn) {
            state.doubtful.remove(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{ApiResource, GroupVersionKind};
    use serde_json::json;

    use super::*;

    fn target(name: &str) -> Target {
        let gvk = GroupVersionKind::gvk("", "v1", "Service");
        Target::namespaced(&ApiResource::from_gvk_with_plural(&gvk, "services"), "shop", name)
    }

    #[test]
    fn epochs_are_ordered_by_term_and_then_by_turn() {
        let read = |text: &str| text.parse::<Epoch>();
        assert_eq!(read("7").map(|epoch| epoch.to_string()), Ok("7".to_owned()));
        assert_eq!(read("7.2").map(|epoch| epoch.to_string()), Ok("7.2".to_owned()));
        let order = ["7", "7.2", "7.10", "8", "10"].map(|text| read(text).unwrap());
        assert!(order.is_sorted());
        for bad in ["", "-1", "+1", "1.", ".1", "1.2.3", "99999999999", "x"] {
            assert_eq!(read(bad), Err(InvalidEpoch), "{bad:?}");
        }
    }

    #[test]
    fn a_forged_epoch_counts_as_none() {
        let object = |text: &str| json!({"metadata": {"annotations": {"e": text}}});
        assert_eq!(Epoch::read(&object("7"), "e"), Some(Epoch::of_term(7)));
        assert_eq!(Epoch::read(&object("4000000000"), "e"), None);
        assert_eq!(Epoch::read(&object("hello"), "e"), None);
        assert_eq!(Epoch::read(&json!({}), "e"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn at_its_deadline_a_leadership_ends_even_if_no_timer_has_run() {
        let (elector, _questions) = mpsc::channel(1);
        let deadline = Instant::now() + Duration::from_secs(10);
        let leadership = Leadership::elected(3, deadline, elector);
        leadership.renew(deadline + Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(leadership.check(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(leadership.check(), Err(LossReason::RenewDeadline));
        assert!(leadership.ended().is_cancelled());
        leadership.renew(deadline + Duration::from_mins(1));
        assert_eq!(leadership.check(), Err(LossReason::RenewDeadline), "it never comes back");
    }

    #[test]
    fn doubt_about_one_object_raises_what_is_required_of_that_object_only() {
        let leadership = Leadership::unelected(4);
        leadership.doubt(&target("web"));
        assert_eq!(leadership.epoch().to_string(), "4.1");
        assert_eq!(leadership.required_epoch(&target("web")).to_string(), "4.1");
        assert_eq!(leadership.required_epoch(&target("api")).to_string(), "4");
        leadership.doubt(&target("web"));
        leadership.settle(&target("web"), Epoch { term: 4, turn: 1 });
        assert_eq!(leadership.required_epoch(&target("web")).to_string(), "4.2");
        leadership.settle(&target("web"), Epoch { term: 4, turn: 2 });
        assert_eq!(leadership.required_epoch(&target("web")).to_string(), "4");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_epoch_ends_a_leadership_unless_the_lease_contradicts_it() {
        let (elector, mut questions) = mpsc::channel::<Confirmation>(1);
        let leadership = Leadership::elected(3, Instant::now() + Duration::from_mins(1), elector);
        let newer = Epoch::of_term(9);
        let (answer, ()) = tokio::join!(leadership.confirm(newer), async {
            questions.recv().await.unwrap().send(true).unwrap();
        });
        assert_eq!(answer, Ok(()), "the annotation was forged");
        let (answer, ()) = tokio::join!(leadership.confirm(newer), async {
            questions.recv().await.unwrap().send(false).unwrap();
        });
        assert_eq!(answer, Err(LossReason::NewerEpoch { epoch: newer }));
        assert!(leadership.ended().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn an_elector_that_does_not_answer_stops_the_write_but_not_the_leadership() {
        let (elector, _questions) = mpsc::channel(1);
        let leadership = Leadership::elected(3, Instant::now() + Duration::from_mins(1), elector);
        let newer = Epoch::of_term(9);
        assert_eq!(leadership.confirm(newer).await, Err(LossReason::NewerEpoch { epoch: newer }));
        assert_eq!(leadership.check(), Ok(()));
    }
}
