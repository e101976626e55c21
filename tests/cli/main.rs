//! The plugin as its users meet it: a command line in; exit code, data and messages out. The API
//! server is a small one in memory (`fake`).

mod fake;
mod fixtures;
mod lint;
mod reading;
mod verbs;
mod watching;
