//! Operators between two values: arithmetic, comparisons, sets, and how series find each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use promql_parser::parser::{BinModifier, BinaryExpr, LabelModifier, VectorMatchCardinality};

use super::evaluate::{Evaluation, unfit, unique};
use super::{Element, Labels, NAME, Outcome, QueryError, without_name};

/// The value of an operator at one moment.
pub(super) fn value(
    evaluation: &Evaluation<'_>,
    expr: &BinaryExpr,
    at: i64,
) -> Result<Outcome, QueryError> {
    let op = expr.op.to_string();
    let left = evaluation.value(&expr.lhs, at)?;
    let right = evaluation.value(&expr.rhs, at)?;
    let modifier = expr.modifier.as_ref();
    if modifier.is_some_and(|modifier| {
        modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some()
    }) {
        return Err(QueryError::refused("the modifier fill"));
    }
    let is_bool = modifier.is_some_and(|modifier| modifier.return_bool);
    match (left, right) {
        (Outcome::Scalar(left), Outcome::Scalar(right)) => {
            if is_comparison(&op) && !is_bool {
                return Err(unfit("a comparison of scalars", "bool"));
            }
            Ok(Outcome::Scalar(applied(&op, left, right)?))
        }
        (Outcome::Vector(vector), Outcome::Scalar(number)) => {
            with_scalar(&op, is_bool, vector, |value| (value, number)).map(Outcome::Vector)
        }
        (Outcome::Scalar(number), Outcome::Vector(vector)) => {
            with_scalar(&op, is_bool, vector, |value| (number, value)).map(Outcome::Vector)
        }
        (Outcome::Vector(left), Outcome::Vector(right)) => {
            let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
            let result = match op.as_str() {
                "and" | "or" | "unless" => sets(&op, matching, left, right),
                _ => joined(&op, modifier, left, right)?,
            };
            Ok(Outcome::Vector(result))
        }
        _ => Err(unfit(&op, "scalars or instant vectors")),
    }
}

fn is_comparison(op: &str) -> bool {
    matches!(op, "==" | "!=" | "<" | ">" | "<=" | ">=")
}

/// The number that an operator makes; a comparison makes 1 or 0.
#[expect(clippy::float_cmp, reason = "the language compares exactly")]
fn applied(op: &str, left: f64, right: f64) -> Result<f64, QueryError> {
    let truth = |is_true: bool| if is_true { 1.0 } else { 0.0 };
    Ok(match op {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "%" => left % right,
        "^" => left.powf(right),
        "atan2" => left.atan2(right),
        "==" => truth(left == right),
        "!=" => truth(left != right),
        "<" => truth(left < right),
        ">" => truth(left > right),
        "<=" => truth(left <= right),
        ">=" => truth(left >= right),
        other => return Err(QueryError::refused(format!("the operator {other}"))),
    })
}

fn with_scalar(
    op: &str,
    is_bool: bool,
    vector: Vec<Element>,
    sides: impl Fn(f64) -> (f64, f64),
) -> Result<Vec<Element>, QueryError> {
    let mut result = Vec::new();
    for element in vector {
        let (left, right) = sides(element.value);
        let value = applied(op, left, right)?;
        if is_comparison(op) && !is_bool {
            if value > 0.0 {
                result.push(element);
            }
        } else {
            result.push(Element { labels: without_name(&element.labels), value });
        }
    }
    unique(result)
}

/// The labels by which two series find each other.
fn signature(labels: &Labels, matching: Option<&LabelModifier>) -> Labels {
    let mut signature = Labels::new();
    for (name, value) in labels {
        let counts = match matching {
            None => name != NAME,
            Some(LabelModifier::Include(on)) => on.labels.contains(name),
            Some(LabelModifier::Exclude(but)) => name != NAME && !but.labels.contains(name),
        };
        if counts {
            signature.insert(name.clone(), value.clone());
        }
    }
    signature
}

