//! Where a fault layer stands between the server and those who use it. Nothing here is random:
//! who implements [`Interference`] decides, from a plan of its own.

use std::fmt;
use std::time::Duration;

use super::cluster::WatchId;
use super::failure::Failure;
use super::log::Entry;
use super::request::{Identity, Verb};

/// What is known of a request before it is carried out.
#[derive(Clone, Debug)]
pub struct RequestFacts<'a> {
    /// Number of the request, from 1.
    pub number: u64,
    /// Who asks.
    pub identity: &'a Identity,
    /// `User-Agent`.
    pub user_agent: &'a str,
    /// What is done, as far as the method says it.
    pub verb: Verb,
    /// Path of the request.
    pub path: &'a str,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default)]
pub struct RequestFate {
    /// How long it is on its way before it is carried out.
    pub before: Duration,
    /// What the server does with it.
    pub effect: Effect,
    /// How long the answer is on its way.
    pub after: Duration,
    /// Whether the answer arrives.
    pub reply: Reply,
    /// It is carried out even when the client gives up or dies meanwhile: it was on the wire.
    pub is_on_the_wire: bool,
}

/// What the server does with a request.
#[derive(Clone, Debug, Default)]
pub enum Effect {
    /// Carries it out.
    #[default]
    CarriedOut,
    /// Never gets it.
    Dropped,
    /// Refuses it with this.
    Refused(Box<Failure>),
    /// Carries it out and answers with this.
    CarriedOutBut(Box<Failure>),
}

/// Whether an answer arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// Yes.
    #[default]
    Arrives,
    /// Never; the client waits until its own time limit.
    Lost,
    /// The connection breaks instead.
    Broken,
}

/// What becomes of one event of one watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventFate {
    /// It arrives at once.
    #[default]
    Arrives,
    /// It arrives so much later, and so does all that follows.
    Late(Duration),
    /// It never arrives, and nobody notices.
    Lost,
    /// The watch ends before it.
    Cut,
}

/// What goes wrong.
pub trait Interference: fmt::Debug + Send + Sync {
    /// Decides about a request before it is carried out.
    fn request(&self, facts: &RequestFacts<'_>) -> RequestFate {
        let _ = facts;
        RequestFate::default()
    }

    /// Decides about an event that a watch is about to send.
    fn event(&self, watch: WatchId, entry: &Entry) -> EventFate {
        let _ = (watch, entry);
        EventFate::default()
    }
}

/// Nothing goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untouched;

impl Interference for Untouched {}
