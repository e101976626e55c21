//! The types of our API and nothing else: what users write, what we write back, and how either is
//! named. No clock, client or log.

pub mod analysis;
pub mod metrics_source;
pub mod names;
pub mod values;

pub use names::{ApiNames, Kind};
pub use values::{
    CountOrPercent, Delay, IntOrString, InvalidValue, LabelSelector, RawObject, Time,
};
