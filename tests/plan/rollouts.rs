//! The Rollouts that the scenarios are about, and what happens to them more than once.
//!
//! The numbers in the names of some scenarios are issues of Argo Rollouts (`ar`), its Gateway API
//! plugin (`plugin`), Flagger (`fl`) or OpenKruise Rollouts (`kruise`) whose failure they rule out;
//! `pr` stands before a pull request.

use sluice::analysis::Verdict;
use sluice::revision::Commit;

use crate::world::World;

pub(crate) const HEAD: &str = r"
selector: {matchLabels: {app: web}}
template:
  metadata: {labels: {app: web}}
  spec: {containers: [{name: web, image: 'web:1'}]}
";

pub(crate) fn routed(replicas: u32, steps: &str, more: &str) -> World {
    World::new(&format!(
        "{HEAD}replicas: {replicas}
strategy:
  canary:
    stableService: stable
    canaryService: canary
    trafficRouting: {{gatewayAPI: {{httpRoute: web}}}}
    steps: {steps}
{more}"
    ))
}

pub(crate) fn unrouted(replicas: u32, steps: &str, more: &str) -> World {
    World::new(&format!(
        "{HEAD}replicas: {replicas}
strategy:
  canary:
    steps: {steps}
{more}"
    ))
}

pub(crate) fn blue_green(more: &str) -> World {
    World::new(&format!(
        "{HEAD}replicas: 3
strategy:
  blueGreen:
    activeService: active
    previewService: preview
{more}"
    ))
}

pub(crate) fn failed() -> Verdict {
    Verdict::Failed {
        message: "Metric \"success\" assessed Failed due to failed (1) > failureLimit (0)".into(),
        has_measurements: true,
    }
}

pub(crate) const STEPS: &str =
    "[{setWeight: 20}, {pause: {duration: 10}}, {setWeight: 60}, {pause: {}}]";
pub(crate) const WITH_ANALYSIS: &str =
    "[{setWeight: 20}, {analysis: {templates: [{templateName: success}]}}, {setWeight: 60}]";

pub(crate) const GIT: &str = "gitRevert:
  mode: Push
  settle: 0s
  source: {url: 'https://git.example.com/team/config.git', branch: main, path: apps/web}
";

pub(crate) fn commit(digit: char) -> Commit {
    Commit::parse(&digit.to_string().repeat(40)).unwrap()
}
