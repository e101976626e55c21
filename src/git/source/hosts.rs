//! Which servers may be talked to: by name before the look-up, by address after it.

use core::net::IpAddr;

use super::{GitUrl, InvalidSource, bracketed, cut};

/// The hosts that this controller may talk Git to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Parses patterns such as `github.com`, `*.example.com`, `git.example.com:8443` or `*`. A `*`
    /// stands for one or more characters. A pattern without a port allows every port.
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
        let host = bracketed(url.host());
        let host_port = format!("{host}:{}", url.port());
        let is_allowed = self
            .0
            .iter()
            .any(|pattern| matches_glob(pattern, &host) || matches_glob(pattern, &host_port));
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

/// Whether `text` has the shape of `pattern`, where `*` stands for one or more characters.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let is_last = pieces.peek().is_none();
        // At least one character belongs to the star.
        let Some(after_one) = rest
            .char_indices()
            .nth(1)
            .map_or_else(|| (!rest.is_empty()).then_some(""), |(at, _)| rest.get(at..))
        else {
            return false;
        };
        if is_last {
            return after_one.ends_with(piece);
        }
        let Some(at) = after_one.find(piece) else {
            return false;
        };
        rest = after_one.get(at + piece.len()..).unwrap_or("");
    }
    rest.is_empty()
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
