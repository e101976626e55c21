//! Which rules of a route are split, and where in each of them the weights are. It only looks.

use serde_json::Value;

use super::super::lens::{Backends, ReadError, RouteLens as _};
use super::super::proportion::Weights;
use super::super::provider::shortened;
use super::Route;
use crate::weight::MAX_TOTAL;

/// A rule that carries both Services, and where in the object their weights are.
pub(super) struct SplitRule {
    /// For messages: "rule `main`" or "rule 0".
    pub(super) label: String,
    /// What it says now; a missing weight is 1.
    pub(super) weights: Weights,
    idx: usize,
    stable_idx: usize,
    canary_idx: usize,
    other_idx: Vec<usize>,
}

impl SplitRule {
    /// Writes `next` into the rule. When a weight changes, both of ours are written out, so that
    /// neither is left to its default; weights of others only where they change.
    pub(super) fn set_weights(&self, route: &mut Value, next: &Weights) {
        if *next == self.weights {
            return;
        }
        let own = [(self.stable_idx, next.stable), (self.canary_idx, next.canary)];
        let others = (self.other_idx.iter().zip(&self.weights.others)).zip(&next.others);
        let changed = others.filter(|((_, was), is)| was != is).map(|((idx, _), is)| (*idx, *is));
        for (backend_idx, weight) in own.into_iter().chain(changed) {
            let pointer = format!("/spec/rules/{}/backendRefs/{backend_idx}", self.idx);
            if let Some(backend) = route.pointer_mut(&pointer).and_then(Value::as_object_mut) {
                backend.insert("weight".to_owned(), weight.into());
            }
        }
    }
}

/// The rules to split: never empty. Each is given apart, so that one that is malformed does not
/// hide the others.
pub(super) fn split_rules(
    route: &Route,
    live: &Value,
    to: &Backends,
) -> Result<Vec<Result<SplitRule, ReadError>>, ReadError> {
    let reader = Reader { route: route.route().to_string(), to };
    let rules = reader.rules(live)?;
    let chosen: Vec<&Rule<'_>> = match &route.rule {
        Some(name) => {
            let named: Vec<_> =
                rules.iter().filter(|rule| rule.name == Some(name.as_str())).collect();
            if named.is_empty() {
                return Err(reader.no_such_rule(name, &rules));
            }
            if let Some(lacking) = named.iter().find(|rule| !rule.carries_both()) {
                return Err(reader.lacking(Some(lacking), &rules));
            }
            named
        }
        None => rules.iter().filter(|rule| rule.carries_both()).collect(),
    };
    if chosen.is_empty() {
        return Err(reader.lacking(rules.iter().find(|rule| rule.carries_any()), &rules));
    }
    Ok(chosen.into_iter().map(|rule| reader.parse(rule)).collect())
}

/// A rule of the route, with the places where it names one of the two Services.
struct Rule<'a> {
    idx: usize,
    name: Option<&'a str>,
    backends: &'a [Value],
    stable: Vec<usize>,
    canary: Vec<usize>,
}

impl Rule<'_> {
    fn label(&self) -> String {
        self.name.map_or_else(|| format!("rule {}", self.idx), |name| format!("rule `{name}`"))
    }

    fn carries_both(&self) -> bool {
        !self.stable.is_empty() && !self.canary.is_empty()
    }

    fn carries_any(&self) -> bool {
        !self.stable.is_empty() || !self.canary.is_empty()
    }

    /// Whether the canary may get requests through this rule: anything but an explicit 0.
    fn reaches_canary(&self) -> bool {
        let backends = self.canary.iter().filter_map(|idx| self.backends.get(*idx));
        backends.into_iter().any(|backend| backend.get("weight").and_then(Value::as_u64) != Some(0))
    }
}

/// The names by which the two Services are looked for, and the route for messages.
struct Reader<'a> {
    route: String,
    to: &'a Backends,
}

