//! Plain series selectors: what a metric that compares may name, and how they are extended.
//!
//! The judge needs counters as they are. It takes exact differences between its looks, over intervals
//! that do not overlap; `rate()` and `increase()` extrapolate, their windows overlap, and a quotient has
//! lost how many requests it stands for.

use promql_parser::parser::{Expr, parse};

/// Longest selector, in bytes.
const MAX_BYTES: usize = 4096;

/// A selector of plain series of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    name: String,
    /// What stands between the braces, without a comma at its end.
    inside: String,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong with it and what would be right, to be read on from the name of its field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("is empty: write the name of a counter with its labels".to_owned());
        }
        if text.len() > MAX_BYTES {
            return Err(format!("is longer than {MAX_BYTES} bytes"));
        }
        let parsed = parse(text).map_err(|error| format!("is no PromQL: {error}"))?;
        if let Some(refusal) = refusal(&parsed) {
            return Err(refusal);
        }
        let (name, inside) = match text.split_once('{') {
            Some((name, rest)) => (name.trim(), rest.trim_end().strip_suffix('}')),
            None => (text, Some("")),
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if name.is_empty() || !name.chars().all(is_word) {
            return Err(
                "must begin with the name of the metric, as http_requests_total{app=\"shop\"}"
                    .to_owned(),
            );
        }
        let inside = inside.unwrap_or_default().trim().trim_end_matches(',').trim_end();
        let selector = Self { name: name.to_owned(), inside: inside.to_owned() };
        // A comment, for one, would swallow what is added behind it.
        match parse(&selector.with(&["sluice_try=\"1\"".to_owned()])) {
            Ok(Expr::VectorSelector(found)) if has_trial(&found.matchers) => Ok(selector),
            Ok(_) | Err(_) => {
                Err("cannot be extended by labels: remove comments from it".to_owned())
            }
        }
    }

    /// The same with further label matchers as somebody wrote them.
    ///
    /// # Errors
    /// What is wrong with the matchers.
    pub fn and(&self, matchers: &str) -> Result<Self, String> {
        let matchers = matchers.trim();
        let braced = format!("x{{{matchers}}}");
        let wrong = "must be label matchers without braces, as code=~\"5..\"";
        match parse(&braced) {
            Ok(Expr::VectorSelector(found))
                if !matchers.is_empty() && found.matchers.or_matchers.is_empty() => {}
            Ok(_) | Err(_) => return Err(wrong.to_owned()),
        }
        Self::parse(&self.with(&[matchers.trim_end_matches(',').to_owned()]))
            .map_err(|_| wrong.to_owned())
    }

    /// The selector of another metric with the same labels.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Self {
        Self { name: name.to_owned(), inside: self.inside.clone() }
    }

    /// Name of the metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// PromQL, with further matchers.
    pub fn with(&self, matchers: &[String]) -> String {
        let own = (!self.inside.is_empty()).then_some(self.inside.as_str());
        let all: Vec<&str> = own.into_iter().chain(matchers.iter().map(String::as_str)).collect();
        if all.is_empty() {
            self.name.clone()
        } else {
            format!("{}{{{}}}", self.name, all.join(","))
        }
    }
}

fn has_trial(matchers: &promql_parser::label::Matchers) -> bool {
    matchers.matchers.iter().any(|matcher| matcher.name == "sluice_try")
}

