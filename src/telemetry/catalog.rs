//! Every metric that this program exports: the one table from which they are registered and from
//! which their documentation is made.

use std::fmt::Write as _;

use crate::api::Kind;
use crate::api::analysis::AnalysisPhase;
use crate::api::conditions::{AbortCause, Awaited, RevertEnd, UpdateEnd};
use crate::api::git_revert::GitRevertMode;
use crate::api::status::RolloutPhase;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// A present value.
    Gauge,
    /// Counts and sum of observations in buckets.
    Histogram,
}

impl MetricKind {
    /// As in the exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct MetricDoc {
    /// Full name as scraped.
    pub name: &'static str,
    /// Behaviour.
    pub kind: MetricKind,
    /// Unit, empty for plain numbers.
    pub unit: &'static str,
    /// The labels.
    pub labels: &'static [LabelDoc],
    /// Meaning, without a full stop.
    pub help: &'static str,
    /// Upper bounds of the buckets of a histogram.
    pub buckets: &'static [f64],
}

/// A label of a metric.
#[derive(Clone, Copy, Debug)]
pub struct LabelDoc {
    /// Its name.
    pub name: &'static str,
    /// Every value that it can have; empty where the values are names of users, or too many to list.
    pub words: &'static [&'static str],
}

impl LabelDoc {
    /// The name, and the values in brackets where they are listed.
    fn as_markdown(&self) -> String {
        let Self { name, words } = self;
        if words.is_empty() {
            format!("`{name}`")
        } else {
            format!("`{name}` ({})", words.join(", "))
        }
    }
}

/// A label whose values are not listed.
const fn any(name: &'static str) -> LabelDoc {
    LabelDoc { name, words: &[] }
}

