//! One measurement, whatever its source: the one place that knows all providers' effects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::ResolvedEndpoint;
use super::job::{JobCall, JobPort};
use super::sample::{MeasureError, MeasurementResult};
use super::spec::look::LookSpec;
use super::spec::{
    MetricProvider, Provider, ProviderProblem, SourceRef, prometheus as prometheus_spec,
    web as web_spec,
};
use super::transport::Transport;
use super::{asked, job, look, prometheus, web};
use crate::clock::Clock;

/// Time beyond a source's own limit after which a measurement is given up from outside.
const GRACE: Duration = Duration::from_secs(5);
/// Time limit of one look at a Job.
const JOB_TIME_LIMIT: Duration = Duration::from_secs(20);

/// What measurements need from their surroundings.
#[derive(Clone)]
pub struct MeasureContext {
    /// Requests to metrics servers.
    pub transport: Transport,
    /// Requests for Jobs; none: Jobs are switched off.
    pub jobs: Option<Arc<dyn JobPort>>,
    /// The present.
    pub clock: Arc<dyn Clock>,
}

/// Where a metric's endpoint is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointNeed<'a> {
    /// In a `MetricsSource` or `ClusterMetricsSource`, to be read first.
    Source(&'a SourceRef),
    /// In the template itself; [`ResolvedEndpoint::inline`] reads it.
    Inline(&'a str),
    /// Nowhere: it is a Job.
    Job,
}

impl<'a> EndpointNeed<'a> {
    /// What a provider needs.
    pub fn of(provider: Provider<'a>) -> Self {
        match provider {
            Provider::Prometheus(spec) => match &spec.source {
                Some(source) => Self::Source(source),
                None => Self::Inline(spec.address.as_deref().unwrap_or("")),
            },
            Provider::Web(spec) => match &spec.source {
                Some(source) => Self::Source(source),
                None => Self::Inline(&spec.url),
            },
            Provider::Asked(asked) => match asked.spec().source() {
                Some(source) => Self::Source(source),
                None => Self::Inline(asked.spec().address().unwrap_or("")),
            },
            Provider::Job(_) => Self::Job,
        }
    }
}

/// A measurement with everything that it needs. Has no `Debug` of its parts: they hold secrets.
pub enum MeasureCall {
    /// A PromQL query.
    Prometheus {
        /// The server.
        endpoint: Box<ResolvedEndpoint>,
        /// The query, arguments filled in.
        spec: prometheus_spec::Spec,
    },
    /// A look at the series of both arms.
    Look {
        /// The server.
        endpoint: Box<ResolvedEndpoint>,
        /// What is asked.
        spec: Box<LookSpec>,
    },
    /// JSON over HTTP.
    Web {
        /// The server; for an inline `url` that URL.
        endpoint: Box<ResolvedEndpoint>,
        /// The request, arguments filled in.
        spec: web_spec::Spec,
    },
    /// One HTTP request of another provider.
    Asked {
        /// The server.
        endpoint: Box<ResolvedEndpoint>,
        /// What is asked, arguments filled in.
        provider: Box<MetricProvider>,
    },
    /// A Job.
    Job(Box<JobCall>),
    /// It is known already that it cannot be made, such as for a missing `MetricsSource`.
    Refused(MeasureError),
}

impl fmt::Debug for MeasureCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeasureCall(")?;
        f.write_str(&self.lane())?;
        f.write_str(")")
    }
}

impl MeasureCall {
    /// A measurement over HTTP. What is wrong with the endpoint becomes the outcome, so the run says
    /// it and holds.
    pub fn over_http(
        provider: &MetricProvider,
        endpoint: Result<ResolvedEndpoint, MeasureError>,
    ) -> Self {
        let chosen = provider.chosen().map_err(|problem| unusable(&problem));
        let call = endpoint.and_then(|endpoint| match chosen? {
            Provider::Asked(_) => Ok(Self::Asked {
                endpoint: Box::new(endpoint),
                provider: Box::new(provider.clone()),
            }),
            Provider::Prometheus(spec) => Ok(Self::Prometheus {
                endpoint: Box::new(endpoint.with_headers(&spec.headers)?),
                spec: spec.clone(),
            }),
            Provider::Web(spec) => Ok(Self::Web {
                endpoint: Box::new(endpoint.with_headers(&spec.headers)?),
                spec: spec.clone(),
            }),
            Provider::Job(_) => {
                Err(MeasureError::Unusable("a Job is not measured over HTTP".to_owned()))
            }
        });
        call.unwrap_or_else(Self::Refused)
    }

