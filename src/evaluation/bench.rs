//! `sluice judge bench`: simulated releases, judged by this program's own judge and by other methods.
//!
//! It reproduces a published table to within two of 2,000 runs, and holds the defaults of this version
//! to gates: no more false rollbacks than promised, and no detection slower than before.

mod methods;
mod random;
mod scenarios;

use std::fmt::Write as _;
use std::thread;

use serde::{Deserialize, Serialize};

use methods::{METHODS, Outcome};
use random::Quantiles;
use scenarios::{LOOKS, Scenario};

/// Runs of each row.
const RUNS: u32 = 2_000;
/// How far a count may be from the published one.
const COUNT_TOLERANCE: u32 = 2;
/// False rollbacks that a healthy row may have, of [`RUNS`].
const MOST_IN_A_ROW: u32 = 20;
/// False rollbacks that all healthy rows of E1 to E8 may have together.
const MOST_IN_ALL: u32 = 40;

/// The published counts and medians, by scenario, ratio and method.
const EXPECTED: &str = include_str!("bench/expected.json");

#[derive(Debug, Deserialize)]
struct ExpectedRow {
    scenario: String,
    ratio: f64,
    methods: std::collections::BTreeMap<String, Cell>,
}

/// How many of the runs came to the verdict, and the median look; None where more than half did not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Runs with the verdict.
    pub count: u32,
    /// Median look of the verdict, from 1.
    pub median: Option<f64>,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Short name.
    pub scenario: &'static str,
    /// In words.
    pub what: &'static str,
    /// How many times as bad the canary is.
    pub ratio: f64,
    /// By method, in the order of the table.
    pub cells: Vec<(&'static str, Cell)>,
}

/// A promise, and whether it was kept.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// What is promised.
    pub promise: String,
    /// Whether it holds.
    pub is_kept: bool,
    /// What was seen; where it does not hold, each cell that is wrong.
    pub seen: String,
}

/// What a benchmark says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bench {
    /// Runs of each row.
    pub runs: u32,
    /// The table.
    pub rows: Vec<Row>,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// What is aimed at.
    pub targets: Vec<Gate>,
}

impl Row {
    fn cell(&self, method: &str) -> Option<Cell> {
        self.cells.iter().find(|(name, _)| *name == method).map(|(_, cell)| *cell)
    }

    /// Whether a rollback is a false one: E1 to E8 with a ratio that is allowed.
    fn is_healthy(&self) -> bool {
        self.ratio <= 1.0
    }
}

impl Bench {
    /// Runs it, on all processors.
    pub fn run() -> Result<Self, serde_json::Error> {
        let expected: Vec<ExpectedRow> = serde_json::from_str(EXPECTED)?;
        let rows = rows(RUNS);
        let gates = vec![
            reproduces(&rows, &expected),
            healthy_rows(&rows),
            healthy_sum(&rows),
            no_slower(&rows, &expected),
        ];
        let targets = targets(&rows);
        Ok(Self { runs: RUNS, rows, gates, targets })
    }

    /// Whether all gates are kept.
    pub fn is_kept(&self) -> bool {
        self.gates.iter().all(|gate| gate.is_kept)
    }

    /// The table and the gates as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from("| scenario | ratio |");
        for (name, _) in METHODS {
            let _ = write!(text, " {name} |");
        }
        let _ = write!(text, "\n| --- | --- |{}\n", " --- |".repeat(METHODS.len()));
        for row in &self.rows {
            let _ = write!(text, "| {} {} | {} |", row.scenario, row.what, row.ratio);
            for (_, cell) in &row.cells {
                let percent = f64::from(cell.count) * 100.0 / f64::from(self.runs);
                let median = cell.median.map_or("-".to_owned(), |look| look.to_string());
                let _ = write!(text, " {percent:.1} / {median} |");
            }
            text.push('\n');
        }
        let _ = write!(
            text,
            "\n% of {} runs with the verdict within {LOOKS} looks / median look (-: not in half of \
             the runs).\n",
            self.runs
        );
        for (name, what) in METHODS {
            let _ = writeln!(text, "- {name}: {what}");
        }
        for (title, list) in [("gates", &self.gates), ("targets", &self.targets)] {
            let _ = writeln!(text, "\n{title}:");
            for gate in list {
                let word = if gate.is_kept { "ok" } else { "NO" };
                let _ = writeln!(text, "- {word}: {} ({})", gate.promise, gate.seen);
            }
        }
        text
    }
}