impl Reader<'_> {
    fn rules<'v>(&self, live: &'v Value) -> Result<Vec<Rule<'v>>, ReadError> {
        let rules = self.list(live.pointer("/spec/rules"), || "spec.rules".to_owned())?;
        rules.iter().enumerate().map(|(idx, rule)| self.rule(idx, rule)).collect()
    }

    fn rule<'v>(&self, idx: usize, rule: &'v Value) -> Result<Rule<'v>, ReadError> {
        let backends = self.list(rule.get("backendRefs"), || backend_refs(idx))?;
        let mut found = Rule {
            idx,
            name: rule.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()),
            backends,
            stable: Vec::new(),
            canary: Vec::new(),
        };
        for (backend_idx, backend) in backends.iter().enumerate() {
            match self.service_of(backend) {
                Some(service) if service == self.to.stable_service => {
                    found.stable.push(backend_idx);
                }
                Some(service) if service == self.to.canary_service => {
                    found.canary.push(backend_idx);
                }
                Some(_) | None => {}
            }
        }
        Ok(found)
    }

    /// The name of the Service in our namespace that a backendRef names, after the API's defaults:
    /// core group, kind Service, the route's namespace. `None` for every other backend.
    fn service_of<'v>(&self, backend: &'v Value) -> Option<&'v str> {
        let is = |key: &str, default: &str, wanted: &str| match backend.get(key) {
            None | Some(Value::Null) => default == wanted,
            Some(value) => value.as_str() == Some(wanted),
        };
        let namespace = self.to.namespace.as_str();
        let is_ours = is("group", "", "")
            && is("kind", "Service", "Service")
            && is("namespace", namespace, namespace);
        backend.get("name").and_then(Value::as_str).filter(|_| is_ours)
    }

    fn parse(&self, rule: &Rule<'_>) -> Result<SplitRule, ReadError> {
        let stable_idx = self.single(rule, &rule.stable, &self.to.stable_service)?;
        let canary_idx = self.single(rule, &rule.canary, &self.to.canary_service)?;
        let weights: Vec<u32> = rule
            .backends
            .iter()
            .enumerate()
            .map(|(idx, backend)| self.weight(rule.idx, idx, backend))
            .collect::<Result<_, _>>()?;
        let weight_at = |idx: usize| weights.get(idx).copied().unwrap_or(1);
        let is_other = |idx: &usize| *idx != stable_idx && *idx != canary_idx;
        let other_idx: Vec<usize> = (0..weights.len()).filter(is_other).collect();
        Ok(SplitRule {
            label: rule.label(),
            weights: Weights {
                stable: weight_at(stable_idx),
                canary: weight_at(canary_idx),
                others: other_idx.iter().map(|idx| weight_at(*idx)).collect(),
            },
            idx: rule.idx,
            stable_idx,
            canary_idx,
            other_idx,
        })
    }

    fn single(&self, rule: &Rule<'_>, at: &[usize], service: &str) -> Result<usize, ReadError> {
        match at {
            [idx] => Ok(*idx),
            _ => Err(ReadError::Duplicate {
                route: self.route.clone(),
                rule: rule.label(),
                service: service.to_owned(),
            }),
        }
    }

    fn weight(&self, rule: usize, idx: usize, backend: &Value) -> Result<u32, ReadError> {
        let field = || format!("{}[{idx}]", backend_refs(rule));
        if !backend.is_object() {
            return Err(self.malformed(field(), backend, "an object"));
        }
        match backend.get("weight") {
            None | Some(Value::Null) => Ok(1),
            Some(weight) => weight
                .as_u64()
                .and_then(|weight| u32::try_from(weight).ok())
                .filter(|weight| *weight <= MAX_TOTAL)
                .ok_or_else(|| {
                    let field = format!("{}.weight", field());
                    self.malformed(field, weight, "a whole number from 0 to 1000000")
                }),
        }
    }

    fn list<'v>(
        &self,
        value: Option<&'v Value>,
        field: impl FnOnce() -> String,
    ) -> Result<&'v [Value], ReadError> {
        match value {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.malformed(field(), other, "a list")),
        }
    }

    fn malformed(&self, field: String, found: &Value, expected: &'static str) -> ReadError {
        ReadError::Malformed { route: self.route.clone(), field, found: shortened(found), expected }
    }

    fn no_such_rule(&self, name: &str, rules: &[Rule<'_>]) -> ReadError {
        let names: Vec<_> = rules.iter().filter_map(|rule| rule.name).collect();
        ReadError::NoSuchRule {
            route: self.route.clone(),
            rule: name.to_owned(),
            names: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
        }
    }

    /// The error for a route in which `rule`, or no rule at all, names one of the two Services.
    fn lacking(&self, rule: Option<&Rule<'_>>, rules: &[Rule<'_>]) -> ReadError {
        let (stable, canary) = (self.to.stable_service.clone(), self.to.canary_service.clone());
        let is_canary_reachable = rules.iter().any(Rule::reaches_canary);
        let route = self.route.clone();
        match rule {
            Some(rule) if rule.carries_any() => {
                let has_stable = !rule.stable.is_empty();
                let (present, missing) =
                    if has_stable { (stable, canary) } else { (canary, stable) };
                let rule = rule.label();
                ReadError::MissingBackend { route, rule, present, missing, is_canary_reachable }
            }
            Some(_) | None => {
                let place = rule.map_or_else(|| "any rule".to_owned(), Rule::label);
                ReadError::NoBackends { route, place, stable, canary, is_canary_reachable }
            }
        }
    }
}

/// The path of a rule's list, as users write it.
fn backend_refs(rule_idx: usize) -> String {
    format!("spec.rules[{rule_idx}].backendRefs")
}
