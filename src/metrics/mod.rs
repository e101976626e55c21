//! Measurement sources: [`spec`] and [`sample`] are data that the pure rooms use; everything else
//! here talks to the outside. A source gets a resolved endpoint, never an API object.

pub mod sample;
pub mod spec;

pub use sample::{MeasureError, MeasurementOutcome, MeasurementResult, Sample, SampleValue};
