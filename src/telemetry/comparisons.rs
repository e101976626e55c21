//! What comparisons say, as gauges: while a run is under way, and no longer.

use super::catalog::{self, MetricDoc};
use super::series::{Labels, LimitedGauges};
use crate::api::analysis::MetricComparison;

/// The four gauges.
pub(super) struct Comparisons {
    log_e: LimitedGauges,
    lower: LimitedGauges,
    upper: LimitedGauges,
    split: LimitedGauges,
}

impl Comparisons {
    /// At most so many series each.
    pub(super) fn new(limit: usize) -> Self {
        let gauges = || LimitedGauges::new(limit);
        Self { log_e: gauges(), lower: gauges(), upper: gauges(), split: gauges() }
    }

    /// All of them, for registration.
    pub(super) fn all(&self) -> [(&'static MetricDoc, &LimitedGauges); 4] {
        [
            (&catalog::LOG_E, &self.log_e),
            (&catalog::RATIO_LOWER, &self.lower),
            (&catalog::RATIO_UPPER, &self.upper),
            (&catalog::SPLIT, &self.split),
        ]
    }

    /// Sets the series of a run, and says how many others had to go for them.
    pub(super) fn set(
        &self,
        namespace: &str,
        run: &str,
        metrics: &[MetricComparison],
    ) -> Vec<(&'static MetricDoc, u64)> {
        let mut dropped = Vec::new();
        for metric in metrics {
            let mut labels = of_run(namespace, run);
            labels.push(("metric", metric.name.clone()));
            for (kind, value) in
                [("fail", metric.log_e_fail.as_deref()), ("pass", metric.log_e_pass.as_deref())]
            {
                let mut labels = labels.clone();
                labels.push(("kind", kind.to_owned()));
                dropped.push((&catalog::LOG_E, put(&self.log_e, labels, value)));
            }
            let lower = put(&self.lower, labels.clone(), metric.ratio_lower.as_deref());
            dropped.push((&catalog::RATIO_LOWER, lower));
            dropped.push((
                &catalog::RATIO_UPPER,
                put(&self.upper, labels.clone(), metric.ratio_upper.as_deref()),
            ));
            let split = metric.split.as_ref();
            for (kind, share) in [
                ("weight", split.map(|it| it.weight.as_str())),
                ("requests", split.map(|it| it.requests.as_str())),
            ] {
                let mut labels = labels.clone();
                labels.push(("kind", kind.to_owned()));
                dropped.push((&catalog::SPLIT, put(&self.split, labels, share)));
            }
        }
        dropped
    }

    /// Removes the series of a run.
    pub(super) fn forget(&self, namespace: &str, run: &str) {
        let labels = of_run(namespace, run);
        for (_, gauges) in self.all() {
            gauges.remove_starting_with(&labels);
        }
    }

    /// Removes all series.
    pub(super) fn forget_all(&self) {
        for (_, gauges) in self.all() {
            gauges.remove_starting_with(&[]);
        }
    }
}

fn of_run(namespace: &str, run: &str) -> Labels {
    vec![("namespace", namespace.to_owned()), ("run", run.to_owned())]
}

fn put(gauges: &LimitedGauges, labels: Labels, value: Option<&str>) -> u64 {
    let Some(value) = value.and_then(|text| text.parse().ok()) else {
        gauges.remove(&labels);
        return 0;
    };
    gauges.set(labels, value)
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Metrics;
    use super::*;
    use crate::api::analysis::TrafficSplit;

    #[test]
    fn the_series_of_a_run_go_with_it_and_a_bound_that_is_lost_goes_alone() {
        let metrics = Metrics::default();
        let mut errors = MetricComparison {
            name: "errors".into(),
            log_e_fail: Some("1.5000".into()),
            log_e_pass: Some("-0.5".into()),
            ratio_lower: Some("1.2".into()),
            split: Some(TrafficSplit {
                weight: "0.05".into(),
                requests: "0.12".into(),
                message: String::new(),
            }),
            ..MetricComparison::default()
        };
        metrics.compared("shop", "web-1", std::slice::from_ref(&errors));
        metrics.compared("shop", "web-2", std::slice::from_ref(&errors));
        let text = || metrics.render(chrono::DateTime::UNIX_EPOCH);
        let line = r#"sluice_analysis_log_e{namespace="shop",run="web-1",metric="errors",kind="fail"} 1.5"#;
        assert!(text().contains(line), "{}", text());
        assert!(text().contains("sluice_analysis_ratio_lower{namespace=\"shop\",run=\"web-1\""));
        let split = r#"sluice_analysis_split_ratio{namespace="shop",run="web-1",metric="errors",kind="requests"} 0.12"#;
        assert!(text().contains(split), "{}", text());
        errors.ratio_lower = None;
        errors.split = None;
        metrics.compared("shop", "web-1", &[errors]);
        assert!(!text().contains("sluice_analysis_split_ratio{namespace=\"shop\",run=\"web-1\""));
        assert!(!text().contains("sluice_analysis_ratio_lower{namespace=\"shop\",run=\"web-1\""));
        metrics.forget_run("shop", "web-1");
        assert!(!text().contains("web-1") && text().contains("web-2"));
        metrics.leadership_lost();
        assert!(!text().contains("web-2"));
    }
}
