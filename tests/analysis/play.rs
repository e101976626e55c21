//! Plays a run over a script of measured values, second by second where something is due.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice::analysis::comparing::ConfirmedWeight;
use sluice::analysis::{DueAction, ResolvedRun, RunStep, advance};
use sluice::api::analysis::{AnalysisRunSpec, AnalysisRunStatus, MetricResult};
use sluice::metrics::{MeasureError, MeasurementOutcome, MeasurementResult, SampleValue};

/// A run that is being played.
pub(crate) struct Play {
    /// The specification as written.
    pub(crate) spec: AnalysisRunSpec,
    /// Status as it stands in the API server.
    pub(crate) status: AnalysisRunStatus,
    /// The present.
    pub(crate) now: DateTime<Utc>,
    /// What the last step said.
    pub(crate) step: RunStep,
    /// The weight that is known to be in effect.
    pub(crate) weight: Option<ConfirmedWeight>,
    run: ResolvedRun,
}

/// A metric over Prometheus with the given further fields.
pub(crate) fn metric(name: &str, fields: Value) -> Value {
    let mut metric = json!({
        "name": name,
        "provider": {"prometheus": {"source": {"name": "main"}, "query": "up"}},
    });
    let target = metric.as_object_mut().unwrap();
    for (key, value) in fields.as_object().unwrap() {
        target.insert(key.clone(), value.clone());
    }
    metric
}

/// A vector of values.
pub(crate) fn vector(values: &[f64]) -> MeasurementResult {
    MeasurementResult::Sample(SampleValue::Numbers(values.to_vec()).into())
}

/// A good value for `result[0] < 0.05`.
pub(crate) fn good() -> MeasurementResult {
    vector(&[0.01])
}

/// A bad value for `result[0] < 0.05`.
pub(crate) fn bad() -> MeasurementResult {
    vector(&[0.5])
}

/// A server that is not there.
pub(crate) fn unreachable() -> MeasurementResult {
    MeasurementResult::Error(MeasureError::Unreachable {
        address: "http://prometheus:9090".to_owned(),
        detail: "connection refused".to_owned(),
    })
}

impl Play {
    /// Starts a run of the metrics at a round time.
    pub(crate) fn of(metrics: Vec<Value>) -> Self {
        Self::of_spec(json!({"metrics": metrics}))
    }

    /// Starts a run of a whole specification.
    pub(crate) fn of_spec(spec: Value) -> Self {
        let spec: AnalysisRunSpec = serde_json::from_value(spec).unwrap();
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let status = AnalysisRunStatus::default();
        let step = RunStep { status: status.clone(), due: vec![], wake_at: None, waiting: vec![] };
        let run = ResolvedRun::resolve(&spec).unwrap_or_else(|p| panic!("{p:?}"));
        let mut play = Self { spec, status, now, step, weight: None, run };
        play.look(&[]);
        play
    }

    /// The resolved run.
    pub(crate) fn run(&self) -> ResolvedRun {
        ResolvedRun {
            is_terminate_requested: self.spec.terminate,
            weight: self.weight,
            ..self.run.clone()
        }
    }

    /// One step with these outcomes; the status goes over the wire and back, as it really does.
    pub(crate) fn look(&mut self, outcomes: &[MeasurementOutcome]) {
        self.step = advance(&self.run(), &self.status, outcomes, self.now);
        let wire = serde_json::to_string(&self.step.status).unwrap();
        self.status = serde_json::from_str(&wire).unwrap();
        assert_eq!(self.status, self.step.status, "the wire form loses nothing");
    }

    /// Moves time to the next wake-up.
    pub(crate) fn wait(&mut self) {
        let at = self.step.wake_at.expect("the run waits for a time");
        assert!(at > self.now, "a wake-up lies ahead");
        self.now = at;
        self.look(&[]);
    }

    /// Answers everything that is due for a metric with `result`, waiting for it first.
    pub(crate) fn measure(&mut self, metric: &str, result: MeasurementResult) {
        for _ in 0..1000 {
            if let Some(outcome) = self.outcome(metric, &result) {
                self.look(&[outcome]);
                return;
            }
            self.wait();
        }
        panic!("{metric} never becomes due");
    }

    /// The outcome for a due measurement.
    pub(crate) fn outcome(
        &self,
        metric: &str,
        result: &MeasurementResult,
    ) -> Option<MeasurementOutcome> {
        let due = self.step.due.iter().find(|due| due.metric == metric)?;
        Some(MeasurementOutcome {
            metric: metric.to_owned(),
            ordinal: due.ordinal,
            started_at: self.now,
            finished_at: self.now,
            result: result.clone(),
        })
    }

    /// Asks the run to end.
    pub(crate) fn terminate(&mut self) {
        self.spec.terminate = true;
        self.look(&[]);
    }

    /// Whether a metric is due with this action.
    pub(crate) fn is_due(&self, metric: &str, action: DueAction) -> bool {
        self.step.due.iter().any(|due| due.metric == metric && due.action == action)
    }

    /// What became of a metric.
    pub(crate) fn result(&self, metric: &str) -> &MetricResult {
        self.status.metric_results.iter().find(|r| r.name == metric).expect("a result")
    }

    /// Lets `seconds` go by.
    pub(crate) fn sleep(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
        self.look(&[]);
    }
}
