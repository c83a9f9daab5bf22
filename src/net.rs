//! Which hosts are this machine, and which networks an address is in.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether a host is this domain or below it.
#[must_use]
pub fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|below| below.is_empty() || below.ends_with('.'))
}

/// Whether a host as it stands in a URL is on the loopback: its addresses, `localhost` and every name below that (RFC 6761
/// section 6.3).
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The network that one customer has as a rule, an IPv4 address alone or an IPv6 /64, and the one around it: /24 or /48.
#[must_use]
pub fn networks(ip: IpAddr) -> [IpNet; 2] {
    let ip = ip.to_canonical();
    let widths = if ip.is_ipv4() { [32, 24] } else { [64, 48] };
    widths.map(|width| IpNet::new(ip, width).map_or(IpNet::from(ip), |network| network.trunc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_addresses_of_the_loopback_are_on_it() {
        for host in
            ["localhost", "LocalHost.", "app.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "::1", "::ffff:127.0.0.1"]
        {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in
            ["", "localhost.example", "notlocalhost", "10.0.0.7", "[2001:db8::1]", "0.0.0.0", "127.0.0.1.example"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn a_network_is_what_a_customer_has_and_the_one_around_it() {
        let of = |ip: &str| networks(ip.parse().unwrap()).map(|network| network.to_string());
        assert_eq!(of("192.0.2.7"), ["192.0.2.7/32", "192.0.2.0/24"]);
        assert_eq!(of("::ffff:192.0.2.7"), ["192.0.2.7/32", "192.0.2.0/24"]);
        assert_eq!(of("2001:db8:1:2:3::4"), ["2001:db8:1:2::/64", "2001:db8:1::/48"]);
    }
}
