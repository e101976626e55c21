//! The judge: from templates, arguments and measurements to a verdict. Pure: time and measured
//! values come in as arguments, nothing here waits, asks or logs.

pub mod admission;
pub mod condition;

pub use condition::Condition;
