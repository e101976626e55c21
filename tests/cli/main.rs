//! The plugin as its users meet it: a command line in; exit code, data and messages out. The API
//! server is a small one in memory (`fake`).

#[cfg(test)]
mod analysis;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod lint;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod verbs;
#[cfg(test)]
mod watching;
