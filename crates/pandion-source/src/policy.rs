//! Which network endpoints a source may make this server speak to.
//!
//! The decision is about *resolved addresses*: a name is looked up here, every address it has is
//! checked, and the connection is made to the checked addresses and no others. Whatever is not
//! plainly public (loopback, private, link-local and so cloud metadata, carrier-grade NAT,
//! multicast, reserved, and IPv6 forms that embed such an IPv4 address) is refused unless the
//! operator allowed that host and port. Nothing here trusts how an address is spelled.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pandion_types::{Error, ErrorKind, Result, Subject};
use url::Host;

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The endpoints that are allowed although they are not public.
#[derive(Clone, Debug, Default)]
pub struct EndpointPolicy {
    allowed: BTreeSet<(String, u16)>,
}

/// The refusal of an address; [`fmt::Display`] is complete for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointDenied {
    host: String,
    port: u16,
    address: IpAddr,
    class: &'static str,
}

impl fmt::Display for EndpointDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, address, class } = self;
        write!(f, "endpoint {host}:{port} is refused: its address {address} is {class}; ")?;
        write!(f, "start the server with --allow-endpoint {host}:{port} to allow it")
    }
}

impl std::error::Error for EndpointDenied {}

impl From<EndpointDenied> for Error {
    fn from(denied: EndpointDenied) -> Self {
        Self::new(ErrorKind::PermissionDenied, denied.to_string()).about(Subject::Source)
    }
}

impl EndpointPolicy {
    /// A policy that allows the public Internet and these endpoints, each `HOST:PORT`; the host is
    /// a name or an address, an IPv6 address in brackets.
    ///
    /// # Errors
    /// `InvalidArgument` naming the entry that is not of that form.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut allowed = BTreeSet::new();
        for entry in entries {
            let entry = entry.as_ref();
            let parsed = entry.rsplit_once(':').and_then(|(host, port)| {
                let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
                Some((canonical_host(host).ok()?, port))
            });
            let Some(parsed) = parsed else {
                return Err(Error::invalid_argument(format!(
                    "allowed endpoint {entry:?} is not of the form HOST:PORT"
                )));
            };
            allowed.insert(parsed);
        }
        Ok(Self { allowed })
    }

    /// Resolves a host and checks all its addresses; gives those that may be connected to, with
    /// the port. One refused address refuses the host: a name that has both kinds is a trick or a
    /// mistake.
    ///
    /// # Errors
    /// `PermissionDenied` about the source, naming the endpoint and the option that allows it;
    /// `Unavailable` when the name does not resolve; `InvalidArgument` for what is no host.
    pub async fn check_host(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        self.check_host_as(host, host, port).await
    }

    /// Like [`Self::check_host`] for a host that stands for another: a bucket's own name under an
    /// endpoint is allowed if the endpoint's is.
    pub(crate) async fn check_host_as(
        &self,
        host: &str,
        allowed_as: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>> {
        let addresses = match parse_host(host)? {
            Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Domain(name) => resolve(&name, port).await?,
        };
        for address in &addresses {
            self.check_address(allowed_as, port, address.ip())?;
        }
        Ok(addresses)
    }

    /// Checks one address that a host was found to have.
    ///
    /// # Errors
    /// The refusal, naming `host`.
    pub fn check_address(
        &self,
        host: &str,
        port: u16,
        address: IpAddr,
    ) -> Result<(), EndpointDenied> {
        let Some(class) = not_public(address) else { return Ok(()) };
        if self.names(host, port, address) {
            return Ok(());
        }
        Err(EndpointDenied { host: host.to_owned(), port, address, class })
    }

    /// Whether the operator allowed this endpoint by name, be it public or not: by its host or by
    /// the address that it was found to have.
    #[must_use]
    pub fn names(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let by_host = canonical_host(host).is_ok_and(|host| self.allowed.contains(&(host, port)));
        by_host || self.allowed.contains(&(canonical_address(address), port))
    }
}

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let unavailable = |what: &str| {
        Error::unavailable(format!("the host {name} of the source {what}")).about(Subject::Source)
    };
    #[cfg(feature = "test-hosts")]
    if let Some(address) = test_host(name) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name, port)))
        .await
        .map_err(|elapsed| unavailable("was not resolved in time").caused_by(elapsed))?
        .map_err(|error| unavailable("does not resolve").caused_by(error))?;
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(unavailable("has no address"));
    }
    Ok(found)
}

/// The address that `PANDION_TEST_HOSTS` (`name=address,...`) has for a name or for one below it, so
/// that tests can use host names that no resolver knows. The policy decides on the address all the
/// same.
#[cfg(feature = "test-hosts")]
fn test_host(name: &str) -> Option<IpAddr> {
    let hosts = std::env::var("PANDION_TEST_HOSTS").ok()?;
    hosts.split(',').find_map(|entry| {
        let (host, address) = entry.split_once('=')?;
        let below = name.strip_suffix(host)?;
        (below.is_empty() || below.ends_with('.')).then(|| address.parse().ok()).flatten()
    })
}

