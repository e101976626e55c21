//! How a person's wish reaches a Rollout: read, decide, write guarded by uid and resourceVersion;
//! when somebody else was faster, read and decide again, since the wish is still the same.
//!
//! A wish is a change of status or of spec, in Argo Rollouts' form, so that either controller
//! understands it; who asked stands in `status.lastRequest`. Deciding is pure: object in, edits out.

use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cluster::{Cluster, Part, WriteFailure, as_json};
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::text::Line;
use crate::api::{ApiNames, Kind, Rollout, Time};
use crate::traffic::guarded_patch;

/// How often a write is tried while others keep changing the object.
const MAX_TRIES: u32 = 5;

/// What a verb looks at.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// The object as read.
    pub(super) raw: Value,
    /// The same, understood.
    pub(super) rollout: Rollout,
    /// The names of the API group.
    pub(super) names: ApiNames,
    /// The present time.
    pub(super) now: DateTime<Utc>,
}

/// What a verb makes of the Rollout that it finds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Decision {
    /// There is nothing to do, and why.
    Nothing(String),
    /// These changes.
    Change(Edit),
}

/// Changes to a Rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Edit {
    /// What `status` is to become; `None` when it stays. `lastRequest` is added by the sender.
    pub(super) status: Option<Value>,
    /// What `spec` is to become; `None` when it stays.
    pub(super) spec: Option<Value>,
    /// What was done, as a sentence after the Rollout's name.
    pub(super) said: String,
    /// What the user should know besides.
    pub(super) notes: Vec<String>,
    /// What the wish is about (a step of a revision). When it is no longer the same at a second
    /// try, the wish was fulfilled by others, and is dropped.
    pub(super) about: Option<String>,
}

/// The stable shape of `-o json` of every verb.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerbReport {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// The verb.
    pub verb: &'static str,
    /// Whether anything was written.
    pub changed: bool,
    /// What was done, or why nothing was.
    pub message: String,
}

