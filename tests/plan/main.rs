//! Scenarios of the plan: scripts of what happens in, timelines out.

mod chaos;
mod scenarios;
mod world;
