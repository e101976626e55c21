//! Which addresses may be talked to. A template names a host; this decides whether the controller,
//! which stands inside the cluster's network, goes there.
//!
//! A name is resolved once and the connection goes to an address that was checked, so a second
//! answer of the name server changes nothing. Link-local addresses (the cloud's metadata service) are
//! never permitted.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::sample::MeasureError;
use crate::api::metrics_source::glob_matches;

/// What the controller was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Permits private and loopback addresses.
    pub allow_private: bool,
    /// Hosts that templates may name themselves: names, or patterns with `*`. A port may follow
    /// (`prometheus.monitoring:9090`); without one every port is meant. Addresses in a
    /// `MetricsSource` need no entry.
    pub allowed_hosts: Vec<String>,
    /// Addresses and ports that are never permitted: the API server's.
    pub denied: Vec<SocketAddr>,
}

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressOrigin {
    /// A template: the host must be on the list.
    Template,
    /// A `MetricsSource` or `ClusterMetricsSource`.
    Source,
}

impl AddressPolicy {
    /// Checks everything of a URL that can be checked before its name is resolved.
    ///
    /// # Errors
    /// [`MeasureError::NotPermitted`] with what would be right.
    pub fn check_url(&self, url: &Url, origin: AddressOrigin) -> Result<(), MeasureError> {
        let refuse = |reason: &str| {
            Err(MeasureError::NotPermitted {
                address: shown_address(url),
                reason: reason.to_owned(),
            })
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("only http and https are");
        }
        let literal = match url.host() {
            None => return refuse("it names no host"),
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        };
        if origin == AddressOrigin::Template && !self.lists(url) {
            return refuse(
                "its host is not on the controller's list of allowed hosts; name a MetricsSource in source, or have the host listed",
            );
        }
        match literal.map(|ip| self.check_address(ip, port_of(url))) {
            Some(Err(refusal)) => refuse(refusal.0),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn lists(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or("").trim_end_matches('.');
        let with_port = format!("{host}:{}", port_of(url));
        self.allowed_hosts
            .iter()
            .any(|pattern| glob_matches(pattern, host) || glob_matches(pattern, &with_port))
    }

    /// Whether a connection may go to an address and port.
    ///
    /// # Errors
    /// [`AddressRefusal`] with the reason.
    pub fn check_address(&self, ip: IpAddr, port: u16) -> Result<(), AddressRefusal> {
        let ip = effective(ip);
        let is_denied = |denied: &SocketAddr| denied.port() == port && effective(denied.ip()) == ip;
        if self.denied.iter().any(is_denied) {
            return Err(AddressRefusal(
                "it is the Kubernetes API server's, which no measurement may reach",
            ));
        }
        match Range::of(ip) {
            Range::Public => Ok(()),
            Range::Private if self.allow_private => Ok(()),
            Range::Private => Err(AddressRefusal(
                "it is private or loopback, which the controller permits only with --allow-private-addresses",
            )),
            Range::Never => Err(AddressRefusal(
                "it is link-local, a metadata service or otherwise reserved, which is never permitted",
            )),
        }
    }
}

/// The port that is connected to.
pub(super) fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(0)
}

/// Scheme, host and port of a URL, for messages: neither path nor query, which may carry data.
pub fn shown_address(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRefusal(pub &'static str);

impl fmt::Display for AddressRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for AddressRefusal {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Range {
    Public,
    Private,
    Never,
}

/// Metadata services outside of the link-local range: AWS over IPv6, Alibaba, Azure's wire server.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

impl Range {
    fn of(ip: IpAddr) -> Self {
        if METADATA.contains(&ip) {
            return Self::Never;
        }
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [first, second, third, _] = ip.octets();
        let is_shared = first == 100 && (64..128).contains(&second);
        let is_protocol = first == 192 && second == 0 && third == 0;
        if ip.is_link_local() || ip.is_multicast() || first == 0 || first >= 240 || is_protocol {
            Self::Never
        } else if ip.is_loopback() || ip.is_private() || is_shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        if ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified() {
            Self::Never
        } else if ip.is_loopback() || ip.is_unique_local() {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// The address that is really reached: IPv4 in its IPv6 disguises (mapped, NAT64, 6to4).
fn effective(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let embedded = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        IpAddr::V4(v4)
    } else {
        match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
            _ => ip,
        }
    }
}

/// Resolves names with the system's resolver and lets only permitted addresses through.
#[derive(Clone)]
pub(super) struct CheckedResolver {
    /// What is permitted.
    pub(super) policy: Arc<AddressPolicy>,
    /// The port that will be connected to.
    pub(super) port: u16,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, port) = (Arc::clone(&self.policy), self.port);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut refusal = AddressRefusal("the name has no address");
            let mut permitted: Vec<SocketAddr> = Vec::new();
            for address in found {
                match policy.check_address(address.ip(), port) {
                    Ok(()) => permitted.push(address),
                    Err(refused) => refusal = refused,
                }
            }
            if permitted.is_empty() {
                return Err(Box::new(refusal) as Box<dyn Error + Send + Sync>);
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &AddressPolicy, ip: &str) -> bool {
        policy.check_address(ip.parse().unwrap(), 9090).is_ok()
    }

    #[test]
    fn private_and_loopback_need_a_flag_and_metadata_is_never_reached() {
        let strict = AddressPolicy::default();
        let open = AddressPolicy { allow_private: true, ..AddressPolicy::default() };
        for public in ["1.1.1.1", "2606:4700::1111"] {
            assert!(check(&strict, public) && check(&open, public), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ] {
            assert!(!check(&strict, private) && check(&open, private), "{private}");
        }
        for never in [
            "169.254.169.254",
            "169.254.0.1",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(!check(&strict, never) && !check(&open, never), "{never}");
        }
    }

    #[tokio::test]
    async fn the_api_server_is_never_reached_by_its_address_or_by_a_name() {
        let policy = Arc::new(AddressPolicy {
            allow_private: true,
            allowed_hosts: vec!["*".into()],
            denied: vec!["10.96.0.1:443".parse().unwrap(), "127.0.0.1:6443".parse().unwrap()],
        });
        for (url, is_permitted) in [
            ("https://10.96.0.1/api", false),
            ("https://[::ffff:10.96.0.1]", false),
            ("http://127.1:6443/metrics", false),
            ("http://10.96.0.1:9090", true),
            ("https://10.96.0.2", true),
        ] {
            let found = policy.check_url(&url.parse().unwrap(), AddressOrigin::Source);
            assert_eq!(found.is_ok(), is_permitted, "{url}: {found:?}");
        }
        for (port, is_permitted) in [(6443, false), (9090, true)] {
            let resolver = CheckedResolver { policy: Arc::clone(&policy), port };
            let found = resolver.resolve("localhost".parse().unwrap()).await;
            let addresses: Vec<SocketAddr> = found.map(Iterator::collect).unwrap_or_default();
            let reaches = addresses.iter().any(|address| address.ip().is_ipv4());
            assert_eq!(reaches, is_permitted, "{port}: {addresses:?}");
        }
    }

    #[test]
    fn a_template_may_name_only_listed_hosts() {
        let policy = AddressPolicy {
            allow_private: true,
            allowed_hosts: vec!["prometheus.monitoring".into(), "*.metrics.svc:9090".into()],
            denied: vec![],
        };
        let check = |url: &str| policy.check_url(&url.parse().unwrap(), AddressOrigin::Template);
        for fine in [
            "http://prometheus.monitoring:9090/x",
            "https://prometheus.monitoring.",
            "http://a.metrics.svc:9090",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for refused in [
            "http://a.metrics.svc:9091",
            "http://prometheus.monitoring.evil.com",
            "http://10.0.0.1",
            "file:///etc/passwd",
            "gopher://prometheus.monitoring",
        ] {
            assert!(matches!(check(refused), Err(MeasureError::NotPermitted { .. })), "{refused}");
        }
        let error = check("http://evil.com:1/secret?token=x").unwrap_err().to_string();
        assert!(
            error.contains("http://evil.com:1 is not permitted") && error.contains("MetricsSource"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
        let source = "http://anything.svc".parse().unwrap();
        assert_eq!(policy.check_url(&source, AddressOrigin::Source), Ok(()));
    }

    #[test]
    fn an_address_written_in_odd_forms_is_still_recognised() {
        let policy = AddressPolicy { allowed_hosts: vec!["*".into()], ..AddressPolicy::default() };
        for odd in [
            "http://0x7f.1",
            "http://2130706433",
            "http://127.1",
            "http://[::ffff:7f00:1]",
            "http://0251.0376.0251.0376",
        ] {
            let url: Url = odd.parse().unwrap();
            assert!(policy.check_url(&url, AddressOrigin::Template).is_err(), "{odd}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_a_refused_address_is_refused_when_it_is_resolved() {
        let strict = CheckedResolver { policy: Arc::default(), port: 9090 };
        let error = strict.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("private or loopback"), "{error}");
        let policy = AddressPolicy { allow_private: true, ..AddressPolicy::default() };
        let open = CheckedResolver { policy: Arc::new(policy), port: 9090 };
        assert!(open.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