impl Subject {
    /// A copy of `spec` or `status` to change; an empty object when there is none.
    pub(super) fn part(&self, name: &str) -> Map<String, Value> {
        self.raw.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    fn read(
        cluster: &Cluster,
        object: &DynamicObject,
        now: DateTime<Utc>,
    ) -> Result<Self, CliError> {
        Ok(Self {
            raw: as_json(object)?,
            rollout: Rollout::from_dynamic(object)?,
            names: cluster.names(),
            now,
        })
    }
}

/// Carries a verb out on one Rollout and reports it.
pub(super) async fn carry_out(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
    verb: &'static str,
    decide: &(dyn Fn(&Subject) -> Result<Decision, CliError> + Sync),
) -> Result<Exit, CliError> {
    let mut first_about = None;
    for attempt in 1..=MAX_TRIES {
        let object = cluster.object(Kind::Rollout, name).await?;
        let subject = Subject::read(cluster, &object, (console.now)())?;
        let edit = match decide(&subject)? {
            Decision::Nothing(why) => return report(cluster, console, name, verb, false, &why),
            Decision::Change(edit) => edit,
        };
        if attempt == 1 {
            first_about.clone_from(&edit.about);
        } else if edit.about != first_about {
            let why = "has moved on by itself meanwhile; nothing was changed";
            return report(cluster, console, name, verb, false, why);
        }
        match send(cluster, console, &subject, verb, &edit).await {
            Ok(()) => {
                for note in &edit.notes {
                    console.say(note)?;
                }
                return report(cluster, console, name, verb, true, &edit.said);
            }
            Err(WriteFailure::Conflict) => {}
            Err(WriteFailure::Other(error)) => return Err(error),
        }
    }
    Err(CliError::Conflict { name: name.to_owned(), tries: MAX_TRIES })
}

/// Sends both parts. What the wish itself needs goes first and decides about success; a status that
/// carries nothing but `lastRequest` comes last, and only warns.
async fn send(
    cluster: &Cluster,
    console: &mut Console<'_>,
    subject: &Subject,
    verb: &'static str,
    edit: &Edit,
) -> Result<(), WriteFailure> {
    let by = cluster.user().await;
    let request = json!({"verb": verb, "at": Time(subject.now).to_rfc3339(), "by": by});
    let name = subject.rollout.metadata.name.clone().unwrap_or_default();
    let mut live = subject.raw.clone();
    if let Some(status) = &edit.status {
        let mut desired = live.clone();
        put(&mut desired, "status", with_request(status.clone(), &request));
        live = write(cluster, &name, Part::Status, &live, &desired).await?;
    }
    let Some(spec) = &edit.spec else { return Ok(()) };
    for attempt in 1..=MAX_TRIES {
        let mut desired = live.clone();
        put(&mut desired, "spec", spec.clone());
        match write(cluster, &name, Part::Main, &live, &desired).await {
            Ok(written) => {
                live = written;
                break;
            }
            // After the first part the controller may well have been at work: the wish of the
            // second part stands, as long as nobody touched the spec.
            Err(WriteFailure::Conflict) if edit.status.is_some() && attempt < MAX_TRIES => {
                let object = cluster.object(Kind::Rollout, &name).await;
                let fresh =
                    object.and_then(|object| as_json(&object)).map_err(WriteFailure::Other)?;
                if fresh.get("spec") != live.get("spec") {
                    // Half of the wish is done: deciding again would be about another Rollout.
                    return Err(WriteFailure::Other(CliError::Conflict { name, tries: attempt }));
                }
                live = fresh;
            }
            Err(failure) => return Err(failure),
        }
    }
    if edit.status.is_none() {
        note_request(cluster, console, &name, live, &request).await;
    }
    Ok(())
}

/// Notes who asked, after the fact. It failing leaves the wish itself as it is.
async fn note_request(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
    mut live: Value,
    request: &Value,
) {
    for _ in 0..MAX_TRIES {
        let status = live.get("status").cloned().unwrap_or_else(|| json!({}));
        let mut desired = live.clone();
        put(&mut desired, "status", with_request(status, request));
        let why = match write(cluster, name, Part::Status, &live, &desired).await {
            Ok(_) => return,
            Err(WriteFailure::Conflict) => match cluster.object(Kind::Rollout, name).await {
                Ok(object) => match as_json(&object) {
                    Ok(fresh) => {
                        live = fresh;
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            },
            Err(WriteFailure::Other(error)) => error,
        };
        // stderr being closed is no reason to fail either.
        let _unheard =
            console.say(&format!("warning: who asked could not be noted: {}", why.chain()));
        return;
    }
}

fn with_request(mut status: Value, request: &Value) -> Value {
    put(&mut status, "lastRequest", request.clone());
    status
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

/// Sends the difference; the object as it is afterwards.
async fn write(
    cluster: &Cluster,
    name: &str,
    part: Part,
    live: &Value,
    desired: &Value,
) -> Result<Value, WriteFailure> {
    let patch = guarded_patch(live, desired).map_err(|error| {
        WriteFailure::Other(CliError::Refused { message: error.to_string(), hint: None })
    })?;
    let Some(patch) = patch else { return Ok(live.clone()) };
    let written = cluster.write(Kind::Rollout, name, part, patch).await?;
    as_json(&written).map_err(WriteFailure::Other)
}

fn report(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
    verb: &'static str,
    changed: bool,
    message: &str,
) -> Result<Exit, CliError> {
    let report = VerbReport {
        name: name.to_owned(),
        namespace: cluster.namespace().to_owned(),
        verb,
        changed,
        message: message.to_owned(),
    };
    console.data(&report, &[Line::text(format!("rollout {name:?} {message}"))])?;
    Ok(Exit::Done)
}

/// Carries a verb out on several Rollouts; one that fails does not keep the others.
pub(super) async fn on_each(
    cluster: &Cluster,
    console: &mut Console<'_>,
    names: &[String],
    verb: &'static str,
    decide: &(dyn Fn(&Subject) -> Result<Decision, CliError> + Sync),
) -> Result<Exit, CliError> {
    let mut exit = Exit::Done;
    for name in names {
        match carry_out(cluster, console, name, verb, decide).await {
            Ok(one) => exit = exit.and(one),
            Err(error) if error.is_broken_pipe() || names.len() == 1 => return Err(error),
            Err(error) => {
                console.report(&error);
                exit = exit.and(error.exit());
            }
        }
    }
    Ok(exit)
}
