//! How many connections each network has open.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::http::middleware::client_ip::Proxies;
use crate::http::server::limits::ConnectionLimits;

/// Counts the open connections of each network.
pub(super) struct ConnectionTable {
    counts: Arc<Mutex<HashMap<IpNet, usize>>>,
    max_per_network: usize,
    proxies: Arc<Proxies>,
}

/// Held by a connection that was let in: a permit that its network, if it is counted, gets back when this is dropped.
pub(super) struct Admission {
    network: Option<IpNet>,
    counts: Arc<Mutex<HashMap<IpNet, usize>>>,
}

impl ConnectionTable {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            counts: Arc::default(),
            max_per_network: limits.connections_per_network,
            proxies: Arc::clone(&limits.proxies),
        }
    }

    /// Lets a connection in, unless its network has all it may have. The loopback and trusted proxies are not counted.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Admission> {
        let ip = peer.ip().to_canonical();
        let counts = Arc::clone(&self.counts);
        if ip.is_loopback() || self.proxies.trust(ip) {
            return Some(Admission { network: None, counts });
        }
        let network = self.proxies.network(ip);
        let mut locked = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = locked.entry(network).or_default();
        if *count >= self.max_per_network {
            tracing::debug!(%network, "has too many connections: one more is closed");
            return None;
        }
        *count += 1;
        Some(Admission { network: Some(network), counts })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_own_cap_and_gets_its_permits_back() {
        let table = ConnectionTable::new(&ConnectionLimits {
            connections_per_network: 2,
            proxies: Arc::new(Proxies::new(vec!["10.0.0.0/8".parse().unwrap()])),
            ..ConnectionLimits::default()
        });
        let admit = |address: &str| table.admit(SocketAddr::new(address.parse().unwrap(), 1));
        let (first, second) = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8::3").is_none());
        assert!(admit("2001:db8:0:1::1").is_some_and(|admission| admission.network.is_some()), "another network");
        for uncounted in ["127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3"] {
            assert!(admit(uncounted).is_some_and(|admission| admission.network.is_none()), "{uncounted}");
        }
        drop(first);
        let third = admit("2001:db8::3").unwrap();
        assert!(admit("2001:db8::1").is_none());
        drop((second, third));
        assert!(table.counts.lock().unwrap().is_empty(), "nothing is kept of networks without connections");
    }
}
