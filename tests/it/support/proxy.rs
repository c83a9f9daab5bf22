//! A TCP proxy that fails on command: between a client and its database, broker or mail server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use url::Url;

use super::ports;

/// What the network does, to the connections that are open and to those to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carries everything.
    Pass,
    /// Carries every chunk, in both directions, this much later.
    Delay(Duration),
    /// Connections stay open and nothing passes; what was sent meanwhile is carried once the mode changes.
    Blackhole,
    /// Ends connections in order (FIN), new ones at once.
    Cut,
    /// Ends connections with a reset (RST), new ones at once.
    Reset,
    /// Ends a connection in order after so many bytes in this direction, counted per connection since the mode was set.
    CutAfter { direction: Direction, bytes: u64 },
}

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// Listens on the loopback until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    target: watch::Sender<SocketAddr>,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// In front of a server; connects to it anew for each connection, so the server may come and go.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = ports::listen().await;
        let address = listener.local_addr().expect("it listens");
        let (mode, mode_now) = watch::channel(Mode::Pass);
        let (target, target_now) = watch::channel(target);
        let task = tokio::spawn(accept(listener, target_now, mode_now));
        Self { address, target, mode, task }
    }

    /// In front of the server of a URL, and the same URL by way of this proxy.
    pub async fn before(url: &str) -> (Self, String) {
        let proxy = Self::start(server_of(url).await).await;
        let mut url = Url::parse(url).expect("a URL");
        url.set_port(Some(proxy.address.port())).expect("the URL has a host");
        url.set_host(Some("127.0.0.1")).expect("the URL has a host");
        (proxy, url.into())
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go to the server of another URL; those that are open stay where they are.
    pub async fn redirect(&self, url: &str) {
        self.target.send_replace(server_of(url).await);
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a connection ends.
enum End {
    InOrder,
    Reset,
}

async fn server_of(url: &str) -> SocketAddr {
    let url = Url::parse(url).expect("a URL");
    let (host, port) = (url.host_str().expect("a URL with a host"), url.port().expect("a URL with a port"));
    tokio::net::lookup_host((host, port)).await.expect("a known host").next().expect("an address")
}

async fn accept(listener: TcpListener, target: watch::Receiver<SocketAddr>, mode: watch::Receiver<Mode>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let target = *target.borrow();
        connections.spawn(connection(client, target, mode.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut client: TcpStream, target: SocketAddr, mode: watch::Receiver<Mode>) {
    let server = tokio::select! {
        biased;
        end = ended(mode.clone()) => {
            if matches!(end, End::Reset) {
                reset(&client);
            }
            return;
        }
        server = reach(target, mode.clone()) => server,
    };
    // nobody there: the client's connection ends with this function
    let Ok(mut server) = server else { return };
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            biased;
            end = ended(mode.clone()) => end,
            _ = async {
                tokio::try_join!(
                    carry(from_client, to_server, Direction::ToServer, mode.clone()),
                    carry(from_server, to_client, Direction::ToClient, mode.clone()),
                )
            } => End::InOrder,
        }
    };
    if matches!(end, End::Reset) {
        reset(&client);
        reset(&server);
    }
}

async fn reach(target: SocketAddr, mut mode: watch::Receiver<Mode>) -> io::Result<TcpStream> {
    mode.wait_for(|mode| *mode != Mode::Blackhole).await.map_err(io::Error::other)?;
    TcpStream::connect(target).await
}

/// Makes the close that follows a reset; a failure means that the peer is gone already.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Waits until the mode ends connections.
async fn ended(mut mode: watch::Receiver<Mode>) -> End {
    match mode.wait_for(|mode| matches!(mode, Mode::Cut | Mode::Reset)).await.as_deref() {
        Ok(Mode::Reset) => End::Reset,
        _ => End::InOrder,
    }
}

/// One direction, until its end of stream, which is passed on.
async fn carry(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    direction: Direction,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let mut carried: u64 = 0;
    loop {
        let length = from.read(&mut buffer).await?;
        let chunk = &buffer[..length];
        loop {
            let (now, is_new) = {
                let now = mode.borrow_and_update();
                (*now, now.has_changed())
            };
            if is_new {
                carried = 0;
            }
            match now {
                Mode::Delay(by) => tokio::select! {
                    () = sleep(by) => break,
                    _ = mode.changed() => {}
                },
                Mode::Blackhole => mode.changed().await.map_err(io::Error::other)?,
                Mode::CutAfter { direction: which, bytes } if which == direction => {
                    let left = usize::try_from(bytes - carried).unwrap_or(usize::MAX);
                    if length < left {
                        break;
                    }
                    to.write_all(&chunk[..left]).await?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                // Cut and Reset end the connection from outside
                _ => break,
            }
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(chunk).await?;
        carried += length as u64;
    }
}
