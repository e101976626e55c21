//! The registry of scenarios: one file and one line each. They run one after the other, in the order of this table.

mod selftest;

use std::pin::Pin;

use anyhow::Result;

use crate::scene::Scene;

type Run = for<'a> fn(&'a Scene) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A scenario as the registry knows it.
pub(crate) struct Scenario {
    /// What `e2e/run NAME` takes; also the end of its namespace's name.
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) about: &'static str,
    /// Whether the controller must be installed.
    pub(crate) needs_controller: bool,
    /// Does it.
    pub(crate) run: Run,
}

/// Every scenario.
pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "selftest",
    about: "the cluster itself: routing by weight, metrics, Git, agent",
    needs_controller: false,
    run: |scene| Box::pin(selftest::run(scene)),
}];
