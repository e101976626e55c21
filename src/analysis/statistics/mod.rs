//! The sequential judge: how much the counts of canary and stable say against a release, at every
//! look, without crying wolf. Pure arithmetic: counts come in, evidence comes out.
//!
//! Evidence is an *e-value*: a number whose expectation is at most 1 as long as the release is within
//! its limits. Looks multiply it, and it then ever reaches 1/alpha with probability at most alpha,
//! however often and at whatever moments somebody looks. Everything here works with its natural
//! logarithm.
//!
//! | Module | What it says |
//! |---|---|
//! | [`rate`] | errors of the canary against those of stable, or against a limit |
//! | [`share`] | the same, with nothing assumed but means |
//! | [`odds`], [`histogram`] | latency, as requests slower than a bound |
//! | [`gauge`] | memory, CPU, lengths of queues |
//! | [`mixture`] | joins looks and alternatives, and a regression that begins late |
//! | [`bounds`] | at least and at most how many times as many |
//! | [`dispersion`] | how far the pods of stable differ, before the start |
//! | [`evidence`], [`history`] | all of it, kept from look to look |
//! | [`verdict`] | FAIL, PASS, CONTINUE, INCONCLUSIVE or NODATA |
//! | [`budget`] | several metrics, one budget |
//! | [`report`] | tests at one moment, bands for plots, the split of the traffic |

pub mod bounds;
pub mod budget;
pub mod counts;
pub(in crate::analysis) mod decimal;
pub mod dispersion;
pub mod evidence;
pub mod gauge;
pub mod histogram;
pub mod history;
pub mod log_space;
pub mod mixture;
pub mod odds;
pub mod rate;
pub mod report;
pub mod share;
pub mod verdict;

#[cfg(test)]
mod tests;
