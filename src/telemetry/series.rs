//! Gauges with a series for each Rollout, but never more than a limit of them.
//!
//! Labels that users choose would otherwise grow without bound. Beyond the limit the series that
//! was updated longest ago is dropped; a limit of 0 switches the metric off.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Label names and values of a series.
pub type Labels = Vec<(&'static str, String)>;

/// A gauge of floating-point numbers.
pub type FloatGauge = Gauge<f64, AtomicU64>;

/// A family of gauges with a limited number of series.
pub struct LimitedGauges {
    family: Family<Labels, FloatGauge>,
    limit: usize,
    order: Mutex<Order>,
}

/// Which series was updated when, in a count of updates.
#[derive(Default)]
struct Order {
    updates: u64,
    by_age: BTreeMap<u64, Labels>,
    age_of: HashMap<Labels, u64>,
}

impl fmt::Debug for LimitedGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitedGauges").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl LimitedGauges {
    /// At most `limit` series; 0 for none at all.
    pub fn new(limit: usize) -> Self {
        Self { family: Family::default(), limit, order: Mutex::default() }
    }

    /// The family, for registration.
    pub fn family(&self) -> Family<Labels, FloatGauge> {
        self.family.clone()
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a series, and says how many others had to go for it.
    pub fn set(&self, labels: Labels, value: f64) -> u64 {
        if self.limit == 0 {
            return 0;
        }
        let mut order = self.order();
        order.updates += 1;
        let age = order.updates;
        if let Some(old) = order.age_of.insert(labels.clone(), age) {
            order.by_age.remove(&old);
        }
        self.family.get_or_create(&labels).set(value);
        order.by_age.insert(age, labels);
        let mut dropped = 0;
        while order.by_age.len() > self.limit {
            let Some((_, oldest)) = order.by_age.pop_first() else {
                break;
            };
            order.age_of.remove(&oldest);
            self.family.remove(&oldest);
            dropped += 1;
        }
        dropped
    }

    /// Removes one series.
    pub fn remove(&self, labels: &Labels) {
        let mut order = self.order();
        if let Some(age) = order.age_of.remove(labels) {
            order.by_age.remove(&age);
            self.family.remove(labels);
        }
    }

    /// Removes every series whose first labels are `first`.
    pub fn remove_starting_with(&self, first: &[(&'static str, String)]) {
        let matching: Vec<Labels> = self
            .order()
            .age_of
            .keys()
            .filter(|labels| labels.starts_with(first))
            .cloned()
            .collect();
        for labels in &matching {
            self.remove(labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        vec![("namespace", "shop".to_owned()), ("rollout", name.to_owned())]
    }

    #[test]
    fn beyond_the_limit_the_series_updated_longest_ago_goes() {
        let gauges = LimitedGauges::new(2);
        assert_eq!(gauges.set(labels("a"), 1.0), 0);
        assert_eq!(gauges.set(labels("b"), 2.0), 0);
        assert_eq!(gauges.set(labels("a"), 3.0), 0);
        assert_eq!(gauges.set(labels("c"), 4.0), 1);
        assert!(gauges.family.get(&labels("b")).is_none());
        assert!(
            gauges.family.get(&labels("a")).is_some() && gauges.family.get(&labels("c")).is_some()
        );
    }

    #[test]
    fn a_limit_of_zero_switches_the_metric_off() {
        let gauges = LimitedGauges::new(0);
        gauges.set(labels("a"), 1.0);
        assert!(gauges.family.get(&labels("a")).is_none());
    }

    #[test]
    fn the_series_of_a_rollout_go_together() {
        let gauges = LimitedGauges::new(5);
        for metric in ["errors", "latency"] {
            let mut all = labels("a");
            all.push(("metric", metric.to_owned()));
            gauges.set(all, 1.0);
        }
        gauges.set(labels("b"), 1.0);
        gauges.remove_starting_with(&labels("a"));
        assert_eq!(gauges.order().age_of.len(), 1);
        assert!(gauges.family.get(&labels("b")).is_some());
        assert_eq!(gauges.order().by_age.len(), 1);
    }
}
