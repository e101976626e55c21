//! Bugs that are planted in the product, and what finds each: the plain releases, those with a single
//! fault, or a seed.

use std::cell::RefCell;

use sluice::mutants::{Mutant, plant};

use crate::case::Case;
use crate::oracle::Violation;
use crate::{batch, generate, sweep};

/// Plants one bug after the other (only those of these names, if there are any) and looks for each:
/// in the plain releases, in every so-many-th case of the sweep (of those whose name contains a text), and
/// in so many seeds. Prints a table; whether all were found.
///
/// # Errors
/// The plain releases cannot be run.
pub(crate) fn hunt(
    jobs: usize,
    (every, only): (usize, &str),
    seeds: u64,
    names: &[String],
) -> anyhow::Result<bool> {
    let mut cases = sweep::canonical();
    for plain in sweep::canonical() {
        cases.extend(sweep::around(&plain, every, only)?);
    }
    println!("| Planted bug | What it does | Found by | Rule |\n|---|---|---|---|");
    let mut missed = Vec::new();
    for (which, name, what) in Mutant::ALL {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        // Every run is a process of its own, forked from this one.
        plant(Some(*which));
        let all = cases.iter().cloned().chain((1..=seeds).map(generate::case));
        let found = first(jobs, all);
        plant(None);
        let (by, rule) = match found {
            Ok(Some((case, violation))) => {
                let seed = || format!("seed {}", case.seed);
                let by = if case.about.is_empty() { seed() } else { case.about };
                (by, format!("{}: {}", violation.rule, violation.what))
            }
            Ok(None) => {
                missed.push(*name);
                ("nothing".to_owned(), String::new())
            }
            Err(error) => ("the first release".to_owned(), format!("{error:#}")),
        };
        let rule: String = rule.chars().take(110).collect();
        println!("| `{name}` | {} | {by} | {rule} |", what.trim());
    }
    println!("{} not found: {}", missed.len(), missed.join(", "));
    Ok(missed.is_empty())
}

/// The first of these cases that breaks a rule.
fn first(
    jobs: usize,
    mut cases: impl Iterator<Item = Case>,
) -> anyhow::Result<Option<(Case, Violation)>> {
    let found = RefCell::new(None);
    batch::all(
        jobs,
        || if found.borrow().is_some() { None } else { cases.next() },
        |case, report| {
            let mut found = found.borrow_mut();
            if let (None, Some(violation)) = (&*found, report.violations.first()) {
                *found = Some((case.clone(), violation.clone()));
            }
        },
    )?;
    Ok(found.into_inner())
}