fn sets(
    op: &str,
    matching: Option<&LabelModifier>,
    mut left: Vec<Element>,
    right: Vec<Element>,
) -> Vec<Element> {
    let signatures = |vector: &[Element]| -> BTreeSet<Labels> {
        vector.iter().map(|element| signature(&element.labels, matching)).collect()
    };
    if op == "or" {
        let there = signatures(&left);
        let is_new = |element: &Element| !there.contains(&signature(&element.labels, matching));
        left.extend(right.into_iter().filter(is_new));
    } else {
        let there = signatures(&right);
        let keeps = op == "and";
        left.retain(|element| there.contains(&signature(&element.labels, matching)) == keeps);
    }
    left
}

fn joined(
    op: &str,
    modifier: Option<&BinModifier>,
    left: Vec<Element>,
    right: Vec<Element>,
) -> Result<Vec<Element>, QueryError> {
    let matching = modifier.and_then(|modifier| modifier.matching.as_ref());
    let is_bool = modifier.is_some_and(|modifier| modifier.return_bool);
    let card = modifier.map_or(&VectorMatchCardinality::OneToOne, |modifier| &modifier.card);
    // Of the side of which each series may be met once only, by its signature.
    let is_swapped = matches!(card, VectorMatchCardinality::OneToMany(_));
    let (many, one) = if is_swapped { (right, left) } else { (left, right) };
    let mut by_signature: BTreeMap<Labels, Element> = BTreeMap::new();
    for element in one {
        let signature = signature(&element.labels, matching);
        if by_signature.contains_key(&signature) {
            return Err(QueryError::Impossible(format!(
                "found duplicate series for the match group {signature:?} on the {} hand-side of \
                 the operation; many-to-many matching not allowed: matching labels must be unique \
                 on one side",
                if is_swapped { "left" } else { "right" }
            )));
        }
        by_signature.insert(signature, element);
    }
    let mut met = BTreeSet::new();
    let mut result = Vec::new();
    for element in many {
        let signature = signature(&element.labels, matching);
        let Some(other) = by_signature.get(&signature) else { continue };
        let (left, right) =
            if is_swapped { (other.value, element.value) } else { (element.value, other.value) };
        let made = applied(op, left, right)?;
        let keeps_value = is_comparison(op) && !is_bool;
        if keeps_value && made == 0.0 {
            continue;
        }
        let labels = labels_of(op, is_bool, card, matching, (&element.labels, &other.labels));
        if *card == VectorMatchCardinality::OneToOne && !met.insert(signature) {
            return Err(QueryError::Impossible(
                "multiple matches for labels: many-to-one matching must be explicit \
                 (group_left/group_right)"
                    .to_owned(),
            ));
        }
        result.push(Element { labels, value: if keeps_value { left } else { made } });
    }
    if *card != VectorMatchCardinality::OneToOne {
        let labels: BTreeSet<&Arc<Labels>> = result.iter().map(|one| &one.labels).collect();
        if labels.len() < result.len() {
            let why = "multiple matches for labels: grouping labels must ensure unique matches";
            return Err(QueryError::Impossible(why.to_owned()));
        }
    }
    Ok(result)
}

/// The labels of what two series make.
fn labels_of(
    op: &str,
    is_bool: bool,
    card: &VectorMatchCardinality,
    matching: Option<&LabelModifier>,
    (many, one): (&Arc<Labels>, &Arc<Labels>),
) -> Arc<Labels> {
    let mut labels = Labels::clone(many);
    if !is_comparison(op) || is_bool {
        labels.remove(NAME);
    }
    match (card.labels(), matching) {
        (Some(included), _) => {
            for name in &included.labels {
                match one.get(name).filter(|value| !value.is_empty()) {
                    Some(value) => labels.insert(name.clone(), value.clone()),
                    None => labels.remove(name),
                };
            }
        }
        (None, Some(LabelModifier::Include(on))) => {
            labels.retain(|name, _| on.labels.contains(name));
        }
        (None, Some(LabelModifier::Exclude(but))) => {
            labels.retain(|name, _| !but.labels.contains(name));
        }
        (None, None) => {}
    }
    Arc::new(labels)
}
