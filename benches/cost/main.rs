//! What the controller costs:
//!
//! - `converged N...`: the real controller, as a process of its own, with N Rollouts on the cluster in
//!   memory: requests and time until all are Healthy, and then what it does while nothing happens;
//! - `decide`: one look at a Rollout in mid-canary, and one decision.
//!
//! `cargo bench --bench cost` runs all of it with 1,000 and 10,000 Rollouts. Nothing here asserts a
//! time. It does end with an error when converged Rollouts cause a write, or more than one GET a
//! minute each.

mod converged;
mod decide;
mod process;

use std::io::{self, Write as _};

use anyhow::{Context as _, bail};

fn main() -> anyhow::Result<()> {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            decide::run()?;
            converged::run(1000)?;
            converged::run(10_000)
        }
        ["decide"] => decide::run(),
        ["converged", counts @ ..] if !counts.is_empty() => {
            for count in counts {
                converged::run(count.parse().with_context(|| format!("not a number: {count}"))?)?;
            }
            Ok(())
        }
        other => bail!("unknown: {other:?}; known: nothing, `decide`, `converged N...`"),
    }
}

/// Prints a line.
fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}
