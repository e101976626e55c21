//! The real controller in a whole world in memory: workloads, a gateway with users behind it,
//! Prometheus, Git and a GitOps agent, in paused time.

#[cfg(test)]
mod breakdown;
#[cfg(test)]
mod comparing;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod gitops;
#[cfg(test)]
mod lent;
#[cfg(test)]
mod releases;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod syncing;
