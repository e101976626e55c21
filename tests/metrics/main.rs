//! Measurement sources against scripted servers on loopback, with and without TLS: every way in which
//! a server can answer or not answer.

#![expect(clippy::needless_pass_by_value, reason = "helpers take json! values as they come")]

#[cfg(test)]
mod asked;
#[cfg(test)]
mod job;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod runner;
#[cfg(test)]
mod server;
#[cfg(test)]
mod web;
