//! What one look of a metric that compares asks Prometheus for: raw samples of plain selectors over a
//! span of time, and at the first look what stable did before. Data only; made by the judge.

use chrono::{DateTime, TimeDelta, Utc};

use super::prometheus::ResolvedRange;

/// How far before a span its last sample is looked for: scrape intervals up to a minute.
const LOOK_BACK: TimeDelta = TimeDelta::seconds(75);
/// How far before a span the last sample of a series is looked for that has none in [`LOOK_BACK`]: it
/// may not have been scraped for a while. What has no sample in that time is new.
const LONG_LOOK_BACK: &str = "1h";

/// One look.
#[derive(Clone, Debug, PartialEq)]
pub struct LookSpec {
    /// Selectors of plain series, with the matchers of both arms.
    pub selectors: Vec<String>,
    /// End of the look before; increases count from here.
    pub from: DateTime<Utc>,
    /// End of this look.
    pub until: DateTime<Utc>,
    /// What is asked about the time before the start; only by the first look.
    pub history: Option<HistorySpec>,
}

/// Instant vectors over a range of time before the start.
#[derive(Clone, Debug, PartialEq)]
pub struct HistorySpec {
    /// Queries over the series of stable.
    pub queries: Vec<String>,
    /// When.
    pub range: ResolvedRange,
}

impl LookSpec {
    /// Query for the raw samples of a selector in the span and a little before. The moment stands in the
    /// query, so that both ends of a difference come from one answer of one server.
    pub fn samples(&self, selector: &str) -> String {
        range(selector, self.until, self.until.signed_duration_since(self.from) + LOOK_BACK)
    }

    /// Query for the last samples before the span.
    pub fn last_before(&self, selector: &str) -> String {
        format!("last_over_time({selector}[{LONG_LOOK_BACK}] @ {})", seconds(self.from))
    }
}

/// Query for the raw samples of a selector in the time before `until`.
pub fn range(selector: &str, until: DateTime<Utc>, width: TimeDelta) -> String {
    format!("{selector}[{}ms] @ {}", width.num_milliseconds().max(1), seconds(until))
}

fn seconds(at: DateTime<Utc>) -> String {
    let milliseconds = at.timestamp_millis();
    format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_asks_for_its_span_by_a_time_that_stands_in_the_query() {
        let at = |milliseconds| DateTime::from_timestamp_millis(milliseconds).unwrap();
        let look = LookSpec {
            selectors: vec![],
            from: at(1_800_000_000_250),
            until: at(1_800_000_030_250),
            history: None,
        };
        assert_eq!(look.samples("x{a=\"b\"}"), "x{a=\"b\"}[105000ms] @ 1800000030.250");
        assert_eq!(look.last_before("x"), "last_over_time(x[1h] @ 1800000000.250)");
    }
}
