//! Whether the parents of a route accepted it as it is now, read from `status.parents`.
//!
//! A route is confirmed when every one of its `spec.parentRefs` has an entry that says
//! `Accepted=True` and `ResolvedRefs=True` for the route's present generation and nothing of
//! `PartiallyInvalid=True`. A parent without an entry has not been looked at by anyone: that is
//! waiting, never success. Routes have no `Programmed` condition, so this does not say that a
//! proxy has loaded the route.
//!
//! Source: Gateway API v1.6, `RouteParentStatus` and `ParentReference`.

use serde_json::Value;

use super::super::lens::{Acceptance, Backends, RouteRef};

/// Longest text of someone else's message that we repeat, in characters.
const LONGEST_MESSAGE: usize = 200;

/// The acceptance of `live` by all its parents: the first refusal, else the first wait.
pub(super) fn acceptance(route: &RouteRef, live: &Value, to: &Backends) -> Acceptance {
    let waiting = |what: String| Acceptance::Waiting { what };
    let Some(generation) = live.pointer("/metadata/generation").and_then(Value::as_i64) else {
        return waiting(format!("{route} to have a metadata.generation"));
    };
    let parents = items(live.pointer("/spec/parentRefs"));
    if parents.is_empty() {
        return waiting(format!("{route} to name a Gateway in spec.parentRefs"));
    }
    let statuses = items(live.pointer("/status/parents"));
    let answers: Vec<Acceptance> = parents
        .iter()
        .map(|parent| {
            let parent = ParentRef::defaulted(parent, to);
            let entries = statuses.iter().filter(|status| {
                status.get("parentRef").map(|r| ParentRef::defaulted(r, to)) == Some(parent.clone())
            });
            of_parent(&format!("{parent}"), route, generation, entries)
        })
        .collect();
    let is_refused = |answer: &&Acceptance| matches!(answer, Acceptance::Refused { .. });
    let is_open = |answer: &&Acceptance| **answer != Acceptance::Confirmed;
    let first = answers.iter().find(is_refused).or_else(|| answers.iter().find(is_open));
    first.cloned().unwrap_or(Acceptance::Confirmed)
}

/// What the entries of one parent say together. Several controllers may write an entry for the same
/// parent: one that refuses the present generation decides, else one that accepts it; an entry that
/// is left over from a controller that is gone does not.
fn of_parent<'a>(
    parent: &str,
    route: &RouteRef,
    generation: i64,
    entries: impl Iterator<Item = &'a Value>,
) -> Acceptance {
    let answers: Vec<Acceptance> =
        entries.map(|entry| of_entry(parent, route, generation, entry)).collect();
    let is_refused = |answer: &&Acceptance| matches!(answer, Acceptance::Refused { .. });
    let is_confirmed = |answer: &&Acceptance| **answer == Acceptance::Confirmed;
    let decisive = answers.iter().find(is_refused).or_else(|| answers.iter().find(is_confirmed));
    decisive.or_else(|| answers.first()).cloned().unwrap_or_else(|| Acceptance::Waiting {
        what: format!("{parent} to report on {route} (it has no entry in status.parents)"),
    })
}

fn of_entry(parent: &str, route: &RouteRef, generation: i64, entry: &Value) -> Acceptance {
    let conditions = items(entry.get("conditions"));
    let find = |kind: &str| {
        conditions.iter().find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
    };
    if let Some(partial) = find("PartiallyInvalid")
        && status(partial) == "True"
    {
        // What stays in force is the last good form or the route without its bad rules: in either
        // case not what was written.
        let what = format!("{parent} takes only a part of {route}{}", explanation(partial));
        return Acceptance::Refused { what };
    }
    for kind in ["Accepted", "ResolvedRefs"] {
        let Some(condition) = find(kind) else {
            let what = format!("{parent} to report {kind} on {route}");
            return Acceptance::Waiting { what };
        };
        match condition.get("observedGeneration").and_then(Value::as_i64) {
            Some(observed) if observed >= generation => {}
            observed => {
                let at = observed.map_or("none".to_owned(), |observed| observed.to_string());
                let what = format!(
                    "{parent} to look at {route} of generation {generation} \
                     ({kind} is of generation {at})"
                );
                return Acceptance::Waiting { what };
            }
        }
        match status(condition) {
            "True" => {}
            "False" => {
                let why = explanation(condition);
                let what = format!("{parent} refuses {route}: {kind} is False{why}");
                return Acceptance::Refused { what };
            }
            _ => {
                let why = explanation(condition);
                let what = format!("{parent} to decide on {route}: {kind} is Unknown{why}");
                return Acceptance::Waiting { what };
            }
        }
    }
    Acceptance::Confirmed
}

/// A parent after the API's defaults, so that a reference in `spec` and one in `status` compare.
#[derive(Clone, PartialEq)]
struct ParentRef<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    section: Option<&'a str>,
    port: Option<u64>,
}

impl<'a> ParentRef<'a> {
    fn defaulted(reference: &'a Value, to: &'a Backends) -> Self {
        let text = |key: &str| reference.get(key).and_then(Value::as_str);
        Self {
            group: text("group").unwrap_or("gateway.networking.k8s.io"),
            kind: text("kind").unwrap_or("Gateway"),
            namespace: text("namespace").unwrap_or(&to.namespace),
            name: text("name").unwrap_or(""),
            section: text("sectionName").filter(|section| !section.is_empty()),
            port: reference.get("port").and_then(Value::as_u64),
        }
    }
}

impl std::fmt::Display for ParentRef<'_> {
    /// As in messages: Gateway `infra/web` section `https` port 443.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} `{}/{}`", self.kind, self.namespace, self.name)?;
        if let Some(section) = self.section {
            write!(f, " section `{section}`")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        Ok(())
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn status(condition: &Value) -> &str {
    condition.get("status").and_then(Value::as_str).unwrap_or("Unknown")
}

/// ` (Reason: message)`, bounded and on one line; empty when there is neither.
fn explanation(condition: &Value) -> String {
    let text = |key: &str| {
        let text = condition.get(key).and_then(Value::as_str).unwrap_or("");
        let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        one_line.take(LONGEST_MESSAGE).collect::<String>()
    };
    match (text("reason"), text("message")) {
        (reason, message) if reason.is_empty() && message.is_empty() => String::new(),
        (reason, message) if message.is_empty() => format!(" ({reason})"),
        (reason, message) => format!(" ({reason}: {message})"),
    }
}
