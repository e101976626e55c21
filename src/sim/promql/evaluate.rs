//! From a parsed query to its value at one moment, or at each step of a range.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use promql_parser::parser::{AtModifier, Expr, Offset, SubqueryExpr, VectorSelector};

use super::{
    Element, Labels, Outcome, Point, QueryError, Range, Store, aggregate, binary, functions,
    without_name,
};

/// How far back an instant vector looks for a sample.
const LOOK_BACK: i64 = 5 * 60 * 1000;
/// Step of subqueries that name none: the default evaluation interval.
const DEFAULT_STEP: i64 = 60 * 1000;
/// Most points of a series: the limit of Prometheus.
const MOST_POINTS: i64 = 11_000;

/// A query, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Query(Arc<Expr>);

/// An evaluation: the data, and the times of the whole query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation<'a> {
    store: &'a Store,
    start: i64,
    end: i64,
}

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    /// [`QueryError::Malformed`].
    pub(crate) fn parse(text: &str) -> Result<Self, QueryError> {
        let parsed = promql_parser::parser::parse(text);
        parsed.map(|expr| Self(Arc::new(expr))).map_err(QueryError::Malformed)
    }

    /// A query that was parsed elsewhere.
    pub(super) fn of(expr: Expr) -> Self {
        Self(Arc::new(expr))
    }

    /// Its value at `at` (milliseconds since 1970).
    ///
    /// # Errors
    /// [`QueryError`].
    pub(crate) fn at(&self, store: &Store, at: i64) -> Result<Outcome, QueryError> {
        let mut outcome = Evaluation { store, start: at, end: at }.value(&self.0, at)?;
        // Only the order that a function made is meant; every other is by labels.
        if !is_sorted(&self.0)
            && let Outcome::Vector(vector) = &mut outcome
        {
            vector.sort_by(|one, other| one.labels.cmp(&other.labels));
        }
        Ok(outcome)
    }

    /// Its values from `start` to `end`, `step` milliseconds apart.
    ///
    /// # Errors
    /// [`QueryError`].
    pub(crate) fn over(
        &self,
        store: &Store,
        (start, end): (i64, i64),
        step: i64,
    ) -> Result<Vec<Range>, QueryError> {
        if step <= 0 || end < start {
            return Err(QueryError::Malformed("the range or its step is empty".to_owned()));
        }
        if (end - start) / step > MOST_POINTS {
            let why = "exceeded maximum resolution of 11,000 points per timeseries";
            return Err(QueryError::Malformed(why.to_owned()));
        }
        Evaluation { store, start, end }.steps(&self.0, start, end, step)
    }
}

fn is_sorted(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => call.func.name.starts_with("sort"),
        Expr::Aggregate(aggregate) => {
            matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk")
        }
        Expr::Paren(paren) => is_sorted(&paren.expr),
        _ => false,
    }
}

