//! The cluster in memory: how the API server behaves, and that the real controller runs on it.

#[cfg(test)]
mod basics;
#[cfg(test)]
mod controller;
#[cfg(test)]
mod custom;
#[cfg(test)]
mod deleting;
#[cfg(test)]
mod help;
#[cfg(test)]
mod http;
#[cfg(test)]
mod watching;