/// A label with its values.
const fn one_of(name: &'static str, words: &'static [&'static str]) -> LabelDoc {
    LabelDoc { name, words }
}

/// Which null evidence is against.
const EVIDENCE_WORDS: &[&str] = &["fail", "pass"];
/// Whose share.
const SPLIT_WORDS: &[&str] = &["weight", "requests"];
/// Phases of a Rollout.
const PHASE_WORDS: &[&str] = &[
    RolloutPhase::Healthy.as_str(),
    RolloutPhase::Degraded.as_str(),
    RolloutPhase::Progressing.as_str(),
    RolloutPhase::Paused.as_str(),
];
/// Phases of a measurement that was taken.
const MEASURED_WORDS: &[&str] = &[
    AnalysisPhase::Running.as_str(),
    AnalysisPhase::Successful.as_str(),
    AnalysisPhase::Failed.as_str(),
    AnalysisPhase::Error.as_str(),
    AnalysisPhase::Inconclusive.as_str(),
];
/// Modes of a Git revert; Disabled where it was switched off before the end was seen.
const MODE_WORDS: &[&str] = &[
    GitRevertMode::Disabled.as_str(),
    GitRevertMode::Suggest.as_str(),
    GitRevertMode::PullRequest.as_str(),
    GitRevertMode::Push.as_str(),
];
/// Kinds that are reconciled.
const KIND_WORDS: &[&str] = &[Kind::Rollout.as_str(), Kind::AnalysisRun.as_str()];

const fn row(
    kind: MetricKind,
    name: &'static str,
    unit: &'static str,
    labels: &'static [LabelDoc],
    help: &'static str,
) -> MetricDoc {
    MetricDoc { name, kind, unit, labels, help, buckets: &[] }
}

const fn histogram(
    name: &'static str,
    labels: &'static [LabelDoc],
    buckets: &'static [f64],
    help: &'static str,
) -> MetricDoc {
    MetricDoc { name, kind: MetricKind::Histogram, unit: "seconds", labels, help, buckets }
}

use MetricKind::{Counter, Gauge};

/// Ended rollouts.
pub const ROLLOUTS: MetricDoc = row(
    Counter,
    "sluice_rollouts_total",
    "",
    &[one_of("outcome", UpdateEnd::WORDS)],
    "Updates that ended, by outcome",
);
/// Aborts.
pub const ABORTS: MetricDoc = row(
    Counter,
    "sluice_aborts_total",
    "",
    &[one_of("cause", AbortCause::WORDS)],
    "Aborted updates, by cause",
);
/// Returns of traffic.
pub const ROLLBACKS: MetricDoc = row(
    Counter,
    "sluice_rollbacks_total",
    "",
    &[],
    "Times that all traffic was seen back on stable after an abort",
);
/// Git reverts.
pub const GIT_REVERTS: MetricDoc = row(
    Counter,
    "sluice_git_reverts_total",
    "",
    &[one_of("result", RevertEnd::WORDS), one_of("mode", MODE_WORDS)],
    "Git reverts that came to an end, by result and mode",
);
/// Duration of Git reverts.
pub const GIT_REVERT_SECONDS: MetricDoc = histogram(
    "sluice_git_revert_seconds",
    &[one_of("mode", MODE_WORDS)],
    &[0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0],
    "Time from the persisted verdict to the commit on the branch",
);
/// Speed of aborts.
pub const ABORT_LATENCY: MetricDoc = histogram(
    "sluice_abort_latency_seconds",
    &[],
    &[0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 120.0],
    "Time from the persisted verdict to the actual weight of the canary being 0",
);
/// Measurements.
pub const MEASUREMENTS: MetricDoc = row(
    Counter,
    "sluice_analysis_measurements_total",
    "",
    &[any("provider"), one_of("result", MEASURED_WORDS)],
    "Measurements taken, by provider and result",
);
/// Last measured values.
pub const ANALYSIS_VALUE: MetricDoc = row(
    Gauge,
    "sluice_analysis_value",
    "",
    &[any("namespace"), any("rollout"), any("metric")],
    "Last measured value of a metric; the least recently updated series are dropped beyond a limit",
);
/// Evidence of comparisons.
pub const LOG_E: MetricDoc = row(
    Gauge,
    "sluice_analysis_log_e",
    "",
    &[any("namespace"), any("run"), any("metric"), one_of("kind", EVIDENCE_WORDS)],
    "Natural logarithm of the evidence of a metric that compares canary and stable, against its limit \
     (fail) and against its margin (pass), while its AnalysisRun is under way",
);
/// Lower bounds of comparisons.
pub const RATIO_LOWER: MetricDoc = row(
    Gauge,
    "sluice_analysis_ratio_lower",
    "",
    &[any("namespace"), any("run"), any("metric")],
    "The canary has at least this many times the bad share of stable, at every look; none without a bound",
);
/// Upper bounds of comparisons.
pub const RATIO_UPPER: MetricDoc = row(
    Gauge,
    "sluice_analysis_ratio_upper",
    "",
    &[any("namespace"), any("run"), any("metric")],
    "The canary has at most this many times the bad share of stable, at every look; none without a bound",
);
/// Shares of the traffic, where they are not as the weights say.
pub const SPLIT: MetricDoc = row(
    Gauge,
    "sluice_analysis_split_ratio",
    "",
    &[any("namespace"), any("run"), any("metric"), one_of("kind", SPLIT_WORDS)],
    "The canary's share of the traffic as its weight says it and as its requests show it; only while it is \
     proved that requests do not follow the weight",
);
/// Durations of reconciles.
pub const RECONCILE: MetricDoc = histogram(
    "sluice_reconcile_seconds",
    &[one_of("kind", KIND_WORDS)],
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0],
    "Duration of one reconcile, by kind of object",
);
/// Failed reconciles.
pub const RECONCILE_ERRORS: MetricDoc = row(
    Counter,
    "sluice_reconcile_errors_total",
    "",
    &[one_of("kind", KIND_WORDS)],
    "Requests that failed during reconciles, by kind of object",
);
/// API requests.
pub const API_REQUESTS: MetricDoc = row(
    Counter,
    "sluice_api_requests_total",
    "",
    &[any("verb"), any("resource"), any("code")],
    "Requests to the Kubernetes API; code is the HTTP status, \"error\" without an answer, \
     \"abandoned\" if nobody waited for it",
);
/// Longest waits.
pub const WAITING: MetricDoc = row(
    Gauge,
    "sluice_waiting_seconds",
    "seconds",
    &[one_of("what", Awaited::WORDS)],
    "Longest time that any Rollout has been waiting, by what it waits for",
);
/// Overdue waits.
pub const STUCK: MetricDoc = row(
    Gauge,
    "sluice_stuck_rollouts",
    "",
    &[],
    "Rollouts that have been waiting longer than they should",
);
/// Rollouts by phase.
pub const PHASES: MetricDoc =
    row(Gauge, "sluice_rollout_phase", "", &[one_of("phase", PHASE_WORDS)], "Rollouts in a phase");