fn rows(runs: u32) -> Vec<Row> {
    scenarios::all().iter().flat_map(|scenario| rows_of(scenario, runs)).collect()
}

fn rows_of(scenario: &Scenario, runs: u32) -> Vec<Row> {
    let threads = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let threads = u32::try_from(threads).unwrap_or(2).clamp(1, 16);
    let outcomes: Vec<Vec<Outcome>> = thread::scope(|scope| {
        let share =
            |thread: u32| move || outcomes(scenario, (thread..runs).step_by(threads as usize));
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(share(thread))).collect();
        // A thread that panicked gives no outcomes, which no gate takes for success.
        handles.into_iter().flat_map(|it| it.join().unwrap_or_default()).collect()
    });
    let row = |(idx, ratio): (usize, &f64)| Row {
        scenario: scenario.name,
        what: scenario.what,
        ratio: *ratio,
        cells: METHODS
            .iter()
            .enumerate()
            .map(|(method, (name, _))| {
                let looks = outcomes.iter().filter_map(|run| run.get(idx)?.get(method).copied());
                (*name, cell(looks.collect()))
            })
            .collect(),
    };
    scenario.ratios.iter().enumerate().map(row).collect()
}

/// For each run the outcome of each ratio.
fn outcomes(scenario: &Scenario, runs: impl Iterator<Item = u32>) -> Vec<Vec<Outcome>> {
    let mut quantiles = Quantiles::default();
    runs.map(|run| {
        let run = u64::from(run);
        let dispersion = scenario.dispersion(run, &mut quantiles);
        let ratios = scenario.ratios.iter();
        ratios
            .map(|ratio| {
                let looks = scenario.looks(*ratio, run, &mut quantiles);
                methods::judge(scenario, &looks, dispersion)
            })
            .collect()
    })
    .collect()
}

fn cell(mut looks: Vec<Option<u32>>) -> Cell {
    looks.sort_by_key(|look| look.unwrap_or(u32::MAX));
    let at = |idx: usize| looks.get(idx).copied().flatten().map(f64::from);
    let middle = looks.len() / 2;
    let below = if looks.len().is_multiple_of(2) { middle.saturating_sub(1) } else { middle };
    let median = at(below).zip(at(middle)).map(|(low, high)| f64::midpoint(low, high));
    let count = looks.iter().flatten().count();
    Cell { count: u32::try_from(count).unwrap_or(u32::MAX), median }
}

fn gate(promise: &str, wrong: &[String], seen: String) -> Gate {
    let is_kept = wrong.is_empty();
    let seen = if is_kept { seen } else { wrong.join("; ") };
    Gate { promise: promise.to_owned(), is_kept, seen }
}

fn reproduces(rows: &[Row], expected: &[ExpectedRow]) -> Gate {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for published in expected {
        let row = find(rows, &published.scenario, published.ratio);
        for (method, cell) in &published.methods {
            compared += 1;
            let actual = row.and_then(|row| row.cell(method));
            let is_near = actual.is_some_and(|it| {
                it.count.abs_diff(cell.count) <= COUNT_TOLERANCE && it.median == cell.median
            });
            if !is_near {
                let (name, ratio) = (&published.scenario, published.ratio);
                wrong.push(format!("{name} x{ratio} {method}: {actual:?}, published {cell:?}"));
            }
        }
    }
    gate(
        "the published counts to within 2 of 2,000, the medians exactly",
        &wrong,
        format!("{compared} cells"),
    )
}

