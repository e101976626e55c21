//! The analysis of a run: what its specification may say, how values are counted, and the laws that
//! hold for every script of values.

#![expect(clippy::needless_pass_by_value, reason = "helpers take json! values as they come")]

#[cfg(test)]
mod comparing;
#[cfg(test)]
mod counting;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod play;
#[cfg(test)]
mod ready_templates;
#[cfg(test)]
mod validation;
