//! A way to the broker that can be cut and stalled.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the way does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections stay, and nothing moves.
    Stalled,
    /// Connections end, and new ones are refused.
    Cut,
}

/// Listens on a port of its own until dropped.
pub struct Proxy {
    port: u16,
    way: watch::Sender<Way>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let way = watch::Sender::new(Way::Open);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::from(target), way.subscribe()));
        Self { port, way, _tasks: tasks }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn accept(listener: TcpListener, target: Arc<str>, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        if *way.borrow() == Way::Cut {
            continue;
        }
        let (target, mut way) = (Arc::clone(&target), way.clone());
        connections.spawn(async move {
            let Ok(far) = TcpStream::connect(&*target).await else { return };
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::select! {
                () = carry(near_in, far_out, way.clone()) => {}
                () = carry(far_in, near_out, way.clone()) => {}
                _ = way.wait_for(|way| *way == Way::Cut) => {}
            }
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if way.wait_for(|way| *way == Way::Open).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
