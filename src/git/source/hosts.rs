//! Which servers may be talked to: by name before the look-up, by address after it.

use core::net::IpAddr;

use super::{GitUrl, InvalidSource, bracketed, cut};
use crate::api::metrics_source::glob_matches;

/// The hosts that this controller may talk Git to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Parses patterns such as `github.com`, `*.example.com`, `git.example.com:8443` or `*`. A `*`
    /// stands for any run of characters. A pattern without a port allows every port.
    ///
    /// # Errors
    /// [`InvalidSource::HostPattern`] for a pattern with other characters.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidSource> {
        let is_pattern_byte = |b: u8| b.is_ascii_alphanumeric() || b"-_.:*[]".contains(&b);
        patterns
            .into_iter()
            .map(|pattern| {
                if pattern.is_empty() || !pattern.bytes().all(is_pattern_byte) {
                    return Err(InvalidSource::HostPattern { pattern: cut(pattern) });
                }
                Ok(pattern.to_ascii_lowercase())
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Refuses an address whose host matches no pattern.
    ///
    /// # Errors
    /// [`InvalidSource::HostNotAllowed`].
    pub fn check(&self, url: &GitUrl) -> Result<(), InvalidSource> {
        self.check_host(url.host(), url.port())
    }

    /// The same of a host (an IPv6 address without brackets) and a port.
    ///
    /// # Errors
    /// [`InvalidSource::HostNotAllowed`].
    pub fn check_host(&self, host: &str, port: u16) -> Result<(), InvalidSource> {
        let host = bracketed(host);
        let host_port = format!("{host}:{port}");
        let is_allowed = self
            .0
            .iter()
            .any(|pattern| glob_matches(pattern, &host) || glob_matches(pattern, &host_port));
        if is_allowed { Ok(()) } else { Err(InvalidSource::HostNotAllowed { host }) }
    }
}

impl Default for AllowedHosts {
    /// The public forges.
    fn default() -> Self {
        let hosts = ["github.com", "gitlab.com", "bitbucket.org", "dev.azure.com", "codeberg.org"];
        Self(hosts.map(str::to_owned).to_vec())
    }
}

/// Which resolved addresses may be connected to. A name that anybody can register may resolve to
/// the metadata service of a cloud or to a port of this very pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRule {
    /// Allows loopback addresses; for tests and the demo only.
    pub permit_loopback: bool,
}

impl AddressRule {
    /// The kind of address that is refused, or `None` when it may be connected to. Private ranges
    /// are allowed: in-cluster and company Git servers live there.
    pub fn refusal(self, address: IpAddr) -> Option<&'static str> {
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        if address.is_loopback() {
            return (!self.permit_loopback).then_some("loopback");
        }
        let is_link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let is_this_network = match address {
            IpAddr::V4(v4) => v4.octets().first() == Some(&0) || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unspecified(),
        };
        if is_link_local {
            Some("link-local")
        } else if is_this_network {
            Some("unspecified")
        } else if address.is_multicast() {
            Some("multicast")
        } else {
            None
        }
    }
}
