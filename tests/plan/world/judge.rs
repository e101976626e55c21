//! Whether an action is safe in the world as it is.

use sluice::plan::validate::ValidStrategy;

use super::*;

impl World {
    /// The safety rules that can be judged from one action.
    pub(super) fn check(&mut self, observed: &Observed, decision: &Decision, action: &Action) {
        let mut violations = Vec::new();
        match action {
            Action::SetWeight { split, .. } => {
                let actual = self.actual();
                if split.canary() > actual {
                    if decision.class != Some(EffectClass::RaiseWeight) {
                        violations.push(format!("S2: raises the weight in {:?}", decision.class));
                    }
                    let canary = &self.services["canary"];
                    let ready = self.endpoints(canary);
                    let total = ready.known().map_or(0, |counts| counts.values().sum::<u32>());
                    if total == 0 {
                        violations.push(format!("S2: weight {split} with no ready endpoint"));
                    }
                    if self.unknown_routes || self.unknown_endpoints || self.unknown_sets {
                        violations.push("an unknown fact raised the weight".to_owned());
                    }
                    if self.status.as_ref().is_some_and(|status| status.abort) {
                        violations.push(format!("S10: weight {split} after an abort"));
                    }
                    if observed.rollout.spec.usable.as_ref().is_some_and(|spec| spec.paused) {
                        // A person's pause holds the step, not the weight of the step it is at.
                    }
                }
            }
            Action::ScaleReplicaSet { name, to, from } if to < from => {
                let set = &self.sets[name];
                let label = ApiNames::SLUICE.revision_label();
                let serves = |service: &str| {
                    self.services[service].selector.get(label).map(String::as_str)
                        == Some(set.fact.revision.as_str())
                };
                let replicas = self.spec["replicas"].as_u64().unwrap_or(1);
                let replicas = u32::try_from(replicas).unwrap();
                for (split, _) in self.routes.values() {
                    if serves("canary") && *to < split.canary_need(replicas) {
                        violations.push(format!("S3: {name} to {to} while it has {split}"));
                    }
                    if serves("stable") && *to < split.stable_need(replicas) {
                        violations.push(format!("S3: {name} to {to} while stable has {split}"));
                    }
                }
                let is_canary = self.spec.pointer("/strategy/canary").is_some();
                if is_canary && self.routes.is_empty() {
                    let usable = observed.rollout.spec.usable.as_ref().unwrap();
                    let ValidStrategy::Canary(canary) = &usable.strategy else { unreachable!() };
                    let (surge, may_miss) = (
                        canary.max_surge.of_rounded_up(replicas),
                        canary.max_unavailable.of_rounded_down(replicas),
                    );
                    let may_miss = if surge == 0 { may_miss.max(1) } else { may_miss };
                    let before: u32 = self.sets.values().map(|set| set.fact.available).sum();
                    let gone = set.fact.available.saturating_sub(*to);
                    let after = before - gone;
                    if gone > 0 && after < replicas.saturating_sub(may_miss) {
                        let text = format!("{name} to {to} leaves {after} of {replicas} available");
                        violations.push(format!("I4: {text}"));
                    }
                }
                let is_blue_green = self.spec.pointer("/strategy/blueGreen").is_some();
                if is_blue_green && serves("active") && *to < replicas {
                    violations.push(format!("S31: the active set {name} to {to}"));
                }
            }
            Action::PointService { name, revision } => {
                let available = self
                    .sets
                    .values()
                    .find(|set| set.fact.revision == *revision)
                    .map_or(0, |set| set.fact.available);
                if available == 0 && self.spec["replicas"] != json!(0) {
                    violations.push(format!("S5: {name} to {revision} with nothing available"));
                }
                if name == "canary" && self.actual() > 0 {
                    violations.push(format!("S16: {name} moves at weight {}", self.actual()));
                }
            }
            _ => {}
        }
        for violation in violations {
            let line = format!("t={}s {}", self.seconds(), self.redact(&violation));
            self.violations.push(line);
        }
    }

    /// Fails the test when a safety rule was broken.
    pub(crate) fn assert_safe(&self) {
        assert!(
            self.violations.is_empty(),
            "violations: {:#?}\n{}",
            self.violations,
            self.timeline
        );
    }
}
