//! Which hosts are this machine.

use std::net::IpAddr;

/// Whether a host as it stands in a URL is on the loopback: its addresses, `localhost` and every name below that (RFC 6761
/// section 6.3).
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|ip| ip.to_canonical().is_loopback())
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
}
