//! Aggregations: `sum`, `avg` and their like, by or without labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql_parser::parser::{AggregateExpr, LabelModifier};

use super::evaluate::{Evaluation, unfit};
use super::over_time::{average, count, deviation, maximum, minimum, variance};
use super::quantile::quantile;
use super::{Element, Labels, NAME, QueryError};

/// The value of an aggregation at one moment.
pub(super) fn value(
    evaluation: &Evaluation<'_>,
    expr: &AggregateExpr,
    at: i64,
) -> Result<Vec<Element>, QueryError> {
    let vector = evaluation.vector(&expr.expr, at)?;
    let op = expr.op.to_string();
    let param = || expr.param.as_deref().ok_or_else(|| unfit(&op, "a parameter"));
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    for element in vector {
        groups.entry(group_of(&element.labels, expr.modifier.as_ref())).or_default().push(element);
    }
    match op.as_str() {
        "topk" | "bottomk" => {
            let most = super::functions::whole(evaluation.scalar(param()?, at)?);
            let picked = groups.into_values().flat_map(|group| picked(group, most, op == "topk"));
            return Ok(picked.collect());
        }
        "count_values" => {
            let label = evaluation.text(param()?, at)?;
            return Ok(groups.into_iter().flat_map(|group| counted(group, &label)).collect());
        }
        _ => {}
    }
    let share = match op.as_str() {
        "quantile" => evaluation.scalar(param()?, at)?,
        _ => f64::NAN,
    };
    let mut result = Vec::new();
    for (labels, group) in groups {
        let values: Vec<f64> = group.iter().map(|element| element.value).collect();
        let value = match op.as_str() {
            "sum" => super::over_time::sum(&values),
            "avg" => average(&values),
            "min" => minimum(&values),
            "max" => maximum(&values),
            "count" => count(&values),
            "group" => 1.0,
            "stddev" => deviation(&values),
            "stdvar" => variance(&values),
            "quantile" => quantile(share, values),
            other => return Err(QueryError::refused(format!("the aggregation {other}"))),
        };
        result.push(Element { labels: Arc::new(labels), value });
    }
    Ok(result)
}

/// The labels of the group that a series belongs to.
fn group_of(labels: &Labels, modifier: Option<&LabelModifier>) -> Labels {
    let mut group = Labels::new();
    for (name, value) in labels {
        let stays = match modifier {
            None => false,
            Some(LabelModifier::Include(by)) => by.labels.contains(name),
            Some(LabelModifier::Exclude(without)) => name != NAME && !without.labels.contains(name),
        };
        if stays {
            group.insert(name.clone(), value.clone());
        }
    }
    group
}

/// The largest (or smallest) elements, the most extreme first; NaN comes last.
fn picked(mut group: Vec<Element>, most: usize, is_largest: bool) -> Vec<Element> {
    group.sort_by(|one, other| {
        let order = one.value.partial_cmp(&other.value);
        let order = if is_largest { order.map(std::cmp::Ordering::reverse) } else { order };
        order.unwrap_or_else(|| one.value.is_nan().cmp(&other.value.is_nan()))
    });
    group.truncate(most);
    group
}

/// How often each value is there.
fn counted((labels, group): (Labels, Vec<Element>), label: &str) -> Vec<Element> {
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for element in group {
        *counts.entry(element.value.to_string()).or_default() += 1.0;
    }
    let element = |(text, value): (String, f64)| {
        let mut labels = labels.clone();
        labels.insert(label.to_owned(), text);
        Element { labels: Arc::new(labels), value }
    };
    counts.into_iter().map(element).collect()
}
