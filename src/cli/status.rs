//! `status`: waits until a Rollout is healthy, degraded or waits for a person, and tells it by the
//! exit code. The last word goes to stdout, progress to stderr.

use std::time::Duration;

use futures::StreamExt as _;
use serde::Serialize;
use tokio::time::Instant;

use super::args::StatusArgs;
use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::output::Console;
use super::standing::{PauseEnd, Standing, pause_end, standing};
use super::text::{Line, Span};
use super::tree::phase_tone_of;
use super::watch::{World, rollout_news};
use crate::api::status::RolloutPhase;
use crate::api::{IntOrString, Kind, Rollout};

/// The stable shape of `status -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Name of the Rollout.
    pub name: String,
    /// Namespace of the Rollout.
    pub namespace: String,
    /// Its phase.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
    /// Whether nothing happens until a person does something.
    pub needs_person: bool,
    /// Whether the time was up before it was settled.
    pub timed_out: bool,
}

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &StatusArgs,
) -> Result<Exit, CliError> {
    let limit = args.timeout.as_deref().map(parse_limit).transpose()?;
    let name = args.rollout.name()?;
    if args.watch {
        return wait(cluster, console, &name, limit).await;
    }
    let rollout = cluster.rollout(&name).await?;
    report(console, &rollout, &standing(&rollout), false)
}

/// A duration of the command line.
pub(super) fn parse_limit(text: &str) -> Result<Duration, CliError> {
    let limit = IntOrString::Text(text.to_owned()).as_duration();
    limit
        .map_err(|error| CliError::usage(error.to_string(), "write for example 90s or 5m"))
        .map(|limit| limit.to_std().unwrap_or(Duration::ZERO))
}

/// Waits until the Rollout is settled, at most for `limit`.
pub(super) async fn wait(
    cluster: &Cluster,
    console: &mut Console<'_>,
    name: &str,
    limit: Option<Duration>,
) -> Result<Exit, CliError> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut world = World::of_rollout(cluster.object(Kind::Rollout, name).await?);
    let mut news = rollout_news(cluster, name);
    let mut told = None;
    loop {
        let Some(rollout) = world.rollout()? else {
            return Err(CliError::NotFound {
                kind: "Rollout",
                name: name.to_owned(),
                namespace: cluster.namespace().to_owned(),
            });
        };
        let standing = standing(&rollout);
        if is_settled(&standing) {
            return report(console, &rollout, &standing, false);
        }
        let progress = progress_text(&rollout, &standing);
        if told.as_ref() != Some(&progress) {
            console.say(&progress)?;
            told = Some(progress);
        }
        if let Some(why) = &world.lost {
            console.say(&format!("the watch broke and is begun again: {why}"))?;
        }
        let out_of_time = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            piece = news.next() => match piece {
                Some(piece) => world.take(piece),
                None => return report(console, &rollout, &standing, true),
            },
            () = out_of_time => return report(console, &rollout, &standing, true),
        }
    }
}

/// Whether waiting longer changes nothing by itself.
fn is_settled(standing: &Standing) -> bool {
    match standing.phase {
        RolloutPhase::Healthy | RolloutPhase::Degraded => true,
        RolloutPhase::Paused => standing.needs_person,
        RolloutPhase::Progressing => false,
    }
}

/// How the command ends for a Rollout that stands so.
pub fn exit_for(standing: &Standing) -> Exit {
    match standing.phase {
        RolloutPhase::Healthy => Exit::Done,
        RolloutPhase::Paused if standing.needs_person => Exit::NeedsPerson,
        RolloutPhase::Degraded | RolloutPhase::Paused | RolloutPhase::Progressing => Exit::Failed,
    }
}

fn progress_text(rollout: &Rollout, standing: &Standing) -> String {
    let mut text = standing.phase.as_str().to_owned();
    if !standing.message.is_empty() {
        text = format!("{text}: {}", standing.message);
    }
    let status = rollout.status.as_ref();
    let index = status.and_then(|status| status.current_step_index);
    let steps = rollout.spec.strategy.canary.as_ref().map_or(0, |canary| canary.steps.len());
    if let Some(index) = index.filter(|_| steps > 0) {
        text = format!("{text} (step {index}/{steps})");
    }
    if let Some(wait) = status.and_then(|status| status.waiting_on.first()) {
        text = format!("{text}; waiting on {}", wait.what);
    }
    text
}

fn report(
    console: &mut Console<'_>,
    rollout: &Rollout,
    standing: &Standing,
    timed_out: bool,
) -> Result<Exit, CliError> {
    let name = rollout.metadata.name.clone().unwrap_or_default();
    let report = StatusReport {
        name: name.clone(),
        namespace: rollout.metadata.namespace.clone().unwrap_or_default(),
        phase: standing.phase,
        message: standing.message.clone(),
        needs_person: standing.needs_person,
        timed_out,
    };
    let mut spans = vec![Span::state(phase_tone_of(standing.phase), standing.phase.as_str())];
    if !standing.message.is_empty() {
        spans.push(Span::plain(format!(" - {}", standing.message)));
    }
    console.data(&report, &[Line(spans)])?;
    if timed_out {
        console.say("the time is up and the Rollout is not settled")?;
    }
    match exit_for(standing) {
        Exit::Done => {}
        Exit::NeedsPerson => match pause_end(rollout) {
            Some(PauseEnd::Person(verb)) => {
                console.hint(&format!("let it go on: kubectl sluice {verb} {name}"))?;
            }
            Some(PauseEnd::At(_)) | None => {}
        },
        Exit::Failed | Exit::Usage | Exit::Unexpected => {
            console.hint(&format!("see why: kubectl sluice explain {name}"))?;
        }
    }
    Ok(exit_for(standing))
}
