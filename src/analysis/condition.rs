//! Success and failure conditions: the expression language of Argo Rollouts (expr-lang) over the
//! variable `result`, with Argo's functions `default`, `isNaN`, `isInf`, `isNil`, `asInt`,
//! `asFloat`.
//!
//! Never runs an expression that [`super::admission`] has not let in, never lets a panic of the
//! expression crate out, and answers only true, false or an error: anything else is not a verdict.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use expr::{Context, ContextProvider, Environment, Program, Value};

use super::admission::{self, Handles};
use crate::metrics::sample::{SampleValue, shortened};

/// Largest measured value that a condition sees, in nodes of its tree.
const MAX_RESULT_NODES: usize = 200_000;
/// Most nodes that all uses of `result` in one evaluation may copy.
const COPY_BUDGET: usize = 4_000_000;
/// Longest foreign text in an error, in characters.
const MAX_ERROR_CHARACTERS: usize = 200;

/// Why a condition cannot be used. The caller names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionProblem {
    /// It is not let in.
    #[error("is refused: {0}")]
    Refused(String),
    /// It is not an expression.
    #[error("is not an expression: {0}")]
    NotAnExpression(String),
}

/// Why a condition gave neither true nor false for a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionFailure {
    /// The expression gave a value of another type.
    #[error("expected true or false, but it is {0}")]
    NotBoolean(&'static str),
    /// The expression does not fit the value.
    #[error("{0}")]
    Evaluation(String),
    /// It copies too much.
    #[error("it uses a large result too often")]
    TooCostly,
    /// The value is too large to be judged.
    #[error("the result has more than {MAX_RESULT_NODES} parts")]
    TooLarge,
}

/// A condition that was let in and parsed.
#[derive(Clone, Debug)]
pub struct Condition {
    source: String,
    handles: Handles,
    program: Program,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Condition {
    /// Parses a condition.
    ///
    /// # Errors
    /// [`ConditionProblem`] for what is refused or is not an expression.
    pub fn parse(source: &str) -> Result<Self, ConditionProblem> {
        let handles = admission::admit(source)?;
        let program = catch_unwind(|| expr::compile(source))
            .map_err(|_| ConditionProblem::NotAnExpression("it confuses the parser".to_owned()))?
            .map_err(|error| ConditionProblem::NotAnExpression(parse_error_text(&error)))?;
        Ok(Self { source: source.to_owned(), handles, program })
    }

    /// The condition as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How it treats missing values.
    pub fn handles(&self) -> Handles {
        self.handles
    }

    /// Whether the condition holds for a value.
    ///
    /// # Errors
    /// [`ConditionFailure`] when it gives neither true nor false.
    pub fn holds(&self, sample: &SampleValue) -> Result<bool, ConditionFailure> {
        let mut nodes = 0;
        let result = to_expr_value(sample, &mut nodes).ok_or(ConditionFailure::TooLarge)?;
        let scope =
            Scope { result, nodes, budget: Cell::new(COPY_BUDGET), is_spent: Cell::new(false) };
        // The crate is free of panics as far as its authors and our fuzzing know; a template of one
        // team must not stop the controller for all if that is wrong (reliability: S33).
        let outcome = catch_unwind(AssertUnwindSafe(|| ENVIRONMENT.run(&self.program, &scope)))
            .map_err(|_| ConditionFailure::Evaluation("the expression broke down".to_owned()))?;
        if scope.is_spent.get() {
            return Err(ConditionFailure::TooCostly);
        }
        match outcome {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(other) => Err(ConditionFailure::NotBoolean(type_name(&other))),
            Err(error) => Err(ConditionFailure::Evaluation(shortened(
                &error.to_string(),
                MAX_ERROR_CHARACTERS,
            ))),
        }
    }
}

/// The only variable. Each use copies the value, so each use is charged.
struct Scope {
    result: Value,
    nodes: usize,
    budget: Cell<usize>,
    is_spent: Cell<bool>,
}

impl ContextProvider for Scope {
    fn get(&self, key: &str) -> Option<&Value> {
        if key != "result" {
            return None;
        }
        if let Some(left) = self.budget.get().checked_sub(self.nodes) {
            self.budget.set(left);
            Some(&self.result)
        } else {
            self.is_spent.set(true);
            None
        }
    }

