//! The registry of scenarios: one line each, and a file for each family. They run one after the other, in this order.

mod bad_canary;
mod blue_green;
mod by_hand;
mod controller_killed;
mod gitops;
mod good_canary;
mod hostile;
mod judged;
mod outages;
mod selftest;

use std::pin::Pin;

use anyhow::Result;

use crate::gitops::Tool;
use crate::scene::Scene;

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A scenario as the registry knows it.
pub(crate) struct Scenario {
    /// What `e2e/run NAME` takes; also the end of its namespace's name.
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) about: &'static str,
    /// Whether the controller must be installed.
    pub(crate) needs_controller: bool,
    /// The GitOps tool that must run.
    pub(crate) tool: Option<Tool>,
    /// Whether copies of it, and others, may run beside it: it stops nothing that they need and sends few requests.
    pub(crate) may_have_company: bool,
    /// Does it.
    pub(crate) run: for<'a> fn(&'a Scene) -> Outcome<'a>,
}

const fn scenario(
    name: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a Scene) -> Outcome<'a>,
) -> Scenario {
    Scenario { name, about, needs_controller: true, tool: None, may_have_company: false, run }
}

const fn judged(
    name: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a Scene) -> Outcome<'a>,
) -> Scenario {
    Scenario { may_have_company: true, ..scenario(name, about, run) }
}

/// Every scenario.
#[rustfmt::skip]
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { needs_controller: false, ..scenario("selftest", "the cluster itself: routing by weight, metrics, Git, agent, rolling update", |s| Box::pin(selftest::run(s))) },
    scenario("good-canary", "5 -> 25 -> 50 -> 100, each weight met by 5,000 requests, none fails", |s| Box::pin(good_canary::run(s))),
    scenario("bad-canary-errors", "5 % errors: abort, one commit in Git, Healthy again without steps", |s| Box::pin(bad_canary::run(s, "errors"))),
    scenario("bad-canary-slow", "slow by 1 s: abort, one commit in Git, Healthy again without steps", |s| Box::pin(bad_canary::run(s, "slow"))),
    scenario("blue-green-promote", "a checked preview becomes active without a failed request", |s| Box::pin(blue_green::promote(s))),
    scenario("blue-green-return", "bad after promotion: back to the old version without a failed request", |s| Box::pin(blue_green::return_to_old(s))),
    scenario("by-hand", "abort at 50 %, retry, promote --full, all by the plugin", |s| Box::pin(by_hand::run(s))),
    scenario("killed-good", "kill -9 of the controller again and again during a good canary", |s| Box::pin(controller_killed::good(s))),
    scenario("killed-bad", "kill -9 of the controller again and again during a bad canary", |s| Box::pin(controller_killed::bad(s))),
    scenario("leader-failover", "the leader is killed in mid-canary; the other replica goes on", |s| Box::pin(controller_killed::failover(s))),
    scenario("prometheus-outage", "Prometheus stops during analysis: nothing moves, and it says so", |s| Box::pin(outages::prometheus(s))),
    scenario("git-outage", "Git stops before the verdict: the abort is unaffected, the revert follows", |s| Box::pin(outages::git(s))),
    scenario("crash-loop", "a crash-looping canary is aborted at its deadline", |s| Box::pin(hostile::crash_loop(s))),
    scenario("autoscaled", "a HorizontalPodAutoscaler scales in mid-canary", |s| Box::pin(hostile::autoscaled(s))),
    scenario("route-deleted", "the route is deleted in mid-canary: says what is missing, abort still works", |s| Box::pin(hostile::route_deleted(s))),
    Scenario { tool: Some(Tool::ArgoCd), ..scenario("argo-cd", "delivered by Argo CD: found by Sluice, reverted in Git, synced, quiet; a bot's re-bump is held", |s| Box::pin(gitops::run(s, Tool::ArgoCd))) },
    Scenario { tool: Some(Tool::Flux), ..scenario("flux", "the same, delivered by Flux", |s| Box::pin(gitops::run(s, Tool::Flux))) },
    judged("judged-errors", "3 % more errors at 5 % of 100 requests/s: rolled back by the comparison with stable", |s| Box::pin(judged::errors(s))),
    judged("judged-outage", "a store that both versions need is away for 20 s: a healthy release is not rolled back", |s| Box::pin(judged::outage(s))),
    judged("judged-slow-tail", "3 % of the requests slower by 1 s: rolled back by the comparison of latencies", |s| Box::pin(judged::slow_tail(s))),
    judged("judged-quiet", "12 requests a minute: neither rolled back nor promoted without a person", |s| Box::pin(judged::quiet(s))),
];
