//! Scenarios of the plan: scripts of what happens in, timelines out.

#[cfg(test)]
mod aborts;
#[cfg(test)]
mod analyses;
#[cfg(test)]
mod blue_green;
#[cfg(test)]
mod budget;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod comparisons;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod deletion;
#[cfg(test)]
mod malformed;
#[cfg(test)]
mod reverts;
#[cfg(test)]
mod rollouts;
#[cfg(test)]
mod routers;
#[cfg(test)]
mod status;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod world;
