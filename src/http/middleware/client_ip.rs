//! Who calls: the address a request counts for, and the network it shares its limits with.
//!
//! The socket's peer, unless the peer is a proxy that the operator trusts; then the right-most entry of
//! `X-Forwarded-For` that is not such a proxy (OWASP ASVS 4.1.3). What cannot be parsed never skips a check: the request
//! then counts for the peer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{HOST, ORIGIN, REFERER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::Url;

use crate::http::middleware::hints::{Hint, Hints};
use crate::http::middleware::site::LOOPBACK;
use crate::http::problem::Problem;
use crate::net::is_loopback_host;

/// The other end of the socket, put into the request's extensions by [`crate::http::server`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The caller, as an extractor. Present in every request that went through [`resolve_client_ip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address, an IPv4-mapped one as IPv4.
    pub ip: IpAddr,
    /// The network whose limits it shares: an IPv4 address alone, an IPv6 address with its /64 (or what the operator says).
    pub network: IpNet,
}

/// The proxies the operator trusts, and how wide an IPv6 network is.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Vec<IpNet>,
    v6_prefix: u8,
    hints: Hints,
}

impl Default for Proxies {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Proxies {
    /// Trusts `trusted` and nobody else; IPv6 networks are /64.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted: trusted.into_iter().map(unmapped).collect(), v6_prefix: 64, hints: Hints::default() }
    }

    /// The same with another width for IPv6 networks, in bits; more than 128 counts as 128.
    #[must_use]
    pub fn with_v6_prefix(self, v6_prefix: u8) -> Self {
        Self { v6_prefix: v6_prefix.min(128), ..self }
    }

    /// Whether the address belongs to a trusted proxy.
    #[must_use]
    pub fn trust(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// The network that `ip` shares its limits with.
    #[must_use]
    pub fn network(&self, ip: IpAddr) -> IpNet {
        match ip.to_canonical() {
            IpAddr::V4(ip) => IpNet::V4(Ipv4Net::from(ip)),
            IpAddr::V6(ip) => IpNet::V6(Ipv6Net::new(ip, self.v6_prefix).unwrap_or_else(|_| Ipv6Net::from(ip)).trunc()),
        }
    }

    /// The caller of a request that came from `peer` with these headers.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let peer = peer.to_canonical();
        let ip = if self.trust(peer) { self.forwarded(headers).unwrap_or(peer) } else { peer };
        Client { ip, network: self.network(ip) }
    }

    /// Walks the list from the right, past our own proxies. Several headers are one list, in their order (RFC 9110
    /// section 5.3). With nothing but proxies in it, the left-most is the caller: a request from inside.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut farthest = None;
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            for entry in value.as_bytes().rsplit(|&byte| byte == b',') {
                let Some(ip) = address(entry) else {
                    self.hints.tell(Hint::ForwardedFor, &String::from_utf8_lossy(entry), "addresses");
                    return None;
                };
                farthest = Some(ip);
                if !self.trust(ip) {
                    return farthest;
                }
            }
        }
        farthest
    }
}

/// An entry of the list: an address, in brackets or not, with a port or not.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let ip = entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip())).or_else(bare)?;
    Some(ip.to_canonical())
}

/// A network written in IPv4-mapped form as the IPv4 network it means, so that it meets normalised addresses.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(ip), Some(prefix)) => Ipv4Net::new(ip, prefix).map_or(network, IpNet::V4),
        _ => network,
    }
}

/// What proxies write into a request that they pass on, by the beginnings of the names.
const FORWARDING_HEADERS: [&str; 9] = [
    "forwarded",
    "via",
    "x-forwarded",
    "x-original",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-",
    "fastly-client-ip",
];