fn find<'a>(rows: &'a [Row], scenario: &str, ratio: f64) -> Option<&'a Row> {
    rows.iter().find(|row| row.scenario == scenario && (row.ratio - ratio).abs() < 1e-9)
}

fn false_rollbacks(rows: &[Row]) -> Vec<(&Row, u32)> {
    let healthy = rows.iter().filter(|row| row.is_healthy());
    healthy.filter_map(|row| Some((row, row.cell("D")?.count))).collect()
}

fn healthy_rows(rows: &[Row]) -> Gate {
    let all = false_rollbacks(rows);
    let over = all.iter().filter(|(_, count)| *count > MOST_IN_A_ROW);
    let wrong: Vec<String> =
        over.map(|(row, count)| format!("{}: {count}", row.scenario)).collect();
    let seen = all.iter().map(|(row, count)| format!("{} {count}", row.scenario));
    let seen = seen.collect::<Vec<_>>().join(", ");
    gate("at most 20 of 2,000 false rollbacks in a healthy row", &wrong, seen)
}

fn healthy_sum(rows: &[Row]) -> Gate {
    let sum: u32 = false_rollbacks(rows).iter().map(|(_, count)| count).sum();
    let wrong: Vec<String> = (sum > MOST_IN_ALL).then(|| format!("{sum}")).into_iter().collect();
    gate("at most 40 of 16,000 false rollbacks in all", &wrong, sum.to_string())
}

fn no_slower(rows: &[Row], expected: &[ExpectedRow]) -> Gate {
    let mut wrong = Vec::new();
    let mut faster = Vec::new();
    for published in expected.iter().filter(|row| row.ratio > 1.1) {
        let Some(row) = find(rows, &published.scenario, published.ratio) else { continue };
        for (reference, own) in [("S", "D"), ("S05", "D05")] {
            let (Some(old), Some(new)) = (published.methods.get(reference), row.cell(own)) else {
                continue;
            };
            let [old, new] = [old.median, new.median].map(|it| it.unwrap_or(f64::INFINITY));
            let text = format!("{} x{} {own}: {new}, was {old}", row.scenario, row.ratio);
            if new > old {
                wrong.push(text);
            } else if new < old {
                faster.push(text);
            }
        }
    }
    let seen = if faster.is_empty() { "none is faster".to_owned() } else { faster.join("; ") };
    gate("no median of a detection is later than published", &wrong, seen)
}