    fn to_context(&self) -> Context {
        Context::default()
    }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    for name in admission::REFUSED_FUNCTIONS {
        environment.add_function(name, move |_| fail(format!("{name}() is not available")));
    }
    environment.add_function("default", |call| {
        let (value, fallback) = two(call.args, "default")?;
        Ok(if value.is_nil() { fallback } else { value })
    });
    environment.add_function("isNil", |call| Ok(Value::Bool(one(call.args, "isNil")?.is_nil())));
    environment.add_function("isNaN", |call| match one(call.args, "isNaN")? {
        Value::Float(number) => Ok(Value::Bool(number.is_nan())),
        Value::Integer(_) => Ok(Value::Bool(false)),
        other => fail(format!("isNaN() needs a number, not {}", type_name(&other))),
    });
    environment.add_function("isInf", |call| match one(call.args, "isInf")? {
        Value::Float(number) => Ok(Value::Bool(number.is_infinite())),
        Value::Integer(_) => Ok(Value::Bool(false)),
        other => fail(format!("isInf() needs a number, not {}", type_name(&other))),
    });
    environment.add_function("asFloat", |call| as_float(one(call.args, "asFloat")?));
    environment.add_function("asInt", |call| as_int(one(call.args, "asInt")?));
    environment
});

fn fail<T>(message: String) -> expr::Result<T> {
    Err(expr::Error::ExprError(message))
}

fn one(args: Vec<Value>, name: &str) -> expr::Result<Value> {
    let mut args = args.into_iter();
    match (args.next(), args.next()) {
        (Some(value), None) => Ok(value),
        _ => fail(format!("{name}() takes one argument")),
    }
}

fn two(args: Vec<Value>, name: &str) -> expr::Result<(Value, Value)> {
    let mut args = args.into_iter();
    match (args.next(), args.next(), args.next()) {
        (Some(first), Some(second), None) => Ok((first, second)),
        _ => fail(format!("{name}() takes two arguments")),
    }
}

fn as_float(value: Value) -> expr::Result<Value> {
    match value {
        Value::Float(_) => Ok(value),
        Value::Integer(number) => parsed(&number.to_string(), "asFloat").map(Value::Float),
        Value::String(text) => parsed(text.trim(), "asFloat").map(Value::Float),
        other => fail(format!("asFloat() needs a number or a text, not {}", type_name(&other))),
    }
}

fn as_int(value: Value) -> expr::Result<Value> {
    match value {
        Value::Integer(_) => Ok(value),
        Value::Float(number) => {
            parsed(&format!("{:.0}", number.trunc()), "asInt").map(Value::Integer)
        }
        Value::String(text) => parsed(text.trim(), "asInt").map(Value::Integer),
        other => fail(format!("asInt() needs a number or a text, not {}", type_name(&other))),
    }
}

fn parsed<T: std::str::FromStr>(text: &str, name: &str) -> expr::Result<T> {
    match text.parse() {
        Ok(value) => Ok(value),
        Err(_) => fail(format!("{name}() cannot read {:?}", shortened(text, 40))),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Nil => "nothing (nil)",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Map(_) | Value::KeyedMap(_) => "a map",
        Value::Bytes(_) => "bytes",
    }
}

/// Position and expectation of a parse error, on one line.
fn parse_error_text(error: &expr::Error) -> String {
    let text = error.to_string();
    let position = text.lines().next().and_then(|line| line.trim().strip_prefix("--> "));
    let expectation = text.lines().rev().find_map(|line| line.trim().strip_prefix("= "));
    match (position, expectation) {
        (Some(position), Some(expectation)) => {
            shortened(&format!("at {position}: {expectation}"), MAX_ERROR_CHARACTERS)
        }
        _ => shortened(&text, MAX_ERROR_CHARACTERS),
    }
}

/// The value as the expression sees it, its nodes counted; nothing when there are too many. All JSON
/// numbers are floating, as in Argo Rollouts.
fn to_expr_value(sample: &SampleValue, nodes: &mut usize) -> Option<Value> {
    match sample {
        SampleValue::Number(number) => {
            *nodes += 1;
            Some(Value::Float(*number))
        }
        SampleValue::Numbers(numbers) => {
            *nodes += 1 + numbers.len();
            (*nodes <= MAX_RESULT_NODES)
                .then(|| Value::Array(numbers.iter().copied().map(Value::Float).collect()))
        }
        SampleValue::Json(json) => json_to_expr(json, nodes),
    }
}

fn json_to_expr(json: &serde_json::Value, nodes: &mut usize) -> Option<Value> {
    *nodes += 1;
    if *nodes > MAX_RESULT_NODES {
        return None;
    }
    Some(match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => {
            *nodes += text.len() / 32;
            Value::String(text.clone())
        }
        serde_json::Value::Array(items) => {
            Value::Array(items.iter().map(|item| json_to_expr(item, nodes)).collect::<Option<_>>()?)
        }
        serde_json::Value::Object(fields) => {
            let fields: Option<Vec<(String, Value)>> = fields
                .iter()
                .map(|(key, value)| Some((key.clone(), json_to_expr(value, nodes)?)))
                .collect();
            fields?.into_iter().collect()
        }
    })
}

#[cfg(test)]
mod tests;
