//! The tokens of GitHub Apps: asked for when they are needed, one at a time, and kept in memory until
//! shortly before they end. Who is refused is not asked again for a while.
//!
//! It must never write a token or a key anywhere else.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{HttpForge, Reply, host_of};
use crate::clock::Clock;
use crate::git::backend::Remote;
use crate::git::credentials::Hidden;
use crate::git::forge::{Call, ForgeError};
use crate::git::github_app::{App, At, Given, Installation};

/// How long before its end a token is no longer begun with: longer than a revert takes.
const MARGIN: Duration = Duration::from_mins(5);
/// A token of this age or less is not replaced because it was refused.
const YOUNG: Duration = Duration::from_mins(1);
/// How long nothing is asked after a refusal.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// A difference between two clocks that matters to GitHub.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// What is known of each App in each repository.
pub(super) struct Apps {
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
}

impl fmt::Debug for Apps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apps")
    }
}

/// One App in one repository. Whoever needs its token while another one asks for it, waits.
#[derive(Default)]
struct Slot {
    token: Option<Token>,
    refusal: Option<(ForgeError, Instant)>,
}

struct Token {
    value: Hidden,
    given_at: Instant,
    /// Until when jobs may begin with it.
    until: Instant,
}

impl Apps {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, slots: Mutex::default() }
    }

    fn slot(&self, key: String) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody uses and holds nothing of worth is forgotten.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|slot| slot.is_of_worth())
        });
        slots.entry(key).or_default().clone()
    }
}

impl Slot {
    fn usable(&self) -> Option<&Token> {
        self.token.as_ref().filter(|token| Instant::now() < token.until)
    }

    fn refused(&self) -> Option<&ForgeError> {
        let (error, until) = self.refusal.as_ref()?;
        (Instant::now() < *until).then_some(error)
    }

    fn is_of_worth(&self) -> bool {
        self.usable().is_some() || self.refused().is_some()
    }
}

/// A failure, and how long nothing is asked.
struct Failure(ForgeError, Duration);

impl From<ForgeError> for Failure {
    fn from(error: ForgeError) -> Self {
        Self(error, PAUSE)
    }
}

impl HttpForge {
    /// The same repository with a token in the place of the App.
    pub(super) async fn authorize_app(&self, remote: &Remote) -> Result<Remote, ForgeError> {
        let Some(app) = remote.credentials.app() else { return Ok(remote.clone()) };
        let api = app.api(&remote.url)?;
        let slot = self.apps.slot(app.digest(&api));
        let mut slot = slot.lock().await;
        if slot.usable().is_none() {
            if let Some(error) = slot.refused() {
                return Err(error.clone());
            }
            let now = Instant::now();
            match self.ask(remote, app, &api).await {
                Ok((value, lifetime)) => {
                    let until = now + lifetime.saturating_sub(MARGIN);
                    let token = Token { value, given_at: now, until };
                    *slot = Slot { token: Some(token), refusal: None };
                }
                Err(Failure(error, pause)) => {
                    slot.refusal = Some((error.clone(), Instant::now() + pause));
                    return Err(error);
                }
            }
        }
        // One that ends soon serves the one job that asked for it.
        let token = slot.token.as_ref().ok_or(ForgeError::NoCarrier)?;
        let credentials = Arc::new(remote.credentials.with_token(&token.value));
        Ok(Remote { url: remote.url.clone(), credentials })
    }

    /// Drops the token that a server refused, unless it is a new one.
    pub(super) async fn renew_app(&self, remote: &Remote) {
        let Some(app) = remote.credentials.app() else { return };
        let Ok(api) = app.api(&remote.url) else { return };
        let slot = self.apps.slot(app.digest(&api));
        let mut slot = slot.lock().await;
        if slot.token.as_ref().is_some_and(|token| token.given_at.elapsed() > YOUNG) {
            slot.token = None;
        }
    }

    /// A token, and how long it is valid.
    async fn ask(
        &self,
        remote: &Remote,
        app: &App,
        api: &str,
    ) -> Result<(Hidden, Duration), Failure> {
        let secret = remote.credentials.secret();
        let mut asked = Asked { forge: self, remote, app, skew: TimeDelta::zero() };
        let installation = match (&app.installation, app.look_ups(api)) {
            (Installation::Id(id), _) => *id,
            (Installation::Of(_), None) => return Err(ForgeError::NoCarrier.into()),
            (Installation::Of(_), Some([of_organization, of_person])) => {
                let mut reply = asked.ask(&of_organization).await?;
                if reply.answer.status == 404 {
                    reply = asked.ask(&of_person).await?;
                }
                let host = host_of(remote, &of_person);
                let at = At { host: &host, secret, skew: &asked.words() };
                app.read_installation(&at, &reply.answer).map_err(|error| paused(error, &reply))?
            }
        };
        let call = app.exchange(api, installation);
        let reply = asked.ask(&call).await?;
        let at = At { host: &host_of(remote, &call), secret, skew: &asked.words() };
        let given = app.read_token(&at, &reply.answer).map_err(|error| paused(error, &reply))?;
        let Given { token, expires_at } = given;
        let now = reply.date.unwrap_or_else(|| self.apps.clock.now());
        Ok((token, (expires_at - now).to_std().unwrap_or_default()))
    }
}

fn paused(error: ForgeError, reply: &Reply) -> Failure {
    Failure(error, reply.pause.unwrap_or(PAUSE).clamp(PAUSE, LONGEST_PAUSE))
}

/// One exchange, by an App that speaks for itself.
struct Asked<'a> {
    forge: &'a HttpForge,
    remote: &'a Remote,
    app: &'a App,
    /// By how much the server's clock is ahead of ours, as far as it mattered.
    skew: TimeDelta,
}

impl Asked<'_> {
    /// Sends a call. One that is refused while the clocks differ is sent once more by the server's
    /// time.
    async fn ask(&mut self, call: &Call) -> Result<Reply, ForgeError> {
        let reply = self.send(call).await?;
        if reply.answer.status != 401 || !self.skew.is_zero() {
            return Ok(reply);
        }
        let Some(date) = reply.date else { return Ok(reply) };
        let skew = date - self.forge.apps.clock.now();
        if skew.abs() < SKEW {
            return Ok(reply);
        }
        self.skew = skew;
        let seconds = skew.num_seconds();
        tracing::warn!(
            seconds,
            host = host_of(self.remote, call),
            "the forge's clock is ahead by so much"
        );
        self.send(call).await
    }

    async fn send(&self, call: &Call) -> Result<Reply, ForgeError> {
        let now: DateTime<Utc> = self.forge.apps.clock.now() + self.skew;
        let assertion = self.app.assertion(now);
        let assertion = assertion.ok_or_else(|| ForgeError::App {
            secret: self.remote.credentials.secret().to_owned(),
            key: "githubAppPrivateKey",
            why: "it cannot sign".to_owned(),
        })?;
        self.forge.send(self.remote, call, &assertion).await
    }

    /// What is to be said of the clocks.
    fn words(&self) -> String {
        match self.skew.num_seconds() {
            0 => String::new(),
            seconds => format!("; the server's clock is {seconds} s ahead of the controller's"),
        }
    }
}
