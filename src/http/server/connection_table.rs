//! How many connections each network, and each proxy, has open.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use crate::http::middleware::client_ip::Proxies;
use crate::http::server::limits::ConnectionLimits;

/// Counts the open connections of each network and each proxy.
pub(super) struct ConnectionTable {
    counts: Counts,
    max_per_network: usize,
    max_per_proxy: usize,
    proxies: Arc<Proxies>,
}

type Counts = Arc<Mutex<HashMap<IpNet, Count>>>;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    open: usize,
    /// Whether somebody was told that there are too many.
    is_told: bool,
}

/// Held by a connection that was let in: a permit that its network or proxy gets back when this is dropped.
pub(super) struct Admission {
    network: IpNet,
    max: usize,
    counts: Counts,
}

impl ConnectionTable {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            counts: Arc::default(),
            max_per_network: limits.connections_per_network,
            max_per_proxy: limits.connections_per_proxy,
            proxies: Arc::clone(&limits.proxies),
        }
    }

    /// Lets a connection in, unless its network has all it may have. The loopback and a trusted proxy, behind which many people
    /// may be, have a cap of their own.
    pub(super) fn admit(&self, peer: SocketAddr) -> Option<Admission> {
        let ip = peer.ip().to_canonical();
        let is_proxy = ip.is_loopback() || self.proxies.trust(ip);
        let (network, max) = if is_proxy {
            (IpNet::from(ip), self.max_per_proxy)
        } else {
            (self.proxies.network(ip), self.max_per_network)
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if count.open < max {
            count.open += 1;
            return Some(Admission { network, max, counts: Arc::clone(&self.counts) });
        }
        if !is_proxy {
            tracing::debug!(%network, "has too many connections: one more is closed");
        } else if !std::mem::replace(&mut count.is_told, true) {
            tracing::warn!(
                proxy = %ip, connections = max,
                "a proxy has all the connections that BELLHOP_PROXY_CONNECTIONS lets it have: more are closed"
            );
        }
        None
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            count.open -= 1;
            // not each time that one of many closes and another one comes
            count.is_told &= count.open > self.max / 2;
            if count.open == 0 {
                counts.remove(&self.network);
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
            connections_per_proxy: 3,
            proxies: Arc::new(Proxies::new(vec!["10.0.0.0/8".parse().unwrap()])),
            ..ConnectionLimits::default()
        });
        let admit = |address: &str| table.admit(SocketAddr::new(address.parse().unwrap(), 1));
        let (first, second) = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8::3").is_none());
        assert!(admit("2001:db8:0:1::1").is_some(), "another network");
        // F74: a proxy had none at all
        for proxy in ["127.0.0.1", "::1", "10.1.2.3", "10.1.2.4"] {
            let all = [proxy; 3].map(|proxy| admit(proxy).unwrap());
            assert!(admit(proxy).is_none(), "{proxy}");
            drop(all);
            assert!(admit(proxy).is_some(), "{proxy}");
        }
        let all = ["127.0.0.1", "::ffff:127.0.0.1", "127.0.0.1"].map(|form| admit(form).unwrap());
        assert!(admit("127.0.0.1").is_none(), "the same address in another form");
        drop(all);
        drop(first);
        let third = admit("2001:db8::3").unwrap();
        assert!(admit("2001:db8::1").is_none());
        drop((second, third));
        assert!(table.counts.lock().unwrap().is_empty(), "nothing is kept of networks without connections");
    }
}