impl Evaluation<'_> {
    /// The value of an expression at one moment.
    pub(super) fn value(&self, expr: &Expr, at: i64) -> Result<Outcome, QueryError> {
        match expr {
            Expr::NumberLiteral(number) => Ok(Outcome::Scalar(number.val)),
            Expr::StringLiteral(text) => Ok(Outcome::Text(text.val.clone())),
            Expr::Paren(paren) => self.value(&paren.expr, at),
            Expr::Unary(unary) => match self.value(&unary.expr, at)? {
                Outcome::Scalar(number) => Ok(Outcome::Scalar(-number)),
                Outcome::Vector(vector) => Ok(Outcome::Vector(mapped(vector, |value| -value))),
                Outcome::Matrix(_) | Outcome::Text(_) => Err(unfit("a minus", "numbers")),
            },
            Expr::VectorSelector(selector) => {
                let found = self.instant(selector, at)?.into_iter();
                let elements = found.filter_map(|range| {
                    let (_, value) = range.points.last()?;
                    Some(Element { labels: range.labels, value: *value })
                });
                Ok(Outcome::Vector(elements.collect()))
            }
            Expr::MatrixSelector(matrix) => {
                let to = self.moved(matrix.vs.at.as_ref(), matrix.vs.offset.as_ref(), at)?;
                let from = to - milliseconds(matrix.range);
                let (name, matchers) = (matrix.vs.name.as_deref(), &matrix.vs.matchers);
                Ok(Outcome::Matrix(self.store.range(name, matchers, from, to)))
            }
            Expr::Subquery(subquery) => self.subquery(subquery, at).map(Outcome::Matrix),
            Expr::Aggregate(expr) => aggregate::value(self, expr, at).map(Outcome::Vector),
            Expr::Binary(expr) => binary::value(self, expr, at),
            Expr::Call(call) => functions::value(self, call, at),
            Expr::Extension(extension) => {
                Err(QueryError::refused(format!("extension {}", extension.expr.name())))
            }
        }
    }

    /// The value of an expression that must be an instant vector.
    pub(super) fn vector(&self, expr: &Expr, at: i64) -> Result<Vec<Element>, QueryError> {
        match self.value(expr, at)? {
            Outcome::Vector(vector) => Ok(vector),
            Outcome::Scalar(_) | Outcome::Matrix(_) | Outcome::Text(_) => {
                Err(unfit("this", "an instant vector"))
            }
        }
    }

    /// The value of an expression that must be a scalar.
    pub(super) fn scalar(&self, expr: &Expr, at: i64) -> Result<f64, QueryError> {
        match self.value(expr, at)? {
            Outcome::Scalar(number) => Ok(number),
            Outcome::Vector(_) | Outcome::Matrix(_) | Outcome::Text(_) => {
                Err(unfit("this", "a scalar"))
            }
        }
    }

    /// The value of an expression that must be a text.
    pub(super) fn text(&self, expr: &Expr, at: i64) -> Result<String, QueryError> {
        match self.value(expr, at)? {
            Outcome::Text(text) => Ok(text),
            Outcome::Scalar(_) | Outcome::Vector(_) | Outcome::Matrix(_) => {
                Err(unfit("this", "a string"))
            }
        }
    }

    /// A range vector with the span that it covers: after the first time, up to the second.
    pub(super) fn window(
        &self,
        expr: &Expr,
        at: i64,
    ) -> Result<(Vec<Range>, (i64, i64)), QueryError> {
        let (at_modifier, offset, range) = match expr {
            Expr::Paren(paren) => return self.window(&paren.expr, at),
            Expr::MatrixSelector(matrix) => {
                (matrix.vs.at.as_ref(), matrix.vs.offset.as_ref(), matrix.range)
            }
            Expr::Subquery(subquery) => {
                (subquery.at.as_ref(), subquery.offset.as_ref(), subquery.range)
            }
            _ => return Err(unfit("this", "a range vector")),
        };
        let to = self.moved(at_modifier, offset, at)?;
        match self.value(expr, at)? {
            Outcome::Matrix(ranges) => Ok((ranges, (to - milliseconds(range), to))),
            Outcome::Scalar(_) | Outcome::Vector(_) | Outcome::Text(_) => {
                Err(unfit("this", "a range vector"))
            }
        }
    }

    /// The present samples of a selector, each with its own time.
    pub(super) fn instant(
        &self,
        selector: &VectorSelector,
        at: i64,
    ) -> Result<Vec<Range>, QueryError> {
        let to = self.moved(selector.at.as_ref(), selector.offset.as_ref(), at)?;
        let name = selector.name.as_deref();
        Ok(self.store.instant(name, &selector.matchers, to - LOOK_BACK, to))
    }

    /// The moment that `@` and `offset` mean.
    fn moved(
        &self,
        at_modifier: Option<&AtModifier>,
        offset: Option<&Offset>,
        at: i64,
    ) -> Result<i64, QueryError> {
        let base = match at_modifier {
            None => at,
            Some(AtModifier::Start) => self.start,
            Some(AtModifier::End) => self.end,
            Some(AtModifier::At(time)) => {
                let since = time.duration_since(SystemTime::UNIX_EPOCH);
                milliseconds(since.map_err(|_| QueryError::refused("times before 1970"))?)
            }
        };
        Ok(match offset {
            None => base,
            Some(Offset::Pos(back)) => base - milliseconds(*back),
            Some(Offset::Neg(ahead)) => base + milliseconds(*ahead),
        })
    }

    fn subquery(&self, subquery: &SubqueryExpr, at: i64) -> Result<Vec<Range>, QueryError> {
        let to = self.moved(subquery.at.as_ref(), subquery.offset.as_ref(), at)?;
        let from = to - milliseconds(subquery.range);
        let step = subquery.step.map_or(DEFAULT_STEP, milliseconds).max(1);
        // Steps are multiples of the step, the first of them after `from`.
        let first = (from.div_euclid(step) + 1) * step;
        if (to - first) / step > MOST_POINTS {
            return Err(QueryError::Impossible("the subquery has too many steps".to_owned()));
        }
        if first > to {
            return Ok(Vec::new());
        }
        self.steps(&subquery.expr, first, to, step)
    }

    /// The values of an expression at each step, as series.
    fn steps(
        &self,
        expr: &Expr,
        start: i64,
        end: i64,
        step: i64,
    ) -> Result<Vec<Range>, QueryError> {
        let mut series: BTreeMap<Arc<Labels>, Vec<Point>> = BTreeMap::new();
        let mut at = start;
        while at <= end {
            match self.value(expr, at)? {
                Outcome::Scalar(value) => {
                    series.entry(Arc::default()).or_default().push((at, value));
                }
                Outcome::Vector(vector) => {
                    for element in vector {
                        series.entry(element.labels).or_default().push((at, element.value));
                    }
                }
                Outcome::Matrix(_) | Outcome::Text(_) => {
                    let why =
                        "invalid expression type for range query, must be Scalar or instant Vector";
                    return Err(QueryError::Malformed(why.to_owned()));
                }
            }
            at += step;
        }
        Ok(series.into_iter().map(|(labels, points)| Range { labels, points }).collect())
    }
}

/// Each value of a vector changed; the result has no name.
pub(super) fn mapped(vector: Vec<Element>, change: impl Fn(f64) -> f64) -> Vec<Element> {
    let change = |element: Element| Element {
        labels: without_name(&element.labels),
        value: change(element.value),
    };
    vector.into_iter().map(change).collect()
}

/// Refuses two elements with the same labels, as results of functions and operators must not have.
pub(super) fn unique(vector: Vec<Element>) -> Result<Vec<Element>, QueryError> {
    let mut labels: Vec<&Arc<Labels>> = vector.iter().map(|element| &element.labels).collect();
    labels.sort();
    if labels.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        let why = "vector cannot contain metrics with the same labelset";
        return Err(QueryError::Impossible(why.to_owned()));
    }
    Ok(vector)
}

pub(super) fn unfit(what: &str, needs: &str) -> QueryError {
    QueryError::Malformed(format!("{what} needs {needs}"))
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