    /// A look at both arms.
    pub fn look(spec: LookSpec, endpoint: Result<ResolvedEndpoint, MeasureError>) -> Self {
        match endpoint {
            Ok(endpoint) => Self::Look { endpoint: Box::new(endpoint), spec: Box::new(spec) },
            Err(error) => Self::Refused(error),
        }
    }

    /// What it loads: measurements of one lane are limited together, so a hanging server keeps only
    /// its own lane busy.
    pub fn lane(&self) -> String {
        match self {
            Self::Prometheus { endpoint, .. }
            | Self::Web { endpoint, .. }
            | Self::Look { endpoint, .. }
            | Self::Asked { endpoint, .. } => endpoint.lane(),
            Self::Job(_) => "jobs".to_owned(),
            Self::Refused(_) => "refused".to_owned(),
        }
    }

    /// Time after which it has come back, whatever happened.
    pub fn time_limit(&self) -> Duration {
        match self {
            Self::Prometheus { endpoint, spec } => prometheus::time_limit(endpoint, spec) + GRACE,
            Self::Web { endpoint, spec } => web::time_limit(endpoint, spec) + GRACE,
            Self::Look { endpoint, .. } => look::time_limit(endpoint) + GRACE,
            Self::Asked { endpoint, provider } => match provider.chosen() {
                Ok(Provider::Asked(asked)) => asked::time_limit(endpoint, asked.spec()) + GRACE,
                Ok(_) | Err(_) => GRACE,
            },
            Self::Job(_) => JOB_TIME_LIMIT,
            Self::Refused(_) => GRACE,
        }
    }

    /// Measures.
    pub async fn measure(&self, ctx: &MeasureContext) -> MeasurementResult {
        let limit = self.time_limit();
        let work = async {
            match self {
                Self::Prometheus { endpoint, spec } => {
                    let now = ctx.clock.now();
                    result(prometheus::measure(&ctx.transport, endpoint, spec, now).await)
                }
                Self::Web { endpoint, spec } => {
                    result(web::measure(&ctx.transport, endpoint, spec).await)
                }
                Self::Look { endpoint, spec } => {
                    let now = ctx.clock.now();
                    match look::look(&ctx.transport, endpoint, spec, now).await {
                        Ok(look) => MeasurementResult::Look(Box::new(look)),
                        Err(error) => MeasurementResult::Error(error),
                    }
                }
                Self::Asked { endpoint, provider } => match provider.chosen() {
                    Ok(Provider::Asked(asked)) => {
                        let now = ctx.clock.now();
                        result(asked::measure(&ctx.transport, endpoint, asked, now).await)
                    }
                    Ok(_) => MeasurementResult::Error(MeasureError::Unusable(
                        "the metric names another provider".to_owned(),
                    )),
                    Err(problem) => MeasurementResult::Error(unusable(&problem)),
                },
                Self::Job(call) => match &ctx.jobs {
                    Some(port) => job::measure(port.as_ref(), call, ctx.clock.now()).await,
                    None => MeasurementResult::Error(MeasureError::Unusable(
                        "Jobs are switched off in this installation".to_owned(),
                    )),
                },
                Self::Refused(error) => MeasurementResult::Error(error.clone()),
            }
        };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            MeasurementResult::Error(MeasureError::TimedOut { address: self.lane(), limit })
        })
    }
}

fn unusable(problem: &ProviderProblem) -> MeasureError {
    MeasureError::Unusable(format!("its provider {problem}"))
}

fn result(measured: Result<super::Sample, MeasureError>) -> MeasurementResult {
    match measured {
        Ok(sample) => MeasurementResult::Sample(sample),
        Err(error) => MeasurementResult::Error(error),
    }
}
