//! Every metric that this program exports: the one table from which they are registered and from
//! which their documentation is made.

use std::fmt::Write as _;

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
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Meaning, without a full stop.
    pub help: &'static str,
    /// Upper bounds of the buckets of a histogram.
    pub buckets: &'static [f64],
}

const fn row(
    kind: MetricKind,
    name: &'static str,
    unit: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricDoc {
    MetricDoc { name, kind, unit, labels, help, buckets: &[] }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
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
    &["outcome"],
    "Updates that ended, by outcome (Completed, Aborted, Superseded)",
);
/// Aborts.
pub const ABORTS: MetricDoc = row(
    Counter,
    "sluice_aborts_total",
    "",
    &["cause"],
    "Aborted updates, by cause (AnalysisFailed, AnalysisError, Deadline, User)",
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
    &["result", "mode"],
    "Git reverts that came to an end, by result and mode",
);
/// Duration of Git reverts.
pub const GIT_REVERT_SECONDS: MetricDoc = histogram(
    "sluice_git_revert_seconds",
    &["mode"],
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
    &["provider", "result"],
    "Measurements taken, by provider and result",
);
/// Last measured values.
pub const ANALYSIS_VALUE: MetricDoc = row(
    Gauge,
    "sluice_analysis_value",
    "",
    &["namespace", "rollout", "metric"],
    "Last measured value of a metric; the least recently updated series are dropped beyond a limit",
);
/// Durations of reconciles.
pub const RECONCILE: MetricDoc = histogram(
    "sluice_reconcile_seconds",
    &["kind"],
    &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0],
    "Duration of one reconcile, by kind of object",
);
/// Failed reconciles.
pub const RECONCILE_ERRORS: MetricDoc = row(
    Counter,
    "sluice_reconcile_errors_total",
    "",
    &["kind"],
    "Reconciles that could not finish, by kind of error",
);
/// API requests.
pub const API_REQUESTS: MetricDoc = row(
    Counter,
    "sluice_api_requests_total",
    "",
    &["verb", "resource", "code"],
    "Requests to the Kubernetes API; code is the HTTP status, \"error\" without an answer, \
     \"abandoned\" if nobody waited for it",
);
/// Longest waits.
pub const WAITING: MetricDoc = row(
    Gauge,
    "sluice_waiting_seconds",
    "seconds",
    &["what"],
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
    row(Gauge, "sluice_rollout_phase", "", &["phase"], "Rollouts in a phase");
/// Decided weights.
pub const DESIRED_WEIGHT: MetricDoc = row(
    Gauge,
    "sluice_desired_weight_ratio",
    "ratio",
    &["namespace", "rollout"],
    "Share of traffic that was decided for the canary, 0 to 1; limited like sluice_analysis_value",
);
/// Weights read back.
pub const ACTUAL_WEIGHT: MetricDoc = row(
    Gauge,
    "sluice_actual_weight_ratio",
    "ratio",
    &["namespace", "rollout"],
    "Share of traffic that the canary was seen to get, 0 to 1; absent while unknown",
);
/// Dropped series.
pub const SERIES_DROPPED: MetricDoc = row(
    Counter,
    "sluice_series_dropped_total",
    "",
    &["metric"],
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
    row(Gauge, "sluice_build_info", "", &["version"], "1, with the version as a label");
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
        let labels = doc.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
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
