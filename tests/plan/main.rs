//! Scenarios of the plan: scripts of what happens in, timelines out.

#[cfg(test)]
mod budget;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod world;
