//! `list rollouts`: one row a Rollout. A malformed one has a row that says so, and hides no other.

use chrono::{DateTime, Utc};
use kube::core::DynamicObject;
use serde::Serialize;

use super::args::{ListArgs, Listed};
use super::cluster::Cluster;
use super::error::CliError;
use super::exit::Exit;
use super::live::{self, Scene};
use super::output::Console;
use super::standing::standing;
use super::text::{Line, Span, Tone, age, table};
use super::tree::phase_tone_of;
use super::view::{
    ReplicasView, StepView, WeightsView, created_at, replicas, step, strategy, weights,
};
use super::watch::{News, RolloutStore, list_news};
use crate::api::status::{RolloutPhase, RolloutStatus};
use crate::api::{Rollout, Time};

/// The stable shape of `list rollouts -o json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutList {
    /// The Rollouts, by namespace and name.
    pub items: Vec<RolloutRow>,
}

/// One Rollout in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRow {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// What could be read of it; absent for a malformed one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub facts: Option<RowFacts>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
}

/// What could be read of a Rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RowFacts {
    /// `Canary` or `BlueGreen`.
    pub strategy: &'static str,
    /// Healthy, Degraded, Progressing or Paused.
    pub phase: RolloutPhase,
    /// Why.
    pub message: String,
    /// Whether nothing happens until a person does something.
    pub needs_person: bool,
    /// The step of a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepView>,
    /// Shares of the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsView>,
    /// Numbers of pods.
    pub replicas: ReplicasView,
}

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    console: &mut Console<'_>,
    args: &ListArgs,
) -> Result<Exit, CliError> {
    let Listed::Rollouts = args.what;
    let is_all_namespaces = args.all_namespaces;
    let objects = cluster.rollouts(is_all_namespaces).await?;
    if args.watch.watch {
        let scene = ListScene { store: RolloutStore::of(objects), is_all_namespaces };
        return live::run(console, scene, list_news(cluster, is_all_namespaces)).await;
    }
    let list = rollout_list(objects);
    if list.items.is_empty() && console.format.is_none() {
        let place = if is_all_namespaces {
            "in any namespace".to_owned()
        } else {
            format!("in namespace {:?}", cluster.namespace())
        };
        console.say(&format!("no Rollouts {place}"))?;
        if !is_all_namespaces {
            console.hint("-A shows those of all namespaces")?;
        }
        return Ok(Exit::Done);
    }
    let lines = list_lines(&list, is_all_namespaces, (console.now)());
    console.data(&list, &lines)?;
    Ok(Exit::Done)
}

/// All Rollouts.
struct ListScene {
    store: RolloutStore,
    is_all_namespaces: bool,
}

impl Scene for ListScene {
    type View = RolloutList;

    fn take(&mut self, news: News) {
        self.store.take(news);
    }

    fn lost(&self) -> Option<&str> {
        self.store.lost.as_deref()
    }

    fn view(&self) -> Result<Option<RolloutList>, CliError> {
        Ok(Some(rollout_list(self.store.all())))
    }

    fn lines(&self, view: &RolloutList, now: DateTime<Utc>) -> Vec<Line> {
        list_lines(view, self.is_all_namespaces, now)
    }
}

/// Makes the list.
pub fn rollout_list(found: Vec<DynamicObject>) -> RolloutList {
    let mut items: Vec<RolloutRow> = found
        .into_iter()
        .map(|object| {
            let rollout = Rollout::from_dynamic(&object);
            RolloutRow {
                name: object.metadata.name.clone().unwrap_or_default(),
                namespace: object.metadata.namespace.clone().unwrap_or_default(),
                created_at: created_at(&object.metadata),
                facts: rollout.as_ref().ok().map(facts),
                malformed: rollout.err().map(|error| format!("{} {}", error.path, error.problem)),
            }
        })
        .collect();
    items.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    RolloutList { items }
}

fn facts(rollout: &Rollout) -> RowFacts {
    let none = RolloutStatus::default();
    let status = rollout.status.as_ref().unwrap_or(&none);
    let standing = standing(rollout);
    RowFacts {
        strategy: strategy(rollout),
        phase: standing.phase,
        message: standing.message,
        needs_person: standing.needs_person,
        step: step(rollout, status),
        weights: weights(rollout, status),
        replicas: replicas(rollout, status),
    }
}

/// The list for people.
pub fn list_lines(list: &RolloutList, has_namespaces: bool, now: DateTime<Utc>) -> Vec<Line> {
    let mut header: Vec<&str> = if has_namespaces { vec!["NAMESPACE"] } else { Vec::new() };
    header.extend([
        "NAME",
        "STRATEGY",
        "STATUS",
        "STEP",
        "DESIRED-WEIGHT",
        "ACTUAL-WEIGHT",
        "READY",
        "DESIRED",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
    ]);
    let mut rows: Vec<Vec<Span>> = vec![header.into_iter().map(Span::plain).collect()];
    for item in &list.items {
        let mut row: Vec<Span> = Vec::new();
        if has_namespaces {
            row.push(Span::plain(&item.namespace));
        }
        row.push(Span::plain(&item.name));
        if let Some(facts) = &item.facts {
            row.extend(fact_cells(facts));
        } else {
            row.push(Span::plain("-"));
            row.push(Span::state(Tone::Bad, "Malformed"));
            row.extend(std::iter::repeat_n(Span::plain("-"), 7));
        }
        row.push(Span::plain(age(item.created_at.map(|time| time.0), now)));
        row.extend(item.malformed.clone().map(|why| Span::toned(Tone::Bad, why)));
        rows.push(row);
    }
    table(&rows)
}

fn fact_cells(facts: &RowFacts) -> Vec<Span> {
    let absent = || "-".to_owned();
    let step =
        facts.step.as_ref().map_or_else(absent, |step| format!("{}/{}", step.index, step.count));
    let weight = |pick: fn(&WeightsView) -> Option<u32>| {
        facts.weights.as_ref().and_then(pick).map_or_else(absent, |weight| weight.to_string())
    };
    let pods = facts.replicas;
    vec![
        Span::plain(facts.strategy),
        Span::state(phase_tone_of(facts.phase), facts.phase.as_str()),
        Span::plain(step),
        Span::plain(weight(|weights| weights.desired_canary)),
        Span::plain(weight(|weights| weights.actual_canary)),
        Span::plain(format!("{}/{}", pods.ready, pods.current)),
        Span::plain(pods.desired.to_string()),
        Span::plain(pods.updated.to_string()),
        Span::plain(pods.available.to_string()),
    ]
}
