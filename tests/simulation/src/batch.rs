//! Many runs: each in a process of its own, several at once, and what they found together.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::case::Case;
use crate::isolate::{Child, Progress};
use crate::oracle::{Violation, differs_from_twin, is_excused};
use crate::run::{Report, run};

/// Longest real time of one run.
const LIMIT: Duration = Duration::from_mins(2);

/// What many runs found.
#[derive(Debug)]
pub(crate) struct Sum {
    /// When it began.
    began: Instant,
    /// Runs.
    pub(crate) scenarios: u64,
    /// Updates that began.
    pub(crate) rollouts: u64,
    /// Faults that were carried out.
    pub(crate) faults: u64,
    /// Deaths of processes.
    pub(crate) deaths: u64,
    /// Violations.
    pub(crate) violations: u64,
    /// The most requests in a second, and the most writes to one object in a minute.
    pub(crate) busiest: (u64, usize),
    /// Runs that reached a state.
    pub(crate) reached: BTreeMap<String, u64>,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            scenarios: 0,
            rollouts: 0,
            faults: 0,
            deaths: 0,
            violations: 0,
            busiest: (0, 0),
            reached: BTreeMap::new(),
        }
    }
}

impl Sum {
    /// Adds a run.
    pub(crate) fn add(&mut self, report: &Report) {
        self.scenarios += 1;
        self.rollouts += report.rollouts;
        self.faults += report.faults;
        self.deaths += report.deaths;
        self.violations += u64::try_from(report.violations.len()).unwrap_or(0);
        self.busiest.0 = self.busiest.0.max(report.busiest.0);
        self.busiest.1 = self.busiest.1.max(report.busiest.1);
        for state in &report.reached {
            *self.reached.entry(state.clone()).or_default() += 1;
        }
    }

    /// Runs in a second of real time, on all cores together.
    fn per_second(&self) -> f64 {
        let seconds = self.began.elapsed().as_secs_f64();
        f64::from(u32::try_from(self.scenarios).unwrap_or(u32::MAX)) / seconds.max(0.001)
    }

    /// The last line of a soak.
    pub(crate) fn line(&self) -> String {
        format!(
            "scenarios {}, rollouts {}, faults {}, controller deaths {}, violations {}, \
             scenarios per second {:.1}",
            self.scenarios,
            self.rollouts,
            self.faults,
            self.deaths,
            self.violations,
            self.per_second()
        )
    }
}

/// Starts a case in a process of its own.
fn start(case: &Case, is_told: bool) -> anyhow::Result<Child> {
    let case = case.clone();
    Child::start(move || {
        let done = with_twin(&case, is_told).map_err(|error| format!("{error:#}"));
        serde_json::to_vec(&done).unwrap_or_default()
    })
}

/// The run, and after it the one without faults where the two must end alike. It comes after and in a
/// thread of its own, so that the trace of the first does not depend on it.
fn with_twin(case: &Case, is_told: bool) -> anyhow::Result<Report> {
    let mut report = run(case, is_told)?;
    if case.faults.is_empty() || is_excused(case) || !report.violations.is_empty() {
        return Ok(report);
    }
    let twin = case.without_faults();
    let other = std::thread::Builder::new().stack_size(64 << 20).spawn(move || run(&twin, false));
    let other = other?.join().map_err(|_| anyhow::anyhow!("the twin broke down"))??;
    if let Some(what) = differs_from_twin(&report.end, &other.end) {
        let at_ms = report.virtual_ms;
        report.violations.push(Violation { rule: "twin".to_owned(), version: 0, at_ms, what });
    }
    Ok(report)
}

fn read(bytes: &[u8]) -> anyhow::Result<Report> {
    let done: Result<Report, String> =
        serde_json::from_slice(bytes).context("failed to read the report of a run")?;
    done.map_err(|error| anyhow::anyhow!(error))
}

/// A run that found no end is a violation, too: something in it goes in circles.
fn died(why: String) -> Report {
    let violation = Violation { rule: "run".to_owned(), version: 0, at_ms: 0, what: why };
    Report { violations: vec![violation], ..Report::default() }
}

/// Runs one case.
///
/// # Errors
/// The case cannot be run at all.
pub(crate) fn alone(case: &Case, is_told: bool) -> anyhow::Result<Report> {
    let mut child = start(case, is_told)?;
    loop {
        match child.poll(LIMIT)? {
            Progress::Running => {}
            Progress::Over(bytes) => return read(&bytes),
            Progress::Died(why) => return Ok(died(why)),
        }
    }
}

/// Runs cases, `jobs` at once, until `next` has none left; tells each with its report.
///
/// # Errors
/// A case cannot be run at all.
pub(crate) fn all(
    jobs: usize,
    mut next: impl FnMut() -> Option<Case>,
    mut tell: impl FnMut(&Case, &Report),
) -> anyhow::Result<()> {
    let mut running: VecDeque<(Case, Child)> = VecDeque::new();
    let mut is_open = true;
    loop {
        while is_open && running.len() < jobs.max(1) {
            match next() {
                Some(case) => {
                    let child = start(&case, false)?;
                    running.push_back((case, child));
                }
                None => is_open = false,
            }
        }
        let Some((case, mut child)) = running.pop_front() else { return Ok(()) };
        match child.poll(LIMIT)? {
            Progress::Running => running.push_back((case, child)),
            Progress::Over(bytes) => tell(&case, &read(&bytes)?),
            Progress::Died(why) => tell(&case, &died(why)),
        }
    }
}