/// Why an expression is no plain selector; none when it is.
fn refusal(expr: &Expr) -> Option<String> {
    const SELF: &str = "write the plain counter; the controller takes differences itself, over \
                        intervals that do not overlap";
    Some(match expr {
        Expr::VectorSelector(selector) => {
            if selector.offset.is_some() || selector.at.is_some() {
                "has offset or @: write the plain series; canary and stable are compared at the same \
                 time"
                    .to_owned()
            } else if !selector.matchers.or_matchers.is_empty() {
                "has alternatives (or): write one list of labels".to_owned()
            } else {
                return None;
            }
        }
        Expr::Call(call) => match call.func.name {
            name @ ("rate" | "irate" | "increase" | "delta" | "idelta" | "deriv") => format!(
                "uses {name}(), whose windows overlap, so that one bad minute counts several times, \
                 and whose values are no counts: {SELF}"
            ),
            name => format!("uses {name}(): {SELF}"),
        },
        Expr::MatrixSelector(_) | Expr::Subquery(_) => {
            format!("has a range in []: {SELF}")
        }
        Expr::Binary(binary) if binary.op.to_string() == "/" => {
            "divides, and a quotient has lost how \
             many requests it stands for: write the two counters, as total and bad"
                .to_owned()
        }
        Expr::Binary(binary) => {
            format!("uses the operator {}: write one plain series selector a field", binary.op)
        }
        Expr::Aggregate(aggregate) => format!(
            "uses {}(): write the plain counter; the series of each arm are added up after their \
             differences were taken, or a restart of one pod would be lost in the sum",
            aggregate.op
        ),
        Expr::Paren(paren) => {
            return refusal(&paren.expr)
                .or_else(|| Some("stands in brackets: remove them".to_owned()));
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {
            "is a constant: write the name of a counter with its labels".to_owned()
        }
        Expr::Unary(_) | Expr::Extension(_) => {
            "is no plain series selector: write the name of a counter with its labels".to_owned()
        }
    })
}

/// A text as a quoted PromQL string.
pub(super) fn quoted(text: &str) -> String {
    let escaped: String = text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
        out
    });
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_selectors_are_extended() {
        let more = [String::from("pod=~\"a|b\"")];
        for (text, extended) in [
            ("up", "up{pod=~\"a|b\"}"),
            (" up { } ", "up{pod=~\"a|b\"}"),
            ("a:b{x=\"}\", y='1',}", "a:b{x=\"}\", y='1',pod=~\"a|b\"}"),
        ] {
            assert_eq!(Selector::parse(text).unwrap().with(&more), extended, "{text}");
        }
        let bad = Selector::parse("http_requests_total{app=\"shop\"}").unwrap();
        let bad = bad.and("code=~\"5..\"").unwrap();
        assert_eq!(bad.with(&[]), "http_requests_total{app=\"shop\",code=~\"5..\"}");
    }

    #[test]
    fn what_is_no_plain_selector_is_refused_with_the_reason() {
        for (text, word) in [
            ("rate(http_requests_total[5m])", "rate(), whose windows overlap"),
            ("increase(http_requests_total[5m])", "increase()"),
            ("sum(http_requests_total)", "sum()"),
            ("sum(rate(a[1m])) / sum(rate(b[1m]))", "divides"),
            ("a - b", "operator -"),
            ("http_requests_total[5m]", "range in []"),
            ("max_over_time(a[5m:1m])", "max_over_time()"),
            ("a offset 5m", "offset"),
            ("a @ 0", "offset or @"),
            ("(a)", "brackets"),
            ("1", "constant"),
            ("{__name__=\"a\"}", "begin with the name"),
            ("a{b=\"1\" or c=\"2\"}", "alternatives"),
            ("a{b=\"1\" # c\n}", "comments"),
            ("a{b=", "no PromQL"),
            ("", "empty"),
        ] {
            let error = Selector::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        let total = Selector::parse("a{b=\"1\"}").unwrap();
        for matchers in ["", "{code=\"500\"}", "code=\"500\"} or x{a=\"1\"", "code"] {
            assert!(total.and(matchers).unwrap_err().contains("label matchers"), "{matchers}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_lose_the_matcher(text in "[a-z{}\"'=~,# \\\\\n\\[\\]()]{0,40}") {
            if let Ok(selector) = Selector::parse(&text) {
                let all = selector.with(&["arm=\"x\"".to_owned()]);
                let Ok(Expr::VectorSelector(found)) = parse(&all) else { panic!("{all}") };
                prop_assert!(found.matchers.matchers.iter().any(|matcher| matcher.name == "arm"));
            }
        }

        #[test]
        fn a_quoted_text_is_read_back(text in "\\PC{0,20}") {
            let all = format!("x{{a={}}}", quoted(&text));
            let Ok(Expr::VectorSelector(found)) = parse(&all) else { panic!("{all}") };
            prop_assert_eq!(&found.matchers.matchers[0].value, &text);
        }
    }
}
