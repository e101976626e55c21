//! Measurement sources: [`spec`] and [`sample`] are data that the pure rooms use; everything else
//! here talks to the outside. A source gets a resolved endpoint, never an API object.

pub mod address;
pub mod endpoint;
pub mod exchange;
pub mod job;
pub mod look;
pub mod measure;
pub mod prometheus;
pub mod runner;
pub mod sample;
pub mod secret;
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
