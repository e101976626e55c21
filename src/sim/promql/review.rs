//! What a query reads and whether it can be evaluated here, before there are any data.

use promql_parser::label::{Matcher, Matchers};
use promql_parser::parser::Expr;

use super::{Labels, NAME, Query, QueryError, Store};

/// A selector of a query.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Name of the series; none when it selects by labels alone.
    pub name: Option<String>,
    matchers: Vec<Matcher>,
}

impl Selected {
    /// The labels that it asks for, each with the condition as it stands in the query. Conditions
    /// that hold without the label are left out.
    pub fn needs(&self) -> Vec<(String, String)> {
        let needed = self.matchers.iter().filter(|one| one.name != NAME && !one.is_match(""));
        needed.map(|one| (one.name.clone(), one.to_string())).collect()
    }

    /// Whether a value of a label fits all conditions on it.
    pub fn fits(&self, label: &str, value: &str) -> bool {
        self.matchers.iter().filter(|one| one.name == label).all(|one| one.is_match(value))
    }
}

/// The selectors of a query that can be evaluated.
///
/// # Errors
/// Why it cannot: it is no PromQL, or uses what is not evaluated here.
pub fn review(text: &str) -> Result<Vec<Selected>, String> {
    let mut expr = promql_parser::parser::parse(text)
        .map_err(|error| QueryError::Malformed(error).to_string())?;
    let mut found = Vec::new();
    relax(&mut expr, &mut found);
    // A try on series that fit, so that every part of it is reached.
    let mut store = Store::default();
    for selected in &found {
        let name = selected.name.clone().unwrap_or_else(|| "any".to_owned());
        for bound in ["1", "+Inf"] {
            let labels = [(NAME, name.as_str()), ("le", bound)];
            let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
            let id = store.series(Labels::from(labels));
            store.append(id, TRY_AT - 30_000, 1.0);
            store.append(id, TRY_AT, 2.0);
        }
    }
    match Query::of(expr).at(&store, TRY_AT) {
        Err(error @ (QueryError::NotEvaluated(_) | QueryError::Malformed(_))) => {
            Err(error.to_string())
        }
        // The data of the try need not suit.
        Err(QueryError::Impossible(_)) | Ok(_) => Ok(found),
    }
}

/// A day after the beginning of time, in milliseconds: no offset leads before it.
const TRY_AT: i64 = 24 * 3600 * 1000;

/// Takes the conditions out of all selectors, and keeps them.
fn relax(expr: &mut Expr, found: &mut Vec<Selected>) {
    let mut take = |name: &Option<String>, matchers: &mut Matchers| {
        let Matchers { matchers, or_matchers } = std::mem::replace(matchers, Matchers::empty());
        let named = matchers.iter().find(|one| one.name == NAME && one.is_match(&one.value));
        let name = name.clone().or_else(|| named.map(|one| one.value.clone()));
        // Alternatives are not told apart: no condition of theirs is judged.
        let matchers = if or_matchers.is_empty() { matchers } else { Vec::new() };
        found.push(Selected { name, matchers });
    };
    match expr {
        Expr::VectorSelector(selector) => take(&selector.name, &mut selector.matchers),
        Expr::MatrixSelector(selector) => take(&selector.vs.name, &mut selector.vs.matchers),
        Expr::Subquery(subquery) => relax(&mut subquery.expr, found),
        Expr::Aggregate(aggregate) => {
            relax(&mut aggregate.expr, found);
            if let Some(param) = &mut aggregate.param {
                relax(param, found);
            }
        }
        Expr::Unary(unary) => relax(&mut unary.expr, found),
        Expr::Paren(paren) => relax(&mut paren.expr, found),
        Expr::Binary(binary) => {
            relax(&mut binary.lhs, found);
            relax(&mut binary.rhs, found);
        }
        Expr::Call(call) => {
            for arg in &mut call.args.args {
                relax(arg, found);
            }
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_its_series_and_the_labels_that_it_needs() {
        let query = "sum(rate(http_requests_total{app=\"web\",code!~\"5..\",pod=~\"web-.*\"}[1m])) \
                     / sum(rate({__name__=\"all\"}[1m]))";
        let found = review(query).unwrap();
        let names: Vec<&str> = found.iter().filter_map(|one| one.name.as_deref()).collect();
        assert_eq!(names, ["http_requests_total", "all"]);
        let needs: Vec<String> = found[0].needs().into_iter().map(|(_, text)| text).collect();
        assert_eq!(needs, ["app=\"web\"", "pod=~\"web-.*\""]);
        assert!(found[0].fits("code", "200") && !found[0].fits("code", "503"));
    }

    #[test]
    fn what_is_not_evaluated_is_told_by_its_name() {
        let refused = review("histogram_avg(rate(up{a=\"b\"}[5m]))").unwrap_err();
        assert!(refused.contains("histogram_avg"), "{refused}");
        assert!(review("sum(").is_err());
        let hard = "quantile_over_time(0.9, x{a=~\"b.*\"}[5m] offset 1h)";
        assert!(review(hard).is_ok());
    }
}
