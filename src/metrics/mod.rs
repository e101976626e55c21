//! Measurement sources: [`spec`] and [`sample`] are data that the pure rooms use; everything else
//! here talks to the outside. A source gets a resolved endpoint, never an API object.

pub mod address;
pub mod asked;
mod cloud_watch;
mod datadog;
pub mod endpoint;
pub mod exchange;
mod graphite;
mod influxdb;
pub mod job;
pub mod look;
pub mod measure;
mod new_relic;
pub mod prometheus;
pub mod runner;
pub mod sample;
pub mod secret;
pub mod sigv4;
pub mod spec;
pub mod transport;
pub mod web;

pub use address::AddressPolicy;
pub use endpoint::ResolvedEndpoint;
pub use measure::{MeasureCall, MeasureContext};
pub use runner::{MeasurementKey, Runner};
pub use sample::{MeasureError, MeasurementOutcome, MeasurementResult, Sample, SampleValue};
pub use secret::Secret;
pub use transport::Transport;
