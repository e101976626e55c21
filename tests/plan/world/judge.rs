//! Whether what the controller does and says is safe in the world as it really is. The names are
//! those of the reliability rules: S of safety, I of invariants.

use sluice::plan::validate::ValidStrategy;

use super::*;

impl World {
    /// The safety rules that can be judged from one action.
    pub(super) fn check(&mut self, observed: &Observed, decision: &Decision, action: &Action) {
        let violations = match action {
            Action::SetWeight { split, .. } => self.judge_weight(*split, decision.class),
            Action::ScaleReplicaSet { name, to, from } if to < from => {
                let mut violations = self.judge_shrink(name, *to);
                violations.extend(self.judge_availability(observed, name, *to));
                violations
            }
            Action::PointService { name, revision } => self.judge_selection(name, revision),
            _ => vec![],
        };
        self.blame(violations);
    }

    fn blame(&mut self, violations: Vec<String>) {
        for violation in violations {
            let line = format!("t={}s {}", self.seconds(), self.redact(&violation));
            self.violations.push(line);
        }
    }

    fn judge_weight(&self, split: Split, class: Option<EffectClass>) -> Vec<String> {
        let mut violations = Vec::new();
        if split.canary() <= self.actual() {
            return violations;
        }
        if class != Some(EffectClass::RaiseWeight) {
            violations.push(format!("S2: raises the weight in {class:?}"));
        }
        let ready = self.endpoints(&self.services["canary"]);
        if ready.known().map_or(0, |counts| counts.values().sum::<u32>()) == 0 {
            violations.push(format!("S2: weight {split} with no ready endpoint"));
        }
        if self.unknown_routes || self.unknown_endpoints || self.unknown_sets {
            violations.push("an unknown fact raised the weight".to_owned());
        }
        if self.status.as_ref().is_some_and(|status| status.abort) {
            violations.push(format!("S10: weight {split} after an abort"));
        }
        violations
    }

    /// The number of pods that are wanted.
    fn replicas(&self) -> u32 {
        u32::try_from(self.spec["replicas"].as_u64().unwrap_or(1)).unwrap()
    }

    fn judge_shrink(&self, name: &str, to: u32) -> Vec<String> {
        let mut violations = Vec::new();
        let set = &self.sets[name];
        let label = ApiNames::SLUICE.revision_label();
        let serves = |service: &str| {
            self.services[service].selector.get(label).map(String::as_str)
                == Some(set.fact.revision.as_str())
        };
        let replicas = self.replicas();
        // A route that does not exist sends nobody anywhere.
        let routes = self.routes.values().filter(|_| !self.missing_route);
        let splits = routes.flat_map(|route| {
            let is_pending = !self.is_accepted(route);
            [Some(route.split), Some(route.before).filter(|_| is_pending)].into_iter().flatten()
        });
        for split in splits {
            if serves("canary") && to < split.canary_need(replicas) {
                violations.push(format!("S3: {name} to {to} while it has {split}"));
            }
            if serves("stable") && to < split.stable_need(replicas) {
                violations.push(format!("S3: {name} to {to} while stable has {split}"));
            }
        }
        let is_blue_green = self.spec.pointer("/strategy/blueGreen").is_some();
        if is_blue_green && serves("active") && to < replicas {
            violations.push(format!("S31: the active set {name} to {to}"));
        }
        violations
    }

    /// Without a router every available pod serves: `maxUnavailable` bounds what may be missing.
    fn judge_availability(&self, observed: &Observed, name: &str, to: u32) -> Option<String> {
        let usable = observed.rollout.spec.usable.as_ref()?;
        let ValidStrategy::Canary(canary) = &usable.strategy else { return None };
        if canary.routing.is_some() {
            return None;
        }
        let replicas = self.replicas();
        let surge = canary.max_surge.of_rounded_up(replicas);
        let missing = canary.max_unavailable.of_rounded_down(replicas);
        let missing = if surge == 0 { missing.max(1) } else { missing };
        let before: u32 = self.sets.values().map(|set| set.fact.available).sum();
        let gone = self.sets[name].fact.available.saturating_sub(to);
        let after = before - gone;
        (gone > 0 && after < replicas.saturating_sub(missing))
            .then(|| format!("I4: {name} to {to} leaves {after} of {replicas} available"))
    }

    fn judge_selection(&self, service: &str, revision: &Revision) -> Vec<String> {
        let mut violations = Vec::new();
        let set = self.sets.values().find(|set| set.fact.revision == *revision);
        if set.map_or(0, |set| set.fact.available) == 0 && self.replicas() > 0 {
            violations.push(format!("S5: {service} to {revision} with nothing available"));
        }
        if service == "canary" && self.actual() > 0 {
            violations.push(format!("S16: {service} moves at weight {}", self.actual()));
        }
        violations
    }

    /// The safety rules that can be judged from two statuses, one written after the other.
    pub(super) fn judge_status(&mut self, old: &RolloutStatus, new: &RolloutStatus) {
        let mut violations = Vec::new();
        let is_same_attempt = old.attempt == new.attempt;
        // When nothing is being released it is a number of steps.
        let step = |status: &RolloutStatus| {
            status.current_step_index.filter(|_| status.stable_rs != status.current_pod_hash)
        };
        if let (Some(before), Some(after)) = (step(old), step(new))
            && is_same_attempt
            && !new.abort
        {
            if after != before && after != before + 1 {
                violations.push(format!("S6: from step {before} to step {after}"));
            }
            if after == before && old.current_step_started_at != new.current_step_started_at {
                violations.push(format!("S9: step {after} began again"));
            }
        }
        let was_aborted = old.abort && old.aborted_at.is_some();
        if is_same_attempt && was_aborted && !new.abort {
            violations.push("S10: an abort was forgotten".to_owned());
        }
        let is_known = !self.unknown_routes && !self.unknown_sets && !self.unknown_endpoints;
        if new.phase == Some(RolloutPhase::Healthy) && is_known {
            let current = self.sets.values().find(|set| {
                set.fact.revision.as_str() == new.current_pod_hash && self.now >= set.seen_at
            });
            let is_short = current.is_some_and(|set| set.fact.available < self.replicas());
            if new.stable_rs != new.current_pod_hash || self.actual() > 0 || is_short {
                violations.push("S28: Healthy is not the truth".to_owned());
            }
        }
        self.blame(violations);
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