fn targets(rows: &[Row]) -> Vec<Gate> {
    let detected = |scenario: &str, ratio: f64, least: u32| {
        let count =
            find(rows, scenario, ratio).and_then(|row| row.cell("D")).map_or(0, |it| it.count);
        let percent = |count: u32| f64::from(count) * 100.0 / f64::from(RUNS);
        Gate {
            promise: format!("{scenario} x{ratio} detected in {} % of the runs", percent(least)),
            is_kept: count >= least,
            seen: format!("{:.1} %", percent(count)),
        }
    };
    let median = find(rows, "E3", 5.0).and_then(|row| row.cell("D")?.median);
    vec![
        detected("E1", 2.0, RUNS / 2),
        Gate {
            promise: "E3 x5 detected in 14 looks".to_owned(),
            is_kept: median.is_some_and(|look| look <= 14.0),
            seen: median.map_or("never".to_owned(), |look| look.to_string()),
        },
        detected("E7", 2.0, RUNS * 6 / 10),
    ]
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these are written numbers")]
mod tests {
    use super::*;

    /// The published table as if it had been measured, this version's design like the reference.
    fn published() -> (Vec<Row>, Vec<ExpectedRow>) {
        let expected: Vec<ExpectedRow> = serde_json::from_str(EXPECTED).unwrap();
        let name = |method: &str| METHODS.iter().find(|(name, _)| *name == method).unwrap().0;
        let rows = expected.iter().map(|row| {
            let mut cells: Vec<_> =
                row.methods.iter().map(|(method, cell)| (name(method), *cell)).collect();
            cells.extend([("D", row.methods["S"]), ("D05", row.methods["S05"])]);
            let scenario = scenarios::all().iter().find(|it| it.name == row.scenario).unwrap().name;
            Row { scenario, what: "", ratio: row.ratio, cells }
        });
        (rows.collect(), expected)
    }

    fn change(rows: &mut [Row], scenario: &str, ratio: f64, method: &str, cell: Cell) {
        let row = rows.iter_mut().find(|it| it.scenario == scenario && it.ratio == ratio).unwrap();
        row.cells.iter_mut().find(|(name, _)| *name == method).unwrap().1 = cell;
    }

    #[test]
    fn the_published_table_has_every_row() {
        let (rows, expected) = published();
        let mut expected = expected.iter().map(|row| (row.scenario.as_str(), row.ratio));
        for scenario in scenarios::all() {
            for ratio in scenario.ratios {
                assert_eq!(expected.next(), Some((scenario.name, *ratio)));
            }
        }
        assert_eq!(expected.next(), None);
        assert_eq!(rows.len(), 30);
        assert_eq!(false_rollbacks(&rows).len(), 8);
    }

    #[test]
    fn each_gate_notices_what_it_is_for() {
        let (rows, expected) = published();
        assert!(reproduces(&rows, &expected).is_kept);
        assert!(healthy_rows(&rows).is_kept && healthy_sum(&rows).is_kept);
        assert!(no_slower(&rows, &expected).is_kept);
        assert!(targets(&rows).iter().all(|target| !target.is_kept));
        let changed = |scenario, ratio, method, count, median| {
            let mut rows = rows.clone();
            change(&mut rows, scenario, ratio, method, Cell { count, median });
            rows
        };
        assert!(reproduces(&changed("E1", 2.0, "S", 824, None), &expected).is_kept);
        assert!(!reproduces(&changed("E1", 2.0, "S", 825, None), &expected).is_kept);
        assert!(!reproduces(&changed("E1", 5.0, "B", 2_000, Some(4.0)), &expected).is_kept);
        assert!(!reproduces(&rows[1..], &expected).is_kept);
        assert!(healthy_rows(&changed("E2", 1.0, "D", 11, None)).is_kept);
        assert!(healthy_sum(&changed("E2", 1.0, "D", 12, None)).is_kept);
        assert!(!healthy_sum(&changed("E2", 1.0, "D", 13, None)).is_kept);
        assert!(!healthy_rows(&changed("E2", 1.0, "D", 21, None)).is_kept);
        assert!(!no_slower(&changed("E3", 5.0, "D", 2_000, Some(17.5)), &expected).is_kept);
        assert!(!no_slower(&changed("E3", 5.0, "D", 2_000, None), &expected).is_kept);
        assert!(targets(&changed("E3", 5.0, "D", 2_000, Some(14.0)))[1].is_kept);
    }

    #[test]
    fn a_median_needs_half_of_the_runs() {
        assert_eq!(cell(vec![Some(4), None, Some(1)]), Cell { count: 2, median: Some(4.0) });
        assert_eq!(cell(vec![Some(4), None]), Cell { count: 1, median: None });
        assert_eq!(cell(vec![Some(4), Some(5)]), Cell { count: 2, median: Some(4.5) });
        assert_eq!(cell(Vec::new()), Cell { count: 0, median: None });
    }

    #[test]
    fn a_few_runs_of_a_disaster_are_seen_at_once() {
        let scenarios = scenarios::all();
        let rows = rows_of(scenarios.iter().find(|it| it.name == "E4").unwrap(), 12);
        let disaster = find(&rows, "E4", 50.0).unwrap();
        for method in ["S", "D"] {
            let cell = disaster.cell(method).unwrap();
            assert_eq!(cell.count, 12);
            assert!(cell.median.unwrap() <= 4.0);
        }
        assert_eq!(find(&rows, "E4", 1.0).unwrap().cell("D").unwrap().count, 0);
        let text = Bench { runs: 12, rows, gates: Vec::new(), targets: Vec::new() }.markdown();
        assert!(text.contains("| E4 0.5 rps, 10 %, base 1 % | 50 |"), "{text}");
    }
}
