//! Functions, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql_parser::label::MatchOp;
use promql_parser::parser::{Call, Expr};
use regex::Regex;

use super::evaluate::{Evaluation, mapped, unfit, unique};
use super::over_time::{changes, extrapolated, last_change, line, over_time, resets, seconds};
use super::quantile::histogram_quantile;
use super::{Element, Labels, NAME, Outcome, QueryError, Range, without_name};

/// Label of a bucket's upper bound.
const BOUND: &str = "le";

/// The value of a function at one moment.
pub(super) fn value(
    evaluation: &Evaluation<'_>,
    call: &Call,
    at: i64,
) -> Result<Outcome, QueryError> {
    let args = Args { evaluation, call, at };
    match call.func.name {
        "time" => Ok(Outcome::Scalar(seconds(at))),
        "pi" => Ok(Outcome::Scalar(std::f64::consts::PI)),
        "scalar" => Ok(Outcome::Scalar(match args.vector(0)?.as_slice() {
            [only] => only.value,
            _ => f64::NAN,
        })),
        "vector" => {
            let value = args.scalar(0)?;
            Ok(Outcome::Vector(vec![Element { labels: Arc::default(), value }]))
        }
        "absent" | "absent_over_time" => args.absent().map(Outcome::Vector),
        "histogram_quantile" => args.histogram_quantile().map(Outcome::Vector),
        "label_replace" => args.label_replace().map(Outcome::Vector),
        "label_join" => args.label_join().map(Outcome::Vector),
        "timestamp" => args.timestamp().map(Outcome::Vector),
        "sort" | "sort_desc" => args.sorted().map(Outcome::Vector),
        "rate" | "increase" | "delta" | "irate" | "idelta" | "deriv" | "predict_linear"
        | "changes" | "resets" => args.of_range().map(Outcome::Vector),
        name if name.ends_with("_over_time") => args.over_time(name).map(Outcome::Vector),
        _ => args.of_each().map(Outcome::Vector),
    }
}

/// The arguments of a call.
#[derive(Clone, Copy)]
struct Args<'a> {
    evaluation: &'a Evaluation<'a>,
    call: &'a Call,
    at: i64,
}