/// Reads a host in any spelling that a URL may have: `127.1`, `0x7f000001` and `2130706433` are
/// the address that they are for the HTTP client.
pub(crate) fn parse_host(host: &str) -> Result<Host<String>> {
    Host::parse(host).map_err(|error| {
        Error::invalid_argument(format!("{host:?} is not a valid host name"))
            .about(Subject::Source)
            .caused_by(error)
    })
}

fn canonical_host(host: &str) -> Result<String> {
    Ok(match parse_host(host)? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => canonical_address(address.into()),
        Host::Ipv6(address) => canonical_address(address.into()),
    })
}

/// A mapped IPv4 address is the IPv4 address: the connection goes to the same place.
fn canonical_address(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// Why an address is not plainly public; `None` when it is.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [192, 168, ..] => Some("private"),
        [172, second, ..] if (16..32).contains(&second) => Some("private"),
        [100, second, ..] if (64..128).contains(&second) => Some("private to a carrier"),
        [169, 254, ..] => Some("a link-local address"),
        [192, 0, 0, _] | [198, 18..=19, ..] => Some("reserved"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("reserved"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    if address.is_unspecified() {
        return Some("unspecified");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        not_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Mapped, compatible, NAT64 and 6to4 addresses lead to the IPv4 address they hold.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        [0x2002, high, low, ..] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => Some("private"),
        [0x2001, 0, ..] => Some("a Teredo address"),
        [0x2001, 0xdb8, ..] => Some("reserved"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Some("private"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Some("a link-local address"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Some("private"),
        [first, ..] if first & 0xff00 == 0xff00 => Some("a multicast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(policy: &EndpointPolicy, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        policy.check_host(host, port).await
    }

    #[tokio::test]
    async fn what_is_not_public_is_refused_however_it_is_spelled() {
        let policy = EndpointPolicy::default();
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "0.0.0.0",
            "0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "2852039166",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[2001:0:1::]",
            "[fe80::1]",
            "[febf::1]",
            "[fc00::1]",
            "[fd12::1]",
            "[fec0::1]",
            "[ff02::1]",
            "localhost",
            "LOCALHOST",
        ] {
            let error = check(&policy, host, 9000).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{host}: {error}");
            let option = format!("--allow-endpoint {host}:9000");
            assert!(error.message().contains(&option), "{error}");
        }
    }

    #[tokio::test]
    async fn public_addresses_pass() {
        let policy = EndpointPolicy::default();
        for host in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "169.253.0.1",
            "192.169.0.1",
            "[2606:4700::1111]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::8.8.8.8]",
        ] {
            let found = check(&policy, host, 443).await.unwrap();
            assert_eq!(found.len(), 1, "{host}");
        }
    }

    #[tokio::test]
    async fn an_allowed_endpoint_is_one_host_and_one_port() {
        let policy = EndpointPolicy::new(["localhost:9000", "10.0.0.5:80", "[::1]:7"]).unwrap();
        for (host, port) in [
            ("localhost", 9000),
            ("LocalHost", 9000),
            ("10.0.0.5", 80),
            ("[::ffff:10.0.0.5]", 80),
            ("0x0a000005", 80),
            ("[::1]", 7),
        ] {
            check(&policy, host, port).await.unwrap();
        }
        policy.check_address("localhost.", 9000, Ipv4Addr::LOCALHOST.into()).unwrap();
        for (host, port) in
            [("localhost", 9001), ("127.0.0.1", 9000), ("10.0.0.6", 80), ("[::1]", 9000)]
        {
            assert!(check(&policy, host, port).await.is_err(), "{host}:{port}");
        }
        // An address that is allowed is allowed under every name that resolves to it.
        let policy = EndpointPolicy::new(["127.0.0.1:1", "[::1]:1"]).unwrap();
        check(&policy, "localhost", 1).await.unwrap();
    }

    #[test]
    fn what_the_operator_names_is_named_also_where_it_is_public() {
        let policy = EndpointPolicy::new(["db.example:5432", "8.8.8.8:1"]).unwrap();
        let public: IpAddr = Ipv4Addr::new(8, 8, 8, 8).into();
        assert!(policy.names("DB.example", 5432, public));
        assert!(policy.names("other.example", 1, public));
        assert!(!policy.names("db.example", 5433, public));
        assert!(!policy.names("other.example", 5432, public));
    }

    #[test]
    fn entries_must_name_host_and_port() {
        for entry in ["", "host", "host:", ":9000", "host:0", "host:99999", "a b:1", "::1"] {
            assert!(EndpointPolicy::new([entry]).is_err(), "{entry}");
        }
    }

    #[tokio::test]
    async fn hosts_that_are_none_are_refused() {
        let policy = EndpointPolicy::default();
        let error = check(&policy, "a b", 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let error = check(&policy, "no-such-host.invalid", 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("no-such-host.invalid"));
    }
}
