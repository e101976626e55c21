//! Series with their samples.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use promql_parser::label::{Matcher, Matchers};

use super::{Labels, NAME, Point, Range};

/// The value that ends a series: its target or itself is gone.
pub(crate) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value says that the series ended.
fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// Names a series of a store while it has samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesId(usize);

#[derive(Clone, Debug)]
struct Series {
    labels: Arc<Labels>,
    points: VecDeque<Point>,
}

/// All series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    series: Vec<Option<Series>>,
    free: Vec<usize>,
    by_labels: BTreeMap<Arc<Labels>, usize>,
    /// Places of the series of a metric, by labels.
    by_name: BTreeMap<String, BTreeMap<Arc<Labels>, usize>>,
}

impl Store {
    /// The series with these labels; made when there is none.
    pub(crate) fn series(&mut self, labels: Labels) -> SeriesId {
        if let Some(at) = self.by_labels.get(&labels) {
            return SeriesId(*at);
        }
        let labels = Arc::new(labels);
        let series = Series { labels: labels.clone(), points: VecDeque::new() };
        let at = if let Some(at) = self.free.pop() {
            if let Some(place) = self.series.get_mut(at) {
                *place = Some(series);
            }
            at
        } else {
            self.series.push(Some(series));
            self.series.len() - 1
        };
        let name = labels.get(NAME).cloned().unwrap_or_default();
        self.by_name.entry(name).or_default().insert(labels.clone(), at);
        self.by_labels.insert(labels, at);
        SeriesId(at)
    }

    /// Adds a sample, unless a newer one is there.
    pub(crate) fn append(&mut self, id: SeriesId, at: i64, value: f64) {
        if let Some(Some(series)) = self.series.get_mut(id.0)
            && series.points.back().is_none_or(|(last, _)| *last < at)
        {
            series.points.push_back((at, value));
        }
    }

    /// Forgets samples before `oldest`, and series without any.
    pub(crate) fn prune(&mut self, oldest: i64) {
        for at in 0..self.series.len() {
            let Some(place) = self.series.get_mut(at) else { continue };
            let Some(series) = place else { continue };
            while series.points.front().is_some_and(|(time, _)| *time < oldest) {
                series.points.pop_front();
            }
            if series.points.is_empty() {
                let labels = series.labels.clone();
                *place = None;
                self.free.push(at);
                self.by_labels.remove(&labels);
                let name = labels.get(NAME).map(String::as_str).unwrap_or_default();
                if let Some(of_name) = self.by_name.get_mut(name) {
                    of_name.remove(&labels);
                }
            }
        }
    }

    /// The samples after `from` up to `to` of the series that fit, sorted by labels; series without
    /// such a sample are left out. Samples that end a series are in it.
    fn select(&self, name: Option<&str>, matchers: &Matchers, from: i64, to: i64) -> Vec<Range> {
        let of_name = name.or_else(|| exact_name(matchers));
        let candidates: Vec<usize> = match of_name {
            Some(name) => {
                self.by_name.get(name).into_iter().flat_map(|all| all.values()).copied().collect()
            }
            None => self.by_labels.values().copied().collect(),
        };
        let mut found = Vec::new();
        for at in candidates {
            let Some(Some(series)) = self.series.get(at) else { continue };
            if !fits(&series.labels, matchers) {
                continue;
            }
            let first = series.points.partition_point(|(time, _)| *time <= from);
            let points: Vec<Point> =
                series.points.range(first..).take_while(|(time, _)| *time <= to).copied().collect();
            if !points.is_empty() {
                found.push(Range { labels: series.labels.clone(), points });
            }
        }
        found
    }

    /// The samples of a range, without those that end a series.
    pub(crate) fn range(
        &self,
        name: Option<&str>,
        matchers: &Matchers,
        from: i64,
        to: i64,
    ) -> Vec<Range> {
        let mut ranges = self.select(name, matchers, from, to);
        for range in &mut ranges {
            range.points.retain(|(_, value)| !is_stale(*value));
        }
        ranges.retain(|range| !range.points.is_empty());
        ranges
    }

    /// The last sample of each series in the time after `from` up to `to`, unless it ended.
    pub(crate) fn instant(
        &self,
        name: Option<&str>,
        matchers: &Matchers,
        from: i64,
        to: i64,
    ) -> Vec<Range> {
        let mut ranges = self.select(name, matchers, from, to);
        for range in &mut ranges {
            let last = range.points.pop().filter(|(_, value)| !is_stale(*value));
            range.points = last.into_iter().collect();
        }
        ranges.retain(|range| !range.points.is_empty());
        ranges
    }
}

fn exact_name(matchers: &Matchers) -> Option<&str> {
    use promql_parser::label::MatchOp;
    let is_exact = |matcher: &&Matcher| matcher.name == NAME && matcher.op == MatchOp::Equal;
    matchers.matchers.iter().find(is_exact).map(|matcher| matcher.value.as_str())
}

/// Whether labels fit: all of the matchers, or all of one of the alternatives. A label that is
/// missing is empty.
fn fits(labels: &Labels, matchers: &Matchers) -> bool {
    let holds = |matcher: &Matcher| {
        matcher.is_match(labels.get(&matcher.name).map(String::as_str).unwrap_or_default())
    };
    if matchers.or_matchers.is_empty() {
        return matchers.matchers.iter().all(holds);
    }
    matchers.or_matchers.iter().any(|all| all.iter().all(holds))
}