impl<'a> Args<'a> {
    fn expr(&self, idx: usize) -> Result<&'a Expr, QueryError> {
        let missing = || unfit(self.call.func.name, "more arguments");
        self.call.args.args.get(idx).map(AsRef::as_ref).ok_or_else(missing)
    }

    fn has(&self, idx: usize) -> bool {
        self.call.args.args.len() > idx
    }

    fn vector(&self, idx: usize) -> Result<Vec<Element>, QueryError> {
        self.evaluation.vector(self.expr(idx)?, self.at)
    }

    fn scalar(&self, idx: usize) -> Result<f64, QueryError> {
        self.evaluation.scalar(self.expr(idx)?, self.at)
    }

    fn text(&self, idx: usize) -> Result<String, QueryError> {
        self.evaluation.text(self.expr(idx)?, self.at)
    }

    /// Functions of each value by itself.
    fn of_each(&self) -> Result<Vec<Element>, QueryError> {
        let name = self.call.func.name;
        let refused = || QueryError::refused(format!("the function {name}"));
        let change: Box<dyn Fn(f64) -> f64> = match name {
            "abs" => Box::new(f64::abs),
            "ceil" => Box::new(f64::ceil),
            "floor" => Box::new(f64::floor),
            "exp" => Box::new(f64::exp),
            "ln" => Box::new(f64::ln),
            "log2" => Box::new(f64::log2),
            "log10" => Box::new(f64::log10),
            "sqrt" => Box::new(f64::sqrt),
            "sgn" => Box::new(|value| {
                if value > 0.0 {
                    1.0
                } else if value < 0.0 {
                    -1.0
                } else {
                    value
                }
            }),
            "clamp" | "clamp_min" | "clamp_max" => {
                let (least, most) = match name {
                    "clamp_min" => (self.scalar(1)?, f64::INFINITY),
                    "clamp_max" => (f64::NEG_INFINITY, self.scalar(1)?),
                    _ => (self.scalar(1)?, self.scalar(2)?),
                };
                if most < least {
                    return Ok(Vec::new());
                }
                let is_nan = least.is_nan() || most.is_nan();
                Box::new(move |value: f64| {
                    if is_nan || value.is_nan() { f64::NAN } else { value.max(least).min(most) }
                })
            }
            "round" => {
                let nearest = if self.has(1) { self.scalar(1)? } else { 1.0 };
                let inverse = 1.0 / nearest;
                Box::new(move |value: f64| (value * inverse + 0.5).floor() / inverse)
            }
            _ => return Err(refused()),
        };
        unique(mapped(self.vector(0)?, change))
    }

    /// Functions of the samples in a range.
    fn of_range(&self) -> Result<Vec<Element>, QueryError> {
        let name = self.call.func.name;
        let (ranges, window) = self.evaluation.window(self.expr(0)?, self.at)?;
        let ahead = if name == "predict_linear" { self.scalar(1)? } else { 0.0 };
        let of = |range: &Range| {
            let points = range.points.as_slice();
            match name {
                "rate" => extrapolated(points, window, true, true),
                "increase" => extrapolated(points, window, true, false),
                "delta" => extrapolated(points, window, false, false),
                "irate" => last_change(points, true),
                "idelta" => last_change(points, false),
                "deriv" => line(points, self.at).map(|(slope, _)| slope),
                "predict_linear" => line(points, self.at).map(|(slope, now)| now + slope * ahead),
                "changes" => Some(changes(points)),
                "resets" => Some(resets(points)),
                _ => None,
            }
        };
        let element = |range: &Range| {
            Some(Element { labels: without_name(&range.labels), value: of(range)? })
        };
        unique(ranges.iter().filter_map(element).collect())
    }

    fn over_time(&self, name: &str) -> Result<Vec<Element>, QueryError> {
        // The share of a quantile stands before the range.
        let (share, range) =
            if name == "quantile_over_time" { (self.scalar(0)?, 1) } else { (f64::NAN, 0) };
        let (ranges, _) = self.evaluation.window(self.expr(range)?, self.at)?;
        let mut result = Vec::new();
        for range in ranges {
            let value = over_time(name, &range.points, share)
                .ok_or_else(|| QueryError::refused(format!("the function {name}")))?;
            let keeps_name = name == "last_over_time";
            let labels = if keeps_name { range.labels } else { without_name(&range.labels) };
            result.push(Element { labels, value });
        }
        unique(result)
    }

    fn absent(&self) -> Result<Vec<Element>, QueryError> {
        let expr = self.expr(0)?;
        let is_there = match self.evaluation.value(expr, self.at)? {
            Outcome::Vector(vector) => !vector.is_empty(),
            Outcome::Matrix(ranges) => !ranges.is_empty(),
            Outcome::Scalar(_) | Outcome::Text(_) => return Err(unfit("absent", "a vector")),
        };
        if is_there {
            return Ok(Vec::new());
        }
        Ok(vec![Element { labels: Arc::new(labels_of_absent(expr)), value: 1.0 }])
    }

    fn histogram_quantile(&self) -> Result<Vec<Element>, QueryError> {
        let share = self.scalar(0)?;
        let mut histograms: BTreeMap<Arc<Labels>, Vec<(f64, f64)>> = BTreeMap::new();
        for element in self.vector(1)? {
            let Some(bound) = element.labels.get(BOUND).and_then(|le| number(le)) else { continue };
            let mut labels = Labels::clone(&element.labels);
            labels.remove(BOUND);
            labels.remove(NAME);
            histograms.entry(Arc::new(labels)).or_default().push((bound, element.value));
        }
        let element = |(labels, buckets): (Arc<Labels>, Vec<(f64, f64)>)| Element {
            labels,
            value: histogram_quantile(share, buckets),
        };
        Ok(histograms.into_iter().map(element).collect())
    }

    fn label_replace(&self) -> Result<Vec<Element>, QueryError> {
        let mut vector = self.vector(0)?;
        let (target, replacement) = (self.text(1)?, self.text(2)?);
        let (source, pattern) = (self.text(3)?, self.text(4)?);
        let pattern = Regex::new(&format!("^(?s:{pattern})$")).map_err(|_| {
            QueryError::Impossible(format!("invalid regular expression {pattern:?}"))
        })?;
        for element in &mut vector {
            let value = element.labels.get(&source).map(String::as_str).unwrap_or_default();
            let Some(found) = pattern.captures(value) else { continue };
            let mut text = String::new();
            found.expand(&replacement, &mut text);
            relabel(element, &target, text);
        }
        unique(vector)
    }

    fn label_join(&self) -> Result<Vec<Element>, QueryError> {
        let mut vector = self.vector(0)?;
        let (target, separator) = (self.text(1)?, self.text(2)?);
        let sources = (3..self.call.args.args.len())
            .map(|idx| self.text(idx))
            .collect::<Result<Vec<_>, _>>()?;
        for element in &mut vector {
            let parts: Vec<&str> = sources
                .iter()
                .map(|source| element.labels.get(source).map(String::as_str).unwrap_or_default())
                .collect();
            let text = parts.join(&separator);
            relabel(element, &target, text);
        }
        unique(vector)
    }

    fn timestamp(&self) -> Result<Vec<Element>, QueryError> {
        let mut expr = self.expr(0)?;
        while let Expr::Paren(paren) = expr {
            expr = &paren.expr;
        }
        if let Expr::VectorSelector(selector) = expr {
            let found = self.evaluation.instant(selector, self.at)?.into_iter();
            let element = |range: Range| {
                let (at, _) = range.points.last()?;
                Some(Element { labels: without_name(&range.labels), value: seconds(*at) })
            };
            return Ok(found.filter_map(element).collect());
        }
        let at = seconds(self.at);
        Ok(mapped(self.vector(0)?, |_| at))
    }

    fn sorted(&self) -> Result<Vec<Element>, QueryError> {
        let mut vector = self.vector(0)?;
        let is_descending = self.call.func.name == "sort_desc";
        vector.sort_by(|one, other| {
            let order = one.value.partial_cmp(&other.value);
            let order = if is_descending { order.map(std::cmp::Ordering::reverse) } else { order };
            order.unwrap_or_else(|| one.value.is_nan().cmp(&other.value.is_nan()))
        });
        Ok(vector)
    }
}

/// Sets a label; an empty text removes it.
fn relabel(element: &mut Element, label: &str, text: String) {
    let mut labels = Labels::clone(&element.labels);
    if text.is_empty() {
        labels.remove(label);
    } else {
        labels.insert(label.to_owned(), text);
    }
    element.labels = Arc::new(labels);
}

/// What can be said of a series that is not there: the labels that were asked for exactly, once.
fn labels_of_absent(expr: &Expr) -> Labels {
    let selector = match expr {
        Expr::Paren(paren) => return labels_of_absent(&paren.expr),
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Labels::new(),
    };
    let mut labels = Labels::new();
    let mut doubtful = Vec::new();
    for matcher in &selector.matchers.matchers {
        if matcher.name == NAME {
            continue;
        }
        if matcher.op == MatchOp::Equal && !labels.contains_key(&matcher.name) {
            labels.insert(matcher.name.clone(), matcher.value.clone());
        } else {
            doubtful.push(&matcher.name);
        }
    }
    labels.retain(|name, _| !doubtful.contains(&name));
    labels
}

/// A number as labels write it.
fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

/// A number as a count; 0 for what is negative or no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a double saturates, which is what is meant"
)]
pub(super) fn whole(number: f64) -> usize {
    number as usize
}