impl Client {
    /// Whether a person on this machine asks, rather than a stranger through a proxy that runs on it and whom nobody has
    /// named as trusted: such a proxy is on the loopback as well. So the request must have asked for the loopback by name,
    /// nobody may have written into it that it was passed on, and no page of another host may have led to it. HTTP/1.0 is
    /// what nginx speaks to a server behind it unless it is told otherwise, and no browser.
    #[must_use]
    pub fn is_local(&self, version: Version, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let host = text(HOST).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        let is_of_loopback =
            |page: &str| Url::parse(page).is_ok_and(|page| page.host_str().is_some_and(is_loopback_host));
        let is_passed_on = || {
            let names = headers.keys().map(HeaderName::as_str);
            names.into_iter().any(|name| FORWARDING_HEADERS.iter().any(|begins| name.starts_with(begins)))
        };
        self.ip.is_loopback()
            && LOOPBACK.iter().any(|ours| ours.eq_ignore_ascii_case(name))
            && version != Version::HTTP_10
            && [ORIGIN, REFERER].into_iter().filter_map(text).all(is_of_loopback)
            && !is_passed_on()
    }
}

/// The layer that puts a [`Client`] into the request.
pub async fn resolve_client_ip(State(proxies): State<Arc<Proxies>>, mut request: Request, next: Next) -> Response {
    if let Some(&Peer(peer)) = request.extensions().get() {
        let client = proxies.client(peer.ip(), request.headers());
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().copied().ok_or_else(|| Problem::from(anyhow::anyhow!("the request has no peer address")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> Proxies {
        Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn caller(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        proxies().client(peer.parse().unwrap(), &headers).ip.to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_an_address() {
        assert_eq!(caller("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(caller("203.0.113.9", &["127.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn behind_a_proxy_the_right_most_untrusted_entry_counts() {
        for (lines, expected) in [
            (&["198.51.100.1"][..], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            (&["1.1.1.1, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            (&["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            (&["198.51.100.1", "10.0.0.7"], "198.51.100.1"),
            (&["rubbish, 198.51.100.1"], "198.51.100.1"),
            (&["198.51.100.1:4711"], "198.51.100.1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:198.51.100.1"], "198.51.100.1"),
            (&["::ffff:10.1.1.1"], "10.1.1.1"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(caller("10.0.0.1", lines), expected, "{lines:?}");
            assert_eq!(caller("::ffff:10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_counts_for_the_proxy() {
        for line in ["a", "", "198.51.100.1,", "198.51.100.1, unknown", "1.2.3", "198.51.100.1;x", "fe80::1%eth0"] {
            assert_eq!(caller("10.0.0.1", &[line]), "10.0.0.1", "{line:?}");
        }
    }

    #[test]
    fn a_trusted_network_in_mapped_form_is_the_ipv4_network() {
        let proxies = Proxies::new(vec!["::ffff:10.0.0.0/104".parse().unwrap()]);
        assert!(proxies.trust("10.200.0.1".parse().unwrap()));
        assert!(!proxies.trust("11.0.0.1".parse().unwrap()));
    }

    #[test]
    fn all_addresses_of_a_v6_network_share_a_bucket() {
        let narrow = proxies();
        let wide = proxies().with_v6_prefix(48);
        let (a, b) = ("2001:db8:1:2::1".parse().unwrap(), "2001:db8:1:3::1".parse().unwrap());
        assert_eq!(narrow.network(a).to_string(), "2001:db8:1:2::/64");
        assert_ne!(narrow.network(a), narrow.network(b));
        assert_eq!(wide.network(a), wide.network(b));
        assert_eq!(narrow.network("::ffff:1.2.3.4".parse().unwrap()).to_string(), "1.2.3.4/32");
    }

    proptest! {
        #[test]
        fn any_header_from_a_stranger_leaves_the_peer(bytes in prop::collection::vec(any::<u8>(), 0..64), peer in any::<[u8; 4]>()) {
            prop_assume!(peer[0] != 10);
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), value)]);
            prop_assert_eq!(proxies().client(peer.into(), &headers).ip, IpAddr::from(peer));
        }

        #[test]
        fn any_prefix_before_what_the_proxy_wrote_changes_nothing(junk in "[ -~]{0,40}", ip in any::<u32>()) {
            let ip = IpAddr::from(std::net::Ipv4Addr::from_bits(ip));
            prop_assume!(!proxies().trust(ip));
            prop_assert_eq!(caller("10.0.0.1", &[&format!("{junk},{ip}")]), ip.to_string());
            prop_assert_eq!(caller("10.0.0.1", &[&junk, &ip.to_string()]), ip.to_string());
        }

        #[test]
        fn any_bytes_from_a_proxy_give_an_address_and_its_network(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let headers = HeaderMap::from_iter([("x-forwarded-for".parse().unwrap(), value)]);
            let client = proxies().client("10.0.0.1".parse().unwrap(), &headers);
            prop_assert!(client.network.contains(&client.ip));
        }

        #[test]
        fn ten_thousand_addresses_of_a_v6_network_are_one(host in any::<u64>()) {
            let ip = std::net::Ipv6Addr::from_bits((0x2001_0db8_0000_0001_u128 << 64) | u128::from(host));
            prop_assert_eq!(proxies().network(ip.into()).to_string(), "2001:db8:0:1::/64");
        }
    }

    #[test]
    fn who_comes_through_a_proxy_on_this_machine_is_not_here() {
        let client = |ip: &str| Proxies::default().client(ip.parse().unwrap(), &HeaderMap::new());
        let asking = |host: &str, more: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            for name in more {
                headers.insert(*name, "203.0.113.7".parse().unwrap());
            }
            headers
        };
        let is_local = |ip, headers: &HeaderMap| client(ip).is_local(Version::HTTP_11, headers);
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]"] {
            assert!(is_local("127.0.0.1", &asking(host, &[])), "{host}");
        }
        assert!(is_local("::ffff:127.0.0.1", &asking("localhost", &[])));
        for host in ["sign-up.example", "sign-up.example:8080", "localhost.evil.example:80", ""] {
            assert!(!is_local("127.0.0.1", &asking(host, &[])), "{host}");
        }
        for header in
            ["forwarded", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-ssl", "x-real-ip", "cf-ray"]
        {
            assert!(!is_local("127.0.0.1", &asking("localhost:8080", &[header])), "{header}");
        }
        assert!(!is_local("203.0.113.7", &asking("localhost:8080", &[])));
        assert!(!client("127.0.0.1").is_local(Version::HTTP_10, &asking("localhost:8080", &[])));
    }

    /// F22: a proxy that sends the address it forwards to as `Host`, and nothing about whom it forwards for.
    #[test]
    fn who_comes_from_a_page_of_another_host_is_not_here() {
        let client = Proxies::default().client("127.0.0.1".parse().unwrap(), &HeaderMap::new());
        for (page, here) in [
            ("http://localhost:8080/register/sent", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:3000/", true),
            ("https://sign-up.example/register/sent", false),
            ("https://sign-up.example", false),
            ("https://localhost.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            for name in [ORIGIN, REFERER] {
                let mut headers = HeaderMap::new();
                headers.insert(HOST, "localhost:8080".parse().unwrap());
                headers.insert(&name, page.parse().unwrap());
                assert_eq!(client.is_local(Version::HTTP_11, &headers), here, "{name}: {page}");
            }
        }
    }

    #[test]
    fn a_proxy_that_passes_rubbish_on_is_told_of_in_a_few_lines() {
        let proxies = proxies();
        for number in 0..50 {
            let headers = HeaderMap::from_iter([(
                "x-forwarded-for".parse().unwrap(),
                HeaderValue::from_str(&format!("rubbish-{number}")).unwrap(),
            )]);
            assert_eq!(proxies.client("10.0.0.1".parse().unwrap(), &headers).ip.to_string(), "10.0.0.1");
        }
        assert_eq!(proxies.hints.told().len(), 10);
    }
}
