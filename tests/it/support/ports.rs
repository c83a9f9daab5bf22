//! Ports that stay ours while nobody listens on them.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpListener;

/// Listens on the loopback, below the range from which the system takes ports of outgoing connections: a server that
/// is stopped and started again finds its port free.
pub async fn listen() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(step < 22_000, "no port is free");
        // begins elsewhere in each process, so that two test runs rarely meet
        let offset = (std::process::id().wrapping_mul(7919) + step) % 22_000;
        let port = 10_000 + u16::try_from(offset).expect("it is below 22,000");
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("cannot listen on port {port}: {error}"),
        }
    }
}