/// Decided weights.
pub const DESIRED_WEIGHT: MetricDoc = row(
    Gauge,
    "sluice_desired_weight_ratio",
    "ratio",
    &[any("namespace"), any("rollout")],
    "Share of traffic that was decided for the canary, 0 to 1; limited like sluice_analysis_value",
);
/// Weights read back.
pub const ACTUAL_WEIGHT: MetricDoc = row(
    Gauge,
    "sluice_actual_weight_ratio",
    "ratio",
    &[any("namespace"), any("rollout")],
    "Share of traffic that the canary was seen to get, 0 to 1; absent while unknown",
);
/// Dropped series.
pub const SERIES_DROPPED: MetricDoc = row(
    Counter,
    "sluice_series_dropped_total",
    "",
    &[any("metric")],
    "Series dropped because a metric reached its limit of series",
);
/// Leadership.
pub const LEADER: MetricDoc =
    row(Gauge, "sluice_leader", "", &[], "1 while this process may write to the cluster, else 0");
/// Term of the leadership.
pub const LEADER_EPOCH: MetricDoc =
    row(Gauge, "sluice_leader_epoch", "", &[], "Term of the last leadership of this process");
/// The build.
pub const BUILD_INFO: MetricDoc =
    row(Gauge, "sluice_build_info", "", &[any("version")], "1, with the version as a label");
/// CPU time.
pub const PROCESS_CPU: MetricDoc =
    row(Counter, "process_cpu_seconds_total", "seconds", &[], "User and system CPU time");
/// Memory.
pub const PROCESS_MEMORY: MetricDoc =
    row(Gauge, "process_resident_memory_bytes", "bytes", &[], "Resident memory");
/// Start time.
pub const PROCESS_START: MetricDoc =
    row(Gauge, "process_start_time_seconds", "seconds", &[], "Start of the process, Unix time");
/// File descriptors.
pub const PROCESS_FDS: MetricDoc = row(Gauge, "process_open_fds", "", &[], "Open file descriptors");
/// Threads.
pub const PROCESS_THREADS: MetricDoc = row(Gauge, "process_threads", "", &[], "Threads");

/// The whole table, in the order of the documentation.
pub const CATALOG: &[MetricDoc] = &[
    ROLLOUTS,
    ABORTS,
    ROLLBACKS,
    ABORT_LATENCY,
    GIT_REVERTS,
    GIT_REVERT_SECONDS,
    MEASUREMENTS,
    ANALYSIS_VALUE,
    LOG_E,
    RATIO_LOWER,
    RATIO_UPPER,
    SPLIT,
    PHASES,
    DESIRED_WEIGHT,
    ACTUAL_WEIGHT,
    WAITING,
    STUCK,
    RECONCILE,
    RECONCILE_ERRORS,
    API_REQUESTS,
    LEADER,
    LEADER_EPOCH,
    SERIES_DROPPED,
    BUILD_INFO,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_START,
    PROCESS_FDS,
    PROCESS_THREADS,
];

/// The table as Markdown, for the documentation.
pub fn as_markdown() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for doc in CATALOG {
        let labels = doc.labels.iter().map(LabelDoc::as_markdown).collect::<Vec<_>>();
        let (name, kind, help) = (doc.name, doc.kind.as_str(), doc.help);
        let _ = writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let names: BTreeSet<_> = CATALOG.iter().map(|doc| doc.name).collect();
        assert_eq!(names.len(), CATALOG.len());
        for doc in CATALOG {
            let name = doc.name;
            assert_eq!(doc.kind == Counter, name.ends_with("_total"), "{name}");
            let base = name.trim_end_matches("_total");
            assert!(base.ends_with(doc.unit), "{name} is in {}", doc.unit);
            assert!(!doc.help.ends_with('.'), "{name}: the full stop is added by the encoder");
            let is_histogram = doc.kind == MetricKind::Histogram;
            assert_eq!(is_histogram, !doc.buckets.is_empty(), "{name}");
            assert!(doc.buckets.is_sorted(), "{name}");
        }
    }

    #[test]
    fn the_documentation_has_a_line_for_every_metric() {
        assert_eq!(as_markdown().lines().count(), CATALOG.len() + 2);
    }
}
