//! Progress for the person who watches: one line an event on stderr, with the seconds since the start. Data goes elsewhere.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::OnceLock;

use tokio::time::Instant;

static STARTED: OnceLock<Instant> = OnceLock::new();

/// One line of progress of `scope` (a scenario, or a part of the driver).
pub(crate) fn say(scope: &str, text: impl Display) {
    let started = *STARTED.get_or_init(Instant::now);
    // A closed stderr is no reason to stop a test.
    let _ignored =
        writeln!(std::io::stderr(), "[{:7.1}s] {scope}: {text}", started.elapsed().as_secs_f64());
}

/// A line of the result on stdout.
pub(crate) fn print(text: impl Display) {
    let _ignored = writeln!(std::io::stdout(), "{text}");
}
