//! Queries as texts, each parsed once.

use std::collections::BTreeMap;

use super::{Outcome, Query, QueryError, Store};
use crate::metrics::spec::prometheus::ResolvedRange;

/// Parsed queries that are kept.
const MOST_QUERIES: usize = 256;

/// Parsed queries by their text.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    parsed: BTreeMap<String, Query>,
}

impl Queries {
    /// The value of a query at `at` (milliseconds since 1970), or over a range.
    ///
    /// # Errors
    /// [`QueryError`].
    pub(crate) fn value(
        &mut self,
        store: &Store,
        text: &str,
        range: Option<ResolvedRange>,
        at: i64,
    ) -> Result<Outcome, QueryError> {
        let query = self.parsed(text)?;
        let Some(range) = range else { return query.at(store, at) };
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        let step = (range.step * 1000.0).round() as i64;
        let (from, to) = (range.start.saturating_mul(1000), range.end.saturating_mul(1000));
        query.over(store, (from, to), step.max(1)).map(Outcome::Matrix)
    }

    fn parsed(&mut self, text: &str) -> Result<Query, QueryError> {
        if self.parsed.len() >= MOST_QUERIES {
            self.parsed.clear();
        }
        if let Some(query) = self.parsed.get(text) {
            return Ok(query.clone());
        }
        let query = Query::parse(text)?;
        self.parsed.insert(text.to_owned(), query.clone());
        Ok(query)
    }
}
