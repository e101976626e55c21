//! Where an update may compare: only beside the steps of a canary, where both revisions serve at the
//! same time, and one run sees all of it.

use chrono::TimeDelta;

use super::resolve::{DEFAULT_INTERVAL, DEFAULT_PLANNED_LOOKS};
use crate::api::analysis::{AnalysisRunSpec, ArmsBy, Metric};

/// Most looks that are planned for.
const MAX_PLANNED_LOOKS: i64 = 2_000;
/// Fewest: shorter updates end before a late regression could matter.
const MIN_PLANNED_LOOKS: i64 = 20;

/// For which part of an update a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Beside the steps of a canary.
    Background {
        /// Whether there are any steps.
        has_steps: bool,
        /// How long its timed pauses are together.
        pauses: TimeDelta,
    },
    /// A step of a canary.
    Step,
    /// Before or after the switch of a blue-green update.
    BlueGreen,
}

/// The two revisions of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions<'a> {
    /// ReplicaSet and hash of the pods of the new one; none until the set is there.
    pub canary: Option<(&'a str, &'a str)>,
    /// The same of the stable one.
    pub stable: Option<(&'a str, &'a str)>,
}

/// Completes the specification of a run that compares; one that does not is left as it is. `earlier`: how
/// many runs have compared this revision before.
///
/// # Errors
/// Why nothing can be compared there, and what would be right; begins with the metric.
pub fn complete(
    spec: &mut AnalysisRunSpec,
    place: Place,
    revisions: &Revisions<'_>,
    earlier: u32,
) -> Result<(), String> {
    let Some(comparison) = &mut spec.comparison else { return Ok(()) };
    let compared = spec.metrics.iter().find(|metric| metric.is_comparing());
    let name = compared.map_or("", |metric: &Metric| metric.name.as_str());
    let metric = format!("the metric {name:?} compares canary and stable");
    let pauses = match place {
        Place::Background { has_steps: true, pauses } => pauses,
        Place::Background { has_steps: false, .. } => {
            return Err(format!(
                "{metric}, and without steps they do not serve side by side for any time: write steps \
                 with setWeight and pause"
            ));
        }
        Place::Step => {
            return Err(format!(
                "{metric}: in a step its evidence would begin again with each step. Name it in \
                 strategy.canary.analysis, which sees the whole update"
            ));
        }
        Place::BlueGreen => {
            return Err(format!(
                "{metric}, and in a blue-green update they have no users at the same time. Use a \
                 canary, or a metric with a provider and conditions"
            ));
        }
    };
    let missing = |what: &str| format!("{metric}, and the {what} ReplicaSet is not there yet");
    let canary = revisions.canary.ok_or_else(|| missing("new"))?;
    let stable = revisions.stable.ok_or_else(|| missing("stable"))?;
    let mut arms = comparison.settings.arms.clone().unwrap_or_default();
    let of = |(set, hash): (&str, &str)| match arms.by.unwrap_or_default() {
        ArmsBy::Pod | ArmsBy::Workload => set.to_owned(),
        ArmsBy::Label => hash.to_owned(),
    };
    let (canary, stable) = (of(canary), of(stable));
    arms.canary.get_or_insert(canary);
    arms.stable.get_or_insert(stable);
    comparison.settings.arms = Some(arms);
    comparison.attempt = Some(earlier.saturating_add(1));
    let interval = comparison.settings.interval.as_ref().and_then(|it| it.as_duration().ok());
    let interval = interval.filter(|it| *it > TimeDelta::zero()).unwrap_or(DEFAULT_INTERVAL);
    let looks = pauses.num_milliseconds() / interval.num_milliseconds().max(1);
    comparison.planned_looks = Some(if pauses > TimeDelta::zero() {
        u32::try_from(looks.clamp(MIN_PLANNED_LOOKS, MAX_PLANNED_LOOKS))
            .unwrap_or(DEFAULT_PLANNED_LOOKS)
    } else {
        DEFAULT_PLANNED_LOOKS
    });
    Ok(())
}
